"""Checkpoints: one file each, whole or not there, and without code; and the random states that belong in them."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .files import write_atomically

__all__ = [
    "CheckpointError",
    "check_writable",
    "random_states",
    "read_checkpoint",
    "set_random_states",
    "write_checkpoint",
]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Tensors, numbers, texts, lists and dictionaries into one file, atomically.

    Raises:
        CheckpointError: if it cannot be written (any more); the one before stands.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        kept = "the checkpoint before it stands" if path.exists() else "there is none before it"
        raise CheckpointError(
            f"the checkpoint {path} cannot be written ({error.strerror}); {kept}. Make room or pass another path, and "
            "call fit again."
        ) from error


def check_writable(function: str, path: Path) -> None:
    """Raise with a sentence, before anything is trained, if a checkpoint could not be written.

    Raises:
        ValueError: for a folder that cannot be made or written, or a path that is a folder itself.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.probe")
        probe.write_bytes(b"landbridge")
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{function} cannot write checkpoint={path} ({error.strerror}). Nothing was trained; pass a path that can "
            "be written."
        ) from error
    if path.is_dir():
        raise ValueError(
            f"{function} needs checkpoint as a file; {path} is a folder. Nothing was trained; pass a file in it, such "
            f"as {path / 'run.pt'}."
        )


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What :func:`write_checkpoint` wrote; loading never runs code.

    Raises:
        CheckpointError: if it is no such file, or a damaged one.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}). Delete it to start afresh, or point to "
            "the right file."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, no checkpoint of landbridge.fit.")
    return state


def random_states() -> dict[str, Any]:
    """The state of every generator a training step may draw from: torch's on CPU and GPUs, numpy's, Python's."""
    version, keys, gauss = random.getstate()
    name, array, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (the global state is what has to be kept)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "python": [version, list(keys), gauss],
        "numpy": [str(name), np.asarray(array).tolist(), int(position), int(has_gauss), float(cached)],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Give every generator back the state that :func:`random_states` took."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in states["cuda"]])
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
