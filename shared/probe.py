"""A look at what a network makes of a few rows before it is trained on them: mistakes are cheaper there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .batches import Samples
from .batchnorm import DomainBatchNorm
from .checkpoint import random_states, set_random_states
from .dtypes import warn_of_rounding, working_dtype
from .evaluate import forward_one

__all__ = ["Look", "are_probabilities", "cast_whole_numbers", "check_logits_are_meant", "look", "probabilities_refused"]

ROWS = 8  # so many rows of logits do not sum to 1 by chance
TOLERANCE = 1e-3  # of their sum, for softmax in half precision
PASSED = ("ToCopy", "View", "Reshape", "Squeeze", "Unsqueeze", "Clone", "Select", "Slice", "Alias", "Flatten")
SQUASHED = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}

Transform = Callable[[Tensor], Tensor]


class Look(NamedTuple):
    """What a network made of a few rows.

    Attributes:
        features: (m, d).
        outputs: (m, k) or (m,).
        squashed: ``softmax`` or ``sigmoid`` if that is what the outputs came out of.
    """

    features: Tensor
    outputs: Tensor
    squashed: str | None


def look(network: nn.Module, samples: Samples, transform: Transform | None = None) -> Look:
    """Forward up to eight rows in evaluation mode; modes, statistics and random states are left as they were.

    Raises:
        Exception: whatever the network has against the rows.
    """
    rows = torch.linspace(0, len(samples) - 1, min(ROWS, len(samples))).long()
    modes = {module: module.training for module in network.modules()}
    split = next((m.split for m in network.modules() if isinstance(m, DomainBatchNorm)), None)
    states = random_states()
    network.eval()
    try:
        with torch.enable_grad(), nullcontext() if split is None else split.of(source=True):
            features, outputs = forward_one(network, samples.gather(rows), transform)
    finally:
        for module, training in modes.items():
            module.training = training
        set_random_states(states)
    return Look(features.detach(), outputs.detach(), _squashed(outputs))


def _squashed(outputs: Tensor) -> str | None:
    """Which function the outputs came out of, where the graph says so."""
    node = outputs.grad_fn
    while node is not None and node.name().startswith(PASSED) and node.next_functions:
        node = node.next_functions[0][0]
    return None if node is None else SQUASHED.get(node.name())


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row is non-negative and sums to 1, as no logits do.

    >>> are_probabilities(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).softmax(1)), are_probabilities(torch.eye(2) * 2)
    (True, False)
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not bool((outputs >= 0).all()):
        return False
    return bool(((outputs.double().sum(1) - 1).abs() < TOLERANCE).all())


def check_logits_are_meant(function: str, seen: Look, task: str) -> None:
    """Raise ValueError if the network's outputs are probabilities already: losses would squash them once more.

    The logarithm of a softmax is welcome: its softmax is what it was.
    """
    if task == "regression":
        return
    squashed = seen.squashed or ("softmax" if are_probabilities(seen.outputs) else None)
    if squashed is not None:
        raise ValueError(probabilities_refused(function, "the network", squashed, task))


def probabilities_refused(function: str, whose: str, squashed: str, task: str = "classification") -> str:
    """The sentence for outputs that are a softmax's or sigmoid's."""
    again = "sigmoid" if task == "binary" else "softmax"
    return (
        f"{function} needs logits; the outputs of {whose} are probabilities, made by a {squashed}, and the loss would "
        f"take a {again} of them, so that it hardly learns. Let the module return what goes into its {squashed} "
        "(nn.Identity() in its place); predict_proba gives probabilities afterwards."
    )


def cast_whole_numbers(
    function: str, name: str, network: nn.Module, samples: Samples, transform: Transform | None = None
) -> None:
    """Let whole numbers become floating point in each batch, if the network takes them so and not as they come.

    Token numbers go in as they are, and so do the images of a network that scales them by itself.

    Raises:
        ValueError: for uint8 images that the network does not take: 0 to 255 is no scale to learn on.
    """
    if samples.dtype.is_floating_point:
        return
    try:
        look(network, samples, transform)
        return
    except (RuntimeError, IndexError, TypeError, ValueError):
        samples.cast = working_dtype(network)
    try:
        look(network, samples, transform)
    except (RuntimeError, IndexError, TypeError, ValueError):
        samples.cast = None  # it was not the dtype, and the network will say what it was
        return
    if name != "inputs" and samples.cast == torch.float32 and samples.rows is None:
        warn_of_rounding(function, f"{name} inputs", samples.inputs)
    if samples.dtype == torch.uint8 and len(samples.shape) == 4:
        samples.cast = None
        raise ValueError(
            f"{function}: the network takes floating-point images; got {name} of torch.uint8. Pass images / 255, or "
            "let landbridge.shared.normalise.Normalise() be its first layer, which takes bytes as they are."
        )
