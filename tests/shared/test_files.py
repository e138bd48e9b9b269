"""A file is the old one or the new one, never a part."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from landbridge.shared.files import write_atomically, write_or_say


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "file.bin"
    write_atomically(path, b"old")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert files(path.parent) == ["file.bin"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def full(*args: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["file.bin"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def interrupted(*args: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["file.bin"]


def test_the_content_is_on_the_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(a).read_text()), replace(a, b)))
    write_atomically(tmp_path / "file.bin", b"whole")
    assert order[:2] == ["fsync", "whole"]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    (tmp_path / ".file.bin.4711.tmp").write_bytes(b"half")
    (tmp_path / ".other.bin.4711.tmp").write_bytes(b"of another file")
    write_atomically(tmp_path / "file.bin", b"new")
    assert files(tmp_path) == [".other.bin.4711.tmp", "file.bin"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken" / "file.bin", b"new")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_meets_a_sentence_where_a_user_gave_the_path(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    write_or_say("save", path, b"old")

    def refused(*args: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(ValueError, match=rf"save cannot write {path} \({os.strerror(number)}\)\. Nothing was written"):
        write_or_say("save", path, b"new")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["file.bin"]


def test_a_path_that_is_a_folder_or_goes_through_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"save needs the path of a file; {tmp_path} is a folder"):
        write_or_say("save", tmp_path, b"new")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ValueError, match=r"save cannot write .*taken/file.bin \(.*\)"):
        write_or_say("save", tmp_path / "taken" / "file.bin", b"new")
