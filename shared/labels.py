"""The one numbering of class labels, whatever they are: numbers from 0 in sorted order, and the labels behind them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .checks import NonFiniteError

__all__ = [
    "NotWholeError",
    "Numbered",
    "as_array",
    "as_label_column",
    "as_values",
    "is_missing",
    "number_labels",
    "number_together",
]

Array = NDArray[Any]
SHOWN = 5  # labels in a message
KINDS = {"b": "booleans", "i": "numbers", "u": "numbers", "f": "numbers", "U": "strings", "O": "strings"}
VALUES = "Values are no classes: round or bin them, or leave them out."


class Numbered(NamedTuple):
    """Labels as class numbers.

    Attributes:
        classes: the labels behind the numbers, (k,), each once.
        numbers: (n,) int64, from 0 to k - 1; -1 for a label that is none of ``classes``.
    """

    classes: Array
    numbers: NDArray[np.int64]


def number_labels(
    function: str,
    name: str,
    labels: Any,
    classes: Array | None = None,
    *,
    rows: int | None = None,
    values: str = VALUES,
) -> Numbered:
    """Number labels of any kind, as every part of the package does.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        labels: one a row, (n,) or (n, 1): integers of any size and sign, whole floats, booleans or strings; as an
            array, a tensor, a list or a column of a frame.
        classes: those that are known, (k,), of :func:`number_labels`: a label is numbered by its place among them, and
            by -1 if it is not there. None: those that occur, sorted.
        rows: how many there have to be.
        values: what to do with numbers that are not whole, as a sentence.

    Raises:
        TypeError: for what is no label: dates, lists; for numbers beside strings; for labels of another kind than
            ``classes``.
        ValueError: for numbers that are not whole, a missing label, or another shape.

    >>> number_labels("adapt", "ys", ["dog", "cat", "dog"])
    Numbered(classes=array(['cat', 'dog'], dtype='<U3'), numbers=array([1, 0, 1]))
    >>> number_labels("adapt", "evaluate", [300000.0, 7.0], np.array([-1, 300000])).numbers.tolist()
    [1, -1]
    """
    column = as_label_column(function, name, labels, rows=rows, values=values)
    found, numbers = np.unique(column, return_inverse=True)
    numbers = numbers.reshape(-1).astype(np.int64)  # numpy 2.0 alone gives them another shape
    if classes is None:
        return Numbered(found, numbers)
    if len(found) and len(classes) and _kind(found) != _kind(classes):
        raise TypeError(
            f"{function} needs {name} as {_kind(classes)}, such as {_some(classes)}; got {_kind(found)}, such as "
            f"{_some(found)}. Write the labels in one way."
        )
    place = {label: number for number, label in enumerate(classes.tolist())}  # 1, 1.0 and True are one
    of_found = np.array([place.get(label, -1) for label in found.tolist()], dtype=np.int64)
    return Numbered(classes, of_found[numbers] if len(found) else numbers)


def number_together(function: str, given: Mapping[str, Any], *, values: str = VALUES) -> tuple[Array, dict[str, Any]]:
    """Number the labels of several arguments alike: the classes of the first, sorted, then those of the next alone.

    So what the later ones hold moves no number of the first.

    Args:
        function: the caller, which opens every message.
        given: labels by the name of their argument, as :func:`number_labels` takes them.
        values: what to do with numbers that are not whole, as a sentence.

    Returns:
        The classes, (k,), and the numbers (n,) by name.

    >>> number_together("diagnose", {"source_labels": ["b", "c"], "evaluate": ["a", "b"]})[1]["evaluate"].tolist()
    [2, 0]
    """
    classes: Array | None = None
    columns = {name: as_label_column(function, name, labels, values=values) for name, labels in given.items()}
    for name, column in columns.items():
        if classes is None:
            classes = np.unique(column)
            continue
        new = np.unique(column[number_labels(function, name, column, classes).numbers < 0])
        classes = np.concatenate([classes, new]) if len(new) else classes
    assert classes is not None
    return classes, {name: number_labels(function, name, column, classes).numbers for name, column in columns.items()}


def as_label_column(
    function: str, name: str, labels: Any, *, rows: int | None = None, values: str = VALUES, missing: bool = False
) -> Array:
    """Labels as one column of one kind, (n,): numbers, booleans or strings.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        labels: as :func:`number_labels` takes them; bytes are read as text.
        rows: how many there have to be.
        values: what to do with numbers that are not whole, as a sentence.
        missing: allow missing labels, which become NaN among numbers and '' among strings.

    Raises:
        TypeError, ValueError: as :func:`number_labels`.

    >>> as_label_column("adapt", "ys", np.array([[True], [False]], dtype=object))
    array([ True, False])
    """
    array = as_array(function, name, labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{function} needs one class a row in {name}, shape ({len(array) if array.ndim else 'rows'},); got labels "
            f"of shape {array.shape}. For one-hot labels pass labels.argmax(1)."
        )
    if rows is not None and len(array) != rows:
        raise ValueError(f"{function} needs one entry of {name} a row, shape ({rows},); got {array.shape}.")
    if array.dtype.kind == "O":
        array = _of_one_kind(function, name, array, missing)
    elif array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    elif array.dtype.kind == "T":  # numpy's strings without a fixed width
        array = np.array(array.tolist(), dtype=np.str_)
    if array.dtype.kind not in KINDS:
        raise TypeError(
            f"{function} needs {name} as classes: numbers, strings or booleans; got dtype {array.dtype}. Give each "
            "class a number or a name."
        )
    if array.dtype.kind in "iuf":
        array = array.astype(np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f":
        gone = np.isnan(array)
        if gone.any() and not missing:
            raise _missing(function, name, np.flatnonzero(gone), len(array))
        odd = np.flatnonzero(~gone & ((array != np.round(array)) | np.isinf(array)))
        if len(odd):
            raise NotWholeError(
                f"{function} needs {name} as classes; got labels that are no whole numbers: {array[odd[0]]} in row "
                f"{odd[0]}. {values}"
            )
    return array


def as_values(function: str, name: str, values: Any, *, missing: bool = False) -> Array:
    """Values of a regression as numbers, (n,) or (n, m), whatever holds them.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        values: numbers or booleans: an array, a tensor, a list, a column of a frame or several.
        missing: allow missing values, which become NaN.

    Raises:
        TypeError: for what is no number.
        ValueError: for another shape; NonFiniteError for missing or infinite values.

    >>> as_values("adapt", "ys", np.array([1, 2.5, True], dtype=object))
    array([1. , 2.5, 1. ])
    """
    from .frames import is_frame, read_frame  # which looks at single entries by what stands here

    array = (
        read_frame(function, name, values, finite=False).values
        if is_frame(values)
        else as_array(function, name, values)
    )
    if array.dtype.kind == "O":
        flat = [_plain(value) for value in array.reshape(-1)]
        odd = [value for value in flat if not is_missing(value) and not isinstance(value, Real)]
        if odd:
            raise TypeError(
                f"{function} needs numbers in {name} for task='regression'; got {type(odd[0]).__name__} ({odd[0]!r})."
            )
        whole = all(isinstance(value, Integral) for value in flat)
        flat = flat if whole else [np.nan if is_missing(value) else float(value) for value in flat]
        array = np.array(flat).reshape(array.shape)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{function} needs numbers in {name} for task='regression'; got dtype {array.dtype}.")
    if array.ndim not in (1, 2):
        raise ValueError(f"{function} needs values in {name} of shape (n,) or (n, m); got {array.shape}.")
    rows = array.reshape(len(array), -1)
    bad = np.flatnonzero((np.isinf(rows) if missing else ~np.isfinite(rows)).any(1))
    if len(bad):
        raise NonFiniteError(
            f"{function} got NaN or inf in {name}: {len(bad)} of {len(array)} rows, the first is row {bad[0]}."
        )
    return array


def is_missing(value: Any) -> bool:
    """Whether one entry is None, NaN, pandas' NA or its NaT.

    >>> [is_missing(value) for value in (None, float("nan"), 0, "")]
    [True, True, False, False]
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


class NotWholeError(ValueError):
    """Numbers that are not all whole where class labels are needed: they may be values."""


def as_array(function: str, name: str, labels: Any) -> Array:
    """Labels as numpy has them, but for numbers beside strings, which stay what they are.

    >>> as_array("f", "y", ["a", -1]).tolist()
    ['a', -1]
    """
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        return np.asarray(labels.float() if labels.is_floating_point() and labels.element_size() == 2 else labels)
    if isinstance(labels, np.ma.MaskedArray) and np.ma.is_masked(labels):
        whole: Array = np.array(labels.data, dtype=object)
        whole[np.ma.getmaskarray(labels)] = None  # missing
        return whole
    try:
        if not isinstance(labels, (list, tuple)):
            return np.asarray(labels)
        plain = [_plain(label) for label in labels]
        kinds = {type(label) for label in plain}
        alike = len(kinds) < 2 or kinds <= {int, float}  # else numpy would make strings of numbers beside strings
        return np.asarray(plain) if alike else np.array(plain, dtype=object)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{function} needs {name} as one class a row; they make no array ({str(error).splitlines()[0]})."
        ) from error


def _plain(label: Any) -> Any:
    """A number of Python's for a scalar of numpy's or torch's."""
    return label.item() if isinstance(label, (np.generic, np.ndarray, Tensor)) and label.ndim == 0 else label


def _of_one_kind(function: str, name: str, labels: Array, missing: bool) -> Array:
    """An array of objects as one of numbers, booleans or strings."""
    labels = np.fromiter((_plain(label) for label in labels), dtype=object, count=len(labels))
    gone = np.fromiter((is_missing(label) for label in labels), dtype=np.bool_, count=len(labels))
    if gone.any() and not missing:
        raise _missing(function, name, np.flatnonzero(gone), len(labels))
    kinds: dict[str, int] = {}
    for row, label in enumerate(labels):
        if not gone[row]:
            kinds.setdefault(_kind_of(label), row)
    if len(kinds) > 1:
        (one, i), (other, j) = sorted(kinds.items(), key=lambda item: item[1])[:2]
        raise TypeError(
            f"{function} needs {name} of one kind; got {one} ({labels[i]!r} in row {i}) beside {other} ({labels[j]!r} "
            f"in row {j}). Write the labels in one way."
        )
    kind = next(iter(kinds), "numbers")
    if kind == "strings":
        return np.array(["" if no else _text(label) for label, no in zip(labels, gone, strict=True)])
    if kind not in ("numbers", "booleans"):
        row = kinds[kind]
        raise TypeError(
            f"{function} needs {name} as classes: numbers, strings or booleans; got {kind} ({labels[row]!r} in row "
            f"{row}). Give each class a number or a name."
        )
    if gone.any():
        return np.array([np.nan if no else float(label) for label, no in zip(labels, gone, strict=True)])
    numbers = np.array(labels.tolist(), dtype=np.bool_ if kind == "booleans" else None)
    if numbers.dtype.kind == "O":
        raise TypeError(f"{function} needs {name} as numbers of at most 64 bits; got such as {labels[0]!r}.")
    return numbers


def _kind_of(label: Any) -> str:
    if isinstance(label, (str, bytes)):
        return "strings"
    if isinstance(label, (bool, np.bool_)):
        return "booleans"
    if isinstance(label, (Integral, Real)):
        return "numbers"
    return type(label).__name__


def _text(label: str | bytes) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _missing(function: str, name: str, rows: NDArray[np.int64], n: int) -> ValueError:
    return NonFiniteError(
        f"{function} got missing labels in {name}: {len(rows)} of {n} rows, the first is row {rows[0]}. Drop these "
        "rows, or mark them as target rows (-1, '' or sample_domain)."
    )


def _kind(labels: Array) -> str:
    kind = KINDS[labels.dtype.kind]
    return "numbers" if kind == "booleans" else kind  # True is 1 where they meet


def _some(labels: Array) -> str:
    return f"{labels[:SHOWN].tolist()}"
