"""What ``fit`` costs over a loop written by hand: DANN on the same network, data, batches and loss.

    python benchmarks/speed/fit_overhead.py

Prints the steps per second of ``landbridge.fit`` over those of the bare loop, as the median of paired ratios (A B B A
blocks) with its 95% interval; 1 means that the loop costs nothing. One thread.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional as F

import landbridge as lb
from landbridge.benchmarks.speed.paired import paired_ratios


class Reverse(torch.autograd.Function):
    """Gradient reversal as anybody would write it."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def bare_loop(x_s, y_s, x_t, steps: int, batch: int, network_name: str) -> None:
    """DANN by hand."""
    network = lb.create_network(network_name, classes=10).to(memory_format=torch.channels_last)
    discriminator = nn.Sequential(nn.Linear(network.head.in_features, 100), nn.ReLU(), nn.Linear(100, 1))
    optimizer = torch.optim.Adam([*network.parameters(), *discriminator.parameters()], lr=1e-3, fused=True)
    order_s = order_t = torch.empty(0, dtype=torch.long)
    domain = torch.cat([torch.ones(batch), torch.zeros(batch)])
    for step in range(steps):
        if len(order_s) < batch:
            order_s = torch.randperm(len(x_s))
        if len(order_t) < batch:
            order_t = torch.randperm(len(x_t))
        rows_s, order_s = order_s[:batch], order_s[batch:]
        rows_t, order_t = order_t[:batch], order_t[batch:]
        x = torch.cat([x_s[rows_s], x_t[rows_t]]).contiguous(memory_format=torch.channels_last)
        features, logits = network(x)
        scale = 2 / (1 + 2.718281828 ** (-10 * step / steps)) - 1
        judged = discriminator(Reverse.apply(features, scale)).squeeze(1)
        loss = F.cross_entropy(logits[:batch], y_s[rows_s])
        loss = loss + 2 * F.binary_cross_entropy_with_logits(judged, domain)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def with_fit(x_s, y_s, x_t, steps: int, batch: int, network_name: str) -> None:
    """The same by ``landbridge.fit``."""
    network = lb.create_network(network_name, classes=10)
    method = lb.DANN(features=network.head.in_features, hidden=[100])
    lb.fit(
        network, method, (x_s, y_s), x_t, steps=steps, batch_size=batch, channels_last=True, progress_bar=False,
        optimizer=lb.Optimizer(name="adam", lr=1e-3), device="cpu",
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name, side, batch in (("lenet16-slim", 16, 64), ("lenet16", 16, 64), ("lenet16-slim", 16, 8)):
        x_s, x_t = (torch.randint(0, 256, (2000, 1, side, side), dtype=torch.uint8) for _ in range(2))
        y_s = torch.randint(0, 10, (2000,))
        arguments = (x_s, y_s, x_t, asked.steps, batch, name)
        median, low, high = paired_ratios(
            lambda a=arguments: with_fit(*a), lambda a=arguments: bare_loop(*a), blocks=asked.blocks, seconds=0.01
        )
        print(f"{name}, {batch}+{batch}: fit / bare loop = {median:.3f} steps/s  [{low:.3f}, {high:.3f}]", flush=True)


if __name__ == "__main__":
    main()
