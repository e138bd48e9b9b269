"""Where a network is to compute: the device of a name, or a sentence."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


def resolve_device(device: torch.device | str, *, function: str | None = None) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Args:
        device: ``auto``, or one of torch's: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        function: the caller, which opens the message.

    Raises:
        ValueError: for a device that is not there, or no device's name.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    caller = "" if function is None else f"{function}: "
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{caller}unknown device {device!r}; use 'auto', 'cpu', 'cuda' or 'cuda:1'.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{caller}device {device!r} was asked for, but torch sees no GPU here; use 'auto' or 'cpu'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        there = ", ".join(f"'cuda:{i}'" for i in range(torch.cuda.device_count()))
        raise ValueError(f"{caller}device {device!r} was asked for, but torch sees only {there} here; use one of them.")
    if resolved.type == "meta":
        raise ValueError(f"{caller}device 'meta' holds shapes and no numbers, so nothing can be computed; use 'auto'.")
    if resolved.type not in ("cpu", "cuda"):
        _check_there(caller, device, resolved)
    return resolved


def _check_there(caller: str, device: object, resolved: torch.device) -> None:
    """Of a kind that torch knows and this machine, or this build of torch, may lack: MPS, XPU and others."""
    try:
        torch.empty(1, device=resolved).fill_(0)
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise ValueError(
            f"{caller}device {device!r} was asked for, but torch cannot compute on {resolved.type!r} here; use 'auto' "
            "or 'cpu'."
        ) from error
