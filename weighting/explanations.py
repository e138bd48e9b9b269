"""What explains the distance of two domains: other class proportions, features moved and scaled, or both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.seeds import generator
from .units import Units, blocks, drawn_in

__all__ = ["Explanations", "explanations"]

Array = NDArray[np.float64]
MOST_ROWS, MOST_NUMBERS, FEWEST_ROWS = 1000, 1 << 25, 100  # of each domain: of wide rows fewer are taken
NOISE = 0.6  # over the rows of the smaller domain: what is left between equal domains in the trials of the docs


class Explanations(NamedTuple):
    """Squared distances (MMD) of the target to the source, after what may have changed is undone.

    Attributes:
        none: as they are.
        proportions: the source's classes in the target's estimated proportions.
        moved: the target's features moved and scaled to the source's mean and variance.
        both: moved and scaled to those of the source in the estimated proportions, and compared with it.
        noise: what may be left of equal domains.
    """

    none: float
    proportions: float
    moved: float
    both: float
    noise: float

    @property
    def alone(self) -> bool:
        """Whether other proportions alone explain the distance: at least half of it, and not clearly less than moving
        and scaling does."""
        return self.proportions <= self.none / 2 and self.proportions <= max(self.moved, 0.0) + 2 * self.noise

    @property
    def beside(self) -> bool:
        """Whether they explain what moving and scaling leaves: with both, clearly less is left."""
        return self.both <= self.moved - self.noise


def explanations(
    source: Any, labels: NDArray[np.int64], target: Any, proportions: Array, *, seed: int = 0
) -> Explanations:
    r"""Compare what other class proportions explain with what moving and scaling each feature does.

    .. math:: \mathrm{MMD}^2_u(q) = q^T G q - 2 q^T g + t, \qquad
        G_{cd} = \overline{k(x^s_i, x^s_j)}_{y_i = c, y_j = d}, \; g_c = \overline{k(x^s_i, x^t_j)}_{y_i = c}, \;
        t = \overline{k(x^t_i, x^t_j)}

    without the diagonal terms in G and t, k a Gaussian kernel of the median squared distance within the source, on rows
    in the source's units drawn in beyond 3 deviations. A target in other proportions of the source's classes has the
    distance 0 under them; one whose features have another zero and another unit has it once these are undone, its
    predictions may have moved as far, and no classifier tells the two apart.

    Args:
        source: rows (n_s, ...), at most 1000 of which are used, drawn; fewer of wide ones.
        labels: their class numbers, (n_s,).
        target: rows (n_t, ...), likewise.
        proportions: q of the target, estimated, (k,).
        seed: of the draws.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), lemma 6, by class; the comparison is this
    project's (docs/label-shift.md).

    >>> rows = np.random.default_rng(0).normal(size=(400, 2)) + np.repeat([[0], [5]], 200, 0)
    >>> labels = np.repeat([0, 1], 200)
    >>> explanations(rows[::2], labels[::2], rows[1:220:2], np.array([10 / 11, 1 / 11])).alone
    True
    """
    k, width = len(proportions), int(np.prod(source.shape[1:]))
    most = max(FEWEST_ROWS, min(MOST_ROWS, MOST_NUMBERS // max(1, width)))
    of_source, of_target = (_drawn(len(rows), most, seed, name) for rows, name in ((source, "s"), (target, "t")))
    units = Units.of(source)
    x, y = (units.standardise(_read(rows, which)) for rows, which in ((source, of_source), (target, of_target)))
    known = torch.as_tensor(labels[of_source], dtype=torch.int64)
    p = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=k).double()
    one_hot = torch.nn.functional.one_hot(known, k).double()
    there = one_hot.sum(0) > 1  # a class of one drawn row has no pair
    p, q = (_on(mass, there) for mass in (p, torch.as_tensor(proportions, dtype=torch.float64)))
    within = _Source(drawn_in(x), one_hot)
    matched = [_matched(x, one_hot @ (mass / one_hot.sum(0).clamp(min=1)), y) for mass in (p, q)]
    return Explanations(
        none=within.distance(drawn_in(y), p),
        proportions=within.distance(drawn_in(y), q),
        moved=within.distance(drawn_in(matched[0]), p),
        both=within.distance(drawn_in(matched[1]), q),
        noise=NOISE / min(len(x), len(y)),
    )


class _Source:
    """The source's rows with their kernel, by class."""

    def __init__(self, rows: Tensor, one_hot: Tensor) -> None:
        self.rows, counts = rows, one_hot.sum(0)
        squared = torch.cdist(rows, rows).square()
        off = ~torch.eye(len(rows), dtype=torch.bool)
        self.bandwidth = float(squared[off].median()) if len(rows) > 1 else 0.0
        self.bandwidth = self.bandwidth or float(squared.mean()) or 1.0
        kernel = torch.exp(-squared / self.bandwidth).fill_diagonal_(0.0)
        pairs = torch.outer(counts, counts) - torch.diag(counts)
        self.gram = one_hot.T @ kernel @ one_hot / pairs.clamp(min=1)
        self.mean = one_hot / counts.clamp(min=1)  # (n, k): averages over a class

    def distance(self, target: Tensor, mass: Tensor) -> float:
        """MMD^2 of the target and the classes in these proportions."""
        n = len(target)
        cross = torch.exp(-torch.cdist(self.rows, target).square() / self.bandwidth).mean(1) @ self.mean
        within = torch.exp(-torch.cdist(target, target).square() / self.bandwidth).fill_diagonal_(0.0)
        return float(mass @ self.gram @ mass - 2 * mass @ cross + within.sum() / max(1, n * (n - 1)))


def _matched(source: Tensor, weights: Tensor, target: Tensor) -> Tensor:
    """The target with the mean and variance, feature by feature, of the source so weighted."""
    mean = weights @ source
    std = (weights @ (source - mean).square()).sqrt()
    its = target.std(0, correction=0)
    return (target - target.mean(0)) / torch.where(its > 0, its, torch.ones_like(its)) * std + mean


def _on(mass: Tensor, there: Tensor) -> Tensor:
    kept = torch.where(there, mass, torch.zeros_like(mass))
    return kept / kept.sum().clamp(min=torch.finfo(torch.float64).tiny)


def _drawn(n: int, most: int, seed: int, name: str) -> NDArray[np.int64]:
    if n <= most:
        return np.arange(n)
    rows = torch.randperm(n, generator=generator("explanations", seed, name))[:most]
    return np.asarray(rows.sort().values.numpy())


def _read(domain: Any, rows: NDArray[np.int64]) -> Tensor:
    some = domain[torch.as_tensor(rows)] if isinstance(domain, Tensor) else domain[rows]
    return torch.cat([block for _, block in blocks(some)])
