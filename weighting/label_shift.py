"""Label shift: how often each class occurs in the target, from a classifier's predictions and no target label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..shared.arrays import as_class_numbers, as_class_scores
from ..shared.counts import check_count, check_interval, is_number
from ..shared.seeds import derive_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ILL_CONDITIONED", "LabelShift", "label_shift", "nearest_proportions"]

Array = NDArray[np.float64]
# so small that it moves no estimate that the predictions determine, and chooses among those that they do not
TIE_BREAK = 1e-10
# beyond it an error in the target's predicted proportions may grow tenfold in the estimate
ILL_CONDITIONED = 10.0
MANY_CLASSES, FEWER_RESAMPLES = 100, 100  # each takes some 50 ms at 345 classes


@dataclass(frozen=True, eq=False)
class LabelShift:
    """The target's class proportions as a classifier's predictions tell them.

    Attributes:
        proportions: of the classes in the target, estimated, (k,); not negative, of sum 1.
        low: lower ends of their bootstrap intervals, (k,); NaN where none was asked for.
        high: upper ends, (k,).
        level: of each interval by itself, 0.95.
        weights: target over source proportion, (k,): by these source rows are weighted or resampled; 0 for a class that
            no source row has.
        source_proportions: of the classes among the source rows, (k,).
        predicted_source: how often each class is predicted in the source, (k,).
        predicted_target: the same in the target, (k,).
        confusion: how often class i is predicted where the source label is j, (k, k); each column has the sum 1, or 0
            for a class that no source row has.
        condition: condition number of the confusion matrix (of the classes that the source has): 1 for a perfect
            classifier, inf if two classes cannot be told apart by it; errors may grow by this factor.
        statistic: Pearson's chi-squared of the two counts of predicted classes.
        p_value: of "each class is predicted equally often in both domains".
        residual: the share of target predictions that no class proportions explain, 0 to 1: above 0, something other
            than the class proportions has changed, or n is small.
        n_source: rows of the source used.
        n_target: rows of the target used.
        note: what weakens the estimate, if something does.
    """

    proportions: Array
    low: Array
    high: Array
    level: float
    weights: Array
    source_proportions: Array
    predicted_source: Array
    predicted_target: Array
    confusion: Array
    condition: float
    statistic: float
    p_value: float
    residual: float
    n_source: int
    n_target: int
    note: str = ""

    def rejects(self, level: float = 0.05) -> bool:
        """Whether "the predictions are distributed alike" is rejected at this level of false alarms."""
        return self.p_value <= level

    def plot(self, ax: Axes | None = None, *, classes: Sequence[str] | None = None) -> Axes:
        """The classes' proportions in the source and, with intervals, in the target.

        Args:
            ax: axes to draw in; new ones if left out.
            classes: names of the classes; their numbers if left out.
        """
        from ..shared.style import INK, SOURCE, TARGET, axes

        ax = axes(ax, size=(max(4.2, 1.6 + 0.34 * len(self.proportions)), 3.2))
        place = np.arange(len(self.proportions))
        ax.bar(place - 0.2, self.source_proportions, width=0.4, color=SOURCE, label="source")
        ax.bar(place + 0.2, self.proportions, width=0.4, color=TARGET, label="target, estimated")
        if np.isfinite(self.low).all():
            ends = np.stack([self.proportions - self.low, self.high - self.proportions]).clip(min=0)
            ax.errorbar(place + 0.2, self.proportions, yerr=ends, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        if len(place) <= 20 or classes is not None:
            names = [str(c) for c in place] if classes is None else [str(c) for c in classes]
            ax.set_xticks(place, names, rotation=45 if max(map(len, names)) > 3 else 0)
        ax.set_xlabel("class")
        ax.set_ylabel("proportion")
        ax.set_ylim(
            0, 1.18 * max(self.proportions.max(), self.source_proportions.max(), np.nan_to_num(self.high).max())
        )
        below = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        ax.set_title(f"Class proportions (predictions alike: {below})", color=INK)
        ax.legend(frameon=False, ncols=2, loc="upper right")
        return ax


def label_shift(
    source_logits: Any,
    source_labels: Any,
    target_logits: Any,
    *,
    ridge: float = 0.0,
    bootstrap: int = 500,
    level: float = 0.95,
    permutations: int = 1999,
    seed: int = 0,
) -> LabelShift:
    r"""Black-box shift estimation: the class proportions that explain the predictions on the target.

    .. math:: \hat q = \arg\min_{q \ge 0, \, \sum_j q_j = 1} \| C q - \mu \|^2 + \rho \sum_j p_j (w_j - 1)^2, \qquad
        C_{ij} = \hat P_s(\hat y = i \mid y = j), \quad \mu_i = \hat P_t(\hat y = i), \quad w_j = q_j / p_j

    with yhat the class of the largest logit and p the proportions of the source labels. Where the solution of the
    paper, :math:`w = \hat C^{-1} \mu` with the joint confusion matrix, has no negative entry, this is it (rho = 0; C
    invertible). Where it has, the paper sets those entries to 0; here the nearest explanation among proportions is
    taken, exactly, by one non-negative least-squares problem, so that they still add up to 1. With rho > 0 the weights
    are drawn to 1, much as in RLLS (there the norm, not the squares, and without p). Where C is not invertible the
    predictions leave several answers; the one with weights nearest to 1 in this sum is given, so that classes which
    are always confused keep the ratio that they have in the source.

    It **assumes label shift**: p(x | y) is that of the source, and only p(y) has changed. Under another shift the
    proportions mean nothing; ``residual`` and tests of the features given the class tell some of those cases.
    ``p_value`` asks for less: whether the classes are predicted equally often in both domains. It is exact at any size
    (Pearson's statistic under random exchanges of the domains, drawn given both margins; (1 + hits) / (1 +
    permutations)), and sees every shift that moves the predictions, label shift or not.

    The intervals resample predictions of the source within each class, and of the target (percentiles of the
    bootstrap); a class with few source rows has too narrow a one.

    Args:
        source_logits: (n_s, k), of source rows that the classifier was **not** trained on: on training rows it errs
            less than on the target, and the estimate is biased. Any scores with the same largest entry will do.
        source_labels: class numbers of these rows, (n_s,), from 0 to k - 1.
        target_logits: (n_t, k).
        ridge: rho >= 0.
        bootstrap: how many resamples; 0 for no intervals; above 100 classes 100 at most.
        level: of each interval, between 0 and 1.
        permutations: exchanges drawn for the p-value.
        seed: of resamples and exchanges.

    Returns:
        A :class:`LabelShift`.

    Raises:
        TypeError: for what is no array of numbers, or labels that are no whole numbers.
        ValueError: for differing numbers of classes, labels out of range, or a setting out of range.

    Source: Lipton, Wang, Smola, Detecting and Correcting for Label Shift with Black Box Predictors, ICML 2018,
    proposition 2 and section 4 (BBSE, BBSD); Azizzadenesheli et al., Regularized Learning for Domain Adaptation under
    Label Shifts, ICLR 2019 (RLLS), for the penalty.

    >>> source, target = [[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50, [[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 80
    >>> found = label_shift(source, [0] * 50 + [1] * 50, target)
    >>> found.proportions.round(2).tolist(), found.weights.round(2).tolist(), found.rejects()
    ([0.2, 0.8], [0.4, 1.6], True)
    """
    source = as_class_scores("label_shift", "source_logits", source_logits)
    target = as_class_scores("label_shift", "target_logits", target_logits)
    k = source.shape[1]
    if target.shape[1] != k:
        raise ValueError(
            f"label_shift needs the same classes in both domains; got source_logits {source.shape} and target_logits "
            f"{target.shape}. Pass both through the same network."
        )
    labels = as_class_numbers("label_shift", "source_labels", source_labels, len(source), classes=k)
    check_interval("label_shift", bootstrap, level)
    if not is_number(ridge) or not 0 <= ridge < np.inf:
        raise ValueError(f"label_shift needs a finite ridge >= 0; got {ridge!r}.")
    check_count("label_shift", "permutations", permutations, 1)

    counts = np.bincount(source.argmax(1) * k + labels, minlength=k * k).reshape(k, k)  # (predicted, label)
    predicted = np.bincount(target.argmax(1), minlength=k)
    present = np.flatnonzero(counts.sum(0))
    p_source = counts.sum(0) / len(source)
    confusion = np.zeros((k, k))
    confusion[:, present] = counts[:, present] / counts[:, present].sum(0)

    proportions = np.zeros(k)
    proportions[present] = nearest_proportions(confusion[:, present], predicted / len(target), p_source[present], ridge)
    weights = np.divide(proportions, p_source, out=np.zeros(k), where=p_source > 0)
    low = high = np.full(k, np.nan)
    if k > MANY_CLASSES:
        bootstrap = min(bootstrap, FEWER_RESAMPLES)
    if bootstrap:
        low, high = _intervals(counts, predicted, present, ridge, bootstrap, level, seed)
    statistic, p_value = _homogeneity(counts.sum(1), predicted, permutations, seed)
    condition = float(np.linalg.cond(confusion[:, present]))
    return LabelShift(
        proportions=proportions,
        low=low,
        high=high,
        level=level,
        weights=weights,
        source_proportions=p_source,
        predicted_source=counts.sum(1) / len(source),
        predicted_target=predicted / len(target),
        confusion=confusion,
        condition=condition if condition < 1 / np.finfo(np.float64).eps else float("inf"),
        statistic=statistic,
        p_value=p_value,
        residual=float(np.abs(confusion @ proportions - predicted / len(target)).sum() / 2),
        n_source=len(source),
        n_target=len(target),
        note=_note(k, present, condition),
    )


def nearest_proportions(confusion: Array, predicted: Array, p_source: Array, ridge: float = 0.0) -> Array:
    r"""The class proportions that explain the predictions best, the minimiser in :func:`label_shift`.

    By one non-negative least-squares problem. With :math:`A = [C - \mu 1^T; \sqrt\rho \, \mathrm{diag}(1 / \sqrt p)
    (I - p 1^T)]` the objective at q of sum 1 is :math:`|A q|^2`. Over z = s q with s >= 0 the minimum over s of
    :math:`|A z|^2 + (1^T z - 1)^2` is a / (1 + a) for :math:`a = |A q|^2`, and grows with a; so z / sum(z) is the
    minimiser.

    Args:
        confusion: C, how often class i is predicted where the label is j, (k, k) or (k, those that are there).
        predicted: mu, how often each class is predicted in the target, (k,).
        p_source: of the classes in the source, above 0; as many as C has columns.
        ridge: rho.

    >>> nearest_proportions(np.eye(2), np.array([0.3, 0.7]), np.array([0.5, 0.5])).round(6).tolist()
    [0.3, 0.7]
    """
    from scipy.optimize import nnls

    k = len(p_source)
    pull = np.sqrt(ridge + TIE_BREAK) * (np.eye(k) - p_source[:, None]) / np.sqrt(p_source)[:, None]
    rows = np.concatenate([confusion - predicted[:, None], pull, np.ones((1, k))])
    right = np.zeros(len(rows))
    right[-1] = 1.0
    solution, _ = nnls(rows, right)
    return np.asarray(solution / solution.sum(), dtype=np.float64)


def _intervals(
    counts: NDArray[np.int64],
    predicted: NDArray[np.int64],
    present: NDArray[np.intp],
    ridge: float,
    bootstrap: int,
    level: float,
    seed: int,
) -> tuple[Array, Array]:
    """Percentiles of the proportions over resampled predictions, (k,) each; what is resampled are counts."""
    random = np.random.default_rng(derive_seed("label-shift", "bootstrap", seed))
    totals = counts[:, present].sum(0)  # (classes present,)
    p_source = totals / totals.sum()
    resampled_target = random.multinomial(predicted.sum(), predicted / predicted.sum(), size=bootstrap)
    resampled_source = np.stack(  # (bootstrap, predicted, label): within each class
        [random.multinomial(n, counts[:, j] / n, size=bootstrap) / n for j, n in zip(present, totals, strict=True)], -1
    )
    draws = np.zeros((bootstrap, len(counts)))
    for draw, confusion, target in zip(draws, resampled_source, resampled_target, strict=True):
        draw[present] = nearest_proportions(confusion, target / target.sum(), p_source, ridge)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _homogeneity(
    source: NDArray[np.int64], target: NDArray[np.int64], permutations: int, seed: int
) -> tuple[float, float]:
    """Pearson's chi-squared of two histograms and its permutation p-value.

    To exchange the domains of all rows at random is to draw one domain's counts from the pooled ones without putting
    back: the multivariate hypergeometric distribution.
    """
    random = np.random.default_rng(derive_seed("label-shift", "permutations", seed))
    pooled = source + target
    used = pooled > 0
    n_s, n = int(source.sum()), int(pooled.sum())
    expected = pooled[used] * (n_s / n)
    # of both domains' terms: the deviations are opposite, and divided by the expected counts of each
    factor = 1 / expected + 1 / (pooled[used] - expected)

    def chi_squared(counts: NDArray[np.int64]) -> Array:
        return np.asarray((counts[..., used] - expected) ** 2 @ factor)

    observed = float(chi_squared(source))
    draws = chi_squared(random.multivariate_hypergeometric(pooled, n_s, size=permutations, method="marginals"))
    hits = int((draws >= observed * (1 - 1e-12)).sum())  # equal tables must count as equal, whatever the rounding
    return observed, (1 + hits) / (1 + permutations)


def _note(k: int, present: NDArray[np.intp], condition: float) -> str:
    notes = []
    if len(present) < k:
        missing = sorted({*range(k)} - {*present.tolist()})
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        notes.append(f"no source row has class {shown}: taken to be absent from the target too")
    if condition > ILL_CONDITIONED:
        notes.append("the classifier confuses classes so often that their proportions are uncertain")
    return "; ".join(notes)
