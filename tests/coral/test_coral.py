"""CORAL against scipy's matrix powers, the Gaussian closed form, and the estimator's laws."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.base import clone

import landbridge as lb
from landbridge import CORAL


def domains(n_s=40, n_t=50, d=4, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(n_s, d)) @ rng.normal(size=(d, d)) + 2
    target = rng.normal(size=(n_t, d)) @ rng.normal(size=(d, d)) - 1
    return source, np.arange(n_s) % 2, target


def slow_coral(source, target, regularization=1.0):
    def covariance(rows):
        mean = sum(rows) / len(rows)
        return sum(np.outer(row - mean, row - mean) for row in rows) / (len(rows) - 1)

    eye = np.eye(source.shape[1])
    whitening = fractional_matrix_power(covariance(source) + regularization * eye, -0.5)
    return whitening @ fractional_matrix_power(covariance(target) + regularization * eye, 0.5)


@pytest.mark.parametrize(
    ("n_s", "n_t", "d"), [(40, 50, 4), (5, 6, 9), (30, 4, 8), (4, 30, 8), (8, 8, 8), (9, 9, 1), (2, 2, 5)]
)
@pytest.mark.parametrize("regularization", [1.0, 0.01, 30.0])
def test_the_map_is_the_papers(n_s, n_t, d, regularization):
    source, ys, target = domains(n_s, n_t, d)
    matrix = slow_coral(source, target, regularization)
    coral = CORAL(regularization=regularization)
    moved = coral.fit_transform(*lb.pack(source, ys, target))
    np.testing.assert_allclose(moved[:n_s], source @ matrix, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(moved[n_s:], target)
    new = np.random.default_rng(1).normal(size=(3, d))
    np.testing.assert_allclose(coral.transform(new, sample_domain=[1, 1, 1]), new @ matrix, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(coral.transform(new), new)


def test_covariance_of_moved_rows_is_the_targets():
    source, ys, target = domains()
    moved = CORAL(regularization=0.0).fit_transform(*lb.pack(source, ys, target))[:40]
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), rtol=1e-8)
    regularized = CORAL(regularization=1e-6).fit_transform(*lb.pack(source, ys, target))[:40]
    np.testing.assert_allclose(np.cov(regularized.T), np.cov(target.T), atol=1e-3)
    paper = CORAL().fit_transform(*lb.pack(source, ys, target))[:40]
    assert np.abs(np.cov(paper.T) - np.cov(target.T)).max() > 0.05


def test_means_follow_the_paper_or_are_matched():
    source, ys, target = domains()
    paper = CORAL().fit_transform(*lb.pack(source, ys, target))[:40]
    matched = CORAL(match_means=True).fit_transform(*lb.pack(source, ys, target))[:40]
    np.testing.assert_allclose(paper.mean(0), source.mean(0) @ slow_coral(source, target), rtol=1e-8)
    np.testing.assert_allclose(matched.mean(0), target.mean(0), rtol=1e-8)
    np.testing.assert_allclose(np.cov(matched.T), np.cov(paper.T), rtol=1e-8)


def test_equal_domains_are_left_alone():
    source, ys, _ = domains()
    np.testing.assert_allclose(CORAL().fit_transform(*lb.pack(source, ys, source))[:40], source, rtol=1e-9)


def test_many_features_need_no_square_matrix():
    source, ys, target = (np.random.default_rng(0).normal(size=(60, 4096)), np.arange(60) % 2, np.zeros((50, 4096)))
    target[:, :50] = np.diag(np.arange(50.0))
    X, y, domain = lb.pack(source, ys, target)
    tracemalloc.start()
    try:
        moved = CORAL().fit_transform(X, y, domain)[:60]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 8 * 4096**2
    direction = np.random.default_rng(1).normal(size=4096)
    rows = np.concatenate([source - source.mean(0), target - target.mean(0)])
    direction -= np.linalg.lstsq(rows.T, direction, rcond=None)[0] @ rows
    # Where neither domain varies, whitening by 4^(-1/2) and coloring by 4^(1/2) cancel.
    coral = CORAL(regularization=4.0).fit(X, y, domain)
    np.testing.assert_allclose(coral.transform(direction[None], [1])[0], direction, atol=1e-8)
    assert np.abs(moved - source).max() > 1


def test_interleaving_the_domains_permutes_the_output_only():
    X, y, domain = lb.pack(*domains())
    order = np.random.default_rng(3).permutation(len(X))
    expected = CORAL().fit_transform(X, y, domain)[order]
    np.testing.assert_allclose(CORAL().fit_transform(X[order], y[order], domain[order]), expected, rtol=1e-9, atol=1e-9)


def test_labels_are_not_read():
    X, y, domain = lb.pack(*domains())
    expected = CORAL().fit_transform(X, y, domain)
    np.testing.assert_array_equal(CORAL().fit_transform(X, None, domain), expected)
    np.testing.assert_array_equal(CORAL().fit_transform(X, np.full(len(X), np.nan), domain), expected)
    np.testing.assert_array_equal(CORAL().fit_transform(X, y), expected)  # -1 beside 0 and 1 marks the same rows


def test_clone_pickle_and_refit():
    X, y, domain = lb.pack(*domains())
    coral = CORAL(regularization=0.5, match_means=True)
    assert clone(coral).get_params() == {"regularization": 0.5, "match_means": True}
    first = coral.fit_transform(X, y, domain)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(coral)).transform(X, domain), first)
    np.testing.assert_array_equal(coral.fit_transform(X, y, domain), first)


def test_float32_stays_float32_and_is_computed_in_float64():
    X, y, domain = lb.pack(*domains())
    single = CORAL().fit_transform(X.astype(np.float32), y, domain)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, CORAL().fit_transform(X, y, domain), rtol=1e-4, atol=1e-5)


def test_errors_are_sentences():
    X, y, domain = lb.pack(*domains(5, 6, 9))
    with pytest.raises(ValueError, match="finite regularization >= 0; got -1"):
        CORAL(regularization=-1.0).fit(X, y, domain)
    with pytest.raises(TypeError, match="regularization as a number; got str"):
        CORAL(regularization="1").fit(X, y, domain)
    with pytest.raises(TypeError, match="match_means as True or False; got 1"):
        CORAL(match_means=1).fit(X, y, domain)
    with pytest.raises(ValueError, match=r"cannot whiten 5 source rows of 9 features with regularization=0"):
        CORAL(regularization=0.0).fit(X, y, domain)
    with pytest.raises(ValueError, match="at least 2 rows of each domain for a covariance; got 1 target row"):
        CORAL().fit(X[:6], None, [1, 1, 1, 1, 1, -1])
    constant = np.random.default_rng(0).normal(size=(20, 3)) * [1, 1, 0]
    with pytest.raises(ValueError, match="because their covariance is singular"):
        CORAL(regularization=0).fit(constant, None, np.repeat([1, -1], 10))
