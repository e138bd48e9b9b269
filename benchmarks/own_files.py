"""Python files of the user's: read once, run from their text, and told of in one sentence where they do not run."""

from __future__ import annotations

import hashlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ..shared.names import nearest

__all__ = ["code_of", "module_of", "read_text"]


def code_of(text: bytes, name: str) -> str:
    """The beginning of a text's sha256 and a name in it: part of a cell's identity.

    >>> code_of(b"x = 1", "x")
    '8ff436def1451285:x'
    """
    return f"{hashlib.sha256(text).hexdigest()[:16]}:{name}"


def read_text(where: str, path: Path) -> bytes:
    """What a file holds.

    Args:
        where: what asked for it, which opens every message.
        path: the file.

    Raises:
        ValueError: if it is not there or cannot be read.
    """
    if not path.is_file():
        here = [other.name for other in sorted(path.parent.glob("*.py"))] if path.parent.is_dir() else []
        hint = f" {nearest('file', path.name, here)}." if here else ""
        raise ValueError(f"{where}: there is no file {path}.{hint}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{where}: {path} cannot be read ({error.strerror}).") from error


def module_of(where: str, path: str, text: bytes) -> ModuleType:
    """The file as a module; it is run once in each process, from the text that was read.

    Args:
        where: what asked for it, which opens every message.
        path: the file, for messages.
        text: what it held.

    Raises:
        ValueError: if it does not run.
    """
    name = f"landbridge_own_{hashlib.sha256(path.encode() + text).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by its name
    try:
        exec(compile(text, path, "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ValueError(f"{where}: {path} does not run: {_told(error, path)}") from error
    return module


def _told(error: BaseException, path: str) -> str:
    """The error with the last line of the file that led to it."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: SyntaxError: {error.msg}."
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = f"line {lines[-1]}: " if lines else ""
    hint = ""
    if isinstance(error, ImportError):
        hint = " It may import what is installed, but no files beside it: put all of it into this one."
    return f"{where}{type(error).__name__}: {error}.{hint}"
