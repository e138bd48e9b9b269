"""How the diagnostics' figures look: one pair of colours for the domains, and axes that belong to no global state."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CLASSES", "GREY", "INK", "SOURCE", "STYLE", "TARGET", "axes", "panels", "styled", "to_png", "whole_figure"]

P = ParamSpec("P")
R = TypeVar("R")

# Okabe and Ito's colours, which the colour-blind tell apart
SOURCE, TARGET, INK, GREY = "#0072B2", "#D55E00", "#222222", "#BBBBBB"
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#B8A900", "#5E3C99", "#222222")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
}
DPI = 160
PANEL = (4.2, 3.2)  # inches


def axes(ax: Axes | None = None, *, size: tuple[float, float] = PANEL) -> Axes:
    """The axes given, or new ones in a figure of their own (``ax.figure.savefig(...)``), without pyplot.

    Args:
        ax: axes of the caller's, or None.
        size: of a new figure, in inches.
    """
    return panels(1, 1, size=size)[0] if ax is None else ax


def panels(rows: int, columns: int, *, size: tuple[float, float] = PANEL) -> list[Axes]:
    """Axes side by side in one new figure, row by row, without pyplot.

    Args:
        rows: of panels.
        columns: of panels.
        size: of one panel, in inches.

    >>> left, right = panels(1, 2)
    >>> left.figure is right.figure
    True
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=DPI, layout="constrained", facecolor="white")
        return list(figure.subplots(rows, columns, squeeze=False).flat)


def whole_figure(ax: Axes) -> Figure:
    """The figure that these axes are part of, also through a subfigure."""
    from matplotlib.figure import Figure

    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a function draw under :data:`STYLE`, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def to_png(drawn: Axes | Figure) -> bytes:
    """The bytes of a PNG file of a figure, or of the whole figure that these axes are part of.

    >>> to_png(axes())[1:4]
    b'PNG'
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = drawn if isinstance(drawn, Figure) else whole_figure(drawn)
    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure).print_png(data, metadata={"Software": None})  # no version: equal figures, equal bytes
    return data.getvalue()
