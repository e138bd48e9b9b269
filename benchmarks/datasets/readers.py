"""Arrays and labels from a user's files (``.npz``, ``.npy``, ``.mat``, svmlight), or a sentence on what they are not.

Nothing in a file is ever unpickled. An ``.npy`` file is mapped, not read. A sparse matrix stays one.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import DataError

__all__ = ["ARRAYS", "SVMLIGHT", "Found", "Place", "as_labels", "check_finite", "is_sparse", "locate", "read", "some"]

ARRAYS = (".npz", ".npy", ".mat")
SVMLIGHT = (".svmlight", ".libsvm", ".txt")
SPARSE = {"format", "shape", "data"}  # what every archive of scipy.sparse.save_npz holds
NAMED = 5  # names that a sentence lists before it counts the others
BLOCK = 1 << 24  # numbers looked at at a time


class Place(NamedTuple):
    """A file as it is now, and which of its arrays is meant; by time and size it is read again after a change.

    Attributes:
        path: the file.
        changed: when, in ns.
        size: in bytes.
        name: of the array; an ``.npy`` file, a sparse archive and svmlight hold one that has none.
        key: how the suite file calls it, for messages: ``features``, ``inputs``, ``labels`` or ``split``.
        table: the suite file's table, for messages.
    """

    path: Path
    changed: int
    size: int
    name: str
    key: str
    table: str


class Found(NamedTuple):
    """What a file holds under a name, and the labels that come in the same file by its format (svmlight)."""

    values: Any  # an array, perhaps mapped, or a sparse matrix in rows
    labels: NDArray[np.float64] | None = None


def locate(path: Path, name: str, key: str, table: str, what: str, suffixes: tuple[str, ...]) -> Place:
    """Where an array is.

    Args:
        path: the file.
        name: of the array within.
        key: how the suite file calls it.
        table: the suite file's table.
        what: the array in words, for the message: "the features of domain 'shop'".
        suffixes: of files that could be meant, if it is not there.

    Raises:
        DataError: if there is no such file.
    """
    folder = path.parent
    try:
        stat = path.stat()
    except OSError as error:
        there = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in suffixes) if folder.is_dir() else []
        came = f"no such file ({some(there)} in {folder})" if there else f"no such file ({error.strerror})"
        raise DataError(path, what, came, "Put it there, or correct the suite file.") from error
    if not path.is_file():
        raise DataError(path, f"{what} in a file", "a folder", "Correct the suite file.")
    return Place(path, stat.st_mtime_ns, stat.st_size, name, key, table)


def read(place: Place) -> Found:
    """The array, unread where the file can be mapped, with no check but that it is one.

    Raises:
        DataError: for what is no such file, a damaged one, one without an array of that name, or Python objects.
    """
    suffix = place.path.suffix.lower()
    try:
        if suffix == ".npz":
            return Found(_from_npz(place))
        if suffix == ".npy":
            return Found(_from_npy(place))
        if suffix == ".mat":
            return Found(_from_mat(place))
        return _from_svmlight(place)
    except OSError as error:
        came = f"what cannot be read ({error.strerror or error})"
        raise DataError(
            place.path, "a file that can be read", came, "Check its permissions, or get it again."
        ) from error


def _from_npz(place: Place) -> Any:
    path, todo = place.path, f"Save it by numpy.savez(path, {place.name}=array)."
    with path.open("rb") as opened:  # numpy leaves it open where the archive is broken
        if not zipfile.is_zipfile(opened):
            raise DataError(path, "an .npz archive of numpy", "a broken or another file", todo)
        opened.seek(0)
        try:
            with np.load(opened, allow_pickle=False) as file:
                if set(file.files) >= SPARSE and place.name not in file.files:
                    return _sparse_npz(place)
                _check_name(place, file.files)
                return file[place.name]
        except DataError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError) as error:
            raise DataError(path, "arrays of numbers in an .npz archive", _came(error), todo) from error


def _sparse_npz(place: Place) -> Any:
    from scipy.sparse import load_npz

    if place.key in ("labels", "split"):
        todo = f"Name the file that holds them: label_files in the suite's [{place.table}] table."
        raise DataError(place.path, f"the {place.key} beside the features", "a sparse matrix alone", todo)
    try:
        held: Any = load_npz(place.path)
        return held.tocsr()
    except Exception as error:  # of a damaged archive: ValueError, KeyError, BadZipFile, ...
        if isinstance(error, MemoryError):
            raise
        raise DataError(
            place.path, "a sparse matrix of scipy.sparse.save_npz", _came(error), "Save it again."
        ) from error


def _from_npy(place: Place) -> Any:
    try:
        return np.load(place.path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "pickle" not in str(error) and place.size:
            try:  # an empty array cannot be mapped
                return np.load(place.path, allow_pickle=False)
            except (ValueError, EOFError):
                pass
        todo = "Save it by numpy.save(path, array)."
        raise DataError(place.path, "an array of numbers in an .npy file", _came(error), todo) from error


def _came(error: BaseException) -> str:
    if "pickle" in str(error) or "Object arrays" in str(error):
        return "an array of Python objects, which would run code when it is read"
    return f"what cannot be read ({str(error) or type(error).__name__})"


def _from_mat(place: Place) -> Any:
    from scipy.io import loadmat, whosmat

    path, name = place.path, place.name
    try:
        _check_name(place, [known for known, _, _ in whosmat(path)])
        held: Any = loadmat(path, variable_names=[name])[name]
    except DataError:
        raise
    except NotImplementedError as error:  # what scipy says to the HDF5 files of MATLAB 7.3
        raise DataError(
            path,
            "a MATLAB file up to version 7",
            "version 7.3 (HDF5)",
            f"In MATLAB: load('{path.name}'); save('{path.name}', '-v7'). Or store it in an .npz file.",
        ) from error
    except Exception as error:  # scipy raises what its parser stumbles over: zlib.error, TypeError, ValueError, ...
        if isinstance(error, (MemoryError, RecursionError)):
            raise
        raise DataError(path, "a MATLAB file", _came(error), "Get it again, or save it again.") from error
    return held.tocsr() if is_sparse(held) else held


def _from_svmlight(place: Place) -> Found:
    """Rows with column numbers as they stand in the file: whether they begin with 0 or 1 is for all files together."""
    from sklearn.datasets import load_svmlight_file

    path = place.path
    todo = "A line is a class and then the features that are not 0, as in '1 4:0.5 17:2'."
    if not place.size:
        raise DataError(path, "lines of svmlight", "an empty file", todo)
    try:
        rows, labels = load_svmlight_file(str(path), dtype=np.float64, zero_based=True)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        raise DataError(path, "lines of svmlight", f"what cannot be read ({error})", todo) from error
    if not path.read_bytes()[-1:].isspace():  # the last line is cut, or merely lacks its end
        last = path.read_bytes().rsplit(b"\n", 1)[-1].split()
        if last and last[-1].endswith(b":"):
            raise DataError(path, "a last line that is whole", repr(last[-1].decode(errors="replace")), "Get it again.")
    return Found(rows.tocsr(), labels)


def _check_name(place: Place, there: list[str]) -> None:
    if place.name in there:
        return
    import difflib

    close = difflib.get_close_matches(place.name, there, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    todo = f"{hint}Name the one that holds the {place.key} in the suite's [{place.table}] table: {place.key} = ..."
    raise DataError(place.path, f"an array named {place.name!r}", some(sorted(there)) or "no array at all", todo)


def is_sparse(values: Any) -> bool:
    """Whether it is a sparse matrix of scipy, of either kind."""
    return hasattr(values, "tocsr") and hasattr(values, "nnz")


def check_finite(place: Place, values: Any) -> None:
    """Refuse NaN and inf, with the first row and column that has one; a mapped array is read in blocks.

    Args:
        place: where they came from.
        values: (n, ...), an array or a sparse matrix in rows.

    Raises:
        DataError: if one is not finite.
    """
    sparse = is_sparse(values)
    if (values.data if sparse else values).dtype.kind not in "fc":
        return
    if sparse:
        if np.isfinite(values.data).all():
            return
        rows = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))[~np.isfinite(values.data)]
        bad, first = np.unique(rows), int(np.flatnonzero(~np.isfinite(values.data))[0])
        where, value = f"row {rows[0]}, column {values.indices[first]}", values.data[first]
    else:
        size = max(1, BLOCK // max(1, int(np.prod(values.shape[1:]))))
        found = []
        for start in range(0, len(values), size):
            block = np.isfinite(values[start : start + size])
            found.append(start + np.flatnonzero(~block.reshape(len(block), -1).all(1)))
        bad = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        if not len(bad):
            return
        row = np.asarray(values[bad[0]])
        at = np.argwhere(~np.isfinite(row))[0]
        value = row[tuple(at)]
        where = f"row {bad[0]}" + (
            f", column {at[0]}" if len(at) == 1 else f", at {tuple(map(int, at))}" if len(at) else ""
        )
    name = f"{place.name!r}" if place.name else f"the {place.key}"
    raise DataError(
        place.path,
        f"finite numbers in {name}",
        f"{value} in {len(bad)} of {values.shape[0]} rows, the first in {where}",
        "Leave such rows out (with their labels), or fill them in.",
    )


def as_labels(place: Place, values: Any, rows: int, of: str, transposed: str = "") -> NDArray[Any]:
    """Labels as one column (n,): numbers, booleans or strings, as everywhere in the package.

    Args:
        place: where they came from.
        values: as in the file.
        rows: how many there have to be.
        of: what they are the labels of, in words.
        transposed: what to say if there are not as many.

    Raises:
        DataError: for one-hot rows, values that are no classes, missing ones, or another number of them.
    """
    from ...shared.labels import as_label_column  # it needs torch

    name = f"{place.name!r}" if place.name else "the labels"
    todo = "Number the classes, as 0, 1, 2, and store whole numbers; or store their names."
    found = np.asarray(values.toarray() if is_sparse(values) else values)
    if found.dtype.kind == "O":
        found = _cells(place, found)
    if found.size != max(found.shape, default=0):
        raise DataError(
            place.path, f"{name} as one number a row", f"shape {found.shape}", "Store class numbers, not one-hot."
        )
    found = found.ravel()
    if found.dtype.kind == "f":  # MATLAB's numbers are floating-point unless told otherwise
        broken = np.flatnonzero(~(np.isfinite(found) & (found == np.round(found))))
        if broken.size:
            raise DataError(place.path, f"whole numbers in {name}", f"{found[broken[0]]} in row {broken[0]}", todo)
        found = found.astype(np.int64)
    if found.dtype.kind not in "iubUS":
        raise DataError(place.path, f"whole numbers or names in {name}", str(found.dtype), todo)
    if len(found) != rows:
        raise DataError(
            place.path,
            f"one label for each row of {of}, {rows}",
            f"{len(found)} in {name}",
            f"Store a label for each row, in the same order.{transposed}",
        )
    column: NDArray[Any] = as_label_column("landbridge", "labels", found)
    if column.dtype.kind == "U" and (column == "").any():
        came = f"an empty name in row {int(np.argmax(column == ''))}"
        raise DataError(place.path, f"a class for each row in {name}", came, todo)
    return column


def _cells(place: Place, values: NDArray[Any]) -> NDArray[Any]:
    """A cell array of MATLAB's texts."""
    cells = [np.asarray(value) for value in values.ravel()]
    flat = [str(cell.ravel()[0]) if cell.dtype.kind == "U" and cell.size == 1 else None for cell in cells]
    if any(value is None for value in flat):
        todo = "Give each class a whole number or a name."
        raise DataError(place.path, f"a class for each row in {place.name!r}", "cells of other things", todo)
    return np.array(flat)


def some(names: list[str]) -> str:
    """The first of some names, and how many more there are.

    >>> some(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
