"""Sparse matrices of scipy and torch: kept sparse, and made dense a batch at a time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SparseRows", "is_sparse", "stack_sparse"]

Array = NDArray[Any]


class SparseRows:
    """Rows of a sparse matrix, (n, d), of which only those that are asked for become dense.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        matrix: scipy's, of any format, matrix or array; or a sparse tensor of torch. Nothing of it is changed.

    Attributes:
        matrix: the same in scipy's compressed rows, float32 or float64: whole numbers become floating point.

    Raises:
        TypeError: for entries that are no real numbers.
        ValueError: for another number of axes than two.

    >>> from scipy.sparse import csr_array
    >>> rows = SparseRows("fit", "source", csr_array([[0, 2], [0, 0], [5, 0]]))
    >>> rows.shape, rows[[2, 0]].numpy().tolist()
    ((3, 2), [[5.0, 0.0], [0.0, 2.0]])
    """

    def __init__(self, function: str, name: str, matrix: Any) -> None:
        from scipy.sparse import csr_array

        found = _of_torch(function, name, matrix) if isinstance(matrix, Tensor) else matrix
        if found.ndim != 2:
            raise ValueError(f"{function} needs {name} of shape (samples, features); got {tuple(found.shape)}.")
        if found.dtype.kind not in "fiub":
            raise TypeError(f"{function} needs {name} as numbers; got a sparse matrix of dtype {found.dtype}.")
        rows = csr_array(found)
        size = rows.dtype.itemsize
        single = size <= 4 if rows.dtype.kind == "f" else size <= 2
        rows = rows.astype(np.float32 if single else np.float64, copy=False)
        if not rows.has_canonical_format:  # entries given twice count as their sum
            rows = rows.copy()
            rows.sum_duplicates()
        self.matrix: Any = rows

    @classmethod
    def _of(cls, rows: Any) -> SparseRows:
        made = object.__new__(cls)
        made.matrix = rows
        return made

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return (int(self.matrix.shape[0]), int(self.matrix.shape[1]))

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> Any:
        """numpy's, float32 or float64."""
        return self.matrix.dtype

    def __getitem__(self, which: Any) -> SparseRows | Array:
        """Some rows, by numbers, a slice or a mask, still sparse; one row, dense, by a whole number."""
        if isinstance(which, (int, np.integer)):
            return np.asarray(self.matrix[[which]].toarray()[0])
        return SparseRows._of(self.matrix[which])

    def numpy(self) -> Array:
        """All of these rows, dense."""
        return np.asarray(self.matrix.toarray())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("SparseRows cannot be an array without copying the rows; leave copy out.")
        return self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and (biased) variance of each feature, zeros included, (d,) and (d,), float64; nothing becomes dense."""
        n, d = self.shape
        column, values = self.matrix.indices, self.matrix.data.astype(np.float64)
        empty = n - np.bincount(column, minlength=d)  # how often a feature is zero
        mean = np.bincount(column, weights=values, minlength=d) / n
        left = np.bincount(column, weights=values - mean[column], minlength=d) - empty * mean
        mean += left / n  # what rounding has taken
        squares = np.bincount(column, weights=np.square(values - mean[column]), minlength=d)
        return torch.from_numpy(mean), torch.from_numpy((squares + empty * np.square(mean)) / n)

    def not_finite(self) -> Array:
        """The numbers of the rows that hold NaN or inf."""
        bad = np.flatnonzero(~np.isfinite(self.matrix.data))
        return np.unique(np.searchsorted(self.matrix.indptr, bad, side="right") - 1)


def is_sparse(value: Any) -> bool:
    """Whether it is a sparse matrix or array of scipy, a sparse tensor of torch, or :class:`SparseRows`.

    >>> is_sparse(torch.eye(2).to_sparse()), is_sparse(torch.eye(2))
    (True, False)
    """
    if isinstance(value, Tensor):
        return value.layout != torch.strided
    scipy = sys.modules.get("scipy.sparse")  # where it was never imported, nothing is of it
    return isinstance(value, SparseRows) or (scipy is not None and bool(scipy.issparse(value)))


def stack_sparse(function: str, source: Any, target: Any) -> tuple[Any, int, int]:
    """Two matrices, of which one at least is sparse, one above the other.

    Returns:
        (n_s + n_t, d), scipy's compressed rows; n_s; n_t.

    Raises:
        ValueError: for another shape, or another number of features.
    """
    from scipy.sparse import csr_array, csr_matrix, isspmatrix, vstack

    both = []
    for name, value in (("Xs", source), ("Xt", target)):
        value = _of_torch(function, name, value) if is_sparse(value) and isinstance(value, Tensor) else value
        value = value.matrix if isinstance(value, SparseRows) else value
        both.append(csr_array(value if is_sparse(value) else np.asarray(value)))
    shapes = [rows.shape for rows in both]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"{function} needs Xs and Xt of shapes (samples, features) with the same features; got {shapes[0]} and "
            f"{shapes[1]}."
        )
    stacked = vstack(both, format="csr")
    older = isspmatrix(source) or isspmatrix(target)
    return csr_matrix(stacked) if older else stacked, shapes[0][0], shapes[1][0]


def _of_torch(function: str, name: str, tensor: Tensor) -> Any:
    from scipy.sparse import coo_array

    value = tensor.detach().cpu()
    if value.ndim != 2 or value.is_complex() or (value.layout == torch.sparse_coo and value.dense_dim()):
        raise TypeError(
            f"{function} needs {name} as a sparse tensor (samples, features) of real numbers; got "
            f"{tuple(value.shape)}, {value.dtype}."
        )
    value = (value if value.layout == torch.sparse_coo else value.to_sparse_coo()).coalesce()
    entries = value.values()
    if entries.dtype == torch.bfloat16:
        entries = entries.float()
    return coo_array((entries.numpy(), tuple(value.indices().numpy())), shape=tuple(value.shape))
