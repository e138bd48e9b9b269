"""Random integers that are a pure function of a name and a row number.

Not numpy's generators: their distributions may change between versions, and a row's numbers would depend on the rows
before it. A counter-based stream has neither fault, and is a few integer operations on arrays.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["bell", "random_words"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def random_words(name: str, rows: NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """Random 64-bit words, (n, count): each row's own SplitMix64 stream, seeded by the name and the row number.

    Args:
        name: which stream, as in ``"optdigits/noisy"``.
        rows: row numbers, (n,), not negative.
        count: words for each row.

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014), figure 11 and the
    mixing constants of Stafford's variant 13.

    >>> words = random_words("name", np.arange(10), 3)
    >>> bool((words[7:8] == random_words("name", np.array([7]), 3)).all())
    True
    """
    key = np.array(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"), dtype=np.uint64)
    seeds: NDArray[np.uint64] = key + rows.astype(np.uint64) * _GAMMA  # (n,)
    return _splitmix(_mix(seeds), count)


def _splitmix(seeds: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    words: NDArray[np.uint64] = seeds[:, None] + steps  # (n, count)
    return _mix(words)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def bell(words: NDArray[np.uint64]) -> NDArray[np.int32]:
    """A bell-shaped integer of each word: the sum of its eight bytes, centred; mean 0, standard deviation 209.

    The sum of eight uniform variables is near enough to a normal one, and exact in integers: sd^2 = 8 (256^2 - 1) / 12.

    >>> bell(np.array([0, 2**64 - 1], dtype=np.uint64)).tolist()
    [-1020, 1020]
    """
    total: NDArray[np.int32] = np.full(words.shape, -1020, dtype=np.int32)
    for byte in range(8):
        total += ((words >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.int32)
    return total
