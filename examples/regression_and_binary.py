"""A regression head and a one-logit binary head: ``task="regression"`` and ``task="binary"``.

In both problems the target is measured by another instrument, with a gain and an offset of its own in each feature.

Regression (Friedman's made data): the head predicts a value, so there are no class logits to align. Methods that read
the features alone work; the others refuse before training, and say which ones work.

Binary (breast cancer, from scikit-learn): the head gives one logit z. Methods are shown (0, z), the logits of two
classes, so every one of them works; the task loss is the binary cross-entropy.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, make_friedman1
from torch import nn

import landbridge as lb

SETTINGS = {
    "steps": 400,
    "batch_statistics": "per_domain",
    "optimizer": lb.Optimizer(name="adam", lr=3e-3),
    "device": "cpu",
    "progress_bar": False,
}


def measured(inputs: np.ndarray, gain: float, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first half as it is, the second by another instrument."""
    random = np.random.default_rng(seed)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    half, d = len(inputs) // 2, inputs.shape[1]
    other = inputs[half:] * random.uniform(1 - gain, 1 + gain, d) + random.uniform(-offset, offset, d)
    return inputs[:half].astype(np.float32), other.astype(np.float32)


def network(d: int) -> lb.Network:
    """With one output: a value, or the logit of the second class."""
    torch.manual_seed(0)
    extractor = nn.Sequential(nn.Linear(d, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
    return lb.Network(extractor, nn.Linear(16, 1))


def regression() -> dict[str, float]:
    """The error of each method on the target, in standard deviations of what is predicted."""
    inputs, values = make_friedman1(1000, n_features=8, noise=0.2, random_state=0)
    values = ((values - values.mean()) / values.std()).astype(np.float32)
    source, target = measured(inputs, gain=0.4, offset=1.0)
    errors = {}
    for method in (lb.SourceOnly(), lb.AdaBN(), lb.DDC(), lb.DANN(features=16, hidden=[32], weight=0.3)):
        result = lb.fit(network(8), method, (source, values[:500]), target, task="regression", **SETTINGS)
        error = result.predict(target).numpy() - values[500:]
        errors[type(method).__name__] = float(np.sqrt(np.mean(error**2)))
    try:
        lb.fit(network(8), lb.MCC(), (source, values[:500]), target, task="regression", **SETTINGS)
    except ValueError as refused:
        print(f"refused: {refused}")
    else:
        raise AssertionError("MCC reads class logits and has to refuse")
    return errors


def binary() -> dict[str, float]:
    """The accuracy of each method on the target."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, labels = inputs[order], labels[order]
    source, target = measured(inputs, gain=0.6, offset=2.0)
    half = len(source)
    accuracies = {}
    for method in (lb.SourceOnly(), lb.CDAN(features=16, classes=2, hidden=[32]), lb.MCC()):
        result = lb.fit(network(30), method, (source, labels[:half]), target, task="binary", **SETTINGS)
        assert result.predict_proba(target).shape == (len(target), 2)
        accuracies[type(method).__name__] = float((result.predict(target).numpy() == labels[half:]).mean())
    return accuracies


def main() -> None:
    errors = regression()
    print("regression, error on the target:", {name: round(error, 3) for name, error in errors.items()})
    accuracies = binary()
    print("binary, accuracy on the target:", {name: round(share, 3) for name, share in accuracies.items()})
    before = errors.pop("SourceOnly"), accuracies.pop("SourceOnly")
    assert all(error < 0.7 * before[0] for error in errors.values()), "each method should take a third of the error"
    assert all(share > before[1] for share in accuracies.values()), "each method should find more"


if __name__ == "__main__":
    main()
