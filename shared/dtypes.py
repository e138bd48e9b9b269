"""The dtype that training computes in: the network's own, whatever torch's default is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = ["at_least_single", "check_trainable_dtype", "default_dtype", "working_dtype"]

HALVES = (torch.bfloat16, torch.float16)


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
