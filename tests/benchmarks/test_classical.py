"""Classical rows: what moves, what classifies, what is chosen by which labels, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.svm import SVC

from landbridge.benchmarks import classical
from landbridge.benchmarks.classical import Classical, check_row, run_classical
from landbridge.benchmarks.datasets.base import Split, TaskData
from landbridge.coral.coral import CORAL
from landbridge.shared.estimator import pack
from landbridge.transport.otda import OTDA

DATA = Path(__file__).parents[2].parent / "shared/data"


class Row(NamedTuple):
    method: str = "none"
    classifier: str | None = "1nn"
    settings: dict[str, Any] = {}  # noqa: RUF012 (as in the suite's settings; never changed)
    grid: dict[str, list[Any]] = {}  # noqa: RUF012
    trains_on: str = "source"


class Rules(NamedTuple):
    scored: str = "transductive"
    tuned: str = "none"


TUNED = Rules("inductive", "target")
SHIFT = np.array([[1.2, 0.5, 0.0], [-0.4, 1.0, 0.0], [0.0, 0.0, 2.0]])


def split(count: int, seed: int, *, moved: bool, noise: float) -> Split:
    """Three classes of ``count`` Gaussian rows each in three dimensions; the target's are turned and shifted."""
    numbers = np.random.default_rng(seed)
    labels = numbers.permutation(np.repeat(np.arange(3), count))
    rows = numbers.normal(size=(3 * count, 3)) * noise + 2.0 * np.eye(3)[labels]
    rows = rows @ SHIFT + np.array([2.0, 0.0, 0.0]) if moved else rows
    return Split(rows.astype(np.float32), labels.astype(np.int64), np.arange(3 * count))


def made(*, inductive: bool = False, noise: float = 0.7) -> TaskData:
    target = split(12, 1, moved=True, noise=noise)
    scored = split(9, 2, moved=True, noise=noise) if inductive else target
    return TaskData(split(10, 0, moved=False, noise=noise), None, target, scored, ("0", "1", "2"), "0" * 64)


def rows(part: Split) -> NDArray[np.float64]:
    return part.inputs.astype(np.float64)


def moved_by(estimator: Any, data: TaskData, target: Split) -> NDArray[np.float64]:
    X, y, sample_domain = pack(rows(data.source_train), data.source_train.labels, rows(target))
    moved: NDArray[np.float64] = estimator.fit_transform(X, y, sample_domain)[: len(data.source_train.labels)]
    return moved


def nearest_label(moved: NDArray[np.float64], labels: NDArray[np.int64], target: Split) -> list[int]:
    """1-NN in loops."""
    found = []
    for row in rows(target):
        distances = [sum((float(a) - float(b)) ** 2 for a, b in zip(row, other, strict=True)) for other in moved]
        found.append(int(labels[distances.index(min(distances))]))
    return found


def accuracy(found: Classical, data: TaskData) -> float:
    return float((found.predictions == data.target_eval.labels).mean())


# --------------------------------------------------------------- rows
@pytest.mark.parametrize("inductive", [False, True])
@pytest.mark.parametrize(
    ("method", "settings", "estimator"),
    [
        ("none", {}, None),
        ("coral", {"regularization": 0.5}, CORAL(regularization=0.5)),
        ("otda", {"solver": "sinkhorn", "norm": "none", "reg": 1.0}, OTDA("sinkhorn", norm=None, reg=1.0)),
        ("otda", {"solver": "group_lasso", "reg": 0.5, "group_reg": 0.5}, OTDA("group_lasso", reg=0.5, group_reg=0.5)),
    ],
)
def test_nearest_neighbour_after_each_estimator(inductive: bool, method: str, settings: dict[str, Any], estimator: Any):
    data = made(inductive=inductive)
    rules = Rules("inductive" if inductive else "transductive")
    found = run_classical(Row(method, settings=settings), rules, data, seed=0)
    moved = rows(data.source_train) if estimator is None else moved_by(estimator, data, data.target_train)
    assert found.predictions.tolist() == nearest_label(moved, data.source_train.labels, data.target_eval)
    assert found.predictions.dtype == np.int64
    assert found.chosen["settings"] == {**settings, **({"norm": None} if "norm" in settings else {})}
    assert found.chosen["estimator"] == method
    assert found.chosen["classifier"] == "1nn"
    assert found.tried == ()
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("classifier", "machine"), [("svm", SVC(kernel="linear", C=1.0)), ("svm-rbf", SVC(gamma=1 / 3, C=100.0))]
)
def test_machines_learn_from_moved_rows(classifier: str, machine: SVC):
    data = made(noise=1.5)
    found = run_classical(Row("coral", classifier), Rules(), data, seed=0)
    moved = moved_by(CORAL(), data, data.target_train)
    wanted = machine.fit(moved, data.source_train.labels).predict(rows(data.target_eval))
    assert (found.predictions == wanted).all()
    assert (wanted != run_classical(Row("none", classifier), Rules(), data, seed=0).predictions).any()


def test_similarity_is_trained_on_products_of_moved_with_unmoved_rows():
    data = made()
    found = run_classical(Row("coral", "svm-similarity"), Rules(), data, seed=3)
    moved, source = moved_by(CORAL(), data, data.target_train), rows(data.source_train)
    products = np.array([[float(a @ b) for b in source] for a in moved])
    machine = SVC(kernel="precomputed", C=found.chosen["C"]).fit(products, data.source_train.labels)
    wanted = machine.predict(np.array([[float(a @ b) for b in moved] for a in rows(data.target_eval)]))
    assert (found.predictions == wanted).all()
    assert found.chosen["C"] in classical.SIMILARITY_C


def test_the_seed_decides_the_folds_of_similarity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(classical, "SIMILARITY_C", (0.01, 0.1, 1.0))
    data = made(noise=1.5)
    chosen = [
        [run_classical(Row("coral", "svm-similarity"), Rules(), data, seed=seed).chosen["C"] for seed in range(6)]
        for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) > 1


def test_adapting_helps_where_the_target_lies_elsewhere():
    data = made()
    far = data.target_train._replace(inputs=data.target_train.inputs + np.float32([8, 2, 0]))
    data = data._replace(target_train=far, target_eval=far)
    plain = accuracy(run_classical(Row(), Rules(), data, seed=0), data)
    transported = accuracy(run_classical(Row("otda", settings={"solver": "group_lasso"}), Rules(), data, seed=0), data)
    assert transported > plain + 0.3


@pytest.mark.parametrize("row", [Row(), Row("coral", "svm"), Row("otda", settings={"solver": "group_lasso"})])
def test_labels_of_the_target_change_nothing(row: Row):
    data = made()
    noise = data.target_train._replace(labels=np.random.default_rng(5).permutation(data.target_train.labels))
    blind = data._replace(target_train=noise, target_eval=noise)
    found = [run_classical(row, Rules(), each, seed=0).predictions for each in (data, blind)]
    assert (found[0] == found[1]).all()


# --------------------------------------------------------------- tuned by target labels
GRID = {"reg": [0.05, 0.5, 5.0], "group_reg": [0.0, 0.5]}
LASSO = Row("otda", settings={"solver": "group_lasso"}, grid=GRID)


def test_tuning_searches_the_grid_on_the_validation_rows_and_adapts_anew_to_those_scored():
    data = made(inductive=True)
    labels = data.source_train.labels
    tried = []
    for reg in GRID["reg"]:
        for group_reg in GRID["group_reg"]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                moved = moved_by(OTDA("group_lasso", reg=reg, group_reg=group_reg), data, data.target_train)
            right = np.array(nearest_label(moved, labels, data.target_train)) == data.target_train.labels
            tried.append((float(right.mean()), reg, group_reg))
    best = max(each[0] for each in tried)
    _, reg, group_reg = next(each for each in tried if each[0] == best)
    found = run_classical(LASSO, TUNED, data, seed=0)
    assert [each[1] for each in found.tried] == pytest.approx([each[0] for each in tried])
    assert found.chosen["settings"] == {"solver": "group_lasso", "reg": reg, "group_reg": group_reg}
    assert found.chosen["validation_accuracy"] == best
    assert found.chosen["tuned_on_target_labels"] == len(data.target_train.labels)
    assert found.chosen["combinations"] == 6
    moved = moved_by(OTDA("group_lasso", reg=reg, group_reg=group_reg), data, data.target_eval)
    assert found.predictions.tolist() == nearest_label(moved, labels, data.target_eval)
    assert json.loads(json.dumps(found.chosen)) == found.chosen
    # the choice matters here: the accuracies differ
    assert len({each[0] for each in tried}) > 1


def test_labels_of_the_scored_rows_tune_nothing():
    data = made(inductive=True)
    noise = np.random.default_rng(5).permutation(data.target_eval.labels)
    blind = data._replace(target_eval=data.target_eval._replace(labels=noise))
    first, second = (run_classical(LASSO, TUNED, each, seed=0) for each in (data, blind))
    assert (first.predictions == second.predictions).all()
    assert first.chosen == second.chosen


@pytest.mark.filterwarnings("ignore:OTDA has moved the source")  # what the labels chose in the search
def test_labels_of_the_validation_rows_do():
    data = made(inductive=True)
    chosen = []
    for combination in ((0.05, 0.0), (5.0, 0.5)):  # labels that this combination gets right
        moved = moved_by(OTDA("group_lasso", reg=combination[0], group_reg=combination[1]), data, data.target_train)
        labels = np.array(nearest_label(moved, data.source_train.labels, data.target_train))
        truth = data._replace(target_train=data.target_train._replace(labels=labels))
        chosen.append(run_classical(LASSO, TUNED, truth, seed=0).chosen)
    assert [each["validation_accuracy"] for each in chosen] == [1.0, 1.0]
    assert chosen[0]["settings"] != chosen[1]["settings"]


def test_the_first_of_equals_is_chosen():
    data = made(inductive=True)
    row = Row("coral", settings={"regularization": 7.0}, grid={"regularization": [1.0, 1.0 + 1e-12, 1.0 - 1e-12]})
    assert run_classical(row, TUNED, data, seed=0).chosen["settings"] == {"regularization": 1.0}


def test_a_row_without_a_grid_has_nothing_to_tune():
    data = made(inductive=True)
    found = run_classical(Row("coral", settings={"regularization": 0.3}), TUNED, data, seed=0)
    moved = moved_by(CORAL(regularization=0.3), data, data.target_eval)
    assert found.predictions.tolist() == nearest_label(moved, data.source_train.labels, data.target_eval)
    assert "validation_accuracy" not in found.chosen
    assert found.tried == ()


def test_the_grid_is_left_alone_where_nothing_is_tuned():
    data = made()
    row = Row("coral", settings={"regularization": 0.3}, grid={"regularization": [1e-9, 1e9]})
    assert run_classical(row, Rules(), data, seed=0).chosen["settings"] == {"regularization": 0.3}


def test_unconverged_combinations_are_counted():
    data = made(inductive=True)
    row = Row("otda", settings={"solver": "sinkhorn"}, grid={"max_iter": [1, 1000], "reg": [0.1, 1.0]})
    found = run_classical(row, TUNED, data, seed=0)  # no warning leaves it: warnings are errors here
    assert found.chosen["combinations"] == 4
    assert found.chosen["not_converged"] == 2
    assert found.chosen["refused"] == 0


def refuse(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let CORAL refuse some regularizations, as a solver does where float64 ends."""
    move = classical._move

    def picky(name: str, settings: dict[str, Any], *arrays: Any) -> Any:
        if settings["regularization"] in values:
            raise ValueError(f"no digits are left at {settings['regularization']}")
        return move(name, settings, *arrays)

    monkeypatch.setattr(classical, "_move", picky)


def test_refused_combinations_are_passed_over(monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, 0.1)
    row = Row("coral", grid={"regularization": [0.1, 1.0, 9.0]})
    found = run_classical(row, TUNED, made(inductive=True), seed=0)
    assert found.tried[0] == ({"regularization": 0.1}, None)
    assert found.chosen["refused"] == 1
    assert found.chosen["settings"] in ({"regularization": 1.0}, {"regularization": 9.0})


def test_all_combinations_refused(monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, 0.1, 0.2)
    row = Row("coral", grid={"regularization": [0.1, 0.2]})
    with pytest.raises(ValueError, match=r"'coral' refused each combination of the grid. The last: .* left at 0.2"):
        run_classical(row, TUNED, made(inductive=True), seed=0)


def test_a_plan_that_has_not_converged_is_told_where_nothing_is_tuned():
    from sklearn.exceptions import ConvergenceWarning

    row = Row("otda", settings={"solver": "sinkhorn", "max_iter": 1})
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        run_classical(row, Rules(), made(), seed=0)


# --------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(classifier="1-nn"), "unknown classifier '1-nn'; did you mean '1nn'"),
        (Row(classifier=None), "unknown classifier 'None'"),
        (Row("choral"), "unknown estimator 'choral'; did you mean 'coral'"),
        (Row("coral", settings={"regularisation": 1.0}), "unknown setting of 'coral' 'regularisation'; did you mean"),
        (Row("coral", settings={"regularization": -1.0}), "CORAL needs a finite regularization >= 0; got -1.0"),
        (Row("coral", grid={"regularization": [1.0, -1.0]}), "CORAL needs a finite regularization >= 0; got -1.0"),
        (Row("coral", grid={"lambda": [1.0]}), "unknown setting of 'coral' 'lambda'"),
        (
            Row("coral", grid={"regularization": []}),
            r"grid: 'regularization' needs a list of values to search; got \[\]",
        ),
        (Row("otda", settings={"solver": "sinkhron"}), "unknown solver 'sinkhron'; did you mean 'sinkhorn'"),
        (Row(settings={"reg": 1.0}), "estimator 'none' has no settings; got reg. Leave them out"),
        (Row("coral", trains_on="target"), "a classical row trains on the source; got trains_on = 'target'"),
    ],
)
def test_wrong_rows(row: Row, words: str):
    with pytest.raises(ValueError, match=words):
        check_row(row)
    with pytest.raises(ValueError, match=words):
        run_classical(row, Rules(), made(), seed=0)


def test_a_value_of_another_type():
    with pytest.raises(TypeError, match="CORAL needs regularization as a number; got str"):
        check_row(Row("coral", settings={"regularization": "much"}))


def test_right_rows_pass():
    for method in classical.ESTIMATORS:
        for classifier in classical.CLASSIFIERS:
            check_row(Row(method, classifier))
    check_row(LASSO)


def test_tuning_on_scored_rows_is_refused():
    with pytest.raises(ValueError, match=r"tunes on validation rows that are not scored.* Write scored = 'inductive'"):
        run_classical(LASSO, Rules("transductive", "target"), made(), seed=0)


def test_images_are_refused():
    data = made()
    images = data.source_train._replace(inputs=np.zeros((30, 1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"needs features of shape \(n, d\) as inputs; got \(30, 1, 4, 4\)"):
        run_classical(Row(), Rules(), data._replace(source_train=images), seed=0)


def test_import_is_light():
    code = "import sys, landbridge.benchmarks.classical; print({'sklearn', 'ot', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


# --------------------------------------------------------------- the suite
def test_the_suite_reads_and_its_rows_pass():
    from landbridge.benchmarks.suite import read_suite

    suite = read_suite("office-caltech10-surf")
    assert len(suite.tasks) == 12
    assert suite.features is not None
    assert sum(suite.features.counts.values()) == 2533
    for name in ("1nn", "svm", "coral-1nn", "coral-svm", "otda-sinkhorn-1nn", "otda-group-lasso-1nn"):
        check_row(suite.methods[name])
        assert name in suite.default_methods
    rules = suite.protocols["published-tuning"]
    assert (rules.tuned, rules.scored) == ("target", "inductive")
    assert {name for name, row in suite.methods.items() if row.grid} == {"otda-sinkhorn-1nn", "otda-group-lasso-1nn"}
    for name in ("all", "twenty"):
        assert (suite.protocols[name].tuned, suite.protocols[name].scored) == ("none", "transductive")


@pytest.mark.skipif(not (DATA / "office_caltech10/surf").is_dir(), reason="needs ../shared/data/office_caltech10/surf")
def test_nearest_neighbours_of_the_published_table_to_a_tenth_of_a_percent():
    from landbridge.benchmarks.datasets.features import load_features
    from landbridge.benchmarks.suite import read_suite

    suite = read_suite("office-caltech10-surf")
    assert suite.features is not None
    (published,) = [
        each for each in suite.published if (each.method, each.protocol) == ("1nn", suite.protocol_id("all"))
    ]
    for task in suite.tasks:
        data = load_features(suite.name, suite.features, task, data=DATA)
        found = run_classical(suite.methods["1nn"], suite.protocols["all"], data, seed=0)
        assert 100 * accuracy(found, data) == pytest.approx(published.values[task], abs=0.051)


def test_rows_that_memory_does_not_hold_densely_are_told_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(classical, "available_memory", lambda: 1000.0)
    with pytest.raises(ValueError, match=r"'coral' and '1nn' needs all rows densely, .* take rows batch"):
        run_classical(Row("coral", "1nn"), Rules(), made(), seed=0)
