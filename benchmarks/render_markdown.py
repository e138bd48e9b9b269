"""A table as GitHub Markdown."""

from __future__ import annotations

import re

from .blocks import Table
from .render_lines import Sheet, sheets, spread

__all__ = ["to_markdown"]


def to_markdown(table: Table) -> str:
    """A table as GitHub Markdown; the published rows and the bound are in italics.

    More than seven tasks are spread over several grids, as even as can be, so that a page shows them unscrolled.
    """
    parts: list[str] = []
    for block in table.blocks:
        parts.append(f"### {_escaped(block.title)}")
        for sheet in sheets(table, block):
            parts += [f"**{_escaped(sheet.title)}**", *map(_grid, spread(sheet) if sheet.column else [sheet])]
    notes = [f"- [{i}] {_escaped(footnote)}" for i, footnote in enumerate(table.footnotes, 1)]
    notes += [f"- {_escaped(note)}" for note in table.notes]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _grid(sheet: Sheet) -> str:
    seeds = any(line.seeds for line in sheet.lines)
    rows = [_pipes(["method", *map(_escaped, sheet.header), *(["seeds"] if seeds else [])])]
    rows.append(_pipes([":---"] + ["---:"] * (len(sheet.header) + seeds)))
    for line in sheet.lines:
        label = _escaped(line.label)
        cells = [f"{entry.score} ({entry.gain})" if entry.gain else entry.score for entry in line.entries]
        cells = [cell.replace("<", "\\<") for cell in cells]
        if line.published or line.bound:
            label, *cells = [f"*{text}*" if text else "" for text in (label, *cells)]
        rows.append(_pipes([label, *cells, *([line.seeds] if seeds else [])]))
    return "\n".join(rows)


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\|`*_<])", r"\\\1", text)
