"""Squared Euclidean distances between the rows of two matrices."""

from __future__ import annotations

from torch import Tensor

__all__ = ["squared_distances"]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    r"""All squared Euclidean distances, by one matrix product.

    .. math:: D_{ij} = \|x_i\|^2 + \|y_j\|^2 - 2 \langle x_i, y_j \rangle

    Both are first moved by the mean of ``y``: distances do not change, and the cancellation in float32 becomes small.
    Rounding below zero is cut off; no argument is checked.

    Args:
        x: (n, d), floating point.
        y: (m, d), of the same dtype and device.

    Returns:
        (n, m), non-negative.

    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """
    centre = y.detach().mean(0, keepdim=True)  # moves both alike, so no gradient is lost
    x, y = x - centre, y - centre
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)  # (n, m)
    return norms.addmm(x, y.T, alpha=-2).clamp(min=0)
