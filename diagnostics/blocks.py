"""Sums of a kernel over all pairs of rows, block by block: memory grows with the rows, never with their square."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..mmd.kernels import MultiGaussianKernel
from ..shared.seeds import generator

__all__ = [
    "BlockSums",
    "DomainSums",
    "KernelMeans",
    "Profile",
    "centre_",
    "domain_sums",
    "gaussian_profile",
    "kernel_means",
    "labellings",
    "negative_distance",
    "pool_for_distances",
    "pool_rows",
    "pooled_bandwidth",
    "quadratic_forms",
    "squared_blocks",
]

Profile = Callable[[Tensor], Tensor]
"""A kernel as a function of squared distances, element by element."""

BLOCK = {"cpu": 1024}  # rows: a block of float32 is 4 MiB, and its few copies stay in the processor's cache
BLOCK_ELSEWHERE = 8192  # a GPU needs larger ones to be busy
BANDWIDTH_ROWS = 2000  # the median of two million pairs is known to a fraction of a per cent
DOUBLE_UP_TO = 1024  # pooled rows: where it costs nothing, float64
COINCIDE = 1e-12  # in squares: more than the rounding of float32, and of sums in float64
LARGEST, SMALLEST = 1e15, 1e-15  # beyond them squares leave float32
KEPT = 1e-3  # of a squared distance: what rounding may change
SOME_ROWS, SHARE = 256, 0.05  # rows of each domain whose distances are asked, and the share that may be lost


class BlockSums(NamedTuple):
    """Sums over the pairs of distinct rows.

    Attributes:
        forms: sum over i != j of w_i k(z_i, z_j) w_j for each column of weights, (b,), float64 on the CPU.
        rows: sum over j != i of k(z_i, z_j), (n,), float64 on the CPU.
    """

    forms: Tensor
    rows: Tensor


class DomainSums(NamedTuple):
    """Sums of a kernel over pairs of distinct rows, one for each labelling, (b,), float64 on the CPU.

    Attributes:
        source: over ordered pairs of source rows.
        target: over ordered pairs of target rows.
        across: over all pairs of a source and a target row.
    """

    source: Tensor
    target: Tensor
    across: Tensor


class KernelMeans(NamedTuple):
    """Mean kernel values of two samples.

    Attributes:
        source: over pairs of distinct source rows.
        target: over pairs of distinct target rows.
        across: over all pairs of a source and a target row.
    """

    source: float
    target: float
    across: float

    @property
    def discrepancy(self) -> float:
        """The unbiased squared MMD: source + target - 2 across."""
        return self.source + self.target - 2 * self.across


def pool_rows(source: Tensor, target: Tensor) -> Tensor:
    """Both samples one below the other, moved to mean 0, (n_s + n_t, d).

    In float64 for up to 1024 rows, and where squares would leave the range of float32.

    >>> pool_rows(torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])).flatten().tolist()
    [-2.0, -1.0, 3.0]
    """
    rows = torch.cat([source, target])
    if rows.device.type in ("cpu", "cuda") and rows.dtype == torch.float32:
        low, high = rows.aminmax()
        size = max(abs(float(low)), abs(float(high)))
        if len(rows) <= DOUBLE_UP_TO or size > LARGEST or 0 < size < SMALLEST:
            rows = rows.double()
    return centre_(rows)


def pool_for_distances(source: Tensor, target: Tensor) -> Tensor:
    """As :func:`pool_rows`, and in float64 too where products of float32 would lose the distances of some rows.

    That is where rows lie far from the mean of all and near to each other: a small domain a thousand deviations away,
    or classes as far apart. Asked of 256 evenly spread rows of each domain; a twentieth of their pairs lost will do.

    >>> rows = torch.randn(2000, 3)
    >>> [pool_for_distances(rows, rows[:50] + apart).dtype for apart in (1.0, 1000.0)]
    [torch.float32, torch.float64]
    """
    rows = pool_rows(source, target)
    if rows.dtype != torch.float32 or rows.device.type == "mps":
        return rows
    lost = any(_lost(domain, torch.finfo(rows.dtype).eps) for domain in (rows[: len(source)], rows[len(source) :]))
    return pool_rows(source.double(), target.double()) if lost else rows


def _lost(domain: Tensor, eps: float) -> bool:
    some = domain[torch.linspace(0, len(domain) - 1, min(len(domain), SOME_ROWS)).long().to(domain.device)].double()
    _, _, squared = next(squared_blocks(some - some.mean(0), block=len(some)))
    lengths = some.square().sum(1)
    apart = squared > COINCIDE * lengths.max()
    lost = apart & (eps * (lengths[:, None] + lengths) > KEPT * squared)
    return int(lost.sum()) > SHARE * int(apart.sum())


def centre_(rows: Tensor) -> Tensor:
    """Move rows to mean 0, in place; a constant column becomes exactly 0, where its mean would leave rounding noise.

    >>> centre_(torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]))
    tensor([[ 0., -1.],
            [ 0.,  0.],
            [ 0.,  1.]])
    """
    low, high = rows.aminmax(dim=0)
    return rows.sub_(torch.where(low == high, low, rows.mean(0)))


def squared_blocks(rows: Tensor, *, block: int | None = None) -> Iterator[tuple[slice, slice, Tensor]]:
    """The squared distances of all pairs of rows, one block of the upper triangle after the other.

    Args:
        rows: (n, d), floating point; near mean 0, or the distances lose digits.
        block: rows a block; 1024 on the CPU, 8192 elsewhere.

    Yields:
        The slice of rows, the slice of columns (the same, or a later one), and their squared distances, which the
        caller may overwrite. The diagonal is exactly 0.

    >>> [(i.start, j.start, d.tolist()) for i, j, d in squared_blocks(torch.tensor([[0.0], [3.0]]), block=1)]
    [(0, 0, [[0.0]]), (0, 1, [[9.0]]), (1, 1, [[0.0]])]
    """
    size = block or BLOCK.get(rows.device.type, BLOCK_ELSEWHERE)
    norms = rows.square().sum(1)
    cuts = [slice(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
    for number, i in enumerate(cuts):
        for j in cuts[number:]:
            squared = norms[i, None] + norms[j]
            squared.addmm_(rows[i], rows[j].T, alpha=-2).clamp_(min=0)
            if i == j:
                squared.fill_diagonal_(0)
            yield i, j, squared


def quadratic_forms(rows: Tensor, weights: Tensor, profile: Profile, *, block: int | None = None) -> BlockSums:
    r"""All quadratic forms of a kernel matrix without its diagonal, in one pass over its blocks.

    .. math:: q_b = \sum_{i \ne j} w_{ib} \, \kappa(\|z_i - z_j\|^2) \, w_{jb}

    The kernel is computed once, whatever the number of columns: one column for each permutation of the domains, or
    for each bootstrap sample (with the counts of the rows as weights; pairs of a row with itself are then to be added
    as kappa(0) w_i^2). The matrix is symmetric, and so only its upper half is computed.

    Args:
        rows: (n, d), floating point, near mean 0; see :func:`pool_rows`.
        weights: (n, b), of any real dtype.
        profile: the kernel of squared distances, element by element; it may overwrite its argument.
        block: rows a block, see :func:`squared_blocks`.

    >>> quadratic_forms(torch.tensor([[0.0], [1.0], [3.0]]), torch.eye(3)[:, :2] + 1, lambda s: s)
    BlockSums(forms=tensor([48., 38.], dtype=torch.float64), rows=tensor([10.,  5., 13.], dtype=torch.float64))
    """
    weights = weights.to(rows)
    forms = torch.zeros(weights.shape[1], dtype=torch.float64)
    sums = torch.zeros(len(rows), dtype=torch.float64)
    product = weights.new_empty(0)
    wide = torch.float32 if rows.device.type == "mps" else torch.float64
    for i, j, squared in squared_blocks(rows, block=block):
        kernel = profile(squared)
        if i == j:
            kernel.fill_diagonal_(0)
            product = kernel @ weights[i]  # (block, b)
        else:
            product.addmm_(kernel, weights[j], alpha=2)  # once for (i, j) and once for (j, i)
            sums[j] += kernel.sum(0, dtype=wide).double().cpu()
        sums[i] += kernel.sum(1, dtype=wide).double().cpu()
        if j.stop == len(rows):
            forms += (weights[i] * product).sum(0).double().cpu()
    return BlockSums(forms, sums)


def kernel_means(source: Tensor, target: Tensor, profile: Profile, *, block: int | None = None) -> KernelMeans:
    """The mean of a kernel within the source, within the target and across, in blocks.

    Args:
        source: (n_s, d), floating point, at least 2 rows.
        target: (n_t, d), of the same dtype and device, at least 2 rows.
        profile: the kernel of squared distances: :func:`gaussian_profile`, :func:`negative_distance`, or your own.
        block: rows a block, see :func:`squared_blocks`.

    >>> kernel_means(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [5.0]]), negative_distance)
    KernelMeans(source=-1.0, target=-2.0, across=-3.5)
    """
    n_s, n_t = len(source), len(target)
    rows = pool_for_distances(source, target)
    sums = domain_sums(rows, labellings(n_s, n_t, 0, generator("none")), profile, block=block)
    s, t, across = (float(one[0]) for one in sums)
    return KernelMeans(s / (n_s * (n_s - 1)), t / (n_t * (n_t - 1)), across / (n_s * n_t))


def domain_sums(rows: Tensor, chosen: Tensor, profile: Profile, *, block: int | None = None) -> DomainSums:
    """The sums of a kernel within the source, within the target and across, for each labelling, in one pass.

    Args:
        rows: (n, d), floating point, near mean 0; see :func:`pool_rows`.
        chosen: which rows count as source, (n, b), boolean, as many in each column; see :func:`labellings`.
        profile: the kernel of squared distances, element by element; it may overwrite its argument.
        block: rows a block, see :func:`squared_blocks`.

    >>> rows, chosen = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[True], [True], [False]])
    >>> [float(one) for one in domain_sums(rows, chosen, negative_distance)]
    [-2.0, 0.0, -5.0]
    """
    # the smaller domain's sum is taken and the larger one's is what is left: the other way round, the few pairs of the
    # smaller would be the difference of sums a thousand times as large, and lose their digits
    few = 2 * int(chosen[:, 0].sum()) <= len(rows)
    marked = chosen if few else ~chosen
    sums = quadratic_forms(rows, marked, profile, block=block)
    smaller = sums.forms  # (b,)
    across = marked.T.cpu().double() @ sums.rows - smaller
    larger = sums.rows.sum() - smaller - 2 * across
    return DomainSums(smaller, larger, across) if few else DomainSums(larger, smaller, across)


def labellings(n_s: int, n_t: int, permutations: int, numbers: torch.Generator) -> Tensor:
    """Which rows count as source, (n_s + n_t, 1 + permutations), boolean: as they came, then permuted at random.

    >>> labellings(1, 2, 0, torch.Generator()).flatten().tolist()
    [True, False, False]
    """
    chosen = torch.zeros(1 + permutations, n_s + n_t, dtype=torch.bool)
    chosen[0, :n_s] = True
    for row in chosen[1:]:
        row[torch.randperm(n_s + n_t, generator=numbers)[:n_s]] = True
    return chosen.T


def pooled_bandwidth(rows: Tensor, *, seed: int = 0) -> float:
    """The median squared distance of all pairs of rows, or of 2000 rows drawn at random where there are more; float64.

    Which row is of which domain plays no part, so that a permutation test with it is exact. Where more than half of
    the pairs coincide (up to a millionth of the rows' median length) it is their mean, and 1 where all do. Medians on
    both sides: a few far rows, which move any mean, make no pairs coincide.

    Args:
        rows: (n, d), both domains, near mean 0; see :func:`pool_rows`.
        seed: of the rows drawn.

    >>> pooled_bandwidth(torch.tensor([[-1.0], [0.0], [1.0]]))
    1.0
    """
    if len(rows) > BANDWIDTH_ROWS:
        drawn = torch.randperm(len(rows), generator=generator("bandwidth", seed))[:BANDWIDTH_ROWS]
        rows = rows[drawn.to(rows.device)]
    if rows.device.type != "mps":  # in float32 a single far row would hide the median from the mean
        rows = rows.double()
    _, _, squared = next(squared_blocks(rows, block=len(rows)))
    above = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    pairs = squared[above[0], above[1]]
    median = float(pairs.median())
    if median > COINCIDE * float(rows.square().sum(1).median()):
        return median
    return float(pairs.mean()) or 1.0


def gaussian_profile(bandwidth: float, kernels: int = 5) -> Profile:
    """Gaussian kernels averaged, their bandwidths doubling: :class:`~landbridge.mmd.MultiGaussianKernel` of distances.

    >>> gaussian_profile(2.0, kernels=1)(torch.tensor([0.0, 2.0]))
    tensor([1.0000, 0.3679])
    """
    kernel = MultiGaussianKernel(bandwidth, kernels=kernels)
    return lambda squared: kernel.of_distances(squared, bandwidth)


def negative_distance(squared: Tensor) -> Tensor:
    """Minus the distance: the kernel whose discrepancy is the energy distance; overwrites its argument.

    >>> negative_distance(torch.tensor([4.0, 9.0]))
    tensor([-2., -3.])
    """
    return squared.sqrt_().neg_()
