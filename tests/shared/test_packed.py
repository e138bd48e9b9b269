"""Packed data behind scikit-learn: marks that survive it, frames, scores of the rows that have a label."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multiclass import OneVsOneClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.pipeline import make_pipeline as plain_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.multiclass import type_of_target

import landbridge as lb
from landbridge.shared.estimator import labelled_rows, source_mask
from landbridge.shared.scorer import one_against_one

RNG = np.random.default_rng(0)
XS, XT = RNG.normal(size=(90, 4)), RNG.normal(size=(60, 4)) + 0.5
K = (XS[:, 0] > 0).astype(int)
WORDS = np.array(["no", "yes"])[K]
X, Y, DOMAIN = lb.pack(XS, K, XT)
SOURCE = DOMAIN > 0
QUICK: dict[str, Any] = {"method": "deepcoral", "steps": 3, "device": "cpu"}


def pipeline() -> Pipeline:
    return lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))


CLASSES: dict[str, Any] = {
    "integers": K,
    "whole floats": K + 0.0,
    "strings": WORDS,
    "object strings": WORDS.astype(object),
    "pandas strings": pd.Series(WORDS, dtype="string"),
    "categories": pd.Series(WORDS, dtype="category"),
    "nullable integers": pd.array(K, dtype="Int64"),
    "booleans": K > 0,
    "one column": K[:, None],
    "list": K.tolist(),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_marks_beside_classes_survive_scikit_learn(kind: str) -> None:
    packed, y, domain = lb.pack(XS, CLASSES[kind], XT)
    assert y.shape == domain.shape == (150,)
    assert type_of_target(y) == "multiclass"  # the mark is one more class to it
    assert set(y[90:].tolist()) == {"" if y.dtype.kind == "U" else -1}
    for classifier in (True, None):
        np.testing.assert_array_equal(source_mask("f", 150, y, classifier=classifier), domain > 0)
    search = GridSearchCV(
        pipeline(), {"coral__regularization": [0.1]}, cv=3, scoring=lb.label_free_scorer(), error_score="raise"
    )
    assert np.isfinite(search.fit(packed, y, sample_domain=domain).best_score_)
    classifier = lb.DomainAdaptationClassifier(**QUICK).fit(packed, y)
    assert classifier.adapted_
    assert len(classifier.classes_) == 2


def test_nan_beside_values_marks_the_target_of_regressors_and_transformers() -> None:
    values = XS[:, 0] * 3
    packed, y, domain = lb.pack(XS, values, XT)
    np.testing.assert_array_equal(np.isnan(y), domain < 0)
    assert lb.DomainAdaptationRegressor(**QUICK).fit(packed, y).adapted_
    assert lb.CORAL().fit(packed, y).adapted_
    np.testing.assert_array_equal(lb.OnSource(Ridge()).fit(packed, y).predict(XT), Ridge().fit(XS, values).predict(XT))
    search = GridSearchCV(
        lb.OnSource(Ridge()), {"estimator__alpha": [1.0, 9.0]}, cv=KFold(3, shuffle=True, random_state=0)
    )
    assert search.fit(packed, y).best_score_ > 0.9
    with pytest.raises(ValueError, match=r"Regressor.fit needs source rows; .*NaN in all of y"):
        lb.DomainAdaptationRegressor(**QUICK).fit(packed, np.full(150, np.nan))


def test_several_values_a_row_are_taken() -> None:
    values = XS[:, :2]
    packed, y, domain = lb.pack(XS, values, XT)
    assert y.shape == (150, 2)
    np.testing.assert_array_equal(np.isnan(y).all(1), domain < 0)
    regressor = lb.DomainAdaptationRegressor(**QUICK).fit(packed, y)
    assert regressor.adapted_
    assert regressor.predict(XT).shape == (60, 2)
    assert regressor.score(packed, y) == regressor.score(XS, values)
    assert lb.CORAL().fit(packed, y).adapted_
    frame = lb.pack(XS, pd.DataFrame(values, columns=["u", "v"]).convert_dtypes(), XT)[1]
    np.testing.assert_array_equal(frame, y)


def test_the_task_decides_where_whole_numbers_are_values() -> None:
    assert lb.pack(XS, K, XT, task="regression")[1].dtype == np.float64
    assert np.isnan(lb.pack(XS, K * 2.0, XT, task="regression")[1][90:]).all()
    many = np.arange(90.0) // 2  # 45 whole floats, of two rows each
    packed, y, domain = lb.pack(XS, many, XT)
    np.testing.assert_array_equal(np.isnan(y), domain < 0)
    assert lb.DomainAdaptationRegressor(**QUICK).fit(packed, y).adapted_
    with pytest.raises(
        ValueError, match=r"Classifier.fit got missing labels in y: 60 of 150 rows.*\(-1, '' or sample_d"
    ):
        lb.DomainAdaptationClassifier(**QUICK).fit(packed, y)
    assert set(lb.pack(XS, many, XT, task="classification")[1][90:].tolist()) == {-1}
    with pytest.warns(UserWarning, match=r"found no target rows.*or by NaN in y \(pack\(..., task='regression'\)"):
        lb.DomainAdaptationRegressor(**QUICK).fit(X, Y)
    with pytest.raises(ValueError, match=r"pack needs ys as classes; got labels that are no whole numbers"):
        lb.pack(XS, XS[:, 0], XT, task="classification")
    with pytest.raises(ValueError, match="pack: unknown task 'regresion'; did you mean 'regression'"):
        lb.pack(XS, K, XT, task="regresion")


def test_a_class_that_is_the_mark_is_pointed_out() -> None:
    with pytest.warns(
        UserWarning, match=r"pack marks target rows by -1 in y, and -1 is one of the classes in ys\. Pass"
    ):
        _, y, domain = lb.pack(XS, K * 2 - 1, XT)
    assert lb.OnSource(LogisticRegression()).fit(X, y, domain).classes_.tolist() == [-1, 1]
    with pytest.warns(UserWarning, match="'' is one of the classes"):
        lb.pack(XS, np.where(K > 0, "yes", ""), XT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lb.pack(XS, -XS[:, 0], XT)


@pytest.mark.parametrize(
    ("ys", "error", "words"),
    [
        ([None, *WORDS[1:]], ValueError, "pack got missing labels in ys: 1 of 90 rows"),
        (np.where(K > 0, np.nan, 0.5), ValueError, "pack got missing labels in ys: .* of 90 rows"),
        (pd.date_range("2020", periods=90), TypeError, "pack needs ys as classes"),
        (["a", *K[1:].tolist()], TypeError, "pack needs ys of one kind; got strings"),
        (np.array([["a", "b"]] * 90), TypeError, "pack needs numbers in ys"),
        (K[:5], ValueError, r"one entry of ys for each row of Xs, shape \(90,\), or values \(90, m\); got \(5,\)"),
    ],
)
def test_labels_that_cannot_be_packed_meet_a_sentence(ys: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lb.pack(XS, ys, XT)


FRAME = pd.DataFrame(XS[:, :2], columns=["age", "income"]).assign(city=np.array(["A", "B"])[K])
TARGET = pd.DataFrame(XT[:, :2], columns=["age", "income"]).assign(city="B")[["city", "income", "age"]]


def test_frames_stay_frames_with_columns_by_name() -> None:
    packed, y, domain = lb.pack(FRAME, K, TARGET)
    assert list(packed.columns) == ["age", "income", "city"]
    assert packed.index.tolist() == list(range(150))
    np.testing.assert_array_equal(packed["age"][90:], XT[:, 0])
    encode = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough", sparse_threshold=0)
    fitted = lb.make_pipeline(encode, lb.CORAL(), lb.OnSource(LogisticRegression())).fit(
        packed, y, sample_domain=domain
    )
    np.testing.assert_array_equal(fitted.predict(TARGET), fitted.predict(packed[90:]))
    with pytest.raises(ValueError, match=r"pack needs in Xt the columns of Xs; missing: 'age'; unexpected: 'years'"):
        lb.pack(FRAME, K, TARGET.rename(columns={"age": "years"}))


def test_a_frame_beside_an_array_goes_by_place_and_it_is_said() -> None:
    numbers = FRAME[["age", "income"]].convert_dtypes()
    with pytest.warns(UserWarning, match="pack got Xt without column names"):
        packed = lb.pack(numbers, K, XT[:, :2])[0]
    np.testing.assert_array_equal(packed, np.concatenate([XS[:, :2], XT[:, :2]]))


@pytest.mark.parametrize(
    "estimator", [lb.CORAL(), lb.DomainAdaptationClassifier(**QUICK), lb.OnSource(LogisticRegression())]
)
def test_estimators_hold_to_the_names_of_columns(estimator: Any) -> None:
    numbers = FRAME[["age", "income"]].assign(owner=FRAME.city == "A").astype({"age": "Float64"})
    packed, y, domain = lb.pack(numbers, K, numbers[["owner", "income", "age"]])
    fitted = sklearn.clone(estimator).fit(packed, y, sample_domain=domain)
    assert fitted.feature_names_in_.tolist() == ["age", "income", "owner"]
    use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
    assert len(use(numbers)) == 90
    with pytest.raises(ValueError, match="same order as they were in fit"):
        use(numbers[["income", "age", "owner"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        use(numbers.rename(columns={"age": "years"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        use(numbers.to_numpy(dtype=float))


@pytest.mark.parametrize("estimator", [lb.CORAL(), lb.DomainAdaptationClassifier(**QUICK)])
def test_columns_named_by_numbers_are_held_to_as_well(estimator: Any) -> None:
    years = pd.DataFrame(XS[:, :3], columns=[2018, 2019, 2020])
    packed, y, domain = lb.pack(years, K, years[[2020, 2018, 2019]])
    np.testing.assert_array_equal(packed[:90], packed[90:])
    fitted = sklearn.clone(estimator).fit(packed, y, sample_domain=domain)
    use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
    use(years)
    use(years.to_numpy())
    with pytest.raises(ValueError, match="needs the columns of X in the order they had in fit; got"):
        use(years[[2020, 2018, 2019]])
    with pytest.raises(ValueError, match="needs in X the columns of fit; missing: 2018; unexpected: 2017"):
        use(years.rename(columns={2018: 2017}))


@pytest.mark.parametrize("estimator", [lb.CORAL(), lb.DomainAdaptationClassifier(**QUICK)])
def test_columns_that_hold_no_numbers_are_named_by_estimators_too(estimator: Any) -> None:
    packed, y, domain = lb.pack(FRAME.astype({"city": "category"}), K, FRAME.astype({"city": "category"}))
    with pytest.raises(TypeError, match=r"needs X as numbers; the column 'city' holds categories"):
        sklearn.clone(estimator).fit(packed, y, sample_domain=domain)
    gaps = packed[["age", "income"]].convert_dtypes()
    gaps.loc[3, "age"] = pd.NA
    with pytest.raises(ValueError, match=r"got missing values \(NaN\) in X: 1 of 180 rows, .* columns 'age'"):
        sklearn.clone(estimator).fit(gaps, y, sample_domain=domain)


def test_a_saved_estimator_predicts_its_labels(tmp_path: Any) -> None:
    packed, y, domain = lb.pack(XS, WORDS, XT)
    classifier = lb.DomainAdaptationClassifier(**QUICK).fit(packed, y, sample_domain=domain)
    classifier.result_.save(tmp_path / "classifier")
    np.testing.assert_array_equal(lb.load(tmp_path / "classifier").predict(XT), classifier.predict(XT))


@pytest.mark.parametrize("words", [False, True])
def test_scores_are_of_the_rows_that_have_a_label(words: bool) -> None:
    packed, y, domain = lb.pack(XS, WORDS if words else K, XT)
    labels = WORDS if words else K
    for fitted in (
        pipeline().fit(packed, y, sample_domain=domain),
        lb.OnSource(LogisticRegression()).fit(packed, y),
        lb.DomainAdaptationClassifier(**QUICK).fit(packed, y),
    ):
        assert fitted.score(packed, y) == fitted.score(XS, labels)
        weights = RNG.uniform(size=150)
        assert fitted.score(packed, y, sample_weight=weights) == fitted.score(XS, labels, sample_weight=weights[:90])
    scores = cross_val_score(pipeline(), packed, y, cv=3, params={"sample_domain": domain})
    search = GridSearchCV(pipeline(), {"coral__regularization": [0.1, 1.0]}, cv=3).fit(packed, y, sample_domain=domain)
    assert min(*scores, search.best_score_) > 0.8  # 90 of 150 rows could be right at most, were all counted
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_val_score(pipeline(), packed, y, cv=3, params={"sample_domain": domain})
    assert min(routed) > 0.8


def test_a_fold_without_labelled_rows_says_so() -> None:
    with pytest.raises(
        ValueError, match=r"OnSource.score needs rows with a label; got none among 60.*label_free_scorer"
    ):
        lb.OnSource(LogisticRegression()).fit(X, Y).score(X[90:], Y[90:])
    with pytest.raises(ValueError, match=r"Classifier.score needs rows with a label"):
        lb.DomainAdaptationClassifier(**QUICK).fit(X, Y).score(X[90:], Y[90:])


def test_a_fold_without_target_rows_says_so() -> None:
    with pytest.raises(
        ValueError, match=r"found no target rows among 90\..* this fold of cross-validation has none: shu"
    ):
        lb.label_free_scorer()(lb.OnSource(LogisticRegression()).fit(X, Y), XS, K)
    with pytest.warns(UserWarning, match="folds of cross-validation that have none want to be shuffled"):
        lb.CORAL().fit(XS, K)


def test_a_real_class_minus_one_is_scored_and_marks_beside_it_are_not() -> None:
    labels, classes = [-1, 1, 1, -1], np.array([-1, 1])
    assert labelled_rows("f", 4, labels, classes=classes).all()
    assert labelled_rows("f", 4, [-1, 1, -1, -1], [1, 1, -1, -1], classes=classes).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert labelled_rows("f", 4, labels, [1, 1, -1, -1], classes=classes).all()  # the target's own labels
    assert labelled_rows("f", 3, [0.5, np.nan, -1.0]).tolist() == [True, False, True]
    assert labelled_rows("f", 3, [4, 5, -1], [1, 1, -1]).tolist() == [True, True, False]  # whole values, as packed
    with pytest.warns(UserWarning, match="-1 is one of the classes"):
        packed, y, domain = lb.pack(XS, K * 2 - 1, XT)
    fitted = lb.OnSource(LogisticRegression()).fit(packed, y, domain)
    assert fitted.score(packed, y, sample_domain=domain) == fitted.score(XS, K * 2 - 1)


LEARNERS = {
    "classifier": SVC(),
    "search": GridSearchCV(SVC(), {"C": [1.0]}),
    "selection": SelectKBest(k=2),
    "pipeline within": plain_pipeline(StandardScaler(), SVC()),
}


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("words", [False, True])
def test_minus_one_is_never_learned_as_a_class_behind_a_transformer(kind: str, words: bool) -> None:
    packed, y, domain = lb.pack(XS, WORDS if words else K, XT)
    step = sklearn.clone(LEARNERS[kind])
    name = {"search": "GridSearchCV", "selection": "SelectKBest"}.get(kind, "SVC")
    refused = rf"got target rows, and {name} is not told which.*landbridge\.OnSource\({name}\(\.\.\.\)\)"
    with pytest.raises(TypeError, match=r"make_pipeline\(\.\.\.\)\.fit " + refused):
        lb.make_pipeline(lb.CORAL(), step).fit(packed, y, sample_domain=domain)
    for known in (lb.make_pipeline(lb.CORAL(), step), plain_pipeline(lb.CORAL(), step)):
        with pytest.raises(TypeError, match=refused):
            known.fit(packed, y)
    with sklearn.config_context(enable_metadata_routing=True), pytest.raises(TypeError, match=refused):
        plain_pipeline(lb.CORAL(), step).fit(packed, y, sample_domain=domain)
    assert not sklearn.get_config()["enable_metadata_routing"]


def test_steps_that_learn_nothing_from_the_targets_y_are_let_be() -> None:
    lb.make_pipeline(StandardScaler(), lb.OnSource(SelectKBest(k=2)), pipeline()).fit(X, Y, sample_domain=DOMAIN)
    plain_pipeline(lb.CORAL(), lb.OnSource(SVC())).fit(X, Y)
    lb.make_pipeline(lb.CORAL(), StandardScaler()).fit(X, Y, sample_domain=DOMAIN)

    class Within(SVC):  # a step that moves data of its own
        def fit(self, X: Any, y: Any) -> Any:
            return super().fit(lb.CORAL().fit_transform(*lb.pack(X, y, XT))[: len(X)], y)

    plain_pipeline(StandardScaler(), Within()).fit(XS, K)
    moved = lb.CORAL().fit_transform(X, Y, DOMAIN)
    assert SVC().fit(moved[SOURCE], Y[SOURCE]).classes_.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="no target rows"):  # no target: the plain pipeline
        lb.make_pipeline(lb.CORAL(), SVC()).fit(XS, K)


def test_on_source_of_several_outputs_is_the_plain_estimator_without_domains() -> None:
    several = RNG.integers(0, 2, (90, 3))
    with pytest.warns(UserWarning, match="plain KNeighborsClassifier"):
        fitted = lb.OnSource(KNeighborsClassifier()).fit(XS, several)
    plain = KNeighborsClassifier().fit(XS, several)
    np.testing.assert_array_equal(fitted.predict(XT), plain.predict(XT))
    assert fitted.score(XS, several) == plain.score(XS, several)
    packed, y, domain = lb.pack(XS, several, XT)
    for more in ({}, {"sample_domain": domain}):
        fitted = lb.OnSource(KNeighborsClassifier()).fit(packed, y, **more)
        np.testing.assert_array_equal(fitted.predict(XT), plain.predict(XT))


def test_on_source_has_the_inputs_tags_of_its_estimator() -> None:
    machine = lb.OnSource(SVC(kernel="precomputed"))
    if hasattr(sklearn.utils, "get_tags"):  # scikit-learn 1.6
        assert sklearn.utils.get_tags(machine).input_tags.pairwise
    kernel = XS @ XS.T
    with pytest.raises(ValueError, match="cannot cut a precomputed matrix of all rows"):
        machine.fit(kernel, K, np.where(np.arange(90) < 50, 1, -1))


def test_values_of_pairs_are_seen_for_what_they_are() -> None:
    for k in (3, 4, 5):
        y = np.arange(90) % k
        packed, labels, _ = lb.pack(XS + y[:, None], y, XT)
        pairs, classes = (lb.OnSource(SVC(decision_function_shape=shape)) for shape in ("ovo", "ovr"))
        pairs.fit(packed, labels)
        classes.fit(packed, labels)
        np.testing.assert_allclose(
            one_against_one(pairs.decision_function(XT), k), classes.decision_function(XT), rtol=1e-12
        )
        behind = lb.make_pipeline(StandardScaler(), lb.OnSource(SVC(decision_function_shape="ovo"))).fit(packed, labels)
        same = lb.make_pipeline(StandardScaler(), lb.OnSource(SVC())).fit(packed, labels)
        assert lb.label_free_scorer()(pairs, packed, labels) == lb.label_free_scorer()(classes, packed, labels)
        assert lb.label_free_scorer()(behind, packed, labels) == lb.label_free_scorer()(same, packed, labels)
    aggregated = lb.OnSource(OneVsOneClassifier(SVC())).fit(packed, labels)  # which gives one value a class
    assert np.isfinite(lb.label_free_scorer()(aggregated, packed, labels))


def test_several_outputs_are_refused_by_the_scorer() -> None:
    packed, _, domain = lb.pack(XS, K, XT)
    several = lb.OnSource(KNeighborsClassifier()).fit(packed, RNG.integers(0, 2, (150, 2)), domain)
    with pytest.raises(ValueError, match="needs one set of classes; predict_proba of OnSource gives several outputs"):
        lb.label_free_scorer()(several, packed, Y)
