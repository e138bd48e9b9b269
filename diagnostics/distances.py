"""Distances of two domains, each with a bootstrap interval: by a classifier, by kernels, by covariances; and all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..coral.deep_coral import coral_distance
from ..shared.checks import full_precision, nearest
from ..shared.seeds import derive_seed
from .blocks import (
    Profile,
    gaussian_profile,
    negative_distance,
    pool_for_distances,
    pool_rows,
    pooled_bandwidth,
    quadratic_forms,
)
from .bootstrap import MOST, as_distance, basic_interval, check_interval, overflow, pair_of_rows, resampled_counts
from .inputs import as_pair, in_range
from .results import Distance
from .rows import is_number, is_whole
from .wasserstein import frechet_distance, sinkhorn_divergence, sliced_wasserstein

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DISTANCES",
    "Distances",
    "covariance_distance",
    "distances",
    "energy_distance",
    "kernel_distance",
    "proxy_a_distance",
]

BLOCK = 1024  # rows of a block of Gram matrix
STRENGTH = 1.0  # of scikit-learn, on standardised features: weaker ones miss shifts along weak directions
ITERATIONS = 200


@full_precision
def proxy_a_distance(
    source: Any,
    target: Any,
    *,
    folds: int = 5,
    bootstrap: int = 200,
    level: float = 0.95,
    most: int = MOST,
    seed: int = 0,
) -> Distance:
    r"""The proxy A-distance: how well a linear classifier tells the domains apart on rows it has not seen.

    .. math:: \hat d_A = 2 (1 - 2 \hat\epsilon), \qquad
        \hat\epsilon = \tfrac12 \left( \hat\epsilon_s + \hat\epsilon_t \right)

    with the error rates of both domains, so that 0.5 is chance whatever n_s and n_t. The classifier is a logistic
    regression on features standardised by its training rows, its domains weighted equally; every row is judged once, by
    the classifier of the folds without it. 0: indistinguishable to it; 2: separable. The value is **not** cut off at 0:
    without a shift it lies on both sides. The rows are taken as they come: augmented copies of one row would be on
    both sides of the split, and make the distance too large.

    The interval resamples verdicts and does not train again; it is the basic bootstrap's, cut off at 0 and 2. Verdicts
    of classifiers that share training rows hang together, so the resamples are spread by :math:`\sqrt{1 + k / (k - 1)}`
    for k folds: the variance of a mean over folds is taken as :math:`1/k + n_2 / n_1` of one fold's in place of 1/k,
    with test and training rows :math:`n_2 / n_1 = 1 / (k - 1)`. Approximate: that share is a rule of thumb.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened; at least ``folds`` rows.
        target: (n_t, d), likewise.
        folds: >= 2; drawn in each domain by the seed.
        bootstrap: resamples; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn.
        seed: of draws, folds and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance` between -2 and 2.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, fewer rows than folds, or a setting out of range.

    Source: Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS 2006, section 4 (with a Huber loss
    there, and one split); Ganin et al., JMLR 17 (2016), section 5.1.5, for this form; Nadeau and Bengio, Inference for
    the Generalization Error, Machine Learning 52 (2003), for the variance.

    >>> proxy_a_distance([[0.0], [0.1], [0.2], [0.3]], [[5.0], [5.1], [5.2], [5.3]], folds=2, bootstrap=0).value
    2.0
    """
    name = "proxy_a_distance"
    check_interval(name, bootstrap, level)
    x, y, note = pair_of_rows(name, source, target, most, seed)
    if not is_whole(folds) or not 2 <= folds <= min(len(x), len(y)):
        raise ValueError(
            f"{name} needs 2 folds or more, and a row of each domain in each; got folds={folds!r} for {len(x)} source "
            f"and {len(y)} target rows."
        )
    x, y, _ = in_range(x, y)
    wrong_source, wrong_target = _judged(x.cpu().numpy(), y.cpu().numpy(), folds, seed)

    def distance(errors: Any) -> Any:
        return 2 * (1 - 2 * errors)

    value = float(distance((wrong_source.mean() + wrong_target.mean()) / 2))
    low = high = float("nan")
    if bootstrap:  # the wrong ones of a resample are binomial
        random = np.random.default_rng(derive_seed(name, seed, "resamples"))
        rates = [random.binomial(len(w), w.mean(), size=bootstrap) / len(w) for w in (wrong_source, wrong_target)]
        spread = value + math.sqrt(1 + folds / (folds - 1)) * (distance((rates[0] + rates[1]) / 2) - value)
        low, high = (min(2.0, end) for end in basic_interval(value, spread, level))
    return Distance(
        "proxy A-distance", value, low, high, level, len(x), len(y), "0: the same, 2: separable linearly", note
    )


def _judged(
    source: NDArray[np.float64], target: NDArray[np.float64], folds: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows of each domain the classifier of the other folds takes for the other domain's, (n_s,) and (n_t,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([source, target])
    domain = np.repeat([0, 1], [len(source), len(target)])
    fold = np.concatenate(
        [
            np.random.default_rng(derive_seed("proxy_a_distance", seed, part)).permutation(len(rows)) % folds
            for part, rows in (("source", source), ("target", target))
        ]
    )
    wrong = np.zeros(len(both), dtype=bool)
    for held_out in range(folds):
        train, test = fold != held_out, fold == held_out
        mean, spread = both[train].mean(0), both[train].std(0)
        scale = np.where(spread > 1e-12 * np.abs(mean), spread, np.inf)  # constant features say nothing
        model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a classifier that has not converged is a weaker one
            model.fit((both[train] - mean) / scale, domain[train])
        margin = ((both[test] - mean) / scale) @ model.coef_[0] + model.intercept_[0]
        wrong[test] = (margin > 0) != domain[test]
    return wrong[: len(source)], wrong[len(source) :]


@full_precision
def kernel_distance(
    source: Any,
    target: Any,
    *,
    bandwidth: float | None = None,
    kernels: int = 5,
    bootstrap: int = 200,
    level: float = 0.95,
    most: int = MOST,
    seed: int = 0,
) -> Distance:
    r"""The squared maximum mean discrepancy, unbiased.

    .. math:: \frac1{n_s (n_s - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac1{n_t (n_t - 1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac2{n_s n_t} \sum_{i,j} k(x_i, y_j)

    with the mean of Gaussian kernels :math:`\exp(-\|x - y\|^2 / \gamma_u)` of bandwidths doubling around the median
    squared distance of the pooled rows. It is the square, since its root has no unbiased estimate; without a shift it
    lies on both sides of 0, and is **not** cut off there.

    In a resample a row meets its own copies, at distance 0; those pairs are left out, so that the resamples lie around
    the estimate and not above it. The interval, for the one bandwidth, is
    :func:`~landbridge.diagnostics.intervals.squared_interval`, the noise being known: it is what the pairs of a row
    with itself would add. The kernel is computed once, in blocks, for all resamples.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened; at least 2 rows.
        target: (n_t, d), likewise.
        bandwidth: gamma > 0, a squared distance; the median if left out.
        kernels: how many Gaussian kernels.
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn. Time grows with its square, memory with
            most times bootstrap.
        seed: of draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance`, at most 2.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), equation 3; Arcones and Gine, On the Bootstrap of
    U and V Statistics, Annals of Statistics 20 (1992), for pairs without copies.

    >>> round(kernel_distance([[0.0], [1.0]], [[2.0], [3.0], [4.0]], bandwidth=1.0, kernels=1, bootstrap=0).value, 4)
    0.4843
    """
    name = "kernel_distance"
    check_interval(name, bootstrap, level)
    positive = bandwidth is None or (is_number(bandwidth) and 0 < bandwidth < math.inf)
    if not is_whole(kernels) or kernels < 1 or not positive:
        raise ValueError(
            f"{name} needs kernels >= 1 and bandwidth > 0, a squared distance, or none for the median; got "
            f"kernels={kernels!r}, bandwidth={bandwidth!r}."
        )
    x, y, note = pair_of_rows(name, source, target, most, seed)
    gamma = float(bandwidth) if bandwidth is not None else pooled_bandwidth(pool_rows(x, y), seed=seed)
    if not math.isfinite(gamma):
        raise overflow(name)
    values, noise = _discrepancies(x, y, gaussian_profile(gamma, int(kernels)), bootstrap, name, seed)
    return as_distance(
        "MMD",
        float(values[0]),
        list(values[1:]),
        level,
        (len(x), len(y)),
        scale="squared, at most 2",
        note=note,
        noise=noise,
    )


@full_precision
def energy_distance(
    source: Any, target: Any, *, bootstrap: int = 200, level: float = 0.95, most: int = MOST, seed: int = 0
) -> Distance:
    r"""The energy distance, unbiased.

    .. math:: \frac2{n_s n_t} \sum_{i,j} \|x_i - y_j\| - \frac1{n_s (n_s - 1)} \sum_{i \ne j} \|x_i - x_j\|
        - \frac1{n_t (n_t - 1)} \sum_{i \ne j} \|y_i - y_j\|

    It needs no bandwidth: it is the squared MMD of the kernel :math:`-\|x - y\|`. Without a shift it lies on both
    sides of 0, and is not cut off there. (``scipy.stats.energy_distance`` is the root of the biased one, for one
    feature.) Intervals as in :func:`kernel_distance`.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened; at least 2 rows.
        target: (n_t, d), likewise.
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn.
        seed: of draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance` in the features' units.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Szekely and Rizzo, Energy Statistics, J. Statistical Planning and Inference 143 (2013); Sejdinovic et al.,
    Annals of Statistics 41 (2013), for the kernel.

    >>> energy_distance([[0.0], [1.0]], [[3.0], [5.0]], bootstrap=0).value
    4.0
    """
    name = "energy_distance"
    check_interval(name, bootstrap, level)
    x, y, note = pair_of_rows(name, source, target, most, seed)
    values, noise = _discrepancies(x, y, negative_distance, bootstrap, name, seed)
    return as_distance(
        "energy distance",
        float(values[0]),
        list(values[1:]),
        level,
        (len(x), len(y)),
        scale="units of the features",
        note=note,
        noise=noise,
    )


def _discrepancies(
    x: Tensor, y: Tensor, profile: Profile, bootstrap: int, name: str, seed: int
) -> tuple[Tensor, float]:
    """The unbiased squared MMD of the rows, then of each resample without pairs of copies, (1 + bootstrap,); its noise.

    The noise is by how much the biased squared MMD, over all pairs of the rows, is larger: (k(0) - mean) / n of both.
    """
    n_s, n_t = len(x), len(y)
    weights = torch.zeros(n_s + n_t, 3, 1 + bootstrap, dtype=x.dtype)
    source, target = _counts(n_s, n_t, bootstrap, name, seed)
    weights[:n_s, 0] = weights[:n_s, 2] = source.T.to(x.dtype)
    weights[n_s:, 1] = weights[n_s:, 2] = target.T.to(x.dtype)
    forms = quadratic_forms(pool_for_distances(x, y), weights.flatten(1).to(x.device), profile).forms
    within_source, within_target, all_pairs = forms.view(3, 1 + bootstrap)
    across = (all_pairs - within_source - within_target) / 2
    pairs_s, pairs_t = (n * n - counts.double().square().sum(1) for n, counts in ((n_s, source), (n_t, target)))
    means = within_source / pairs_s, within_target / pairs_t
    values: Tensor = means[0] + means[1] - 2 * across / (n_s * n_t)
    own = float(profile(torch.zeros(1, dtype=torch.float64)))
    return values, (own - float(means[0][0])) / n_s + (own - float(means[1][0])) / n_t


def _counts(n_s: int, n_t: int, bootstrap: int, name: str, seed: int) -> tuple[Tensor, Tensor]:
    """How often each row occurs: first once, then as resampled; (1 + bootstrap, n_s) and (1 + bootstrap, n_t)."""
    once = (torch.ones(1, n, dtype=torch.int64) for n in (n_s, n_t))
    source, target = (
        torch.cat([ones, resampled_counts(n, bootstrap, name, seed, part)])
        for ones, n, part in zip(once, (n_s, n_t), ("source", "target"), strict=True)
    )
    return source, target


@full_precision
def covariance_distance(
    source: Any, target: Any, *, bootstrap: int = 200, level: float = 0.95, most: int = MOST, seed: int = 0
) -> Distance:
    r"""The CORAL distance: how far the covariances are apart.

    .. math:: \frac1{4 d^2} \| C_s - C_t \|_F^2

    with n - 1 in the covariances, by :func:`~landbridge.coral.coral_distance`. 0 for identical samples, blind to the
    means, of degree 4 in the features. Of two samples of one distribution it is about 2 tr(C)^2 / (n 4 d^2) too large,
    which is most of it where n < d; the interval,
    :func:`~landbridge.diagnostics.intervals.squared_interval`, takes that off. All resamples are computed from one
    pass over the Gram matrix, in blocks; with their own means.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened; at least 2 rows.
        target: (n_t, d), likewise.
        bootstrap: resamples of both domains; 0 for no interval.
        level: of the interval, between 0 and 1.
        most: rows of each domain that are used; of more, so many are drawn.
        seed: of draws and resamples.

    Returns:
        A :class:`~landbridge.diagnostics.results.Distance`.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, or a setting out of range.

    Source: Sun and Saenko, Deep CORAL (2016), equations 1 to 3.

    >>> covariance_distance([[0.0], [2.0]], [[5.0], [5.0], [8.0]], bootstrap=0).value
    0.25
    """
    name = "covariance_distance"
    check_interval(name, bootstrap, level)
    x, y, note = pair_of_rows(name, source, target, most, seed)
    value = float(coral_distance(x, y))
    draws = list(_resampled_coral(x, y, bootstrap, name, seed)) if bootstrap else []
    scale = "fourth power of the features' units"
    return as_distance("CORAL", value, draws, level, (len(x), len(y)), scale=scale, note=note)


def _resampled_coral(x: Tensor, y: Tensor, bootstrap: int, name: str, seed: int) -> Tensor:
    r"""The CORAL distances of resamples, (bootstrap,).

    With counts w, M = Z' diag(a) Z for a = w / (n - 1), negative in the target, and m the domain's resampled mean, the
    difference of covariances is M - c_s m_s m_s' + c_t m_t m_t', c = n / (n - 1). Its squared norm needs
    |M|^2 = sum_ij a_i a_j <z_i, z_j>^2, and else only products of rows and means.
    """
    (n_s, d), n_t = x.shape, len(y)
    rows = torch.cat([x - x.mean(0), y - y.mean(0)])
    counts = _counts(n_s, n_t, bootstrap, name, seed)
    w_s, w_t = (c[1:].T.to(rows) for c in counts)  # (n_s, b), (n_t, b)
    a = torch.cat([w_s / (n_s - 1), -w_t / (n_t - 1)])  # (n_s+n_t, b)
    norm = torch.zeros(bootstrap, dtype=rows.dtype, device=rows.device)
    for i in range(0, len(rows), BLOCK):
        for j in range(i, len(rows), BLOCK):
            squares = (rows[i : i + BLOCK] @ rows[j : j + BLOCK].T).square_()
            norm += (1 if i == j else 2) * (a[i : i + BLOCK] * (squares @ a[j : j + BLOCK])).sum(0)
    m_s, m_t = w_s.T @ rows[:n_s] / n_s, w_t.T @ rows[n_s:] / n_t  # (b, d)
    c_s, c_t = n_s / (n_s - 1), n_t / (n_t - 1)
    through_s, through_t = ((a * (rows @ m.T).square_()).sum(0) for m in (m_s, m_t))  # m' M m
    own_s, own_t, both = (m_s * m_s).sum(1), (m_t * m_t).sum(1), (m_s * m_t).sum(1)
    norm += 2 * (c_t * through_t - c_s * through_s)
    norm += (c_s * own_s).square() + (c_t * own_t).square() - 2 * c_s * c_t * both.square()
    return norm.clamp(min=0) / (4 * d * d)


@dataclass(frozen=True, eq=False)
class Distances:
    """Several distances of the same two domains.

    Attributes:
        found: the distances, in the order they were asked for.
    """

    found: tuple[Distance, ...]

    def __getitem__(self, name: str) -> Distance:
        """The distance of this name, such as ``"MMD"``."""
        for distance in self.found:
            if distance.name == name:
                return distance
        raise KeyError(nearest("distance", name, [distance.name for distance in self.found]))

    def __iter__(self) -> Iterator[Distance]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def rows(self) -> list[dict[str, str | float | int]]:
        """One dictionary a distance, for a table: name, value, low, high, scale, rows and note."""
        return [
            {
                "distance": d.name,
                "value": d.value,
                "low": d.low,
                "high": d.high,
                "scale": d.scale,
                "n_source": d.n_source,
                "n_target": d.n_target,
                "note": d.note,
            }
            for d in self.found
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Value and interval of each, every distance in units of the larger of its value and its interval's end.

        What is to be seen is whether an interval begins above 0; lengths of different rows do not compare.
        """
        from ..shared.style import INK, SOURCE, TARGET, axes

        ax = axes(ax, size=(5.6, 0.8 + 0.36 * len(self.found)))
        for place, d in enumerate(self.found):
            unit = max(abs(d.value), abs(np.nan_to_num(d.high)), np.finfo(np.float64).tiny)
            if np.isfinite(d.low):
                ax.plot([d.low / unit, d.high / unit], [place, place], color=SOURCE, linewidth=5, solid_capstyle="butt")
            ax.plot([d.value / unit], [place], "o", color=TARGET, markersize=5)
            interval = f"  [{d.low:.3g}, {d.high:.3g}]" if np.isfinite(d.low) else ""
            ax.text(1.06, place, f"{d.value:.3g}{interval}", va="center", color=INK, fontsize=8)
        ax.axvline(0, color="#BBBBBB", linewidth=1, zorder=0)
        ax.set_yticks(range(len(self.found)), [d.name for d in self.found])
        ax.set_ylim(len(self.found) - 0.5, -0.5)
        low = min(-0.05, ax.get_xlim()[0])
        ax.set_xlim(low, 1.06 + 1.2 * (1.06 - low))  # more than half for the longest text
        ax.set_xticks([0], ["0"])
        ax.spines["bottom"].set_visible(False)
        ax.set_title("Distances: estimate (dot) and interval (bar)", color=INK, loc="left")
        return ax


DISTANCES: dict[str, Callable[..., Distance]] = {
    "proxy A-distance": proxy_a_distance,
    "MMD": kernel_distance,
    "energy distance": energy_distance,
    "CORAL": covariance_distance,
    "sliced Wasserstein": sliced_wasserstein,
    "Sinkhorn divergence": sinkhorn_divergence,
    "Frechet distance": frechet_distance,
}


def distances(
    source: Any,
    target: Any,
    *,
    names: Sequence[str] | None = None,
    bootstrap: int = 200,
    level: float = 0.95,
    most: int | None = None,
    seed: int = 0,
) -> Distances:
    """Every distance of two domains, each with its interval.

    Args:
        source: (n_s, d), or (n_s, ...), which is flattened; at least 5 rows.
        target: (n_t, d), likewise.
        names: which of :data:`DISTANCES`; all if left out.
        bootstrap: resamples of both domains; 0 for no intervals.
        level: of each interval by itself, between 0 and 1.
        most: rows of each domain that are used; if left out, each distance's own limit: 2000, and 1000 for the Sinkhorn
            divergence. What was left out is said in each ``note``.
        seed: of draws, folds, directions and resamples.

    Returns:
        A :class:`Distances`.

    Raises:
        TypeError, ValueError: for rows that cannot be compared, an unknown name, or a setting out of range.

    >>> rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    >>> found = distances(rows, rows + 2, bootstrap=0)
    >>> round(found["Sinkhorn divergence"].value, 3), [d.name for d in found][:2]
    (12.0, ['proxy A-distance', 'MMD'])
    """
    chosen = list(DISTANCES) if names is None else list(names)
    for name in chosen:
        if name not in DISTANCES:
            raise ValueError("distances: " + nearest("distance", name, list(DISTANCES)))
    limit = {} if most is None else {"most": most}
    source, target = as_pair("distances", source, target)
    return Distances(
        tuple(DISTANCES[name](source, target, bootstrap=bootstrap, level=level, seed=seed, **limit) for name in chosen)
    )
