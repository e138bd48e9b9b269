"""What is done about changed class proportions before domains are aligned: estimated, tested, corrected or said."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .shared.batches import Rows
from .shared.checks import nearest
from .shared.fit import fit
from .shared.method import Method
from .shared.network import Network
from .shared.result import FitResult
from .shared.seeds import generator
from .shared.source_only import SourceOnly
from .sources import batch_of, pairs_of
from .weighting.proportions import ClassProportions, class_proportions
from .weighting.resampling import rows_in_proportions

__all__ = [
    "LABEL_SHIFT",
    "LabelShiftWarning",
    "Proportions",
    "check_label_shift",
    "decide",
    "decide_first",
    "held_out_rows",
    "not_estimated",
    "take_rows",
    "try_one_step",
]

Array = NDArray[Any]
LABEL_SHIFT = ("correct", "ignore", "refuse")
HOLDOUT = 0.1  # of the source rows of each class, where the caller does not say


class LabelShiftWarning(UserWarning):
    """The classes occur in other proportions in the target; the message says what was done, and on what evidence."""


@dataclass(frozen=True, eq=False)
class Proportions:
    """What was found of the class proportions, and what was done.

    Attributes:
        found: the estimate with its uncertainty; None where none was made.
        corrected: whether the source rows were drawn in the estimated proportions.
        sentence: what was done, and on what evidence.
        warned: whether the sentence is a warning's.
    """

    found: ClassProportions | None
    corrected: bool
    sentence: str
    warned: bool = False

    @property
    def weights(self) -> Array | None:
        """Target over source proportion of each class, (k,), 1 for one that the source lacks; None: all are as they
        were."""
        if not self.corrected or self.found is None:
            return None
        there = self.found.source > 0
        return np.where(there, self.found.proportions, 1.0) / np.where(there, self.found.source, 1.0)

    def rows(self, labels: NDArray[np.int64], seed: int, of: Array | None = None) -> NDArray[np.int64] | None:
        """Which source rows to train on, some more than once; None: all of them as they are.

        Args:
            labels: class numbers, (n,).
            seed: of what is drawn.
            of: the number of each row's source, (n,), where there are several: each is drawn by itself.
        """
        if not self.corrected or self.found is None:
            return None
        each = [np.arange(len(labels))] if of is None else [np.flatnonzero(of == i) for i in np.unique(of)]
        q = self.found.proportions
        return np.concatenate([rows[rows_in_proportions(labels[rows], q, seed=seed)] for rows in each])


def check_label_shift(function: str, label_shift: Any) -> str:
    """The word, or ValueError with the nearest.

    >>> check_label_shift("adapt", "ignore")
    'ignore'
    """
    if label_shift not in LABEL_SHIFT:
        raise ValueError(f"{function}: " + nearest("label_shift", str(label_shift), LABEL_SHIFT))
    return str(label_shift)


def not_estimated(why: str) -> Proportions:
    """Of a run in which nothing can be said of the proportions, and why."""
    return Proportions(None, False, f"not estimated ({why})")


def take_rows(inputs: Any, rows: NDArray[np.int64]) -> Rows:
    """Some rows of an array, a tensor or :class:`~landbridge.shared.batches.Rows`, unread."""
    return Rows(inputs.base, inputs.rows[rows]) if isinstance(inputs, Rows) else Rows(inputs, rows)


def held_out_rows(labels: Array, share: float, by_class: bool, seed: int, of: Array | None = None) -> NDArray[np.bool_]:
    """True for rows that only score: the share of each class, rounded down; of all rows in regression.

    Of several sources, the share of each.
    """
    held = np.zeros(len(labels), dtype=np.bool_)
    order = torch.randperm(len(labels), generator=generator(seed, "holdout")).numpy()
    parts = [order] if of is None else [order[of[order] == i] for i in np.unique(of)]
    groups = [part[labels[part] == c] for part in parts for c in np.unique(labels)] if by_class else parts
    for rows in groups:
        held[rows[: int(share * len(rows))]] = True
    return held


def try_one_step(network: Network, method: Method, source: Any, target: Any, options: dict[str, Any]) -> None:
    """Train copies for one step on a batch of each domain: what a method refuses is told before minutes of training.

    Args:
        network: as it will be trained.
        method: likewise.
        source: rows and labels, or a list of such pairs for several sources, of which a batch, evenly spread, is taken.
        target: rows, likewise.
        options: of ``fit``; those of one run alone left out.
    """
    pairs, sizes = source if isinstance(source, list) else [source], options["batch_size"]
    batch = []
    for inputs, labels in pairs:
        rows = _spread(len(inputs), max(1, sizes[0] // len(pairs)))
        batch.append((take_rows(inputs, rows), labels[rows]))
    few = take_rows(target, _spread(len(target), sizes[1]))
    given = {**options, "steps": 1, "progress_bar": False}
    fit(deepcopy(network), deepcopy(method), batch if isinstance(source, list) else batch[0], few, **given)


def _spread(n: int, some: int) -> NDArray[np.int64]:
    return np.linspace(0, n - 1, min(some, n)).astype(np.int64)


def decide(
    function: str,
    way: str,
    method: Method,
    source_only: FitResult,
    held_out: tuple[Any, NDArray[np.int64]],
    source: tuple[Any, NDArray[np.int64]],
    target: Any,
    *,
    classes: Array,
    seed: int,
) -> Proportions:
    """Estimate the target's class proportions from source-only's predictions, and say what is to be done.

    Args:
        function: the caller, which opens every message.
        way: ``correct``, ``ignore`` or ``refuse``.
        method: which is to be trained.
        source_only: the network trained on the source without ``held_out``.
        held_out: rows and class numbers that it has not seen.
        source: all source rows and class numbers: for their proportions, and for a second classifier, the nearest
            class mean of the rows as they came, without which a shift of the features passes for one of proportions.
        target: rows.
        classes: the labels behind the numbers, (k,).
        seed: of what is drawn.

    Raises:
        ValueError: under ``refuse``, if the proportions have changed.
    """
    logits = [source_only.forward(held_out[0], source=True)[1], source_only.forward(target)[1]]
    found = class_proportions(
        logits[0].double(),
        held_out[1],
        logits[1].double(),
        proportions=np.bincount(source[1], minlength=len(classes)),
        rows=(*source, target),
        seed=seed,
    )
    names: Sequence[Any] = classes.tolist()
    evidence = found.evidence(names)
    if not found.changed:
        return Proportions(found, False, f"no sign that they have changed: {evidence}")
    if not found.trusted:
        return Proportions(
            found,
            False,
            f"the classes are predicted in other proportions in the target, and nothing is built on that, as "
            f"{found.doubt}{'' if found.looks_different else ' (more labelled source rows may tell)'}: {evidence}",
            warned=not found.looks_different,
        )
    name = type(method).__name__
    made_for = f", and {name} is made for equal ones" if method.assumes_proportions else ""
    if way == "refuse":
        raise ValueError(
            f"{function}: the classes occur in other proportions in the target{made_for}: {evidence}. Pass "
            "label_shift='correct' to draw the source rows in the target's proportions, or 'ignore'."
        )
    if way == "ignore":
        said = f"they have changed, and {name} was trained all the same, as label_shift='ignore' says: {evidence}"
        return Proportions(found, False, said, warned=True)
    said = f"they have changed, and {name} was trained on source rows drawn in the estimated proportions: {evidence}"
    return Proportions(found, True, said, warned=True)


def decide_first(
    function: str,
    way: str,
    network: Network,
    method: Method,
    source: tuple[Any, NDArray[np.int64]],
    of: Array | None,
    target: Any,
    options: dict[str, Any],
    *,
    classes: Array,
) -> Proportions:
    """Hold out a tenth of the source rows of each class, train a copy on the rest, and :func:`decide` by it.

    Before that the method is tried for one step. Nothing is trained where no row can be held out, or the method aligns
    nothing.

    Args:
        function: the caller, which opens every message.
        way: ``correct``, ``ignore`` or ``refuse``.
        network: with the weights that training starts from; a copy is trained.
        method: which is to be trained.
        source: all source rows, (n, ...), and class numbers, (n,).
        of: the number of each row's source, (n,), where there are several.
        target: rows.
        options: of ``fit``, ``seed`` and ``batch_size`` among them.
        classes: the labels behind the numbers, (k,).

    Raises:
        ValueError: as :func:`decide`, and what ``fit`` raises.
    """
    if isinstance(method, SourceOnly):
        return not_estimated("nothing is aligned")
    inputs, labels = source
    held = held_out_rows(labels, HOLDOUT, True, options["seed"], of)
    if not held.any():
        return not_estimated(f"no class has the {round(1 / HOLDOUT)} source rows of which one can be held out")
    try_one_step(network, method, pairs_of(inputs, labels, of), target, options)
    kept, out = np.flatnonzero(~held), np.flatnonzero(held)
    of_kept = None if of is None else of[kept]
    n_source, n_target = options["batch_size"]
    sizes = min(n_source, batch_of(len(kept), of_kept)), n_target
    pairs = pairs_of(take_rows(inputs, kept), labels[kept], of_kept)
    source_only = fit(deepcopy(network), SourceOnly(), pairs, target, **{**options, "batch_size": sizes})
    held_out = take_rows(inputs, out), labels[out]
    return decide(function, way, method, source_only, held_out, source, target, classes=classes, seed=options["seed"])
