"""torchvision's and timm's networks, unedited: ``lb.wrap`` by the name of the layer that makes the logits.

A vision transformer of torchvision learns sharp digits and is to read blurred, paler ones; its last layer is nested,
``heads.head``. The features that are aligned are what that layer is given. It has no BatchNorm, so that nothing but the
method adapts it. A network of timm is wrapped in the same way, if timm is installed.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

import landbridge as lb

SIDE, WIDTH = 16, 48
ADAM = lb.Optimizer(name="adam", lr=2e-3)


def make_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits, 16 x 16 in three channels: one half as they are, the other half blurred and paler."""
    digits = load_digits()
    x, y = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None], torch.tensor(digits.target)
    x = F.interpolate(x, size=SIDE, mode="bilinear").expand(-1, 3, -1, -1)  # (1797, 3, 16, 16)
    return x[::2], y[::2], 0.8 * F.avg_pool2d(x[1::2], 3, stride=1, padding=1) + 0.1, y[1::2]


def make_transformer() -> nn.Module:
    """A small one, with the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VisionTransformer(
            image_size=SIDE, patch_size=4, num_layers=2, num_heads=4, hidden_dim=WIDTH, mlp_dim=96, num_classes=10
        )


def train(method: lb.Method, xs: Tensor, ys: Tensor, xt: Tensor) -> nn.Module:
    """The transformer itself, trained: at the end of the block the hook is gone."""
    module = make_transformer()
    with lb.wrap(module, head="heads.head") as network:
        lb.fit(
            network, method, (xs, ys), xt, steps=150, batch_size=32, optimizer=ADAM, seed=0, device="cpu",
            progress_bar=False,
        )  # fmt: skip
    return module


@torch.no_grad()
def accuracy(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows whose largest logit is the right one."""
    return float((module(x).argmax(1) == y).float().mean())


def fit_timm(xs: Tensor, ys: Tensor, xt: Tensor) -> Tensor:
    """A convolutional network of timm, a few steps: its target features."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model("test_convnext", num_classes=10)
    network = lb.wrap(module, head="head.fc")
    big = F.interpolate(xs[:64], size=32), ys[:64]
    target = F.interpolate(xt[:64], size=32)
    result = lb.fit(
        network, lb.DeepCORAL(), big, target, steps=3, batch_size=16, optimizer=ADAM, device="cpu", progress_bar=False
    )
    return result.forward(target)[0]


def main() -> None:
    """Train twice from the same start, and compare."""
    xs, ys, xt, yt = make_data()
    before, after = (accuracy(train(m, xs, ys, xt), xt, yt) for m in (lb.SourceOnly(), lb.DeepCORAL(weight=10.0)))
    if find_spec("timm") is not None:
        print(f"features of a wrapped timm network: {tuple(fit_timm(xs, ys, xt).shape)}")
    try:
        lb.wrap(make_transformer(), head="head")
    except ValueError as error:
        print(f"a wrong name is met by the near ones: {error}")
    print(f"target accuracy: source-only {before:.3f}, DeepCORAL {after:.3f}")
    assert after > before + 0.1


if __name__ == "__main__":
    main()
