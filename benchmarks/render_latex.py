"""A table as LaTeX, for the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .blocks import Block, Table
from .render_lines import Sheet, sheets, spread

__all__ = ["to_latex"]

SYMBOLS = {
    "->": r"$\to$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "↓": r"$\downarrow$",
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # bare, it would be read as an argument of the line break before it
}
SPECIAL = re.compile("|".join(re.escape(text) for text in SYMBOLS))  # "->" stands before ">"


def to_latex(table: Table) -> str:
    """A table as LaTeX, one ``table`` environment a block; more than seven tasks take one for each part of them."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_block(table, block) for block in table.blocks)


def _block(table: Table, block: Block) -> str:
    *columns, summary = sheets(table, block)
    parts = list(zip(*(spread(sheet) for sheet in columns), strict=True))
    notes = [f"[{i}] {footnote}" for i, footnote in enumerate(table.footnotes, 1)] + list(table.notes)
    text = ""
    for number, part in enumerate(parts, 1):
        of = f" Part {number} of {len(parts)}." if len(parts) > 1 else ""
        caption = rf"\caption{{{_escaped(block.title)}. Target accuracy (\%).{of}}}"
        lines = [r"\begin{table}", r"\centering", caption, *_tabular(part)]
        if number == len(parts):
            lines += [r"\par\medskip", *_tabular((summary,))]
            lines += [r"\par\medskip\footnotesize\raggedright", *(rf"{_escaped(note)}\par" for note in notes)]
        text += "\n".join([*lines, r"\end{table}"]) + "\n"
    return text


def _tabular(parts: tuple[Sheet, ...]) -> Iterator[str]:
    seeds = any(line.seeds for line in parts[0].lines)
    width = len(parts[0].header) + 1 + seeds
    yield rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}"
    yield r"\toprule"
    yield _ampersands(["method", *map(_escaped, parts[0].header), *(["seeds"] if seeds else [])])
    for sheet in parts:
        yield r"\midrule"
        yield rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_escaped(sheet.title)}}}}} \\"
        for line in sheet.lines:
            if line.bound and not line.published:
                yield rf"\cmidrule{{1-{width}}}"
            label = rf"\quad {_escaped(line.label)}" if line.published else _escaped(line.label)
            cells = [_cell(entry.score, entry.gain) for entry in line.entries]
            yield _ampersands([label, *cells, *([line.seeds.replace("-", "--")] if seeds else [])])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _cell(score: str, gain: str) -> str:
    text = _escaped(score)
    if score.startswith(("+", "-")):  # a gain by itself
        text = _mathematical(score)
    return f"{text} ({_mathematical(gain)})" if gain else text


def _mathematical(gain: str) -> str:
    return f"${gain}$".replace("↓", r"\downarrow")


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return SPECIAL.sub(lambda found: SYMBOLS[found.group()], text)
