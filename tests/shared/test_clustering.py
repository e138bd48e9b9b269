"""k-means begun at labels, against scikit-learn's and a slow transcription; agreement of labellings."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from landbridge.shared.clustering import adjusted_mutual_information, nearest_means


def blobs(n=90, k=3, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    return rng.normal(size=(k, 4))[truth] * 4 + spread * rng.normal(size=(n, 4)), truth


@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_scikit_learn_from_the_same_beginnings(seed):
    x, truth = blobs(spread=2.5, seed=seed)
    said = np.where(np.random.default_rng(seed).random(90) < 0.6, truth, 0)
    begin = np.array([x[said == c].mean(0) for c in range(3)])
    want = KMeans(3, init=begin, n_init=1, algorithm="lloyd", tol=0).fit(x).labels_
    np.testing.assert_array_equal(nearest_means(x, said, clusters=3), want)


def test_wrong_labels_are_put_right_by_the_features():
    x, truth = blobs(spread=0.1)
    said = truth.copy()
    said[::7] = (said[::7] + 1) % 3
    np.testing.assert_array_equal(nearest_means(x, said, clusters=3), truth)


def test_labels_that_nobody_has_begin_far_away():
    x = np.array([[0.0], [0.2], [10.0], [10.2], [-30.0], [-30.1]])
    found = nearest_means(x, np.zeros(6, dtype=int), clusters=3)
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[4] == found[5] == 1  # the farthest from the one mean (-8.3) comes first
    assert len(set(found.tolist())) == 3


def test_more_clusters_than_rows_and_equal_rows():
    found = nearest_means(np.ones((4, 2)), np.zeros(4, dtype=int), clusters=9)
    assert found.tolist() == [0, 0, 0, 0]


def test_an_empty_cluster_keeps_its_place():
    """Label 1 stands between the groups and loses its rows to the others; it must not become NaN or 0."""
    x = np.array([[0.0], [0.0], [0.0], [4.0], [8.0], [8.0], [8.0], [0.5], [7.5]])
    said = np.array([0, 0, 0, 1, 2, 2, 2, 1, 1])
    assert nearest_means(x, said, clusters=3).tolist() == [0, 0, 0, 1, 2, 2, 2, 0, 2]


def mutual_information(one, other):
    n = len(one)
    total = 0.0
    for a in set(one):
        for b in set(other):
            both = sum(x == a and y == b for x, y in zip(one, other, strict=True))
            if both:
                total += both / n * math.log(both * n / (one.count(a) * other.count(b)))
    return total


def entropy(labels):
    n = len(labels)
    return -sum(labels.count(a) / n * math.log(labels.count(a) / n) for a in set(labels))


def test_agreement_is_adjusted_by_its_mean_over_all_permutations():
    one, other = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1]
    expected = sum(mutual_information(one, list(p)) for p in permutations(other)) / math.factorial(6)
    middle = (entropy(one) + entropy(other)) / 2
    want = (mutual_information(one, other) - expected) / (middle - expected)
    assert adjusted_mutual_information(np.array(one), np.array(other)) == pytest.approx(want, rel=1e-10)


def test_a_single_group_agrees_with_nothing():
    one, two = np.zeros(8, dtype=int), np.arange(8) % 2
    assert adjusted_mutual_information(one, one) == 0.0
    assert adjusted_mutual_information(one, two) == adjusted_mutual_information(two, one) == 0.0
    assert adjusted_mutual_information(two, 1 - two) == 1.0
