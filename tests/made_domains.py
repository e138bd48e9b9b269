"""Made-up domains on disk: folders of images, and a finished cell with stored outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_cells import made_cell
from PIL import Image

from landbridge.benchmarks.results import write_result


def make_images(folder: Path, count: int, colour: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (20 + i, 12), (colour, i, 0)).save(folder / f"{i}.png")


def make_cell_folder(folder: Path, *, holdout: bool = True, steps: tuple[int, ...] = (100, 200)) -> Path:
    """A finished cell with stored outputs: the target moves from 3 away to 0 away."""
    write_result(folder, made_cell(scores=tuple(0.5 for _ in steps), settings={"classes": ["zero", "one"]}))
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    (folder / "outputs").mkdir()
    for place, step in enumerate(steps):
        away = 3.0 * (1 - place)
        arrays = {}
        for split, move in (("source_train", 0), ("source_holdout", 0), ("target_train", away), ("target_eval", away)):
            features = (rng.normal(size=(60, 4)) + move + 3 * labels[:, None]).astype(np.float16)
            arrays[f"{split}/features"] = features
            arrays[f"{split}/logits"] = np.stack([-features[:, 0], features[:, 0] - 3], 1)
            arrays[f"{split}/rows"] = np.arange(60)[::-1]
            if split.startswith("source"):
                arrays[f"{split}/labels"] = labels
        if not holdout:
            arrays = {name: value for name, value in arrays.items() if not name.startswith("source_holdout")}
        np.savez(folder / "outputs" / f"step-{step:06d}.npz", **arrays)
    np.savez(folder / "target_labels.npz", **{"target_eval/rows": np.arange(60), "target_eval/labels": labels[::-1]})
    return folder
