"""CORAL in closed form: source rows are whitened, then coloured with the target's covariance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shared.estimator import AdaptingTransformer

__all__ = ["CORAL"]


class CORAL(AdaptingTransformer):
    r"""Linear alignment of the source covariance with the target's, as a scikit-learn transformer.

    .. math:: x^* = x \, C_S^{-1/2} C_T^{1/2}, \qquad C_S = \mathrm{cov}(X_S) + \lambda I, \quad
        C_T = \mathrm{cov}(X_T) + \lambda I

    Covariances are centred and divide by n - 1 (the paper's Matlab ``cov``). The rows themselves are not centred: the
    paper standardises the features of each domain beforehand, so that both means are 0, and its algorithm then maps
    the mean m_S to :math:`m_S C_S^{-1/2} C_T^{1/2}`. For features that do not have mean 0, ``match_means=True`` maps
    x to :math:`(x - m_S) C_S^{-1/2} C_T^{1/2} + m_T` instead. Target rows stay as they are.

    A domain of n < d rows costs O(n^2 d): outside the span of its centred rows the covariance is lambda I, so no
    d x d matrix is made. Computed in float64; the result has the dtype of X.

    Args:
        regularization: lambda, >= 0, in squared units of the features; 1 in the paper. 0 needs more than d source
            rows that span all d features.
        match_means: also move the source mean to the target's; False in the paper.

    Attributes:
        whitening_: :math:`C_S^{-1/2}`, as a multiple of the identity and what a basis adds to it.
        coloring_: :math:`C_T^{1/2}`, likewise.
        source_mean_, target_mean_: (d,).

    Raises:
        ValueError: by ``fit``, for a negative regularization, fewer than 2 rows in a domain, or a regularization of 0
            with a singular source covariance.

    Source: Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016, algorithm 1.

    >>> X, y, sample_domain = lb.pack([[-1.0], [1.0]], [0, 1], [[-3.0], [3.0]])
    >>> CORAL(regularization=0.0).fit_transform(X, y, sample_domain).ravel().round(6).tolist()
    [-3.0, 3.0, -3.0, 3.0]
    """

    def __init__(self, *, regularization: float = 1.0, match_means: bool = False) -> None:
        self.regularization = regularization
        self.match_means = match_means

    def _check_settings(self) -> None:
        value = self.regularization
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"CORAL needs regularization as a number; got {type(value).__name__}.")
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"CORAL needs a finite regularization >= 0; got {value}. The paper's value is 1.")
        if not isinstance(self.match_means, (bool, np.bool_)):
            raise TypeError(f"CORAL needs match_means as True or False; got {self.match_means!r}.")

    def _adapt(self, source: NDArray[Any], target: NDArray[Any], labels: NDArray[Any] | None) -> None:
        for domain, rows in (("source", source), ("target", target)):
            if len(rows) < 2:
                raise ValueError(
                    f"CORAL.fit needs at least 2 rows of each domain for a covariance; got 1 {domain} row."
                )
        regularization = float(self.regularization)
        self.source_mean_, self.target_mean_ = _mean(source), _mean(target)
        variances, basis = _spectrum(source - self.source_mean_)
        singular = len(basis) < basis.shape[1] or variances[0] <= _rounding(variances)
        if regularization == 0.0 and singular:
            raise ValueError(
                f"CORAL.fit cannot whiten {len(source)} source rows of {source.shape[1]} features with "
                "regularization=0, because their covariance is singular. Use regularization=1.0, the paper's value."
            )
        self.whitening_ = _power(variances, basis, regularization, -0.5)
        self.coloring_ = _power(*_spectrum(target - self.target_mean_), regularization, 0.5)

    def _move(self, source: NDArray[Any]) -> NDArray[Any]:
        rows = source.astype(np.float64)
        if self.match_means:
            return _times(_times(rows - self.source_mean_, self.whitening_), self.coloring_) + self.target_mean_
        return _times(_times(rows, self.whitening_), self.coloring_)


class _SymmetricMatrix(NamedTuple):
    """outside * I + basis.T @ diag(inside) @ basis."""

    outside: float
    inside: NDArray[np.float64]  # (r,)
    basis: NDArray[np.float64]  # (r, d), orthonormal rows


def _mean(rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(rows.mean(0, dtype=np.float64))


def _spectrum(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues of the covariance, ascending (r,), and eigenvectors as rows (r, d), r = min(n, d)."""
    n, d = centred.shape
    if n < d:
        _, singular, basis = np.linalg.svd(centred, full_matrices=False)
        return singular[::-1] ** 2 / (n - 1), basis[::-1]
    variances, vectors = np.linalg.eigh(centred.T @ centred / (n - 1))
    return variances.clip(min=0.0), vectors.T


def _rounding(variances: NDArray[np.float64]) -> float:
    return float(len(variances) * np.finfo(np.float64).eps * variances[-1])


def _power(
    variances: NDArray[np.float64], basis: NDArray[np.float64], regularization: float, exponent: float
) -> _SymmetricMatrix:
    """(cov + regularization * I) ** exponent."""
    inside = (variances + regularization) ** exponent
    if len(basis) == basis.shape[1]:
        return _SymmetricMatrix(0.0, inside, basis)
    outside = regularization**exponent
    return _SymmetricMatrix(outside, inside - outside, basis)


def _times(rows: NDArray[np.float64], matrix: _SymmetricMatrix) -> NDArray[np.float64]:
    product: NDArray[np.float64] = ((rows @ matrix.basis.T) * matrix.inside) @ matrix.basis  # (n, r) in between
    return product if matrix.outside == 0.0 else product + matrix.outside * rows
