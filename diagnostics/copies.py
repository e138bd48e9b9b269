"""Rows that stand more than once: counted, and where they are repetitions of one sample, tested as one."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.seeds import generator

__all__ = ["Copies", "distinct_pair", "find_copies"]

BEYOND_CHANCE = 3.3  # standard deviations: one in a thousand random splits puts so many copies on one side
FEWEST_ROWS = 5  # distinct ones in each domain: with fewer nothing is left to test
FEWEST_GROUPS = 20  # distinct rows: a common factor of fewer counts is no evidence of repetition
LOOKED_AT = 300  # distinct rows whose pairs are compared
NEAR = 0.02  # share of the features in which two rows may differ, and at least two, and be near
NEAR_PAIRS = 1e-3  # share of pairs: with more, rows that coincide are what such data has


class Copies(NamedTuple):
    """Which rows of two domains are exact copies of others, and which rows are to be tested.

    Attributes:
        source: rows of the source that an earlier source row equals.
        target: the same of the target.
        across: rows of the target that some source row equals.
        source_rows: numbers of the source rows to be tested, increasing.
        target_rows: of the target.
        n_source: rows of the source.
        n_target: of the target.
    """

    source: int
    target: int
    across: int
    source_rows: NDArray[np.int64]
    target_rows: NDArray[np.int64]
    n_source: int
    n_target: int

    @property
    def left_out(self) -> int:
        """How many rows are not tested."""
        return self.n_source + self.n_target - len(self.source_rows) - len(self.target_rows)

    @property
    def note(self) -> str:
        """What was done, as half a sentence; empty where nothing was."""
        return f"{self.left_out} exact copies of other rows of their domain left out" if self.left_out else ""


def find_copies(x: Tensor, z: Tensor, *, seed: int = 0) -> Copies:
    """Count exact copies in and between two domains, and tell repetitions from data whose rows coincide by nature.

    A permutation test exchanges rows. Copies of one sample are no samples of their own: rows that stand three times in
    their domain and never in the other make any test sure of a difference that is none. Copies spread over both
    domains as chance would (one table with double rows, split at random) do no harm; nor may rows be dropped where they
    coincide because they hold few values (yes and no, one of five categories): how often they do is the information.
    So a domain is thinned in two cases only.

    1. All its rows, at least 20 different ones, stand r, 2 r, 3 r, ... times, r > 1: of each, one r-th is kept.
    2. Both domains are reduced to their distinct rows, if more groups of copies lie in one domain alone than a random
       split would leave there (by 3.3 standard deviations), each domain has at least 5 different rows, *and* the data
       do not look discrete: a feature has a value of its own in half of the distinct rows, or fewer than one in a
       thousand pairs of distinct rows are nearly equal (differ in at most 2 features, or 2 in 100), so that chance
       makes no equal ones.

    Args:
        x: rows of the source, (n_s, d).
        z: of the target, (n_t, d).
        seed: of the distinct rows that are compared.

    >>> x, z = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    >>> find_copies(x.repeat(3, 1), z).source, find_copies(x.repeat(3, 1), z).note
    (60, '60 exact copies of other rows of their domain left out')
    """
    n_s, n_t = len(x), len(z)
    of = _groups(torch.cat([x, z]))
    count = int(of.max()) + 1
    times = np.stack([np.bincount(of[:n_s], minlength=count), np.bincount(of[n_s:], minlength=count)])  # (2, groups)
    copies = [int(side.sum() - (side > 0).sum()) for side in times]
    across = int(times[1][times[0] > 0].sum())
    kept = [np.arange(n_s), np.arange(n_t)]
    if sum(copies):
        sides = of[:n_s], of[n_s:]
        kept = [_thinned(side, of_groups) for side, of_groups in zip(sides, times, strict=True)]
        left = np.stack([np.bincount(side[rows], minlength=count) for side, rows in zip(sides, kept, strict=True)])
        distinct = [np.sort(np.unique(side, return_index=True)[1]) for side in sides]
        if (
            min(map(len, distinct)) >= FEWEST_ROWS
            and _on_one_side(left) > BEYOND_CHANCE
            and not _discrete(torch.cat([x, z]), of, seed)
        ):
            kept = distinct
    return Copies(copies[0], copies[1], across, kept[0], kept[1], n_s, n_t)


def distinct_pair(x: Tensor, z: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor, str]:
    """The rows to be tested, and a note that says what was left out.

    >>> x, z = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    >>> distinct_pair(x, z)[0] is x
    True
    """
    found = find_copies(x, z, seed=seed)
    if not found.left_out:
        return x, z, ""
    return (
        x[torch.from_numpy(found.source_rows).to(x.device)],
        z[torch.from_numpy(found.target_rows).to(z.device)],
        (found.note),
    )


def _groups(rows: Tensor) -> NDArray[np.int64]:
    """A number for each row, equal where the rows are, (n,)."""
    content = np.ascontiguousarray((rows + 0.0).cpu().numpy())  # -0.0 is 0.0
    if content.shape[1] * content.itemsize > 64:  # long rows by their digests: two of one digest do not happen
        digests = [hashlib.blake2b(row, digest_size=16).digest() for row in content.view(np.uint8)]
        keys = np.frombuffer(b"".join(digests), dtype="V16")
    else:
        keys = content.view(f"V{content.shape[1] * content.itemsize}").ravel()
    return np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _thinned(groups: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows, or where each stands a multiple of r > 1 times, one r-th of each; increasing numbers."""
    repeats = int(np.gcd.reduce(times[times > 0]))
    if repeats < 2 or (times > 0).sum() < FEWEST_GROUPS:
        return np.arange(len(groups))
    order = np.argsort(groups, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(groups))])[groups[order]]
    return np.sort(order[(np.arange(len(groups)) - first) % repeats == 0])


def _on_one_side(times: NDArray[np.int64]) -> float:
    """By how many standard deviations more groups of copies lie in one domain than in a random split of all rows."""
    n_s, n_t = times.sum(1)
    size = times.sum(0)
    several = size > 1
    if not several.any():
        return 0.0
    share = n_s / (n_s + n_t)
    alone = share ** size[several] + (1 - share) ** size[several]
    observed = float((times[:, several] == 0).any(0).sum())
    spread = math.sqrt(float((alone * (1 - alone)).sum()))
    return (observed - float(alone.sum())) / spread if spread > 0 else 0.0


def _discrete(rows: Tensor, groups: NDArray[np.int64], seed: int) -> bool:
    """Whether distinct rows are so near each other that equal ones are no surprise."""
    first = np.unique(groups, return_index=True)[1]
    if len(first) > LOOKED_AT:
        stream = generator("copies", seed)
        first = first[torch.randperm(len(first), generator=stream)[:LOOKED_AT].numpy()]
    some = rows[torch.from_numpy(np.sort(first)).to(rows.device)].cpu()
    m, d = some.shape
    if m < 3:
        return True
    ordered = some.sort(0).values
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] > ordered[:-1]
    own = fresh.clone()  # values that stand once in their feature
    own[:-1] &= fresh[1:]
    if bool((own.sum(0) * 2 >= m).any()):
        return False
    most = max(2, int(NEAR * d))
    near = sum(int(((some[i] != some[i + 1 :]).sum(1) <= most).sum()) for i in range(m - 1))
    return near > NEAR_PAIRS * m * (m - 1) / 2
