"""Folders that cannot be written to: sentences, and what was made is shown all the same."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from command import Command, command_line
from made_report import made_folder

from landbridge.benchmarks import outputs, plots
from landbridge.benchmarks.outputs import write_output


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    return command_line(monkeypatch, capsys)


@pytest.mark.parametrize("command", ["table", "validators"])
def test_a_read_only_folder_is_a_sentence(
    tmp_path: Path, landbridge: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    made_folder(tmp_path / "out")

    def refused(path: Path, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(outputs, "write_atomically", refused)
    said = landbridge(command, tmp_path / "out")
    assert said.code == 2
    first = tmp_path / "out" / f"{command}.md"
    assert f"landbridge: cannot write {first} (Read-only file system). Make room, " in said.err
    assert "Errno" not in said.err
    assert "end-to-end" in said.out  # shown all the same


def test_a_folder_or_a_file_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "table.md").mkdir()
    with pytest.raises(ValueError, match=r"cannot write .*table\.md \(.+\)\. Make room"):
        write_output(tmp_path / "table.md", b"")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*file/table\.md \(.+\)\. Make room"):
        write_output(tmp_path / "file" / "table.md", b"")
