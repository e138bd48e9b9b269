"""Arrays as a task's data: kinds and layouts, what becomes of numbers, and a sentence for every careless input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.io import savemat
from sklearn.datasets import load_digits

from landbridge.benchmarks.datasets import readers
from landbridge.benchmarks.datasets.arrays import ArraySettings, load_arrays, status
from landbridge.benchmarks.datasets.base import DataError, TaskData
from landbridge.benchmarks.datasets.images import resize
from landbridge.shared.batches import Rows

ROWS = {"a": 40, "b": 30}


def digits(domain: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's own digits, sorted by class, as bytes (n, 8, 8), darker in b."""
    bunch = load_digits(n_class=4)
    first = 0 if domain == "a" else 100
    images, labels = bunch.images[first : first + ROWS[domain]], bunch.target[first : first + ROWS[domain]]
    order = np.argsort(labels, kind="stable")
    scale = 15 if domain == "a" else 9
    return (images[order] * scale).astype(np.uint8), labels[order].astype(np.int64)


def write(folder: Path, change: Callable[[str, dict[str, Any]], None] | None = None) -> None:
    for domain in ("a", "b"):
        images, labels = digits(domain)
        arrays: dict[str, Any] = {"x": images, "y": labels}
        if change is not None:
            change(domain, arrays)
        np.savez(folder / f"{domain}.npz", **arrays)


def table(**changes: Any) -> ArraySettings:
    return ArraySettings(**{"files": {"a": "a.npz", "b": "b.npz"}, "kind": "images", **changes})


def load(folder: Path | None, settings: ArraySettings | None = None, task: str = "a->b", **options: Any) -> TaskData:
    return load_arrays("mine", settings or table(), task, data=folder, **options)


# --------------------------------------------------------------- what is read
def test_images_without_channels_are_bytes_with_one(tmp_path: Path) -> None:
    write(tmp_path)
    data = load(tmp_path, scored="transductive", source_holdout=0.0)
    for split, domain in ((data.source_train, "a"), (data.target_train, "b")):
        images, labels = digits(domain)
        assert isinstance(split.inputs, Rows)
        assert split.inputs.dtype == np.uint8
        np.testing.assert_array_equal(split.inputs, images[:, None])
        np.testing.assert_array_equal(split.labels, labels)
    assert data.classes == ("0", "1", "2", "3")
    assert data.target_eval is data.target_train


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.float64, np.float32, ">f8", ">i4", np.float16])
def test_whole_numbers_of_any_dtype_are_the_same_bytes(dtype: Any, tmp_path: Path) -> None:
    write(tmp_path)
    before = load(tmp_path)
    write(tmp_path, lambda _, arrays: arrays.update(x=arrays["x"].astype(dtype)))
    after = load(tmp_path)
    assert after.checksum == before.checksum
    assert after.source_train.inputs.dtype == np.uint8


def test_images_from_0_to_1_with_a_scale_are_bytes_too(tmp_path: Path) -> None:
    write(tmp_path)
    before = load(tmp_path).checksum
    write(tmp_path, lambda domain, arrays: domain == "b" and arrays.update(x=(arrays["x"] / 255).astype(np.float32)))
    assert load(tmp_path, table(scale={"b": 255})).checksum == before
    write(tmp_path, lambda _, arrays: arrays.update(x=arrays["x"] / 255))
    assert load(tmp_path, table(scale=255)).checksum == before


def test_floats_stay_floats(tmp_path: Path) -> None:
    write(tmp_path, lambda _, arrays: arrays.update(x=arrays["x"] / 255))
    inputs = load(tmp_path).source_train.inputs
    assert inputs.dtype == np.float64  # what the network makes of it is the network's
    write(tmp_path, lambda _, arrays: arrays.update(x=arrays["x"] > 60))
    assert load(tmp_path).source_train.inputs.dtype == np.float32  # a mask is no image of bytes
    write(tmp_path, lambda _, arrays: arrays.update(x=(arrays["x"] > 60).astype(np.int64)))
    assert load(tmp_path).source_train.inputs.dtype == np.float32


def test_npy_files_are_mapped_and_matlabs_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    before = load(tmp_path)
    images, labels = digits("a")
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "a_labels.npz", y=labels)
    images, labels = digits("b")
    savemat(tmp_path / "b.mat", {"x": images, "y": labels[None].astype(float)})
    settings = table(files={"a": "a.npy", "b": "b.mat"}, label_files={"a": "a_labels.npz"})
    after = load(tmp_path, settings)
    assert after.checksum == before.checksum
    assert isinstance(after.source_train.inputs, Rows)
    base: Any = after.source_train.inputs.base
    assert isinstance(base if isinstance(base, np.memmap) else base.base, np.memmap)


def test_one_file_for_all_domains(tmp_path: Path) -> None:
    write(tmp_path)
    before = load(tmp_path).checksum
    (xa, ya), (xb, yb) = digits("a"), digits("b")
    np.savez(tmp_path / "all.npz", xa=xa, ya=ya, xb=xb, yb=yb)
    names: dict[str, Any] = {"inputs": {"a": "xa", "b": "xb"}, "labels": {"a": "ya", "b": "yb"}}
    assert load(tmp_path, table(files={"a": "all.npz", "b": "all.npz"}, **names)).checksum == before


def test_series_and_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for shape, kind in (((40, 2, 9), "series"), ((40, 7), "vectors")):
        x = rng.normal(size=shape)
        for domain in ("a", "b"):
            np.savez(tmp_path / f"{domain}.npz", x=x, y=np.arange(40) % 2)
        inputs = load(tmp_path, table(kind=kind), source_holdout=0.0).source_train.inputs
        np.testing.assert_array_equal(inputs, x)
    np.savez(tmp_path / "a.npz", x=np.arange(280).reshape(40, 7), y=np.arange(40) % 2)
    assert load(tmp_path, table(kind=None)).source_train.inputs.dtype == np.float32


@pytest.mark.parametrize("labels", [["cat", "dog", "cow", "hen"], [b"cat", b"dog", b"cow", b"hen"], [7, -3, 10**12, 5]])
def test_labels_of_any_kind_are_numbered_in_sorted_order(labels: list[Any], tmp_path: Path) -> None:
    write(tmp_path, lambda _, arrays: arrays.update(y=np.array(labels)[arrays["y"]]))
    data = load(tmp_path, scored="transductive", source_holdout=0.0)
    names = [label.decode() if isinstance(label, bytes) else label for label in labels]
    assert data.classes == tuple(map(str, sorted(names)))
    wanted = [sorted(names).index(names[label]) for label in digits("a")[1]]
    assert data.source_train.labels.tolist() == wanted


def test_names_of_classes_are_found_by_themselves(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "cow", "hen"])
    write(tmp_path, lambda _, arrays: arrays.update(y=names[arrays["y"]]))
    order = ("hen", "cow", "dog", "cat")
    data = load(tmp_path, table(classes=order), scored="transductive", source_holdout=0.0)
    assert [order[label] for label in data.source_train.labels] == names[digits("a")[1]].tolist()
    with pytest.raises(DataError, match="labels that 'classes' names; got 'cow'"):
        load(tmp_path, table(classes=("hen", "cox", "dog", "cat")))


def test_side_and_channels_make_both_domains_alike(tmp_path: Path) -> None:
    def rgb(domain: str, arrays: dict[str, Any]) -> None:
        if domain == "b":
            arrays["x"] = resize(np.repeat(arrays["x"][:, None], 3, 1), 10)

    write(tmp_path, rgb)
    with pytest.raises(DataError, match=r"rows of shape \(1, 8, 8\), as in domain 'a'; got \(3, 10, 10\)\. Write side"):
        load(tmp_path)
    data = load(tmp_path, table(side=16, channels=3), source_holdout=0.0)
    np.testing.assert_array_equal(data.source_train.inputs, np.repeat(resize(digits("a")[0][:, None], 16), 3, 1))
    assert data.target_train.inputs.shape[1:] == (3, 16, 16)


def test_marks_say_which_rows_are_scored(tmp_path: Path) -> None:
    def marked(domain: str, arrays: dict[str, Any]) -> None:
        test = np.arange(ROWS[domain]) % 3 == 0
        arrays["part"] = np.where(test, "test", "train") if domain == "b" else test.astype(int)

    write(tmp_path, marked)
    data = load(tmp_path, table(split="part"))
    assert data.target_eval.rows.tolist() == list(range(0, 30, 3))
    assert set(data.target_train.rows.tolist()) == set(range(30)) - set(range(0, 30, 3))
    held = data.source_holdout
    assert held is not None
    assert sorted([*data.source_train.rows, *held.rows]) == [row for row in range(40) if row % 3]


def test_without_marks_a_share_of_each_class_is_scored(tmp_path: Path) -> None:
    write(tmp_path)
    data = load(tmp_path, table(scored_share=0.3))
    of_class = np.bincount(digits("b")[1])
    assert np.bincount(data.target_eval.labels).tolist() == np.ceil(0.3 * of_class).astype(int).tolist()
    assert not set(data.target_eval.rows) & set(data.target_train.rows)


def test_a_file_of_rows_to_be_scored(tmp_path: Path) -> None:
    write(tmp_path)
    images, labels = digits("b")
    np.savez(tmp_path / "b_test.npz", x_test=images[::2], y_test=labels[::2])
    settings = table(test_files={"b": "b_test.npz"}, test_inputs="x_test", test_labels="y_test", counts={"b": 30})
    data = load(tmp_path, settings)
    np.testing.assert_array_equal(data.target_eval.inputs, images[::2, None])
    assert len(data.target_train.labels) == 30


def test_the_checksum_tells_all_that_matters(tmp_path: Path) -> None:
    write(tmp_path)
    found = [load(tmp_path).checksum, load(tmp_path, task="b->a").checksum, load(tmp_path, table(side=16)).checksum]
    found += [load(tmp_path, scored="transductive").checksum, load(tmp_path, table(classes=tuple("wxyz"))).checksum]
    write(tmp_path, lambda _, arrays: arrays.update(x=arrays["x"] + np.uint8(1)))
    found.append(load(tmp_path).checksum)
    assert len(set(found)) == len(found)


def test_status_looks_inside(tmp_path: Path) -> None:
    write(tmp_path)
    first, _ = status("mine", table(), ["a", "b"], tmp_path)
    assert (first.present, first.state, first.size) == (True, "there", "40 rows of 1x8x8 uint8, 4 classes")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / "b.npz").unlink()
    damaged, missing = status("mine", table(), ["a", "b"], tmp_path)
    assert (damaged.present, damaged.state, missing.present, missing.state) == (False, "damaged", False, "missing")
    (counted,) = status("mine", table(counts={"b": 31}, files={"a": "a.npz", "b": "c.npz"}), ["b"], tmp_path)
    assert counted.state == "missing"
    write(tmp_path)
    (counted,) = status("mine", table(counts={"b": 31}), ["b"], tmp_path)
    assert "expected 31 rows of domain 'b'; got 30" in counted.how


# --------------------------------------------------------------- what can be wrong
def put(domain: str, **arrays: Any) -> Callable[[str, dict[str, Any]], None]:
    """Other arrays in one domain's file: values, or functions of what was there."""

    def change(name: str, there: dict[str, Any]) -> None:
        if name == domain:
            there.update({key: value(there[key]) if callable(value) else value for key, value in arrays.items()})

    return change


def renamed(domain: str, there: dict[str, Any]) -> None:
    there["xs"] = there.pop("x")


def poisoned(x: NDArray[Any]) -> NDArray[Any]:
    x = x.astype(np.float64)
    x[7, 2, 3] = np.nan
    return x


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            renamed,
            r"a\.npz: expected an array named 'x'; got xs, y\. Did you mean 'xs'\? Name the one that",
        ),
        (put("a", y=lambda y: y[:-1]), r"one label for each row of 'x', 40; got 39 in 'y'"),
        (
            put("a", x=lambda x: x.transpose(1, 2, 0)),
            r"one label for each row of 'x', 8; got 40 .* transposed: rows c",
        ),
        (put("a", x=lambda x: x.astype(object)), r"a\.npz: .* got an array of Python objects, which would run code"),
        (put("b", y=lambda y: y.astype(object)), r"b\.npz: .* got an array of Python objects"),
        (put("a", x=poisoned), r"finite numbers in 'x'; got nan in 1 of 40 rows, the first in row 7, at \(2, 3\)"),
        (put("a", y=lambda y: 0 * y, x=lambda x: x), r"classes of domain 'a' .*; got 1, 2, 3 in 'b' alone"),
        (put("b", y=lambda y: np.minimum(y, 2)), r"got 3 in 'a' alone\. Closed-set"),
        (put("b", y=lambda y: y + 1), r"One seems to count its classes from 0 and the other from 1: number both alike"),
        (put("b", y=lambda y: y.astype(str)), r"labels as in domain 'a' .*: 0, 1, 2; got '0', '1', '2'\. Write"),
        (put("a", y=lambda y: y + 0.25), r"whole numbers in 'y'; got 0\.25 in row 0"),
        (put("a", y=lambda y: np.eye(4)[y]), r"'y' as one number a row; got shape \(40, 4\)"),
        (put("a", y=lambda y: np.where(y, "dog", "")), r"a class for each row in 'y'; got an empty name in row 0"),
        (
            put("b", x=lambda x: x / 255),
            r"numbers as in domain 'a', bytes, 0 to 255; got float64 from .*scale = \{ b = 255",
        ),
        (
            put("a", x=lambda x: x[..., None].repeat(3, -1)),
            r"\(40, 8, 8, 3\), with the channels last\. Store it as im",
        ),
        (put("a", x=lambda x: x.reshape(40, 64)), r"'x' as images, .*; got \(40, 64\)\. Reshape it, or correct 'kind'"),
        (put("a", x=lambda x: x.astype("U3")), r"'x' as numbers: images are .*; got <U3 of \(40, 8, 8\)"),
        (put("a", x=lambda x: x[:0]), r"'x' as numbers: .*; got uint8 of \(0, 8, 8\)"),
    ],
)
def test_careless_files_meet_a_sentence(change: Any, words: str, tmp_path: Path) -> None:
    write(tmp_path, change)
    with pytest.raises(DataError, match=words):
        load(tmp_path)


def test_one_class_in_both_and_three_axes_of_no_kind(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"images \(n, height, width\), or series .* Say which, .* kind = 'images' or"):
        load(tmp_path, table(kind=None))
    write(tmp_path, lambda _, arrays: arrays.update(y=0 * arrays["y"]))
    with pytest.raises(DataError, match=r"labels of two classes or more; got \[0\]"):
        load(tmp_path)


def test_files_that_are_cut_or_lack_their_labels(tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "a.npy", digits("a")[0])
    files = {"a": "a.npy", "b": "b.npz"}
    with pytest.raises(DataError, match=r"a file of labels beside it, .*label_files = \{ a = \.\.\. \}"):
        load(tmp_path, table(files=files))
    np.save(tmp_path / "y.npy", digits("a")[1])
    load(tmp_path, table(files=files, label_files={"a": "y.npy"}))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-10])
    with pytest.raises(
        DataError, match=r"a\.npy: expected an array of numbers in an \.npy file; got what cannot be read"
    ):
        load(tmp_path, table(files=files, label_files={"a": "y.npy"}))
    with pytest.raises(
        DataError, match=r"the inputs of domain 'a'; got no such file \(a\.npy, a\.npz, b\.npz, y\.npy in"
    ):
        load(tmp_path, table(files={"a": "aa.npz", "b": "b.npz"}))
    savemat(tmp_path / "a.mat", {"x": sparse.eye(40).tocsc(), "y": digits("a")[1]})
    with pytest.raises(
        DataError, match=r"a dense array 'x'; got a sparse matrix\. Sparse rows are for the table \[features"
    ):
        load(tmp_path, table(files={"a": "a.mat", "b": "b.npz"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": {"a": "a.csv", "b": "b.npz"}}, r"inputs are read from \.npz, \.npy and \.mat files; got 'a\.csv'"),
        ({"label_files": {"c": "c.npy"}}, "label_files: unknown domain 'c'"),
        ({"inputs": {"a": "x"}}, "inputs: domain 'b' has no name there"),
        ({"scale": {"c": 2}}, "scale: unknown domain 'c'"),
        ({"scale": 0}, "greater than 0"),
        ({"split": "s", "test_files": {"a": "t.npz"}}, "'split' and 'test_files' both say"),
        ({"channels": 2}, "Input should be 1 or 3"),
        ({"kind": "image"}, "'images', 'series' or 'vectors'"),
    ],
)
def test_careless_settings(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        table(**changes)


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        (lambda n: np.arange(n - 1) % 2, r"40 marks in 's'; got shape \(39,\)"),
        (lambda n: np.full(n, "train"), "marks of both kinds in 's'; got 'train'"),
        (lambda n: np.where(np.arange(n) % 2, "val", "train"), "marks of both kinds in 's'; got 'train', 'val'"),
    ],
)
def test_careless_marks(marks: Callable[[int], NDArray[Any]], words: str, tmp_path: Path) -> None:
    write(tmp_path, lambda domain, arrays: arrays.update(s=marks(ROWS[domain])))
    with pytest.raises(DataError, match=words):
        load(tmp_path, table(split="s"))


def test_numbers_are_looked_at_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCK", 64 * 3)  # three images
    write(tmp_path, put("b", x=lambda x: np.where(np.arange(30)[:, None, None] == 29, np.inf, x)))
    with pytest.raises(DataError, match=r"got inf in 1 of 30 rows, the first in row 29"):
        load(tmp_path)
