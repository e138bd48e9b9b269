"""Importance weights against the known ratio of two Gaussians, and the laws they keep."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.shared.importance import LARGEST_LOG_ODDS, STRENGTHS, density_ratio


def two_gaussians(n_s=2000, n_t=1000, shift=1.0, d=1, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(n_t, d))
    target[:, 0] += shift
    return rng.normal(size=(n_s, d)), target


def test_the_ratio_of_shifted_gaussians():
    """N(1, 1) / N(0, 1) is exp(x - 1/2): linear log odds, so that the classifier can be right."""
    source, target = two_gaussians()
    x = np.linspace(-1.5, 2.5, 9)[:, None]
    weights = density_ratio(source, target, x)
    assert np.abs(np.log(weights) - (x[:, 0] - 0.5)).max() < 0.25


@pytest.mark.parametrize(("n_s", "n_t"), [(400, 400), (400, 1600), (1600, 400)])
def test_weights_are_one_on_average_whatever_the_sizes(n_s, n_t):
    source, target = two_gaussians(n_s, n_t, shift=0.7, d=3)
    fresh = np.random.default_rng(5).normal(size=(4000, 3))
    assert density_ratio(source, target, fresh).mean() == pytest.approx(1.0, abs=0.12)


def test_no_shift_gives_weights_of_one():
    source, target = two_gaussians(shift=0.0, d=4)
    assert np.log(density_ratio(source, target, source)).std() < 0.15


def test_the_order_of_rows_changes_nothing():
    source, target = two_gaussians(103, 78, d=5)
    rng = np.random.default_rng(1)
    again = density_ratio(rng.permutation(source), rng.permutation(target), source[:20])
    np.testing.assert_allclose(again, density_ratio(source, target, source[:20]), rtol=1e-6)


def test_the_scale_and_place_of_a_feature_change_nothing():
    source, target = two_gaussians(200, 200, d=3)
    scale, place = np.array([1.0, 1e3, 1e-2]), np.array([0.0, -7.0, 3.0])

    def moved(x):
        return x * scale + place

    again = density_ratio(moved(source), moved(target), moved(source[:20]))
    np.testing.assert_allclose(again, density_ratio(source, target, source[:20]), rtol=1e-6)


def test_float32_and_dead_features_are_fine():
    source, target = two_gaussians(200, 200, d=3)
    dead = np.zeros((200, 1))
    with_dead = density_ratio(np.hstack([source, dead]), np.hstack([target, dead]), np.hstack([source, dead]))
    np.testing.assert_allclose(with_dead, density_ratio(source, target, source), rtol=1e-6)
    rows = source.astype(np.float32)
    weights = density_ratio(rows, target.astype(np.float32), rows)
    np.testing.assert_allclose(weights, density_ratio(source, target, source), rtol=1e-2)


def test_domains_far_apart_give_finite_weights():
    source, target = two_gaussians(100, 50, shift=1e4, d=2)
    inside, outside = density_ratio(source, target, source), density_ratio(source, target, target * 50)
    assert inside.max() < 0.2
    assert np.isfinite(outside).all()
    assert outside.max() <= np.exp(LARGEST_LOG_ODDS) * 80 / 40 * (1 + 1e-12)


def test_the_strength_is_chosen_by_the_held_out_loss(monkeypatch):
    """Against every single strength on offer: the choice is among them, and noise asks for a weak classifier."""
    source, target = two_gaussians(60, 60, shift=0.0, d=40)
    rows = source[:10]
    chosen = density_ratio(source, target, rows)
    alone = []
    for strength in STRENGTHS:
        monkeypatch.setattr("landbridge.shared.importance.STRENGTHS", (strength,))
        alone.append(density_ratio(source, target, rows))
    assert any(np.allclose(chosen, one, rtol=1e-3) for one in alone)
    assert np.abs(np.log(chosen)).max() < np.abs(np.log(alone[-1])).max() / 3


def test_what_is_refused():
    source, target = two_gaussians(9, 50)
    with pytest.raises(ValueError, match="at least 10 rows of each domain; got 9 of the source and 50 of the target"):
        density_ratio(source, target, source)
    source, target = two_gaussians(20, 20, d=2)
    with pytest.raises(
        ValueError, match=r"features of one size; got source \(20, 2\), target \(20, 2\) and rows \(20, 1\)"
    ):
        density_ratio(source, target, source[:, :1])
