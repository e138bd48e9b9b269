"""The witness against loops and the MMD, densities against loops, and what the pictures say."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import ks_2samp

from landbridge.diagnostics.witness import Witness, witness
from landbridge.mmd import GaussianKernel, MultiGaussianKernel, mmd2

FILE = sys.modules["landbridge.diagnostics.witness"]  # by its name one gets the function


def domains(n: int = 30, m: int = 20, d: int = 4, shift: float = 0.7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    moved = np.zeros(d)
    moved[d // 2] = shift
    return chance.normal(size=(n, d)), chance.normal(size=(m, d)) + moved


def slow(x: np.ndarray, y: np.ndarray, gamma: float) -> tuple[list[float], list[float]]:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / gamma)

    def mean(rows: np.ndarray, at: np.ndarray, without: int | None = None) -> float:
        values = [k(row, at) for i, row in enumerate(rows) if i != without]
        return sum(values) / len(values)

    source = [mean(x, at, without=i) - mean(y, at) for i, at in enumerate(x)]
    target = [mean(x, at) - mean(y, at, without=j) for j, at in enumerate(y)]
    return source, target


def test_the_values_are_those_of_loops() -> None:
    x, y = domains()
    found = witness(x, y, kernel=GaussianKernel(3.0))
    source, target = slow(x, y, 3.0)
    np.testing.assert_allclose(found.source, source, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.target, target, rtol=1e-10, atol=1e-13)
    assert found.bandwidth == 3.0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = domains()
    whole = witness(x, y)
    monkeypatch.setattr(FILE, "BLOCK", 7)
    monkeypatch.setattr(FILE, "COLUMNS", 1)
    parts = witness(x, y)
    np.testing.assert_allclose(parts.source, whole.source, rtol=1e-12)
    assert [profile.name for profile in parts.profiles] == [profile.name for profile in whole.profiles]


@pytest.mark.parametrize("kernel", [None, GaussianKernel("mean"), MultiGaussianKernel()])
def test_its_means_differ_by_the_unbiased_mmd(kernel: Any) -> None:
    x, y = domains()
    found = witness(x, y, kernel=kernel)
    expected = mmd2(torch.from_numpy(x), torch.from_numpy(y), kernel or MultiGaussianKernel(), "unbiased")
    assert found.mmd2 == pytest.approx(float(expected), rel=1e-9)


def test_swapping_the_domains_changes_the_sign() -> None:
    x, y = domains()
    there, back = witness(x, y), witness(y, x)
    np.testing.assert_allclose(there.source, -back.target, rtol=1e-12)
    assert there.profiles[0].gap == pytest.approx(back.profiles[0].gap)


def test_the_rows_that_one_domain_alone_has() -> None:
    chance = np.random.default_rng(0)
    common = chance.normal(size=(60, 3))
    x = np.concatenate([common[:30], chance.normal(size=(5, 3)) * 0.1 + 8])
    y = np.concatenate([chance.normal(size=(4, 3)) * 0.1 - 8, common[30:]])
    found = witness(x, y, kernel=GaussianKernel(4.0))
    assert set(found.only_source(5).tolist()) == {30, 31, 32, 33, 34}
    assert set(found.only_target(4).tolist()) == {0, 1, 2, 3}
    assert found.source[found.only_source(1)[0]] == found.source.max()


def test_of_many_rows_some_are_drawn_and_named_by_their_numbers() -> None:
    x, y = domains(100, 90)
    x[17] += 100.0
    found = witness(x, y, most=40, seed=2, directions=1)
    assert found.note == "40 of 100 source rows and 40 of 90 target rows, drawn with seed 2"
    assert len(found.source) == len(found.source_rows) == 40
    assert set(found.only_source(40).tolist()) == set(found.source_rows.tolist())
    again = witness(x, y, most=40, seed=2)
    assert np.array_equal(found.source, again.source)
    assert not np.array_equal(found.source_rows, witness(x, y, most=40, seed=3).source_rows)


def test_of_very_many_rows_the_bandwidth_is_that_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = domains(200, 100, d=8)
    whole = witness(x, y, directions=0).bandwidth
    monkeypatch.setattr(FILE, "PAIRED", 60)
    some = witness(x, y, directions=0).bandwidth
    assert some != whole
    assert some == pytest.approx(whole, rel=0.2)


def test_the_most_shifted_features_come_first() -> None:
    x, y = domains(80, 60, d=6, shift=3.0)
    y[:, 1] += 1.0
    found = witness(x, y, names=list("abcdef"), directions=6)
    assert [profile.name for profile in found.profiles][:2] == ["d", "b"]
    for profile in found.profiles:
        column = "abcdef".index(profile.name)
        assert profile.gap == pytest.approx(ks_2samp(x[:, column], y[:, column]).statistic)
    gaps = [profile.gap for profile in found.profiles]
    assert gaps == sorted(gaps, reverse=True)


def test_equal_values_are_compared_after_all_of_them() -> None:
    chance = np.random.default_rng(0)
    x, y = chance.integers(0, 3, (40, 5)), chance.integers(0, 4, (30, 5))
    for profile in witness(x, y, directions=5).profiles:
        column = int(profile.name.split()[1])
        assert profile.gap == pytest.approx(ks_2samp(x[:, column], y[:, column]).statistic)


def slow_density(rows: np.ndarray, at: float, width: float) -> float:
    values = [math.exp(-((at - row) ** 2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi)) for row in rows]
    return sum(values) / len(values)


@pytest.mark.parametrize("power", [1.0, 3.0])  # of the second the quartiles are narrow for its standard deviation
def test_the_densities_are_those_of_loops(power: float) -> None:
    x, y = (np.sign(rows) * abs(rows) ** power for rows in domains(30, 20, d=1))
    (profile,) = witness(x, y).profiles
    pooled = np.concatenate([x, y])[:, 0]
    first, third = np.quantile(pooled, [0.25, 0.75])
    width = 0.9 * min(pooled.std(ddof=1), (third - first) / 1.34) * 20**-0.2
    for place in range(0, 200, 33):
        at = profile.grid[place]
        assert profile.source[place] == pytest.approx(slow_density(x[:, 0], at, width), rel=1e-10)
        assert profile.target[place] == pytest.approx(slow_density(y[:, 0], at, width), rel=1e-10)
        assert profile.witness[place] == profile.source[place] - profile.target[place]


def test_the_densities_integrate_to_about_one() -> None:
    x, y = domains(500, 300, d=3)
    for profile in witness(x, y).profiles:
        for values in (profile.source, profile.target):
            assert trapezoid(values, profile.grid) == pytest.approx(1, abs=0.02)


def test_principal_directions_are_those_of_the_pooled_rows() -> None:
    x, y = domains(60, 60, d=3)
    x[:, 1] *= 10
    y[:, 1] = y[:, 1] * 10 + 40
    found = witness(x, y, along="principal", directions=2)
    assert [profile.name for profile in found.profiles] == ["principal direction 1", "principal direction 2"]
    assert found.profiles[0].gap == pytest.approx(ks_2samp(x[:, 1], y[:, 1]).statistic, abs=0.1)
    assert found.profiles[0].gap > found.profiles[1].gap


@pytest.mark.parametrize("along", ["features", "principal"])
def test_no_directions(along: Any) -> None:
    found = witness(*domains(), along=along, directions=0)
    assert found.profiles == ()
    assert len(found.figure().axes) == 1


def test_more_directions_than_there_are() -> None:
    x, y = domains(d=2)
    assert len(witness(x, y, directions=9).profiles) == 2
    assert len(witness(x, y, directions=9, along="principal").profiles) == 2


def test_the_global_random_state_stays(keeps_random_state: None) -> None:
    witness(*domains(), most=10)


def check_finite(found: Witness) -> None:
    assert np.isfinite(found.source).all()
    assert np.isfinite(found.target).all()
    for profile in found.profiles:
        assert np.isfinite(profile.source).all()
        assert (np.diff(profile.grid) > 0).all()
    found.figure()


@pytest.mark.parametrize("along", ["features", "principal"])
def test_constant_features(along: Any) -> None:
    same = witness(np.ones((5, 2)), np.ones((4, 2)), along=along)
    check_finite(same)
    assert same.mmd2 == 0
    apart = witness(np.zeros((5, 2)), np.ones((4, 2)), along=along)
    check_finite(apart)
    assert apart.mmd2 > 0
    assert apart.profiles[0].gap == pytest.approx(1, rel=1e-12)


def test_the_fewest_rows_and_features_of_mostly_one_value() -> None:
    check_finite(witness([[0.0], [1.0]], [[2.0], [3.0]]))
    mostly = np.zeros((50, 2))
    mostly[:3] = 1.0
    check_finite(witness(mostly, mostly[::-1] * 2))


def test_the_pictures() -> None:
    x, y = domains(60, 50, shift=3.0)
    found = witness(x, y, names=["a", "b", "c", "d"], directions=2)
    ax = found.plot()
    assert ax.get_title(loc="left").endswith(f"(MMD², unbiased: {found.mmd2:.3g})")
    heights = [sum(bar.get_height() for bar in container) for container in ax.containers]
    np.testing.assert_allclose(heights, [100, 100])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "source rows",
        "target rows",
        "as many of both",
    ]
    profile = found.profiles[0]
    drawn = profile.plot()
    assert drawn.get_xlabel() == "c"
    assert drawn.get_title(loc="left") == (
        f"c: shaded where one domain has more\n(Kolmogorov-Smirnov distance {profile.gap:.2f})"
    )
    np.testing.assert_allclose(drawn.lines[0].get_ydata(), profile.source)
    np.testing.assert_allclose(drawn.lines[1].get_ydata(), profile.target)
    assert [a.get_xlabel() for a in found.figure().axes][1:] == ["c", found.profiles[1].name]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"along": "feature"}, ValueError, "witness: .*features"),
        ({"directions": -1}, ValueError, "witness needs directions as a whole number >= 0; got -1"),
        ({"most": 1}, ValueError, "witness needs most as a whole number >= 2; got 1"),
        ({"names": ["a"]}, ValueError, "witness needs one name a feature, 2 of them; got 1"),
        ({"kernel": "rbf"}, TypeError, "witness needs a kernel object that works on distances; got str"),
        ({"source": [[1.0, 2.0]]}, ValueError, "at least 2 rows"),
        ({"target": [["a", "b"], ["c", "d"]]}, TypeError, "witness needs target as numbers"),
    ],
)
def test_what_does_not_fit(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"source": [[0.0, 1.0], [1.0, 0.0]], "target": [[0.0, 1.0], [1.0, 0.0]]}
    with pytest.raises(error, match=message):
        witness(**{**given, **changed})


@pytest.mark.parametrize("scale", [1e18, 1e22, 1e-30])
def test_any_scale_gives_the_same_answer(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    plain, scaled = (witness((s * x).astype(np.float32), (s * y).astype(np.float32)) for s in (1, scale))
    np.testing.assert_allclose(scaled.source, plain.source, atol=1e-5)
    assert scaled.bandwidth == pytest.approx(plain.bandwidth * scale * scale, rel=1e-4)
    fixed = MultiGaussianKernel(plain.bandwidth * scale * scale)  # in the rows' own units
    found = witness((scale * x).astype(np.float32), (scale * y).astype(np.float32), kernel=fixed)
    np.testing.assert_allclose(found.source, plain.source, atol=1e-5)
    with pytest.raises(ValueError, match="witness overflows"):
        witness(1e160 * x, 1e160 * y)
