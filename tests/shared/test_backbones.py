"""Backbones by name: what they compute, and what is said of weights that do not fit."""

from __future__ import annotations

import hashlib
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from landbridge.shared import backbones
from landbridge.shared.backbones import BACKBONES, create_backbone, find_backbone, weights_digest
from landbridge.shared.normalise import CaffeNormalise, Normalise

IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A SqueezeNet of random weights, and the file of them."""
    model = models.squeezenet1_0(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(model.state_dict(), path)
    return model, path


@pytest.mark.parametrize("name", BACKBONES)
def test_the_size_of_the_features(name: str) -> None:
    with torch.device("meta"):  # shapes alone, no arithmetic
        network = backbones._network(name)
        side = find_backbone(name).side
        assert network(torch.empty(2, 3, side, side)).shape == (2, find_backbone(name).features)


def test_what_is_cut_is_the_classifier() -> None:
    assert {name: backbones._keys_of_classifier(name) for name in BACKBONES} == {
        **{f"resnet{depth}": {"fc.weight", "fc.bias"} for depth in (18, 50, 101)},
        "alexnet": {"classifier.6.weight", "classifier.6.bias"},
        "squeezenet1_0": {"classifier.1.weight", "classifier.1.bias"},
        "vit_b_16": {"heads.head.weight", "heads.head.bias"},
    }


def test_features_are_those_of_the_whole_network(squeezenet: tuple[nn.Module, Path]) -> None:
    model, path = squeezenet
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = model.features((IMAGES / 255 - mean) / std).mean((2, 3))
        got = create_backbone("squeezenet1_0", weights=path).eval()(IMAGES)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        bgr = IMAGES.flip(1).float() - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
        caffe = create_backbone("squeezenet1_0", weights=str(path), normalise="caffe").eval()
        torch.testing.assert_close(caffe(IMAGES), model.features(bgr).mean((2, 3)), rtol=1e-4, atol=1e-3)
    assert isinstance(caffe.get_submodule("normalise"), CaffeNormalise)


def test_alexnets_features_are_fc7_after_its_relu() -> None:
    with torch.device("meta"):  # 60 million weights take seconds to draw
        whole, cut = models.alexnet(weights=None).classifier, backbones._network("alexnet").get_submodule("classifier")
    assert [repr(layer) for layer in cut.children()] == [repr(layer) for layer in whole][:-1]
    assert isinstance(list(cut.children())[-1], nn.ReLU)


def test_a_file_with_the_classifier_another_one_and_without(squeezenet: tuple[nn.Module, Path], tmp_path: Path) -> None:
    model, whole = squeezenet
    state = model.state_dict()
    cut = {k: v for k, v in state.items() if not k.startswith("classifier")}
    save_file(cut, tmp_path / "cut.safetensors")
    other = {**cut, "classifier.1.weight": torch.zeros(31, 512, 1, 1), "classifier.1.bias": torch.zeros(31)}
    save_file(other, tmp_path / "other.safetensors")
    for path in (whole, tmp_path / "cut.safetensors", tmp_path / "other.safetensors"):
        loaded = create_backbone("squeezenet1_0", weights=path).state_dict()
        assert loaded.keys() == {f"network.{key}" for key in cut}
        assert all(torch.equal(loaded[f"network.{key}"], value) for key, value in cut.items())


def test_a_file_without_counts_of_batches() -> None:
    """Weights from before BatchNorm counted batches fit all the same."""
    network = backbones._network("resnet18")
    state = {k: torch.full_like(v, 2) for k, v in network.state_dict().items() if "num_batches" not in k}
    backbones._load(network, "resnet18", state, "a file")
    assert all(bool((v == 2).all()) for k, v in network.state_dict().items() if "num_batches" not in k)


def test_weights_of_another_network(squeezenet: tuple[nn.Module, Path]) -> None:
    with pytest.raises(ValueError, match="are not of resnet18") as raised:
        create_backbone("resnet18", weights=squeezenet[1])
    assert str(raised.value) == (
        f"the weights in {squeezenet[1]} are not of resnet18: 100 keys are missing, first conv1.weight, bn1.weight, "
        "bn1.bias; 52 are not its own, first classifier.1.bias, classifier.1.weight, features.0.bias. They fit "
        "squeezenet1_0: ask for that backbone."
    )


def test_weights_of_no_network(squeezenet: tuple[nn.Module, Path], tmp_path: Path) -> None:
    state: dict[str, Tensor] = {**squeezenet[0].state_dict()}
    del state["features.3.squeeze.bias"]
    state["features.0.weight"] = torch.zeros(96, 3, 5, 5)
    state["extra"] = torch.zeros(1)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="are not of squeezenet1_0") as raised:
        create_backbone("squeezenet1_0", weights=tmp_path / "odd.safetensors")
    assert str(raised.value) == (
        f"the weights in {tmp_path / 'odd.safetensors'} are not of squeezenet1_0: 1 key is missing, first "
        "features.3.squeeze.bias; 1 is not its own, first extra; 1 has another shape, first features.0.weight "
        "((96, 3, 5, 5), not (96, 3, 7, 7)). Pass a file of squeezenet1_0's weights."
    )


def test_files_that_are_no_weights(squeezenet: tuple[nn.Module, Path], tmp_path: Path) -> None:
    truncated, text = tmp_path / "cut.safetensors", tmp_path / "text.pth"
    truncated.write_bytes(squeezenet[1].read_bytes()[:-1000])
    text.write_text("no weights")
    for path in (truncated, text, tmp_path):
        with pytest.raises(ValueError, match=r"cannot read the weights of squeezenet1_0 in .*It wants a whole safeten"):
            create_backbone("squeezenet1_0", weights=path)
    for ask in (lambda p: create_backbone("squeezenet1_0", weights=p), weights_digest):
        with pytest.raises(
            ValueError, match=r"no file of weights at .*nowhere .*'none' or the path of a \.safetensors"
        ):
            ask(tmp_path / "nowhere")


def test_a_download_that_fails_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sentence = r"weights of squeezenet1_0 cannot be downloaded here .*no route to host.* --weights FILE\.safetensors"
    with pytest.raises(ValueError, match=sentence):
        create_backbone("squeezenet1_0")


def test_pretrained_weights_are_torchvisions_first(
    squeezenet: tuple[nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def get(self: Any, **settings: object) -> dict[str, Tensor]:
        asked.append((self, settings))
        return dict(squeezenet[0].state_dict())

    monkeypatch.setattr(models.SqueezeNet1_0_Weights, "get_state_dict", get)
    loaded = create_backbone("squeezenet1_0", weights="pretrained").state_dict()
    assert torch.equal(loaded["network.features.0.weight"], squeezenet[0].state_dict()["features.0.weight"])
    [(which, settings)] = asked
    assert which is models.SqueezeNet1_0_Weights.IMAGENET1K_V1
    assert settings["check_hash"] is True
    assert settings["weights_only"] is True


def test_weights_move_no_random_draw(squeezenet: tuple[nn.Module, Path]) -> None:
    after = []
    for weights in ("none", squeezenet[1]):
        torch.manual_seed(0)
        create_backbone("squeezenet1_0", weights=weights)
        after.append(torch.rand(3))
    assert torch.equal(*after)


def test_digests(squeezenet: tuple[nn.Module, Path], tmp_path: Path) -> None:
    assert weights_digest("none") == "none"
    assert weights_digest("pretrained") == weights_digest("pretrained", "alexnet") == "torchvision/IMAGENET1K_V1"
    assert weights_digest(squeezenet[1]) == hashlib.sha256(squeezenet[1].read_bytes()).hexdigest()
    file = tmp_path / "a"
    for content in (b"one", b"three"):
        file.write_bytes(content)
        assert weights_digest(str(file)) == hashlib.sha256(content).hexdigest()


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet5'; did you mean 'resnet50'"):
        find_backbone("resnet5")
    with pytest.raises(ValueError, match="create_backbone: unknown normalise 'cafe'; did you mean 'caffe'"):
        create_backbone("resnet18", weights="none", normalise="cafe")


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    backbones._find_in_timm.cache_clear()
    with pytest.raises(ImportError, match=r"timm, which is not installed: pip install landbridge\[timm\]"):
        find_backbone("timm/resnet10t")


def test_timms_networks() -> None:
    timm = pytest.importorskip("timm", minversion="1.0.11")
    backbones._find_in_timm.cache_clear()
    facts = find_backbone("timm/test_vit")
    assert (facts.side, facts.version) == (160, 1)
    assert facts.mean == tuple(timm.get_pretrained_cfg("test_vit").mean) != BACKBONES["resnet18"].mean
    backbone = create_backbone("timm/test_vit", weights="none")
    assert backbone(torch.zeros(2, 3, 160, 160, dtype=torch.uint8)).shape == (2, facts.features)
    first = backbone.get_submodule("normalise")
    assert isinstance(first, Normalise)
    torch.testing.assert_close(first.scale.flatten() * 255, 1 / torch.tensor(facts.std))
    assert weights_digest("pretrained", "timm/test_vit").startswith("timm/test_vit.")
    with pytest.raises(ValueError, match=r"timm knows no network 'resnt10t'; did you mean timm/resnet10t"):
        find_backbone("timm/resnt10t")


def test_timms_features_after_a_hidden_layer() -> None:
    pytest.importorskip("timm", minversion="1.0.11")
    facts = find_backbone("timm/mobilenetv3_small_050")
    with torch.device("meta"):
        network = backbones._network("timm/mobilenetv3_small_050")
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, facts.features) == (2, 1024)
        assert network.num_features != 1024


def test_timms_weights_from_a_file(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", minversion="1.0.11")
    model = timm.create_model("test_resnet", pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "timm.safetensors")
    backbone = create_backbone("timm/test_resnet", weights=tmp_path / "timm.safetensors").eval()
    with torch.no_grad():
        normalised = backbone.get_submodule("normalise")(IMAGES)
        expected = model.forward_head(model.forward_features(normalised), pre_logits=True)
        torch.testing.assert_close(backbone(IMAGES), expected)
    with pytest.raises(ValueError, match=r"are not of squeezenet1_0: 50 keys are missing"):
        create_backbone("squeezenet1_0", weights=tmp_path / "timm.safetensors")
