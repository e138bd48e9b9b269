"""What ``landbridge diagnose`` reads, and what it refuses without running anything in it."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_domains import make_cell_folder, make_images
from made_photos import make_photos

from landbridge.benchmarks import diagnose_inputs
from landbridge.benchmarks.datasets.base import DataError
from landbridge.benchmarks.datasets.folders import FolderSettings
from landbridge.benchmarks.datasets.prepare import prepare
from landbridge.benchmarks.diagnose_inputs import read_cell, read_domain, read_npz


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def saved(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


def test_arrays_are_read_by_name(tmp_path: Path) -> None:
    x, y, logits = np.arange(6.0).reshape(3, 2), np.array(["a", "b", "a"]), np.eye(3)
    found = read_npz(saved(tmp_path / "a.npz", features=x, y=y, logits=logits, other=np.zeros(99)))
    np.testing.assert_array_equal(found.x, x)
    assert found.y is not None
    assert found.y.tolist() == ["a", "b", "a"]
    np.testing.assert_array_equal(found.logits, logits)
    assert read_npz(saved(tmp_path / "b.npz", x=x))[1:] == (None, None)


def test_pickled_arrays_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = np.array([Trap(sprung)] * 3, dtype=object)
    path = saved(tmp_path / "a.npz", x=np.zeros((3, 2)), y=trap)
    with pytest.raises(ValueError, match=r"array y of .* holds Python objects, which are never unpickled"):
        read_npz(path)
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match=r"as an \.npz file"):
        read_npz(bare)
    assert not sprung.exists()
    assert read_npz(saved(tmp_path / "b.npz", x=np.zeros((3, 2)), notes=trap)).x.shape == (3, 2)  # not opened
    assert not sprung.exists()


def test_a_large_archive_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1 << 17, 2)))
    assert path.stat().st_size < 1 << 14
    monkeypatch.setattr(diagnose_inputs.np, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(ValueError, match=r"unpacks to 0\.00195 GiB, more than 0\.001\. .*--most-gib 0\.002"):
        read_npz(path, most_gib=0.001)
    monkeypatch.undo()
    assert read_npz(path, most_gib=0.002).x.shape == (1 << 17, 2)


def test_a_header_that_lies_meets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "liar.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (70368744177664, 8), }"
    body = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(64)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", body)
    with pytest.raises(ValueError, match="array x of"):
        read_npz(path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"rows": np.zeros((3, 2))}, "one array of rows, named x or features, .* it holds rows"),
        ({"x": np.zeros((3, 2)), "features": np.zeros((3, 2))}, "x or features, not both"),
    ],
)
def test_files_without_rows_meet_a_sentence(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_npz(saved(tmp_path / "a.npz", **arrays))


def test_missing_damaged_and_foreign_files_meet_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_domain(tmp_path / "none.npz")
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"numpy\.savez\('a\.npz', x=rows, y=classes\)"):
        read_npz(tmp_path / "a.npy")
    whole = saved(tmp_path / "a.npz", x=np.arange(999.0).reshape(-1, 3)).read_bytes()
    middle = len(whole) // 2
    (tmp_path / "a.npz").write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(ValueError, match="cannot be read"):
        read_npz(tmp_path / "a.npz")


def test_folders_of_images_are_squashed_and_folders_are_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "a" / "cat", 3, 200)
    make_images(tmp_path / "a" / "dog", 2, 10)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = read_domain(tmp_path / "a", side=8)
    assert found.arrays.x.shape == (5, 3, 8, 8)
    assert found.arrays.x.dtype == np.uint8
    assert found.arrays.y is not None
    assert found.arrays.y.tolist() == ["cat"] * 3 + ["dog"] * 2
    assert found.arrays.x[:, 0].mean((1, 2)).tolist() == [200] * 3 + [10] * 2
    assert "squashed to 8 x 8 pixels" in found.about
    make_images(tmp_path / "flat", 2, 0)
    assert read_domain(tmp_path / "flat", side=8).arrays.y is None
    monkeypatch.setattr(diagnose_inputs, "MOST_IMAGES", 4)
    told: list[str] = []
    few = read_domain(tmp_path / "a", side=8, say=told.append)
    assert len(few.arrays.x) == 4
    assert "4 drawn of 5" in few.about
    assert "drawn from 5" in told[0]


@pytest.mark.parametrize("layout", ["plain", "images"])
def test_folders_are_read_as_data_prepare_reads_them(layout: str, tmp_path: Path) -> None:
    make_photos(tmp_path, domains={"amazon": 4}, classes=("back_pack", "bike"), side=9, layout=layout)
    inner = tmp_path / "amazon" / ("images" if layout == "images" else ".")
    hidden = inner / "bike" / ".ipynb_checkpoints"
    hidden.mkdir()
    for where in (hidden / "frame_0001-checkpoint.jpg", inner / "bike" / "._frame_0001.jpg"):
        shutil.copy(inner / "bike" / "frame_0001.jpg", where)
    (inner / ".ipynb_checkpoints").mkdir()
    shutil.copy(inner / "bike" / "frame_0001.jpg", inner / ".ipynb_checkpoints" / "frame_0001.jpg")
    (inner / "bike" / "Thumbs.db").write_bytes(b"left by a file manager")
    suite = FolderSettings(domains={"amazon": "amazon"}, side=16)
    made = prepare("things", suite, ["amazon"], tmp_path, cache=tmp_path / "cache", processes=1)["amazon"]
    told: list[str] = []
    found = read_domain(tmp_path / "amazon", side=16, say=told.append)
    assert len(told) == 1  # nothing was passed over that had to be said
    np.testing.assert_array_equal(found.arrays.x, made.array)
    assert found.arrays.y is not None
    assert found.arrays.y.tolist() == [made.classes[label] for label in made.labels] == ["back_pack"] * 4 + ["bike"] * 4


def test_what_is_no_image_of_a_class_is_said_and_images_without_classes_have_none(tmp_path: Path) -> None:
    make_images(tmp_path / "a" / "cat", 2, 200)
    make_images(tmp_path / "a" / "dog", 1, 9)
    make_images(tmp_path / "a" / "dog" / "old", 3, 9)
    (tmp_path / "a" / "empty").mkdir()
    shutil.copy(tmp_path / "a" / "cat" / "0.png", tmp_path / "a" / "beside.png")
    told: list[str] = []
    found = read_domain(tmp_path / "a", side=8, say=told.append)
    assert found.arrays.y is not None
    assert found.arrays.y.tolist() == ["cat", "cat", "dog"]
    assert "dog/old" in told[1]
    assert told[1].count(",") == 2  # the image beside the classes, and the folder within one
    make_images(tmp_path / "flat" / "images", 2, 0)
    assert read_domain(tmp_path / "flat", side=8).arrays.y is None


def test_images_deeper_down_are_pointed_out(tmp_path: Path) -> None:
    make_images(tmp_path / "a" / "train" / "cat", 2, 200)
    with pytest.raises(DataError, match=r"train/cat/.* deeper down\..* pass .*train, or the folder below"):
        read_domain(tmp_path / "a")
    assert len(read_domain(tmp_path / "a" / "train").arrays.x) == 2


def test_a_folder_without_images_or_with_a_broken_one_meets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder of images"):
        read_domain(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no png")
    with pytest.raises(ValueError, match=r"broken\.png: expected an image"):
        read_domain(tmp_path)


def test_a_cell_gives_its_first_and_last_checkpoint(tmp_path: Path) -> None:
    run = read_cell(make_cell_folder(tmp_path / "cell"), evaluate=True)
    assert run.target_labels is not None
    assert run.steps == (100, 200)
    assert run.split == "source_holdout"
    assert run.classes == ("zero", "one")
    assert run.target_labels.tolist() == (np.arange(60) % 2).tolist()  # by row number, not by place
    assert run.first[0].x.dtype == np.float32
    assert run.first[1].x.mean() > run.last[1].x.mean() + 2
    assert run.first[1].y is None
    assert read_cell(make_cell_folder(tmp_path / "other", holdout=False)).split == "source_train"


def test_what_is_no_cell_meets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no result\.json in .* Pass a folder that 'landbridge bench' made"):
        read_cell(tmp_path)
    cell = make_cell_folder(tmp_path / "cells" / "a" / "dann" / "seed-0")
    with pytest.raises(ValueError, match=r"Pass one cell, such as .*seed-0"):
        read_cell(tmp_path)
    (cell / "outputs" / "step-000200.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match=r"step-000200\.npz cannot be read"):
        read_cell(cell)
    for step in (cell / "outputs").iterdir():
        step.unlink()
    with pytest.raises(ValueError, match="--keep-outputs all"):
        read_cell(cell)
    (cell / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot read .*result\.json"):
        read_cell(cell)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.npz", x=np.zeros((1 << 10, 2)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x", b"small")  # would hide the size of x.npy
    monkeypatch.setattr(diagnose_inputs.np, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(ValueError, match="two arrays named x"):
        read_npz(path, most_gib=1e-6)


@pytest.mark.parametrize("count", [1 << 17, 134_889, 999_999])
def test_the_limit_that_is_advised_is_enough(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((count, 2)))
    with pytest.raises(ValueError, match="--most-gib") as refused:
        read_npz(path, most_gib=1e-9)
    advised = float(str(refused.value).split("--most-gib ")[1].split(";")[0])
    assert len(read_npz(path, most_gib=advised).x) == count


def test_labels_of_the_target_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    cell = make_cell_folder(tmp_path / "cell")
    labels = cell / "target_labels.npz"
    np.savez(labels, **{"target_eval/rows": np.arange(3), "target_eval/labels": np.zeros(3, dtype=int)})
    with pytest.raises(ValueError, match=r"target_labels\.npz have no \d+\. Run the cell again"):
        read_cell(cell, evaluate=True)
    labels.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match=r"target_labels\.npz cannot be read"):
        read_cell(cell, evaluate=True)
    assert read_cell(cell).target_labels is None
    labels.unlink()
    with pytest.raises(ValueError, match=r"there is no .*target_labels"):
        read_cell(cell, evaluate=True)
    assert read_cell(cell).target_labels is None
