"""Rows in the units of the source: standardised, and drawn in beyond three deviations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["LIMIT", "Units", "blocks", "drawn_in"]

LIMIT = 3.0  # standard deviations beyond which values are drawn in, as the networks made for tables do
BLOCK = 1 << 22  # numbers read at once
ROUNDING = 1e3  # times eps: what is left of a constant by adding it up


class Units(NamedTuple):
    """Mean and standard deviation of each feature, (d,) float64; a constant feature has deviation 1.

    >>> Units.of(np.array([[0.0, 5.0], [2.0, 5.0]])).standardise(torch.tensor([[3.0, 5.0]]))
    tensor([[2., 0.]], dtype=torch.float64)
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, rows: Any) -> Units:
        """Of rows (n, ...), read in blocks, in two passes."""
        mean = _mean(rows, None)
        variance = _mean(rows, mean)
        constant = variance <= (ROUNDING * torch.finfo(torch.float64).eps * mean).square()
        return cls(mean, torch.where(constant, torch.ones_like(variance), variance).sqrt())

    def standardise(self, rows: Tensor) -> Tensor:
        """(n, d) in these units."""
        return (rows - self.mean) / self.std


def drawn_in(z: Tensor) -> Tensor:
    r""":math:`z / \sqrt{1 + (z / 3)^2}`: within 3 and in their order."""
    return z / (1 + (z / LIMIT).square()).sqrt()


def blocks(domain: Any) -> Iterator[tuple[int, Tensor]]:
    """Some rows at a time as a float64 matrix on the CPU, with the number of the first."""
    size = max(1, BLOCK // max(1, int(np.prod(domain.shape[1:]))))
    for start in range(0, len(domain), size):
        some = domain[start : start + size]
        rows = some if isinstance(some, Tensor) else torch.as_tensor(np.array(some))
        yield start, rows.detach().cpu().double().reshape(len(rows), -1)


def _mean(domain: Any, centre: Tensor | None) -> Tensor:
    """Of the rows, or of their squared distances from a centre, by feature."""
    total: Any = 0.0
    for _, rows in blocks(domain):
        total = total + (rows if centre is None else (rows - centre).square()).sum(0)
    return torch.as_tensor(total / len(domain))
