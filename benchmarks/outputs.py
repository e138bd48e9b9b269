"""Files for the user: written whole, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

from ..shared.files import write_atomically

__all__ = ["write_output"]


def write_output(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made if it is missing.

    Raises:
        ValueError: if it cannot be written there, with the reason and what to do.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ValueError(
            f"cannot write {path} ({error.strerror or error}). Make room, make the folder writable, or copy the cells "
            "to one that you may write to."
        ) from error
