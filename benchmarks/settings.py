"""What a suite file's tables hold, as typed settings; and the resolved settings of one cell."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .datasets.arrays import ArraySettings
from .datasets.features import FeatureSettings
from .datasets.folders import FolderSettings
from .results import SCHEMA

__all__ = [
    "ARRAYS",
    "ARRAY_PROTOCOLS",
    "DEFAULT_ROWS",
    "LABELS",
    "PHOTOGRAPHS",
    "PROTOCOLS",
    "BackboneSettings",
    "CellSettings",
    "FrozenSettings",
    "MethodSettings",
    "OptimizerSettings",
    "Positive",
    "Protocol",
    "Settings",
    "TaskSettings",
    "Training",
]

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerSettings(Settings):
    """See ``landbridge.Optimizer``."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "annealed", "cosine"] = "constant"
    backbone_factor: Annotated[float, Field(ge=0)] = 1.0
    clip: Annotated[float, Field(gt=0)] | None = None


class TaskSettings(Settings):
    """One task's own: its network, which in a suite of photographs or features is the suite's backbone.

    Attributes:
        network: its name; of a suite of arrays also ``default``, or a file of the user's, ``my_network.py:make``.
        channels: of the images; arrays have their own.
        steps: instead of the protocol's.
        code: of a network of the user's own, the digest of its file and its name there; no suite file says it.
        text: what that file held when the suite was read: what runs, in every process.
        path: the file, for messages.
    """

    network: str = ""
    channels: Positive = 1
    steps: Positive | None = None
    code: str = ""
    text: Annotated[bytes, Field(exclude=True, repr=False)] = b""
    path: Annotated[str, Field(exclude=True, repr=False)] = ""


class Training(Settings):
    """What all cells share.

    Attributes:
        batch_size: of each domain.
        random_shift: pixels by which training images are moved at random, in both domains and for every row.
        channels_last: memory format.
        optimizer: how parameters move.
    """

    batch_size: Positive = 64
    random_shift: Annotated[int, Field(ge=0)] = 0
    channels_last: bool = False
    optimizer: OptimizerSettings = OptimizerSettings()


class Protocol(Settings):
    """Which samples are seen and scored, and how often.

    Attributes:
        draw: training rows drawn from a domain, by stable hash; all where it is not named.
        source_holdout: share of the source rows kept from training, for label-free validators.
        scored: ``inductive``: other target rows than those adapted to; ``transductive``: the same.
        checkpoints: how many evenly spaced ones are evaluated; the oracle is a maximum over them.
        batch_statistics: of BatchNorm, ``joint`` or ``per_domain``.
        steps: optimiser steps.
        tasks: those of the suite's that it covers; all if left out.
        seeds: how many, where that is not the suite's number.
        per_class: labelled source rows a class by domain, drawn anew for each seed; all where it is not named.
        tuned: ``target``: settings are searched by target labels, as some papers' were, and the table says so.
        networks: by task, what stands instead of the suite's own network and steps.
        training: instead of the suite's.
        settings: by row, what differs in its ``settings``.
    """

    draw: dict[str, Positive] = {}
    source_holdout: Share = 0.1
    scored: Literal["inductive", "transductive"] = "inductive"
    checkpoints: Positive = 10
    batch_statistics: Literal["joint", "per_domain"] = "per_domain"
    steps: Positive = 1000
    tasks: tuple[str, ...] = ()
    seeds: Positive | None = None
    per_class: dict[str, Positive] = {}
    tuned: Literal["none", "target"] = "none"
    networks: dict[str, TaskSettings] = {}
    training: Training | None = None
    settings: dict[str, dict[str, Any]] = {}


class BackboneSettings(Settings):
    """The network of photographs, or of features.

    Attributes:
        name: of ``landbridge.shared.backbones.BACKBONES``, or ``timm/NAME``; ``features`` for features.
        weights: ``pretrained`` (torchvision's or timm's own), ``none``, or the digest of a file.
        normalise: ``imagenet``: RGB standardised; ``caffe``: BGR in 0..255 less the channel means.
        side: pixels of the crops the network sees; its own if left out.
        bottleneck: d, the size of the features that methods see.
        ten_crops: evaluate on ten crops instead of the centre.
        frozen: train the bottleneck and the head on features that are extracted once.
    """

    name: str = "resnet50"
    weights: str = "pretrained"
    normalise: Literal["imagenet", "caffe"] = "imagenet"
    side: Positive | None = None
    bottleneck: Positive = 256
    ten_crops: bool = False
    frozen: bool = False


class MethodSettings(Settings):
    """One row of the table.

    Attributes:
        method: its name in METHODS.
        label: how the row is called.
        settings: arguments of its constructor.
        trains_on: ``target`` for the bound that trains on target labels.
        optimizer: how its parameters move, where that differs from the suite's.
        frozen: what differs in ``settings`` where the backbone is frozen.
        source: the paper that the settings come from.
        classifier: the final classifier of a classical row; ``method`` is then an estimator's name.
        grid: what a protocol that is tuned by target labels searches.
        code: of a method of the user's own, the digest of its file and its class; no suite file says it.
    """

    method: str
    label: str
    settings: dict[str, Any] = {}
    trains_on: Literal["source", "target"] = "source"
    optimizer: OptimizerSettings | None = None
    frozen: dict[str, Any] = {}
    source: str = ""
    classifier: Literal["1nn", "svm", "svm-rbf", "svm-similarity"] | None = None
    grid: dict[str, list[Any]] = {}
    code: str = ""


class FrozenSettings(Settings):
    """How the bottleneck and the head are trained on features that are extracted once.

    Attributes:
        steps: instead of the protocol's.
        training: instead of the suite's.
    """

    steps: Positive = 400
    training: Training = Training(batch_size=32, optimizer=OptimizerSettings(name="adam", lr=1e-3, schedule="cosine"))


PHOTOGRAPHS = Training(
    batch_size=32,
    channels_last=True,
    optimizer=OptimizerSettings(
        lr=0.01, momentum=0.9, weight_decay=5e-4, schedule="annealed", backbone_factor=0.1
    ),  # Ganin et al., JMLR 2016, section 5.2.2; pretrained part at a tenth: Long et al., ICML 2015, section 4.1
)
ARRAYS = Training(batch_size=64, optimizer=OptimizerSettings(name="adam", lr=1e-3, schedule="cosine"))
ARRAY_PROTOCOLS = {
    "inductive": Protocol(scored="inductive", source_holdout=0.1, steps=1000),
    "transductive": Protocol(scored="transductive", source_holdout=0.0, steps=1000),
}
PROTOCOLS = {  # of photographs and features
    "transductive": Protocol(scored="transductive", source_holdout=0.0, steps=5000),
    "inductive": Protocol(scored="inductive", source_holdout=0.1, steps=5000),
}
LABELS = {
    "source-only": "source-only",
    "adabn": "source-only + AdaBN",
    "dann": "DANN",
    "cdan": "CDAN",
    "cdan-e": "CDAN+E",
    "mcd": "MCD",
    "ddc": "DDC",
    "dan": "DAN",
    "jan": "JAN",
    "deepcoral": "DeepCORAL",
    "deepjdot": "DeepJDOT",
    "mcc": "MCC",
}
DEFAULT_ROWS = ("source-only", "adabn", "dann", "cdan", "cdan-e", "dan", "jan", "deepcoral", "deepjdot", "mcc")
# settings that came later, and count only where they are set: the cells of before keep their identity
LATER: dict[str, dict[str, Any]] = {
    "": {"backbone": None},
    "rules": {"per_class": {}, "tuned": "none", "networks": {}, "training": None, "settings": {}},
    "network": {"steps": None, "code": ""},
    "adaptation": {"optimizer": None, "frozen": {}, "classifier": None, "grid": {}, "code": ""},
}


class CellSettings(Settings):
    """All that decides a cell's numbers, besides the data and the code."""

    suite: str
    protocol: str
    task: str
    method: str
    seed: Annotated[int, Field(ge=0)]
    dataset: str
    size: Positive
    rules: Protocol
    network: TaskSettings
    adaptation: MethodSettings
    training: Training
    backbone: BackboneSettings | None = None
    images: FolderSettings | None = None
    features: FeatureSettings | None = None
    arrays: ArraySettings | None = None
    departs: tuple[str, ...] = ()  # in words, what of this is not as the protocol has it; see departures.py

    @property
    def track(self) -> str:
        """``end-to-end``: all is trained; ``frozen``: a bottleneck and head; ``features``: on features that came so."""
        if self.features is not None:
            return "features"
        return "frozen" if self.backbone is not None and self.backbone.frozen else "end-to-end"

    def identity(self, data_checksum: str, version: str) -> str:
        """sha256 over the settings, the data, the schema of results and the versions of method and network."""
        settings = self.model_dump(
            mode="json",
            exclude={
                "rules": {"tasks", "seeds"},
                "adaptation": {"label", "source"},
                "images": True,
                "features": True,
                "arrays": True,
                "departs": True,
            },
        )
        if self.adaptation.classifier is not None:  # nothing is trained in steps
            del settings["training"]
            for name in ("steps", "checkpoints", "batch_statistics"):
                del settings["rules"][name]
        for part, later in LATER.items():
            kept = settings[part] if part else settings
            for name, default in later.items():
                if kept[name] == default:
                    del kept[name]
        everything = {
            "settings": settings,
            "data": data_checksum,
            "schema": SCHEMA,
            "version": version,
        }
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
