"""Networks for images, by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landbridge.shared.extractors import EXTRACTORS, Normalise, create_network


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(name: str, channels: int) -> None:
    side, features = EXTRACTORS[name].side, EXTRACTORS[name].features
    network = create_network(name, classes=7, channels=channels)
    seen, logits = network(torch.zeros(2, channels, side, side, dtype=torch.uint8))
    assert seen.shape == (2, features)
    assert logits.shape == (2, 7)
    assert create_network(name, classes=7, features=11)(torch.zeros(2, 1, side, side))[0].shape == (2, 11)
    assert network.spec == {"name": name, "classes": 7, "channels": channels, "features": features}
    assert any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def test_normalise_by_its_equation() -> None:
    images = torch.randint(0, 256, (4, 2, 3, 3), dtype=torch.uint8)
    mean, std = (0.1, 0.6), (0.2, 0.5)
    got = Normalise(mean, std)(images)
    assert got.dtype == torch.float32
    for n in range(4):
        for c in range(2):
            expected = (images[n, c].double() / 255 - mean[c]) / std[c]
            torch.testing.assert_close(got[n, c].double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(Normalise()(images.float()), images / 127.5 - 1)


def test_normalise_has_no_state() -> None:
    assert not Normalise().state_dict()
    assert Normalise().double()(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)).dtype == torch.float64


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
    ],
)
def test_what_cannot_be(name: str, settings: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_network(name, **settings)
