"""The grid: which cells are there, which are missing, and running these side by side."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .cell import (
    KEPT_ROWS,
    Job,
    build_method,
    build_network,
    cell_identity,
    feature_size,
    features_of,
    load_cell_data,
    run_cell,
)
from .own_methods import OwnMethod
from .results import Cell
from .settings import BackboneSettings, CellSettings
from .suite import Suite
from .threads import begun_with
from .workers import run_jobs

__all__ = ["Failure", "GridError", "Plan", "exclusive", "plan", "run"]


class GridError(ValueError):
    """A grid that cannot be run as asked; said before work starts."""


class Failure(NamedTuple):
    """A cell that did not end well."""

    settings: CellSettings
    message: str
    trace: str | None


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: the cells to run.
        done: how many are there already.
        resumed: how many of the jobs an earlier run has begun.
        changed: sentences about cells that are there with other settings.
        identities: of all cells asked for, done and to do.
        other_threads: sentences about cells that were begun with another number of threads.
    """

    jobs: list[Job]
    done: int
    resumed: int
    changed: list[str]
    identities: frozenset[str]
    other_threads: tuple[str, ...] = ()


def plan(
    suite: Suite,
    *,
    protocol: str,
    tasks: list[str],
    methods: list[str],
    seeds: int,
    out: Path,
    data: Path | None,
    device: str,
    keep: str,
    fresh: bool,
    steps: int | None = None,
    checkpoints: int | None = None,
    backbone: BackboneSettings | None = None,
    weights: Path | str = "pretrained",
    own: Sequence[OwnMethod] = (),
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Plan:
    """Find out what is missing, and whether it can be made: data read, methods built, room on the disk.

    ``threads`` is what each cell is going to have; cells that were begun with others are told of.

    Raises:
        GridError: for a disk too full.
        ValueError: for data or settings that are not as they should be.
    """
    jobs: list[Job] = []
    changed: list[str] = []
    other_threads: list[str] = []
    mine = {each.name: each for each in own}
    identities = set()
    done = resumed = 0
    built: dict[str, int] = {}  # network -> features, which the shape of arrays decides
    for task in tasks:
        for seed in range(seeds):
            for method in methods:
                settings = suite.cell(protocol, task, method, seed, steps, checkpoints, backbone)
                data_of_task = load_cell_data(settings, data, weights=weights, device=device, say=say)
                if seed == 0 and settings.adaptation.classifier is None:
                    name = f"{task} {settings.network.network}" if settings.arrays else settings.network.network
                    if name not in built:
                        network = build_network(settings, data_of_task, weights)
                        built[name] = features_of(settings, network, data_of_task)
                    build_method(settings, len(data_of_task.classes), mine.get(method), features=built[name])
                identity = cell_identity(settings, data_of_task, mine.get(method))
                job = Job(settings, identity, out.resolve(), data, device, keep, weights, mine.get(method))
                identities.add(job.identity)
                if fresh:
                    shutil.rmtree(job.work, ignore_errors=True)
                elif (job.folder / "result.json").is_file():
                    done += 1
                    continue
                if (job.work / "training.pt").is_file():
                    resumed += 1
                    other_threads += _other_threads(job, threads)
                changed += _changes(job)
                jobs.append(job)
    _check_space(out, jobs, keep)
    # seed by seed, so that an interrupted grid has whole rows of few seeds rather than few rows
    jobs.sort(key=lambda job: job.settings.seed)
    return Plan(jobs, done, resumed, changed, frozenset(identities), tuple(other_threads))


def _check_folder(out: Path) -> None:
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.write_bytes(b"landbridge")
        probe.unlink()
    except OSError as error:
        raise GridError(
            f"cannot write to {out} ({error.strerror}). Nothing was run; pass another folder with --out."
        ) from error


def _check_space(out: Path, jobs: list[Job], keep: str) -> None:
    cells = len(jobs)
    needed = sum(_most_bytes(job.settings) for job in jobs) // (1 if keep == "all" else 10)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise GridError(
            f"{cells} cells may need {needed / 1e6:.0f} MB in {out}; {free / 1e6:.0f} MB are free. Nothing was run; "
            "make room, pass another folder with --out, or keep less with --keep-outputs scores."
        )


def _most_bytes(settings: CellSettings) -> int:
    """What a cell stores at most: fp16 logits (of 10 classes and more) and features of four splits."""
    if settings.adaptation.classifier is not None:
        return 16 * KEPT_ROWS
    return settings.rules.checkpoints * 4 * KEPT_ROWS * (feature_size(settings) + 30) * 2


def _other_threads(job: Job, threads: int | None) -> list[str]:
    """A sentence if the cell was begun with another number of threads."""
    had = begun_with(job.work)
    if threads is None or not had or set(had) == {threads}:
        return []
    s = job.settings
    return [
        f"{s.task} {s.method} seed {s.seed} was begun with {_threads(had[-1])} and goes on with {threads}: its numbers "
        f"will not be those of an uninterrupted run. Pass --threads {had[-1]} to go on as it began, or --fresh to "
        "begin again."
    ]


def _threads(number: int) -> str:
    return f"{number} thread" + ("" if number == 1 else "s")


def _changes(job: Job) -> list[str]:
    """A sentence if the cell is there with other settings, and which these are."""
    s = job.settings
    for other in sorted(job.folder.parent.glob(f"seed-{s.seed}-*")):
        if other == job.folder:
            continue
        try:
            theirs = json.loads((other / "result.json").read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        ours = s.model_dump(mode="json", exclude={"departs"})  # which says in words what the rules say
        if not isinstance(theirs, dict) or theirs.get("protocol") != s.protocol:
            continue  # another table's
        told = [f"{k} {a!r} -> {b!r}" for k, a, b in _differences(_filled_in(theirs), ours)]
        what = "; ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")
        return [f"{s.task} {s.method} seed {s.seed}: {what or 'the data or the method itself changed'}"]
    return []


def _filled_in(settings: dict[str, Any]) -> dict[str, Any]:
    """Stored settings with what came later at its default."""
    given = {name: value for name, value in settings.items() if name not in ("classes", "departs")}
    try:
        return CellSettings.model_validate(given).model_dump(mode="json", exclude={"departs"})
    except ValueError:  # of another version
        return given


def _differences(theirs: Any, ours: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from _differences(theirs.get(key), ours.get(key), f"{where}.{key}" if where else key)
    elif theirs != ours:
        yield where, theirs, ours


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Hold the folder for this grid alone; the lock ends with the process, however it ends.

    Raises:
        GridError: if another run has it, or it cannot be written to.
    """
    _check_folder(out)
    with open(out / ".lock", "a+") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on Windows: there two runs are on their own
            pass
        except OSError:
            raise GridError(
                f"another run is writing to {out}. Wait for it, or pass another folder with --out."
            ) from None
        yield


def run(
    jobs: list[Job],
    *,
    processes: int,
    threads: int,
    ended: Callable[[CellSettings, Cell | None, str | None], None],
) -> list[Failure]:
    """Run the cells side by side; one that fails is reported and the others go on.

    Args:
        jobs: the cells.
        processes: how many side by side.
        threads: of torch in each.
        ended: called as each cell ends, with its result or its message.

    Returns:
        The failures.
    """
    failures = []
    for outcome in run_jobs(run_cell, jobs, processes=processes, threads=threads):
        settings = jobs[outcome.number].settings
        if outcome.message is not None:
            failures.append(Failure(settings, outcome.message, outcome.trace))
            _log_failure(jobs[outcome.number], outcome.message, outcome.trace)
        ended(settings, outcome.result, outcome.message)
    return failures


def _log_failure(job: Job, message: str, trace: str | None) -> None:
    path = job.out / "failures.log"
    s = job.settings
    try:
        with path.open("a", encoding="utf-8") as file:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
            file.write(f"{stamp} {s.task} {s.method} seed {s.seed}: {message}\n{trace or ''}\n")
    except OSError:
        pass  # the disk may be what failed; the message itself is shown at the end
