"""Explanations: MMD by class against slow loops, and which of them a known change has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landbridge.shared.batches import Rows
from landbridge.weighting import explanations

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1], [12, 8])
SOURCE, TARGET = RANDOM.normal(size=(20, 3)) + LABELS[:, None], RANDOM.normal(size=(9, 3))
Q = np.array([0.25, 0.75])


def units(rows: Any) -> Any:
    return (rows - SOURCE.mean(0)) / SOURCE.std(0)


def drawn_in(z: Any) -> Any:
    return z / np.sqrt(1 + (z / 3) ** 2)


def slow(target: Any, q: Any) -> float:
    """Sums over pairs, each source row weighing its class's share of it."""
    x, y = drawn_in(units(SOURCE)), drawn_in(target)
    h = torch.tensor([((a - b) ** 2).sum() for i, a in enumerate(x) for j, b in enumerate(x) if i != j]).median().item()
    k = lambda a, b: np.exp(-((a - b) ** 2).sum() / h)  # noqa: E731
    n = np.bincount(LABELS)
    total = 0.0
    for c in range(2):
        for d in range(2):
            pairs = [(i, j) for i in range(20) for j in range(20) if LABELS[i] == c and LABELS[j] == d and i != j]
            total += q[c] * q[d] * np.mean([k(x[i], x[j]) for i, j in pairs])
        total -= 2 * q[c] * sum(k(x[i], b) for i in range(20) if LABELS[i] == c for b in y) / n[c] / len(y)
    return total + np.mean([k(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j])


def matched(q: Any) -> Any:
    """The target with the mean and the deviation of the source in these proportions, in the source's units."""
    w = (q / np.bincount(LABELS))[LABELS]
    z, y = units(SOURCE), units(TARGET)
    mean = w @ z
    return (y - y.mean(0)) / y.std(0) * np.sqrt(w @ (z - mean) ** 2) + mean


def test_the_four_distances_against_slow_loops() -> None:
    found, p = explanations(SOURCE, LABELS, TARGET, Q), np.array([0.6, 0.4])
    assert found.none == pytest.approx(slow(units(TARGET), p))
    assert found.proportions == pytest.approx(slow(units(TARGET), Q))
    assert found.moved == pytest.approx(slow(matched(p), p))
    assert found.both == pytest.approx(slow(matched(Q), Q))
    assert found.noise == pytest.approx(0.6 / 9)


def blobs(n: tuple[int, int], seed: int) -> tuple[Any, Any]:
    labels = np.repeat([0, 1], n)
    return np.random.default_rng(seed).normal(size=(len(labels), 3)) + 3 * labels[:, None], labels


@pytest.mark.parametrize(
    ("n", "change", "alone", "beside"),
    [
        ((250, 50), lambda rows: rows, True, True),  # undone with moving and scaling too, it leaves least
        ((150, 150), lambda rows: 2 * rows - 1, False, False),
        ((250, 50), lambda rows: 2 * rows - 1, False, True),
    ],
)
def test_what_explains_a_known_change(n: tuple[int, int], change: Any, alone: bool, beside: bool) -> None:
    source, labels = blobs((150, 150), 0)
    found = explanations(source, labels, change(blobs(n, 1)[0]), np.array(n) / 300 if n[0] > n[1] else Q)
    assert (found.alone, found.beside) == (alone, beside)


def test_at_most_a_thousand_rows_are_drawn_from_whatever_holds_them() -> None:
    whole = explanations(SOURCE, LABELS, TARGET, Q)
    tensors = explanations(torch.tensor(SOURCE), LABELS, Rows(TARGET, np.arange(9)), Q)
    assert tensors.none == pytest.approx(whole.none)
    big, labels = blobs((600, 600), 2)
    found = explanations(big, labels, big, np.array([0.5, 0.5]))
    assert found.noise == 0.6 / 1000


def test_constant_rows_and_a_class_of_one_row_make_numbers() -> None:
    ones = np.ones((10, 2))
    found = explanations(ones, np.array([0] * 9 + [1]), ones, Q)
    assert found.none == pytest.approx(0)
    assert np.isfinite(found).all()
