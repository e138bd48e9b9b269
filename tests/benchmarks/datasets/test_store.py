"""Arrays on the disk: the index, the journal, and rows that keep their worth whatever happens around them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from landbridge.benchmarks.datasets import store
from landbridge.benchmarks.datasets.base import DataError
from landbridge.benchmarks.datasets.store import (
    Identity,
    Index,
    Part,
    Task,
    Written,
    checksum_of,
    fill,
    finish,
    header,
    left_overs,
    read_index,
    right_size,
)

SIDE = 8


def pixels(value: int) -> NDArray[np.uint8]:
    return np.random.default_rng(value).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def row(value: int) -> bytes:
    return pixels(value).transpose(2, 0, 1).tobytes()


def sources(folder: Path, *values: int) -> list[Identity]:
    """Images whose pixels go by their value, and whose times do, too."""
    folder.mkdir(exist_ok=True)
    found = []
    for value in values:
        path = folder / f"{value}.png"
        Image.fromarray(pixels(value)).save(path)
        os.utime(path, ns=(value, value))
        found.append(Identity(path.name, path.stat().st_size, value))
    return found


def part_of(tmp_path: Path, identities: list[Identity], domain: str = "a") -> Part:
    (tmp_path / "cache").mkdir(exist_ok=True)
    return Part(tmp_path / "cache", domain, tmp_path / "data", identities, SIDE)


def work(part: Part, rows: list[int] | None = None) -> Written:
    items = part.open()
    task = Task(part.domain, str(part.array), part.start, SIDE, [items[i] for i in rows or range(len(items))])
    written = fill(task)
    part.record(written)
    return written


def index_of(part: Part) -> Index:
    n = len(part.identities)
    rows = [part.digests[i] for i in range(n)]
    return Index(
        format=store.FORMAT, decoder=store.VERSION, side=SIDE, data="d", source="s", place=("p", "domains", "q"),
        classes=("x", "y"), counts={"x": n, "y": 0}, checksum=checksum_of(rows, SIDE), labels=(0,) * n,
        files=tuple(i.file for i in part.identities), sizes=tuple(i.size for i in part.identities),
        mtimes=tuple(i.mtime for i in part.identities), rows=tuple(digest.hex() for digest in rows),
    )  # fmt: skip


def done(tmp_path: Path, identities: list[Identity]) -> Part:
    part = part_of(tmp_path, identities)
    work(part)
    finish(part, index_of(part))
    return part


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_header_is_numpys(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * SIDE * SIDE, dtype=np.uint8).reshape(2, 3, SIDE, SIDE)
    np.save(tmp_path / "a.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == header(2, SIDE) + array.tobytes()
    assert right_size(tmp_path / "a.npy", 2, SIDE)
    assert not right_size(tmp_path / "a.npy", 3, SIDE)
    assert not right_size(tmp_path / "none.npy", 2, SIDE)
    (tmp_path / "a.npy").write_bytes(header(2, SIDE) + array.tobytes()[:-1])
    assert not right_size(tmp_path / "a.npy", 2, SIDE)


def test_checksum_is_over_the_rows_own() -> None:
    digests = [hashlib.sha256(row(value)).digest() for value in (1, 2)]
    expected = hashlib.sha256(b"rows of 3x8x8 uint8\n" + digests[0] + digests[1]).hexdigest()
    assert checksum_of(digests, SIDE) == expected
    assert checksum_of(digests[::-1], SIDE) != expected


def test_a_finished_array(tmp_path: Path) -> None:
    done(tmp_path, sources(tmp_path / "data", 1, 2, 3))
    cache = tmp_path / "cache"
    assert names(cache) == ["a.json", "a.npy"]
    np.testing.assert_array_equal(
        np.load(cache / "a.npy", mmap_mode="r"), np.stack([pixels(v).transpose(2, 0, 1) for v in (1, 2, 3)])
    )
    index = read_index(cache / "a.json")
    assert index is not None
    assert index.identities() == sources(tmp_path / "data", 1, 2, 3)
    assert index.rows == tuple(hashlib.sha256(row(v)).hexdigest() for v in (1, 2, 3))


def test_a_part_is_taken_up_without_decoding_again(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1, 2, 3, 4)
    first = part_of(tmp_path, identities)
    assert first.missing_bytes() == first.size
    assert work(first, [1, 3]).decoded == 2
    again = part_of(tmp_path, identities)
    assert [item.kept is not None for item in again.open()] == [False, True, False, True]
    written = work(again)
    assert (written.decoded, sorted(written.digests)) == (2, [0, 1, 2, 3])
    finish(again, index_of(again))
    one_go = tmp_path / "one go"
    shutil.copytree(tmp_path / "data", one_go / "data")
    done(one_go, identities)
    for name in ("a.npy", "a.json"):
        assert (tmp_path / "cache" / name).read_bytes() == (one_go / "cache" / name).read_bytes()


def test_a_row_whose_bytes_are_not_as_noted_is_decoded_again(tmp_path: Path) -> None:
    """As after a power cut, where the journal may have reached the disk and the row not."""
    identities = sources(tmp_path / "data", 1, 2, 3)
    part = part_of(tmp_path, identities)
    work(part)
    with part.array.open("rb+") as file:
        file.seek(part.start + len(row(1)) + 5)
        file.write(b"\0\0\0\0")
    again = part_of(tmp_path, identities)
    assert work(again).decoded == 1
    assert again.array.read_bytes() == header(3, SIDE) + row(1) + row(2) + row(3)


def test_a_source_that_changed_is_decoded_again(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1, 2, 3)
    work(part_of(tmp_path, identities))
    for changed in (identities[1]._replace(mtime=99), identities[1]._replace(size=99)):
        again = part_of(tmp_path, [identities[0], changed, identities[2]])
        assert [item.kept is None for item in again.open()] == [False, True, False]


def test_the_last_record_of_a_row_counts(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1, 2)
    part = part_of(tmp_path, identities)
    work(part)
    record = struct.pack("<QQq32s", 0, identities[0].size, identities[0].mtime, b"x" * 32)
    with part.journal.open("ab") as file:
        file.write(record)
    again = part_of(tmp_path, identities)
    (kept, _) = (item.kept for item in again.open())
    assert kept is not None
    assert kept.digest == b"x" * 32
    assert work(again).decoded == 1


@pytest.mark.parametrize("cut", [1, 30, 55, 56, 57, 111])
def test_a_record_cut_short(tmp_path: Path, cut: int) -> None:
    identities = sources(tmp_path / "data", 1, 2, 3)
    part = part_of(tmp_path, identities)
    work(part)
    assert part.journal.stat().st_size == 3 * 56
    os.truncate(part.journal, part.journal.stat().st_size - cut)
    again = part_of(tmp_path, identities)
    assert work(again).decoded == -(-cut // 56)
    third = part_of(tmp_path, identities)
    assert work(third).decoded == 0
    finish(third, index_of(third))
    assert (tmp_path / "cache" / "a.npy").read_bytes() == header(3, SIDE) + row(1) + row(2) + row(3)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"files": 3}', b'{"decoder": 0, "side": 8, "files": ["1.png"]}'])
def test_a_plan_that_is_damaged_or_of_another_decoder_counts_for_nothing(tmp_path: Path, junk: bytes) -> None:
    identities = sources(tmp_path / "data", 1)
    part = part_of(tmp_path, identities)
    work(part)
    part.list.write_bytes(junk)
    assert [item.kept for item in part_of(tmp_path, identities).open()] == [None]


def test_records_of_rows_that_are_not_there(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1)
    part = part_of(tmp_path, identities)
    part.open()
    part.journal.write_bytes(struct.pack("<QQq32s", 7, 1, 1, b"x" * 32))
    assert [item.kept for item in part_of(tmp_path, identities).open()] == [None]


@pytest.mark.parametrize("stage", ["part", "finished"])
def test_rows_are_taken_over_when_files_come_and_go(tmp_path: Path, stage: str) -> None:
    identities = sources(tmp_path / "data", 2, 4, 6)
    if stage == "part":
        work(part_of(tmp_path, identities), [0, 2])
    else:
        done(tmp_path, identities)
    work(
        part_of(tmp_path, sources(tmp_path / "data", 9), domain="a.b")
    )  # another domain's, with a name that begins alike
    changed = sources(tmp_path / "data", 1, 2, 6, 7)
    part = part_of(tmp_path, changed)
    assert work(part).decoded == 2
    assert len(left_overs(part.folder, part.domain)) == 3 + (3 if stage == "part" else 0)
    finish(part, index_of(part))
    assert (tmp_path / "cache" / "a.npy").read_bytes() == header(4, SIDE) + row(1) + row(2) + row(6) + row(7)
    assert [name for name in names(tmp_path / "cache") if not name.startswith(".a.b.")] == ["a.json", "a.npy"]


def test_a_part_of_another_length_is_begun_anew(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1, 2)
    part = part_of(tmp_path, identities)
    work(part)
    os.truncate(part.array, 100)
    again = part_of(tmp_path, identities)
    assert [item.kept for item in again.open()] == [None, None]
    assert work(again).decoded == 2


def test_stopped_between_the_last_steps(tmp_path: Path) -> None:
    """The array has its final name already, and the index is not there yet."""
    identities = sources(tmp_path / "data", 1, 2)
    part = part_of(tmp_path, identities)
    work(part)
    os.replace(part.array, tmp_path / "cache" / "a.npy")
    again = part_of(tmp_path, identities)
    assert work(again).decoded == 0
    finish(again, index_of(again))
    assert names(tmp_path / "cache") == ["a.json", "a.npy"]


def test_no_index_stands_beside_an_array_of_another_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(tmp_path, sources(tmp_path / "data", 1, 2))
    part = part_of(tmp_path, sources(tmp_path / "data", 1, 3))
    work(part)
    cache = tmp_path / "cache"

    def stop(*_: object) -> None:
        assert (cache / "a.npy").read_bytes().endswith(row(2))
        assert not (cache / "a.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        finish(part, index_of(part))


def test_unreadable_images_are_told_and_the_others_written(tmp_path: Path) -> None:
    identities = sources(tmp_path / "data", 1, 2, 3)
    (tmp_path / "data" / "2.png").write_bytes(b"no image")
    part = part_of(tmp_path, identities)
    written = work(part)
    assert written.faults == {1: "not an image: it begins with b'no image'"}
    assert sorted(part.digests) == [0, 2]
    assert written.stopped is None


def test_a_full_disk_leaves_the_rows_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identities = sources(tmp_path / "data", 1, 2, 3)
    part = part_of(tmp_path, identities)
    real, room = os.pwrite, [300]  # bytes: one row of 192 and a half

    def pwrite(file: int, content: memoryview, place: int) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = real(file, content[: min(100, room[0])], place)  # and never a whole row in one go
        room[0] -= count
        return count

    monkeypatch.setattr(os, "pwrite", pwrite)
    written = work(part)
    assert (written.stopped, sorted(written.digests)) == ("No space left on device", [0])
    room[0] = 10**6
    again = part_of(tmp_path, identities)
    assert work(again).decoded == 2
    assert again.array.read_bytes() == header(3, SIDE) + row(1) + row(2) + row(3)


def test_index_that_is_missing_old_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "a.json"
    assert read_index(path) is None
    done(tmp_path, sources(tmp_path / "data", 1, 2))
    good = json.loads(path.read_bytes())
    assert read_index(path) == Index.model_validate(good)
    for change in ({"format": 99}, {"decoder": 99}, {"format": None}):
        path.write_text(json.dumps(good | change))
        assert read_index(path) is None
    for junk in ('{"format"', json.dumps(good | {"files": 3}), json.dumps(good | {"more": 3}), json.dumps(good)[:-9]):
        path.write_text(junk)
        with pytest.raises(DataError, match=r"a.json: expected the index of a prepared array; got .*Run `landbridge"):
            read_index(path)
    path.write_text(json.dumps(good | {"labels": [0]}))
    with pytest.raises(DataError, match="lists of several lengths"):
        read_index(path)
