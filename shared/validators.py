"""Validators: scores that choose a checkpoint without target labels, and the detection of collapsed predictions.

Each is an object with a name and the paper it comes from, and scores what a checkpoint put out: logits and features of
source rows (with their labels) and of the target rows that were adapted to. A higher score is better for every one, and
only scores of the same rows compare: of checkpoints, methods and settings on one task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .clustering import adjusted_mutual_information, nearest_means
from .importance import density_ratio
from .neighbourhood import soft_neighbourhood_density

__all__ = [
    "COLLAPSE_VERSION",
    "DEFAULT_VALIDATOR",
    "VALIDATORS",
    "ClassClustering",
    "DeepEmbedded",
    "DeepEmbeddedNormalised",
    "Entropy",
    "ImportanceWeighted",
    "InformationMaximisation",
    "NuclearNorm",
    "Outputs",
    "SoftNeighbourhoodDensity",
    "SourceAccuracy",
    "SourceRisk",
    "Stored",
    "Validator",
    "collapse",
    "control_variate_risk",
    "soft_neighbourhood_density",
]

Array = NDArray[Any]
Cost = Literal["cheap", "model", "training"]

COLLAPSE_VERSION = 1  # grows with every change of what counts as collapsed
COLLAPSED_BELOW = 0.2
SMALLEST = float(np.finfo(np.float64).tiny)  # importance weights may all underflow to 0
SUM_TO_1 = 1e-3  # how far sums of probabilities in half precision may be from 1
ROWS_NEEDED = 10  # fewer predictions do not show a collapse


_WEIGHTED = (
    "source_train.features",
    "source_holdout.features",
    "source_holdout.logits",
    "source_holdout.labels",
    "target.features",
)


class Stored(NamedTuple):
    """What a checkpoint put out for rows of one split.

    Attributes:
        logits: (n, k), floating point and finite.
        features: the inputs of the task head, (n, d).
        labels: (n,) class numbers of source rows; None for the target, always.
        accuracy: on all rows of the split where more were scored than stored, a fraction; None if not known.
    """

    logits: Array
    features: Array
    labels: NDArray[np.int64] | None = None
    accuracy: float | None = None


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Outputs:
    """What a checkpoint put out: all that a validator may see.

    Attributes:
        source_train: rows the network learned from, with labels.
        source_holdout: source rows it did not see, with labels; None where a protocol holds none out.
        target: target rows it was adapted to, without labels.
    """

    source_train: Stored
    source_holdout: Stored | None
    target: Stored

    @cached_property
    def importance(self) -> NDArray[np.float64]:
        """Importance weights of the held-out source rows, (n,), see :func:`density_ratio`; computed once."""
        held_out = _held_out(self)
        return density_ratio(self.source_train.features, self.target.features, held_out.features)


class Validator(ABC):
    """A score of a checkpoint; higher is better.

    Attributes:
        name: as in tables and on the command line.
        paper: where it was proposed, or first used to choose models.
        needs_holdout: whether it needs labelled source rows that were not trained on.
        reads_features: whether it looks at features; the others are given none where that saves reading them.
        reads: the arrays that its score is made of, ``split.array`` of :class:`Outputs`; they are checked.
        weighs: whether it uses importance weights, which are computed once for all that do.
        cost: ``cheap`` (milliseconds; runs in every cell), ``model`` (fits a small model at each checkpoint), or
            ``training`` (trains the classifier again).
        version: grows with every change that changes scores, so that stored ones are computed anew.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    needs_holdout: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("target.logits",)
    weighs: ClassVar[bool] = False
    cost: ClassVar[Cost] = "cheap"
    version: ClassVar[int] = 1

    def missing(self, outputs: Outputs) -> str | None:
        """Why there is no score for these outputs, or None."""
        if self.needs_holdout and outputs.source_holdout is None:
            return "the protocol holds no source rows out"
        return None

    def score(self, outputs: Outputs) -> float:
        """The score; higher is better.

        Raises:
            ValueError: if it needs held-out source rows and there are none, if a split that it reads has too few rows,
                labels that do not fit, numbers that are not finite, or probabilities where logits are meant.
        """
        for place in self.reads:
            _check(self.name, outputs, place)
        return self._score(outputs)

    @abstractmethod
    def _score(self, outputs: Outputs) -> float:
        """The formula; what it reads has been checked."""


class SourceAccuracy(Validator):
    """Accuracy on the held-out source rows: what everybody can measure, and blind to the target."""

    name = "source-accuracy"
    paper = "the usual practice; a baseline in Musgrave et al., arXiv:2208.07360 (2022)"
    needs_holdout = True
    reads = ("source_holdout.logits", "source_holdout.labels")

    def _score(self, outputs: Outputs) -> float:
        held_out = _held_out(outputs)
        if held_out.accuracy is not None:
            return held_out.accuracy
        return float((held_out.logits.argmax(1) == _labels(held_out)).mean())


class SourceRisk(Validator):
    r"""Minus the mean cross-entropy on the held-out source rows.

    .. math:: \frac1n \sum_i \log p_{i, y_i}

    Finer than the accuracy, which is the same for many checkpoints.
    """

    name = "source-risk"
    paper = "Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015 (in part)"
    needs_holdout = True
    reads = ("source_holdout.logits", "source_holdout.labels")

    def _score(self, outputs: Outputs) -> float:
        held_out = _held_out(outputs)
        return -float(_losses(held_out).mean())


class Entropy(Validator):
    r"""Minus the mean entropy of the target predictions.

    .. math:: \frac1n \sum_i \sum_c p_{ic} \log p_{ic}

    0 at best, for certain predictions. Certain and wrong scores as well: a collapsed model is among the best.
    """

    name = "entropy"
    paper = "Morerio, Cavazza, Murino, Minimal-Entropy Correlation Alignment, ICLR 2018"

    def _score(self, outputs: Outputs) -> float:
        p, log_p = _softmax(outputs.target.logits)
        return float((p * log_p).sum(1).mean())


class InformationMaximisation(Validator):
    r"""The mutual information of target rows and predicted classes: certain predictions, spread over the classes.

    .. math:: H(\bar p) - \frac1n \sum_i H(p_i), \quad \bar p = \frac1n \sum_i p_i

    Between 0 (a collapsed model, or one that says the same for each row) and log k.
    """

    name = "information-maximisation"
    paper = (
        "Shi and Sha, Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain Adaptation, "
        "ICML 2012; as a validator Musgrave et al., arXiv:2111.15672 (2021)"
    )

    def _score(self, outputs: Outputs) -> float:
        p, log_p = _softmax(outputs.target.logits)
        mean = p.mean(0)
        spread = -(mean * np.log(np.where(mean > 0, mean, 1.0))).sum()
        return float(spread + (p * log_p).sum(1).mean())


class SoftNeighbourhoodDensity(Validator):
    """How evenly each target row is alike to its neighbours, see :func:`soft_neighbourhood_density`.

    At most log(n - 1), and a collapsed model reaches it: all predictions are alike.
    """

    name = "soft-neighbourhood-density"
    paper = "Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation, ICCV 2021"

    def _score(self, outputs: Outputs) -> float:
        return soft_neighbourhood_density(_softmax(outputs.target.logits)[0])


class NuclearNorm(Validator):
    r"""The nuclear norm of the matrix of target predictions: certain and diverse predictions have a large one.

    .. math:: \frac1n \|P\|_*, \quad P = (p_{ic}) \in R^{n \times k}

    At most :math:`\sqrt{\min(n, k) / n}`; for one class alone it is :math:`\sqrt{1 / n}`. The division by n is
    Musgrave's; all target rows that are stored are one batch.
    """

    name = "nuclear-norm"
    paper = (
        "Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization, CVPR 2020; as a "
        "validator (BNM) Musgrave et al., arXiv:2208.07360 (2022)"
    )

    def _score(self, outputs: Outputs) -> float:
        p, _ = _softmax(outputs.target.logits)
        return float(np.linalg.svd(p, compute_uv=False).sum() / len(p))


class ClassClustering(Validator):
    """How well predicted classes and k-means clusters of the target features agree.

    The adjusted mutual information (arithmetic mean of the entropies) of the predicted labels and the clusters; k
    clusters, begun at the mean feature of each predicted class. Nothing is drawn: where a class is never predicted, its
    cluster begins at the row farthest from all beginnings so far. 1 for perfect agreement, about 0 for none; 0 for a
    collapsed model, since its one class says nothing on k clusters.
    """

    name = "class-clustering"
    paper = "Musgrave et al., Three New Validators, arXiv:2208.07360 (2022), ClassAMI on target features"
    reads_features = True
    reads = ("target.logits", "target.features")
    cost = "model"

    def _score(self, outputs: Outputs) -> float:
        logits, features = outputs.target.logits, outputs.target.features
        predicted = logits.argmax(1)
        return adjusted_mutual_information(predicted, nearest_means(features, predicted, clusters=logits.shape[1]))


class ImportanceWeighted(Validator):
    r"""Minus the importance-weighted risk on the held-out source rows.

    .. math:: - \frac1n \sum_i w_i \ell_i

    with w of :func:`density_ratio` on the features and l the cross-entropy.

    **On domains that a classifier tells apart it scores backwards.** Where source rows look nothing like the target's,
    their weights go to 0, and so does the score, which is the best there is, whatever the losses are. Of three classes
    in five columns with one of them moved by 8 deviations, a classifier that guesses (risk 1.377) scores -0.021; one
    that is right, and whose features overlap, (risk 0.382) scores -0.382, and loses. The mean of the weights, 1 where
    the densities overlap, is 0.016 there. Deep embedded validation (-1.341) and its normalised form (-1.372) do not
    reward it.
    """

    name = "importance-weighted"
    paper = "Sugiyama et al., Covariate Shift Adaptation by Importance Weighted Cross Validation, JMLR 2007"
    needs_holdout = True
    reads_features = True
    reads = _WEIGHTED
    weighs = True
    cost = "model"

    def _score(self, outputs: Outputs) -> float:
        return -float((outputs.importance * _losses(_held_out(outputs))).mean())


class DeepEmbedded(Validator):
    """Minus the importance-weighted risk with its control variate, see :func:`control_variate_risk`."""

    name = "deep-embedded-validation"
    paper = "You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019"
    needs_holdout = True
    reads_features = True
    reads = _WEIGHTED
    weighs = True
    cost = "model"

    def _score(self, outputs: Outputs) -> float:
        return -control_variate_risk(outputs.importance, _losses(_held_out(outputs)))


class DeepEmbeddedNormalised(Validator):
    r"""Deep embedded validation with weights of range and mean one, so that one outlier does not rule the score.

    .. math:: u_i = \frac{w_i}{\max_j w_j} - \frac1n \sum_j \frac{w_j}{\max_l w_l} + 1

    Divided by the largest, then moved (not divided again) to mean 1, which the control variate presupposes: its term
    vanishes, and the score is minus the mean of :math:`u_i \ell_i`: the plain risk, and the covariance of losses with
    weights that differ by at most 1.
    """

    name = "deep-embedded-validation-normalised"
    paper = "Musgrave et al., Three New Validators, arXiv:2208.07360 (2022), DEVN with max normalisation"
    needs_holdout = True
    reads_features = True
    reads = _WEIGHTED
    weighs = True
    cost = "model"
    version = 2  # the weights' mean is one

    def _score(self, outputs: Outputs) -> float:
        weights = outputs.importance / max(outputs.importance.max(), SMALLEST)
        return -control_variate_risk(weights - weights.mean() + 1, _losses(_held_out(outputs)))


def control_variate_risk(weights: Array, losses: Array) -> float:
    r"""The importance-weighted risk, its variance lowered by what is known of the weights: their mean is one.

    .. math:: \frac1n \sum_i w_i \ell_i + \eta \Big(\frac1n \sum_i w_i - 1\Big), \quad
        \eta = - \frac{\mathrm{Cov}(w \ell, w)}{\mathrm{Var}(w)}

    with n - 1 in covariance and variance; eta is 0 where all weights are equal, or for one row.

    Args:
        weights: (n,), non-negative.
        losses: (n,).

    Source: You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019.

    >>> control_variate_risk(np.array([1.0, 1.0]), np.array([0.5, 1.5]))
    1.0
    """
    weighted = weights * losses
    away = weights - weights.mean()
    variance = (away * away).sum()
    # rounding alone makes this of equal weights
    equal = variance <= len(weights) * (np.finfo(np.float64).eps * np.abs(weights).max()) ** 2
    eta = 0.0 if equal else -((weighted - weighted.mean()) * away).sum() / variance
    return float(weighted.mean() + eta * (weights.mean() - 1))


def collapse(target_logits: Array, source_labels: Array | None = None) -> str | None:
    r"""Whether the target predictions have collapsed into few classes: a sentence that says so, or None.

    How many classes are in use is :math:`E = e^{H}`, H the entropy of how often each is predicted (argmax): 1 for a
    single class, k for k equally frequent ones. The predictions have collapsed if

    .. math:: E_{predicted} - 1 < 0.2 \, (\min(E_{source}, n) - 1)

    with :math:`E_{source}` that of the source labels, so that a source of unequal classes is not taken for a collapse,
    and at most n, the rows: few rows cannot fill many classes. If the target's classes were as diverse as the source's,
    such a model could be right on about a fifth of the rows at best. The bound stays below what a target that truly has
    fewer classes gives in the usual partial settings (Office-31 to Caltech-10: 10 of 31 classes, 0.30; Office-Home: 25
    of 65, 0.38; VisDA: 6 of 12, 0.45); for ImageNet to Caltech (84 of 1000) it is too strict. For two
    equal source classes it fires when one class gets fewer than 1 in 20 of the rows.

    Args:
        target_logits: (n, k) logits, or any scores with the same argmax.
        source_labels: class numbers of source rows, (m,); None: all k classes count as equally frequent.

    Returns:
        The sentence, or None; None also for fewer than 10 rows, or where the source has one class only.

    >>> collapse(np.tile([5.0, 0.0, 0.0], (20, 1)))
    'collapsed: all 20 target rows are predicted as class 0 (1.0 of 3.0 classes in use, below 1.4)'
    >>> collapse(np.eye(3)[np.arange(20) % 3]) is None
    True
    """
    n, k = target_logits.shape
    counts = np.bincount(target_logits.argmax(1), minlength=k)
    known = float(k) if source_labels is None else _in_use(np.bincount(source_labels, minlength=k))
    least = 1 + COLLAPSED_BELOW * (min(known, n) - 1)
    used = _in_use(counts)
    if n < ROWS_NEEDED or used >= least:
        return None
    top = int(counts.argmax())
    rows = f"all {n}" if counts[top] == n else f"{counts[top]} of {n}"
    return (
        f"collapsed: {rows} target rows are predicted as class {top} ({used:.1f} of {known:.1f} classes in use, "
        f"below {least:.1f})"
    )


def _in_use(counts: NDArray[np.int64]) -> float:
    """The exponential of the entropy of a histogram."""
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _softmax(logits: Array) -> tuple[Array, Array]:
    """Probabilities and their logarithms, (n, k) each, in the precision of the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.exp(log_p), log_p


def _losses(stored: Stored) -> Array:
    """Cross-entropies, (n,)."""
    return -_softmax(stored.logits)[1][np.arange(len(stored.logits)), _labels(stored)]


def _check(name: str, outputs: Outputs, place: str) -> None:
    """Raise a ValueError unless what a validator reads there can be scored."""
    split, array = place.split(".")
    stored = _held_out(outputs) if split == "source_holdout" else getattr(outputs, split)
    if array == "labels":
        rows, k = stored.logits.shape
        labels = _labels(stored)
        if labels.shape != (rows,) or rows == 0 or not 0 <= labels.min() <= labels.max() < k:
            raise ValueError(
                f"{name} needs a label from 0 to {k - 1} for each of the {rows} rows of {split}; got "
                f"{len(labels)} labels{f' from {labels.min()} to {labels.max()}' if len(labels) else ''}."
            )
        return
    values = getattr(stored, array)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} needs {array} of {split} of shape (rows, columns), neither 0; got {values.shape}.")
    if not np.isfinite(values).all():
        bad = ~np.isfinite(values).all(1)
        raise ValueError(
            f"{name} needs finite {array}; got NaN or inf in {int(bad.sum())} of {len(values)} rows of {split}, the "
            f"first is row {int(bad.argmax())}. Has the network diverged?"
        )
    if array == "logits" and _are_probabilities(values):
        raise ValueError(
            f"{name} needs logits; got rows of {split} that sum to 1, probabilities, of which it would take a softmax "
            "once more. Pass what goes into the softmax, or their logarithm."
        )


def _are_probabilities(values: Array) -> bool:
    """What ``probe.are_probabilities`` says, without torch."""
    if values.shape[1] < 2 or (values < 0).any():
        return False
    return bool((np.abs(values.sum(1, dtype=np.float64) - 1) < SUM_TO_1).all())


def _labels(stored: Stored) -> NDArray[np.int64]:
    if stored.labels is None:
        raise ValueError("source rows need labels; got Stored(labels=None). Pass Stored(logits, features, labels).")
    return stored.labels


def _held_out(outputs: Outputs) -> Stored:
    if outputs.source_holdout is None:
        raise ValueError("this validator needs held-out source rows; got Outputs(source_holdout=None).")
    return outputs.source_holdout


# every validator but those that train again; by name, cheap ones first
VALIDATORS: Mapping[str, Validator] = {
    validator.name: validator
    for validator in (
        SourceAccuracy(),
        SourceRisk(),
        Entropy(),
        InformationMaximisation(),
        SoftNeighbourhoodDensity(),
        NuclearNorm(),
        ClassClustering(),
        ImportanceWeighted(),
        DeepEmbedded(),
        DeepEmbeddedNormalised(),
    )
}

# needs no source hold-out, has no setting, is cheap, and is worst for a collapsed model instead of best
DEFAULT_VALIDATOR = InformationMaximisation.name
