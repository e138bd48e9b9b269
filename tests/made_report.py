"""A folder of made-up finished cells with stored outputs, for the tests of the results page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_cells import made_cell

from landbridge.benchmarks.results import Cell, cell_folder

METHODS = ("source-only", "dann", "mcc", "train-on-target")
TASKS = ("mnist->usps", "usps->mnist")


def folder_of(out: Path, cell: Cell) -> Path:
    """Where a cell lies under ``out``."""
    return cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)


def made_folder(
    out: Path,
    *,
    methods: Sequence[str] = METHODS,
    tasks: Sequence[str] = TASKS,
    seeds: int = 2,
    k: int = 4,
    n: int = 60,
    checkpoints: int = 3,
    outputs: bool = True,
    keep: int | None = None,
    **changes: Any,
) -> list[Cell]:
    """Write cells, the better the later the checkpoint and the method; their outputs agree with their accuracies.

    ``keep`` leaves the outputs of the last checkpoints only.
    """
    cells = []
    for i, method in enumerate(methods):
        for j, task in enumerate(tasks):
            for seed in range(seeds):
                draw = np.random.default_rng((i, j, seed))
                labels = np.arange(n) % k
                right = 0.4 + 0.5 * (i + 1) / len(methods) - 0.05 * j
                predictions = [
                    np.where(draw.random(n) < right * (1 - 0.3 / step), labels, draw.integers(k, size=n))
                    for step in range(1, checkpoints + 1)
                ]
                scores = tuple(float((each == labels).mean()) for each in predictions)
                cell = made_cell(method, task, seed, scores, n=n, **changes)
                cells.append(cell)
                folder = folder_of(out, cell)
                folder.mkdir(parents=True)
                (folder / "result.json").write_text(cell.model_dump_json(by_alias=True), encoding="utf-8")
                np.savez(folder / "target_labels.npz", **{"target_eval/labels": labels})
                if outputs:
                    store(folder, cell, predictions, draw, keep)
    return cells


def store(
    folder: Path, cell: Cell, predictions: Sequence[np.ndarray], draw: np.random.Generator, keep: int | None = None
) -> None:
    """Outputs as a cell stores them, with features of two numbers."""
    (folder / "outputs").mkdir()
    for checkpoint, each in list(zip(cell.checkpoints, predictions, strict=True))[-(keep or len(predictions)) :]:
        k, n = int(each.max()) + 1, len(each)
        arrays: dict[str, Any] = {"target_eval/predictions": each.astype(np.int16)}
        if keep is not None:  # for the page alone
            np.savez(folder / "outputs" / f"step-{checkpoint.step:06d}.npz", **arrays)
            continue
        for name, rows in (("source_train", n), ("source_holdout", n // 2), ("target_train", n), ("target_eval", n)):
            arrays[f"{name}/rows"] = np.arange(rows)
            arrays[f"{name}/logits"] = (3 * np.eye(k)[each[:rows]] + draw.normal(size=(rows, k))).astype(np.float16)
            arrays[f"{name}/features"] = draw.normal(size=(rows, 2)).astype(np.float16)
            if name.startswith("source"):
                arrays[f"{name}/labels"] = each[:rows].astype(np.int64)
        arrays["source_holdout/all_labels"] = arrays["source_holdout/labels"]
        arrays["source_holdout/predictions"] = each[: n // 2].astype(np.int16)
        np.savez(folder / "outputs" / f"step-{checkpoint.step:06d}.npz", **arrays)
