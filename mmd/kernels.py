"""Kernels of squared distances: one Gaussian, or a ladder of them around one bandwidth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..shared.checks import check_features, full_precision, nearest
from ..shared.distances import can_ask, centred_distances, pooled_distances, squared_distances

__all__ = ["DistanceKernel", "GaussianKernel", "MultiGaussianKernel"]

Follow = Callable[[float | Tensor], float | Tensor]  # the bandwidth found in one sample -> the one to use

RULES = ("mean", "median")
COINCIDE = 1e-10  # of the mean: rows that are as near as this to each other are equal but for their own rounding
ROUNDINGS = 8  # eps times the squared lengths that a distance by products may be off
KEPT = 1e-5  # of the narrowest bandwidth: rounding that changes an exponent by more is not let pass
SQUARINGS = 4  # between two exponentials: each doubles the relative rounding error, so at most 16 eps


@dataclass(frozen=True)
class DistanceKernel(ABC):
    r"""A kernel that sees two points only by their squared distance, in units of a bandwidth gamma.

    .. math:: k(x, y) = \kappa\left( \|x - y\|^2 / \gamma \right)

    The bandwidth is measured as a **squared** distance. With the standard deviation sigma of Gretton et al., where
    k = exp(-\|x - y\|^2 / (2 sigma^2)), it is gamma = 2 sigma^2; it is one over the ``gamma`` of scikit-learn.

    Args:
        bandwidth: gamma > 0, or the rule that finds it anew for every batch from the squared distances of all pairs
            of distinct rows of the pooled sample (source and target together; the zero distance of a row to itself is
            left out). No gradient flows through it, and a rule makes the kernel independent of the features' scale:
            good for a statistic; in training, where features can draw together, the gradient then has no bound, and
            :class:`~landbridge.mmd.DataBandwidth` takes one bandwidth over the batches.
            ``"median"``: their median, which is the square of the median distance (of an even number the lower one).
            ``"mean"``: their mean.

            Two fallbacks, so that repeated rows give no NaN: a median that is no more than rounding (more than half of
            all pairs coincide) gives way to the mean; if all rows coincide it is 1, and k = 1.

    Raises:
        TypeError: if the bandwidth is neither a number nor a string.
        ValueError: for an unknown rule, or a number that is not positive and finite.
    """

    bandwidth: float | Literal["median", "mean"] = "median"

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.bandwidth, str):
            if self.bandwidth not in RULES:
                raise ValueError(f"{name}: " + nearest("bandwidth rule", self.bandwidth, RULES))
        elif isinstance(self.bandwidth, bool) or not isinstance(self.bandwidth, (int, float)):
            raise TypeError(
                f"{name} needs bandwidth as a number, 'median' or 'mean'; got {type(self.bandwidth).__name__}."
            )
        elif not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(
                f"{name} needs a positive finite bandwidth, a squared distance; got {self.bandwidth}. "
                "Pass 'median' to have it found from the batch."
            )

    @full_precision
    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The kernel matrix of two samples.

        Args:
            x: (n, d), floating point.
            y: (m, d), of the same dtype and device; left out, the rows of ``x`` are compared with each other, and a
                rule for the bandwidth pools ``x`` alone.

        Returns:
            (n, m), differentiable in both samples.

        Raises:
            TypeError: for what is no floating-point tensor.
            ValueError: for a wrong shape, an empty sample, another size, dtype or device, NaN or inf.
        """
        check_features(type(self).__name__, x, x if y is None else y)
        if y is None:
            return self.gram(x)
        if not isinstance(self.bandwidth, str):
            return self.of_distances(squared_distances(x, y), self.bandwidth)
        squared, bandwidth = self._measure(x, y)  # (n+m, n+m)
        n = x.shape[0]
        return self.of_distances(squared[:n, n:], bandwidth)

    def gram(self, x: Tensor, y: Tensor | None = None, follow: Follow | None = None) -> Tensor:
        """The kernel matrix of a pooled sample with itself, by one distance matrix; unchecked.

        Args:
            x: (n_s, d), or the pooled sample itself.
            y: (n_t, d), the rest of it.
            follow: makes the bandwidth of what the rule found in this sample.

        Returns:
            (n_s + n_t, n_s + n_t).
        """
        squared, found = self._measure(x, y)
        return self.of_distances(squared, found if follow is None else follow(found))

    def _measure(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, float | Tensor]:
        """The squared distances of the pooled sample, and the bandwidth that the rule finds in them.

        Where rounding would show in the narrowest kernel, in float64; where nobody can ask, about each domain's mean.
        """
        if y is not None and not can_ask(x):
            squared, norms = centred_distances(x, y)
            return squared, self.choose_bandwidth(_off_diagonal(squared), ROUNDINGS * _rounding(norms))
        pooled = x if y is None else torch.cat([x, y])
        squared, norms = pooled_distances(pooled)
        rounding = _rounding(norms)
        bandwidth = self.choose_bandwidth(_off_diagonal(squared), ROUNDINGS * rounding)
        if pooled.dtype != torch.float32 or not can_ask(pooled):
            return squared, bandwidth
        # a median that gave way may have been lost to rounding: equal rows alone are worth a second look, too
        gave_way = self.bandwidth == "median" and len(pooled) > 1 and bool(bandwidth == _off_diagonal(squared).mean())
        if not gave_way and float(rounding) * self.spread <= KEPT * float(bandwidth):
            return squared, bandwidth
        squared, norms = pooled_distances(pooled.double())
        bandwidth = self.choose_bandwidth(_off_diagonal(squared), ROUNDINGS * _rounding(norms))
        return squared.to(pooled.dtype), bandwidth.to(pooled.dtype) if isinstance(bandwidth, Tensor) else bandwidth

    @property
    def spread(self) -> float:
        """How many times narrower than the bandwidth the narrowest kernel is."""
        return 1.0

    def choose_bandwidth(self, squared: Tensor, rounding: float | Tensor | None = None) -> float | Tensor:
        """Gamma: the given number, or what the rule finds in these squared distances (of distinct pairs, any shape).

        Args:
            squared: the distances; without any, gamma is 1.
            rounding: the absolute error that the distances may have, if it is known: a median below it, or below 1e-10
                of the mean, is none. If not known, a median is one above sqrt(eps) of the mean.
        """
        if not isinstance(self.bandwidth, str):
            return self.bandwidth
        squared = squared.detach()
        if squared.numel() == 0:  # a single row
            return squared.new_ones(())
        bandwidth = mean = squared.mean()
        if self.bandwidth == "median":
            median = squared.median()
            least = math.sqrt(torch.finfo(squared.dtype).eps) * mean if rounding is None else COINCIDE * mean + rounding
            bandwidth = torch.where(median > least, median, mean)
        return torch.where(bandwidth > 0, bandwidth, torch.ones_like(bandwidth))

    @abstractmethod
    def of_distances(self, squared: Tensor, bandwidth: float | Tensor) -> Tensor:
        """The kernel of these squared distances (any shape) for one gamma, element by element; unchecked."""


@dataclass(frozen=True)
class GaussianKernel(DistanceKernel):
    r"""The Gaussian kernel.

    .. math:: k(x, y) = \exp\left( -\|x - y\|^2 / \gamma \right)

    Args:
        bandwidth: gamma > 0, a squared distance (gamma = 2 sigma^2), or ``"median"`` or ``"mean"``: see
            :class:`DistanceKernel`.

    Raises:
        TypeError: if the bandwidth is neither a number nor a string.
        ValueError: for an unknown rule, or a number that is not positive and finite.

    Source: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, section 3.2, for this
    form of the bandwidth; Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), section 8, for the median, where
    sigma is the median distance and so gamma twice the one of ``"median"``.

    >>> GaussianKernel(2.0)(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0], [1.0]]))
    tensor([[0.6065, 0.0111, 0.6065],
            [1.0000, 0.1353, 1.0000]])
    """

    def of_distances(self, squared: Tensor, bandwidth: float | Tensor) -> Tensor:
        return torch.exp(squared / -bandwidth)


@dataclass(frozen=True)
class MultiGaussianKernel(DistanceKernel):
    r"""The mean of several Gaussian kernels, whose bandwidths stand in a ladder around one.

    .. math:: k(x, y) = \frac1m \sum_{u=0}^{m-1} \exp\left( -\|x - y\|^2 / \gamma_u \right),
        \qquad \gamma_u = \gamma f^{u - \lfloor m/2 \rfloor}

    With the factor f = 2 each kernel is the square of the next wider one: one exponential, of the largest bandwidth
    (the last to underflow), and then squarings. A new exponential after every fourth squaring keeps the relative
    rounding error under 20 eps for any m.

    Args:
        bandwidth: gamma > 0, a squared distance, or ``"median"`` or ``"mean"``: see :class:`DistanceKernel`.
        kernels: m >= 1, how many.
        factor: f > 1, between neighbouring bandwidths.

    Raises:
        TypeError: if the bandwidth is neither a number nor a string, or ``kernels`` is no integer, or
            ``factor`` no number.
        ValueError: for a value out of its range, or an unknown rule.

    Source: Long et al., ICML 2015, equation 2, with all weights beta_u = 1/m. The paper learns beta, and in section 4.1
    lets gamma_u run from 2^-8 to 2^8 times the median in steps of 2^(1/2); that ladder is
    ``MultiGaussianKernel(kernels=33, factor=2**0.5)``.

    >>> MultiGaussianKernel(2.0, kernels=3)(torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0]]))
    tensor([[1.0000, 0.5844]])
    """

    kernels: int = field(default=5, kw_only=True)
    factor: float = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.kernels, bool) or not isinstance(self.kernels, int):
            raise TypeError(f"MultiGaussianKernel needs kernels as an integer; got {type(self.kernels).__name__}.")
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)):
            raise TypeError(f"MultiGaussianKernel needs factor as a number; got {type(self.factor).__name__}.")
        if self.kernels < 1:
            raise ValueError(f"MultiGaussianKernel needs at least 1 kernel; got kernels={self.kernels}.")
        if not (math.isfinite(self.factor) and self.factor > 1):
            raise ValueError(
                f"MultiGaussianKernel needs a finite factor > 1 between bandwidths; got {self.factor}. "
                "For a single bandwidth pass kernels=1."
            )

    @property
    def spread(self) -> float:
        return float(self.factor ** (self.kernels // 2))

    def of_distances(self, squared: Tensor, bandwidth: float | Tensor) -> Tensor:
        widest = bandwidth * self.factor ** (self.kernels - 1 - self.kernels // 2)
        kernel = total = torch.exp(squared / -widest)
        for step in range(1, self.kernels):
            if self.factor == 2 and step % (SQUARINGS + 1):
                kernel = kernel * kernel
            else:
                kernel = torch.exp(squared * -(self.factor**step) / widest)
            total = total + kernel
        return total / self.kernels


def _rounding(norms: Tensor) -> Tensor:
    """What rounding may add to a squared distance by products: eps times the largest squared length."""
    return torch.finfo(norms.dtype).eps * norms.detach().max()


def _off_diagonal(square: Tensor) -> Tensor:
    n = square.shape[0]
    return square.flatten()[1:].view(n - 1, n + 1)[:, :-1]  # (n-1, n): one reshape, no mask
