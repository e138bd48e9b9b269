"""The most memory a piece of work held at once."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

__all__ = ["available_memory", "peak_memory", "reset_peak"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMORY = Path("/proc/meminfo")


def reset_peak(device: torch.device) -> bool:
    """Start to watch; whether :func:`peak_memory` can then tell what this piece of work alone held.

    On a GPU torch keeps count of its memory; on Linux the kernel keeps the process's highest mark.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return sys.platform == "linux"


def peak_memory(device: torch.device) -> float | None:
    """MiB since :func:`reset_peak`: of the GPU's memory, or of the whole process; None where it cannot be told.

    >>> reset_peak(torch.device("cpu")) <= (peak_memory(torch.device("cpu")) is not None)
    True
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024


def available_memory() -> float | None:
    """Bytes that can still be had without swapping, as Linux tells; None where it cannot be told.

    >>> (available_memory() or 1) > 0
    True
    """
    try:
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    return 1024.0 * int(line.split()[1])
