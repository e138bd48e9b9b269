"""The guess of a normalisation: right for the same network written for either, and no guess where nothing tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from landbridge.benchmarks.normalisation import guess, spread_of_logits
from landbridge.shared.backbones import IMAGENET

MEAN, STD = IMAGENET
CAFFE = torch.tensor([123.0, 117.0, 104.0])  # of red, green, blue


def for_imagenet(spread: float, images: Tensor) -> dict[str, Tensor]:
    """A network whose logits have this spread on standardised images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.squeezenet1_0(weights=None)
        torch.nn.init.normal_(network.classifier[1].weight, std=0.05)
    raw = spread_of_logits(network, images)["imagenet"]
    state = network.state_dict()
    for part in ("weight", "bias"):
        state[f"classifier.1.{part}"] = state[f"classifier.1.{part}"] * spread / raw
    return state


def for_caffe(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network for BGR images in 0..255 less the channel means: the first layer's weights take it up."""
    weight, bias = state["features.0.weight"], state["features.0.bias"]  # of (x / 255 - m) / s
    weight = weight / (255 * torch.tensor(STD)).view(1, 3, 1, 1)  # of x - 255 m
    moved = bias + (weight.sum((2, 3)) * (CAFFE - 255 * torch.tensor(MEAN))).sum(1)
    return {**state, "features.0.weight": weight.flip(1).contiguous(), "features.0.bias": moved}


@pytest.fixture(scope="module")
def images() -> Tensor:
    small = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return (255 * torch.nn.functional.interpolate(small, size=64, mode="bilinear")).round()


def test_the_two_forms_are_one_network(images: Tensor) -> None:
    a, b = (torchvision.models.squeezenet1_0(weights=None) for _ in range(2))
    state = for_imagenet(3.0, images)
    a.load_state_dict(state)
    b.load_state_dict(for_caffe(state))
    assert spread_of_logits(a, images)["imagenet"] == pytest.approx(3.0, rel=1e-3)
    assert spread_of_logits(b, images)["caffe"] == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("spread", [1.5, 3.0, 6.0])
def test_each_form_is_found(spread: float, images: Tensor, tmp_path: Path) -> None:
    state = for_imagenet(spread, images)
    for word, weights in (("imagenet", state), ("caffe", for_caffe(state))):
        file = tmp_path / f"{word}.safetensors"
        save_file(weights, file)
        found, sentence = guess("squeezenet1_0", file, images)
        assert found == word, sentence
        assert f"normalised as {word}, by the spread of the logits of {word}.safetensors" in sentence


def test_where_nothing_tells_it_is_imagenet_and_that_is_said(images: Tensor, tmp_path: Path) -> None:
    state = for_imagenet(3.0, images)
    file = tmp_path / "bare.safetensors"
    save_file({name: value for name, value in state.items() if not name.startswith("classifier")}, file)
    assert guess("squeezenet1_0", file, images) == (
        "imagenet", "bare.safetensors has no classifier of squeezenet1_0 to tell by; images are normalised as imagenet",
    )  # fmt: skip
    silent = {name: torch.zeros_like(value) for name, value in state.items()}
    save_file(silent, file)
    found, sentence = guess("squeezenet1_0", file, images)
    assert found == "imagenet"
    assert "do not tell" in sentence


def test_a_suite_s_own_word_stands_where_nothing_tells(images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "bare.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, file)
    assert guess("squeezenet1_0", file, images, "caffe")[0] == "caffe"
