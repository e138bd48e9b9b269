"""OTDA: its plan against a linear program, the barycentric map, rows that were not seen, and the estimator's laws."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import landbridge as lb
from landbridge import OTDA

SOLVERS = ["exact", "sinkhorn", "group_lasso"]
NORMS = ("robust", "max", "median", None)


def domains(n_s=12, n_t=15, d=2, seed=0):
    rng = np.random.default_rng(seed)
    ys = np.arange(n_s) % 3
    source = rng.normal(size=(n_s, d)) + 3.0 * ys[:, None]
    target = rng.normal(size=(n_t, d)) + 3.0 * (np.arange(n_t) % 3)[:, None] + 1.0
    return source, ys, target


def test_exact_is_the_linear_program_on_6_and_7_points():
    source, ys, target = domains(6, 7)
    cost = np.array([[sum((a - b) ** 2 for a, b in zip(x, z, strict=True)) for z in target] for x in source])
    rows, columns = np.kron(np.eye(6), np.ones(7)), np.kron(np.ones(6), np.eye(7))
    sums = np.concatenate([np.full(6, 1 / 6), np.full(7, 1 / 7)])
    best = linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=sums, bounds=(0, None))
    X, y, domain = lb.pack(source, ys, target)
    otda = OTDA()
    moved = otda.fit_transform(X, y, domain)
    assert (otda.plan_ * cost).sum() == pytest.approx(best.fun, rel=1e-10)
    np.testing.assert_allclose(moved[:6], 6 * best.x.reshape(6, 7) @ target, rtol=1e-9)
    np.testing.assert_array_equal(moved[6:], target)
    assert otda.cost_scale_ == pytest.approx(cost.max(), rel=1e-12)


def test_exact_in_one_dimension_is_sorting():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(25, 1)), 3 * rng.normal(size=(25, 1)) + 5
    moved = OTDA().fit_transform(*lb.pack(source, np.zeros(25, int), target))[:25]
    np.testing.assert_allclose(moved[np.argsort(source[:, 0])], np.sort(target, axis=0), rtol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_moved_rows_are_weighted_means_of_target_rows(solver):
    source, ys, target = domains()
    otda = OTDA(solver)
    moved = otda.fit_transform(*lb.pack(source, ys, target))[:12]
    np.testing.assert_allclose(otda.plan_.sum(1), 1 / 12)
    np.testing.assert_allclose(otda.plan_.sum(0), 1 / 15, atol=1e-8)
    for i in range(12):
        mean = sum(otda.plan_[i, j] * target[j] for j in range(15)) / sum(otda.plan_[i, j] for j in range(15))
        np.testing.assert_allclose(moved[i], mean, rtol=1e-9)


def test_much_entropy_moves_every_row_to_the_target_mean():
    source, ys, target = domains()
    moved = OTDA("sinkhorn", reg=1e4).fit_transform(*lb.pack(source, ys, target))[:12]
    np.testing.assert_allclose(moved, np.tile(target.mean(0), (12, 1)), rtol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_not_seen_move_as_their_nearest_source_row(solver):
    source, ys, target = domains()
    otda = OTDA(solver)
    moved = otda.fit_transform(*lb.pack(source, ys, target))[:12]
    np.testing.assert_allclose(otda.transform(source, sample_domain=np.ones(12)), moved, rtol=1e-12)
    new = np.random.default_rng(5).normal(size=(9, 2)) * 3
    out = otda.transform(new, sample_domain=np.ones(9))
    for row, got in zip(new, out, strict=True):
        k = min(range(12), key=lambda i: ((source[i] - row) ** 2).sum())
        np.testing.assert_allclose(got, row + moved[k] - source[k], rtol=1e-9)
    np.testing.assert_array_equal(otda.transform(new), new)
    mixed = otda.transform(new, sample_domain=[1, -1, 1, -1, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(mixed[[0, 2]], out[[0, 2]])
    np.testing.assert_array_equal(mixed[[1, 3]], new[[1, 3]])


@pytest.mark.parametrize("solver", SOLVERS)
def test_interleaving_the_domains_permutes_the_output_only(solver):
    X, y, domain = lb.pack(*domains())
    order = np.random.default_rng(3).permutation(len(X))
    expected = OTDA(solver).fit_transform(X, y, domain)[order]
    np.testing.assert_allclose(OTDA(solver).fit_transform(X[order], y[order], domain[order]), expected, atol=2e-4)
    if solver != "group_lasso":  # that one stops at a duality gap, not at the last digit
        np.testing.assert_allclose(OTDA(solver).fit_transform(X[order], y[order], domain[order]), expected, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_target_labels_change_nothing(solver):
    X, y, domain = lb.pack(*domains())
    expected = OTDA(solver).fit_transform(X, y, domain)
    garbage = y.copy()
    garbage[domain < 0] = np.random.default_rng(0).integers(-9, 9, (domain < 0).sum())
    np.testing.assert_array_equal(OTDA(solver).fit_transform(X, garbage, domain), expected)
    np.testing.assert_array_equal(OTDA(solver).fit_transform(X, y), expected)  # -1 beside three classes marks the same
    unknown = np.where(domain > 0, y, np.nan)
    np.testing.assert_array_equal(OTDA(solver).fit_transform(X, unknown, domain), expected)


def test_group_lasso_reads_source_labels_and_the_others_do_not():
    X, y, domain = lb.pack(*domains())
    other = np.where(domain > 0, (y + np.arange(len(y))) % 2, -1)
    assert (
        np.abs(
            OTDA("group_lasso").fit_transform(X, other, domain) - OTDA("group_lasso").fit_transform(X, y, domain)
        ).max()
        > 1e-3
    )
    for solver in ("exact", "sinkhorn"):
        np.testing.assert_array_equal(
            OTDA(solver).fit_transform(X, other, domain), OTDA(solver).fit_transform(X, None, domain)
        )


def test_group_lasso_sends_fewer_classes_to_a_target_row():
    X, y, domain = lb.pack(*domains(30, 33))
    sinkhorn = OTDA("sinkhorn").fit(X, y, domain).plan_
    grouped = OTDA("group_lasso", group_reg=1.0).fit(X, y, domain).plan_

    def purity(plan):
        by_class = np.stack([plan[y[:30] == c].sum(0) for c in range(3)])
        return (by_class.max(0) / by_class.sum(0)).mean()

    assert purity(grouped) > purity(sinkhorn) + 0.02


@pytest.mark.parametrize(
    ("solver", "setting"),
    [
        ("sinkhorn", {"reg": 1.0}),
        ("sinkhorn", {"norm": "median"}),
        ("sinkhorn", {"norm": None}),
        ("sinkhorn", {"tol": 0.05}),
        ("group_lasso", {"reg": 1.0}),
        ("group_lasso", {"group_reg": 1.0}),
    ],
)
def test_each_setting_changes_the_plan(solver, setting):
    X, y, domain = lb.pack(*domains())
    X = X / 4  # for which reg=0.5 is solved at each norm
    given = {"reg": 0.5, **setting}
    changed, plain = OTDA(solver, **given).fit(X, y, domain), OTDA(solver, reg=0.5).fit(X, y, domain)
    assert np.abs(changed.plan_ - plain.plan_).max() > 1e-6


def test_the_norm_divides_the_cost():
    X, y, domain = lb.pack(*domains())
    cost = ((X[:12, None] - X[None, 12:]) ** 2).sum(-1)
    scales = {norm: OTDA("sinkhorn", norm=norm, reg=9.0).fit(X, y, domain).cost_scale_ for norm in NORMS}
    robust = 4 * np.median(cost)
    assert robust < cost.max()
    assert scales == pytest.approx({"robust": robust, "max": cost.max(), "median": np.median(cost), None: 1.0})
    near = OTDA("sinkhorn").fit(X * 0 + np.arange(len(X))[:, None] % 2, y, domain)
    assert near.cost_scale_ == 2.0  # the largest, where none is outlying
    same = np.ones((4, 2))
    assert OTDA().fit(same, None, [1, 1, -1, -1]).cost_scale_ == 1.0


def test_iterations_are_heeded_and_a_plan_that_has_not_converged_is_said():
    X, y, domain = lb.pack(*domains())
    with pytest.warns(ConvergenceWarning, match="max_iter=2 scalings.* Raise max_iter or reg"):
        OTDA("sinkhorn", reg=0.01, max_iter=2).fit(X, y, domain)
    with pytest.warns(ConvergenceWarning, match="max_outer_iter=1 steps"):
        OTDA("group_lasso", group_reg=5.0, max_outer_iter=1).fit(X, y, domain)
    with pytest.raises(ValueError, match="max_iter=1 pivots"):
        OTDA(max_iter=1).fit(X, y, domain)


@pytest.mark.parametrize("solver", SOLVERS)
def test_clone_pickle_and_refit(solver):
    X, y, domain = lb.pack(*domains())
    otda = OTDA(solver, reg=0.1)
    assert clone(otda).get_params() == otda.get_params()
    first = otda.fit_transform(X, y, domain)
    copy = pickle.loads(pickle.dumps(otda))
    np.testing.assert_array_equal(copy.transform(X, domain), otda.transform(X, domain))
    np.testing.assert_array_equal(otda.fit_transform(X, y, domain), first)
    assert otda.transform(X.astype(np.float32), domain).dtype == np.float32


def test_errors_are_sentences():
    X, y, domain = lb.pack(*domains())
    with pytest.raises(ValueError, match="OTDA: unknown solver 'exakt'; did you mean 'exact'"):
        OTDA("exakt").fit(X, y, domain)
    with pytest.raises(ValueError, match="OTDA: unknown norm 'mean'"):
        OTDA(norm="mean").fit(X, y, domain)
    with pytest.raises(ValueError, match=r"finite reg > 0; got 0.* use solver='exact'"):
        OTDA("sinkhorn", reg=0.0).fit(X, y, domain)
    with pytest.raises(ValueError, match="group_reg >= 0; got -1"):
        OTDA(group_reg=-1.0).fit(X, y, domain)
    with pytest.raises(TypeError, match="tol as a number; got str"):
        OTDA(tol="1").fit(X, y, domain)
    with pytest.raises(ValueError, match=r"max_iter as a whole number >= 1; got 1.5"):
        OTDA(max_iter=1.5).fit(X, y, domain)
    with pytest.raises(ValueError, match="needs their labels; got y=None"):
        OTDA("group_lasso").fit(X, None, domain)
    with pytest.raises(ValueError, match=r"at least 2 classes; got only \[0\]"):
        OTDA("group_lasso").fit(X, np.zeros(len(X), int), domain)
    with pytest.raises(ValueError, match=r"no whole numbers\. For regression"):
        OTDA("group_lasso").fit(X, y + 0.5, domain)


def word_counts(seed=0, n=150):
    """Two classes of documents of very unequal length, and their labels: what counts of words look like."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    topics = rng.dirichlet(np.full(200, 0.1), size=2)
    lengths = rng.lognormal(3.5, 1.2, size=n)
    return rng.poisson(lengths[:, None] * (0.6 * topics[labels] + 0.4 * topics.mean(0))).astype(float), labels


def test_a_few_long_rows_do_not_collapse_the_source_by_default():
    """In units of the largest cost every row went to the mean of the target."""
    (source, ys), (target, _) = word_counts(0), word_counts(0, n=140)
    X, y, domain = lb.pack(source, ys, target)

    def spread(otda):
        moved = otda.fit(X, y, domain).source_ + otda.displacement_
        return np.sqrt(moved.var(0).sum() / target.var(0).sum())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        robust = spread(OTDA("sinkhorn"))
        with pytest.warns(UserWarning, match="close to one point: their spread .* Lower reg .* norm='robust'"):
            largest = spread(OTDA("sinkhorn", norm="max", reg=1.0))
    assert largest < 0.15 < 0.4 < robust


def test_classes_that_are_moved_onto_each_other_are_said():
    """The target's one direction of classes is short, its other one long: entropy blurs the short one alone."""
    rng = np.random.default_rng(0)
    ys = np.arange(80) % 2

    def rows():
        return np.column_stack([rng.normal(size=80) * 20, rng.normal(size=80) * 0.3 + 8 * ys])

    X, y, domain = lb.pack(rows(), ys, rows())
    with pytest.warns(UserWarning, match="classes onto each other: .*Lower reg .* solver='group_lasso'"):
        OTDA("sinkhorn", reg=0.5).fit(X, y, domain)
    OTDA("sinkhorn", reg=0.5).fit(X, np.where(domain > 0, rng.integers(0, 2, len(y)), -1), domain)  # nothing to lose


def test_nothing_is_said_of_an_exact_plan_or_of_few_rows():
    source, ys, target = domains()
    OTDA("sinkhorn", reg=1e4).fit(*lb.pack(source, ys, target))
    X, y, domain = lb.pack(*domains(30, 33))
    OTDA().fit(X, y, domain)
    OTDA("sinkhorn").fit(X, y, domain)
