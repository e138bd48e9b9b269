"""Workers: every job has an outcome, even one that kills its process; threads are set first; nothing stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from landbridge.benchmarks.workers import Outcome, run_jobs

# Jobs are expressions: eval is a function that a new process can import.
PAUSE = "__import__('time').sleep({})"
ENVIRONMENT = "open('/proc/self/environ').read()"  # as it was when the process started


def outcomes(jobs: list[str], *, processes: int = 1, threads: int = 1) -> list[Outcome]:
    return list(run_jobs(eval, jobs, processes=processes, threads=threads))


def test_jobs_that_fail_or_die_are_told_and_the_others_end_well() -> None:
    kill = "__import__('os').kill(__import__('os').getpid(), {})"
    jobs = [
        "6 * 7",
        "undefined",
        "__import__('os')._exit(3)",
        "'after the exit'",
        kill.format(int(signal.SIGKILL)),
        kill.format(int(signal.SIGTERM)),
        "lambda: 0",  # a result that cannot be sent
        "'the last one'",
    ]
    found = outcomes(jobs)
    assert [outcome.number for outcome in found] == list(range(8))
    assert [outcome.result for outcome in found] == [42, None, None, "after the exit", None, None, None, "the last one"]
    messages = [outcome.message for outcome in found]
    assert messages[:6] == [
        None,
        "NameError: name 'undefined' is not defined",
        "its process died (exit code 3).",
        None,
        "its process died (signal SIGKILL). It may have run out of memory: try fewer --jobs.",
        "its process died (signal SIGTERM).",
    ]
    assert "pickle" in str(messages[6])
    assert messages[7] is None
    assert "Traceback" in str(found[1].trace)
    assert found[2].trace is None


def test_processes_work_side_by_side_and_stay(tmp_path: Path) -> None:
    met = f"__import__('pathlib').Path({str(tmp_path / 'met')!r})"
    waits = f"[__import__('time').sleep(0.01) for _ in iter({met}.exists, True)]"  # until the second job runs beside it
    found = outcomes([waits, f"{met}.touch()", *["__import__('os').getpid()"] * 4], processes=2)
    assert sorted(outcome.number for outcome in found) == list(range(6))
    assert found[0].number == 1
    assert all(outcome.message is None for outcome in found)
    pids = {outcome.result for outcome in found if outcome.number >= 2}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_threads_stand_in_the_environment_before_the_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    jobs = ["__import__('torch').get_num_threads()", "dict(__import__('os').environ)"]
    if Path("/proc/self/environ").exists():
        jobs.append(ENVIRONMENT)
    found = [outcome.result for outcome in outcomes(jobs, threads=2)]
    assert found[0] == 2
    assert [found[1][name] for name in names] == ["2"] * 3
    if len(found) == 3:
        assert {f"{name}=2" for name in names} <= set(found[2].split("\0"))
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert "MKL_NUM_THREADS" not in os.environ


def test_leaving_early_ends_the_processes() -> None:
    found = run_jobs(eval, ["'first'", PAUSE.format(600), PAUSE.format(600)], processes=2, threads=1)
    assert next(found).result == "first"
    assert len(multiprocessing.active_children()) == 2
    found.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_no_jobs_start_no_process() -> None:
    assert outcomes([]) == []
    assert multiprocessing.active_children() == []


def test_no_more_processes_than_jobs_and_interrupts_work_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    found = run_jobs(eval, ["__import__('signal').getsignal(2)"], processes=4, threads=1)
    assert next(found).result == signal.SIG_IGN
    assert len(multiprocessing.active_children()) == 1
    found.close()  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is before


def test_they_start_from_another_thread_too() -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.extend(outcomes(["1 + 1"])))
    thread.start()
    thread.join()
    assert [outcome.result for outcome in found] == [2]


def test_workers_end_with_a_parent_that_was_killed() -> None:
    code = (
        "from landbridge.benchmarks.workers import run_jobs\n"
        f"jobs = ['print(\"running\", flush=True)', {PAUSE.format(600)!r}]\n"
        "list(run_jobs(eval, jobs, processes=1, threads=1))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "running\n"
    parent.kill()
    # the worker holds the same pipe: it closes when the last of them has ended
    assert parent.communicate(timeout=60)[0] == ""


def test_ctrl_c_does_not_reach_a_worker_even_while_it_imports() -> None:
    def interrupt() -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)  # to find its function it has to import torch, which takes longer
    timer.start()
    found = list(run_jobs(torch.is_tensor, [0], processes=1, threads=1))
    timer.join()
    assert found == [Outcome(0, False)]
