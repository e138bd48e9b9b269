"""The classifier under changed class proportions: corrected, said or refused; without a change as it always was."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.utils import Bunch
from toy import same

import landbridge as lb
from landbridge.parts import default_optimizer, make_parts

QUICK: dict[str, Any] = {"method": "dan", "weight": 3.0, "steps": 150, "device": "cpu"}


def halves(benign: int | None) -> Bunch:
    """One half of breast cancer as source; of the other, target, so many benign rows; all for None."""
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    source, target = order[: len(X) // 2], order[len(X) // 2 :]
    if benign is not None:
        target = np.concatenate([target[y[target] == 0], target[y[target] == 1][:benign]])
    names = np.array(["malignant", "benign"])[y]
    return Bunch(packed=lb.pack(X[source], names[source], X[target]), X=X[target], y=names[target])


THINNED, AS_BEFORE = halves(20), halves(None)


def classifier(**settings: Any) -> lb.DomainAdaptationClassifier:
    return lb.DomainAdaptationClassifier(**{**QUICK, **settings})


def assert_as_of_all_rows(fitted: lb.DomainAdaptationClassifier, data: Bunch) -> None:
    """What ``fit`` alone makes of all source rows, from the network that the classifier begins with."""
    X, y, domain = data.packed
    Xs, Xt, numbers = X[domain > 0], X[domain < 0], np.searchsorted(fitted.classes_, y[domain > 0])
    network, method = make_parts("fit", None, "dan", Xs, 2, classes=2, head=None, weight=3.0, seed=0)
    result = lb.fit(
        network, method, (Xs, numbers), Xt, steps=150, batch_size=64, optimizer=default_optimizer(), device="cpu"
    )
    assert same(fitted.network_, result.network.double())


def test_changed_proportions_are_corrected_with_a_warning() -> None:
    with pytest.warns(
        lb.LabelShiftWarning, match=r"Classifier\.fit: class proportions: they have changed.*drawn"
    ) as said:
        corrected = classifier().fit(*THINNED.packed)
    assert [w.filename for w in said] == [__file__]
    assert corrected.proportions_.corrected
    assert corrected.proportions_.found is not None
    truth = [(THINNED.y == name).mean() for name in corrected.classes_]
    assert np.abs(corrected.proportions_.found.proportions - truth).max() < 0.1
    with pytest.warns(lb.LabelShiftWarning, match="DAN was trained all the same, as label_shift='ignore' says") as said:
        ignored = classifier(label_shift="ignore").fit(*THINNED.packed)
    assert not ignored.proportions_.corrected
    assert corrected.score(THINNED.X, THINNED.y) > ignored.score(THINNED.X, THINNED.y) + 0.05
    assert_as_of_all_rows(ignored, THINNED)


def test_without_a_shift_the_bits_are_those_of_all_source_rows() -> None:
    fitted = classifier().fit(*AS_BEFORE.packed)  # a warning would be an error here
    assert fitted.proportions_.sentence.startswith("no sign that they have changed")
    assert_as_of_all_rows(fitted, AS_BEFORE)


def test_refuse_is_a_sentence_and_nothing_is_fitted() -> None:
    refusing = classifier(label_shift="refuse")
    with pytest.raises(ValueError, match=r"Classifier\.fit: the classes occur in other.*DAN is made for equal ones"):
        refusing.fit(*THINNED.packed)
    assert not hasattr(refusing, "result_")
    assert not hasattr(refusing, "proportions_")


def test_what_is_not_estimated_says_why() -> None:
    X, y, domain = AS_BEFORE.packed
    assert (
        "(nothing is aligned)"
        in classifier(method="source-only", weight=None, steps=2).fit(X, y, domain).proportions_.sentence
    )
    few = np.r_[np.flatnonzero(domain > 0)[:9], np.flatnonzero(domain < 0)]
    fitted = classifier(steps=2).fit(X[few], y[few], domain[few])
    assert "no class has the 10 source rows" in fitted.proportions_.sentence
    with pytest.warns(UserWarning, match="no target rows"):
        assert "no target rows" in classifier(steps=2).fit(X[domain > 0], y[domain > 0]).proportions_.sentence


def test_several_sources_are_estimated_together_and_each_is_drawn() -> None:
    X, y, domain = THINNED.packed
    several = np.where(domain > 0, 1 + np.arange(len(domain)) % 2, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lb.LabelShiftWarning)
        fitted = classifier().fit(X, y, several)
    assert fitted.proportions_.corrected
    assert fitted.score(THINNED.X, THINNED.y) > 0.9  # uncorrected 0.23


def test_another_word_is_met_at_fit_with_the_nearest() -> None:
    given = clone(classifier(label_shift="corect"))
    assert given.get_params()["label_shift"] == "corect"
    with pytest.raises(ValueError, match="Classifier: unknown label_shift 'corect'; did you mean 'correct'"):
        given.fit(*THINNED.packed)
