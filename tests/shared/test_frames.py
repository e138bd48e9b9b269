"""Frames are read as numbers, and their columns go by name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landbridge.shared.checks import NonFiniteError
from landbridge.shared.frames import align, column_names, column_order, is_frame, read_frame, warn_unnamed

RNG = np.random.default_rng(0)
X = pd.DataFrame({"age": RNG.normal(40, 9, 8), "income": RNG.normal(3e3, 5e2, 8), "city": list("ABABABAB")})
NUMBERS = X[["age", "income"]]

FRAMES: dict[str, pd.DataFrame] = {
    "floats": NUMBERS,
    "get_dummies": pd.get_dummies(X),
    "get_dummies, sparse": pd.get_dummies(X, sparse=True),
    "Int64": NUMBERS.assign(k=pd.array([1] * 8, dtype="Int64")),
    "boolean": NUMBERS.assign(k=pd.array([True] * 8, dtype="boolean")),
    "convert_dtypes": NUMBERS.convert_dtypes(),
    "Float32": NUMBERS.astype("Float32"),
    "objects": NUMBERS.astype(object),
    "booleans among objects": NUMBERS.assign(k=np.array([True, False] * 4, dtype=object)),
    "columns without names": pd.DataFrame(NUMBERS.to_numpy()),
    "equal names": NUMBERS.rename(columns={"income": "age"}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_numbers_are_numbers(kind: str) -> None:
    frame = FRAMES[kind]
    values, columns = read_frame("f", "X", frame)
    assert values.dtype.kind == "f"
    np.testing.assert_allclose(values, np.stack([frame.iloc[:, i].astype(float) for i in range(frame.shape[1])], 1))
    assert columns == tuple(frame.columns)


def test_one_dtype_stays_what_it_is() -> None:
    assert read_frame("f", "X", NUMBERS.astype(np.float32)).values.dtype == np.float32
    assert read_frame("f", "X", pd.DataFrame({"t": [3, 4], "u": [1, 2]})).values.dtype == np.int64
    assert read_frame("f", "X", pd.DataFrame({"t": pd.array([3, 4], dtype="Int64")})).values.dtype == np.int64
    assert read_frame("f", "X", pd.DataFrame({"a": [True], "b": [False]})).values.dtype == np.bool_


def test_columns_are_put_in_the_order_asked_for() -> None:
    found = read_frame("f", "X", NUMBERS[["income", "age"]], ("age", "income"))
    np.testing.assert_array_equal(found.values, NUMBERS.to_numpy())
    assert found.columns == ("age", "income")
    mixed = FRAMES["get_dummies"]
    np.testing.assert_array_equal(
        read_frame("f", "X", mixed[mixed.columns[::-1]], tuple(mixed.columns)).values,
        read_frame("f", "X", mixed).values,
    )
    assert align("f", NUMBERS, NUMBERS[["income", "age"]]).columns.tolist() == ["age", "income"]
    numbered = NUMBERS.set_axis([1, 0], axis=1)
    assert align("f", numbered, numbered[[0, 1]]).columns.tolist() == [1, 0]


def test_other_columns_are_refused_with_their_names() -> None:
    with pytest.raises(
        ValueError, match=r"adapt needs in Xt the columns of Xs; missing: 'age'; unexpected: 'weight'\."
    ):
        align("adapt", NUMBERS, NUMBERS.rename(columns={"age": "weight"}))
    with pytest.raises(ValueError, match=r"of Xs; unexpected: 'city'"):
        align("adapt", NUMBERS, X)
    with pytest.raises(ValueError, match=r"missing: 'x0', 'x1', 'x2', 'x3', 'x4', 'x5' and 4 more"):
        column_order("f", "X", ("a",), tuple(f"x{i}" for i in range(10)))
    with pytest.raises(ValueError, match="'age' occurs more than once"):
        align("adapt", NUMBERS, FRAMES["equal names"])


def test_columns_that_were_never_named_go_by_their_place() -> None:
    plain = FRAMES["columns without names"]
    assert align("f", NUMBERS, plain) is plain
    assert align("f", plain, NUMBERS) is NUMBERS
    assert align("f", NUMBERS.to_numpy(), NUMBERS) is NUMBERS
    assert read_frame("f", "X", plain, ("age", "income")).columns == ("age", "income")
    assert align("f", FRAMES["equal names"], FRAMES["equal names"]).shape == (8, 2)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.Series(list("abababab"), dtype="category"), "the column 'k' holds categories. Encode them"),
        (pd.Categorical([1, 2] * 4), "the column 'k' holds categories"),
        (list("abababab"), "the column 'k' holds strings. Encode them"),
        (pd.array(list("abababab"), dtype="string"), "the column 'k' holds strings"),
        (["1.5", "?"] + ["2"] * 6, "the column 'k' holds numbers written as text. Read them as numbers"),
        (pd.date_range("2020-01-01", periods=8), "the column 'k' holds dates. Turn them into numbers"),
        (pd.date_range("2020-01-01", periods=8, tz="UTC"), "the column 'k' holds dates"),
        (pd.timedelta_range("1h", periods=8), "the column 'k' holds durations"),
        ([1j] * 8, "the column 'k' holds complex numbers"),
        ([[1], [2, 3]] * 4, "the column 'k' holds objects (list)"),
    ],
)
def test_columns_that_are_no_numbers_are_named(column: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        read_frame("adapt", "Xs", NUMBERS.assign(k=column))
    assert str(caught.value).startswith("adapt needs Xs as numbers; ")
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object"])
def test_missing_values_are_named_by_row_and_column(dtype: str) -> None:
    frame = NUMBERS.astype(dtype)
    frame.loc[[2, 5], "income"] = np.nan if dtype == "float64" else pd.NA
    with pytest.raises(
        NonFiniteError, match=r"missing values \(NaN\) in Xt: 2 of 8 rows, the first is row 2; columns 'income'"
    ):
        read_frame("adapt", "Xt", frame)
    found = read_frame("pack", "Xt", frame, finite=False).values
    assert np.isnan(found).sum() == 2
    frame.loc[[2, 5], "income"] = np.inf
    with pytest.raises(NonFiniteError, match="infinite values"):
        read_frame("adapt", "Xt", frame)


def test_what_is_no_frame_has_no_names() -> None:
    assert not is_frame(NUMBERS["age"])
    assert not is_frame(np.zeros((2, 2)))
    assert column_names([[1]]) is None
    assert read_frame("f", "X", [[1.0]]) == (np.array([[1.0]]), None)


def test_one_side_without_names_is_said() -> None:
    with pytest.warns(UserWarning, match=r"predict got X without column names.* came with them"):
        warn_unnamed("predict", "X", ("age",), None)
    with pytest.warns(UserWarning, match=r"predict got X with column names.* came without"):
        warn_unnamed("predict", "X", (0,), ("age",))
    warn_unnamed("predict", "X", ("age",), ("income",))
    warn_unnamed("predict", "X", None, (0, 1))


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, numpy; from landbridge.shared.frames import read_frame; from landbridge.shared.labels import "
        "number_labels; read_frame('f', 'X', numpy.ones((2, 2))); number_labels('f', 'y', ['a', 'b']); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
