"""Deep CORAL: the distance of two domains' covariances, as a loss."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..shared.checks import check_features, full_precision, nearest
from ..shared.method import Method, Source, Target

__all__ = ["DeepCORAL", "coral_distance"]


def coral_distance(source: Tensor, target: Tensor) -> Tensor:
    r"""Squared Frobenius distance of the two covariance matrices, over 4 d^2.

    .. math:: \frac1{4 d^2} \| C_s - C_t \|_F^2, \qquad
        C = \frac1{n - 1} \left( D^\top D - \frac1n (\mathbf 1^\top D)^\top (\mathbf 1^\top D) \right)

    Each C is the covariance about its own domain's mean, with n - 1. With Z the centred rows of both domains and w
    their weights 1/(n_s - 1) and -1/(n_t - 1), the difference is Z' diag(w) Z, (d, d). Where there are fewer rows than
    features it is never formed, since its norm is also that of the (n, n) Gram matrix G = Z Z' under the weights:

    .. math:: \| C_s - C_t \|_F^2 = \sum_{i,j} w_i w_j G_{ij}^2

    which costs O(n^2 d) instead of O(n d^2), n = n_s + n_t. Both forms agree to rounding, but in the Gram form terms of
    both signs cancel: its absolute error is about eps (\|C_s\|^2 + \|C_t\|^2) / (4 d^2). In float32 a distance of 1e-2
    of these squared norms keeps 5 digits, one of 1e-5 keeps 2, and one of 1e-7 is rounding, cut off at 0. (Two
    independent batches of n rows with r strong directions lie near r/n of them.) The gradients of both forms are of
    about the same accuracy.

    Args:
        source: features of the source domain, (n_s, d), floating point, n_s >= 2.
        target: features of the target domain, (n_t, d), of the same dtype and device; n_t >= 2 may differ from n_s.

    Returns:
        A scalar, non-negative, 0 for equal covariances, of degree 4 in the features, blind to the domains' means;
        computed in float32 at least.

    Raises:
        TypeError: for what is no floating-point tensor.
        ValueError: if the feature sizes differ, a domain has less than 2 samples, or a feature is not finite.

    Source: Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation (2016), equations 1 to 3.

    >>> coral_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [5.0], [8.0]]))
    tensor(0.2500)
    """
    check_features("coral_distance", source, target, least=2)
    return _about_rows(source, target)


@full_precision
def _about_rows(source: Tensor, target: Tensor) -> Tensor:
    """Each domain from one of its rows: the mean of rows far from 0 is rounded, and what it leaves would be squared."""
    return _coral_distance(source - source.detach()[:1], target - target.detach()[:1])


@full_precision
def _coral_distance(source: Tensor, target: Tensor) -> Tensor:
    (n_s, d), n_t = source.shape, target.shape[0]
    form = _by_gram if n_s + n_t < d else _by_covariance
    centred = torch.cat([source - source.mean(0), target - target.mean(0)])  # (n_s+n_t, d)
    weights = torch.cat([source.new_full((n_s,), 1 / (n_s - 1)), source.new_full((n_t,), -1 / (n_t - 1))])
    return form(centred, weights) / (4 * d * d)


def _by_gram(centred: Tensor, weights: Tensor) -> Tensor:
    gram = centred @ centred.T  # (n_s+n_t, n_s+n_t)
    return (weights @ gram.square() @ weights).clamp(min=0)


def _by_covariance(centred: Tensor, weights: Tensor) -> Tensor:
    difference = centred.T @ (weights[:, None] * centred)  # (d, d), C_s - C_t in one product
    return difference.square().sum()


class DeepCORAL(Method):
    r"""Adds the distance of the domains' covariances to the task loss.

    .. math:: L = L_{class} + \lambda \frac1{4 d^2} \| C_s - C_t \|_F^2

    Equation 6 allows any layer; in the paper's experiments it is the last one, fc8, which are the logits. Here it is
    the features by default: what is aligned is then what the head sees, in all d directions and not only in the k that
    the classes span, and no target logits are needed. ``layer="logits"`` is the paper's experiment.

    The factor 1/(4 d^2) makes the term small for wide layers; the paper chooses lambda so that at the end of training
    it is about as large as the classification loss.

    It is made for equal class proportions: where the target's differ, the covariances differ without any other shift.

    Term: ``features`` or ``logits``, after the layer.

    Args:
        weight: lambda >= 0; scales the whole term.
        schedule: ``"constant"``, as in the paper, or ``"ramp"``.
        layer: which covariances: ``"features"`` or ``"logits"``.

    Raises:
        TypeError: if the weight is not a number.
        ValueError: if the weight is negative or not finite, or the schedule or the layer is unknown.

    Source: Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation (2016), equations 1 and 6,
    section 4.

    >>> source, target = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [5.0], [8.0]])
    >>> DeepCORAL(weight=10.0)(Source(source), Target(target))
    tensor(2.5000)
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source"})
    least: ClassVar[int] = 2

    def __init__(
        self,
        *,
        weight: float = 1.0,
        schedule: str = "constant",
        layer: Literal["features", "logits"] = "features",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        if layer not in ("features", "logits"):
            raise ValueError("DeepCORAL: " + nearest("layer", layer, ["features", "logits"]))
        self.layer = layer
        if layer == "logits":
            self.needs = self.needs | {"logits"}  # type: ignore[misc]  # the layer decides

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        if self.layer == "features":
            return {"features": _coral_distance(source.features, target.features)}
        assert source.logits is not None  # both asked for in needs
        assert target.logits is not None
        return {"logits": _coral_distance(source.logits, target.logits)}
