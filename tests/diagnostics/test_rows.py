"""Rows drawn: all where they are few, the same ones for the same seed, and no more than asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landbridge.diagnostics.rows import check_count, choose_pair, choose_rows, is_number, is_whole


@pytest.mark.parametrize("most", [7, 8, 1000])
def test_few_rows_are_all_used(most: int) -> None:
    assert choose_rows(7, most, "a", 0).tolist() == list(range(7))


def test_many_rows_are_drawn_in_order_without_repetition() -> None:
    rows = choose_rows(100, 30, "a", 0)
    assert len(rows) == len(set(rows.tolist())) == 30
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < 100


def test_the_rows_depend_on_the_stream_and_on_nothing_else(keeps_random_state: None) -> None:
    first = choose_rows(100, 30, "a", 0)
    torch.randn(3, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(first, choose_rows(100, 30, "a", 0))
    assert not np.array_equal(first, choose_rows(100, 30, "a", 1))
    assert not np.array_equal(first, choose_rows(100, 30, "b", 0))


def test_every_row_is_drawn_equally_often() -> None:
    counts = np.zeros(10)
    for seed in range(300):
        counts[choose_rows(10, 3, "a", seed)] += 1
    assert counts.sum() == 900
    assert (abs(counts - 90) < 4 * np.sqrt(300 * 0.3 * 0.7)).all()


def test_a_pair_comes_with_its_row_numbers() -> None:
    x, y = torch.arange(60.0).reshape(20, 3), torch.arange(12.0).reshape(4, 3)
    used = choose_pair(x, y, 5, "a", 0)
    assert torch.equal(used.source, x[used.source_rows])
    assert torch.equal(used.target, y)
    assert used.note == "5 of 20 source rows and 4 of 4 target rows, drawn with seed 0"
    assert choose_pair(x, y, 20, "a", 0).note == ""


def test_both_domains_have_streams_of_their_own() -> None:
    x = torch.arange(100.0)[:, None]
    used = choose_pair(x, x, 10, "a", 0)
    assert not np.array_equal(used.source_rows, used.target_rows)


@pytest.mark.parametrize("value", [1, 2.0, True, "3", None])
def test_a_count_is_a_whole_number_and_large_enough(value: object) -> None:
    with pytest.raises(ValueError, match="f needs most as a whole number >= 2; got"):
        check_count("f", "most", value, 2)
    check_count("f", "most", 2, 2)


def test_numbers_of_numpy_are_numbers() -> None:
    for value in (3, np.int64(3), np.uint8(3)):
        assert is_whole(value)
        check_count("f", "most", value, 2)
    assert not any(map(is_whole, (True, np.bool_(True), 3.0, "3", None)))
    assert all(map(is_number, (3, 0.5, np.float32(0.5), np.int64(3))))
    assert not any(map(is_number, (True, "median", None, 1j)))
