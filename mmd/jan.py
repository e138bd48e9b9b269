"""JAN: features and class probabilities matched jointly, by the mean embedding of a product of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from ..shared.checks import check_features, full_precision
from ..shared.method import Method, Source, Target
from .bandwidth import LEAST_OF_PROBABILITIES, DataBandwidth
from .kernels import DistanceKernel, Follow, GaussianKernel, MultiGaussianKernel
from .mmd import Estimator, _check_estimator, _check_kernel, _least, _of_gram, _of_pairs, _over_pairs

__all__ = ["JAN", "joint_mmd2"]

PROBABILITY_BANDWIDTH = 1.68  # of the authors' PyTorch code; squared distances of probability vectors are at most 2


def joint_mmd2(
    x: Sequence[Tensor],
    y: Sequence[Tensor],
    kernels: Sequence[DistanceKernel],
    estimator: Estimator = "biased",
) -> Tensor:
    r"""Squared maximum mean discrepancy of the joint distribution of several layers.

    The kernel of two samples is the product of the layers' kernels:

    .. math:: \frac1{n_s^2} \sum_{i,j} \prod_l k^l(x^l_i, x^l_j) + \frac1{n_t^2} \sum_{i,j} \prod_l k^l(y^l_i, y^l_j)
        - \frac2{n_s n_t} \sum_{i,j} \prod_l k^l(x^l_i, y^l_j)

    for ``"biased"``. ``"unbiased"`` leaves out i = j within a domain; ``"linear"`` reads the rows in their order, two
    and two: both as in :func:`~landbridge.mmd.mmd2`, with the product for the kernel. A rule for a bandwidth is asked
    for each layer by itself.

    Args:
        x: the source's layers, each (n_s, d_l), floating point.
        y: the target's, each (n_t, d_l), of the same dtypes and device; n_t may differ from n_s.
        kernels: one for each layer.
        estimator: ``"biased"``, ``"unbiased"`` or ``"linear"``; the last two need 2 samples of each domain.

    Returns:
        A scalar, at most 2, computed in float32 at least; with one layer it is ``mmd2``.

    Raises:
        TypeError: for what is no floating-point tensor, or no kernel.
        ValueError: for differing numbers of layers, kernels or rows, an unknown estimator, differing feature sizes, too
            few samples, or a feature that is not finite.

    Source: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017: the empirical joint maximum
    mean discrepancy (its section on JMMD) is ``"biased"``, the estimate that it trains with is ``"linear"``.

    >>> from landbridge.mmd import GaussianKernel
    >>> f, p = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> kernels = [GaussianKernel(1.0), GaussianKernel(1.68)]
    >>> joint_mmd2([f, p], [f.flip(0), p], kernels)  # each layer is distributed alike, both together are not
    tensor(0.4399)
    """
    if not len(x) == len(y) == len(kernels) >= 1:
        raise ValueError(
            f"joint_mmd2 needs the same layers of both domains and a kernel for each; got {len(x)} source layers, "
            f"{len(y)} target layers and {len(kernels)} kernels."
        )
    _check_estimator("joint_mmd2", estimator)
    for a, b, kernel in zip(x, y, kernels, strict=True):
        _check_kernel("joint_mmd2", kernel)
        check_features("joint_mmd2", a, b, least=_least(estimator))
    for name, layers in (("source", x), ("target", y)):
        if len({layer.shape[0] for layer in layers}) > 1:
            raise ValueError(
                f"joint_mmd2 needs all {name} layers of the same samples; got "
                f"{', '.join(str(tuple(layer.shape)) for layer in layers)}."
            )
    return _joint_mmd2(kernels, estimator, *x, *y)


@full_precision
def _joint_mmd2(
    kernels: Sequence[DistanceKernel], estimator: Estimator, *layers: Tensor, follow: Sequence[Follow] | None = None
) -> Tensor:
    """The unchecked formula; the source's layers, then the target's, so that each is seen by ``full_precision``."""
    xs, ys = layers[: len(kernels)], layers[len(kernels) :]
    each = list(zip(xs, ys, kernels, [None] * len(kernels) if follow is None else follow, strict=True))
    if estimator == "linear":
        pairs = _product([_of_pairs(x, y, kernel, bandwidth) for x, y, kernel, bandwidth in each])  # (4, m)
        return _over_pairs(pairs)
    grams = [kernel.gram(x, y, bandwidth) for x, y, kernel, bandwidth in each]
    return _of_gram(_product(grams), xs[0].shape[0], estimator)  # of (n_s+n_t, n_s+n_t)


def _product(factors: Sequence[Tensor]) -> Tensor:
    product = factors[0]
    for factor in factors[1:]:
        product = product * factor
    return product


class JAN(Method):
    r"""Joint adaptation network: adds the joint MMD of features and class probabilities to the task loss.

    .. math:: L = J + \lambda \widehat D(P, Q), \qquad k\big((f, p), (f', p')\big) = k_f(f, f') \, k_p(p, p'), \quad
        p = \operatorname{softmax}(\text{logits})

    with :math:`\widehat D` the :func:`joint_mmd2` of the two layers. Where DAN matches each layer by itself, this
    matches them together: features of the samples that are predicted alike.

    How that stands to the paper:

    * Layers. The features that the head sees, and the class probabilities: the paper's last layers (pool5 and fc of a
      ResNet), a bottleneck and the softmax in the authors' code.
    * Kernels. The paper: Gaussian, with the median squared distance as bandwidth. For the features the authors' PyTorch
      code has five, around the mean squared distance, each twice as wide as the one before; here the same ladder around
      the median, as a mean over the batches which after a hundred of them only grows
      (:class:`~landbridge.mmd.DataBandwidth`, and the reason for it). For the probabilities it has one Gaussian of
      fixed bandwidth, exp(-d^2 / 1.68), as here
      (``fix_sigma`` there, which is gamma and not a standard deviation; their later library has sigma = 0.92, so 2
      sigma^2 = 1.69). The five kernels are averaged here, and added up in the code: its weight 1 is 5 here.
    * Estimate. The paper trains with the linear-time one; here by default the full biased one, which uses every pair of
      the batch and is never negative. The authors' library adds a constant to keep its unbiased one positive; nothing
      is added here.
    * The adversarial variant, JAN-A, is not here.

    Nothing is detached but the bandwidth found by a rule. Term: ``joint``, at most 2.

    It is made for equal class proportions: where the target's differ, aligning the domains as wholes mixes classes.

    Args:
        weight: lambda >= 0; scales the whole term.
        schedule: ``"ramp"``, as in the paper, or ``"constant"``.
        kernels: m >= 1, how many Gaussian kernels of the features.
        factor: > 1, between neighbouring bandwidths of the features.
        bandwidth: of the features' middle kernel, a squared distance; ``"median"`` or ``"mean"`` finds it over the
            batches of training.
        probability_bandwidth: of the probabilities' one kernel, a squared distance, ``"median"`` or ``"mean"``.
        estimator: ``"biased"``, ``"unbiased"`` or ``"linear"``; the last two need 2 samples of each domain, and may be
            negative.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of its range, or an unknown name.

    Source: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017: the empirical joint maximum
    mean discrepancy, and lambda's schedule from its section 5.

    >>> source = Source(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    >>> target = Target(torch.tensor([[3.0]]), torch.tensor([[1.0, 0.0]]))
    >>> JAN().losses(source, target, torch.tensor(1.0))
    {'joint': tensor(1.2380)}
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source", "logits"})
    version: ClassVar[int] = 2  # a bandwidth over the batches, not of each

    def __init__(
        self,
        *,
        weight: float = 1.0,
        schedule: str = "ramp",
        kernels: int = 5,
        factor: float = 2.0,
        bandwidth: float | Literal["median", "mean"] = "median",
        probability_bandwidth: float | Literal["median", "mean"] = PROBABILITY_BANDWIDTH,
        estimator: Estimator = "biased",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        _check_estimator("JAN", estimator)
        self.kernels = (
            MultiGaussianKernel(bandwidth, kernels=kernels, factor=factor),
            GaussianKernel(probability_bandwidth),
        )
        self.feature_bandwidth = DataBandwidth()
        self.probability_bandwidth = DataBandwidth(least=LEAST_OF_PROBABILITIES)
        self.estimator = estimator
        self.least = _least(estimator)  # type: ignore[misc]  # the estimator decides

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source.logits is not None  # both asked for in needs
        assert target.logits is not None
        layers = source.features, source.logits, target.features, target.logits
        bandwidths = self.feature_bandwidth, self.probability_bandwidth
        return {"joint": _joint_of_logits(self.kernels, self.estimator, bandwidths, *layers)}


@full_precision
def _joint_of_logits(
    kernels: Sequence[DistanceKernel],
    estimator: Estimator,
    follow: Sequence[Follow],
    f_s: Tensor,
    z_s: Tensor,
    f_t: Tensor,
    z_t: Tensor,
) -> Tensor:
    return _joint_mmd2(kernels, estimator, f_s, z_s.softmax(1), f_t, z_t.softmax(1), follow=follow)
