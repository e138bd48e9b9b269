"""The picture of a benchmark table: one panel a task, one line a method."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from .blocks import BASELINE, BOUND, CHOSEN, Block, Row, Table
from .render_lines import BELOW, COLLAPSED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "to_png"]

DPI = 160
ACROSS = 3  # panels side by side
MANY = 9  # tasks up to which three are enough; beyond, four
PANEL = 3.1  # inches
LINE = 0.34  # inches a method
ABOVE = 0.75  # inches a row of panels needs besides its methods
LETTER = 0.085  # inches a letter of a label needs
# of a line, downwards from the last iterate: so that none of the others hides it
PUBLISHED, CHOICE, ORACLE = -0.26, 0.22, 0.4
MARGIN = 1.25  # inches for the heading and the legend

# Okabe and Ito's colours, which the colour-blind tell apart
BLUE, PINK, ORANGE, GREEN, GREY, INK = "#0072B2", "#CC79A7", "#D55E00", "#009E73", "#7A7A7A", "#222222"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.edgecolor": "#BBBBBB",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(table: Table) -> Figure:
    """A panel per task: the last iterate with its 95% interval, what the validator chose, the oracle, and the bounds.

    The published values stand above them. Where each cell has one checkpoint, there is the last iterate alone. The
    figure belongs to no global state; it is as wide as its panels and as high as its methods.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [(block, columns) for block in table.blocks for columns in _rows_of_panels(block)]
    across = max(len(tasks) for _, tasks in panels)
    labels = max(len(row.label) for block in table.blocks for row in block.rows)
    heights = [ABOVE + LINE * len(block.rows) for block, _ in panels]
    size = (max(LETTER * labels + PANEL * across, 5.6), sum(heights) + MARGIN)
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.05, wspace=0.04)  # the scores belong to the panel on their left
        figure = Figure(figsize=size, dpi=DPI, layout=layout, facecolor="white")
        grid = figure.add_gridspec(len(panels), across, height_ratios=heights)
        for place, (block, tasks) in enumerate(panels):
            for column, task in enumerate(tasks):
                axes = figure.add_subplot(grid[place, column])
                _panel(axes, block, task, table.shown_of(block), named=column == 0)
                if len(table.blocks) > 1:
                    axes.set_title(f"{_arrow(task)}\n{block.protocol}\n{block.network}, {block.track}", fontsize=8)
        if len(table.blocks) == 1:
            figure.suptitle(table.blocks[0].title, fontsize=9, wrap=True)
        _legend(figure, table)
    return figure


def to_png(table: Table) -> bytes:
    """The picture as the bytes of a PNG file; the same table gives the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(table)
    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()


def _rows_of_panels(block: Block) -> list[tuple[str, ...]]:
    rows = math.ceil(len(block.tasks) / (ACROSS if len(block.tasks) <= MANY else ACROSS + 1))
    each = math.ceil(len(block.tasks) / rows)  # four tasks make 2 + 2, not 3 + 1
    return [block.tasks[start : start + each] for start in range(0, len(block.tasks), each)]


def _panel(axes: Axes, block: Block, task: str, shown: tuple[str, ...], *, named: bool) -> None:
    baselines = {BASELINE, *(row.baseline for row in block.rows)}
    for row in block.rows:
        number = row.numbers["last"].get(task)
        if number is not None and (row.method in baselines or row.method == BOUND):
            bound = row.method == BOUND
            axes.axvline(number.mean, color=GREEN if bound else GREY, ls="-" if bound else "--", lw=1.1, zorder=1)
        if number is not None and row.method == block.second:
            axes.axvline(number.mean, color=GREY, ls=":", lw=1.1, zorder=1)
    for height, row in enumerate(block.rows):
        _line(axes, height, row, task, shown)
    axes.set_title(_arrow(task), fontsize=10, fontweight="bold")
    axes.set_xlabel("target accuracy (%)", fontsize=8)
    axes.set_ylim(len(block.rows) - 0.4, -0.6)
    axes.set_yticks(range(len(block.rows)), [row.label for row in block.rows] if named else [])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -1), min(right, 101))  # a margin past 0 or 100 % says nothing
    axes.grid(axis="x", color="#EAEAEA", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _arrow(task: str) -> str:
    return task.replace("->", " → ")


def _line(axes: Axes, height: int, row: Row, task: str, shown: tuple[str, ...]) -> None:
    for quote in row.quotes:
        if task in quote.values:
            fill = ORANGE if quote.same_protocol else "white"
            axes.plot(quote.values[task], height + PUBLISHED, "D", ms=4.2, mfc=fill, mec=ORANGE, mew=1.0, zorder=3)
    last = row.numbers["last"].get(task)
    if last is None:
        return
    for column in shown[1:]:
        number = row.numbers[column].get(task)
        if number is None:
            continue
        if column.startswith(CHOSEN):
            fill = "white" if number.collapsed else PINK
            axes.plot(number.mean, height + CHOICE, "^", ms=4.2, mfc=fill, mec=PINK, mew=0.9, zorder=3)
        else:
            axes.plot(number.mean, height + ORACLE, "o", ms=4.2, mfc="white", mec=BLUE, mew=0.9, zorder=3)
    axes.errorbar(
        last.mean, height, xerr=last.interval, fmt="o", ms=4.2, color=BLUE, elinewidth=1.6, capsize=2.5, zorder=4
    )
    if last.range is not None:
        axes.plot(last.range, (height, height), "-", color=BLUE, lw=0.8, marker="|", ms=4.2, zorder=4)
    axes.text(
        1.01,
        height,
        f"{last.mean:.1f}{BELOW if last.negative else ''}",
        transform=axes.get_yaxis_transform(),
        fontsize=8,
        va="center",
        color=ORANGE if last.negative else BLUE,
    )


def _legend(figure: Figure, table: Table) -> None:
    from matplotlib.lines import Line2D

    rows = [row for block in table.blocks for row in block.rows]
    quotes = [quote for row in rows for quote in row.quotes]
    shown = list(dict.fromkeys(column for block in table.blocks for column in table.shown_of(block)))
    blank: dict[str, Any] = {"xdata": [], "ydata": [], "ls": ""}
    lasts = [number for row in rows for number in row.numbers["last"].values()]
    known = any(number.interval is not None for number in lasts)
    several = any(number.range is not None for number in lasts)
    last = "last, mean and 95% interval" if known else "last, mean of the seeds" if several else "last, one seed"
    handles = [Line2D(**blank, marker="o", ms=5, color=BLUE, label=last)]
    if several:
        name = "lowest to highest seed (interval wider than the scale)"
        handles.append(Line2D([], [], color=BLUE, lw=0.8, marker="|", ms=5, label=name))
    for column in shown:
        if column.startswith(CHOSEN):
            handles.append(Line2D(**blank, marker="^", ms=5, color=PINK, label=column))
            if any(number.collapsed for row in rows for number in row.numbers[column].values()):
                name = f"chosen, but collapsed ({COLLAPSED} in the table)"
                handles.append(Line2D(**blank, marker="^", ms=5, mfc="white", mec=PINK, label=name))
        elif column == "oracle":
            name = "oracle (chosen by target labels)"
            handles.append(Line2D(**blank, marker="o", ms=5, mfc="white", mec=BLUE, label=name))
    references = {block.reference for block in table.blocks}
    if any(row.method == BASELINE or row.baseline for row in rows):
        handles.append(Line2D([], [], ls="--", color=GREY, label=" or ".join(sorted(references))))
    if any(block.second for block in table.blocks):
        handles.append(Line2D([], [], ls=":", color=GREY, label="source-only + AdaBN"))
    if any(row.method == BOUND for row in rows):
        handles.append(Line2D([], [], ls="-", color=GREEN, label="train-on-target"))
    if any(number.negative for number in lasts):
        handles.append(Line2D(**blank, marker=f"${BELOW}$", ms=6, color=ORANGE, label="negative transfer"))
    if any(quote.same_protocol for quote in quotes):
        handles.append(Line2D(**blank, marker="D", ms=4.5, color=ORANGE, label="published"))
    if any(not quote.same_protocol for quote in quotes):
        handles.append(
            Line2D(**blank, marker="D", ms=4.5, mfc="white", mec=ORANGE, label="published, not comparable (†)")
        )
    width = figure.get_size_inches()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if width < 7.5 else 3, frameon=False, fontsize=8)
