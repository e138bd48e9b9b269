"""The alignment losses against their plain forms: python benchmarks/speed/losses.py

Forward and backward in float32, as ratios of one interleaved run: coral_distance against forming both covariance
matrices, and mmd2 with five kernels against an n x n x d broadcast for each kernel. It takes some minutes, nearly all
of them in the last plain form.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from landbridge.benchmarks.speed.paired import paired_ratios
from landbridge.coral import coral_distance
from landbridge.mmd import MultiGaussianKernel, mmd2

SHAPES = ((32, 256), (32, 2048), (128, 2048))  # samples of each domain, features
KERNEL = MultiGaussianKernel("mean", kernels=5)

Loss = Callable[[Tensor, Tensor], Tensor]


def plain_coral(source: Tensor, target: Tensor) -> Tensor:
    """The CORAL distance as its paper writes it: both covariance matrices, and their difference."""
    difference = _plain_covariance(source) - _plain_covariance(target)
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def _plain_covariance(x: Tensor) -> Tensor:
    n = x.shape[0]
    column_sums = torch.ones(1, n, dtype=x.dtype, device=x.device) @ x  # (1, d)
    return (x.T @ x - column_sums.T @ column_sums / n) / (n - 1)


def plain_mmd2(x: Tensor, y: Tensor) -> Tensor:
    """Biased squared MMD, each kernel with distances of its own from an n x n x d broadcast."""
    pooled = torch.cat([x, y]).detach()
    bandwidth = 2 * pooled.var(0).sum()  # the mean squared distance of distinct pairs
    total = x.new_zeros(())
    for step in range(KERNEL.kernels):
        width = bandwidth * KERNEL.factor ** (step - KERNEL.kernels // 2)
        within = _plain_kernel(x, x, width).mean() + _plain_kernel(y, y, width).mean()
        total = total + within - 2 * _plain_kernel(x, y, width).mean()
    return total / KERNEL.kernels


def _plain_kernel(x: Tensor, y: Tensor, bandwidth: Tensor) -> Tensor:
    squared = (x[:, None] - y[None]).square().sum(2)  # through (n, m, d)
    return torch.exp(-squared / bandwidth)


def fast_mmd2(x: Tensor, y: Tensor) -> Tensor:
    return mmd2(x, y, KERNEL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Forward and backward of the alignment losses, against plain forms.")
    parser.add_argument("--blocks", type=int, default=11, help="A B B A blocks of each comparison (default 11)")
    parser.add_argument("--seconds", type=float, default=0.05, help="about how long each run of a block is (0.05)")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    arguments = parser.parse_args()

    pairs: tuple[tuple[str, Loss, Loss], ...] = (
        ("coral_distance", coral_distance, plain_coral),
        ("mmd2, 5 kernels", fast_mmd2, plain_mmd2),
    )
    print(f"times faster than plain, forward + backward in float32 on {arguments.device}, torch {torch.__version__}")
    print(f"{'':16} {'n x d':>12} {'median':>8}   95% interval")
    for name, loss, plain in pairs:
        for n, d in SHAPES:
            generator = torch.Generator().manual_seed(0)
            source = torch.randn(n, d, generator=generator).to(arguments.device).requires_grad_()
            target = (1.2 * torch.randn(n, d, generator=generator) + 0.1).to(arguments.device).requires_grad_()
            torch.testing.assert_close(loss(source, target), plain(source, target), rtol=1e-3, atol=1e-6)
            median, low, high = paired_ratios(
                _step(loss, source, target),
                _step(plain, source, target),
                blocks=arguments.blocks,
                seconds=arguments.seconds,
            )
            print(f"{name:16} {f'{n} x {d}':>12} {median:>8.1f}   {low:.1f} to {high:.1f}", flush=True)


def _step(loss: Loss, source: Tensor, target: Tensor) -> Callable[[], None]:
    def step() -> None:
        torch.autograd.grad(loss(source, target), (source, target))
        if source.is_cuda:
            torch.cuda.synchronize(source.device)

    return step


if __name__ == "__main__":
    main()
