"""The directions along which rows vary most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Principal", "principal_axes"]

FORMED = 2048  # up to this side the matrix is formed; beyond, only its products with vectors
DENSE = 512  # up to this side all its eigenvalues are found
BLOCK = 8192  # rows at a time


class Principal(NamedTuple):
    """Leading eigenvectors of a covariance.

    Attributes:
        mean: of the rows, (d,).
        directions: orthonormal, (k, d), the direction of the largest variance first.
        variances: along them, (k,), positive.
        total: the trace of the covariance.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    total: float


def principal_axes(rows: Tensor, components: int) -> Principal:
    r"""The leading eigenvectors of the unbiased covariance of rows, in float64.

    .. math:: C = \frac1{n - 1} \sum_i (x_i - \bar x) (x_i - \bar x)^\top

    By the smaller of the two matrices X'X (d x d) and XX' (n x n). The sign is free: the largest entry of each
    direction is made positive. Directions without variance (up to rounding) are left out.

    Args:
        rows: (n, d), floating point, n >= 2.
        components: how many, at most; there are no more than min(n - 1, d).

    Returns:
        The mean, k directions, the variances along them and the total variance.

    >>> principal_axes(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), 2).directions.round(6).tolist()
    [[0.6, 0.8]]
    """
    n, d = rows.shape
    mean = rows.mean(0, dtype=torch.float64)
    total = float(sum(_centred(block, mean).square().sum() for block in rows.split(BLOCK))) / (n - 1)
    if total == 0 or bool((rows == rows[:1]).all()):  # the search for eigenvectors would start from nothing
        return Principal(mean.cpu().numpy(), np.zeros((0, d)), np.zeros(0), 0.0)
    wanted = min(components, n - 1, d)
    if d <= n:
        variances, vectors = _leading(_Covariance(rows, mean), wanted)
    else:
        centred = _centred(rows, mean)
        variances, weights = _leading(_Gram(centred), wanted)
        found = torch.from_numpy(np.ascontiguousarray(weights)).to(centred.device)
        vectors = (centred.T @ found).cpu().numpy()  # (d, k)
    kept = variances > max(total, 0.0) * max(n, d) * np.finfo(np.float64).eps
    vectors, variances = vectors[:, kept], variances[kept]
    vectors = vectors / np.linalg.norm(vectors, axis=0)
    if vectors.shape[1]:
        largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
        vectors = vectors * np.sign(largest)
    return Principal(mean.cpu().numpy(), np.ascontiguousarray(vectors.T), variances, total)


class _Covariance:
    """X'X / (n - 1), (d, d)."""

    def __init__(self, rows: Tensor, mean: Tensor) -> None:
        self.rows, self.mean, self.side = rows, mean, rows.shape[1]

    def form(self) -> NDArray[np.float64]:
        covariance = self.mean.new_zeros(self.side, self.side)
        for block in self.rows.split(BLOCK):
            centred = _centred(block, self.mean)
            covariance.addmm_(centred.T, centred)
        return np.asarray((covariance / (len(self.rows) - 1)).cpu().numpy())

    def times(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        v = torch.from_numpy(vector).to(self.mean.device)
        product = torch.zeros_like(v)
        for block in self.rows.split(BLOCK):
            centred = _centred(block, self.mean)
            product += centred.T @ (centred @ v)
        return np.asarray((product / (len(self.rows) - 1)).cpu().numpy())


class _Gram:
    """XX' / (n - 1), (n, n), of centred rows."""

    def __init__(self, centred: Tensor) -> None:
        self.centred, self.side = centred, centred.shape[0]

    def form(self) -> NDArray[np.float64]:
        return np.asarray((self.centred @ self.centred.T / (self.side - 1)).cpu().numpy())

    def times(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        v = torch.from_numpy(vector).to(self.centred.device)
        return np.asarray((self.centred @ (self.centred.T @ v) / (self.side - 1)).cpu().numpy())


def _leading(matrix: _Covariance | _Gram, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues, (count,), falling, and their vectors, (side, count)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    side = matrix.side
    if side <= DENSE or 3 * count >= side:
        values, vectors = np.linalg.eigh(matrix.form())
        return values[::-1][:count], vectors[:, ::-1][:, :count]
    start = np.random.default_rng(side).standard_normal(side)  # any will do, and the same gives the same
    if side <= FORMED:
        values, vectors = eigsh(matrix.form(), k=count, v0=start)
    else:
        operator = LinearOperator((side, side), matvec=lambda v: matrix.times(v.reshape(-1)), dtype=np.float64)
        values, vectors = eigsh(operator, k=count, v0=start)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


def _centred(rows: Tensor, mean: Tensor) -> Tensor:
    return rows.double() - mean
