"""The nearest class mean: against slow loops, each source row left out of its own class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landbridge.shared.batches import Rows
from landbridge.weighting import nearest_means

RANDOM = np.random.default_rng(0)
X, Y, T = RANDOM.normal(size=(30, 4)) * [1, 5, 0.1, 1], np.arange(30) % 3, RANDOM.normal(size=(7, 4)) * 3


def units(rows: Any, source: Any) -> Any:
    z = (rows - source.mean(0)) / source.std(0)
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_each_row_is_compared_with_the_means_of_the_others() -> None:
    found = nearest_means(X, Y, T, classes=3)
    s, t = units(X, X), units(T, X)
    for i in range(30):
        for c in range(3):
            others = [j for j in range(30) if Y[j] == c and j != i]
            assert found.source[i, c] == pytest.approx(-((s[i] - s[others].mean(0)) ** 2).sum())
    for c in range(3):
        np.testing.assert_allclose(found.target[:, c], -((t - s[c == Y].mean(0)) ** 2).sum(1))


def test_a_class_without_rows_and_a_class_of_one_are_never_nearest_to_their_own() -> None:
    labels = np.where(np.arange(30) == 4, 1, 0)
    found = nearest_means(X, labels, T, classes=4)
    assert found.source[4].argmax() == 0  # it has no other row of its class to be near to
    assert not np.isin([2, 3], found.target.argmax(1)).any()


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor(X),
        Rows(np.concatenate([X, X]), np.arange(30)),
        X.reshape(30, 1, 2, 2),
        X * 2.0**20 + 2.0**40,  # another unit and an offset, in float64
    ],
)
def test_the_same_from_whatever_holds_the_rows_in_whatever_unit(given: Any) -> None:
    moved = (
        T * 2.0**20 + 2.0**40 if isinstance(given, np.ndarray) and given.ndim == 2 else T.reshape(7, *given.shape[1:])
    )
    found, wanted = nearest_means(given, Y, moved, classes=3), nearest_means(X, Y, T, classes=3)
    np.testing.assert_allclose(found.source, wanted.source, rtol=1e-3)
    np.testing.assert_allclose(found.target, wanted.target, rtol=1e-3)


def test_constant_features_count_for_nothing() -> None:
    wide = np.concatenate([X, np.full((30, 1), 7.3)], 1)
    found = nearest_means(wide, Y, np.concatenate([T, np.full((7, 1), 7.3)], 1), classes=3)
    np.testing.assert_allclose(found.target, nearest_means(X, Y, T, classes=3).target)
