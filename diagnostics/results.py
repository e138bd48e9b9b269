"""The small objects that tests and distances return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..shared.style import GREY, INK, TARGET, axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Distance", "TwoSampleTest"]


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """The outcome of a test of "both domains have one distribution".

    Attributes:
        name: of the test.
        statistic: its value on the two samples; larger is further apart.
        p_value: the share of permutations with a statistic at least as large, (1 + hits) / (1 + permutations), or what
            the test's own theory says.
        n_source: rows of the source used.
        n_target: rows of the target used.
        null: the statistics under permutation, (permutations,); empty where theory gives the p-value.
        note: how it was computed, if not exactly on all rows.
    """

    name: str
    statistic: float
    p_value: float
    n_source: int
    n_target: int
    null: NDArray[np.float64]
    note: str = ""

    def rejects(self, level: float = 0.05) -> bool:
        """Whether "no shift" is rejected at this level of false alarms."""
        return self.p_value <= level

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The statistic, on the histogram of its values with the domains permuted where there are such."""
        ax = axes(ax)
        if len(self.null):
            bins = min(40, max(10, len(self.null) // 10))
            ax.hist(self.null, bins=bins, color=GREY, label=f"domains permuted ({len(self.null)} times)")
            ax.set_ylabel("permutations")
        else:
            ax.set_yticks([])
        ax.axvline(self.statistic, color=TARGET, linewidth=2, label="observed")
        ax.set_xlabel("statistic; further right is further apart")
        ax.set_title(f"{self.name}: {_p(self.p_value)}\n{self._reading()}")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return ax

    def _reading(self) -> str:
        if not len(self.null):
            return "by the test's own theory"
        if self.statistic > self.null.max():
            return "the domains differ more than in any permutation"
        share = 100 * float((self.null < self.statistic).mean())
        return f"the domains differ more than in {share:.0f}% of permutations"

    def __str__(self) -> str:
        rows = f"{self.n_source} and {self.n_target} rows"
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: statistic {self.statistic:.4g}, {_p(self.p_value)} ({rows}{note})"


@dataclass(frozen=True, eq=False)
class Distance:
    """An estimated distance of two domains, with a bootstrap interval.

    Attributes:
        name: of the distance.
        value: the estimate on all rows used.
        low: lower end of the interval, NaN where none was asked for.
        high: upper end.
        level: of the interval, 0.95.
        n_source: rows of the source used.
        n_target: rows of the target used.
        scale: in which units, or between which values, it lies.
        note: how it was computed, if not exactly on all rows.
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    n_source: int
    n_target: int
    scale: str = ""
    note: str = ""

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The estimate with its interval, from zero."""
        ax = axes(ax, size=(4.2, 1.5))
        if np.isfinite([self.low, self.high]).all():
            ax.plot([self.low, self.high], [0, 0], color=TARGET, linewidth=2, solid_capstyle="butt")
        ax.plot([self.value], [0], "o", color=TARGET, markersize=6)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_ylim(-1, 1)
        ax.set_yticks([])
        ax.set_xlabel(self.scale or self.name)
        ax.set_title(str(self).split(" (")[0])
        return ax

    def __str__(self) -> str:
        interval = ""
        if np.isfinite([self.low, self.high]).all():
            interval = f", {100 * self.level:.0f}% interval {self.low:.4g} to {self.high:.4g}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {self.value:.4g}{interval} ({self.n_source} and {self.n_target} rows{note})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
