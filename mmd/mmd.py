"""Maximum mean discrepancy: the distance of two domains' mean embeddings."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..shared.checks import check_features, full_precision, nearest
from .kernels import DistanceKernel, Follow

__all__ = ["Estimator", "mean_distance", "mmd2"]

Estimator = Literal["biased", "unbiased", "linear"]


def mmd2(x: Tensor, y: Tensor, kernel: DistanceKernel, estimator: Estimator = "biased") -> Tensor:
    r"""Squared maximum mean discrepancy of two samples, estimated in one of three ways.

    ``"biased"``, the V-statistic, at least 0 up to rounding; 0 for equal samples; legal for one sample of each:

    .. math:: \frac1{n_s^2} \sum_{i,j} k(x_i, x_j) + \frac1{n_t^2} \sum_{i,j} k(y_i, y_j)
        - \frac2{n_s n_t} \sum_{i,j} k(x_i, y_j)

    ``"unbiased"``, the U-statistic; it varies around 0 where the distributions are equal, and so is **negative** about
    half of the time. Nothing is added to hide that:

    .. math:: \frac1{n_s (n_s - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac1{n_t (n_t - 1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac2{n_s n_t} \sum_{i,j} k(x_i, y_j)

    ``"linear"``, unbiased too (so it may be negative), in time and memory O(n d), of higher variance. It reads the rows
    in their order, two and two, m = floor(min(n_s, n_t) / 2) times; what is left over is not used:

    .. math:: \frac1m \sum_{i=1}^m k(x_{2i-1}, x_{2i}) + k(y_{2i-1}, y_{2i}) - k(x_{2i-1}, y_{2i}) - k(x_{2i}, y_{2i-1})

    A rule for the kernel's bandwidth sees all pairs of the pooled sample; with ``"linear"``, the 4 m pairs it reads.

    Args:
        x: features of the source domain, (n_s, d), floating point.
        y: features of the target domain, (n_t, d), of the same dtype and device; n_t may differ from n_s.
        kernel: a :class:`~landbridge.mmd.GaussianKernel`, a :class:`~landbridge.mmd.MultiGaussianKernel`, or another
            :class:`~landbridge.mmd.DistanceKernel`.
        estimator: ``"biased"``, ``"unbiased"`` or ``"linear"``; the last two need 2 samples of each domain.

    Returns:
        A scalar, at most 2, computed in float32 at least. With a bandwidth found by rule it does not depend on the
        features' scale.

    Raises:
        TypeError: for what is no floating-point tensor, or no kernel.
        ValueError: for an unknown estimator, differing feature sizes, too few samples, or a feature that is not finite.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012): biased, the square of equation 5; unbiased,
    equation 3; linear, lemma 14.

    >>> from landbridge.mmd import GaussianKernel
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0], [4.0]])
    >>> mmd2(x, y, GaussianKernel(1.0)), mmd2(x, y, GaussianKernel(1.0), "unbiased")
    (tensor(1.0499), tensor(0.4843))
    """
    _check_kernel("mmd2", kernel)
    _check_estimator("mmd2", estimator)
    check_features("mmd2", x, y, least=_least(estimator))
    return _mmd2(x, y, kernel, estimator)


@full_precision
def _mmd2(x: Tensor, y: Tensor, kernel: DistanceKernel, estimator: Estimator, follow: Follow | None = None) -> Tensor:
    if estimator == "linear":
        return _over_pairs(_of_pairs(x, y, kernel, follow))
    return _of_gram(kernel.gram(x, y, follow), x.shape[0], estimator)


def _of_gram(gram: Tensor, n_s: int, estimator: Estimator) -> Tensor:
    """Either quadratic-time estimate from the kernel matrix of the pooled sample, source first, (n_s+n_t, n_s+n_t)."""
    n_t = gram.shape[0] - n_s
    if estimator == "biased":
        signs = torch.cat([gram.new_full((n_s,), 1 / n_s), gram.new_full((n_t,), -1 / n_t)])
        return signs @ gram @ signs
    within_source, within_target = gram[:n_s, :n_s], gram[n_s:, n_s:]
    source = (within_source.sum() - within_source.trace()) / (n_s * (n_s - 1))
    target = (within_target.sum() - within_target.trace()) / (n_t * (n_t - 1))
    return source + target - 2 * gram[:n_s, n_s:].mean()


def _of_pairs(x: Tensor, y: Tensor, kernel: DistanceKernel, follow: Follow | None = None) -> Tensor:
    """The kernel of the pairs that the linear-time estimate reads: within x, within y, and twice across, (4, m)."""
    used = min(x.shape[0], y.shape[0]) // 2 * 2
    x1, x2, y1, y2 = x[:used:2], x[1:used:2], y[:used:2], y[1:used:2]  # (m, d) each
    squared = torch.stack([x1 - x2, y1 - y2, x1 - y2, x2 - y1]).square().sum(2)  # (4, m)
    found = kernel.choose_bandwidth(squared, rounding=0.0)  # differences, and no products
    return kernel.of_distances(squared, found if follow is None else follow(found))


def _over_pairs(pairs: Tensor) -> Tensor:
    """The linear-time estimate from :func:`_of_pairs`."""
    return (pairs[0] + pairs[1] - pairs[2] - pairs[3]).mean()


def mean_distance(source: Tensor, target: Tensor) -> Tensor:
    r"""Squared distance of the domain means: the biased squared MMD with the linear kernel <x, y>.

    .. math:: \left\| \frac1{n_s} \sum_i x^s_i - \frac1{n_t} \sum_j x^t_j \right\|^2

    Args:
        source: features of the source domain, (n_s, d), floating point.
        target: features of the target domain, (n_t, d), of the same dtype and device; n_t may differ from n_s.

    Returns:
        A scalar, non-negative, 0 for equal means, of degree 2 in the features; computed in float32 at least.

    Raises:
        TypeError: for what is no floating-point tensor.
        ValueError: if the feature sizes differ, a domain is empty, or a feature is not finite.

    Source: Tzeng et al., Deep Domain Confusion (2014): the square of equation 1, as it stands in equation 2.

    >>> mean_distance(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 3.0]]))
    tensor(9.)
    """
    check_features("mean_distance", source, target)
    return _mean_distance(source, target)


@full_precision
def _mean_distance(source: Tensor, target: Tensor) -> Tensor:
    wide = source.dtype if source.device.type == "mps" else torch.float64  # sums of large numbers lose digits
    difference = source.mean(0, dtype=wide) - target.mean(0, dtype=wide)
    return difference.square().sum().to(source.dtype)


def _least(estimator: Estimator) -> int:
    return 1 if estimator == "biased" else 2


def _check_kernel(function: str, kernel: object) -> None:
    if not isinstance(kernel, DistanceKernel):
        came = kernel.__name__ if isinstance(kernel, type) else type(kernel).__name__
        raise TypeError(
            f"{function} needs a kernel object that works on distances; got {came}. "
            "Pass landbridge.mmd.GaussianKernel() or landbridge.mmd.MultiGaussianKernel()."
        )


def _check_estimator(function: str, estimator: str) -> None:
    if estimator not in get_args(Estimator):
        raise ValueError(f"{function}: " + nearest("estimator", estimator, get_args(Estimator)))
