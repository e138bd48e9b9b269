"""Transport distances of two domains: sliced, entropic (Sinkhorn), and between Gaussians (Frechet)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..shared.checks import full_precision
from ..shared.distances import squared_distances
from ..shared.host_memory import check_pairs
from ..shared.seeds import generator
from .bootstrap import MOST, as_distance, check_interval, overflow, pair_of_rows, resampled_counts
from .results import Distance
from .rows import is_number, is_whole

__all__ = ["frechet_distance", "sinkhorn_divergence", "sliced_wasserstein"]

SINKHORN_MOST = 1000  # its memory grows with the square of the rows
SINKHORN_COPIES = 6  # matrices of all pairs that are held at once: costs and densities
SINKHORN_STEPS = 1000
SINKHORN_TOLERANCE = 1e-6  # the error of the value is of second order in it
RESAMPLE_STEPS, RESAMPLE_TOLERANCE = 200, 1e-4
SLICED_TAILS = 1.15  # quantile functions of resamples end at the sample's extremes
FRECHET_SLOW, FRECHET_DRAWS = 128, 20  # above so many features each draw takes long, and few must do
FRECHET_MOST = 1024  # features; above it even those would take minutes
FRECHET_ROWS = 10  # a feature: with fewer the bias is not of first order any more


@full_precision
def sliced_wasserstein(
    source: Any,
    target: Any,
    *,
    projections: int = 100,
    p: float = 2.0,
    bootstrap: int = 200,
    level: float = 0.95,
    most: int = MOST,
    seed: int = 0,
) -> Distance:
    r"""The sliced Wasserstein distance: exact transport along random lines.

    .. math:: SW_p = \left( \frac1L \sum_{l=1}^L \int_0^1 | F_l^{-1}(u) - G_l^{-1}(u) |^p \, du \right)^{1/p}

    with F_l and G_l the distributions of the domains projected on the direction theta_l, drawn uniformly from the unit
    sphere (for one feature there is one). The integral is exact for any n_s and n_t: both quantile functions are steps.
    0 for identical samples, in any order of the rows; of two finite samples of one distribution above 0.

    The interval is that of SW_p^2, :func:`~landbridge.diagnostics.intervals.squared_interval`, from resamples along the
    same directions; what other directions would have given is added to its variance.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened.
        target: (n_t, d).
        projections: L >= 1, how many directions.
        p: >= 1.
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn.
        seed: of directions, draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance` in the features' units.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Bonneel, Rabin, Peyre, Pfister, Sliced and Radon Wasserstein Barycenters of Measures, JMIV 51 (2015).

    >>> sliced_wasserstein([[0.0], [1.0]], [[5.0], [4.0]], bootstrap=0).value
    4.0
    """
    name = "sliced_wasserstein"
    check_interval(name, bootstrap, level)
    if not is_whole(projections) or projections < 1 or not (is_number(p) and math.isfinite(p) and p >= 1):
        raise ValueError(
            f"{name} needs projections >= 1 and a finite p >= 1; got projections={projections!r}, p={p!r}."
        )
    x, y, note = pair_of_rows(name, source, target, most, seed)
    directions = torch.randn(projections, x.shape[1], generator=generator(name, seed), dtype=torch.float64)
    if x.shape[1] == 1:
        directions = torch.ones(1, 1, dtype=torch.float64)
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(x)
    xs, x_order = (directions @ x.T).sort(dim=1)  # (L, n_s)
    ys, y_order = (directions @ y.T).sort(dim=1)  # (L, n_t)
    steps = _Steps(len(x), len(y), x.device)

    along = steps.powers(xs, ys, p)  # (L,)
    value = float(along.mean())
    draws = []
    if bootstrap:
        x_counts = resampled_counts(len(x), bootstrap, name, seed, "source").to(x.device)
        y_counts = resampled_counts(len(y), bootstrap, name, seed, "target").to(x.device)
        for a, b in zip(x_counts, y_counts, strict=True):
            draws.append(steps.powers(_resampled(xs, x_order, a), _resampled(ys, y_order, b), p).mean() ** (2 / p))
    slope = 2 / p * value ** (2 / p - 1) if value > 0 else 0.0  # of SW_p^2 in SW_p^p
    return as_distance(
        "sliced Wasserstein",
        value ** (2 / p),
        draws,
        level,
        (len(x), len(y)),
        scale="units of the features",
        note=note,
        own_variance=slope**2 * float(along.var()) / projections if len(along) > 1 else 0.0,
        tails=SLICED_TAILS,
        transform=math.sqrt,
    )


class _Steps:
    """The common steps of two quantile functions, of n and of m equal jumps."""

    def __init__(self, n: int, m: int, device: torch.device) -> None:
        ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()  # in 1 / (n m)
        self.source = ((ends - 1) // m).to(device)  # which order statistic holds up to there
        self.target = ((ends - 1) // n).to(device)
        self.widths = (ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)).to(device)
        self.equal = n == m

    def powers(self, xs: Tensor, ys: Tensor, p: float) -> Tensor:
        """W_p^p along each line, (L,), from sorted projections (L, n) and (L, m)."""
        if self.equal:
            return (xs - ys).abs().pow(p).mean(1)
        gaps = (xs[:, self.source] - ys[:, self.target]).abs().pow(p)  # (L, at most n + m - 1)
        over_line: Tensor = gaps @ self.widths.to(gaps)
        return over_line


def _resampled(ordered: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    """The sorted projections of a resample, (L, n), without sorting again."""
    times = counts[order].flatten()
    return ordered.flatten().repeat_interleave(times, output_size=ordered.numel()).view_as(ordered)


@full_precision
def sinkhorn_divergence(
    source: Any,
    target: Any,
    *,
    regularisation: float = 1.0,
    bootstrap: int = 200,
    level: float = 0.95,
    most: int = SINKHORN_MOST,
    seed: int = 0,
) -> Distance:
    r"""The Sinkhorn divergence: entropic transport cost, less what it costs to transport each domain to itself.

    .. math:: S_\varepsilon(P, Q) = OT_\varepsilon(P, Q) - \tfrac12 OT_\varepsilon(P, P)
        - \tfrac12 OT_\varepsilon(Q, Q), \qquad OT_\varepsilon(P, Q) = \min_\gamma \sum_{ij} \gamma_{ij} \|x_i - y_j\|^2
        + \varepsilon \, \mathrm{KL}(\gamma \,|\, P \otimes Q)

    over plans gamma with marginals P and Q. Exactly 0 for identical samples, and otherwise above 0; towards epsilon = 0
    it is the squared Wasserstein distance, towards infinity the squared distance of the means. epsilon is
    ``regularisation`` times the mean squared distance within the domains (the mean of both).

    Solved in float64 by Sinkhorn's scalings, absorbed after a start in the log domain, between the domains moved to
    one mean: the squared distance of the means is then added, exactly. All resamples of the bootstrap are solved
    together, from the potentials of the whole sample. The interval is
    :func:`~landbridge.diagnostics.intervals.squared_interval`.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened.
        target: (n_t, d).
        regularisation: > 0; the smaller, the nearer to exact transport, and the slower.
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn. Memory grows with its square: 1000 rows
            take some 50 MiB, 10,000 some 5 GiB.
        seed: of draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance`, a squared length. Its ``note`` says if the scalings have
        not converged.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Feydy et al., Interpolating between Optimal Transport and MMD using Sinkhorn Divergences, AISTATS 2019,
    equations 1 to 3; Genevay, Peyre, Cuturi, Learning Generative Models with Sinkhorn Divergences, AISTATS 2018.

    >>> rows = [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]
    >>> sinkhorn_divergence(rows, rows, bootstrap=0).value
    0.0
    >>> round(sinkhorn_divergence(rows, [[x + 3.0, y] for x, y in rows], bootstrap=0).value, 6)
    9.0
    """
    name = "sinkhorn_divergence"
    check_interval(name, bootstrap, level)
    if not (is_number(regularisation) and math.isfinite(regularisation) and regularisation > 0):
        raise ValueError(f"{name} needs a finite regularisation > 0; got {regularisation!r}.")
    x, y, note = pair_of_rows(name, source, target, most, seed)
    if x.device.type == "cpu":
        larger = max(len(x), len(y))
        check_pairs(name, larger, larger, copies=SINKHORN_COPIES, instead=f"Pass a smaller most; it is {most} now.")
    shift = x.mean(0) - y.mean(0)
    x, y = x - x.mean(0), y - y.mean(0)
    costs = [squared_distances(a, b) for a, b in ((x, y), (x, x), (y, y))]
    spread = float((costs[1].sum() / (len(x) * (len(x) - 1)) + costs[2].sum() / (len(y) * (len(y) - 1))) / 2)
    epsilon = regularisation * (spread if spread > 0 else 1.0)
    problems = [_Entropic(cost / epsilon) for cost in costs]
    value = shift.square().sum() + epsilon * _divergence(*(problem.value for problem in problems))
    if not bool(value.isfinite()):
        raise overflow("Sinkhorn divergence")

    draws: list[Tensor] = []
    if bootstrap:
        a = resampled_counts(len(x), bootstrap, name, seed, "source").T.to(x) / len(x)  # (n_s, bootstrap)
        b = resampled_counts(len(y), bootstrap, name, seed, "target").T.to(x) / len(y)
        across, within_source, within_target = problems
        resampled = across.resampled(a, b), within_source.resampled(a, a), within_target.resampled(b, b)
        good = torch.stack([one for _, one in resampled]).all(0)
        if not bool(good.all()):
            count = f"{int((~good).sum())} of {bootstrap} resamples did not converge in {RESAMPLE_STEPS} steps"
            note = "; ".join(filter(None, [note, count]))
        moved = shift.square().sum() + 2 * (a.T @ (x @ shift) - b.T @ (y @ shift))
        draws = list(moved + epsilon * _divergence(*(found for found, _ in resampled)))
    if not all(problem.converged for problem in problems):
        note = "; ".join(filter(None, [note, f"Sinkhorn did not converge in {SINKHORN_STEPS} steps"]))
    return as_distance(
        "Sinkhorn divergence",
        max(0.0, float(value)),
        draws,
        level,
        (len(x), len(y)),
        scale="squared units of the features",
        note=note,
    )


def _divergence(across: Tensor, within_source: Tensor, within_target: Tensor) -> Tensor:
    return across - (within_source + within_target) / 2


class _Entropic:
    """Entropic transport at a cost in units of epsilon, (n, m): its density, potentials and value.

    The plan is a_i density_ij b_j, density = exp(f_i + g_j - cost_ij). The value is the dual's, <a, f> + <b, g>.
    """

    def __init__(self, cost: Tensor) -> None:
        n, m = cost.shape
        a, b = cost.new_full((n, 1), 1 / n), cost.new_full((m, 1), 1 / m)
        # one round in the log domain: then every row and column of the density has entries that do not underflow
        f = -(-cost + b.T.log()).logsumexp(1, keepdim=True)  # (n, 1)
        g = -(f - cost + a.log()).logsumexp(0, keepdim=True).T  # (m, 1)
        density = (f + g.T - cost).exp()
        u, v, good = _scalings(density, a, b, SINKHORN_STEPS, SINKHORN_TOLERANCE)
        self.converged = bool(good.all())
        self.f, self.g = f + u.log(), g + v.log()
        self.density = density.mul_(u).mul_(v.T)
        self.value = (a * self.f).sum() + (b * self.g).sum()

    def resampled(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The values for each column of weights, (n, k) and (m, k) -> (k,), and which converged; by matrix products."""
        u, v, good = _scalings(self.density, a, b, RESAMPLE_STEPS, RESAMPLE_TOLERANCE)
        return (a * (self.f + u.log())).sum(0) + (b * (self.g + v.log())).sum(0), good


def _scalings(density: Tensor, a: Tensor, b: Tensor, steps: int, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of rows and columns under which the plan has marginals a, (n, k), and b, (m, k); and which converged.

    A row all of whose near columns a resample left out has a sum that underflows, which is held above 0.
    """
    u, v = torch.ones_like(a), torch.ones_like(b)
    least = torch.finfo(density.dtype).tiny
    for _ in range(steps):
        before, u = u, 1 / (density @ (b * v)).clamp(min=least)
        v = 1 / (density.T @ (a * u)).clamp(min=least)
        # the rows' violation before this step: what u had to change; at the end the columns' is 0 and the mass 1
        good = (a * (before / u - 1).abs()).sum(0) < tolerance
        if bool(good.all()):
            break
    return u, v, good


@full_precision
def frechet_distance(
    source: Any, target: Any, *, bootstrap: int = 200, level: float = 0.95, most: int = MOST, seed: int = 0
) -> Distance:
    r"""The squared Frechet distance: that of Wasserstein between Gaussians of the domains' means and covariances.

    .. math:: \| m_s - m_t \|^2 + \operatorname{tr}\left( C_s + C_t - 2 (C_s^{1/2} C_t C_s^{1/2})^{1/2} \right)

    with n - 1 in the covariances, as in the FID (which is this on the features of one Inception network). It sees means
    and covariances alone, and is 0 up to rounding for identical samples. With fewer rows than features the covariances
    are singular; it exists all the same.

    The interval is :func:`~landbridge.diagnostics.intervals.squared_interval`, above 128 features of 20 resamples at
    most; above 1024 there is none. It takes off the first order of the bias: with fewer than ten rows a feature, value
    and interval are still too large, and the note says so.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened.
        target: (n_t, d).
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn.
        seed: of draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance`, a squared length.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Dowson and Landau, The Frechet Distance between Multivariate Normal Distributions, J. Multivariate Analysis
    12 (1982), equation 4; Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NIPS 2017, for the FID.

    >>> frechet_distance([[0.0], [2.0]], [[4.0], [6.0]], bootstrap=0).value
    16.0
    """
    name = "frechet_distance"
    check_interval(name, bootstrap, level)
    x, y, note = pair_of_rows(name, source, target, most, seed)
    d = x.shape[1]
    value = float(_frechet(x, y))
    draws = []
    notes = [note]
    if bootstrap and d > FRECHET_MOST:
        bootstrap = 0
        notes.append(f"no interval above {FRECHET_MOST} features")
    elif d > FRECHET_SLOW:
        bootstrap = min(bootstrap, FRECHET_DRAWS)
    if bootstrap:
        x_counts = resampled_counts(len(x), bootstrap, name, seed, "source").to(x.device)
        y_counts = resampled_counts(len(y), bootstrap, name, seed, "target").to(x.device)
        for a, b in zip(x_counts, y_counts, strict=True):
            draws.append(_frechet(x.repeat_interleave(a, 0), y.repeat_interleave(b, 0)))
    if min(len(x), len(y)) < FRECHET_ROWS * d:
        notes.append(f"fewer than {FRECHET_ROWS} rows a feature: too large")
    return as_distance(
        "Frechet distance",
        value,
        draws,
        level,
        (len(x), len(y)),
        scale="squared units of the features",
        note="; ".join(filter(None, notes)),
    )


def _frechet(x: Tensor, y: Tensor) -> Tensor:
    """The trace of the root is the sum of the singular values of R_s R_t' where C = R' R: no square root is rounded."""
    roots = []
    for rows in (x, y):
        centred = (rows - rows.mean(0)) / math.sqrt(len(rows) - 1)
        roots.append(torch.linalg.qr(centred, mode="r").R if len(rows) > rows.shape[1] else centred)
    squares = roots[0].square().sum() + roots[1].square().sum()  # the traces
    if not bool(squares.isfinite()):
        raise overflow("Frechet distance")
    common = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    squared: Tensor = (x.mean(0) - y.mean(0)).square().sum() + squares - 2 * common
    return squared.clamp(min=0)
