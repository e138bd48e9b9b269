"""A matrix of shares as a picture, with its numbers in it where they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..shared.style import INK, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["heat_map"]

READABLE = 12  # rows or columns up to which cells hold their number
NAMED = 40  # ticks up to which every row has its name
CELL = 0.34  # inches a row
LETTER = 0.075  # inches a letter


def heat_map(
    ax: Axes | None, percent: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], *, top: float = 100.0
) -> Axes:
    """Draw a matrix of percentages, darker for more.

    Args:
        ax: axes to draw on; new ones of a fitting size if left out.
        percent: (r, c), 0 to ``top``.
        rows: names of its rows, from above.
        columns: names of its columns.
        top: the value of the darkest colour.

    Returns:
        The axes.

    >>> heat_map(None, np.eye(2) * 100, ["a", "b"], ["a", "b"]).get_yticklabels()[0].get_text()
    'a'
    """
    side = min(max(CELL * max(percent.shape), 2.2), 6.0)
    letters = max(map(len, rows))
    ax = axes(ax, size=(side + 1.1 + LETTER * letters, side + 0.9))
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    _name(ax.set_xticks, columns, rotated=max(map(len, columns)) * LETTER > CELL)
    _name(ax.set_yticks, rows)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if max(percent.shape) > READABLE:
        bar = ax.figure.colorbar(ax.images[0], ax=ax, shrink=0.8, pad=0.02)
        bar.set_label("%")
        bar.outline.set_visible(False)
        return ax
    for (row, column), value in np.ndenumerate(percent):
        if value >= 0.5:  # a page of zeros hides the rest
            colour = "white" if value > 0.6 * top else INK
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=7.5)
    return ax


def _name(set_ticks: object, names: Sequence[str], *, rotated: bool = False) -> None:
    step = 1 + (len(names) - 1) // NAMED
    places = list(range(0, len(names), step))
    look: dict[str, object] = {"rotation": 90} if rotated else {}
    set_ticks(places, [names[place] for place in places], **look)  # type: ignore[operator]
