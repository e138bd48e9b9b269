"""Memory that a matrix of all pairs of rows would take, told before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["check_pairs", "free_bytes"]

GIB = 2**30
SHARE = 0.9  # of what is free: the rest of the process needs some, too
ALWAYS = 2**28  # bytes that nobody needs to be asked about
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")  # of a container


def check_pairs(function: str, n: int, m: int, *, copies: int, instead: str) -> None:
    """Raise ValueError where matrices of all pairs of n and m rows would not fit into the host's memory.

    Args:
        function: the caller, which opens the message.
        n: source rows.
        m: target rows.
        copies: how many float64 matrices of n x m are held at once.
        instead: what to do, as a sentence.

    Raises:
        ValueError: if they take more than nine tenths of what is free; not where that is unknown.

    >>> check_pairs("plan_by_class", 1000, 1000, copies=3, instead="Pass fewer rows.")
    """
    needed = 8 * n * m * copies
    if needed <= ALWAYS:
        return
    free = free_bytes()
    if free is not None and needed > SHARE * free:
        raise ValueError(
            f"{function} needs {_gib(needed)} GiB for {copies} matri{'x' if copies == 1 else 'ces'} of {n} x {m} pairs "
            f"of rows ({n} x {m} x 8 bytes = {_gib(8 * n * m)} GiB each); {_gib(free)} GiB are free. {instead}"
        )


def free_bytes() -> int | None:
    """Memory that can be had without swapping, a container's limit counted; None where the system does not tell.

    >>> (free_bytes() or 1) > 0
    True
    """
    found = [free for free in (_of_the_system(), _of_the_container()) if free is not None]
    return min(found) if found else None


def _of_the_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:  # all there is, where nothing tells what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_container() -> int | None:
    try:
        most, used = (int(Path(file).read_text(encoding="ascii")) for file in LIMITS)
    except (OSError, ValueError):  # no container, or "max": no limit
        return None
    return max(0, most - used)


def _gib(number: float) -> str:
    return f"{number / GIB:.3g}"
