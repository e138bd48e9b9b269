"""One cell of a table: train, store outputs at the checkpoints, score, and put the folder in place."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..shared.batches import Samples, as_samples
from ..shared.devices import resolve_device
from ..shared.evaluate import forward_all
from ..shared.files import write_atomically
from ..shared.fit import fit
from ..shared.network import Network
from ..shared.seeds import seeded
from ..shared.validators import VALIDATORS
from .blocks import BASELINE
from .cell_parts import (
    build_method,
    build_network,
    cell_identity,
    cell_seed,
    evaluation_view,
    feature_size,
    features_of,
    fit_arguments,
    forget_data,
    load_cell_data,
    trained_on,
)
from .datasets import Split, TaskData
from .datasets.base import hash_order
from .hits import write_hits
from .memory import peak_memory, reset_peak
from .own_methods import OwnMethod
from .proportions import find_proportions
from .results import SCHEMA, Cell, Checkpoint, cell_folder, write_result
from .selection import score_cell
from .settings import CellSettings
from .threads import BEGUN, begin, in_words

__all__ = [
    "Job",
    "build_method",
    "build_network",
    "cell_identity",
    "feature_size",
    "features_of",
    "forget_data",
    "load_cell_data",
    "run_cell",
]

KEPT_ROWS = 1000  # of each split at each checkpoint, for label-free validators


class Job(NamedTuple):
    """What a worker is told.

    Attributes:
        settings: the cell's.
        identity: see ``CellSettings.identity``.
        out: the folder of the grid.
        data: the data folder, if there is one.
        device: ``auto``, ``cpu``, ``cuda``.
        keep: ``all``, or ``scores`` to drop stored outputs once they are scored.
        weights: of the backbone: a file, ``pretrained`` or ``none``; settings hold its digest.
        own: the method, where it is the user's own.
    """

    settings: CellSettings
    identity: str
    out: Path
    data: Path | None
    device: str
    keep: str
    weights: Path | str = "pretrained"
    own: OwnMethod | None = None

    @property
    def folder(self) -> Path:
        """Where the finished cell goes."""
        s = self.settings
        return cell_folder(self.out, task=s.task, method=s.method, seed=s.seed, identity=self.identity)

    @property
    def work(self) -> Path:
        """Where it is while unfinished."""
        return self.folder.with_name(f".{self.folder.name}.unfinished")


def run_cell(job: Job) -> Cell:
    """Train and score one cell; goes on where an earlier run of it stopped.

    Every stream of random numbers comes from (suite, protocol, task, seed), never from the method: all methods start
    from the same weights and see the same batches, so that differences between them are paired.
    """
    started = time.perf_counter()
    settings, rules = job.settings, job.settings.rules
    device = resolve_device(job.device)
    watched = reset_peak(device)
    data = load_cell_data(settings, job.data, weights=job.weights, device=job.device)
    if settings.adaptation.classifier is not None:
        return _run_classical(job, data, started, watched)
    base = cell_seed(settings)
    with seeded(base, "network"):
        network = build_network(settings, data, job.weights)
    with seeded(base, "method"):
        method = build_method(settings, len(data.classes), job.own, features=features_of(settings, network, data))
    train = trained_on(settings, data)
    outputs = _Outputs(job, data, device, network.input_dtype)
    had = begin(job.work, torch.get_num_threads(), resumed=(job.work / "training.pt").is_file())
    result = fit(
        network,
        method,
        (train.inputs, train.labels),
        data.target_train.inputs,
        **fit_arguments(settings, data),
        device=device,
        progress_bar=False,
        checkpoint=job.work / "training.pt",
        checkpoint_every=max(1, rules.steps // rules.checkpoints),
        evaluate_at=outputs.steps,
        on_evaluate=outputs.write,
    )
    # what label-free validators say, while the outputs are there: all of them, if the outputs are not kept
    score_cell(job.work, list(VALIDATORS) if job.keep == "scores" else None)
    memory = peak_memory(device) if watched else None
    if settings.method == BASELINE:
        find_proportions(job.work)
    cell = _cell(job, data, score(job.work), result.seconds, memory, {**environment(device), "threads": in_words(had)})
    _finish(job, cell)
    return cell


def _run_classical(job: Job, data: TaskData, started: float, watched: bool) -> Cell:
    from .classical import run_classical

    settings, device = job.settings, torch.device("cpu")
    found = run_classical(settings.adaptation, settings.rules, data, seed=settings.seed)
    accuracy = float((found.predictions == data.target_eval.labels).mean())
    rows, labels = data.target_eval.rows, data.target_eval.labels
    _save_arrays(job.work / "predictions.npz", {"rows": rows, "predictions": found.predictions})
    write_hits(job.work, rows, labels, {0: found.predictions})
    (job.work / "chosen.json").write_text(json.dumps(found.chosen, indent=2, sort_keys=True) + "\n")
    seconds = time.perf_counter() - started
    memory = peak_memory(device) if watched else None
    cell = _cell(job, data, [Checkpoint(step=0, target_eval=accuracy)], seconds, memory, environment(device))
    _finish(job, cell)
    return cell


def _cell(
    job: Job, data: TaskData, checkpoints: list[Checkpoint], seconds: float, memory: float | None, made: dict[str, Any]
) -> Cell:
    settings = job.settings
    return Cell(
        schema=SCHEMA,
        suite=settings.suite,
        protocol=settings.protocol,
        network=settings.network.network,
        track=settings.track,
        task=settings.task,
        method=settings.method,
        label=settings.adaptation.label,
        seed=settings.seed,
        identity=job.identity,
        settings={**settings.model_dump(mode="json"), "classes": list(data.classes)},
        n=len(data.target_eval.labels),
        checkpoints=checkpoints,
        seconds=seconds,
        peak_memory=memory,
        finished=datetime.now(timezone.utc),
        environment=made,
    )


def environment(device: torch.device) -> dict[str, Any]:
    """What the numbers were made with."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "landbridge": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": name,
    }


class _Outputs:
    """Stores at each checkpoint what scoring and label-free validators need."""

    def __init__(self, job: Job, data: TaskData, device: torch.device, dtype: torch.dtype | None) -> None:
        rules = job.settings.rules
        self.folder = job.work / "outputs"
        self.steps = sorted({round((i + 1) * rules.steps / rules.checkpoints) for i in range(rules.checkpoints)} - {0})
        splits: dict[str, Split | None] = {
            "source_train": data.source_train,
            "source_holdout": data.source_holdout,
            "target_train": data.target_train,
            "target_eval": data.target_eval,
        }
        self.splits = {name: split for name, split in splits.items() if split is not None and len(split.labels)}
        self.transform = evaluation_view(job.settings)
        self.samples: dict[str, Samples] = {}
        self.chosen: dict[str, np.ndarray[Any, Any]] = {}
        for name, split in self.splits.items():
            order = hash_order(f"outputs/{name}", np.arange(len(split.rows)))
            self.chosen[name] = np.sort(order[:KEPT_ROWS])
            whole = name in ("source_holdout", "target_eval")  # these are scored, the others only kept
            some = split.inputs if whole else split.inputs[self.chosen[name]]
            self.samples[name] = as_samples("bench", "inputs", some, device, labelled=False, dtype=dtype)
        labels = {f"{name}/labels": split.labels for name, split in self.splits.items() if name.startswith("target")}
        rows = {f"{name}/rows": split.rows for name, split in self.splits.items() if name.startswith("target")}
        _save_arrays(job.work / "target_labels.npz", {**rows, **labels})

    def write(self, step: int, network: Network) -> None:
        """Store logits and features of up to 1000 rows a split, and the predictions of all rows that are scored."""
        arrays: dict[str, Any] = {}
        same = self.splits["target_train"] is self.splits["target_eval"]  # scored on the rows adapted to
        for name, split in self.splits.items():
            if same and name == "target_train":
                continue  # one forward for both, and stored once
            is_source = name.startswith("source")
            features, logits = forward_all(network, self.samples[name], source=is_source, transform=self.transform)
            chosen = self.chosen[name]
            if len(features) == len(split.labels):
                arrays[f"{name}/predictions"] = logits.argmax(1).numpy().astype(np.int16)
                features, logits = features[chosen], logits[chosen]
            arrays[f"{name}/rows"] = split.rows[chosen]
            arrays[f"{name}/logits"] = _half(logits)
            arrays[f"{name}/features"] = _half(features)
            if is_source:
                arrays[f"{name}/labels"] = split.labels[chosen]
                if name == "source_holdout":
                    arrays[f"{name}/all_labels"] = split.labels
        _save_arrays(self.folder / f"step-{step:06d}.npz", arrays)


def _half(values: Tensor) -> np.ndarray[Any, Any]:
    """float16, what is too large at its largest value."""
    most = float(np.finfo(np.float16).max)
    return values.clamp(-most, most).numpy().astype(np.float16)


def score(folder: Path) -> list[Checkpoint]:
    """Accuracy at each stored checkpoint. With the oracle's choice it is the one reader of target labels.

    Which rows are right is kept beside (:mod:`.hits`), for tests on the same images.
    """
    with np.load(folder / "target_labels.npz", allow_pickle=False) as file:
        labels, rows = file["target_eval/labels"], file["target_eval/rows"]
    found, predictions = [], {}
    for path in sorted((folder / "outputs").glob("step-*.npz")):
        with np.load(path, allow_pickle=False) as file:
            predicted = file["target_eval/predictions"]
            target = float((predicted == labels).mean())
            holdout = None
            if "source_holdout/predictions" in file:
                holdout = float((file["source_holdout/predictions"] == file["source_holdout/all_labels"]).mean())
        step = int(path.stem.split("-")[1])
        predictions[step] = predicted
        found.append(Checkpoint(step=step, target_eval=target, source_holdout=holdout))
    write_hits(folder, rows, labels, predictions)
    return found


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _finish(job: Job, cell: Cell) -> None:
    """Put the finished cell in its place; an older one of the same settings makes room only then."""
    # in this order: stopped in between, the cell can still be scored, or else starts afresh
    write_result(job.work, cell)
    for name in ("training.pt", BEGUN):
        (job.work / name).unlink(missing_ok=True)
    if job.keep == "scores":
        shutil.rmtree(job.work / "outputs", ignore_errors=True)
    if job.folder.exists():
        old = job.folder.with_name(f".{job.folder.name}.old-{os.getpid()}")
        os.replace(job.folder, old)
        os.replace(job.work, job.folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(job.work, job.folder)
