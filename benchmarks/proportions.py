"""Whether the classes' proportions changed between a task's domains, as its source-only cells tell, without labels.

``proportions.json`` in the folder of a source-only cell holds what was found at its last checkpoint. A cell writes it
when it ends, and ``landbridge table`` for cells that are older; reading it does without torch. Target labels are in a
file of their own, which is never opened here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shared.files import write_atomically
from ..shared.validators import Stored
from .blocks import BASELINE, BOUND, Block
from .results import Cell
from .scores import read_outputs

__all__ = ["KeptProportions", "ProportionsOf", "find_proportions", "kept_proportions", "on_proportions"]

FILE = "proportions.json"
FORMAT: Final = 1  # raised by hand when a change here or in the estimate changes what is kept
ROWS, DRAWS = 500, 50  # of each domain, and of the estimate: 0.1 to 0.5 s a cell on the suites of digits
UNSURE = 0.1  # that the target's mean confidence may lie from the one that the proportions explain
NAMED = 3  # tasks in the note


class KeptProportions(NamedTuple):
    """What a source-only cell tells.

    Attributes:
        shown: whether its predictions have moved, and the estimate may be built on.
        source: proportions of the classes in the source, (k,).
        target: estimated, (k,); with the ends of the 95% intervals in ``low`` and ``high``.
        equal: the methods that are made for equal proportions, by their names in ``METHODS``.
    """

    shown: bool
    source: list[float]
    target: list[float]
    low: list[float]
    high: list[float]
    equal: list[str]


ProportionsOf = Callable[[Cell], KeptProportions | None]


def find_proportions(folder: Path) -> KeptProportions | None:
    """What the last stored outputs of a cell tell, kept beside them; None where there is nothing that tells.

    The network's logits on held-out source rows and on target rows (500 of each at most) go to
    :func:`landbridge.weighting.class_proportions`; where they speak for changed proportions, once more with its
    features as the rows, since logits alone take many a covariate shift for that. The source's proportions are those of
    its stored rows. Nothing is shown where the mean confidence on the target is not what the proportions explain,
    within 0.1: with the same classes in other proportions the network is as sure of each class as before.

    Args:
        folder: the cell's, finished or not.
    """
    kept = _read(folder / FILE)
    steps = sorted((folder / "outputs").glob("step-*.npz"))
    if kept is not None or not steps:
        return kept
    try:
        found = _estimate(steps[-1])
    except (ValueError, RuntimeError):  # broken, or a network that has diverged: the scores say so
        return None
    if found is not None:
        with suppress(OSError):  # a folder that cannot be written to: it is computed again next time
            text = json.dumps({"format": FORMAT, **found._asdict()}, indent=1)
            write_atomically(folder / FILE, (text + "\n").encode())
    return found


def _estimate(path: Path) -> KeptProportions | None:
    outputs = read_outputs(path)
    if outputs.source_holdout is None:
        return None
    held_out, target = _some(outputs.source_holdout), _some(outputs.target)
    labels, whole, train = held_out.labels, outputs.source_holdout.labels, outputs.source_train.labels
    if labels is None or whole is None or train is None:
        return None
    if not all(np.isfinite(part).all() for part in (*held_out[:2], *target[:2])):
        return None
    from ..methods import METHODS  # here, so that a table of cells that have been looked at does without torch
    from ..weighting import class_proportions

    k = held_out.logits.shape[1]
    p = np.bincount(np.concatenate([train, whole]), minlength=k)
    given = (held_out.logits, labels, target.logits)
    found = class_proportions(*given, proportions=p, draws=DRAWS)
    if found.changed and found.trusted:
        rows = (held_out.features, labels, target.features)
        found = class_proportions(*given, proportions=p, rows=rows, draws=DRAWS)
    return KeptProportions(
        shown=found.changed and found.trusted and _as_sure(held_out.logits, labels, target.logits, found.proportions),
        source=_rounded(found.source),
        target=_rounded(found.proportions),
        low=_rounded(found.low),
        high=_rounded(found.high),
        equal=[name for name, method in METHODS.items() if method.assumes_proportions is True],
    )


def _some(stored: Stored) -> Stored:
    """At most ``ROWS`` of the rows, evenly spread: they may lie class by class."""
    n = len(stored.logits)
    chosen = np.arange(n) if n <= ROWS else np.linspace(0, n - 1, ROWS).astype(np.int64)
    labels = None if stored.labels is None else stored.labels[chosen]
    return stored._replace(logits=stored.logits[chosen], features=stored.features[chosen], labels=labels)


def _as_sure(
    logits: NDArray[Any], labels: NDArray[Any], target: NDArray[Any], proportions: NDArray[np.float64]
) -> bool:
    """Whether the target's mean confidence is that of the source's classes in these proportions."""
    sure, there = _confidence(logits), np.unique(labels)
    by_class = np.array([sure[labels == c].mean() for c in there])
    explained = np.average(by_class, weights=proportions[there])
    return bool(abs(_confidence(target).mean() - explained) <= UNSURE)


def _confidence(logits: NDArray[Any]) -> NDArray[np.float64]:
    """The largest softmax probability of each row."""
    shifted = logits.astype(np.float64)
    return np.asarray(1 / np.exp(shifted - shifted.max(1, keepdims=True)).sum(1))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _read(path: Path) -> KeptProportions | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return KeptProportions(**{k: v for k, v in kept.items() if k != "format"}) if kept["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, broken, or of another version
        return None


def kept_proportions(folders: Mapping[str, Path]) -> ProportionsOf:
    """What finished cells tell, read when it is asked for.

    Args:
        folders: where each cell lies, by its identity.
    """
    return lambda cell: find_proportions(folders[cell.identity]) if cell.identity in folders else None


def on_proportions(block: Block, cells: list[Cell], told: ProportionsOf | None) -> list[str]:
    """One note on the tasks where most seeds tell that the proportions have changed; none if there is no such task.

    Args:
        block: the block.
        cells: those it is made of.
        told: what a source-only cell tells; None: nothing is known.
    """
    if told is None:
        return []
    tasks, equal = [], set()
    for task in block.tasks:
        own = [cell for cell in cells if (cell.method, cell.task) == (BASELINE, task)]
        shown = [(cell, found) for cell in own if (found := told(cell)) is not None and found.shown]
        if shown and 2 * len(shown) > len(own):
            tasks.append(f"{task} ({_class_of(shown)}; {len(shown)} of {len(own)} seeds)")
            equal |= {name for _, found in shown for name in found.equal}
    if not tasks:
        return []
    made_for = {cell.method for cell in cells if _method(cell) in equal}
    rows = [row.method for row in block.rows if row.method in made_for and row.method != BOUND]
    more = f" and {len(tasks) - NAMED} more" if len(tasks) > NAMED else ""
    note = (
        "Class proportions differ between the domains, as the predictions of source-only tell without target labels: "
        f"{', '.join(tasks[:NAMED])}{more}."
    )
    return [f"{note} Made for equal ones: {', '.join(rows)}." if rows else note]


def _class_of(shown: list[tuple[Cell, KeptProportions]]) -> str:
    """The class that changed most, with its numbers: means over seeds."""
    source, target, low, high = (
        np.mean([getattr(found, name) for _, found in shown], axis=0) for name in ("source", "target", "low", "high")
    )
    most = int(np.abs(target - source).argmax())
    classes = shown[0][0].settings.get("classes") or []
    name = classes[most] if len(classes) == len(source) else most
    return f"class {name}: {source[most]:.2f} -> {target[most]:.2f} ({low[most]:.2f} to {high[most]:.2f})"


def _method(cell: Cell) -> Any:
    """Its name in ``METHODS``, which the row's own name need not be."""
    row = cell.settings.get("adaptation")
    return row.get("method", cell.method) if isinstance(row, Mapping) else cell.method
