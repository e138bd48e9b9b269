"""Rows drawn so that the classes have given proportions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..shared.seeds import generator

__all__ = ["rows_in_proportions"]

MOST_TIMES = 10  # as many rows as there are: they are numbers alone, and an epoch may take so long


def rows_in_proportions(
    labels: NDArray[np.int64], proportions: NDArray[np.float64], *, seed: int = 0
) -> NDArray[np.int64]:
    """Rows of each class in its share, within a class each as often as any other, and all of them if that can be.

    There are as many rows as it takes for each row of the class that has become rarest to be there once: a class that
    is rare in the target is still learned from all its rows, and the others' are repeated. At most ten times as many
    come as there are. The counts are the shares rounded by largest remainders, but at least one row of each class that
    is there; the rows of a class are repeated evenly, once more for some of them, which are drawn.

    Args:
        labels: class numbers, (n,), n at least k.
        proportions: of the classes, (k,), of sum 1; what a class without rows would get goes to the others.
        seed: of the rows that are drawn.

    Returns:
        Row numbers, increasing, from n to 10 n of them.

    >>> rows_in_proportions(np.array([0, 0, 0, 1]), np.array([0.5, 0.5])).tolist()
    [0, 1, 2, 3, 3, 3]
    """
    n, k = len(labels), len(proportions)
    there = np.bincount(labels, minlength=k)
    wanted = np.where(there > 0, proportions, 0.0)
    wanted = wanted / wanted.sum()
    most = MOST_TIMES * n
    rarest = float(
        (there[there > 0] / np.maximum(wanted[there > 0], 1 / most)).max()
    )  # rows, for all of it to be there
    counts = _rounded(wanted * round(min(max(rarest, n), most)), there > 0)
    rows = []
    for c in np.flatnonzero(there):
        of_class = np.flatnonzero(labels == c)
        order = torch.randperm(len(of_class), generator=generator("rows-in-proportions", seed, int(c))).numpy()
        rows.append(of_class[order[np.arange(counts[c]) % len(of_class)]])
    return np.sort(np.concatenate(rows))


def _rounded(shares: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Whole numbers near the shares, of the same sum, at least 1 where something is there."""
    counts = np.where(there, np.maximum(np.floor(shares), 1), 0).astype(np.int64)
    total = round(float(shares.sum()))
    while counts.sum() < total:
        counts[np.argmax(np.where(there, shares - counts, -np.inf))] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - shares, -np.inf))] -= 1
    return counts
