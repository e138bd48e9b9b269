"""Data that are gathered in memory: what has no end, or does not fit, is noticed before memory is gone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

__all__ = ["Gathering", "available_memory"]

MOST = 1 << 20  # rows, of what does not say how many it has
SHARE = 0.5  # of the free memory: what is gathered is put together at the end, which takes it once more
GIGA = 1e9
GROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)  # of Linux, in either version
REMEDY = (
    "Pass a finite one: a DataLoader without an endless sampler, torch.utils.data.Subset(dataset, range(n)), or rows "
    "gathered by yourself, torch.cat([x for x, *_ in itertools.islice(loader, 100)])."
)


class Gathering:
    """Counts what comes, and raises once it is too much.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        data: a dataset or loader, whose length is asked, where it has one.

    >>> gathering = Gathering("adapt", "Xt", torch.utils.data.TensorDataset(torch.zeros(3, 2)))
    >>> gathering.promised
    3
    """

    def __init__(self, function: str, name: str, data: Any) -> None:
        self.function, self.name, self.kind = function, name, type(data).__name__
        self.batched = isinstance(data, DataLoader) and data.batch_sampler is not None
        self.promised: int | None = None
        with suppress(TypeError, NotImplementedError):
            self.promised = len(data)
        self.workers = max(1, getattr(data, "num_workers", 0))
        self.free = available_memory()
        self.parts = self.rows = self.bytes = 0

    def add(self, part: Tensor) -> None:
        """One more sample, or batch.

        Raises:
            ValueError: if there are more than were promised, more than a million and no length is known, or they take
                more than half of the memory that was free.
        """
        self.parts += 1
        self.rows += len(part) if self.batched and part.ndim else 1
        self.bytes += part.nelement() * part.element_size()
        opening = f"{self.function} gathers all rows of {self.name} in memory; got"
        if self.promised is not None and self.parts > self.promised * self.workers:
            what = "batches" if self.batched else "samples"
            raise ValueError(f"{opening} a {self.kind} of {self.promised} {what} that goes on after them. {REMEDY}")
        if self.promised is None and self.rows > MOST:
            raise ValueError(
                f"{opening} {self.rows} from a {self.kind} that does not say how long it is, as one without an end. "
                f"{REMEDY} One that is finite may say so by __len__."
            )
        if self.free is not None and self.bytes > SHARE * self.free:
            raise ValueError(
                f"{opening} {self.bytes / GIGA:.3g} GB after {self.rows} rows of a {self.kind}, more than half of the "
                f"{self.free / GIGA:.3g} GB that were free. {REMEDY} Or pass a memory map, which stays on the disk: "
                "numpy.load(path, mmap_mode='r')."
            )


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the limit of a container; None where nothing says so."""
    found = [_of_machine(), _of_container()]
    return min((value for value in found if value is not None), default=None)


def _of_machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            folder = Path("/sys/fs/cgroup")
            return max(0, int((folder / limit).read_text()) - int((folder / used).read_text()))
    return None
