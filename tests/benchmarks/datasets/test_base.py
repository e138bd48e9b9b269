"""Rows by hash, the checksum, and the error that names a file."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from landbridge.benchmarks.datasets.base import DataError, Split, checksum, draw_rows, hash_order, hold_out


def test_hash_order_sorts_by_sha256_of_name_and_row():
    rows = np.arange(100, 150)
    expected = sorted(rows.tolist(), key=lambda row: hashlib.sha256(f"mnist/{row}".encode()).hexdigest())
    assert hash_order("mnist", rows).tolist() == expected
    assert hash_order("usps", rows).tolist() != expected


def test_draws_are_stable_nested_and_ascending():
    rows = np.arange(60000)
    small, large = draw_rows("mnist", rows, 200), draw_rows("mnist", rows, 2000)
    assert set(small.tolist()) < set(large.tolist())
    assert (np.diff(large) > 0).all()
    assert large[:6].tolist() == [19, 37, 65, 87, 92, 97]
    assert draw_rows("mnist", rows, None) is rows


def test_draw_of_more_than_there_is():
    with pytest.raises(ValueError, match=r"cannot draw 11 rows of 'usps': its training split has 10"):
        draw_rows("usps", np.arange(10), 11)


def test_hold_out_parts_the_rows():
    rows = np.arange(5, 105)
    train, held = hold_out("mnist", rows, 0.1)
    assert len(held) == 10
    assert sorted([*train.tolist(), *held.tolist()]) == rows.tolist()
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    assert len(hold_out("mnist", rows, 0)[1]) == 0
    assert len(hold_out("mnist", rows, 0.001)[1]) == 1
    with pytest.raises(ValueError, match="nothing is left to train on"):
        hold_out("mnist", rows[:2], 0.9)


def test_hold_out_is_no_part_of_the_draw_order():
    rows = draw_rows("mnist", np.arange(1000), 100)
    drawn_first = set(draw_rows("mnist", np.arange(1000), 10).tolist())
    assert set(hold_out("mnist", rows, 0.1)[1].tolist()) != drawn_first


def test_checksum_sees_every_part():
    def split(n: int = 2) -> Split:
        return Split(np.zeros((n, 1, 2, 2), np.uint8), np.zeros(n, np.int64), np.arange(n))

    first = checksum({"a": split(), "b": None}, ("0", "1"))
    assert first == checksum({"a": split(), "b": None}, ("0", "1"))
    pixel = split()
    pixel.inputs[1, 0, 1, 1] = 1
    label = split()
    label.labels[0] = 1
    others = [
        checksum({"a": pixel, "b": None}, ("0", "1")),
        checksum({"a": label, "b": None}, ("0", "1")),
        checksum({"a": split()._replace(rows=np.array([0, 2])), "b": None}, ("0", "1")),
        checksum({"a": split()._replace(inputs=np.zeros((2, 1, 4, 1), np.uint8)), "b": None}, ("0", "1")),
        checksum({"a": split(), "b": split(0)}, ("0", "1")),
        checksum({"c": split(), "b": None}, ("0", "1")),
        checksum({"a": split(), "b": None}, ("0", "2")),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_checksum_does_not_depend_on_byte_order():
    split = Split(np.zeros((1, 1, 2, 2), np.uint8), np.array([3]), np.array([7]))
    big = split._replace(labels=split.labels.astype(">i8"), rows=split.rows.astype(">i8"))
    assert checksum({"a": split}, ()) == checksum({"a": big}, ())


def test_data_error_travels_between_processes():
    error = DataError("usps.bz2", "7291 images", "12", "Download it again.")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error) == "usps.bz2: expected 7291 images; got 12. Download it again."
    assert (back.file, back.expected, back.came, back.todo) == error.args
    assert isinstance(error, ValueError)
