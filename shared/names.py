"""Names that nobody knows, and the nearest that somebody does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest", "same_name"]

NEAR = 0.7  # of 1: below it, short names that share a letter or two would be suggested for each other


def nearest(what: str, given: str, known: Iterable[str]) -> str:
    """The sentence for a name that nobody knows: what came, the nearest known name, and all known ones.

    A name is suggested only if it is near: capitals, hyphens and the like do not count.

    >>> nearest("method", "dan", ["dann", "ddc"])
    "unknown method 'dan'; did you mean 'dann'? Known: dann, ddc"
    >>> nearest("method", "resnet", ["dann", "ddc", "deepcoral"])
    "unknown method 'resnet'; Known: dann, ddc, deepcoral"
    """
    names = sorted(known)
    plain = {_plain(name): name for name in reversed(names)}
    close = difflib.get_close_matches(_plain(given), plain, n=1, cutoff=NEAR)
    close = close or [name for name in plain if sorted(name) == sorted(_plain(given))]  # letters exchanged
    hint = f"did you mean {plain[close[0]]!r}? " if close else ""
    return f"unknown {what} {given!r}; {hint}Known: {', '.join(names) or 'none'}"


def same_name(given: str, known: Iterable[str]) -> str | None:
    """The known name that is the same but for capitals, hyphens, underscores, spaces and plus signs; None if none is.

    >>> same_name("CDAN+E", ["cdan", "cdan-e"]), same_name("Deep_CORAL", ["deepcoral"]), same_name("dan", ["dann"])
    ('cdan-e', 'deepcoral', None)
    """
    names = list(known)
    if given in names:
        return given
    alike = [name for name in names if _plain(name) == _plain(given) != ""]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())
