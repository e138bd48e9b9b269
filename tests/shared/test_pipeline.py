"""Pipelines of two domains: a step that sees the source alone, and domains handed to every step that wants them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import landbridge as lb


def packed(seed=0, classes=2):
    rng = np.random.default_rng(seed)
    ys = np.arange(40) % classes
    Xs = rng.normal(size=(40, 3)) + 2 * ys[:, None]
    Xt = (rng.normal(size=(30, 3)) + 2 * (np.arange(30) % classes)[:, None]) * 2 + 3
    X, y, domain = lb.pack(Xs, ys, Xt)
    order = rng.permutation(len(X))
    return X[order], y[order], domain[order]


X, Y, DOMAIN = packed()
SOURCE = DOMAIN > 0


def by_hand(regularization=1.0, **settings):
    """CORAL and a logistic regression on the source rows, without a pipeline: predictions for all rows as target."""
    moved = lb.CORAL(regularization=regularization).fit_transform(X, Y, DOMAIN)
    return LogisticRegression(**settings).fit(moved[SOURCE], Y[SOURCE]).predict_proba(X)


def pipeline():
    return lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))


@pytest.mark.parametrize(
    "unread", [-1, 7, np.nan], ids=str
)  # what the target's y holds makes no difference where sample_domain is given
def test_on_source_is_the_estimator_on_the_source_rows(unread):
    y = np.where(SOURCE, Y, unread)
    estimator = lb.OnSource(LogisticRegression()).fit(X, y, sample_domain=DOMAIN)
    plain = LogisticRegression().fit(X[SOURCE], Y[SOURCE])
    np.testing.assert_array_equal(estimator.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(estimator.predict(X), plain.predict(X))
    np.testing.assert_array_equal(estimator.decision_function(X), plain.decision_function(X))
    np.testing.assert_array_equal(estimator.predict_log_proba(X), plain.predict_log_proba(X))
    assert estimator.score(X[SOURCE], Y[SOURCE]) == plain.score(X[SOURCE], Y[SOURCE])
    assert estimator.classes_.tolist() == [0, 1]
    assert estimator.n_features_in_ == 3


def test_without_sample_domain_minus_one_marks_the_target_for_a_classifier_alone():
    estimator = lb.OnSource(LogisticRegression()).fit(X, Y)
    assert estimator.classes_.tolist() == [0, 1]
    with pytest.warns(UserWarning, match=r"OnSource.fit found no target rows among 70, so it is the plain Ridge"):
        ridge = lb.OnSource(Ridge()).fit(X, Y)
    np.testing.assert_array_equal(ridge.predict(X), Ridge().fit(X, Y).predict(X))
    with pytest.warns(UserWarning, match="plain LogisticRegression"):  # two labels, not a target
        assert lb.OnSource(LogisticRegression()).fit(X, np.where(Y == 1, 1, -1)).classes_.tolist() == [-1, 1]


def test_a_transformer_learns_from_the_source_and_takes_all_rows():
    scaler = StandardScaler().fit(X[SOURCE])
    on_source = lb.OnSource(StandardScaler())
    np.testing.assert_array_equal(on_source.fit(X, None, DOMAIN).transform(X), scaler.transform(X))
    np.testing.assert_array_equal(on_source.fit_transform(X, Y), scaler.transform(X))  # by -1
    assert not hasattr(on_source, "predict")


def test_what_has_an_entry_a_row_is_cut_to_the_source_rows():
    weights = np.random.default_rng(1).uniform(size=len(X))
    expected = LogisticRegression().fit(X[SOURCE], Y[SOURCE], sample_weight=weights[SOURCE]).predict_proba(X)
    estimator = lb.OnSource(LogisticRegression()).fit(X, Y, DOMAIN, sample_weight=weights)
    np.testing.assert_array_equal(estimator.predict_proba(X), expected)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = lb.make_pipeline(lb.OnSource(scaler), lb.OnSource(inner))
        routed.fit(X, Y, sample_domain=DOMAIN, sample_weight=weights)
    scaled = StandardScaler().fit(X[SOURCE]).transform(X)
    by_hand = LogisticRegression().fit(scaled[SOURCE], Y[SOURCE], sample_weight=weights[SOURCE])
    np.testing.assert_array_equal(routed.predict_proba(X), by_hand.predict_proba(scaled))


def test_the_estimator_given_is_not_fitted():
    inner = LogisticRegression()
    estimator = lb.OnSource(inner)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    estimator.fit(X, Y)
    assert not hasattr(inner, "coef_")
    assert estimator.get_params()["estimator"] is inner
    assert not hasattr(lb.OnSource(SVC()), "predict_proba")
    with pytest.raises(AttributeError, match="no attribute 'classes_'"):
        lb.OnSource(SVC()).classes_  # noqa: B018


def test_no_source_rows():
    with pytest.raises(ValueError, match=r"OnSource.fit needs source rows; got sample_domain negative for all 70 rows"):
        lb.OnSource(SVC()).fit(X, Y, -np.ones(70))


@pytest.mark.parametrize("routing", [False, True])
def test_the_pipeline_is_its_steps_by_hand_with_and_without_routing(routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        fitted = pipeline().fit(X, np.where(SOURCE, Y, 99), sample_domain=DOMAIN)
        np.testing.assert_array_equal(fitted.predict_proba(X), by_hand())
        np.testing.assert_array_equal(fitted.predict(X), by_hand().argmax(1))
        moved = fitted[:-1].transform(X, sample_domain=DOMAIN)
        np.testing.assert_array_equal(moved, lb.CORAL().fit(X, Y, DOMAIN).transform(X, DOMAIN))
        of_source = fitted.predict_proba(X, sample_domain=DOMAIN)  # the source rows are moved on their way
        np.testing.assert_array_equal(of_source, fitted[-1].predict_proba(moved))
        assert fitted.score(X[SOURCE], Y[SOURCE], sample_domain=DOMAIN[SOURCE]) > 0.9
        np.testing.assert_array_equal(fitted[:-1].fit_transform(X, Y, sample_domain=DOMAIN), moved)
        assert sklearn.get_config()["enable_metadata_routing"] == routing


@pytest.mark.parametrize("routing", [False, True])
def test_minus_one_is_enough_and_none_is_no_domain(routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        np.testing.assert_array_equal(pipeline().fit(X, Y).predict_proba(X), by_hand())
        np.testing.assert_array_equal(pipeline().fit(X, Y, sample_domain=None).predict_proba(X), by_hand())


def test_the_configuration_is_given_back_after_an_error():
    with pytest.raises(ValueError, match="one entry of sample_domain"):
        pipeline().fit(X, Y, sample_domain=[1, -1])
    assert not sklearn.get_config()["enable_metadata_routing"]


def test_scikit_learns_own_pipeline_routes_without_a_request():
    from sklearn.pipeline import make_pipeline

    with sklearn.config_context(enable_metadata_routing=True):
        fitted = make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression())).fit(X, Y, sample_domain=DOMAIN)
        np.testing.assert_array_equal(fitted.predict_proba(X), by_hand())
    old = make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))
    old.fit(X, np.where(SOURCE, Y, 5), coral__sample_domain=DOMAIN, onsource__sample_domain=DOMAIN)
    np.testing.assert_array_equal(old.predict_proba(X), by_hand())


class Foreign(TransformerMixin, BaseEstimator):
    """A step of somebody else's, which takes domains and has been told nothing."""

    def fit(self, X, y=None, sample_domain=None):
        self.seen_ = sample_domain
        return self

    def transform(self, X, sample_domain=None):
        return X

    def fit_transform(self, X, y=None, sample_domain=None):
        return self.fit(X, y, sample_domain).transform(X, sample_domain)


def test_the_request_of_other_peoples_steps_is_preset_unless_they_have_one():
    fitted = lb.make_pipeline(Foreign(), lb.OnSource(SVC())).fit(X, Y, sample_domain=DOMAIN)
    np.testing.assert_array_equal(fitted[0].seen_, DOMAIN)
    with sklearn.config_context(enable_metadata_routing=True):
        declines, coral = (
            step.set_fit_request(sample_domain=False).set_transform_request(sample_domain=False)
            for step in (Foreign(), lb.CORAL())
        )
    fitted = lb.make_pipeline(declines, lb.OnSource(SVC())).fit(X, Y, sample_domain=DOMAIN)
    assert fitted[0].seen_ is None
    with pytest.warns(UserWarning, match="CORAL is the identity"):
        lb.make_pipeline(coral, lb.OnSource(SVC())).fit(X, np.abs(Y), sample_domain=DOMAIN)


def test_it_has_the_methods_of_its_last_step():
    assert not hasattr(lb.make_pipeline(lb.CORAL(), lb.OnSource(SVC())), "predict_proba")
    assert hasattr(lb.make_pipeline(lb.CORAL(), lb.OnSource(SVC())), "decision_function")
    assert not hasattr(lb.make_pipeline(lb.CORAL()), "predict")
    assert hasattr(lb.make_pipeline(lb.CORAL()), "transform")


def test_clone_and_pickle():
    fitted = sklearn.clone(pipeline()).fit(X, Y, sample_domain=DOMAIN)
    again = pickle.loads(pickle.dumps(fitted))
    assert type(again) is type(pipeline())
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("routing", [False, True])
def test_grid_search_by_a_label_free_scorer(routing):
    grid = {"coral__regularization": [0.1, 10.0], "onsource__estimator__C": [0.01, 1.0]}
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(pipeline(), grid, scoring=lb.label_free_scorer(), cv=3, error_score="raise")
        search.fit(X, Y, sample_domain=DOMAIN)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores.round(12))) == 4
    best = search.best_params_
    expected = by_hand(best["coral__regularization"], C=best["onsource__estimator__C"])
    np.testing.assert_array_equal(search.predict_proba(X), expected)


def test_interleaving_the_domains_permutes_the_output_and_nothing_else():
    in_blocks = np.argsort(~SOURCE, kind="stable")
    fitted = pipeline().fit(X, Y, sample_domain=DOMAIN)
    other = pipeline().fit(X[in_blocks], Y[in_blocks], sample_domain=DOMAIN[in_blocks])
    np.testing.assert_allclose(other.predict_proba(X[in_blocks]), fitted.predict_proba(X)[in_blocks], rtol=1e-10)


def test_a_fitted_pipeline_leaves_out_domains_that_no_step_asks_for():
    fitted = lb.make_pipeline(StandardScaler(), lb.OnSource(LogisticRegression())).fit(X, Y, sample_domain=DOMAIN)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        method = getattr(fitted, name)
        np.testing.assert_array_equal(method(X, sample_domain=DOMAIN), method(X))
    assert fitted.score(X[SOURCE], Y[SOURCE], sample_domain=DOMAIN[SOURCE]) == fitted.score(X[SOURCE], Y[SOURCE])
    scaled = fitted[:-1]
    np.testing.assert_array_equal(scaled.transform(X, sample_domain=DOMAIN), scaled.transform(X))
    np.testing.assert_array_equal(scaled.inverse_transform(X, sample_domain=DOMAIN), scaled.inverse_transform(X))


def test_domains_are_not_left_out_where_a_step_asks_or_has_not_said():
    fitted = pipeline().fit(X, Y, sample_domain=DOMAIN)
    assert not np.array_equal(fitted.predict_proba(X, sample_domain=DOMAIN), fitted.predict_proba(X))
    fitted = lb.make_pipeline(StandardScaler(), lb.OnSource(SVC())).fit(X, Y, sample_domain=DOMAIN)
    fitted.steps[0] = ("foreign", Foreign().fit(X))  # not preset
    with pytest.raises(ValueError, match=r"sample_domain.* but .*not explicitly set"):
        fitted.predict(X, sample_domain=DOMAIN)
    with pytest.raises(TypeError, match="sample_domain"):  # the target's rows would be taken for labelled ones
        lb.make_pipeline(StandardScaler(), SVC()).fit(X, Y, sample_domain=DOMAIN)
    assert not sklearn.get_config()["enable_metadata_routing"]


def test_an_adapting_classifier_behind_a_plain_step_predicts_with_domains():
    classifier = lb.DomainAdaptationClassifier(steps=3, batch_size=8)
    fitted = lb.make_pipeline(StandardScaler(), classifier).fit(X, Y, sample_domain=DOMAIN)
    np.testing.assert_array_equal(fitted.predict(X, sample_domain=DOMAIN), fitted.predict(X))
