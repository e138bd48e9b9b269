"""The work of preparing, stopped at every moment there is: it goes on, decodes nothing twice, and ends the same."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_photos import THREE_CLASSES, make_photos

from landbridge.benchmarks.datasets import making, store
from landbridge.benchmarks.datasets.base import DataError
from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.datasets.making import exclusive
from landbridge.benchmarks.datasets.prepare import Prepared, load_folders, open_prepared, prepare

PETS = FolderSettings(folder="pets", domains={"photo": "photo", "sketch": "sketch"}, side=16)
BOTH = ("photo", "sketch")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two domains of three classes, 2 and 1 images each."""
    make_photos(tmp_path / "data" / "pets", domains={"photo": 2, "sketch": 1}, classes=THREE_CLASSES, side=10)
    return tmp_path / "data"


def make(data: Path, cache: Path, processes: int = 1, **other: Any) -> dict[str, Prepared]:
    return prepare("pets", PETS, BOTH, data, cache=cache, processes=processes, **other)


def folder(cache: Path) -> Path:
    return cache / "prepared" / "pets-16"


def contents(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder(cache).iterdir())}


# ---------------------------------------------------------------- killed


class Killed(BaseException):
    """Stands for SIGKILL: from then on nothing reaches the disk any more, whatever is cleaned up on the way out."""


class Clock:
    """Counts what touches the disk, and kills at one of these steps: before it is done, or half done, or after it."""

    def __init__(self, last: int | None, moment: str) -> None:
        self.last, self.moment = last, moment
        self.steps, self.dead = 0, False
        self.decoded: list[str] = []

    def step(self, act: Callable[..., Any], *args: Any, half: Callable[[], Any] | None = None, **named: Any) -> Any:
        if self.dead:
            raise Killed
        self.steps += 1
        if self.steps - 1 != self.last:
            return act(*args, **named)
        self.dead = True
        if self.moment == "half" and half is not None:
            half()
        if self.moment == "after":
            done = act(*args, **named)
            if hasattr(done, "close"):
                done.close()
        raise Killed


def watch(clock: Clock, patch: pytest.MonkeyPatch) -> None:
    """Let every step of the work on the disk go by the clock."""
    decode, pwrite, record = store.decode, os.pwrite, store.Part.record
    for owner, name in (
        (os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "mkdir"), (Path, "open")
    ):  # fmt: skip
        real = getattr(owner, name) if name != "fsync" else int  # which takes a number and does nothing, but quickly
        patch.setattr(owner, name, lambda *args, real=real, **named: clock.step(real, *args, **named))

    def decoding(path: str, side: int) -> Any:
        made = clock.step(decode, path, side)
        clock.decoded.append(path)
        return made

    def writing(file: int, content: memoryview, place: int) -> int:
        half = len(content) // 2
        done: int = clock.step(pwrite, file, content, place, half=lambda: pwrite(file, content[:half], place))
        return done

    def recording(part: store.Part, written: store.Written) -> None:
        def torn() -> None:
            with open(part.journal, "ab") as file:
                file.write(b"\x01" * 70)

        clock.step(record, part, written, half=torn)

    patch.setattr(store, "decode", decoding)
    patch.setattr(os, "pwrite", writing)
    patch.setattr(store.Part, "record", recording)


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS", 2)


def ended(clock: Clock, work: Callable[[], Any]) -> bool:
    """Whether the work came to its end before it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        watch(clock, patch)
        try:
            work()
        except Killed:
            return False
    return True


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("moment", ["half", "after"])
@pytest.mark.parametrize("begun", ["nothing there", "an older array"])
def test_killed_at_every_moment_it_goes_on_and_ends_the_same(tmp_path: Path, moment: str, begun: str) -> None:
    data, fresh, old = tmp_path / "data", tmp_path / "fresh", tmp_path / "old"
    make_photos(data / "pets", domains={"photo": 2, "sketch": 1}, classes=["bike", "mug"], side=10)
    if begun == "an older array":
        make(data, old)
        photo = data / "pets" / "photo"
        (photo / "bike" / "frame_0001.jpg").unlink()  # one is gone, one changed, one new
        shutil.copy(photo / "mug" / "frame_0002.jpg", photo / "mug" / "frame_0001.jpg")
        shutil.copy(photo / "mug" / "frame_0002.jpg", photo / "bike" / "frame_0009.jpg")
    make(data, fresh)
    expected = contents(fresh)
    killed = 0
    while True:
        cache = tmp_path / f"cache {killed}"
        if old.exists():
            shutil.copytree(old, cache)
        clock = Clock(killed, moment)
        if ended(clock, lambda cache=cache: make(data, cache)):
            break
        opened = [open_prepared("pets", PETS, domain, cache=cache) for domain in BOTH]  # damaged: it would raise
        for prepared, domain in zip(opened, BOTH, strict=True):
            if prepared is not None:
                there = (folder(cache) / f"{domain}.npy").read_bytes()
                assert there in (expected[f"{domain}.npy"], _old(old, domain))
        again = Clock(None, moment)
        assert ended(again, lambda cache=cache: make(data, cache))
        assert contents(cache) == expected
        noted = set(clock.decoded) - set(again.decoded)
        assert len(clock.decoded) - len(noted) <= 2  # of the two rows that were not noted yet
        killed += 1
    assert killed > 30
    assert contents(cache) == expected


def _old(old: Path, domain: str) -> bytes | None:
    path = folder(old) / f"{domain}.npy"
    return path.read_bytes() if path.exists() else None


SLOWLY = """
import sys, time
from pathlib import Path
from landbridge.benchmarks.datasets import store
from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.datasets.prepare import prepare
decode = store.decode
def slowly(path, side):
    time.sleep(0.02)
    return decode(path, side)
store.decode = slowly
settings = FolderSettings(folder="pets", domains={"photo": "photo", "sketch": "sketch"}, side=16)
if __name__ == "__main__":
    prepare("pets", settings, ["photo", "sketch"], Path(sys.argv[1]), cache=Path(sys.argv[2]), processes=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_really_killed_with_processes_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    make_photos(data / "pets", domains={"photo": 80, "sketch": 1}, classes=THREE_CLASSES, side=10)
    script = tmp_path / "slowly.py"
    script.write_text(SLOWLY)
    running = subprocess.Popen([sys.executable, str(script), str(data), str(cache)], start_new_session=True)
    try:
        journal = _wait_for(lambda: [p for p in folder(cache).glob(".photo.*.done") if p.stat().st_size > 32 * 56])[0]
        os.kill(running.pid, signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    _wait_for(lambda: not _group(running.pid))  # the workers end by themselves
    noted = journal.stat().st_size // 56
    assert 32 <= noted < 240
    decoded: list[str] = []
    real = store.decode
    monkeypatch.setattr(store, "decode", lambda path, side: (decoded.append(path), real(path, side))[1])
    make(data, cache)
    assert len(decoded) == 243 - noted
    make(data, tmp_path / "one go")
    assert contents(cache) == contents(tmp_path / "one go")


def _wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (there := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return there


def _group(leader: int) -> list[int]:
    """The processes that are left of a session and not only waiting to be buried."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            left.append(int(stat.parent.name))
    return left


# ---------------------------------------------------------------- files of which no image can be made


def said(data: Path, cache: Path, **other: Any) -> str:
    with pytest.raises(DataError) as caught:
        make(data, cache, **other)
    return str(caught.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_files_are_named_together_and_the_good_ones_kept(
    data: Path, tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "ROWS", 2)
    photo, cache = data / "pets" / "photo", tmp_path / "cache"
    good = (photo / "mug" / "frame_0001.jpg").read_bytes()
    (photo / "mug" / "frame_0001.jpg").write_bytes(good[: len(good) // 2])
    (photo / "bike" / "frame_0002.jpg").write_text("<html>")
    (photo / "bike" / "notes.txt").write_text("mine")
    (photo / "bike" / "more").mkdir()
    (data / "pets" / "sketch" / "mouse" / "frame_0001.jpg").write_bytes(b"")
    text = said(data, cache, processes=processes)
    assert text.startswith(f"{data}: expected files that are images; got 5 of which none can be made: ")
    for line in (
        "pets/photo/bike/frame_0002.jpg (not an image: it begins with b'<html>'); ",
        "pets/photo/bike/more (a folder in a class folder); ",
        "pets/photo/bike/notes.txt (no image by its suffix); ",
        "pets/photo/mug/frame_0001.jpg (truncated or damaged: ",
        "pets/sketch/mouse/frame_0001.jpg (empty). ",
    ):
        assert line in text
    assert text.endswith("Get them anew or take them out, and run the same command again: all others are kept.")
    assert open_prepared("pets", PETS, "photo", cache=cache) is None
    decoded: list[str] = []
    real = store.decode
    monkeypatch.setattr(store, "decode", lambda path, side: (decoded.append(path), real(path, side))[1])
    (photo / "mug" / "frame_0001.jpg").write_bytes(good)
    (photo / "bike" / "frame_0002.jpg").unlink()
    (photo / "bike" / "notes.txt").unlink()
    (photo / "bike" / "more").rmdir()
    shutil.copy(data / "pets" / "sketch" / "bike" / "frame_0001.jpg", data / "pets" / "sketch" / "mouse")
    make(data, cache)
    assert sorted(decoded) == [str(photo / "mug" / "frame_0001.jpg"), str(data / "pets/sketch/mouse/frame_0001.jpg")]
    make(data, tmp_path / "anew")
    assert contents(cache) == contents(tmp_path / "anew")


def test_many_bad_files_are_counted_and_listed_in_a_file(data: Path, tmp_path: Path) -> None:
    for i in range(20):
        (data / "pets" / "photo" / "mug" / f"x{i:02d}.png").write_bytes(b"no")
    text = said(data, tmp_path)
    assert "got 20 of which none can be made" in text
    assert "x09.png (not an image: it begins with b'no') and 10 more. All are named in " in text
    listed = (folder(tmp_path) / "faults.txt").read_text().splitlines()
    assert [line.split(" ")[0][-7:] for line in listed] == [f"x{i:02d}.png" for i in range(20)]
    for file in (data / "pets" / "photo" / "mug").glob("x*"):
        file.unlink()
    make(data, tmp_path)
    assert "faults.txt" not in contents(tmp_path)


def test_a_stranger_beside_what_is_prepared_is_said_and_does_no_harm(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path)
    before = contents(tmp_path)
    (data / "pets" / "sketch" / "bike" / "notes.txt").touch()
    assert "bike/notes.txt (no image by its suffix). Get them anew" in said(data, tmp_path)
    assert contents(tmp_path) == before
    assert len(load_folders("pets", PETS, "photo->sketch", data=data, cache=tmp_path).target_train.rows) == 2


# ---------------------------------------------------------------- the disk, the lock, the processes


def test_too_little_room_is_said_before_work_starts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**6))
    text = said(data, tmp_path)
    assert re.search(r"pets-16: expected 17 MB of room; got 1 MB. Nothing was decoded; make room, or set LAND", text)
    assert list(contents(tmp_path)) == [".lock"]


@pytest.mark.parametrize("what", ["row", "journal", "index"])
def test_a_disk_that_gets_full_on_the_way(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(making, "ROWS", 2)
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.MonkeyPatch.context() as patch:
        if what == "row":
            real, written = os.pwrite, list[int]()

            def pwrite(file: int, content: memoryview, place: int) -> int:
                if len(written) >= 3:
                    raise full
                written.append(place)
                return real(file, content, place)

            patch.setattr(os, "pwrite", pwrite)
        elif what == "journal":
            record, noted = store.Part.record, list[int]()

            def recording(part: store.Part, rows: store.Written) -> None:
                noted.append(1)
                if len(noted) > 1:
                    raise full
                record(part, rows)

            patch.setattr(store.Part, "record", recording)
        else:
            patch.setattr(store, "write_atomically", _failing(full))
        text = said(data, tmp_path / "cache")
    assert "expected a place to write to; got No space left on device. Make room" in text
    assert text.endswith("then run the same command again: what was decoded is kept.")
    decoded: list[str] = []
    decode = store.decode
    monkeypatch.setattr(store, "decode", lambda path, side: (decoded.append(path), decode(path, side))[1])
    make(data, tmp_path / "cache")
    assert len(decoded) == {"row": 6, "journal": 7, "index": 3}[what]
    make(data, tmp_path / "anew")
    assert contents(tmp_path / "cache") == contents(tmp_path / "anew")


def _failing(error: OSError) -> Callable[[Path, bytes], None]:
    real = store.write_atomically

    def write(path: Path, content: bytes) -> None:
        if path.name == "photo.json":
            raise error
        real(path, content)

    return write


def test_two_at_once(data: Path, tmp_path: Path) -> None:
    with exclusive(folder(tmp_path)):
        assert "expected nobody else at work there; got another `prepare`. Wait for it" in said(data, tmp_path)
    make(data, tmp_path)
    left = folder(tmp_path) / ".photo.0123456789abcdef.part.done"
    left.touch()
    with exclusive(folder(tmp_path)):
        make(data, tmp_path)  # nothing to do: no need to wait, and no business of its own with what lies about
        assert left.exists()
    make(data, tmp_path)
    assert not left.exists()


def _dies(task: store.Task) -> store.Written:
    os._exit(9)


def test_a_process_that_dies(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS", 1)
    monkeypatch.setattr(making, "fill", _dies)
    text = said(data, tmp_path, processes=2)
    assert "expected processes that decode images; got one that died. It may have run out of memory" in text


def test_processes_stop_when_the_work_is_broken_off(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "ROWS", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making.Part, "record", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(data, tmp_path, processes=2)
    assert make(data, tmp_path)["photo"].array.shape == (6, 3, 16, 16)  # and the lock is free again


def _interrupted(part: store.Part, written: store.Written) -> Iterator[None]:
    raise KeyboardInterrupt


def test_progress_bars(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(data, tmp_path / "1", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"photo .*6/6", shown.err)
    assert re.search(r"sketch .*3/3", shown.err)
    make(data, tmp_path / "1", progress=True)  # nothing to do
    make(data, tmp_path / "2", progress=None)  # no terminal
    make(data, tmp_path / "3", progress=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
