"""How a ranking of validators looks: on the terminal, as Markdown, and as CSV in long form."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final, Literal

from .ranking import AVERAGE, BACKWARDS, BELOW_LAST, Ranked, RankedBlock, Ranking
from .scores import KNOWN

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["CSV_HEADER", "ranking_to_csv", "ranking_to_markdown", "render_ranking"]

CSV_HEADER: Final = (
    "suite",
    "protocol",
    "network",
    "track",
    "task",
    "validator",
    "cost",
    "weighted_spearman",
    "checkpoint_accuracy",
    "checkpoint_regret",
    "model_accuracy",
    "model_regret",
    "collapsed_picks",
    "passed_over",
    "cells",
    "seconds_per_cell",
    "why",
    "ranks_backwards",
    "p_backwards",
    "below_last",
    "p_below_last",
)
HEAD: Final = (
    "validator",
    "weighted Spearman",
    "a checkpoint",
    "regret",
    "a model",
    "regret",
    "collapsed",
    "passed over",
    "s a cell",
)
MARKED: Final = "on this run"  # a column where a validator has a mark


def _head(block: RankedBlock) -> tuple[str, ...]:
    return (*HEAD, MARKED) if any(map(_marks, block.rows)) else HEAD


def _lines(block: RankedBlock) -> list[tuple[str, ...]]:
    """The rows of one block; that of a validator that is n/a has two entries only."""
    marked = MARKED in _head(block)
    lines: list[tuple[str, ...]] = []
    for row in block.rows:
        figures = row.average
        if figures is None:
            lines.append((row.validator, f"n/a: {row.why}"))
            continue
        checkpoint, model = figures.checkpoint, figures.model
        lines.append(
            (
                row.validator,
                "n/a" if figures.spearman is None else f"{figures.spearman:.3f}",
                f"{checkpoint.accuracy:.1f}",
                f"{checkpoint.regret:.1f}",
                f"{model.accuracy:.1f}",
                f"{model.regret:.1f}",
                str(checkpoint.collapsed + model.collapsed),
                str(checkpoint.passed_over + model.passed_over),
                "" if row.seconds is None else f"{row.seconds:.3f}",
                *([_marks(row)] if marked else []),
            )
        )
    blank = ("",) * (3 + marked)
    lines.append(("last checkpoint", "", f"{block.last:.1f}", f"{block.oracle - block.last:.1f}", "", "", *blank))
    lines.append(("oracle", "", f"{block.oracle:.1f}", "0.0", f"{block.model_oracle:.1f}", "0.0", *blank))
    return lines


def _marks(row: Ranked) -> str:
    return ", ".join(
        mark for mark, earned in ((BACKWARDS, row.judged.backwards), (BELOW_LAST, row.judged.below_last)) if earned
    )


def _title(block: RankedBlock) -> str:
    tasks = f"{len(block.tasks)} task" + ("s" if len(block.tasks) > 1 else "")
    return f"{block.title}; {block.checkpoints} checkpoints of {tasks}"


def render_ranking(ranking: Ranking) -> RenderableType:
    """The ranking for the terminal: a table for each block, and the notes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for block in ranking.blocks:
        grid = Table(
            title=Text(_title(block)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
        )
        for head in _head(block):
            justify: Literal["left", "right"] = "left" if head in (HEAD[0], MARKED) else "right"
            grid.add_column(Text(head.replace(" ", "\n")), justify=justify, no_wrap=True)
        missing = []
        for line in _lines(block):
            if len(line) > 2:
                grid.add_row(*(Text(each.replace(", ", "\n")) for each in line))
            else:
                missing.append(Text(": ".join(line)))
        parts += [grid, *missing]
    parts += [Text(f"- {note}") for note in ranking.notes]
    return Group(*parts)


def ranking_to_markdown(ranking: Ranking) -> str:
    """The ranking as Markdown: a table for each block, and the notes."""
    lines: list[str] = []
    for block in ranking.blocks:
        head = _head(block)
        lines += [f"### {_title(block)}", "", f"| {' | '.join(head)} |", f"| :--- |{' ---: |' * (len(head) - 1)}"]
        for line in _lines(block):
            cells = (*line, *[""] * (len(head) - len(line)))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in ranking.notes), ""])


def ranking_to_csv(ranking: Ranking) -> str:
    """The ranking in long form: a line for each block, validator and task, and one for their average."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    for block in ranking.blocks:
        group = dict(zip(CSV_HEADER, block.group, strict=False))
        for row in block.rows:
            known = {**group, "validator": row.validator, "cost": KNOWN[row.validator].cost}
            if not row.figures:
                writer.writerow({**known, "task": AVERAGE, "why": row.why})
            for task, figures in row.figures.items():
                checkpoint, model = figures.checkpoint, figures.model
                numbers = {
                    "task": task,
                    "weighted_spearman": "" if figures.spearman is None else f"{figures.spearman:.6f}",
                    "checkpoint_accuracy": f"{checkpoint.accuracy:.4f}",
                    "checkpoint_regret": f"{checkpoint.regret:.4f}",
                    "model_accuracy": f"{model.accuracy:.4f}",
                    "model_regret": f"{model.regret:.4f}",
                    "collapsed_picks": checkpoint.collapsed + model.collapsed,
                    "passed_over": checkpoint.passed_over + model.passed_over,
                    "cells": figures.cells,
                    "seconds_per_cell": "" if row.seconds is None else f"{row.seconds:.4f}",
                }
                if task == AVERAGE:
                    numbers |= {
                        "ranks_backwards": int(row.judged.backwards),
                        "p_backwards": _probability(row.judged.p_order),
                        "below_last": int(row.judged.below_last),
                        "p_below_last": _probability(row.judged.p_last),
                    }
                writer.writerow({**known, **numbers})
    return text.getvalue()


def _probability(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
