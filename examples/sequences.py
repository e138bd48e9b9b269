"""Sequences: a small transformer encoder on signals, whose sensor drifts and is noisier in the target domain.

Four kinds of waves are told apart. The source was recorded by a clean sensor; the target's has an offset that drifts,
another gain, and noise, and nobody has labelled its recordings. Any ``nn.Module`` that makes one feature vector of a
sequence is an extractor; the method neither knows nor cares what is in it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import landbridge as lb

LENGTH, WIDTH, CLASSES = 48, 32, 4


class Encoder(nn.Module):
    """Signals (n, 48) -> features (n, 32): patches of four samples, two layers of attention, the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH // 4, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)

    def forward(self, signals: Tensor) -> Tensor:
        patches = self.embed(signals.unflatten(1, (LENGTH // 4, 4))) + self.place  # (n, 12, 32)
        encoded: Tensor = self.layers(patches)
        return encoded.mean(1)


def make_signals(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Sine, square, saw-tooth and pulse, of random phase and about three periods: (n, 48) and (n,)."""
    random = torch.Generator().manual_seed(seed)
    kinds = torch.arange(n) % CLASSES
    periods = 2.5 + torch.rand(n, 1, generator=random)
    turns = (torch.linspace(0, 1, LENGTH) * periods + torch.rand(n, 1, generator=random)) % 1  # (n, 48)
    waves = torch.stack([(2 * math.pi * turns).sin(), (turns < 0.5) * 2.0 - 1, 2 * turns - 1, (turns < 0.15) * 2.0 - 1])
    return waves[kinds, torch.arange(n)] + 0.1 * torch.randn(n, LENGTH, generator=random), kinds


def another_sensor(signals: Tensor, *, seed: int) -> Tensor:
    """The same signals by a sensor of smaller gain, with a drifting offset and more noise."""
    random = torch.Generator().manual_seed(seed)
    drift = torch.linspace(-0.4, 0.8, LENGTH) * (0.5 + torch.rand(len(signals), 1, generator=random))
    return 0.7 * signals + drift + 0.2 * torch.randn(signals.shape, generator=random)


def train(method: lb.Method, xs: Tensor, ys: Tensor, xt: Tensor) -> lb.FitResult:
    """The same network from the same start for every method."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = lb.Network(Encoder(), nn.Linear(WIDTH, CLASSES))
    adam = lb.Optimizer(name="adam", lr=2e-3)
    return lb.fit(network, method, (xs, ys), xt, steps=200, optimizer=adam, seed=0, device="cpu", progress_bar=False)


def main() -> None:
    xs, ys = make_signals(800, seed=0)
    xt, yt = make_signals(800, seed=1)
    xt = another_sensor(xt, seed=2)
    methods = lb.SourceOnly(), lb.DAN()
    before, after = (float((train(method, xs, ys, xt).predict(xt) == yt).float().mean()) for method in methods)
    print(f"target accuracy: source-only {before:.3f}, DAN {after:.3f}")
    assert after > before + 0.1


if __name__ == "__main__":
    main()
