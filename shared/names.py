"""Names that nobody knows, and the nearest that somebody does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(what: str, given: str, known: Iterable[str]) -> str:
    """The sentence for a name that nobody knows: what came, the nearest known name, and all known ones.

    >>> nearest("method", "dan", ["dann", "ddc"])
    "unknown method 'dan'; did you mean 'dann'? Known: dann, ddc"
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {given!r}; {hint}Known: {', '.join(names) or 'none'}"
