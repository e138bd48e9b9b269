"""Is the target the source's own classes in other proportions? Label shift alone, tested without target labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import full_precision
from ..shared.labels import number_labels
from ..shared.seeds import generator
from ..shared.style import GREY, TARGET, axes, styled
from .blocks import centre_, pooled_bandwidth
from .copies import find_copies
from .inputs import as_class_numbers, as_pair, in_range
from .results import TwoSampleTest
from .rows import is_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MixtureTest", "mixture_test", "most_classes"]

FREQUENCIES = 512  # of the random features: the kernel's error is some 1 / sqrt(512), the same for both domains
BANDWIDTH_ROWS = 1000  # pooled rows that the median distance is taken over
BLOCK = 4096  # rows whose random features are held at once
LEAST = 2  # rows a class needs for a variance of its own
HEAVY = 100.0  # a row of least squares that holds the sum at one; features have length one
ROUNDING = 1e-10  # squared distances of features of length one; chance alone makes 1 / n
TIE_BREAK = 1e-8  # moves no proportion that the means determine


@dataclass(frozen=True, eq=False)
class MixtureTest:
    """The outcome of a test of "the target is a mixture of the source's classes".

    Attributes:
        test: statistic, p-value and draws of the null.
        proportions: of the source's classes in the mixture nearest to the target, (k,), sum 1; 0 for classes left out.
        source_proportions: of the source itself, (k,).
        explained: the share of the squared distance of the domains that vanishes when the source takes these
            proportions; about 1 if label shift is all there is, NaN if there is no distance to explain.
    """

    test: TwoSampleTest
    proportions: NDArray[np.float64]
    source_proportions: NDArray[np.float64]
    explained: float

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The statistic, on the histogram of what it is where proportions are all that differs."""
        ax = axes(ax)
        null, p_value = self.test.null, self.test.p_value
        ax.hist(null, bins=min(40, max(10, len(null) // 10)), color=GREY, label=f"drawn ({len(null)} times)")
        ax.axvline(self.test.statistic, color=TARGET, linewidth=2, label="observed")
        ax.set_xlabel("squared distance from every mixture of the source's classes")
        ax.set_ylabel("draws")
        below = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
        reading = (
            "more than class proportions has changed" if p_value <= 0.05 else "class proportions may be the reason"
        )
        ax.set_title(f"{self.test.name}: {below}\n{reading}")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return ax


def most_classes() -> int:
    """How many classes :func:`mixture_test` takes: the plane of more fills the space of its random features."""
    return 2 * FREQUENCIES


@full_precision
def mixture_test(
    source: Any, source_classes: Any, target: Any, *, draws: int = 400, seed: int = 0, classes: int | None = None
) -> MixtureTest:
    r"""Test whether some proportions q of the source's classes make the target's distribution.

    Under label shift alone :math:`P_t(x) = \sum_y q_y P_s(x \mid y)`. With the mean embeddings
    :math:`\hat\mu_t` and :math:`\hat\mu_y` of the target and of the source's classes, the statistic is the squared
    distance of the target from the plane through the classes' means,

    .. math:: T = \Big\| \Pi \big(\hat\mu_t - \sum_y \hat q_y \hat\mu_y\big) \Big\|^2, \qquad
        \hat q = \arg\min_{q \in \Delta} \Big( \Big\| \hat\mu_t - \sum_y q_y \hat\mu_y \Big\|^2
        - \sum_y q_y^2 \hat v_y \Big)

    with :math:`\hat v_y` the squared length that chance alone gives to a class's mean, and
    :math:`\Pi` that takes out every direction :math:`\hat\mu_y - \hat\mu_{y'}`: what an error in q could do is gone
    before it is tested. The null distribution is drawn with random signs :math:`\varepsilon` on the rows,

    .. math:: T^* = \Big\| \Pi \Big(\frac1{n_t} \sum_j \varepsilon_j c_t (\phi(x^t_j) - \hat\mu_t)
        - \sum_y \frac{\hat q_y}{n_y} \sum_{i: y_i = y} \varepsilon_i c_y (\phi(x^s_i) - \hat\mu_y)\Big) \Big\|^2,
        \quad c^2 = \frac{n}{n - 1}

    so the level holds for many rows a class, and approximately for few. The features :math:`\phi` are random Fourier
    features of the Gaussian kernel at the pooled median distance; memory is O(n), the rows pass in blocks. There are
    1024 of them, so no more than 1024 classes are taken: the plane of more leaves nothing to be tested.

    Args:
        source: rows of the source, (n_s, d).
        source_classes: their labels, (n_s,), of any kind, numbered in sorted order; with ``classes`` class numbers from
            0. Classes of fewer than 2 rows are left out, and said so.
        target: rows of the target, (n_t, d), without labels.
        draws: of the null distribution.
        seed: of frequencies and signs.
        classes: k; as many as occur if left out.

    Raises:
        ValueError: for wrong shapes, NaN, fewer than two classes of two rows or more than 1024, or fewer than 19 draws.

    Source: proportions by matching mean embeddings as in Zhang et al., Domain Adaptation under Target and Conditional
    Shift, ICML 2013, section 3, for finitely many classes; the signs are a wild bootstrap (Leucht and Neumann,
    Dependent wild bootstrap for degenerate U- and V-statistics, 2013). Taking the plane out is our own.

    >>> x = np.random.default_rng(0).normal(size=(200, 2)); y = np.arange(200) % 2; x[y == 1] += 4
    >>> more_of_class_1 = np.concatenate([x[1:100:2], x[100:120:2]]) + 0.01
    >>> found = mixture_test(x, y, more_of_class_1)
    >>> bool(found.proportions[1] > 0.7), found.test.rejects()
    (True, False)
    """
    x, z = as_pair("mixture_test", source, target)
    if classes is None:
        known, y = number_labels("mixture_test", "source_classes", source_classes, rows=len(x))
        classes = len(known)
    else:
        y = as_class_numbers("mixture_test", "source_classes", source_classes, len(x), classes=classes)
    if not is_whole(draws) or draws < 19:
        raise ValueError(
            f"mixture_test needs at least 19 draws for a p-value of 0.05, a whole number; got draws={draws!r}."
        )
    k = classes
    copies = find_copies(x, z, seed=seed)
    if copies.left_out:
        x, y, z = x[copies.source_rows], y[copies.source_rows], z[copies.target_rows]
    counts = np.bincount(y, minlength=k)
    there = np.flatnonzero(counts >= LEAST)
    if len(there) < 2:
        raise ValueError(
            f"mixture_test needs two classes of at least {LEAST} rows in the source; got counts {counts.tolist()}. "
            "Pass more labelled rows, or leave this test out: one class has no proportions."
        )
    if len(there) > most_classes():
        raise ValueError(
            f"mixture_test takes at most {most_classes()} classes; got {len(there)}: their mixtures fill the space of "
            "the random features, and nothing would be left to test. Group classes, or test some of them."
        )
    x, z, _ = in_range(x, z)
    kept = np.isin(y, there)
    note = "random features; the level is approximate"
    note += f"; {copies.note}" if copies.note else ""
    if not kept.all():
        note += f"; left out {k - len(there)} classes with fewer than {LEAST} source rows"
    rows = x[torch.as_tensor(kept, device=x.device)]
    classes_of_rows = torch.as_tensor(np.searchsorted(there, y[kept]), device=x.device)
    found = _Embedded(rows, classes_of_rows, z, len(there), seed)
    q = found.nearest_mixture()
    statistic, null = found.distance_to_plane(q, draws, seed)
    before = found.squared_distance(found.counts / found.counts.sum())
    explained = 1 - found.squared_distance(q) / before if before > ROUNDING else math.nan
    p_value = (1 + int((null >= statistic - ROUNDING).sum())) / (1 + draws)
    proportions = np.zeros(k)
    proportions[there] = q.cpu().numpy()
    return MixtureTest(
        test=TwoSampleTest("mixture test", statistic, p_value, len(rows), len(z), null, note),
        proportions=proportions,
        source_proportions=counts / counts.sum(),
        explained=explained,
    )


class _Embedded:
    """Mean embeddings of the target and of the source's classes, by random features that pass in blocks."""

    def __init__(self, x: Tensor, y: Tensor, z: Tensor, k: int, seed: int) -> None:
        self.x, self.y, self.z, self.k = x, y, z, k
        stream = generator("mixture_test", seed)
        self.centre = x.mean(0)  # cosines of large numbers would lose digits
        scale = math.sqrt(2 / self._bandwidth(stream))
        normal = torch.randn(x.shape[1], FREQUENCIES, generator=stream, dtype=torch.float32)
        self.frequencies = (normal * scale).to(x)
        self.counts = torch.bincount(y, minlength=k).double()
        size = 2 * FREQUENCIES
        sums = torch.zeros(k, size, dtype=torch.float64, device=x.device)
        for _, block, of in self._blocks(x, y):
            sums.index_add_(0, of, block.double())
        self.classes = sums / self.counts[:, None]  # (k, 2 D)
        self.target = torch.zeros(size, dtype=torch.float64, device=x.device)
        for _, block, _ in self._blocks(z, None):
            self.target += block.double().sum(0) / len(z)
        # what chance alone makes of a mean's squared length; features have length one
        self.noise = (1 - self.classes.square().sum(1)) / (self.counts - 1)
        self.target_noise = float(1 - self.target.square().sum()) / (len(z) - 1)

    def _bandwidth(self, stream: torch.Generator) -> float:
        """That of the kernel test, of fewer rows."""
        n = len(self.x) + len(self.z)
        chosen = torch.randperm(n, generator=stream)[:BANDWIDTH_ROWS].to(self.x.device)
        of_source = chosen[chosen < len(self.x)]
        of_target = chosen[chosen >= len(self.x)] - len(self.x)
        return pooled_bandwidth(centre_(torch.cat([self.x[of_source], self.z[of_target]])))

    def _features(self, rows: Tensor) -> Tensor:
        angles = (rows - self.centre) @ self.frequencies
        return torch.cat([angles.cos(), angles.sin()], 1) / math.sqrt(FREQUENCIES)

    def _blocks(self, rows: Tensor, classes: Tensor | None) -> Iterator[tuple[int, Tensor, Any]]:
        for start in range(0, len(rows), BLOCK):
            of = None if classes is None else classes[start : start + BLOCK]
            yield start, self._features(rows[start : start + BLOCK]), of

    def nearest_mixture(self) -> Tensor:
        """q on the simplex that minimises :meth:`squared_distance`.

        Without taking the noise of the classes' means out, q would be drawn to whatever mixes many of them. A matrix
        that noise leaves with negative eigenvalues gives way to the nearest without. One non-negative least-squares
        problem, the sum held at one by a heavy row; where classes cannot be told apart, q stays near the source's.
        """
        from scipy.optimize import nnls

        away = self.classes - self.target
        # (k, k), unbiased but for the one everywhere, which changes nothing where the sum is one, and without which the
        # eigenvalue of the best mixture would be about zero, and by chance below
        gram = away @ away.T - torch.diag(self.noise) + 1
        values, vectors = (part.cpu().numpy() for part in torch.linalg.eigh(gram))
        own = (self.counts / self.counts.sum()).cpu().numpy()
        root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        tie = math.sqrt(TIE_BREAK)
        rows = np.vstack([root, tie * np.eye(self.k), np.full((1, self.k), HEAVY)])
        q, _ = nnls(rows, np.concatenate([np.zeros(self.k), tie * own, [HEAVY]]))
        return torch.as_tensor(q / q.sum(), device=self.x.device)

    def squared_distance(self, q: Tensor) -> float:
        """Of the target's mean and the mixture's, less what noise alone adds: unbiased for a fixed q."""
        away = (self.target - q @ self.classes).square().sum()
        return float(away - (q.square() * self.noise).sum() - self.target_noise)

    def distance_to_plane(self, q: Tensor, draws: int, seed: int) -> tuple[float, NDArray[np.float64]]:
        """The statistic, and its draws under the null."""
        plane = torch.linalg.qr((self.classes[1:] - self.classes[:1]).T)[0]  # (2 D, k - 1)

        def outside(vectors: Tensor) -> Tensor:
            within: Tensor = (vectors @ plane) @ plane.T
            return vectors - within

        statistic = float(outside(self.target - q @ self.classes).square().sum())
        weights = q / self.counts * (self.counts / (self.counts - 1)).sqrt()
        each = math.sqrt(len(self.z) / (len(self.z) - 1)) / len(self.z)
        drawn = torch.zeros(draws, len(self.target), dtype=torch.float64, device=self.x.device)
        for name, rows, classes in (("source", self.x, self.y), ("target", self.z, None)):
            for start, block, of in self._blocks(rows, classes):
                stream = generator("mixture_test", seed, name, start)
                signs = torch.randint(0, 2, (draws, len(block)), generator=stream, dtype=torch.int8)
                signs = signs.to(block.device, block.dtype) * 2 - 1
                if of is None:
                    moved = (block - self.target.to(block)) * each
                else:
                    moved = (block - self.classes[of].to(block)) * -weights[of, None].to(block)
                drawn += (signs @ moved).double()
        null: NDArray[np.float64] = outside(drawn).square().sum(1).cpu().numpy()
        return statistic, null
