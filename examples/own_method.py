"""A method of your own: one class in one file, for ``lb.fit`` and for a benchmark table.

Here the distance of the domains' means, class by class: what the source says by its labels, the target says by its
predicted probabilities. To see it in a table, beside source-only and DANN::

    landbridge bench optdigits --methods source-only,dann --method-from own_method.py:ClassMeans
"""

from __future__ import annotations

from typing import ClassVar

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import landbridge as lb


class ClassMeans(lb.Method):
    """Pulls the classes' mean features of both domains together.

    Args:
        weight: trade-off against the task loss, >= 0.
        schedule: ``ramp``: from nothing to the whole weight, for predictions are poor at first; or ``constant``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"source", "labels", "logits"})  # checked before terms() is called

    def __init__(self, *, weight: float = 1.0, schedule: str = "ramp") -> None:
        super().__init__(weight=weight, schedule=schedule)

    def terms(self, source: lb.Source, target: lb.Target, progress: Tensor) -> dict[str, Tensor]:
        classes = target.logits.shape[1]
        means_s = class_means(source.features, F.one_hot(source.labels, classes).to(source.features.dtype))  # (k, d)
        means_t = class_means(target.features, target.logits.detach().softmax(1))  # (k, d)
        return {"means": (means_s - means_t).square().sum(1).mean()}


def class_means(features: Tensor, weights: Tensor) -> Tensor:
    """The mean feature of each class, (k, d), of features (n, d) that belong to it as the weights (n, k) say."""
    return weights.T @ features / weights.sum(0).clamp(min=1e-3)[:, None]


def make_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits: one half as they are, the other half paler, noisy and lit from the right."""
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32)  # (1797, 8, 8)
    y = torch.tensor(digits.target)
    noise = torch.randn(x[1::2].shape, generator=torch.Generator().manual_seed(0))
    return x[::2], y[::2], 0.5 * x[1::2] + 0.8 * torch.linspace(0, 1, 8) + 0.1 * noise, y[1::2]


def train(method: lb.Method, xs: Tensor, ys: Tensor, xt: Tensor) -> lb.FitResult:
    """The same network from the same start for every method."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = lb.Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 10))
    adam = lb.Optimizer(name="adam", lr=1e-3)
    return lb.fit(network, method, (xs, ys), xt, steps=400, optimizer=adam, seed=0, device="cpu", progress_bar=False)


def main() -> None:
    xs, ys, xt, yt = make_data()
    before, after = (
        float((train(method, xs, ys, xt).predict(xt) == yt).float().mean())
        for method in (lb.SourceOnly(), ClassMeans())
    )
    print(f"target accuracy: source-only {before:.3f}, ClassMeans {after:.3f}")
    assert after > before + 0.2


if __name__ == "__main__":
    main()
