"""Forwarding a whole data set through a trained network."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from .batches import Samples
from .batchnorm import DomainBatchNorm

__all__ = ["forward_all"]


@torch.no_grad()
def forward_all(
    network: nn.Module, samples: Samples, *, batch_size: int = 500, source: bool = False
) -> tuple[Tensor, Tensor]:
    """Features and logits of every row, in evaluation mode; the network's own mode is given back.

    Args:
        network: inputs -> (features, logits).
        samples: (n, ...).
        batch_size: rows a forward.
        source: evaluate with the source's batch statistics, where both domains' are kept; else the target's.

    Returns:
        features (n, d) and logits (n, k), float32, on the CPU.
    """
    modes = {module: module.training for module in network.modules()}
    split = next((m.split for m in network.modules() if isinstance(m, DomainBatchNorm)), None)
    network.eval()
    features, logits = [], []
    try:
        with nullcontext() if split is None else split.of(source=source):
            for rows in samples.chunks(batch_size):
                f, z = network(samples.gather(rows))
                features.append(f.float().cpu())
                logits.append(z.float().cpu())
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(features), torch.cat(logits)
