"""What the results page shows besides the table: curves, confusion matrices, settings and costs of finished cells.

Everything comes from ``result.json``; the confusion matrices alone open stored outputs and the target labels.
"""

from __future__ import annotations

import json
import statistics
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .results import Cell, Selection

__all__ = [
    "Confusion",
    "Cost",
    "Curve",
    "Mistake",
    "Point",
    "Recorded",
    "Run",
    "Setting",
    "block_settings",
    "confusion",
    "cost",
    "curve",
    "mistakes",
    "pack",
    "recorded",
]

OWN = ("suite", "protocol", "task", "method", "seed", "classes")  # shown elsewhere on the page
UNSET = "not set"
SHOWN = 6  # values of a long list
LONGEST = 120  # letters of a setting


class Point(NamedTuple):
    """A checkpoint: its step, and target accuracy in percent."""

    step: int
    score: float


class Run(NamedTuple):
    """The checkpoints of one cell.

    Attributes:
        seed: the cell's.
        points: in the order of their steps.
        oracle: the first of the best by target labels.
        chosen: what the validator chooses; None where it has not scored the cell.
        collapsed: the predictions at the chosen checkpoint have collapsed.
    """

    seed: int
    points: tuple[Point, ...]
    oracle: Point
    chosen: Point | None = None
    collapsed: bool = False


class Curve(NamedTuple):
    """One method on one task.

    Attributes:
        method: its id.
        label: its name in the table.
        runs: one a seed.
        mean: over the seeds, at the steps that every seed has.
        low: the lowest seed at each of these steps.
        high: the highest.
    """

    method: str
    label: str
    runs: tuple[Run, ...]
    mean: tuple[Point, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve(
    label: str, cells: Iterable[Cell], selections: Mapping[str, Mapping[str, Selection]], validator: str | None
) -> Curve:
    """The curve of one method's cells on one task.

    Args:
        label: how the method is called.
        cells: at least one, of one method and task.
        selections: by identity and validator.
        validator: whose choices are marked; None for none.
    """
    ordered = sorted(cells, key=lambda cell: cell.seed)
    runs = tuple(_run(cell, selections.get(cell.identity, {}).get(validator or "")) for cell in ordered)
    by_step = [dict(run.points) for run in runs]
    common = sorted(set.intersection(*(set(each) for each in by_step)))
    columns = [[each[step] for each in by_step] for step in common]
    return Curve(
        method=ordered[0].method,
        label=label,
        runs=runs,
        mean=tuple(Point(step, statistics.fmean(column)) for step, column in zip(common, columns, strict=True)),
        low=tuple(min(column) for column in columns),
        high=tuple(max(column) for column in columns),
    )


def _run(cell: Cell, chosen: Selection | None) -> Run:
    points = tuple(Point(checkpoint.step, 100 * checkpoint.target_eval) for checkpoint in cell.checkpoints)
    oracle = max(points, key=lambda point: point.score)
    if chosen is None:
        return Run(cell.seed, points, oracle)
    return Run(cell.seed, points, oracle, Point(chosen.step, 100 * chosen.accuracy), chosen.collapsed)


class Confusion(NamedTuple):
    """Target rows by true and predicted class at the last checkpoint, summed over the seeds.

    Attributes:
        counts: (k, k), true class by row; None where no cell has stored outputs.
        seeds: those summed.
        missing: one sentence for each cell that could not be counted.
    """

    counts: NDArray[np.int64] | None
    seeds: tuple[int, ...]
    missing: tuple[str, ...]


def confusion(cells: Iterable[Cell], folders: Mapping[str, Path]) -> Confusion:
    """Count the predictions of one method's cells on one task.

    Args:
        cells: of one method and task.
        folders: where each cell lies, by identity.
    """
    ordered = sorted(cells, key=lambda cell: cell.seed)
    read = [(cell, _predictions(cell, folders[cell.identity])) for cell in ordered]
    missing = [f"{cell.method} on {cell.task} seed {cell.seed}: {why}" for cell, why in read if isinstance(why, str)]
    found = [(cell.seed, *arrays) for cell, arrays in read if not isinstance(arrays, str)]
    if not found:
        return Confusion(None, (), tuple(missing))
    k = 1 + max(int(max(labels.max(), predictions.max())) for _, labels, predictions in found)
    counts = sum(
        (np.bincount(labels * k + predictions, minlength=k * k) for _, labels, predictions in found),
        np.zeros(k * k, np.int64),
    )
    return Confusion(counts.reshape(k, k), tuple(seed for seed, _, _ in found), tuple(missing))


def _predictions(cell: Cell, folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]] | str:
    """Labels and predictions of the rows scored, or why there are none.

    The page opens target labels here and nowhere else.
    """
    path = folder / "outputs" / f"step-{cell.checkpoints[-1].step:06d}.npz"
    try:
        predictions = _array(path, "target_eval/predictions")
        labels = _array(folder / "target_labels.npz", "target_eval/labels")
    except FileNotFoundError:
        return "its outputs were dropped (--keep-outputs scores, or deleted)"
    except KeyError as error:
        return f"its stored outputs are not whole ({error.args[0]})"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return f"its stored outputs cannot be read ({error})"
    if labels.ndim != 1 or labels.shape != predictions.shape or not len(labels):
        return f"its labels have shape {labels.shape}, its predictions {predictions.shape}"
    if min(labels.min(), predictions.min()) < 0:
        return "a class number is negative"
    return labels, predictions


def _array(path: Path, name: str) -> NDArray[np.int64]:
    # opened here, since numpy leaves a broken file open
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
        return np.asarray(file[name], dtype=np.int64)


class Mistake(NamedTuple):
    """How many ``rows`` of class ``true`` are taken for ``predicted``, and their share of the class, in percent."""

    true: int
    predicted: int
    rows: int
    share: float


def mistakes(counts: NDArray[np.int64], most: int) -> list[Mistake]:
    """The most frequent confusions, at most ``most`` of them; of equal ones the first classes first.

    >>> mistakes(np.array([[8, 2], [0, 5]]), 3)
    [Mistake(true=0, predicted=1, rows=2, share=20.0)]
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    totals = counts.sum(1)
    places = (divmod(int(place), len(counts)) for place in order)
    return [
        Mistake(true, predicted, int(counts[true, predicted]), 100 * float(counts[true, predicted] / totals[true]))
        for true, predicted in places
        if wrong[true, predicted]
    ]


def pack(counts: NDArray[np.int64], most: int) -> dict[str, Any]:
    """A matrix as few numbers, for the page's script: gaps between the places that are not 0, and what is there.

    The diagonal is always kept; of the rest the largest, so that about ``most`` entries are left.

    Returns:
        ``k``; ``cells``: gap, count, gap, count, ...; ``totals`` of the rows; ``left_out``: how many target rows
        are in no entry.

    >>> pack(np.array([[8, 2], [0, 5]]), 100)
    {'k': 2, 'cells': [0, 8, 1, 2, 2, 5], 'totals': [10, 5], 'left_out': 0}
    """
    flat = counts.reshape(-1)
    places = np.flatnonzero(flat)
    if len(places) > most:
        on_diagonal = places % (len(counts) + 1) == 0
        rest = places[~on_diagonal]
        largest = rest[np.argsort(-flat[rest], kind="stable")[: max(0, most - int(on_diagonal.sum()))]]
        places = np.sort(np.concatenate([places[on_diagonal], largest]))
    gaps = np.diff(places, prepend=0)
    cells = np.stack([gaps, flat[places]], 1).reshape(-1)
    return {
        "k": len(counts),
        "cells": cells.tolist(),
        "totals": counts.sum(1).tolist(),
        "left_out": int(flat.sum() - flat[places].sum()),
    }


class Setting(NamedTuple):
    """One setting of a method: its dotted name, its value as text, the block's usual one, and whether it differs."""

    name: str
    value: str
    usual: str
    differs: bool


def block_settings(cells: Sequence[Cell], methods: Sequence[str]) -> dict[str, list[Setting]]:
    """The settings of each method of a block beside the block's usual ones.

    The usual value is that of most methods; of several equally frequent ones that of the first method. A value that
    depends on the task or seed is listed with the tasks it is for.
    """
    found = {method: _method_settings([cell for cell in cells if cell.method == method]) for method in methods}
    names = list(dict.fromkeys(name for settings in found.values() for name in settings))
    usual = {
        name: Counter(settings.get(name, UNSET) for settings in found.values()).most_common(1)[0][0] for name in names
    }
    names.sort(key=lambda name: not name.startswith("adaptation."))  # what makes the method, first
    return {
        method: [
            Setting(name, value, usual[name], value != usual[name])
            for name, value in ((name, settings.get(name, UNSET)) for name in names)
            if (value, usual[name]) != (UNSET, UNSET)
        ]
        for method, settings in found.items()
    }


def _method_settings(cells: Sequence[Cell]) -> dict[str, str]:
    flat = [(cell.task, dict(_flat(cell.settings))) for cell in cells]
    texts: dict[str, str] = {}
    for name in dict.fromkeys(name for _, settings in flat for name in settings):
        tasks: dict[str, list[str]] = {}
        for task, settings in flat:
            tasks.setdefault(settings.get(name, UNSET), []).append(task)
        parts = [f"{value} ({', '.join(dict.fromkeys(where))})" for value, where in tasks.items()]
        texts[name] = next(iter(tasks)) if len(tasks) == 1 else "; ".join(parts)
    return texts


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if (not prefix and name in OWN) or f"{prefix}{name}" == "adaptation.label":
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) > SHOWN:
        return f"{len(value)} values: {', '.join(map(_text, value[:SHOWN]))}, ..."
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


class Cost(NamedTuple):
    """What a method's cells took: how many, seconds (median, longest, all), and the largest peak memory in MiB."""

    method: str
    label: str
    cells: int
    median: float
    longest: float
    total: float
    memory: float | None


def cost(label: str, cells: Sequence[Cell]) -> Cost:
    """What one method's cells took; at least one of them."""
    seconds = [cell.seconds for cell in cells]
    memory = [cell.peak_memory for cell in cells if cell.peak_memory is not None]
    return Cost(
        method=cells[0].method,
        label=label,
        cells=len(cells),
        median=statistics.median(seconds),
        longest=max(seconds),
        total=sum(seconds),
        memory=max(memory, default=None),
    )


class Recorded(NamedTuple):
    """What the cells' environments say under one name: each value, and how many cells have it."""

    name: str
    values: tuple[tuple[str, int], ...]


def recorded(cells: Sequence[Cell]) -> list[Recorded]:
    """Versions, threads and device of all cells; where they differ, the most frequent value first."""
    names = dict.fromkeys(name for cell in cells for name in cell.environment)
    found = []
    for name in names:
        counts = Counter(_text(cell.environment.get(name, "not recorded")) for cell in cells)
        found.append(Recorded(name, tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))))
    return found
