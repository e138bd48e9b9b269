"""Intervals of squared distances: what they invert, and that they cover near zero and far from it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ncx2

from landbridge.diagnostics import frechet_distance, sliced_wasserstein
from landbridge.diagnostics import intervals as module
from landbridge.diagnostics.intervals import noncentrality, squared_interval


@pytest.mark.parametrize("limit", [1000.0, 1.0], ids=["exact", "Sankaran"])
@pytest.mark.parametrize(
    ("x", "freedom", "p"), [(900.0, 860.0, 0.3), (500, 3, 0.975), (800, 10, 0.025), (1000, 700, 0.025)]
)
def test_the_noncentrality_gives_back_the_probability(monkeypatch, limit, x, freedom, p) -> None:
    monkeypatch.setattr(module, "EXACT_UP_TO", limit)
    found = noncentrality(x, freedom, p)
    assert ncx2.cdf(x, freedom, found) == pytest.approx(p, abs=2e-5)


def test_what_no_noncentrality_makes_so_small_is_zero() -> None:
    assert noncentrality(1.0, 5.0, 0.975) == 0.0
    assert noncentrality(0.01, 5.0, 0.025) == 0.0


@pytest.mark.parametrize(("freedom", "true"), [(5.0, 0.0), (5.0, 2.0), (40.0, 10.0), (1.0, 50.0), (300.0, 1500.0)])
def test_it_covers_where_the_model_holds(freedom: float, true: float) -> None:
    rng = np.random.default_rng(0)
    low, high, draws = 0, 0, 300
    for _ in range(draws):
        value = rng.noncentral_chisquare(freedom, true) if true else rng.chisquare(freedom)
        again = rng.noncentral_chisquare(freedom, value, size=200)
        ends = squared_interval(value, again, 0.9, rows=10_000)
        low, high = low + (ends[0] > true + 1e-12), high + (ends[1] < true - 1e-12)
    assert low / draws <= 0.09  # 0.05, standard error 0.013
    assert high / draws <= 0.09
    assert low + high >= 0.04 * draws or true == 0.0


def test_an_unbiased_estimate_brings_its_noise() -> None:
    draws = np.random.default_rng(0).normal(3.0, 1.0, size=400)
    biased = squared_interval(4.0, draws + 1.0 + 1.0, 0.95, rows=10**9)
    unbiased = squared_interval(3.0, draws, 0.95, rows=10**9, noise=1.0)
    assert unbiased == pytest.approx(biased, rel=0.1)
    assert squared_interval(-0.5, draws - 3.5, 0.95, rows=100, noise=1.0)[0] == 0.0  # an estimate below 0


def test_few_rows_widen_it_and_what_is_not_resampled_is_added() -> None:
    draws = np.random.default_rng(0).normal(11.0, 2.0, size=400)

    def width(**changes) -> float:
        low, high = squared_interval(10.0, draws, **{"level": 0.95, "rows": 1000, **changes})
        return high - low

    assert width(rows=30) > 1.1 * width()
    assert width(own_variance=4.0) > 1.3 * width()
    assert width(tails=1.15) > width()
    assert width(level=0.8) < width()


def test_rows_that_do_not_vary_have_an_interval_of_no_width() -> None:
    assert squared_interval(4.0, np.full(50, 4.0), 0.95, rows=20) == (4.0, 4.0)
    assert squared_interval(0.0, np.zeros(50), 0.95, rows=20) == (0.0, 0.0)


def test_small_samples_are_covered() -> None:
    """The setting that covered 0.86 with the basic bootstrap: 30 + 30 rows, means one deviation apart."""
    missed, draws = 0, 120
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + np.eye(2)[0]
        found = frechet_distance(x, y, bootstrap=50, seed=seed)
        missed += not found.low <= 1.0 <= found.high
    assert missed <= 0.1 * draws  # basic: 0.12 to 0.14; 0.05 is right, standard error 0.02


def test_other_powers_have_intervals_of_the_same_kind() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(50, 2)) + 2 * np.eye(2)[0]
    one, two = (sliced_wasserstein(x, y, p=p, bootstrap=50) for p in (1.0, 2.0))
    for found in (one, two):
        assert 0 < found.low < found.value < 1.1 * found.high
    assert one.high == pytest.approx(two.high, rel=0.25)
