"""What the diagnostics accept, and the sentences for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from landbridge.diagnostics.inputs import as_class_numbers, as_class_scores, as_classes, as_pair, as_rows, in_range
from landbridge.shared.checks import NonFiniteError

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (ROWS, torch.float64),
        (np.array(ROWS, dtype=np.float32), torch.float32),
        (np.array(ROWS, dtype=np.float16), torch.float32),
        (np.array(ROWS, dtype=np.longdouble), torch.float64),
        (np.array(ROWS, dtype=np.int64), torch.float64),
        (np.array(ROWS, dtype=np.uint8), torch.float32),
        (np.array(ROWS, dtype=np.uint16), torch.float32),
        (np.array(ROWS).astype(">f8"), torch.float64),
        (np.array(ROWS).astype(">f4"), torch.float32),
        (np.array(ROWS).astype(">i2"), torch.float32),
        (np.array(ROWS)[::-1][::-1, ::1], torch.float64),
        (torch.tensor(ROWS, dtype=torch.bfloat16), torch.float32),
        (torch.tensor(ROWS, dtype=torch.int32), torch.float64),
        (torch.tensor(ROWS, dtype=torch.int8), torch.float32),
        (torch.tensor(ROWS, requires_grad=True), torch.float32),
    ],
)
def test_numbers_of_any_kind_become_rows(value: Any, dtype: torch.dtype) -> None:
    rows = as_rows("f", "source", value)
    assert rows.dtype == dtype
    assert not rows.requires_grad
    assert rows.tolist() == ROWS


def test_whole_numbers_keep_their_digits() -> None:
    large = 2**24 + 1
    assert as_rows("f", "x", np.array([[large], [large]])).tolist() == [[large], [large]]
    assert as_rows("f", "x", torch.tensor([[large], [large]])).tolist() == [[large], [large]]


def test_yes_and_no_become_one_and_zero() -> None:
    assert as_rows("f", "x", np.array([[True], [False]])).tolist() == [[1.0], [0.0]]


def test_images_are_flattened_and_memory_maps_read(tmp_path: Any) -> None:
    assert as_rows("f", "x", np.zeros((4, 3, 8, 8), dtype=np.uint8)).shape == (4, 192)
    mapped = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(3, 2))
    mapped[:] = ROWS
    mapped.flush()
    read = np.memmap(tmp_path / "rows", dtype=np.float32, mode="r", shape=(3, 2))
    assert as_rows("f", "x", read).tolist() == ROWS


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (np.array([["a", "b"], ["c", "d"]]), TypeError, "f needs source as numbers; got an array of dtype <U1"),
        (np.array([[object(), 1]]), TypeError, "dtype object"),
        (np.array(ROWS) * 1j, TypeError, "real numbers; got torch.complex128"),
        (np.array(ROWS, dtype=np.clongdouble), TypeError, "real numbers; got torch.complex128"),
        (csr_matrix(np.eye(3)), TypeError, "sparse"),
        (torch.eye(3).to_sparse(), TypeError, "sparse"),
        ([1.0, 2.0, 3.0], ValueError, r"shape \(rows, features\); got \(3,\).*reshape\(-1, 1\)"),
        (3.0, ValueError, r"got \(\)"),
        ([[1.0, 2.0]], ValueError, r"at least 2 rows.*got \(1, 2\).*more samples"),
        (np.zeros((5, 0)), ValueError, r"one feature in source; got \(5, 0\)"),
        (np.zeros((0, 5)), ValueError, r"got \(0, 5\)"),
        ([[1.0, 2.0], [np.nan, 0.0], [np.inf, 0.0]], NonFiniteError, "2 of 3 rows, the first is row 1"),
        (np.ma.masked_equal(np.array(ROWS), 4.0), ValueError, "masked"),
    ],
)
def test_what_is_no_matrix_of_numbers_meets_a_sentence(value: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        as_rows("f", "source", value)


def test_finite_numbers_whose_sum_overflows_are_fine() -> None:
    assert as_rows("f", "x", np.full((4, 2), 3e38, dtype=np.float32)).isfinite().all()


def test_a_pair_takes_the_longer_type() -> None:
    x, y = as_pair("f", np.array(ROWS, dtype=np.float32), np.array(ROWS))
    assert x.dtype == y.dtype == torch.float64


def test_a_pair_of_different_sizes_or_devices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"f compares.*\(3, 2\) and target \(3, 1\)"):
        as_pair("f", ROWS, np.array(ROWS)[:, :1])
    with pytest.raises(ValueError, match="one device; got cpu and meta"):
        as_pair("f", torch.tensor(ROWS), _on_meta())


def _on_meta() -> Any:
    class Elsewhere(torch.Tensor):
        """Rows that say they are on another device."""

        @property
        def device(self) -> Any:  # type: ignore[override]
            return torch.device("meta")

    return torch.tensor(ROWS).as_subclass(Elsewhere)


def test_class_numbers() -> None:
    assert as_class_numbers("f", "labels", [0, 2, 1], 3, classes=3).tolist() == [0, 2, 1]
    assert as_class_numbers("f", "labels", np.array([[0.0], [1.0]]), 2, classes=2).tolist() == [0, 1]
    assert as_class_numbers("f", "labels", torch.tensor([1, 0]), 2, classes=2).dtype == np.int64
    with pytest.raises(TypeError, match=r"f needs labels as whole class numbers, .* such as \['a'\]"):
        as_class_numbers("f", "labels", ["a", "b"], 2, classes=2)
    with pytest.raises(ValueError, match=r"shape \(3,\); got \(2,\)"):
        as_class_numbers("f", "labels", [0, 1], 3, classes=2)
    with pytest.raises(ValueError, match="from 0 to 1; got 0 to 2"):
        as_class_numbers("f", "labels", [0, 2], 2, classes=2)
    with pytest.raises(ValueError, match="from 0 to 2; got -1 to 2"):
        as_class_numbers("f", "labels", [-1, 2], 2, classes=3)


def test_classes_of_two_arguments_are_numbered_and_named_alike() -> None:
    given = {"labels": (np.array(["b", "a"], dtype=object), 2), "predictions": (["c", "b"], 2)}
    names, numbers = as_classes("f", given)
    assert names == ("a", "b", "c")
    assert {name: found.tolist() for name, found in numbers.items()} == {"labels": [1, 0], "predictions": [2, 1]}
    assert as_classes("f", given, ["c", "b", "a"])[1]["labels"].tolist() == [1, 2]
    assert as_classes("f", {"labels": ([1, 0], 2)}, ["x", "y", "z"])[0] == ("x", "y", "z")
    assert as_classes("f", {"labels": ([3 * 10**9, 7], 2)})[0] == ("7", "3000000000")  # nothing of that length is made
    with pytest.raises(ValueError, match=r"f got 'c' in predictions, which is none of the names of the classes: a, b"):
        as_classes("f", given, ["a", "b"])
    with pytest.raises(ValueError, match="from 0 to 1; got 7 to 8"):
        as_classes("f", {"labels": ([7, 8], 2)}, ["a", "b"])


def test_columns_of_two_frames_go_by_name() -> None:
    frame = pd.DataFrame(ROWS, columns=["a", "b"])
    x, y = as_pair("f", frame, frame[["b", "a"]].convert_dtypes())
    assert torch.equal(x, y)
    with pytest.raises(ValueError, match="f needs in target the columns of source; missing: 'b'; unexpected: 'c'"):
        as_pair("f", frame, frame.rename(columns={"b": "c"}))
    assert as_rows("f", "rows", frame.assign(c=[True, False, True])).tolist()[0] == [1.0, 2.0, 1.0]


def test_class_scores() -> None:
    assert as_class_scores("f", "logits", torch.tensor(ROWS)).tolist() == ROWS
    assert as_class_scores("f", "logits", [[1, 2]]).shape == (1, 2)
    with pytest.raises(ValueError, match=r"at least 2 classes; got \(3, 1\).*numpy.stack"):
        as_class_scores("f", "logits", np.array(ROWS)[:, :1])


def test_rows_of_ordinary_size_stay_what_they_are() -> None:
    x, y = torch.tensor([[1e-3], [2e6]]), torch.tensor([[5.0]])
    found = in_range(x, y)
    assert found.source is x
    assert found.target is y
    assert found.unit == 1
    same = torch.full((3, 2), 1e30)
    assert in_range(same, same).source is same  # nothing varies


@pytest.mark.parametrize(
    ("dtype", "power"),
    [(torch.float32, power) for power in (-120, -60, 60, 120)]
    + [(torch.float64, power) for power in (-1060, -990, -100, 60, 1000, 1022)],
)
def test_rows_out_of_range_are_divided_by_a_power_of_two(dtype: torch.dtype, power: int) -> None:
    # a constant column, far larger than what varies where that is small
    rows = torch.tensor([[0.0, 1.0], [0.75, 1.0], [-0.5, 1.0], [0.25, 1.0]], dtype=torch.float64)
    rows[:, 0] = torch.ldexp(torch.ldexp(rows[:, 0], torch.tensor(power // 2)), torch.tensor(power - power // 2))
    x, y = rows[:2].to(dtype), rows[2:].to(dtype)
    found = in_range(x, y)
    pooled = torch.cat([found.source, found.target]).double()
    assert found.source.dtype == dtype
    assert pooled[:, 1].tolist() == [0.0] * 4
    column = pooled[:, 0] / float(pooled[:, 0].max())
    assert column.tolist() == [0.4, 1.0, 0.0, 0.6] or column.tolist() == pytest.approx([0.4, 1.0, 0.0, 0.6], rel=1e-7)
    assert 2**-80 < float(pooled.max()) < 2**40
    if -1000 < power < 1000:
        assert float(pooled[:, 0].max()) * found.unit == 1.25 * 2.0**power


def test_what_makes_no_array_meets_a_sentence() -> None:
    with pytest.raises(TypeError, match="f needs source as numbers in equally long rows; got a list"):
        as_rows("f", "source", [[1.0, 2.0], [3.0]])
    with pytest.raises(TypeError, match=r"f needs source .*torch\.stack"):
        as_rows("f", "source", [torch.ones(2, requires_grad=True)] * 3)


@pytest.mark.parametrize("value", [[0.1, 0.2], np.zeros(4), torch.zeros(4), np.zeros((4, 1)), [[0.1], [0.2]]])
def test_logits_of_one_column_meet_a_sentence(value: object) -> None:
    with pytest.raises(ValueError, match=r"f needs logits of shape \(rows, classes\) .* numpy\.stack"):
        as_class_scores("f", "logits", value)
