"""What classical classifiers, trained on the source's rows as they came, think of a network's target predictions."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..shared.seeds import derive_seed, generator
from .units import blocks

__all__ = ["SecondOpinion", "second_opinion"]

Array = NDArray[np.float64]
MOST_ROWS = 2000  # of each domain: a second, whatever there is
WIDE, PROJECTED = 4096, 256  # more features than the first are projected onto so many random directions
SOME, COMPONENTS = 60, 40  # more features than the first are reduced to so many principal components
FAR = 1e3  # standard deviations of the source: further out is as far
NEIGHBOURS, TREES, LEAST_IN_LEAF, ITERATIONS = 10, 60, 2, 300


class SecondOpinion(NamedTuple):
    """Class probabilities of some target rows, the mean over classifiers of several kinds.

    Attributes:
        rows: numbers of the target rows, (m,), increasing.
        probabilities: of the rows as they came, (m, k), each row of sum 1.
        moved: of the rows moved and scaled to the source's mean and deviations, (m, k).
    """

    rows: NDArray[np.int64]
    probabilities: Array
    moved: Array

    def expects(self, predicted: NDArray[np.int64], weights: Array | None = None) -> tuple[float, float]:
        """The accuracy that both probabilities expect of predictions: of the rows as they came, and moved.

        Args:
            predicted: class numbers of all target rows, (n_t,).
            weights: target over source proportion of each class, (k,), by which the probabilities are corrected; None:
                the proportions are those of the source.
        """
        found = []
        for given in (self.probabilities, self.moved):
            p = given if weights is None else given * weights
            found.append(float(np.mean(p[np.arange(len(p)), predicted[self.rows]] / p.sum(1))))
        return found[0], found[1]


def second_opinion(
    source: Any, labels: NDArray[np.int64], target: Any, *, classes: int, seed: int = 0
) -> SecondOpinion:
    r"""Let four classifiers of other kinds than a network say what the target's rows are.

    .. math:: P(x) = \frac1J \sum_{j=1}^J P_j(x), \qquad \text{expected accuracy of } \hat y: \quad
        \frac1m \sum_{i=1}^m P(x_i)_{\hat y_i}

    with :math:`P_j` a logistic regression, ten nearest neighbours, a forest and a linear discriminant with a shrunk
    covariance, fitted on the source's rows as they came, standardised by the source's own mean and deviation. They
    know nothing of any alignment, and err differently from a network and from each other. Where an adapted network's
    predictions are expected to be right less often than source-only's, by classifiers that nothing was aligned for,
    something has been lost; unless the features moved, and all of them are wrong alike. So they are asked a second
    time, of the target's rows moved and scaled to the source's mean and deviations, feature by feature.

    At most 2000 rows of each domain are used, drawn by the seed; above 60 features the first 40 principal components of
    both domains' rows, above 4096 those of 256 random directions.

    Args:
        source: rows (n_s, ...), an array, a tensor or :class:`~landbridge.shared.batches.Rows`; read in blocks.
        labels: their class numbers, (n_s,).
        target: rows (n_t, ...).
        classes: k.
        seed: of the rows, directions and trees that are drawn.

    >>> rows = np.array([[0.0], [0.2], [0.3], [1.0], [1.2], [1.3]])
    >>> found = second_opinion(rows, np.array([0, 0, 0, 1, 1, 1]), np.array([[0.1], [1.1]]), classes=2)
    >>> found.expects(np.array([0, 1]))[0] > 0.6, found.expects(np.array([1, 0]))[0] < 0.4
    (True, True)
    """
    drawn, rows = _some_rows(len(labels), "source", seed), _some_rows(int(target.shape[0]), "target", seed)
    y = np.asarray(labels)[drawn]
    known, *asked = _in_units(_read(source, drawn, seed), _read(target, rows, seed), seed)
    together, n = np.zeros((2, len(rows), classes)), 0
    for classifier in _classifiers(len(known), seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few iterations, or of features that are one another's copies
            try:
                classifier.fit(known, y)
            except ValueError:
                continue  # a covariance of as many classes as rows: the others say what there is to say
            for mean, given in zip(together, asked, strict=True):
                mean[:, classifier.classes_] += classifier.predict_proba(given)
        n += 1
    return SecondOpinion(rows, *(together / max(n, 1)))


def _classifiers(n: int, seed: int) -> list[Any]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    number = derive_seed("second-opinion", "forest", seed) % (1 << 32)
    return [
        LogisticRegression(max_iter=ITERATIONS),
        KNeighborsClassifier(max(1, min(NEIGHBOURS, n // 4))),
        RandomForestClassifier(TREES, min_samples_leaf=LEAST_IN_LEAF, random_state=number),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    ]


def _some_rows(n: int, name: str, seed: int) -> NDArray[np.int64]:
    order = torch.randperm(n, generator=generator("second-opinion", name, seed)).numpy()
    return np.sort(order[:MOST_ROWS])


def _read(domain: Any, rows: NDArray[np.int64], seed: int) -> Array:
    """These rows as a matrix, (m, d), of at most 4096 features."""
    width = int(np.prod(domain.shape[1:]))
    onto = None
    if width > WIDE:
        onto = torch.randn(width, PROJECTED, generator=generator("second-opinion", "directions", seed)).double()
    parts = []
    for start, block in blocks(domain):
        inside = rows[(rows >= start) & (rows < start + len(block))] - start
        if len(inside):
            some = block[torch.from_numpy(inside)]
            parts.append((some if onto is None else some @ onto).numpy())
    return np.concatenate(parts)


def _in_units(source: Array, target: Array, seed: int) -> tuple[Array, Array, Array]:
    """The source, the target and the target moved, in the source's units and in few dimensions."""
    a, b, moved = _standardised(source, source), _standardised(target, source), _standardised(target, target)
    if a.shape[1] <= SOME:
        return a, b, moved
    from sklearn.decomposition import PCA

    number = derive_seed("second-opinion", "components", seed) % (1 << 32)
    fewer = PCA(min(COMPONENTS, len(a) + len(b)), random_state=number).fit(np.concatenate([a, b]))
    a, b, moved = (fewer.transform(rows) for rows in (a, b, moved))
    largest = a.std(0).max()
    scale = largest if largest > 0 else 1.0
    return a / scale, b / scale, moved / scale


def _standardised(rows: Array, by: Array) -> Array:
    std = by.std(0)
    return np.asarray(np.clip((rows - by.mean(0)) / np.where(std > 0, std, 1.0), -FAR, FAR))
