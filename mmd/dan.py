"""Mean-embedding alignment of deep layers: DDC matches the means, DAN the embeddings of several Gaussian kernels."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from ..shared.checks import full_precision
from ..shared.method import Method, Source, Target
from .bandwidth import LEAST_OF_PROBABILITIES, DataBandwidth
from .kernels import DistanceKernel, Follow, MultiGaussianKernel
from .mmd import Estimator, _check_estimator, _least, _mean_distance, _mmd2

__all__ = ["DAN", "DDC"]


class DDC(Method):
    r"""Deep domain confusion: adds the squared distance of the domains' mean features to the task loss.

    .. math:: L = L_C + \lambda \left\| \frac1{n_s} \sum_i \phi(x^s_i) - \frac1{n_t} \sum_j \phi(x^t_j) \right\|^2

    The paper defines MMD as the norm (equation 1) and trains on its square (equation 2); this is the square. phi is the
    adaptation layer, a bottleneck of 256 after fc7; here the network's features, whatever the layer.

    It is made for equal class proportions: where the target's differ, aligning the domains as wholes mixes classes.

    Term: ``features``.

    Args:
        weight: lambda >= 0; scales the whole term. 0.25 in the paper.
        schedule: ``"constant"``, as in the paper, or ``"ramp"``.

    Raises:
        TypeError: if the weight is not a number.
        ValueError: if the weight is negative or not finite, or the schedule is unknown.

    Source: Tzeng et al., Deep Domain Confusion: Maximizing for Domain Invariance (2014), equations 1 and 2.

    >>> source, target = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 3.0]])
    >>> DDC()(Source(source), Target(target))
    tensor(2.2500)
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def __init__(self, *, weight: float = 0.25, schedule: str = "constant") -> None:
        super().__init__(weight=weight, schedule=schedule)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"features": _mean_distance(source.features, target.features)}


class DAN(Method):
    r"""Deep adaptation network: adds the multi-kernel MMD of two layers to the task loss.

    .. math:: L = J + \lambda \left( \widehat{MMD}^2_k[f_s, f_t] + \widehat{MMD}^2_k[p_s, p_t] \right), \qquad
        p = \operatorname{softmax}(\text{logits})

    How that stands to the paper:

    * Layers. Equation 4 sums d_k^2 with equal weights over fc6, fc7 and fc8 of AlexNet. Here: the features, which are
      what the head sees (fc7), and the head's output (fc8), as class probabilities and not as logits, so that a head
      cannot lower the term by scaling its logits, and so that both terms lie in the same range.
    * Kernel. Equation 2 mixes Gaussian kernels with weights beta >= 0 of sum 1, learned by a quadratic program that
      maximises the power of the test (section 3.2). Here beta = 1/m, with 5 kernels (the paper: 33) around one median,
      and no second optimisation.
    * Bandwidth. The paper (section 4.1): the median squared distance on the training data, one number for both domains
      and all of training. Features move while they are trained, so here, for each layer, the mean over the batches of
      the median of both domains' rows together, which after a hundred batches only grows
      (:class:`~landbridge.mmd.DataBandwidth`); for the probabilities at least 1/8 (their squared distances are at most
      2). A bandwidth of each batch's own would take away the loss's scale: its gradient grows without bound as
      predictions or features draw together, and training ends at chance on the source.
    * Estimate. The paper takes the linear-time unbiased one (section 3.2). Here any of :func:`~landbridge.mmd.mmd2`;
      by default the biased quadratic-time one, which uses every pair of the batch, and is never negative.

    It is made for equal class proportions: where the target's differ, aligning the domains as wholes mixes classes.

    Nothing is detached but the bandwidths. Terms: ``features`` and ``probabilities``, each at most 2.

    Args:
        weight: lambda >= 0; scales both terms.
        schedule: ``"constant"``, as in the paper, or ``"ramp"``.
        kernels: m >= 1, how many Gaussian kernels.
        factor: > 1, between neighbouring bandwidths.
        bandwidth: of the middle kernel, a squared distance; ``"median"`` or ``"mean"`` finds it for each term, over
            the batches of training. A number holds for features and probabilities alike, whose scales may differ.
        estimator: ``"biased"``, ``"unbiased"`` or ``"linear"``; the last two need 2 samples of each domain, and may be
            negative.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of its range, or an unknown name.

    Source: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, equations 1, 2 and 4;
    the estimates from Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012).

    >>> source = Source(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    >>> target = Target(torch.tensor([[3.0]]), torch.tensor([[1.0, 0.0]]))
    >>> DAN().losses(source, target, torch.tensor(1.0))
    {'features': tensor(1.2739), 'probabilities': tensor(0.3442)}
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source", "logits"})
    version: ClassVar[int] = 2  # a bandwidth over the batches, not of each

    def __init__(
        self,
        *,
        weight: float = 1.0,
        schedule: str = "constant",
        kernels: int = 5,
        factor: float = 2.0,
        bandwidth: float | Literal["median", "mean"] = "median",
        estimator: Estimator = "biased",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        _check_estimator("DAN", estimator)
        self.kernel = MultiGaussianKernel(bandwidth, kernels=kernels, factor=factor)
        self.feature_bandwidth = DataBandwidth()
        self.probability_bandwidth = DataBandwidth(least=LEAST_OF_PROBABILITIES)
        self.estimator = estimator
        self.least = _least(estimator)  # type: ignore[misc]  # the estimator decides

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source.logits is not None  # both asked for in needs
        assert target.logits is not None
        how = self.kernel, self.estimator
        return {
            "features": _mmd2(source.features, target.features, *how, self.feature_bandwidth),
            "probabilities": _probability_mmd2(source.logits, target.logits, *how, self.probability_bandwidth),
        }


@full_precision
def _probability_mmd2(
    source: Tensor, target: Tensor, kernel: DistanceKernel, estimator: Estimator, follow: Follow
) -> Tensor:
    return _mmd2(source.softmax(1), target.softmax(1), kernel, estimator, follow)
