"""Sparse rows too many to be dense in memory: scaled and written, block by block, into a file that is mapped.

The file lies in the cache folder, under a name that holds the checksum of all that decides it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import DataError
from .described import label_bytes

__all__ = ["scaled_files"]

VERSION = 1  # raised when the arithmetic below changes: part of the file's name
BLOCK_BYTES = 1 << 26  # of float64 rows at a time
_ROOM = 16 << 20  # bytes of disk beyond the rows


class _Columns(NamedTuple):
    """What each column loses and is divided by."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]  # 1 where the column is constant
    constant: NDArray[np.bool_]


def scaled_files(
    raw: list[Any], labels: list[NDArray[Any]], row_norm: str, standardise: str, *, cache: Path | None = None
) -> list[tuple[NDArray[np.float32], bytes]]:
    """Two domains as mapped arrays, (n, d) float32, each with its checksum.

    Args:
        raw: their rows, sparse or dense, (n, d).
        labels: their labels, part of the checksum.
        row_norm: see :class:`~landbridge.benchmarks.datasets.features.FeatureSettings`.
        standardise: see there.
        cache: instead of the cache folder.

    Raises:
        DataError: for a cache folder that cannot be written, or without room.
    """
    from scipy.sparse import csr_matrix

    from .prepare import cache_folder

    rows = [_normalised(csr_matrix(held).astype(np.float64), row_norm) for held in raw]
    columns: list[_Columns | None] = [None, None]
    if standardise == "per_domain":
        columns = [_columns([held]) for held in rows]
    elif standardise == "source":
        columns = [_columns(rows[:1])] * 2
    elif standardise == "joint":
        columns = [_columns(rows)] * 2
    folder = (cache or cache_folder()) / "dense"
    found = []
    for held, of, scale in zip(rows, labels, columns, strict=True):
        digest = hashlib.sha256(f"dense {VERSION} {held.shape}\n".encode())
        for part in (held.data, held.indices.astype("<i8"), held.indptr.astype("<i8"), *(scale or ())):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(label_bytes(of))
        found.append((_mapped(folder / f"{digest.hexdigest()[:32]}.npy", held, scale), digest.digest()))
    return found


def _normalised(rows: Any, norm: str) -> Any:
    if norm == "none":
        return rows
    powers = np.abs(rows) if norm == "l1" else rows.multiply(rows)
    lengths = np.asarray(powers.sum(1)).ravel()
    lengths = lengths if norm == "l1" else np.sqrt(lengths)
    from scipy.sparse import diags

    return (diags(1.0 / np.where(lengths > 0, lengths, 1.0)) @ rows).tocsr()


def _columns(domains: list[Any]) -> _Columns:
    """Mean and population deviation, in two passes: zeros add the square of the mean."""
    n = sum(rows.shape[0] for rows in domains)
    mean = sum(np.asarray(rows.sum(0)).ravel() for rows in domains) / n
    squares, stored, most = np.zeros(len(mean)), np.zeros(len(mean)), np.zeros(len(mean))
    for rows in domains:
        np.add.at(squares, rows.indices, (rows.data - mean[rows.indices]) ** 2)
        np.add.at(stored, rows.indices, 1)
        np.maximum.at(most, rows.indices, np.abs(rows.data))
    deviation = np.sqrt((squares + (n - stored) * mean**2) / n)
    constant = deviation <= 1e-12 * most
    return _Columns(mean, np.where(constant, 1.0, deviation), constant)


def _mapped(path: Path, rows: Any, columns: _Columns | None) -> NDArray[np.float32]:
    """The array of the file, which is made if it is not there or not whole."""
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, rows.shape[1]), dtype="<f4"))
    header["shape"] = rows.shape
    if not _is_whole(path, rows.shape):
        _make(path, rows, columns, header)
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    try:
        held: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return bool(held.shape == shape and held.dtype == np.dtype("<f4"))


def _make(path: Path, rows: Any, columns: _Columns | None, header: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    todo = "Make room, or set LANDBRIDGE_CACHE to a folder that can be written to."
    needed = 4 * rows.shape[0] * rows.shape[1] + _ROOM
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if needed > free:
            came = f"{free / 1e6:.0f} MB"
            raise DataError(
                path.parent, f"{needed / 1e6:.0f} MB of room for rows that memory does not hold", came, todo
            )
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
            size = max(1, BLOCK_BYTES // (8 * rows.shape[1]))
            for start in range(0, rows.shape[0], size):
                block = rows[start : start + size].toarray()
                if columns is not None:
                    block = np.where(columns.constant, 0.0, (block - columns.mean) / columns.deviation)
                file.write(np.ascontiguousarray(block, dtype="<f4").data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(path.parent, "a place to write to", error.strerror or str(error), todo) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
