"""Whether the files of a digits domain hold what they should, without reading their images into memory."""

from __future__ import annotations

import bz2
import os
import struct
from pathlib import Path

from . import mnist_m
from .base import DataError

__all__ = ["inspect"]

IMAGES, LABELS = 0x803, 0x801  # how an idx file of bytes begins: three axes, or one
PNG_END = b"IEND\xaeB`\x82"  # the last eight bytes of every PNG
LOOKED_AT = 200  # PNG files whose ends are read; of the others there is a name and a size
_BLOCK = 1 << 20


def inspect(domain: str, data: Path, files: dict[str, tuple[str, ...]], counts: dict[str, tuple[int, ...]]) -> None:
    """Look into a domain's files.

    Args:
        domain: which.
        data: the data folder, where they are.
        files: their names by split; none of MNIST-M.
        counts: the numbers of images that a split may have.

    Raises:
        DataError: for a file that is cut, or of another kind or number of images than published.
    """
    try:
        for split, known in counts.items():
            if domain == "mnist-m":
                _released(data, split, known)
            elif domain == "mnist":
                _idx(data / files[split][0], IMAGES, known)
                _idx(data / files[split][1], LABELS, known)
            elif domain == "usps":
                _lines(data / files[split][0], known)
            else:
                _mat(data / files[split][0], known)
    except OSError as error:
        came = error.strerror or str(error)
        raise DataError(error.filename or data, "a file that can be read", came, "Check its permissions.") from error


def _wrong(path: Path, expected: str, came: str) -> DataError:
    return DataError(path, expected, came, "Delete it and get it again.")


def _numbers(known: tuple[int, ...]) -> str:
    return " or ".join(map(str, known))


def _idx(path: Path, magic: int, known: tuple[int, ...]) -> None:
    with path.open("rb") as file:
        begin = file.read(16 if magic == IMAGES else 8)
        size = os.fstat(file.fileno()).st_size
    if len(begin) < (16 if magic == IMAGES else 8) or struct.unpack(">I", begin[:4])[0] != magic:
        raise _wrong(
            path, "an idx file of " + ("images" if magic == IMAGES else "labels"), f"{begin[:4]!r} at its begin"
        )
    shape = struct.unpack(f">{len(begin) // 4 - 1}I", begin[4:])
    wanted = len(begin) + shape[0] * (shape[1] * shape[2] if len(shape) == 3 else 1)
    if size != wanted:
        raise _wrong(path, f"{wanted} bytes, as its begin says", f"{size}")
    if shape[0] not in known:
        raise _wrong(path, f"{_numbers(known)} images", str(shape[0]))


def _lines(path: Path, known: tuple[int, ...]) -> None:
    lines = 0
    try:
        with bz2.open(path, "rb") as file:
            while block := file.read(_BLOCK):
                lines += block.count(b"\n")
    except EOFError as error:
        raise _wrong(path, "a whole bz2 file", "one that is cut") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _wrong(path, "a bz2 file", str(error)) from error
    if lines not in known:
        raise _wrong(path, f"{_numbers(known)} lines, one an image", str(lines))


def _mat(path: Path, known: tuple[int, ...]) -> None:
    from scipy.io import whosmat

    _check_elements(path)
    try:
        shapes = {name: shape for name, shape, _ in whosmat(str(path))}
    except Exception as error:  # what scipy's parser stumbles over is anything
        if isinstance(error, MemoryError):
            raise
        raise _wrong(path, "a MATLAB file", str(error) or type(error).__name__) from error
    if "X" not in shapes or "y" not in shapes:
        raise _wrong(path, "arrays X and y", ", ".join(sorted(shapes)) or "none")
    if shapes["X"][:3] != (32, 32, 3) or shapes["X"][-1] not in known:
        raise _wrong(path, f"X of (32, 32, 3, {_numbers(known)})", str(shapes["X"]))


def _check_elements(path: Path) -> None:
    """The elements of a MATLAB 5 file follow each other up to its very end."""
    with path.open("rb") as file:
        header = file.read(128)
        size = os.fstat(file.fileno()).st_size
        if len(header) < 128 or header[126:128] not in (b"IM", b"MI"):
            raise _wrong(path, "a MATLAB file of version 5 to 7", f"{header[:8]!r} at its begin")
        order, place = "<" if header[126:128] == b"IM" else ">", 128
        while place < size:
            file.seek(place)
            tag = file.read(8)
            if len(tag) < 8:
                break
            place += 8 + struct.unpack(f"{order}II", tag)[1]
    if place != size:
        raise _wrong(path, f"{place} bytes, as its elements say", str(size))


def _released(data: Path, split: str, known: tuple[int, ...]) -> None:
    released = mnist_m.find_released(data, split)
    if released is None:
        return  # it is made of MNIST and photographs, which are looked at by themselves
    folder, labels = released
    names, _ = mnist_m.read_labels(labels)
    if len(names) not in known:
        raise _wrong(labels, f"{_numbers(known)} lines, one an image", str(len(names)))
    with os.scandir(folder) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries}
    lost = [name for name in names if not sizes.get(name)]
    if lost:
        raise _wrong(
            folder, f"the {len(names)} images that {labels.name} names", f"no {lost[0]} ({len(lost)} lost or empty)"
        )
    for name in names[:: max(1, len(names) // LOOKED_AT)]:
        with (folder / name).open("rb") as file:
            file.seek(-min(8, sizes[name]), os.SEEK_END)
            if file.read() != PNG_END:
                raise _wrong(folder / name, "a whole PNG image", "one that is cut")
