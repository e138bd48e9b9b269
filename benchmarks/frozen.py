"""Features of a frozen backbone: extracted once for each domain, and kept by the hash of all that decides them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..shared.backbones import create_backbone, find_backbone
from ..shared.batches import Samples
from ..shared.evaluate import forward_all
from ..shared.files import write_atomically
from .datasets import Split, TaskData
from .datasets.base import DataError, checksum
from .datasets.prepare import Prepared, cache_folder, open_prepared
from .datasets.progress import bars
from .settings import BackboneSettings, CellSettings
from .views import VERSION, evaluation_view

__all__ = ["extract", "features_key", "features_of", "freeze"]


class _WithoutHead(nn.Module):
    """A backbone as a network whose logits nobody reads."""

    def __init__(self, backbone: nn.Module, advance: Callable[[int], None]) -> None:
        super().__init__()
        self.backbone, self.advance = backbone, advance

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.backbone(x)
        self.advance(len(x))
        return features, features[:, :2]  # two: views are averaged as class probabilities are


def features_key(array: str, backbone: BackboneSettings, side: int) -> str:
    """What the features of an array are kept by.

    Args:
        array: sha256 of the prepared array.
        backbone: with the digest of its weights.
        side: pixels the network sees.
    """
    everything = {
        "array": array,
        "backbone": backbone.name,
        "version": find_backbone(backbone.name).version,
        "weights": backbone.weights,
        "normalise": backbone.normalise,
        "side": side,
        "ten_crops": backbone.ten_crops,
        "view": VERSION,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def extract(
    prepared: Prepared,
    backbone: BackboneSettings,
    side: int,
    *,
    weights: Path | str,
    device: torch.device,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
    name: str = "features",
) -> NDArray[np.float32]:
    """The features of all images of a domain, (n, d): read where they have been made before, else made and kept.

    Args:
        prepared: the domain.
        backbone: the network, with the digest of its weights.
        side: pixels it sees.
        weights: the weights themselves: a file, ``pretrained`` or ``none``.
        device: where to run it.
        cache: where features are kept; the cache folder if left out.
        say: told what is extracted, before it is.
        name: of the domain, beside how far it is.

    Raises:
        ValueError: if the weights are not those of the backbone.
        DataError: if the cache folder cannot be written, which is found out before the work is done.
    """
    folder = (cache or cache_folder()) / "features"
    path = folder / f"{backbone.name.replace('/', '-')}-{features_key(prepared.checksum, backbone, side)[:32]}.npy"
    found = _read(path, len(prepared.labels))
    if found is not None:
        return found
    _check_writable(folder)
    if say is not None:
        say(f"extracting the features of {len(prepared.labels)} images with {backbone.name}; once, they are kept")
    view = evaluation_view(side, ten_crops=backbone.ten_crops)
    samples = Samples(prepared.array, None, device)
    features = features_of(
        samples, backbone.name, weights=weights, normalise=backbone.normalise, transform=view, progress=name
    )
    buffer = io.BytesIO()
    np.save(buffer, features)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise _unwritable(folder, error) from error
    return features


def _check_writable(folder: Path) -> None:
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"landbridge")
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DataError:
    todo = "Make room, or set LANDBRIDGE_CACHE to a folder that can be written to: extracted features are kept there."
    return DataError(folder, "a place to write to", error.strerror or str(error), todo)


def features_of(
    images: Samples,
    name: str,
    *,
    weights: Path | str,
    normalise: str,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    progress: str = "",
) -> NDArray[np.float32]:
    """What a backbone makes of images, (n, d), on their device.

    Args:
        images: (n, 3, h, w), uint8.
        name: of the backbone.
        weights: a file, ``pretrained`` or ``none``.
        normalise: ``imagenet`` or ``caffe``.
        transform: what is done to a batch on its way.
        progress: the name under which it is shown how far it is; nothing is shown without.
    """
    views = getattr(transform, "views", 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # decides the features where there are no weights
        backbone = create_backbone(name, weights=weights, normalise=normalise).to(images.device)
    with bars({progress: len(images)} if progress else {}) as advance:
        network = _WithoutHead(backbone, lambda rows: advance(progress, rows // views))
        features: NDArray[np.float32] = forward_all(network, images, transform=transform)[0].numpy()
    return features


def _read(path: Path, rows: int) -> NDArray[np.float32] | None:
    """Kept features; None where there are none, or a damaged file."""
    try:
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and len(found) == rows and found.dtype == np.float32 else None


def freeze(
    settings: CellSettings,
    task: TaskData,
    *,
    weights: Path | str,
    device: torch.device,
    say: Callable[[str], None] | None = None,
) -> TaskData:
    """A task of photographs as one of features: the same rows, labels and splits.

    Args:
        settings: the cell's.
        task: its photographs, prepared.
        weights: of the backbone.
        device: where to run it, if it has to be run.
        say: told what takes long.
    """
    assert settings.images is not None
    assert settings.backbone is not None
    features = {}
    for domain in settings.task.split("->"):
        prepared = open_prepared(settings.suite, settings.images, domain)
        assert prepared is not None, "the task was made of it"
        features[domain] = extract(
            prepared, settings.backbone, settings.size, weights=weights, device=device, say=say, name=domain
        )
    source, target = (features[domain] for domain in settings.task.split("->"))

    def chosen(split: Split | None, of: NDArray[np.float32]) -> Split | None:
        return None if split is None else split._replace(inputs=of[split.rows])

    target_train = chosen(task.target_train, target)
    same = task.target_eval is task.target_train
    splits: dict[str, Any] = {
        "source_train": chosen(task.source_train, source),
        "source_holdout": chosen(task.source_holdout, source),
        "target_train": target_train,
        "target_eval": target_train if same else chosen(task.target_eval, target),
    }
    return TaskData(**splits, classes=task.classes, checksum=checksum(splits, task.classes))
