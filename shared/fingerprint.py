"""What must be equal for a run to go on from a checkpoint."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import nn

from .batches import Samples
from .method import Method
from .optimizer import Optimizer
from .step import Step

__all__ = ["fingerprint"]

SHOWN = ("steps", "accumulate", "seed", "batch_statistics", "precision", "channels_last")  # of fit's arguments


def fingerprint(
    given: dict[str, Any], optimizer: Optimizer, step: Step, source: Sequence[Samples] | None, target: Samples
) -> dict[str, Any]:
    """Settings, sizes and checksums of a run, as texts and numbers.

    Args:
        given: the arguments of ``fit``.
        optimizer: its settings.
        step: network, task loss and method.
        source: each source's rows; None without.
        target: the target's.
    """
    # where they are not the usual: checkpoints of before there were tasks and watched values stay good
    more = {"task": given["task"], "watches": ", ".join(sorted(step.method.watches))}
    usual = {"task": "classification", "watches": ""}
    return {
        **{name: value for name, value in more.items() if value != usual[name]},
        **{name: given[name] for name in SHOWN},
        "batch_size": str(given["batch_size"]),
        "optimizer": str(optimizer),
        "method": "; ".join(_settings(m) for m in step.method.modules() if isinstance(m, Method)),
        "parameters": sum(p.numel() for p in step.parameters()),
        "source": "none" if source is None else "; ".join(map(_digest, source)),
        "target": _digest(target),
    }


def _settings(method: nn.Module) -> str:
    shown = {k: v for k, v in vars(method).items() if k[0] != "_" and k != "training"}
    plain = {k: v for k, v in shown.items() if isinstance(v, (bool, int, float, str)) or is_dataclass(v)}
    return f"{type(method).__name__} {plain}"


def _digest(samples: Samples) -> str:
    """Shape, dtype and a checksum of up to 64 rows, evenly spread, with all labels."""
    rows = torch.linspace(0, len(samples) - 1, min(64, len(samples))).long()
    some = samples.gather(rows.to(samples.device)).cpu().contiguous().view(torch.uint8).numpy().tobytes()
    labels = b"" if samples.labels is None else samples.labels.cpu().numpy().tobytes()
    return f"{samples.shape} {samples.dtype} {zlib.crc32(some + labels):08x}"
