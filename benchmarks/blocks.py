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
    "SIGNIFICANT",
    "Block",
    "Number",
    "Quote",
    "Row",
    "Table",
    "chosen_by",
]

BASELINE = "source-only"
BOUND = "train-on-target"
AVERAGE = "average"
COLUMNS = ("last", "oracle")  # those that need no validator
CHOSEN = "chosen:"
SIGNIFICANT = 0.05  # of all comparisons of a kind in a block together, after Holm


def chosen_by(validator: str) -> str:
    """The column of the checkpoints that a validator chooses.

    >>> chosen_by("entropy")
    'chosen:entropy'
    """
    return CHOSEN + validator


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

    @property
    def negative(self) -> bool:
        """Negative transfer: significantly below the baseline."""
        return self.p_below is not None and self.p_below < SIGNIFICANT


@dataclass(frozen=True)
class Quote:
    """A published row beside ours: its values on the tasks shown (and their average), and its footnote's number."""

    published: Published
    values: Mapping[str, float]
    footnote: int
    same_protocol: bool


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
    """

    suite: str
    protocol: str
    network: str
    track: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    single: bool = False

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
