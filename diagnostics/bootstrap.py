"""Bootstrap intervals of distances: rows drawn, rows resampled, and what becomes of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.counts import check_count, check_interval
from ..shared.seeds import generator
from .copies import distinct_pair
from .inputs import as_pair
from .intervals import squared_interval
from .results import Distance

__all__ = [
    "MOST",
    "as_distance",
    "at_most",
    "basic_interval",
    "check_interval",
    "overflow",
    "pair_of_rows",
    "resampled_counts",
]

Array = NDArray[np.float64]
MOST = 2000  # rows of each domain that a distance uses unless told


def overflow(name: str) -> ValueError:
    """The error for powers of the rows that leave the range of numbers."""
    return ValueError(f"{name} overflows: the rows lie too far apart. Divide both domains by one number.")


def at_most(rows: Tensor, most: int, *stream: str | int) -> Tensor:
    """The rows, or ``most`` of them drawn without replacement, in their order.

    Args:
        rows: (n, d).
        most: how many.
        stream: names and numbers that seed the draw.

    >>> at_most(torch.arange(6.0).reshape(-1, 1), 2, "doc", 0).shape
    torch.Size([2, 1])
    """
    if len(rows) <= most:
        return rows
    drawn = torch.randperm(len(rows), generator=generator(*stream, "rows"))[:most].sort().values
    return rows[drawn.to(rows.device)]


def resampled_counts(n: int, bootstrap: int, *stream: str | int) -> Tensor:
    """How often each of n rows occurs in each resample of n rows with replacement.

    Args:
        n: rows.
        bootstrap: resamples.
        stream: names and numbers that seed them.

    Returns:
        (bootstrap, n) of whole numbers, each row of sum n, on the CPU.

    >>> resampled_counts(5, 3, "doc", 0).sum(1)
    tensor([5, 5, 5])
    """
    drawn = torch.randint(n, (bootstrap, n), generator=generator(*stream, "resamples"))
    return torch.zeros(bootstrap, n, dtype=torch.int64).scatter_add_(1, drawn, torch.ones_like(drawn))


def basic_interval(value: float, draws: Array, level: float, *, least: float = 0.0) -> tuple[float, float]:
    r"""The basic bootstrap interval, cut off below the least value that a distance can have.

    .. math:: [\, 2 \hat\theta - q_{(1 + \ell)/2}, \; 2 \hat\theta - q_{(1 - \ell)/2} \,]

    with q the quantiles of the resampled values. A distance of samples lies above that of the distributions, by about
    as much as a resample's lies above the sample's: quantiles of resamples would carry that error twice, reflected at
    the estimate they take it off. So the estimate may lie above the interval: of few rows, most of it is noise.

    Args:
        value: the estimate.
        draws: its values on resamples, (bootstrap,).
        level: l, between 0 and 1.
        least: of the distance.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 5.2.1.

    >>> basic_interval(1.0, np.array([0.5, 1.0, 2.5]), 0.999)
    (0.0, 1.49...)
    """
    low, high = np.quantile(draws, [(1 + level) / 2, (1 - level) / 2])
    return max(least, float(2 * value - low)), max(least, float(2 * value - high))


def pair_of_rows(function: str, source: Any, target: Any, most: int, seed: int) -> tuple[Tensor, Tensor, str]:
    """Both domains' rows in float64, at most so many of each, and a note that says so.

    Args:
        function: the caller, which opens every message and names the draw.
        source: (n_s, d), whatever :func:`~landbridge.diagnostics.inputs.as_pair` takes.
        target: (n_t, d).
        most: rows of each that are kept.
        seed: of the draw.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or ``most`` below 2.

    >>> pair_of_rows("f", [[1.0], [2.0], [3.0]], [[1.0], [2.0]], 2, 0)[2]
    '2 of 3 source rows, drawn at random'
    """
    check_count(function, "most", most, 2)
    x, y = as_pair(function, source, target)
    notes = [
        f"{most} of {len(rows)} {domain} rows, drawn at random"
        for rows, domain in ((x, "source"), (y, "target"))
        if len(rows) > most
    ]
    x, y = at_most(x, most, function, seed, "source"), at_most(y, most, function, seed, "target")
    x, y, copies = distinct_pair(x, y, seed=seed)  # of copies, resamples vary too little
    return x.to(_precision(x)), y.to(_precision(y)), "; ".join(filter(None, [*notes, copies]))


def _precision(rows: Tensor) -> torch.dtype:
    return rows.dtype if rows.device.type == "mps" else torch.float64  # Apple's GPU has no float64


def as_distance(
    name: str,
    value: float,
    draws: Sequence[Tensor],
    level: float,
    sizes: tuple[int, int],
    *,
    scale: str,
    note: str = "",
    noise: float | None = None,
    own_variance: float = 0.0,
    tails: float = 1.0,
    transform: Callable[[float], float] | None = None,
) -> Distance:
    """The result object of a squared distance, with the interval that these resamples give.

    The interval is :func:`~landbridge.diagnostics.intervals.squared_interval`.

    Args:
        name: of the distance.
        value: on the rows themselves.
        draws: on resamples, scalars; none for no interval.
        level: of the interval.
        sizes: rows of source and target used.
        scale: units.
        note: what else is to be said; resamples that gave no number are counted there.
        noise: what chance alone adds to the square, where the value is an estimate without it.
        own_variance: of the value, from what is not resampled.
        tails: factor of bias and variance for what resamples leave out.
        transform: increasing; applied to value and ends, if the resampled statistic is not yet the distance.

    Raises:
        ValueError: if the value is not finite: the rows' powers have left the range of numbers.
    """
    if not math.isfinite(value):
        raise overflow(name)
    low = high = float("nan")
    if len(draws):
        numbers = np.array([float(draw) for draw in draws])
        numbers = numbers[np.isfinite(numbers)]  # of very few rows a resample may be one row, which is no sample
        if len(numbers) < len(draws):
            left_out = f"{len(draws) - len(numbers)} of {len(draws)} resamples gave no number and are left out"
            note = f"{note}; {left_out}" if note else left_out
        if len(numbers) > 1:
            low, high = squared_interval(
                value, numbers, level, min(sizes), noise=noise, own_variance=own_variance, tails=tails
            )
        if value > high:
            said = "the value is mostly sampling noise: of distributions, the interval is to be read"
            note = f"{note}; {said}" if note else said
    if transform is not None:
        value, low, high = transform(value), transform(low), transform(high)
    return Distance(name, value, low, high, level, *sizes, scale=scale, note=note)
