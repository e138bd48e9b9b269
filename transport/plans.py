"""Transport plans between uniform weights on the host, by POT: exact, entropic, and entropic with a group lasso."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..shared.callers import outside
from ..shared.checks import NonFiniteError
from ..shared.host_memory import check_pairs

__all__ = ["exact_plan", "group_lasso_plan", "sinkhorn_plan"]

Plan = NDArray[np.float64]
EXACT_COPIES, ENTROPIC_COPIES = 8, 5  # matrices of the cost's size held beside it: POT's arcs, kernels and plans


def exact_plan(cost: ArrayLike, *, max_iter: int = 10_000_000) -> Plan:
    r"""The plan of least cost between uniform weights, by POT's network simplex (``ot.emd``).

    .. math:: \gamma = \arg\min_{\gamma \ge 0} \sum_{ij} \gamma_{ij} C_{ij}, \qquad
        \sum_j \gamma_{ij} = \frac{1}{n_s}, \quad \sum_i \gamma_{ij} = \frac{1}{n_t}

    Args:
        cost: C, (n_s, n_t); its scale and sign are free.
        max_iter: pivots of the simplex before it is given up.

    Returns:
        gamma, (n_s, n_t), float64, with at most n_s + n_t - 1 entries above 0.

    Raises:
        ValueError: if the cost is no matrix of finite numbers, or ``max_iter`` pivots did not reach the optimum.

    >>> exact_plan([[0.0, 1.0], [1.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    matrix = _check_cost("exact_plan", cost)
    _check_memory("exact_plan", matrix, EXACT_COPIES)
    return _exact_plan(matrix, max_iter)


def _exact_plan(cost: Plan, max_iter: int = 10_000_000) -> Plan:
    import ot

    scale = np.abs(cost).max()
    if scale > 0:
        cost = cost / scale  # the simplex compares with absolute tolerances
    a, b = _uniform(cost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the log says the same, and is read below
        plan, log = ot.emd(a, b, cost, numItermax=max_iter, log=True, center_dual=False)
    if log["warning"] is not None:
        raise ValueError(
            f"exact_plan did not reach the optimum of a {cost.shape[0]} x {cost.shape[1]} problem within "
            f"max_iter={max_iter} pivots ({str(log['warning']).strip()}). Raise max_iter, or use the Sinkhorn solver."
        )
    return np.asarray(plan, dtype=np.float64)


def sinkhorn_plan(cost: ArrayLike, reg: float, *, max_iter: int = 1000, tol: float = 1e-9) -> Plan:
    r"""The entropic plan between uniform weights, by POT's Sinkhorn with absorbed scalings.

    .. math:: \gamma = \arg\min_{\gamma \ge 0} \sum_{ij} \gamma_{ij} C_{ij} + \lambda \sum_{ij} \gamma_{ij} \log
        \gamma_{ij}, \qquad \sum_j \gamma_{ij} = \frac{1}{n_s}, \quad \sum_i \gamma_{ij} = \frac{1}{n_t}

    Args:
        cost: C, (n_s, n_t).
        reg: lambda > 0, in units of the cost. The smaller, the nearer to the exact plan, and the slower.
        max_iter: scalings of rows and columns.
        tol: Euclidean norm of the violation of the column sums at which it has converged.

    Returns:
        gamma, (n_s, n_t), float64, positive.

    Warns:
        ConvergenceWarning: if ``max_iter`` scalings leave a violation above ``tol``.

    Raises:
        ValueError: if the cost is no matrix of finite numbers, or ``reg`` is not above 0 or too small for float64.

    Source: Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1; Schmitzer, Stabilized Sparse Scaling Algorithms for
    Entropy Regularized Transport Problems, SIAM J. Sci. Comput. 41 (2019), for the absorption.

    >>> sinkhorn_plan([[0.0, 1.0], [1.0, 0.0]], reg=1.0).round(4).tolist()
    [[0.3655, 0.1345], [0.1345, 0.3655]]
    """
    matrix = _check_cost("sinkhorn_plan", cost)
    _check_memory("sinkhorn_plan", matrix, ENTROPIC_COPIES)
    _check_positive("sinkhorn_plan", reg=reg, max_iter=max_iter, tol=tol)
    scaled = _sinkhorn("sinkhorn_plan", matrix, reg, max_iter, tol)
    if scaled.violation > tol:
        _warn(
            f"sinkhorn_plan did not converge: after max_iter={max_iter} scalings the column sums are off by "
            f"{scaled.violation:.1e}, more than tol={tol:.1e}. Raise max_iter or reg (now {reg})."
        )
    return scaled.plan


class _Scaled(NamedTuple):
    plan: Plan
    reduced: Plan  # the cost less its dual potentials; the same plan solves it, and from near its end
    violation: float


def _sinkhorn(function: str, cost: Plan, reg: float, max_iter: int, tol: float) -> _Scaled:
    import ot

    # Least entries of 0 in every row and column change no plan, and no row of exp(-cost / reg) can underflow.
    cost = cost - cost.min(1, keepdims=True)
    cost = cost - cost.min(0, keepdims=True)
    a, b = _uniform(cost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what POT warns of is measured below
        plan, log = ot.sinkhorn(
            a, b, cost, reg, method="sinkhorn_stabilized", numItermax=max_iter, stopThr=tol, log=True
        )
    sums = plan.sum(1, keepdims=True)
    if not np.isfinite(plan).all() or (sums <= 0).any():
        raise ValueError(
            f"{function} lost all digits in float64: reg={reg} is too small for costs up to {cost.max():.3g}. "
            "Raise reg, normalise the cost, or use the exact solver."
        )
    plan = plan * (a[:, None] / sums)  # the last scaling is of the rows, also if POT absorbed it
    reduced = cost - log["alpha"][:, None] - log["beta"][None, :]
    return _Scaled(plan, reduced, float(np.linalg.norm(plan.sum(0) - b)))


def group_lasso_plan(
    cost: ArrayLike,
    labels: ArrayLike,
    reg: float,
    group_reg: float,
    *,
    max_iter: int = 1000,
    tol: float = 1e-9,
    max_outer_iter: int = 200,
    outer_tol: float = 1e-5,
) -> Plan:
    r"""The entropic plan in which each target row prefers to receive mass from source rows of one class.

    .. math:: \gamma = \arg\min_\gamma \sum_{ij} \gamma_{ij} C_{ij} + \lambda \sum_{ij} \gamma_{ij} \log \gamma_{ij}
        + \eta \sum_j \sum_c \| \gamma(I_c, j) \|_2, \qquad I_c = \{ i : y_i = c \}

    with uniform marginals. This is the paper's convex group lasso (l1 over groups, l2 within), not the concave
    variant of its conference version (POT's ``sinkhorn_lpl1_mm``). Solved by generalised conditional gradient: the
    group term is linearised, POT's Sinkhorn solves the rest, and the step is the minimum of the whole objective on the
    segment (``ot.optim.gcg`` of POT 0.9 leaves the entropy out of it, and stops short of the minimum). The duality gap
    bounds how far the plan is from the optimum.

    Args:
        cost: C, (n_s, n_t).
        labels: y, the classes of the source rows, (n_s,).
        reg: lambda > 0, in units of the cost.
        group_reg: eta >= 0, in units of the cost; 0 is Sinkhorn.
        max_iter, tol: of each Sinkhorn, as in :func:`sinkhorn_plan`.
        max_outer_iter: steps of the conditional gradient.
        outer_tol: the duality gap at which it has converged, relative to the spread (standard deviation) of the cost.

    Returns:
        gamma, (n_s, n_t), float64, positive.

    Warns:
        ConvergenceWarning: if a gap or violation remains after the given iterations.

    Raises:
        ValueError: for a wrong cost, number of labels, or setting.

    Source: Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017),
    the sections on group-sparse regularisation (p = 1, q = 2) and on the generalised conditional gradient.

    >>> group_lasso_plan([[0.0, 1.0], [1.0, 0.0]], [0, 1], reg=1.0, group_reg=0.0).round(4).tolist()
    [[0.3655, 0.1345], [0.1345, 0.3655]]
    """
    name = "group_lasso_plan"
    matrix = _check_cost(name, cost)
    _check_memory(name, matrix, ENTROPIC_COPIES + 3)
    _check_positive(name, reg=reg, max_iter=max_iter, tol=tol, max_outer_iter=max_outer_iter, outer_tol=outer_tol)
    if not math.isfinite(group_reg) or group_reg < 0:
        raise ValueError(f"{name} needs a finite group_reg >= 0; got {group_reg}.")
    classes = np.asarray(labels)
    if classes.shape != matrix.shape[:1]:
        raise ValueError(f"{name} needs one label for each source row, shape {matrix.shape[:1]}; got {classes.shape}.")
    _, members = np.unique(classes, return_inverse=True)
    return _group_lasso(
        matrix, np.eye(members.max() + 1)[members], reg, group_reg, max_iter, tol, max_outer_iter, outer_tol
    )


def _group_lasso(
    cost: Plan,
    groups: Plan,  # (n_s, k), one-hot
    reg: float,
    group_reg: float,
    max_iter: int,
    tol: float,
    max_outer_iter: int,
    outer_tol: float,
) -> Plan:
    def norms(plan: Plan) -> Plan:
        return np.asarray(np.sqrt(groups.T @ plan**2))  # (k, n_t)

    def smooth(plan: Plan) -> float:  # the part that Sinkhorn minimises; 0 log 0 = 0
        return float((cost * plan).sum() + reg * (plan * np.log(np.where(plan > 0, plan, 1.0))).sum())

    def objective(plan: Plan) -> float:
        return smooth(plan) + group_reg * float(norms(plan).sum())

    name = "group_lasso_plan"
    scaled = _sinkhorn(name, cost, reg, max_iter, tol)
    plan, worst, gap = scaled.plan, scaled.violation, math.inf
    threshold = outer_tol * max(float(cost.std()), np.finfo(np.float64).tiny)
    slope = np.zeros_like(cost)
    for _ in range(max_outer_iter if group_reg > 0 else 0):
        before, slope = slope, group_reg * plan / np.maximum(groups @ norms(plan), np.finfo(np.float64).tiny)
        scaled = _sinkhorn(name, scaled.reduced + (slope - before), reg, max_iter, tol)
        worst = max(worst, scaled.violation)
        step = scaled.plan - plan
        gap = smooth(plan) - smooth(scaled.plan) - float((slope * step).sum())
        if gap <= threshold:
            break
        plan = plan + _best_fraction(objective, plan, step) * step
    if group_reg > 0 and gap > threshold:
        _warn(
            f"{name} did not converge: after max_outer_iter={max_outer_iter} steps the duality gap is {gap:.1e}, more "
            f"than {threshold:.1e}. Raise max_outer_iter or reg (now {reg}), or lower group_reg (now {group_reg})."
        )
    if worst > tol:
        _warn(
            f"{name} did not converge: a Sinkhorn of max_iter={max_iter} scalings left the column sums off by "
            f"{worst:.1e}, more than tol={tol:.1e}. Raise max_iter or reg (now {reg})."
        )
    return plan


def _best_fraction(objective: Callable[[Plan], float], plan: Plan, step: Plan) -> float:
    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(lambda t: objective(plan + t * step), bounds=(0.0, 1.0), method="bounded").x)


def _uniform(cost: Plan) -> tuple[Plan, Plan]:
    n_s, n_t = cost.shape
    return np.full(n_s, 1.0 / n_s), np.full(n_t, 1.0 / n_t)


def _check_cost(function: str, cost: ArrayLike) -> Plan:
    matrix = np.asarray(cost, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{function} needs a cost of shape (source rows, target rows); got {matrix.shape}.")
    bad = np.flatnonzero(~np.isfinite(matrix).all(1))
    if bad.size:
        raise NonFiniteError(
            f"{function} got NaN or inf in the cost: {bad.size} of {len(matrix)} rows, the first is row {bad[0]}. "
            "Check the features and logits that it comes from."
        )
    return matrix


def _check_memory(function: str, cost: Plan, copies: int) -> None:
    n, m = cost.shape
    check_pairs(function, n, m, copies=copies, instead="Draw fewer rows of each domain: the plan is a matrix of both.")


def _check_positive(function: str, **settings: Any) -> None:
    for name, value in settings.items():
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{function} needs a finite {name} > 0; got {value}.")


def _warn(message: str) -> None:
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(message, ConvergenceWarning, stacklevel=outside())
