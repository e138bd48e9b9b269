"""Labels of any kind get the same numbers wherever they are numbered."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from landbridge.shared.labels import as_label_column, is_missing, number_labels, number_together

PLACES = np.array([2, 0, 1, 1, 2, 0])  # the numbers that every kind below must get

KINDS: dict[str, Any] = {
    "0 to 2": PLACES,
    "unsigned": PLACES.astype(np.uint8),
    "negative": PLACES - 1,
    "years": PLACES + 2018,
    "ids": (PLACES + 1) * 100000,
    "ids beyond 32 bits": PLACES + 2**60,
    "whole floats": PLACES + 1.0,
    "of another machine": PLACES.astype(">i2"),
    "long floats": PLACES.astype(np.longdouble),
    "half floats": torch.tensor(PLACES).bfloat16(),
    "tensor": torch.tensor(PLACES),
    "list": PLACES.tolist(),
    "list of tensors": list(torch.tensor(PLACES)),
    "one column": PLACES[:, None],
    "frame of one column": pd.DataFrame({"y": PLACES}),
    "objects": PLACES.astype(object),
    "strings": np.array(["a", "b", "cc"])[PLACES],
    "object strings": np.array(["a", "b", "cc"], dtype=object)[PLACES],
    "bytes": np.array([b"a", b"b", b"cc"])[PLACES],
    "pandas strings": pd.Series(np.array(["a", "b", "cc"])[PLACES], index=[9, 8, 7, 6, 5, 4]),
    "pandas string dtype": pd.array(np.array(["a", "b", "cc"])[PLACES], dtype="string"),
    "categories": pd.Series(np.array(["a", "b", "cc"])[PLACES], dtype="category"),
    "categories of numbers": pd.Categorical(PLACES + 5),
    "nullable": pd.array(PLACES, dtype="Int64"),
    "list of strings": np.array(["a", "b", "cc"])[PLACES].tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_get_the_same_numbers(kind: str) -> None:
    classes, numbers = number_labels("f", "y", KINDS[kind])
    assert numbers.dtype == np.int64
    assert numbers.tolist() == PLACES.tolist()
    assert classes.shape == (3,)
    assert classes.dtype.kind in "iufU"  # what a file can hold
    if classes.dtype.kind != "U":
        torch.from_numpy(classes)  # in this machine's byte order
    again = number_labels("f", "y", KINDS[kind], classes)
    assert again.numbers.tolist() == PLACES.tolist()


@pytest.mark.parametrize(
    "flags",
    [np.array([True, False]), [True, False], pd.array([True, False], dtype="boolean"), torch.tensor([1, 0]) > 0],
)
def test_booleans_are_two_classes(flags: Any) -> None:
    classes, numbers = number_labels("f", "y", flags)
    assert classes.dtype == np.bool_
    assert (classes.tolist(), numbers.tolist()) == ([False, True], [1, 0])


def test_nothing_is_as_long_as_the_largest_id() -> None:
    tracemalloc.start()
    number_labels("f", "y", np.array([10**15, 3, 10**15]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_known_classes_keep_their_places_and_others_get_minus_one() -> None:
    classes = np.array([30, 10, 20])  # in whatever order they are known
    assert number_labels("f", "y", [10.0, 20.0, 99.0, 30.0], classes).numbers.tolist() == [1, 2, -1, 0]
    assert number_labels("f", "y", [True, False], np.array([0, 1])).numbers.tolist() == [1, 0]
    assert number_labels("f", "y", [], classes).numbers.tolist() == []


def test_the_first_argument_is_numbered_first_whatever_the_second_holds() -> None:
    classes, numbers = number_together("f", {"ys": ["b", "d"], "evaluate": ["d", "a", "c"]})
    assert classes.tolist() == ["b", "d", "a", "c"]
    assert numbers["ys"].tolist() == [0, 1]
    assert numbers["evaluate"].tolist() == [1, 2, 3]
    assert number_together("f", {"ys": [2, 5], "evaluate": [5.0, 1.0]})[1]["evaluate"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (["a", 1], TypeError, "of one kind; got strings ('a' in row 0) beside numbers (1 in row 1)"),
        (np.array([True, 2], dtype=object), TypeError, "booleans (True in row 0) beside numbers"),
        ([0.5, 1.0], ValueError, "no whole numbers: 0.5 in row 0. Round them."),
        ([np.inf, 1.0], ValueError, "no whole numbers: inf in row 0"),
        ([np.nan, 1.0], ValueError, "missing labels in ys: 1 of 2 rows, the first is row 0"),
        (["a", None, None], ValueError, "missing labels in ys: 2 of 3 rows, the first is row 1"),
        (pd.array([1, None], dtype="Int64"), ValueError, "missing labels in ys: 1 of 2"),
        (pd.array(["a", None], dtype="string"), ValueError, "missing labels in ys: 1 of 2"),
        (pd.Series(["a", None], dtype="category"), ValueError, "missing labels in ys: 1 of 2"),
        (pd.to_datetime(["2020-01-01"]), TypeError, "got dtype datetime64"),
        ([(1, 2), (3, 4)], ValueError, "(2, 2). For one-hot labels pass labels.argmax(1)"),
        ([[1], [2, 3]], TypeError, "they make no array"),
        ([{1}, {2}], TypeError, "got set ({1} in row 0)"),
        ([2**70, 1], TypeError, "at most 64 bits"),
        (3, ValueError, "shape ()"),
        ([1, 2, 3], ValueError, "shape (4,); got (3,)"),
    ],
)
def test_what_is_no_label_meets_a_sentence(labels: Any, error: type[Exception], words: str) -> None:
    rows = 4 if words.startswith("shape (4,)") else None
    with pytest.raises(error) as caught:
        number_labels("adapt", "ys", labels, rows=rows, values="Round them.")
    assert words in str(caught.value)
    assert str(caught.value).startswith("adapt ")
    assert "ys" in str(caught.value)


def test_strings_are_not_looked_for_among_numbers() -> None:
    with pytest.raises(TypeError, match=r"evaluate as numbers, such as \[1, 2\]; got strings, such as \['1', '2'\]"):
        number_labels("adapt", "evaluate", ["1", "2"], np.array([1, 2]))
    with pytest.raises(TypeError, match="evaluate as numbers"):
        number_together("diagnose", {"source_labels": [1, 2], "evaluate": ["1", "2"]})


def test_missing_labels_may_be_allowed() -> None:
    assert as_label_column("f", "y", ["a", None, pd.NA], missing=True).tolist() == ["a", "", ""]
    found = as_label_column("f", "y", pd.array([3, None], dtype="Int64"), missing=True)
    assert found[0] == 3
    assert np.isnan(found[1])


def test_is_missing() -> None:
    assert all(is_missing(value) for value in (None, np.nan, np.float32("nan"), pd.NA, pd.NaT))
    assert not any(is_missing(value) for value in (0, "", "nan", np.inf, False))
