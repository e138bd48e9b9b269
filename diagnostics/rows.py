"""Which rows are used, where there are more of them than needed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.counts import check_count, is_number, is_whole
from ..shared.seeds import generator

__all__ = ["Chosen", "check_count", "choose_pair", "choose_rows", "is_number", "is_whole"]


class Chosen(NamedTuple):
    """Rows of both domains, and which they are.

    Attributes:
        source: (n_s, d).
        target: (n_t, d).
        source_rows: their numbers, increasing, (n_s,).
        target_rows: the same for the target, (n_t,).
        note: a half-sentence that says so, if some were left out; empty otherwise.
    """

    source: Tensor
    target: Tensor
    source_rows: NDArray[np.int64]
    target_rows: NDArray[np.int64]
    note: str


def choose_rows(count: int, most: int, *stream: str | int) -> NDArray[np.int64]:
    """All rows, or ``most`` of them drawn without replacement; in their order.

    Args:
        count: of rows there are.
        most: of rows to be used, >= 1.
        stream: names and numbers of the random stream: the same ones give the same rows of as many.

    Returns:
        Row numbers, increasing, (min(count, most),).

    >>> choose_rows(3, 5, "example").tolist()
    [0, 1, 2]
    """
    if count <= most:
        return np.arange(count, dtype=np.int64)
    drawn = torch.randperm(count, generator=generator("rows", *stream))[:most]
    return np.asarray(drawn.sort().values.numpy(), dtype=np.int64)


def choose_pair(source: Tensor, target: Tensor, most: int, name: str, seed: int) -> Chosen:
    """At most so many rows of each domain.

    Args:
        source: (n, d).
        target: (m, d), on the same device.
        most: rows of each, at most.
        name: of what they are drawn for, and of the random stream.
        seed: of the stream.

    >>> choose_pair(torch.zeros(9, 2), torch.zeros(4, 2), 5, "example", 0).note
    '5 of 9 source rows and 4 of 4 target rows, drawn with seed 0'
    """
    rows = [choose_rows(len(domain), most, name, seed, which) for domain, which in ((source, "s"), (target, "t"))]
    used = [domain if len(r) == len(domain) else domain[r] for domain, r in ((source, rows[0]), (target, rows[1]))]
    counts = [f"{len(r)} of {len(domain)}" for r, domain in zip(rows, (source, target), strict=True)]
    left_out = len(rows[0]) < len(source) or len(rows[1]) < len(target)
    note = f"{counts[0]} source rows and {counts[1]} target rows, drawn with seed {seed}" if left_out else ""
    return Chosen(used[0], used[1], rows[0], rows[1], note)
