"""Clusters of features that begin at predicted classes, and how well two labellings agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_mutual_information", "nearest_means"]

ROUNDS = 100  # Lloyd's rounds at most; a dozen is usual


def nearest_means(features: NDArray[Any], labels: NDArray[np.int64], *, clusters: int) -> NDArray[np.int64]:
    """Lloyd's k-means, begun at the mean feature of each label; nothing is drawn.

    A label that no row has begins at the row farthest from all beginnings so far. A cluster that loses all its rows
    keeps its place.

    Args:
        features: (n, d), floating point.
        labels: (n,), from 0 to clusters - 1.
        clusters: k, how many.

    Returns:
        (n,) the cluster of each row; cluster c began at label c.

    >>> nearest_means(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 0, 1]), clusters=2).tolist()
    [0, 0, 1, 1]
    """
    features = np.asarray(features, dtype=np.float64)
    means = _beginnings(features, labels, clusters)
    found = np.full(len(features), -1)
    for _ in range(ROUNDS):
        nearest = (np.square(means).sum(1) - 2 * features @ means.T).argmin(1)  # |x|^2 is the same for each mean
        if np.array_equal(nearest, found):
            break
        found = nearest
        members = np.eye(clusters)[found]  # (n, k)
        counts = members.sum(0)
        means[counts > 0] = (members.T @ features)[counts > 0] / counts[counts > 0, None]
    return np.asarray(found, dtype=np.int64)


def _beginnings(features: NDArray[np.float64], labels: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    means = np.zeros((clusters, features.shape[1]))
    present = np.unique(labels)
    for label in present:
        means[label] = features[labels == label].mean(0)
    distance = np.full(len(features), np.inf)
    for label in present:
        distance = np.minimum(distance, np.square(features - means[label]).sum(1))
    for label in np.setdiff1d(np.arange(clusters), present):
        means[label] = features[distance.argmax()]
        distance = np.minimum(distance, np.square(features - means[label]).sum(1))
    return means


def adjusted_mutual_information(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Mutual information of two labellings of the same rows, 1 for the same groups and about 0 by chance.

    Adjusted by its expectation over permutations and divided by the mean of the entropies. Where one labelling has a
    single group it says nothing on the other: 0, also if both have one (where scikit-learn says 1).

    Source: Vinh, Epps, Bailey, Information Theoretic Measures for Clusterings Comparison, JMLR 11 (2010).

    >>> adjusted_mutual_information(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    from sklearn.metrics import adjusted_mutual_info_score

    if min(len(np.unique(one)), len(np.unique(other))) < 2:
        return 0.0
    return float(adjusted_mutual_info_score(one, other))
