"""``lb.diagnose`` of what users bring: labels of any kind, and frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import landbridge as lb
from landbridge.diagnostics import class_shift, confusion, embedding, mixture_test, plan_by_class

RNG = np.random.default_rng(0)
Y, OF_Z = np.arange(60) % 3, np.arange(48) % 3
X, Z = RNG.normal(size=(60, 2)) + 2 * Y[:, None], RNG.normal(size=(48, 2)) + 2 * OF_Z[:, None] + 1
NAMES = np.array(["a", "b", "c"])

LABELS: dict[str, Any] = {
    "1..3": lambda y: y + 1,
    "years": lambda y: y + 2018,
    "ids": lambda y: (y + 1) * 100000,
    "large ids": lambda y: (y + 1) * 10**12,
    "negative": lambda y: y - 1,
    "whole floats": lambda y: y + 1.0,
    "strings": lambda y: NAMES[y],
    "object strings": lambda y: NAMES.astype(object)[y],
    "pandas strings": lambda y: pd.Series(NAMES[y], dtype="string"),
    "categories": lambda y: pd.Series(NAMES[y], dtype="category"),
    "nullable": lambda y: pd.array(y + 5, dtype="Int64"),
    "one column": lambda y: y[:, None],
    "tensor": lambda y: torch.as_tensor(y + 7),
}
PLAIN = lb.diagnose(X, Z, source_labels=Y, evaluate=OF_Z)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_give_the_same_diagnosis(kind: str) -> None:
    of = LABELS[kind]
    found = lb.diagnose(X, Z, source_labels=of(Y), evaluate=of(OF_Z))
    assert len(found.classes) == 3
    assert str(found) == str(PLAIN)
    assert found.target_proportions is not None
    np.testing.assert_array_equal(found.target_proportions, PLAIN.target_proportions)


def test_names_of_classes_are_looked_for_among_them() -> None:
    logits = {"source_logits": RNG.normal(size=(60, 3)), "target_logits": RNG.normal(size=(48, 3))}
    plain = lb.diagnose(X, Z, source_labels=Y, classes=["c", "a", "b"], **logits)
    named = lb.diagnose(
        X, Z, source_labels=np.array(["c", "a", "b"], dtype=object)[Y], classes=["c", "a", "b"], **logits
    )
    assert str(named) == str(plain)
    assert named.calibration is not None
    assert plain.calibration is not None
    assert named.calibration.accuracy == plain.calibration.accuracy


def test_names_stand_for_years_in_their_order() -> None:
    found = lb.diagnose(X, Z, source_labels=Y + 2018, evaluate=OF_Z + 2018, classes=NAMES.tolist())
    assert found.classes == ("a", "b", "c")
    assert str(found) == str(PLAIN)
    with pytest.raises(ValueError, match="class numbers from 0 to 1; got 2018 to 2020"):
        lb.diagnose(X, Z, source_labels=Y + 2018, classes=["a", "b"])
    with pytest.raises(ValueError, match="evaluate as class numbers from 0 to 2; got -1 to 1"):
        lb.diagnose(X, Z, source_labels=Y + 2018, evaluate=OF_Z + 2017, classes=NAMES.tolist())


def test_labels_are_those_of_an_adapted_network() -> None:
    words = np.array(["no", "yes"])[(X[:, 0] > 2).astype(int)]
    frame, target = pd.DataFrame(X, columns=["u", "v"]), pd.DataFrame(Z, columns=["u", "v"])
    options: dict[str, Any] = {"method": "deepcoral", "steps": 30, "device": "cpu", "baseline": False}
    adapted = lb.adapt(None, frame, words, target, **options)
    found = lb.diagnose(frame, target[["v", "u"]], source_labels=words, network=adapted)
    assert found.classes == ("no", "yes")
    assert found.calibration is not None
    assert found.calibration.accuracy == (adapted.predict(frame) == words).mean()
    np.testing.assert_array_equal(found.target, adapted.result.forward(target)[0])
    with pytest.raises(
        ValueError, match=r"diagnose got 'maybe' in evaluate, which is no class of the network: \['no', "
    ):
        lb.diagnose(frame, target, source_labels=words, evaluate=["maybe"] * 48, network=adapted.result)
    with pytest.raises(ValueError, match=r"diagnose needs in source the columns of the rows trained on; missing: 'u'"):
        lb.diagnose(frame[["v"]], target[["v"]], network=adapted.result)


def test_frames_are_compared_column_by_column_by_name() -> None:
    frame = pd.DataFrame(X * [1, 900], columns=["age", "income"]).assign(owner=Y > 0)
    other_order = frame[["income", "owner", "age"]]
    found = lb.diagnose(frame, other_order)
    assert found.verdict.headline == lb.diagnose(frame, frame).verdict.headline
    assert not found.verdict.shifted
    assert found.feature_shift.names == ("age", "income", "owner")
    with pytest.raises(
        ValueError, match=r"diagnose needs in target the columns of source; missing: 'age'; unexpected: 'w"
    ):
        lb.diagnose(frame, frame.rename(columns={"age": "weight"}))
    with pytest.raises(TypeError, match="diagnose needs source as numbers; the column 'city' holds strings"):
        lb.diagnose(frame.assign(city="A"), frame.assign(city="A"))


def test_the_single_figures_take_labels_of_any_kind_too() -> None:
    ids = (Y + 1) * 10**12
    assert class_shift(X, NAMES[Y], Z, NAMES[OF_Z]).names == ("a", "b", "c")
    by_id = class_shift(X, ids, Z, (OF_Z + 1) * 10**12)
    np.testing.assert_array_equal(by_id.adjusted, class_shift(X, Y, Z, OF_Z).adjusted)
    assert plan_by_class(X, NAMES[Y], Z, NAMES[OF_Z]).classes == ("a", "b", "c")
    assert confusion(NAMES[Y], NAMES[Y]).classes == ("a", "b", "c")
    assert confusion([10**12, 5], [5, 10**12]).counts.tolist() == [[0, 1], [1, 0]]
    assert embedding(X, Z, source_classes=NAMES[Y], target_classes=NAMES[OF_Z]).own_class is not None
    np.testing.assert_array_equal(mixture_test(X, ids, Z).proportions, mixture_test(X, Y, Z).proportions)
