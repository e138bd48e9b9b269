"""The dtype that training computes in: the network's own, whatever torch's default is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from .callers import outside

__all__ = ["NARROW", "at_least_single", "check_trainable_dtype", "default_dtype", "warn_of_rounding", "working_dtype"]

HALVES = (torch.bfloat16, torch.float16)
NARROW = (
    1e3  # a deviation below so many times the mean's rounding in float32 has lost three of its seven digits, or more
)
LOOKED_AT = 4096  # rows


def working_dtype(module: nn.Module) -> torch.dtype:
    """float64 for a module of which any floating-point parameter is float64, else float32.

    >>> working_dtype(torch.nn.Linear(2, 2).bfloat16()), working_dtype(torch.nn.Linear(2, 2).double())
    (torch.float32, torch.float64)
    """
    wide = any(p.dtype == torch.float64 for p in module.parameters())
    return torch.float64 if wide else torch.float32


def at_least_single(x: Tensor) -> Tensor:
    """float64 as it is, all else as float32."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """torch's default dtype within the block; outside it is what it was.

    >>> with default_dtype(torch.float64):
    ...     torch.zeros(1).dtype
    torch.float64
    """
    before = torch.get_default_dtype()
    if before == dtype:
        yield
        return
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_trainable_dtype(function: str, *modules: nn.Module) -> None:
    """Raise ValueError for weights in half precision that are to learn: small steps would be lost to rounding.

    Frozen ones may be what they are.
    """
    every = chain.from_iterable(module.named_parameters() for module in modules)
    half = next(((name, p.dtype) for name, p in every if p.requires_grad and p.dtype in HALVES), None)
    if half is not None:
        raise ValueError(
            f"{function} trains weights of float32 or float64; got {half[0]} of {half[1]}, where steps below a "
            "hundredth of a weight are lost to rounding. Pass network.float(), with precision='bfloat16' for speed; "
            "the trained network can be halved again."
        )


def warn_of_rounding(function: str, what: str, values: Tensor) -> None:
    """Warn if numbers that are about to become float32 vary by so little that most of it is lost.

    Args:
        function: the caller, which opens the message.
        what: such as ``source inputs``.
        values: (n,) or (n, d), float64 or whole; others are not looked at. Of many rows some thousand are.
    """
    if values.ndim not in (1, 2) or values.dtype not in (torch.float64, torch.int64, torch.int32) or len(values) < 2:
        return
    rows = torch.linspace(0, len(values) - 1, min(LOOKED_AT, len(values))).long().to(values.device)
    some = values[rows].double().reshape(len(rows), -1)
    deviation, mean = some.std(0, unbiased=False), some.mean(0).abs()
    eps = torch.finfo(torch.float32).eps
    lost = torch.where(some.amax(0) > some.amin(0), mean * eps / deviation, 0.0)
    worst = int(lost.argmax())
    if float(lost[worst]) * NARROW <= 1:
        return
    which = f"column {worst} of the {what}" if values.ndim == 2 else f"the {what}"
    standardised = "StandardScaler" if values.ndim == 2 else "subtract their mean"
    warnings.warn(
        f"{function}: the network computes in float32, where {which}, which varies by {float(deviation[worst]):.3g} "
        f"around {float(some[:, worst].mean()):.6g}, keeps but steps of {float(mean[worst]) * eps:.1g}. Standardise "
        f"before ({standardised}), or pass network.double().",
        UserWarning,
        stacklevel=outside(),
    )
