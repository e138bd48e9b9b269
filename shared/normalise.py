"""From raw images to what weights were trained on: a network's first layer, so that ``predict`` takes raw images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CaffeNormalise", "Normalise"]


class Normalise(nn.Module):
    """uint8 (or 0..255) images to standardised floats.

    .. math:: y_c = (x_c / 255 - m_c) / s_c

    Grey images (n, 1, h, w) become as many channels as there are means.

    Args:
        mean: m, one for all channels or one each.
        std: s, likewise.

    >>> Normalise((0.25, 0.5, 0.75), 0.5)(torch.tensor([[[[0.0]]]])).flatten()
    tensor([-0.5000, -1.0000, -1.5000])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: float | tuple[float, ...] = 0.5, std: float | tuple[float, ...] = 0.5) -> None:
        super().__init__()
        m, s = (torch.as_tensor(v, dtype=torch.get_default_dtype()).reshape(-1, 1, 1) for v in (mean, std))
        self.register_buffer("scale", 1 / (255 * s), persistent=False)
        self.register_buffer("shift", -m / s, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x.to(self.scale.dtype), self.scale)


class CaffeNormalise(nn.Module):
    """uint8 (or 0..255) RGB images to what Caffe's networks take: BGR, 0..255, less the mean of ImageNet's channels.

    Grey images (n, 1, h, w) become three channels.

    >>> CaffeNormalise()(torch.tensor([1, 2, 3], dtype=torch.uint8).view(1, 3, 1, 1)).flatten()
    tensor([-101., -115., -122.])
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean = torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)  # blue, green, red: of Caffe's own examples
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1).to(self.mean.dtype) - self.mean
