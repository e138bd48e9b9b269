"""The optimiser as settings: what ``fit`` makes of them, and the learning rate through training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .checks import nearest

if TYPE_CHECKING:
    from .method import Method
    from .network import Network

__all__ = ["Optimizer"]


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
        if self.name not in ("sgd", "adam", "adamw"):
            raise ValueError("Optimizer: " + nearest("name", self.name, ["sgd", "adam", "adamw"]))
        if self.schedule not in ("constant", "annealed", "cosine"):
            raise ValueError("Optimizer: " + nearest("schedule", self.schedule, ["constant", "annealed", "cosine"]))
        if not (math.isfinite(self.lr) and self.lr > 0 and self.backbone_factor >= 0 and self.weight_decay >= 0):
            raise ValueError(f"Optimizer needs lr > 0, backbone_factor >= 0 and weight_decay >= 0; got {self}.")
        if not 0 <= self.momentum < 1 or (self.clip is not None and self.clip <= 0):
            raise ValueError(f"Optimizer needs momentum in [0, 1) and clip > 0 or None; got {self}.")

    def make(self, network: Network, method: Method) -> torch.optim.Optimizer:
        """torch's optimiser over all that learns; each group keeps its own rate at progress 0 as ``base_lr``."""
        backbone = {id(p) for p in network.backbone.parameters()} - {id(p) for p in network.parts()["head"]}
        slow: list[nn.Parameter] = []
        fast: list[nn.Parameter] = []
        for parameter in dict.fromkeys([*network.parameters(), *method.parameters()]):
            if parameter.requires_grad:
                (slow if id(parameter) in backbone else fast).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": lr, "base_lr": lr}
            for parameters, lr in ((slow, self.lr * self.backbone_factor), (fast, self.lr))
            if parameters
        ]
        if not groups:
            raise ValueError("fit has nothing to train: every parameter of network and method is frozen.")
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


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
