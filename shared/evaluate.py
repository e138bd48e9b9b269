"""Forwarding a whole data set through a trained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from .batches import Samples, SparseSamples
from .batchnorm import DomainBatchNorm
from .dtypes import at_least_single

__all__ = ["batch_size_for", "forward_all", "forward_one"]

DENSE = 1 << 26  # bytes of a sparse matrix that are dense at a time
SMALL = 64  # pixels: up to this side 500 images a forward are no burden; above, 64 are enough to fill a GPU


def batch_size_for(samples: Samples, views: int = 1) -> int:
    """Rows a forward that memory holds: 500 features or small images, 64 images over 64 pixels, fewer of many views.

    Of a sparse matrix as many as have 64 MiB when they are dense.
    """
    if isinstance(samples, SparseSamples):
        return max(1, min(500, DENSE // max(1, samples.shape[1] * samples.dtype.itemsize)))
    large = len(samples.shape) == 4 and max(samples.shape[2:]) > SMALL
    return max(1, (64 if large else 500) // views)


@torch.no_grad()
def forward_all(
    network: nn.Module,
    samples: Samples,
    *,
    batch_size: int | None = None,
    source: bool = False,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Features and logits of every row, in evaluation mode; the network's own mode is given back.

    Args:
        network: inputs -> (features, logits).
        samples: (n, ...).
        batch_size: rows a forward; left out, :func:`batch_size_for`.
        source: evaluate with the source's batch statistics, where both domains' are kept; else the target's.
        transform: what is done to a batch on its way, such as ``CentreCrop``. One that makes several views of each
            image, (n, v, c, h, w) as ``TenCrops``, gives the mean of the views' features, and as logits the logarithm
            of the mean of their softmax: class probabilities are averaged, not logits.

    Returns:
        features (n, d) and logits (n, k), or of whatever shape the network gives, on the CPU: float64
        of a network that computes in it, else float32.

    Raises:
        ValueError: for several views of each image and fewer than two logits.
    """
    modes = {module: module.training for module in network.modules()}
    split = next((m.split for m in network.modules() if isinstance(m, DomainBatchNorm)), None)
    network.eval()
    features, logits = [], []
    if batch_size is None:
        batch_size = batch_size_for(samples, getattr(transform, "views", 1))
    try:
        with nullcontext() if split is None else split.of(source=source):
            for rows in samples.chunks(batch_size):
                f, z = forward_one(network, samples.gather(rows), transform)
                features.append(f.cpu())
                logits.append(z.cpu())
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(features), torch.cat(logits)


def forward_one(network: nn.Module, x: Tensor, transform: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
    """Features and logits of one batch, several views of a row averaged; see :func:`forward_all`."""
    seen = x if transform is None else transform(x)
    if seen.ndim <= x.ndim:
        features, logits = network(seen)
        return at_least_single(features), at_least_single(logits)
    n, views = seen.shape[:2]
    features, logits = network(seen.flatten(0, 1))
    if logits.ndim < 2 or logits.shape[1] < 2:  # the softmax of one number is 1, whatever it is
        raise ValueError(
            "forward_all averages class probabilities over several views of a sample, and so needs logits of at least "
            f"2 classes; got {tuple(logits.shape)}. Use a transform of one view, such as CentreCrop."
        )
    shares = at_least_single(logits).view(n, views, -1).log_softmax(-1)
    return at_least_single(features).view(n, views, -1).mean(1), shares.logsumexp(1) - math.log(views)
