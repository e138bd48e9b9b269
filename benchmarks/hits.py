"""Which target rows a cell gets right: one bit a row and checkpoint, kept for tests on the same images.

``hits.npz`` is written by scoring, which alone opens target labels, and stays where stored outputs are dropped. It lies
beside the outputs and not among them: with the predictions it tells labels, so no validator may read it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shared.files import write_atomically

__all__ = ["Hits", "lost_and_won", "read_hits", "write_hits"]

FILE = "hits.npz"


class Hits(NamedTuple):
    """The rows scored of one cell.

    Attributes:
        rows: digest of row numbers and labels: cells of one digest were scored on the same rows, in the same order.
        right: by step, (n,) booleans: is the prediction right?
    """

    rows: str
    right: dict[int, NDArray[np.bool_]]


def write_hits(folder: Path, rows: NDArray[Any], labels: NDArray[Any], predictions: Mapping[int, NDArray[Any]]) -> None:
    """Keep which rows are right at each checkpoint: n / 8 bytes each.

    Args:
        folder: the cell's.
        rows: (n,), the numbers of the rows scored.
        labels: (n,), of the target, which are compared and not kept.
        predictions: by step, (n,).
    """
    right = {step: predicted == labels for step, predicted in predictions.items()}
    steps = sorted(right)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        steps=np.asarray(steps, dtype=np.int64),
        n=np.int64(len(rows)),
        rows=np.asarray(_digest(rows, labels)),
        bits=np.packbits([right[step] for step in steps], axis=1),
    )
    write_atomically(folder / FILE, buffer.getvalue())


def read_hits(folder: Path, steps: Sequence[int]) -> Hits | None:
    """What a cell gets right at some of its checkpoints; None where neither that nor its predictions are there.

    Cells that are older than ``hits.npz`` are read from their stored predictions and labels.

    Args:
        folder: the cell's.
        steps: of the checkpoints asked for.
    """
    try:
        return _kept(folder / FILE, steps) if (folder / FILE).is_file() else _from_outputs(folder, steps)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _kept(path: Path, steps: Sequence[int]) -> Hits:
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
        n = int(file["n"])
        lines = dict(zip(file["steps"].tolist(), file["bits"], strict=True))
        right = {step: np.unpackbits(lines[step], count=n).astype(bool) for step in steps}
        return Hits(str(file["rows"]), right)


def _from_outputs(folder: Path, steps: Sequence[int]) -> Hits:
    with open(folder / "target_labels.npz", "rb") as handle, np.load(handle, allow_pickle=False) as file:
        labels, rows = file["target_eval/labels"], file["target_eval/rows"]
    right = {}
    for step in steps:
        path = folder / "outputs" / f"step-{step:06d}.npz"
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            right[step] = file["target_eval/predictions"] == labels
            if right[step].shape != labels.shape:
                raise ValueError(f"{path}: predictions of other rows than the labels")
    return Hits(_digest(rows, labels), right)


def _digest(rows: NDArray[Any], labels: NDArray[Any]) -> str:
    both = np.stack([rows, labels]).astype(np.int64)
    return hashlib.sha256(np.ascontiguousarray(both).tobytes()).hexdigest()[:16]


def lost_and_won(method: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> tuple[int, int]:
    """The discordant rows: how many the baseline alone gets right, and how many the method alone.

    >>> lost_and_won(np.array([True, False, False]), np.array([True, True, True]))
    (2, 0)
    """
    return int((baseline & ~method).sum()), int((method & ~baseline).sum())
