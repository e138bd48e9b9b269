"""How a ranking of validators looks: on the terminal, as Markdown, and as CSV in long form."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from .ranking import AVERAGE, RankedBlock, Ranking
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


def _lines(block: RankedBlock) -> list[tuple[str, ...]]:
    """The rows of one block; that of a validator that is n/a has two entries only."""
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
            )
        )
    blank = ("",) * 3
    lines.append(("last checkpoint", "", f"{block.last:.1f}", f"{block.oracle - block.last:.1f}", "", "", *blank))
    lines.append(("oracle", "", f"{block.oracle:.1f}", "0.0", f"{block.model_oracle:.1f}", "0.0", *blank))
    return lines


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
        grid = Table(title=Text(_title(block)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, head in enumerate(HEAD):
            grid.add_column(head, justify="right" if number else "left", no_wrap=not number)
        missing = []
        for line in _lines(block):
            if len(line) == len(HEAD):
                grid.add_row(*map(Text, line))
            else:
                missing.append(Text(": ".join(line)))
        parts += [grid, *missing]
    parts += [Text(f"- {note}") for note in ranking.notes]
    return Group(*parts)


def ranking_to_markdown(ranking: Ranking) -> str:
    """The ranking as Markdown: a table for each block, and the notes."""
    lines: list[str] = []
    for block in ranking.blocks:
        lines += [f"### {_title(block)}", "", f"| {' | '.join(HEAD)} |", f"| :--- |{' ---: |' * (len(HEAD) - 1)}"]
        for line in _lines(block):
            cells = (*line, *[""] * (len(HEAD) - len(line)))
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
                writer.writerow({**known, **numbers})
    return text.getvalue()
