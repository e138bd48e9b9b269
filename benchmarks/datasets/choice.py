"""Which rows of described arrays are trained on, held out, adapted to and scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...shared.names import nearest
from .base import Split, draw_rows, hash_order, hold_out
from .described import DescribedSettings, Domain

__all__ = ["Chosen", "check_arguments", "choose", "digest_of"]


class Chosen(NamedTuple):
    """Row numbers of a task's splits."""

    source_train: NDArray[np.int64]
    source_holdout: NDArray[np.int64]
    target_train: NDArray[np.int64]
    target_eval: NDArray[np.int64] | None  # None: the rows adapted to


def check_arguments(
    function: str,
    name: str,
    settings: DescribedSettings,
    task: str,
    source_holdout: float,
    scored: str,
    draw: Mapping[str, int],
    per_class: Mapping[str, int],
    repeat: int,
) -> tuple[str, str]:
    """The two domains of a task.

    Raises:
        ValueError: for an unknown task or domain, or a share or number that cannot be.
    """
    where = f"{function}({name!r})"
    if task.count("->") != 1:
        raise ValueError(f"{where} needs a task as 'source->target'; got {task!r}.")
    source, target = task.split("->")
    named = {"draw": draw, "per_class": per_class}
    for what, domains in {"task": {source: 1, target: 1}, **named}.items():
        for domain, count in domains.items():
            if domain not in settings.files:
                raise ValueError(f"{where}, {what}: " + nearest("domain", domain, settings.files))
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"{where} draws a positive number of rows; got {what}={{{domain!r}: {count!r}}}. "
                    "Leave the domain out to use all its rows."
                )
    if source == target:
        raise ValueError(f"{where} needs two domains in a task; got {task!r}.")
    if scored not in ("inductive", "transductive"):
        raise ValueError(f"{where}, scored: " + nearest("word", scored, ["inductive", "transductive"]))
    if not 0 <= source_holdout < 1:
        raise ValueError(
            f"{where} needs source_holdout as a share of the source rows in [0, 1); got "
            f"{source_holdout}. 0 switches the hold-out off."
        )
    if repeat < 0:
        raise ValueError(f"{where} needs repeat >= 0; got {repeat}.")
    return source, target


def choose(
    source: str,
    target: str,
    domains: dict[str, Domain],
    labels: dict[str, NDArray[np.int64]],
    classes: tuple[str, ...],
    *,
    source_holdout: float,
    scored: str,
    scored_share: float,
    draw: Mapping[str, int],
    per_class: Mapping[str, int],
    repeat: int,
) -> Chosen:
    """Which rows are trained on, held out, adapted to and scored: by sha256 of names and numbers, the same everywhere.

    First ``draw``, then ``per_class``, then the hold-out is set aside. Rows given for scoring are scored under an
    inductive protocol and otherwise left alone, in both domains.
    """
    pool = {}
    for domain, held in domains.items():
        everything = np.arange(len(held.labels), dtype=np.int64)
        pool[domain] = everything if held.test is None else everything[~held.test]
    of_source = draw_rows(source, pool[source], draw.get(source))
    if source in per_class:
        of_source = _draw_classes(source, of_source, labels[source], classes, per_class[source], repeat)
    train, held_out = hold_out(source, of_source, source_holdout)
    adapting, scoring = pool[target], None
    given = domains[target].test
    if scored == "inductive" and given is not None:
        scoring = np.flatnonzero(given).astype(np.int64)
    elif scored == "inductive":
        adapting, scoring = _divide(target, labels[target], scored_share, repeat)
    return Chosen(train, held_out, draw_rows(target, adapting, draw.get(target)), scoring)


def _draw_classes(
    domain: str,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    count: int,
    repeat: int,
) -> NDArray[np.int64]:
    chosen = []
    for number, name in enumerate(classes):
        members = rows[labels[rows] == number]
        if len(members) < count:
            raise ValueError(
                f"load_features cannot draw {count} rows of class {name!r} of {domain!r}: it has {len(members)}. "
                f"Draw at most as many as the smallest class has (per_class), or leave {domain!r} out to use all rows."
            )
        chosen.append(hash_order(f"per-class/{domain}/{repeat}", members)[:count])
    return np.sort(np.concatenate(chosen))


def _divide(
    domain: str, labels: NDArray[np.int64], share: float, repeat: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows adapted to and rows scored, both ascending; of each class the share, rounded up, is scored."""
    adapting, scoring = [], []
    for number in np.unique(labels):
        order = hash_order(f"scored/{domain}/{repeat}", np.flatnonzero(labels == number).astype(np.int64))
        count = int(np.ceil(share * len(order) - 1e-9))
        scoring.append(order[:count])
        adapting.append(order[count:])
    found = np.sort(np.concatenate(adapting)), np.sort(np.concatenate(scoring))
    if not len(found[0]):
        raise ValueError(
            f"load_features cannot score {share} of each class of {domain!r}: no row is left to adapt to. "
            "Lower scored_share, or use a transductive protocol."
        )
    return found


def digest_of(domains: list[bytes], splits: Mapping[str, Split | None], classes: tuple[str, ...]) -> str:
    """The checksum of a task: of its domains as they are used, and of the rows that each split takes."""
    digest = hashlib.sha256("\n".join(classes).encode())
    for domain in domains:
        digest.update(domain)
    for name, split in splits.items():
        digest.update(f"\n{name} {0 if split is None else len(split.rows)}\n".encode())
        if split is not None:
            digest.update(split.rows.astype("<i8").data)
    return digest.hexdigest()
