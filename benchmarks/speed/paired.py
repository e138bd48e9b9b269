"""The speed of one function over another's, as ratios of neighbouring blocks, which a busy machine disturbs least."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Paired", "paired_ratios", "paired_seconds"]

MISSED = 0.05  # the chance that the true median lies outside the interval


def paired_ratios(
    a: Callable[[], object], b: Callable[[], object], *, blocks: int = 15, seconds: float = 0.05
) -> tuple[float, float, float]:
    """How many times faster ``a`` is than ``b``: calls per second of ``a`` over calls per second of ``b``.

    Each block runs A B B A, so that a machine which slows down steadily slows both alike, and gives one ratio. Work on
    a device must have ended when a function returns.

    Args:
        a: the function in question.
        b: the function it is compared with.
        blocks: how many ratios are taken, after one block of warming up that is not counted.
        seconds: about how long each of a block's four runs takes; at least one call is made.

    Returns:
        The median of the ratios, and the ends of its 95% interval: order statistics, valid for any distribution. With
        fewer than 6 blocks there is no such interval, and the ends are the smallest and the largest ratio.

    Raises:
        ValueError: if ``blocks`` is less than 1, or ``seconds`` is not positive.

    >>> median, low, high = paired_ratios(lambda: sum(range(9)), lambda: sum(range(999)), blocks=3, seconds=0.001)
    >>> low <= median <= high
    True
    """
    return _median_of([b / a for a, b in _pairs(a, b, blocks, seconds, time.perf_counter)])


class Paired(NamedTuple):
    """The seconds of a call of two functions, by blocks."""

    difference: tuple[float, float, float]  # a - b: the median over the blocks, and the ends of its 95% interval
    median_a: float
    median_b: float
    least_a: float  # of all blocks
    least_b: float


def paired_seconds(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    blocks: int = 15,
    seconds: float = 0.05,
    clock: Callable[[], float] = time.perf_counter,
) -> Paired:
    """How many seconds more a call of ``a`` takes than one of ``b``, in the blocks of :func:`paired_ratios`.

    Args:
        a: the function in question.
        b: the function it is compared with.
        blocks: as there, and so the interval.
        seconds: as there.
        clock: what time it is; ``time.process_time`` counts only this process's, where others are busy too.

    Raises:
        ValueError: as there.

    >>> found = paired_seconds(lambda: sum(range(9999)), lambda: sum(range(9)), blocks=3, seconds=0.001)
    >>> found.difference[0] > 0
    True
    """
    pairs = _pairs(a, b, blocks, seconds, clock)
    of_a, of_b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    difference = _median_of([a - b for a, b in pairs])
    return Paired(difference, statistics.median(of_a), statistics.median(of_b), min(of_a), min(of_b))


def _pairs(
    a: Callable[[], object], b: Callable[[], object], blocks: int, seconds: float, clock: Callable[[], float]
) -> list[tuple[float, float]]:
    """The seconds a call of both, block by block."""
    if blocks < 1 or not seconds > 0:
        raise ValueError(f"paired blocks need blocks >= 1 and seconds > 0; got blocks={blocks}, seconds={seconds}.")
    calls_a, calls_b = _calls_in(a, seconds, clock), _calls_in(b, seconds, clock)
    pairs = []
    for block in range(blocks + 1):
        first = _seconds_per_call(a, calls_a, clock)
        second = _seconds_per_call(b, calls_b, clock) + _seconds_per_call(b, calls_b, clock)
        pair = (first + _seconds_per_call(a, calls_a, clock)) / 2, second / 2
        if block > 0:
            pairs.append(pair)
    return pairs


def _median_of(values: Sequence[float]) -> tuple[float, float, float]:
    ordered, rank = sorted(values), _rank(len(values))
    return statistics.median(ordered), ordered[rank], ordered[-1 - rank]


def _calls_in(function: Callable[[], object], seconds: float, clock: Callable[[], float]) -> int:
    function()  # the first call allocates and compiles
    calls = 1
    while (spent := _seconds_per_call(function, calls, clock) * calls) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / spent))


def _seconds_per_call(function: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls


def _rank(count: int) -> int:
    """How many ratios to leave out at each end: the most for which the interval still holds (the sign test)."""
    outside, rank = 0.0, 0
    for low in range(count // 2):
        outside += 2 * math.comb(count, low) / 2**count
        if outside > MISSED:
            break
        rank = low
    return rank
