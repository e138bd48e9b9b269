"""Rows in given proportions: the counts to the row, each row of a class as often as any other."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.weighting import rows_in_proportions

LABELS = np.array([0] * 50 + [1] * 30 + [2] * 20)


@pytest.mark.parametrize(
    "proportions", [[0.5, 0.3, 0.2], [0.1, 0.15, 0.75], [0.333, 0.333, 0.334], [0.999, 5e-4, 5e-4]]
)
def test_the_counts_are_the_shares_and_no_class_dies_out(proportions: list[float]) -> None:
    rows = rows_in_proportions(LABELS, np.array(proportions), seed=0)
    counts = np.bincount(LABELS[rows], minlength=3)
    assert 100 <= len(rows) <= 1000
    assert np.abs(counts - len(rows) * np.array(proportions)).max() < 2
    assert (counts >= 1).all()
    times = np.bincount(rows, minlength=100)
    for c in range(3):
        assert np.ptp(times[c == LABELS]) <= 1


def test_each_row_is_there_where_ten_times_as_many_suffice() -> None:
    rows = rows_in_proportions(LABELS, np.array([0.1, 0.15, 0.75]))
    assert len(rows) == 500  # 50 rows are a tenth of them
    assert np.unique(rows).tolist() == list(range(100))
    assert len(rows_in_proportions(LABELS, np.array([0.001, 0.499, 0.5]))) == 1000


def test_the_rows_as_they_are_for_the_proportions_that_they_have() -> None:
    assert rows_in_proportions(LABELS, np.array([0.5, 0.3, 0.2])).tolist() == list(range(100))


def test_a_class_without_rows_gets_none_and_its_share_goes_to_the_others() -> None:
    counts = np.bincount(LABELS[rows_in_proportions(LABELS, np.array([0.25, 0.25, 0.25, 0.25]))], minlength=4)
    assert counts.tolist() == [50, 50, 50, 0]


def test_the_seed_decides_which_rows() -> None:
    share = np.array([0.2, 0.2, 0.6])
    one, again, other = (rows_in_proportions(LABELS, share, seed=seed).tolist() for seed in (0, 0, 1))
    assert one == again != other
