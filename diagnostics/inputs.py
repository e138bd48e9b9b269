"""What the diagnostics accept: arrays, tensors and whatever numpy makes an array of; and what they say of the rest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import NonFiniteError

__all__ = ["InRange", "as_class_numbers", "as_class_scores", "as_pair", "as_rows", "in_range"]

ORDINARY = 40  # powers of two: values from 2^-40 to 2^40 have squares, summed, that every dtype holds


def as_rows(function: str, name: str, value: Any, *, least: int = 2) -> Tensor:
    """Rows of one domain as a floating-point matrix, without a graph, on the device they came on.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        value: (n, d) or (n, ...), which is flattened; a tensor, an array, or what numpy makes one of. Half precision
            and whole numbers of 8 or 16 bits become float32, longer ones float64; float64 stays. A floating-point
            tensor is not copied.
        least: how many rows it must have.

    Raises:
        TypeError: for objects, strings, complex numbers or sparse matrices.
        ValueError: for fewer rows or dimensions, no features, masked entries, or (NonFiniteError) NaN and inf.

    >>> as_rows("f", "source", [[1, 2], [3, 4]]).dtype
    torch.float64
    """
    if hasattr(value, "toarray") or (isinstance(value, Tensor) and value.layout != torch.strided):
        raise TypeError(
            f"{function} needs {name} as a dense matrix; got a sparse one. Pass its .toarray() or .to_dense()."
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{function} got masked entries in {name}. Fill them, or drop their rows.")
    rows = value.detach() if isinstance(value, Tensor) else _from_array(function, name, _array(function, name, value))
    if rows.is_complex():
        raise TypeError(f"{function} needs {name} as real numbers; got {rows.dtype}. Pass its real part, or both.")
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.double() if rows.element_size() > 2 and rows.device.type in ("cpu", "cuda") else rows.float()
    if rows.ndim < 2:
        raise ValueError(
            f"{function} needs {name} of shape (rows, features); got {tuple(rows.shape)}. "
            "For a single feature use .reshape(-1, 1)."
        )
    rows = rows.flatten(1)
    if rows.shape[0] < least or rows.shape[1] == 0:
        raise ValueError(
            f"{function} needs at least {least} rows and one feature in {name}; got {tuple(rows.shape)}. "
            "Pass more samples of this domain."
        )
    if not bool(rows.sum().isfinite()):  # cheap; the row is looked for on failure only
        bad = (~rows.isfinite()).any(1).nonzero()
        if len(bad):
            raise NonFiniteError(
                f"{function} got NaN or inf in {name}: {len(bad)} of {len(rows)} rows, the first is row {int(bad[0])}. "
                "Drop these rows or fill the gaps."
            )
    return rows


def as_pair(function: str, source: Any, target: Any, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Rows of both domains, (n_s, d) and (n_t, d), in one dtype on one device; see :func:`as_rows`.

    Raises:
        ValueError: also if the feature sizes or the devices differ.
    """
    x, y = as_rows(function, "source", source, least=least), as_rows(function, "target", target, least=least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{function} compares features of one size; got source {tuple(x.shape)} and target {tuple(y.shape)}. "
            "Pass both through the same feature extractor, or keep the columns they share."
        )
    if x.device != y.device:
        raise ValueError(f"{function} needs both domains on one device; got {x.device} and {y.device}.")
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


class InRange(NamedTuple):
    """Rows whose squares can be summed.

    Attributes:
        source: (n_s, d).
        target: (n_t, d).
        unit: a power of two; the rows as they came are these times the unit, moved.
    """

    source: Tensor
    target: Tensor
    unit: float


def in_range(source: Tensor, target: Tensor) -> InRange:
    """Both domains divided by one power of two, where squares of their values would leave the range of numbers.

    Rows of ordinary size stay what they are, to the bit. Others are also moved by the least value of each column, so
    that a constant one does not overflow in its turn.

    Args:
        source: (n_s, d), finite.
        target: (n_t, d), of the same dtype and device.

    >>> in_range(torch.tensor([[0.0], [2.0**70]]), torch.tensor([[2.0**69]]))
    InRange(source=tensor([[0.0000],
            [0.5000]]), target=tensor([[0.2500]]), unit=2.3611832414348226e+21)
    """
    (low_s, high_s), (low_t, high_t) = (rows.aminmax(dim=0) for rows in (source, target))
    low, high = torch.minimum(low_s, low_t), torch.maximum(high_s, high_t)
    size = 2 * float((high / 2 - low / 2).max())
    largest = float(torch.maximum(low.abs(), high.abs()).max())
    if size == 0 or (size > 2.0**-ORDINARY and largest < 2.0**ORDINARY):
        return InRange(source, target, 1.0)
    exponent = min(max(math.frexp(size)[1] if math.isfinite(size) else 1024, -1000), 1000)
    first = exponent // 2  # two steps, since 2^-exponent itself may be no float

    def moved(rows: Tensor) -> Tensor:
        if rows.device.type != "mps":  # Apple's GPU has no float64
            rows = rows.double()
        away = rows / 2 - low.to(rows) / 2
        return (away * 2.0 ** (1 - first) * 2.0 ** (first - exponent)).to(source.dtype)

    return InRange(moved(source), moved(target), 2.0**exponent)


def as_class_numbers(
    function: str, name: str, value: Any, rows: int, *, classes: int | None = None
) -> NDArray[np.int64]:
    """Class numbers from 0, (rows,).

    Raises:
        TypeError: for what is no whole number.
        ValueError: for another shape, negative numbers, or numbers of ``classes`` and above.
    """
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"{function} needs {name} as whole class numbers; got dtype {array.dtype}. Number the classes from 0, for "
            "example by numpy.unique(labels, return_inverse=True)[1]."
        )
    if array.shape != (rows,):
        raise ValueError(f"{function} needs one entry of {name} a row, shape ({rows},); got {array.shape}.")
    numbers = array.astype(np.int64)
    if len(numbers) and (numbers.min() < 0 or (classes is not None and numbers.max() >= classes)):
        most = "" if classes is None else f" to {classes - 1}"
        raise ValueError(
            f"{function} needs {name} as class numbers from 0{most}; got {numbers.min()} to {numbers.max()}."
        )
    return numbers


def as_class_scores(function: str, name: str, value: Any) -> NDArray[np.float64]:
    """Logits of a classifier, (n, k) with at least two classes, as float64 on the CPU.

    Raises:
        TypeError, ValueError: as :func:`as_rows`, or for fewer than two columns.
    """
    if not hasattr(value, "ndim"):
        value = _array(function, name, value)
    if value.ndim != 2 or value.shape[1] < 2:
        raise ValueError(
            f"{function} needs {name} of shape (rows, classes) with at least 2 classes; got {tuple(value.shape)}. A "
            "one-logit head z becomes numpy.stack([0 * z, z], -1)."
        )
    return np.asarray(as_rows(function, name, value, least=1).double().cpu().numpy())


def _array(function: str, name: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{function} needs {name} as numbers in equally long rows; got a {type(value).__name__} that makes no "
            f"array ({str(error).splitlines()[0]}). Make the rows equally long; a list of tensors becomes one by "
            "torch.stack."
        ) from error


def _from_array(function: str, name: str, array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "fiubc":
        raise TypeError(
            f"{function} needs {name} as numbers; got an array of dtype {array.dtype}. Encode strings and categories "
            "first, and make ragged rows equally long."
        )
    if array.dtype.kind in "ui" and array.dtype.itemsize > 1:
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    longest = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(array.dtype.kind, array.dtype)
    dtype = min(array.dtype, longest, key=lambda one: one.itemsize).newbyteorder("=")  # what torch knows
    return torch.from_numpy(
        np.array(array, dtype=dtype, order="C")
    )  # a copy: memory maps and negative strides are fine
