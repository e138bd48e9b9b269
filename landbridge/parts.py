"""What one call makes of a few words: the network, the method, how many samples a step and how many steps."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .methods import METHODS
from .shared.default_network import default_network
from .shared.dtypes import NARROW, default_dtype, working_dtype
from .shared.fit import fit
from .shared.method import Method, Sizes
from .shared.names import nearest, same_name
from .shared.network import Network, wrap
from .shared.optimizer import Optimizer
from .shared.probe import probabilities_refused
from .shared.seeds import seeded

__all__ = [
    "Units",
    "batch_sizes",
    "check_options",
    "default_optimizer",
    "head_size",
    "make_method",
    "make_network",
    "make_parts",
    "number",
    "steps_for",
    "whole",
]

Array = NDArray[Any]
BATCH = 64
PASSES, FEWEST, MOST = 30, 300, 2000  # passes over the larger domain, and the bounds on the steps they come to
OURS = ("network", "method", "source", "target", "steps", "batch_size", "seed", "task", "device")  # of fit's arguments
SHOWN = 6  # layer names in a message
WIDEST = 1024  # of the discriminators' hidden layers, as the methods have it by themselves


class Units(NamedTuple):
    """A network made here learns values of mean 0 and variance 1; its linear head is then changed to give their own.

    All in float64: values that vary by little around a large number are nothing but rounding in float32.
    """

    mean: Array
    std: Array

    @classmethod
    def of(cls, values: Array) -> Units:
        """Of (n,) or (n, m) values; s = 1 for a constant one."""
        values = values.astype(np.float64)
        varies = np.ptp(values, axis=0) > 0
        return cls(np.asarray(values.mean(0)), np.where(varies, values.std(0), 1.0))

    def out(self, values: Array) -> Array:
        """The values standardised."""
        return np.asarray((values.astype(np.float64) - self.mean) / self.std)

    @torch.no_grad()
    def back(self, network: Network) -> None:
        """Change a network whose linear head gives standardised values into one of the values themselves.

        Where float32 cannot hold them, the network becomes one of float64.
        """
        head = network.head
        assert isinstance(head, nn.Linear)
        if bool(np.any(self.std < NARROW * np.finfo(np.float32).eps * np.abs(self.mean))):
            network.double()
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
        model: None for one made by the inputs' shape; a :class:`Network`; a module, whose head is the linear layer that
            makes its output, unless ``head`` names another; or a function of (shape of one input, outputs) that makes
            either.
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
        network = wrap(module, head=_output_layer(function, module, inputs) if head is None else head)
    _check_outputs(function, network, inputs, outputs)
    return network


def head_size(function: str, model: Any, head: str | None, inputs: Any) -> int | None:
    """How many outputs the head of somebody's module has, where its layer says so."""
    if not isinstance(model, nn.Module):
        return None
    if isinstance(model, Network):
        layer: Any = model.head
    elif head is None and not isinstance(model, nn.Linear):
        copied = deepcopy(model)
        layer = dict(copied.named_modules()).get(_output_layer(function, copied, inputs))
    else:
        layer = model if head is None else dict(model.named_modules()).get(head)
    size = getattr(layer, "out_features", None)
    return size if isinstance(size, int) else None


def _output_layer(function: str, module: nn.Module, inputs: Any) -> str:
    """The name of the linear layer whose output is the module's own, wherever it is registered.

    It is the same memory, unchanged since, and not merely equal: a ReLU of positive numbers equals them.
    """
    linear: dict[nn.Module, str] = {}
    linear.update((layer, name) for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and name)
    if not linear:
        raise ValueError(
            f"{function} found no linear layer in {type(module).__name__} to take as its head. Name the layer that "
            "makes the logits: head='classifier.1'."
        )
    seen: list[tuple[str, Any, int]] = []  # the output is kept, so that its memory is given to nothing else

    def see(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not output.is_inference():
            seen.append((linear[layer], output, output._version))

    last: str = list(linear.values())[-1]
    if hasattr(module, "_orig_mod"):
        return last  # wrap says what is wrong with what torch.compile has made
    hooks = [layer.register_forward_hook(see) for layer in linear]
    try:
        made = _probe(function, module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(made, Tensor):
        return last  # and with other outputs than a tensor
    for name, output, version in reversed(seen):
        same = output.untyped_storage().data_ptr() == made.untyped_storage().data_ptr()
        if same and output.numel() == made.numel() and made._version == version:
            return str(name)
    for name, output, _ in reversed(seen):
        squashed = _squashed(output, made)
        if squashed == "log_softmax":
            return str(name)  # its softmax is what the layer's own is
        if squashed is not None:
            task = "binary" if output.shape[1] == 1 else "classification"
            raise ValueError(probabilities_refused(function, type(module).__name__, squashed, task))
    called = list(dict.fromkeys(name for name, *_ in reversed(seen)))
    names = ", ".join(repr(name) for name in called[:SHOWN]) or "none"
    raise ValueError(
        f"{function} cannot tell which layer of {type(module).__name__} is its head: no linear layer's output is the "
        f"module's own output as it is. Name the layer that makes the logits: head='...'; linear layers that were "
        f"called, the last one first: {names}. Whatever follows it stays: take a softmax or sigmoid away."
    )


def _squashed(output: Tensor, made: Tensor) -> str | None:
    """Which function made it of a layer's output, of those that turn logits into probabilities or their logarithms."""
    if output.ndim != 2 or output.numel() != made.numel():
        return None
    functions = {"log_softmax": output.log_softmax, "softmax": output.softmax} if output.shape[1] > 1 else {}
    for name, function in functions.items():
        if torch.allclose(made.reshape(output.shape), function(1)):
            return name
    return "sigmoid" if torch.allclose(made.reshape(output.shape), output.sigmoid()) else None


def _check_outputs(function: str, network: Network, inputs: Any, outputs: int) -> None:
    shape, (_, logits) = tuple(inputs.shape), _forward(function, network, inputs)
    width = 1 if logits.ndim == 1 else logits.shape[1]
    linear = getattr(network.head, "out_features", width)
    if width != linear:
        raise ValueError(
            f"{function} got a head of {linear} outputs, but the model gives {width} numbers a sample. Name the layer "
            "that makes them: head='...'."
        )
    if width != outputs:
        raise ValueError(
            f"{function} needs a head of {outputs} outputs for these labels; the model gives {width} for inputs of "
            f"shape {shape}. Replace its last layer, for example model.fc = torch.nn.Linear(d, {outputs})."
        )


def _forward(function: str, network: Network, inputs: Any) -> tuple[Tensor, Tensor]:
    """Features and logits of up to two rows."""
    features, logits = _probe(function, network, inputs)
    return features, logits


@torch.no_grad()
def _probe(function: str, module: nn.Module, inputs: Any) -> Any:
    """What up to two rows give in evaluation mode; modes are given back."""
    like = next(module.parameters(), torch.empty(0))
    some = inputs[:2]
    rows = torch.as_tensor(some if isinstance(some, Tensor) else np.array(some)).to(like.device)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        if rows.is_floating_point():
            return module(rows.to(like.dtype))
        try:
            return module(rows)
        except RuntimeError:
            return module(rows.to(like.dtype))  # whole numbers that are measurements, as fit takes them too
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{function}: the model cannot take inputs of shape {tuple(inputs.shape)}, {inputs.dtype}: {error}"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def make_parts(
    function: str,
    model: Any,
    method: Any,
    inputs: Any,
    outputs: int,
    *,
    classes: int,
    head: str | None = None,
    weight: float | None = None,
    seed: int = 0,
) -> tuple[Network, Method]:
    """:func:`make_network` and :func:`make_method`; a network made by the inputs' shape has what the method needs."""
    known = same_name(method, METHODS) if isinstance(method, str) else None
    needs = getattr(METHODS[known] if known is not None else method, "needs", ())
    batchnorm = "batchnorm" in needs
    network = make_network(function, model, inputs, outputs, head=head, seed=seed, batchnorm=batchnorm)
    made = make_method(function, method, network, inputs, weight=weight, seed=seed, outputs=classes)
    if model is None and "batchnorm" in made.needs and not any(isinstance(m, _BatchNorm) for m in network.modules()):
        network = make_network(function, None, inputs, outputs, seed=seed, batchnorm=True)  # of features of one size
    return network, made


def make_method(
    function: str,
    method: str | Method | type[Method] | Callable[[Sizes], Method],
    network: Network,
    inputs: Any,
    *,
    weight: float | None = None,
    seed: int = 0,
    outputs: int = 1,
) -> Method:
    """A method by name, with parts that fit the network; or a copy of the one given.

    By name or class it has its own defaults, but for a discriminator's hidden layers: twice as wide as the features and
    at most 1024, as small features need no more.

    Args:
        function: the caller, which opens every message.
        method: a name of ``METHODS``, a :class:`Method`, a class of one, or a function of the sizes that makes one.
        network: what its parts must fit.
        inputs: of the source, of which two rows are forwarded for the size of the features.
        weight: the trade-off, for a method by name or class; None: its own.
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
    kind: type[Method] | None = method if isinstance(method, type) and issubclass(method, Method) else None
    if not isinstance(method, str) and not callable(method):
        raise TypeError(f"{function} needs method as a name, a Method or a function; got {type(method).__name__}.")
    if isinstance(method, str):
        name = same_name(method, METHODS)
        if name is None:
            raise ValueError(f"{function}: " + nearest("method", method, METHODS))
        kind = METHODS[name]
    elif kind is None and weight is not None:
        raise ValueError(f"{function} got weight={weight} beside a function that makes the method. Set it there.")
    features, _ = _forward(function, network, inputs)
    sizes = Sizes(features.shape[1], outputs)
    with seeded(seed, "method"), default_dtype(working_dtype(network)):
        if kind is None:
            make: Any = method
            made = make(sizes)
            if isinstance(made, Method):
                return made
            raise TypeError(f"{function} needs a function that makes a Method; it made a {type(made).__name__}.")
        settings: dict[str, Any] = {} if weight is None else {"weight": number(weight)}
        hidden = inspect.signature(kind).parameters.get("hidden")
        if hidden is not None and isinstance(hidden.default, tuple):
            settings["hidden"] = tuple(min(WIDEST, 2 * sizes.features) for _ in hidden.default)
        return kind.create(sizes, **settings)


def number(value: Any) -> Any:
    """A number of Python's for one of numpy's (a search over an array hands these out); all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def whole(function: str, name: str, value: Any, *, least: int | None = None) -> int:
    """A whole number of any library as Python's, or a sentence."""
    try:
        found = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        found = None
    bound = "" if least is None else f" >= {least}"
    if found is None:
        kind = f" ({type(value).__name__})"
        raise TypeError(f"{function} needs {name} as a whole number{bound}; got {value!r}{kind}. Pass an int.")
    if least is not None and found < least:
        raise ValueError(f"{function} needs {name} as a whole number{bound}; got {value!r}.")
    return found


def batch_sizes(function: str, batch_size: Any, n_s: int, n_t: int) -> tuple[int, int]:
    """Rows of source and target a step: one number, a pair of them, or for None 64 and no more than there are."""
    if batch_size is None:
        return min(BATCH, n_s), min(BATCH, n_t)
    if isinstance(batch_size, (tuple, list)) or (isinstance(batch_size, np.ndarray) and batch_size.ndim == 1):
        if len(batch_size) != 2:
            raise ValueError(
                f"{function} needs batch_size as a whole number or a pair (source, target); got {batch_size!r}."
            )
        n_source, n_target = batch_size
    else:
        n_source = n_target = batch_size
    return whole(function, "batch_size", n_source, least=1), whole(function, "batch_size", n_target, least=1)


def steps_for(function: str, steps: Any, n: int, batch_size: int) -> int:
    """As given, or 30 passes over ``n`` rows, at least 300 steps and at most 2000."""
    if steps is None:
        return max(FEWEST, min(MOST, math.ceil(PASSES * n / batch_size)))
    return whole(function, "steps", steps, least=1)


def default_optimizer() -> Optimizer:
    """Adam at 0.001, its rate falling along a half cosine: works unseen on standardised inputs more often than SGD."""
    return Optimizer(name="adam", lr=1e-3, schedule="cosine")


def check_options(function: str, options: dict[str, Any]) -> None:
    """Raise for an option that ``fit`` does not have, with the nearest that it has."""
    known = [name for name in inspect.signature(fit).parameters if name not in OURS]
    for name in options:
        if name not in known:
            raise TypeError(f"{function}: " + nearest("argument", name, known))
