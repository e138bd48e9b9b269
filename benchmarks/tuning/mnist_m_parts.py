"""Which part of the network carries mnist->mnist-m: DANN with one part changed at a time, target accuracy in sight.

    python benchmarks/tuning/mnist_m_parts.py --data DIR --variants chosen,padded

One seed that no table uses (1000), MNIST-M made by the recipe, 64 + 64 images a step, Adam at 1e-3 with its cosine,
per-domain batch statistics, weight 1 with the ramp. Prints, for each variant, the accuracy on the target's test images
(percent, last iterate), that on the source hold-out, and information maximisation on 1000 of the target images adapted
to (nats, at most log 10 = 2.303), which is what could have been known without target labels. docs/figures.md has the
table. About a minute and a half for 500 steps on one core.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import landbridge as lb
from landbridge.benchmarks.datasets import load_task
from landbridge.shared.augment import RandomShift
from landbridge.shared.batches import Samples
from landbridge.shared.evaluate import forward_all
from landbridge.shared.normalise import Normalise
from landbridge.shared.seeds import seeded

SEED = 1000  # tables count seeds from 0
HIDDEN = 100  # of the discriminator: the MNIST network of Ganin et al., JMLR 2016, figure 4
TARGET_ROWS = 1000


@dataclass(frozen=True)
class Variant:
    """What a trial is made of; the defaults are what ``lenet28-flat`` and its suite have.

    Attributes:
        widths: channels of the two 5x5 convolutions.
        padded: whether they keep the side of their maps.
        dropout: of whole maps, after the second.
        project: features of a linear layer with BatchNorm after the maps; 0: the maps themselves.
        head: hidden layers between features and logits, with BatchNorm.
        normalised: whether the discriminator's hidden layer has BatchNorm.
        shift: pixels by which images are moved at random.
        weight: of DANN.
        statistics: of the network's BatchNorm.
        low: whether inputs lie in 0..1, not in -1..1.
        adapted: DANN; else source-only.
    """

    widths: tuple[int, int] = (32, 48)
    padded: bool = False
    dropout: float = 0.5
    project: int = 0
    head: tuple[int, ...] = ()
    normalised: bool = True
    shift: int = 2
    weight: float = 1.0
    statistics: str = "per_domain"
    low: bool = False
    adapted: bool = True


CHOSEN = Variant()
STILL = Variant(shift=0)
PROJECTED = Variant(project=256)
LENET28 = replace(PROJECTED, padded=True, dropout=0.0, normalised=False)
VARIANTS = {
    "chosen": CHOSEN,
    "still": STILL,
    "still-without-dropout": replace(STILL, dropout=0.0),
    "still-plain-discriminator": replace(STILL, normalised=False),
    "still-padded": replace(STILL, padded=True),
    "still-projected": replace(STILL, project=256),
    "still-deep-head": replace(STILL, head=(100, 100)),
    "still-wide": replace(STILL, widths=(64, 50)),
    "projected": PROJECTED,
    "projected-plain-discriminator": replace(PROJECTED, normalised=False),
    "weight-0.3": replace(CHOSEN, weight=0.3),
    "joint": replace(CHOSEN, statistics="joint"),
    "low-inputs": replace(CHOSEN, low=True),
    "lenet28": replace(LENET28, weight=0.3),
    "lenet28-weight-1": LENET28,
    "lenet28-normalised": replace(LENET28, normalised=True),
    "lenet28-dropout": replace(LENET28, dropout=0.5),
    "lenet28-unpadded": replace(LENET28, padded=False),
    "source-only": replace(CHOSEN, adapted=False),
}


def network(variant: Variant) -> tuple[lb.Network, int]:
    """The network on three channels of 28 pixels, and the number of its features."""
    layers: list[nn.Module] = [Normalise(0.0, 1.0) if variant.low else Normalise()]
    channels, side = 3, 28
    for width, dropout in zip(variant.widths, (0.0, variant.dropout), strict=True):
        padding = 2 if variant.padded else 0
        layers += [nn.Conv2d(channels, width, 5, padding=padding, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.Dropout2d(dropout)] if dropout else []
        layers += [nn.MaxPool2d(2), nn.ReLU()]
        channels, side = width, (side + 2 * padding - 4) // 2
    layers.append(nn.Flatten())
    d = channels * side * side
    if variant.project:
        layers += [nn.Linear(d, variant.project, bias=False), nn.BatchNorm1d(variant.project), nn.ReLU()]
        d = variant.project
    head: list[nn.Module] = []
    before = d
    for width in variant.head:
        head += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
        before = width
    return lb.Network(nn.Sequential(*layers), nn.Sequential(*head, nn.Linear(before, 10))), d


def accuracy(logits: Tensor, labels: np.ndarray) -> float:
    """In percent."""
    return 100 * float((logits.argmax(1).numpy() == labels).mean())


def information(logits: Tensor) -> float:
    """H(mean of p) - mean of H(p), in nats."""
    p = logits.double().softmax(1)

    def entropy(q: Tensor) -> Tensor:
        return -(q * q.clamp(min=1e-300).log()).sum(-1)

    return float(entropy(p.mean(0)) - entropy(p).mean())


def main() -> None:
    """Run and print a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="by comma; all if left out")
    parser.add_argument("--steps", type=int, default=500)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = load_task("digits", "mnist->mnist-m", size=28, channels=3, source_holdout=0.1, data=asked.data)
    assert data.source_holdout is not None
    train = (data.source_train.inputs, data.source_train.labels)
    for name in asked.variants.split(","):
        variant = VARIANTS[name]
        with seeded(SEED, "network"):
            made, d = network(variant)
        with seeded(SEED, "method"):
            dann = lb.DANN(features=d, hidden=[HIDDEN], batchnorm=variant.normalised, weight=variant.weight)
        started = time.perf_counter()
        lb.fit(
            made,
            dann if variant.adapted else lb.SourceOnly(),
            train,
            data.target_train.inputs,
            steps=asked.steps,
            optimizer=lb.Optimizer(name="adam", lr=1e-3, schedule="cosine"),
            seed=SEED,
            batch_statistics=variant.statistics,
            augment=RandomShift(variant.shift) if variant.shift else None,
            device="cpu",
            channels_last=True,
            progress_bar=False,
        )
        seconds = time.perf_counter() - started

        def logits(rows: np.ndarray, source: bool, of: lb.Network = made) -> Tensor:
            return forward_all(of, Samples(torch.as_tensor(rows), None, torch.device("cpu")), source=source)[1]

        alone = not variant.adapted  # source-only has seen no target statistics
        target = accuracy(logits(data.target_eval.inputs, alone), data.target_eval.labels)
        held = accuracy(logits(data.source_holdout.inputs, True), data.source_holdout.labels)
        told = f"information {information(logits(data.target_train.inputs[:TARGET_ROWS], alone)):.3f}"
        print(f"{name:30} target {target:5.1f}  hold-out {held:5.1f}  {told}  {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
