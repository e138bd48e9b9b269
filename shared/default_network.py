"""The network taken where the user brings none: an MLP for rows of features, convolutions for images and series."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Rows
from .dtypes import NARROW, default_dtype
from .network import Network
from .seeds import seeded
from .series_network import series_layers
from .sparse import SparseRows

__all__ = ["FEATURES", "NAME", "Standardise", "default_network", "from_spec"]

NAME = "default"  # in the spec of a saved network
VERSION = 1  # raised by hand when a change below changes numbers; part of a benchmark cell's identity

WIDTH = 64  # of the hidden layers of the MLP, and its features
CHANNELS = (32, 64, 64)  # of the convolutions
FEATURES = 128  # after the convolutions
SIDE = 4  # pixels: images are halved while they are larger than twice this
BLOCK = 4096  # rows read at once
LIMIT = 3.0  # standard deviations beyond which features of a table are drawn in; Holzmueller et al.
CONSTANT = 1e3  # eps of float64: what is left of a constant by adding it up


class Standardise(nn.Module):
    r"""Features, or channels of images, with mean 0 and variance 1 on the rows it was made of.

    .. math:: z_j = (x_j - m_j) / s_j, \qquad y_j = z_j / \sqrt{1 + (z_j / c)^2}

    with y = z where there is no limit c. A feature that hardly varies in the source may lie hundreds of s away in the
    target, and would drown all others; with a limit it stays in its order, within c. Whole numbers become floating
    point. A feature that is constant on those rows has s = 1.

    A mean in float64 is subtracted in float64, from rows that should come as they are: a date in seconds that varies by
    minutes is nothing but rounding in float32.

    Args:
        mean: m, (d,) or (channels, 1, 1), float32 or float64.
        std: s, of the same shape, > 0; what comes out is of its dtype.
        limit: c > 0, or None.

    Source: the smooth clipping of Holzmueller, Grinsztajn and Steinwart, Better by Default: Strong Pre-Tuned MLPs and
    Boosted Trees on Tabular Data, NeurIPS 2024, with c = 3.

    >>> Standardise(torch.tensor([1.0]), torch.tensor([2.0]))(torch.tensor([[5]]))
    tensor([[2.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, limit: float | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def of(cls, inputs: Tensor | np.ndarray | Rows | SparseRows, *, limit: float | None = None) -> Standardise:  # type: ignore[type-arg]
        """Of (n, d) features or (n, c, h, w) images: their mean and (biased) standard deviation, in two passes.

        The mean is kept in float64 where a feature varies too little around it for float32.
        """
        base = inputs.base if isinstance(inputs, Rows) else inputs
        if isinstance(base, SparseRows):
            some = base[inputs.rows] if isinstance(inputs, Rows) else base
            assert isinstance(some, SparseRows)
            mean, variance = some.moments()
        else:
            axes = (0, *range(2, inputs.ndim))
            mean = _mean(inputs, axes, None)  # type: ignore[arg-type]
            variance = _mean(inputs, axes, mean)  # type: ignore[arg-type]
        eps = torch.finfo(torch.float32).eps
        rounding = eps if _is_single(inputs.dtype) else CONSTANT * torch.finfo(torch.float64).eps
        constant = variance <= (rounding * mean.abs()).square()  # rounding alone
        std = torch.where(constant, torch.ones_like(variance), variance).sqrt()
        wide = bool((~constant & (std < NARROW * eps * mean.abs())).any())
        shape = (-1, *(1,) * (inputs.ndim - 2))
        return cls((mean if wide else mean.float()).view(shape), std.float().view(shape), limit)

    @property
    def wide(self) -> bool:
        """Whether rows should come as they are, and not in float32."""
        return self.mean.dtype == torch.float64

    def forward(self, x: Tensor) -> Tensor:
        z = (x.to(self.mean.dtype) - self.mean).to(self.std.dtype) / self.std
        if self.limit is None:
            return z
        a = z / self.limit
        return z / (_hypot(a) if _is_exporting() else torch.hypot(a, torch.ones_like(a)))  # squares do not overflow


def _hypot(a: Tensor) -> Tensor:
    """The root of 1 + a^2, whose squares do not overflow either, by operators that ONNX has."""
    largest = a.abs().clamp(min=1.0)
    return largest * ((1 / largest).square() + (a / largest).square()).sqrt()


def _is_exporting() -> bool:
    """Whether the network is being traced: ONNX has no hypot, of which the last digit, though, is another."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def _is_single(dtype: Any) -> bool:
    """Whether numbers of this dtype, numpy's or torch's, are rounded to float32 or worse."""
    return str(dtype).removeprefix("torch.") in ("float32", "float16", "bfloat16")


def _mean(inputs: Tensor | np.ndarray | Rows, axes: tuple[int, ...], centre: Tensor | None) -> Tensor:  # type: ignore[type-arg]
    """Of the inputs, or of their squared distances from a centre, by feature or channel, (d,) float64."""
    total, count = torch.zeros(inputs.shape[1], dtype=torch.float64), 0
    for start in range(0, len(inputs), BLOCK):
        some = inputs[start : start + BLOCK]
        block = torch.as_tensor(some if isinstance(some, Tensor) else np.array(some)).cpu().double()
        if centre is not None:
            block = (block - centre.view(1, -1, *(1,) * (block.ndim - 2))).square()
        total += block.sum(axes)
        count += block.numel() // block.shape[1]
    return total / count


def default_network(
    inputs: Tensor | np.ndarray | Rows | SparseRows,  # type: ignore[type-arg]
    outputs: int,
    *,
    batchnorm: bool = False,
    seed: int = 0,
    function: str = "default_network",
) -> Network:
    """A network for inputs of this shape, which standardises them by their own mean and variance.

    Features (n, d) are drawn in beyond 3 deviations, and get two hidden layers of 64, ReLU; the second gives the
    features. Images (n, c, h, w) get three convolutions of 3 x 3 (32, 64, 64 channels), halved by max pooling while
    they are larger than 8 pixels, pooled to at most 4 x 4, and a layer of 128 features; series (n, c, t) the same over
    time (see :mod:`.series_network`). The head is linear.

    Args:
        inputs: of the source alone, so that the target's scale does not come in by a back door.
        outputs: the size of the head: classes, values, or 1.
        batchnorm: normalise each hidden layer by its batch, as AdaBN needs.
        seed: of the weights.
        function: the caller, for messages.

    Raises:
        ValueError: for inputs of another shape, or images with their channels last.

    >>> default_network(torch.zeros(10, 5), 3)(torch.ones(2, 5))[1].shape
    torch.Size([2, 3])
    """
    shape = tuple(inputs.shape)
    if len(shape) == 4 and shape[1] not in (1, 3, 4) and shape[3] in (1, 3, 4):
        raise ValueError(
            f"{function} takes images as (n, channels, height, width); got {shape}. Use .transpose(0, 3, 1, 2) on an "
            "array, .permute(0, 3, 1, 2) on a tensor."
        )
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise ValueError(
            f"{function} has a network of its own for (n, features), (n, channels, time) and (n, channels, height, "
            f"width); got {shape}. Reshape the inputs, or pass a network."
        )
    standardise = Standardise.of(inputs, limit=LIMIT if len(shape) == 2 else None)
    return _network(shape[1:], outputs, batchnorm, standardise, seed)


def from_spec(spec: dict[str, Any]) -> Network:
    """The network that :func:`default_network` made, by its ``spec``; its numbers come from a file.

    >>> made = default_network(torch.rand(10, 5), 3)
    >>> from_spec(made.spec).load_state_dict(made.state_dict())
    <All keys matched successfully>
    """
    shape = tuple(spec["shape"])
    blank = torch.zeros(shape[0], *(1,) * (len(shape) - 1), dtype=torch.float64 if spec["wide"] else torch.float32)
    standardise = Standardise(blank, torch.ones_like(blank, dtype=torch.float32), LIMIT if len(shape) == 1 else None)
    return _network(shape, spec["outputs"], spec["batchnorm"], standardise, 0)


def _network(shape: tuple[int, ...], outputs: int, batchnorm: bool, standardise: Standardise, seed: int) -> Network:
    with seeded(seed, "network"), default_dtype(torch.float32):
        table = len(shape) == 1
        layers = _layers(shape, batchnorm)
        network = Network(nn.Sequential(standardise, *layers), nn.Linear(WIDTH if table else FEATURES, outputs))
    network.wide = standardise.wide
    network.spec = {
        "name": NAME, "shape": list(shape), "outputs": outputs, "batchnorm": batchnorm, "wide": standardise.wide,
    }  # fmt: skip
    return network


def _layers(shape: tuple[int, ...], batchnorm: bool) -> list[nn.Module]:
    if len(shape) == 1:
        return _mlp(shape[0], batchnorm)
    if len(shape) == 2:
        return series_layers(shape[0], shape[1], FEATURES, batchnorm=batchnorm)
    return _convolutions(shape[0], shape[1], shape[2], batchnorm)


def _mlp(d: int, batchnorm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in (d, WIDTH):
        layers += [nn.Linear(size, WIDTH), *([nn.BatchNorm1d(WIDTH)] if batchnorm else []), nn.ReLU()]
    return layers


def _convolutions(channels: int, height: int, width: int, batchnorm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for c in CHANNELS:
        layers += [nn.Conv2d(channels, c, 3, padding=1), *([nn.BatchNorm2d(c)] if batchnorm else []), nn.ReLU()]
        halves = [2 if side > 2 * SIDE else 1 for side in (height, width)]
        if max(halves) > 1:
            layers.append(nn.MaxPool2d((halves[0], halves[1])))
        channels, height, width = c, height // halves[0], width // halves[1]
    pooled = (min(height, SIDE), min(width, SIDE))
    layers += [nn.AdaptiveAvgPool2d(pooled), nn.Flatten(), nn.Linear(channels * pooled[0] * pooled[1], FEATURES)]
    return [*layers, *([nn.BatchNorm1d(FEATURES)] if batchnorm else []), nn.ReLU()]
