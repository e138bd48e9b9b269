"""Calibration: whether a classifier is right as often as its confidence says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..shared.arrays import as_logits
from ..shared.seeds import derive_seed
from .inputs import as_class_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Calibration", "calibration", "fit_temperature", "log_probabilities"]

Array = NDArray[np.float64]
TEMPERATURES = (0.05, 20.0)  # a classifier without an error would be sharpened without end


@dataclass(frozen=True, eq=False)
class Calibration:
    """How a classifier's confidence stands to its accuracy.

    Attributes:
        error: expected calibration error (ECE), 0 to 1.
        error_if_calibrated: the ECE that a perfectly calibrated classifier with these confidences shows on as many
            rows, on average; ECE is never 0 on a sample.
        p_value: of "the classifier is calibrated", by the same draws.
        largest_error: of a bin that is not empty (MCE), 0 to 1.
        brier: the Brier score, 0 to 2.
        log_loss: mean cross-entropy, in nats.
        accuracy: share of right predictions.
        confidence: mean of the largest probability; above the accuracy: overconfident.
        edges: of the bins of confidence, (bins + 1,).
        bin_confidence: mean confidence in each bin, (bins,); NaN in an empty one.
        bin_accuracy: share of right predictions in each bin, (bins,); NaN in an empty one.
        bin_counts: rows in each bin, (bins,).
        n: rows.
        note: how the logits were read, if not as logits.
    """

    error: float
    error_if_calibrated: float
    p_value: float
    largest_error: float
    brier: float
    log_loss: float
    accuracy: float
    confidence: float
    edges: Array
    bin_confidence: Array
    bin_accuracy: Array
    bin_counts: NDArray[np.int64]
    n: int
    note: str = ""

    def plot(self, ax: Axes | None = None) -> Axes:
        """The reliability diagram: accuracy against confidence, bins with more rows drawn larger."""
        from ..shared.style import INK, SOURCE, TARGET, axes

        ax = axes(ax)
        used = self.bin_counts > 0
        x, y, share = self.bin_confidence[used], self.bin_accuracy[used], self.bin_counts[used] / self.n
        ax.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, label="calibrated", zorder=1)
        ax.vlines(x, x, y, color=TARGET, linewidth=1.5, label="gap", zorder=2)
        ax.scatter(x, y, s=12 + 160 * share, color=SOURCE, edgecolors="white", linewidths=0.5, label="bin", zorder=3)
        low = 0.5 if len(x) and min(x.min(), y.min()) >= 0.5 else 0.0
        ax.set_xlim(low, 1.02)
        ax.set_ylim(low, 1.02)
        ax.set_xlabel("confidence")
        ax.set_ylabel("accuracy")
        ax.set_title(f"Reliability: ECE {self.error:.3f} ({self.error_if_calibrated:.3f} if calibrated)", color=INK)
        ax.legend(frameon=False, loc="upper left", markerscale=0.6)
        return ax


def calibration(
    logits: Any, labels: Any, *, bins: int = 15, adaptive: bool = False, draws: int = 500, seed: int = 0
) -> Calibration:
    r"""The expected calibration error and its reliability diagram.

    .. math:: \mathrm{ECE} = \sum_b \frac{|B_b|}{n} \, | \mathrm{acc}(B_b) - \mathrm{conf}(B_b) |, \qquad
        \mathrm{Brier} = \frac1n \sum_i \sum_c (p_{ic} - [y_i = c])^2

    with the confidence of a row its largest probability, p = softmax(logits). Bins are equally wide, (b/m, (b+1)/m],
    or, if ``adaptive``, hold equally many rows (equal confidences stay together).

    On a sample even a calibrated classifier's ECE is above 0, the more so the fewer rows and the more bins. So the ECE
    of such a classifier is drawn, too: each row right with the probability that its confidence says (consistency
    resampling). ``p_value`` is (1 + hits) / (1 + draws).

    Needs labels, so on the target it can be had only where some are known.

    Args:
        logits: (n, k). Rows that are not negative and sum to 1 are probabilities (``predict_proba``): their logarithm
            is taken, and the ``note`` says so.
        labels: class numbers, (n,), from 0 to k - 1.
        bins: m >= 1.
        adaptive: bins of equally many rows.
        draws: of the calibrated classifier, >= 1.
        seed: of the draws.

    Returns:
        A :class:`Calibration`.

    Raises:
        TypeError: for what is no array of numbers, or labels that are no whole numbers.
        ValueError: for labels out of range, or fewer than 1 bin or draw.

    Source: Naeini, Cooper, Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015, for
    ECE and MCE; Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equations 3 and 5; Nguyen and
    O'Connor, EMNLP 2015, for equal counts; Brier (1950); Broecker and Smith, Increasing the Reliability of Reliability
    Diagrams, Weather and Forecasting 22 (2007), for consistency resampling.

    >>> half = calibration([[0.0, 0.0]] * 10, [0, 1] * 5)
    >>> half.error, half.brier, half.confidence
    (0.0, 0.5, 0.5)
    """
    [scores], note = as_logits("calibration", logits=logits)
    n, k = scores.shape
    classes = as_class_numbers("calibration", "labels", labels, n, classes=k)
    if bins < 1 or draws < 1:
        raise ValueError(f"calibration needs at least 1 bin and 1 draw; got bins={bins} and draws={draws}.")
    logs = log_probabilities(scores)
    p = np.exp(logs)
    confidence = p.max(1)
    right = (scores.argmax(1) == classes).astype(np.float64)
    edges = _equal_counts(confidence, bins) if adaptive else np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)

    counts = np.bincount(place, minlength=len(edges) - 1)
    mean_confidence, accuracy = (
        np.divide(
            np.bincount(place, weights=values, minlength=len(counts)),
            counts,
            out=np.full(len(counts), np.nan),
            where=counts > 0,
        )
        for values in (confidence, right)
    )
    gaps = np.abs(np.nan_to_num(accuracy - mean_confidence))
    error = float((counts * gaps).sum() / n)

    random = np.random.default_rng(derive_seed("calibration", seed))
    drawn = np.empty(draws)
    for draw in range(draws):
        surplus = (random.random(n) < confidence) - confidence
        drawn[draw] = np.abs(np.bincount(place, weights=surplus, minlength=len(counts))).sum() / n
    return Calibration(
        error=error,
        error_if_calibrated=float(drawn.mean()),
        p_value=(1 + int((drawn >= error * (1 - 1e-12)).sum())) / (1 + draws),
        largest_error=float(gaps.max()),
        brier=float(((p - np.eye(k)[classes]) ** 2).sum(1).mean()),
        log_loss=float(-logs[np.arange(n), classes].mean()),
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        edges=edges,
        bin_confidence=mean_confidence,
        bin_accuracy=accuracy,
        bin_counts=counts,
        n=n,
        note=note,
    )


def fit_temperature(logits: Any, labels: Any) -> float:
    r"""The temperature under which the labels are likeliest: logits are divided by it to calibrate them.

    .. math:: T = \arg\min_T - \frac1n \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}, \qquad 0.05 \le T \le 20

    which is convex in 1/T. Above 1: the classifier is overconfident. It changes no prediction.

    Args:
        logits: z, (n, k), of rows that the classifier was not trained on; of probabilities the logarithm is taken.
        labels: class numbers, (n,), from 0 to k - 1.

    Returns:
        T; an end of its range where no error, or nothing but errors, would move it further.

    Raises:
        TypeError: for what is no array of numbers, or labels that are no whole numbers.
        ValueError: for labels out of range.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    >>> round(fit_temperature([[2.0, 0.0]] * 4, [0, 0, 0, 1]), 3)  # right in 3 of 4: log 3 = 2 / T
    1.82
    """
    [scores], _ = as_logits("fit_temperature", logits=logits)
    classes = as_class_numbers("fit_temperature", "labels", labels, len(scores), classes=scores.shape[1])
    return temperature_of(scores, classes)


def temperature_of(scores: Array, classes: NDArray[np.int64]) -> float:
    """:func:`fit_temperature` of checked arguments."""
    from scipy.optimize import minimize_scalar

    shifted = scores - scores.max(1, keepdims=True)  # (n, k)
    of_label = shifted[np.arange(len(scores)), classes]

    def loss(inverse: float) -> float:
        return float((np.log(np.exp(shifted * inverse).sum(1)) - of_label * inverse).mean())

    bounds = (1 / TEMPERATURES[1], 1 / TEMPERATURES[0])
    best = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    best = min((bounds[0], best, bounds[1]), key=loss)  # the search never quite reaches an end
    return 1 / best


def log_probabilities(scores: Array) -> Array:
    """The logarithm of the softmax of each row, (n, k) -> (n, k); unchecked.

    >>> log_probabilities(np.array([[0.0, 0.0]])).round(4).tolist()
    [[-0.6931, -0.6931]]
    """
    shifted = scores - scores.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), dtype=np.float64)


def _equal_counts(confidence: Array, bins: int) -> Array:
    """Edges between which equally many rows lie, as far as equal confidences allow, (at most bins + 1,)."""
    inner = np.sort(confidence)[np.arange(1, bins) * len(confidence) // bins - 1] if len(confidence) >= bins else None
    edges = np.sort(confidence) if inner is None else inner
    return np.concatenate([[0.0], np.unique(edges[edges < 1.0]), [1.0]])
