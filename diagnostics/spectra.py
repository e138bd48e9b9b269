"""How both domains vary: the spectra of their covariances, and the angles between their leading subspaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import full_precision
from ..shared.seeds import generator
from ..shared.style import GREY, SOURCE, TARGET, axes, panels, styled, whole_figure
from .inputs import as_pair
from .principal import Principal, principal_axes
from .rows import check_count, choose_pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Spectra", "spectra"]

SHOWN = 50  # eigenvalues
SPLITS = 3  # into halves


@dataclass(frozen=True, eq=False)
class Spectra:
    """Leading eigenvalues of both covariances, and the angles between the subspaces.

    Attributes:
        source: eigenvalues of the source's unbiased covariance, falling, (k_s,).
        target: of the target's, (k_t,).
        source_total: the trace of the source's covariance.
        target_total: of the target's.
        angles: principal angles between the subspaces of the leading ``components`` directions, in degrees, rising,
            (components,).
        halves: the same between two random halves of the source, the largest in three splits: what chance gives, or
            somewhat more, as a half has fewer rows.
        n_source: rows of the source used.
        n_target: rows of the target used.
        note: how it was computed, if not on all rows.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    source_total: float
    target_total: float
    angles: NDArray[np.float64]
    halves: NDArray[np.float64]
    n_source: int
    n_target: int
    note: str = ""

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The eigenvalues of both domains, falling: curves apart are variances that CORAL would make equal."""
        ax = axes(ax)
        for values, total, colour, name in (
            (self.source, self.source_total, SOURCE, "source"),
            (self.target, self.target_total, TARGET, "target"),
        ):
            ranks = np.arange(1, len(values) + 1)
            ax.plot(ranks, values, color=colour, marker="o", markersize=3, label=f"{name} (total {total:.3g})")
        ax.set_yscale("log")
        ax.set_xlabel("principal direction, by rank")
        ax.set_ylabel("variance along it")
        ax.set_title("Spectra: how much each domain varies")
        ax.legend()
        return ax

    @styled
    def plot_angles(self, ax: Axes | None = None) -> Axes:
        """The principal angles between both domains' leading subspaces, over those between halves of the source."""
        ax = axes(ax)
        ranks = np.arange(1, len(self.angles) + 1)
        ax.bar(ranks, self.angles, color=TARGET, width=0.7, label="source and target")
        if len(self.halves):
            edges = np.arange(len(self.halves) + 1) + 0.5
            line = np.concatenate([self.halves[:1], self.halves])
            ax.step(edges, line, color=SOURCE, linewidth=1.6, label="halves of the source")
        ax.axhline(90, color=GREY, linewidth=0.8)
        ax.set_ylim(0, 97)
        ax.set_yticks([0, 30, 60, 90], ["0°", "30°", "60°", "90°"])
        ax.set_xlabel("principal angle, by rank")
        ax.set_title(
            f"Subspaces of {len(self.angles)} leading directions: turned by\nthe shift where bars exceed the line"
        )
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return ax

    @styled
    def figure(self) -> Figure:
        """Spectra and angles side by side."""
        left, right = panels(1, 2)
        self.plot(left)
        self.plot_angles(right)
        return whole_figure(left)


@full_precision
def spectra(source: Any, target: Any, *, components: int = 10, most: int = 10_000, seed: int = 0) -> Spectra:
    r"""Leading eigenvalues of both domains' covariances, and the principal angles between their leading subspaces.

    .. math:: \theta_i = \arccos \sigma_i(U_s^\top U_t)

    with U_s, U_t (d, components) the leading eigenvectors of each domain's covariance about its own mean, divided by
    n - 1. Small angles are found by their sines. Where the leading directions of a domain have nearly equal variances,
    their order and span are arbitrary: compare with :attr:`Spectra.halves`.

    Args:
        source: features of the source, (n, d) or (n, ...).
        target: features of the target, (m, d).
        components: dimension of the subspaces, >= 1; fewer where a half of the source, or the target, has less variance
            than that many directions (n < d is legal).
        most: rows of each domain, at most; of more, so many are drawn.
        seed: of the rows drawn, and of the halves.

    Raises:
        TypeError: for what are no numbers.
        ValueError: for shapes that do not fit, NaN, fewer than 4 rows of the source, no variance in a domain, or
            ``components`` and ``most`` out of range.

    Source: Bjorck and Golub, Numerical Methods for Computing Angles Between Linear Subspaces, Math. Comp. 27 (1973),
    theorem 1; Fernando et al., Unsupervised Visual Domain Adaptation Using Subspace Alignment, ICCV 2013, for the
    subspaces.

    >>> flat, steep = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]
    >>> spectra(flat, steep, components=1).angles.round(6).tolist()
    [45.0]
    """
    name = "spectra"
    check_count(name, "components", components, 1)
    check_count(name, "most", most, 4)
    x, y = as_pair(name, source, target)
    if len(x) < 4:
        raise ValueError(f"{name} needs at least 4 rows of the source, to compare its halves; got {len(x)}.")
    used_s, used_t, _, _, note = choose_pair(x, y, most, name, seed)
    axes_s, axes_t = (principal_axes(rows, max(components, SHOWN)) for rows in (used_s, used_t))
    for domain, found in (("source", axes_s), ("target", axes_t)):
        if not len(found.variances):
            raise ValueError(f"{name} needs rows that vary; all {domain} rows are equal. Pass features that differ.")
    return Spectra(
        source=axes_s.variances,
        target=axes_t.variances,
        source_total=axes_s.total,
        target_total=axes_t.total,
        angles=_angles(axes_s, axes_t, components),
        halves=_between_halves(used_s, components, seed),
        n_source=len(used_s),
        n_target=len(used_t),
        note=note,
    )


def _between_halves(rows: Tensor, components: int, seed: int) -> NDArray[np.float64]:
    """The largest angles, rank by rank, between halves of one sample."""
    chance = generator("spectra", seed, "halves")
    middle, found = len(rows) // 2, []
    for _ in range(SPLITS):
        order = torch.randperm(len(rows), generator=chance).to(rows.device)
        parts = (principal_axes(rows[order[:middle]], components), principal_axes(rows[order[middle:]], components))
        found.append(_angles(*parts, components))
    common = min(map(len, found))
    return np.asarray(np.max([angles[:common] for angles in found], axis=0))


def _angles(first: Principal, second: Principal, components: int) -> NDArray[np.float64]:
    """Principal angles in degrees, rising."""
    from scipy.linalg import subspace_angles

    common = min(components, len(first.directions), len(second.directions))
    if not common:
        return np.zeros(0)
    rising = subspace_angles(first.directions[:common].T, second.directions[:common].T)[::-1]
    return np.asarray(np.degrees(rising))
