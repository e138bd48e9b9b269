"""The numbers of a benchmark table: means and intervals over seeds, gains and their tests, averages, ranks.

What they are made of is in :mod:`.blocks`, the tests in :mod:`.statistics`, the sentences below in :mod:`.notes`. How
they look is the business of :mod:`.render` and :mod:`.plots`.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..shared.validators import DEFAULT_VALIDATOR
from . import notes
from .blocks import (
    AVERAGE,
    BASELINE,
    BOUND,
    CHOSEN,
    COLUMNS,
    SIGNIFICANT,
    Block,
    Number,
    Quote,
    Row,
    Table,
    chosen_by,
)
from .published import Published
from .results import Cell, Selection, newest
from .statistics import (
    SIGN_FLIP,
    PValues,
    average_ranks,
    half_width,
    holm,
    over_tasks_and_seeds,
    paired_t,
    signed_rank,
    standard_error,
)

__all__ = [
    "AVERAGE",
    "BASELINE",
    "BOUND",
    "COLUMNS",
    "Block",
    "Number",
    "Quote",
    "Row",
    "Table",
    "chosen_by",
    "negative_transfer",
    "summarise",
]

FIRST = (BASELINE, "adabn")

Selections = Mapping[str, Mapping[str, Selection]]  # identity -> validator -> what it chooses
Scores = dict[str, dict[int, float]]  # place -> seed -> percent


def summarise(
    cells: Iterable[Cell],
    *,
    published: Sequence[Published] = (),
    order: Sequence[str] = (),
    tasks: Sequence[str] = (),
    warnings: Sequence[str] = (),
    selections: Selections | None = None,
    validator: str | None = DEFAULT_VALIDATOR,
) -> Table:
    """The table of a set of finished cells.

    Of several cells in one place (settings changed in between) the newest counts. The average of a method is taken
    over tasks for each seed first, and left blank unless it has every task for the same seeds. The headline is the
    last iterate; beside it stand what a label-free validator chooses, and the oracle.

    Gains are tested where the rows are compared with their baseline (train-on-target is no rival and is not): on each
    task by :func:`.statistics.paired_t` over seeds, on the average by :func:`.statistics.over_tasks_and_seeds`, each
    corrected by Holm over all comparisons of its kind in the block. Ranks are over the task x seed that all rows have.

    Args:
        cells: finished cells, of one or several suites, protocols, networks and tracks.
        published: rows to stand beside ours; those of methods or tasks that are not here are passed over.
        order: method ids in the order of the rows; others follow by name. Source-only and AdaBN stand first,
            train-on-target last.
        tasks: tasks in the order of the columns; others follow by name.
        warnings: sentences on what could not be read, which go among the notes.
        selections: what validators choose, by the cells' identities; a place is blank unless all its cells are there.
        validator: whose choice is shown; None for none. ``table.csv`` has all that ``selections`` holds.

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
    chosen = selections or {}
    names = sorted({name for cell in shown for name in chosen.get(cell.identity, {})})
    columns = ("last", *map(chosen_by, names), "oracle")
    groups: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in shown:
        groups.setdefault(cell.group, []).append(cell)
    footnotes: list[str] = []
    blocks: list[Block] = []
    said: list[str] = []
    for group in sorted(groups):
        block = _block(groups[group], columns, chosen, published, order, tasks, footnotes)
        blocks.append(block)
        prefix = f"{block.title}: " if len(groups) > 1 else ""
        column = chosen_by(validator) if validator else None
        said += [prefix + note for note in notes.of_block(block, groups[group], chosen, column)]
    return Table(
        blocks=tuple(blocks),
        footnotes=tuple(footnotes),
        notes=(*notes.on_reading(shown, blocks, validator, names), *said, *notes.of_folder(shown, older), *warnings),
        columns=columns,
        shown=("last", chosen_by(validator), "oracle") if validator in names and validator else COLUMNS,
    )


def negative_transfer(table: Table, column: str = "last") -> list[str]:
    """A sentence for each place where a method is significantly below its baseline: p < 0.05 after Holm.

    Args:
        table: of :func:`summarise`.
        column: the headline unless said otherwise.
    """
    sentences = []
    for block in table.blocks:
        for row in block.rows:
            for place, number in row.numbers.get(column, {}).items():
                if number.negative and number.gain is not None and number.p_below is not None:
                    sentences.append(f"{block.title}: {row.method} {_below(block, row, place, number)}")
    return sentences


def _below(block: Block, row: Row, place: str, number: Number) -> str:
    where = f"on the average of {len(block.tasks)} tasks" if place == AVERAGE else f"on {place}"
    over = "tasks and " if number.test == SIGN_FLIP else ""
    return (
        f"is below {row.baseline} {where} by {-(number.gain or 0):.1f} points ({number.test} over {over}"
        f"{_count(len(number.gain_seeds), 'seed')}: one-sided p = {number.p_below:.2g} after Holm over "
        f"{_count(number.comparisons, 'comparison')}, less than {SIGNIFICANT})."
    )


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _ranked(names: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    return tuple(sorted(set(names), key=lambda name: (places.get(name, len(order)), name)))


def _method_order(names: set[str], order: Sequence[str]) -> tuple[str, ...]:
    first = [name for name in FIRST if name in names]
    final = [name for name in (BOUND,) if name in names]
    return (*first, *_ranked(names - {*FIRST, BOUND}, order), *final)


def _block(
    cells: list[Cell],
    columns: tuple[str, ...],
    selections: Selections,
    published: Sequence[Published],
    order: Sequence[str],
    task_order: Sequence[str],
    footnotes: list[str],
) -> Block:
    tasks = _ranked((cell.task for cell in cells), task_order)
    methods = _method_order({cell.method for cell in cells}, order)
    by_method = {method: [cell for cell in cells if cell.method == method] for method in methods}
    baselines = _baselines(by_method)
    numbers = {column: _column(by_method, tasks, column, baselines, _score(column, selections)) for column in columns}
    rows = []
    for method, own in by_method.items():
        quotes = tuple(
            _quote(row, tasks, cells[0], footnotes)
            for row in published
            if row.method == method and any(task in row.values for task in tasks)
        )
        rows.append(
            Row(
                method,
                label=max(own, key=lambda cell: (cell.finished, cell.identity)).label,
                numbers={column: numbers[column][method] for column in columns},
                quotes=quotes,
                baseline=baselines.get(method),
                seconds=statistics.median(cell.seconds for cell in own),
                peak_memory=max((cell.peak_memory for cell in own if cell.peak_memory is not None), default=None),
            )
        )
    single = all(len(cell.checkpoints) == 1 for cell in cells)
    return Block(*cells[0].group, tasks=tasks, rows=tuple(rows), single=single)


def _baselines(cells: Mapping[str, list[Cell]]) -> dict[str, str]:
    """What each method is compared with: source-only, or a classical row its own classifier without adaptation."""
    plain: dict[str, str] = {}
    classifiers: dict[str, str] = {}
    for method, own in cells.items():
        adaptation = own[0].settings.get("adaptation")
        if isinstance(adaptation, Mapping) and adaptation.get("classifier"):
            classifiers[method] = str(adaptation["classifier"])
            if adaptation.get("method") == "none":
                plain.setdefault(classifiers[method], method)
    found: dict[str, str] = {}
    for method in cells:
        baseline = plain.get(classifiers[method]) if method in classifiers else BASELINE
        if baseline is not None and baseline in cells and baseline != method:
            found[method] = baseline
    return found


def _quote(row: Published, tasks: tuple[str, ...], cell: Cell, footnotes: list[str]) -> Quote:
    text = row.describe()
    if text not in footnotes:
        footnotes.append(text)
    values = {task: row.values[task] for task in tasks if task in row.values}
    average = row.average(tasks)
    if average is not None and len(tasks) > 1:
        values[AVERAGE] = average
    return Quote(row, values, footnotes.index(text) + 1, row.protocol == cell.group[1] and _same_network(row, cell))


def _same_network(row: Published, cell: Cell) -> bool:
    """Whether a published row's network is the cell's; always where a suite has networks or features of its own."""
    if cell.settings.get("backbone") is None or cell.track == "features":
        return True
    theirs, _, view = row.network.partition(",")
    ours = cell.network.split("/")[-1]
    same = re.sub("[^a-z0-9]", "", theirs.lower()) == re.sub("[^a-z0-9]", "", ours.lower())
    crops = bool(cell.settings["backbone"].get("ten_crops"))
    return same and cell.track == "end-to-end" and ("ten crops" in view) == crops


class _Score(NamedTuple):
    """What a cell scores in a column, and whether what was chosen there has collapsed."""

    accuracy: float
    collapsed: bool = False


def _score(column: str, selections: Selections) -> Callable[[Cell], _Score | None]:
    if column == "last":
        return lambda cell: _Score(cell.last)
    if column == "oracle":
        return lambda cell: _Score(cell.oracle)
    validator = column.removeprefix(CHOSEN)

    def chosen(cell: Cell) -> _Score | None:
        selection = selections.get(cell.identity, {}).get(validator)
        return None if selection is None else _Score(selection.accuracy, selection.collapsed)

    return chosen


def _column(
    cells: Mapping[str, list[Cell]],
    tasks: tuple[str, ...],
    column: str,
    baselines: Mapping[str, str],
    score: Callable[[Cell], _Score | None],
) -> dict[str, dict[str, Number]]:
    """All numbers of a column, by method and place."""
    scores = {method: _scores(own, tasks, score) for method, own in cells.items()}
    gains = {
        method: _gains(scores[method], scores[baselines[method]]) if method in baselines else {} for method in cells
    }
    tested = {method: gains[method] for method in cells if method in baselines and method != BOUND}
    tests = _tests({} if column == "oracle" else tested, tasks)
    ranks = _ranks({method: scores[method] for method in cells if method != BOUND}, tasks)
    return {
        method: {
            place: _number(
                values,
                gains[method].get(place, {}),
                rows=_rows_scored(own, tasks, place),
                test=tests.get((method, place), _UNTESTED),
                rank=ranks.get((method, place)),
                collapsed=_collapsed(own, tasks, place, score),
            )
            for place, values in scores[method].items()
            if values
        }
        for method, own in cells.items()
    }


def _scores(cells: list[Cell], tasks: tuple[str, ...], score: Callable[[Cell], _Score | None]) -> Scores:
    """Percent by task and seed, and under ``average`` by seed where every task has the same seeds.

    A task is blank where one of its cells has no score: a mean over fewer seeds would not compare.
    """
    scores: Scores = {task: {} for task in tasks}
    blank = set()
    for cell in cells:
        found = score(cell)
        if found is None:
            blank.add(cell.task)
        else:
            scores[cell.task][cell.seed] = 100 * found.accuracy
    for task in blank:
        scores[task] = {}
    seeds = set(scores[tasks[0]])
    if len(tasks) > 1 and all(set(scores[task]) == seeds for task in tasks):
        scores[AVERAGE] = {seed: statistics.fmean(scores[task][seed] for task in tasks) for seed in seeds}
    return scores


def _gains(own: Scores, baseline: Scores) -> Scores:
    """Differences by place and seed, over the seeds that both have."""
    return {
        place: {
            seed: values[seed] - baseline[place][seed] for seed in sorted(values) if seed in baseline.get(place, {})
        }
        for place, values in own.items()
    }


class _Test(NamedTuple):
    p: float | None = None
    p_holm: float | None = None
    p_below: float | None = None
    p_tasks: float | None = None
    test: str = ""
    comparisons: int = 0
    least: float | None = None


_UNTESTED = _Test()


def _tests(gains: Mapping[str, Scores], tasks: tuple[str, ...]) -> dict[tuple[str, str], _Test]:
    """The tests of all methods: those on tasks are one family of comparisons, those on the average another."""
    single: dict[tuple[str, str], PValues | None] = {}
    joint: dict[tuple[str, str], PValues | None] = {}
    over_tasks: dict[tuple[str, str], PValues | None] = {}
    for method, found in gains.items():
        for task in tasks:
            single[method, task] = paired_t(list(found[task].values()))
        seeds = found.get(AVERAGE, {})
        if seeds:
            joint[method, AVERAGE] = over_tasks_and_seeds([[found[task][seed] for seed in seeds] for task in tasks])
            over_tasks[method, AVERAGE] = signed_rank([statistics.fmean(found[task].values()) for task in tasks])
    across = dict(zip(over_tasks, holm([test and test.two_sided for test in over_tasks.values()]), strict=True))
    tests: dict[tuple[str, str], _Test] = {}
    for family in (single, joint):
        two_sided = holm([test and test.two_sided for test in family.values()])
        below = holm([test and test.below for test in family.values()])
        count = sum(test is not None for test in family.values())
        for (where, test), either, lower in zip(family.items(), two_sided, below, strict=True):
            if test is not None:
                least = min(1.0, count * test.least)
                tests[where] = _Test(test.two_sided, either, lower, across.get(where), test.test, count, least)
    return tests


def _ranks(scores: Mapping[str, Scores], tasks: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Average ranks by method and place, over the task x seed places that every method with any score has."""
    methods = [method for method, found in scores.items() if any(found.values())]
    shared = {
        task: [
            [scores[method][task][seed] for method in methods]
            for seed in sorted(set.intersection(*(set(scores[method][task]) for method in methods)))
        ]
        for task in tasks
        if methods
    }
    if len(tasks) > 1:
        shared[AVERAGE] = [block for blocks in shared.values() for block in blocks]
    return {
        (method, place): rank
        for place, blocks in shared.items()
        for method, rank in zip(methods, average_ranks(blocks) or [], strict=False)
    }


def _rows_scored(cells: list[Cell], tasks: tuple[str, ...], place: str) -> int | None:
    if place == AVERAGE:
        counts = [_rows_scored(cells, tasks, task) for task in tasks]
        return None if None in counts else sum(count or 0 for count in counts)
    found = {cell.n for cell in cells if cell.task == place}
    return min(found) if len(found) == 1 else None


def _collapsed(cells: list[Cell], tasks: tuple[str, ...], place: str, score: Callable[[Cell], _Score | None]) -> int:
    places = tasks if place == AVERAGE else (place,)
    found = [score(cell) for cell in cells if cell.task in places]
    return sum(one is not None and one.collapsed for one in found)


def _number(
    values: dict[int, float],
    gains: dict[int, float],
    *,
    rows: int | None,
    test: _Test,
    rank: float | None,
    collapsed: int,
) -> Number:
    scores, differences = list(values.values()), list(gains.values())
    return Number(
        mean=statistics.fmean(scores),
        stderr=standard_error(scores),
        seeds=tuple(sorted(values)),
        n=rows,
        gain=statistics.fmean(differences) if differences else None,
        gain_stderr=standard_error(differences),
        gain_seeds=tuple(sorted(gains)),
        half_width=half_width(scores),
        gain_half_width=half_width(differences),
        p=test.p,
        p_holm=test.p_holm,
        p_below=test.p_below,
        p_tasks=test.p_tasks,
        test=test.test,
        comparisons=test.comparisons,
        p_least=test.least,
        rank=rank,
        collapsed=collapsed,
    )
