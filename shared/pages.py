"""What the HTML pages share: their templates' settings, and a policy under which nothing but their own runs."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

__all__ = ["digest", "own_text", "templates"]


def templates(folder: Path) -> Any:
    """The jinja2 environment of a folder of templates: everything is escaped, and a name that is missing is an error.

    Args:
        folder: where the templates lie.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def own_text(folder: Path, name: str) -> str:
    """A style sheet or script that goes into a page as it is.

    Args:
        folder: where it lies.
        name: of the file.
    """
    text = (folder / name).read_text(encoding="utf-8")
    assert not re.search(r"</(style|script)", text, re.IGNORECASE), name
    return text


def digest(text: str) -> str:
    """How a Content-Security-Policy names a style sheet or script: nothing else runs, whatever a label smuggles in.

    >>> digest("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
