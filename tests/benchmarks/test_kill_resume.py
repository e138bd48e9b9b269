"""The kill test, in short: benchmarks/speed/kill_resume.py with three kills, and that its verdict can be no."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "speed" / "kill_resume.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("kill_resume", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_killed_and_resumed_it_ends_in_the_same_weights(
    tmp_path: Path, script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = script.kill_and_resume(tmp_path, 3, script.Settings(steps=40, every=4, threads=1), seed=0)
    assert [kill.place for kill in report.kills] == ["half written", "anywhere", "before the rename"]
    assert [kill.wrong for kill in report.kills] == [""] * 3
    assert report.ends
    assert set(report.ends) == {report.expected}
    assert report.remains == []
    assert report.well
    script.show(report)
    assert "3 kills, 2 of them inside the write" in capsys.readouterr().out


def test_the_verdict_can_be_no(tmp_path: Path, script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kill = script.Kill("anywhere", 1.0, 4, 0, "")
    good = script.Report([kill], "ab" * 32, ["ab" * 32], [], 1.0)
    assert good.well
    wrong = [
        good._replace(ends=["ab" * 32, "cd" * 32]),
        good._replace(ends=[]),
        good._replace(remains=[".killed.pt.1.tmp"]),
        good._replace(kills=[kill, kill._replace(wrong="the checkpoint went back from step 8 to 4")]),
    ]
    for report in wrong:
        assert not report.well
        script.show(report)
        assert "FAILED" in capsys.readouterr().out
    checkpoint = tmp_path / "killed.pt"
    checkpoint.write_bytes(b"half a file")
    assert "cannot be read as a checkpoint" in script._look(checkpoint, "anywhere", 1.0, None, 4).wrong
    checkpoint.unlink()
    assert "went back from step 8 to None" in script._look(checkpoint, "anywhere", 1.0, 8, 4).wrong
    assert "not inside the write" in script._look(checkpoint, "half written", 1.0, None, 4).wrong
