"""Several labelled sources at once: the domains pooled, told apart by one discriminator, or aligned pair by pair.

The digits of scikit-learn as 64 sensors. Each of four devices has a gain and an offset of its own in every sensor, and
noise: three are labelled, the fourth is the target. ``fit`` takes the sources as a list of pairs; a batch then holds as
many rows of each, and methods see which source a row is of.

Most of what is to be gained here is in the batch statistics: under ``per_domain`` each source and the target are
normalised by their own, which is what AdaBN does to the target alone, without any loss of alignment. The other rows
have to be read against it.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import landbridge as lb


def devices(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Different digits as each device sees them: inputs (n, 64) and labels (n,)."""
    random = np.random.default_rng(seed)
    inputs, labels = load_digits(return_X_y=True)
    found = []
    for rows in np.array_split(random.permutation(len(inputs)), count):
        gain, offset = random.uniform(0.5, 1.5, 64), random.uniform(-0.5, 0.5, 64)
        seen = inputs[rows] / 16 * gain + offset + 0.1 * random.standard_normal((len(rows), 64))
        found.append((seen.astype(np.float32), labels[rows]))
    return found


def network() -> lb.Network:
    torch.manual_seed(0)
    extractor = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    return lb.Network(extractor, nn.Linear(32, 10))


def main() -> None:
    *sources, (target, target_labels) = devices(4)
    k = len(sources)

    methods: dict[str, lb.Method] = {
        "source-only, sources pooled": lb.SourceOnly(),
        "AdaBN": lb.AdaBN(),
        "DANN, sources pooled": lb.DANN(features=32, hidden=[64]),
        "DANN that names the domain": lb.DANN(features=32, hidden=[64], sources=k),
        "a DANN for each pair": lb.Pairwise(sources=k, make=lambda: lb.DANN(features=32, hidden=[64])),
        "a DAN for each pair": lb.Pairwise(sources=k, method=lb.DAN()),
    }
    scores = {}
    for name, method in methods.items():
        result = lb.fit(
            network(), method, sources, target, steps=300, batch_size=(96, 64), batch_statistics="per_domain",
            optimizer=lb.Optimizer(name="adam", lr=3e-3), device="cpu", progress_bar=False,
        )  # fmt: skip
        scores[name] = float((result.predict(target).numpy() == target_labels).mean())
        watched = f"; its discriminator ends at {result.history['accuracy'][-50:].mean():.2f}" if method.watches else ""
        print(f"{name:28s} target accuracy {scores[name]:.3f}{watched}")

    print(f"A discriminator that cannot tell the domains apart is at 0.50, among {k + 1} domains at {1 / (k + 1):.2f}.")
    before = scores.pop("source-only, sources pooled")
    assert all(after > before + 0.1 for after in scores.values()), "every way of using the target should help here"


if __name__ == "__main__":
    main()
