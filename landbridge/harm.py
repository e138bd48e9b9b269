"""What is known of a network without target labels, and whether it speaks of harm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .proportions import Proportions
from .shared.result import FitResult
from .shared.validators import Entropy, InformationMaximisation, Outputs, Stored, collapse
from .weighting.second_opinion import SecondOpinion

__all__ = ["NegativeTransferWarning", "Scores", "negative_transfer", "scores_of"]

Array = NDArray[Any]
EXPECTED_LOSS = 0.015  # of target accuracy, by the second opinion of the rows as they came
LEAST_EXPECTED = 0.5  # of source-only: classifiers that agree with it less are no judges
EXPECTED_GAIN = 0.05  # by that of the rows moved: so much speaks for features that moved, and against harm
LOST_ACCURACY = 0.02
STANDARD_ERRORS = 2.0


class NegativeTransferWarning(UserWarning):
    """The label-free scores say that adapting has done harm; see :func:`negative_transfer` for the rule."""


@dataclass(frozen=True)
class Scores:
    """What is known of a network without target labels.

    Attributes:
        source: accuracy on source rows that were held out of training (R squared in regression); None if none were.
            Where the source was drawn in other proportions, the classes count in these.
        held_out: how many rows these were.
        information_maximisation: of the target predictions, from 0 to log k, higher is better; None in regression.
        entropy: minus the mean entropy of the target predictions, at most 0, higher is better; None in regression.
        collapse: a sentence if the target predictions have collapsed into few classes, else None.
        target: accuracy (R squared) on the rows and labels of ``evaluate``, which trained nothing; None without.
        expected: the target accuracy that classical classifiers expect, trained on the source's rows
            (:class:`~landbridge.weighting.second_opinion.SecondOpinion`; in the target's proportions, where the source
            was drawn in these): of the target's rows as they came, and moved and scaled as the source; None in
            regression, and where source-only was not trained.
    """

    source: float | None
    held_out: int
    information_maximisation: float | None
    entropy: float | None
    collapse: str | None
    target: float | None
    expected: tuple[float, float] | None = None


def negative_transfer(before: Scores | None, after: Scores, classes: int) -> list[str]:
    r"""Whether scores without target labels speak of negative transfer: one sentence for each sign of it.

    The first sign is a second opinion: four classical classifiers, trained on the source's rows, expect the adapted
    network's target predictions to be right less often than source-only's, by

    .. math:: \frac1m \sum_{i=1}^m \left( P(x_i)_{\hat y_i} - P(x_i)_{\hat y'_i} \right) > 0.015

    with P their mean probabilities (:func:`~landbridge.weighting.second_opinion.second_opinion`), and yhat, yhat' the
    predictions before and after. They have learned nothing that alignment could have spoilt, but where the features
    moved they are wrong as source-only is: so it counts only if the same difference for the rows moved and scaled to
    the source's mean and deviations is above -0.05, and if they expect more than half of source-only's to be right. The
    other signs are: the predictions have collapsed into few classes
    (:func:`~landbridge.shared.validators.collapse`), and source-only's have not; or accuracy on held-out source rows
    has fallen by more than 0.02 and by more than two standard errors of a difference of two binomial shares. None
    of them is a proof, and their absence is none either.

    How good that is was counted on data sets that the bounds were not chosen on (spoken digits, sentences, wine,
    mushrooms, iris; 200 steps, own weights and far too high ones): of 24 runs that lost more than two points of target
    accuracy where proportions are ignored, 5 were corrected by :func:`adapt` so that they lost no more and 14 warned;
    of 75 that lost nothing, 2 warned. On those that they were chosen on, without any correction: 64 of 105, and 16 of
    153 (docs/label-shift.md).

    Args:
        before: of source-only; None: only whether predictions have collapsed is looked at.
        after: of the adapted network.
        classes: k; 0 in regression, where only R squared on the source, falling by more than 0.02, is looked at.
    """
    found = []
    if after.collapse is not None and (before is None or before.collapse is None):
        found.append(f"The adapted network's target predictions have {after.collapse}. Lower the method's weight.")
    if before is None:
        return found
    if before.expected is not None and after.expected is not None:
        lost, moved = (was - now for was, now in zip(before.expected, after.expected, strict=True))
        if before.expected[0] > LEAST_EXPECTED and lost > EXPECTED_LOSS and moved > -EXPECTED_GAIN:
            found.append(
                "Classifiers of other kinds, trained on the source alone, expect fewer target predictions to be right: "
                f"{100 * after.expected[0]:.1f} % after adapting, {100 * before.expected[0]:.1f} % before. Compare "
                "with source-only, or lower the method's weight."
            )
    if before.source is not None and after.source is not None:
        lost = before.source - after.source
        noise = 0.0
        if classes:
            variances = [s * (1 - s) for s in (before.source, after.source)]
            noise = STANDARD_ERRORS * math.sqrt(sum(variances) / max(1, after.held_out))
        if lost > max(LOST_ACCURACY, noise):
            what = "accuracy" if classes else "R squared"
            found.append(
                f"Adapting has cost {what} on held-out source rows: {after.source:.3f} after, {before.source:.3f} "
                "before. The features no longer tell what they should; lower the method's weight."
            )
    return found


def scores_of(
    result: FitResult,
    train: Array,
    held_out: tuple[Any, Array] | None,
    target: Any,
    evaluate: tuple[Any, Array] | None,
    task: str,
    *,
    proportions: Proportions | None = None,
    opinion: SecondOpinion | None = None,
) -> Scores:
    """What is known of a trained network.

    Args:
        result: of it.
        train: the labels it was trained on.
        held_out: source rows and labels that it was not; None without.
        target: rows.
        evaluate: target rows and labels, -1 for a class that the source lacks; None without.
        task: what it was trained for.
        proportions: what was found of the classes' proportions.
        opinion: of the target's rows.
    """
    features, logits = _class_scores(result, target)
    found: tuple[float | None, float | None, str | None] = (None, None, None)
    if task != "regression":
        nothing = Stored(np.zeros((0, logits.shape[1])), np.zeros((0, features.shape[1])), np.zeros(0, dtype=np.int64))
        outputs = Outputs(nothing, None, Stored(logits, features))
        found = (InformationMaximisation().score(outputs), Entropy().score(outputs), collapse(logits, train))
    weights = None if proportions is None else proportions.weights
    expected = None if opinion is None else opinion.expects(logits.argmax(1), weights)
    return Scores(
        None if held_out is None else _right(result, *held_out, task, source=True, weights=weights),
        0 if held_out is None else len(held_out[1]),
        *found,
        None if evaluate is None else _right(result, *evaluate, task),
        expected,
    )


def _class_scores(result: FitResult, inputs: Any, *, source: bool = False) -> tuple[Array, Array]:
    """Features and what the head gives: logits (n, k), of one logit (0, z), or values (n, m)."""
    features, scores = result.forward(inputs, source=source)
    return features.numpy(), scores.double().reshape(len(scores), -1).numpy()


def _right(
    result: FitResult, inputs: Any, labels: Array, task: str, *, source: bool = False, weights: Array | None = None
) -> float:
    """Accuracy, each row by its class's weight, or R squared (of all values together), of rows of either domain."""
    scores = _class_scores(result, inputs, source=source)[1]
    if task != "regression":
        return float(np.average(scores.argmax(1) == labels, weights=None if weights is None else weights[labels]))
    wanted = labels.reshape(scores.shape).astype(np.float64)
    total = float(np.square(wanted - wanted.mean(0)).sum())
    return 1.0 - float(np.square(wanted - scores).sum()) / total if total > 0 else 0.0
