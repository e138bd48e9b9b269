"""The kernel and the energy test: against loops, at their level, with power, and on what is awkward."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom, energy_distance

from landbridge.diagnostics import energy_test, kernel_test, two_sample
from landbridge.diagnostics.blocks import labellings
from landbridge.diagnostics.results import TwoSampleTest
from landbridge.shared.checks import NonFiniteError
from landbridge.shared.seeds import generator

Rows = np.ndarray[Any, np.dtype[np.float64]]
TESTS = [(kernel_test, "exact"), (kernel_test, "random-features"), (kernel_test, "linear")]
TESTS += [(energy_test, "exact"), (energy_test, "random-projections"), (energy_test, "linear")]


def drawn(n: int, d: int, seed: int, shift: float = 0.0) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def unbiased_mmd2(x: Rows, y: Rows, gamma: float) -> float:
    """Equation 3 of Gretton et al., with the mean of five kernels."""

    def k(a: Rows, b: Rows) -> float:
        return sum(math.exp(-sum((a - b) ** 2) / (gamma * f)) for f in (1 / 4, 1 / 2, 1, 2, 4)) / 5

    within = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (len(x) * (len(x) - 1))
    target = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (len(y) * (len(y) - 1))
    return within + target - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def energy(x: Rows, y: Rows) -> float:
    def mean(one: Rows, other: Rows) -> float:
        return sum(math.sqrt(sum((a - b) ** 2)) for a in one for b in other) / (len(one) * len(other))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def median_of_pairs(rows: Rows) -> float:
    values = sorted(float(sum((rows[i] - rows[j]) ** 2)) for i in range(len(rows)) for j in range(i))
    return values[(len(values) - 1) // 2]


@pytest.mark.parametrize("test", [kernel_test, energy_test])
@pytest.mark.parametrize(("n_s", "n_t", "d"), [(8, 8, 2), (6, 11, 1), (5, 3, 12)])
def test_statistic_permutations_and_p_value_against_loops(
    test: Callable[..., TwoSampleTest], n_s: int, n_t: int, d: int
) -> None:
    x, y = drawn(n_s, d, 0), drawn(n_t, d, 1, 0.5)
    rows = np.concatenate([x, y])
    gamma = median_of_pairs(rows)
    slow = energy if test is energy_test else lambda a, b: unbiased_mmd2(a, b, gamma)
    found = test(x, y, permutations=19, seed=3)
    chosen = labellings(n_s, n_t, 19, generator("permutations", 3)).numpy()
    expected = [slow(rows[chosen[:, b]], rows[~chosen[:, b]]) for b in range(20)]
    assert found.statistic == pytest.approx(expected[0], rel=1e-9)
    np.testing.assert_allclose(found.null, expected[1:], rtol=1e-9, atol=1e-14)
    hits = sum(value >= expected[0] - 1e-12 for value in expected[1:])
    assert found.p_value == (1 + hits) / 20
    assert (found.n_source, found.n_target, found.note) == (n_s, n_t, "")


def test_given_bandwidth_and_number_of_kernels_are_used() -> None:
    x, y = drawn(6, 2, 0), drawn(7, 2, 1, 0.5)
    assert kernel_test(x, y, bandwidth=3.0).statistic == pytest.approx(unbiased_mmd2(x, y, 3.0), rel=1e-10)
    assert kernel_test(x, y, bandwidth=3).statistic == kernel_test(x, y, bandwidth=3.0).statistic
    single = kernel_test(x, y, bandwidth=3.0, kernels=1).statistic
    k = np.exp(-((x[:, None] - y) ** 2).sum(2) / 3.0).mean()
    within = [(np.exp(-((z[:, None] - z) ** 2).sum(2) / 3.0).sum() - len(z)) / (len(z) * (len(z) - 1)) for z in (x, y)]
    assert single == pytest.approx(within[0] + within[1] - 2 * k, rel=1e-10)


def test_energy_of_one_feature_is_the_square_of_scipys() -> None:
    x, y = drawn(30, 1, 0), drawn(20, 1, 1, 0.3)
    assert energy_test(x, y).statistic == pytest.approx(energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-10)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_linear_time_reads_each_row_at_most_once_and_turns_signs(test: Callable[..., TwoSampleTest]) -> None:
    x, y = drawn(9, 3, 0), drawn(7, 3, 1, 0.5)  # 3 quadruples
    gamma = 4.0
    settings: dict[str, Any] = {"bandwidth": gamma} if test is kernel_test else {}
    found = test(x, y, estimator="linear", permutations=30, seed=2, **settings)
    numbers = generator("quadruples", 2)
    of_source = torch.randperm(9, generator=numbers).tolist()
    of_target = torch.randperm(7, generator=numbers).tolist()

    def k(a: Rows, b: Rows) -> float:
        squared = float(((a - b) ** 2).sum())
        if test is energy_test:
            return -math.sqrt(squared)
        return sum(math.exp(-squared / (gamma * f)) for f in (1 / 4, 1 / 2, 1, 2, 4)) / 5

    terms = []
    for i in range(3):
        x1, x2, y1, y2 = x[of_source[i]], x[of_source[3 + i]], y[of_target[i]], y[of_target[3 + i]]
        terms.append(k(x1, x2) + k(y1, y2) - k(x1, y2) - k(x2, y1))
    assert found.statistic == pytest.approx(sum(terms) / 3, rel=1e-9)
    patterns = {
        round(abs(a * terms[0] + b * terms[1] + c * terms[2]) / 3, 10)
        for a in (1, -1)
        for b in (1, -1)
        for c in (1, -1)
    }
    assert {round(abs(value), 10) for value in found.null} <= patterns
    assert len(np.unique(found.null.round(10))) > 3
    assert (found.n_source, found.n_target) == (6, 6)
    assert "3 quadruples" in found.note


@pytest.mark.parametrize(("test", "estimator"), TESTS)
@pytest.mark.parametrize("kind", ["gaussian", "unequal", "whole numbers"])
def test_false_alarms_come_no_more_often_than_the_level(
    test: Callable[..., TwoSampleTest], estimator: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sample, "FREQUENCIES", 20)
    monkeypatch.setattr(two_sample, "PROJECTIONS", 3)
    trials, alarms, p_values = 200, 0, []
    n_s, n_t = (10, 10) if kind == "gaussian" else (7, 16)
    for trial in range(trials):
        chance = np.random.default_rng(trial)
        rows = chance.normal(size=(n_s + n_t, 2))
        if kind == "whole numbers":
            rows = rows.round()  # ties among the statistics must count as hits
        p = test(rows[:n_s], rows[n_s:], permutations=19, estimator=estimator, seed=trial).p_value
        p_values.append(p)
        alarms += p <= 0.05
    assert alarms <= binom.ppf(0.999, trials, 0.05)
    assert sum(p <= 0.5 for p in p_values) <= binom.ppf(0.999, trials, 0.5)
    if kind != "whole numbers":  # and the level is used: p-values are not only large
        assert sum(p <= 0.5 for p in p_values) >= binom.ppf(0.001, trials, 0.5)


@pytest.mark.parametrize(("test", "estimator"), TESTS)
def test_power_grows_with_the_shift(test: Callable[..., TwoSampleTest], estimator: str) -> None:
    n = 400 if estimator == "linear" else 40
    shares = []
    for shift in (0.0, 0.5, 2.5):
        pairs = [(drawn(n, 2, s), drawn(n, 2, 100 + s, shift)) for s in range(12)]
        runs = [test(x, y, permutations=39, estimator=estimator) for x, y in pairs]
        shares.append(sum(run.rejects() for run in runs) / 12)
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[2] == 1.0


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_a_change_of_spread_alone_is_seen(test: Callable[..., TwoSampleTest]) -> None:
    assert test(drawn(150, 3, 0), 2 * drawn(150, 3, 1)).rejects(0.01)


@pytest.mark.parametrize(("test", "estimator"), TESTS)
def test_the_same_seed_gives_the_same_bits_and_moves_no_global_state(
    test: Callable[..., TwoSampleTest], estimator: str, keeps_random_state: None
) -> None:
    x, y = drawn(20, 2, 0), drawn(24, 2, 1)
    kept = x.copy()
    first, again = (test(x, y, estimator=estimator, seed=5) for _ in range(2))
    assert (first.statistic, first.p_value) == (again.statistic, again.p_value)
    assert (first.null == again.null).all()
    assert (first.null != test(x, y, estimator=estimator, seed=6).null).any()
    assert (x == kept).all()


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_tensors_are_left_as_they_came(test: Callable[..., TwoSampleTest]) -> None:
    x, y = (torch.from_numpy(drawn(20, 3, seed) + 5).float().requires_grad_() for seed in (0, 1))
    kept = x.detach().clone()
    found = test(x, y)
    assert torch.equal(x, kept)
    assert found.statistic == pytest.approx(test(x.detach().numpy(), y.detach().numpy()).statistic, rel=1e-12)


def test_scale_and_motion_of_both_domains_change_nothing() -> None:
    x, y = drawn(30, 3, 0), drawn(25, 3, 1, 0.4)
    turn = np.linalg.qr(drawn(3, 3, 2))[0]
    kernel, energies = kernel_test(x, y), energy_test(x, y)
    for scale in (1e-140, 1e-30, 1e-3, 1e30):
        moved = kernel_test(scale * (x @ turn + 4), scale * (y @ turn + 4))
        assert moved.statistic == pytest.approx(kernel.statistic, rel=1e-6)
        assert moved.p_value == kernel.p_value
        assert energy_test(scale * (x @ turn + 4), scale * (y @ turn + 4)).statistic == pytest.approx(
            scale * energies.statistic, rel=1e-6
        )


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_swapped_domains_have_the_same_statistic(test: Callable[..., TwoSampleTest]) -> None:
    x, y = drawn(30, 3, 0), drawn(25, 3, 1, 0.4)
    assert test(x, y).statistic == pytest.approx(test(y, x).statistic, rel=1e-9)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_float32_out_of_the_range_of_its_squares(test: Callable[..., TwoSampleTest], scale: float) -> None:
    x, y = ((scale * drawn(600, 2, seed)).astype(np.float32) for seed in (0, 1))
    y = y + np.float32(0.5 * scale)
    assert test(x, y).rejects(0.01)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_float64_that_overflows_is_refused(test: Callable[..., TwoSampleTest]) -> None:
    with pytest.raises(ValueError, match=f"{test.__name__} overflows: its values lie up to .*e\\+2"):
        test(1e200 * drawn(5, 2, 0), 1e200 * drawn(5, 2, 1))


@pytest.mark.parametrize(("test", "estimator"), TESTS)
def test_rows_that_are_all_the_same_are_no_shift(test: Callable[..., TwoSampleTest], estimator: str) -> None:
    found = test(np.full((9, 3), 0.1), np.full((4, 3), 0.1), estimator=estimator)
    assert found.p_value == 1.0
    assert found.statistic == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_two_constants_that_differ_are_a_shift(test: Callable[..., TwoSampleTest]) -> None:
    assert test(np.zeros((20, 1)), np.ones((20, 1))).rejects(0.01)


def test_mostly_equal_rows_have_a_bandwidth() -> None:
    x = np.zeros((30, 1))
    y = np.concatenate([np.zeros((15, 1)), np.ones((15, 1))])  # the median distance of the pool is 0
    assert kernel_test(x, y).rejects(0.01)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_identical_samples_are_no_shift(test: Callable[..., TwoSampleTest]) -> None:
    x = drawn(40, 3, 0)
    found = test(x, x)
    assert found.p_value == 1.0
    if test is energy_test:
        assert found.statistic == pytest.approx(0.0, abs=1e-8)
    else:
        assert found.statistic < 0  # unbiased


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_few_rows_of_many_whole_numbers(test: Callable[..., TwoSampleTest]) -> None:
    chance = np.random.default_rng(0)
    dark, light = chance.integers(0, 100, (5, 3, 8, 8), dtype=np.uint8), chance.integers(100, 256, (6, 3, 8, 8))
    assert test(dark, light).rejects(0.01)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_two_rows_of_each_can_be_tested_and_show_nothing(test: Callable[..., TwoSampleTest]) -> None:
    # of the six labellings two are as far apart as possible, so p is about 1/3
    assert test([[0.0], [0.1]], [[5.0], [5.1]], permutations=999).p_value == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize(
    ("test", "fast", "attribute"),
    [(kernel_test, "random-features", "frequencies"), (energy_test, "random-projections", "directions")],
)
def test_above_the_stated_size_auto_takes_the_fast_estimate_and_says_so(
    test: Callable[..., TwoSampleTest], fast: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = drawn(30, 2, 0), drawn(25, 2, 1)
    assert test(x, y).note == ""
    assert test(x, y).statistic == test(x, y, estimator="exact").statistic
    monkeypatch.setattr(two_sample, "EXACT_ROWS", 55)
    assert test(x, y).note == ""
    monkeypatch.setattr(two_sample, "EXACT_ROWS", 54)
    found = test(x, y)
    assert found.statistic == test(x, y, estimator=fast).statistic
    assert attribute in found.note
    assert test(x, y, estimator="exact").note == ""


@pytest.mark.parametrize("kernels", [1, 4])
def test_many_random_features_come_near_the_exact_statistics(kernels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "FREQUENCIES", 10_000)
    x, y = drawn(40, 3, 0), drawn(30, 3, 1, 0.7)
    exact, near = (kernel_test(x, y, kernels=kernels, estimator=one) for one in ("exact", "random-features"))
    assert near.statistic == pytest.approx(exact.statistic, rel=0.05)
    assert np.corrcoef(near.null, exact.null)[0, 1] > 0.99  # the same permutations


def test_the_documented_size_is_the_one_in_use() -> None:
    assert two_sample.EXACT_ROWS == 20_000
    for test in (kernel_test, energy_test):
        assert "20,000" in str(test.__doc__)


@pytest.mark.parametrize("test", [kernel_test, energy_test])
def test_bad_input_meets_a_sentence(test: Callable[..., TwoSampleTest]) -> None:
    x, y, name = drawn(5, 2, 0), drawn(6, 2, 1), test.__name__
    with pytest.raises(ValueError, match=f"{name} needs at least 2 rows"):
        test(x[:1], y)
    with pytest.raises(ValueError, match=f"{name} compares features of one size"):
        test(x, y[:, :1])
    with pytest.raises(NonFiniteError, match=f"{name} got NaN or inf in target: 1 of 6 rows, the first is row 2"):
        test(x, np.where(np.arange(6)[:, None] == 2, np.nan, y))
    with pytest.raises(ValueError, match=f"{name}: unknown estimator 'exakt'; did you mean 'exact'"):
        test(x, y, estimator="exakt")
    with pytest.raises(ValueError, match=r"at least 19 permutations, or p cannot reach 0.05; got 18"):
        test(x, y, permutations=18)
    with pytest.raises(TypeError, match=r"permutations as a whole number; got 20.0"):
        test(x, y, permutations=20.0)
    with pytest.raises(TypeError, match="seed as a whole number; got None"):
        test(x, y, seed=None)


@pytest.mark.parametrize("bandwidth", [0, -1.0, math.inf, math.nan, "median", True])
def test_a_bandwidth_that_is_none_is_refused(bandwidth: Any) -> None:
    with pytest.raises(ValueError, match=r"bandwidth as a positive number.*Leave it out"):
        kernel_test(drawn(5, 2, 0), drawn(6, 2, 1), bandwidth=bandwidth)


@pytest.mark.parametrize("kernels", [0, 2.0, True])
def test_a_number_of_kernels_that_is_none_is_refused(kernels: Any) -> None:
    with pytest.raises(ValueError, match="kernels as a whole number"):
        kernel_test(drawn(5, 2, 0), drawn(6, 2, 1), kernels=kernels)


@pytest.mark.parametrize("far", [1e5, 1e7])
def test_a_far_row_does_not_switch_the_test_off(far: float) -> None:
    x, y = drawn(600, 5, 0).astype(np.float32), (drawn(600, 5, 1) + 0.5).astype(np.float32)
    x[0] = far
    assert kernel_test(x, y).p_value == kernel_test(x.astype(np.float64), y.astype(np.float64)).p_value < 0.01


def test_an_overflow_is_not_blamed_on_the_bandwidth() -> None:
    with pytest.raises(ValueError, match="kernel_test overflows: its values lie up to"):
        kernel_test(1e153 * drawn(20, 3, 0), 1e153 * drawn(20, 3, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    x, y = (torch.as_tensor(drawn(600, 4, seed)).to(dtype) for seed in (0, 1))
    for test in (kernel_test, energy_test):
        plain = test(x, y, permutations=19)
        with torch.autocast("cpu", torch.bfloat16):
            assert test(x, y, permutations=19).statistic == plain.statistic


def test_numbers_of_numpy_are_taken() -> None:
    x, y = drawn(20, 2, 0), drawn(20, 2, 1)
    found = kernel_test(x, y, bandwidth=np.float32(2), kernels=np.int64(3), permutations=np.int64(19), seed=np.int64(0))
    assert found.p_value == kernel_test(x, y, bandwidth=2.0, kernels=3, permutations=19).p_value
    with pytest.raises(ValueError, match="bandwidth as a positive number, a squared distance; got 'median'"):
        kernel_test(x, y, bandwidth="median")  # type: ignore[arg-type]
