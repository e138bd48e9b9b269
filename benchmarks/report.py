"""The results page: one HTML file, with nothing to fetch, made from folders of finished cells."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shared.files import write_atomically
from ..shared.names import nearest
from .blocks import BOUND, CHOSEN, Block, Table
from .comparisons import kept_hits
from .departures import filled_in
from .proportions import kept_proportions
from .report_data import (
    Confusion,
    Cost,
    Curve,
    Setting,
    block_settings,
    confusion,
    cost,
    curve,
    mistakes,
    pack,
    recorded,
)
from .report_figures import Panel, overview, single
from .report_template import fill, moment
from .results import Cell, Selection, folders_of, newest, read_folder
from .suite import shipped
from .table import summarise

__all__ = ["write_report"]

ENTRIES = 120_000  # of all confusion matrices together: some 700 KB of the page
_Places = dict[tuple[str, str], list[Cell]]  # by method and task
NAMED = 3  # mistakes listed below a matrix


def write_report(out: Path | Sequence[Path], page: Path, *, validator: str | None = None) -> Path:
    """Write the results page of one or several folders of finished cells.

    Args:
        out: the ``--out`` folder of a bench, or several of them.
        page: the file to write; an older one is replaced, whole or not at all.
        validator: whose choice of checkpoints is shown; the table's own default if left out.

    Returns:
        ``page``.

    Raises:
        ValueError: if there is no folder or no finished cell, if the page cannot be written there, or for a validator
            that is unknown.
    """
    folders = [Path(out)] if isinstance(out, (str, os.PathLike)) else [Path(folder) for folder in out]
    page = Path(page)
    if page.is_dir():
        raise ValueError(f"write_report needs a file to write; got the folder {page}. Pass {page / 'page.html'}.")
    from .scores import KNOWN

    found = _read(folders, validator if validator in KNOWN else None)  # of an unknown one below
    content = _render(found, _validator(validator, found)).encode()
    try:
        write_atomically(page, content)
    except OSError as error:
        raise ValueError(
            f"the page {page} cannot be written ({error.strerror}). Pass a file in a folder that you may write to."
        ) from error
    return page


class _Found(NamedTuple):
    """What the folders hold: cells, where each lies, choices of the validators, and what could not be read."""

    cells: list[Cell]
    folders: dict[str, Path]
    selections: dict[str, dict[str, Selection]]
    problems: list[str]


def _read(folders: Sequence[Path], validator: str | None) -> _Found:
    if not folders:
        raise ValueError("write_report needs at least one folder of finished cells; got none.")
    found = _Found([], {}, {}, [])
    from ..shared.validators import DEFAULT_VALIDATOR
    from .selection import backwards_here

    for out in folders:
        if not out.is_dir():
            raise ValueError(f"there is no folder {out}. Pass the --out folder of a bench.")
        cells, problems = read_folder(out)
        found.cells.extend(cells)
        found.problems.extend(problems if len(folders) == 1 else (f"{out}: {problem}" for problem in problems))
        found.folders.update(folders_of(out, cells))
        chosen, unread = _selections(out, cells, validator)
        found.selections.update(chosen)
        found.problems.extend(unread)
        told = backwards_here(out, newest(cells)[0], validator or DEFAULT_VALIDATOR)
        found.problems.extend(told if len(folders) == 1 else (f"{out}: {sentence}" for sentence in told))
    if not found.cells:
        where = ", ".join(map(str, folders))
        said = f"{where} holds no finished cell. Run 'landbridge bench SUITE --out {folders[0]}' first."
        raise ValueError(" ".join([said, *found.problems]))
    return found


def _selections(
    out: Path, cells: Sequence[Cell], validator: str | None
) -> tuple[dict[str, dict[str, Selection]], list[str]]:
    """What the validators choose, and a sentence for each cell whose outputs cannot be read."""
    from .selection import selections

    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        chosen = selections(out, cells, also=[] if validator is None else [validator])
    for each in raised:
        if each.category is not UserWarning:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return chosen, [str(each.message) for each in raised if each.category is UserWarning]


def _render(found: _Found, validator: str) -> str:
    suites = shipped(sorted({cell.suite for cell in found.cells}))
    filled = filled_in(found.cells, suites)
    table = summarise(
        filled,
        published=[row for suite in suites for row in suite.published],
        order=[method for suite in suites for method in suite.methods],
        tasks=[task for suite in suites for task in suite.tasks],
        warnings=found.problems,
        selections=found.selections,
        validator=validator,
        hits=kept_hits(found.folders),
        proportions=kept_proportions(found.folders),
    )
    cells, _ = newest(filled)
    matrices = sum(len(block.rows) * len(block.tasks) for block in table.blocks)
    views = [
        _view(f"b{number}", table, block, [cell for cell in cells if cell.group == _group(block)], found, matrices)
        for number, block in enumerate(table.blocks, 1)
    ]
    return fill(
        {"blocks": [view.data for view in views]},
        facts=_facts(table, cells),
        table=table,
        views=views,
        environment=recorded(cells),
        validators=sorted({view.validator for view in views if view.validator}),
        several=any(not block.single for block in table.blocks),
        beyond=any(block.second for block in table.blocks),
    )


def _validator(asked: str | None, found: _Found) -> str:
    """The validator shown: the one asked for, or the default. One that has scored nothing is told of in the notes."""
    from ..shared.validators import DEFAULT_VALIDATOR, VALIDATORS

    known = {*VALIDATORS, *(name for choices in found.selections.values() for name in choices)}
    if asked is not None and asked not in known:
        raise ValueError("write_report: " + nearest("validator", asked, known))
    return asked or DEFAULT_VALIDATOR


def _group(block: Block) -> tuple[str, str, str, str]:
    return (block.suite, block.protocol, block.network, block.track)


class _Facts(NamedTuple):
    """The head of the page."""

    title: str
    cells: int
    methods: int
    tasks: int
    seeds: tuple[int, ...]
    protocols: tuple[str, ...]
    begun: str
    ended: str
    seconds: float
    versions: dict[str, str]


def _facts(table: Table, cells: Sequence[Cell]) -> _Facts:
    versions = {each.name: ", ".join(value for value, _ in each.values) for each in recorded(cells)}
    times = [cell.finished for cell in cells]
    return _Facts(
        title=", ".join(dict.fromkeys(block.suite for block in table.blocks)),
        cells=len(cells),
        methods=len({row.method for block in table.blocks for row in block.rows}),
        tasks=len({(block.suite, task) for block in table.blocks for task in block.tasks}),
        seeds=tuple(sorted({cell.seed for cell in cells})),
        protocols=tuple(dict.fromkeys(f"{b.protocol} ({b.network}, {b.track})" for b in table.blocks)),
        begun=moment(min(times)),
        ended=moment(max(times)),
        seconds=sum(cell.seconds for cell in cells),
        versions=versions,
    )


class _Column(NamedTuple):
    """One of the three ways to choose a checkpoint: short id, key in the table, and its name."""

    id: str
    key: str
    title: str


class _Figure(NamedTuple):
    """The curves of one task: all methods together, and each by seeds."""

    task: str
    curves: tuple[tuple[int, Curve], ...]
    panel: Panel
    singles: tuple[tuple[str, Panel], ...]
    steps: tuple[int, ...]


class _Matrix(NamedTuple):
    """The confusion matrix of one method on one task, as the page tells of it; accuracy in percent."""

    label: str
    place: int
    confusion: Confusion
    accuracy: float | None
    worst: tuple[tuple[str, str, int, float], ...]
    left_out: int


class _View(NamedTuple):
    """One block of the page."""

    id: str
    block: Block
    columns: tuple[_Column, ...]
    validator: str | None
    best: dict[tuple[str, str], float]
    asides: tuple[str, ...]
    footnotes: tuple[int, ...]
    figures: tuple[_Figure, ...]
    matrices: tuple[tuple[str, tuple[_Matrix, ...]], ...]
    costs: tuple[Cost, ...]
    settings: dict[str, list[Setting]]
    data: dict[str, Any]


def _view(id: str, table: Table, block: Block, cells: Sequence[Cell], found: _Found, matrices: int) -> _View:
    columns = tuple(_column(key) for key in table.shown_of(block))
    validator = next((column.key.removeprefix(CHOSEN) for column in columns if column.id == "chosen"), None)
    of: _Places = {(row.method, task): [] for row in block.rows for task in block.tasks}
    for cell in cells:
        of[cell.method, cell.task].append(cell)
    figures = () if block.single else tuple(_figure(block, task, of, found, validator) for task in block.tasks)
    classes = _classes(cells)
    drawn = {task: _matrices(block, task, of, found, classes, ENTRIES // matrices) for task in block.tasks}
    placed = {row.method: [cell for cell in cells if cell.method == row.method] for row in block.rows}
    return _View(
        id=id,
        block=block,
        columns=columns,
        validator=validator,
        best=_best(block, columns),
        asides=_asides(block),
        footnotes=tuple(sorted({quote.footnote for row in block.rows for quote in row.quotes})),
        figures=figures,
        matrices=tuple((task, told) for task, (told, _) in drawn.items()),
        costs=tuple(cost(row.label, placed[row.method]) for row in block.rows),
        settings=block_settings(cells, [row.method for row in block.rows]),
        data={
            "labels": [row.label for row in block.rows],
            "tasks": list(block.tasks),
            "classes": classes,
            "panels": [figure.panel.hover for figure in figures],
            "matrices": [kept for _, kept in drawn.values()],
        },
    )


def _asides(block: Block) -> tuple[str, ...]:
    """What stands after the average: the average rank, and p of the average gains, where there are any."""
    numbers = [row.numbers["last"][block.columns[-1]] for row in block.rows if block.columns[-1] in row.numbers["last"]]
    there = {
        "rank": any(n.rank is not None for n in numbers),
        "p": any(n.p_holm is not None for n in numbers),
        "p AdaBN": any(n.beyond is not None and n.beyond.p_holm is not None for n in numbers),
    }
    return tuple(name for name, known in there.items() if known)


def _column(key: str) -> _Column:
    if key.startswith(CHOSEN):
        return _Column("chosen", key, f"chosen by {key.removeprefix(CHOSEN)}")
    return _Column(key, key, {"last": "last iterate"}.get(key, key))


def _best(block: Block, columns: Iterable[_Column]) -> dict[tuple[str, str], float]:
    """The highest mean of each column and place, the bound left aside."""
    best: dict[tuple[str, str], float] = {}
    for row in block.rows:
        for column in columns:
            for place, value in row.numbers.get(column.key, {}).items():
                if row.method != BOUND:
                    best[column.key, place] = max(value.mean, best.get((column.key, place), 0.0))
    return best


def _figure(block: Block, task: str, of: _Places, found: _Found, validator: str | None) -> _Figure:
    curves = tuple(
        (place, curve(row.label, of[row.method, task], found.selections, validator))
        for place, row in enumerate(block.rows)
        if of[row.method, task]
    )
    panel = overview(curves, validator)
    singles = tuple((each.label, single(curves, shown, validator)) for shown, (_, each) in enumerate(curves))
    return _Figure(task, curves, panel, singles, tuple(panel.hover["steps"]))


def _classes(cells: Sequence[Cell]) -> list[str]:
    """The names of the classes, where the cells know them and agree; [] otherwise."""
    named = {tuple(map(str, names)) for cell in cells if isinstance(names := cell.settings.get("classes"), list)}
    return list(named.pop()) if len(named) == 1 else []


def _matrices(
    block: Block, task: str, of: _Places, found: _Found, classes: list[str], most: int
) -> tuple[tuple[_Matrix, ...], list[dict[str, Any] | None]]:
    told, packed = [], []
    for place, row in enumerate(block.rows):
        if not of[row.method, task]:
            continue
        counted = confusion(of[row.method, task], found.folders)
        kept = None if counted.counts is None else {"place": place, **pack(counted.counts, most)}
        left_out = 0 if kept is None else int(kept["left_out"])
        told.append(
            _Matrix(row.label, place, counted, _accuracy(counted.counts), _worst(counted.counts, classes), left_out)
        )
        packed.append(kept)
    return tuple(told), packed


def _accuracy(counts: NDArray[np.int64] | None) -> float | None:
    return None if counts is None else 100 * float(np.trace(counts)) / float(counts.sum())


def _worst(counts: NDArray[np.int64] | None, classes: Sequence[str]) -> tuple[tuple[str, str, int, float], ...]:
    if counts is None:
        return ()
    names = classes if len(classes) >= len(counts) else [str(i) for i in range(len(counts))]
    return tuple((names[m.true], names[m.predicted], m.rows, m.share) for m in mistakes(counts, NAMED))
