"""Confusion: counts against loops, shares, and what the picture says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landbridge.diagnostics.confusion import confusion


def slow(labels: Any, predictions: Any, k: int) -> list[list[int]]:
    counts = [[0] * k for _ in range(k)]
    for true, taken in zip(labels, predictions, strict=True):
        counts[true][taken] += 1
    return counts


def drawn(n: int = 300, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    labels = chance.integers(0, k, n)
    return labels, np.where(chance.random(n) < 0.7, labels, chance.integers(0, k, n))


def test_the_counts_are_those_of_a_loop() -> None:
    labels, predictions = drawn()
    found = confusion(labels, predictions)
    assert found.counts.tolist() == slow(labels, predictions, 5)
    assert found.counts.sum() == 300
    assert found.accuracy == (labels == predictions).mean()


def test_recalls_and_their_mean() -> None:
    found = confusion([0, 0, 0, 2, 2, 3], [0, 0, 1, 2, 1, 3])
    np.testing.assert_allclose(found.recalls, [2 / 3, np.nan, 1 / 2, 1.0])
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)  # of the classes that have rows


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, list])
def test_what_may_be_passed(make: Any) -> None:
    assert confusion(make([0, 1, 1]), make([0, 1, 0])).counts.tolist() == [[1, 0], [1, 1]]


def test_of_logits_the_largest_counts() -> None:
    logits = torch.tensor([[0.1, 0.2, -1.0], [3.0, 0.0, 0.0]])
    assert confusion([1, 2], logits).counts.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_the_picture_names_the_worst_mistake() -> None:
    ax = confusion([0, 0, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 2, 2], ["cat", "dog", "cow"]).plot()
    assert ax.get_title(loc="left") == "85.7% right, 91.7% over the classes\nworst: 25% of dog taken for cow"
    assert ax.get_xlabel() == "predicted class"
    assert ax.get_ylabel() == "true class (rows sum to 100%)"
    assert [text.get_text() for text in ax.texts] == ["100", "75", "25", "100"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "cow"]


def test_without_a_mistake_none_is_named() -> None:
    assert confusion([0, 1], [0, 1]).plot().get_title(loc="left") == "100.0% right, 100.0% over the classes"


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "error", "message"),
    [
        ([], [], None, ValueError, r"confusion needs labels of shape \(rows,\), at least one; got \(0,\)"),
        ([0, 1], [0], None, ValueError, r"confusion needs one entry of predictions a row, shape \(2,\); got \(1,\)"),
        ([0.5, 1.0], [0, 1], None, ValueError, "confusion needs labels as classes; got labels that are no whole"),
        ([0, 2], [0, 1], ["a", "b"], ValueError, "class numbers from 0 to 1; got 0 to 2"),
        ([0, 1], [0, 2], ["a", "b"], ValueError, "predictions as class numbers from 0 to 1"),
        ([0, 2], torch.eye(2), None, ValueError, "labels as class numbers from 0 to 1; got 0 to 2"),
    ],
)
def test_what_does_not_fit(labels: Any, predictions: Any, classes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        confusion(labels, predictions, classes)
