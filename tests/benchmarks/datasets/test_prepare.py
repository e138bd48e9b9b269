"""Preparing: what is decoded and what is left alone, what is said, and tasks read from the cache."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_photos import OFFICE31_COUNTS, THREE_CLASSES, make_office31, make_photos
from PIL import Image

from landbridge.benchmarks.datasets import store
from landbridge.benchmarks.datasets.base import DataError, TaskData, hash_order
from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.datasets.prepare import cache_folder, load_folders, open_prepared, prepare, status
from landbridge.shared.batches import Rows, as_samples

PETS = FolderSettings(
    folder="pets", domains={"photo": "photo", "sketch": "sketch"}, classes=3, counts={"photo": 12}, side=16
)
BOTH = ("photo", "sketch")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two domains of three classes, 4 and 2 images each."""
    make_photos(tmp_path / "data" / "pets", domains={"photo": 4, "sketch": 2}, classes=THREE_CLASSES, side=20)
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, as they are."""
    seen: list[str] = []
    real = store.decode

    def decode(path: str, side: int) -> Any:
        seen.append("/".join(Path(path).parts[-3:]))
        return real(path, side)

    monkeypatch.setattr(store, "decode", decode)
    return seen


def make(data: Path, cache: Path, **other: Any) -> Any:
    settings = other.pop("settings", PETS)
    return prepare("pets", settings, other.pop("domains", BOTH), data, cache=cache, processes=1, **other)


def folder(cache: Path) -> Path:
    return cache / "prepared" / "pets-16"


def contents(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder(cache).iterdir())}


# ---------------------------------------------------------------- the cache folder


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("LANDBRIDGE_CACHE", "~/own")
    assert cache_folder() == tmp_path / "home" / "own"
    monkeypatch.setenv("LANDBRIDGE_CACHE", "relative")
    assert cache_folder() == Path.cwd() / "relative"
    monkeypatch.setenv("LANDBRIDGE_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "landbridge"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, by the specification
    assert cache_folder() == tmp_path / "home" / ".cache" / "landbridge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "landbridge"


def test_it_is_where_arrays_go_unless_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "own"))
    prepare("pets", PETS, ["sketch"], data, processes=1)
    assert (tmp_path / "own" / "prepared" / "pets-16" / "sketch.npy").is_file()
    assert open_prepared("pets", PETS, "sketch") is not None


# ---------------------------------------------------------------- what is made


def test_arrays_labels_and_index(data: Path, tmp_path: Path) -> None:
    made = make(data, tmp_path)
    assert sorted(contents(tmp_path)) == [".lock", "photo.json", "photo.npy", "sketch.json", "sketch.npy"]
    photo = made["photo"]
    assert photo.array.shape == (12, 3, 16, 16)
    assert isinstance(photo.array, np.memmap)
    assert not photo.array.flags.writeable
    assert photo.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert photo.classes == THREE_CLASSES
    assert photo.files[5] == "mouse/frame_0002.jpg"
    with Image.open(data / "pets" / "photo" / photo.files[5]) as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(photo.array[5], expected)
    index = json.loads((folder(tmp_path) / "photo.json").read_text())
    assert index["counts"] == dict.fromkeys(THREE_CLASSES, 4)
    assert index["checksum"] == photo.checksum
    stat = (data / "pets" / "photo" / photo.files[5]).stat()
    assert (index["sizes"][5], index["mtimes"][5]) == (stat.st_size, stat.st_mtime_ns)
    assert index["source"] == str(data / "pets" / "photo")
    assert made["sketch"].checksum != photo.checksum


def test_both_layouts_and_any_number_of_processes_make_the_same_array(data: Path, tmp_path: Path) -> None:
    make_photos(tmp_path / "inner" / "pets", domains={"photo": 30, "sketch": 2}, classes=THREE_CLASSES, layout="images")
    make_photos(tmp_path / "plain" / "pets", domains={"photo": 30, "sketch": 2}, classes=THREE_CLASSES)
    settings = PETS.model_copy(update={"counts": {}})
    plain = make(tmp_path / "plain", tmp_path / "1", settings=settings)
    inner = prepare(
        "pets", settings, BOTH, tmp_path / "inner", cache=tmp_path / "2", processes=2
    )  # really two: 96 images
    assert {k: v.checksum for k, v in plain.items()} == {k: v.checksum for k, v in inner.items()}
    for domain in BOTH:
        assert contents(tmp_path / "1")[f"{domain}.npy"] == contents(tmp_path / "2")[f"{domain}.npy"]


def test_what_is_there_is_left_alone(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    said: list[str] = []
    first = make(data, tmp_path, domains=["photo"], say=said.append)
    assert said == ["photo: 12 images to decode."]
    times = {path: path.stat().st_mtime_ns for path in folder(tmp_path).iterdir()}
    again = make(data, tmp_path, domains=["photo"], say=said.append)
    assert again["photo"].checksum == first["photo"].checksum
    assert times == {path: path.stat().st_mtime_ns for path in folder(tmp_path).iterdir()}
    make(data, tmp_path, say=said.append)
    assert said[1:] == ["sketch: 6 images to decode."]
    assert len(decoded) == 18


def test_new_changed_and_vanished_files_are_noticed(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    settings, said = PETS.model_copy(update={"counts": {}}), list[str]()
    before = make(data, tmp_path / "cache", settings=settings)["photo"]
    bike = data / "pets" / "photo" / "bike"
    (bike / "frame_0001.jpg").unlink()
    shutil.copy(data / "pets" / "photo" / "mug" / "frame_0001.jpg", bike / "frame_0000.jpg")
    shutil.copy(data / "pets" / "photo" / "mug" / "frame_0001.jpg", bike / "frame_0009.jpg")
    os.utime(bike / "frame_0003.jpg", ns=(1, 1))
    decoded.clear()
    (entry, _) = status("pets", settings, BOTH, data, tmp_path / "cache")
    assert entry.present
    assert f"changed since they were prepared: run `landbridge data prepare pets --data {data}` again" in entry.how
    assert entry.state == "changed"
    after = make(data, tmp_path / "cache", settings=settings, say=said.append)["photo"]
    assert said == [
        "photo: 3 images to decode, 10 are there already; since it was prepared 2 files are new, 1 changed and 1 gone."
    ]
    assert decoded == [f"photo/bike/frame_000{i}.jpg" for i in (0, 3, 9)]
    assert after.checksum != before.checksum
    anew = make(data, tmp_path / "other", settings=settings)["photo"]
    assert after.checksum == anew.checksum
    assert contents(tmp_path / "cache") == contents(tmp_path / "other")
    np.testing.assert_array_equal(before.array[4:], after.array[5:])  # who had it open keeps what was there


def test_another_folder_with_the_same_files_is_looked_at_but_not_decoded(
    data: Path, tmp_path: Path, decoded: list[str]
) -> None:
    make(data, tmp_path)
    shutil.copytree(data, tmp_path / "moved")  # keeps the times
    decoded.clear()
    make(tmp_path / "moved", tmp_path)
    assert decoded == []
    assert json.loads(contents(tmp_path)["photo.json"])["data"] == str(tmp_path / "moved")


def test_damage_is_said_and_mended(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path)
    right = contents(tmp_path)
    os.truncate(folder(tmp_path) / "photo.npy", 1000)
    with pytest.raises(
        DataError, match=r"photo.npy: expected 12 images of 3x16x16 bytes and a header; got 1000 bytes.*da"
    ):
        open_prepared("pets", PETS, "photo", cache=tmp_path)
    (entry,) = status("pets", PETS, ["photo"], None, tmp_path)
    assert not entry.present
    assert "got 1000 bytes" in entry.how
    (folder(tmp_path) / "sketch.json").write_text("{")
    with pytest.raises(DataError, match=r"sketch.json: expected the index"):
        open_prepared("pets", PETS, "sketch", cache=tmp_path)
    make(data, tmp_path)
    assert contents(tmp_path) == right
    (folder(tmp_path) / "photo.npy").unlink()
    with pytest.raises(DataError, match="got no such file"):
        open_prepared("pets", PETS, "photo", cache=tmp_path)


def test_nothing_is_decoded_if_a_folder_is_wrong(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    (data / "pets" / "sketch" / "mug").rename(data / "pets" / "sketch" / "mugs")
    with pytest.raises(DataError, match="got no 'mugs'"):
        make(data, tmp_path / "cache")
    assert decoded == []
    assert not (tmp_path / "cache").exists()


def test_wrong_arguments(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prepare needs one process or more; got processes=0"):
        prepare("pets", PETS, BOTH, data, cache=tmp_path, processes=0)
    for name in ("", "a/b", "../a", ".a"):
        with pytest.raises(ValueError, match="a suite's name is letters"):
            prepare(name, PETS, BOTH, data, cache=tmp_path)
    with pytest.raises(ValueError, match="unknown domain 'foto'; Known: photo, sketch"):
        prepare("pets", PETS, ["foto"], data, cache=tmp_path)
    with pytest.raises(ValueError, match="open_prepared: unknown domain 'foto'"):
        open_prepared("pets", PETS, "foto", cache=tmp_path)
    with pytest.raises(ValueError, match="status: unknown domain 'foto'"):
        status("pets", PETS, ["foto"], data, tmp_path)
    with pytest.raises(DataError, match="Pass --data DIR"):
        prepare("pets", PETS, BOTH, None, cache=tmp_path)


def test_cache_that_cannot_be_made(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"expected a place to write to; got Not a directory.*set LANDBRIDGE_CACHE"):
        make(data, tmp_path / "file")


# ---------------------------------------------------------------- other settings, the same cache


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 4},
        {"classes": ("mug", "mouse", "bike")},
        {"counts": {"photo": 13}},
        {"folder": "other"},
        {"domains": {"photo": "Photo", "sketch": "sketch"}},
        {"domains": {"sketch": "sketch"}, "lists": {"photo": "photo"}},
        {"side": 32},
    ],
)
def test_what_was_prepared_for_other_settings_is_not_there(data: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    make(data, tmp_path)
    assert open_prepared("pets", PETS, "photo", cache=tmp_path) is not None
    assert open_prepared("pets", PETS.model_copy(update=change), "photo", cache=tmp_path) is None


@pytest.mark.parametrize(
    "change", [{"classes": None}, {"classes": THREE_CLASSES}, {"counts": {}}, {"folder": ("none", "pets")}]
)
def test_settings_that_mean_the_same(data: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    make(data, tmp_path)
    assert open_prepared("pets", PETS.model_copy(update=change), "photo", cache=tmp_path) is not None


def test_other_class_names_need_no_decoding(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    root = data / "pets"
    for domain in BOTH:
        files = [file.relative_to(root).as_posix() for file in (root / domain).rglob("*.jpg")]
        (root / f"{domain}.txt").write_text("\n".join(f"{f} {THREE_CLASSES.index(f.split('/')[1])}" for f in files))
    lists = {domain: f"{domain}.txt" for domain in BOTH}
    settings = FolderSettings(folder="pets", lists=lists, side=16)
    assert make(data, tmp_path, settings=settings)["photo"].classes == THREE_CLASSES
    decoded.clear()
    renamed = settings.model_copy(update={"classes": ("A", "B", "C")})
    assert make(data, tmp_path, settings=renamed)["photo"].classes == ("A", "B", "C")
    assert decoded == []


# ---------------------------------------------------------------- status


def test_status(data: Path, tmp_path: Path) -> None:
    photo, sketch = status("pets", PETS, BOTH, data, tmp_path / "cache")
    assert (photo.name, photo.present, photo.size) == ("photo", False, "12 images in 3 classes")
    wanted = f"The photographs are there. Run `landbridge data prepare pets --data {data}` to decode them."
    assert (photo.how, photo.state) == (wanted, "not decoded yet")
    assert photo.where == str(data / "pets" / "photo")
    (photo, sketch) = status("pets", PETS, BOTH, None, tmp_path / "cache")
    assert (photo.present, photo.size, sketch.size) == (False, "12 images", "any number of images")
    assert "Put the photographs into a data folder" in photo.how
    shutil.move(data / "pets" / "photo" / "mug", data / "mug")
    (photo,) = status("pets", PETS, ["photo"], data, tmp_path / "cache")
    assert "got no 'mug'" in photo.how
    shutil.move(data / "mug", data / "pets" / "photo" / "mug")
    make(data, tmp_path / "cache")
    for there in (data, None, tmp_path):
        (photo, _) = status("pets", PETS, BOTH, there, tmp_path / "cache")
        assert (photo.present, photo.how) == (True, "Nothing to do.")
        assert photo.size == "12 images in 3 classes, 0 MB"
        assert photo.where == str(folder(tmp_path / "cache") / "photo.npy")
    shutil.move(data / "pets" / "photo" / "mug", data / "mug")
    (photo,) = status("pets", PETS, ["photo"], data, tmp_path / "cache")
    assert photo.present
    assert "have changed since they were prepared: " in photo.how


# ---------------------------------------------------------------- tasks


def load(data: Path | None, cache: Path, task: str = "photo->sketch", **other: Any) -> TaskData:
    asked = {"source_holdout": 0.25, "scored": "inductive", "draw": {}, **other}
    return load_folders("pets", asked.pop("settings", PETS), task, data=data, cache=cache, **asked)


def test_a_task(data: Path, tmp_path: Path) -> None:
    made = make(data, tmp_path)
    task = load(None, tmp_path)
    assert task.source_holdout is not None
    assert [len(s.rows) for s in (task.source_train, task.source_holdout, task.target_train, task.target_eval)] == [
        9,
        3,
        5,
        1,
    ]
    assert task.classes == THREE_CLASSES
    for domain, parts in (
        ("photo", (task.source_train, task.source_holdout)), ("sketch", (task.target_train, task.target_eval))
    ):  # fmt: skip
        assert sorted(np.concatenate([part.rows for part in parts])) == list(range(len(made[domain].labels)))
        for part in parts:
            assert isinstance(part.inputs, Rows)
            np.testing.assert_array_equal(np.asarray(part.inputs), made[domain].array[part.rows])
            np.testing.assert_array_equal(part.labels, made[domain].labels[part.rows])
            assert (np.diff(part.rows) > 0).all()
    assert sorted(hash_order("scored/sketch", np.arange(6))[:1]) == task.target_eval.rows.tolist()
    assert np.shares_memory(task.source_train.inputs.base, task.source_holdout.inputs.base)


def test_transductive_scores_what_is_adapted_to(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path)
    task = load(None, tmp_path, scored="transductive", source_holdout=0.0)
    assert task.source_holdout is None
    assert task.target_eval is task.target_train
    assert task.target_eval.rows.tolist() == list(range(6))
    assert task.source_train.rows.tolist() == list(range(12))


def test_draws(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path)
    small, large = (load(None, tmp_path, draw={"photo": n, "sketch": 5}, scored="transductive") for n in (4, 8))
    assert len(small.source_train.rows) == 3
    drawn = [np.concatenate([t.source_train.rows, t.source_holdout.rows]) for t in (small, large)]  # type: ignore[union-attr]
    assert set(drawn[0]) < set(drawn[1])
    assert len(small.target_train.rows) == 5


def test_the_checksum_knows_what_it_should(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "a")
    make(data, tmp_path / "b")
    first = load(None, tmp_path / "a").checksum
    assert len(first) == 64
    assert load(data, tmp_path / "b").checksum == first
    others = [
        load(None, tmp_path / "a", "sketch->photo"),
        load(None, tmp_path / "a", scored="transductive"),
        load(None, tmp_path / "a", source_holdout=0.5),
        load(None, tmp_path / "a", draw={"photo": 8}),
    ]
    assert len({first, *(task.checksum for task in others)}) == 5
    turned = load(None, tmp_path / "b", "sketch->photo").checksum
    photo = data / "pets" / "photo"
    (photo / "bike" / "frame_0001.jpg").write_bytes((photo / "mug" / "frame_0001.jpg").read_bytes())
    make(data, tmp_path / "b")
    assert load(None, tmp_path / "b").checksum != first
    assert load(None, tmp_path / "b", "sketch->photo").checksum != turned
    root = folder(tmp_path / "a")  # the same images, another label
    index = json.loads((root / "photo.json").read_text())
    index["labels"][0] = 1
    (root / "photo.json").write_text(json.dumps(index))
    assert load(None, tmp_path / "a").checksum != first


def test_the_array_is_not_read(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(data, tmp_path)
    sides = np.memmap.__getitem__

    def read(self: Any, key: object) -> Any:
        raise AssertionError(f"read {key!r}")

    monkeypatch.setattr(np.memmap, "__getitem__", read)
    task = load(data, tmp_path)
    monkeypatch.setattr(np.memmap, "__getitem__", sides)
    assert task.source_train.inputs.shape == (9, 3, 16, 16)


def test_not_prepared_and_no_data(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected the prepared images of domain 'photo'; got none. Run `landbridge data p"
    ):
        load(None, tmp_path / "cache")
    with pytest.raises(DataError, match="prepared images of domain 'photo'"):
        load(tmp_path / "none", tmp_path / "cache")


def test_not_prepared_but_data(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = load(data, tmp_path).checksum
    assert len(decoded) == 18
    assert load(data, tmp_path).checksum == first
    assert load(tmp_path / "none", tmp_path).checksum == first  # a data folder without them: what is prepared is used
    os.truncate(folder(tmp_path) / "photo.npy", 7)
    assert load(data, tmp_path).checksum == first
    assert len(decoded) == 30


def test_photographs_of_the_same_name_in_another_data_folder_are_not_mixed_up(data: Path, tmp_path: Path) -> None:
    first = load(data, tmp_path).checksum
    make_photos(tmp_path / "other" / "pets", domains={"photo": 4, "sketch": 2}, classes=THREE_CLASSES, side=20, seed=1)
    assert load(tmp_path / "other", tmp_path).checksum != first
    assert load(data, tmp_path).checksum == first


def test_tasks_that_cannot_be(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path)
    for task in ("photo", "photo->photo", "photo=>sketch"):
        with pytest.raises(ValueError, match=f"a task is two domains, as in 'amazon->dslr'; got '{task}'"):
            load(None, tmp_path, task)
    with pytest.raises(ValueError, match="task 'photo->sketsh': unknown domain 'sketsh'; did you mean 'sketch'"):
        load(None, tmp_path, "photo->sketsh")
    with pytest.raises(ValueError, match="draw: unknown domain 'foto'"):
        load(None, tmp_path, draw={"foto": 3})
    with pytest.raises(ValueError, match="unknown word 'inductiv'; did you mean 'inductive'"):
        load(None, tmp_path, scored="inductiv")
    with pytest.raises(ValueError, match=r"source_holdout in \[0, 1\); got 1"):
        load(None, tmp_path, source_holdout=1)
    with pytest.raises(ValueError, match="cannot score a fifth of 1 rows of 'sketch' and adapt to the others"):
        load(None, tmp_path, draw={"sketch": 1})


def test_domains_prepared_with_different_classes(data: Path, tmp_path: Path) -> None:
    settings = PETS.model_copy(update={"classes": None, "counts": {}})
    shutil.move(data / "pets" / "sketch", data / "sketch")
    make(data, tmp_path, settings=settings, domains=["photo"])
    shutil.move(data / "sketch", data / "pets" / "sketch")
    shutil.move(data / "pets" / "photo", data / "photo")
    (data / "pets" / "sketch" / "mug").rename(data / "pets" / "sketch" / "cup")
    make(data, tmp_path, settings=settings, domains=["sketch"])
    with pytest.raises(DataError, match="same classes in photo and sketch; got bike, mouse, mug and bike, cup, mouse"):
        load(None, tmp_path, settings=settings)


def test_a_tasks_inputs_are_what_training_takes(data: Path, tmp_path: Path) -> None:
    import torch

    task = load(data, tmp_path)
    samples = as_samples(
        "fit", "source", (task.source_train.inputs, task.source_train.labels), torch.device("cpu"), labelled=True
    )
    batch = samples.gather(torch.tensor([2, 0]))
    np.testing.assert_array_equal(batch.numpy(), np.asarray(task.source_train.inputs)[[2, 0]])


# ---------------------------------------------------------------- Office-31 in its true shape


def test_office31(tmp_path: Path) -> None:
    settings = FolderSettings(
        folder=("office31", "."), domains={name: name for name in OFFICE31_COUNTS}, classes=31, counts=OFFICE31_COUNTS,
        side=8,
    )  # fmt: skip
    make_office31(tmp_path / "office31")
    start = time.monotonic()
    made = prepare("office31", settings, settings.domain_names(), tmp_path, cache=tmp_path / "cache", processes=1)
    assert time.monotonic() - start < 60
    assert {domain: len(prepared.labels) for domain, prepared in made.items()} == OFFICE31_COUNTS
    assert all(np.bincount(prepared.labels).min() >= 16 for prepared in made.values())
    task = load_folders(
        "office31", settings, "amazon->webcam", data=None, cache=tmp_path / "cache", source_holdout=0.0,
        scored="transductive", draw={},
    )  # fmt: skip
    assert len(task.classes) == 31
    assert len(task.source_train.inputs) == 2817
    assert len(task.target_eval.inputs) == 795
