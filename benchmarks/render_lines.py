"""The lines that every rendering of a table shows, as text and without any mark-up.

A block becomes sheets: one for each column (last, chosen, oracle) with the tasks side by side, and a last one that
puts the three beside each other for the average, with gain, p, rank and cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import NamedTuple

from .blocks import AVERAGE, BOUND, CHOSEN, Block, Number, Row, Table

__all__ = ["BELOW", "COLLAPSED", "ORACLE", "OTHER", "Entry", "Line", "Sheet", "sheets", "spread"]

ORACLE = "oracle: best checkpoint by target labels, not attainable"
BELOW, COLLAPSED, OTHER = "↓", "‡", "†"  # negative transfer; collapsed predictions; another protocol
MOST = 7  # tasks side by side on a page


class Entry(NamedTuple):
    """One cell of a sheet: the score, and the gain that stands in brackets behind it."""

    score: str
    gain: str = ""


class Line(NamedTuple):
    """One line of a sheet: of a method, of a published row below it, or of the bound, which a rule sets apart."""

    label: str
    entries: tuple[Entry, ...]
    seeds: str = ""
    published: bool = False
    bound: bool = False


class Sheet(NamedTuple):
    """Lines under one header; ``column`` is what they show, "" for the summary, which has no count of seeds."""

    column: str
    title: str
    header: tuple[str, ...]
    lines: tuple[Line, ...]

    def part(self, start: int, stop: int) -> Sheet:
        """The sheet with some of its columns."""
        lines = tuple(line._replace(entries=line.entries[start:stop]) for line in self.lines)
        return self._replace(header=self.header[start:stop], lines=lines)


def sheets(table: Table, block: Block) -> Iterator[Sheet]:
    """The sheets of a block, the headline first and the summary last."""
    shown = table.shown_of(block)
    for column in shown:
        yield Sheet(column, _title(block, column), block.columns, tuple(_lines(block, column)))
    yield _summary(block, shown)


def spread(sheet: Sheet, most: int = MOST) -> list[Sheet]:
    """A wide sheet as several of at most ``most`` columns, as even as can be.

    >>> sheet = Sheet("last", "last", tuple("abcdefgh"), ())
    >>> [part.header for part in spread(sheet, 3)]
    [('a', 'b', 'c'), ('d', 'e', 'f'), ('g', 'h')]
    """
    width = len(sheet.header)
    count = -(-width // most)
    ends = [-(-width * part // count) for part in range(count + 1)]
    return [sheet.part(start, stop) for start, stop in pairwise(ends)]


def _title(block: Block, column: str) -> str:
    if column == "last":
        known = any(number.interval is not None for row in block.rows for number in row.numbers["last"].values())
        error = " ± half its 95% interval over seeds" if known else ""
        beyond = " and, behind the comma, over AdaBN" if block.second else ""
        gain = ""
        if any(row.baseline for row in block.rows):
            gain = f", in brackets the gain over {block.reference}{beyond}"
        return f"last: accuracy (%) at the end of training{error}{gain}"
    return ORACLE if column == "oracle" else f"{column}: checkpoint chosen by this validator, without target labels"


def _lines(block: Block, column: str) -> Iterator[Line]:
    for row in block.rows:
        bound = row.method == BOUND
        numbers = row.numbers[column]
        entries = tuple(_entry(numbers.get(place), column) for place in block.columns)
        yield Line(row.label, entries, _seeds(row), bound=bound)
        if column != "last":
            continue
        for quote in row.quotes:
            mark = "" if quote.same_protocol else OTHER
            values = tuple(
                Entry(_tenth(quote.values[place]) + mark if place in quote.values else "") for place in block.columns
            )
            yield Line(f"published [{quote.footnote}]", values, published=True, bound=bound)


def _entry(number: Number | None, column: str) -> Entry:
    if number is None:
        return Entry("")
    score = f"{number.mean:.1f} ± {_error(number)}{_mark(number)}"
    if column == "last":
        return Entry(score, ", ".join(part for part in (_gain(number), _beyond(number)) if part))
    return Entry(score + (BELOW if number.negative else ""))


def _error(number: Number) -> str:
    """Half the interval; where that is wider than the scale, the lowest and the highest seed."""
    if number.interval is not None:
        return f"{number.interval:.1f}"
    return "n/a" if number.range is None else f"n/a [{number.range[0]:.1f}..{number.range[1]:.1f}]"


def _mark(number: Number) -> str:
    return COLLAPSED if number.collapsed else ""


def _gain(number: Number) -> str:
    if number.gain is None:
        return ""
    return _signed(number.gain) + (BELOW if number.negative else "")


def _beyond(number: Number | None) -> str:
    """The gain over AdaBN."""
    return "" if number is None or number.beyond is None else _signed(number.beyond.gain)


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def _tenth(value: float) -> str:
    """One decimal, halves upwards as papers round: 73.85 is 73.9 though its nearest float lies below."""
    return str(Decimal(repr(value)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def _seeds(row: Row) -> str:
    counts = {len(number.seeds) for place, number in row.numbers["last"].items() if place != AVERAGE}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)}-{max(counts)}"


def _summary(block: Block, shown: tuple[str, ...]) -> Sheet:
    """Average (or the only task), test, rank and cost of each method, side by side."""
    place = block.columns[-1]
    lasts = [row.numbers["last"].get(place) for row in block.rows]
    over_tasks = any(number is not None and number.p_tasks is not None for number in lasts)
    measured = any(row.peak_memory is not None for row in block.rows)
    header = [column.split(":")[0] if column.startswith(CHOSEN) else column for column in shown]
    header += ["gain", "p", *(["p tasks"] if over_tasks else []), *(["over AdaBN", "p AdaBN"] if block.second else [])]
    header += ["rank", "time", *(["memory"] if measured else [])]
    lines = []
    for row, last in zip(block.rows, lasts, strict=True):
        texts = [_plain(row.numbers[column].get(place), column) for column in shown]
        texts += [_gain(last) if last else "", _p(last.p_holm if last else None)]
        texts += [_p(last.p_tasks if last else None)] if over_tasks else []
        if block.second:
            texts += [_beyond(last), _p(last.beyond.p_holm if last and last.beyond else None)]
        texts += ["" if last is None or last.rank is None else f"{last.rank:.1f}", _seconds(row.seconds)]
        texts += ["" if row.peak_memory is None else f"{row.peak_memory:,.0f} MiB"] if measured else []
        lines.append(Line(row.label, tuple(map(Entry, texts)), bound=row.method == BOUND))
    where = f"on the average of {len(block.tasks)} tasks" if place == AVERAGE else f"on {place}"
    against = f"test against {block.reference}" + (" and against AdaBN" if block.second else "")
    return Sheet("", f"in short, {where}: accuracy (%), {against}, rank, cost", tuple(header), tuple(lines))


def _plain(number: Number | None, column: str) -> str:
    if number is None:
        return ""
    below = BELOW if number.negative and column != "last" else ""
    return f"{number.mean:.1f}{_mark(number)}{below}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"
