"""The small objects that tests and distances return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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

    def plot(self, ax: Axes | None = None) -> Axes:
        """The statistic on the histogram of its permutations."""
        from .style import INK, TARGET, axes

        ax = axes(ax)
        if len(self.null):
            ax.hist(self.null, bins=min(40, max(10, len(self.null) // 10)), color="#BBBBBB", label="permuted domains")
        ax.axvline(self.statistic, color=TARGET, linewidth=2, label="observed")
        ax.set_xlabel(self.name)
        ax.set_ylabel("permutations")
        below = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        ax.set_title(f"{self.name}: {below}", color=INK)
        ax.legend(frameon=False)
        return ax


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
