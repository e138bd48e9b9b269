"""Kernel and energy statistics in time linear in the rows: by random Fourier features, and by random projections."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["feature_discrepancies", "fourier_features", "frequencies", "projected_energies"]

BLOCK = 4096  # rows at once
LABELLINGS = 16  # at once


def frequencies(
    features: int, count: int, bandwidth: float, kernels: int, numbers: torch.Generator, like: Tensor
) -> Tensor:
    r"""Random frequencies of a ladder of Gaussian kernels, (d, count).

    .. math:: \omega \sim \mathcal N\left(0, \tfrac2{\gamma_u} I\right), \qquad
        \mathbb E \cos \langle \omega, x - y \rangle = \exp(-\|x - y\|^2 / \gamma_u)

    The bandwidths of the ladder (see :class:`~landbridge.mmd.MultiGaussianKernel`) take turns.

    Args:
        features: d.
        count: how many.
        bandwidth: gamma of the middle kernel, a squared distance.
        kernels: how many bandwidths, doubling.
        numbers: the generator, on the CPU.
        like: a tensor of the dtype and device wanted.

    Source: Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007, section 3.

    >>> frequencies(3, 10, 1.0, 5, torch.Generator(), torch.zeros(())).shape
    torch.Size([3, 10])
    """
    ladder = bandwidth * 2.0 ** (torch.arange(count, dtype=torch.float64) % kernels - kernels // 2)  # (count,)
    drawn = torch.randn(features, count, dtype=torch.float64, generator=numbers) * (2 / ladder).sqrt()
    return drawn.to(like)


def fourier_features(rows: Tensor, drawn: Tensor) -> Tensor:
    r"""Cosines and sines of the rows, (n, 2 count), whose inner products approximate the kernel; k(x, x) = 1 exactly.

    .. math:: \phi(x) = \frac1{\sqrt D} \left( \cos \langle \omega_1, x \rangle, \ldots, \sin \langle \omega_D, x
        \rangle \right)

    >>> w = frequencies(1, 1000, 2.0, 1, torch.Generator().manual_seed(0), torch.zeros(()))
    >>> phi = fourier_features(torch.tensor([[0.0], [1.0]]), w)
    >>> (phi @ phi.T).round(decimals=1)
    tensor([[1.0000, 0.6000],
            [0.6000, 1.0000]])
    """
    angles = rows @ drawn
    return torch.cat([angles.cos(), angles.sin()], 1) / math.sqrt(drawn.shape[1])


def feature_discrepancies(rows: Tensor, chosen: Tensor, drawn: Tensor) -> Tensor:
    r"""The unbiased squared MMD of the kernel that random features define, for each labelling, (b,), float64.

    .. math:: \frac{\|\sum_i \phi(x_i)\|^2 - n_s}{n_s (n_s - 1)} + \frac{\|\sum_j \phi(y_j)\|^2 - n_t}{n_t (n_t - 1)}
        - \frac2{n_s n_t} \left\langle \sum_i \phi(x_i), \sum_j \phi(y_j) \right\rangle

    Time O(n D (d + b)), memory O(n + D b): features are made and forgotten block by block.

    Args:
        rows: (n, d), both domains, near mean 0.
        chosen: (n, b), boolean: which rows each labelling counts as source.
        drawn: from :func:`frequencies`.

    Source: Zhao and Meng, FastMMD: Ensemble of Circular Discrepancy for Efficient Two-Sample Test, Neural Computation
    27 (2015); with permutations Choi and Kim, Computational-Statistical Trade-off in Kernel Two-Sample Testing with
    Random Fourier Features, arXiv:2407.08976 (2024).
    """
    n_s = int(chosen[:, 0].sum())
    n_t = len(rows) - n_s
    source = torch.zeros(chosen.shape[1], 2 * drawn.shape[1], dtype=torch.float64)
    total = torch.zeros(2 * drawn.shape[1], dtype=torch.float64)
    for start in range(0, len(rows), BLOCK):
        features = fourier_features(rows[start : start + BLOCK], drawn)
        source += (chosen[start : start + BLOCK].to(features).T @ features).double().cpu()
        total += features.sum(0).double().cpu()
    target = total - source
    within_source = (source.square().sum(1) - n_s) / (n_s * (n_s - 1))
    within_target = (target.square().sum(1) - n_t) / (n_t * (n_t - 1))
    return within_source + within_target - 2 / (n_s * n_t) * (source * target).sum(1)


def projected_energies(rows: Tensor, chosen: Tensor, projections: int, numbers: torch.Generator) -> Tensor:
    r"""The energy distance by random projections to one dimension, for each labelling, (b,), float64.

    .. math:: 2 c_d \, \frac1L \sum_{l=1}^L \int \left( F_{\theta_l}(u) - G_{\theta_l}(u) \right)^2 du, \qquad
        c_d = \frac{\sqrt\pi \, \Gamma((d+1)/2)}{\Gamma(d/2)}

    with directions theta uniform on the sphere: the mean of \|<theta, v>\| over them is \|v\| / c_d, so that this is an
    unbiased estimate of the energy distance of the two samples (over the directions), and exact for one feature. The
    integral over the empirical distribution functions needs one sort a direction. Time O(L n (d + log n + b)).

    Args:
        rows: (n, d), both domains.
        chosen: (n, b), boolean: which rows each labelling counts as source.
        projections: L.
        numbers: the generator, on the CPU.

    Source: the one-dimensional form is Szekely and Rizzo, Energy Statistics, J. Statist. Plann. Inference 143 (2013),
    section 2; the average over directions Huang and Huo, A Statistically and Numerically Efficient Independence Test
    Based on Random Projections and Distance Covariance (2022), lemma 2.1.

    >>> rows, chosen = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[True], [True], [False]])
    >>> projected_energies(rows, chosen, 1, torch.Generator())
    tensor([4.5000], dtype=torch.float64)
    """
    d, n_s = rows.shape[1], int(chosen[:, 0].sum())
    if d == 1:
        projections = 1  # the only direction
    n_t = len(rows) - n_s
    directions = torch.randn(d, projections, dtype=torch.float64, generator=numbers)
    directions = (directions / directions.norm(dim=0)).to(rows)
    scale = math.exp(0.5 * math.log(math.pi) + math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    labels = chosen.T.contiguous().to(torch.int8)  # (b, n): a labelling at a time stays in the cache
    energies = torch.zeros(len(labels), dtype=torch.float64)
    below = torch.arange(1, len(rows), dtype=rows.dtype, device=rows.device) / n_t
    for direction in directions.T:
        values, order = (rows @ direction).sort()
        for start in range(0, len(labels), LABELLINGS):
            sorted_labels = labels[start : start + LABELLINGS].index_select(1, order[:-1])
            of_source = sorted_labels.cumsum(1, dtype=torch.int32)  # F n_s
            difference = of_source.to(rows.dtype).mul_(1 / n_s + 1 / n_t).sub_(below)  # F - G
            energies[start : start + LABELLINGS] += 2 * (difference.square_() @ values.diff()).double().cpu()
    return scale / projections * energies
