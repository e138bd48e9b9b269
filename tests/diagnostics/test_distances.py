"""Distances: each against slow loops, its resamples against statistics computed anew, coverage, and all together."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from landbridge.coral import coral_distance
from landbridge.diagnostics import (
    Distance,
    Distances,
    covariance_distance,
    distances,
    energy_distance,
    kernel_distance,
    proxy_a_distance,
)
from landbridge.diagnostics.bootstrap import resampled_counts
from landbridge.diagnostics.distances import DISTANCES

# the package offers the function under the file's name
FILE = importlib.import_module("landbridge.diagnostics.distances")


def gaussians(
    n_s: int, n_t: int, d: int = 3, *, shift: float = 0.0, scale: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(seed)
    x = torch.randn(n_s, d, generator=numbers, dtype=torch.float64)
    y = scale * torch.randn(n_t, d, generator=numbers, dtype=torch.float64)
    y[:, 0] += shift
    return x, y


def slow_discrepancy(x: Tensor, y: Tensor, kernel: Callable[[float], float]) -> float:
    """The unbiased squared MMD by loops; pairs of equal rows count as copies of one row, and are left out."""

    def mean(a: Tensor, b: Tensor, within: bool) -> float:
        total, pairs = 0.0, 0
        for p in a.tolist():
            for q in b.tolist():
                if within and p == q:
                    continue
                total += kernel(math.dist(p, q))
                pairs += 1
        return total / pairs

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def mixture_of_two(distance: float) -> float:
    return (math.exp(-(distance**2) / 3) + math.exp(-(distance**2) / 1.5)) / 2


def test_mmd_and_energy_distance_are_those_of_slow_loops() -> None:
    x, y = gaussians(13, 9, shift=1.0)
    found = kernel_distance(x, y, bandwidth=3.0, kernels=2, bootstrap=0)
    assert found.value == pytest.approx(slow_discrepancy(x, y, mixture_of_two), rel=1e-10)
    assert (found.n_source, found.n_target) == (13, 9)
    found = energy_distance(x, y, bootstrap=0)
    assert found.value == pytest.approx(slow_discrepancy(x, y, lambda r: -r), rel=1e-10)


def test_the_bandwidth_is_the_median_of_the_pooled_rows() -> None:
    x, y = gaussians(13, 10, shift=1.0)
    both = torch.cat([x, y])
    squared = sorted(float((a - b).square().sum()) for i, a in enumerate(both) for b in both[:i])
    median = squared[(len(squared) - 1) // 2]
    given = kernel_distance(x, y, bandwidth=median, bootstrap=0).value
    assert kernel_distance(x, y, bootstrap=0).value == pytest.approx(given, rel=1e-10)
    assert kernel_distance(7 * x, 7 * y, bootstrap=0).value == pytest.approx(given, rel=1e-10)


def test_resamples_of_mmd_are_the_statistic_without_pairs_of_copies() -> None:
    x, y = gaussians(8, 6, shift=1.0)
    profile = FILE.gaussian_profile(3.0, 2)
    values, noise = FILE._discrepancies(x, y, profile, 20, "name", 5)
    pooled = torch.cat([x, y]).double()
    kernel = profile((pooled[:, None] - pooled).square().sum(2))
    biased = kernel[:8, :8].mean() + kernel[8:, 8:].mean() - 2 * kernel[:8, 8:].mean()
    assert noise == pytest.approx(float(biased - values[0]), rel=1e-9)  # what pairs of a row with itself add
    a, b = resampled_counts(8, 20, "name", 5, "source"), resampled_counts(6, 20, "name", 5, "target")
    for draw in range(20):
        again = slow_discrepancy(x.repeat_interleave(a[draw], 0), y.repeat_interleave(b[draw], 0), mixture_of_two)
        assert float(values[1 + draw]) == pytest.approx(again, rel=1e-9)


def test_resamples_of_mmd_lie_around_the_estimate() -> None:
    x, y = gaussians(30, 30)  # plain resamples, with copies at distance 0, lie 2/30 above it
    values, _ = FILE._discrepancies(x, y, FILE.gaussian_profile(3.0, 1), 500, "name", 0)
    assert float(values[1:].mean()) == pytest.approx(float(values[0]), abs=0.006)


def test_the_covariance_distance_is_that_of_the_paper() -> None:
    x, y = gaussians(13, 9, shift=1.0, scale=2.0)
    total = 0.0
    for i in range(3):
        for j in range(3):
            covariances = []
            for z in (x, y):
                m_i, m_j = z[:, i].sum() / len(z), z[:, j].sum() / len(z)
                covariances.append(sum((row[i] - m_i) * (row[j] - m_j) for row in z) / (len(z) - 1))
            total += float(covariances[0] - covariances[1]) ** 2
    assert covariance_distance(x, y, bootstrap=0).value == pytest.approx(total / (4 * 9), rel=1e-10)


@pytest.mark.parametrize("d", [2, 40])
def test_resamples_of_the_covariance_distance_are_computed_with_their_own_means(
    d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FILE, "BLOCK", 5)  # several blocks, the last one smaller
    x, y = gaussians(13, 9, d, shift=3.0, scale=2.0)
    values = FILE._resampled_coral(x + 4, y, 25, "name", 1)
    a, b = resampled_counts(13, 25, "name", 1, "source"), resampled_counts(9, 25, "name", 1, "target")
    for draw in range(25):
        again = coral_distance(x.repeat_interleave(a[draw], 0), y.repeat_interleave(b[draw], 0))
        assert float(values[draw]) == pytest.approx(float(again), rel=1e-9)


def test_the_proxy_a_distance_knows_its_own_ends() -> None:
    x, y = gaussians(60, 40, shift=40.0)
    assert proxy_a_distance(x, y).value == 2
    assert proxy_a_distance(x, y).high == 2
    values = [proxy_a_distance(*gaussians(60, 40, seed=s), bootstrap=0).value for s in range(30)]
    assert abs(np.mean(values)) < 0.12  # chance, although one domain is larger
    assert min(values) < 0


def test_the_proxy_a_distance_is_that_of_the_best_linear_classifier() -> None:
    x, y = gaussians(1500, 700, d=1, shift=1.0)
    bayes = 2 * (1 - 2 * 0.5 * math.erfc(0.5 / math.sqrt(2)))  # the error of a threshold half-way
    found = proxy_a_distance(x, y)
    assert found.value == pytest.approx(bayes, abs=0.08)
    assert found.low < bayes < found.high


def test_the_proxy_a_distance_judges_no_row_it_has_seen() -> None:
    x, y = gaussians(20, 20, d=200)  # more features than rows: any classifier is right on what it has seen
    assert abs(proxy_a_distance(x, y, bootstrap=0).value) < 0.9
    source, target = np.arange(12.0).reshape(-1, 1), np.arange(12.0, 24).reshape(-1, 1)
    wrong_source, wrong_target = FILE._judged(source, target, 3, 0)
    assert wrong_source.shape == wrong_target.shape == (12,)


def test_features_of_any_scale_and_constant_ones_do_not_move_the_proxy() -> None:
    x, y = gaussians(80, 60, shift=1.5)
    value = proxy_a_distance(x, y, bootstrap=0).value
    scales = torch.tensor([1e-6, 1e3, 1e8], dtype=torch.float64)
    assert proxy_a_distance(x * scales, y * scales, bootstrap=0).value == pytest.approx(value, abs=0.05)
    with_constant = [torch.cat([z, torch.full((len(z), 1), 7.0)], 1) for z in (x, y)]
    assert proxy_a_distance(*with_constant, bootstrap=0).value == pytest.approx(value, abs=1e-9)
    assert proxy_a_distance(torch.ones(9, 2), torch.ones(8, 2), bootstrap=0).value == 0


def test_constant_and_single_rows() -> None:
    same = torch.ones(6, 3)
    for name, function in DISTANCES.items():
        found = function(same, same, bootstrap=20)
        assert found.value == pytest.approx(0, abs=1e-12), name
        assert function(same, same + 2, bootstrap=20).value >= 0, name
        with pytest.raises(ValueError, match="at least 2 rows"):
            function(same[:1], same)
    two = torch.tensor([[0.0], [1.0]])
    for name in ("MMD", "energy distance", "CORAL", "sliced Wasserstein", "Sinkhorn divergence", "Frechet distance"):
        found = DISTANCES[name](two, two + 3, bootstrap=40)  # half of the resamples are one row twice
        assert math.isfinite(found.low), name
        assert found.low <= found.high, name


@pytest.mark.parametrize("name", DISTANCES)
def test_what_cannot_be_compared_is_said(name: str) -> None:
    function, x = DISTANCES[name], np.eye(6)
    own = function.__name__
    for wrong, words in (
        ({"target": np.eye(5)}, "one size"),
        ({"target": np.full((6, 6), np.nan)}, "NaN"),
        ({"bootstrap": 5}, "bootstrap"),
        ({"level": 0.0}, "level"),
        ({"most": 1}, "most"),
    ):
        with pytest.raises(ValueError, match=f"^{own}.*{words}"):
            function(**{"source": x, "target": x, **wrong})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="numbers"):
        function(x, np.array([["a"]]))


@pytest.mark.parametrize(
    ("function", "settings"),
    [(kernel_distance, {"kernels": 0}), (kernel_distance, {"bandwidth": 0.0}), (kernel_distance, {"bandwidth": -1.0})],
)
def test_settings_out_of_range_are_said(function: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="kernel_distance needs"):
        function(np.eye(4), np.eye(4), **settings)


@pytest.mark.parametrize("folds", [1, 5])
def test_folds_need_a_row_of_each_domain(folds: int) -> None:
    with pytest.raises(ValueError, match="proxy_a_distance needs 2 folds"):
        proxy_a_distance(np.eye(4), np.eye(4), folds=folds)


@pytest.mark.parametrize("name", DISTANCES)
def test_the_same_seed_gives_the_same_and_the_global_state_stays(name: str) -> None:
    x, y = gaussians(40, 30, shift=1.0)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (DISTANCES[name](x, y, bootstrap=40, most=25, seed=s) for s in (0, 0, 1))
    assert (torch.get_rng_state() == state).all()
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert (first.value, first.low, first.high) == (again.value, again.low, again.high)
    assert (first.value, first.low, first.high) != (other.value, other.low, other.high)
    assert (first.n_source, first.n_target) == (25, 25)
    assert "25 of 40 source rows" in first.note


@pytest.mark.parametrize("name", DISTANCES)
def test_a_shift_is_seen_and_a_larger_one_is_further(name: str) -> None:
    near, far = (DISTANCES[name](*gaussians(150, 120, shift=2 * s, scale=1 + s / 2, seed=1)) for s in (1, 2))
    assert 0 < near.low < near.value < far.value
    assert near.low <= near.high
    assert near.level == 0.95
    none = DISTANCES[name](*gaussians(150, 120, seed=1))
    assert none.low == 0
    assert none.value < near.value


@pytest.mark.parametrize("name", DISTANCES)
def test_kinds_of_array_change_nothing(name: str) -> None:
    x, y = gaussians(30, 20, 4, shift=1.0)
    first = DISTANCES[name](x, y, bootstrap=0)
    again = DISTANCES[name](x.reshape(30, 2, 2).numpy(), y.numpy()[::1].tolist(), bootstrap=0)
    assert first.value == pytest.approx(again.value, rel=1e-5)


COVERAGE = {  # for x ~ N(0, I), y ~ N((1, 0), 2.25 I) in two dimensions
    "energy distance": None,
    "CORAL": 2 * 1.25**2 / 16,
    "Frechet distance": 1 + 2 * 0.25,
}


@pytest.mark.parametrize("name", COVERAGE)
def test_intervals_cover_the_distance_of_the_distributions(name: str) -> None:
    truth = COVERAGE[name]
    if truth is None:
        truth = energy_distance(*gaussians(3000, 3000, 2, shift=1.0, scale=1.5, seed=9), bootstrap=0, most=3000).value
    covered, above, runs = 0, 0, 60
    for run in range(runs):
        x, y = gaussians(80, 60, 2, shift=1.0, scale=1.5, seed=run)
        found = DISTANCES[name](x, y, bootstrap=100, level=0.9, seed=run)
        covered += found.low <= truth <= found.high
        above += found.low > truth
    assert covered >= 45  # of 54; P(below 45 | 60, 0.9) = 0.0009
    assert above <= 9


@pytest.mark.parametrize("name", ["MMD", "energy distance", "CORAL", "sliced Wasserstein", "Sinkhorn divergence"])
def test_without_a_shift_intervals_begin_at_zero(name: str) -> None:
    false = 0
    for run in range(15):
        x, y = gaussians(60, 50, 20, seed=run)  # high enough for the bias of a plain bootstrap to rule
        false += DISTANCES[name](x, y, bootstrap=60, seed=run).low > 0
    assert false <= 2


def test_all_of_them_at_once() -> None:
    x, y = gaussians(50, 40, shift=1.0)
    found = distances(x, y, bootstrap=20, seed=3)
    assert isinstance(found, Distances)
    assert [d.name for d in found] == list(DISTANCES)
    assert len(found) == len(DISTANCES)
    for name, function in DISTANCES.items():
        alone = function(x, y, bootstrap=20, seed=3)
        assert (found[name].value, found[name].low) == (alone.value, alone.low)
        assert isinstance(found[name], Distance)
    few = distances(x, y, names=["MMD", "CORAL"], bootstrap=20, most=30, level=0.5)
    assert [(d.name, d.n_source, d.level) for d in few] == [("MMD", 30, 0.5), ("CORAL", 30, 0.5)]
    assert [row["distance"] for row in few.rows()] == ["MMD", "CORAL"]
    assert few.rows()[0]["value"] == few["MMD"].value
    with pytest.raises(ValueError, match="CORAL"):
        distances(x, y, names=["coral"])
    with pytest.raises(KeyError, match="MMD"):
        few["MMDs"]


@pytest.mark.parametrize("bootstrap", [0, 20])
def test_the_plot_names_every_distance_with_its_numbers(bootstrap: int) -> None:
    found = distances(*gaussians(50, 40, shift=1.0), bootstrap=bootstrap)
    ax = found.plot()
    assert [t.get_text() for t in ax.get_yticklabels()] == list(DISTANCES)
    texts = [t.get_text() for t in ax.texts]
    assert len(texts) == len(DISTANCES)
    assert all(f"{d.value:.3g}" in text for d, text in zip(found, texts, strict=True))
    assert found.plot(ax) is ax


def test_the_interval_of_the_proxy_a_distance_covers_no_distance() -> None:
    """200 pairs without a shift: few of 95% intervals may begin above 0 (verdicts taken as independent: 13)."""
    above = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        above += proxy_a_distance(random.normal(size=(60, 3)), random.normal(size=(60, 3)), seed=seed).low > 0
    assert above <= binom.ppf(0.99, 200, 0.025)


def test_settings_of_another_kind_meet_a_sentence() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=r"or none for the median; got .*bandwidth='median'"):
        kernel_distance(rows, rows, bandwidth="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"most as a whole number >= 2; got 50\.0"):
        energy_distance(rows, rows, most=50.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 folds or more"):
        proxy_a_distance(rows, rows, folds=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overflows"):
        kernel_distance(1e160 * rows, 1e160 * rows)
    assert kernel_distance(rows, rows + 1, bandwidth=np.float32(2), seed=np.int64(0)).value > 0
