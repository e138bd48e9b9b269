"""What every data set hands over, and the choice of rows by hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

if TYPE_CHECKING:  # it needs torch, and the processes that decode photographs start without
    from ...shared.batches import Rows

__all__ = ["Classes", "DataError", "Split", "Status", "TaskData", "checksum", "draw_rows", "hash_order", "hold_out"]


def _differ(classes: Any) -> Any:
    if isinstance(classes, tuple) and (len(classes) < 2 or len(set(classes)) < len(classes)):
        raise ValueError(f"two class names or more are needed, each once; got {', '.join(classes) or 'none'}")
    return classes


# how many classes a suite file says there are, or their names
Classes = Annotated[Annotated[int, Field(ge=2)] | tuple[str, ...] | None, AfterValidator(_differ)]


class Split(NamedTuple):
    """Images (or features) with what belongs to them; all arrays are C-contiguous."""

    inputs: NDArray[Any] | Rows  # (n, ...): uint8 images (n, c, h, w), or float features (n, d)
    labels: NDArray[np.int64]  # (n,)
    rows: NDArray[np.int64]  # (n,) row numbers in the data set they came from


class TaskData(NamedTuple):
    """One task's data: what is trained on, what is adapted to, what is scored."""

    source_train: Split
    source_holdout: Split | None
    target_train: Split
    target_eval: Split
    classes: tuple[str, ...]
    checksum: str  # sha256, hexadecimal, over everything above


class Status(NamedTuple):
    """One set of files that a task needs."""

    name: str
    present: bool
    where: str  # the folder or file looked at
    how: str  # a sentence: how to get it, or that there is nothing to do
    size: str  # what it holds, as in "60000 + 10000 images of 28x28"
    state: str = ""  # "there", "missing", "damaged", "not decoded yet" or "changed since"


class DataError(ValueError):
    """A file that is not as it should be.

    Args:
        file: the file or folder.
        expected: what it should be or hold.
        came: what was found.
        todo: a sentence: what to do about it.

    >>> raise DataError("usps.bz2", "7291 images", "12", "Download it again.")
    Traceback (most recent call last):
    landbridge.benchmarks.datasets.base.DataError: usps.bz2: expected 7291 images; got 12. Download it again.
    """

    def __init__(self, file: object, expected: str, came: str, todo: str) -> None:
        # all four as args: an exception is pickled by them on its way out of a worker process
        super().__init__(str(file), expected, came, todo)
        self.file, self.expected, self.came, self.todo = str(file), expected, came, todo

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}; got {self.came}. {self.todo}"


def hash_order(name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows in the order of sha256(``name/row``): random, yet the same everywhere and for ever.

    >>> hash_order("mnist", np.arange(5)).tolist()
    [4, 3, 0, 1, 2]
    """
    prefix = name.encode() + b"/"
    digests = [hashlib.sha256(prefix + b"%d" % row).digest() for row in rows.tolist()]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return rows[np.array(order, dtype=np.int64)]


def draw_rows(domain: str, rows: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
    """The first ``count`` rows by hash, ascending, so that a smaller draw lies within a larger; None: all.

    Raises:
        ValueError: if the domain has fewer rows.
    """
    if count is None:
        return rows
    if count > len(rows):
        raise ValueError(
            f"load_task cannot draw {count} rows of {domain!r}: its training split has {len(rows)}. "
            f"Draw at most {len(rows)}, or leave {domain!r} out to use all."
        )
    return np.sort(hash_order(f"draw/{domain}", rows)[:count])


def hold_out(domain: str, rows: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out, both ascending; at least one of each if the share is positive.

    Raises:
        ValueError: if the share leaves nothing to train on.
    """
    if share == 0:
        return rows, rows[:0]
    count = max(1, int(share * len(rows) + 0.5))
    if count >= len(rows):
        raise ValueError(
            f"load_task cannot hold out {share} of {len(rows)} rows of {domain!r}: nothing is left to train on. "
            "Draw more rows, or hold out less."
        )
    order = hash_order(f"holdout/{domain}", rows)
    return np.sort(order[count:]), np.sort(order[:count])


def checksum(splits: dict[str, Split | None], classes: tuple[str, ...]) -> str:
    """sha256, hexadecimal, over the names, shapes, types and bytes of all arrays, and the class names."""
    digest = hashlib.sha256("\n".join(classes).encode())
    for name, split in splits.items():
        if split is None:
            digest.update(f"\n{name} none".encode())
            continue
        for field, array in split._asdict().items():
            field = "images" if field == "inputs" else field  # its name when the first cells were made
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"\n{name}.{field} {little.dtype.str} {little.shape}\n".encode())
            digest.update(little.data)
    return digest.hexdigest()
