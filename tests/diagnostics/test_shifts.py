"""Shift by feature and by class: statistics and corrections against loops and scipy, levels, pictures, and oddities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom, false_discovery_control, ks_2samp

from landbridge.diagnostics import (
    adjusted_p_values,
    class_shift,
    energy_test,
    feature_shift,
    kernel_test,
    shifts,
)
from landbridge.shared.seeds import derive_seed

Rows = np.ndarray[Any, np.dtype[np.float64]]


def drawn(n: int, d: int, seed: int) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, d))


def slow_holm(p_values: list[float]) -> list[float]:
    adjusted = []
    for p in p_values:  # the smallest level at which stepping down rejects it
        smaller = sorted(q for q in p_values if q <= p)
        adjusted.append(min(1.0, max((len(p_values) - rank) * q for rank, q in enumerate(smaller))))
    return adjusted


def test_corrections_against_the_procedures() -> None:
    chance = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        p = chance.uniform(size=m) ** 3
        np.testing.assert_allclose(adjusted_p_values(p), slow_holm(p.tolist()), rtol=1e-12)
        np.testing.assert_allclose(adjusted_p_values(p, "benjamini-hochberg"), false_discovery_control(p), rtol=1e-12)
        assert (adjusted_p_values(p) >= p).all()
        assert (adjusted_p_values(p) >= adjusted_p_values(p, "benjamini-hochberg")).all()
    assert adjusted_p_values([0.2, 0.2, 0.001]).tolist() == [0.4, 0.4, 0.003]


def test_each_feature_is_tested_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "COLUMNS", 3)  # several turns
    x, y = drawn(30, 7, 0), drawn(45, 7, 1) * 1.5 + 0.3
    found = feature_shift(x, y, correction="benjamini-hochberg")
    assert (found.n_source, found.n_target, found.correction) == (30, 45, "benjamini-hochberg")
    assert found.names == tuple(f"feature {j}" for j in range(7))
    for j in range(7):
        a, b = x[:, j], y[:, j]
        points = np.concatenate([a, b])
        largest = max(abs((a <= u).mean() - (b <= u).mean()) for u in points)
        assert found.statistic[j] == pytest.approx(largest, rel=1e-12)
        assert found.p_values[j] == pytest.approx(ks_2samp(a, b, method="exact").pvalue, rel=1e-9)
        pooled = np.sqrt((29 * a.var(ddof=1) + 44 * b.var(ddof=1)) / 73)
        assert found.mean_difference[j] == pytest.approx((b.mean() - a.mean()) / pooled, rel=1e-12)
        assert found.spread_ratio[j] == pytest.approx(b.std(ddof=1) / a.std(ddof=1), rel=1e-12)
    np.testing.assert_allclose(found.adjusted, false_discovery_control(found.p_values), rtol=1e-12)
    assert found.p_value == found.adjusted.min()


def test_many_rows_have_asymptotic_p_values_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = drawn(300, 3, 0), drawn(280, 3, 1) + 0.1
    exact = feature_shift(x, y)
    monkeypatch.setattr(shifts, "EXACT_ROWS", 299)
    rough = feature_shift(x, y)
    assert (rough.p_values != exact.p_values).all()
    np.testing.assert_allclose(rough.p_values, exact.p_values, rtol=0.1)


def test_the_shifted_features_are_named_in_order() -> None:
    x, y = drawn(200, 5, 0), np.add(drawn(200, 5, 1), [0, 1, 0, 3, 0])
    found = feature_shift(x, y, names=["a", "b", "c", "d", "e"])
    assert found.shifted() == ["d", "b"]
    assert found.shifted(0.0) == []
    rows = found.rows()
    assert [row["feature"] for row in rows][:2] == ["d", "b"]
    assert rows[0]["mean_difference"] == pytest.approx(3, abs=0.3)
    assert rows[0]["adjusted"] >= rows[0]["p_value"]
    assert set(rows[0]) == {"feature", "statistic", "p_value", "adjusted", "mean_difference", "spread_ratio"}


def test_holm_holds_the_chance_of_any_false_alarm() -> None:
    trials = 200
    alarms = sum(bool(feature_shift(drawn(25, 6, s), drawn(20, 6, 1000 + s)).shifted()) for s in range(trials))
    assert alarms <= binom.ppf(0.999, trials, 0.05)


def test_constant_features() -> None:
    x = np.column_stack([np.full(13, 0.1), np.full(13, 0.1), np.arange(13.0), np.full(13, 2.0)])
    y = np.column_stack([np.full(7, 0.1), np.full(7, 0.3), np.full(7, 6.0), np.full(7, 1.0)])
    found = feature_shift(x, y)
    assert (found.statistic[0], found.p_values[0], found.mean_difference[0], found.spread_ratio[0]) == (0, 1, 0, 1)
    assert (found.statistic[1], found.mean_difference[1], found.spread_ratio[1]) == (1, np.inf, 1)
    assert (found.mean_difference[2], found.spread_ratio[2]) == (0, 0)
    assert found.mean_difference[3] == -np.inf
    assert found.shifted() == ["feature 1", "feature 3"]
    back = feature_shift(y, x)
    assert back.spread_ratio[2] == np.inf


def test_whole_numbers_tensors_and_more_features_than_rows() -> None:
    x = torch.randint(0, 100, (8, 3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = feature_shift(x, x + 100)
    assert found.statistic.shape == (15,)
    assert found.statistic.min() == 1.0
    assert feature_shift(x, x).p_value == 1.0


def test_the_picture_of_features_shows_the_largest() -> None:
    found = feature_shift(drawn(100, 6, 0), np.add(drawn(100, 6, 1), [0, 0, 2, 0, 1, 0]), names=list("abcdef"))
    ax = found.plot(most=4)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["c", "e"]
    assert len(ax.patches) == 4
    assert [bar.get_width() for bar in ax.patches] == sorted(found.statistic, reverse=True)[:4]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert ax.get_title(loc="left") == "2 of 6 features shifted, in colour\nfalse alarms at most 0.05 (holm)"
    assert found.plot(ax) is ax


def classes_of(n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(n) % 3


@pytest.mark.parametrize(("name", "test"), [("kernel", kernel_test), ("energy", energy_test)])
def test_each_class_is_tested_by_itself(name: Any, test: Any) -> None:
    x, y = drawn(60, 2, 4), drawn(45, 2, 5)
    of_x, of_y = classes_of(60), classes_of(45)
    y[of_y == 1] += 2
    found = class_shift(x, of_x, y, of_y, names=["cat", "dog", "cow"], test=name, seed=7, permutations=99)
    assert found.names == ("cat", "dog", "cow")
    for number, one in enumerate(found.tests):
        own = test(x[of_x == number], y[of_y == number], permutations=99, seed=derive_seed("class_shift", 7, number))
        assert (one.statistic, one.p_value) == (own.statistic, own.p_value)
        assert (one.n_source, one.n_target) == (20, 15)
    assert found.adjusted.tolist() == adjusted_p_values([one.p_value for one in found.tests]).tolist()
    assert found.shifted() == ["dog"]
    assert found.p_value == found.adjusted[1]
    assert found.rows()[1] == {
        "class": "dog",
        "statistic": found.tests[1].statistic,
        "p_value": 0.01,
        "adjusted": pytest.approx(0.03),
        "n_source": 20,
        "n_target": 15,
    }


def test_permutations_are_enough_for_the_correction() -> None:
    classes = np.repeat(np.arange(12), 8)
    x, y = drawn(96, 1, 0), drawn(96, 1, 1)
    y[classes == 4] += 50
    found = class_shift(x, classes, y, classes)
    assert len(found.tests[0].null) == 480
    assert found.shifted() == ["4"]
    few = class_shift(x[:40], classes[:40], y[:40], classes[:40])
    assert len(few.tests[0].null) == 200


def test_classes_of_few_rows_or_of_one_domain_are_skipped_and_listed() -> None:
    x, y = drawn(30, 2, 0), drawn(20, 2, 1)
    found = class_shift(x, [0] * 20 + [1] * 10, y, [0] * 14 + [1] * 4 + [5] * 2, permutations=19)
    assert found.names == ("0",)
    assert found.skipped == {
        "1": "10 rows in the source and 4 in the target; 5 are needed",
        "5": "0 rows in the source and 2 in the target; 5 are needed",
    }
    assert class_shift(x, [0] * 20 + [1] * 10, y, [0] * 14 + [1] * 6, least=10, permutations=19).names == ("0",)
    with pytest.raises(ValueError, match=r"class_shift needs a class with at least 5 rows in both.*class 0: 30 rows"):
        class_shift(x, [0] * 30, y, [1] * 20)


def test_holm_over_classes_holds_the_chance_of_any_false_alarm() -> None:
    trials, classes = 60, classes_of(21)
    runs = [
        class_shift(drawn(21, 1, s), classes, drawn(21, 1, 1000 + s), classes, permutations=119, seed=s)
        for s in range(trials)
    ]
    assert sum(bool(run.shifted()) for run in runs) <= binom.ppf(0.999, trials, 0.05)


def test_the_picture_of_classes_shows_each_beside_its_permutations() -> None:
    x, y = drawn(60, 2, 0), drawn(60, 2, 1)
    classes = classes_of(60)
    y[classes == 2] += 3
    found = class_shift(x, classes, y, classes, names=["cat", "dog", "cow"])
    ax = found.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "cow"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == [one.statistic for one in found.tests]
    assert dots[0].get_color() == dots[1].get_color() != dots[2].get_color()
    bars = [line for line in ax.lines if line.get_marker() != "o"]
    np.testing.assert_allclose(bars[0].get_xdata(), np.quantile(found.tests[0].null, [0.025, 0.975]))
    assert ax.get_title(loc="left") == "1 of 3 classes shifted, in colour\nfalse alarms at most 0.05 (holm)"


def test_bad_input_meets_a_sentence() -> None:
    x, y, of_x, of_y = drawn(10, 2, 0), drawn(12, 2, 1), np.zeros(10, int), np.zeros(12, int)
    with pytest.raises(ValueError, match="feature_shift: unknown correction 'holms'; did you mean 'holm'"):
        feature_shift(x, y, correction="holms")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one name a feature, 2 of them; got 1"):
        feature_shift(x, y, names=["a"])
    with pytest.raises(ValueError, match="feature_shift needs at least 2 rows"):
        feature_shift(x[:1], y)
    with pytest.raises(ValueError, match="class_shift: unknown test 'kernels'"):
        class_shift(x, of_x, y, of_y, test="kernels")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown correction 'bh'"):
        class_shift(x, of_x, y, of_y, correction="bh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="least as a whole number, at least 2; got 1"):
        class_shift(x, of_x, y, of_y, least=1)
    with pytest.raises(ValueError, match=r"one entry of target_classes a row, shape \(12,\); got \(10,\)"):
        class_shift(x, of_x, y, of_x)
    with pytest.raises(ValueError, match="target_classes as class numbers from 0 to 0; got 1 to 1"):
        class_shift(x, of_x, y, of_y + 1, names=["a"])
    with pytest.raises(ValueError, match="a name of its own for each of 2 classes; got 'a' twice"):
        class_shift(x, of_x, y, of_y + 1, names=["a", "a"])
    for wrong in ([], [0.5, 1.5], [-0.1], [[0.5]], [np.nan]):
        with pytest.raises(ValueError, match="p-values between 0 and 1"):
            adjusted_p_values(wrong)  # type: ignore[arg-type]
