"""Exact copies: counted, tested once where they are repetitions, left alone where rows coincide by nature."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from landbridge.diagnostics import (
    classifier_test,
    decide,
    energy_test,
    feature_shift,
    kernel_distance,
    kernel_test,
    mixture_test,
)
from landbridge.diagnostics.copies import distinct_pair, find_copies


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def found(x, z):
    return find_copies(torch.as_tensor(np.asarray(x, dtype=float)), torch.as_tensor(np.asarray(z, dtype=float)))


def test_copies_within_and_across_are_counted() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    copies = found(x[[0, 0, 0, 1, *range(2, 30)]], x[[1, 1, *range(30, 40)]])
    assert (copies.source, copies.target, copies.across) == (2, 1, 2)
    none = found(x[:20], x[20:])
    assert (none.source, none.target, none.across, none.left_out, none.note) == (0, 0, 0, 0, "")


def test_negative_zero_is_zero_and_long_rows_are_compared_whole() -> None:
    assert found([[0.0, 1.0], [-0.0, 1.0]], [[2.0, 2.0], [3.0, 3.0]]).source == 1
    wide = np.random.default_rng(0).normal(size=(10, 200))
    other = wide.copy()
    other[:, 199] += 1e-9
    assert found(wide[[0, 1, 0]], other).source == 1
    assert found(wide, other).across == 0


@pytest.mark.parametrize("times", [2, 3, 10])
def test_each_of_repeated_rows_is_tested_once(times: int) -> None:
    x, _ = digits()
    copies = found(np.repeat(x[:60], times, 0), np.tile(x[60:120], (times, 1)))
    assert (len(copies.source_rows), len(copies.target_rows)) == (60, 60)
    assert copies.note == f"{120 * (times - 1)} exact copies of other rows of their domain left out"


def test_rows_drawn_with_replacement_are_tested_once() -> None:
    x, _ = digits()
    drawn = x[np.random.default_rng(0).integers(80, size=300)]
    copies = found(drawn, x[900:1200])
    assert len(copies.source_rows) == len(np.unique(drawn, axis=0))
    assert len(copies.target_rows) == 300


def test_copies_split_at_random_stay() -> None:
    x, _ = digits()
    rows = x[np.random.default_rng(0).permutation(np.repeat(np.arange(200), 3))]
    copies = found(rows[:300], rows[300:])
    assert copies.source > 80
    assert copies.across > 150
    assert copies.left_out == 0


def test_rows_of_few_values_stay_shifted_or_not() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((300, 8)) < 0.3).astype(float)
    for share in (0.3, 0.9):
        copies = found(x, (rng.random((300, 8)) < share).astype(float))
        assert copies.source > 100
        assert copies.left_out == 0
    kinds = np.eye(6)[rng.integers(6, size=(300, 2))].reshape(300, 12)  # two categories, one-hot
    assert found(kinds[:150], np.roll(kinds[150:], 1, axis=1)).left_out == 0


def test_repeated_rows_of_few_values_are_found_by_their_common_factor() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((300, 8)) < 0.3).astype(float)
    copies = found(np.repeat(x[:150], 3, 0), x[150:])
    assert len(copies.source_rows) == 150
    kept = np.repeat(x[:150], 3, 0)[copies.source_rows]
    np.testing.assert_array_equal(np.sort(kept, 0), np.sort(x[:150], 0))  # how often each occurs stays
    assert len(copies.target_rows) == 150


def test_nothing_is_thinned_to_nothing() -> None:
    assert found(np.ones((30, 2)), np.ones((20, 2))).left_out == 0
    assert found(np.ones((30, 2)), np.random.default_rng(0).normal(size=(30, 2))).left_out == 0


@pytest.mark.parametrize("test", [kernel_test, energy_test, classifier_test, kernel_distance])
def test_a_test_of_repeated_rows_is_that_of_the_rows(test) -> None:
    x, _ = digits()
    plain, repeated = test(x[:50], x[50:100]), test(np.repeat(x[:50], 3, 0), np.repeat(x[50:100], 3, 0))
    value = "p_value" if hasattr(plain, "p_value") else "low"
    assert getattr(repeated, value) == getattr(plain, value)
    assert "200 exact copies" in repeated.note
    assert "copies" not in plain.note


def test_features_and_mixtures_leave_them_out_too() -> None:
    x, y = digits()
    plain = feature_shift(x[:50], x[50:100])
    repeated = feature_shift(np.repeat(x[:50], 3, 0), np.repeat(x[50:100], 3, 0))
    np.testing.assert_array_equal(plain.adjusted, repeated.adjusted)
    assert "copies" in repeated.note
    mixed = mixture_test(np.repeat(x[:100], 2, 0), np.repeat(y[:100], 2), x[100:200], draws=19)
    assert mixed.test.n_source == 100
    assert "copies" in mixed.test.note


@pytest.mark.parametrize("times", [3, 10])
def test_repetition_makes_no_false_alarms(times: int) -> None:
    """17 and 20 of 20 verdicts were false alarms."""
    x, y = digits()
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(x))[:120]
        s, t = np.repeat(rows[:60], times), np.repeat(rows[60:], times)
        verdict = decide(x[s], x[t], source_labels=y[s], seed=seed)
        alarms += verdict.shifted
        assert f"{60 * (times - 1)} of {60 * times} source rows are exact copies" in str(verdict)
    assert alarms <= binom.ppf(0.999, 12, 0.05)


def test_logits_and_labels_stay_with_their_rows() -> None:
    x, y = digits()
    sure = np.eye(10)[y]
    twice = np.repeat(np.arange(100), 2)
    verdict = decide(
        x[twice], x[100:200] + 1, source_labels=y[twice], source_logits=sure[twice], target_logits=sure[100:200]
    )
    assert verdict.label_shift is not None
    assert verdict.label_shift.n_source == 100
    np.testing.assert_array_equal(
        np.diag(verdict.label_shift.confusion), (np.bincount(y[:100], minlength=10) > 0) * 1.0
    )


def test_rows_without_copies_are_the_very_rows() -> None:
    x = torch.randn(9, 3)
    assert distinct_pair(x, x + 1)[0] is x


@pytest.mark.skipif(not os.environ.get("LANDBRIDGE_DATA"), reason="needs real data: set LANDBRIDGE_DATA")
def test_real_categories_keep_their_rows_and_the_shift_is_found() -> None:
    import csv

    with (Path(os.environ["LANDBRIDGE_DATA"]) / "tabular" / "mushrooms.data").open(encoding="utf-8") as file:
        table = np.array([row[:10] for row in csv.reader(file)])
    label = table[:, 0] == "p"
    hot = np.concatenate([table[:, [c]] == np.unique(table[:, c]) for c in (1, 3, 5, 7)], 1).astype(float)
    rows = np.random.default_rng(0).permutation(len(hot))
    x, z = hot[rows[label[rows]]][:300], hot[rows[~label[rows]]][:300]
    copies = found(x, z)
    assert copies.source > 100
    assert copies.left_out == 0
    assert decide(x, z).shifted
    assert not decide(hot[rows[:300]], hot[rows[300:600]]).shifted
