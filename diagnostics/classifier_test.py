"""The classifier two-sample test: can a classifier tell the domains apart on rows it has not seen?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import full_precision, nearest
from ..shared.seeds import derive_seed, generator
from .blocks import centre_, pool_rows, pooled_bandwidth
from .copies import distinct_pair
from .inputs import as_pair, in_range
from .random_features import fourier_features, frequencies
from .results import TwoSampleTest
from .rows import is_whole

__all__ = ["MOST_FEATURES", "Score", "classifier_test"]

Score = Literal["auc", "accuracy"]
Scores = Callable[[Tensor, Tensor, Tensor], Tensor]

MOST_FEATURES = 2048
"""Features (or rows, if fewer) beyond which the linear classifier sees as many random projections."""
FREQUENCIES = 256
LEAST_PERMUTATIONS = 19  # with fewer, p cannot reach 0.05
BUILT_IN = ("linear", "random-features")
BLOCK = 8192


@full_precision
def classifier_test(
    source: Any,
    target: Any,
    *,
    classifier: Any = "linear",
    score: Score = "auc",
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
) -> TwoSampleTest:
    r"""The classifier two-sample test: do held-out rows show their domain more often than chance would make them?

    Each fold of the pooled rows is scored by a classifier trained on the other folds, the domains balanced. The
    statistic is the mean over the folds of the area under the ROC curve (the chance that a target row scores above a
    source row; ties count half), or of the balanced accuracy: 0.5 where the domains cannot be told apart, 1 where every
    row shows its domain.

    Cross-fitted scores are not independent, so the binomial distribution of a single split does not hold for them;
    the p-value is that of permuting the domains **within each fold and training again**, (1 + hits) / (1 +
    permutations). Folds, standardisation and shrinkage do not look at the domains, so the test is exact.

    ``"linear"`` is Fisher's discriminant, on columns standardised by both domains together, with the pooled covariance
    S shrunk towards a multiple of the identity (Ledoit and Wolf):

    .. math:: w = \left( (1 - \delta) S + \delta \tfrac{\operatorname{tr} S}{d} I \right)^{-1}
        \left( \bar y - \bar x \right)

    S belongs to the training rows and not to their domains: one factorisation a fold serves all permutations. A
    difference of the means is all it sees. Beyond 2048 features and rows it sees 2048 random projections, and ``note``
    says so. ``"random-features"`` is the same on 512 random Fourier features of the standardised columns: it sees any
    difference, with less power against small shifts of the means. Any other value is a scikit-learn classifier, cloned
    and trained folds (1 + permutations) times on the standardised columns, scored by ``predict_proba`` or
    ``decision_function``.

    Args:
        source: (n_s, d), an array or tensor; further dimensions are flattened.
        target: (n_t, d); n_t may differ from n_s.
        classifier: ``"linear"``, ``"random-features"`` or a scikit-learn classifier.
        score: ``"auc"`` or ``"accuracy"``, which is easier to say and of less power. A scikit-learn classifier is right
            above a probability of 1/2, or a decision of 0: give it ``class_weight="balanced"`` for unequal domains.
        folds: at least 2; as many as the smaller domain has rows at most, fewer are taken then.
        permutations: at least 19.
        seed: of folds and permutations; the same seed gives the same bits.

    Raises:
        TypeError: for objects, strings, complex numbers, or what is no classifier.
        ValueError: for fewer than two rows of a domain, differing feature sizes, NaN or inf, or a value out of range.

    Source: Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3; Ledoit and Wolf, A
    Well-Conditioned Estimator for Large-Dimensional Covariance Matrices, J. Multivariate Analysis 88 (2004), lemma 3.3.

    >>> rows = np.random.default_rng(0).normal(size=(2, 100, 3))
    >>> classifier_test(rows[0], rows[1]).rejects(), classifier_test(rows[0], rows[1] + 1).rejects()
    (False, True)
    """
    x, y = as_pair("classifier_test", source, target)
    _check(score, folds, permutations, seed)
    x, y, copies = distinct_pair(x, y, seed=seed)
    n_s, n_t = len(x), len(y)
    x, y, _ = in_range(x, y)
    rows = pool_rows(x, y)
    rows.div_(_spread(rows))
    folds = min(folds, n_s, n_t)
    fold, chosen = _folds(n_s, n_t, folds, permutations, seed)
    note = ""
    if isinstance(classifier, str):
        if classifier not in BUILT_IN:
            raise ValueError("classifier_test: " + nearest("classifier", classifier, BUILT_IN))
        if classifier == "random-features":
            numbers = generator("classifier_test", "frequencies", seed)
            gamma = pooled_bandwidth(rows, seed=seed)
            rows = centre_(fourier_features(rows, frequencies(rows.shape[1], FREQUENCIES, gamma, 1, numbers, rows)))
        rows, width, note = _reduced(rows, seed)
        statistics = _fisher(rows, width, fold.to(rows.device), chosen.to(rows.device), folds, score)
    else:
        statistics = _by_estimator(classifier, rows, fold, chosen, folds, score, seed)
    observed, null = float(statistics[0]), statistics[1:].numpy()
    hits = int((null >= observed - 1e-9).sum())  # shares of pairs of rows: equal ones differ by rounding alone
    name = "classifier two-sample test (AUC)" if score == "auc" else "classifier two-sample test (accuracy)"
    note = "; ".join(filter(None, [note, copies]))
    return TwoSampleTest(name, observed, (1 + hits) / (1 + permutations), n_s, n_t, null, note)


def _spread(rows: Tensor) -> Tensor:
    """The standard deviations of the columns over both domains, (d,); 1 for a constant one."""
    spread = rows.std(0, correction=0)
    return torch.where(spread > 0, spread, 1.0)


def _folds(n_s: int, n_t: int, folds: int, permutations: int, seed: int) -> tuple[Tensor, Tensor]:
    """The fold of each row, (n,), and which rows count as source, (n, 1 + permutations), permuted within the folds.

    Each fold has its share of either domain, and so it has under each permutation.
    """
    numbers = generator("classifier_test", seed)
    fold = torch.cat([torch.randperm(n, generator=numbers) % folds for n in (n_s, n_t)])
    chosen = torch.zeros(n_s + n_t, 1 + permutations, dtype=torch.bool)
    chosen[:n_s] = True
    for number in range(folds):
        members = (fold == number).nonzero()[:, 0]
        shuffled = torch.rand(permutations, len(members), dtype=torch.float64, generator=numbers).argsort(1)
        chosen[members, 1:] = chosen[members, 0][shuffled].T
    return fold, chosen


def _reduced(rows: Tensor, seed: int) -> tuple[Tensor, int, str]:
    """The same rows in as few dimensions as they span, or on random directions where that is still too many.

    The discriminant with a shrunk covariance does not change under rotations, so nothing is lost by the former.

    Returns:
        The rows; the number of features that the shrinkage is to count; and a note.
    """
    n, d = rows.shape
    if d <= min(n, MOST_FEATURES):
        return rows, d, ""
    if n <= MOST_FEATURES:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        return vectors * values.clamp(min=0).sqrt(), d, ""
    numbers = generator("classifier_test", "projections", seed)
    directions = torch.randn(d, MOST_FEATURES, generator=numbers).to(rows)
    note = f"the classifier saw {MOST_FEATURES} random projections of {d} features"
    return rows @ directions / d**0.5, MOST_FEATURES, note


def _fisher(rows: Tensor, width: int, fold: Tensor, chosen: Tensor, folds: int, score: Score) -> Tensor:
    """The mean score of the shrunk discriminant over the folds for each labelling, (b,), float64 on the CPU."""
    total = torch.zeros(chosen.shape[1], dtype=torch.float64)
    for number in range(folds):
        kept, held = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
        training, source = rows[kept], chosen[kept].to(rows)  # (n, q), (n, b)
        n_s = int(source[:, 0].sum())
        n_t = len(kept) - n_s
        sums = training.T @ source  # (q, b)
        source_mean = sums / n_s
        target_mean = (training.sum(0)[:, None] - sums) / n_t
        weights = torch.linalg.solve(_shrunk_covariance(training, width), target_mean - source_mean)  # (q, b)
        middle = ((source_mean + target_mean) / 2 * weights).sum(0)  # (b,)
        scores = rows[held] @ weights - middle  # (held, b)
        total += _scored(scores, chosen[held], score)
    return total / folds


def _shrunk_covariance(rows: Tensor, width: int) -> Tensor:
    """Ledoit and Wolf's covariance of rows, moved to their mean, (q, q); the identity where they do not vary.

    Args:
        rows: (n, q), which may be a rotation of more features into the space they span.
        width: how many features they were, d >= q.
    """
    n, q = rows.shape
    rows = rows - rows.mean(0)
    covariance = rows.T @ rows / n
    level = covariance.trace() / width
    away = (covariance.square().sum() - width * level**2).clamp(min=0)  # ||S - level I||^2
    noise = (rows.square().sum(1).square().mean() - covariance.square().sum()) / n  # of S as an estimate
    shrinkage = float((noise.clamp(min=0) / away).clamp(max=1)) if float(away) > 0 else 1.0
    identity = torch.eye(q, dtype=rows.dtype, device=rows.device)
    if not float(level) > 0:
        return identity
    least = torch.finfo(rows.dtype).eps * q  # so that it can be solved with, however little noise there is
    return (1 - shrinkage) * covariance + max(shrinkage, least) * level * identity


def _scored(scores: Tensor, chosen: Tensor, score: Score) -> Tensor:
    """The score of held-out rows, (n, b) and (n, b) -> (b,), float64 on the CPU; higher scores speak for the target."""
    n_s = int(chosen[:, 0].sum())
    n_t = len(chosen) - n_s
    if score == "accuracy":
        right = torch.where(chosen, scores < 0, scores > 0).double() + (scores == 0) / 2
        of_source = (right * chosen).sum(0)
        return ((of_source / n_s + (right.sum(0) - of_source) / n_t) / 2).cpu()
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(scores.cpu().numpy(), axis=0))  # ties share their mean rank
    of_target = (ranks * ~chosen.cpu()).sum(0)
    return (of_target - n_t * (n_t + 1) / 2) / (n_s * n_t)


def _by_estimator(
    classifier: Any, rows: Tensor, fold: Tensor, chosen: Tensor, folds: int, score: Score, seed: int
) -> Tensor:
    """The mean score over the folds of a scikit-learn classifier, trained anew for each labelling, (b,)."""
    from sklearn.base import clone, is_classifier

    if isinstance(classifier, type) or not hasattr(classifier, "get_params") or not is_classifier(classifier):
        raise TypeError(
            "classifier_test needs classifier as 'linear', 'random-features' or a scikit-learn classifier; got "
            f"{classifier.__name__ if isinstance(classifier, type) else type(classifier).__name__}."
        )
    features = rows.cpu().numpy()
    total = torch.zeros(chosen.shape[1], dtype=torch.float64)
    for number in range(folds):
        kept, held = (fold != number).numpy(), (fold == number).numpy()
        for column in range(chosen.shape[1]):
            domain = (~chosen[:, column]).long().numpy()  # 1: target
            model = clone(classifier)
            if "random_state" in model.get_params():
                model.set_params(random_state=derive_seed("classifier_test", seed) % 2**32)
            scores = _decisions(model.fit(features[kept], domain[kept]), features[held])
            part = chosen[torch.from_numpy(held), column, None]
            total[column] += _scored(torch.from_numpy(scores)[:, None], part, score)[0]
    return total / folds


def _decisions(model: Any, features: NDArray[Any]) -> NDArray[np.float64]:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(features)[:, 1] - 0.5, dtype=np.float64)
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(features), dtype=np.float64)
    raise TypeError(
        "classifier_test needs a classifier with predict_proba or decision_function; got "
        f"{type(model).__name__}, which has neither."
    )


def _check(score: str, folds: object, permutations: object, seed: object) -> None:
    if score not in get_args(Score):
        raise ValueError("classifier_test: " + nearest("score", score, get_args(Score)))
    limits = {"folds": (folds, 2), "permutations": (permutations, LEAST_PERMUTATIONS), "seed": (seed, None)}
    for name, (value, least) in limits.items():
        if not is_whole(value):
            raise TypeError(f"classifier_test needs {name} as a whole number; got {value!r}.")
        if least is not None and value < least:
            raise ValueError(f"classifier_test needs {name} of at least {least}; got {value}.")
