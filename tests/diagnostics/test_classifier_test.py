"""The classifier test: against scikit-learn fold by fold, at its level, with power, and on what is awkward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from landbridge.diagnostics import classifier_test
from landbridge.diagnostics.classifier_test import _folds, _shrunk_covariance
from landbridge.shared.seeds import derive_seed

Rows = np.ndarray[Any, np.dtype[np.float64]]
MODULE = __import__("sys").modules["landbridge.diagnostics.classifier_test"]


def drawn(n: int, d: int, seed: int, shift: float = 0.0) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def scaled(x: Rows, y: Rows) -> Rows:
    rows = np.concatenate([x, y])
    return (rows - rows.mean(0)) / rows.std(0)


@pytest.mark.parametrize(("n_s", "n_t", "d"), [(20, 20, 3), (13, 31, 4), (12, 15, 60)])
@pytest.mark.parametrize("score", ["auc", "accuracy"])
def test_the_discriminant_against_scikit_learn_for_each_permutation(n_s: int, n_t: int, d: int, score: Any) -> None:
    x, y = drawn(n_s, d, 0), drawn(n_t, d, 1, 0.4)
    found = classifier_test(x, y, score=score, folds=3, permutations=19, seed=4)
    fold, chosen = _folds(n_s, n_t, 3, 19, 4)
    rows = scaled(x, y)
    for column, value in enumerate([found.statistic, *found.null]):
        domain = (~chosen[:, column]).numpy().astype(int)
        scores = []
        for number in range(3):
            kept, held = (fold != number).numpy(), (fold == number).numpy()
            means = [rows[kept & (domain == side)].mean(0) for side in (0, 1)]
            w = np.linalg.solve(ledoit_wolf(rows[kept])[0], means[1] - means[0])
            along = rows[held] @ w - (means[0] + means[1]) @ w / 2
            if score == "auc":
                scores.append(roc_auc_score(domain[held], along))
            else:
                scores.append(balanced_accuracy_score(domain[held], along > 0))
        assert value == pytest.approx(np.mean(scores), abs=1e-9), column
    assert found.p_value == (1 + sum(value >= found.statistic - 1e-9 for value in found.null)) / 20
    assert (found.n_source, found.n_target, found.note) == (n_s, n_t, "")


@pytest.mark.parametrize("shape", [(50, 4), (10, 30), (2, 3)])
def test_the_shrunk_covariance_is_scikit_learns(shape: tuple[int, int]) -> None:
    rows = drawn(*shape, 0) @ np.diag(np.arange(1.0, shape[1] + 1))
    expected = ledoit_wolf(rows)[0]
    found = _shrunk_covariance(torch.from_numpy(rows), shape[1])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_folds_hold_their_share_of_both_domains_under_every_permutation() -> None:
    fold, chosen = _folds(17, 9, 4, 50, 0)
    for number in range(4):
        members = fold == number
        counts = chosen[members].sum(0)
        assert counts.eq(counts[0]).all()
        assert 4 <= int(counts[0]) <= 5
        assert 2 <= int(members.sum() - counts[0]) <= 3
    assert chosen[:, 0].tolist() == [True] * 17 + [False] * 9
    assert len({tuple(column) for column in chosen.T.tolist()}) == 51
    spread = chosen[:, 1:].double().mean(1)  # each row is of the source as often as its fold
    assert float((spread - 17 / 26).abs().max()) < 0.35


@pytest.mark.parametrize("classifier", ["linear", "random-features"])
@pytest.mark.parametrize("kind", ["auc", "accuracy"])
def test_false_alarms_come_no_more_often_than_the_level(classifier: Any, kind: Any) -> None:
    trials = 150
    p_values = []
    for trial in range(trials):
        x, y = drawn(8, 3, 2 * trial), drawn(13, 3, 2 * trial + 1)
        test = classifier_test(x, y, classifier=classifier, score=kind, folds=2, permutations=19, seed=trial)
        p_values.append(test.p_value)
    assert sum(p <= 0.05 for p in p_values) <= binom.ppf(0.999, trials, 0.05)
    assert sum(p <= 0.5 for p in p_values) <= binom.ppf(0.999, trials, 0.5)
    if kind == "auc":
        assert sum(p <= 0.5 for p in p_values) >= binom.ppf(0.001, trials, 0.5)


@pytest.mark.parametrize("classifier", ["linear", "random-features"])
def test_power_grows_with_the_shift(classifier: str) -> None:
    shares = []
    for shift in (0.0, 0.4, 1.5):
        pairs = [(drawn(40, 3, s), drawn(40, 3, 100 + s, shift)) for s in range(12)]
        shares.append(
            sum(classifier_test(x, y, classifier=classifier, permutations=39).rejects() for x, y in pairs) / 12
        )
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[2] == 1.0


def test_a_change_of_spread_is_seen_by_random_features_and_not_by_a_line() -> None:
    x, y = drawn(300, 2, 0), 2.5 * drawn(300, 2, 1)
    assert classifier_test(x, y, classifier="random-features").rejects(0.01)
    assert classifier_test(x, y).statistic < 0.6


def test_domains_far_apart_are_told_apart_by_every_row() -> None:
    x, y = drawn(30, 2, 0), drawn(20, 2, 1, 20.0)
    for score in ("auc", "accuracy"):
        assert classifier_test(x, y, score=score).statistic == 1.0  # type: ignore[arg-type]
    named = classifier_test(x, y, score="accuracy").name
    assert named != classifier_test(x, y).name
    assert "accuracy" in named


@pytest.mark.parametrize("d", [3, 40])
def test_units_of_the_columns_do_not_matter(d: int) -> None:
    x, y = drawn(25, d, 0), drawn(20, d, 1, 0.2)
    units = 10.0 ** np.linspace(-3, 6, d)
    found = classifier_test(x * units + 5, y * units + 5)
    assert found.statistic == pytest.approx(classifier_test(x, y).statistic, abs=1e-9)


def test_same_seed_same_bits_and_no_global_state_moves(keeps_random_state: None) -> None:
    x, y = torch.from_numpy(drawn(20, 3, 0)), torch.from_numpy(drawn(24, 3, 1))
    kept = x.clone()
    for classifier in ("linear", "random-features", DecisionTreeClassifier(max_features=1)):
        first, again, other = (classifier_test(x, y, classifier=classifier, permutations=19, seed=s) for s in (5, 5, 6))
        assert (first.statistic, first.p_value) == (again.statistic, again.p_value)
        assert (first.null == again.null).all()
        assert (first.null != other.null).any()
    assert torch.equal(x, kept)


@pytest.mark.parametrize("score", ["auc", "accuracy"])
@pytest.mark.parametrize("model", [GaussianNB(), Perceptron()])
def test_a_scikit_learn_classifier_is_trained_on_each_fold(model: Any, score: Any) -> None:
    x, y = drawn(14, 2, 0), drawn(22, 2, 1, 0.8)
    found = classifier_test(x, y, classifier=model, score=score, folds=3, permutations=19, seed=2)
    fold, chosen = _folds(14, 22, 3, 19, 2)
    rows = scaled(x, y)
    for column, value in ((0, found.statistic), (7, found.null[6])):
        domain = (~chosen[:, column]).numpy().astype(int)
        scores = []
        for number in range(3):
            kept, held = (fold != number).numpy(), (fold == number).numpy()
            seeded = type(model)(**model.get_params())
            if isinstance(model, Perceptron):
                seeded.set_params(random_state=derive_seed("classifier_test", 2) % 2**32)
            seeded.fit(rows[kept], domain[kept])
            if isinstance(model, Perceptron):
                along = seeded.decision_function(rows[held])
            else:
                along = seeded.predict_proba(rows[held])[:, 1] - 0.5
            auc, right = roc_auc_score(domain[held], along), balanced_accuracy_score(domain[held], along > 0)
            scores.append(auc if score == "auc" else right)
        assert value == pytest.approx(np.mean(scores), abs=1e-9)
    assert not hasattr(model, "classes_")  # the caller's own is cloned


def test_many_features_of_many_rows_are_projected_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "MOST_FEATURES", 15)
    x, y = drawn(30, 40, 0), drawn(30, 40, 1, 1.0)
    found = classifier_test(x, y)
    assert found.note == "the classifier saw 15 random projections of 40 features"
    assert found.rejects()
    assert classifier_test(x[:7], y[:7]).note == ""  # 14 rows span no more


@pytest.mark.parametrize("classifier", ["linear", "random-features"])
def test_constant_features_and_identical_samples_are_no_shift(classifier: str) -> None:
    constant = classifier_test(np.full((9, 3), 0.1), np.full((7, 3), 0.1), classifier=classifier)
    assert (constant.statistic, constant.p_value) == (0.5, 1.0)
    x = drawn(30, 2, 0)
    assert not classifier_test(x, x, classifier=classifier).rejects()
    some = np.column_stack([x, np.full(30, 3.7)])
    assert classifier_test(some, np.add(some, [2, 0, 0]), classifier=classifier).rejects()


def test_two_constants_that_differ_are_a_shift() -> None:
    found = classifier_test(np.zeros((20, 1)), np.ones((20, 1)))
    assert found.statistic == 1.0
    assert found.rejects(0.01)


def test_few_rows_whole_numbers_and_more_folds_than_rows() -> None:
    chance = np.random.default_rng(0)
    dark, light = chance.integers(0, 100, (4, 3, 8, 8), dtype=np.uint8), chance.integers(100, 256, (6, 3, 8, 8))
    assert classifier_test(dark, light, folds=5).statistic == 1.0
    two = classifier_test([[0.0], [0.1]], [[5.0], [5.1]], permutations=199)
    assert two.statistic == 1.0
    assert two.p_value > 0.05  # four labellings within the folds


def test_bad_input_meets_a_sentence() -> None:
    x, y = drawn(6, 2, 0), drawn(7, 2, 1)
    with pytest.raises(ValueError, match="classifier_test needs at least 2 rows"):
        classifier_test(x[:1], y)
    with pytest.raises(ValueError, match="unknown classifier 'liner'; did you mean 'linear'"):
        classifier_test(x, y, classifier="liner")
    for wrong in (Ridge(), LogisticRegression, 3, None):
        with pytest.raises(TypeError, match="or a scikit-learn classifier; got"):
            classifier_test(x, y, classifier=wrong)
    with pytest.raises(ValueError, match="unknown score 'au'"):
        classifier_test(x, y, score="au")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="folds of at least 2; got 1"):
        classifier_test(x, y, folds=1)
    with pytest.raises(ValueError, match="permutations of at least 19; got 3"):
        classifier_test(x, y, permutations=3)
    with pytest.raises(TypeError, match="seed as a whole number; got 'x'"):
        classifier_test(x, y, seed="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-200, 1e160])
def test_any_scale_gives_the_same_answer(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    plain, scaled = (classifier_test(s * x, s * y, permutations=19, seed=np.int64(0)) for s in (1, scale))
    assert scaled.statistic == pytest.approx(plain.statistic, abs=1e-9)
    assert scaled.p_value == plain.p_value == 0.05
