"""Statistics of float32 rows are those of float64, wherever the domains and their classes lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from landbridge.coral import coral_distance
from landbridge.mmd import GaussianKernel, MultiGaussianKernel, joint_mmd2, mean_distance, mmd2
from landbridge.shared.distances import centred_distances, pooled_distances, squared_distances

LADDER, ONE = MultiGaussianKernel(), GaussianKernel(10.0)
PLACES = {  # a common offset, how far the target lies from the source, how far two classes of both
    "at home": (0.0, 0.0, 0.0),
    "offset 1e3": (1e3, 0.0, 0.0),
    "offset 1e6": (1e6, 0.0, 0.0),
    "domains 1e3 apart": (0.0, 1e3, 0.0),
    "domains 1e5 apart": (0.0, 1e5, 0.0),
    "classes 1e3 apart": (0.0, 0.0, 1e3),
    "offset and apart": (1e3, 1e3, 0.0),
}
STATISTICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mmd2": lambda x, y: mmd2(x, y, LADDER),
    "mmd2 unbiased": lambda x, y: mmd2(x, y, LADDER, "unbiased"),
    "mmd2 of a number": lambda x, y: mmd2(x, y, ONE, "unbiased"),
    "mmd2 linear": lambda x, y: mmd2(x, y, LADDER, "linear"),
    "joint_mmd2": lambda x, y: joint_mmd2([x, x], [y, y], [LADDER, ONE]),
    "kernel of two": lambda x, y: LADDER(x, y),
    "kernel of one": lambda x, y: LADDER(y),
    "kernel of a number": lambda x, y: ONE(x, y),
    "squared_distances": lambda x, y: squared_distances(x, y).sqrt(),
    "coral_distance": coral_distance,
    "coral_distance, Gram": lambda x, y: coral_distance(x.repeat(1, 60), y.repeat(1, 60)),
    "mean_distance": mean_distance,
}


def rows(place: str, n_s: int = 200, n_t: int = 20) -> tuple[Tensor, Tensor]:
    offset, apart, classes = PLACES[place]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n_s, 5, generator=generator), 1.3 * torch.randn(n_t, 5, generator=generator) + 0.5
    for domain in (x, y):
        domain[::2] += classes
    return x + offset, y + apart + offset


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", STATISTICS)
def test_float32_is_float64(name: str, place: str) -> None:
    x, y = rows(place)
    statistic = STATISTICS[name]
    assert_close(statistic(x, y), statistic(x.double(), y.double()).float(), rtol=2e-4, atol=2e-7)


def slow_mmd2(x: Tensor, y: Tensor) -> float:
    """By differences, in float64."""
    pooled = torch.cat([x, y]).double()
    squared = (pooled[:, None] - pooled).square().sum(2)
    n = len(x)
    pairs = squared[~torch.eye(len(pooled), dtype=torch.bool)]
    gamma = pairs.sort().values[(len(pairs) - 1) // 2]
    gram = sum(torch.exp(-squared / (gamma * f)) for f in (0.25, 0.5, 1.0, 2.0, 4.0)) / 5
    return float(gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("place", ["domains 1e3 apart", "domains 1e5 apart"])
def test_a_small_domain_a_thousand_deviations_away(place: str, compiled: bool) -> None:
    """It was twice as much: the median was taken for rounding, and distances within the small domain were rounding."""
    x, y = rows(place)
    measure = STATISTICS["mmd2"]
    found = torch.compile(measure, backend="eager", fullgraph=True)(x, y) if compiled else measure(x, y)
    assert float(found) == pytest.approx(slow_mmd2(x, y), rel=1e-4)
    assert slow_mmd2(x, y) < 1


def test_distances_about_each_domains_mean_are_the_distances() -> None:
    x, y = (part.double() for part in rows("at home", 7, 4))
    pooled = torch.cat([x, y])
    direct = (pooled[:, None] - pooled).square().sum(2)
    assert_close(centred_distances(x, y)[0], direct, rtol=1e-10, atol=1e-12)
    assert_close(pooled_distances(pooled)[0], direct, rtol=1e-10, atol=1e-12)
    far = y + 1e4
    within = centred_distances(x.float(), far.float())[0].double()
    rounded = torch.cat([x.float(), far.float()]).double()
    assert_close(within, (rounded[:, None] - rounded).square().sum(2), rtol=1e-5, atol=1e-6)


def test_their_gradient_is_that_of_the_distances() -> None:
    x, y = (part[:3].double().requires_grad_() for part in rows("at home", 7, 4))
    assert torch.autograd.gradcheck(lambda a, b: centred_distances(a, b)[0], (x, y))


def test_gradients_pass_through_wider_numbers() -> None:
    x, y = rows("domains 1e3 apart")
    wide = [part.double().requires_grad_() for part in (x, y)]
    narrow = [part.requires_grad_() for part in (x, y)]
    exact = torch.autograd.grad(mmd2(*wide, LADDER), wide)
    found = torch.autograd.grad(mmd2(*narrow, LADDER), narrow)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert_close(one.double(), other, rtol=1e-3, atol=1e-7)


def test_repeated_rows_keep_their_bandwidth() -> None:
    """Most pairs coincide: the mean, in either precision."""
    x, y = torch.ones(30, 4), torch.ones(10, 4)
    y[5:] += 1
    assert_close(mmd2(x, y, LADDER), mmd2(x.double(), y.double(), LADDER).float(), rtol=1e-5, atol=1e-7)
