"""Published rows: what papers report, with how they got there, for the lines beside our own numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .results import Cell

__all__ = ["Published", "differences"]

Words = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Published(BaseModel):
    """One published row: a method's target accuracies in percent, and all that decides what they compare with.

    Attributes:
        method: method id as in the suite, ``dann``.
        protocol: protocol id, ``digits/small/inductive``; under the same id a value stands beside ours unmarked.
        network: the network that gave the numbers.
        augmentation: of training images: ``random shifts``, ``crops and flips``, ``none``; left out, it is what the
            field does, crops and flips of photographs and nothing of all else.
        selected: how the reported checkpoint was chosen; ``target labels`` compares with our oracle, not with last.
        source: paper (and table) that reports the numbers.
        seen: ``secondary`` where they were read in a later work that quotes them; None if in the source itself.
        values: accuracy in percent per task, at least one.

    Raises:
        pydantic.ValidationError: (a ValueError) for an unknown field, an empty text, another ``selected`` than the
            three, no value at all, or a value outside 0 to 100.

    >>> row = Published(method="dann", protocol="digits/small/inductive", network="LeNet-like", selected="not stated",
    ...                 source="ADDA, CVPR 2017", seen="secondary", values={"mnist->usps": 77.1, "usps->mnist": 73.0})
    >>> row.describe()
    'ADDA, CVPR 2017 (read in a later work that quotes it): digits/small/inductive, LeNet-like, selection not stated'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Words
    protocol: Words
    network: Words
    augmentation: Literal["random shifts", "crops and flips", "none"] | None = None
    selected: Literal["target labels", "last", "not stated"]
    source: Words
    seen: Words | None = None
    values: Annotated[dict[str, Percent], Field(min_length=1)]

    def average(self, tasks: tuple[str, ...]) -> float | None:
        """Mean of the values over ``tasks``; None unless every one of them is there."""
        if not tasks or any(task not in self.values for task in tasks):
            return None
        return sum(self.values[task] for task in tasks) / len(tasks)

    def describe(self) -> str:
        """The footnote: source, protocol, network, and how the reported checkpoint was chosen."""
        seen = {None: "", "secondary": " (read in a later work that quotes it)"}.get(self.seen, f" (seen: {self.seen})")
        chosen = {"target labels": "chosen by target labels", "last": "last iterate"}
        how = chosen.get(self.selected, "selection not stated")
        return f"{self.source}{seen}: {self.protocol}, {self.network}, {how}"


def differences(row: Published, cell: Cell) -> dict[str, str]:
    """In what a published row was made otherwise than a cell, each with a phrase; {} where the two compare.

    Compared are protocol (with what ``--steps`` and the like change of it), network (with its crops, and whether it is
    trained end to end), and augmentation. What a cell does not record is not compared.
    """
    found: dict[str, str] = {}
    if row.protocol != cell.group[1]:
        found["protocol"] = "protocol"
    if not _same_network(row, cell):
        found["network"] = f"network (here {cell.network}{', frozen' if cell.track == 'frozen' else ''})"
    ours = _augmentation(cell)
    theirs = row.augmentation or ("crops and flips" if _photographs(cell) else "none")
    if ours is not None and ours[0] != theirs:
        found["augmentation"] = f"augmentation (here {ours[1]})"
    return found


def _same_network(row: Published, cell: Cell) -> bool:
    """Whether a published row's network is the cell's: a backbone by name, a small one by its family (LeNet, DTN)."""
    if cell.track == "features":
        return True
    theirs, _, view = row.network.partition(",")
    ours = cell.network.split("/")[-1].lower()
    backbone = cell.settings.get("backbone")
    if not isinstance(backbone, Mapping):
        family = re.match("[a-z]*", ours)
        return family is not None and family.group() in re.findall("[a-z]+", row.network.lower())
    same = re.sub("[^a-z0-9]", "", theirs.lower()) == re.sub("[^a-z0-9]", "", ours)
    return same and cell.track == "end-to-end" and ("ten crops" in view) == bool(backbone.get("ten_crops"))


def _photographs(cell: Cell) -> bool:
    return bool(cell.settings.get("images")) and cell.track == "end-to-end"


def _augmentation(cell: Cell) -> tuple[str, str] | None:
    """A cell's augmentation, as ``Published`` calls it and in more words; None if not recorded."""
    if _photographs(cell):
        return "crops and flips", "crops and flips"
    training: Any = cell.settings.get("training")
    if not isinstance(training, Mapping) or cell.track != "end-to-end":
        return None
    pixels = training.get("random_shift")
    return ("random shifts", f"random shifts of up to {pixels} pixels") if pixels else ("none", "none")
