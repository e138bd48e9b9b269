"""How many threads the cells of a folder have: fixed when its grid is first planned, kept when it goes on.

The order in which threads add numbers up decides the last bits, and training makes them first digits: a cell that goes
on with other threads is not the cell that an uninterrupted run would have made, and says so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from ..shared.files import write_atomically

__all__ = ["Threads", "begin", "begun_with", "choose_threads", "in_words", "keep_threads"]

GRID = "grid.json"  # of a folder of cells
BEGUN = "begun.json"  # of an unfinished cell
VARIABLE = "OMP_NUM_THREADS"


class Threads(NamedTuple):
    """How many threads each cell has, and who says so ("" if nobody: cores shared by the cells side by side)."""

    number: int
    why: str = ""


def choose_threads(out: Path, asked: int | None, *, cores: int, side_by_side: int, fresh: bool = False) -> Threads:
    """The number asked for; else that which this folder was begun with, ``OMP_NUM_THREADS``, or a share of the cores.

    It does not depend on how many cells are left to do.

    Args:
        out: the folder of the grid.
        asked: for, None if nothing was.
        cores: of this machine.
        side_by_side: cells that may run at a time.
        fresh: what the folder was begun with does not count.
    """
    if asked is not None:
        return Threads(asked, "--threads")
    kept = None if fresh else _kept(out)
    if kept is not None:
        return Threads(kept, "as this folder was begun with")
    told = _variable()
    if told is not None:
        return Threads(told, VARIABLE)
    return Threads(max(1, cores // side_by_side))


def keep_threads(out: Path, threads: int) -> None:
    """Remember the number in the folder."""
    write_atomically(out / GRID, (json.dumps({"threads": threads}) + "\n").encode())


def _kept(out: Path) -> int | None:
    found = _read(out / GRID)
    threads = found.get("threads") if isinstance(found, dict) else None
    return threads if isinstance(threads, int) and threads > 0 else None


def _variable() -> int | None:
    """OpenMP takes a list, one number a level of nesting; what is no number it passes over, and so does this."""
    first = os.environ.get(VARIABLE, "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def begin(work: Path, threads: int, *, resumed: bool) -> list[int]:
    """Note in an unfinished cell's folder with how many threads it goes on; all that it has had, one after another."""
    earlier = begun_with(work) if resumed else []
    had = earlier if earlier[-1:] == [threads] else [*earlier, threads]
    if had != earlier:
        write_atomically(work / BEGUN, (json.dumps(had) + "\n").encode())
    return had


def begun_with(work: Path) -> list[int]:
    """The threads that an unfinished cell has had; [] where that was not noted."""
    found = _read(work / BEGUN)
    return [one for one in found if isinstance(one, int)] if isinstance(found, list) else []


def in_words(had: list[int]) -> int | str:
    """What a result records.

    >>> in_words([2]), in_words([2, 1])
    (2, '2, then 1')
    """
    return had[0] if len(had) == 1 else ", then ".join(map(str, had))


def _read(path: Path) -> object:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
