"""Settings: what makes a cell another one, and that settings which came later leave older cells as they are."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.settings import (
    LATER,
    BackboneSettings,
    CellSettings,
    MethodSettings,
    Protocol,
    TaskSettings,
    Training,
)

PHOTOS = FolderSettings(domains={"a": "a", "b": "b"})


def settings(**changes: Any) -> CellSettings:
    given: dict[str, Any] = {
        "suite": "s", "protocol": "s/p", "task": "a->b", "method": "dann", "seed": 3, "dataset": "optdigits",
        "size": 16,
        "rules": Protocol(), "network": TaskSettings(network="lenet16"),
        "adaptation": MethodSettings(method="dann", label="DANN"), "training": Training(),
    }  # fmt: skip
    return CellSettings(**{**given, **changes})


def of(**changes: Any) -> str:
    return settings(**changes).identity("data", "version")


def test_the_identity_is_that_of_the_first_release() -> None:
    """The formula of then, written out; finished cells must be found again."""
    first = {
        "suite": "s", "protocol": "s/p", "task": "a->b", "method": "dann", "seed": 3, "dataset": "optdigits",
        "size": 16,
        "rules": {"draw": {}, "source_holdout": 0.1, "scored": "inductive", "checkpoints": 10,
                  "batch_statistics": "per_domain", "steps": 1000},
        "network": {"network": "lenet16", "channels": 1},
        "adaptation": {"method": "dann", "settings": {}, "trains_on": "source"},
        "training": {"batch_size": 64, "random_shift": 0, "channels_last": False,
                     "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0,
                                   "schedule": "constant", "backbone_factor": 1.0, "clip": None}},
    }  # fmt: skip
    everything = {"settings": first, "data": "data", "schema": 1, "version": "version"}
    assert of() == hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def test_what_came_later_counts_where_it_is_set() -> None:
    changed = [
        of(rules=Protocol(per_class={"a": 20})),
        of(rules=Protocol(tuned="target")),
        of(backbone=BackboneSettings()),
        of(backbone=BackboneSettings(frozen=True)),
        of(backbone=BackboneSettings(weights="0" * 64)),
        of(backbone=BackboneSettings(normalise="caffe")),
        of(adaptation=MethodSettings(method="dann", label="DANN", classifier="svm")),
        of(adaptation=MethodSettings(method="dann", label="DANN", grid={"reg": [1]})),
        of(adaptation=MethodSettings(method="dann", label="DANN", frozen={"weight": 1})),
    ]
    assert len({of(), *changed}) == 10


def test_where_files_lie_and_what_a_row_is_called_makes_no_other_cell() -> None:
    base = of(backbone=BackboneSettings(), images=PHOTOS)
    moved = FolderSettings(folder="elsewhere", domains={"a": "a", "b": "b"})
    assert of(backbone=BackboneSettings(), images=moved) == base
    named = MethodSettings(method="dann", label="Another name", source="A paper")
    assert of(backbone=BackboneSettings(), images=PHOTOS, adaptation=named) == base


def test_every_later_setting_is_one_and_has_its_default() -> None:
    parts = {"": CellSettings, "rules": Protocol, "network": TaskSettings, "adaptation": MethodSettings}
    for part, later in LATER.items():
        for name, default in later.items():
            assert parts[part].model_fields[name].get_default(call_default_factory=True) == default


@pytest.mark.parametrize(
    ("changes", "track"),
    [
        ({}, "end-to-end"),
        ({"backbone": BackboneSettings(), "images": PHOTOS}, "end-to-end"),
        ({"backbone": BackboneSettings(frozen=True), "images": PHOTOS}, "frozen"),
    ],
)
def test_tracks(changes: dict[str, Any], track: str) -> None:
    assert settings(**changes).track == track


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        BackboneSettings(nmae="resnet50")  # type: ignore[call-arg]
