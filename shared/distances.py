"""Squared Euclidean distances between the rows of two matrices, by matrix products that keep their digits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["can_ask", "centred_distances", "pooled_distances", "squared_distances"]

KEPT = 1e-3  # relative: a distance that rounding may change by more is computed in wider numbers


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    r"""All squared Euclidean distances, by one matrix product.

    .. math:: D_{ij} = \|x_i\|^2 + \|y_j\|^2 - 2 \langle x_i, y_j \rangle

    Both are first moved by the mean of ``y``: distances do not change, and the cancellation in float32 becomes small.
    Where rows lie so much nearer to each other than to that mean that it would show all the same (by more than 1e-3 of
    a distance), the product is taken in float64: on the CPU alone, since elsewhere asking would make a training step
    wait, and not while compiling. There, pass float64 for rows in groups that lie a hundred times as far apart as their
    rows do. Rounding below zero is cut off; no argument is checked.

    Args:
        x: (n, d), floating point.
        y: (m, d), of the same dtype and device.

    Returns:
        (n, m), non-negative.

    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """
    norms, squared = _by_product(x, y)
    if x.dtype == torch.float32 and can_ask(x):
        with torch.no_grad():
            below = squared < norms * (torch.finfo(x.dtype).eps / KEPT)
            lost = bool((below & (squared > 0)).any())
        if lost:
            return _by_product(x.double(), y.double())[1].to(x.dtype)
    return squared


def _by_product(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of squared lengths, and the squared distances, (n, m) each."""
    centre = y.detach().mean(0, keepdim=True)  # moves both alike, so no gradient is lost
    x, y = x - centre, y - centre
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return norms, norms.addmm(x, y.T, alpha=-2).clamp(min=0)


def pooled_distances(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances within one sample, (n, n), and the squared lengths about its mean, (n,).

    ``squared_distances(pooled, pooled)`` in about half the time: the norms are read from the one product. So equal rows
    also have a distance of exactly 0, and not rounding noise, of which a rule would make a bandwidth. Rounding is that
    of the longest rows: eps times their squared lengths.

    Args:
        pooled: (n, d), floating point.
    """
    pooled = pooled - pooled.detach().mean(0)  # distances do not change, so no gradient is lost
    products = pooled @ pooled.T  # (n, n)
    norms = products.diagonal()
    return (norms[:, None] + norms).sub(products, alpha=2).clamp(min=0), norms


def centred_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Squared distances within two samples and across, (n_s + n_t, n_s + n_t), each row about its own sample's mean.

    With :math:`\delta = \bar x - \bar y`, across the samples

    .. math:: \|x_i - y_j\|^2 = \|\tilde x_i - \tilde y_j\|^2 + 2 \langle \delta, \tilde x_i - \tilde y_j \rangle
        + \|\delta\|^2, \qquad \tilde x = x - \bar x, \; \tilde y = y - \bar y

    so that distances within a sample lose nothing however far the other one lies: for where nobody can ask whether
    digits were lost (on a GPU, and while compiling). A sixth slower than :func:`pooled_distances`.

    Args:
        x: (n_s, d), floating point.
        y: (n_t, d), of the same dtype and device.

    Returns:
        The distances, and the squared lengths about the samples' means, (n_s + n_t,).

    >>> centred_distances(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]]))[0]
    tensor([[0., 1., 9.],
            [1., 0., 4.],
            [9., 4., 0.]])
    """
    of_x, of_y = x.detach().mean(0), y.detach().mean(0)  # the identity holds for any two centres
    centred = torch.cat([x - of_x, y - of_y])
    products = centred @ centred.T
    norms = products.diagonal()
    between = of_x - of_y
    along = 2 * (centred @ between)
    side = torch.cat([norms.new_full((len(x),), 0.5), norms.new_full((len(y),), -0.5)])
    across = side[:, None] - side  # 0 within a sample, 1 or -1 across
    moved = (along[:, None] - along + across * between.square().sum()) * across
    return ((norms[:, None] + norms).sub(products, alpha=2) + moved).clamp(min=0), norms


def can_ask(value: Tensor) -> bool:
    """Whether a number can be read without making a training step wait, or breaking a compiled graph."""
    return value.device.type == "cpu" and not torch.compiler.is_compiling()
