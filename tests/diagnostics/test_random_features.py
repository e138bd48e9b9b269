"""Random features and projections: against loops and scipy for the same draws, and against what they estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance
from torch import Tensor

from landbridge.diagnostics import random_features
from landbridge.diagnostics.blocks import gaussian_profile, kernel_means, labellings, negative_distance
from landbridge.diagnostics.random_features import (
    feature_discrepancies,
    fourier_features,
    frequencies,
    projected_energies,
)

LIKE = torch.zeros((), dtype=torch.float64)


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=numbers(seed))


@pytest.mark.parametrize("kernels", [1, 2, 5])
def test_inner_products_of_features_approach_the_ladder_of_kernels(kernels: int) -> None:
    rows = drawn(6, 4)
    features = fourier_features(rows, frequencies(4, 20_000, 6.0, kernels, numbers(), LIKE))
    exact = gaussian_profile(6.0, kernels)(torch.cdist(rows, rows).square())
    products = features @ features.T
    torch.testing.assert_close(products, exact, atol=4.5 / (2 * 20_000) ** 0.5, rtol=0)
    torch.testing.assert_close(products.diagonal(), torch.ones(6, dtype=torch.float64), atol=1e-12, rtol=0)


def test_discrepancies_are_the_unbiased_mean_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_features, "BLOCK", 4)
    rows, chosen = drawn(11, 3), labellings(4, 7, 3, numbers())
    w = frequencies(3, 5, 2.0, 2, numbers(), LIKE)
    found = feature_discrepancies(rows, chosen, w)
    kernel = [[float(((a - b) @ w).cos().mean()) for b in rows] for a in rows]
    for b in range(4):
        s, t = (np.flatnonzero(chosen[:, b].numpy() == side) for side in (True, False))
        within = [np.mean([kernel[i][j] for i in part for j in part if i != j]) for part in (s, t)]
        across = np.mean([kernel[i][j] for i in s for j in t])
        assert float(found[b]) == pytest.approx(within[0] + within[1] - 2 * across, rel=1e-10)


def test_discrepancies_approach_those_of_all_pairs() -> None:
    x, y = drawn(80, 3), drawn(60, 3, seed=1) + 0.7
    rows, chosen = torch.cat([x, y]), labellings(80, 60, 0, numbers())
    exact = kernel_means(x, y, gaussian_profile(6.0)).discrepancy
    found = feature_discrepancies(rows, chosen, frequencies(3, 20_000, 6.0, 5, numbers(), LIKE))
    assert float(found[0]) == pytest.approx(exact, rel=0.05)


def test_one_feature_needs_no_projection_and_is_scipys_energy_distance() -> None:
    rows, chosen = drawn(40, 1).round(decimals=1), labellings(15, 25, 20, numbers())  # with ties
    found = projected_energies(rows, chosen, 1, numbers())
    for b in range(21):
        x, y = rows[chosen[:, b], 0], rows[~chosen[:, b], 0]
        assert float(found[b]) == pytest.approx(energy_distance(x.numpy(), y.numpy()) ** 2, rel=1e-9, abs=1e-14)


def test_projections_average_scipys_energy_distance_along_the_same_directions() -> None:
    rows, chosen = drawn(30, 3), labellings(12, 18, 40, numbers())  # more labellings than one turn takes
    found = projected_energies(rows, chosen, 7, numbers(5))
    directions = torch.randn(3, 7, dtype=torch.float64, generator=numbers(5))
    for b in (0, 17, 40):
        total = 0.0
        for v in directions.T:
            along = (rows @ v / v.norm()).numpy()
            here = chosen[:, b].numpy()
            total += energy_distance(along[here], along[~here]) ** 2 / 7
        assert float(found[b]) == pytest.approx(2 * total, rel=1e-9)  # c_3 = 2


@pytest.mark.parametrize("d", [2, 5, 50])
def test_projections_approach_the_energy_distance(d: int) -> None:
    x, y = drawn(60, d), drawn(50, d, seed=1) + 1
    means = kernel_means(x, y, negative_distance)
    exact = 59 / 60 * means.source + 49 / 50 * means.target - 2 * means.across
    found = projected_energies(torch.cat([x, y]), labellings(60, 50, 0, numbers()), 6000, numbers())
    assert float(found[0]) == pytest.approx(exact, rel=0.06)
