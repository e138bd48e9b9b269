"""A table on the terminal, fitted to its width."""

from __future__ import annotations

from rich.box import Box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .blocks import Table
from .render_lines import Entry, Sheet, sheets, spread

__all__ = ["PIPED_WIDTH", "print_table", "to_terminal"]

PIPED_WIDTH = 120  # where there is no terminal to ask
# rich's SIMPLE_HEAD with a rule between sections
RULES = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
UNBOUNDED = 10_000  # columns to measure a grid in


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table to the terminal, or to ``console``, fitted to its width (120 where output is piped)."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=PIPED_WIDTH)
    console.print(to_terminal(table, width=console.width))


def to_terminal(table: Table, *, width: int = PIPED_WIDTH) -> RenderableType:
    """A table for the terminal.

    Where ``width`` is too small, gains move under their scores and headers break; where it still is, the tasks are
    spread over several grids. No number is ever cut.
    """
    parts: list[RenderableType] = []
    for block in table.blocks:
        parts += [Text(block.title, style="bold"), Text("")]
        for sheet in sheets(table, block):
            style = "italic dim" if sheet.column == "oracle" else "italic"
            parts += [Text(sheet.title, style=style), *_grids(sheet, width)]
    parts += [Text(f"[{i}] {footnote}", style="dim") for i, footnote in enumerate(table.footnotes, 1)]
    parts += [Text(note, style="dim") for note in table.notes]
    return Group(*parts)


def _grids(sheet: Sheet, width: int) -> list[RichTable]:
    wide = _grid(sheet, narrow=False)
    if _width(wide) <= width:
        return [wide]
    for most in range(len(sheet.header), 0, -1):  # even grids of as many tasks as fit
        grids = [_grid(part, narrow=True) for part in spread(sheet, most)]
        if max(map(_width, grids)) <= width:
            return grids
    return grids


def _width(grid: RichTable) -> int:
    return Console(width=UNBOUNDED).measure(grid).maximum


def _grid(sheet: Sheet, *, narrow: bool) -> RichTable:
    dim = "dim" if sheet.column == "oracle" else ""
    seeds = any(line.seeds for line in sheet.lines)
    grid = RichTable(style=dim, header_style=dim or "bold", box=RULES, pad_edge=False)
    grid.add_column("method", no_wrap=True)
    for name in sheet.header:
        grid.add_column(Text(name.replace("->", "->\n") if narrow else name), justify="right", no_wrap=True)
    if seeds:
        grid.add_column("seeds", justify="right", no_wrap=True)
    for line in sheet.lines:
        if line.bound and not line.published:
            grid.add_section()
        label = Text(f"  {line.label}" if line.published else line.label)
        cells = [_cell(entry, narrow) for entry in line.entries]
        grid.add_row(label, *cells, *([Text(line.seeds)] if seeds else []), style="dim" if line.published else dim)
    return grid


def _cell(entry: Entry, narrow: bool) -> Text:
    text = Text(entry.score.replace(" ± ", "±") if narrow else entry.score)
    if entry.gain:
        text.append("\n" if narrow else " ")
        gains = entry.gain.split(", ")
        for place, gain in enumerate(gains):
            if place:
                text.append(",\n" if narrow else ", ")
            shown = f"{'' if place else '('}{gain}{')' if place == len(gains) - 1 else ''}"
            text.append(shown, style="red" if gain.startswith("-") else "green")
    return text
