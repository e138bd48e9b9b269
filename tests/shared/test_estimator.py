"""The estimators' common base: which rows are source, packing, and what every adapting transformer does."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import landbridge as lb
from landbridge.shared.estimator import AdaptingTransformer, source_mask

TRANSFORMERS = [lb.CORAL(), lb.OTDA(), lb.OTDA("sinkhorn"), lb.OTDA("group_lasso")]


def packed():
    rng = np.random.default_rng(0)
    ys = np.arange(20) % 2
    return lb.pack(rng.normal(size=(20, 3)) + ys[:, None], ys, rng.normal(size=(15, 3)) * 2 + 4)


class Shift(AdaptingTransformer):
    def _adapt(self, source, target, labels):
        self.seen_labels_ = labels
        self.shift_ = target.mean(0) - source.mean(0)

    def _move(self, source):
        return source + self.shift_


def mask(*args, **kwargs):
    return source_mask("fit", *args, **kwargs).tolist()


@pytest.mark.parametrize(
    ("y", "classifier", "expected"),
    [
        ([0, 1, -1, -1], None, [True, True, False, False]),
        ([-1, 5, -1, 7], True, [False, True, False, True]),
        ([-1, 1, -1, 1], None, [True] * 4),  # two labels, not a target
        ([-1, 1, -1, 1], True, [True] * 4),
        ([-1, -1, -1, -1], True, [True] * 4),
        ([0, 1, 2, 3], True, [True] * 4),
        ([0.0, 1.0, -1.0, 2.0], None, [True] * 4),  # could be a regression
        ([0.0, 1.0, -1.0, 2.0], True, [True, True, False, True]),
        ([0, 1, -1, 2], False, [True] * 4),
        (["a", "b", "-1", "c"], True, [True] * 4),
        (["a", "b", "", "c"], True, [True, True, False, True]),
        (["a", "b", "", "c"], None, [True, True, False, True]),
        (["a", "", "", "a"], True, [True] * 4),  # two labels, not a target
        (["a", "b", "", "c"], False, [True] * 4),
        (np.array(["a", "b", "", "b"], dtype=object), True, [True, True, False, True]),
        (np.array(["a", "b", "", -1], dtype=object), True, [True, True, True, False]),
        (np.array(["a", "b", -1, "b"], dtype=object), None, [True, True, False, True]),
        (np.array([0, 1, 255, 2], dtype=np.uint8), True, [True] * 4),
        (None, True, [True] * 4),
    ],
)
def test_minus_one_marks_the_target_beside_two_classes_only(y, classifier, expected):
    assert mask(4, y, classifier=classifier) == expected


def test_sample_domain_alone_decides():
    assert mask(4, [0, 1, -1, -1], [-3, 2, 1, -0.5], classifier=True) == [False, True, True, False]
    assert mask(3, ["not", "even", object()], [1, -1, 1]) == [True, False, True]
    assert mask(2, np.zeros((7, 7)), [1, 1]) == [True, True]  # y is not looked at


def test_wrong_domains_are_told():
    with pytest.raises(ValueError, match=r"got 0 in 2 rows, the first is row 1"):
        mask(4, None, [1, 0, -1, 0])
    with pytest.raises(ValueError, match="got nan in 1 rows"):
        mask(2, None, [1, float("nan")])
    with pytest.raises(TypeError, match=r"signed numbers.*got bool.*np.where\(is_source, 1, -1\)"):
        mask(2, None, [True, False])
    with pytest.raises(ValueError, match=r"one entry of sample_domain for each row of X, shape \(3,\); got \(2,\)"):
        mask(3, None, [1, -1])
    with pytest.raises(ValueError, match=r"one entry of y for each row of X, shape \(3,\); got \(2,\)"):
        mask(3, [1, -1])


@pytest.mark.parametrize(
    ("ys", "unknown", "kind"),
    [
        ([0, 1], -1, "i"),
        (np.array([0, 1], dtype=np.uint8), -1, "i"),
        ([False, True], -1, "i"),
        (["a", "b"], "", "U"),
        (np.array(["a", "b"], dtype=object), "", "U"),
        ([0.0, 1.0], -1, "i"),
        (np.array([[0], [1]]), -1, "i"),
    ],
)
def test_pack(ys, unknown, kind):
    X, y, domain = lb.pack([[1.0, 2.0], [3.0, 4.0]], ys, torch.tensor([[5.0, 6.0]]))
    assert X.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert y.tolist() == [*np.ravel(ys), unknown]
    assert y.dtype.kind == kind
    assert domain.tolist() == [1, 1, -1]


def test_pack_of_a_regression_hides_the_target_as_nan():
    _, y, _ = lb.pack([[1.0], [3.0]], [0.5, -1.0], [[5.0]])
    np.testing.assert_array_equal(y, [0.5, -1.0, np.nan])


def test_pack_errors_are_sentences():
    with pytest.raises(ValueError, match=r"same features; got \(1, 2\) and \(1, 3\)"):
        lb.pack([[1, 2]], [0], [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"got \(2,\) and \(1, 1\)"):
        lb.pack([1, 2], [0, 1], [[1]])
    with pytest.raises(
        ValueError, match=r"one entry of ys for each row of Xs, shape \(1,\), or .*; got \(2,\).*no labels here"
    ):
        lb.pack([[1, 2]], [0, 1], [[1, 2]])
    with pytest.raises(ValueError, match=r"samples of both domains; got Xs \(1, 2\) and Xt \(0, 2\)"):
        lb.pack([[1, 2]], [0], np.zeros((0, 2)))


def test_the_subclass_sees_source_rows_target_rows_and_source_labels():
    X, y, domain = packed()
    order = np.random.default_rng(0).permutation(len(X))
    shift = Shift().fit(X[order], y[order], domain[order])
    np.testing.assert_array_equal(shift.seen_labels_, y[order][domain[order] > 0])
    np.testing.assert_allclose(shift.shift_, X[domain < 0].mean(0) - X[domain > 0].mean(0))
    moved = shift.transform(X[order], domain[order])
    np.testing.assert_array_equal(moved[domain[order] < 0], X[order][domain[order] < 0])
    np.testing.assert_allclose(moved[domain[order] > 0], X[order][domain[order] > 0] + shift.shift_)
    np.testing.assert_array_equal(Shift().fit_transform(X[order], y[order], domain[order]), moved)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_no_target_is_the_identity_with_a_warning(transformer):
    X, y, domain = packed()
    transformer = sklearn.clone(transformer).fit(X, y, domain)
    assert transformer.adapted_
    learned = {key for key in vars(transformer) if key.endswith("_")}
    for labels in (np.abs(y), np.where(y == 0, -1, 1), None, y.astype(float)):
        with pytest.warns(
            UserWarning, match=r"found no target rows among 35, so .* is the identity.*sample_domain"
        ) as record:
            transformer.fit(X, labels)
        assert record[0].filename == __file__
        assert not transformer.adapted_
        assert {key for key in vars(transformer) if key.endswith("_")} < learned  # nothing is left of the first fit
        np.testing.assert_array_equal(transformer.transform(X, domain), X)
    with pytest.warns(UserWarning, match="identity"):
        np.testing.assert_array_equal(transformer.fit_transform(X, np.abs(y), np.ones(35)), X)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_the_input_is_neither_changed_nor_shared(transformer):
    X, y, domain = packed()
    before = X.copy()
    transformer = sklearn.clone(transformer)
    for out in (transformer.fit_transform(X, y, domain), transformer.transform(X), transformer.transform(X, domain)):
        assert not np.shares_memory(out, X)
        out[:] = 0
    np.testing.assert_array_equal(X, before)


def test_in_a_pipeline_with_metadata_routing():
    X, y, domain = packed()
    y = np.where(domain > 0, y, 0)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression())).fit(X, y, sample_domain=domain)
        expected = lb.CORAL().fit(X, y, domain)
        np.testing.assert_allclose(pipeline[:-1].transform(X, sample_domain=domain), expected.transform(X, domain))
        assert pipeline.predict(X[domain < 0]).shape == (15,)
    assert pipeline[0].adapted_


def test_frames_keep_their_names():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y, domain = packed()
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    coral = lb.CORAL().set_output(transform="pandas").fit(frame, y, domain)
    assert list(coral.transform(frame).columns) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        coral.transform(frame[["b", "a", "c"]])


def test_errors_are_sentences():
    X, y, domain = packed()
    with pytest.raises(ValueError, match=r"Shift.fit needs source rows; got sample_domain negative for all 35 rows"):
        Shift().fit(X, y, -np.ones(35))
    with pytest.raises(
        ValueError, match=r"Shift.fit needs one entry of y for each row of X, shape \(35,\); got \(3,\)"
    ):
        Shift().fit(X, [0, 1, 0], domain)
    with pytest.raises(NotFittedError):
        Shift().transform(X)
    with pytest.raises(ValueError, match="2 features, but Shift is expecting 3"):
        Shift().fit(X, y, domain).transform(X[:, :2])
    with pytest.raises(ValueError, match="contains NaN"):
        Shift().fit(X * np.nan, y, domain)
    with pytest.raises(ValueError, match=r"Shift.transform needs one entry of sample_domain"):
        Shift().fit(X, y, domain).transform(X, [1, -1])
    with pytest.raises(NotImplementedError, match=r"write _adapt\(\)"):
        AdaptingTransformer().fit(X, y, domain)


@pytest.mark.parametrize("words", [["a", "b"], np.array(["a", "b"], dtype=object), [3, 4]])
def test_what_pack_writes_marks_the_target_by_itself(words):
    _, y, domain = lb.pack(np.zeros((2, 1)), words, np.zeros((3, 1)))
    assert mask(5, y, classifier=True) == mask(5, y) == (domain > 0).tolist()
    if hasattr(np.dtypes, "StringDType") and isinstance(y[0], str):
        _, y, domain = lb.pack(np.zeros((2, 1)), np.array(["a", "b"], dtype=np.dtypes.StringDType()), np.zeros((3, 1)))
        assert y.tolist() == ["a", "b", "", "", ""]
        assert mask(5, y) == (domain > 0).tolist()
