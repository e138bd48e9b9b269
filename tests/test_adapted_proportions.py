"""adapt under changed class proportions: seen, corrected or said; and nothing built on what cannot be known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from toy import same

import landbridge as lb

CENTRES = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
EVEN, CHANGED = [1 / 3] * 3, [0.8, 0.15, 0.05]
NAMES = np.array(["ash", "beech", "cedar"])
QUICK = {"steps": 150, "device": "cpu", "progress_bar": False}


def drawn(proportions: list[float], n: int, seed: int, *, apart: float = 1.0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.choice(3, size=n, p=proportions)
    return apart * CENTRES[labels] + random.normal(size=(n, 2)), NAMES[labels]


SOURCE, TARGET = drawn(EVEN, 600, 0), drawn(CHANGED, 500, 1)


def adapt(Xs: Any = SOURCE[0], ys: Any = SOURCE[1], Xt: Any = TARGET[0], **options: Any) -> lb.Adapted:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lb.LabelShiftWarning)
        warnings.simplefilter("ignore", lb.NegativeTransferWarning)
        return lb.adapt(None, Xs, ys, Xt, **{**QUICK, **options})


def test_changed_proportions_are_corrected_with_a_warning_of_the_numbers() -> None:
    with pytest.warns(lb.LabelShiftWarning) as said:
        found = lb.adapt(None, *SOURCE, TARGET[0], method="dan", weight=3.0, evaluate=TARGET[1], **QUICK)
    assert said[0].filename == __file__
    assert "DAN was trained on source rows drawn in the estimated proportions" in str(said[0].message)
    assert "class ash: 0.3" in str(said[0].message)
    assert "held-out source rows" in str(said[0].message)
    assert found.proportions.corrected
    assert found.proportions.found is not None
    truth = np.array([(TARGET[1] == name).mean() for name in NAMES])
    assert np.abs(found.proportions.found.proportions - truth).sum() / 2 < 0.1
    assert "Class proportions: they have changed, and DAN was trained on source rows drawn" in str(found)
    plain = adapt(method="dan", weight=3.0, evaluate=TARGET[1], label_shift="ignore")
    assert plain.before is not None
    assert plain.after.target < plain.before.target - 0.05  # type: ignore[operator]  # alignment does harm
    assert found.after.target > plain.before.target  # type: ignore[operator]


def test_ignore_is_plain_alignment_with_a_warning() -> None:
    with pytest.warns(lb.LabelShiftWarning, match="they have changed, and DeepCORAL was trained all the same"):
        found = lb.adapt(None, *SOURCE, TARGET[0], method="deepcoral", label_shift="ignore", **QUICK)
    assert not found.proportions.corrected
    assert same(found.network, adapt(method="deepcoral", baseline=False).network)


def test_refuse_is_a_sentence_before_the_method_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = watch(monkeypatch)
    with pytest.raises(ValueError, match=r"adapt: the classes occur in other proportions.*DANN is made for equal ones"):
        adapt(label_shift="refuse")
    assert trained == [("DANN", 1), ("SourceOnly", 150)]
    with pytest.raises(ValueError, match="other proportions in the target: class"):
        adapt(label_shift="refuse", method="mcc")  # which makes no such assumption


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    trained = []

    def fit(network: Any, method: Any, *args: Any, **options: Any) -> Any:
        trained.append((type(method).__name__, options["steps"]))
        return lb.fit(network, method, *args, **options)

    monkeypatch.setattr("landbridge.adapted.fit", fit)
    monkeypatch.setattr("landbridge.proportions.fit", fit)
    return trained


def test_without_a_shift_nothing_is_said_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = watch(monkeypatch)
    target = drawn(EVEN, 500, 2)[0]
    found = lb.adapt(None, *SOURCE, target, method="deepcoral", **QUICK)  # a warning would be an error here
    assert trained == [("DeepCORAL", 1), ("SourceOnly", 150), ("DeepCORAL", 150)]
    assert found.proportions.sentence.startswith("no sign that they have changed")
    assert same(found.network, adapt(Xt=target, method="deepcoral", baseline=False).network)


def test_features_that_moved_are_aligned_as_they_are() -> None:
    rows, labels = drawn(EVEN, 500, 2)
    with pytest.warns(lb.NegativeTransferWarning):  # and rightly, but not of proportions
        found = lb.adapt(None, *SOURCE, rows + np.array([2.0, 0.0]), method="dan", evaluate=labels, **QUICK)
    assert found.before is not None
    assert found.after.target < found.before.target - 0.02  # type: ignore[operator]
    assert found.proportions.found is not None
    assert found.proportions.found.changed
    assert not found.proportions.corrected
    assert "nothing is built on that" in found.proportions.sentence


def test_nothing_is_built_on_an_estimate_that_cannot_be_trusted() -> None:
    """Labels that nothing tells: any proportions explain the predictions, [0, 1] among them."""
    random = np.random.default_rng(3)
    X, labels = random.normal(size=(120, 3)), random.integers(0, 2, 120)
    found = adapt(X, labels, random.normal(size=(100, 3)) * 0.1 + [0.5, 0, 0], method="deepcoral", steps=100)
    assert found.proportions.found is not None
    assert not found.proportions.found.trusted
    assert not found.proportions.corrected
    kept = adapt(X, labels, X, label_shift="ignore", baseline=False, steps=1).classes
    assert kept is not None
    assert len(kept) == 2


def test_a_class_of_which_no_row_is_held_out_is_said() -> None:
    labels = SOURCE[1].copy().astype("<U9")
    labels[:2] = "dogwood"
    with pytest.warns(lb.LabelShiftWarning, match="nothing is built on that, as no source row of class 3 was held out"):
        lb.adapt(None, SOURCE[0], labels, TARGET[0], method="deepcoral", **{**QUICK, "steps": 60})


def test_what_is_not_estimated_says_why() -> None:
    values = SOURCE[0][:, 0]
    assert "no classes in regression" in adapt(ys=values, task="regression", method="ddc", steps=5).proportions.sentence
    assert adapt(steps=5, holdout=0).proportions.sentence == "not estimated (no source rows are held out)"
    assert "baseline=False" in str(adapt(steps=5, baseline=False))
    assert "nothing is aligned" in str(adapt(steps=5, method="source-only"))


def test_two_classes_of_one_logit_are_corrected_too() -> None:
    keep = SOURCE[1] != "cedar"
    found = adapt(SOURCE[0][keep], SOURCE[1][keep], drawn([0.1, 0.9, 0.0], 400, 5)[0], task="binary", method="dan")
    assert found.proportions.corrected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label_shift": "corect"}, "adapt: unknown label_shift 'corect'; did you mean 'correct'"),
        ({"label_shift": None}, "unknown label_shift 'None'"),
        ({"label_shift": "refuse", "baseline": False}, "label_shift='refuse' asks; got baseline=False"),
        ({"label_shift": "refuse", "holdout": 0}, "label_shift='refuse' asks; got holdout=0"),
        ({"checkpoint": "/proc/none/run.pt"}, "adapt cannot write checkpoint=/proc/none/run.pt"),
    ],
)
def test_errors_are_sentences(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        adapt(**options)
