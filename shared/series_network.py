"""The convolutions of the default network for series (n, channels, time)."""

from __future__ import annotations

from torch import nn

__all__ = ["series_layers"]

CHANNELS = (32, 64, 64)  # as those for images
KERNEL = 7  # times that a convolution sees
STEPS = 4  # times left: series are halved while they are longer than twice this, and pooled to at most this many


def series_layers(channels: int, time: int, features: int, *, batchnorm: bool) -> list[nn.Module]:
    """Three convolutions over time with max pooling, pooled to at most four steps, and a layer of features.

    While a series is longer than 256 steps, convolutions take strides of 4.

    Args:
        channels: of the series.
        time: steps, 1 or more.
        features: d, the size of what comes out.
        batchnorm: normalise each hidden layer by its batch.

    >>> nn.Sequential(*series_layers(2, 50, 16, batchnorm=False))(torch.zeros(3, 2, 50)).shape
    torch.Size([3, 16])
    """
    layers: list[nn.Module] = []
    for c in CHANNELS:
        stride = 4 if time > 64 * STEPS else 1
        layers += [nn.Conv1d(channels, c, KERNEL, stride=stride, padding=KERNEL // 2)]
        layers += [*([nn.BatchNorm1d(c)] if batchnorm else []), nn.ReLU()]
        channels, time = c, (time - 1) // stride + 1
        if time > 2 * STEPS:
            layers.append(nn.MaxPool1d(2))
            time //= 2
    left = min(time, STEPS)
    layers += [nn.AdaptiveAvgPool1d(left), nn.Flatten(), nn.Linear(channels * left, features)]
    return [*layers, *([nn.BatchNorm1d(features)] if batchnorm else []), nn.ReLU()]
