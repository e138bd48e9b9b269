"""The transport plans against sorting, a linear program, plain scalings and a general-purpose minimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from sklearn.exceptions import ConvergenceWarning

from landbridge.shared.checks import NonFiniteError
from landbridge.transport.plans import exact_plan, group_lasso_plan, sinkhorn_plan


def random_cost(n_s: int, n_t: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(n_s, n_t))


def linear_program(cost: np.ndarray) -> float:
    n_s, n_t = cost.shape
    rows, columns = np.kron(np.eye(n_s), np.ones(n_t)), np.kron(np.ones(n_s), np.eye(n_t))
    sums = np.concatenate([np.full(n_s, 1 / n_s), np.full(n_t, 1 / n_t)])
    return float(linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=sums, bounds=(0, None)).fun)


def group_objective(plan: np.ndarray, cost: np.ndarray, labels: np.ndarray, reg: float, group_reg: float) -> float:
    total = 0.0
    for i in range(plan.shape[0]):
        for j in range(plan.shape[1]):
            total += plan[i, j] * cost[i, j] + reg * plan[i, j] * np.log(plan[i, j])
    for j in range(plan.shape[1]):
        for label in set(labels.tolist()):
            total += group_reg * np.sqrt(sum(plan[i, j] ** 2 for i in range(len(labels)) if labels[i] == label))
    return total


def assert_marginals(plan: np.ndarray, tol: float = 1e-12) -> None:
    n_s, n_t = plan.shape
    np.testing.assert_allclose(plan.sum(1), np.full(n_s, 1 / n_s), rtol=0, atol=tol)
    np.testing.assert_allclose(plan.sum(0), np.full(n_t, 1 / n_t), rtol=0, atol=tol)
    assert (plan >= 0).all()


def test_exact_in_one_dimension_is_sorting():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=20), rng.normal(size=20) + 1
    expected = np.zeros((20, 20))
    expected[np.argsort(x), np.argsort(y)] = 1 / 20
    np.testing.assert_allclose(exact_plan((x[:, None] - y) ** 2), expected, atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 7), (1, 5), (5, 1), (1, 1), (8, 3)])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20, -1.0])
def test_exact_is_the_linear_program(shape, scale):
    cost = random_cost(*shape)
    plan = exact_plan(scale * cost)
    assert_marginals(plan)
    assert (plan * cost).sum() * np.sign(scale) == pytest.approx(linear_program(np.sign(scale) * cost), rel=1e-10)


def test_sinkhorn_is_the_scaled_kernel_with_the_right_sums():
    cost, reg = random_cost(6, 7), 0.2
    plan = sinkhorn_plan(cost, reg, tol=1e-12)
    assert_marginals(plan, 1e-11)
    kernel, v = np.exp(-cost / reg), np.ones(7)
    for _ in range(2000):
        u = 1 / 6 / (kernel @ v)
        v = 1 / 7 / (kernel.T @ u)
    np.testing.assert_allclose(plan, u[:, None] * kernel * v, rtol=1e-9)


def test_sinkhorn_holds_where_the_kernel_underflows():
    cost = 1000.0 + 100.0 * random_cost(6, 7)
    cost[2] += 1000.0  # an outlier: its row of the kernel is 0 even after the columns' least costs are taken off
    cost[:, 3] += 1000.0
    plan = sinkhorn_plan(cost, 0.5, max_iter=20_000)
    assert_marginals(plan, 1e-8)
    assert (plan * cost).sum() == pytest.approx(linear_program(cost), rel=1e-3)


def test_sinkhorn_says_that_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3 .* Raise max_iter or reg \(now 0.001\)"):
        plan = sinkhorn_plan(random_cost(6, 7), 1e-3, max_iter=3)
    np.testing.assert_allclose(plan.sum(1), 1 / 6)


@pytest.mark.parametrize("max_iter", range(18, 26))  # among them one whose last scaling is absorbed
def test_sinkhorn_keeps_its_row_sums_wherever_it_stops(max_iter):
    cost = np.random.default_rng(0).uniform(size=(12, 9))
    with pytest.warns(ConvergenceWarning):
        plan = sinkhorn_plan(cost, 0.01, max_iter=max_iter, tol=1e-14)
    np.testing.assert_allclose(plan.sum(1), 1 / 12, rtol=1e-12)


def test_group_lasso_is_the_minimum_of_its_objective():
    cost, labels, reg, group_reg = random_cost(4, 3), np.array([0, 1, 0, 1]), 0.1, 0.3
    plan = group_lasso_plan(cost, labels, reg, group_reg, outer_tol=1e-9, max_outer_iter=3000)
    assert_marginals(plan, 1e-8)
    sums = [{"type": "eq", "fun": lambda p: p.reshape(4, 3).sum(1) - 1 / 4}]
    sums += [{"type": "eq", "fun": lambda p: p.reshape(4, 3).sum(0)[:2] - 1 / 3}]
    best = minimize(
        lambda p: group_objective(p.reshape(4, 3), cost, labels, reg, group_reg),
        np.full(12, 1 / 12),
        bounds=[(1e-12, 1)] * 12,
        constraints=sums,
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert best.success
    assert group_objective(plan, cost, labels, reg, group_reg) == pytest.approx(best.fun, abs=1e-7)
    np.testing.assert_allclose(plan, best.x.reshape(4, 3), atol=1e-4)


def test_group_lasso_gathers_the_mass_of_one_class():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 15)
    source = rng.normal(size=(30, 2)) + 2.0 * labels[:, None]
    target = rng.normal(size=(31, 2)) + 2.0 * (np.arange(31) % 2)[:, None] + [0.0, 1.0]
    cost = ((source[:, None] - target) ** 2).sum(-1)
    cost /= cost.max()

    def mixing(plan: np.ndarray) -> float:  # of a target row's mass, the part from the class that gives less
        by_class = np.stack([plan[labels == c].sum(0) for c in (0, 1)])
        return float((by_class.min(0) / by_class.sum(0)).mean())

    mixed = [mixing(group_lasso_plan(cost, labels, 0.05, group_reg)) for group_reg in (0.0, 0.1, 0.5, 2.0)]
    assert mixed == sorted(mixed, reverse=True)
    assert mixed[-1] < 0.7 * mixed[0]
    np.testing.assert_allclose(group_lasso_plan(cost, labels, 0.05, 0.0), sinkhorn_plan(cost, 0.05), atol=1e-12)


def test_group_lasso_does_not_depend_on_the_names_or_order_of_classes():
    cost, labels = random_cost(8, 5), np.array([0, 1, 2, 0, 1, 2, 0, 0])
    plan = group_lasso_plan(cost, labels, 0.1, 0.2)
    np.testing.assert_allclose(group_lasso_plan(cost, np.array(list("cabcabcc")), 0.1, 0.2), plan, atol=1e-6)
    assert np.abs(group_lasso_plan(cost, labels[::-1], 0.1, 0.2) - plan).max() > 1e-4


def test_group_lasso_says_that_it_has_not_converged():
    cost, labels = random_cost(12, 9), np.arange(12) % 3
    with pytest.warns(ConvergenceWarning, match=r"max_outer_iter=1 steps the duality gap .* lower group_reg"):
        group_lasso_plan(cost, labels, 0.02, 5.0, max_outer_iter=1)
    with pytest.warns(ConvergenceWarning, match="a Sinkhorn of max_iter=2 scalings left the column sums off"):
        group_lasso_plan(cost, labels, 0.01, 0.0, max_iter=2)


def test_errors_are_sentences():
    cost = random_cost(3, 4)
    with pytest.raises(ValueError, match=r"exact_plan needs a cost of shape \(source rows, target rows\); got \(3,\)"):
        exact_plan(cost[:, 0])
    with pytest.raises(ValueError, match=r"got \(0, 4\)"):
        exact_plan(cost[:0])
    broken = cost.copy()
    broken[1, 2] = np.nan
    with pytest.raises(
        NonFiniteError, match="sinkhorn_plan got NaN or inf in the cost: 1 of 3 rows, the first is row 1"
    ):
        sinkhorn_plan(broken, 1.0)
    with pytest.raises(ValueError, match=r"within max_iter=1 pivots .*Raise max_iter"):
        exact_plan(random_cost(60, 60), max_iter=1)
    with pytest.raises(ValueError, match="sinkhorn_plan needs a finite reg > 0; got 0"):
        sinkhorn_plan(cost, 0)
    with pytest.raises(ValueError, match="finite tol > 0"):
        sinkhorn_plan(cost, 1.0, tol=-1.0)
    with pytest.raises(ValueError, match=r"one label for each source row, shape \(3,\); got \(4,\)"):
        group_lasso_plan(cost, [0, 1, 0, 1], 1.0, 1.0)
    with pytest.raises(ValueError, match="finite group_reg >= 0; got -1"):
        group_lasso_plan(cost, [0, 1, 0], 1.0, -1.0)
