"""BatchNorm that keeps both domains' statistics, and AdaBN's pass which sets the target's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from .again import again
from .moments import Moments

__all__ = ["DomainBatchNorm", "DomainSplit", "estimate_target_statistics", "join_batchnorm", "split_batchnorm"]

DEEP = 16  # calls of a BatchNorm layer in one forward, up to which all target rows are always measured
AFFORDABLE = 16384  # forwards of one row for a deeper network's statistics: some seconds on a GPU, at each evaluation

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


class DomainSplit:
    """What all :class:`DomainBatchNorm` layers of one network are told before a forward.

    Attributes:
        n_source: the first rows of the batch that are the source's; None: the batch is of one domain.
        source: whether a batch of one domain is the source's.
        sources: how many equal blocks those first rows are: several sources, each normalised by its own.
    """

    def __init__(self) -> None:
        self.n_source: int | None = None
        self.source = False
        self.sources = 1

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
    source's statistics then start as a copy). :func:`join_batchnorm` puts the plain layer back.

    Args:
        layer: the layer to take the place of; its parameters, running statistics and forward hooks go on.
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
        for hooks in _HOOKS:  # the very dictionaries, so that who put a hook on the layer can take it off
            setattr(self, hooks, getattr(layer, hooks))
        for name, child in layer.named_children():  # timm's dropout and activation, in the order they are applied
            self.add_module(name, child)
        self.split = split
        self._replaced = (layer,)  # for join_batchnorm; in a tuple it is no child
        self.training = layer.training
        self._dimensions = _dimensions(layer)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self._dimensions:
            raise ValueError(f"expected an input of {' or '.join(map(str, self._dimensions))} dimensions, got {x.ndim}")
        n_s = self.split.n_source
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        x = self._normalise(x, self.split.source) if n_s is None else self._each(x, n_s)
        for after in self.children():
            x = after(x)
        return x

    def _each(self, x: Tensor, n_s: int) -> Tensor:
        """Every domain by its own statistics."""
        k = self.split.sources
        if k == 1:
            return torch.cat([self._normalise(x[:n_s], True), self._normalise(x[n_s:], False)])
        blocks = [self._normalise(block, True, i, k) for i, block in enumerate(x[:n_s].chunk(k))]
        return torch.cat([*blocks, self._normalise(x[n_s:], False)])

    def _normalise(self, x: Tensor, source: bool, i: int = 0, k: int = 1) -> Tensor:
        """By its own statistics, as the i-th of k that share the running ones."""
        mean, var = (
            (self.source_running_mean, self.source_running_var) if source else (self.running_mean, self.running_var)
        )
        batch = self.training or mean is None
        if batch and x.shape[0] == 1 and x.numel() == x.shape[1]:
            raise ValueError(
                f"BatchNorm by domain needs at least 2 rows of each {'source' if source else 'target'} batch to take a "
                "variance of; got 1. Use a larger batch_size, or batch_statistics='joint' where both domains are seen."
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.momentum is None and self.num_batches_tracked is not None:
            momentum = 1.0 / float(self.num_batches_tracked)
        momentum = momentum / (k - (k - 1 - i) * momentum)  # one after the other, each ends with momentum / k
        return F.batch_norm(x, mean, var, self.weight, self.bias, batch, momentum, self.eps)

    def plain(self) -> _BatchNorm:
        """The layer whose place this one took, with this one's parameters, target statistics and mode."""
        (layer,) = self._replaced
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(layer, name, getattr(self, name))
        layer.training, layer.momentum = self.training, self.momentum
        return layer

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

    timm's layers of BatchNorm, dropout and activation keep the last two.

    Returns:
        The object that tells the layers what a batch holds, and how many layers there are.

    Raises:
        ValueError: for a kind of BatchNorm that computes something else besides.
    """
    present = [m for m in module.modules() if isinstance(m, DomainBatchNorm)]
    split = present[0].split if present else DomainSplit()
    made: dict[nn.Module, DomainBatchNorm] = {}  # a layer in two places stays one layer
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                if child not in made:
                    _check_plain(name, child)
                    made[child] = DomainBatchNorm(child, split)
                setattr(parent, name, made[child])
    return split, len(present) + len(made)


def join_batchnorm(module: nn.Module) -> int:
    """Put the layers that :func:`split_batchnorm` replaced back, in place, with the target's statistics.

    The module then predicts as it did for the target, bit for bit, and its state is that of a module never split. The
    source's statistics are dropped. Parameters and hooks go on.

    Args:
        module: may hold :class:`DomainBatchNorm` layers.

    Returns:
        How many layers there were.

    >>> module = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    >>> layer, _ = module[0], split_batchnorm(module)
    >>> join_batchnorm(module), module[0] is layer
    (1, True)
    """
    plain: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, DomainBatchNorm):
                if child not in plain:
                    plain[child] = child.plain()
                setattr(parent, name, plain[child])
    return len(plain)


def _check_plain(name: str, layer: nn.Module) -> None:
    timms = [child for child, _ in layer.named_children()] == ["drop", "act"]
    if type(layer).forward is not _BatchNorm.forward and not timms:
        raise ValueError(
            f"split_batchnorm can keep each domain's statistics in torch's own BatchNorm and in timm's with an "
            f"activation; the layer {name!r} is a {type(layer).__name__} with a forward of its own. Use "
            "batch_statistics='joint', and no method that works on BatchNorm."
        )


class _Measured(BaseException):
    """A forward has come as far as it has to; no Exception, which a network's own ``except`` might catch."""


@torch.no_grad()
def estimate_target_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    r"""Set every layer's target statistics to those of all given rows together, and leave all else as it was.

    Mean and unbiased variance of each layer's inputs over all rows (and positions), each layer in turn seeing what the
    layers before it give when normalised by *their* statistics of all rows: what an evaluation computes. The batches
    are only the portions that memory holds; neither they nor the order of the rows change anything but rounding.

    So the layers are measured one after the other, in the order in which they are called. The cost of L calls of a
    BatchNorm layer is L passes, the k-th of which ends at the k-th call: about (L + 1) / 2 forwards of all rows; one
    for a bottleneck on a backbone without BatchNorm, two for a network of three layers. Where L is over 16 and that
    would be over 16384 forwards of a row (a ResNet-50: from 618 rows on), as many rows as that allows are measured,
    those whose content has the smallest hashes: again the same ones in any order.

    A layer that is called several times in one forward gets the statistics of all its calls, each measured with those
    of the calls before it. Layers without running statistics have none to set.

    Args:
        network: holds :class:`DomainBatchNorm` layers.
        batches: the target's inputs; iterated over several times, and kept in a list if that cannot be.

    Raises:
        ValueError: for fewer than two values of a channel, which have no variance.

    Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016, algorithm 1: the mean and
    variance of each neuron's responses on all target images.
    """
    layers = [m for m in network.modules() if isinstance(m, DomainBatchNorm) and m.running_mean is not None]
    batches = again(batches)
    modes = {m: m.training for m in network.modules()}
    network.eval()
    measured = {m: Moments() for m in layers}
    try:
        calls = _count_calls(network, layers, batches)
        batches = _affordable(batches, calls)
        for call in range(calls):
            for layer in _measure_call(network, measured, batches, call, last=call == calls - 1):
                _set_statistics(layer, measured[layer])
    finally:
        for module, training in modes.items():
            module.training = training


def _count_calls(network: nn.Module, layers: list[DomainBatchNorm], batches: Iterable[Tensor]) -> int:
    """How often a forward calls one of these layers, by a few rows."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    with _hooked(layers, count):
        for inputs in batches:
            network(inputs[:2])
            break
    return calls


def _measure_call(
    network: nn.Module, measured: dict[DomainBatchNorm, Moments], batches: Iterable[Tensor], call: int, *, last: bool
) -> set[DomainBatchNorm]:
    """Add to a layer's moments what comes into the given call of a forward; the layers that it was.

    Args:
        network: in evaluation mode.
        measured: what the layers have seen in earlier calls.
        batches: the inputs.
        call: its number, from 0, among the calls of these layers.
        last: let the forward end; before, what comes after the call is not computed.
    """
    seen: set[DomainBatchNorm] = set()
    calls = 0

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls == call + 1:
            assert isinstance(layer, DomainBatchNorm)
            measured[layer].add(inputs[0])
            seen.add(layer)
            if not last:
                raise _Measured

    with _hooked(measured, measure):
        for inputs in batches:
            calls = 0
            with suppress(_Measured):
                network(inputs)
    return seen


@contextmanager
def _hooked(layers: Iterable[DomainBatchNorm], hook: Callable[..., None]) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _set_statistics(layer: DomainBatchNorm, moments: Moments) -> None:
    if moments.count < 2:
        raise ValueError(
            "estimate_target_statistics takes the variance of each BatchNorm channel over the target, and needs at "
            f"least 2 rows; got {moments.count}. Adapt to more target rows."
        )
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.copy_(moments.mean)
    layer.running_var.copy_(moments.variance())


def _affordable(batches: Iterable[Tensor], calls: int) -> Iterable[Tensor]:
    """The batches; of very deep networks, as many rows as AFFORDABLE allows, chosen by their content alone."""
    most = 2 * AFFORDABLE // max(1, calls)
    if calls <= DEEP:
        return batches
    keys = [key for inputs in batches for key in _keys(inputs)]
    if len(keys) <= most:
        return batches
    chosen = sorted(range(len(keys)), key=keys.__getitem__)[:most]
    place = {row: i for i, row in enumerate(chosen)}
    rows: list[Tensor | None] = [None] * most
    start = size = 0
    for inputs in batches:
        for i in range(len(inputs)):
            if start + i in place:
                rows[place[start + i]] = inputs[i]
        start, size = start + len(inputs), max(size, len(inputs))
    kept = [row for row in rows if row is not None]
    return [torch.stack(kept[i : i + size]) for i in range(0, most, size)]


def _keys(inputs: Tensor) -> list[bytes]:
    rows = inputs.detach().cpu().contiguous()
    return [hashlib.blake2b(row.flatten().view(torch.uint8).numpy(), digest_size=8).digest() for row in rows]
