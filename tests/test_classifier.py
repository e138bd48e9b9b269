"""The network as a scikit-learn classifier and regressor: the rule of the domains, refitting, searches and pickling."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from test_adaptation import NARROWER, NONE, domain
from torch import nn
from toy import same

import landbridge as lb

QUICK = {"steps": 8, "device": "cpu"}


def packed(classes=3):
    rng = np.random.default_rng(0)
    ys = np.arange(36) % classes
    X, y, domain = lb.pack(rng.normal(size=(36, 4)) + ys[:, None], ys, rng.normal(size=(30, 4)) * 2)
    order = rng.permutation(len(X))
    return X[order], y[order], domain[order]


X, Y, DOMAIN = packed()
SOURCE = DOMAIN > 0


def classifier(**settings):
    return lb.DomainAdaptationClassifier(**{**QUICK, **settings})


REFERENCE = classifier().fit(X, Y, DOMAIN)
P = REFERENCE.predict_proba(X)


def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_it_is_fit_on_the_rows_of_each_domain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, method = lb.Network(nn.Linear(4, 8), nn.Linear(8, 3)), lb.DANN(features=8, hidden=(4,))
    made = classifier(network=network, method=method, batch_size=10, optimizer=lb.Optimizer()).fit(X, Y, DOMAIN)
    result = lb.fit(
        copy.deepcopy(network), copy.deepcopy(method), (X[SOURCE], Y[SOURCE]), X[~SOURCE], steps=8, batch_size=10,
        device="cpu",
    )  # fmt: skip
    assert same(made.network_, result.network)
    np.testing.assert_allclose(made.predict_proba(X), result.predict_proba(X), rtol=1e-5)
    assert made.history_.names == result.history.names
    assert made.adapted_


@pytest.mark.parametrize("y", [np.where(SOURCE, Y, 0), np.where(SOURCE, Y, np.arange(66)), np.where(SOURCE, Y, np.nan)])
def test_labels_of_target_rows_change_no_weight(y):
    other = classifier().fit(X, y, DOMAIN)
    assert same(other.network_, REFERENCE.network_)
    assert other.classes_.tolist() == [0, 1, 2]


def test_minus_one_marks_the_target_beside_two_classes():
    assert same(classifier().fit(X, Y).network_, REFERENCE.network_)
    with pytest.warns(UserWarning, match=r"Classifier.fit found no target rows among 66, so it learns from the source"):
        two = classifier().fit(X, np.where(Y == 1, 1, -1))
    assert two.classes_.tolist() == [-1, 1]
    assert not two.adapted_


def test_without_a_target_it_is_source_only_with_a_warning():
    with pytest.warns(UserWarning, match="no target rows among 36") as record:
        alone = classifier().fit(X[SOURCE], Y[SOURCE])
    assert record[0].filename == __file__
    assert alone.history_.names == ["task"]
    assert same(alone.network_, classifier(method="source-only").fit(X, Y, DOMAIN).network_)


def test_numbers_of_numpy_and_a_search_over_arrays_of_them():
    other = classifier(seed=np.int64(0), steps=np.int32(8), batch_size=np.array([36, 30])).fit(X, Y, DOMAIN)
    assert same(other.network_, classifier(batch_size=(36, 30)).fit(X, Y, DOMAIN).network_)
    settings = {"batch_size": np.array([8, 12]), "weight": np.array([0.5], dtype=np.float32), "steps": np.array([2])}
    search = GridSearchCV(
        classifier(), settings, scoring=lb.label_free_scorer(), cv=2, error_score="raise", refit=False
    ).fit(X, Y, sample_domain=DOMAIN)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.filterwarnings("ignore::landbridge.LabelShiftWarning")  # of 3 held-out rows: nothing is built on them
def test_digits_far_from_zero_are_kept():
    far = classifier(steps=150).fit(X + 1e9, Y, DOMAIN)
    near = classifier(steps=150).fit(X, Y, DOMAIN)
    np.testing.assert_allclose(far.predict_proba(X + 1e9), near.predict_proba(X), atol=0.02)


def test_a_saved_result_loads_alone(tmp_path):
    for fitted, rows in ((REFERENCE, X), (classifier().fit(X + 1e9, Y, DOMAIN), X + 1e9)):
        fitted.result_.save(tmp_path / "made.safetensors")
        loaded = lb.load(tmp_path / "made.safetensors")
        assert torch.equal(loaded.forward(rows)[1], fitted.result_.forward(rows)[1])


def test_rows_of_the_other_byte_order():
    assert same(classifier().fit(X.astype(">f8"), Y.astype(">i8"), DOMAIN).network_, REFERENCE.network_)


def test_words_as_labels():
    words = np.array(["cat", "dog", "eel", ""])[Y]
    other = classifier().fit(X, words, DOMAIN)
    assert same(other.network_, REFERENCE.network_)
    assert other.predict(X).tolist() == np.array(["cat", "dog", "eel"])[REFERENCE.predict(X)].tolist()


@pytest.mark.filterwarnings("ignore::landbridge.LabelShiftWarning")  # of 3 held-out rows: nothing is built on them
def test_fitting_again_gives_the_same_and_leaves_parameters_as_they_were(keeps_random_state):
    network, method, optimizer = module(), lb.DeepJDOT(), lb.Optimizer(lr=0.1)
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in (network, method)]
    given = {"network": network, "method": method, "optimizer": optimizer, "batch_size": (9, 7)}
    estimator = classifier(**given)
    first = estimator.fit(X, Y, DOMAIN).predict_proba(X)
    np.testing.assert_array_equal(estimator.fit(X, Y, DOMAIN).predict_proba(X), first)
    np.testing.assert_array_equal(clone(estimator).fit(X, Y, DOMAIN).predict_proba(X), first)
    for name, value in estimator.get_params().items():
        assert value is given.get(name, value)
    for part, state in zip((network, method), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items())
    assert not (classifier(**given, seed=1).fit(X, Y, DOMAIN).predict_proba(X) == first).all()


def test_interleaving_the_domains_permutes_the_output_and_nothing_else():
    in_blocks = np.argsort(~SOURCE, kind="stable")  # rows of one domain keep their order among themselves
    other = classifier().fit(X[in_blocks], Y[in_blocks], DOMAIN[in_blocks])
    assert same(other.network_, REFERENCE.network_)
    np.testing.assert_array_equal(other.predict_proba(X[in_blocks]), P[in_blocks])


def test_a_module_and_a_function_of_the_shape():
    for network in (module(), lambda shape, classes: nn.Sequential(nn.Linear(*shape, 5), nn.Linear(5, classes))):
        estimator = classifier(network=network, method="deepcoral", weight=0.5).fit(X, Y, DOMAIN)
        assert estimator.predict_proba(X).shape == (66, 3)
        assert estimator.result_.method.weight == 0.5
    images = np.random.default_rng(0).integers(0, 255, size=(66, 1, 10, 10), dtype=np.uint8)
    assert classifier().fit(images, Y, DOMAIN).predict(images).shape == (66,)


def test_pickle_and_the_state_before_fit():
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(REFERENCE)).predict_proba(X), P)
    wrapped = classifier(network=module()).fit(X, Y, DOMAIN)
    again = pickle.loads(pickle.dumps(wrapped))
    np.testing.assert_array_equal(again.predict_proba(X), wrapped.predict_proba(X))
    for ask in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), ask)(X)
    with pytest.raises(NotFittedError):
        classifier().network_  # noqa: B018


@pytest.mark.parametrize("routing", [False, True])
def test_in_a_pipeline_and_a_search_by_a_label_free_scorer(routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        pipeline = lb.make_pipeline(StandardScaler(), classifier())
        pipeline.fit(X, Y, sample_domain=DOMAIN)
        scaled = StandardScaler().fit_transform(X)
        np.testing.assert_array_equal(pipeline.predict_proba(X), classifier().fit(scaled, Y).predict_proba(scaled))
        search = GridSearchCV(
            classifier(), {"method": ["dann", "mcc"], "seed": [0, 1]}, scoring=lb.label_free_scorer(), cv=2,
            error_score="raise",
        ).fit(X, Y, sample_domain=DOMAIN)  # fmt: skip
        assert np.ptp(search.cv_results_["mean_test_score"]) > 0
        chosen = classifier(**search.best_params_).fit(X, Y, DOMAIN)
        np.testing.assert_array_equal(search.predict_proba(X), chosen.predict_proba(X))


def test_it_adapts():
    generator = torch.Generator().manual_seed(0)
    (Xs, ys), (Xt, yt) = domain(generator, NONE), domain(generator, NARROWER)
    packed = lb.pack(Xs, ys, Xt)
    adapted = lb.DomainAdaptationClassifier(method="dan", device="cpu").fit(*packed).score(Xt, yt)
    alone = lb.DomainAdaptationClassifier(method="source-only", device="cpu").fit(*packed).score(Xt, yt)
    assert adapted > alone + 0.1


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: classifier().fit(X, Y, -np.ones(66)), ValueError, "needs source rows; got sample_domain negative"),
        (lambda: classifier().fit(X, Y, SOURCE), TypeError, "sample_domain as signed numbers"),
        (lambda: classifier().fit(X, np.zeros(66), DOMAIN), ValueError, r"at least 2 classes; got 1 class: \[0.0\]"),
        (lambda: classifier().fit(X, np.linspace(0, 1, 66), DOMAIN), ValueError, "Unknown label type"),
        (lambda: classifier().fit(X), ValueError, "requires y to be passed"),
        (lambda: classifier(method="dannn").fit(X, Y), ValueError, "Classifier: unknown method 'dannn'"),
        (lambda: classifier(batch_size=0).fit(X, Y), ValueError, "Classifier needs batch_size as a whole number >= 1"),
        (lambda: classifier(batch_size=8.0).fit(X, Y), TypeError, r"Classifier needs batch_size .* got 8.0 \(float\)"),
        (lambda: classifier(batch_size=50).fit(X, Y), ValueError, "batch size <= samples in the (source|target)"),
        (lambda: classifier(network=nn.Linear(4, 2)).fit(X, Y), ValueError, "a head of 3 outputs for these labels"),
        (lambda: REFERENCE.predict(X[:, :2]), ValueError, "X has 2 features, but DomainAdaptationClassifier is expect"),
    ],
)
def test_errors_are_sentences(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def regressor(**settings):
    return lb.DomainAdaptationRegressor(**{"steps": 200, "device": "cpu", "method": "deepcoral", **settings})


def test_the_regressor_gives_values_in_their_own_units():
    values = 1000 * X[:, 0] + 5000
    fitted = regressor().fit(X, np.where(SOURCE, values, np.nan), DOMAIN)
    assert fitted.score(X[SOURCE], values[SOURCE]) > 0.8
    assert fitted.predict(X).shape == (66,)
    both = regressor(steps=3).fit(X, np.stack([values, -values], 1), DOMAIN)
    assert both.predict(X).shape == (66, 2)
    np.testing.assert_array_equal(regressor().fit(X, values, DOMAIN).predict(X), fitted.predict(X))


def test_minus_one_is_a_value_to_the_regressor():
    with pytest.warns(UserWarning, match=r"no target rows among 66.*negative entries of sample_domain") as record:
        regressor(steps=1).fit(X, Y)
    assert "y == -1 is a value here" in str(record[0].message).split("pack", 1)[1]


def test_the_regressor_refuses_a_method_of_classes():
    with pytest.raises(ValueError, match="MCC needs class logits, and task='regression' has none"):
        regressor(method="mcc").fit(X, X[:, 0], DOMAIN)
