"""Frozen features: those of the network itself, extracted once, kept by all that decides them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_photos import THREE_CLASSES, make_photos
from safetensors.torch import save_file

from landbridge.benchmarks import frozen
from landbridge.benchmarks.cell import load_cell_data
from landbridge.benchmarks.datasets.base import DataError
from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.datasets.prepare import Prepared, prepare
from landbridge.benchmarks.frozen import extract, features_key
from landbridge.benchmarks.settings import BackboneSettings
from landbridge.benchmarks.suite import Suite, choose_backbone
from landbridge.benchmarks.views import EvaluationView
from landbridge.shared.backbones import create_backbone, weights_digest

CPU = torch.device("cpu")
PHOTOS = FolderSettings(domains={"shop": "shop", "phone": "phone"}, side=40)
SIDE = 32
NET = BackboneSettings(name="resnet18", weights="none", side=SIDE, frozen=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    return make_photos(root, domains={"shop": 4, "phone": [3, 2, 4]}, classes=THREE_CLASSES, side=20)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shop(photos: Path, cache: Path) -> Prepared:
    return prepare("things", PHOTOS, ["shop", "phone"], photos, processes=1, progress=False)["shop"]


def test_features_are_those_of_the_backbone_on_the_centre(shop: Prepared) -> None:
    found = extract(shop, NET, SIDE, weights="none", device=CPU)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_backbone("resnet18", weights="none").eval()
    with torch.no_grad():
        wanted = network(EvaluationView(SIDE)(torch.from_numpy(np.array(shop.array))))
    assert found.shape == (12, 512)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_they_are_extracted_once_and_it_is_said(shop: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = extract(shop, NET, SIDE, weights="none", device=CPU, say=said.append)
    assert said == ["extracting the features of 12 images with resnet18; once, they are kept"]
    (kept,) = (cache / "features").iterdir()
    assert kept.name.startswith("resnet18-")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the backbone is run again")

    monkeypatch.setattr(frozen, "create_backbone", never)
    again = extract(shop, NET, SIDE, weights="none", device=CPU, say=said.append)
    assert (first == again).all()
    assert len(said) == 1
    monkeypatch.undo()
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(cache))
    for damage in (b"", kept.read_bytes()[:100]):
        kept.write_bytes(damage)
        assert (extract(shop, NET, SIDE, weights="none", device=CPU) == first).all()


def test_a_cache_that_cannot_be_written_is_told_before_the_work(
    shop: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the backbone is run in vain")

    monkeypatch.setattr(frozen, "create_backbone", never)
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(DataError, match=r"file.features: expected a place to write to; got .* set LANDBRIDGE_CACHE"):
        extract(shop, NET, SIDE, weights="none", device=CPU, cache=tmp_path / "file")


@pytest.mark.parametrize("ten_crops", [False, True])
def test_it_is_told_how_far_it_is(
    shop: Prepared, ten_crops: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[str, int]] = []

    @contextmanager
    def watched(totals: dict[str, int]) -> Iterator[Any]:
        assert totals == {"shop": 12}
        yield lambda name, count: told.append((name, count))

    monkeypatch.setattr(frozen, "bars", watched)
    network = NET.model_copy(update={"ten_crops": ten_crops})
    extract(shop, network, SIDE, weights="none", device=CPU, cache=tmp_path, name="shop")
    assert sum(count for _, count in told) == 12


def test_all_that_decides_features_is_in_their_key() -> None:
    keys = {
        features_key("a" * 64, NET, SIDE),
        features_key("b" * 64, NET, SIDE),
        features_key("a" * 64, NET, 40),
        *(
            features_key("a" * 64, NET.model_copy(update=change), SIDE)
            for change in ({"name": "resnet50"}, {"weights": "0" * 64}, {"normalise": "caffe"}, {"ten_crops": True})
        ),
    }
    assert len(keys) == 7
    for change in ({"frozen": False}, {"bottleneck": 8}):  # what comes after the features
        assert features_key("a" * 64, NET.model_copy(update=change), SIDE) in keys


def test_weights_of_a_file_give_other_features(shop: Prepared, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = create_backbone("resnet18", weights="none")
    import torchvision

    theirs = torchvision.models.resnet18(weights=None)
    file = tmp_path / "resnet18.safetensors"
    save_file(theirs.state_dict(), file)
    assert weights_digest(file) != "none"
    found = extract(shop, NET.model_copy(update={"weights": weights_digest(file)}), SIDE, weights=file, device=CPU)
    assert not np.allclose(found, extract(shop, NET, SIDE, weights="none", device=CPU))
    assert made is not None


@pytest.mark.parametrize("protocol", ["transductive", "inductive"])
def test_a_task_has_the_features_of_its_rows(protocol: str, photos: Path, cache: Path) -> None:
    suite = Suite.model_validate(
        {"name": "things", "images": PHOTOS.model_dump(exclude_defaults=True), "backbone": {"name": "resnet18"}}
    )
    backbone, weights = choose_backbone(suite, weights="none", side=SIDE, frozen=True)
    cell = suite.cell(protocol, "shop->phone", "dann", 0, backbone=backbone)
    task = load_cell_data(cell, photos, weights=weights, device="cpu")
    whole = {
        domain: extract(prepared, NET, SIDE, weights="none", device=CPU)
        for domain, prepared in prepare("things", PHOTOS, ["shop", "phone"], photos, progress=False).items()
    }
    np.testing.assert_array_equal(task.source_train.inputs, whole["shop"][task.source_train.rows])
    np.testing.assert_array_equal(task.target_eval.inputs, whole["phone"][task.target_eval.rows])
    assert task.classes == THREE_CLASSES
    assert (task.target_eval is task.target_train) == (protocol == "transductive")
    assert (task.source_holdout is None or len(task.source_holdout.labels) == 0) == (protocol == "transductive")
