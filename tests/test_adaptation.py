"""A problem with a known answer: where the domains differ each method helps, and where they do not it does no harm."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from landbridge.methods import METHODS
from landbridge.shared.fit import fit
from landbridge.shared.method import Sizes
from landbridge.shared.network import Network
from landbridge.shared.optimizer import Optimizer

SEEDS = range(5)
CLASSES, SAMPLES = 3, 300
ADAPTING = [name for name in METHODS if name != "source-only"]
# What has no useful default for features of this size and scale; the same on all problems.
SETTINGS: dict[str, dict[str, Any]] = {
    "dann": {"hidden": (32,)},
    "cdan": {"hidden": (32,)},
    "cdan-e": {"hidden": (32,)},
    "ddc": {"weight": 1.0},
    "dan": {"weight": 0.3},
    "deepcoral": {"weight": 100.0},
    "deepjdot": {"feature_weight": 0.02, "label_weight": 0.1},
}


class Shift(NamedTuple):
    """What is done to the two dimensions that tell the classes apart; four more are noise."""

    degrees: float
    scale: float
    offset: float


NONE = Shift(0.0, 1.0, 0.0)
WIDER = Shift(35.0, 1.5, 1.6)  # source-only keeps 72 %
NARROWER = Shift(30.0, 0.6, 1.2)  # source-only keeps 58 %


def domain(generator: torch.Generator, shift: Shift) -> tuple[Tensor, Tensor]:
    """Three Gaussians at the corners of a triangle."""
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    angle = 2 * math.pi * labels / CLASSES
    x = 0.6 * torch.randn(SAMPLES, 6, generator=generator)
    x[:, 0] += 2 * angle.cos()
    x[:, 1] += 2 * angle.sin()
    a, (u, v) = math.radians(shift.degrees), x[:, :2].unbind(1)
    turned = torch.stack([math.cos(a) * u - math.sin(a) * v, math.sin(a) * u + math.cos(a) * v], 1)
    moved = shift.scale * turned + shift.offset * torch.tensor([1.0, -1.0])
    return torch.cat([moved, shift.scale * x[:, 2:]], 1), labels


def network(seed: int) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        extractor = nn.Sequential(
            nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU()
        )
        return Network(extractor, nn.Linear(16, CLASSES))


@functools.cache
def accuracy(name: str, shift: Shift, batch_statistics: str) -> float:
    """Target accuracy in percent, of the last iterate, the mean over the seeds."""
    values = []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        source, (target, labels) = domain(generator, NONE), domain(generator, shift)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            method = METHODS[name].create(Sizes(16, CLASSES), **SETTINGS.get(name, {}))
        result = fit(
            network(seed), method, source, target, steps=100 if name == "mcd" else 150, batch_size=32, seed=seed,
            optimizer=Optimizer(name="adam", lr=3e-3), batch_statistics=batch_statistics, device="cpu",
            progress_bar=False,
        )  # fmt: skip
        values.append(100 * (result.predict(target) == labels).float().mean().item())
    return statistics.mean(values)


def test_the_problems_are_hard_for_source_only_and_easy_without_a_shift() -> None:
    assert accuracy("source-only", NONE, "joint") > 98
    assert accuracy("source-only", WIDER, "joint") < 80
    assert accuracy("source-only", NARROWER, "joint") < 65


@pytest.mark.parametrize("name", ADAPTING)
def test_gains_15_points_over_source_only_with_each_domains_own_batch_statistics(name: str) -> None:
    assert accuracy(name, WIDER, "per_domain") > accuracy("source-only", WIDER, "per_domain") + 15


@pytest.mark.parametrize("name", ["dann", "cdan", "cdan-e", "deepcoral", "mcc"])
def test_gains_a_point_over_target_statistics_alone(name: str) -> None:
    assert accuracy(name, WIDER, "per_domain") > accuracy("adabn", WIDER, "per_domain") + 1


@pytest.mark.parametrize("name", ["dann", "cdan", "cdan-e", "ddc", "dan", "jan", "deepcoral", "deepjdot", "mcc"])
def test_gains_10_points_over_source_only_where_batch_statistics_do_not_help(name: str) -> None:
    assert accuracy(name, NARROWER, "joint") > accuracy("source-only", NARROWER, "joint") + 10


@pytest.mark.parametrize("name", ADAPTING)
def test_without_a_shift_loses_at_most_a_point(name: str) -> None:
    assert accuracy(name, NONE, "per_domain") > accuracy("source-only", NONE, "per_domain") - 1
