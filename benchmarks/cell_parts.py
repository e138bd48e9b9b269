"""What a cell is made of, before anything is trained: its data, network, method, views and identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..methods import METHODS
from ..shared.augment import RandomShift
from ..shared.devices import resolve_device
from ..shared.extractors import EXTRACTORS, create_network
from ..shared.method import Method, Sizes
from ..shared.network import Network
from ..shared.optimizer import Optimizer
from ..shared.seeds import derive_seed
from .array_networks import build_for_arrays, features_given, most_features, version_for_arrays
from .datasets import Split, TaskData, load_task
from .own_methods import OwnMethod
from .settings import CellSettings

__all__ = [
    "build_method",
    "build_network",
    "cell_identity",
    "cell_seed",
    "evaluation_view",
    "feature_size",
    "features_of",
    "fit_arguments",
    "forget_data",
    "load_cell_data",
    "network_version",
    "trained_on",
    "training_view",
]

DECIDES = {"suite", "dataset", "task", "size", "rules", "images", "features", "arrays"}  # what a cell's data is
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
        **settings.model_dump(mode="json", include=DECIDES),
        "channels": settings.network.channels,
        "backbone": None if backbone is None else backbone.model_dump(mode="json"),
        "data": str(data),
        "repeat": repeat,
    }
    described = settings.features or settings.arrays
    if described is not None:
        decides["stamps"] = described.stamps(settings.task.split("->"), data)
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
    if settings.arrays is not None:
        from .datasets.arrays import load_arrays

        return load_arrays(
            settings.suite, settings.arrays, settings.task, data=data, source_holdout=rules.source_holdout,
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
    if settings.arrays is not None:
        return version_for_arrays(settings)
    if settings.backbone is None:
        return EXTRACTORS[settings.network.network].version
    from ..shared.backbones import find_backbone
    from .views import VERSION

    return f"{find_backbone(settings.backbone.name).version} and bottleneck {head}, view {VERSION}"


def feature_size(settings: CellSettings) -> int:
    """d, the size of the features that the method sees; of arrays about that, as their shape decides it."""
    if settings.arrays is not None:
        return most_features(settings)
    if settings.backbone is not None:
        return settings.backbone.bottleneck
    return EXTRACTORS[settings.network.network].features


def build_network(settings: CellSettings, data: TaskData, weights: Path | str) -> Network:
    """The network of a cell, with the classes of its data."""
    classes, backbone = len(data.classes), settings.backbone
    if settings.arrays is not None:
        return build_for_arrays(settings, data, cell_seed(settings))
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


def features_of(settings: CellSettings, network: Network, data: TaskData) -> int:
    """d, the size of the features that the method sees, of this very network."""
    return feature_size(settings) if settings.arrays is None else features_given(network, data)


def build_method(
    settings: CellSettings, classes: int, own: OwnMethod | None = None, *, features: int | None = None
) -> Method:
    """The method of a cell; wrong settings meet a sentence that names the row.

    Args:
        settings: the cell's.
        classes: k.
        own: the method, where it is the user's own.
        features: d, of :func:`features_of`; left out, by the settings alone.
    """
    sizes = Sizes(features=feature_size(settings) if features is None else features, classes=classes)
    try:
        return _kind(settings, own).create(sizes, **settings.adaptation.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"method {settings.method!r} of suite {settings.suite!r}: {error}") from error


def training_view(settings: CellSettings) -> Callable[[Tensor], Tensor] | None:
    """What images pass through in training; None: they stay as they are."""
    if settings.images is not None and not _on_features(settings):
        from . import views

        return views.training_view(settings.size)
    return RandomShift(settings.training.random_shift) if settings.training.random_shift else None


def evaluation_view(settings: CellSettings, *, one: bool = False) -> Callable[[Tensor], Tensor] | None:
    """What images pass through in evaluation; ``one``: the centre alone, as methods see the target in ``refresh``."""
    if settings.images is None or settings.backbone is None or _on_features(settings):
        return None
    from . import views

    return views.evaluation_view(settings.size, ten_crops=settings.backbone.ten_crops and not one)


def cell_seed(settings: CellSettings) -> int:
    """What all random numbers of a cell come from; never from the method, so that methods are compared in pairs.

    The network's first weights are drawn in ``seeded(cell_seed(settings), "network")``, the method's in ``seeded(...,
    "method")``, and ``fit`` gets the number itself.
    """
    return derive_seed(settings.suite, settings.protocol, settings.task, settings.seed)


def trained_on(settings: CellSettings, data: TaskData) -> Split:
    """The labelled rows: the source's, or the target's own for the bound that trains on them."""
    return data.target_train if settings.adaptation.trains_on == "target" else data.source_train


def fit_arguments(settings: CellSettings, data: TaskData) -> dict[str, Any]:
    """What ``fit`` is called with in a cell, beside network, method, data and where it runs."""
    rules, training = settings.rules, settings.training
    return {
        "steps": rules.steps,
        "batch_size": min(training.batch_size, len(trained_on(settings, data).labels), len(data.target_train.labels)),
        "optimizer": Optimizer(**training.optimizer.model_dump()),
        "seed": cell_seed(settings),
        "batch_statistics": rules.batch_statistics,
        "channels_last": training.channels_last,
        "augment": training_view(settings),
        "evaluation": evaluation_view(settings, one=True),
    }
