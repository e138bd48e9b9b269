"""Networks for images, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from landbridge.shared.extractors import EXTRACTORS, create_network
from landbridge.shared.normalise import CaffeNormalise, Normalise


@pytest.mark.parametrize("name", [name for name, of in EXTRACTORS.items() if of.side])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(name: str, channels: int) -> None:
    side, features = EXTRACTORS[name].side, EXTRACTORS[name].features
    network = create_network(name, classes=7, channels=channels)
    seen, logits = network(torch.zeros(2, channels, side, side, dtype=torch.uint8))
    assert seen.shape == (2, features)
    assert logits.shape == (2, 7)
    if not EXTRACTORS[name].flat:
        assert create_network(name, classes=7, features=11)(torch.zeros(2, 1, side, side))[0].shape == (2, 11)
    assert network.spec == {"name": name, "classes": 7, "channels": channels, "features": features}
    assert any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()) == (name != "ganin28")


def test_what_carries_mnist_m_is_in_lenet28_flat() -> None:
    network = create_network("lenet28-flat", classes=10, channels=3).eval()
    convolutions = [m for m in network.extractor if isinstance(m, nn.Conv2d)]
    assert [m.padding for m in convolutions] == [(0, 0), (0, 0)]
    assert [m.out_channels for m in convolutions] == [32, 48]
    (dropout,) = [m for m in network.extractor if isinstance(m, nn.Dropout2d)]
    *layers, flatten = network.extractor
    assert dropout.p == 0.5
    assert layers.index(dropout) > layers.index(convolutions[1])
    images = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    maps = images
    for layer in layers:
        maps = layer(maps)
    assert maps.shape == (2, 48, 4, 4)  # 28 - 4 = 24, halved 12, - 4 = 8, halved 4
    assert isinstance(flatten, nn.Flatten)  # a discriminator sees these maps, with nothing that learns in between
    assert torch.equal(network(images)[0], maps.flatten(1))
    assert isinstance(network.head, nn.Linear)


def test_ganin28_is_the_papers_figure() -> None:
    network = create_network("ganin28", classes=10, channels=3)
    kinds = [type(m) for m in network.extractor]
    assert kinds == [Normalise, *[nn.Conv2d, nn.MaxPool2d, nn.ReLU] * 2, nn.Flatten]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.padding) for m in convolutions] == [
        (32, (5, 5), (0, 0)),
        (48, (5, 5), (0, 0)),
    ]
    assert [type(m) for m in network.head] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [m.out_features for m in network.head if isinstance(m, nn.Linear)] == [100, 100, 10]
    assert EXTRACTORS["ganin28"].features == 48 * 4 * 4


def test_a_bottleneck_on_features_learns_as_one_on_a_backbone() -> None:
    network = create_network("bottleneck", classes=7, channels=30)
    features, logits = network(torch.randn(4, 30))
    assert features.shape == (4, 256)
    assert logits.shape == (4, 7)
    layers = [type(m) for m in network.extractor.get_submodule("bottleneck").children()]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert not list(network.backbone.parameters())  # so all of it learns at the full rate
    whole = create_network("squeezenet1_0", classes=7)
    names = [name for name in whole.state_dict() if "backbone" not in name]
    assert names == list(network.state_dict())
    assert network.spec == {"name": "bottleneck", "classes": 7, "channels": 30, "features": 256}


@pytest.mark.parametrize("normalise", ["imagenet", "caffe"])
def test_a_network_on_a_backbone(normalise: str) -> None:
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    network = create_network("squeezenet1_0", classes=7, normalise=normalise, bottleneck=20).eval()
    plain = create_network("squeezenet1_0", classes=7, normalise=normalise, bottleneck=None).eval()
    assert network.spec == {
        "name": "squeezenet1_0", "classes": 7, "channels": 3, "normalise": normalise, "bottleneck": 20,
    }  # fmt: skip
    with torch.no_grad():
        features, logits = network(images)
        assert (features.shape, logits.shape) == ((3, 20), (3, 7))
        assert torch.equal(features, network.extractor.get_submodule("bottleneck")(network.backbone(images)))
        assert plain(images)[0].shape == (3, 512)
        grey = images[:, :1]
        assert torch.equal(network(grey)[1], network(grey.expand(-1, 3, -1, -1))[1])
    kinds = {"imagenet": Normalise, "caffe": CaffeNormalise}
    assert isinstance(network.backbone.get_submodule("normalise"), kinds[normalise])
    slow = {id(p) for p in network.backbone.parameters()}
    assert {name for name, p in network.named_parameters() if id(p) not in slow} == {
        *(f"extractor.bottleneck.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")),
        "head.weight",
        "head.bias",
    }


def test_weights_of_a_backbone_from_a_file(tmp_path: Path) -> None:
    state = models.squeezenet1_0(weights=None).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    network = create_network("squeezenet1_0", classes=2, weights=tmp_path / "weights.safetensors")
    first = network.state_dict()["extractor.backbone.network.features.0.weight"]
    assert torch.equal(first, state["features.0.weight"])
    assert network.spec is not None
    assert "weights" not in network.spec


def test_the_seed_of_torch_decides_the_weights() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(create_network("lenet16-slim", classes=2).head.weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("lenet61", {"classes": 2}, "create_network: unknown network 'lenet61'; did you mean 'lenet16'"),
        ("lenet16", {"classes": 0}, "create_network needs positive sizes; got classes=0, channels=1, features=128"),
        ("lenet16", {"classes": 2, "channels": 0}, "channels=0"),
        ("lenet16", {"classes": 2, "features": 0}, "features=0"),
        ("resnet5", {"classes": 2}, "unknown network 'resnet5'; did you mean 'resnet50'"),
        ("bottleneck", {"classes": 2}, "bottleneck needs channels, the size of the features that come in"),
        ("lenet16", {"classes": 2, "weights": "pretrained"}, "lenet16 has no weights; got weights='pretrained'"),
        ("lenet16", {"classes": 2, "normalise": "caffe"}, "lenet16 has no normalise; got normalise='caffe'"),
        ("lenet16", {"classes": 2, "bottleneck": None}, "lenet16 has no bottleneck; got bottleneck=None"),
        (
            "ganin28",
            {"classes": 2, "features": 99},
            "last convolution's maps, 768 numbers; got features=99. Leave it out",
        ),
        ("resnet18", {"classes": 2, "features": 99}, "got features=99. Pass bottleneck=99"),
        ("resnet18", {"classes": 2, "channels": 4}, "1 or 3 channels for resnet18; got classes=2, channels=4"),
        ("resnet18", {"classes": 2, "bottleneck": 0}, "needs positive sizes, .*bottleneck=0"),
    ],
)
def test_what_cannot_be(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_network(name, **settings)
