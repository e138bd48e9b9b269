"""The numbers of a benchmark table: means and intervals over seeds, gains and their tests, averages, ranks.

What they are made of is in :mod:`.blocks`, the tests in :mod:`.statistics`, the sentences below in :mod:`.notes`. How
they look is the business of :mod:`.render` and :mod:`.plots`.
"""

from __future__ import annotations

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
    SECOND,
    SIGNIFICANT,
    Beyond,
    Block,
    Number,
    Quote,
    Row,
    Table,
    chosen_by,
)
from .comparisons import UNTESTED, HitsOf, Images, Scores, Test, gains, on_images, over_seeds
from .proportions import ProportionsOf
from .published import Published, differences
from .results import Cell, Selection, newest
from .statistics import MCNEMAR, SIGN_FLIP, average_ranks, half_width, standard_error

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

FIRST = (BASELINE, SECOND)

Selections = Mapping[str, Mapping[str, Selection]]  # identity -> validator -> what it chooses


def summarise(
    cells: Iterable[Cell],
    *,
    published: Sequence[Published] = (),
    order: Sequence[str] = (),
    tasks: Sequence[str] = (),
    warnings: Sequence[str] = (),
    selections: Selections | None = None,
    validator: str | None = DEFAULT_VALIDATOR,
    hits: HitsOf | None = None,
    proportions: ProportionsOf | None = None,
) -> Table:
    """The table of a set of finished cells.

    Of several cells in one place (settings changed in between) the newest counts. The average of a method is taken
    over tasks for each seed first, and left blank unless it has every task for the same seeds. The headline is the
    last iterate; beside it stand what a label-free validator chooses, and the oracle.

    Gains are tested where the rows are compared with their baseline (train-on-target is no rival and is not): on each
    task by :func:`.statistics.paired_t` over seeds, on the average by :func:`.statistics.over_tasks_and_seeds`, each
    corrected by Holm over all comparisons of its kind in the block. Beside them, on tasks, stands an exact McNemar test
    on the same images in each seed. Gains over AdaBN are tested like those over the baseline, as families of their own.
    Ranks are over the task x seed that all rows have.

    Args:
        cells: finished cells, of one or several suites, protocols, networks and tracks.
        published: rows to stand beside ours; those of methods or tasks that are not here are passed over.
        order: method ids in the order of the rows; others follow by name. Source-only and AdaBN stand first,
            train-on-target last.
        tasks: tasks in the order of the columns; others follow by name.
        warnings: sentences on what could not be read, which go among the notes.
        selections: what validators choose, by the cells' identities; a place is blank unless all its cells are there.
        validator: whose choice is shown; None for none. ``table.csv`` has all that ``selections`` holds.
        hits: which rows each cell gets right (:func:`.comparisons.kept_hits`); without, nothing is tested on images.
        proportions: what source-only cells tell of the classes' proportions (:func:`.proportions.kept_proportions`).

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
        block = _block(groups[group], columns, chosen, hits, published, order, tasks, footnotes)
        blocks.append(block)
        prefix = f"{block.title}: " if len(groups) > 1 else ""
        column = chosen_by(validator) if validator else None
        images = hits is not None
        found = notes.of_block(block, groups[group], chosen, column, images=images, proportions=proportions)
        said += [prefix + note for note in found]
    return Table(
        blocks=tuple(blocks),
        footnotes=tuple(footnotes),
        notes=(*notes.on_reading(shown, blocks, validator, names), *said, *notes.of_folder(shown, older), *warnings),
        columns=columns,
        shown=("last", chosen_by(validator), "oracle") if validator in names and validator else COLUMNS,
    )


def negative_transfer(table: Table, column: str = "last") -> list[str]:
    """A sentence for each place where a method is significantly below its baseline: p < 0.05 after Holm.

    Over seeds, or on the same images in every seed; the sentence says by which.

    Args:
        table: of :func:`summarise`.
        column: the headline unless said otherwise.
    """
    sentences = []
    for block in table.blocks:
        for row in block.rows:
            for place, number in row.numbers.get(column, {}).items():
                if number.negative and number.gain is not None:
                    sentences.append(f"{block.title}: {row.method} {_below(block, row, place, number)}")
    return sentences


def _below(block: Block, row: Row, place: str, number: Number) -> str:
    where = f"on the average of {len(block.tasks)} tasks" if place == AVERAGE else f"on {place}"
    over = "tasks and " if number.test == SIGN_FLIP else ""
    tests = []
    if number.below_over_seeds:
        tests.append(
            f"{number.test} over {over}{_count(len(number.gain_seeds), 'seed')}: one-sided p = {number.p_below:.2g} "
            f"after Holm over {_count(number.comparisons, 'comparison')}"
        )
    if number.below_on_images:
        seeds = len(number.gain_seeds)
        each = "of the one seed" if seeds == 1 else f"in each of {seeds} seeds, the largest"
        tests.append(
            f"{MCNEMAR} on the same {'images' if number.n is None else f'{number.n} images'}, {each} one-sided "
            f"p = {number.p_images:.2g} after Holm over {_count(number.images_comparisons, 'comparison')}"
        )
    loss = -(number.gain or 0)
    return f"is below {row.baseline} {where} by {loss:.1f} points ({'; '.join(tests)}, less than {SIGNIFICANT})."


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
    hits: HitsOf | None,
    published: Sequence[Published],
    order: Sequence[str],
    task_order: Sequence[str],
    footnotes: list[str],
) -> Block:
    tasks = _ranked((cell.task for cell in cells), task_order)
    methods = _method_order({cell.method for cell in cells}, order)
    by_method = {method: [cell for cell in cells if cell.method == method] for method in methods}
    baselines = _baselines(by_method)
    second = _second(by_method)
    numbers = {
        column: _column(by_method, tasks, column, baselines, second, _score(column, selections), hits)
        for column in columns
    }
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
    return Block(*cells[0].group, tasks=tasks, rows=tuple(rows), single=single, second=second)


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


def _second(cells: Mapping[str, list[Cell]]) -> str | None:
    """AdaBN, where its row is here and all are evaluated with the target's statistics, as it is."""
    rules = [cell.settings.get("rules") for own in cells.values() for cell in own]
    joint = any(isinstance(each, Mapping) and each.get("batch_statistics") == "joint" for each in rules)
    return SECOND if SECOND in cells and not joint else None


def _beyond(method: str, baselines: Mapping[str, str], second: str | None) -> bool:
    """Whether a row is compared with AdaBN: a network trained as AdaBN's row was, and neither it nor source-only."""
    return second is not None and method not in (second, BASELINE) and baselines.get(method, BASELINE) == BASELINE


def _quote(row: Published, tasks: tuple[str, ...], cell: Cell, footnotes: list[str]) -> Quote:
    differs = differences(row, cell)
    unseen = [phrase for name, phrase in differs.items() if name != "protocol"]  # which stands in the footnote
    text = row.describe() + (f"; differs in {' and '.join(unseen)}" if unseen else "")
    if text not in footnotes:
        footnotes.append(text)
    values = {task: row.values[task] for task in tasks if task in row.values}
    average = row.average(tasks)
    if average is not None and len(tasks) > 1:
        values[AVERAGE] = average
    return Quote(row, values, footnotes.index(text) + 1, tuple(differs))


class _Score(NamedTuple):
    """What a cell scores in a column, at which of its steps, and whether what was chosen there has collapsed."""

    accuracy: float
    step: int | None = None
    collapsed: bool = False


def _score(column: str, selections: Selections) -> Callable[[Cell], _Score | None]:
    if column == "last":
        return lambda cell: _Score(cell.last, cell.checkpoints[-1].step)
    if column == "oracle":
        return lambda cell: _Score(cell.oracle)
    validator = column.removeprefix(CHOSEN)

    def chosen(cell: Cell) -> _Score | None:
        selection = selections.get(cell.identity, {}).get(validator)
        return None if selection is None else _Score(selection.accuracy, selection.step, selection.collapsed)

    return chosen


def _column(
    cells: Mapping[str, list[Cell]],
    tasks: tuple[str, ...],
    column: str,
    baselines: Mapping[str, str],
    second: str | None,
    score: Callable[[Cell], _Score | None],
    hits: HitsOf | None,
) -> dict[str, dict[str, Number]]:
    """All numbers of a column, by method and place."""
    scores = {method: _scores(own, tasks, score) for method, own in cells.items()}
    over = {method: gains(scores[method], scores[baselines[method]]) for method in cells if method in baselines}
    beyond = {
        method: gains(scores[method], scores[second])
        for method in cells
        if second is not None and _beyond(method, baselines, second)
    }
    tested = {method: found for method, found in over.items() if method != BOUND and column != "oracle"}
    tests = over_seeds(tested, tasks)
    tests_beyond = over_seeds({method: beyond[method] for method in tested if method in beyond}, tasks)
    images: Mapping[tuple[str, str], Images | None] = {}
    if hits is not None:

        def step(cell: Cell) -> int | None:
            found = score(cell)
            return None if found is None else found.step

        images = on_images(cells, {method: baselines[method] for method in tested}, tasks, hits, step)
    ranks = _ranks({method: scores[method] for method in cells if method != BOUND}, tasks)
    return {
        method: {
            place: _number(
                values,
                over.get(method, {}).get(place, {}),
                rows=_rows_scored(own, tasks, place),
                test=tests.get((method, place), UNTESTED),
                images=images.get((method, place)),
                beyond=_over_adabn(beyond.get(method, {}).get(place, {}), tests_beyond.get((method, place), UNTESTED)),
                rank=ranks.get((method, place)),
                collapsed=_collapsed(own, tasks, place, score),
            )
            for place, values in scores[method].items()
            if values
        }
        for method, own in cells.items()
    }


def _over_adabn(found: Mapping[int, float], test: Test) -> Beyond | None:
    if not found:
        return None
    differences = list(found.values())
    return Beyond(
        gain=statistics.fmean(differences),
        seeds=tuple(sorted(found)),
        half_width=half_width(differences),
        p=test.p,
        p_holm=test.p_holm,
        comparisons=test.comparisons,
    )


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
    gained: dict[int, float],
    *,
    rows: int | None,
    test: Test,
    images: Images | None,
    beyond: Beyond | None,
    rank: float | None,
    collapsed: int,
) -> Number:
    scores, differences = list(values.values()), list(gained.values())
    return Number(
        mean=statistics.fmean(scores),
        stderr=standard_error(scores),
        seeds=tuple(sorted(values)),
        n=rows,
        gain=statistics.fmean(differences) if differences else None,
        gain_stderr=standard_error(differences),
        gain_seeds=tuple(sorted(gained)),
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
        lowest=min(scores),
        highest=max(scores),
        p_images=None if images is None else images.p,
        images_comparisons=0 if images is None else images.comparisons,
        images_lost=0 if images is None else images.lost,
        images_tests=0 if images is None else images.tests,
        beyond=beyond,
    )
