"""Intervals of squared distances: a test inverted, so that they hold near zero as well as far from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["noncentrality", "squared_interval"]

Array = NDArray[np.float64]
EXACT_UP_TO = 1000.0  # beyond it the tail of the noncentral chi-squared is Sankaran's: exact to three digits, and quick
FEWEST_FREEDOM = 0.05  # degrees of freedom: below it the noise adds nothing that an interval would show
SMALL_SAMPLE = 4.0  # bias: resamples of n rows show 1 - O(1/n) of it
ROWS_A_FREEDOM = 3.0  # rows for each degree of freedom of the spread: squares of skewed rows hold little


def squared_interval(
    value: float,
    draws: Array,
    level: float,
    rows: int,
    *,
    noise: float | None = None,
    own_variance: float = 0.0,
    tails: float = 1.0,
) -> tuple[float, float]:
    r"""The interval of a squared distance from resamples, never below 0.

    A squared distance of two samples is about the squared length of a true difference and of noise, and so about

    .. math:: V \sim \tau \, \chi^2_\nu(\theta / \tau), \qquad E V = \theta + \nu \tau, \quad
        \operatorname{var} V = 2 \nu \tau^2 + 4 \theta \tau

    with theta the distance of the distributions. Resamples have the same noise about V in place of theta, so that
    their mean excess b over V and their variance s^2 tell the two unknowns,

    .. math:: \tau = \frac{s^2}{2 b + 4 V}, \qquad \nu = \frac b \tau,

    and the interval holds every theta under which V lies between the two quantiles. It takes the bias off, is that of
    the root where theta is large, and near 0 knows that V is mostly noise: the lower end is 0 where V is what samples
    of one distribution give. For few rows b counts (1 + 4/n)-fold, and s^2 is widened by n / (n - 1) and as Student's
    quantile of n / 3 degrees of freedom is beyond the normal one; both were chosen by the coverage of
    ``benchmarks/speed/coverage.py``, and vanish for many rows.

    Args:
        value: the estimate: V, or, where ``noise`` is given, what is V less the noise (an unbiased estimate, which
            may be negative).
        draws: its values on resamples, (bootstrap,), at least two.
        level: of the interval, between 0 and 1.
        rows: n, of the smaller domain.
        noise: nu tau, where theory gives it.
        own_variance: of the estimate, from what is not resampled.
        tails: factor of b and of s^2 for estimates that see tails which resamples leave out.

    Source: the noncentral chi-squared matched to mean and variance as in Patnaik, Biometrika 36 (1949); its inversion
    to an interval is the usual one of a test (Casella and Berger, Statistical Inference (2002), section 9.2).

    >>> draws = np.random.default_rng(0).noncentral_chisquare(3, 40, size=500)
    >>> [round(end) for end in squared_interval(40.0, draws, 0.95, rows=1000)]
    [18, 66]
    """
    from scipy.stats import t

    n = max(2, rows)
    normal = NormalDist().inv_cdf((1 + level) / 2)
    widened = n / (n - 1) * tails
    for freedom in (max(1.0, n / ROWS_A_FREEDOM), len(draws) - 1):  # of the rows, and of the resamples
        widened *= float(t.ppf((1 + level) / 2, freedom) / normal) ** 2
    variance = float(draws.var(ddof=1)) * widened + own_variance
    excess = (float(draws.mean()) - value) * (1 + SMALL_SAMPLE / n) * tails if noise is None else noise
    excess = max(0.0, excess)
    squared = value if noise is None else value + noise
    if not variance > 0 or not squared > 0:
        end = max(0.0, squared - excess)
        return end, end
    unit = variance / (2 * excess + 4 * squared)
    freedom = max(FEWEST_FREEDOM, excess / unit)
    low, high = (unit * noncentrality(squared / unit, freedom, p) for p in ((1 + level) / 2, (1 - level) / 2))
    return low, high


def noncentrality(x: float, freedom: float, probability: float) -> float:
    r"""The lambda >= 0 with :math:`P(\chi^2_\nu(\lambda) \le x) = p`; 0 where x is below that for every lambda.

    Args:
        x: > 0.
        freedom: nu > 0.
        probability: p, between 0 and 1.

    >>> round(noncentrality(10.0, 2.0, 0.5), 3)
    8.981
    """
    from scipy.optimize import brentq

    below = _below(x, freedom)
    if below(0.0) <= probability:
        return 0.0
    top = 2 * x + 20 * math.sqrt(2 * freedom + 4 * x) + 100
    while below(top) > probability:
        top *= 2
    return float(brentq(lambda noncentral: below(noncentral) - probability, 0.0, top, xtol=1e-9 * (1 + x), rtol=1e-9))


def _below(x: float, freedom: float) -> Callable[[float], float]:
    """P(X <= x) as a function of the noncentrality."""
    from scipy.special import chndtr

    if max(x, freedom) <= EXACT_UP_TO:
        return lambda noncentral: float(chndtr(x, freedom, noncentral))
    normal = NormalDist()

    def sankaran(noncentral: float) -> float:
        mean = freedom + noncentral
        h = 1 - 2 * mean * (freedom + 3 * noncentral) / (3 * (freedom + 2 * noncentral) ** 2)
        p = (freedom + 2 * noncentral) / mean**2
        m = (h - 1) * (1 - 3 * h)
        centre = 1 + h * p * (h - 1 - (2 - h) * m * p / 2)
        return normal.cdf(((x / mean) ** h - centre) / (h * math.sqrt(2 * p) * (1 + m * p / 2)))

    return sankaran
