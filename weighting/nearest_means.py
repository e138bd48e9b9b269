"""A classifier with no training: the nearest class mean of the rows as they came."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .units import Units, blocks, drawn_in

__all__ = ["NearestMeans", "nearest_means"]

Array = NDArray[np.float64]


class NearestMeans(NamedTuple):
    """Scores of both domains, with the same largest entry as minus the squared distance to each class mean.

    Attributes:
        source: (n_s, k), each row left out of its own class's mean.
        target: (n_t, k).
    """

    source: Array
    target: Array


def nearest_means(source: Any, labels: NDArray[np.int64], target: Any, *, classes: int) -> NearestMeans:
    r"""How near each row is to the mean of each class of the source, in the source's own units.

    .. math:: s_c(x) = - \| z(x) - m_c \|^2, \qquad m_c = \frac1{n_c} \sum_{i: y_i = c} z(x_i)

    with z the features standardised by the source and drawn in beyond 3 deviations. A source row is compared with the
    mean of the others of its class, :math:`\| z - m_c^{(-i)} \| = \frac{n_c}{n_c - 1} \| z - m_c \|`: as rows that were
    not learned from are.

    Args:
        source: rows (n_s, ...), an array, a tensor or :class:`~landbridge.shared.batches.Rows`; read in blocks.
        labels: their class numbers, (n_s,).
        target: rows (n_t, ...).
        classes: k; a class without rows, or whose only row is the one in question, gets no row.

    >>> rows = np.array([[0.0], [0.2], [1.0], [1.2]])
    >>> nearest_means(rows, np.array([0, 0, 1, 1]), np.array([[0.9]]), classes=2).target.argmax(1).tolist()
    [1]
    """
    known, units = torch.as_tensor(labels, dtype=torch.int64), Units.of(source)
    counts = torch.bincount(known, minlength=classes).double()
    means = torch.zeros(classes, len(units.mean), dtype=torch.float64)
    for start, rows in blocks(source):
        means.index_add_(0, known[start : start + len(rows)], drawn_in(units.standardise(rows)))
    means /= counts.clamp(min=1)[:, None]

    def scores(domain: Any) -> Tensor:
        found = []
        for _, rows in blocks(domain):
            z = drawn_in(units.standardise(rows))
            found.append(2 * z @ means.T - means.square().sum(1) - z.square().sum(1, keepdim=True))
        made = torch.cat(found)
        made[:, counts == 0] = made.min() - 1
        return made

    of_source = scores(source)
    own = torch.arange(len(known)), known
    left_out = (counts / (counts - 1).clamp(min=1)).square()[known]
    of_source[own] = torch.where(counts[known] > 1, of_source[own] * left_out, of_source.min() - 1)
    return NearestMeans(of_source.numpy(), scores(target).numpy())
