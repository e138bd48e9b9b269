"""Two-sample tests by kernels and by distances: have both domains one distribution?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..shared.checks import full_precision, nearest
from ..shared.seeds import generator
from .blocks import (
    Profile,
    domain_sums,
    gaussian_profile,
    labellings,
    negative_distance,
    pool_for_distances,
    pool_rows,
    pooled_bandwidth,
)
from .copies import distinct_pair
from .inputs import as_pair
from .random_features import feature_discrepancies, frequencies, projected_energies
from .results import TwoSampleTest
from .rows import is_number, is_whole

__all__ = ["EXACT_ROWS", "FREQUENCIES", "PROJECTIONS", "EnergyEstimator", "Estimator", "energy_test", "kernel_test"]

Estimator = Literal["auto", "exact", "random-features", "linear"]
EnergyEstimator = Literal["auto", "exact", "random-projections", "linear"]

EXACT_ROWS = 20_000
"""Pooled rows up to which ``"auto"`` reads all pairs; beyond, what is random and linear in the rows takes over."""
FREQUENCIES = 1000
"""Random frequencies of the kernel test, twice as many features."""
PROJECTIONS = 100
"""Random directions of the energy test."""

LEAST_PERMUTATIONS = 19  # with fewer, p cannot reach 0.05
ROUNDING = 8  # units in the last place of the kernel's mean by which equal statistics may differ
LARGEST = 1e300  # bandwidth: the others of the ladder must be numbers, too
ROUNDED = 1e-3  # of the bandwidth: what rounding may change in a squared distance
PAIRS = 4096  # quadruples of rows at once


@full_precision
def kernel_test(
    source: Any,
    target: Any,
    *,
    bandwidth: float | None = None,
    kernels: int = 5,
    permutations: int = 200,
    estimator: Estimator = "auto",
    seed: int = 0,
) -> TwoSampleTest:
    r"""The kernel two-sample test: is the maximum mean discrepancy larger than chance makes it?

    .. math:: \frac1{n_s (n_s - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac1{n_t (n_t - 1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac2{n_s n_t} \sum_{i,j} k(x_i, y_j)

    the unbiased estimate of the squared MMD, which varies around 0 where there is no shift. The p-value is the share of
    random permutations of the domains with a statistic at least as large, the observed one counted in:
    (1 + hits) / (1 + permutations). Nothing else depends on which row is of which domain, the bandwidth neither, so
    the test is exact for any size: without a shift p <= a has probability at most a. Rows must be independent (frames
    of one video are not); of rows repeated within their domain one each is tested, and the ``note`` says so, see
    :func:`~landbridge.diagnostics.copies.find_copies`. It sees any difference of the distributions, given rows enough.

    Features count in the units they come in: columns of different units are better standardised first, by both domains
    together. Pass features of a network as they are.

    Estimators, all in memory O(n):

    ``"exact"``: all pairs, in time O(n^2 (d + permutations)): one pass over the kernel whatever the permutations.
    ``"random-features"``: the kernel is replaced by one of 1000 random frequencies, see
    :func:`~landbridge.diagnostics.random_features.feature_discrepancies`; time O(n). As exact in its level.
    ``"linear"``: each row is read in one of min(n_s, n_t) / 2 quadruples drawn at random, lemma 14 of Gretton et al.;
    fast, of little power. Swapping the domains within a quadruple turns its sign, so the permutations are random signs.
    ``"auto"``: exact for up to 20,000 rows of both domains together, random features beyond.

    Args:
        source: (n_s, d), an array or tensor; further dimensions are flattened.
        target: (n_t, d); n_t may differ from n_s.
        bandwidth: gamma > 0, a squared distance, of k(x, y) = exp(-\|x - y\|^2 / gamma). Left out: the median squared
            distance of the pooled rows (of 2000 drawn at random, where there are more); where more than half of the
            pairs coincide the mean, and where all rows coincide 1, and p = 1.
        kernels: how many Gaussian kernels are averaged, with bandwidths doubling around gamma; 1 for a single one.
        permutations: at least 19; the least p that can come out is 1 / (1 + permutations).
        estimator: see above.
        seed: of permutations, pairs, frequencies and rows drawn; the same seed gives the same bits.

    Raises:
        TypeError: for objects, strings, complex numbers, or arguments of the wrong kind.
        ValueError: for fewer than two rows of a domain, differing feature sizes, NaN or inf, or a value out of range.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), equation 3 and lemma 14; exactness of
    permutations with the observed one counted in: Phipson and Smyth, Permutation P-values Should Never Be Zero (2010).

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(2, 100, 3))
    >>> kernel_test(rows[0], rows[1]).rejects(), kernel_test(rows[0], rows[1] + 1).rejects()
    (False, True)
    """
    x, y = as_pair("kernel_test", source, target)
    _check("kernel_test", permutations, estimator, get_args(Estimator), seed)
    if not is_whole(kernels) or kernels < 1:
        raise ValueError(f"kernel_test needs kernels as a whole number, at least 1; got {kernels!r}.")
    if bandwidth is not None and not (is_number(bandwidth) and math.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(
            f"kernel_test needs bandwidth as a positive number, a squared distance; got {bandwidth!r}. Leave it out to "
            "have the median taken."
        )
    x, y, copies = distinct_pair(x, y, seed=seed)
    rows = pool_for_distances(x, y)
    gamma = pooled_bandwidth(rows, seed=seed) if bandwidth is None else float(bandwidth)
    if bandwidth is None and not gamma < LARGEST:
        raise _overflow("kernel_test", rows)
    if rows.dtype == torch.float32 and rows.device.type != "mps" and _drowned(rows, gamma):
        rows = pool_rows(x.double(), y.double())

    def by_features(chosen: Tensor) -> Tensor:
        numbers = generator("kernel_test", "frequencies", seed)
        drawn = frequencies(rows.shape[1], FREQUENCIES, gamma, kernels, numbers, rows)
        return feature_discrepancies(rows, chosen, drawn)

    return _test(
        "kernel two-sample test",
        "kernel_test",
        rows,
        len(x),
        profile=gaussian_profile(gamma, int(kernels)),
        unbiased=True,
        fast=by_features,
        fast_note=f"{FREQUENCIES} random frequencies in place of all pairs",
        copies=copies,
        permutations=permutations,
        estimator=estimator,
        seed=seed,
    )


@full_precision
def energy_test(
    source: Any, target: Any, *, permutations: int = 200, estimator: EnergyEstimator = "auto", seed: int = 0
) -> TwoSampleTest:
    r"""The energy test: is the energy distance larger than chance makes it?

    .. math:: \frac2{n_s n_t} \sum_{i,j} \|x_i - y_j\| - \frac1{n_s^2} \sum_{i,j} \|x_i - x_j\|
        - \frac1{n_t^2} \sum_{i,j} \|y_i - y_j\|

    at least 0, and 0 for equal samples. It is the biased squared MMD with the kernel -\|x - y\|, and so there is no
    bandwidth to choose; for one feature it is the square of :func:`scipy.stats.energy_distance`. Permutations,
    exactness and what is asked of the rows: as in :func:`kernel_test`.

    Estimators: ``"exact"`` and ``"linear"`` as in :func:`kernel_test` (the linear one is unbiased and so may be
    negative); ``"random-projections"`` averages the exact distance along 100 random directions, see
    :func:`~landbridge.diagnostics.random_features.projected_energies`; ``"auto"`` is exact for up to 20,000 rows of
    both domains together, and takes random projections beyond.

    Args:
        source: (n_s, d), an array or tensor; further dimensions are flattened.
        target: (n_t, d); n_t may differ from n_s.
        permutations: at least 19.
        estimator: see above.
        seed: of permutations, pairs and directions; the same seed gives the same bits.

    Raises:
        TypeError, ValueError: as :func:`kernel_test`.

    Source: Szekely and Rizzo, Energy Statistics, J. Statist. Plann. Inference 143 (2013), section 6; as an MMD:
    Sejdinovic et al., Equivalence of Distance-Based and RKHS-Based Statistics in Hypothesis Testing, Annals of
    Statistics 41 (2013), theorem 22.

    >>> energy_test([[0.0], [2.0]], [[1.0], [3.0]], permutations=19).statistic
    1.0
    """
    x, y = as_pair("energy_test", source, target)
    _check("energy_test", permutations, estimator, get_args(EnergyEstimator), seed)
    x, y, copies = distinct_pair(x, y, seed=seed)
    rows = pool_for_distances(x, y)

    def by_projections(chosen: Tensor) -> Tensor:
        return projected_energies(rows, chosen, PROJECTIONS, generator("energy_test", "directions", seed))

    return _test(
        "energy test",
        "energy_test",
        rows,
        len(x),
        profile=negative_distance,
        unbiased=False,
        fast=by_projections,
        fast_note=f"{PROJECTIONS} random directions in place of all pairs",
        copies=copies,
        permutations=permutations,
        estimator=estimator,
        seed=seed,
    )


def _test(
    name: str,
    function: str,
    rows: Tensor,
    n_s: int,
    *,
    profile: Profile,
    unbiased: bool,
    fast: Callable[[Tensor], Tensor],
    fast_note: str,
    copies: str,
    permutations: int,
    estimator: str,
    seed: int,
) -> TwoSampleTest:
    n_t = len(rows) - n_s
    if estimator == "auto":
        estimator = "exact" if len(rows) <= EXACT_ROWS else "fast"
    note, used_s, used_t = "", n_s, n_t
    if estimator == "linear":
        statistics, size = _by_signs(rows, n_s, profile, permutations, seed)
        used_s = used_t = min(n_s, n_t) // 2 * 2
        note = f"linear time: {used_s // 2} quadruples of rows drawn at random in place of all pairs"
    else:
        chosen = labellings(n_s, n_t, permutations, generator("permutations", seed)).to(rows.device)
        if estimator == "exact":
            statistics, size = _of_labellings(rows, chosen, profile, unbiased=unbiased)
        else:
            statistics, note = fast(chosen), fast_note
            size = float(statistics.abs().max())
    observed, null = float(statistics[0]), statistics[1:].numpy()
    if not math.isfinite(observed):
        raise _overflow(function, rows)
    tie = ROUNDING * torch.finfo(rows.dtype).eps * size  # equal statistics count as hits, however they are rounded
    hits = int((null >= observed - tie).sum())
    note = "; ".join(filter(None, [note, copies]))
    return TwoSampleTest(name, observed, (1 + hits) / (1 + permutations), used_s, used_t, null, note)


def _drowned(rows: Tensor, gamma: float) -> bool:
    """Whether rounding shows in the distances of float32: a few far rows have moved the mean away from all others."""
    error = torch.finfo(rows.dtype).eps * float(rows.square().sum(1).median())
    return error > ROUNDED * gamma


def _overflow(function: str, rows: Tensor) -> ValueError:
    return ValueError(
        f"{function} overflows: its values lie up to {float(rows.abs().max()):.3g} from their mean. Divide both "
        "domains by one number."
    )


def _of_labellings(rows: Tensor, chosen: Tensor, profile: Profile, *, unbiased: bool) -> tuple[Tensor, float]:
    """The discrepancy for each labelling, (b,), and the size of the means that it subtracts."""
    n_s = int(chosen[:, 0].sum())
    n_t = len(rows) - n_s
    sums = domain_sums(rows, chosen, profile)  # (b,) each
    source, target, across = sums.source, sums.target, sums.across
    less = 1 if unbiased else 0
    means = source / (n_s * (n_s - less)), target / (n_t * (n_t - less)), across / (n_s * n_t)
    return means[0] + means[1] - 2 * means[2], float(means[2].abs().max())


def _by_signs(rows: Tensor, n_s: int, profile: Profile, permutations: int, seed: int) -> tuple[Tensor, float]:
    """The linear-time discrepancy as observed and under random signs of its quadruples, and the size of its terms."""
    numbers = generator("quadruples", seed)
    count = min(n_s, len(rows) - n_s) // 2
    of_source = torch.randperm(n_s, generator=numbers)[: 2 * count].view(2, count)
    of_target = n_s + torch.randperm(len(rows) - n_s, generator=numbers)[: 2 * count].view(2, count)
    statistics, size = torch.zeros(1 + permutations, dtype=torch.float64), 0.0
    for start in range(0, count, PAIRS):
        x, y = (rows[part[:, start : start + PAIRS].to(rows.device)] for part in (of_source, of_target))
        pairs = torch.stack([x[0] - x[1], y[0] - y[1], x[0] - y[1], x[1] - y[0]]).square_().sum(2)  # (4, quadruples)
        kernel = profile(pairs).double().cpu()
        signs = torch.randint(0, 2, (1 + permutations, kernel.shape[1]), generator=numbers).double() * 2 - 1
        signs[0] = 1
        statistics += signs @ (kernel[0] + kernel[1] - kernel[2] - kernel[3])
        size += float(kernel.abs().sum()) / 4
    return statistics / count, size / count


def _check(function: str, permutations: object, estimator: str, known: tuple[str, ...], seed: object) -> None:
    if estimator not in known:
        raise ValueError(f"{function}: " + nearest("estimator", estimator, known))
    for name, value in (("permutations", permutations), ("seed", seed)):
        if not is_whole(value):
            raise TypeError(f"{function} needs {name} as a whole number; got {value!r}.")
    if is_whole(permutations) and permutations < LEAST_PERMUTATIONS:
        raise ValueError(
            f"{function} needs at least {LEAST_PERMUTATIONS} permutations, or p cannot reach 0.05; got {permutations}."
        )
