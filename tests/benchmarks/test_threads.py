"""Threads: who decides on their number, that it stays, and that a cell which goes on with others says so."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command, command_line
from tiny_suite import Ran, tiny_file, tiny_job

from landbridge.benchmarks.cell import run_cell
from landbridge.benchmarks.threads import begin, begun_with, choose_threads, keep_threads

cells: Any = importlib.import_module("landbridge.benchmarks.cell")
runner: Any = importlib.import_module("landbridge.benchmarks.runner")
plots: Any = importlib.import_module("landbridge.benchmarks.plots")


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return command_line(monkeypatch, capsys)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    here = Ran()
    monkeypatch.setattr(runner, "run_jobs", here.run_jobs)
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    return here


def test_who_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(asked: int | None = None, **more: Any) -> tuple[int, str]:
        return tuple(choose_threads(tmp_path, asked, **{"cores": 8, "side_by_side": 2, **more}))  # type: ignore[return-value]

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert chosen() == (4, "")
    assert chosen(side_by_side=20) == (1, "")
    for text, expected in (("3", 3), ("6,2", 6), ("0", 4), ("many", 4), ("", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert chosen()[0] == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert chosen() == (3, "OMP_NUM_THREADS")
    keep_threads(tmp_path, 5)
    assert chosen() == (5, "as this folder was begun with")
    assert chosen(fresh=True) == (3, "OMP_NUM_THREADS")
    assert chosen(7) == (7, "--threads")
    (tmp_path / "grid.json").write_text("{broken")
    assert chosen()[0] == 3


def test_the_number_does_not_depend_on_how_much_is_left(tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--tasks", "clean-to-noisy", "--steps", 3)
    assert landbridge(*command, "--methods", "source-only", "--seeds", 1).code == 0  # a single cell
    first = ran.threads
    assert first == 1  # as for any number of cells: one a core
    landbridge(*command, "--seeds", 1, "--jobs", 1)
    assert ran.threads == first  # kept, though one at a time could have all cores
    said = landbridge(*command, "--seeds", 2, "--threads", cores + 1)
    assert ran.threads == cores + 1
    assert f"{cores + 1} thread(s) each (--threads)" in said.err


def test_omp_num_threads_is_respected(
    tmp_path: Path, ran: Ran, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--tasks", "clean-to-noisy", "--steps", 3)
    said = landbridge(*command, "--methods", "source-only", "--seeds", 1, "--jobs", 1)
    assert (said.code, ran.threads) == (0, 3)
    assert "3 thread(s) each (OMP_NUM_THREADS)" in said.err


def test_a_cell_that_goes_on_with_other_threads_says_so(
    tmp_path: Path, ran: Ran, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path / "out", "source-only")
    write = cells._Outputs.write

    def stop(this: Any, step: int, network: Any) -> None:
        if step == 6:
            raise KeyboardInterrupt
        write(this, step, network)

    with monkeypatch.context() as patch:
        patch.setattr(cells._Outputs, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run_cell(job)
    assert begun_with(job.work) == [torch.get_num_threads()]
    begin(job.work, 2, resumed=False)  # as if it had been begun so
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--tasks", "clean-to-noisy", "--seeds", 1)
    said = landbridge(*command, "--methods", "source-only", "--threads", 1)
    assert "clean->noisy source-only seed 0 was begun with 2 threads and goes on with 1: " in said.err
    assert "Pass --threads 2 to go on as it began" in said.err
    (cell,) = cells_of(tmp_path / "out")
    assert cell.environment["threads"] == "2, then 1"
    assert not (job.folder / "begun.json").exists()


def cells_of(out: Path) -> list[Any]:
    from landbridge.benchmarks.results import read_cells

    return read_cells(out)


def test_an_uninterrupted_cell_records_one_number(tmp_path: Path) -> None:
    assert begin(tmp_path, 2, resumed=False) == [2]
    assert begin(tmp_path, 2, resumed=True) == [2]
    assert begin(tmp_path, 1, resumed=True) == [2, 1]
    assert begin(tmp_path, 1, resumed=False) == [1]  # stopped before its first checkpoint: begins again
