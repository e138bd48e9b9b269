"""Does a validator order the checkpoints of a run backwards, or choose worse than choosing nothing does?

Asked after the fact, by target labels, of one validator and the cells of one block. Two things are tested, one-sided:

* that higher scores go with lower target accuracy: within cells, by a sign-flip test of each cell's rank correlation;
  and over all methods of a task and seed, by a t-test of these groups' weighted rank correlations. Twice the smaller p
  counts.
* that its picks score less than the cells' last checkpoints: by a sign-flip test of the differences, a cell a unit.

A cell a unit takes cells of one seed, which share first weights and batches, as independent: p is a guide.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from .blocks import SIGNIFICANT
from .statistics import holm, paired_t, sign_flip

__all__ = ["UNJUDGED", "Course", "Judged", "corrected", "judge", "rank_correlation"]

CLOSE = 1e-9  # points; picks as good as the last checkpoint say nothing
Correlation = Callable[[Sequence[float], Sequence[float]], float]


class Course(NamedTuple):
    """One cell's checkpoints as a validator saw them.

    Attributes:
        task: the cell's.
        seed: the cell's.
        scores: by checkpoint; None where there is none.
        accuracies: of the same checkpoints, percent.
        pick: accuracy of the checkpoint it chooses; None where it chooses none.
        last: accuracy of the last checkpoint.
    """

    task: str
    seed: int
    scores: tuple[float | None, ...]
    accuracies: tuple[float, ...]
    pick: float | None
    last: float


class Judged(NamedTuple):
    """What the tests say.

    Attributes:
        p_order: one-sided p of the order being backwards; None where it could not be tested.
        p_last: one-sided p of the picks being below the last checkpoints; None where they never differ.
        loss: by how many points they are, on average; negative where they are above.
    """

    p_order: float | None
    p_last: float | None
    loss: float

    @property
    def backwards(self) -> bool:
        """Higher scores go with lower accuracy."""
        return self.p_order is not None and self.p_order < SIGNIFICANT

    @property
    def below_last(self) -> bool:
        """Choosing nothing would have been better."""
        return self.p_last is not None and self.p_last < SIGNIFICANT


UNJUDGED = Judged(None, None, 0.0)


def judge(courses: Iterable[Course], weighted: Correlation) -> Judged:
    """Test one validator on one block; its p-values are not corrected for other validators (:func:`corrected`).

    Args:
        courses: of its cells.
        weighted: the correlation of a group's scores and accuracies, NaN where there is none.
    """
    courses = list(courses)
    within = [rank_correlation(*_known(course)) for course in courses]
    groups: dict[tuple[str, int], list[Course]] = {}
    for course in courses:
        groups.setdefault((course.task, course.seed), []).append(course)
    over = [weighted(*_pooled(group)) for group in groups.values()]
    found = [sign_flip([[one] for one in within if one is not None]), paired_t([one for one in over if one == one])]
    below = [test.below for test in found if test is not None]
    differences = [course.pick - course.last for course in courses if course.pick is not None]
    moved = sign_flip([[one] for one in differences if abs(one) > CLOSE])
    return Judged(
        p_order=min(1.0, len(below) * min(below)) if below else None,
        p_last=None if moved is None else moved.below,
        loss=-statistics.fmean(differences) if differences else 0.0,
    )


def corrected(judged: Mapping[str, Judged]) -> dict[str, Judged]:
    """The same after Holm over the validators, each of the two tests by itself."""
    orders = holm([one.p_order for one in judged.values()])
    lasts = holm([one.p_last for one in judged.values()])
    return {
        name: Judged(order, last, one.loss)
        for (name, one), order, last in zip(judged.items(), orders, lasts, strict=True)
    }


def rank_correlation(scores: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None for fewer than three, or where all of one are equal.

    >>> rank_correlation([1.0, 2.0, 3.0], [9.0, 8.0, 7.0])
    -1.0
    """
    if len(scores) < 3 or len(set(scores)) < 2 or len(set(accuracies)) < 2:
        return None
    return statistics.correlation(_ranks(scores), _ranks(accuracies))


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
            for value in values]  # fmt: skip


def _known(course: Course) -> tuple[list[float], list[float]]:
    there = [(s, a) for s, a in zip(course.scores, course.accuracies, strict=True) if s is not None]
    return [score for score, _ in there], [accuracy for _, accuracy in there]


def _pooled(group: Sequence[Course]) -> tuple[list[float], list[float]]:
    scores = [float("nan") if score is None else score for course in group for score in course.scores]
    return scores, [accuracy for course in group for accuracy in course.accuracies]
