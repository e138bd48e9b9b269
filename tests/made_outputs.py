"""Made-up outputs of checkpoints, as objects and as the files of a finished cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from made_cells import made_cell

from landbridge.benchmarks.results import Cell, Checkpoint, cell_folder, write_result
from landbridge.shared.validators import Outputs, Stored


def made_stored(rng: np.random.Generator, n: int, *, k: int = 4, d: int = 3, right: float = 0.8, labels: bool = True):
    """n rows in k clusters; the logits are right on about a share ``right`` of them."""
    truth = np.arange(n) % k
    centres = np.random.default_rng(99).normal(size=(k, d)) * 3
    features = centres[truth] + rng.normal(size=(n, d))
    said = np.where(rng.random(n) < right, truth, rng.integers(0, k, n))
    logits = 2.0 * np.eye(k)[said] + rng.normal(size=(n, k)) / 2
    return Stored(logits, features, truth if labels else None)


def made_outputs(seed: int = 0, *, n: int = 60, right: float = 0.8, holdout: bool = True, k: int = 4) -> Outputs:
    """Outputs in float64: of 60 target, 63 source and 30 held-out rows."""
    rng = np.random.default_rng(seed)
    train = made_stored(rng, n + 3, right=1.0, k=k)
    held_out = made_stored(rng, n // 2, right=0.95, k=k) if holdout else None
    target = made_stored(rng, n, right=right, labels=False, k=k)
    return Outputs(train, held_out, target._replace(features=target.features + 0.3))


def sure_outputs(sure: float, seed: int = 0) -> Outputs:
    """Outputs whose target predictions are the same for every ``sure``, and the surer the larger it is."""
    outputs = made_outputs(seed)
    target = outputs.target._replace(logits=outputs.target.logits * (0.05 + sure))
    return Outputs(outputs.source_train, outputs.source_holdout, target)


def step_arrays(outputs: Outputs) -> dict[str, Any]:
    """The arrays of a step's file, as the cell stores them."""
    arrays: dict[str, Any] = {}
    splits = {"source_train": outputs.source_train, "source_holdout": outputs.source_holdout}
    for name, stored in {**splits, "target_train": outputs.target, "target_eval": outputs.target}.items():
        if stored is None:
            continue
        arrays[f"{name}/rows"] = np.arange(len(stored.logits))
        with np.errstate(over="ignore"):
            arrays[f"{name}/logits"] = stored.logits.astype(np.float16)
            arrays[f"{name}/features"] = stored.features.astype(np.float16)
        if stored.labels is not None:
            arrays[f"{name}/labels"] = stored.labels
    if outputs.source_holdout is not None:
        arrays["source_holdout/all_labels"] = outputs.source_holdout.labels
        arrays["source_holdout/predictions"] = outputs.source_holdout.logits.argmax(1).astype(np.int16)
    return arrays


def collapsed_outputs(seed: int = 0, **changes: Any) -> Outputs:
    """Outputs whose target predictions are class 1, and very sure."""
    outputs = made_outputs(seed, **changes)
    logits = outputs.target.logits * 0.01
    logits[:, 1] += 12
    return Outputs(outputs.source_train, outputs.source_holdout, outputs.target._replace(logits=logits))


def write_step(folder: Path, step: int, outputs: Outputs) -> None:
    (folder / "outputs").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "outputs" / f"step-{step:06d}.npz", **step_arrays(outputs))


def put_cell(
    out: Path, steps: dict[int, tuple[float, Outputs]], *, method: str = "dann", seed: int = 0, **changes: Any
) -> Cell:
    """A finished cell with stored outputs: by step, the target accuracy and the outputs."""
    points = [Checkpoint(step=step, target_eval=accuracy) for step, (accuracy, _) in steps.items()]
    cell = made_cell(method, seed=seed, checkpoints=points, **changes)
    folder = folder_of(out, cell)
    write_result(folder, cell)
    for step, (_, outputs) in steps.items():
        write_step(folder, step, outputs)
    return cell


def folder_of(out: Path, cell: Cell) -> Path:
    return cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)
