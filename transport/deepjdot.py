"""DeepJDOT: optimal transport between labelled source and predicted target, in features and labels jointly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..shared.checks import check_features, check_labels, check_logits, full_precision
from ..shared.distances import squared_distances
from ..shared.method import Method, Source, Target
from .plans import _check_cost, _exact_plan

__all__ = ["DeepJDOT", "deepjdot_distance", "jdot_cost", "transport_plan"]

FEATURE_WEIGHT = 0.001  # alpha and lambda_t of the paper's digit experiments
LABEL_WEIGHT = 0.0001


def jdot_cost(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    target_logits: Tensor,
    *,
    feature_weight: float = FEATURE_WEIGHT,
    label_weight: float = LABEL_WEIGHT,
) -> Tensor:
    r"""What it costs to match each labelled source sample with each target sample, prediction included.

    .. math:: d_{ij} = \alpha \| g(x^s_i) - g(x^t_j) \|^2 + \lambda_t L(y^s_i, f(g(x^t_j))), \qquad
        L(y, z) = - \log \mathrm{softmax}(z)_y

    Args:
        source: features g(x^s), (n_s, d), floating point.
        target: features g(x^t), (n_t, d), of the same dtype and device; n_t may differ from n_s.
        labels: class numbers y^s of the source samples, (n_s,), integers in [0, k).
        target_logits: z = f(g(x^t)), (n_t, k).
        feature_weight: alpha >= 0. The squared distance is a sum over features, so alpha belongs to their number and
            scale.
        label_weight: lambda_t >= 0.

    Returns:
        (n_s, n_t), non-negative, with gradients to the features and the logits; in float32 at least.

    Raises:
        TypeError: for features or labels of a wrong dtype.
        ValueError: for a wrong shape, an empty domain, a label outside [0, k), NaN or inf, or a negative weight.

    Source: Damodaran et al., DeepJDOT, ECCV 2018, the cost inside the objective of section 4.1, with the cross entropy
    as L. (The authors' code transports by squared distances of one-hot labels and probabilities, and trains by cross
    entropy; here both are the one cost that the paper writes.)

    >>> jdot_cost(torch.zeros(1, 2), torch.ones(2, 2), torch.tensor([1]), torch.zeros(2, 2), feature_weight=1.0)
    tensor([[2.0001, 2.0001]])
    """
    name = "jdot_cost"
    _check(name, source, target, labels, target_logits, feature_weight, label_weight)
    features, label = _weighed_costs(source, target, labels, target_logits, feature_weight, label_weight)
    return features + label


def transport_plan(cost: Tensor) -> Tensor:
    r"""The exact plan between uniform weights for a cost matrix, as a constant.

    .. math:: \gamma = \arg\min_{\gamma \ge 0} \sum_{ij} \gamma_{ij} C_{ij}, \qquad
        \sum_j \gamma_{ij} = \frac{1}{n_s}, \quad \sum_i \gamma_{ij} = \frac{1}{n_t}

    The cost is copied to the host and solved there in float64 (POT's network simplex), so a training step waits for
    the device here. ``torch.compile`` leaves this function out.

    Args:
        cost: C, (n_s, n_t), floating point, on any device.

    Returns:
        gamma, (n_s, n_t), detached, of the dtype and on the device of the cost.

    Raises:
        TypeError: if the cost is no floating-point tensor.
        ValueError: if it is no matrix of finite numbers, or the solver fails.

    Source: Damodaran et al., DeepJDOT, ECCV 2018, section 4.2: the plan for fixed g and f on a mini-batch.

    >>> transport_plan(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """
    if not isinstance(cost, Tensor) or not cost.is_floating_point():
        came = cost.dtype if isinstance(cost, Tensor) else type(cost).__name__
        raise TypeError(f"transport_plan needs the cost as a floating-point tensor; got {came}.")
    return _transport_plan("transport_plan", cost)


def _plan_on_host(function: str, cost: Tensor) -> Tensor:
    plan = _exact_plan(_check_cost(function, cost.detach().cpu().double().numpy()))
    return torch.from_numpy(plan).to(device=cost.device, dtype=cost.dtype)


def _transport_plan(function: str, cost: Tensor) -> Tensor:
    if not torch.compiler.is_compiling():
        return _plan_on_host(function, cost)
    # Not a decorator: that would load the compiler, and seconds with it, whenever the package is imported.
    outside: Callable[[str, Tensor], Tensor] = torch.compiler.disable(_plan_on_host)  # type: ignore[no-untyped-call]
    return outside(function, cost)


def deepjdot_distance(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    target_logits: Tensor,
    *,
    feature_weight: float = FEATURE_WEIGHT,
    label_weight: float = LABEL_WEIGHT,
) -> Tensor:
    r"""Cost of the best plan from the labelled source batch to the target batch and its predictions.

    .. math:: \min_{\gamma \in \Pi} \sum_{ij} \gamma_{ij} \left( \alpha \| g(x^s_i) - g(x^t_j) \|^2
        + \lambda_t L(y^s_i, f(g(x^t_j))) \right)

    The plan is a constant for the gradient, which is right at its optimum (the envelope theorem) and is what the paper
    does. Arguments, errors and source are those of :func:`jdot_cost`.

    Returns:
        A scalar, non-negative.

    >>> x = torch.tensor([[0.0], [5.0]])
    >>> deepjdot_distance(x, x.flip(0) + 1, torch.tensor([0, 1]), torch.zeros(2, 2), feature_weight=1, label_weight=0)
    tensor(1.)
    """
    name = "deepjdot_distance"
    _check(name, source, target, labels, target_logits, feature_weight, label_weight)
    terms = _terms(name, source, target, labels, target_logits, feature_weight, label_weight)
    return terms.features + terms.labels


class _Terms(NamedTuple):
    features: Tensor
    labels: Tensor


def _terms(
    function: str,
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    target_logits: Tensor,
    feature_weight: float,
    label_weight: float,
) -> _Terms:
    features, label = _weighed_costs(source, target, labels, target_logits, feature_weight, label_weight)
    plan = _transport_plan(function, features + label)
    return _Terms((plan * features).sum(), (plan * label).sum())


@full_precision
def _weighed_costs(
    source: Tensor, target: Tensor, labels: Tensor, target_logits: Tensor, feature_weight: float, label_weight: float
) -> tuple[Tensor, Tensor]:
    cross_entropy = -F.log_softmax(target_logits, 1).index_select(1, labels.long()).T  # (n_s, n_t)
    return feature_weight * squared_distances(source, target), label_weight * cross_entropy


class DeepJDOT(Method):
    r"""Adds the cost of transporting the labelled source batch onto the target batch and its predictions.

    .. math:: \min_{\gamma \in \Pi} \sum_{ij} \gamma_{ij} \left( \alpha \|f^s_i - f^t_j\|^2
        + \lambda_t \, \ell(y^s_i, g^t_j) \right)

    with l the cross entropy of the target's predictions g, and gamma, a constant in the gradient, between uniform
    weights. The terms are the plan-weighted parts of the cost: ``features`` (alpha times squared distances) and
    ``labels`` (lambda_t times cross entropies), both by the same plan, solved anew for each batch. The plan is made on
    the host: the one place where a step waits for the device.

    It is made for equal class proportions: the plan moves all of the source's mass, so that where the target's
    differ, rows of one class are carried to another.

    Args:
        feature_weight: alpha >= 0, 0.001 in the paper's digit experiments; it multiplies squared distances summed (not
            averaged) over the features.
        label_weight: lambda_t >= 0, 0.0001 there. The plan depends on both weights' ratio.
        weight: scales both terms alike, and so leaves the plan as it is; 1 in the paper.
        schedule: of ``weight``; constant in the paper.

    Raises:
        ValueError: for a negative or infinite weight, or if both weights inside the plan are 0.

    Source: Damodaran, Kellenberger, Flamary, Tuia and Courty, DeepJDOT: Deep Joint Distribution Optimal Transport for
    Unsupervised Domain Adaptation, ECCV 2018, sections 4.1 and 4.2. The source cross entropy of its objective is the
    task loss.

    >>> method = DeepJDOT(feature_weight=1.0, label_weight=1.0)
    >>> source = lb.Source(torch.zeros(2, 3), torch.zeros(2, 2), torch.tensor([0, 1]))
    >>> method(source, lb.Target(torch.ones(4, 3), torch.zeros(4, 2)))
    tensor(3.6931)
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source", "labels", "logits"})

    def __init__(
        self,
        *,
        feature_weight: float = FEATURE_WEIGHT,
        label_weight: float = LABEL_WEIGHT,
        weight: float = 1.0,
        schedule: str = "constant",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        _check_weights("DeepJDOT", feature_weight, label_weight)
        if feature_weight == 0 and label_weight == 0:
            raise ValueError(
                "DeepJDOT needs feature_weight or label_weight above 0, or every plan is as good as any other; got 0 "
                "for both. Use weight=0 to switch the method off."
            )
        self.feature_weight = feature_weight
        self.label_weight = label_weight

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        if source is not None and source.labels is not None and target.logits is not None:
            _check_range("DeepJDOT", source.labels, target.logits.shape[1])

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source.labels is not None
        assert target.logits is not None
        return _terms(
            "DeepJDOT",
            source.features,
            target.features,
            source.labels,
            target.logits,
            self.feature_weight,
            self.label_weight,
        )._asdict()


def _check(
    function: str,
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    target_logits: Tensor,
    feature_weight: float,
    label_weight: float,
) -> None:
    check_features(function, source, target)
    check_labels(function, labels, source.shape[0])
    check_logits(function, "target", target_logits, target.shape[0])
    _check_range(function, labels, target_logits.shape[1])
    _check_weights(function, feature_weight, label_weight)


def _check_range(function: str, labels: Tensor, classes: int) -> None:
    if torch.compiler.is_compiling() or labels.device.type != "cpu":
        return  # asking would make the step wait
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if wrong.numel():
        row = int(wrong[0])
        raise ValueError(
            f"{function} needs source labels from 0 to {classes - 1}, as the target logits have {classes} classes; "
            f"got {int(labels[row])} in row {row}."
        )


def _check_weights(function: str, feature_weight: float, label_weight: float) -> None:
    for name, value in (("feature_weight", feature_weight), ("label_weight", label_weight)):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"{function} needs {name} as a number; got {type(value).__name__}.")
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{function} needs a finite {name} >= 0; got {value}.")
