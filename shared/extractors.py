"""Small networks for digits, by name: LeNet-like for 16x16 and 28x28, and the deeper one of the SVHN literature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .checks import nearest
from .network import Network

__all__ = ["EXTRACTORS", "Normalise", "create_network"]


class Normalise(nn.Module):
    """uint8 (or 0..255) images to standardised floats, as a network's first layer: so ``predict`` takes raw images.

    .. math:: y_c = (x_c / 255 - m_c) / s_c

    Args:
        mean: m, one for all channels or one each.
        std: s, likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: float | tuple[float, ...] = 0.5, std: float | tuple[float, ...] = 0.5) -> None:
        super().__init__()
        m, s = (torch.as_tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (mean, std))
        self.register_buffer("scale", 1 / (255 * s), persistent=False)
        self.register_buffer("shift", -m / s, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x.to(self.scale.dtype), self.scale)


def _block(
    c_in: int, c_out: int, kernel: int, *, stride: int = 1, dropout: float = 0.0, pool: bool = False
) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    layers += [nn.Dropout2d(dropout)] if dropout else []
    layers += [nn.MaxPool2d(2)] if pool else []
    return [*layers, nn.ReLU()]  # after the pooling: the same values, on a quarter of them


def _projection(d_in: int, d_out: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(d_in, d_out, bias=False), nn.BatchNorm1d(d_out), nn.ReLU()]


def _lenet16_slim(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 16, 3, pool=True),
        *_block(16, 32, 3, pool=True),
        *_block(32, 64, 3, pool=True),
        *_projection(64 * 2 * 2, features),
    )  # fmt: skip


def _lenet16(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 16, 5, pool=True, dropout=0.1),
        *_block(16, 32, 5, pool=True, dropout=0.1),
        *_block(32, 64, 3, pool=True, dropout=0.1),
        *_projection(64 * 2 * 2, features),
    )  # fmt: skip


def _lenet28(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 32, 5, pool=True),
        *_block(32, 48, 5, pool=True),
        *_projection(48 * 7 * 7, features),
    )  # fmt: skip


def _dtn32(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 64, 5, stride=2, dropout=0.1),
        *_block(64, 128, 5, stride=2, dropout=0.3),
        *_block(128, 256, 5, stride=2, dropout=0.5),
        *_projection(256 * 4 * 4, features),
    )  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A feature extractor by name: how to make it, the image side it takes, and the size of its features.

    Attributes:
        make: from the number of channels and of features to a module.
        side: height and width of the images, in pixels.
        features: d, unless asked otherwise.
        version: raised by hand when a change of the architecture changes numbers; part of a benchmark cell's identity.
    """

    make: Callable[[int, int], nn.Sequential]
    side: int
    features: int
    version: int = 1


EXTRACTORS: dict[str, Architecture] = {
    "lenet16-slim": Architecture(_lenet16_slim, 16, 128),
    "lenet16": Architecture(_lenet16, 16, 128),
    "lenet28": Architecture(_lenet28, 28, 256),  # channel widths of the MNIST network in Ganin et al., JMLR 2016
    "dtn32": Architecture(_dtn32, 32, 512),  # as in ADDA's and later papers' SVHN experiments
}


def create_network(name: str, *, classes: int, channels: int = 1, features: int | None = None) -> Network:
    """A network for images by name, with a linear head; what it saves, ``landbridge.load`` can read alone.

    Args:
        name: of ``EXTRACTORS``.
        classes: k, the size of the logits.
        channels: of the images, 1 or 3.
        features: d, the size of the features; the architecture's own if left out.

    Raises:
        ValueError: for an unknown name, with the nearest, or a size below 1.

    >>> features, logits = create_network("lenet16", classes=10)(torch.zeros(4, 1, 16, 16, dtype=torch.uint8))
    >>> features.shape, logits.shape
    (torch.Size([4, 128]), torch.Size([4, 10]))
    """
    if name not in EXTRACTORS:
        raise ValueError("create_network: " + nearest("network", name, EXTRACTORS))
    architecture = EXTRACTORS[name]
    d = architecture.features if features is None else features
    if min(classes, channels, d) < 1:
        raise ValueError(f"create_network needs positive sizes; got classes={classes}, {channels=}, features={d}.")
    network = Network(architecture.make(channels, d), nn.Linear(d, classes))
    network.spec = {"name": name, "classes": classes, "channels": channels, "features": d}
    return network
