"""Features from files: what is read, how it is scaled and divided, and a sentence for each thing that can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.io import savemat

from landbridge.benchmarks.datasets.base import DataError, TaskData
from landbridge.benchmarks.datasets.features import FeatureSettings, load_features, status

ROWS = {"a": 60, "b": 45}
SIZE = 7


def made(domain: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Counts of words, (n, 7), and classes 1 to 3: 20 of each in a; 12, 13 and 20 in b."""
    numbers = np.random.default_rng(len(domain) + ord(domain[0]))
    labels = np.repeat([1, 2, 3], [20, 20, 20] if domain == "a" else [12, 13, 20])
    features = numbers.integers(0, 9, (ROWS[domain], SIZE), dtype=np.uint8)
    features[:, 2] = 4  # constant
    return features, labels[np.arange(len(labels)) * 7 % len(labels)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with domain a in an .npz and domain b in a .mat file."""
    (tmp_path / "words").mkdir()
    features, labels = made("a")
    np.savez(tmp_path / "words/a.npz", fts=features, labels=labels)
    features, labels = made("b")
    savemat(tmp_path / "words/b.mat", {"fts": features, "labels": labels[:, None].astype(np.float64)})
    return tmp_path


def settings(**changes: Any) -> FeatureSettings:
    return FeatureSettings(**{"folder": "words", "files": {"a": "a.npz", "b": "b.mat"}, **changes})


def load(folder: Path | None, task: str = "a->b", table: FeatureSettings | None = None, **options: Any) -> TaskData:
    return load_features("words", table or settings(), task, data=folder, **options)


def test_all_rows_as_in_the_files(folder: Path):
    data = load(folder)
    for split, domain in ((data.source_train, "a"), (data.target_train, "b")):
        features, labels = made(domain)
        assert split.inputs.dtype == np.float32
        assert split.inputs.flags.c_contiguous
        assert (split.inputs == features).all()
        assert (split.labels == labels - 1).all()
        assert split.labels.dtype == split.rows.dtype == np.int64
        assert (split.rows == np.arange(ROWS[domain])).all()
    assert data.classes == ("1", "2", "3")
    assert data.source_holdout is None
    assert data.target_eval is data.target_train


def test_the_other_way_round_and_named_classes(folder: Path):
    data = load(folder, "b->a", settings(classes=("mug", "bike", "mouse")))
    assert (data.source_train.inputs == made("b")[0]).all()
    assert (data.target_eval.inputs == made("a")[0]).all()
    assert data.classes == ("mug", "bike", "mouse")


def test_sparse_matrices_of_matlab_and_labels_in_a_row(folder: Path):
    features, labels = made("b")
    savemat(folder / "words/b.mat", {"fts": sparse.csc_matrix(features.astype(np.float64)), "labels": labels[None]})
    data = load(folder)
    assert (data.target_train.inputs == features).all()
    assert (data.target_train.labels == labels - 1).all()


def test_other_names(folder: Path):
    features, labels = made("a")
    np.savez(folder / "words/a.npz", x=features, y=labels)
    np.savez(folder / "words/b.npz", x=features + 1, y=labels)
    table = settings(files={"a": "a.npz", "b": "b.npz"}, features="x", labels="y")
    assert (load(folder, table=table).target_train.inputs == features + 1).all()


def slow_scaling(norm: str, over: str) -> dict[str, NDArray[np.float64]]:
    """Row norms and z-scores in loops, with the task a->b."""
    rows: dict[str, list[list[float]]] = {}
    for domain in ("a", "b"):
        rows[domain] = []
        for row in made(domain)[0].tolist():
            length = {"none": 1, "l1": sum(abs(x) for x in row), "l2": sum(x * x for x in row) ** 0.5}[norm]
            rows[domain].append([x / length for x in row])
    groups = {
        "none": {},
        "per_domain": {"a": rows["a"], "b": rows["b"]},
        "source": {"a": rows["a"], "b": rows["a"]},
        "joint": {"a": rows["a"] + rows["b"], "b": rows["a"] + rows["b"]},
    }[over]
    for domain, group in groups.items():
        scaled = [list(row) for row in rows[domain]]
        for column in range(SIZE):
            values = [row[column] for row in group]
            mean = sum(values) / len(values)
            deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
            for row in scaled:
                row[column] = (row[column] - mean) / deviation if deviation > 1e-12 else 0.0
        groups[domain] = scaled
    return {domain: np.array(groups.get(domain, rows[domain])) for domain in rows}


@pytest.mark.parametrize("norm", ["none", "l1", "l2"])
@pytest.mark.parametrize("over", ["none", "per_domain", "source", "joint"])
def test_scaling(folder: Path, norm: str, over: str):
    data = load(folder, table=settings(row_norm=norm, standardise=over))
    wanted = slow_scaling(norm, over)
    np.testing.assert_allclose(data.source_train.inputs, wanted["a"], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(data.target_train.inputs, wanted["b"], rtol=2e-6, atol=1e-6)


def test_standardising_gives_mean_0_and_population_deviation_1(folder: Path):
    rows = load(folder, table=settings(standardise="per_domain")).source_train.inputs.astype(np.float64)
    kept = [column for column in range(SIZE) if column != 2]
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(0)[kept], 1, rtol=1e-6)
    assert (rows[:, 2] == 0).all()


def test_a_row_of_zeros_stays(folder: Path):
    features, labels = made("a")
    features[3] = 0
    np.savez(folder / "words/a.npz", fts=features, labels=labels)
    assert (load(folder, table=settings(row_norm="l1")).source_train.inputs[3] == 0).all()


def test_rows_a_class_are_drawn_anew_for_each_repeat(folder: Path):
    draws = [load(folder, per_class={"a": 5}, repeat=repeat).source_train for repeat in (0, 0, 1)]
    for split in draws:
        assert np.bincount(split.labels).tolist() == [5, 5, 5]
        assert (np.diff(split.rows) > 0).all()
        assert (split.inputs == made("a")[0][split.rows]).all()
        assert (split.labels == made("a")[1][split.rows] - 1).all()
    assert (draws[0].rows == draws[1].rows).all()
    assert (draws[0].rows != draws[2].rows).any()


def test_rows_a_class_are_of_the_source_alone(folder: Path):
    data = load(folder, per_class={"b": 5})
    assert len(data.source_train.rows) == 60
    assert len(data.target_train.rows) == 45


def test_a_smaller_draw_lies_within_a_larger(folder: Path):
    small, large = (set(load(folder, per_class={"a": n}).source_train.rows.tolist()) for n in (4, 9))
    assert small < large


def test_scaling_does_not_depend_on_the_draw(folder: Path):
    table = settings(standardise="per_domain")
    whole, drawn = load(folder, table=table), load(folder, table=table, per_class={"a": 3}, draw={"b": 9})
    assert (whole.source_train.inputs[drawn.source_train.rows] == drawn.source_train.inputs).all()
    assert (whole.target_train.inputs[drawn.target_train.rows] == drawn.target_train.inputs).all()
    assert len(drawn.target_train.rows) == 9


def test_inductive_scores_the_share_of_each_class_rounded_up(folder: Path):
    data = load(folder, table=settings(scored_share=0.5), scored="inductive")
    assert np.bincount(data.target_eval.labels).tolist() == [6, 7, 10]  # of 12, 13 and 20
    assert np.bincount(data.target_train.labels).tolist() == [6, 6, 10]
    both = np.concatenate([data.target_eval.rows, data.target_train.rows])
    assert sorted(both.tolist()) == list(range(45))
    again = load(folder, table=settings(scored_share=0.5), scored="inductive", repeat=1)
    assert (again.target_eval.rows != data.target_eval.rows).any()
    # the default fifth is a fifth in spite of rounding
    assert len(load(folder, "b->a", scored="inductive").target_eval.rows) == 12


def test_draw_and_holdout(folder: Path):
    data = load(folder, draw={"a": 40, "b": 10}, source_holdout=0.25, scored="inductive")
    assert data.source_holdout is not None
    assert [len(split.rows) for split in data[:4]] == [30, 10, 10, 10]  # type: ignore[union-attr]
    assert not set(data.source_train.rows.tolist()) & set(data.source_holdout.rows.tolist())
    assert not set(data.target_train.rows.tolist()) & set(data.target_eval.rows.tolist())


def test_checksum_tells_all_that_matters(folder: Path):
    found = {
        load(folder).checksum,
        load(folder, "b->a").checksum,
        load(folder, per_class={"a": 5}).checksum,
        load(folder, per_class={"a": 5}, repeat=1).checksum,
        load(folder, scored="inductive").checksum,
        load(folder, table=settings(row_norm="l1")).checksum,
        load(folder, table=settings(classes=("x", "y", "z"))).checksum,
    }
    assert len(found) == 7
    assert load(folder).checksum in found


def test_bits_are_fixed(folder: Path):
    data = load(folder, per_class={"a": 3}, scored="inductive", repeat=2)
    assert data.source_train.rows.tolist() == FIXED["source"]
    assert data.target_eval.rows.tolist() == FIXED["scored"]


FIXED = {"source": [2, 18, 21, 26, 30, 32, 34, 55, 59], "scored": [7, 12, 21, 22, 26, 27, 34, 36, 37, 38]}


def test_a_changed_file_is_read_again(folder: Path):
    before = load(folder).checksum
    features, labels = made("a")
    np.savez(folder / "words/a.npz", fts=features[:, ::-1].astype(np.float64), labels=labels)
    assert load(folder).checksum != before


def test_what_is_read_cannot_be_changed_by_what_is_done_to_it(folder: Path):
    data = load(folder)
    data.source_train.inputs[:] = 0
    data.source_train.labels[:] = 0
    assert (load(folder).source_train.inputs == made("a")[0]).all()
    assert (load(folder).source_train.labels == made("a")[1] - 1).all()


def test_status(folder: Path):
    (folder / "words/b.mat").unlink()
    table = settings(counts={"a": 60})
    there, missing = status("words", table, ["a", "b"], folder)
    assert there.present
    assert there.size == "60 rows of 7 features"
    assert not missing.present
    assert missing.how == "Put words/b.mat into the data folder; suite 'words' downloads nothing."
    (nowhere,) = status("words", table, ["a"], None)
    assert not nowhere.present
    assert "pass --data DIR" in nowhere.where


# --------------------------------------------------------------- what can be wrong: arguments
@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("a-b", {}, "needs a task as 'source->target'; got 'a-b'"),
        ("a->amazon", {}, "task: unknown domain 'amazon'; did you mean 'a'|task: unknown domain 'amazon'"),
        ("a->a", {}, "needs two domains in a task; got 'a->a'"),
        ("a->b", {"scored": "transductiv"}, "unknown word 'transductiv'; did you mean 'transductive'"),
        ("a->b", {"source_holdout": 1.0}, r"a share of the source rows in \[0, 1\); got 1.0"),
        ("a->b", {"source_holdout": -0.1}, r"a share of the source rows in \[0, 1\); got -0.1"),
        ("a->b", {"draw": {"c": 3}}, "draw: unknown domain 'c'"),
        ("a->b", {"draw": {"a": 0}}, r"draws a positive number of rows; got draw=\{'a': 0\}"),
        ("a->b", {"per_class": {"a": True}}, r"got per_class=\{'a': True\}"),
        ("a->b", {"repeat": -1}, "needs repeat >= 0; got -1"),
        ("b->a", {"per_class": {"b": 13}}, "cannot draw 13 rows of class '1' of 'b': it has 12"),
        ("a->b", {"draw": {"a": 61}}, "cannot draw 61 rows of 'a'"),
    ],
)
def test_wrong_arguments(folder: Path, task: str, options: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words) as caught:
        load(folder, task, **options)
    assert not isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": {}}, "at least 1 item"),
        (
            {"files": {"a": "a.npz", "b": "b.csv"}},
            ".npz, .npy, .mat, .svmlight, .libsvm and .txt files; got 'b.csv'",
        ),
        ({"files": {"a->b": "a.npz"}}, "a domain's name is letters, digits"),
        ({"counts": {"B": 3}}, "counts: unknown domain 'B'; did you mean 'b'"),
        ({"classes": ("x", "x")}, "two class names or more are needed, each once; got x, x"),
        ({"classes": 1}, "greater than or equal to 2"),
        ({"row_norm": "l3"}, "'none', 'l1' or 'l2'"),
        ({"scored_share": 1.0}, "less than 1"),
        ({"standardize": "source"}, "Extra inputs"),
    ],
)
def test_wrong_settings(changes: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        settings(**changes)


# --------------------------------------------------------------- what can be wrong: files
def rewrite(domain: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Write a domain's file anew after a change of its arrays."""

    def write(folder: Path) -> None:
        features, labels = made(domain)
        arrays: dict[str, Any] = {"fts": features.astype(np.float64), "labels": labels}
        change(arrays)
        path = folder / "words" / settings().files[domain]
        np.savez(path, **arrays) if path.suffix == ".npz" else savemat(path, arrays)

    return write


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.__setitem__(name, value)


def spoil(row: int, column: int, value: float) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays["fts"][row:, column] = value

    return change


def relabel(change: Callable[[NDArray[np.int64]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.update(labels=change(arrays["labels"]))


def broken(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "words" / name).write_bytes(content)

    return write


def version_7_3(folder: Path) -> None:
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116)
    header = text + b"\0" * 8 + b"\x00\x02" + b"IM"
    (folder / "words/b.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + b"\0" * 400)


def cut(name: str, start: int, stop: int | None = None) -> Callable[[Path], None]:
    """Leave out bytes from ``start`` on; with ``stop`` overwrite them instead."""

    def write(folder: Path) -> None:
        path = folder / "words" / name
        content = path.read_bytes()
        path.write_bytes(content[:start] + (b"" if stop is None else b"x" * (stop - start) + content[stop:]))

    return write


def array_alone(folder: Path) -> None:
    with (folder / "words/a.npz").open("wb") as file:
        np.save(file, np.zeros(3))


def missing(folder: Path) -> None:
    (folder / "words/b.mat").unlink()


def in_its_place_a_folder(folder: Path) -> None:
    missing(folder)
    (folder / "words/b.mat").mkdir()


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (missing, r"b.mat: expected the features of domain 'b'; got no such file \(a.npz in "),
        (in_its_place_a_folder, "b.mat: expected the features of domain 'b' in a file; got a folder"),
        (
            rewrite("a", spoil(41, 2, np.nan)),
            r"a.npz: expected finite numbers in 'fts'; got nan in 19 of 60 rows, the first in row 41, column 2\. Leave",
        ),
        (rewrite("b", spoil(44, 0, -np.inf)), "b.mat: .* got -inf in 1 of 45 rows, the first in row 44, column 0"),
        (
            rewrite("a", relabel(lambda y: y[:-1])),
            "a.npz: expected one label for each row of 'fts', 60; got 59 in 'labels'. Store [^.]*[.]$",
        ),
        (
            rewrite("a", lambda arrays: arrays.update(fts=arrays["fts"].T)),
            "7; got 60 in 'labels'.* seems to be transposed",
        ),
        (
            rewrite("a", lambda arrays: arrays.update(x=arrays.pop("fts"))),
            "a.npz: expected an array named 'fts'; got labels, x. Name the one that holds the features .* features = ",
        ),
        (rewrite("b", lambda arrays: arrays.pop("labels")), "b.mat: expected an array named 'labels'; got fts. Name"),
        (
            rewrite("a", relabel(lambda y: y + 0.5)),
            r"expected whole numbers in 'labels'; got \d.5 in row 0. Number the",
        ),
        (
            rewrite("a", relabel(lambda y: np.where(y == 2, np.nan, y))),
            "expected whole numbers in 'labels'; got nan in row",
        ),
        (rewrite("a", relabel(lambda y: y.astype(str))), "labels as in domain 'a' .a.npz.: '1', '2', '3'; got 1, 2, 3"),
        (rewrite("a", relabel(lambda y: y.astype(complex))), "whole numbers or names in 'labels'; got complex"),
        (rewrite("b", relabel(lambda y: y - 1)), "in 'b' alone. One seems to count its classes from 0 and the other"),
        (rewrite("a", relabel(lambda y: np.eye(3)[y - 1])), r"'labels' as one number a row; got shape \(60, 3\)"),
        (rewrite("a", put("fts", np.zeros(60))), r"numbers of shape \(rows, features\); got float64 of \(60,\)"),
        (rewrite("a", put("fts", np.zeros((60, 0)))), r"numbers of shape \(rows, features\); got float64 of \(60, 0\)"),
        (rewrite("a", put("fts", np.full((60, 2), "x"))), r"numbers of shape .*; got <U1 of \(60, 2\)"),
        (
            rewrite("a", put("fts", np.full((60, 2), {}))),
            "expected arrays of numbers in an .npz archive; got an array of Python objects",
        ),
        (
            rewrite("b", lambda arrays: arrays.update(fts=arrays["fts"][:, 1:])),
            r"b.mat: expected 7 features a row, as in the source domain \(a.npz\); got 6. Extract both",
        ),
        (
            rewrite("b", relabel(lambda y: np.where(y == 2, 9, y))),
            r"b.mat: expected the classes of domain 'a' \(a.npz\); got 2 in 'a' alone, 9 in 'b' alone. Closed-set",
        ),
        (rewrite("b", relabel(lambda y: np.minimum(y, 2))), "got 3 in 'a' alone. Closed-set"),
        (
            version_7_3,
            r"b.mat: .* version 7; got version 7.3 \(HDF5\). In MATLAB: load\('b.mat'\); save\('b.mat', '-v7'\)",
        ),
        (cut("a.npz", 300), "a.npz: expected an .npz archive of numpy; got a broken or another file. Save it by numpy"),
        (cut("a.npz", 200, 220), "a.npz: expected arrays of numbers in an .npz archive; got what cannot be read"),
        (cut("b.mat", -20), "b.mat: expected a MATLAB file; got what cannot be read"),
        (broken("a.npz", b""), "a.npz: expected an .npz archive of numpy; got a broken or another file"),
        (
            broken("b.mat", b"not a file of MATLAB, but long enough to have a header" * 9),
            "b.mat: expected a MATLAB file",
        ),
        (broken("b.mat", b""), "b.mat: expected a MATLAB file"),
        (array_alone, "a.npz: expected an .npz archive of numpy; got a broken or another file"),
    ],
)
def test_wrong_files(folder: Path, spoiled: Callable[[Path], None], words: str):
    spoiled(folder)
    with pytest.raises(DataError, match=words):
        load(folder)


def test_one_class(folder: Path):
    for domain in ("a", "b"):
        rewrite(domain, relabel(np.ones_like))(folder)
    with pytest.raises(DataError, match=r"expected labels of two classes or more; got \[1\]"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": {"b": 44}}, "b.mat: expected 44 rows of domain 'b'; got 45. Get the file of the published set"),
        ({"classes": 10}, r"a.npz: expected labels of 10 classes; got 3 \(1, 2, 3\). Correct the labels, or 'classes'"),
        ({"classes": ("x", "y")}, "expected labels of 2 classes; got 3"),
    ],
)
def test_files_that_are_not_what_the_suite_says(folder: Path, changes: dict[str, Any], words: str):
    with pytest.raises(DataError, match=words):
        load(folder, table=settings(**changes))


def test_no_data_folder():
    with pytest.raises(
        DataError, match=r"suite 'words': expected a data folder with words/a.npz; got none. Pass --data"
    ):
        load(None)
    with pytest.raises(DataError, match=r"got no such file \(No such file or directory\)"):
        load(Path("nowhere"))


def test_nothing_is_left_to_adapt_to(folder: Path):
    with pytest.raises(ValueError, match=r"cannot score 0.99 of each class of 'b': no row is left"):
        load(folder, table=settings(scored_share=0.99), scored="inductive")
