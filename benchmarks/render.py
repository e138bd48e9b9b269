"""How a table looks: on the terminal, as Markdown, as LaTeX, and as CSV in long form.

All of them show the same lines: a method's scores with its gain over source-only in brackets, below it the published
rows with the number of their footnote, train-on-target under a rule, and the oracle apart from it all.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

from rich.box import Box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ..shared.files import write_atomically
from .table import AVERAGE, BOUND, COLUMNS, Block, Number, Row, Table

__all__ = ["CSV_HEADER", "print_table", "to_csv", "to_latex", "to_markdown", "to_terminal", "write_tables"]

CSV_HEADER = (
    "suite",
    "protocol",
    "network",
    "track",
    "task",
    "method",
    "column",
    "mean",
    "stderr",
    "seeds",
    "n",
    "published",
    "published_source",
)
ORACLE = "oracle: best checkpoint by target labels, not attainable"
LAST = "last: accuracy (%) at the end of training, in brackets the gain over source-only"
PIPED_WIDTH = 120  # where there is no terminal to ask
# rich's SIMPLE_HEAD with a rule between sections
RULES = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
UNBOUNDED = 10_000  # columns to measure a grid in


class Entry(NamedTuple):
    score: str
    gain: str = ""


class Line(NamedTuple):
    label: str
    entries: tuple[Entry, ...]
    seeds: str = ""
    published: bool = False
    bound: bool = False


def _lines(block: Block, column: str) -> list[Line]:
    lines: list[Line] = []
    for row in block.rows:
        bound = row.method == BOUND
        numbers = row.numbers[column]
        entries = tuple(_entry(numbers.get(place), column) for place in block.columns)
        lines.append(Line(row.label, entries, _seeds(row), bound=bound))
        if column != "last":
            continue
        for quote in row.quotes:
            mark = "" if quote.same_protocol else "†"
            values = tuple(
                Entry(_tenth(quote.values[place]) + mark if place in quote.values else "") for place in block.columns
            )
            lines.append(Line(f"published [{quote.footnote}]", values, published=True, bound=bound))
    return lines


def _entry(number: Number | None, column: str) -> Entry:
    if number is None:
        return Entry("")
    error = "n/a" if number.stderr is None else f"{number.stderr:.1f}"
    gain = ""
    if column == "last" and number.gain is not None:
        gain = f"{round(number.gain, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0
    return Entry(f"{number.mean:.1f} ± {error}", gain)


def _tenth(value: float) -> str:
    """One decimal, halves upwards as papers round: 73.85 is 73.9 though its nearest float lies below."""
    return str(Decimal(repr(value)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def _seeds(row: Row) -> str:
    counts = {len(number.seeds) for place, number in row.numbers["last"].items() if place != AVERAGE}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)}-{max(counts)}"


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
        parts += [Text(LAST, style="italic"), *_grids(block, "last", width)]
        parts += [Text(ORACLE, style="italic dim"), *_grids(block, "oracle", width)]
    parts += [Text(f"[{i}] {footnote}", style="dim") for i, footnote in enumerate(table.footnotes, 1)]
    parts += [Text(note, style="dim") for note in table.notes]
    return Group(*parts)


def _grids(block: Block, column: str, width: int) -> list[RichTable]:
    places = range(len(block.columns))
    wide = _grid(block, column, places, narrow=False)
    if _width(wide) <= width:
        return [wide]
    grids: list[RichTable] = []
    while places:
        count = len(places)
        while count > 1 and _width(_grid(block, column, places[:count], narrow=True)) > width:
            count -= 1
        grids.append(_grid(block, column, places[:count], narrow=True))
        places = places[count:]
    return grids


def _width(grid: RichTable) -> int:
    return Console(width=UNBOUNDED).measure(grid).maximum


def _grid(block: Block, column: str, places: range, *, narrow: bool) -> RichTable:
    dim = "dim" if column == "oracle" else ""
    grid = RichTable(style=dim, header_style=dim or "bold", box=RULES, pad_edge=False)
    grid.add_column("method", no_wrap=True)
    for name in (block.columns[place] for place in places):
        grid.add_column(Text(name.replace("->", "->\n") if narrow else name), justify="right", no_wrap=True)
    grid.add_column("seeds", justify="right", no_wrap=True)
    for line in _lines(block, column):
        if line.bound and not line.published:
            grid.add_section()
        label = Text(f"  {line.label}" if line.published else line.label)
        cells = [_cell(line.entries[place], narrow) for place in places]
        grid.add_row(label, *cells, Text(line.seeds), style="dim" if line.published else dim)
    return grid


def _cell(entry: Entry, narrow: bool) -> Text:
    text = Text(entry.score.replace(" ± ", "±") if narrow else entry.score)
    if entry.gain:
        style = "red" if entry.gain.startswith("-") else "green"
        text.append("\n" if narrow else " ")
        text.append(f"({entry.gain})", style=style)
    return text


def to_markdown(table: Table) -> str:
    """A table as GitHub Markdown; the published rows and the bound are in italics."""
    parts: list[str] = []
    for block in table.blocks:
        parts += [f"### {_markdown(block.title)}", *_markdown_grid(block, "last"), *_markdown_grid(block, "oracle")]
    notes = [f"- [{i}] {_markdown(footnote)}" for i, footnote in enumerate(table.footnotes, 1)]
    notes += [f"- {_markdown(note)}" for note in table.notes]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _markdown_grid(block: Block, column: str) -> list[str]:
    rows = [_pipes(["method", *map(_markdown, block.columns), "seeds"])]
    rows.append(_pipes([":---"] + ["---:"] * (len(block.columns) + 1)))
    for line in _lines(block, column):
        label = _markdown(line.label)
        cells = [f"{entry.score} ({entry.gain})" if entry.gain else entry.score for entry in line.entries]
        if line.published or line.bound:
            label, *cells = [f"*{text}*" if text else "" for text in (label, *cells)]
        rows.append(_pipes([label, *cells, line.seeds]))
    return [f"**{LAST if column == 'last' else ORACLE}**", "\n".join(rows)]


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|`*_<])", r"\\\1", text)


LATEX = {
    "->": r"$\to$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
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
SPECIAL = re.compile("|".join(re.escape(text) for text in LATEX))  # "->" stands before ">"


def to_latex(table: Table) -> str:
    """A table as LaTeX, one ``table`` environment a block, for the package booktabs."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex_block(table, block) for block in table.blocks)


def _latex_block(table: Table, block: Block) -> str:
    width = len(block.columns) + 2
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(block.title)}. Target accuracy (\%).}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _ampersands(["method", *map(_latex, block.columns), "seeds"]),
    ]
    for column, title in (("last", LAST), ("oracle", ORACLE)):
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_latex(title)}}}}} \\"]
        lines += list(_latex_rows(block, column))
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [f"[{i}] {footnote}" for i, footnote in enumerate(table.footnotes, 1)]
    lines += [r"\par\medskip\footnotesize\raggedright", *(rf"{_latex(note)}\par" for note in (*notes, *table.notes))]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_rows(block: Block, column: str) -> Iterator[str]:
    for line in _lines(block, column):
        if line.bound and not line.published:
            yield rf"\cmidrule{{1-{len(block.columns) + 2}}}"
        label = rf"\quad {_latex(line.label)}" if line.published else _latex(line.label)
        cells = [
            f"{_latex(entry.score)} (${entry.gain}$)" if entry.gain else _latex(entry.score) for entry in line.entries
        ]
        yield _ampersands([label, *cells, line.seeds.replace("-", "--")])


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex(text: str) -> str:
    return SPECIAL.sub(lambda found: LATEX[found.group()], text)


def to_csv(table: Table) -> str:
    """A table in long form, one row per number, in percent; blanks have no row.

    ``seeds`` counts them; ``n`` is how many target rows one seed is scored on (their total for the average; empty if
    the seeds differ). ``published`` is the first published value under the same protocol, else the first at all;
    ``published_source`` says where from, under which protocol and how selected, and names the others.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for block in table.blocks:
        for row in block.rows:
            for column in COLUMNS:
                for place, number in row.numbers[column].items():
                    stderr = "" if number.stderr is None else f"{number.stderr:.4f}"
                    head = (block.suite, block.protocol, block.network, block.track, place, row.method, column)
                    count = "" if number.n is None else number.n
                    numbers = (f"{number.mean:.4f}", stderr, len(number.seeds), count)
                    writer.writerow((*head, *numbers, *_published(row, place)))
    return text.getvalue()


def _published(row: Row, place: str) -> tuple[str, str]:
    quotes = [quote for quote in row.quotes if place in quote.values]
    quotes.sort(key=lambda quote: not quote.same_protocol)  # stable: the suite's order within
    if not quotes:
        return "", ""
    first, *others = quotes
    marks = ["" if quote.same_protocol else "† " for quote in quotes]
    source = marks[0] + first.published.describe()
    for mark, quote in zip(marks[1:], others, strict=True):
        source += f"; also {quote.values[place]:.10g}: {mark}{quote.published.describe()}"
    return f"{first.values[place]:.10g}", source


def write_tables(out: Path, table: Table) -> list[Path]:
    """Write ``table.md``, ``table.tex``, ``table.csv`` and ``results.png`` into ``out``, each whole or not at all.

    All are made before the first is written. Returns their paths.

    Raises:
        OSError: if ``out`` is read-only or full.
    """
    from .plots import to_png  # matplotlib takes a second to import, and the terminal does without it

    files = {
        "table.md": to_markdown(table).encode(),
        "table.tex": to_latex(table).encode(),
        "table.csv": to_csv(table).encode(),
        "results.png": to_png(table),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(out / name, data)
    return [out / name for name in files]
