"""Scorers that read no target label."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

import landbridge as lb
from landbridge.shared.scorer import LABEL_FREE
from landbridge.shared.validators import VALIDATORS, Outputs, Stored

NAMES = ["entropy", "information-maximisation", "nuclear-norm", "soft-neighbourhood-density"]


def packed(words=False):
    rng = np.random.default_rng(0)
    ys = np.arange(45) % 3
    Xs, Xt = rng.normal(size=(45, 2)), rng.normal(size=(36, 2)) + 1
    Xs[:, 0] += 2 * ys
    X, y, domain = lb.pack(Xs, np.array(["a", "b", "c"])[ys] if words else ys, Xt)
    order = rng.permutation(len(X))
    return X[order], y[order], domain[order]


X, Y, DOMAIN = packed()
CV = [(np.arange(0, 60), np.arange(60, 81)), (np.arange(20, 81), np.arange(0, 20))]
MODEL = lb.OnSource(LogisticRegression()).fit(X, Y)
P = MODEL.predict_proba(X[DOMAIN < 0])


def test_these_names_are_offered():
    assert sorted(LABEL_FREE) == NAMES


def test_information_maximisation_and_entropy_by_loops():
    entropy = -sum(-sum(p * math.log(p) for p in row) for row in P) / len(P)
    mean = [sum(row[c] for row in P) / len(P) for c in range(3)]
    spread = -sum(m * math.log(m) for m in mean)
    assert lb.label_free_scorer("entropy")(MODEL, X, Y) == pytest.approx(entropy, rel=1e-10)
    assert lb.label_free_scorer()(MODEL, X, Y) == pytest.approx(spread + entropy, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_validator_of_the_target_rows_alone(name):
    logits = np.log(P)
    nothing = Stored(logits[:0], logits[:0], np.zeros(0, dtype=np.int64))
    expected = VALIDATORS[name].score(Outputs(nothing, None, Stored(logits, logits)))
    scorer = lb.label_free_scorer(name)
    assert scorer(MODEL, X, Y) == expected
    for labels in (None, np.arange(len(X)), np.full(len(X), "?")):  # labels are not read where the domain is given
        assert scorer(MODEL, X, labels, sample_domain=DOMAIN) == expected
    moved = np.where(DOMAIN[:, None] > 0, X + 100, X)
    assert scorer(MODEL, moved, Y) == expected


def test_decision_values_are_taken_for_logits():
    machine = lb.OnSource(SVC()).fit(X, Y)
    z = machine.decision_function(X[DOMAIN < 0])
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert lb.label_free_scorer("entropy")(machine, X, Y) == pytest.approx(float((p * np.log(p)).sum(1).mean()))
    two = Y != 2
    machine = lb.OnSource(SVC()).fit(X[two], Y[two])
    p = 1 / (1 + np.exp(-machine.decision_function(X[DOMAIN < 0])))
    expected = float((p * np.log(p) + (1 - p) * np.log(1 - p)).mean())
    assert lb.label_free_scorer("entropy")(machine, X, Y) == pytest.approx(expected)


def test_certain_predictions_are_finite():
    class Certain:
        def predict_proba(self, X):
            return np.eye(2)[np.arange(len(X)) % 2]

    assert lb.label_free_scorer()(Certain(), X, Y) == pytest.approx(math.log(2))
    assert lb.label_free_scorer("entropy")(Certain(), X, Y) == pytest.approx(0, abs=1e-12)


def test_errors_are_sentences():
    with pytest.raises(ValueError, match=r"label_free_scorer: unknown validator 'entropie'; did you mean 'entropy'\?"):
        lb.label_free_scorer("entropie")
    with pytest.raises(ValueError, match="unknown validator 'source-accuracy'"):
        lb.label_free_scorer("source-accuracy")
    with pytest.raises(ValueError, match=r"found no target rows among 45.*y == -1.*enable_metadata_routing"):
        lb.label_free_scorer()(MODEL, X[DOMAIN > 0], Y[DOMAIN > 0])
    with pytest.raises(TypeError, match="LinearRegression has neither predict_proba nor decision_function"):
        lb.label_free_scorer()(LinearRegression().fit(X, Y), X, Y)


def test_cross_validation_with_words_as_labels_by_routing():
    words_X, words, domain = packed(words=True)
    pipeline = lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            pipeline, words_X, words, scoring=lb.label_free_scorer(), cv=3, params={"sample_domain": domain}
        )
    assert np.isfinite(scores).all()


def test_clone_pickle_and_a_search_that_target_labels_cannot_move():
    scorer = pickle.loads(pickle.dumps(sklearn.clone(lb.label_free_scorer("nuclear-norm"))))
    assert scorer.name == "nuclear-norm"
    results = []
    for noise in (0, 1, 2):
        y = np.where(DOMAIN > 0, Y, np.random.default_rng(noise).integers(0, 3, len(Y)))
        with sklearn.config_context(enable_metadata_routing=True):
            search = GridSearchCV(
                lb.OnSource(LogisticRegression()), {"estimator__C": [0.1, 1.0, 10.0]}, scoring=scorer,
                cv=CV,
            )  # fmt: skip
            results.append(search.fit(X, y, sample_domain=DOMAIN).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert np.ptp(results[0]) > 0


def test_a_search_over_words_scores_the_rows_that_pack_marked():
    numbers, words = (packed(words=kind) for kind in (False, True))
    scores = []
    for some_X, y, domain in (numbers, words):
        pipeline = lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))
        grid = {"coral__regularization": [0.1, 10.0]}
        search = GridSearchCV(pipeline, grid, scoring=lb.label_free_scorer(), cv=CV, error_score="raise")
        scores.append(search.fit(some_X, y, sample_domain=domain).cv_results_["mean_test_score"])
    assert np.isfinite(scores[0]).all()
    np.testing.assert_allclose(scores[0], scores[1])
