"""PyTorch Lightning: a method inside a LightningModule, with one loader for each domain.

Lightning owns the loop here; landbridge adds to its training step what it adds to any other. The method is an
``nn.Module``: assigned in the constructor, its own parameters (DANN's discriminator) are trained, moved and saved with
the rest.
"""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import landbridge as lb

EPOCHS, BATCH, WIDTH = 60, 40, 32


class Adapted(lightning.LightningModule):
    """A small network that learns two moons in the source, and adapts to the target.

    Args:
        method: what is added to the task loss.
    """

    def __init__(self, method: lb.Method) -> None:
        super().__init__()
        body = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.network = lb.Network(body, nn.Linear(WIDTH, 2))  # or lb.wrap(your_module, head="fc")
        self.method = method

    def training_step(self, batch: dict[str, list[Tensor]], batch_idx: int) -> Tensor:
        (xs, ys), (xt,) = batch["source"], batch["target"]
        (fs, ls), (ft, lt) = self.network(xs), self.network(xt)
        progress = self.global_step / self.trainer.estimated_stepping_batches
        return F.cross_entropy(ls, ys) + self.method(lb.Source(fs, ls, ys), lb.Target(ft, lt), progress)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)[1]
        return logits


def make_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Moons as they are, and other moons that are turned by 35 degrees."""
    points, labels = make_moons(800, noise=0.1, random_state=0)
    x, y = torch.tensor(points - [0.5, 0.25], dtype=torch.float32), torch.tensor(labels)
    angle = torch.tensor(35.0).deg2rad()
    turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    return x[::2], y[::2], x[1::2] @ turn, y[1::2]


def train(method: lb.Method, xs: Tensor, ys: Tensor, xt: Tensor) -> Adapted:
    """Fit by a quiet trainer on the CPU; a batch is a dictionary of one from each loader."""
    model = Adapted(method)
    loaders = {
        "source": DataLoader(TensorDataset(xs, ys), BATCH, shuffle=True),
        "target": DataLoader(TensorDataset(xt), BATCH, shuffle=True),
    }
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        # the data lies in memory, so that workers would only take time
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")  # of Lightning's own calls
        trainer.fit(model, loaders)
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows whose largest logit is the right one."""
    return float((model(x).argmax(1) == y).float().mean())


def main() -> None:
    """Train twice from the same start, and compare."""
    xs, ys, xt, yt = make_data()
    found = []
    for adapt in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            method = lb.DANN(features=WIDTH, hidden=[64]) if adapt else lb.SourceOnly()
            found.append(accuracy(train(method, xs, ys, xt), xt, yt))
    before, after = found
    print(f"target accuracy: source-only {before:.3f}, DANN {after:.3f}")
    assert after > before + 0.05


if __name__ == "__main__":
    main()
