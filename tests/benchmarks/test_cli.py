"""The command line: what it writes and says, its exit codes, and Ctrl-C in the middle of a grid."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import Command, command_line
from made_cells import made_cell
from tiny_suite import Ran, tiny_file, tiny_job

from landbridge.benchmarks import cli, plots, runner
from landbridge.benchmarks.results import cell_folder, write_result
from landbridge.benchmarks.runner import exclusive
from landbridge.methods import METHODS

ONE_TASK = ("--tasks", "clean-to-noisy", "--seeds", "1", "--device", "cpu")


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: ``landbridge("bench", ...)``."""
    return command_line(monkeypatch, capsys)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Cells run in this process, and no picture is drawn."""
    here = Ran()
    monkeypatch.setattr(runner, "run_jobs", here.run_jobs)
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    return here


def put(out: Path, **fields: Any) -> Path:
    cell = made_cell(**fields)
    place = cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)
    return write_result(place, cell)


def test_bench_fills_the_table_and_runs_nothing_twice(
    tmp_path: Path, ran: Ran, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(runner, "run_jobs", ran.run_jobs)  # with the picture, this once
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", *ONE_TASK, "--jobs", 2)
    monkeypatch.setattr(sys, "argv", ["landbridge", *map(str, command)])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert not ended.value.code
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "cells", "grid.json", "results.png", "table.csv", "table.md", "table.tex",
    ]  # fmt: skip
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:13] == [
        "suite", "protocol", "network", "track", "task", "method", "column", "mean", "stderr", "seeds", "n",
        "published", "published_source",
    ]  # fmt: skip
    assert {(row["task"], row["method"], row["column"]) for row in rows} >= {
        ("clean->noisy", method, column) for method in ("source-only", "dann") for column in ("last", "oracle")
    }
    assert "77.1" in (out / "table.md").read_text()  # the suite's own published row
    assert [job.settings.method for job in ran.jobs] == ["dann", "source-only"]
    assert ran.processes == 2


def test_what_bench_prints(tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", *ONE_TASK)
    said = landbridge(*command)
    assert said.code == 0
    assert "2 cells to run, " in said.err
    assert "[1/2] clean->noisy  dann  seed 0  last " in said.err
    assert "[2/2] clean->noisy  source-only  seed 0  last " in said.err
    assert f"wrote {tmp_path / 'out' / 'table.md'}, " in said.err
    assert "DANN" in said.out
    said = landbridge(*command)
    assert (said.code, len(ran.jobs)) == (0, 2)
    assert "0 cells to run" in said.err
    assert "; 2 are there already" in said.err
    assert "DANN" in said.out
    assert landbridge(*command, "--fresh").code == 0
    assert len(ran.jobs) == 4
    said = landbridge(*command, "--steps", 5)
    assert "settings changed, runs again: clean->noisy dann seed 0: rules.steps 6 -> 5" in said.err
    assert len(ran.jobs) == 6
    assert {job.settings.rules.steps for job in ran.jobs[4:]} == {5}


def test_the_choices_arrive(tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    said = landbridge(
        "bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--protocol", "same", "--methods", "seen,deepcoral",
        "--keep-outputs", "scores", "--device", "cpu", "--jobs", 3,
    )  # fmt: skip
    assert said.code == 0
    assert [(job.settings.protocol, job.settings.method, job.settings.seed, job.keep) for job in ran.jobs] == [
        ("tiny/same/transductive", method, seed, "scores") for seed in (1, 0) for method in ("deepcoral", "seen")
    ]
    assert ran.processes == 3
    assert not list((tmp_path / "out").rglob("outputs"))


def test_the_out_folder_is_runs_and_the_suite_s_name(
    tmp_path: Path, ran: Ran, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert landbridge("bench", tiny_file(tmp_path), "--methods", "dann", *ONE_TASK).code == 0
    assert (tmp_path / "runs" / "tiny" / "table.md").is_file()


def test_a_failing_cell_in_its_process_is_told_at_the_end_and_the_others_finish(
    tmp_path: Path, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    out = tmp_path / "out"
    job = tiny_job(out)
    job.work.mkdir(parents=True)
    (job.work / "training.pt").write_bytes(b"damaged")
    said = landbridge("bench", tiny_file(tmp_path), "--out", out, *ONE_TASK, "--jobs", 2)
    assert said.code == 1
    assert "; 1 go on where they stopped" in said.err
    assert "clean->noisy  dann  seed 0  FAILED: CheckpointError: " in said.err
    last = said.err[said.err.index("wrote ") :]
    assert f"failed: clean->noisy dann seed 0: CheckpointError: {job.work / 'training.pt'} cannot be read" in last
    assert f"1 of 2 cells failed; tracebacks are in {out / 'failures.log'}" in last
    assert "Traceback" not in said.err
    assert "Traceback (most recent call last)" in (out / "failures.log").read_text()
    assert "source-only" in (out / "table.md").read_text()


def test_a_grid_that_fails_altogether_says_why(tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    job = tiny_job(tmp_path)
    job.work.mkdir(parents=True)
    (job.work / "training.pt").write_bytes(b"damaged")
    said = landbridge("bench", tiny_file(tmp_path), "--out", tmp_path, "--methods", "dann", *ONE_TASK)
    assert said.code == 1
    assert "failed: clean->noisy dann seed 0: CheckpointError: " in said.err
    assert "1 of 1 cells failed" in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("optdigit",), "unknown suite 'optdigit'; did you mean 'optdigits'?"),
        (("mine.toml",), "there is no suite file mine.toml"),
        (("tiny", "--methods", "dnn"), "unknown method 'dnn'; did you mean 'dann"),
        (("tiny", "--tasks", "clean->nosy"), "unknown task 'clean->nosy'; did you mean 'clean->noisy'?"),
        (("tiny", "--tasks", "clean-"), "In a shell, quote tasks ('a->b'), or write a-to-b."),
        (("tiny", "--protocol", "shrt"), "--protocol: unknown protocol 'shrt'; did you mean 'short'?"),
        (("tiny", "--keep-outputs", "score"), "--keep-outputs: unknown word 'score'; did you mean 'scores'?"),
        (("tiny", "--device", "cpuu"), "unknown device 'cpuu'; use 'auto', 'cpu'"),
        (("tiny", "--seeds", "0"), "'--seeds'"),
        (("tiny", "--method", "dann"), "--method"),
    ],
)
def test_a_mistake_is_a_sentence_and_nothing_is_made(
    tmp_path: Path, landbridge: Command, arguments: tuple[str, ...], says: str
) -> None:
    path = str(tiny_file(tmp_path))
    said = landbridge("bench", *(path if a == "tiny" else a for a in arguments), "--out", tmp_path / "out")
    assert said.code == 2
    assert says in said.err
    assert "Traceback" not in said.err
    assert not said.out
    assert not (tmp_path / "out").exists()


def test_a_mistake_shows_its_traceback_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANDBRIDGE_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["landbridge", "bench", "optdigit"])
    with pytest.raises(ValueError, match="unknown suite"):
        cli.run()
    assert "landbridge: unknown suite" in capsys.readouterr().err


def test_folders_that_cannot_be_used_are_said_before_work(
    tmp_path: Path, ran: Ran, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    suite = tiny_file(tmp_path)
    said = landbridge("bench", suite, "--out", suite / "out", *ONE_TASK)
    assert (said.code, ran.jobs) == (2, [])
    assert f"landbridge: cannot write to {suite / 'out'} (" in said.err
    with exclusive(tmp_path / "out"):
        said = landbridge("bench", suite, "--out", tmp_path / "out", *ONE_TASK)
    assert (said.code, ran.jobs) == (2, [])
    assert f"landbridge: another run is writing to {tmp_path / 'out'}. Wait for it" in said.err
    monkeypatch.setattr(runner.shutil, "disk_usage", lambda _: Usage(1_000_000))  # type: ignore[attr-defined]
    said = landbridge("bench", suite, "--out", tmp_path / "out", *ONE_TASK)
    assert (said.code, ran.jobs) == (2, [])
    assert "landbridge: 2 cells may need " in said.err
    assert "Nothing was run" in said.err


def test_table_makes_the_files_anew_and_names_a_broken_result(tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    put(tmp_path, method="dann")
    put(tmp_path, method="source-only", scores=(0.25, 0.5))
    broken = put(tmp_path, method="dan")
    broken.write_text('{"schema": 1, "sui')
    said = landbridge("table", tmp_path)
    assert said.code == 0
    assert "50.0" in said.out
    for name in ("table.md", "table.tex", "table.csv", "results.png"):
        assert (tmp_path / name).stat().st_size
    told = " ".join((said.out + said.err).split())
    assert "dan/" in told
    assert "no valid JSON" in told


def test_table_without_results_says_what_to_do(tmp_path: Path, landbridge: Command) -> None:
    said = landbridge("table", tmp_path / "none")
    assert (said.code, said.out) == (2, "")
    assert f"landbridge: there is no folder {tmp_path / 'none'}." in said.err
    said = landbridge("table", tmp_path)
    assert said.code == 2
    assert f"{tmp_path} holds no finished cell. Run 'landbridge bench SUITE --out {tmp_path}' first." in said.err
    put(tmp_path).write_text("{")
    said = landbridge("table", tmp_path)
    assert said.code == 2
    assert "result.json is left out: it is no valid JSON" in said.err


def test_table_does_without_torch(tmp_path: Path) -> None:
    put(tmp_path)
    code = (
        "import sys; from landbridge.benchmarks.cli import app\n"
        f"app(['table', {str(tmp_path)!r}], standalone_mode=False)\n"
        "print('loaded:', *(name for name in ('torch', 'sklearn', 'matplotlib') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rsplit("loaded:", 1)[1].split() == ["matplotlib"]


def test_methods_lists_all(landbridge: Command) -> None:
    said = landbridge("methods")
    assert said.code == 0
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.strip() and not line.startswith(" ")}
    assert set(METHODS) <= set(lines)
    assert "dann.DANN" in lines["dann"]


def test_data_tells_what_is_there_and_how_to_get_the_rest(
    tmp_path: Path, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANDBRIDGE_DATA", raising=False)
    said = landbridge("data", "optdigits")
    assert said.code == 0
    assert "1797 images" in said.out
    assert "MISSING" not in said.out
    for arguments in ((), ("--data", tmp_path)):
        said = landbridge("data", "digits", *arguments)
        assert said.code == 1
        (usps,) = (i for i, line in enumerate(said.out.splitlines()) if line.startswith("usps "))
        there, how = said.out.splitlines()[usps : usps + 2]
        assert "MISSING" in there
        assert "7291 + 2007 images" in there
        assert "landbridge data digits --download" in how
        assert not said.err
    assert landbridge("data", "digit").code == 2


def test_ctrl_c_stops_cleanly_and_the_next_call_goes_on_inside_the_cells(tmp_path: Path) -> None:
    suite = tiny_file(tmp_path, ("steps = 6", "steps = 300"), ("checkpoints = 3", "checkpoints = 20"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "landbridge", "bench", str(suite), "--out", str(out), "--jobs", "2"]
    command += ["--methods", "dann", "--tasks", "clean-to-noisy", "--device", "cpu"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # where the tests themselves run in the background, Ctrl-C is ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(out.rglob("training.pt")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, said = process.communicate(timeout=60)  # the workers hold the same pipes, so that this waits for them too
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    assert f"of 2 cells are done and kept in {out}. Run the same command again to go on" in said
    begun = next(out.rglob("training.pt"))
    written = (begun.parent / "outputs" / "step-000015.npz").stat()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "go on where they stopped" in done.stderr
    files = {path.stat().st_ino: path.stat().st_mtime_ns for path in out.rglob("outputs/step-000015.npz")}
    assert len(files) == 2
    assert files[written.st_ino] == written.st_mtime_ns  # it was not written again
    assert (out / "table.md").is_file()
