"""BatchNorm that keeps both domains' statistics, and AdaBN's pass which sets the target's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["DomainBatchNorm", "DomainSplit", "estimate_target_statistics", "split_batchnorm"]


class DomainSplit:
    """What all :class:`DomainBatchNorm` layers of one network are told before a forward.

    Attributes:
        n_source: the first rows of the batch that are the source's; None: the batch is of one domain.
        source: whether a batch of one domain is the source's.
    """

    def __init__(self) -> None:
        self.n_source: int | None = None
        self.source = False

    @contextmanager
    def of(self, *, n_source: int | None = None, source: bool = False) -> Iterator[None]:
        """Tell the layers within the block what the batch holds; outside, a batch is the target's."""
        self.n_source, self.source = n_source, source
        try:
            yield
        finally:
            self.n_source, self.source = None, False


class DomainBatchNorm(_BatchNorm):
    """BatchNorm whose batch statistics and running statistics are each domain's own; the affine part is shared.

    ``running_mean`` and ``running_var`` are the target's, by which it evaluates: the state loads into a plain
    BatchNorm (with ``strict=False``, which leaves the source's statistics out), and a plain one's into this (the
    source's statistics then start as a copy).

    Args:
        layer: the layer to take the place of; its parameters and running statistics go on.
        split: told before each forward what the batch holds.

    Source: per-domain normalisation in one forward as in Li et al., Revisiting Batch Normalization (AdaBN), 2016,
    and Chang et al., Domain-Specific Batch Normalization, CVPR 2019 (with one affine part, not two).
    """

    source_running_mean: Tensor | None
    source_running_var: Tensor | None

    def __init__(self, layer: _BatchNorm, split: DomainSplit) -> None:
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, affine=False, track_running_stats=layer.track_running_stats
        )
        self.affine = layer.affine
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        for name in ("running_mean", "running_var"):
            value = getattr(layer, name)
            self.register_buffer(f"source_{name}", None if value is None else value.clone())
        self.split = split
        self.training = layer.training
        self._dimensions = _dimensions(layer)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self._dimensions:
            raise ValueError(f"expected an input of {' or '.join(map(str, self._dimensions))} dimensions, got {x.ndim}")
        n_s = self.split.n_source
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if n_s is None:
            return self._normalise(x, self.split.source)
        return torch.cat([self._normalise(x[:n_s], True), self._normalise(x[n_s:], False)])

    def _normalise(self, x: Tensor, source: bool) -> Tensor:
        mean, var = (
            (self.source_running_mean, self.source_running_var) if source else (self.running_mean, self.running_var)
        )
        batch = self.training or mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.momentum is None and self.num_batches_tracked is not None:
            momentum = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(x, mean, var, self.weight, self.bias, batch, momentum, self.eps)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("running_mean", "running_var"):
            if prefix + name in state_dict:
                state_dict.setdefault(f"{prefix}source_{name}", state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check_input_dim(self, input: Tensor) -> None:
        """Done in :meth:`forward`, where the message can name the sizes."""


def _dimensions(layer: nn.Module) -> tuple[int, ...]:
    if isinstance(layer, DomainBatchNorm):
        return layer._dimensions
    if isinstance(layer, nn.BatchNorm1d):
        return (2, 3)
    return (4,) if isinstance(layer, nn.BatchNorm2d) else (5,)


def split_batchnorm(module: nn.Module) -> tuple[DomainSplit, int]:
    """Put a :class:`DomainBatchNorm` in place of every BatchNorm, in place; once done, doing it again keeps them.

    Returns:
        The object that tells the layers what a batch holds, and how many layers there are.
    """
    present = [m for m in module.modules() if isinstance(m, DomainBatchNorm)]
    split = present[0].split if present else DomainSplit()
    count = len(present)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                setattr(parent, name, DomainBatchNorm(child, split))
                count += 1
    return split, count


@torch.no_grad()
def estimate_target_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every layer's target statistics to those of the given batches, and leave all else as it was.

    The mean over the batches of the batch means and unbiased batch variances, each layer's input normalised by the
    batch's own statistics: with large batches, the target statistics of Li et al. 2016 (algorithm 1).

    Args:
        network: holds :class:`DomainBatchNorm` layers.
        batches: the target's inputs.
    """
    layers = [m for m in network.modules() if isinstance(m, DomainBatchNorm) and m.running_mean is not None]
    modes = {m: m.training for m in network.modules()}
    kept = [(m.momentum, m.num_batches_tracked) for m in layers]
    network.eval()
    for m in layers:
        m.train()
        m.momentum, m.num_batches_tracked = None, torch.zeros((), dtype=torch.long)
    try:
        for inputs in batches:
            network(inputs)
    finally:
        for m, (momentum, tracked) in zip(layers, kept, strict=True):
            m.momentum, m.num_batches_tracked = momentum, tracked
        for module, training in modes.items():
            module.training = training
