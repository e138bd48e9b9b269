"""The second opinion: what classical classifiers expect of predictions, whatever holds the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine

import landbridge as lb
from landbridge.shared.batches import Rows
from landbridge.weighting import second_opinion
from landbridge.weighting.second_opinion import MOST_ROWS, SecondOpinion


def halves(load=load_wine):
    X, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    s, t = order[: len(y) // 2], order[len(y) // 2 :]
    return X[s], y[s], X[t], y[t]


def test_right_predictions_are_expected_to_be_right_and_spoilt_ones_less():
    Xs, ys, Xt, yt = halves()
    found = second_opinion(Xs, ys, Xt, classes=3)
    assert found.probabilities.shape == (len(Xt), 3)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert found.expects(yt)[0] > 0.85
    spoilt = yt.copy()
    spoilt[::5] = (spoilt[::5] + 1) % 3
    lost = np.subtract(found.expects(yt), found.expects(spoilt))
    assert lost == pytest.approx([0.2, 0.2], abs=0.06)


def test_what_is_expected_is_a_mean_of_probabilities_in_the_targets_proportions():
    found = SecondOpinion(np.array([0, 2]), np.array([[0.8, 0.2], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    predicted = np.array([0, 1, 1])
    assert found.expects(predicted) == pytest.approx(((0.8 + 0.5) / 2, 0.5))
    assert found.expects(predicted, np.array([1.0, 3.0]))[0] == pytest.approx((0.8 / 1.4 + 1.5 / 2) / 2)


def test_units_do_not_count_and_the_holder_of_the_rows_neither():
    Xs, ys, Xt, _ = halves()
    plain = second_opinion(Xs, ys, Xt, classes=3)
    scale = np.logspace(-3, 3, Xs.shape[1])
    other = second_opinion(Xs * scale + 7, ys, Xt * scale + 7, classes=3)
    np.testing.assert_allclose(other.probabilities, plain.probabilities, atol=0.05)
    for given in (torch.tensor(Xs), Rows(np.concatenate([Xt, Xs]), np.arange(len(Xt), len(Xt) + len(Xs)))):
        np.testing.assert_allclose(second_opinion(given, ys, Xt, classes=3).probabilities, plain.probabilities)


def test_of_rows_that_moved_the_second_form_tells():
    Xs, ys, Xt, yt = halves()
    moved = second_opinion(Xs, ys, 1.7 * Xt + 9 * Xt.std(0), classes=3)
    assert moved.expects(yt)[0] < 0.7
    assert moved.expects(yt)[1] > 0.85


def test_few_rows_of_many_features_a_class_without_rows_and_constant_features():
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, (9, 3, 40, 40)).astype(np.uint8), np.array([0, 2, 2, 0, 2, 0, 2, 0, 2])
    found = second_opinion(images, labels, images[:4], classes=3)
    assert np.isfinite(found.probabilities).all()
    assert (found.probabilities[:, 1] == 0).all()
    flat = second_opinion(np.ones((6, 4)), np.arange(6) % 2, np.ones((3, 4)), classes=2)
    assert np.isfinite(flat.probabilities).all()


def test_many_rows_are_drawn_and_the_same_seed_draws_the_same():
    random = np.random.default_rng(2)
    X, y = random.normal(size=(3 * MOST_ROWS, 2)), random.integers(0, 2, 3 * MOST_ROWS)
    one, two, other = (second_opinion(X, y, X, classes=2, seed=seed) for seed in (0, 0, 1))
    assert len(one.rows) == MOST_ROWS
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert (one.rows != other.rows).any()


def test_adapt_warns_where_alignment_has_spoilt_what_the_rows_tell():
    """Real rows, no shift, and a weight a hundred times too high."""
    Xs, ys, Xt, yt = halves(load_breast_cancer)
    with pytest.warns(lb.NegativeTransferWarning, match="Classifiers of other kinds"):
        found = lb.adapt(
            None, Xs, ys, Xt, method="dann", weight=100.0, steps=100, device="cpu", evaluate=yt, label_shift="ignore"
        )
    assert found.after.target < found.before.target - 0.02
    assert found.before.expected[0] > found.after.expected[0] + 0.015
    assert "target: expected by a second opinion" in str(found)
