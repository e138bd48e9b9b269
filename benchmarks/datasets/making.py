"""The work of preparing: rows handed to processes that stay, noted as they end, and what went wrong told at the end."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ...shared.files import write_atomically
from ..workers import end_with_parent, interrupts_ignored
from .base import DataError
from .decode import VERSION
from .folders import Listing
from .progress import bars
from .store import (
    FORMAT,
    Identity,
    Index,
    Item,
    Part,
    Task,
    Written,
    checksum_of,
    fill,
    finish,
    left_overs,
    read_index,
    right_size,
)

__all__ = ["Work", "array_is_fresh", "exclusive", "index_of", "make", "sweep"]

ROWS = 16  # images that a worker is given at a time
NAMED = 10  # unreadable files that a sentence names; all of them are in faults.txt
FAULTS = "faults.txt"
_RESERVE = 16 << 20  # bytes of disk beyond the arrays: for the index and the journal


class Work(NamedTuple):
    """A domain, its files, and what these are now."""

    domain: str
    listing: Listing
    identities: list[Identity]


class _Open(NamedTuple):
    work: Work
    part: Part
    items: list[Item]


def array_is_fresh(folder: Path, work: Work, index: Index | None, side: int) -> bool:
    """Whether the finished array was made of these very files, as they are now."""
    n = len(work.identities)
    return index is not None and index.identities() == work.identities and right_size(_array(folder, work), n, side)


def index_of(work: Work, rows: list[str], side: int, data: Path) -> Index:
    """The index of a domain whose rows have these checksums."""
    listing = work.listing
    of_class = Counter(listing.labels.tolist())
    return Index(
        format=FORMAT,
        decoder=VERSION,
        side=side,
        data=str(data.resolve()),
        source=str(listing.root.resolve()),
        place=listing.place,
        classes=listing.classes,
        counts={name: of_class[label] for label, name in enumerate(listing.classes)},
        checksum=checksum_of(map(bytes.fromhex, rows), side),
        files=listing.files,
        labels=tuple(listing.labels.tolist()),
        sizes=tuple(one.size for one in work.identities),
        mtimes=tuple(one.mtime for one in work.identities),
        rows=tuple(rows),
    )


def make(
    folder: Path,
    works: list[Work],
    side: int,
    data: Path,
    *,
    processes: int,
    progress: bool | None,
    say: Callable[[str], None],
) -> None:
    """Bring some domains up to date; the folder is held by :func:`exclusive`.

    Raises:
        DataError: for a disk without room, files of which no image can be made, or a process that died.
        OSError: if something cannot be written.
    """
    opened = []
    for work in works:
        index = _old_index(folder, work)
        if index is not None and array_is_fresh(folder, work, index, side):  # new labels or another folder, same images
            _write_index(folder, work, index_of(work, list(index.rows), side, data))
            continue
        opened.append(work)
    parts = [Part(folder, work.domain, work.listing.root, work.identities, side) for work in opened]
    _check_room(folder, sum(part.missing_bytes() for part in parts))
    jobs = [_Open(work, part, part.open()) for work, part in zip(opened, parts, strict=True)]
    for job in jobs:
        say(_told(job, _old_index(folder, job.work)))
    faults = {work.domain: {name: _strange(work, name) for name in work.listing.strangers} for work in works}
    _fill_all(jobs, side, data, faults, processes, progress)
    _tell_faults(folder, data, {(w.domain, w.listing.root): faults[w.domain] for w in works if faults[w.domain]})


def sweep(folder: Path, domains: Iterable[str]) -> None:
    """Take away what a call that was killed at its very end left of domains that are finished.

    Raises:
        OSError: if it cannot be taken away.
    """
    if any(left_overs(folder, domain) for domain in domains):
        with suppress(DataError), exclusive(folder):  # whoever has the folder is about to do the same
            for path in (path for domain in domains for path in left_overs(folder, domain)):
                path.unlink(missing_ok=True)


def _fill_all(
    jobs: list[_Open],
    side: int,
    data: Path,
    faults: Mapping[str, dict[str, str]],
    processes: int,
    progress: bool | None,
) -> None:
    by_domain = {job.work.domain: job for job in jobs}
    stopped: str | None = None

    def tasks() -> Iterator[Task]:
        for job in jobs:
            for at in range(0, len(job.items), ROWS):
                if stopped is not None:
                    return
                yield Task(job.work.domain, str(job.part.array), job.part.start, side, job.items[at : at + ROWS])

    processes = min(processes, -(-sum(len(job.items) for job in jobs) // (2 * ROWS)) or 1)
    totals = {job.work.domain: len(job.items) for job in jobs}
    with bars(totals, progress) as advance, closing(_each(tasks(), processes)) as answers:
        for task, written in answers:
            job = by_domain[task.domain]
            job.part.record(written)
            for row, why in written.faults.items():
                faults[task.domain][job.part.identities[row].file] = why
            stopped = stopped or written.stopped
            advance(task.domain, len(written.digests) + len(written.faults))
            if stopped is None and len(job.part.digests) == len(job.items) and not faults[task.domain]:
                rows = [job.part.digests[row].hex() for row in range(len(job.items))]
                finish(job.part, index_of(job.work, rows, side, data))
    if stopped is not None:
        raise OSError(0, stopped)


def _each(tasks: Iterator[Task], processes: int) -> Generator[tuple[Task, Written], None, None]:
    """The answers as they come; what has been handed out when something stops the work is waited for."""
    if processes == 1:
        for task in tasks:
            yield task, fill(task)
        return
    waiting: dict[Future[Written], Task] = {}
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        for task in tasks:
            with interrupts_ignored():  # submitting starts the processes
                waiting[pool.submit(fill, task)] = task
            while len(waiting) >= 3 * processes:
                yield from _ended(waiting)
        while waiting:
            yield from _ended(waiting)
    except BrokenProcessPool as error:
        todo = (
            "It may have run out of memory: try fewer processes; a script that calls this needs `if __name__ == "
            "'__main__':` around it. What was decoded is kept: run the same command again to go on."
        )
        raise DataError("prepare", "processes that decode images", "one that died", todo) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ended(waiting: dict[Future[Written], Task]) -> Iterator[tuple[Task, Written]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the suite's prepared arrays for this call alone; the lock ends with the process, however it ends.

    Raises:
        DataError: if another call has them.
        OSError: if the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on Windows: there two calls are on their own
            pass
        except BlockingIOError:
            todo = "Wait for it; what it decodes is then there for this one, too."
            raise DataError(folder, "nobody else at work there", "another `prepare`", todo) from None
        yield


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed and needed + _RESERVE > free:
        todo = "Nothing was decoded; make room, or set LANDBRIDGE_CACHE to a folder on another disk."
        raise DataError(folder, f"{(needed + _RESERVE) / 1e6:.0f} MB of room", f"{free / 1e6:.0f} MB", todo)


def _array(folder: Path, work: Work) -> Path:
    return folder / f"{work.domain}.npy"


def _old_index(folder: Path, work: Work) -> Index | None:
    with suppress(DataError):  # a damaged one is made anew
        return read_index(folder / f"{work.domain}.json")
    return None


def _write_index(folder: Path, work: Work, index: Index) -> None:
    write_atomically(folder / f"{work.domain}.json", index.model_dump_json().encode())


def _told(job: _Open, index: Index | None) -> str:
    there = sum(item.kept is not None for item in job.items)
    left = len(job.items) - there
    sentence = f"{job.work.domain}: {left} images to decode" + (f", {there} are there already" if there else "")
    if index is not None:
        before, now = ({one.file: one for one in many} for many in (index.identities(), job.work.identities))
        changed = sum(before[file] != now[file] for file in before.keys() & now.keys())
        new, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
        sentence += f"; since it was prepared {new} files are new, {changed} changed and {gone} gone"
    return sentence + "."


def _strange(work: Work, name: str) -> str:
    return "a folder in a class folder" if (work.listing.root / name).is_dir() else "no image by its suffix"


def _tell_faults(folder: Path, data: Path, faults: Mapping[tuple[str, Path], Mapping[str, str]]) -> None:
    """One sentence for all files of which no image can be made; a file of their names if there are many."""
    (folder / FAULTS).unlink(missing_ok=True)
    if not faults:
        return
    lines = [f"{root / file} ({why})" for (_, root), files in faults.items() for file, why in sorted(files.items())]
    of_data = [line.removeprefix(f"{data}{os.sep}") for line in lines]
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    todo = "Get them anew or take them out, and run the same command again: all others are kept."
    if more:
        write_atomically(folder / FAULTS, "".join(line + "\n" for line in lines).encode(errors="replace"))
        todo = f"All are named in {folder / FAULTS}. {todo}"
    came = f"{len(lines)} of which none can be made: {'; '.join(of_data[:NAMED])}{more}"
    raise DataError(data, "files that are images", came, todo)
