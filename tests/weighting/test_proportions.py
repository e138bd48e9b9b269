"""Class proportions: right where they can be known, and doubted where nothing may be built on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landbridge.weighting import class_proportions

CONFUSION = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])  # P(predicted i | class j)


def exact(predicted: Any, classes: int = 3) -> Any:
    return np.eye(classes)[np.asarray(predicted, dtype=int)]


def drawn(proportions: list[float], n: int, random: np.random.Generator) -> tuple[Any, Any]:
    """Logits drawn by the confusion matrix, and the labels."""
    labels = random.choice(3, size=n, p=proportions)
    return exact([random.choice(3, p=CONFUSION[:, y]) for y in labels]), labels


def cells(counts: list[list[int]]) -> tuple[Any, Any]:
    """Logits and labels with these counts: counts[predicted][label]."""
    pairs = [(i, j) for i, row in enumerate(counts) for j, n in enumerate(row) for _ in range(n)]
    return exact([i for i, _ in pairs], len(counts)), [j for _, j in pairs]


def test_changed_proportions_are_seen_and_known_from_a_hundred_rows() -> None:
    random = np.random.default_rng(0)
    truth = np.array([0.1, 0.3, 0.6])
    source, labels = drawn([0.4, 0.3, 0.3], 100, random)
    found = class_proportions(source, labels, drawn(truth.tolist(), 800, random)[0], proportions=[40, 30, 30])
    assert found.changed
    assert found.trusted
    assert np.abs(found.proportions - truth).sum() / 2 < 0.06
    assert ((found.low < truth) & (truth < found.high)).all()
    assert found.source.tolist() == [0.4, 0.3, 0.3]
    assert found.proportions.sum() == pytest.approx(1)


def test_intervals_cover_and_false_alarms_keep_their_level_where_nothing_has_changed() -> None:
    """With 45 held-out rows, of which a bootstrap takes classes without an error for certain."""
    random = np.random.default_rng(1)
    covered, alarms, runs, p = 0.0, 0, 40, [0.5, 0.3, 0.2]
    for run in range(runs):
        source, labels = drawn(p, 45, random)
        found = class_proportions(source, labels, drawn(p, 300, random)[0], proportions=p, draws=60, seed=run)
        covered += ((found.low <= p) & (p <= found.high)).mean() / runs
        alarms += found.p_value <= 0.05
    assert covered > 0.9
    assert alarms <= 6  # 5% of 40 are 2; 7 and more in 1 of 300 tests that keep their level


def test_a_perfect_column_of_two_rows_is_not_taken_for_certain() -> None:
    few = class_proportions(*cells([[2, 0], [0, 2]]), exact([0] * 50 + [1] * 50, 2))
    many = class_proportions(*cells([[200, 0], [0, 200]]), exact([0] * 50 + [1] * 50, 2))
    assert few.high[0] - few.low[0] > 2 * (many.high[0] - many.low[0])


@pytest.mark.parametrize(
    ("held_out", "target", "doubt"),
    [
        (cells([[10, 0, 0], [0, 10, 0], [0, 0, 0]]), [2] * 90, "no source row of class 2 was held out"),
        (cells([[10, 0, 5], [0, 10, 5], [0, 0, 0]]), [0] * 90, "class 2 is never predicted on held-out source rows"),
        (cells([[50, 45], [50, 55]]), [0] * 90, "confuses classes too often"),  # the [0, 1] within [0, .98] of before
        (cells([[1, 0], [1, 2]]), [0] * 90, "interval as wide as"),
        (cells([[80, 2], [2, 80]]), [0] * 90, "it would leave class 1 "),  # narrow, and training on one class
    ],
)
def test_what_cannot_be_known_is_said_and_not_trusted(held_out: Any, target: list[int], doubt: str) -> None:
    classes = held_out[0].shape[1]
    found = class_proportions(*held_out, exact(target, classes), proportions=np.ones(classes))
    assert doubt in found.doubt
    assert not found.trusted
    assert not found.looks_different
    assert (found.proportions > 0).all()  # no class dies out by the estimate


def test_predictions_that_no_proportions_explain_are_another_shift() -> None:
    source, labels = cells([[40, 30, 0], [10, 60, 0], [0, 0, 60]])
    found = class_proportions(source, labels, exact([0] * 60 + [2] * 40))  # no mixture predicts class 1 so seldom
    assert "no proportions explain" in found.doubt
    assert found.looks_different


def blobs(proportions: list[float], n: int, random: np.random.Generator, features: int = 4) -> tuple[Any, Any]:
    """Rows about three centres, and their labels."""
    labels = random.choice(3, size=n, p=proportions)
    return random.normal(size=(n, features)) + 2.5 * np.eye(3, features)[labels], labels


def by_rule(rows: Any) -> Any:
    """Logits of a classifier of these rows, learned from nothing."""
    return rows[:, :3]


CHANGE, EVEN = [0.7, 0.2, 0.1], [1 / 3] * 3


@pytest.mark.parametrize(
    ("proportions", "change", "trusted"),
    [
        (CHANGE, lambda rows: rows, True),
        (CHANGE, lambda rows: 1.5 * rows + 0.3, True),  # beside another unit and another zero
        (EVEN, lambda rows: rows + np.array([2.0, 0.0, 0.0, 0.0]), False),  # which moves the predictions as far
        (EVEN, lambda rows: rows[:, [1, 1, 2, 3]], False),
    ],
)
def test_the_rows_tell_changed_proportions_from_features_that_moved(
    proportions: list[float], change: Any, trusted: bool
) -> None:
    random = np.random.default_rng(4)
    source, labels = blobs(EVEN, 400, random)
    target = change(blobs(proportions, 400, random)[0])
    held = slice(0, 100)
    found = class_proportions(
        by_rule(source[held]), labels[held], by_rule(target), rows=(source, labels, target), draws=50
    )
    assert found.changed
    assert found.trusted is trusted
    assert found.looks_different is not trusted


def test_a_second_classifier_that_tells_other_proportions_is_believed() -> None:
    random = np.random.default_rng(2)
    (source, labels), (target, _) = blobs(EVEN, 300, random), blobs(EVEN, 300, random)
    logits = by_rule(target).copy()
    logits[:150] = [9.0, 0.0, 0.0]  # whatever this network sees in them
    found = class_proportions(by_rule(source), labels, logits, rows=(source, labels, target))
    assert found.changed
    assert "a second classifier tells other proportions" in found.doubt
    assert found.second is not None
    assert found.second[0] == pytest.approx(1 / 3, abs=0.1)


def test_a_small_move_is_no_change() -> None:
    found = class_proportions(*cells([[500, 0], [0, 500]]), exact([0] * 560 + [1] * 440, 2))
    assert found.p_value < 0.01
    assert found.moved == pytest.approx(0.06, abs=1e-3)
    assert not found.changed


def test_the_evidence_names_the_classes_that_changed_most() -> None:
    found = class_proportions(*cells([[50, 0], [0, 50]]), exact([0] * 10 + [1] * 90, 2))
    said = found.evidence(["benign", "malignant"])
    assert "class benign: 0.50 of the source, 0.1" in said
    assert "class malignant: 0.50 of the source, 0.8" in said
    assert "100 held-out source rows" in said
    assert "class 0: 0.50" in found.evidence()


def test_the_same_again_and_whatever_the_order_of_rows() -> None:
    random = np.random.default_rng(3)
    source, labels = drawn([1 / 3] * 3, 60, random)
    target = drawn([0.6, 0.2, 0.2], 90, random)[0]
    order = random.permutation(60)
    one, other = (
        class_proportions(source, labels, target),
        class_proportions(source[order], labels[order], target[::-1]),
    )
    np.testing.assert_array_equal(one.proportions, other.proportions)
    assert one.p_value == other.p_value


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"target": exact([0], 2)}, "the same classes in both domains"),
        ({"proportions": [1.0, 2.0]}, r"one non-negative number a class, shape \(3,\)"),
        ({"proportions": [0.5, -0.1, 0.6]}, "non-negative"),
    ],
)
def test_errors_are_sentences(given: dict[str, Any], sentence: str) -> None:
    source, labels = cells([[5, 0, 0], [0, 5, 0], [0, 0, 5]])
    with pytest.raises(ValueError, match=sentence):
        class_proportions(source, labels, given.pop("target", exact([0, 1])), **given)
