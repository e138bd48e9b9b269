"""The one reader of data frames: columns by name, and numbers whatever their dtype is called."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from decimal import Decimal
from importlib import import_module
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .callers import outside
from .checks import NonFiniteError
from .labels import is_missing

__all__ = [
    "Frame",
    "Names",
    "align",
    "column_names",
    "column_order",
    "concatenate",
    "is_frame",
    "read_frame",
    "reorder",
    "warn_unnamed",
]

Array = NDArray[Any]
Names = tuple[Hashable, ...]
SHOWN = 6  # column names in a message


class Frame(NamedTuple):
    """A frame as numbers.

    Attributes:
        values: (n, d).
        columns: its columns' names, d of them, in the order of ``values``; None for what is no frame.
    """

    values: Array
    columns: Names | None


def is_frame(value: Any) -> bool:
    """Whether something is a data frame, of pandas or of a library that is used like it; none is imported.

    >>> is_frame(np.zeros((2, 2)))
    False
    """
    return not isinstance(value, np.ndarray) and hasattr(value, "dtypes") and hasattr(value, "columns")


def column_names(value: Any) -> Names | None:
    """The names of a frame's columns in their order; None for what is no frame."""
    return tuple(value.columns) if is_frame(value) else None


def column_order(function: str, name: str, found: Names, wanted: Names, *, of: str = "Xs") -> list[int] | None:
    """Where the wanted columns stand among those found; None if they stand there in this very order.

    Columns that were never named (0, 1, 2, ...) go by their place.

    Args:
        function: the caller, which opens every message.
        name: of the argument that has the columns ``found``.
        found: its columns.
        wanted: those needed, in the order needed.
        of: what has the columns ``wanted``.

    Raises:
        ValueError: if there are others, with those that are missing and those that are not expected.

    >>> column_order("adapt", "Xt", ("income", "age"), ("age", "income"))
    [1, 0]
    """
    if found == wanted or ((_unnamed(found) or _unnamed(wanted)) and set(found) != set(wanted)):
        return None  # another number of columns is left to who looks at shapes
    twice = [one for names in (found, wanted) for one in dict.fromkeys(names) if names.count(one) > 1]
    if twice:
        raise ValueError(
            f"{function} cannot align the columns of {name} with those of {of} by name: {_list(twice)} occurs more "
            "than once. Give each column a name of its own."
        )
    place = {one: number for number, one in enumerate(found)}
    missing, unexpected = [one for one in wanted if one not in place], [one for one in found if one not in set(wanted)]
    if missing or unexpected:
        lacks = [f"missing: {_list(missing)}"] if missing else []
        lacks += [f"unexpected: {_list(unexpected)}"] if unexpected else []
        raise ValueError(
            f"{function} needs in {name} the columns of {of}; {'; '.join(lacks)}. Rename or drop columns; their order "
            "makes no difference."
        )
    return [place[one] for one in wanted]


def reorder(frame: Any, order: list[int] | None) -> Any:
    """The frame with its columns in another order."""
    if order is None:
        return frame
    return frame.iloc[:, order] if hasattr(frame, "iloc") else frame.select([frame.columns[i] for i in order])


def align(function: str, source: Any, target: Any, *, names: tuple[str, str] = ("Xs", "Xt")) -> Any:
    """The target with its columns in the order of the source's, where both are frames; else as it is.

    Args:
        function: the caller, which opens every message.
        source: whose order counts.
        target: whose columns move.
        names: of the two arguments.

    Raises:
        ValueError: if they have other columns.
    """
    wanted, found = column_names(source), column_names(target)
    if wanted is None or found is None:
        return target
    return reorder(target, column_order(function, names[1], found, wanted, of=names[0]))


def concatenate(first: Any, second: Any) -> Any:
    """The rows of two frames of as many columns, one below the other, under the first one's names.

    >>> import pandas as pd
    >>> concatenate(pd.DataFrame({"a": [1]}), pd.DataFrame([2])).to_dict()
    {'a': {0: 1, 1: 2}}
    """
    if hasattr(first, "iloc"):
        import pandas

        return pandas.concat([first, second.set_axis(first.columns, axis=1)], ignore_index=True)
    library: Any = import_module(type(first).__module__.partition(".")[0])  # polars
    second = second.rename(dict(zip(second.columns, first.columns, strict=True)))
    return library.concat([first, second], how="vertical_relaxed")


def read_frame(
    function: str, name: str, X: Any, columns: Sequence[Hashable] | None = None, *, of: str = "Xs", finite: bool = True
) -> Frame:
    """The numbers of a frame, column by column, in the order of ``columns``.

    Booleans, nullable numbers and columns of objects that hold numbers alone are numbers. Whole numbers stay whole
    where all columns are.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        X: a frame. What is none is handed to numpy, and has no names.
        columns: those needed, in the order needed, as an earlier :attr:`Frame.columns` has them; None: those there are.
        of: what has these columns.
        finite: refuse missing and infinite values; else missing ones are NaN.

    Raises:
        TypeError: for columns of strings, categories or dates, with their names.
        ValueError: for other columns than those needed; NonFiniteError for missing or infinite values.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": pd.array([40, 50], dtype="Int64"), "owner": [True, False]})
    >>> read_frame("adapt", "Xs", frame, ("owner", "age"))
    Frame(values=array([[ 1, 40],
           [ 0, 50]]), columns=('owner', 'age'))
    """
    found = column_names(X)
    if found is None:
        return Frame(np.asarray(X), None)
    if columns is not None:
        X = reorder(X, column_order(function, name, found, tuple(columns), of=of))
        found = tuple(columns) if len(found) == len(columns) else found
    values = _plain_values(X)
    if values is None:
        read = [_read(function, name, one, _column(X, i)) for i, one in enumerate(found)]
        values = np.stack(read, 1) if read else np.zeros((len(X), 0))
    if finite:
        _check_finite(function, name, values, found)
    return Frame(values, found)


def warn_unnamed(function: str, name: str, columns: Names | None, found: Names | None) -> None:
    """Say, as scikit-learn does, that columns go by their place where one side alone has names."""
    has = [names is not None and not _unnamed(names) for names in (columns, found)]
    if has[0] == has[1]:
        return
    warnings.warn(
        f"{function} got {name} {'without' if has[0] else 'with'} column names, where the rows trained on came "
        f"{'with' if has[0] else 'without'} them: columns are taken by their place.",
        UserWarning,
        stacklevel=outside(),
    )


def _unnamed(names: Names) -> bool:
    return names == tuple(range(len(names)))


def _plain_values(X: Any) -> Array | None:
    """All columns at once, where all are numpy's numbers; that is every frame but a few, and quick."""
    dtypes = list(X.dtypes)
    if not dtypes or not all(isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in dtypes):
        return None
    return np.asarray(X.to_numpy(dtype=np.result_type(*dtypes)))


def _column(X: Any, number: int) -> Any:
    return X.iloc[:, number] if hasattr(X, "iloc") else X.get_column(X.columns[number])


def _read(function: str, name: str, label: Hashable, column: Any) -> Array:
    """One column as numbers, missing entries as NaN."""
    what = str(column.dtype)
    if what.lower().startswith(("category", "categorical", "enum")):
        raise _not_numbers(function, name, label, "categories")
    values = np.asarray(column)
    if values.dtype.kind in "OUST":
        return _of_objects(function, name, label, values.astype(object))
    if values.dtype.kind not in "fiub":
        kind = {"M": "dates", "m": "durations", "c": "complex numbers"}
        raise _not_numbers(function, name, label, kind.get(values.dtype.kind, f"dtype {what}"))
    return values


def _of_objects(function: str, name: str, label: Hashable, values: Array) -> Array:
    """A column of Python's objects, such as booleans beside pandas' NA."""
    known = [value for value in values.tolist() if not is_missing(value)]
    if any(isinstance(value, (str, bytes)) for value in known):
        text = sum(_is_text_of_number(value) for value in known) > len(known) / 2
        raise _not_numbers(function, name, label, "numbers written as text" if text else "strings")
    odd = [value for value in known if not isinstance(value, (Real, Decimal))]
    if odd:
        what = "dates" if hasattr(odd[0], "year") else f"objects ({type(odd[0]).__name__})"
        raise _not_numbers(function, name, label, what)
    if len(known) == len(values) and all(isinstance(value, Integral) for value in known):
        return np.array(known) if np.array(known).dtype.kind in "iub" else np.array(known, dtype=np.float64)
    return np.array([np.nan if is_missing(value) else float(value) for value in values.tolist()])


def _is_text_of_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _not_numbers(function: str, name: str, label: Hashable, what: str) -> TypeError:
    advice = {
        "dates": "Turn them into numbers (days since the first, hour of the day)",
        "durations": "Turn them into numbers (.dt.total_seconds())",
        "numbers written as text": "Read them as numbers (pandas.to_numeric(column, errors='coerce'))",
        "complex numbers": "Keep the real part, or both as columns of their own",
    }
    do = advice.get(
        what, "Encode them (pandas.get_dummies over both domains together, or scikit-learn's OneHotEncoder)"
    )
    return TypeError(
        f"{function} needs {name} as numbers; the column {label!r} holds {what}. {do}, or drop the column."
    )


def _check_finite(function: str, name: str, values: Array, columns: Names) -> None:
    if values.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    rows = np.flatnonzero(bad.any(1))
    where = [columns[i] for i in np.flatnonzero(bad.any(0))]
    what = "missing values (NaN)" if np.isnan(values).any() else "infinite values"
    raise NonFiniteError(
        f"{function} got {what} in {name}: {len(rows)} of {len(values)} rows, the first is row {rows[0]}; columns "
        f"{_list(where)}. Drop these rows or fill the gaps (scikit-learn's SimpleImputer)."
    )


def _list(names: Sequence[Hashable]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more
