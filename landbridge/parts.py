"""What one call makes of a few words: the network, the method, how many samples a step and how many steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .methods import METHODS
from .shared.checks import nearest
from .shared.default_network import default_network
from .shared.fit import fit
from .shared.method import Method, Sizes
from .shared.network import Network, wrap
from .shared.optimizer import Optimizer
from .shared.seeds import seeded

__all__ = [
    "Units",
    "batch_sizes",
    "check_options",
    "default_optimizer",
    "head_size",
    "make_method",
    "make_network",
    "steps_for",
]

Array = NDArray[Any]
BATCH = 64
PASSES, FEWEST, MOST = 30, 300, 2000  # passes over the larger domain, and the bounds on the steps they come to
OURS = ("network", "method", "source", "target", "steps", "batch_size", "seed", "task", "device")  # of fit's arguments
WIDEST = 1024  # of the discriminators' hidden layers, as the methods have it by themselves


class Units(NamedTuple):
    """A network made here learns values of mean 0 and variance 1; its linear head is then changed to give their own."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, values: Array) -> Units:
        """Of (n,) or (n, m) values; s = 1 for a constant one."""
        std = values.std(0)
        return cls(np.asarray(values.mean(0)), np.where(std > 0, std, 1).astype(values.dtype))

    def out(self, values: Array) -> Array:
        """The values standardised."""
        return np.asarray((values - self.mean) / self.std)

    @torch.no_grad()
    def back(self, head: nn.Module) -> None:
        """Change a linear head of standardised values into one of the values themselves."""
        assert isinstance(head, nn.Linear)
        mean, std = (torch.as_tensor(v).to(head.weight).reshape(-1) for v in self)
        head.weight.mul_(std[:, None])
        head.bias.mul_(std).add_(mean)


def make_network(
    function: str,
    model: Any,
    inputs: Any,
    outputs: int,
    *,
    head: str | None = None,
    seed: int = 0,
    batchnorm: bool = False,
) -> Network:
    """A network of whatever the user brings, never the user's own object: a copy of it is trained.

    Args:
        function: the caller, which opens every message.
        model: None for one made by the inputs' shape; a :class:`Network`; a module, whose last linear layer is its head
            unless ``head`` names another; or a function of (shape of one input, outputs) that makes either.
        inputs: of the source, (n, ...).
        outputs: how many numbers the head must give: the classes, values, or 1.
        head: a layer's name.
        seed: of weights that are made here.
        batchnorm: whether a network made by the shape has BatchNorm.

    Raises:
        TypeError: for what is no module.
        ValueError: if no head is found, or it has another size, or the network cannot take the inputs.
    """
    if model is None:
        if head is not None:
            raise ValueError(f"{function} got head={head!r} without a model. Leave it out, or pass the model.")
        return default_network(inputs, outputs, batchnorm=batchnorm, seed=seed, function=function)
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise TypeError(
                f"{function} needs a torch module, a landbridge Network, a function that makes one, or None; got "
                f"{type(model).__name__}."
            )
        with seeded(seed, "network"):
            model = model(tuple(inputs.shape[1:]), outputs)
        if not isinstance(model, nn.Module):
            raise TypeError(f"{function} needs a function that makes a module; it made a {type(model).__name__}.")
    module = deepcopy(model)
    if isinstance(module, Network):
        if head is not None:
            raise ValueError(f"{function} got head={head!r} with a Network, which has its head. Leave it out.")
        network = module
    elif head is None and isinstance(module, nn.Linear):
        network = Network(nn.Flatten(), module)
    else:
        network = wrap(module, head=_last_linear(function, module) if head is None else head)
    _check_outputs(function, network, inputs, outputs)
    return network


def head_size(model: Any, head: str | None) -> int | None:
    """How many outputs the head of somebody's module has, where its layer says so."""
    if not isinstance(model, nn.Module):
        return None
    if isinstance(model, Network):
        layer: Any = model.head
    elif head is not None:
        layer = dict(model.named_modules()).get(head)
    else:
        layer = next((m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear)), None)
    size = getattr(layer, "out_features", None)
    return size if isinstance(size, int) else None


def _last_linear(function: str, module: nn.Module) -> str:
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and name]
    if not names:
        raise ValueError(
            f"{function} found no linear layer in {type(module).__name__} to take as its head. Name the layer that "
            "makes the logits: head='classifier.1'."
        )
    return str(names[-1])


def _check_outputs(function: str, network: Network, inputs: Any, outputs: int) -> None:
    shape, (_, logits) = tuple(inputs.shape), _forward(function, network, inputs)
    width = 1 if logits.ndim == 1 else logits.shape[1]
    linear = getattr(network.head, "out_features", width)
    if width != linear:
        raise ValueError(
            f"{function} took the last linear layer, with {linear} outputs, for the head, but the model gives {width} "
            "numbers a sample. Name the layer that makes them: head='...'."
        )
    if width != outputs:
        raise ValueError(
            f"{function} needs a head of {outputs} outputs for these labels; the model gives {width} for inputs of "
            f"shape {shape}. Replace its last layer, for example model.fc = torch.nn.Linear(d, {outputs})."
        )


@torch.no_grad()
def _forward(function: str, network: Network, inputs: Any) -> tuple[Tensor, Tensor]:
    """Features and logits of up to two rows, in evaluation mode; modes are given back."""
    like = next(network.parameters(), torch.empty(0))
    some = inputs[:2]
    rows = torch.as_tensor(some if isinstance(some, Tensor) else np.array(some)).to(like.device)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        features, logits = network(rows.to(like.dtype) if rows.is_floating_point() else rows)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{function}: the model cannot take inputs of shape {tuple(inputs.shape)}, {inputs.dtype}: {error}"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    return features, logits


def make_method(
    function: str,
    method: str | Method | Callable[[Sizes], Method],
    network: Network,
    inputs: Any,
    *,
    weight: float | None = None,
    seed: int = 0,
    outputs: int = 1,
) -> Method:
    """A method by name, with parts that fit the network; or a copy of the one given.

    By name it has its own defaults, but for a discriminator's hidden layers: twice as wide as the features and at most
    1024, as small features need no more.

    Args:
        function: the caller, which opens every message.
        method: a name of ``METHODS``, a :class:`Method`, or a function of the sizes that makes one.
        network: what its parts must fit.
        inputs: of the source, of which two rows are forwarded for the size of the features.
        weight: the trade-off, for a method by name; None: its own.
        seed: of the method's weights.
        outputs: classes, which are 2 for a binary task.

    Raises:
        ValueError: for an unknown name, with the nearest, or a weight beside a method that has its own.
        TypeError: for what is no method.
    """
    if isinstance(method, Method):
        if weight is not None:
            raise ValueError(
                f"{function} got weight={weight} beside a {type(method).__name__} that has its own. Set it there."
            )
        return deepcopy(method)
    if not isinstance(method, str) and not callable(method):
        raise TypeError(f"{function} needs method as a name, a Method or a function; got {type(method).__name__}.")
    features, _ = _forward(function, network, inputs)
    sizes = Sizes(features.shape[1], outputs)
    with seeded(seed, "method"):
        if not isinstance(method, str):
            made = method(sizes)
            if not isinstance(made, Method):
                raise TypeError(f"{function} needs a function that makes a Method; it made a {type(made).__name__}.")
            return made
        if method not in METHODS:
            raise ValueError(f"{function}: " + nearest("method", method, METHODS))
        settings: dict[str, Any] = {} if weight is None else {"weight": weight}
        hidden = inspect.signature(METHODS[method]).parameters.get("hidden")
        if hidden is not None and hidden.default:
            settings["hidden"] = tuple(min(WIDEST, 2 * sizes.features) for _ in hidden.default)
        return METHODS[method].create(sizes, **settings)


def batch_sizes(batch_size: int | tuple[int, int] | None, n_s: int, n_t: int) -> tuple[int, int]:
    """Rows of source and target a step: as given, or 64 and no more than there are."""
    if batch_size is None:
        return min(BATCH, n_s), min(BATCH, n_t)
    return (batch_size, batch_size) if isinstance(batch_size, int) else batch_size


def steps_for(steps: int | None, n: int, batch_size: int) -> int:
    """As given, or 30 passes over ``n`` rows, at least 300 steps and at most 2000."""
    return max(FEWEST, min(MOST, math.ceil(PASSES * n / batch_size))) if steps is None else steps


def default_optimizer() -> Optimizer:
    """Adam at 0.001, its rate falling along a half cosine: works unseen on standardised inputs more often than SGD."""
    return Optimizer(name="adam", lr=1e-3, schedule="cosine")


def check_options(function: str, options: dict[str, Any]) -> None:
    """Raise for an option that ``fit`` does not have, with the nearest that it has."""
    known = [name for name in inspect.signature(fit).parameters if name not in OURS]
    for name in options:
        if name not in known:
            raise TypeError(f"{function}: " + nearest("argument", name, known))
