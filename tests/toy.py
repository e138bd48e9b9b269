"""Small data and networks on which a training run takes milliseconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landbridge.shared.fit import fit
from landbridge.shared.method import Method, Sizes
from landbridge.shared.network import Network
from landbridge.shared.result import FitResult

INPUTS, SIZES = 6, Sizes(features=5, classes=3)


class Data(NamedTuple):
    """Two domains of vectors, of different size."""

    inputs: Tensor
    labels: Tensor
    target: Tensor

    @property
    def source(self) -> tuple[Tensor, Tensor]:
        return self.inputs, self.labels


def data(n_s: int = 40, n_t: int = 33) -> Data:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n_s, INPUTS, generator=generator)
    target = 1.5 * torch.randn(n_t, INPUTS, generator=generator) + 0.7
    return Data(inputs, inputs[:, : SIZES.classes].argmax(1), target)


def network(seed: int = 0, *, dropout: float = 0.2) -> Network:
    """With BatchNorm and dropout, so that batch statistics and random streams both matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        extractor = nn.Sequential(
            nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, SIZES.features)
        )
        return Network(extractor, nn.Linear(SIZES.features, SIZES.classes))


def create(method: type[Method], seed: int = 0, **settings: Any) -> Method:
    """The method for the small network, with the same parts for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        small = {"hidden": (7,)} if method.__name__ == "DANN" else {}
        return method.create(SIZES, **{**small, **settings})


def train(method: Method, start: Network | None = None, **settings: Any) -> FitResult:
    """A run of a few steps on the small data."""
    some = data()
    settings = {"steps": 5, "batch_size": (9, 7), "device": "cpu", "progress_bar": False, **settings}
    source, target = settings.pop("source", some.source), settings.pop("target", some.target)
    return fit(start or network(), method, source, target, **settings)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same numbers, bit for bit."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
