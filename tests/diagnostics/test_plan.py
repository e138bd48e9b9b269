"""The transport plan by class: sums against loops, known plans, and what the picture says."""

from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest
import torch

from landbridge.diagnostics.plan import plan_by_class


def drawn(n: int, m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    classes_s, classes_t = chance.integers(0, 3, n), chance.integers(0, 3, m)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    noise_s, noise_t = chance.normal(size=(n, 2)), chance.normal(size=(m, 2))
    return centres[classes_s] + noise_s, classes_s, centres[classes_t] + 1.0 + noise_t, classes_t


def by_loops(plan: np.ndarray, classes_s: np.ndarray, classes_t: np.ndarray, k: int) -> np.ndarray:
    mass = np.zeros((k, k))
    for i, a in enumerate(classes_s):
        for j, b in enumerate(classes_t):
            mass[a, b] += plan[i, j]
    return mass


def cost_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[float(((a - b) ** 2).sum()) for b in y] for a in x])


def test_the_exact_plan_summed_by_loops() -> None:
    x, classes_s, y, classes_t = drawn(30, 20)
    found = plan_by_class(x, classes_s, y, classes_t)
    plan = ot.emd(np.full(30, 1 / 30), np.full(20, 1 / 20), cost_of(x, y))
    np.testing.assert_allclose(found.mass, by_loops(plan, classes_s, classes_t, 3), atol=1e-12)
    np.testing.assert_allclose(found.cost, (plan * cost_of(x, y)).sum(), rtol=1e-12)


def test_the_entropic_plan_summed_by_loops() -> None:
    x, classes_s, y, classes_t = drawn(30, 20)
    found = plan_by_class(x, classes_s, y, classes_t, solver="sinkhorn", reg=0.1)
    cost = cost_of(x, y)
    plan = ot.sinkhorn(np.full(30, 1 / 30), np.full(20, 1 / 20), cost / cost.max(), 0.1, stopThr=1e-12)
    np.testing.assert_allclose(found.mass, by_loops(plan, classes_s, classes_t, 3), atol=1e-8)


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_the_mass_sums_to_the_proportions_of_the_classes(solver: Any) -> None:
    x, classes_s, y, classes_t = drawn(31, 24)
    found = plan_by_class(x, classes_s, y, classes_t, solver=solver)
    np.testing.assert_allclose(found.mass.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.mass.sum(1), np.bincount(classes_s) / 31, atol=1e-8)
    np.testing.assert_allclose(found.mass.sum(0), np.bincount(classes_t) / 24, atol=1e-8)


def test_a_translation_keeps_each_class() -> None:
    x, classes_s, _, _ = drawn(40, 4)
    found = plan_by_class(x, classes_s, x + np.array([3.0, -1.0]), classes_s)
    assert found.kept == pytest.approx(1.0)
    assert found.possible == pytest.approx(1.0)
    assert found.cost == pytest.approx(10.0)


def test_other_proportions_make_mass_leave_its_class() -> None:
    x, y = [[0.0], [0.1], [0.2], [9.0]], [[0.0], [9.0], [9.1], [9.2]]
    found = plan_by_class(x, [0, 0, 0, 1], y, [0, 1, 1, 1])
    assert found.kept == pytest.approx(0.5)
    assert found.possible == pytest.approx(0.5)


def test_the_target_classes_do_not_move_the_plan() -> None:
    x, classes_s, y, classes_t = drawn(30, 20)
    found = plan_by_class(x, classes_s, y, classes_t)
    other = plan_by_class(x, classes_s, y, (classes_t + 1) % 3)
    np.testing.assert_allclose(other.mass, np.roll(found.mass, 1, 1), atol=1e-15)
    assert other.cost == found.cost


def test_of_many_rows_some_are_drawn_with_their_own_classes() -> None:
    x = np.repeat([[0.0], [9.0]], 50, 0)
    classes = np.repeat([0, 1], 50)
    found = plan_by_class(x, classes, x, classes, most=30, seed=3)
    assert (found.n_source, found.n_target) == (30, 30)
    assert found.note == "30 of 100 source rows and 30 of 100 target rows, drawn with seed 3"
    assert found.kept == pytest.approx(found.possible)
    assert found.cost < 9.0**2 / 2
    again = plan_by_class(x, classes, x, classes, most=30, seed=3)
    assert np.array_equal(found.mass, again.mass)


def test_the_picture() -> None:
    x, y = torch.tensor([[0.0], [0.1], [0.2], [9.0]]), torch.tensor([[0.0], [9.0], [9.1], [9.2]])
    ax = plan_by_class(x, [0, 0, 0, 1], y, [0, 1, 1, 1], classes=["low", "high"]).plot()
    title = "50% of the mass stays in its class\n(at most 50%, by the classes' proportions)"
    assert ax.get_title(loc="left") == title
    assert [text.get_text() for text in ax.texts] == ["33", "67", "100"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["low", "high"]


def test_a_class_without_source_rows_is_an_empty_row() -> None:
    found = plan_by_class([[0.0], [1.0]], [0, 2], [[0.0], [1.0]], [0, 2], classes=["a", "b", "c"])
    assert found.mass.shape == (3, 3)
    assert [text.get_text() for text in found.plot().texts] == ["100", "100"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"solver": "emd"}, ValueError, "plan_by_class: .*solver"),
        ({"most": 1}, ValueError, "plan_by_class needs most as a whole number >= 2; got 1"),
        ({"source_classes": [0]}, ValueError, r"one entry of source_classes a row, shape \(2,\)"),
        ({"target_classes": [0.5, 1.0]}, ValueError, "target_classes as classes; got labels that are no whole numbers"),
        ({"classes": ["only"]}, ValueError, "class numbers from 0 to 0; got 0 to 1"),
        ({"target": [[0.0, 1.0], [1.0, 1.0]]}, ValueError, "compares features of one size"),
        ({"source": [[float("nan")], [1.0]]}, ValueError, "NaN or inf in source"),
    ],
)
def test_what_does_not_fit(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {
        "source": [[0.0], [1.0]],
        "source_classes": [0, 1],
        "target": [[0.0], [1.0]],
        "target_classes": [0, 1],
    }
    with pytest.raises(error, match=message):
        plan_by_class(**{**given, **changed})


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_equal_rows_cost_nothing(solver: Any) -> None:
    found = plan_by_class(np.ones((4, 2)), [0, 0, 1, 1], np.ones((3, 2)), [0, 1, 1], solver=solver)
    assert found.cost == 0
    assert found.mass.sum() == pytest.approx(1)
