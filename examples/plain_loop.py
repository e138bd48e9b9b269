"""A plain PyTorch loop, and the three lines that make it adapt to another domain.

Two half-moons are told apart; in the target they are turned by 35 degrees, and nobody has labelled them. The loop is
anybody's: a network, an optimiser, batches. What is added is marked 1, 2 and 3: the method, its parameters in the
optimiser (DANN has a discriminator of its own, which in no optimiser would never learn), and its loss beside the task
loss.
"""

from __future__ import annotations

import math

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn import functional as F

import landbridge as lb

STEPS, BATCH, WIDTH = 1000, 64, 32


def make_data(degrees: float = 35.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Moons as they are, and other moons that are turned."""
    points, labels = make_moons(800, noise=0.1, random_state=0)
    x, y = torch.tensor(points - [0.5, 0.25], dtype=torch.float32), torch.tensor(labels)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x[::2], y[::2], x[1::2] @ torch.tensor([[cos, sin], [-sin, cos]]), y[1::2]


def train(xs: Tensor, ys: Tensor, xt: Tensor, *, adapt: bool) -> nn.Module:
    """Train a small network on the source, and adapt it to the target if asked."""
    body = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    head = nn.Linear(WIDTH, 2)
    method = lb.DANN(features=WIDTH, hidden=[64]) if adapt else lb.SourceOnly()  # 1
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters(), *method.parameters()], lr=3e-3)  # 2
    for step in range(STEPS):
        rows_s, rows_t = torch.randint(len(xs), (BATCH,)), torch.randint(len(xt), (BATCH,))
        fs, ft = body(xs[rows_s]), body(xt[rows_t])
        ls, lt = head(fs), head(ft)
        loss = F.cross_entropy(ls, ys[rows_s])
        loss = loss + method(lb.Source(fs, ls, ys[rows_s]), lb.Target(ft, lt), progress=step / STEPS)  # 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return nn.Sequential(body, head)


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows whose largest logit is the right one."""
    return float((network(x).argmax(1) == y).float().mean())


def main() -> None:
    """Train twice from the same start, and compare."""
    xs, ys, xt, yt = make_data()
    found = []
    for adapt in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found.append(accuracy(train(xs, ys, xt, adapt=adapt), xt, yt))
    before, after = found
    print(f"target accuracy: without the three lines {before:.3f}, with them {after:.3f}")
    assert after > before + 0.05


if __name__ == "__main__":
    main()
