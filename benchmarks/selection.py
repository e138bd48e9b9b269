"""The checkpoints that label-free validators choose, for tables; with the scores they come from and their ranking."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from .ranking import Ranking, backwards_here, rank
from .ranking_table import ranking_to_csv, ranking_to_markdown, render_ranking
from .results import Cell, Selection, cell_folder
from .scores import CHEAP, CellScores, Score, check_names, choose, kept_names, score_cell, stored_scores

__all__ = [
    "Ranking",
    "Score",
    "backwards_here",
    "rank",
    "ranking_to_csv",
    "ranking_to_markdown",
    "render_ranking",
    "score_cell",
    "selections",
]


def selections(
    out: Path, cells: Iterable[Cell], names: Iterable[str] | None = None, *, also: Iterable[str] = ()
) -> dict[str, dict[str, Selection]]:
    """What each validator chooses in each cell: the best score, of equal ones the latest, collapsed ones passed over.

    Args:
        out: the folder of the bench that the cells lie in.
        cells: finished cells.
        names: of validators, computed where they are missing; None: the cheap ones, and others where a cell has their
            scores already.
        also: of validators, beside ``names``.

    Returns:
        By the cells' identities and by validator. Cells without stored outputs and scores are absent, and so are
        validators without a score in a cell. A cell whose outputs cannot be read is left out with a ``UserWarning``.

    Raises:
        ValueError: for an unknown validator.
    """
    asked, also = None if names is None else list(names), list(also)
    check_names([*(asked or ()), *also])
    found: dict[str, dict[str, Selection]] = {}
    for cell in cells:
        folder = cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)
        wanted = [*dict.fromkeys([*([*CHEAP, *kept_names(folder)] if asked is None else asked), *also])]
        try:
            scores = stored_scores(folder, wanted)
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        chosen = _chosen(cell, scores)
        if chosen:
            found[cell.identity] = chosen
    return found


def _chosen(cell: Cell, stored: CellScores) -> dict[str, Selection]:
    accuracies = {checkpoint.step: checkpoint.target_eval for checkpoint in cell.checkpoints}
    chosen = {}
    for name, scores in stored.scores.items():
        known = [(step, score) for step, score in zip(stored.steps, scores, strict=True) if step in accuracies]
        place = choose([score for _, score in known])
        if place is not None:
            step, score = known[place]
            chosen[name] = Selection(step, accuracies[step], score.collapsed)
    return chosen
