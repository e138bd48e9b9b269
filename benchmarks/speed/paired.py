"""The speed of one function over another's, as ratios of neighbouring blocks, which a busy machine disturbs least."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

__all__ = ["paired_ratios"]

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
    if blocks < 1 or not seconds > 0:
        raise ValueError(f"paired_ratios needs blocks >= 1 and seconds > 0; got blocks={blocks}, seconds={seconds}.")
    calls_a, calls_b = _calls_in(a, seconds), _calls_in(b, seconds)
    ratios = []
    for block in range(blocks + 1):
        first = _seconds_per_call(a, calls_a)
        second = _seconds_per_call(b, calls_b) + _seconds_per_call(b, calls_b)
        ratio = second / (first + _seconds_per_call(a, calls_a))
        if block > 0:
            ratios.append(ratio)
    ratios.sort()
    rank = _rank(blocks)
    return statistics.median(ratios), ratios[rank], ratios[-1 - rank]


def _calls_in(function: Callable[[], object], seconds: float) -> int:
    function()  # the first call allocates and compiles
    calls = 1
    while (spent := _seconds_per_call(function, calls) * calls) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / spent))


def _seconds_per_call(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _rank(count: int) -> int:
    """How many ratios to leave out at each end: the most for which the interval still holds (the sign test)."""
    outside, rank = 0.0, 0
    for low in range(count // 2):
        outside += 2 * math.comb(count, low) / 2**count
        if outside > MISSED:
            break
        rank = low
    return rank
