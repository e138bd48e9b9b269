"""Circular validation: back to the source, by way of the target's pseudo-labels."""

from __future__ import annotations

import numpy as np
import pytest
from made_outputs import collapsed_outputs, made_outputs
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from landbridge.benchmarks.circular import CIRCULAR
from landbridge.shared.validators import VALIDATORS, Outputs, Stored


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_a_new_head_learned_from_pseudo_labels(seed):
    outputs = made_outputs(seed, right=0.6)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    head.fit(outputs.target.features, outputs.target.logits.argmax(1))
    want = head.score(outputs.source_holdout.features, outputs.source_holdout.labels)
    assert CIRCULAR.score(outputs) == pytest.approx(want, abs=1e-12)


def test_without_a_holdout_it_goes_back_to_training_rows():
    outputs = made_outputs(0, holdout=False)
    assert not CIRCULAR.needs_holdout
    assert CIRCULAR.missing(outputs) is None
    same = Outputs(outputs.source_train, outputs.source_train, outputs.target)
    assert CIRCULAR.score(outputs) == CIRCULAR.score(same) > 0.8


def test_right_pseudo_labels_come_back_and_wrong_ones_do_not():
    outputs = made_outputs(0, right=1.0)
    swapped = outputs.target._replace(logits=outputs.target.logits[:, [1, 0, 3, 2]])
    assert CIRCULAR.score(outputs) > 0.9
    assert CIRCULAR.score(Outputs(outputs.source_train, outputs.source_holdout, swapped)) < 0.1


def test_a_collapsed_model_comes_back_with_one_class():
    outputs = collapsed_outputs(0)
    labels = outputs.source_holdout.labels
    assert CIRCULAR.score(outputs) == pytest.approx((labels == 1).mean())


def test_classes_that_are_never_predicted_are_fine():
    outputs = made_outputs(0, right=1.0)
    logits = outputs.target.logits.copy()
    logits[:, 3] = -50
    score = CIRCULAR.score(
        Outputs(outputs.source_train, outputs.source_holdout, outputs.target._replace(logits=logits))
    )
    assert 0.5 < score < 0.9


def test_the_order_of_rows_changes_nothing():
    outputs = made_outputs(2, right=0.7)
    order = np.random.default_rng(0).permutation(60)
    target = Stored(outputs.target.logits[order], outputs.target.features[order])
    again = Outputs(outputs.source_train, outputs.source_holdout, target)
    assert CIRCULAR.score(again) == pytest.approx(CIRCULAR.score(outputs), abs=1e-12)


def test_it_is_expensive_and_apart():
    assert CIRCULAR.cost == "training"
    assert CIRCULAR.name not in VALIDATORS


def test_source_labels_are_asked_for():
    outputs = made_outputs(0)
    bare = outputs.source_holdout._replace(labels=None)
    with pytest.raises(ValueError, match="Circular needs source labels"):
        CIRCULAR.score(Outputs(outputs.source_train, bare, outputs.target))
