"""Loss terms by step: written on the device, read every so many steps."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["History", "TrainingDiverged"]


class TrainingDiverged(RuntimeError):
    """A loss term became NaN or inf; the message names the term and the step."""


class History:
    """The loss terms of every step.

    Inside a step nothing waits for the device: terms go into a buffer there, and :meth:`read` fetches them.

    Args:
        interval: steps between two readings, the size of the buffer.

    Attributes:
        names: of the terms, in the order of the columns.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.names: list[str] = []
        self._read: list[Tensor] = []  # blocks of (steps, terms) on the CPU
        self._buffer: Tensor | None = None
        self._pending = 0

    def __len__(self) -> int:
        return sum(len(block) for block in self._read) + self._pending

    def __getitem__(self, name: str) -> Tensor:
        """One term by step, (steps,), float32."""
        return self.values[:, self.names.index(name)]

    @property
    def values(self) -> Tensor:
        """All terms by step, (steps, terms), float32, on the CPU."""
        self.read()
        return torch.cat(self._read) if self._read else torch.empty(0, len(self.names))

    def write(self, terms: dict[str, Tensor]) -> bool:
        """Keep one step's terms; True when the buffer is full and wants reading."""
        if self._buffer is None:
            self.names = self.names or list(terms)
            device = next(iter(terms.values())).device
            self._buffer = torch.empty(self.interval, len(self.names), dtype=torch.float32, device=device)
        if list(terms) != self.names:
            raise ValueError(f"a method's terms must keep their names; they were {self.names} and are {list(terms)}.")
        torch.stack([value.float() for value in terms.values()], out=self._buffer[self._pending])
        self._pending += 1
        return self._pending == self.interval

    def read(self) -> None:
        """Fetch what was written.

        Raises:
            TrainingDiverged: if a term is not finite.
        """
        if self._buffer is None or not self._pending:
            return
        first = len(self) - self._pending
        block = self._buffer[: self._pending].cpu().clone()
        self._pending = 0
        self._read.append(block)
        bad = (~block.isfinite()).nonzero()
        if len(bad):
            step, column = bad[0].tolist()
            raise TrainingDiverged(
                f"training diverged: the term {self.names[column]!r} is {block[step, column].item()} at step "
                f"{first + step}. Lower the learning rate or the method's weight, or clip the gradient."
            )

    def latest(self) -> dict[str, float]:
        """The mean of each term over the block read last."""
        return dict(zip(self.names, self._read[-1].mean(0).tolist(), strict=True)) if self._read else {}

    def state(self) -> dict[str, object]:
        """What :meth:`load` takes."""
        return {"names": list(self.names), "values": self.values}

    def load(self, names: list[str], values: Tensor) -> None:
        """Go on from what :meth:`state` gave."""
        self.names, self._read, self._pending, self._buffer = list(names), [values] if len(values) else [], 0, None
