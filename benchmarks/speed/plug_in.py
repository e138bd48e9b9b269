"""What ``lb.wrap`` and a method cost in a loop of your own, over the same loop with the same loss written by hand.

    python benchmarks/speed/plug_in.py            # about two minutes; --quick: some seconds

A tiny network (two hidden layers of 32), batches of 32 + 32 rows of 20 numbers, SGD, one thread: next to nothing is
computed, so what is left is overhead. Each line compares whole steps (forward, loss, backward, optimiser) in A B B A
blocks, and gives the difference in milliseconds a step, the median over the blocks with its 95% interval; ``least`` is
the difference of the fastest runs of both, which a busy machine disturbs least. Both loops are first held to give the
same loss and the same weights after ten steps.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import landbridge as lb
from landbridge.benchmarks.speed.paired import paired_seconds

BATCH, INPUTS, WIDTH, CLASSES, STEPS = 32, 20, 32, 5, 1000
LIMIT = 0.3  # milliseconds a step that the issue allows

HandLoss = Callable[[Tensor, Tensor, float], Tensor]  # (features, logits) of source then target rows, progress


class Reverse(torch.autograd.Function):
    """Gradient reversal as anybody would write it."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def body() -> nn.Sequential:
    """The network, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)
    )


def discriminator(inputs: int) -> nn.Sequential:
    """A small one, the same each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1), nn.Flatten(0))


# ---- the losses by hand


def by_hand_adversarial(judge: nn.Module, of: Callable[[Tensor, Tensor], Tensor]) -> HandLoss:
    """DANN's loss, of the features or of what is made of them and the logits."""
    domain = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])

    def loss(features: Tensor, logits: Tensor, progress: float) -> Tensor:
        scale = 2 / (1 + math.exp(-10 * progress)) - 1
        judged = judge(of(Reverse.apply(features, scale), logits))
        return 2 * F.binary_cross_entropy_with_logits(judged, domain)

    return loss


def by_hand_ddc(features: Tensor, logits: Tensor, progress: float) -> Tensor:
    return (features[:BATCH].mean(0) - features[BATCH:].mean(0)).square().sum()


def by_hand_deepcoral(features: Tensor, logits: Tensor, progress: float) -> Tensor:
    source, target = features[:BATCH], features[BATCH:]
    source, target = source - source.mean(0), target - target.mean(0)
    difference = source.T @ source / (BATCH - 1) - target.T @ target / (BATCH - 1)
    return difference.square().sum() / (4 * features.shape[1] ** 2)


def by_hand_dan(features: Tensor, logits: Tensor, progress: float) -> Tensor:
    return _by_hand_mmd2(features) + _by_hand_mmd2(logits.softmax(1))


def _by_hand_mmd2(x: Tensor) -> Tensor:
    norms = x.square().sum(1)
    squared = (norms[:, None] + norms - 2 * x @ x.T).clamp(min=0)
    distinct = squared.detach()[~torch.eye(len(x), dtype=torch.bool)]
    bandwidth = distinct.median()
    gram = sum(torch.exp(-squared / (bandwidth * 2.0**k)) for k in range(-2, 3)) / 5
    return gram[:BATCH, :BATCH].mean() + gram[BATCH:, BATCH:].mean() - 2 * gram[:BATCH, BATCH:].mean()


def by_hand_mcc(features: Tensor, logits: Tensor, progress: float) -> Tensor:
    p = (logits[BATCH:] / 2.5).softmax(1)
    weights = 1 + torch.exp((p * torch.log(p)).sum(1))
    weights = (len(p) * weights / weights.sum()).detach()
    confusion = (weights[:, None] * p).T @ p
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / CLASSES


def outer(features: Tensor, logits: Tensor) -> Tensor:
    return (features[:, :, None] * logits.detach().softmax(1)[:, None, :]).flatten(1)


def pairs() -> dict[str, tuple[lb.Method, HandLoss, nn.Module]]:
    """Method, the same loss by hand, and the module whose parameters it has."""
    nothing = nn.Module()
    ours, theirs = discriminator(WIDTH), discriminator(WIDTH)
    joint, their_joint = discriminator(WIDTH * CLASSES), discriminator(WIDTH * CLASSES)
    cdan = lb.CDAN(features=WIDTH, classes=CLASSES, discriminator=joint)
    return {
        "dann": (lb.DANN(discriminator=ours), by_hand_adversarial(theirs, lambda f, z: f), theirs),
        "cdan": (cdan, by_hand_adversarial(their_joint, outer), their_joint),
        "ddc": (lb.DDC(weight=1.0), by_hand_ddc, nothing),
        "dan": (lb.DAN(), by_hand_dan, nothing),
        "deepcoral": (lb.DeepCORAL(), by_hand_deepcoral, nothing),
        "mcc": (lb.MCC(), by_hand_mcc, nothing),
    }


# ---- the loops


class Loop:
    """A training loop on one batch that stays; a call is one step.

    Args:
        module: the network.
        loss: of the batch's inputs, labels and the progress.
        others: whose parameters learn beside the network's.
    """

    def __init__(self, module: nn.Module, loss: Callable[[Tensor, Tensor, float], Tensor], others: nn.Module) -> None:
        torch.manual_seed(2)
        self.x = torch.cat([torch.randn(BATCH, INPUTS), 1.5 * torch.randn(BATCH, INPUTS) + 0.5])
        self.y = torch.randint(0, CLASSES, (BATCH,))
        self.loss = loss
        self.parameters = [*module.parameters(), *others.parameters()]
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.01, momentum=0.9)
        self.done = 0

    def __call__(self) -> Tensor:
        loss = self.loss(self.x, self.y, self.done % STEPS / STEPS)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.done += 1
        return loss.detach()


def bare(hand: HandLoss | None, others: nn.Module) -> Loop:
    """Everything by hand."""
    module = body()
    features_of, head = module[:4], module[4]

    def loss(x: Tensor, y: Tensor, progress: float) -> Tensor:
        features = features_of(x)
        logits = head(features)
        value = F.cross_entropy(logits[:BATCH], y)
        return value if hand is None else value + hand(features, logits, progress)

    return Loop(module, loss, others)


def plugged(method: lb.Method | None, *, wrapped: bool = True) -> Loop:
    """The module wrapped, or written out by hand as a body and a head; the method called in the loop."""
    module = body()
    features_of, head = module[:4], module[4]
    network = lb.wrap(module, head="4") if wrapped else None

    def loss(x: Tensor, y: Tensor, progress: float) -> Tensor:
        if network is None:
            features = features_of(x)
            logits = head(features)
        else:
            features, logits = network(x)
        if method is None:
            return F.cross_entropy(logits[:BATCH], y)
        (fs, ft), (ls, lt) = features.chunk(2), logits.chunk(2)
        return F.cross_entropy(ls, y) + method(lb.Source(fs, ls, y), lb.Target(ft, lt), progress)

    return Loop(module, loss, nn.Module() if method is None else method)


def hold_equal(name: str, one: Loop, other: Loop) -> None:
    """Ten steps of both give the same losses and weights, but for rounding."""
    for step in range(10):
        torch.testing.assert_close(one(), other(), rtol=1e-3, atol=1e-5, msg=lambda m, s=step: f"{name}, step {s}: {m}")
    for a, b in zip(one.parameters, other.parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=41, help="A B B A blocks of each line (default 41)")
    parser.add_argument("--seconds", type=float, default=0.05, help="about how long each run of a block is (0.05)")
    parser.add_argument("--quick", action="store_true", help="7 blocks of 0.02 seconds")
    parser.add_argument("--cpu-time", action="store_true", help="the process's own time, where others are busy too")
    asked = parser.parse_args()
    blocks, seconds = (7, 0.02) if asked.quick else (asked.blocks, asked.seconds)
    clock = time.process_time if asked.cpu_time else time.perf_counter
    torch.set_num_threads(1)

    lines: list[tuple[str, Loop, Loop]] = [("wrap alone", plugged(None), bare(None, nn.Module()))]
    for name in pairs():
        for title, wrapped in ((f"{name} alone", False), (f"wrap + {name}", True)):
            method, hand, others = pairs()[name]
            lines.append((title, plugged(method, wrapped=wrapped), bare(hand, others)))
    print(f"torch {torch.__version__}, {WIDTH} wide, {BATCH}+{BATCH} rows, {blocks} blocks, milliseconds a step")
    print(f"{'':16} {'by hand':>8} {'more':>8}   {'95% interval':18} {'least':>8}")
    worst = -math.inf
    for name, loop, by_hand in lines:
        hold_equal(name, loop, by_hand)
        found = paired_seconds(loop, by_hand, blocks=blocks, seconds=seconds, clock=clock)
        more, low, high, least = (1e3 * value for value in (*found.difference, found.least_a - found.least_b))
        worst = max(worst, more)
        interval = f"{low:.4f} to {high:.4f}"
        print(f"{name:16} {1e3 * found.median_b:>8.4f} {more:>8.4f}   {interval:18} {least:>8.4f}", flush=True)
    print(f"the most: {worst:.4f} ms a step; allowed: {LIMIT}")


if __name__ == "__main__":
    main()
