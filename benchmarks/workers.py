"""Processes that stay: each imports torch once and then runs one job after another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

__all__ = ["Outcome", "run_jobs"]


class Outcome(NamedTuple):
    """How a job ended: with a result, or with a message (and a traceback, where it was no user's mistake)."""

    number: int
    result: Any = None
    message: str | None = None
    trace: str | None = None


class _Worker:
    def __init__(self, function: Callable[[Any], Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, threads), daemon=True)
        with _threads_in_environment(threads), interrupts_ignored():
            self.process.start()
        theirs.close()
        self.number: int | None = None

    def give(self, number: int, job: Any) -> None:
        self.number = number
        with suppress(ConnectionError):  # it has died: what it does not answer tells
            self.pipe.send(job)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def run_jobs(function: Callable[[Any], Any], jobs: Sequence[Any], *, processes: int, threads: int) -> Iterator[Outcome]:
    """Run ``function`` on every job in processes of their own; outcomes come as they end.

    A job that raises, and even one whose process dies, is an outcome with a message; the others go on.
    Leaving the iteration early (Ctrl-C) ends the processes.

    Args:
        function: of one job; importable by name.
        jobs: what it is called with; has to pickle.
        processes: how many run side by side.
        threads: of torch in each, set before torch starts.
    """
    waiting = list(enumerate(jobs))[::-1]
    workers: list[_Worker] = []
    try:
        while waiting or any(w.number is not None for w in workers):
            while waiting and len([w for w in workers if w.number is not None]) < processes:
                worker = next((w for w in workers if w.number is None), None)
                if worker is None:
                    worker = _Worker(function, threads)
                    workers.append(worker)
                worker.give(*waiting.pop())
            busy = {w.pipe: w for w in workers if w.number is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                number, worker.number = worker.number, None
                assert number is not None
                try:
                    yield Outcome(number, *worker.pipe.recv())
                except (EOFError, ConnectionError):
                    worker.process.join()
                    workers.remove(worker)
                    yield Outcome(number, message=_death(worker.process.exitcode))
    finally:
        for worker in workers:
            worker.stop()


def _death(code: int | None) -> str:
    why = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    more = " It may have run out of memory: try fewer --jobs." if code == -9 else ""
    return f"its process died ({why}).{more}"


def _serve(pipe: Connection, function: Callable[[Any], Any], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(job), None, None))
        except Exception as error:  # a defect of ours or of a method of the user's: the other cells go on
            pipe.send((None, f"{type(error).__name__}: {error}", traceback.format_exc()))


def end_with_parent() -> None:
    """A killed parent cannot end its workers; left alone, they would write where the next run writes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """What a process ignores, the processes it starts ignore from their first moment on: while they import, too."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _threads_in_environment(threads: int) -> Iterator[None]:
    """OpenMP reads its number of threads once, when it starts: so it has to stand in the environment before."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
