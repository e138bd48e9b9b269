"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_atomically", "write_or_say"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new, never a part.

    A temporary file beside it is written, flushed to the disk and renamed; killed in between, the old file stands, and
    the left-over goes with the next write. The folder is made if it is missing.

    Raises:
        OSError: if the folder cannot be written or the disk is full; nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for left_over in path.parent.glob(f".{path.name}.*.tmp"):
        left_over.unlink(missing_ok=True)
    if os.name == "posix":
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_or_say(function: str, path: Path, content: bytes) -> None:
    """As :func:`write_atomically`, for a path that a user gave.

    Raises:
        ValueError: if nothing can be written there, with the reason.
    """
    if path.is_dir():
        raise ValueError(f"{function} needs the path of a file; {path} is a folder. Pass a file in it.")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ValueError(
            f"{function} cannot write {path} ({error.strerror}). Nothing was written; pass a path in a folder that can "
            "be written."
        ) from error
