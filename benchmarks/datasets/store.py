"""Prepared arrays on the disk: the finished one with its index, and the one in the making with its journal.

::

    amazon.npy                  uint8, (n, 3, side, side), a plain .npy file
    amazon.json                 the index: files, labels, classes, sizes and times of the files, checksums
    .amazon.KEY.part.npy        the array in the making; KEY stands for the list of files
    .amazon.KEY.part.json       the list of files
    .amazon.KEY.part.done       the journal: a record for each row that is written

A row's record holds the size and time of its file and the sha256 of its bytes. So whatever stopped the work, and at
whatever moment, a row counts as done only if its record is there, its file is as it was, and its bytes are what the
record says; and a row keeps its worth when the list of files changes around it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...shared.files import write_atomically
from .base import DataError
from .decode import VERSION, Unreadable, decode

__all__ = [
    "FORMAT",
    "Identity",
    "Index",
    "Item",
    "Kept",
    "Part",
    "Task",
    "Written",
    "checksum_of",
    "fill",
    "finish",
    "header",
    "left_overs",
    "read_index",
    "right_size",
]

FORMAT = 1  # of the index; one of another number is as good as none
_RECORD = struct.Struct("<QQq32s")  # row, size of the file, its time in ns, sha256 of the row's bytes


class Identity(NamedTuple):
    """A source file as it was when its row was made."""

    file: str
    size: int
    mtime: int  # ns


class Index(BaseModel):
    """What ``DOMAIN.json`` holds; the lists have an entry for each row of the array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    decoder: int
    side: int
    data: str  # the data folder it was made of
    source: str  # the folder within, to which the files are relative
    place: Annotated[tuple[str, ...], Field(min_length=3)]  # see Listing.place
    classes: tuple[str, ...]
    counts: dict[str, int]
    checksum: str  # sha256 over the rows' own
    files: tuple[str, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...]
    mtimes: tuple[int, ...]
    rows: tuple[str, ...]  # sha256 of each row's bytes

    def identities(self) -> list[Identity]:
        """The source files as they were."""
        return list(map(Identity, self.files, self.sizes, self.mtimes))


class Kept(NamedTuple):
    """Where a row's bytes should already be."""

    array: str
    offset: int
    digest: bytes


class Item(NamedTuple):
    """One row to be filled."""

    row: int
    source: str
    kept: Kept | None


class Task(NamedTuple):
    """What a worker is told: some rows of one array."""

    domain: str
    array: str
    start: int  # where the rows begin in the file
    side: int
    items: list[Item]


class Written(NamedTuple):
    """What a worker answers: rows that are there now, rows of which no image can be made, and what stopped it."""

    digests: dict[int, bytes]
    faults: dict[int, str]
    decoded: int
    stopped: str | None = None


def header(n: int, side: int) -> bytes:
    """The beginning of a .npy file of this shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (n, 3, side, side)})
    return buffer.getvalue()


def right_size(array: Path, n: int, side: int) -> bool:
    """Whether the file is there, begins as it should and has the right length."""
    begins = header(n, side)
    try:
        with array.open("rb") as file:
            return file.read(len(begins)) == begins and os.fstat(file.fileno()).st_size == len(begins) + n * 3 * side**2
    except OSError:
        return False


def checksum_of(rows: Iterable[bytes], side: int) -> str:
    """sha256, hexadecimal, over the rows' own sha256 in order: it is known without reading the array again."""
    digest = hashlib.sha256(f"rows of 3x{side}x{side} uint8\n".encode())
    for row in rows:
        digest.update(row)
    return digest.hexdigest()


def read_index(path: Path) -> Index | None:
    """The index; None if there is none, or one that an other version of the decoder has made.

    Raises:
        DataError: if it is damaged.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        todo = "Check its permissions, or set LANDBRIDGE_CACHE to another folder."
        raise DataError(path, "an index that can be read", error.strerror or str(error), todo) from error
    todo = "Run `landbridge data prepare` again: it is made anew."
    try:
        numbers = json.loads(content)
        if isinstance(numbers, dict) and (numbers.get("format"), numbers.get("decoder")) != (FORMAT, VERSION):
            return None
        index = Index.model_validate(numbers)
    except (ValueError, ValidationError) as error:
        raise DataError(
            path, "the index of a prepared array", f"{type(error).__name__} while reading it", todo
        ) from error
    if len({len(index.files), len(index.labels), len(index.sizes), len(index.mtimes), len(index.rows)}) > 1:
        raise DataError(path, "an index with one entry a row", "lists of several lengths", todo)
    return index


# ---------------------------------------------------------------- in a worker


def fill(task: Task) -> Written:
    """Write the rows of a task into the array in the making; a row that is there already is only checked."""
    size = 3 * task.side**2
    digests: dict[int, bytes] = {}
    faults: dict[int, str] = {}
    decoded = 0
    try:
        with _opened(task.array, os.O_RDWR) as array:
            for item in task.items:
                place = task.start + item.row * size
                kept = item.kept
                content = None if kept is None else _kept(kept, size)
                if content is not None and kept is not None and (kept.array, kept.offset) == (task.array, place):
                    digests[item.row] = kept.digest
                    continue
                if content is None:
                    try:
                        content = decode(item.source, task.side).tobytes()
                    except Unreadable as error:
                        faults[item.row] = str(error)
                        continue
                    decoded += 1
                _write(array, content, place)
                digests[item.row] = hashlib.sha256(content).digest()
    except OSError as error:  # a full disk: the rows before it count
        return Written(digests, faults, decoded, error.strerror or str(error))
    return Written(digests, faults, decoded)


def _kept(kept: Kept, size: int) -> bytes | None:
    """The row's bytes, if they are what they should be."""
    try:
        with _opened(kept.array, os.O_RDONLY) as array:
            content = os.pread(array, size, kept.offset)
    except OSError:
        return None
    return content if len(content) == size and hashlib.sha256(content).digest() == kept.digest else None


def _write(file: int, content: bytes, place: int) -> None:
    # not through a memory map: a full disk would end the process there, and is an error here
    view = memoryview(content)
    while view:
        count = os.pwrite(file, view, place)
        view, place = view[count:], place + count


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    file = os.open(path, flags)
    try:
        yield file
    finally:
        os.close(file)


# ---------------------------------------------------------------- in the parent


class Part:
    """The array in the making of one domain; what an earlier, interrupted run left is taken up.

    Args:
        folder: of the suite's prepared arrays.
        domain: whose.
        root: of the source files.
        identities: the source files, in the order of the rows.
        side: height and width.
    """

    def __init__(self, folder: Path, domain: str, root: Path, identities: Sequence[Identity], side: int) -> None:
        self.folder, self.domain, self.root, self.identities, self.side = folder, domain, root, identities, side
        self.plan = json.dumps({"decoder": VERSION, "side": side, "files": [one.file for one in identities]}).encode()
        stem = f".{domain}.{hashlib.sha256(self.plan).hexdigest()[:16]}.part"
        self.array, self.list, self.journal = (folder / (stem + suffix) for suffix in (".npy", ".json", ".done"))
        self.start = len(header(len(identities), side))
        self.digests: dict[int, bytes] = {}  # of the rows that are there, as far as this run knows

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.start + len(self.identities) * 3 * self.side**2

    def missing_bytes(self) -> int:
        """What the disk must still give."""
        try:
            return max(0, self.size - self.array.stat().st_blocks * 512)
        except OSError:
            return self.size

    def open(self) -> list[Item]:
        """Make the files, or find them; and say what is known of each row before anything is decoded.

        Raises:
            OSError: if they cannot be written.
        """
        final, index = self.folder / f"{self.domain}.npy", self.folder / f"{self.domain}.json"
        n = len(self.identities)
        if self.list.exists() and not self.array.exists() and not index.exists() and right_size(final, n, self.side):
            os.replace(final, self.array)  # stopped between the last two steps of `finish`
        if not (self.list.exists() and right_size(self.array, n, self.side)):
            self.journal.unlink(missing_ok=True)
            with self.array.open("wb") as file:
                file.write(header(n, self.side))
                file.truncate(self.size)
            write_atomically(self.list, self.plan)
        with self.journal.open("ab") as file:  # a record cut short would set the later ones askew
            file.truncate(os.fstat(file.fileno()).st_size // _RECORD.size * _RECORD.size)
        found = self._rows_elsewhere() | _rows_of_part(self.array, self.list, self.journal, self.side)
        return [Item(row, str(self.root / one.file), found.get(one)) for row, one in enumerate(self.identities)]

    def record(self, written: Written) -> None:
        """Note rows as done.

        Raises:
            OSError: if the disk is full.
        """
        records = [
            _RECORD.pack(row, self.identities[row].size, self.identities[row].mtime, digest)
            for row, digest in written.digests.items()
        ]
        with self.journal.open("ab", buffering=0) as file:
            file.write(b"".join(records))
        self.digests |= written.digests

    def _rows_elsewhere(self) -> dict[Identity, Kept]:
        """Rows that the finished array or parts for other lists of files hold."""
        found: dict[Identity, Kept] = {}
        for array in left_overs(self.folder, self.domain):
            if array.suffix == ".npy" and array != self.array:
                found |= _rows_of_part(array, array.with_suffix(".json"), array.with_suffix(".done"), self.side)
        index = None
        with suppress(DataError):
            index = read_index(self.folder / f"{self.domain}.json")
        array = self.folder / f"{self.domain}.npy"
        if index is not None and index.side == self.side and right_size(array, len(index.files), self.side):
            digests = {row: bytes.fromhex(digest) for row, digest in enumerate(index.rows)}
            found |= _kept_rows(array, index.identities(), digests, self.side)
        return found


def left_overs(folder: Path, domain: str) -> list[Path]:
    """What is in the making of this domain, for any list of files: donors of rows until its array is finished."""
    pattern = re.compile(rf"\.{re.escape(domain)}\.[0-9a-f]{{16}}\.part\.(npy|json|done)")
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def _rows_of_part(array: Path, plan: Path, journal: Path, side: int) -> dict[Identity, Kept]:
    """What a part's journal says of its rows; nothing, if the part was made otherwise."""
    try:
        told = json.loads(plan.read_bytes())
        files, same = told["files"], (told["decoder"], told["side"]) == (VERSION, side)
        records = journal.read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not same or not right_size(array, len(files), side):
        return {}
    identities = [Identity(file, -1, -1) for file in files]
    digests = {}
    whole = len(records) // _RECORD.size * _RECORD.size
    for row, size, mtime, digest in _RECORD.iter_unpack(records[:whole]):
        if row < len(files):
            identities[row] = Identity(files[row], size, mtime)
            digests[row] = digest
    return _kept_rows(array, identities, digests, side)


def _kept_rows(
    array: Path, identities: Sequence[Identity], digests: Mapping[int, bytes], side: int
) -> dict[Identity, Kept]:
    start, size = len(header(len(identities), side)), 3 * side**2
    return {identities[row]: Kept(str(array), start + row * size, digest) for row, digest in digests.items()}


def finish(part: Part, index: Index) -> None:
    """Make the part the finished array, put its index beside it and take away what is left of the work.

    At no moment is there an index beside an array of another making: the old one goes first.

    Raises:
        OSError: if the disk is full.
    """
    final, place = part.folder / f"{part.domain}.npy", part.folder / f"{part.domain}.json"
    with part.array.open("rb+") as file:
        os.fsync(file.fileno())
    place.unlink(missing_ok=True)
    os.replace(part.array, final)
    write_atomically(place, index.model_dump_json(indent=None).encode())
    for path in left_overs(part.folder, part.domain):
        path.unlink(missing_ok=True)
