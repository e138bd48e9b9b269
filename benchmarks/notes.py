"""The sentences below a benchmark table: how it is to be read, what is missing, what is mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .blocks import AVERAGE, BASELINE, BOUND, CHOSEN, SIGNIFICANT, Block, Number, Row
from .proportions import ProportionsOf, on_proportions
from .results import Cell, Selection
from .statistics import MCNEMAR, PAIRED_T, SIGN_FLIP

__all__ = ["of_block", "of_folder", "on_reading"]

NAMED = 5  # how many places a note names before it only counts
NOT_STORED = "none of their scores are stored here (the validator is n/a for the protocol, or outputs were not kept)"


def on_reading(cells: list[Cell], blocks: list[Block], validator: str | None, known: Sequence[str]) -> list[str]:
    """How the numbers are to be read.

    Args:
        cells: those of the table.
        blocks: made of them.
        validator: whose choice is to be shown.
        known: the validators that there are choices of.
    """
    seeds = sorted({cell.seed for cell in cells})
    named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    error = (
        "n/a for one seed" if len(seeds) == 1 else "half its 95% interval (Student's t over seeds, and of seeds alone)"
    )
    references = dict.fromkeys(block.reference for block in blocks)
    beyond = any(block.second for block in blocks)
    added = ", and behind the comma over AdaBN, which is batch statistics alone" if beyond else ""
    found = [
        f"last: target accuracy (%) at the end of training, mean ± {error}; {named}. "
        f"In brackets: gain over {' or '.join(references)}{added}, paired by seed."
    ]
    found += _on_ranges(blocks)
    several = [cell for cell in cells if len(cell.checkpoints) > 1]
    if any(not block.single for block in blocks):
        found += _on_choosing(several, validator, known)
    found += _on_tests(blocks)
    quotes = [quote for block in blocks for row in block.rows for quote in row.quotes]
    if any(quote.published.selected == "target labels" for quote in quotes):
        found.append("A published row that was chosen by target labels compares with oracle, not with last.")
    if any(AVERAGE in quote.values for quote in quotes):
        found.append("The average of a published row is taken here, over the tasks shown.")
    if any(not quote.same_protocol for quote in quotes):
        found.append(
            "† published under another protocol, with another network or with other augmentation than this table's: "
            "not directly comparable."
        )
    return found


def _on_ranges(blocks: list[Block]) -> list[str]:
    """What stands where an interval would be wider than the scale."""
    numbers = [number for block in blocks for row in block.rows for column in row.numbers.values() for number in
               column.values() if number.range is not None]  # fmt: skip
    if not numbers:
        return []
    counts = sorted({len(number.seeds) for number in numbers})
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return [
        f"± n/a, {seeds}: the 95% interval would be wider than the whole scale; in square brackets stand the lowest "
        "and the highest seed instead."
    ]


def _on_choosing(cells: list[Cell], validator: str | None, known: Sequence[str]) -> list[str]:
    found = []
    counts = sorted({len(cell.checkpoints) for cell in cells})
    of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if validator in known:
        found.append(
            f"{CHOSEN}{validator}: the checkpoint of {of} that this validator scores highest, without target labels."
        )
    elif validator:
        others = f" There are choices of {', '.join(known)}." if known else ""
        found.append(f"No column {CHOSEN}{validator}: for these cells {NOT_STORED}.{others}")
    found.append(f"oracle: the best of {of} checkpoints by target labels; an upper limit of choosing, not a result.")
    return found


def _on_tests(blocks: list[Block]) -> list[str]:
    found = []
    tests = [number for block in blocks for row in block.rows for number in row.numbers["last"].values()]
    averaged = [number for block in blocks for row in block.rows for number in _average(row)]
    used = sorted({number.test for number in averaged if number.test})
    over = {PAIRED_T: f"a {PAIRED_T} over seeds", SIGN_FLIP: f"a {SIGN_FLIP} over task x seed"}
    if used:
        how = " or ".join(over[name] for name in used)
        note = f"p: of the average gain (two-sided, {how}, Holm over the rows): would further seeds agree?"
        if any(number.p_tasks is not None for number in averaged):
            note += " p tasks: would further tasks? (Wilcoxon's signed-rank test, a task a unit, Holm over the rows.)"
        found.append(note)
    elif any(number.p is not None for number in tests):
        found.append(f"p: of the gain (two-sided, {over[PAIRED_T]}, Holm over the rows): would further seeds agree?")
    if any(number.beyond is not None and number.beyond.p is not None for number in [*tests, *averaged]):
        found.append("p AdaBN: the same test of the gain over AdaBN, Holm over these comparisons by themselves.")
    if any(number.rank is not None for number in tests):
        found.append(
            f"rank: of the last iterate among the rows (without {BOUND}), 1 is best, averaged over task x seed."
        )
    if any(row.peak_memory is not None for block in blocks for row in block.rows):
        found.append(
            "time: median of a cell, in seconds. memory: the most that a cell held at once (GPU's, else process)."
        )
    else:
        found.append("time: median of a cell, in seconds.")
    return found


def _average(row: Row) -> list[Number]:
    return [row.numbers["last"][AVERAGE]] if AVERAGE in row.numbers["last"] else []


def of_block(
    block: Block,
    cells: list[Cell],
    selections: Mapping[str, Mapping[str, Selection]],
    column: str | None,
    *,
    images: bool = False,
    proportions: ProportionsOf | None = None,
) -> list[str]:
    """What is missing, mixed or alarming in one block.

    Args:
        block: the block.
        cells: those it is made of.
        selections: what validators choose, by the cells' identities.
        column: the ``chosen:...`` that is to be shown, None for none.
        images: losses were to be tested on the same images too.
        proportions: what source-only cells tell of the classes' proportions.
    """
    scored = {task: sorted({cell.n for cell in cells if cell.task == task}) for task in block.tasks}
    listed = ", ".join(f"{task} {' or '.join(map(str, counts))}" for task, counts in scored.items())
    return [
        f"Target rows scored: {listed}.",
        *_negative(block),
        *(_on_images(block) if images else []),
        *_no_more(block),
        *on_proportions(block, cells, proportions),
        *_missing(block, cells),
        *_chosen(block, cells, selections, column),
        *_gains(block),
        *_mixed(block, cells),
    ]


def _negative(block: Block) -> list[str]:
    found = []
    marked = [
        f"{row.method} on {'the average' if place == AVERAGE else place} ({number.gain:+.1f}; {_by(number)})"
        for row in block.rows
        for place, number in row.numbers["last"].items()
        if number.negative and number.gain is not None
    ]
    if marked:
        found.append(
            f"↓ negative transfer: significantly below {block.reference} (one-sided p < {SIGNIFICANT} after Holm over "
            f"the comparisons on tasks, or on the average; seeds: further seeds would agree; images: on further images "
            f"the networks of every seed would lose too, {MCNEMAR}): {_some(marked, ', ')}."
        )
    compared = [row for row in block.rows if row.baseline and row.method != BOUND]
    if compared and not any(
        number.p is not None for row in compared for place, number in row.numbers["last"].items() if place != AVERAGE
    ):
        found.append(
            "Gains on single tasks are not tested over seeds: it takes two seeds at least, and that they differ."
        )
    averages = [number for row in compared for number in _average(row) if number.p_least is not None]
    if averages:
        best = min(averages, key=lambda number: number.p_least or 0.0)
        if best.p_least is not None and best.p_least >= SIGNIFICANT:
            found.append(
                "Negative transfer on the average cannot show here: with so few tasks and seeds, and Holm over "
                f"{best.comparisons} row{'s' if best.comparisons > 1 else ''}, the smallest one-sided p there can be "
                f"is {best.p_least:.2g}. Run more seeds."
            )
    return found


def _by(number: Number) -> str:
    return " and ".join(
        [*(["seeds"] if number.below_over_seeds else []), *(["images"] if number.below_on_images else [])]
    )


def _on_images(block: Block) -> list[str]:
    """Where single seeds lost, and where nothing was kept to tell."""
    places = [
        (row, task, row.numbers["last"][task])
        for row in block.rows
        for task in block.tasks
        if row.baseline and row.method != BOUND and task in row.numbers["last"]
    ]
    some = [
        f"{row.method} on {task} in {number.images_lost} of {len(number.gain_seeds)}"
        for row, task, number in places
        if number.images_lost and not number.negative
    ]
    found = []
    if some:
        tests = max(number.images_tests for _, _, number in places)
        found.append(
            f"Below {block.reference} on the same images in some seeds only ({MCNEMAR}, p < {SIGNIFICANT} after "
            f"Bonferroni over {tests} tests): {_some(some, ', ')}."
        )
    untold = [
        f"{row.method} on {task}" for row, task, number in places if number.p_images is None and number.gain is not None
    ]
    if untold:
        found.append(
            "Not tested on the same images, because which rows were right was not kept (older cells without outputs), "
            f"or other rows were scored: {_some(untold, ', ')}."
        )
    return found


def _no_more(block: Block) -> list[str]:
    """The rows whose gain may be that of batch statistics alone."""
    if block.second is None:
        return []
    place = block.columns[-1]
    tested = [(row, row.numbers["last"][place].beyond) for row in block.rows if place in row.numbers["last"]]
    rows = [
        f"{row.method} ({beyond.gain:+.1f})"
        for row, beyond in tested
        if row.method != BOUND and beyond is not None and beyond.p_holm is not None
        if not (beyond.gain > 0 and beyond.p_holm < SIGNIFICANT)
    ]
    where = "on the average" if place == AVERAGE else f"on {place}"
    return [f"Not shown to be more than batch statistics alone (AdaBN) {where}: {_some(rows, ', ')}."] if rows else []


def _missing(block: Block, cells: list[Cell]) -> list[str]:
    found = []
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
        found.append(f"Not finished: {_some(missing, ', ')}.")
        if any(number.rank is not None for row in block.rows for number in row.numbers["last"].values()):
            found.append("Ranks are over the task x seed that all rows have.")
    blank = [row.method for row in block.rows if len(block.tasks) > 1 and AVERAGE not in row.numbers["last"]]
    if blank:
        found.append(f"No average for {', '.join(blank)}: it needs every task for the same seeds.")
    return found


def _chosen(
    block: Block, cells: list[Cell], selections: Mapping[str, Mapping[str, Selection]], column: str | None
) -> list[str]:
    if block.single:
        return [
            "One checkpoint a cell: last, chosen and oracle are the same number, so one column stands for all three."
        ]
    if column is None or column not in block.rows[0].numbers:
        return []
    validator = column.removeprefix(CHOSEN)
    found = []
    lacking, collapsed = [], []
    for cell in cells:
        selection = selections.get(cell.identity, {}).get(validator)
        if selection is None:
            lacking.append(f"{cell.method} on {cell.task} seed {cell.seed}")
        elif selection.collapsed:
            collapsed.append(f"{cell.method} on {cell.task} seed {cell.seed}")
    if len(lacking) == len(cells):
        found.append(f"No column {column}: for its cells {NOT_STORED}.")
    elif lacking:
        found.append(f"Blank in {column}, for {NOT_STORED}: {_some(lacking, ', ')}.")
    if collapsed:
        found.append(
            f"‡ {column} found no checkpoint whose predictions have not collapsed into few classes, and so chose one "
            f"of those: {_some(collapsed, ', ')}."
        )
    return found


def _gains(block: Block) -> list[str]:
    found = []
    classical = block.reference != BASELINE
    if not any(row.baseline for row in block.rows):
        what = f"there is no finished cell of {block.reference}"
        if len(block.rows) > 1 or block.rows[0].method != BASELINE:
            found.append(f"No gains: {what}.")
    elif classical:
        pairs = [f"{row.method} over {row.baseline}" for row in block.rows if row.baseline]
        found.append(f"Gains: {_some(pairs, ', ')}.")
    partial = [
        f"{row.method} on {place}"
        for row in block.rows
        for place, number in row.numbers["last"].items()
        if number.gain is not None and number.gain_seeds != number.seeds
    ]
    if partial:
        found.append(f"Gain over the seeds that {block.reference} has too: {_some(partial, ', ')}.")
    return found


def _mixed(block: Block, cells: list[Cell]) -> list[str]:
    found = []
    mixed = _mixed_settings(block, cells)
    if mixed:
        found.append(f"Seeds run with different settings under one mean: {_some(mixed, ', ')}. Re-run the older ones.")
    uneven = _mixed_training(block, cells)
    if uneven:
        found.append(
            "Rows trained by different rules or networks (steps, weights, pixels or others), not comparable: "
            f"{_some(uneven, ', ')}."
        )
    tuned = [
        row.method for row in block.rows if any(_tuned(cell.settings) for cell in cells if cell.method == row.method)
    ]
    if tuned:
        found.append(
            f"Settings were searched by target labels, as this protocol says: {', '.join(tuned)}. "
            "An upper limit, not a result."
        )
    return found


def _tuned(settings: Mapping[str, Any]) -> bool:
    rules, row = settings.get("rules"), settings.get("adaptation")
    searched = isinstance(row, Mapping) and bool(row.get("grid"))
    return searched and isinstance(rules, Mapping) and rules.get("tuned") == "target"


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
    """The tasks whose rows were not all trained by the same rules (steps, batches, optimiser), on the same network."""
    ways: dict[str, list[object]] = {}
    for cell in cells:
        way = [cell.settings.get(name) for name in ("rules", "training", "backbone", "size", "network")]
        if way not in ways.setdefault(cell.task, []):
            ways[cell.task].append(way)
    return [task for task in block.tasks if len(ways.get(task, ())) > 1]


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_seed(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name != "seed"
    }


def of_folder(cells: list[Cell], older: int) -> list[str]:
    """What was left out, and what the machines differed in.

    >>> of_folder([], 2)
    ['2 older cells with other settings left out.']
    """
    found = []
    if older:
        found.append(f"{older} older {'cell' if older == 1 else 'cells'} with other settings left out.")
    differing = []
    for name in ("torch", "threads", "device"):
        values = sorted({str(cell.environment.get(name, "not recorded")) for cell in cells})
        if len(values) > 1:
            differing.append(f"{name} ({', '.join(values)})")
    if differing:
        found.append(f"Mixed cells: they differ in {', '.join(differing)}; small differences may come from that alone.")
    return found


def _some(items: list[str], between: str) -> str:
    more = len(items) - NAMED
    return between.join(items[:NAMED]) + (f" and {more} more" if more > 0 else "")
