"""Optimal transport for domain adaptation: source rows are carried onto the target by a transport plan."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..shared.callers import outside
from ..shared.checks import nearest
from ..shared.estimator import AdaptingTransformer
from ..shared.host_memory import check_pairs
from .plans import ENTROPIC_COPIES, EXACT_COPIES, exact_plan, group_lasso_plan, sinkhorn_plan

__all__ = ["OTDA"]

SOLVERS = ("exact", "sinkhorn", "group_lasso")
NORMS = ("robust", "max", "median")
OUTLYING = 4.0  # medians: among normal rows in 10 and more dimensions few squared distances, if any, are larger
LEFT_OF_SPREAD, LEFT_OF_CLASSES = 0.15, 0.25  # of the spread, and of the variance between classes: less is lost
APART = 0.02  # of the variance between the source's classes: less is hardly there to be lost
FEW = 20  # rows, of which no spread is judged


class OTDA(AdaptingTransformer):
    r"""Moves each source row to the mean of the target rows that a transport plan sends it to.

    .. math:: \hat X_s = \mathrm{diag}(\gamma 1)^{-1} \gamma X_t, \qquad
        \gamma = \arg\min_{\gamma \in \Pi} \langle \gamma, C \rangle + \lambda \sum_{ij} \gamma_{ij} \log \gamma_{ij}
        + \eta \sum_j \sum_c \| \gamma(I_c, j) \|_2, \quad C_{ij} = \frac{\|x^s_i - x^t_j\|^2}{\nu}

    with uniform weights on the rows of each domain, so that :math:`\hat X_s = n_s \gamma X_t`. ``solver="exact"`` has
    lambda = eta = 0, ``"sinkhorn"`` has eta = 0, and ``"group_lasso"``, with I_c the source rows of class c, has both:
    the convex l1-l2 regulariser.

    A source row that ``fit`` has not seen moves as its nearest source row moved: x becomes x + (x_hat_k - x_k). Target
    rows stay as they are.

    Args:
        solver: ``"exact"``, ``"sinkhorn"`` or ``"group_lasso"`` (needs integer or string labels of the source rows).
        reg: lambda > 0, in units of the normalised cost; not read by ``"exact"``.
        group_reg: eta >= 0, in units of the normalised cost; read by ``"group_lasso"`` alone.
        norm: nu, so that ``reg`` does not depend on the features' scale: ``"max"`` or ``"median"`` of the squared
            distances, ``"robust"``, the smaller of the largest and four times the median, or None for 1, as in the
            paper. Where no distance is outlying, as among features in many dimensions, ``"robust"`` is the largest.
            A few long rows (of word counts, say) make the largest fifty times the median, and in its units every other
            cost is next to nothing, so that an entropic plan sends each source row to the mean of the target.
        max_iter: scalings of a Sinkhorn, or pivots of the exact solver; None for 1000 and 10,000,000.
        tol: violation of the column sums at which a Sinkhorn has converged.
        max_outer_iter: steps of the conditional gradient of ``"group_lasso"``.

    Attributes:
        plan_: gamma, (n_s, n_t), source and target rows in the order in which they stood in X.
        cost_scale_: nu.
        source_: the source rows, (n_s, d).
        displacement_: how each of them moves, (n_s, d).

    Warns:
        ConvergenceWarning: by ``fit``, if a solver has not converged, with what to change.
        UserWarning: by ``fit``, if the moved source rows have less than 0.15 of the target's spread (the root of the
            total variance), or the classes less than a quarter of the share of the variance between them that they had,
            with what to change.

    Raises:
        ValueError: by ``fit``, for unknown or non-positive settings, or a group lasso without source labels.

    Source: Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017),
    the sections on the barycentric mapping and on group-sparse regularisation; Ferradans, Papadakis, Peyre and Aujol,
    Regularized Discrete Optimal Transport, SIAM J. Imaging Sci. 7 (2014), for rows that were not seen.

    >>> X, y, sample_domain = lb.pack([[0.0], [1.0]], [0, 1], [[11.0], [10.0]])
    >>> OTDA().fit(X, y, sample_domain).transform([[0.1], [1.1]], sample_domain=[1, 1]).round(6).tolist()
    [[10.1], [11.1]]
    """

    def __init__(
        self,
        solver: str = "exact",
        *,
        reg: float = 0.05,
        group_reg: float = 0.1,
        norm: str | None = "robust",
        max_iter: int | None = None,
        tol: float = 1e-9,
        max_outer_iter: int = 200,
    ) -> None:
        self.solver = solver
        self.reg = reg
        self.group_reg = group_reg
        self.norm = norm
        self.max_iter = max_iter
        self.tol = tol
        self.max_outer_iter = max_outer_iter

    def _check_settings(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError("OTDA: " + nearest("solver", self.solver, SOLVERS))
        if self.norm is not None and self.norm not in NORMS:
            raise ValueError("OTDA: " + nearest("norm", self.norm, [*NORMS, "None"]))
        counts = {"max_outer_iter": self.max_outer_iter}
        if self.max_iter is not None:
            counts["max_iter"] = self.max_iter
        for name, count in counts.items():
            if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
                raise ValueError(f"OTDA needs {name} as a whole number >= 1; got {count!r}.")
        for name, value, zero in (
            ("reg", self.reg, False),
            ("tol", self.tol, False),
            ("group_reg", self.group_reg, True),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise TypeError(f"OTDA needs {name} as a number; got {type(value).__name__}.")
            if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
                raise ValueError(
                    f"OTDA needs a finite {name} {'>=' if zero else '>'} 0; got {value}. "
                    "For a plan without entropy use solver='exact'."
                )

    def _adapt(self, source: NDArray[Any], target: NDArray[Any], labels: NDArray[Any] | None) -> None:
        from scipy.spatial.distance import cdist

        if self.solver == "group_lasso":
            _check_classes(labels)
        source, target = source.astype(np.float64), target.astype(np.float64)
        copies = 2 + (EXACT_COPIES if self.solver == "exact" else ENTROPIC_COPIES)  # the cost in two units
        instead = "Draw fewer rows of each domain, or align by CORAL, which needs no matrix of both."
        check_pairs("OTDA", len(source), len(target), copies=copies, instead=instead)
        cost = cdist(source, target, "sqeuclidean")  # (n_s, n_t)
        self.cost_scale_ = self._scale(cost)
        self.plan_ = self._solve(cost / self.cost_scale_, labels)
        self.source_ = source
        moved = self.plan_ @ target / self.plan_.sum(1, keepdims=True)
        self.displacement_ = moved - source
        self._check_moved(source, moved, target, labels)

    def _check_moved(
        self, source: NDArray[Any], moved: NDArray[Any], target: NDArray[Any], labels: NDArray[Any] | None
    ) -> None:
        """Warn where an entropic plan has carried the source rows onto one point, or its classes onto each other."""
        if self.solver == "exact" or len(moved) < FEW or len(target) < FEW:
            return
        spread, before = math.sqrt(moved.var(0).sum()), math.sqrt(target.var(0).sum())
        remedy = f"Lower reg (now {self.reg:g})" + (", or use norm='robust'" if self.norm in ("max", None) else "")
        if spread < LEFT_OF_SPREAD * before:
            warnings.warn(
                f"OTDA has moved the source rows close to one point: their spread is {spread:.3g}, where the target's "
                f"is {before:.3g}. What is learned on them says little. {remedy}, or use solver='exact'.",
                UserWarning,
                stacklevel=outside(),
            )
            return
        had, has = (_between_classes(rows, labels) for rows in (source, moved))
        if had > APART and has < LEFT_OF_CLASSES * had:
            warnings.warn(
                f"OTDA has moved the source's classes onto each other: {has:.1%} of the variance lies between them, "
                f"where it was {had:.1%}. {remedy}, or use solver='group_lasso', which keeps classes apart.",
                UserWarning,
                stacklevel=outside(),
            )

    def _scale(self, cost: NDArray[np.float64]) -> float:
        if self.norm is None:
            return 1.0
        scale = float(np.median(cost) if self.norm == "median" else cost.max())
        if self.norm == "robust" and self.solver != "exact" and (median := float(np.median(cost))) > 0:
            scale = min(scale, OUTLYING * median)
        return scale if scale > 0 else 1.0  # equal points cost nothing in any unit

    def _solve(self, cost: NDArray[np.float64], labels: NDArray[Any] | None) -> NDArray[np.float64]:
        if self.solver == "exact":
            return exact_plan(cost) if self.max_iter is None else exact_plan(cost, max_iter=self.max_iter)
        scalings = 1000 if self.max_iter is None else self.max_iter
        if self.solver == "sinkhorn":
            return sinkhorn_plan(cost, self.reg, max_iter=scalings, tol=self.tol)
        assert labels is not None
        return group_lasso_plan(
            cost,
            labels,
            self.reg,
            self.group_reg,
            max_iter=scalings,
            tol=self.tol,
            max_outer_iter=self.max_outer_iter,
        )

    def _move(self, source: NDArray[Any]) -> NDArray[Any]:
        from sklearn.metrics import pairwise_distances_argmin

        seen = pairwise_distances_argmin(source.astype(np.float64), self.source_)  # (n,)
        return np.asarray(source + self.displacement_[seen])

    def _move_fitted(self, source: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(source + self.displacement_)  # equal rows may be sent to different places


def _between_classes(rows: NDArray[np.float64], labels: NDArray[Any] | None) -> float:
    """The share of the variance that lies between the classes, less what chance makes of it; 0 without classes."""
    if labels is None or labels.dtype.kind not in "iubUSO":
        return 0.0
    classes, members = np.unique(labels, return_inverse=True)
    n, k = len(rows), len(classes)
    if k < 2 or n - k < FEW:
        return 0.0
    one_hot = np.eye(k)[members]  # (n, k)
    means = (one_hot.T @ rows) / one_hot.sum(0)[:, None]
    within, total = np.square(rows - means[members]).sum(), np.square(rows - rows.mean(0)).sum()
    return 1.0 - float(within / total) * (n - 1) / (n - k) if total > 0 else 0.0


def _check_classes(labels: NDArray[Any] | None) -> None:
    if labels is None:
        raise ValueError(
            "OTDA(solver='group_lasso') groups source rows by class and needs their labels; got y=None. Pass "
            "fit(X, y, sample_domain), or use solver='sinkhorn'."
        )
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.round(labels))).all():
        raise ValueError(
            "OTDA(solver='group_lasso') needs class labels for the source rows; got values that are no whole numbers. "
            "For regression use solver='sinkhorn'."
        )
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"OTDA(solver='group_lasso') needs source rows of at least 2 classes; got only {classes.tolist()}. "
            "Use solver='sinkhorn'."
        )
