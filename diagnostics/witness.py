"""Where one domain has more rows than the other: the witness function of the kernel distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mmd.kernels import DistanceKernel, MultiGaussianKernel
from ..shared.checks import full_precision, nearest
from ..shared.distances import squared_distances
from ..shared.style import INK, SOURCE, TARGET, axes, panels, styled, whole_figure
from .bootstrap import overflow
from .inputs import as_pair, in_range
from .principal import principal_axes
from .rows import check_count, choose_pair, choose_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Profile", "Witness", "witness"]

Along = Literal["features", "principal"]
GRID = 200  # points of a profile
REACH = 3  # bandwidths that a profile goes on beyond the rows
TAIL = 0.005  # share of the rows left out of the picture at either end
BLOCK = 1024  # rows of the kernel matrix at a time
PAIRED = 2000  # rows of which the bandwidth's pairs are formed
COLUMNS = 256  # features sorted at a time


@dataclass(frozen=True, eq=False)
class Profile:
    """One direction: how densely each domain lies along it.

    Attributes:
        name: of the feature or direction.
        grid: values along it, (200,).
        source: density of the source at each of them, (200,), per unit of the feature.
        target: density of the target.
        gap: the Kolmogorov-Smirnov distance of the domains along it, 0 to 1.
    """

    name: str
    grid: NDArray[np.float64]
    source: NDArray[np.float64]
    target: NDArray[np.float64]
    gap: float

    @property
    def witness(self) -> NDArray[np.float64]:
        """The witness function along this direction, source less target, (200,)."""
        return self.source - self.target

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """Both densities; between them is the witness, in the colour of the domain with more rows."""
        ax = axes(ax)
        for values, colour, name in ((self.source, SOURCE, "source"), (self.target, TARGET, "target")):
            ax.plot(self.grid, values, color=colour, linewidth=1.6, label=name)
        for more, colour in ((self.witness > 0, SOURCE), (self.witness < 0, TARGET)):
            ax.fill_between(
                self.grid, self.source, self.target, where=more, color=colour, alpha=0.25, linewidth=0, interpolate=True
            )
        ax.set_ylim(bottom=0)
        ax.set_xlabel(self.name)
        ax.set_ylabel("density")
        ax.set_title(f"{self.name}: shaded where one domain has more\n(Kolmogorov-Smirnov distance {self.gap:.2f})")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
        return ax


@dataclass(frozen=True, eq=False)
class Witness:
    """The witness function at every row, and along a few directions.

    Attributes:
        source: its value at the source rows, (n_s,): large where the source has rows and the target has none.
        target: its value at the target rows, (n_t,): below 0 where the target has rows and the source has none.
        source_rows: their row numbers in what was passed, (n_s,).
        target_rows: the same for the target, (n_t,).
        bandwidth: gamma of the kernel, a squared distance.
        profiles: the witness along single directions, the most shifted (features) or most varying (principal) first.
        note: how it was computed, if not on all rows.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    source_rows: NDArray[np.int64]
    target_rows: NDArray[np.int64]
    bandwidth: float
    profiles: tuple[Profile, ...]
    note: str = ""

    @property
    def mmd2(self) -> float:
        """The unbiased squared MMD: the difference of the witness's means over the domains."""
        return float(self.source.mean() - self.target.mean())

    def only_source(self, count: int = 10) -> NDArray[np.int64]:
        """Numbers of the source rows that the target has the least like of, the most telling first."""
        return self.source_rows[np.argsort(-self.source, kind="stable")[:count]]

    def only_target(self, count: int = 10) -> NDArray[np.int64]:
        """Numbers of the target rows that the source has the least like of, the most telling first."""
        return self.target_rows[np.argsort(self.target, kind="stable")[:count]]

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The witness at the rows of both domains: one heap where there is no shift, two where there is."""
        ax = axes(ax)
        both = np.concatenate([self.source, self.target])
        bins = list(np.linspace(both.min(), both.max(), 41)) if np.ptp(both) > 0 else 10
        for values, colour, name in ((self.source, SOURCE, "source rows"), (self.target, TARGET, "target rows")):
            weights = np.full(len(values), 100 / len(values))
            ax.hist(values, bins=bins, weights=weights, color=colour, alpha=0.55, label=name)
        ax.axvline(0, color=INK, linewidth=0.8, linestyle="--", label="as many of both")
        ax.set_xlabel("witness: more like the target  \N{LEFT RIGHT ARROW}  more like the source")
        ax.set_ylabel("% of the rows")
        ax.set_title(f"Witness at the rows: heaps apart are a shift\n(MMD², unbiased: {self.mmd2:.3g})")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
        return ax

    @styled
    def figure(self) -> Figure:
        """The witness at the rows, and along every direction."""
        count = 1 + len(self.profiles)
        columns = min(count, 2)
        drawn = panels(-(-count // columns), columns, size=(4.8, 3.0))
        self.plot(drawn[0])
        for ax, profile in zip(drawn[1:], self.profiles, strict=False):
            profile.plot(ax)
        for ax in drawn[count:]:
            ax.remove()
        return whole_figure(drawn[0])


@full_precision
def witness(
    source: Any,
    target: Any,
    *,
    along: Along = "features",
    names: Sequence[str] | None = None,
    directions: int = 3,
    kernel: DistanceKernel | None = None,
    most: int = 3000,
    seed: int = 0,
) -> Witness:
    r"""The function that tells two domains apart best among smooth ones: where each has more rows than the other.

    .. math:: w(z) = \frac1{n_s} \sum_i k(x^s_i, z) - \frac1{n_t} \sum_j k(x^t_j, z)

    At a row of the sample itself, its kernel with itself is left out and the mean taken over the others, so that no row
    looks typical of its domain because it is part of it; the means of w over both domains then differ by the unbiased
    squared MMD. Along a direction z there is the same function of the projected rows alone, in one dimension and scaled
    to be a difference of densities: the Gaussian kernel :math:`\exp(-t^2 / 2h^2) / (h \sqrt{2 \pi})` with Silverman's
    h = 0.9 min(s, q / 1.34) n^(-1/5) of the pooled rows (s their standard deviation, q their interquartile range, n the
    rows of the smaller domain; where q is 0, s alone).

    Args:
        source: features of the source, (n, d) or (n, ...).
        target: features of the target, (m, d).
        along: ``"features"``, those with the largest Kolmogorov-Smirnov distance, or ``"principal"``, the leading
            principal directions of the pooled rows.
        names: of the features, d of them.
        directions: how many, 0 or more.
        kernel: a kernel of distances; five Gaussians around the median, as in ``kernel_test``, if left out. A rule is
            read on the pairs of at most 2000 rows, source and target in equal shares.
        most: rows of each domain, at most; of more, so many are drawn.
        seed: of the rows drawn.

    Raises:
        TypeError: for what are no numbers, or no kernel.
        ValueError: for shapes that do not fit, NaN, an unknown direction, as many names as there are no features, or
            ``directions`` and ``most`` out of range.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), section 2.3, the empirical witness, unnormalised;
    Silverman, Density Estimation (1986), equation 3.31, for h; Lloyd and Ghahramani, Statistical Model
    Criticism using Kernel Two Sample Tests, NIPS 2015, for reading it at rows.

    >>> shift = witness([[0.0], [0.1], [5.0]], [[0.0], [0.1], [0.2]])
    >>> shift.only_source(1).tolist()
    [2]
    """
    name = "witness"
    if along not in get_args(Along):
        raise ValueError(f"{name}: " + nearest("along", along, get_args(Along)))
    check_count(name, "directions", directions, 0)
    check_count(name, "most", most, 2)
    kernel = MultiGaussianKernel() if kernel is None else kernel
    if not isinstance(kernel, DistanceKernel):
        raise TypeError(
            f"{name} needs a kernel object that works on distances; got {type(kernel).__name__}. Pass "
            "landbridge.mmd.GaussianKernel() or landbridge.mmd.MultiGaussianKernel()."
        )
    x, y = as_pair(name, source, target)
    if names is not None and len(names) != x.shape[1]:
        raise ValueError(f"{name} needs one name a feature, {x.shape[1]} of them; got {len(names)}.")
    used_s, used_t, rows_s, rows_t, note = choose_pair(x, y, most, name, seed)
    near_s, near_t, unit = in_range(used_s, used_t)
    bandwidth = _bandwidth(near_s, near_t, kernel, unit, seed)
    if not math.isfinite(bandwidth * unit * unit):
        raise overflow(name)
    values_s, values_t = _at_rows(near_s, near_t, kernel, bandwidth)
    lines = _principal(used_s, used_t, directions) if along == "principal" else None
    chosen = _features(used_s, used_t, directions, names) if lines is None else lines
    return Witness(
        source=values_s,
        target=values_t,
        source_rows=rows_s,
        target_rows=rows_t,
        bandwidth=bandwidth * unit * unit,
        profiles=tuple(_profile(label, line_s, line_t) for label, line_s, line_t in chosen),
        note=note,
    )


Line = tuple[str, Tensor, Tensor]  # a name, and the rows of both domains along it, (n_s,) and (n_t,)


def _at_rows(
    x: Tensor, y: Tensor, kernel: DistanceKernel, bandwidth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pooled, n_s, n_t = torch.cat([x, y]), len(x), len(y)
    if pooled.device.type != "mps":  # in float32 a domain far from the mean of both would lose the distances within it
        pooled = pooled.double()
    values = []
    for first in range(0, n_s + n_t, BLOCK):
        block = kernel.of_distances(squared_distances(pooled[first : first + BLOCK], pooled), bandwidth)
        here = torch.arange(len(block), device=block.device)
        block[here, here + first] = 0  # a row's kernel with itself
        own = here + first < n_s
        to_source = block[:, :n_s].sum(1, dtype=torch.float64) / torch.where(own, n_s - 1, n_s)
        to_target = block[:, n_s:].sum(1, dtype=torch.float64) / torch.where(own, n_t, n_t - 1)
        values.append(to_source - to_target)
    at = torch.cat(values).cpu().numpy()
    return at[:n_s], at[n_s:]


def _bandwidth(x: Tensor, y: Tensor, kernel: DistanceKernel, unit: float, seed: int) -> float:
    """Gamma for rows in these units."""
    if not isinstance(kernel.bandwidth, str):
        return float(kernel.bandwidth) / unit / unit
    some = torch.cat(
        [
            rows[choose_rows(len(rows), PAIRED // 2, "witness", seed, "bandwidth", domain)]
            for rows, domain in ((x, "source"), (y, "target"))
        ]
    )
    if some.device.type != "mps":  # in float32 a single far row would hide the median from the mean
        some = some.double()
    squared = squared_distances(some, some)
    above = torch.ones_like(squared, dtype=torch.bool).triu(1)
    return float(kernel.choose_bandwidth(squared[above]))


def _features(x: Tensor, y: Tensor, count: int, names: Sequence[str] | None) -> list[Line]:
    gaps = torch.cat([_gaps(a, b) for a, b in zip(x.split(COLUMNS, 1), y.split(COLUMNS, 1), strict=True)])
    order = gaps.argsort(descending=True, stable=True)[:count].tolist()
    return [
        (f"feature {column}" if names is None else str(names[column]), x[:, column], y[:, column]) for column in order
    ]


def _principal(x: Tensor, y: Tensor, count: int) -> list[Line]:
    found = principal_axes(torch.cat([x, y]), count) if count else None
    lines: list[Line] = []
    for place, direction in enumerate(() if found is None else found.directions):
        assert found is not None
        along = torch.from_numpy(direction).to(x.device)
        middle = float(found.mean @ direction)
        lines.append((f"principal direction {place + 1}", x.double() @ along - middle, y.double() @ along - middle))
    return lines


def _gaps(x: Tensor, y: Tensor) -> Tensor:
    """The Kolmogorov-Smirnov distance in every column, (c,)."""
    values, order = torch.cat([x, y]).sort(0)  # (n, c)
    heights = torch.tensor([-1 / len(y), 1 / len(x)], dtype=torch.float64, device=x.device)
    heights = heights[(order < len(x)).long()].cumsum(0).abs()
    last = torch.ones_like(values, dtype=torch.bool)
    last[:-1] = values[1:] > values[:-1]  # of equal values, the distributions are compared after all of them
    return torch.where(last, heights, 0).amax(0)


def _profile(name: str, x: Tensor, y: Tensor) -> Profile:
    x, y = x.double(), y.double()
    pooled = torch.cat([x, y]).cpu().numpy()
    low, first, third, high = np.quantile(pooled, [TAIL, 0.25, 0.75, 1 - TAIL])
    spread = float(min(pooled.std(ddof=1), (third - first) / 1.34) or pooled.std(ddof=1))
    width = 0.9 * spread * min(len(x), len(y)) ** -0.2 or 1.0  # a constant has no width
    grid = np.linspace(low - REACH * width, high + REACH * width, GRID)
    at = torch.from_numpy(grid).to(x.device)[:, None] / width  # (200, 1)
    densities = [
        (-0.5 * (at - rows / width).square()).exp().mean(1).cpu().numpy() / (width * math.sqrt(2 * math.pi))
        for rows in (x, y)
    ]
    return Profile(name, grid, densities[0], densities[1], float(_gaps(x[:, None], y[:, None])[0]))
