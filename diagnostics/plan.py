"""Whether optimal transport carries each class to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..shared.checks import full_precision, nearest
from ..shared.distances import squared_distances
from ..shared.host_memory import check_pairs
from ..shared.style import styled
from ..transport.plans import exact_plan, sinkhorn_plan
from .inputs import as_classes, as_pair
from .rows import check_count, choose_pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PlanByClass", "plan_by_class"]

Solver = Literal["exact", "sinkhorn"]
COPIES = {"exact": 9, "sinkhorn": 6}  # matrices of all pairs that are held at once, POT's own counted


@dataclass(frozen=True, eq=False)
class PlanByClass:
    """The mass that a transport plan moves between classes.

    Attributes:
        mass: from source class a to target class b, (k, k); sums to 1.
        classes: their names.
        cost: what the plan costs: the mean squared distance over which mass is moved.
        n_source: rows of the source used.
        n_target: rows of the target used.
        note: how it was computed, if not on all rows.
    """

    mass: NDArray[np.float64]
    classes: tuple[str, ...]
    cost: float
    n_source: int
    n_target: int
    note: str = ""

    @property
    def kept(self) -> float:
        """The share of the mass that arrives in its own class."""
        return float(np.trace(self.mass))

    @property
    def possible(self) -> float:
        """The share that could: classes of other proportions in the target have to give mass away."""
        return float(np.minimum(self.mass.sum(1), self.mass.sum(0)).sum())

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """Where the mass of each source class arrives, in percent of the class."""
        from .heat import heat_map

        sums = self.mass.sum(1, keepdims=True)
        shares = np.divide(self.mass, sums, out=np.zeros_like(self.mass), where=sums > 0)
        ax = heat_map(ax, 100 * shares, self.classes, self.classes)
        ax.set_xlabel("target class it is carried to")
        ax.set_ylabel("source class (rows sum to 100%)")
        ax.set_title(
            f"{100 * self.kept:.0f}% of the mass stays in its class\n"
            f"(at most {100 * self.possible:.0f}%, by the classes' proportions)"
        )
        return ax


@full_precision
def plan_by_class(
    source: Any,
    source_classes: Any,
    target: Any,
    target_classes: Any,
    *,
    classes: Sequence[str] | None = None,
    solver: Solver = "exact",
    reg: float = 0.05,
    most: int = 1000,
    seed: int = 0,
) -> PlanByClass:
    r"""The mass that the plan of optimal transport moves from each source class to each target class.

    .. math:: M_{ab} = \sum_{i : y^s_i = a} \; \sum_{j : y^t_j = b} \gamma_{ij}, \qquad
        \gamma = \arg\min_{\gamma \in \Pi} \sum_{ij} \gamma_{ij} \|x^s_i - x^t_j\|^2

    with uniform weights on the rows. Methods by transport (OTDA, DeepJDOT) label target rows along such a plan: what is
    off the diagonal, they learn wrongly. The target's classes are used after the plan is made, for the sums alone.

    Args:
        source: features of the source, (n, d) or (n, ...).
        source_classes: labels of any kind, (n,); with ``classes`` class numbers from 0, or these names.
        target: features of the target, (m, d).
        target_classes: labels of the target, (m,), likewise: true ones where they are known, predicted ones otherwise.
        classes: names, in the order of the class numbers.
        solver: ``"exact"``, or ``"sinkhorn"``, which spreads the mass.
        reg: entropy of the Sinkhorn plan, > 0, in units of the largest squared distance; not read by ``"exact"``.
        most: rows of each domain, at most; of more, so many are drawn: the plan is a matrix of both.
        seed: of the rows drawn.

    Raises:
        TypeError: for what are no numbers, or no class numbers.
        ValueError: for shapes that do not fit, NaN, numbers without a name, an unknown solver, or ``most`` below 2.

    Source: Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017),
    equation 4 (exact) and 6 (Sinkhorn); see :class:`~landbridge.transport.OTDA`.

    >>> moved = plan_by_class([[0.0], [1.0]], [0, 1], [[0.5], [9.0]], [0, 1])
    >>> moved.mass.tolist(), moved.kept, moved.cost
    ([[0.5, 0.0], [0.0, 0.5]], 1.0, 32.125)
    """
    name = "plan_by_class"
    if solver not in get_args(Solver):
        raise ValueError(f"{name}: " + nearest("solver", solver, get_args(Solver)))
    check_count(name, "most", most, 2)
    x, y = as_pair(name, source, target)
    given = {"source_classes": (source_classes, len(x)), "target_classes": (target_classes, len(y))}
    named, numbers = as_classes(name, given, classes)
    classes_s, classes_t, k = numbers["source_classes"], numbers["target_classes"], len(named)
    used = choose_pair(x, y, most, name, seed)
    n, m = len(used.source), len(used.target)
    check_pairs(name, n, m, copies=COPIES[solver], instead=f"Pass a smaller most; it is {most} now.")
    cost = squared_distances(used.source.double(), used.target.double()).cpu().numpy()  # (n_s, n_t)
    plan = exact_plan(cost) if solver == "exact" else sinkhorn_plan(cost / (cost.max() or 1.0), reg)
    groups_s, groups_t = np.eye(k)[classes_s[used.source_rows]], np.eye(k)[classes_t[used.target_rows]]
    return PlanByClass(
        mass=groups_s.T @ plan @ groups_t,
        classes=named,
        cost=float((plan * cost).sum()),
        n_source=len(used.source),
        n_target=len(used.target),
        note=used.note,
    )
