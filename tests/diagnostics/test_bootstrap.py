"""Bootstrap: which rows are drawn and resampled, and intervals that take a bias off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landbridge.diagnostics.bootstrap import (
    as_distance,
    at_most,
    basic_interval,
    check_interval,
    pair_of_rows,
    resampled_counts,
)
from landbridge.diagnostics.intervals import squared_interval


def test_rows_are_drawn_once_and_in_their_order() -> None:
    rows = torch.arange(50.0).reshape(-1, 1)
    drawn = at_most(rows, 10, "x", 0)
    assert len(drawn.unique()) == 10
    assert (drawn.diff(dim=0) > 0).all()
    assert at_most(rows, 50, "x", 0) is rows
    assert (at_most(rows, 10, "x", 0) == drawn).all()
    assert (at_most(rows, 10, "x", 1) != drawn).any()
    assert (at_most(rows, 10, "y", 0) != drawn).any()


def test_every_row_is_resampled_as_often_as_any_other() -> None:
    counts = resampled_counts(20, 3000, "x", 0)
    assert counts.shape == (3000, 20)
    assert (counts.sum(1) == 20).all()
    assert (counts.double().mean(0) - 1).abs().max() < 0.08  # standard deviation 0.018
    assert counts.double().var(0).mean() == pytest.approx(1 - 1 / 20, rel=0.03)
    assert (resampled_counts(20, 5, "x", 0) == resampled_counts(20, 5, "x", 0)).all()
    assert (resampled_counts(20, 5, "x", 0) != resampled_counts(20, 5, "y", 0)).any()


def test_the_basic_interval_takes_off_the_bias_of_the_draws() -> None:
    draws = np.linspace(1.0, 3.0, 201)  # one above the estimate on average
    assert basic_interval(1.0, draws, 0.9, least=-5) == pytest.approx((2 - 2.9, 2 - 1.1))


def test_the_basic_interval_ends_at_the_least_distance() -> None:
    draws = np.linspace(1.0, 3.0, 201)
    assert basic_interval(0.1, draws, 0.9) == (0.0, 0.0)
    assert basic_interval(1.0, draws, 0.9)[0] == 0


def test_the_transform_is_of_value_and_ends() -> None:
    draws = [torch.tensor(v) for v in np.linspace(3.0, 5.0, 41)]
    plain = as_distance("d", 4.0, draws, 0.9, (7, 8), scale="m")
    root = as_distance("d", 4.0, draws, 0.9, (7, 8), scale="m", transform=lambda v: v**0.5)
    assert (root.value, root.low, root.high) == pytest.approx((2.0, plain.low**0.5, plain.high**0.5))
    assert (root.n_source, root.n_target, root.level, root.scale, root.note) == (7, 8, 0.9, "m", "")
    assert (plain.low, plain.high) == squared_interval(4.0, np.linspace(3.0, 5.0, 41), 0.9, 7)  # rows of the smaller
    known = as_distance("d", 4.0, draws, 0.9, (7, 8), scale="m", noise=1.0, own_variance=0.5, tails=1.2)
    settings = {"noise": 1.0, "own_variance": 0.5, "tails": 1.2}
    assert (known.low, known.high) == squared_interval(4.0, np.linspace(3.0, 5.0, 41), 0.9, 7, **settings)
    odd = as_distance("d", 4.0, [*draws, torch.tensor(float("nan"))], 0.9, (7, 8), scale="m")
    assert (odd.low, odd.high) == (plain.low, plain.high)
    assert odd.note == "1 of 42 resamples gave no number and are left out"
    none = as_distance("d", 4.0, [], 0.9, (7, 8), scale="m")
    assert np.isnan([none.low, none.high]).all()


def test_an_estimate_above_its_interval_is_called_noise() -> None:
    draws = [torch.tensor(v) for v in np.linspace(5.0, 7.0, 41)]
    assert "noise" in as_distance("d", 4.0, draws, 0.9, (7, 8), scale="m").note
    assert as_distance("d", 4.0, draws, 0.9, (7, 8), scale="m", note="few").note.startswith("few; ")
    assert "noise" not in as_distance("d", 4.0, [d - 2 for d in draws], 0.9, (7, 8), scale="m").note


def test_rows_are_float64_and_what_was_left_out_is_said() -> None:
    x, y, note = pair_of_rows("f", np.arange(12).reshape(6, 2), torch.zeros(3, 2, dtype=torch.float16), 4, 0)
    assert x.dtype == y.dtype == torch.float64
    assert (len(x), len(y)) == (4, 3)
    assert note == "4 of 6 source rows, drawn at random"
    with pytest.raises(ValueError, match="f needs most as a whole number >= 2; got 1"):
        pair_of_rows("f", np.zeros((6, 2)), np.zeros((6, 2)), 1, 0)


@pytest.mark.parametrize(("bootstrap", "level"), [(-1, 0.9), (19, 0.9), (20, 0.0), (20, 1.0), (0, float("nan"))])
def test_few_resamples_and_wrong_levels_are_refused(bootstrap: int, level: float) -> None:
    with pytest.raises(ValueError, match="f needs"):
        check_interval("f", bootstrap, level)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_meets_a_sentence(value: float) -> None:
    with pytest.raises(ValueError, match=r"CORAL overflows: .* Divide both domains by one number"):
        as_distance("CORAL", value, [], 0.95, (7, 8), scale="m")


@pytest.mark.parametrize(("bootstrap", "level"), [("a", 0.9), (50.5, 0.9), (True, 0.9), (50, "high"), (50, None)])
def test_settings_of_another_kind_meet_a_sentence(bootstrap: object, level: object) -> None:
    with pytest.raises(ValueError, match=r"f needs (bootstrap=0|a level between 0 and 1)"):
        check_interval("f", bootstrap, level)
    check_interval("f", np.int64(20), np.float32(0.9))
