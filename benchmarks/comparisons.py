"""The comparisons of a block: gains paired by seed, their tests over seeds, and tests on the same images.

Two questions are asked of a loss, each with a family of comparisons of its own. *Would further seeds agree?* is the
test over seeds (:mod:`.statistics`). *Would these very networks lose on further images too?* is an exact McNemar test
within each seed: seeds share their images, so their p-values depend on one another, and the largest of them stands for
all (:func:`.statistics.in_every_seed`), which is right however they depend.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .blocks import AVERAGE, SIGNIFICANT
from .hits import Hits, lost_and_won, read_hits
from .results import Cell
from .statistics import PValues, holm, in_every_seed, mcnemar_below, over_tasks_and_seeds, paired_t, signed_rank

__all__ = ["UNTESTED", "HitsOf", "Images", "Scores", "Test", "gains", "kept_hits", "on_images", "over_seeds"]

Scores = dict[str, dict[int, float]]  # place -> seed -> percent
HitsOf = Callable[[Cell, int], Hits | None]  # what a cell gets right at a step
StepOf = Callable[[Cell], int | None]  # the checkpoint of a cell that a column shows


def gains(own: Scores, baseline: Scores) -> Scores:
    """Differences by place and seed, over the seeds that both have."""
    return {
        place: {
            seed: values[seed] - baseline[place][seed] for seed in sorted(values) if seed in baseline.get(place, {})
        }
        for place, values in own.items()
    }


class Test(NamedTuple):
    """A test over seeds; see the attributes of :class:`.blocks.Number`."""

    p: float | None = None
    p_holm: float | None = None
    p_below: float | None = None
    p_tasks: float | None = None
    test: str = ""
    comparisons: int = 0
    least: float | None = None


UNTESTED = Test()


def over_seeds(found: Mapping[str, Scores], tasks: Sequence[str]) -> dict[tuple[str, str], Test]:
    """The tests of all methods: those on tasks are one family of comparisons, those on the average another.

    Args:
        found: gains by method.
        tasks: of the block.

    Returns:
        By method and place; those without a test are absent.
    """
    single: dict[tuple[str, str], PValues | None] = {}
    joint: dict[tuple[str, str], PValues | None] = {}
    over_tasks: dict[tuple[str, str], PValues | None] = {}
    for method, own in found.items():
        for task in tasks:
            single[method, task] = paired_t(list(own[task].values()))
        seeds = own.get(AVERAGE, {})
        if seeds:
            joint[method, AVERAGE] = over_tasks_and_seeds([[own[task][seed] for seed in seeds] for task in tasks])
            over_tasks[method, AVERAGE] = signed_rank([statistics.fmean(own[task].values()) for task in tasks])
    across = dict(zip(over_tasks, holm([test and test.two_sided for test in over_tasks.values()]), strict=True))
    tests: dict[tuple[str, str], Test] = {}
    for family in (single, joint):
        two_sided = holm([test and test.two_sided for test in family.values()])
        below = holm([test and test.below for test in family.values()])
        count = sum(test is not None for test in family.values())
        for (where, test), either, lower in zip(family.items(), two_sided, below, strict=True):
            if test is not None:
                least = min(1.0, count * test.least)
                tests[where] = Test(test.two_sided, either, lower, across.get(where), test.test, count, least)
    return tests


class Images(NamedTuple):
    """A method against its baseline on the same images of one task.

    Attributes:
        p: one-sided, of being below in every seed, after Holm over the methods and tasks of the block.
        seeds: how many were tested.
        lost: in how many of them the method is below by itself, p < 0.05 after Bonferroni over all seeds of the block.
        tests: how many that correction was for.
        comparisons: how many Holm's was for.
    """

    p: float
    seeds: int
    lost: int
    tests: int
    comparisons: int


def on_images(
    cells: Mapping[str, Sequence[Cell]],
    baselines: Mapping[str, str],
    tasks: Sequence[str],
    hits: HitsOf,
    step: StepOf,
) -> dict[tuple[str, str], Images | None]:
    """Exact McNemar tests of each method with a baseline, on each task; None where what is needed was not kept.

    Args:
        cells: by method.
        baselines: of the methods to be tested.
        tasks: of the block.
        hits: which rows a cell gets right.
        step: at which of its checkpoints.
    """
    found: dict[tuple[str, str], list[float] | None] = {}
    for method, baseline in baselines.items():
        for task in tasks:
            ours = {cell.seed: cell for cell in cells[method] if cell.task == task}
            theirs = {cell.seed: cell for cell in cells[baseline] if cell.task == task}
            shared = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
            if shared:
                p = [_below(*pair, hits, step) for pair in shared]
                found[method, task] = None if None in p else [one for one in p if one is not None]
    corrected = holm([None if p is None else in_every_seed(p) for p in found.values()])
    comparisons = sum(p is not None for p in found.values())
    tests = sum(len(p) for p in found.values() if p is not None)
    return {
        where: None
        if p is None or largest is None
        else Images(largest, len(p), sum(tests * one < SIGNIFICANT for one in p), tests, comparisons)
        for (where, p), largest in zip(found.items(), corrected, strict=True)
    }


def _below(cell: Cell, baseline: Cell, hits: HitsOf, step: StepOf) -> float | None:
    steps = step(cell), step(baseline)
    if steps[0] is None or steps[1] is None:
        return None
    ours, theirs = hits(cell, steps[0]), hits(baseline, steps[1])
    if ours is None or theirs is None or ours.rows != theirs.rows:
        return None
    return mcnemar_below(*lost_and_won(ours.right[steps[0]], theirs.right[steps[1]]))


def kept_hits(folders: Mapping[str, Path]) -> HitsOf:
    """What finished cells get right, read when it is asked for and then remembered.

    Args:
        folders: where each cell lies, by its identity.
    """
    known: dict[tuple[str, int], Hits | None] = {}

    def hits(cell: Cell, step: int) -> Hits | None:
        where = (cell.identity, step)
        if where not in known:
            known[where] = read_hits(folders[cell.identity], [step]) if cell.identity in folders else None
        return known[where]

    return hits
