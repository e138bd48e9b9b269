"""How well label-free validators order checkpoints, and what accuracy each would have picked.

The one place beside scoring and the oracle where they meet target accuracies: after the fact, to judge validators.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..shared.validators import VALIDATORS
from .backwards import UNJUDGED, Course, Judged, corrected, judge
from .results import Cell, cell_folder, newest, read_folder
from .scores import KNOWN, CellScores, Score, check_names, choose, stored_scores

__all__ = [
    "Figures",
    "Picked",
    "Ranked",
    "RankedBlock",
    "Ranking",
    "backwards_here",
    "rank",
    "weighted_spearman",
]

AVERAGE: Final = "average"
BOUND: Final = "train-on-target"  # sees target labels: no validator is asked to choose it
BACKWARDS: Final = "backwards"
BELOW_LAST: Final = "below last"
POWER: Final = 2  # of the weights, as in the paper's code


class Picked(NamedTuple):
    """What a validator's picks score, in percent.

    Attributes:
        accuracy: mean target accuracy of the picks.
        regret: mean distance to the best choice among the same checkpoints, by target labels.
        picks: how many.
        collapsed: how many of them have collapsed, for want of another.
        passed_over: in how many the best score was of a collapsed checkpoint, and another was taken.
    """

    accuracy: float
    regret: float
    picks: int
    collapsed: int
    passed_over: int


class Figures(NamedTuple):
    """A validator on one task, or averaged over tasks.

    Attributes:
        spearman: weighted Spearman correlation over the task's checkpoints; None where it is not defined.
        checkpoint: picks of a checkpoint within each cell.
        model: picks of a checkpoint and a method within each seed, which is what somebody who needs one model does.
        cells: how many cells have scores.
    """

    spearman: float | None
    checkpoint: Picked
    model: Picked
    cells: int


@dataclass(frozen=True)
class Ranked:
    """One validator in one block: figures by task and ``average`` ({} if n/a), processor seconds a cell, why not.

    ``judged`` says whether it ranks backwards here or chooses worse than the last checkpoint, after Holm over all.
    """

    validator: str
    figures: Mapping[str, Figures]
    seconds: float | None
    why: str | None = None
    judged: Judged = UNJUDGED

    @property
    def average(self) -> Figures | None:
        """The means over the tasks; None where it is n/a."""
        return self.figures.get(AVERAGE)


@dataclass(frozen=True)
class RankedBlock:
    """The validators of one suite, protocol, network and track, the best first.

    Attributes:
        group: suite, protocol, network, track.
        tasks: by name.
        checkpoints: how many are ordered, over all tasks.
        rows: by weighted Spearman, those that are n/a last.
        last: mean accuracy (%) of the cells' last checkpoints: what is had without a validator.
        oracle: mean accuracy (%) of the best checkpoint of each cell, by target labels.
        model_oracle: the same of the best checkpoint and method of each seed.
    """

    group: tuple[str, str, str, str]
    tasks: tuple[str, ...]
    checkpoints: int
    rows: tuple[Ranked, ...]
    last: float
    oracle: float
    model_oracle: float

    @property
    def title(self) -> str:
        """Suite, protocol, network and track in one line."""
        suite, protocol, network, track = self.group
        return f"{suite}: protocol {protocol}, network {network}, {track}"


@dataclass(frozen=True)
class Ranking:
    """All blocks of a folder, and the notes on how they are to be read and what was left out."""

    blocks: tuple[RankedBlock, ...]
    notes: tuple[str, ...]


class _Scored(NamedTuple):
    cell: Cell
    scores: CellScores
    accuracies: dict[int, float]  # percent by step


class _Candidate(NamedTuple):
    step: int
    score: Score
    accuracy: float


def rank(
    out: Path,
    *,
    names: Sequence[str] | None = None,
    expensive: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Judge validators by the finished cells of a folder, each block (suite, protocol, network, track) for itself.

    Scores that are missing are computed from the stored outputs, and kept in the cells' folders. Cells without outputs
    take part with the scores they have. Train-on-target takes no part. Figures are means over a task, and the average
    is over tasks.

    Args:
        out: the folder of a bench.
        names: of validators; None: all but those that train again.
        expensive: with those.
        progress: called with the cells done and their number.

    Raises:
        ValueError: for an unknown validator, or if no cell has stored outputs or scores.
    """
    asked = list(VALIDATORS if names is None else names)
    asked += [name for name, validator in KNOWN.items() if expensive and validator.cost == "training"]
    asked = list(dict.fromkeys(asked))
    check_names(asked)
    cells, problems = read_folder(out)
    judged = [cell for cell in newest(cells)[0] if not _sees_target_labels(cell)]
    found: dict[tuple[str, str, str, str], list[_Scored]] = {}
    without = 0
    for done, cell in enumerate(judged, 1):
        try:
            scored = _scored(out, cell, asked)
        except ValueError as error:
            problems.append(str(error))
            scored = None
        if scored is None:
            without += 1
        else:
            found.setdefault(cell.group, []).append(scored)
        if progress is not None:
            progress(done, len(judged))
    if not found:
        said = f"no cell of {out} has stored outputs. Run the benchmark with --keep-outputs all."
        raise ValueError(" ".join([said, *problems]))
    blocks = tuple(_block(group, found[group], asked) for group in sorted(found))
    return Ranking(blocks, (*_notes(blocks, without), *problems))


def _sees_target_labels(cell: Cell) -> bool:
    adaptation = cell.settings.get("adaptation")
    trains_on = adaptation.get("trains_on") if isinstance(adaptation, Mapping) else None
    return cell.method == BOUND or trains_on == "target"


def _scored(out: Path, cell: Cell, names: Sequence[str]) -> _Scored | None:
    folder = cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)
    scores = stored_scores(folder, names)
    accuracies = {checkpoint.step: 100 * checkpoint.target_eval for checkpoint in cell.checkpoints}
    there = any(step in accuracies for step in scores.steps)
    return _Scored(cell, scores, accuracies) if there and scores.scores else None


def _block(group: tuple[str, str, str, str], cells: list[_Scored], names: Sequence[str]) -> RankedBlock:
    tasks = tuple(sorted({each.cell.task for each in cells}))
    by_task = [[each for each in cells if each.cell.task == task] for task in tasks]
    rows = [_ranked(name, dict(zip(tasks, by_task, strict=True))) for name in names]
    judged = corrected({row.validator: _judge(row.validator, cells) for row in rows if row.figures})
    rows = [replace(row, judged=judged.get(row.validator, row.judged)) for row in rows]
    rows.sort(key=_merit, reverse=True)
    return RankedBlock(
        group=group,
        tasks=tasks,
        checkpoints=sum(len(each.scores.steps) for each in cells),
        rows=tuple(rows),
        last=_mean(_mean(each.cell.last * 100 for each in some) for some in by_task),
        oracle=_mean(_mean(each.cell.oracle * 100 for each in some) for some in by_task),
        model_oracle=_mean(_mean(_best_of_each_seed(some)) for some in by_task),
    )


def _judge(name: str, cells: Iterable[_Scored]) -> Judged:
    courses = []
    for each in cells:
        candidates = _candidates(name, each) if name in each.scores.scores else []
        if any(candidate.score.value is not None for candidate in candidates):
            place = choose([candidate.score for candidate in candidates])
            courses.append(
                Course(
                    each.cell.task,
                    each.cell.seed,
                    tuple(candidate.score.value for candidate in candidates),
                    tuple(candidate.accuracy for candidate in candidates),
                    None if place is None else candidates[place].accuracy,
                    100 * each.cell.last,
                )
            )
    return judge(courses, weighted_spearman)


def backwards_here(out: Path, cells: Iterable[Cell], validator: str) -> list[str]:
    """A sentence for each block that a validator ranks backwards, or in which it chooses worse than nothing does.

    Args:
        out: the folder of a bench that the cells lie in.
        cells: finished cells; those that see target labels take no part.
        validator: whose choice a table shows. Its scores have to be there already.
    """
    found: dict[tuple[str, str, str, str], list[_Scored]] = {}
    for cell in cells:
        if not _sees_target_labels(cell):
            with suppress(ValueError):  # outputs that cannot be read: told of where they are needed
                scored = _scored(out, cell, [validator])
                if scored is not None:
                    found.setdefault(cell.group, []).append(scored)
    sentences = []
    for group, some in found.items():
        judged = _judge(validator, some)
        where = f"{group[0]}, {group[1]}: " if len(found) > 1 else ""
        if judged.backwards:
            sentences.append(
                f"{where}chosen:{validator} ranks backwards on this run: its higher scores went with lower target "
                f"accuracy (one-sided p = {judged.p_order:.2g}). Do not choose by it here; see landbridge validators."
            )
        elif judged.below_last:
            sentences.append(
                f"{where}chosen:{validator} chooses worse than the last checkpoint on this run, by {judged.loss:.1f} "
                f"points (one-sided p = {judged.p_last:.2g}); see landbridge validators."
            )
    return sentences


def _merit(row: Ranked) -> tuple[bool, float]:
    """Those that are n/a last; equal ones stay in the order they were asked for."""
    spearman = None if row.average is None else row.average.spearman
    return (row.average is not None, -2.0 if spearman is None else spearman)


def _best_of_each_seed(cells: list[_Scored]) -> list[float]:
    return [max(100 * each.cell.oracle for each in some) for some in _by_seed(cells)]


def _by_seed(cells: list[_Scored]) -> list[list[_Scored]]:
    seeds = sorted({each.cell.seed for each in cells})
    return [[each for each in cells if each.cell.seed == seed] for seed in seeds]


def _ranked(name: str, by_task: Mapping[str, list[_Scored]]) -> Ranked:
    figures: dict[str, Figures] = {}
    for task, cells in by_task.items():
        having = [each for each in cells if any(score.value is not None for score in each.scores.scores.get(name, ()))]
        if having:
            figures[task] = _figures(name, having)
    if not figures:
        return Ranked(name, {}, None, _reason(name, by_task))
    seconds = [each.scores.seconds[name] for cells in by_task.values() for each in cells if name in each.scores.seconds]
    return Ranked(name, {**figures, AVERAGE: _average(list(figures.values()))}, statistics.median(seconds))


def _reason(name: str, by_task: Mapping[str, list[_Scored]]) -> str:
    scores = [score for cells in by_task.values() for each in cells for score in each.scores.scores.get(name, ())]
    reasons = [score.why for score in scores if score.why]
    return reasons[0] if reasons else "the outputs were not kept, and it was not computed while they were there"


def _figures(name: str, cells: list[_Scored]) -> Figures:
    candidates = [_candidates(name, each) for each in cells]
    pooled = [candidate for some in candidates for candidate in some]
    spearman = weighted_spearman(
        [np.nan if candidate.score.value is None else candidate.score.value for candidate in pooled],
        [candidate.accuracy for candidate in pooled],
    )
    # of equal scores the last is chosen: the latest step, and of one step the first method by name
    of_seed = [
        sorted((c for each in some for c in _candidates(name, each)), key=lambda c: c.step)
        for some in _by_seed(sorted(cells, key=lambda each: each.cell.method, reverse=True))
    ]
    return Figures(
        spearman=None if np.isnan(spearman) else spearman,
        checkpoint=_picked(candidates),
        model=_picked(of_seed),
        cells=len(cells),
    )


def _candidates(name: str, each: _Scored) -> list[_Candidate]:
    scores = zip(each.scores.steps, each.scores.scores[name], strict=True)
    return [_Candidate(step, score, each.accuracies[step]) for step, score in scores if step in each.accuracies]


def _picked(choices: list[list[_Candidate]]) -> Picked:
    accuracies, regrets, collapsed, passed_over = [], [], 0, 0
    for candidates in choices:
        scores = [candidate.score for candidate in candidates]
        place = choose(scores)
        assert place is not None  # cells without any score are left out
        best = choose([score._replace(collapsed=False) for score in scores])
        accuracies.append(candidates[place].accuracy)
        regrets.append(max(candidate.accuracy for candidate in candidates) - candidates[place].accuracy)
        collapsed += scores[place].collapsed
        passed_over += best != place
    return Picked(_mean(accuracies), _mean(regrets), len(choices), collapsed, passed_over)


def _average(figures: list[Figures]) -> Figures:
    known = [each.spearman for each in figures if each.spearman is not None]
    return Figures(
        spearman=_mean(known) if known else None,
        checkpoint=_together([each.checkpoint for each in figures]),
        model=_together([each.model for each in figures]),
        cells=sum(each.cells for each in figures),
    )


def _together(picked: list[Picked]) -> Picked:
    return Picked(
        _mean(each.accuracy for each in picked),
        _mean(each.regret for each in picked),
        sum(each.picks for each in picked),
        sum(each.collapsed for each in picked),
        sum(each.passed_over for each in picked),
    )


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def weighted_spearman(scores: ArrayLike, accuracies: ArrayLike) -> float:
    r"""Rank correlation of scores and accuracies in which checkpoints of a high score weigh more.

    .. math:: w_i = \Big(\frac{\mathrm{rank}(s_i)}{\max_j \mathrm{rank}(s_j)}\Big)^2

    with dense ranks (equal scores share one, the next is one more), so that a validator that puts bad checkpoints on
    top is found out. The correlation is Pearson's with these weights, of weighted ranks of the scores and of the
    accuracies: the weight of all smaller values, plus for t equal values (t + 1) / 2 times their mean weight. Scores
    that are not finite count as the smallest that is. This is what the paper's code computes.

    Args:
        scores: (n,), higher is better.
        accuracies: (n,), finite.

    Returns:
        Between -1 and 1; NaN if all scores or all accuracies are equal, or no score is finite.

    Source: Musgrave, Belongie, Lim, Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain
    Adaptation, arXiv:2208.07360 (2022), and the repository of the paper.

    >>> weighted_spearman([0.1, 0.2, 0.3], [50, 60, 70])
    1.0
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"weighted_spearman needs two lists of one length; got shapes {x.shape} and {y.shape}.")
    finite = np.isfinite(x)
    if not finite.any():
        return float("nan")
    x = np.where(finite, x, x[finite].min())
    _, dense = np.unique(x, return_inverse=True)
    weights = ((dense + 1) / (dense.max() + 1)) ** POWER
    a, b = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    a, b = a - np.average(a, weights=weights), b - np.average(b, weights=weights)
    scale = np.sqrt((weights * a * a).sum() * (weights * b * b).sum())
    if len(np.unique(x)) == 1 or len(np.unique(y)) == 1:
        return float("nan")
    return float(np.clip((weights * a * b).sum() / scale, -1, 1))


def _weighted_ranks(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    total = np.bincount(group, weights)
    ranks = np.cumsum(total) - total + (counts + 1) / 2 * total / counts
    return np.asarray(ranks[group], dtype=np.float64)


def _notes(blocks: Sequence[RankedBlock], without: int) -> list[str]:
    notes = [
        "weighted Spearman: of score and target accuracy over all checkpoints of all methods and seeds of a task "
        "(Musgrave et al. 2022: checkpoints of a high score weigh more), mean over tasks.",
        "a checkpoint: target accuracy (%) of the checkpoint chosen in each cell; a model: of the checkpoint and "
        "method chosen for each seed. Regret: points below the best choice by target labels.",
        "collapsed: picks whose predictions have collapsed into few classes, there being no other; passed over: picks "
        "that would have been such. Seconds of processor time: median over cells, all checkpoints, reading apart.",
    ]
    if without:
        notes.append(f"{without} {'cell' if without == 1 else 'cells'} left out: no stored outputs and no scores.")
    for block in blocks:
        where = f"{block.title}: " if len(blocks) > 1 else ""
        notes += [where + sentence for sentence in _marked(block)]
        cells = max((row.average.cells for row in block.rows if row.average), default=0)
        fewer = [row.validator for row in block.rows if row.average and row.average.cells < cells]
        if fewer:
            notes.append(f"{where}judged on fewer cells, not comparable: {', '.join(fewer)}.")
    return notes


def _marked(block: RankedBlock) -> list[str]:
    """What the two marks mean, and whom they are at."""
    backwards = [
        f"{row.validator} (p = {row.judged.p_order:.2g})"
        for row in block.rows
        if row.judged.backwards and row.judged.p_order is not None
    ]
    below = [
        f"{row.validator} (by {row.judged.loss:.1f} points, p = {row.judged.p_last:.2g})"
        for row in block.rows
        if row.judged.below_last and row.judged.p_last is not None
    ]
    found = []
    if backwards:
        found.append(
            f"{BACKWARDS}: on this run higher scores went with lower target accuracy: {', '.join(backwards)}. "
            "One-sided p, of rank correlations within cells (sign-flip test) or by task x seed (t-test), after Holm "
            "over the validators."
        )
    if below:
        found.append(
            f"{BELOW_LAST}: on this run its picks score less than the last checkpoints, which need no choice: "
            f"{', '.join(below)}. One-sided p, sign-flip test over cells, after Holm over the validators."
        )
    return found
