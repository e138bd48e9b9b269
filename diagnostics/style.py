"""How the diagnostics' figures look: one pair of colours for the domains, and axes that belong to no global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CLASSES", "INK", "SOURCE", "STYLE", "TARGET", "axes"]

# Okabe and Ito's colours, which the colour-blind tell apart
SOURCE, TARGET, INK = "#0072B2", "#D55E00", "#222222"
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#B8A900", "#5E3C99", "#222222")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.edgecolor": "#BBBBBB",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
DPI = 160


def axes(ax: Axes | None = None, *, size: tuple[float, float] = (4.2, 3.2)) -> Axes:
    """The axes given, or new ones in a figure of their own (``ax.figure.savefig(...)``), without pyplot.

    Args:
        ax: axes of the caller's, or None.
        size: of a new figure, in inches.
    """
    if ax is not None:
        return ax
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
        return figure.add_subplot()
