"""Mean and variance of each column of a sample that comes in parts."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Moments"]


class Moments:
    r"""Mean and variance of all rows together, by the law of total variance, whatever the parts and their order.

    A part of n rows with mean m and sum of squared deviations S joins what has been seen (N, M, Q) as

    .. math:: M' = M + \delta \frac{n}{N + n}, \qquad Q' = Q + S + \delta^2 \frac{N n}{N + n}, \qquad \delta = m - M

    The parts are measured about their own means and joined in float64, so columns far from 0 lose no digits. Nothing
    waits for the device.

    Attributes:
        count: N, the rows so far.
        mean: M, (d,), float64.

    Source: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American Statistician 37 (1983),
    equation 2.1; the term between the parts is the d^2 n k / (n + k) of Li et al., AdaBN, 2016.

    >>> moments = Moments()
    >>> moments.add(torch.tensor([[1.0], [2.0]])); moments.add(torch.tensor([[6.0]]))
    >>> moments.mean, moments.variance()
    (tensor([3.], dtype=torch.float64), tensor([7.], dtype=torch.float64))
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Take in further rows, (n, d, ...); every position of the rest is a row."""
        x = x.detach().transpose(0, 1).flatten(1)  # (d, n * rest)
        n = x.shape[1]
        if n == 0:
            return
        x = x if x.dtype == torch.float64 else x.float()
        rough = x.mean(1, keepdim=True)  # in float32 off by its rounding, which the mean of what is left puts right
        variance, rest = torch.var_mean(x - rough, dim=1, correction=0)
        mean, squares = rough.squeeze(1).double() + rest.double(), variance.double() * n
        if self.count == 0:
            self.count, self.mean, self._squares = n, mean, squares
            return
        delta, total = mean - self.mean, self.count + n
        self.mean = self.mean + delta * (n / total)
        self._squares = self._squares + squares + delta.square() * (self.count * n / total)
        self.count = total

    def variance(self, *, correction: int = 1) -> Tensor:
        """Q / (N - correction), (d,), float64; needs more rows than ``correction``."""
        return self._squares / (self.count - correction)
