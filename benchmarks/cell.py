"""One cell of a table: train, store outputs at the checkpoints, score, and put the folder in place."""

from __future__ import annotations

import io
import os
import platform
import shutil
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import __version__
from ..methods import METHODS
from ..shared.augment import RandomShift
from ..shared.batches import Samples
from ..shared.evaluate import forward_all
from ..shared.extractors import EXTRACTORS, create_network
from ..shared.files import write_atomically
from ..shared.fit import fit, resolve_device
from ..shared.method import Method, Sizes
from ..shared.network import Network
from ..shared.optimizer import Optimizer
from ..shared.seeds import derive_seed, seeded
from .datasets import Split, TaskData, load_task
from .datasets.base import hash_order
from .results import SCHEMA, Cell, Checkpoint, cell_folder, write_result
from .suite import CellSettings

__all__ = ["Job", "cell_identity", "load_cell_data", "run_cell"]

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
    """

    settings: CellSettings
    identity: str
    out: Path
    data: Path | None
    device: str
    keep: str

    @property
    def folder(self) -> Path:
        """Where the finished cell goes."""
        s = self.settings
        return cell_folder(self.out, task=s.task, method=s.method, seed=s.seed, identity=self.identity)

    @property
    def work(self) -> Path:
        """Where it is while unfinished."""
        return self.folder.with_name(f".{self.folder.name}.unfinished")


def load_cell_data(settings: CellSettings, data: Path | None) -> TaskData:
    """The data of a cell; the last two tasks are kept in memory."""
    draw = tuple(sorted(settings.rules.draw.items()))
    return _load(
        settings.dataset, settings.task, settings.size, settings.network.channels, draw,
        settings.rules.source_holdout, settings.rules.scored, data,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _load(
    dataset: str, task: str, size: int, channels: int, draw: tuple[tuple[str, int], ...], holdout: float, scored: str,
    data: Path | None,
) -> TaskData:  # fmt: skip
    named = {domain: count for domain, count in draw if domain in task.split("->")}
    return load_task(
        dataset, task, size=size, channels=channels, draw=named, source_holdout=holdout, scored=scored, data=data
    )


def cell_identity(settings: CellSettings, data: TaskData) -> str:
    """The identity of a cell with this data and the present versions of its method and network."""
    method, network = METHODS[settings.adaptation.method], EXTRACTORS[settings.network.network]
    return settings.identity(data.checksum, f"method {method.version}, network {network.version}")


def build_method(settings: CellSettings, network: Network, classes: int) -> Method:
    """The method of a cell; wrong settings meet a sentence that names the row."""
    sizes = Sizes(features=network.head.in_features, classes=classes)  # type: ignore[arg-type]
    try:
        return METHODS[settings.adaptation.method].create(sizes, **settings.adaptation.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"method {settings.method!r} of suite {settings.suite!r}: {error}") from error


def run_cell(job: Job) -> Cell:
    """Train and score one cell; goes on where an earlier run of it stopped.

    Every stream of random numbers comes from (suite, protocol, task, seed), never from the method: all methods start
    from the same weights and see the same batches, so that differences between them are paired.
    """
    settings, rules = job.settings, job.settings.rules
    device = resolve_device(job.device)
    data = load_cell_data(settings, job.data)
    base = derive_seed(settings.suite, settings.protocol, settings.task, settings.seed)
    classes = len(data.classes)
    with seeded(base, "network"):
        network = create_network(settings.network.network, classes=classes, channels=settings.network.channels)
    with seeded(base, "method"):
        method = build_method(settings, network, classes)
    train = data.target_train if settings.adaptation.trains_on == "target" else data.source_train
    outputs = _Outputs(job, data, device)
    result = fit(
        network,
        method,
        (train.inputs, train.labels),
        data.target_train.inputs,
        steps=rules.steps,
        batch_size=min(settings.training.batch_size, len(train.labels), len(data.target_train.labels)),
        optimizer=Optimizer(**settings.training.optimizer.model_dump()),
        seed=base,
        batch_statistics=rules.batch_statistics,
        channels_last=settings.training.channels_last,
        augment=RandomShift(settings.training.random_shift) if settings.training.random_shift else None,
        device=device,
        progress_bar=False,
        checkpoint=job.work / "training.pt",
        checkpoint_every=max(1, rules.steps // rules.checkpoints),
        evaluate_at=outputs.steps,
        on_evaluate=outputs.write,
    )
    cell = Cell(
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
        settings=settings.model_dump(mode="json"),
        n=len(data.target_eval.labels),
        checkpoints=score(job.work),
        seconds=result.seconds,
        finished=datetime.now(timezone.utc),
        environment=environment(device),
    )
    _finish(job, cell)
    return cell


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

    def __init__(self, job: Job, data: TaskData, device: torch.device) -> None:
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
        self.samples: dict[str, Samples] = {}
        self.chosen: dict[str, np.ndarray[Any, Any]] = {}
        for name, split in self.splits.items():
            order = hash_order(f"outputs/{name}", np.arange(len(split.rows)))
            self.chosen[name] = np.sort(order[:KEPT_ROWS])
            whole = name in ("source_holdout", "target_eval")  # these are scored, the others only kept
            images = split.inputs if whole else split.inputs[self.chosen[name]]
            self.samples[name] = Samples(torch.as_tensor(images), None, device)
        labels = {f"{name}/labels": split.labels for name, split in self.splits.items() if name.startswith("target")}
        rows = {f"{name}/rows": split.rows for name, split in self.splits.items() if name.startswith("target")}
        _save_arrays(job.work / "target_labels.npz", {**rows, **labels})

    def write(self, step: int, network: Network) -> None:
        """Store logits and features of up to 1000 rows a split, and the predictions of all rows that are scored."""
        arrays: dict[str, Any] = {}
        for name, split in self.splits.items():
            is_source = name.startswith("source")
            features, logits = forward_all(network, self.samples[name], source=is_source)
            chosen = self.chosen[name]
            if len(features) == len(split.labels):
                arrays[f"{name}/predictions"] = logits.argmax(1).numpy().astype(np.int16)
                features, logits = features[chosen], logits[chosen]
            arrays[f"{name}/rows"] = split.rows[chosen]
            arrays[f"{name}/logits"] = logits.numpy().astype(np.float16)
            arrays[f"{name}/features"] = features.numpy().astype(np.float16)
            if is_source:
                arrays[f"{name}/labels"] = split.labels[chosen]
                if name == "source_holdout":
                    arrays[f"{name}/all_labels"] = split.labels
        _save_arrays(self.folder / f"step-{step:06d}.npz", arrays)


def score(folder: Path) -> list[Checkpoint]:
    """Accuracy at each stored checkpoint. With the oracle's choice it is the one reader of target labels."""
    with np.load(folder / "target_labels.npz", allow_pickle=False) as file:
        labels = file["target_eval/labels"]
    found = []
    for path in sorted((folder / "outputs").glob("step-*.npz")):
        with np.load(path, allow_pickle=False) as file:
            target = float((file["target_eval/predictions"] == labels).mean())
            holdout = None
            if "source_holdout/predictions" in file:
                holdout = float((file["source_holdout/predictions"] == file["source_holdout/all_labels"]).mean())
        found.append(Checkpoint(step=int(path.stem.split("-")[1]), target_eval=target, source_holdout=holdout))
    return found


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _finish(job: Job, cell: Cell) -> None:
    """Put the finished cell in its place; an older one of the same settings makes room only then."""
    # in this order: stopped in between, the cell can still be scored, or else starts afresh
    write_result(job.work, cell)
    (job.work / "training.pt").unlink(missing_ok=True)
    if job.keep == "scores":
        shutil.rmtree(job.work / "outputs", ignore_errors=True)
    if job.folder.exists():
        old = job.folder.with_name(f".{job.folder.name}.old-{os.getpid()}")
        os.replace(job.folder, old)
        os.replace(job.work, job.folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(job.work, job.folder)
