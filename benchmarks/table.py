"""The numbers of a benchmark table: means and standard errors over seeds, gains, averages, and the notes they need.

How they look is the business of :mod:`.render` and :mod:`.plots`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .published import Published
from .results import Cell, newest

__all__ = ["AVERAGE", "BASELINE", "BOUND", "COLUMNS", "Block", "Number", "Quote", "Row", "Table", "summarise"]

BASELINE = "source-only"
BOUND = "train-on-target"
FIRST = (BASELINE, "adabn")
AVERAGE = "average"
COLUMNS = ("last", "oracle")

SCORE: dict[str, Callable[[Cell], float]] = {"last": lambda cell: cell.last, "oracle": lambda cell: cell.oracle}
NAMED = 5  # how many missing cells a note names before it only counts


@dataclass(frozen=True)
class Number:
    r"""One number of the table, in percent.

    .. math:: \bar a = \frac1S \sum_s a_s, \quad \sqrt{\frac1{S (S-1)} \sum_s (a_s - \bar a)^2}

    Attributes:
        mean: over the seeds.
        stderr: standard error of the mean, with S - 1; None for one seed.
        seeds: the seeds it is the mean of.
        n: target rows scored for one seed (their total for an average); None if the seeds differ.
        gain: mean difference to source-only over the seeds that both have; None if there is none.
        gain_stderr: standard error of the paired difference; None for fewer than two such seeds.
        gain_seeds: the seeds that both have.
    """

    mean: float
    stderr: float | None
    seeds: tuple[int, ...]
    n: int | None
    gain: float | None = None
    gain_stderr: float | None = None
    gain_seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Quote:
    """A published row beside ours: its values on the tasks shown (and their average), and its footnote's number."""

    published: Published
    values: Mapping[str, float]
    footnote: int
    same_protocol: bool


@dataclass(frozen=True)
class Row:
    """One method: for each column (``last``, ``oracle``) its numbers by task and ``average``; blanks are absent."""

    method: str
    label: str
    numbers: Mapping[str, Mapping[str, Number]]
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True)
class Block:
    """What can stand in one table: the rows of one suite, protocol, network and track."""

    suite: str
    protocol: str
    network: str
    track: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Suite, protocol, network and track in one line."""
        return f"{self.suite}: protocol {self.protocol}, network {self.network}, {self.track}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The tasks and, where there is more than one, their average."""
        return self.tasks if len(self.tasks) == 1 else (*self.tasks, AVERAGE)


@dataclass(frozen=True)
class Table:
    """All blocks of a folder, the footnotes of its published rows (the first is [1]), and the notes below."""

    blocks: tuple[Block, ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]


def summarise(
    cells: Iterable[Cell],
    *,
    published: Sequence[Published] = (),
    order: Sequence[str] = (),
    tasks: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Table:
    """The table of a set of finished cells.

    Of several cells in one place (settings changed in between) the newest counts. The average of a method is taken
    over tasks for each seed first, and left blank unless it has every task for the same seeds.

    Args:
        cells: finished cells, of one or several suites, protocols, networks and tracks.
        published: rows to stand beside ours; those of methods or tasks that are not here are passed over.
        order: method ids in the order of the rows; others follow by name. Source-only and AdaBN stand first,
            train-on-target last.
        tasks: tasks in the order of the columns; others follow by name.
        warnings: sentences on what could not be read, which go among the notes.

    Raises:
        ValueError: if there is no cell.
    """
    shown, older = newest(cells)
    if not shown:
        reasons = "".join(f"\n  {warning}" for warning in warnings)
        raise ValueError(
            "summarise needs at least one finished cell; got none. Run a suite first (landbridge bench SUITE "
            f"--out DIR), or name the folder it was written to.{reasons}"
        )
    groups: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in shown:
        groups.setdefault(cell.group, []).append(cell)
    footnotes: list[str] = []
    blocks: list[Block] = []
    notes: list[str] = []
    for group in sorted(groups):
        block = _block(groups[group], published, order, tasks, footnotes)
        blocks.append(block)
        prefix = f"{block.title}: " if len(groups) > 1 else ""
        notes += [prefix + note for note in _block_notes(block, groups[group])]
    return Table(
        blocks=tuple(blocks),
        footnotes=tuple(footnotes),
        notes=(*_reading_notes(shown, blocks), *notes, *_folder_notes(shown, older), *warnings),
    )


def _ranked(names: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    return tuple(sorted(set(names), key=lambda name: (places.get(name, len(order)), name)))


def _method_order(names: set[str], order: Sequence[str]) -> tuple[str, ...]:
    first = [name for name in FIRST if name in names]
    final = [name for name in (BOUND,) if name in names]
    return (*first, *_ranked(names - {*FIRST, BOUND}, order), *final)


def _block(
    cells: list[Cell],
    published: Sequence[Published],
    order: Sequence[str],
    task_order: Sequence[str],
    footnotes: list[str],
) -> Block:
    tasks = _ranked((cell.task for cell in cells), task_order)
    methods = _method_order({cell.method for cell in cells}, order)
    by_method = {method: [cell for cell in cells if cell.method == method] for method in methods}
    baseline = by_method.get(BASELINE, [])
    rows = []
    for method in methods:
        numbers = {column: _numbers(by_method[method], baseline, tasks, column) for column in COLUMNS}
        label = max(by_method[method], key=lambda cell: (cell.finished, cell.identity)).label
        quotes = tuple(
            _quote(row, tasks, cells[0].protocol, footnotes)
            for row in published
            if row.method == method and any(task in row.values for task in tasks)
        )
        rows.append(Row(method, label, numbers, quotes))
    return Block(*cells[0].group, tasks=tasks, rows=tuple(rows))


def _quote(row: Published, tasks: tuple[str, ...], protocol: str, footnotes: list[str]) -> Quote:
    text = row.describe()
    if text not in footnotes:
        footnotes.append(text)
    values = {task: row.values[task] for task in tasks if task in row.values}
    average = row.average(tasks)
    if average is not None and len(tasks) > 1:
        values[AVERAGE] = average
    return Quote(row, values, footnotes.index(text) + 1, row.protocol == protocol)


def _numbers(cells: list[Cell], baseline: list[Cell], tasks: tuple[str, ...], column: str) -> dict[str, Number]:
    scores = _scores(cells, tasks, column)
    baseline_scores = {} if cells is baseline else _scores(baseline, tasks, column)
    rows_scored = {task: {cell.n for cell in cells if cell.task == task} for task in tasks}
    counts = {task: min(found) if len(found) == 1 else None for task, found in rows_scored.items()}
    known = [count for count in counts.values() if count is not None]
    counts[AVERAGE] = sum(known) if len(known) == len(tasks) else None
    return {
        place: _number(values, baseline_scores.get(place, {}), counts[place])
        for place, values in scores.items()
        if values
    }


def _scores(cells: list[Cell], tasks: tuple[str, ...], column: str) -> dict[str, dict[int, float]]:
    """Percent by task and seed, and under ``average`` by seed where every task has the same seeds."""
    scores: dict[str, dict[int, float]] = {task: {} for task in tasks}
    for cell in cells:
        scores[cell.task][cell.seed] = 100 * SCORE[column](cell)
    seeds = set(scores[tasks[0]])
    if len(tasks) > 1 and all(set(scores[task]) == seeds for task in tasks):
        scores[AVERAGE] = {seed: statistics.fmean(scores[task][seed] for task in tasks) for seed in seeds}
    return scores


def _number(values: dict[int, float], baseline: dict[int, float], n: int | None) -> Number:
    seeds = tuple(sorted(values))
    paired = tuple(seed for seed in seeds if seed in baseline)
    gains = [values[seed] - baseline[seed] for seed in paired]
    return Number(
        mean=statistics.fmean(values.values()),
        stderr=_stderr(list(values.values())),
        seeds=seeds,
        n=n,
        gain=statistics.fmean(gains) if gains else None,
        gain_stderr=_stderr(gains),
        gain_seeds=paired,
    )


def _stderr(values: list[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _reading_notes(cells: list[Cell], blocks: list[Block]) -> list[str]:
    """How the numbers are to be read."""
    seeds = sorted({cell.seed for cell in cells})
    counts = sorted({len(cell.checkpoints) for cell in cells})
    of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    error = "n/a for one seed" if len(seeds) == 1 else "standard error over seeds"
    named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    notes = [
        f"last: target accuracy (%) at the end of training, mean ± {error}; {named}. "
        "In brackets: gain over source-only, paired by seed.",
        f"oracle: the best of {of} checkpoints by target labels; an upper limit of choosing, not a result.",
    ]
    quotes = [quote for block in blocks for row in block.rows for quote in row.quotes]
    if any(quote.published.selected == "target labels" for quote in quotes):
        notes.append("A published row that was chosen by target labels compares with oracle, not with last.")
    if any(AVERAGE in quote.values for quote in quotes):
        notes.append("The average of a published row is taken here, over the tasks shown.")
    if any(not quote.same_protocol for quote in quotes):
        notes.append("† published under another protocol than this table's: not directly comparable.")
    return notes


def _block_notes(block: Block, cells: list[Cell]) -> list[str]:
    """What is missing or mixed in one block."""
    notes = []
    scored = {task: sorted({cell.n for cell in cells if cell.task == task}) for task in block.tasks}
    listed = ", ".join(f"{task} {' or '.join(map(str, counts))}" for task, counts in scored.items())
    notes.append(f"Target rows scored: {listed}.")
    there = {(cell.method, cell.task, cell.seed) for cell in cells}
    seeds = sorted({cell.seed for cell in cells})
    missing = [
        f"{row.method} on {task} seed {seed}"
        for row in block.rows
        for task in block.tasks
        for seed in seeds
        if (row.method, task, seed) not in there
    ]
    if missing:
        notes.append(f"Not finished: {_some(missing, ', ')}.")
    blank = [row.method for row in block.rows if len(block.tasks) > 1 and AVERAGE not in row.numbers["last"]]
    if blank:
        notes.append(f"No average for {', '.join(blank)}: it needs every task for the same seeds.")
    if not any(row.method == BASELINE for row in block.rows):
        notes.append(f"No gains: there is no finished cell of {BASELINE}.")
    partial = [
        f"{row.method} on {place}"
        for row in block.rows
        for place, number in row.numbers["last"].items()
        if number.gain is not None and number.gain_seeds != number.seeds
    ]
    if partial:
        notes.append(f"Gain over the seeds that {BASELINE} has too: {_some(partial, ', ')}.")
    mixed = _mixed_settings(block, cells)
    if mixed:
        notes.append(f"Seeds run with different settings under one mean: {_some(mixed, ', ')}. Re-run the older ones.")
    uneven = _mixed_training(block, cells)
    if uneven:
        notes.append(f"Rows trained by different rules (steps or others), not comparable: {_some(uneven, ', ')}.")
    return notes


def _mixed_settings(block: Block, cells: list[Cell]) -> list[str]:
    found: dict[tuple[str, str], list[object]] = {}
    for cell in cells:
        settings = _without_seed(cell.settings)
        seen = found.setdefault((cell.method, cell.task), [])
        if settings not in seen:
            seen.append(settings)
    places = ((row.method, task) for row in block.rows for task in block.tasks)
    return [f"{method} on {task}" for method, task in places if len(found.get((method, task), ())) > 1]


def _mixed_training(block: Block, cells: list[Cell]) -> list[str]:
    """The tasks whose rows were not all trained by the same rules (steps, batches, optimiser)."""
    ways: dict[str, list[object]] = {}
    for cell in cells:
        way = (cell.settings.get("rules"), cell.settings.get("training"))
        if way not in ways.setdefault(cell.task, []):
            ways[cell.task].append(way)
    return [task for task in block.tasks if len(ways.get(task, ())) > 1]


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_seed(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name != "seed"
    }


def _folder_notes(cells: list[Cell], older: int) -> list[str]:
    """What was left out, and what the machines differed in."""
    notes = []
    if older:
        notes.append(f"{older} older {'cell' if older == 1 else 'cells'} with other settings left out.")
    differing = []
    for name in ("torch", "threads", "device"):
        values = sorted({str(cell.environment.get(name, "not recorded")) for cell in cells})
        if len(values) > 1:
            differing.append(f"{name} ({', '.join(values)})")
    if differing:
        notes.append(f"Mixed cells: they differ in {', '.join(differing)}; small differences may come from that alone.")
    return notes


def _some(items: list[str], between: str) -> str:
    more = len(items) - NAMED
    return between.join(items[:NAMED]) + (f" and {more} more" if more > 0 else "")
