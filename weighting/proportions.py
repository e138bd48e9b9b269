"""Whether the target's class proportions have changed, what they are, and whether anything may be built on that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..shared.arrays import as_class_numbers, as_class_scores
from ..shared.seeds import derive_seed
from .explanations import Explanations, explanations
from .label_shift import ILL_CONDITIONED, nearest_proportions
from .nearest_means import nearest_means

__all__ = ["ClassProportions", "class_proportions"]

Array = NDArray[np.float64]
LEVEL = 0.05  # of the test; the intervals hold 1 minus it
DRAWS, FEWER_DRAWS, MANY_CLASSES = 200, 50, 100  # each takes 50 ms at 345 classes
NULL_DRAWS = 1000
LEAST_MOVED = 0.1  # of the target's rows: the predictions of fewer move under many a shift, and fewer do little harm
WIDEST = 0.6  # an interval that is wider says nothing
UNEXPLAINED = 0.1  # of the target's predictions that no proportions explain
FAR = 0.4  # how far apart two classifiers may put the target, of how far the network puts it from the source
FAR_ALONE = 0.8  # the same, where the rows themselves show the proportions alone to have changed
LEFT, MUCH = (
    0.03,
    0.1,
)  # classes left with less than the first of their share, and that were more than the second of all
SHOWN = 3  # classes in a sentence


@dataclass(frozen=True, eq=False)
class ClassProportions:
    """The target's class proportions as held-out source rows and two classifiers' predictions tell them.

    Attributes:
        proportions: estimated, (k,), of sum 1, all above 0: the mean over draws.
        low: lower ends of their 95% intervals, (k,).
        high: upper ends, (k,).
        source: of all source rows, (k,).
        explained: what of the domains' distance the proportions explain, and what moving and scaling the features
            does; None without the rows.
        second: what the second classifier's predictions tell, (k,); None without one.
        p_value: of "the target's predictions are those that the source's proportions would give".
        moved: the share of target rows by which the predicted proportions differ from those that the source's would
            give (total variation).
        residual: the share of target predictions that no proportions explain.
        condition: of the confusion matrix.
        n_source: held-out rows.
        n_target: rows.
        changed: whether the predictions have moved: ``p_value`` at most 0.05, and ``moved`` at least 0.1.
        doubt: why nothing is to be built on the estimate; empty if something may.
        looks_different: whether the doubt is that the classes look different in the target, and not that the rows or
            the classifier are too weak to tell.
    """

    proportions: Array
    low: Array
    high: Array
    source: Array
    second: Array | None
    explained: Explanations | None
    p_value: float
    moved: float
    residual: float
    condition: float
    n_source: int
    n_target: int
    changed: bool
    doubt: str
    looks_different: bool

    @property
    def trusted(self) -> bool:
        """Whether the estimate may be built on."""
        return not self.doubt

    def evidence(self, classes: Sequence[Any] | None = None) -> str:
        """The numbers in half a sentence, the classes that changed most first.

        Args:
            classes: their names; their numbers if left out.
        """
        order = np.argsort(-np.abs(self.proportions - self.source), kind="stable")[:SHOWN]
        names = [str(c if classes is None else classes[c]) for c in order]
        parts = [
            f"class {name}: {self.source[c]:.2f} of the source, {self.proportions[c]:.2f} of the target "
            f"({self.low[c]:.2f} to {self.high[c]:.2f})"
            for name, c in zip(names, order, strict=True)
        ]
        p = f"p < {LEVEL / 10:g}" if self.p_value < LEVEL / 10 else f"p = {self.p_value:.3f}"
        return "; ".join(parts) + f" ({p}, {self.n_source} held-out source rows)"


def class_proportions(
    source_logits: Any,
    source_labels: Any,
    target_logits: Any,
    *,
    proportions: Any = None,
    rows: tuple[Any, NDArray[np.int64], Any] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> ClassProportions:
    r"""Estimate the target's class proportions from few held-out rows, and say whether the estimate can be trusted.

    The estimate is that of :func:`~landbridge.weighting.label_shift.label_shift`, over draws of what is uncertain,

    .. math:: C_{\cdot j} \sim \mathrm{Dirichlet}(n_{\cdot j} + c_{\cdot j}), \quad
        \mu \sim \mathrm{Dirichlet}(m + 1 / (2 k)), \quad \hat q = E \arg\min_q \| C q - \mu \|

    with n the counts of predictions where the label is j, m those in the target, and c one row's worth of the
    classifier's accuracy over all classes, the errors spread evenly: where a class has two held-out rows and both are
    right, its column is not certain, as it is to a bootstrap. The p-value is the share of draws of C, and of target
    predictions from C p, that lie as far from :math:`\bar C p` as those found, p the source's proportions: these are
    known from all labels, so that few held-out rows cost less.

    **Changed** means that the predictions have moved, which any shift can do. The estimate **is trusted** where none of
    these speaks against it: a class that the held-out rows lack, or that is never predicted for them; an interval wider
    than 0.6; a condition number above 10; classes of a tenth of the source or more that would be left with less than
    3% of their share; more than a tenth of the predictions left unexplained; and, where the rows
    are given,

    * a second classifier (:func:`~landbridge.weighting.nearest_means.nearest_means`) whose predictions tell other
      proportions, by more than 0.4 of what the first ones differ from the source's (0.8, where the proportions alone
      explain the rows);
    * features that moved or were scaled and so explain the rows better than the proportions do
      (:func:`~landbridge.weighting.explanations.explanations`).

    Where nothing but the proportions has changed, all classifiers tell the same ones, and the source's classes in these
    proportions are the target. Where the classes look different, classifiers err differently; or all alike, where the
    features moved from one class towards another.

    Args:
        source_logits: (n, k), of source rows that the classifier was not trained on.
        source_labels: class numbers of these rows, (n,).
        target_logits: (m, k).
        proportions: of the classes in the whole source, (k,); those of ``source_labels`` if left out.
        rows: of the source (n_s, ...), their class numbers, and of the target (m, ...), as they came: for what the
            predictions of one classifier cannot tell.
        draws: how many; at most 50 above 100 classes.
        seed: of the draws.

    Returns:
        A :class:`ClassProportions`.

    Raises:
        TypeError, ValueError: as ``label_shift``; for proportions that are none.

    Source: Lipton, Wang, Smola, Detecting and Correcting for Label Shift with Black Box Predictors, ICML 2018, for the
    estimate; its distribution and the rule are this project's (docs/label-shift.md).

    >>> source, target = [[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50, [[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 80
    >>> found = class_proportions(source, [0] * 50 + [1] * 50, target)
    >>> found.proportions.round(1).tolist(), found.changed, found.trusted
    ([0.2, 0.8], True, True)
    """
    counts, predicted = _counts(source_logits, source_labels, target_logits)
    k = len(counts)
    p = counts.sum(0) / counts.sum() if proportions is None else _as_proportions(proportions, k)
    if k > MANY_CLASSES:
        draws = min(draws, FEWER_DRAWS)
    first = _Estimate(counts, predicted, p, draws, seed)
    p_value, moved = first.test()
    other, explained = None, None
    if rows is not None:
        means = nearest_means(*rows, classes=k)
        other = _Estimate(*_counts(means.source, rows[1], means.target), p, draws, seed).mean
        if p_value <= LEVEL and moved >= LEAST_MOVED:
            explained = explanations(*rows, first.mean, seed=seed)
    low, high = np.quantile(first.draws, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    condition = float(np.linalg.cond(first.confusion[:, p > 0]))
    residual = first.residual()
    weak = _weak(counts, p, float((high - low).max()), condition)
    different = _different(p, first.mean, other, explained, residual)
    if not different:
        weak = weak or _vanishing(p, first.mean)
    return ClassProportions(
        proportions=first.mean,
        low=low,
        high=high,
        source=p,
        second=other,
        explained=explained,
        p_value=p_value,
        moved=moved,
        residual=residual,
        condition=condition,
        n_source=int(counts.sum()),
        n_target=int(predicted.sum()),
        changed=p_value <= LEVEL and moved >= LEAST_MOVED,
        doubt=weak or different,
        looks_different=not weak and bool(different),
    )


class _Estimate:
    """One classifier's: its confusion matrix, and draws of the proportions."""

    def __init__(self, counts: Array, predicted: Array, p: Array, draws: int, seed: int) -> None:
        self.random = np.random.default_rng(derive_seed("class-proportions", seed))
        k = len(counts)
        accuracy = (np.trace(counts) + 1) / (counts.sum() + 2)
        usual = np.full((k, k), (1 - accuracy) / (k - 1))
        np.fill_diagonal(usual, accuracy)
        self.weights, self.p = counts + usual, p  # (predicted, label): of the Dirichlet distributions
        self.confusion = self.weights / self.weights.sum(0)
        self.predicted, self.n = predicted / predicted.sum(), int(predicted.sum())
        there = p > 0
        self.draws = np.zeros((draws, k))
        for draw in self.draws:
            mass = self.random.standard_gamma(self.weights[:, there])
            target = self.random.dirichlet(predicted + 0.5 / k)
            draw[there] = nearest_proportions(mass / mass.sum(0), target, p[there])
        self.mean = self.draws.mean(0)

    def test(self) -> tuple[float, float]:
        """The p-value, and the total variation that it is of."""
        expected = self.confusion @ self.p
        moved = _apart(self.predicted, expected)
        shares = np.zeros((NULL_DRAWS, len(expected)))
        for column, share in zip(self.weights.T, self.p, strict=True):
            shares += share * self.random.dirichlet(column, size=NULL_DRAWS)
        null = np.array([_apart(self.random.multinomial(self.n, row / row.sum()) / self.n, expected) for row in shares])
        return float((1 + (null >= moved - 1e-12).sum()) / (1 + NULL_DRAWS)), moved

    def residual(self) -> float:
        """The share of the target's predictions that the nearest proportions leave unexplained."""
        there = self.p > 0
        q = nearest_proportions(self.confusion[:, there], self.predicted, self.p[there])
        return _apart(self.confusion[:, there] @ q, self.predicted)


def _apart(one: Array, other: Array) -> float:
    """Total variation."""
    return float(np.abs(one - other).sum() / 2)


def _counts(source_logits: Any, source_labels: Any, target_logits: Any) -> tuple[Array, Array]:
    """How often each class is predicted where the label is j, (k, k), and in the target, (k,)."""
    name = "class_proportions"
    source = as_class_scores(name, "source_logits", source_logits)
    target = as_class_scores(name, "target_logits", target_logits)
    k = source.shape[1]
    if target.shape[1] != k:
        raise ValueError(
            f"{name} needs the same classes in both domains; got source_logits {source.shape} and target_logits "
            f"{target.shape}. Pass both through the same network."
        )
    labels = as_class_numbers(name, "source_labels", source_labels, len(source), classes=k)
    counts = np.bincount(source.argmax(1) * k + labels, minlength=k * k).reshape(k, k)
    return counts.astype(np.float64), np.bincount(target.argmax(1), minlength=k).astype(np.float64)


def _as_proportions(given: Any, k: int) -> Array:
    p = np.asarray(given, dtype=np.float64)
    if p.shape != (k,) or not (p >= 0).all() or not 0 < p.sum() < np.inf:
        raise ValueError(
            f"class_proportions needs proportions as one non-negative number a class, shape ({k},); got {given!r}."
        )
    return np.asarray(p / p.sum())


def _weak(counts: Array, p: Array, widest: float, condition: float) -> str:
    """Why the rows or the classifier cannot tell the proportions, as a half-sentence; empty if they can."""
    missing = np.flatnonzero((counts.sum(0) == 0) & (p > 0))
    if len(missing):
        return f"no source row of class {_listed(missing)} was held out"
    never = np.flatnonzero((counts.sum(1) == 0) & (p > 0))
    if len(never):
        return f"class {_listed(never)} is never predicted on held-out source rows"
    if condition > ILL_CONDITIONED:
        return f"the classifier confuses classes too often (condition number {condition:.0f})"
    if widest > WIDEST:
        return f"{int(counts.sum())} held-out source rows leave an interval as wide as {widest:.2f}"
    return ""


def _vanishing(p: Array, q: Array) -> str:
    """Whether classes would be all but gone, as a half-sentence: likelier a classifier that fails on the target."""
    gone = q < LEFT * p
    if p[gone].sum() < MUCH:
        return ""
    return (
        f"it would leave class {_listed(np.flatnonzero(gone))} {100 * q[gone].sum():.1f} % of the rows, which were "
        f"{100 * p[gone].sum():.0f} % of the source: a class may be gone, or not be recognised any more"
    )


def _different(p: Array, q: Array, other: Array | None, explained: Explanations | None, residual: float) -> str:
    """What speaks for classes that look different in the target, as a half-sentence; empty if nothing does."""
    if residual > UNEXPLAINED:
        return f"no proportions explain {100 * residual:.0f} % of the predictions, so the classes look different"
    far = FAR_ALONE if explained is not None and explained.alone else FAR
    if other is not None and _apart(other, q) > far * _apart(q, p):
        return (
            "a second classifier tells other proportions (they differ in "
            f"{100 * _apart(other, q):.0f} % of the rows), so the classes may look different instead"
        )
    if explained is not None and not (explained.alone or explained.beside):
        return "features that moved or were scaled explain the target better, so the classes look different"
    return ""


def _listed(classes: NDArray[np.intp]) -> str:
    return ", ".join(map(str, classes[:SHOWN].tolist())) + (", ..." if len(classes) > SHOWN else "")
