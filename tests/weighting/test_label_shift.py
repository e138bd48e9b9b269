"""Label shift: the estimate against the paper's formula and a slow solver, the test's level, coverage of intervals."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from landbridge.weighting import LabelShift, label_shift

CONFUSION = np.array([[0.8, 0.1, 0.0], [0.1, 0.7, 0.2], [0.1, 0.2, 0.8]])  # P(predicted i | class j)


def drawn(proportions: list[float], n: int, random: np.random.Generator) -> tuple[Any, Any]:
    """Logits whose largest entry is drawn by the confusion matrix, and the labels."""
    labels = random.choice(3, size=n, p=proportions)
    predicted = np.array([random.choice(3, p=CONFUSION[:, y]) for y in labels])
    return np.eye(3)[predicted] * 2 + random.uniform(0, 0.5, (n, 3)), labels


def exact(predicted: list[int], classes: int = 3) -> Any:
    return np.eye(classes)[predicted]


def made(counts: list[list[int]], target: list[int]) -> tuple[Any, Any, Any]:
    """Logits and labels with these counts: counts[predicted][label]."""
    predicted = [i for i, row in enumerate(counts) for n in row for _ in range(n)]
    labels = [j for row in counts for j, n in enumerate(row) for _ in range(n)]
    k = len(counts)
    return exact(predicted, k), labels, exact([i for i, n in enumerate(target) for _ in range(n)], k)


def test_it_is_the_inverse_of_the_joint_confusion_matrix_where_that_is_not_negative() -> None:
    random = np.random.default_rng(0)
    source, labels = drawn([0.5, 0.3, 0.2], 400, random)
    target, _ = drawn([0.2, 0.3, 0.5], 300, random)
    joint, mu, p = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    for row, y in zip(source, labels, strict=True):
        joint[int(np.argmax(row)), y] += 1 / 400
        p[y] += 1 / 400
    for row in target:
        mu[int(np.argmax(row))] += 1 / 300
    weights = np.linalg.inv(joint) @ mu  # proposition 2
    assert (weights > 0).all()
    found = label_shift(source, labels, target, bootstrap=0)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-6)
    np.testing.assert_allclose(found.proportions, weights * p, rtol=1e-6)
    np.testing.assert_allclose(found.confusion, joint / p, rtol=1e-12)
    np.testing.assert_allclose(found.source_proportions, p, rtol=1e-12)
    np.testing.assert_allclose(found.predicted_target, mu, rtol=1e-12)
    np.testing.assert_allclose(found.predicted_source, joint.sum(1), rtol=1e-12)
    assert found.residual < 1e-6
    assert found.condition == pytest.approx(np.linalg.svd(joint / p)[1][0] / np.linalg.svd(joint / p)[1][2])


@pytest.mark.parametrize("ridge", [0.0, 0.03])
def test_outside_the_simplex_it_is_the_nearest_explanation(ridge: float) -> None:
    source, labels, target = made([[8, 1, 2], [1, 6, 2], [1, 3, 6]], [58, 41, 1])
    found = label_shift(source, labels, target, ridge=ridge, bootstrap=0)
    confusion = np.array([[8, 1, 2], [1, 6, 2], [1, 3, 6]]) / 10
    mu = np.array([0.58, 0.41, 0.01])
    assert ridge or (np.linalg.inv(confusion) @ mu).min() < 0
    best, least = np.zeros(3), np.inf
    for first in np.linspace(0, 1, 201):  # every mixture, to 1/200
        for second in np.linspace(0, 1 - first, round(200 * (1 - first)) + 1):
            q = np.array([first, second, 1 - first - second])
            value = ((confusion @ q - mu) ** 2).sum() + ridge * ((3 * q - 1) ** 2).mean()
            if value < least:
                best, least = q, value
    assert found.proportions.min() >= 0
    assert found.proportions.sum() == pytest.approx(1, abs=1e-12)
    q = found.proportions
    assert ((confusion @ q - mu) ** 2).sum() + ridge * ((3 * q - 1) ** 2).mean() <= least + 1e-9
    np.testing.assert_allclose(q, best, atol=0.006)
    assert found.residual == pytest.approx(np.abs(confusion @ q - mu).sum() / 2)


def test_a_ridge_draws_the_weights_to_one() -> None:
    source, labels, target = made([[8, 2], [2, 8]], [70, 30])
    weights = [label_shift(source, labels, target, ridge=r, bootstrap=0).weights for r in (0.0, 0.1, 1.0, 1e6)]
    distances = [np.abs(w - 1).max() for w in weights]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-5


def test_classes_that_are_not_told_apart_keep_the_ratio_that_they_have() -> None:
    source, labels, target = made([[40, 0, 0], [0, 30, 10], [0, 0, 0]], [20, 60, 0])
    found = label_shift(source, labels, target, bootstrap=0)
    np.testing.assert_allclose(found.proportions, [0.25, 0.5625, 0.1875], atol=1e-6)  # weights nearest to 1
    np.testing.assert_allclose(found.weights[1], found.weights[2], rtol=1e-5)
    assert found.condition == float("inf")
    assert "confuses" in found.note


def test_a_class_without_source_rows_is_taken_to_be_absent() -> None:
    source, labels, target = made([[8, 2, 0], [2, 8, 0], [0, 0, 0]], [60, 40, 0])
    found = label_shift(source, labels, target)
    assert found.proportions[2] == found.weights[2] == found.low[2] == found.high[2] == 0
    np.testing.assert_allclose(found.proportions[:2], [2 / 3, 1 / 3], rtol=1e-6)
    assert "class 2" in found.note
    assert label_shift(*made([[8, 2], [2, 8]], [60, 40])).note == ""


def test_the_p_value_is_that_of_scipys_permuted_table() -> None:
    from scipy.stats import chi2_contingency

    source, labels, target = made([[30, 5, 0], [4, 40, 0], [1, 0, 20]], [25, 60, 30])
    found = label_shift(source, labels, target, permutations=20_000, bootstrap=0)
    theory = chi2_contingency([[35, 44, 21], [25, 60, 30]], correction=False)
    assert found.statistic == pytest.approx(theory.statistic)
    assert found.p_value == pytest.approx(theory.pvalue, abs=0.02)


def test_the_level_of_the_test_holds() -> None:
    random, alarms, runs = np.random.default_rng(3), 0, 200
    for run in range(runs):
        n_s, n_t = 40, 25  # few, so that theory would not do
        source, target = (exact(random.choice(3, size=n, p=[0.8, 0.15, 0.05]).tolist()) for n in (n_s, n_t))
        found = label_shift(source, source.argmax(1), target, bootstrap=0, permutations=199, seed=run)
        alarms += found.rejects(0.05)
    assert alarms <= 18  # of 10 on average; P(more than 18 | 200, 0.05) = 0.005


def test_intervals_cover_the_proportions() -> None:
    random, runs = np.random.default_rng(5), 60
    truth = np.array([0.2, 0.3, 0.5])
    covered = np.zeros(3)
    for run in range(runs):
        source, labels = drawn([1 / 3, 1 / 3, 1 / 3], 240, random)
        target, _ = drawn(truth.tolist(), 200, random)
        found = label_shift(source, labels, target, bootstrap=200, level=0.9, permutations=1, seed=run)
        assert (found.low <= found.proportions + 1e-9).all()
        assert (found.proportions <= found.high + 1e-9).all()
        covered += (found.low <= truth) & (truth <= found.high)
    assert (covered / runs >= 0.78).all()  # P(below | 60, 0.9) = 0.002 each
    assert (covered / runs < 1).any()


def test_for_a_perfect_classifier_the_interval_is_that_of_a_share() -> None:
    found = label_shift(*made([[50, 0], [0, 50]], [120, 280]), bootstrap=4000, level=0.9)
    half = 1.6448536 * (0.3 * 0.7 / 400) ** 0.5
    np.testing.assert_allclose(found.low, [0.3 - half, 0.7 - half], atol=0.06 * half)
    np.testing.assert_allclose(found.high, [0.3 + half, 0.7 + half], atol=0.06 * half)


def test_more_rows_narrow_the_intervals_and_a_lower_level_too() -> None:
    few, many = made([[8, 2], [2, 8]], [6, 4]), made([[800, 200], [200, 800]], [600, 400])
    wide, narrow = label_shift(*few), label_shift(*many)
    assert (narrow.high - narrow.low).max() < 0.2 * (wide.high - wide.low).max()
    low = label_shift(*many, level=0.5)
    assert (low.high - low.low < narrow.high - narrow.low).all()
    assert low.level == 0.5


def test_many_classes_have_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("landbridge.weighting.label_shift")
    problem = made([[8, 2], [2, 8]], [6, 4])
    few = label_shift(*problem, bootstrap=100)
    monkeypatch.setattr(module, "MANY_CLASSES", 1)
    assert (label_shift(*problem, bootstrap=500).low == few.low).all()
    assert np.isnan(label_shift(*problem, bootstrap=0).low).all()


def test_without_a_shift_nothing_is_found() -> None:
    source, labels, target = made([[40, 10], [10, 40]], [50, 50])
    found = label_shift(source, labels, target)
    np.testing.assert_allclose(found.weights, 1, atol=1e-6)
    assert found.p_value == 1
    assert not found.rejects()


def test_the_same_seed_gives_the_same_and_the_global_state_stays() -> None:
    problem = made([[8, 2], [2, 8]], [6, 4])
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = label_shift(*problem), label_shift(*problem), label_shift(*problem, seed=1)
    assert (first.low == again.low).all()
    assert first.p_value == again.p_value
    assert (first.low != other.low).any()
    assert (torch.get_rng_state() == torch_state).all()
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_the_order_of_rows_and_the_kind_of_array_change_nothing() -> None:
    source, labels, target = made([[30, 5, 0], [4, 40, 0], [1, 0, 20]], [25, 60, 30])
    order = np.random.default_rng(0).permutation(len(source))
    first = label_shift(source, labels, target)
    again = label_shift(torch.tensor(source)[order], torch.tensor(labels)[order], target[::-1])
    for field in ("proportions", "low", "high", "weights"):
        assert (getattr(first, field) == getattr(again, field)).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target_logits": np.zeros((4, 2))}, ValueError, "same classes"),
        ({"source_labels": [0, 1, 3, 0]}, ValueError, "from 0 to 2"),
        ({"source_labels": ["a", "b", "c", "a"]}, TypeError, "whole class numbers"),
        ({"source_labels": [0, 1]}, ValueError, "source_labels"),
        ({"source_logits": np.zeros((4, 1))}, ValueError, "at least 2 classes"),
        ({"target_logits": np.full((4, 3), np.nan)}, ValueError, "NaN"),
        ({"ridge": -1.0}, ValueError, "ridge"),
        ({"ridge": float("nan")}, ValueError, "ridge"),
        ({"bootstrap": 3}, ValueError, "bootstrap"),
        ({"level": 1.0}, ValueError, "level"),
        ({"permutations": 0}, ValueError, "permutations"),
    ],
)
def test_what_cannot_be_used_is_said(change: dict[str, Any], error: type[Exception], words: str) -> None:
    fine = {"source_logits": np.eye(3)[[0, 1, 2, 0]], "source_labels": [0, 1, 2, 0], "target_logits": np.eye(3)}
    with pytest.raises(error, match=words):
        label_shift(**{**fine, **change})


@pytest.mark.parametrize("bootstrap", [0, 50])
def test_the_plot_shows_both_domains(bootstrap: int) -> None:
    found = label_shift(*made([[8, 2], [2, 8]], [6, 4]), bootstrap=bootstrap)
    assert isinstance(found, LabelShift)
    ax = found.plot(classes=["cats", "dogs"])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["cats", "dogs"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["source", "target, estimated"]
    assert [bar.get_height() for bar in ax.containers[0]] == found.source_proportions.tolist()
    assert [bar.get_height() for bar in ax.containers[1]] == found.proportions.tolist()
    assert found.plot(ax) is ax


@pytest.mark.parametrize("changes", [{"permutations": 99.5}, {"ridge": "weak"}, {"bootstrap": "a"}])
def test_settings_of_another_kind_meet_a_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="label_shift needs"):
        label_shift(np.eye(2), [0, 1], np.eye(2), **changes)
