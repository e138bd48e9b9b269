"""Features in sparse files: svmlight, scipy's archives, MATLAB's; dense in memory, or mapped where that is too much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.io import savemat
from sklearn.datasets import dump_svmlight_file

from landbridge.benchmarks.datasets import features, sparse_rows
from landbridge.benchmarks.datasets.base import DataError, TaskData
from landbridge.benchmarks.datasets.features import FeatureSettings, load_features, status
from landbridge.shared.batches import Rows

WIDTH = 30


def words(domain: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Counts of words, most of them 0; the last columns are empty in b, and a column is constant."""
    rng = np.random.default_rng(ord(domain))
    counts = rng.poisson(0.3, (50, WIDTH)).astype(np.float64)
    counts[:, 7] = 2
    if domain == "b":
        counts[:, WIDTH - 4 :] = 0
    return counts, np.tile([-1, 1], 25)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(folder: Path, suffix: str, *, one_based: bool = False) -> FeatureSettings:
    label_files = {}
    for domain in ("a", "b"):
        counts, labels = words(domain)
        path = folder / f"{domain}{suffix}"
        if suffix == ".npz":
            sparse.save_npz(path, sparse.coo_matrix(counts))
            np.save(folder / f"{domain}_labels.npy", labels)
            label_files[domain] = f"{domain}_labels.npy"
        elif suffix == ".mat":
            savemat(path, {"fts": sparse.csc_matrix(counts), "labels": labels})
        else:
            dump_svmlight_file(counts, labels, str(path), zero_based=not one_based)
    return FeatureSettings(files={d: f"{d}{suffix}" for d in ("a", "b")}, label_files=label_files)


def load(folder: Path, table: FeatureSettings, task: str = "a->b", **options: Any) -> TaskData:
    return load_features("words", table, task, data=folder, **options)


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".svmlight", ".libsvm", ".txt"])
def test_rows_are_those_of_the_dense_matrix(suffix: str, tmp_path: Path) -> None:
    data = load(tmp_path, write(tmp_path, suffix))
    assert data.classes == ("-1", "1")
    for split, domain in ((data.source_train, "a"), (data.target_train, "b")):
        counts, labels = words(domain)
        np.testing.assert_array_equal(split.inputs, counts)
        np.testing.assert_array_equal(split.labels, (labels + 1) // 2)


@pytest.mark.parametrize("task", ["a->b", "b->a"])
def test_svmlight_counts_columns_alike_in_both_files(task: str, tmp_path: Path) -> None:
    """A file that lacks the first feature must not be moved by a column: all files of a task tell together."""
    for domain in ("a", "b"):
        counts, labels = words(domain)
        if domain == "b":
            counts[:, 0] = 0
        dump_svmlight_file(counts, labels, str(tmp_path / f"{domain}.txt"), zero_based=True)
    data = load(tmp_path, FeatureSettings(files={"a": "a.txt", "b": "b.txt"}), task)
    of_a = data.source_train if task == "a->b" else data.target_train
    of_b = data.target_train if task == "a->b" else data.source_train
    np.testing.assert_array_equal(of_a.inputs, words("a")[0])
    np.testing.assert_array_equal(np.asarray(of_b.inputs)[:, 1:], words("b")[0][:, 1:])
    assert (np.asarray(of_b.inputs)[:, 0] == 0).all()


def test_svmlight_that_counts_from_1_and_a_given_width(tmp_path: Path) -> None:
    table = write(tmp_path, ".txt", one_based=True)
    np.testing.assert_array_equal(load(tmp_path, table).source_train.inputs, words("a")[0])
    wide = load(tmp_path, table.model_copy(update={"columns": 40})).target_train.inputs
    assert wide.shape == (50, 40)
    with pytest.raises(DataError, match=r"a\.txt: expected at most 20 features a row; got 30\. Correct 'columns'"):
        load(tmp_path, table.model_copy(update={"columns": 20}))


@pytest.mark.parametrize("standardise", ["none", "per_domain", "source", "joint"])
@pytest.mark.parametrize("norm", ["none", "l1", "l2"])
def test_mapped_rows_are_the_dense_ones(
    norm: str, standardise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path, ".mat").model_copy(update={"row_norm": norm, "standardise": standardise})
    dense = load(tmp_path, table)
    features._scaled.cache_clear()
    monkeypatch.setattr(features, "DENSE_BYTES", 1000)
    monkeypatch.setattr(sparse_rows, "BLOCK_BYTES", 8 * WIDTH * 7)  # seven rows at a time
    mapped = load(tmp_path, table)
    features._scaled.cache_clear()
    assert isinstance(mapped.source_train.inputs, Rows)
    assert isinstance(mapped.source_train.inputs.base, np.memmap)
    for one, other in zip(dense[:4], mapped[:4], strict=True):
        if one is not None:
            np.testing.assert_allclose(other.inputs, one.inputs, rtol=2e-6, atol=1e-6)
            np.testing.assert_array_equal(other.labels, one.labels)


def test_mapped_rows_are_made_once_and_again_if_they_are_damaged(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path, ".npz")
    monkeypatch.setattr(features, "DENSE_BYTES", 1000)
    first = load(tmp_path, table)
    made = sorted((cache / "dense").iterdir())
    assert len(made) == 2
    times = [path.stat().st_mtime_ns for path in made]
    features._scaled.cache_clear()
    assert load(tmp_path, table).checksum == first.checksum
    assert [path.stat().st_mtime_ns for path in made] == times
    os.truncate(made[0], 300)
    features._scaled.cache_clear()
    np.testing.assert_array_equal(load(tmp_path, table).source_train.inputs, words("a")[0])
    features._scaled.cache_clear()


def test_a_cache_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path, ".npz")
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(features, "DENSE_BYTES", 1000)
    with pytest.raises(DataError, match=r"a place to write to; got .* set LANDBRIDGE_CACHE"):
        load(tmp_path, table)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lines of svmlight; got an empty file"),
        ("review 1 is good\n", "lines of svmlight; got what cannot be read"),
        (
            "1 3:1 4:nan\n-1 2:1\n",
            "finite numbers in the features; got nan in 1 of 2 rows, the first in row 0, col",
        ),
        ("1.5 3:1\n0 2:1\n", r"whole numbers in the labels; got 1\.5 in row 0"),
        ("1 3:1\n-1 2:1 4:", "what cannot be read|a last line that is whole"),
        ("1 3:1\n1 2:1\n", "the classes of domain"),
    ],
)
def test_what_is_no_svmlight_is_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    table = write(tmp_path, ".txt")
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        load(tmp_path, table)


def test_a_sparse_archive_needs_its_labels_named_and_whole(tmp_path: Path) -> None:
    table = write(tmp_path, ".npz")
    with pytest.raises(DataError, match=r"labels beside the features; got a sparse matrix alone\. Name .*label_files"):
        load(tmp_path, table.model_copy(update={"label_files": {}}))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.npz: expected an \.npz archive"):
        load(tmp_path, table)


def test_rows_given_for_scoring_are_scored(tmp_path: Path) -> None:
    table = write(tmp_path, ".svmlight")
    counts, labels = words("c")
    dump_svmlight_file(counts[:20], labels[:20], str(tmp_path / "b_test.svmlight"), zero_based=True)
    table = FeatureSettings(files=table.files, test_files={"b": "b_test.svmlight"}, counts={"b": 50})
    data = load(tmp_path, table, scored="inductive")
    np.testing.assert_array_equal(data.target_eval.inputs, counts[:20])
    np.testing.assert_array_equal(data.target_train.inputs, words("b")[0])
    assert data.target_eval.rows.tolist() == list(range(50, 70))
    same = load(tmp_path, table)  # transductive: those given for scoring are left alone
    assert same.target_eval is same.target_train
    assert len(same.target_train.labels) == 50


def test_status_looks_inside(tmp_path: Path) -> None:
    table = write(tmp_path, ".svmlight")
    first, second = status("words", table, ["a", "b"], tmp_path)
    assert (first.present, first.state, first.size) == (True, "there", "50 rows of 30 features, sparse")
    (tmp_path / "b.svmlight").write_text("1 0:1 broken\n")
    (damaged,) = status("words", table, ["b"], tmp_path)
    assert (damaged.present, damaged.state) == (False, "damaged")
    assert "lines of svmlight" in damaged.how
    assert second.present
