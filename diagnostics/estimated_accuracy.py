"""The accuracy on the target, estimated without its labels: from confidences, or from two networks' agreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..shared.arrays import as_logits
from ..shared.checks import nearest
from ..shared.seeds import derive_seed
from .bootstrap import check_interval
from .calibration import log_probabilities, temperature_of
from .inputs import as_class_numbers, as_class_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EstimatedAccuracy", "agreement", "estimated_accuracy"]

Array = NDArray[np.float64]
Way = Literal["atc", "atc-confidence", "difference-of-confidences"]
SCORES = {
    "atc": "negative entropy",
    "atc-confidence": "log odds of the confidence",
    "difference-of-confidences": "confidence",
}


@dataclass(frozen=True, eq=False)
class EstimatedAccuracy:
    """What the accuracy on the target may be, by a way that needs none of its labels.

    Attributes:
        value: the estimate, 0 to 1.
        low: lower end of its interval; NaN where none was asked for. It knows of chance alone, not of the way's
            assumption.
        high: upper end.
        level: of the interval, 0.95.
        method: the way.
        source_accuracy: measured on the source rows given; NaN for ``"agreement"``, which sees none.
        threshold: of the score, below which a row counts as an error; NaN for other ways.
        temperature: by which the logits were divided.
        source_scores: each source row's score, (n_s,); empty for ``"agreement"``.
        target_scores: each target row's, (n_t,).
        n_source: rows of the source used.
        n_target: rows of the target used.
        note: how the logits were read, if not as logits.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    source_accuracy: float
    threshold: float
    temperature: float
    source_scores: Array
    target_scores: Array
    n_source: int
    n_target: int
    note: str = ""

    def plot(self, ax: Axes | None = None) -> Axes:
        """How the scores of both domains are distributed, with the threshold; for agreement, its share."""
        from ..shared.style import INK, SOURCE, TARGET, axes

        ax = axes(ax)
        interval = "" if np.isnan(self.low) else f" ({self.low:.0%} to {self.high:.0%})"
        ax.set_title(f"Estimated accuracy {self.value:.1%}{interval}", color=INK)
        if not len(self.source_scores):
            ax.bar([0, 1], [self.value, 1 - self.value], color=[TARGET, "#BBBBBB"], width=0.6)
            ax.set_xticks([0, 1], ["networks agree", "disagree"])
            ax.set_ylabel("share of target rows")
            return ax
        both = np.concatenate([self.source_scores, self.target_scores])
        edges = np.histogram_bin_edges(np.clip(both, *np.quantile(both, [0.005, 0.995])), bins=30)
        shares = [
            np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
            for scores in (self.source_scores, self.target_scores)
        ]
        ax.stairs(shares[0], edges, fill=True, color=SOURCE, alpha=0.35, label="source")
        ax.stairs(shares[1], edges, color=TARGET, linewidth=1.5, label="target")
        top = float(np.max(shares))
        ax.set_ylim(0, 1.5 * top)  # room for the legend
        if np.isfinite(self.threshold):
            ax.vlines(self.threshold, 0, 1.05 * top, INK, "--", linewidth=1.2, label="counted as errors below")
        ax.set_xlabel(SCORES[self.method])
        ax.set_ylabel("share of rows")
        ax.legend(frameon=False, loc="upper left")
        return ax


def estimated_accuracy(
    source_logits: Any,
    source_labels: Any,
    target_logits: Any,
    *,
    method: Way = "atc",
    calibrate: bool = True,
    bootstrap: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> EstimatedAccuracy:
    r"""The target accuracy that the confidences of a classifier promise.

    ``"atc"``, average thresholded confidence: the threshold t below which as many source rows lie as are wrong, and the
    share of target rows at or above it,

    .. math:: \frac1{n_s} \sum_i [s(x^s_i) < t] = \mathrm{err}_s, \qquad
        \widehat{\mathrm{acc}}_t = \frac1{n_t} \sum_j [s(x^t_j) \ge t]

    with the score s the negative entropy of the softmax; ``"atc-confidence"`` with its largest probability (through its
    log odds, which order the rows alike and do not round to 1). Where several source rows have the score t, the same
    fraction of those of the target counts as wrong, so that on the source's own rows the answer is its accuracy.

    ``"difference-of-confidences"``: the source accuracy less what the mean confidence has fallen,

    .. math:: \widehat{\mathrm{acc}}_t = \mathrm{acc}_s - \Big( \frac1{n_s} \sum_i \max_c p_c(x^s_i)
        - \frac1{n_t} \sum_j \max_c p_c(x^t_j) \Big),

    cut off at 0 and 1.

    The first two **assume** that the threshold which counts the source's errors counts the target's; the third that the
    classifier is as much too sure of itself on the target as on the source. A classifier that is wrong and sure of it
    is believed by all three: no way without labels is right for every shift (Garg et al., section 3). Where they
    disagree, none is to be trusted. The interval is that of resampled rows (percentiles), and knows nothing of this.

    Args:
        source_logits: (n_s, k), of source rows that the classifier was **not** trained on. Rows that are not negative
            and sum to 1 are probabilities: their logarithm is taken, and the ``note`` says so.
        source_labels: class numbers of these rows, (n_s,), from 0 to k - 1.
        target_logits: (n_t, k).
        method: ``"atc"``, ``"atc-confidence"`` or ``"difference-of-confidences"``.
        calibrate: first divide the logits by the temperature fitted on the source rows, as the paper advises.
        bootstrap: resamples; 0 for no interval.
        level: of the interval, between 0 and 1.
        seed: of the resamples.

    Returns:
        An :class:`EstimatedAccuracy`.

    Raises:
        TypeError: for what is no array of numbers, or labels that are no whole numbers.
        ValueError: for differing numbers of classes, labels out of range, or an unknown method.

    Source: Garg et al., Leveraging Unlabeled Data to Predict Out-of-Distribution Performance, ICLR 2022, equations 1
    and 2; Guillory et al., Predicting with Confidence on Unseen Distributions, ICCV 2021, for the difference.

    >>> source = [[3.0, 0.0]] * 6 + [[0.0, 3.0]] * 2 + [[0.5, 0.0]] * 2
    >>> labels = [0] * 6 + [1] * 4  # the two unsure ones are wrong
    >>> estimated_accuracy(source, labels, [[3.0, 0.0]] * 4 + [[0.5, 0.0]] * 6, bootstrap=0).value
    0.4
    """
    name = "estimated_accuracy"
    if method not in get_args(Way):
        raise ValueError(f"{name}: " + nearest("method", method, get_args(Way)))
    (source, target), note = as_logits(name, source_logits=source_logits, target_logits=target_logits)
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"{name} needs the same classes in both domains; got source_logits {source.shape} and target_logits "
            f"{target.shape}. Pass both through the same network."
        )
    labels = as_class_numbers(name, "source_labels", source_labels, len(source), classes=source.shape[1])
    check_interval(name, bootstrap, level)
    right = (source.argmax(1) == labels).astype(np.float64)
    temperature = temperature_of(source, labels) if calibrate else 1.0
    score = {"atc": _negative_entropy, "atc-confidence": _log_odds, "difference-of-confidences": _confidence}[method]
    s, t = score(source / temperature), score(target / temperature)

    estimator = _Difference(s, right, t) if method == "difference-of-confidences" else _Thresholded(s, right, t)
    value, threshold = estimator(np.ones(len(s)), np.ones(len(t)))
    low = high = float("nan")
    if bootstrap:
        random = np.random.default_rng(derive_seed(name, seed))
        draws = [
            estimator(_resample(random, len(s)), _resample(random, len(t)))[0]  # counts of each row
            for _ in range(bootstrap)
        ]
        low, high = (float(end) for end in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    return EstimatedAccuracy(
        value=value,
        low=low,
        high=high,
        level=level,
        method=method,
        source_accuracy=float(right.mean()),
        threshold=threshold,
        temperature=temperature,
        source_scores=s,
        target_scores=t,
        n_source=len(s),
        n_target=len(t),
        note=note,
    )


def agreement(logits_a: Any, logits_b: Any, *, level: float = 0.95) -> EstimatedAccuracy:
    r"""The share of target rows on which two networks agree, which estimates their accuracy.

    .. math:: \widehat{\mathrm{acc}} = \frac1n \sum_i \left[ \arg\max_c a_{ic} = \arg\max_c b_{ic} \right]

    **Assumes** that both are the same network trained alike but for the seed (of initialisation or order), and that the
    ensemble of such networks is calibrated on these rows; then disagreement equals error on average (generalisation
    disagreement equality). Under a shift ensembles become overconfident, and the estimate too high. The interval
    is Wilson's, for the share of agreements; it knows nothing of the assumption.

    Args:
        logits_a: (n, k), of the first network on the target rows.
        logits_b: (n, k), of the second on the same rows.
        level: of the interval, between 0 and 1.

    Returns:
        An :class:`EstimatedAccuracy` of method ``"agreement"``.

    Raises:
        TypeError: for what is no array of numbers.
        ValueError: for differing shapes, or a level out of range.

    Source: Jiang, Nagarajan, Baek, Kolter, Assessing Generalization of SGD via Disagreement, ICLR 2022; Wilson (1927).

    >>> agreement([[1.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [3.0, 1.0]]).value
    0.5
    """
    a, b = as_class_scores("agreement", "logits_a", logits_a), as_class_scores("agreement", "logits_b", logits_b)
    if a.shape != b.shape:
        raise ValueError(f"agreement needs both networks' logits of the same rows; got {a.shape} and {b.shape}.")
    check_interval("agreement", 0, level)
    from statistics import NormalDist

    n = len(a)
    same = (a.argmax(1) == b.argmax(1)).astype(np.float64)
    share, z = float(same.mean()), NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return EstimatedAccuracy(
        value=share,
        low=max(0.0, centre - half),
        high=min(1.0, centre + half),
        level=level,
        method="agreement",
        source_accuracy=float("nan"),
        threshold=float("nan"),
        temperature=1.0,
        source_scores=np.empty(0),
        target_scores=same,
        n_source=0,
        n_target=n,
    )


class _Thresholded:
    """The estimate by a threshold, from counts of each row; sorted once for all resamples."""

    def __init__(self, source: Array, right: Array, target: Array) -> None:
        self.order, self.target_order = np.argsort(source, kind="stable"), np.argsort(target, kind="stable")
        self.source, self.target = source[self.order], target[self.target_order]
        self.wrong = 1 - right[self.order]

    def __call__(self, source_counts: Array, target_counts: Array) -> tuple[float, float]:
        source_counts, target_counts = source_counts[self.order], target_counts[self.target_order]
        errors = float(self.wrong @ source_counts)
        below = np.concatenate([[0.0], np.cumsum(source_counts)])  # rows before each place
        if errors >= below[-1]:
            return 0.0, float("inf")
        threshold = self.source[np.searchsorted(below, errors, side="right") - 1]
        first, last = np.searchsorted(self.source, threshold), np.searchsorted(self.source, threshold, side="right")
        wrong_at = (errors - below[first]) / (below[last] - below[first])  # of the rows with this very score
        under = np.searchsorted(self.target, threshold), np.searchsorted(self.target, threshold, side="right")
        target_below = np.concatenate([[0.0], np.cumsum(target_counts)])
        lost = target_below[under[0]] + wrong_at * (target_below[under[1]] - target_below[under[0]])
        return float(1 - lost / target_below[-1]), float(threshold)


class _Difference:
    """The estimate by the difference of mean confidences, from counts of each row."""

    def __init__(self, source: Array, right: Array, target: Array) -> None:
        self.gap, self.target = right - source, target

    def __call__(self, source_counts: Array, target_counts: Array) -> tuple[float, float]:
        gap = self.gap @ source_counts / source_counts.sum()
        estimate = gap + self.target @ target_counts / target_counts.sum()
        return float(np.clip(estimate, 0.0, 1.0)), float("nan")


def _resample(random: np.random.Generator, n: int) -> Array:
    return np.bincount(random.integers(n, size=n), minlength=n).astype(np.float64)


def _confidence(scores: Array) -> Array:
    return np.asarray(np.exp(log_probabilities(scores).max(1)))


def _log_odds(scores: Array) -> Array:
    """log(p / (1 - p)) of the largest probability: it tells apart what has rounded to 1."""
    best, rest = _split(scores)
    return np.asarray(best - rest)


def _negative_entropy(scores: Array) -> Array:
    """Minus the entropy of the softmax, to full relative precision also where it is nearly 0."""
    best, rest = _split(scores)
    others = np.logaddexp(0.0, rest - best)  # -log of the largest probability
    logs = scores - best[:, None] - others[:, None]
    terms = np.exp(logs) * logs  # (n, k)
    terms[np.arange(len(scores)), scores.argmax(1)] = -np.exp(-others) * others
    return np.asarray(terms.sum(1))


def _split(scores: Array) -> tuple[Array, Array]:
    """The largest logit, (n,), and the log of the sum of exponentials of all others, (n,)."""
    rows, top = np.arange(len(scores)), scores.argmax(1)
    best = scores[rows, top]
    others = scores.copy()
    others[rows, top] = -np.inf
    second = others.max(1)
    return best, second + np.log(np.exp(others - second[:, None]).sum(1))
