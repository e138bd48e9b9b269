"""One cell of a table: train, store outputs at the checkpoints, score, and put the folder in place."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

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
from ..shared.validators import VALIDATORS
from .datasets import Split, TaskData, load_task
from .datasets.base import hash_order
from .memory import peak_memory, reset_peak
from .own_methods import OwnMethod
from .results import SCHEMA, Cell, Checkpoint, cell_folder, write_result
from .selection import score_cell
from .settings import CellSettings

__all__ = ["Job", "cell_identity", "forget_data", "load_cell_data", "run_cell"]

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


_LOADED: dict[str, TaskData] = {}  # the last two tasks, by what decides them


def load_cell_data(
    settings: CellSettings,
    data: Path | None,
    *,
    weights: Path | str = "pretrained",
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> TaskData:
    """The data of a cell; the last two tasks are kept in memory.

    Args:
        settings: the cell's.
        data: the data folder, if there is one.
        weights: of a frozen backbone, whose features are extracted if they are not there yet.
        device: where that runs.
        say: told what takes long.
    """
    repeat = settings.seed if settings.rules.per_class else 0
    backbone = settings.backbone if settings.backbone is not None and settings.backbone.frozen else None
    decides = {
        **settings.model_dump(mode="json", include={"suite", "dataset", "task", "size", "rules", "images", "features"}),
        "channels": settings.network.channels,
        "backbone": None if backbone is None else backbone.model_dump(mode="json"),
        "data": str(data),
        "repeat": repeat,
    }
    key = json.dumps(decides, sort_keys=True)
    if key not in _LOADED:
        loaded = _load(settings, data, repeat)
        if backbone is not None:
            from .frozen import freeze

            loaded = freeze(settings, loaded, weights=weights, device=resolve_device(device), say=say)
        for old in list(_LOADED)[:-1]:
            del _LOADED[old]
        _LOADED[key] = loaded
    return _LOADED[key]


def forget_data() -> None:
    """Read the data of cells anew: photographs may have been prepared again."""
    _LOADED.clear()


def _load(settings: CellSettings, data: Path | None, repeat: int) -> TaskData:
    rules = settings.rules
    named = {domain: count for domain, count in rules.draw.items() if domain in settings.task.split("->")}
    if settings.images is not None:
        from .datasets.prepare import load_folders

        return load_folders(
            settings.suite, settings.images, settings.task, data=data, source_holdout=rules.source_holdout,
            scored=rules.scored, draw=named,
        )  # fmt: skip
    if settings.features is not None:
        from .datasets.features import load_features

        return load_features(
            settings.suite, settings.features, settings.task, data=data, source_holdout=rules.source_holdout,
            scored=rules.scored, draw=named, per_class=rules.per_class, repeat=repeat,
        )  # fmt: skip
    return load_task(
        settings.dataset, settings.task, size=settings.size, channels=settings.network.channels, draw=named,
        source_holdout=rules.source_holdout, scored=rules.scored, data=data,
    )  # fmt: skip


def cell_identity(settings: CellSettings, data: TaskData, own: OwnMethod | None = None) -> str:
    """The identity of a cell with this data and the present versions of its method and network."""
    if settings.adaptation.classifier is not None:
        from .classical import VERSION

        return settings.identity(data.checksum, f"classical {VERSION}")
    method = _kind(settings, own).version
    return settings.identity(data.checksum, f"method {method}, network {network_version(settings)}")


def _kind(settings: CellSettings, own: OwnMethod | None) -> type[Method]:
    return METHODS[settings.adaptation.method] if own is None else own.load()


def _on_features(settings: CellSettings) -> bool:
    return settings.track != "end-to-end"


def network_version(settings: CellSettings) -> int | str:
    """The version of a cell's network; of a backbone's file and of what stands on it."""
    head = EXTRACTORS["bottleneck"].version
    if _on_features(settings):
        return f"bottleneck {head}"
    if settings.backbone is None:
        return EXTRACTORS[settings.network.network].version
    from ..shared.backbones import find_backbone
    from .views import VERSION

    return f"{find_backbone(settings.backbone.name).version} and bottleneck {head}, view {VERSION}"


def feature_size(settings: CellSettings) -> int:
    """d, the size of the features that the method sees."""
    if settings.backbone is not None:
        return settings.backbone.bottleneck
    return EXTRACTORS[settings.network.network].features


def build_network(settings: CellSettings, data: TaskData, weights: Path | str) -> Network:
    """The network of a cell, with the classes of its data."""
    classes, backbone = len(data.classes), settings.backbone
    if backbone is None:
        return create_network(settings.network.network, classes=classes, channels=settings.network.channels)
    if _on_features(settings):
        size = data.source_train.inputs.shape[1]
        return create_network("bottleneck", classes=classes, channels=size, features=backbone.bottleneck)
    return create_network(
        backbone.name,
        classes=classes,
        channels=3,
        bottleneck=backbone.bottleneck,
        weights=weights,
        normalise=backbone.normalise,
    )


def build_method(settings: CellSettings, classes: int, own: OwnMethod | None = None) -> Method:
    """The method of a cell; wrong settings meet a sentence that names the row."""
    sizes = Sizes(features=feature_size(settings), classes=classes)
    try:
        return _kind(settings, own).create(sizes, **settings.adaptation.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"method {settings.method!r} of suite {settings.suite!r}: {error}") from error


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
    base = derive_seed(settings.suite, settings.protocol, settings.task, settings.seed)
    classes = len(data.classes)
    with seeded(base, "network"):
        network = build_network(settings, data, job.weights)
    with seeded(base, "method"):
        method = build_method(settings, classes, job.own)
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
        augment=_training_view(settings),
        evaluation=_evaluation_view(settings, one=True),
        device=device,
        progress_bar=False,
        checkpoint=job.work / "training.pt",
        checkpoint_every=max(1, rules.steps // rules.checkpoints),
        evaluate_at=outputs.steps,
        on_evaluate=outputs.write,
    )
    # what label-free validators say, while the outputs are there: all of them, if the outputs are not kept
    score_cell(job.work, list(VALIDATORS) if job.keep == "scores" else None)
    cell = _cell(job, data, score(job.work), result.seconds, peak_memory(device) if watched else None, device)
    _finish(job, cell)
    return cell


def _run_classical(job: Job, data: TaskData, started: float, watched: bool) -> Cell:
    from .classical import run_classical

    settings, device = job.settings, torch.device("cpu")
    found = run_classical(settings.adaptation, settings.rules, data, seed=settings.seed)
    accuracy = float((found.predictions == data.target_eval.labels).mean())
    _save_arrays(job.work / "predictions.npz", {"rows": data.target_eval.rows, "predictions": found.predictions})
    (job.work / "chosen.json").write_text(json.dumps(found.chosen, indent=2, sort_keys=True) + "\n")
    seconds = time.perf_counter() - started
    memory = peak_memory(device) if watched else None
    cell = _cell(job, data, [Checkpoint(step=0, target_eval=accuracy)], seconds, memory, device)
    _finish(job, cell)
    return cell


def _cell(
    job: Job, data: TaskData, checkpoints: list[Checkpoint], seconds: float, memory: float | None, device: torch.device
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
        environment=environment(device),
    )


def _training_view(settings: CellSettings) -> Callable[[Tensor], Tensor] | None:
    if settings.images is not None and not _on_features(settings):
        from .views import training_view

        return training_view(settings.size)
    return RandomShift(settings.training.random_shift) if settings.training.random_shift else None


def _evaluation_view(settings: CellSettings, *, one: bool = False) -> Callable[[Tensor], Tensor] | None:
    """What images pass through in evaluation; ``one``: the centre alone, as methods see the target in ``refresh``."""
    if settings.images is None or settings.backbone is None or _on_features(settings):
        return None
    from .views import evaluation_view

    return evaluation_view(settings.size, ten_crops=settings.backbone.ten_crops and not one)


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
        self.transform = _evaluation_view(job.settings)
        self.samples: dict[str, Samples] = {}
        self.chosen: dict[str, np.ndarray[Any, Any]] = {}
        for name, split in self.splits.items():
            order = hash_order(f"outputs/{name}", np.arange(len(split.rows)))
            self.chosen[name] = np.sort(order[:KEPT_ROWS])
            whole = name in ("source_holdout", "target_eval")  # these are scored, the others only kept
            self.samples[name] = Samples(split.inputs if whole else split.inputs[self.chosen[name]], None, device)
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
