"""The optimiser as settings: what ``fit`` makes of them, and the learning rate through training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .names import nearest, same_name

if TYPE_CHECKING:
    from .method import Method
    from .network import Network

__all__ = ["Optimizer", "TorchOptimizer", "as_optimizer"]

NAMES = ("sgd", "adam", "adamw")
RATES = {"sgd": 0.01, "adam": 1e-3, "adamw": 1e-3}  # of an optimiser that is nothing but a name


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How parameters move.

    Attributes:
        name: ``sgd``, ``adam`` or ``adamw``.
        lr: the learning rate at the start.
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        weight_decay: L2 penalty (decoupled in ``adamw``).
        schedule: ``constant``; ``annealed``: lr / (1 + 10 p)^0.75 with p the progress (Ganin et al., JMLR 2016,
            section 5.2.2); ``cosine``: lr (1 + cos(pi p)) / 2.
        backbone_factor: the learning rate of the backbone relative to the rest, 0.1 for a pretrained one.
        clip: the largest norm of an update's gradient, of the network and of the method each by itself (so that a
            discriminator's gradient does not shorten the network's step); None: not clipped.

    Raises:
        ValueError: for an unknown name or schedule, or a number out of its range.
    """

    name: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    backbone_factor: float = 1.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError("Optimizer: " + nearest("name", self.name, NAMES))
        if self.schedule not in ("constant", "annealed", "cosine"):
            raise ValueError("Optimizer: " + nearest("schedule", self.schedule, ["constant", "annealed", "cosine"]))
        if not (math.isfinite(self.lr) and self.lr > 0 and self.backbone_factor >= 0 and self.weight_decay >= 0):
            raise ValueError(f"Optimizer needs lr > 0, backbone_factor >= 0 and weight_decay >= 0; got {self}.")
        if not 0 <= self.momentum < 1 or (self.clip is not None and self.clip <= 0):
            raise ValueError(f"Optimizer needs momentum in [0, 1) and clip > 0 or None; got {self}.")

    def make(self, network: Network, method: Method) -> torch.optim.Optimizer:
        """torch's optimiser over all that learns; each group keeps its own rate at progress 0 as ``base_lr``."""
        slow, fast = _learning(network, method)
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": lr, "base_lr": lr}
            for parameters, lr in ((slow, self.lr * self.backbone_factor), (fast, self.lr))
            if parameters
        ]
        fused = _can_fuse([*slow, *fast])
        if self.name == "sgd":
            made = torch.optim.SGD(
                groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov and self.momentum > 0,
                weight_decay=self.weight_decay, fused=fused,
            )  # fmt: skip
            if self.momentum > 0:  # the fused kernel cannot take parameters that join after the first step otherwise
                for parameter in (*slow, *fast):
                    made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return made
        kind = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
        return kind(groups, lr=self.lr, weight_decay=self.weight_decay, fused=fused)

    def set_rate(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Give every group its learning rate at this progress."""
        if self.schedule == "constant":
            return
        factor = (1 + 10 * progress) ** -0.75 if self.schedule == "annealed" else (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


@dataclass(frozen=True, kw_only=True, repr=False)
class TorchOptimizer(Optimizer):
    """An optimiser of torch's, or anybody's, with its own settings and a constant rate; see :func:`as_optimizer`.

    Attributes:
        factory: from parameters to the optimiser.
        described: the factory in words that stay the same from one process to the next, for a checkpoint.
    """

    factory: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    described: str

    def __repr__(self) -> str:
        return f"TorchOptimizer({self.described})"

    def make(self, network: Network, method: Method) -> torch.optim.Optimizer:
        """The factory's optimiser over all that learns."""
        slow, fast = _learning(network, method)
        try:
            made = self.factory([*slow, *fast])
        except (TypeError, ValueError) as error:
            raise ValueError(f"fit: optimizer={self.described} cannot take the parameters: {error}") from error
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(f"fit needs an optimizer of torch's; {self.described} made a {type(made).__name__}.")
        _check_step(self.described, type(made))
        for group in made.param_groups:
            group.setdefault("base_lr", group.get("lr"))
        return made


def as_optimizer(function: str, optimizer: Any) -> Optimizer:
    """What users say for an optimiser, as :class:`Optimizer`.

    Args:
        function: the caller, which opens every message.
        optimizer: an :class:`Optimizer`; the name of one (``sgd`` at 0.01 with momentum 0.9, ``adam`` or ``adamw`` at
            0.001, each at a constant rate); a class of torch's, such as ``torch.optim.Adam``, with its own settings; or
            a function of the parameters that makes one, such as ``functools.partial(torch.optim.Adam, lr=1e-4)``.

    Raises:
        ValueError: for an unknown name, with the nearest; for one that wants a closure, such as LBFGS.
        TypeError: for what is no optimiser, or one that is bound to parameters already.

    >>> as_optimizer("fit", "Adam").lr, as_optimizer("fit", torch.optim.SGD).described
    (0.001, 'torch.optim.sgd.SGD')
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        name = same_name(optimizer, NAMES)
        if name is None:
            raise ValueError(
                f"{function}: "
                + nearest("optimizer", optimizer, NAMES)
                + ". Others of torch's are passed as their class: optimizer=torch.optim.RMSprop."
            )
        return Optimizer(name=name, lr=RATES[name])
    if isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"{function} makes the optimizer itself, over network and method; got torch's "
            f"{type(optimizer).__name__} bound to parameters already. Pass its class, "
            f"torch.optim.{type(optimizer).__name__}, or "
            f"functools.partial(torch.optim.{type(optimizer).__name__}, lr=...)."
        )
    if (isinstance(optimizer, type) and not issubclass(optimizer, torch.optim.Optimizer)) or not callable(optimizer):
        came = optimizer.__name__ if isinstance(optimizer, type) else repr(optimizer)
        raise TypeError(
            f"{function} needs optimizer as landbridge.Optimizer(...), 'sgd', 'adam' or 'adamw', a class of "
            f"torch.optim, or a function that makes one of parameters; got {came}."
        )
    described = _described(optimizer)
    if isinstance(optimizer, type):
        _check_step(described, optimizer)
    return TorchOptimizer(factory=optimizer, described=described)


def _check_step(described: str, kind: type[torch.optim.Optimizer]) -> None:
    """LBFGS forwards the batch several times a step, by a closure; training here is one backward a step."""
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"fit: {described} wants a closure at each step, which fit has not. Use one that steps by itself, such as "
            "torch.optim.Adam."
        )


def _described(factory: Any) -> str:
    """A name that does not change from one process to the next, as addresses do."""
    if isinstance(factory, partial):
        given = [*map(repr, factory.args), *(f"{key}={value!r}" for key, value in sorted(factory.keywords.items()))]
        return f"{_described(factory.func)}({', '.join(given)})"
    kind = factory if hasattr(factory, "__qualname__") else type(factory)
    return f"{kind.__module__}.{kind.__qualname__}"


def _learning(network: Network, method: Method) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """What learns: of the backbone, and all else."""
    backbone = {id(p) for p in network.backbone.parameters()} - {id(p) for p in network.parts()["head"]}
    slow: list[nn.Parameter] = []
    fast: list[nn.Parameter] = []
    for parameter in dict.fromkeys([*network.parameters(), *method.parameters()]):
        if parameter.requires_grad:
            (slow if id(parameter) in backbone else fast).append(parameter)
    if not slow and not fast:
        raise ValueError("fit has nothing to train: every parameter of network and method is frozen.")
    return slow, fast


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
