"""What a benchmark table is made of: numbers, rows, blocks, and the names of its columns.

:mod:`.table` computes them; :mod:`.render` and :mod:`.plots` show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .published import Published

__all__ = [
    "AVERAGE",
    "BASELINE",
    "BOUND",
    "CHOSEN",
    "COLUMNS",
    "SECOND",
    "SIGNIFICANT",
    "Beyond",
    "Block",
    "Number",
    "Quote",
    "Row",
    "Table",
    "chosen_by",
]

BASELINE = "source-only"
SECOND = "adabn"  # batch statistics alone
BOUND = "train-on-target"
AVERAGE = "average"
COLUMNS = ("last", "oracle")  # those that need no validator
CHOSEN = "chosen:"
SIGNIFICANT = 0.05  # of all comparisons of a kind in a block together, after Holm
SCALE = 100.0  # accuracies in percent lie on it; an interval that is wider says nothing


def chosen_by(validator: str) -> str:
    """The column of the checkpoints that a validator chooses.

    >>> chosen_by("entropy")
    'chosen:entropy'
    """
    return CHOSEN + validator


@dataclass(frozen=True)
class Beyond:
    """What a row gains over AdaBN: what alignment adds to batch statistics alone.

    Attributes:
        gain: mean difference over the seeds that both have.
        seeds: these seeds.
        half_width: half the 95% interval of the gain; None for one seed.
        p: two-sided, by the tests that the gain over the baseline has; None where it cannot be tested.
        p_holm: p after Holm over the comparisons with AdaBN of its kind (tasks, or average) in the block.
        comparisons: how many these are.
    """

    gain: float
    seeds: tuple[int, ...]
    half_width: float | None = None
    p: float | None = None
    p_holm: float | None = None
    comparisons: int = 0


@dataclass(frozen=True)
class Number:
    """One number of the table, in percent, and what may be said of it.

    Attributes:
        mean: over the seeds.
        stderr: standard error of the mean, with S - 1; None for one seed.
        seeds: the seeds it is the mean of.
        n: target rows scored for one seed (their total for an average); None if the seeds differ.
        gain: mean difference to the row's baseline over the seeds that both have; None if there is none.
        gain_stderr: standard error of the paired difference; None for fewer than two such seeds.
        gain_seeds: the seeds that both have.
        half_width: half the 95% interval of the mean, Student's t over seeds; None for one seed.
        gain_half_width: the same of the gain.
        p: of the gain, two-sided, by ``test``; None where it cannot be tested, and for the oracle, which looked at the
            labels.
        p_holm: p after Holm over the comparisons of its kind (tasks, or average) in the block.
        p_below: one-sided p of being below the baseline, after the same correction.
        p_tasks: on the average, Wilcoxon's signed-rank test with the tasks as units, two-sided, after Holm.
        test: on a task ``paired t-test`` (over seeds); on the average that, or ``sign-flip test`` (over task x seed).
        comparisons: how many were corrected for.
        p_least: the smallest ``p_below`` that the test could have given.
        rank: average rank among the rows over seeds (over task x seed for the average), 1 is best.
        collapsed: seeds whose chosen checkpoint has collapsed predictions.
        lowest: the lowest seed.
        highest: the highest.
        p_images: on a task, one-sided p of being below the baseline on the same images in every seed (exact McNemar),
            after Holm over the comparisons of its kind in the block; None where it was not tested.
        images_comparisons: how many these are.
        images_lost: in how many seeds it is below by itself, p < 0.05 after Bonferroni over ``images_tests``.
        images_tests: all seeds tested in the block.
        beyond: the gain over AdaBN, where the block has that row, and this is another than it and the baseline.
    """

    mean: float
    stderr: float | None
    seeds: tuple[int, ...]
    n: int | None
    gain: float | None = None
    gain_stderr: float | None = None
    gain_seeds: tuple[int, ...] = ()
    half_width: float | None = None
    gain_half_width: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_below: float | None = None
    p_tasks: float | None = None
    test: str = ""
    comparisons: int = 0
    p_least: float | None = None
    rank: float | None = None
    collapsed: int = 0
    lowest: float | None = None
    highest: float | None = None
    p_images: float | None = None
    images_comparisons: int = 0
    images_lost: int = 0
    images_tests: int = 0
    beyond: Beyond | None = None

    @property
    def negative(self) -> bool:
        """Negative transfer: significantly below the baseline, over seeds or on the same images."""
        return self.below_over_seeds or self.below_on_images

    @property
    def below_over_seeds(self) -> bool:
        """Further seeds would lie below, too."""
        return self.p_below is not None and self.p_below < SIGNIFICANT

    @property
    def below_on_images(self) -> bool:
        """The networks of each seed would lie below on further images, too."""
        return self.p_images is not None and self.p_images < SIGNIFICANT

    @property
    def interval(self) -> float | None:
        """Half the 95% interval, to be shown; None for one seed, and where it is wider than the whole scale."""
        return readable(self.half_width)

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest seed, to be shown where the interval is not for its width."""
        if self.half_width is None or self.interval is not None or self.lowest is None or self.highest is None:
            return None
        return self.lowest, self.highest


def readable(half_width: float | None) -> float | None:
    """Half an interval if the whole is no wider than the scale, else None.

    >>> readable(4.2), readable(50.1) is None
    (4.2, True)
    """
    return half_width if half_width is not None and 2 * half_width <= SCALE else None


@dataclass(frozen=True)
class Quote:
    """A published row beside ours.

    Attributes:
        published: the row.
        values: on the tasks shown, and their average.
        footnote: its number.
        differs: in what it was made otherwise than ours: ``protocol``, ``network``, ``augmentation``.
    """

    published: Published
    values: Mapping[str, float]
    footnote: int
    differs: tuple[str, ...] = ()

    @property
    def same_protocol(self) -> bool:
        """It compares with ours, and needs no mark."""
        return not self.differs


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: its id.
        label: how it is called.
        numbers: for each column (``last``, ``chosen:...``, ``oracle``) its numbers by task and ``average``; blanks are
            absent.
        quotes: published rows to stand below it.
        baseline: the method that gains are over: source-only, or for a classical row its classifier without
            adaptation; None if it is not here, or is this row.
        seconds: median of what its cells took.
        peak_memory: the most that one of them held, in MiB; None where none was measured.
    """

    method: str
    label: str
    numbers: Mapping[str, Mapping[str, Number]]
    quotes: tuple[Quote, ...] = ()
    baseline: str | None = None
    seconds: float = 0.0
    peak_memory: float | None = None


@dataclass(frozen=True)
class Block:
    """What can stand in one table: the rows of one suite, protocol, network and track.

    Attributes:
        single: every cell has one checkpoint, so that last, chosen and oracle are the same number.
        second: ``adabn`` where gains over it are told too, None where that row is not here or statistics are joint.
    """

    suite: str
    protocol: str
    network: str
    track: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    single: bool = False
    second: str | None = None

    @property
    def title(self) -> str:
        """Suite, protocol, network and track in one line."""
        return f"{self.suite}: protocol {self.protocol}, network {self.network}, {self.track}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The tasks and, where there is more than one, their average."""
        return self.tasks if len(self.tasks) == 1 else (*self.tasks, AVERAGE)

    @property
    def reference(self) -> str:
        """What gains are over, in words."""
        if any(row.baseline not in (None, BASELINE) for row in self.rows):
            return "the same classifier without adaptation"
        return BASELINE


@dataclass(frozen=True)
class Table:
    """All blocks of a folder, the footnotes of its published rows (the first is [1]), and the notes below.

    Attributes:
        columns: all that the rows have numbers of, for the long form: ``last``, every ``chosen:...``, ``oracle``.
        shown: those to show, of each block that has more than one checkpoint; the first is the headline.
    """

    blocks: tuple[Block, ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]
    columns: tuple[str, ...] = COLUMNS
    shown: tuple[str, ...] = COLUMNS

    def shown_of(self, block: Block) -> tuple[str, ...]:
        """The columns to show of a block: those it has numbers of, and of single checkpoints the headline alone."""
        there = tuple(column for column in self.shown if any(row.numbers.get(column) for row in block.rows))
        return there[:1] if block.single else there
