"""Published rows: what papers report, with how they got there, for the lines beside our own numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Published"]

Words = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Published(BaseModel):
    """One published row: a method's target accuracies in percent, and all that decides what they compare with.

    Attributes:
        method: method id as in the suite, ``dann``.
        protocol: protocol id, ``digits/small/inductive``; under the same id a value stands beside ours unmarked.
        network: the network that gave the numbers.
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
