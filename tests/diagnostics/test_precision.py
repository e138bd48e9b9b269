"""Tests of float32 rows are those of float64, wherever the domains lie and however unequal they are in number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landbridge.diagnostics import energy_test, kernel_test, witness
from landbridge.diagnostics.blocks import kernel_means, negative_distance, pool_for_distances
from landbridge.diagnostics.embedding import _neighbours

PLACES = {
    "at home": (0.0, 0.0, 0.0),
    "offset 1e6": (1e6, 0.0, 0.0),
    "domains 1e3 apart": (0.0, 1e3, 0.0),
    "domains 1e5 apart": (0.0, 1e5, 0.0),
    "classes 1e3 apart": (0.0, 0.0, 1e3),
}


def rows(place: str, n_s: int = 1500, n_t: int = 30) -> tuple[Tensor, Tensor]:
    """More rows than are taken in float64 anyhow."""
    offset, apart, classes = PLACES[place]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n_s, 5, generator=generator), 1.3 * torch.randn(n_t, 5, generator=generator) + 0.5
    for domain in (x, y):
        domain[::2] += classes
    return x + offset, y + apart + offset


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_two_sample_tests(test, place: str, swapped: bool) -> None:
    x, y = rows(place)[::-1] if swapped else rows(place)
    found, exact = test(x, y, permutations=19), test(x.double(), y.double(), permutations=19)
    assert found.statistic == pytest.approx(exact.statistic, rel=1e-4)
    assert found.p_value == exact.p_value
    assert found.null == pytest.approx(exact.null, rel=1e-3, abs=1e-6 * abs(exact.statistic) + 1e-7)


def test_the_energy_of_few_rows_beside_many_is_no_difference_of_large_sums() -> None:
    """It was off by 3e-3 in float32."""
    x, y = rows("at home")
    means = kernel_means(x, y, negative_distance)
    direct = torch.cdist(y.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert means.target == pytest.approx(-float(direct.sum()) / (30 * 29), rel=1e-6)


def test_rows_are_widened_only_where_digits_would_be_lost() -> None:
    for place in ("at home", "offset 1e6"):
        assert pool_for_distances(*rows(place)).dtype == torch.float32
    x, y = rows("at home")
    x[0] = 1e3  # one far row loses nothing but its own place
    assert pool_for_distances(x, y).dtype == torch.float32
    for place in ("domains 1e3 apart", "classes 1e3 apart"):
        assert pool_for_distances(*rows(place)).dtype == torch.float64


@pytest.mark.parametrize("place", ["domains 1e5 apart", "classes 1e3 apart"])
def test_witness_and_nearest_neighbours(place: str) -> None:
    x, y = rows(place, 60, 25)
    assert witness(x, y).mmd2 == pytest.approx(witness(x.double(), y.double()).mmd2, rel=1e-4, abs=1e-6)
    for found, exact in zip(_neighbours(torch.cat([x, y]), 60), _nearest(torch.cat([x, y]), 60), strict=True):
        assert found.tolist() == exact.tolist()


def _nearest(pooled: Tensor, n_s: int) -> tuple[Tensor, Tensor]:
    """By differences, in float64."""
    squared = (pooled.double()[:, None] - pooled.double()).square().sum(2).fill_diagonal_(torch.inf)
    return squared.argmin(1), squared[n_s:, :n_s].argmin(1)
