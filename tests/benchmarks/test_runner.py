"""The grid: what is planned, what is said before work starts, the lock, and failures that stop nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tiny_suite import Ran, tiny_job, tiny_suite

from landbridge.benchmarks import runner
from landbridge.benchmarks.cell import run_cell
from landbridge.benchmarks.results import Cell
from landbridge.benchmarks.runner import GridError, Plan, exclusive, plan, run
from landbridge.benchmarks.suite import CellSettings
from landbridge.dann.dann import DANN


def planned(
    out: Path, *changes: tuple[str, str], methods: Sequence[str] = ("source-only", "dann"), **other: Any
) -> Plan:
    """The plan of two methods on one task with two seeds, unless told otherwise."""
    out.mkdir(parents=True, exist_ok=True)
    asked: dict[str, Any] = {
        "protocol": "short", "tasks": ["clean->noisy"], "methods": list(methods), "seeds": 2,
        "out": out, "data": None, "device": "cpu", "keep": "all", "fresh": False, **other,
    }  # fmt: skip
    return plan(tiny_suite(out, *changes), **asked)


def places(found: Plan) -> list[tuple[str, str, int]]:
    return [(job.settings.task, job.settings.method, job.settings.seed) for job in found.jobs]


def test_all_cells_are_planned_seed_by_seed(tmp_path: Path) -> None:
    found = planned(tmp_path, tasks=["clean->noisy", "upright->rotated"])
    assert places(found) == [
        (task, method, seed)
        for seed in (0, 1)
        for task in ("clean->noisy", "upright->rotated")
        for method in ("source-only", "dann")
    ]
    assert (found.done, found.resumed, found.changed) == (0, 0, [])
    assert found.jobs[1].identity == tiny_job(tmp_path).identity
    assert found.jobs[1].folder == tiny_job(tmp_path).folder


def test_steps_may_be_asked_for(tmp_path: Path) -> None:
    found = planned(tmp_path, steps=99)
    assert {job.settings.rules.steps for job in found.jobs} == {99}
    assert found.jobs[1].identity != tiny_job(tmp_path).identity


def test_what_is_there_is_not_run_again_unless_fresh(tmp_path: Path) -> None:
    run_cell(tiny_job(tmp_path))
    begun = tiny_job(tmp_path, "source-only", seed=1)
    begun.work.mkdir(parents=True)
    (begun.work / "training.pt").write_bytes(b"")
    found = planned(tmp_path)
    assert places(found) == [
        ("clean->noisy", "source-only", 0),
        *[("clean->noisy", m, 1) for m in ("source-only", "dann")],
    ]
    assert (found.done, found.resumed) == (1, 1)
    found = planned(tmp_path, fresh=True)
    assert len(found.jobs) == 4
    assert (found.done, found.resumed) == (0, 0)
    assert not begun.work.exists()
    assert tiny_job(tmp_path).folder.exists()  # until its successor is done


def test_changed_settings_run_again_and_it_is_said_which(tmp_path: Path) -> None:
    run_cell(tiny_job(tmp_path))
    where = "clean->noisy dann seed 0: "
    assert planned(tmp_path, ("steps = 6", "steps = 7")).changed == [where + "rules.steps 6 -> 7"]
    assert planned(tmp_path, ("[8]", "[9]")).changed == [where + "adaptation.settings.hidden [8] -> [9]"]
    changes = [("batch_size = 16", "batch_size = 8"), ("lr = 1e-3", "lr = 2e-3\nnesterov = true\nclip = 1.0"),
               ("checkpoints = 3", "checkpoints = 2")]  # fmt: skip
    (said,) = planned(tmp_path, *changes).changed
    assert "rules.checkpoints 3 -> 2; training.batch_size 16 -> 8; training.optimizer.clip None -> 1.0" in said
    assert said.endswith(" and 1 more")


def test_a_changed_method_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_cell(tiny_job(tmp_path))
    monkeypatch.setattr(DANN, "version", DANN.version + 1)
    found = planned(tmp_path)
    assert len(found.jobs) == 4
    assert found.changed == ["clean->noisy dann seed 0: the data or the method itself changed"]


def test_another_protocol_in_the_same_folder_is_no_change(tmp_path: Path) -> None:
    run_cell(tiny_job(tmp_path))
    found = planned(tmp_path, protocol="same")
    assert len(found.jobs) == 4
    assert found.changed == []


def test_broken_results_do_not_stop_the_search_for_changes(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    run_cell(job)
    for number, text in enumerate(("{", "[]", '{"settings": 3}')):
        other = job.folder.with_name(f"seed-0-0000000{number}")
        other.mkdir()
        (other / "result.json").write_text(text)
    assert len(planned(tmp_path, ("steps = 6", "steps = 7")).changed) == 1


def test_settings_a_method_does_not_take_are_said_before_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"method 'dann' of suite 'tiny': DANN: unknown setting 'hiden'"):
        planned(tmp_path, ("hidden", "hiden"))


def test_a_disk_too_full_is_said_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(runner.shutil, "disk_usage", lambda _: Usage(15_000_000))  # type: ignore[attr-defined]
    with pytest.raises(GridError, match=r"4 cells may need \d+ MB in .*; \d+ MB are free\. Nothing was run; .*--out"):
        planned(tmp_path)
    assert len(planned(tmp_path, keep="scores").jobs) == 4
    assert len(planned(tmp_path, seeds=1).jobs) == 2


def test_a_folder_that_cannot_be_is_said_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(GridError, match=r"cannot write to .*file.runs .*Nothing was run; pass another folder"),
        exclusive(tmp_path / "file" / "runs"),
    ):
        pass


def test_a_read_only_folder_is_said_before_work(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(GridError, match=r"cannot write to .*Permission denied"), exclusive(tmp_path / "runs"):
        pass


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(GridError, match=r"another run is writing to .*Wait for it"), exclusive(tmp_path):
            pass
        with exclusive(tmp_path / "another"):
            pass
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "another", "cells"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    here = Ran()
    monkeypatch.setattr(runner, "run_jobs", here.run_jobs)
    return here


def test_one_failing_cell_is_kept_in_the_log_and_the_others_finish(tmp_path: Path, ran: Ran) -> None:
    jobs = [tiny_job(tmp_path, method) for method in ("source-only", "dann", "deepcoral")]
    jobs[1].work.mkdir(parents=True)
    (jobs[1].work / "training.pt").write_bytes(b"damaged")
    told: list[tuple[str, bool, str | None]] = []

    def ended(settings: CellSettings, cell: Cell | None, message: str | None) -> None:
        told.append((settings.method, cell is not None and cell.method == settings.method, message))

    (failure,) = run(jobs, processes=2, threads=3, ended=ended)
    assert (ran.processes, ran.threads) == (2, 3)
    assert failure.settings is jobs[1].settings
    assert failure.message.startswith("CheckpointError: ")
    assert told == [("deepcoral", True, None), ("dann", False, failure.message), ("source-only", True, None)]
    assert [job.folder.exists() for job in jobs] == [True, False, True]
    log = (tmp_path / "failures.log").read_text()
    assert f" clean->noisy dann seed 0: {failure.message}\na traceback\n" in log
    assert run([jobs[1]], processes=1, threads=1, ended=ended) == [failure]
    assert (tmp_path / "failures.log").read_text().count("CheckpointError") == 2


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, ran: Ran) -> None:
    job = tiny_job(tmp_path)
    job.work.mkdir(parents=True)
    (job.work / "training.pt").write_bytes(b"damaged")
    (tmp_path / "failures.log").mkdir()
    assert len(run([job], processes=1, threads=1, ended=lambda *_: None)) == 1
