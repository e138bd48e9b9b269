"""Who called the package: the line of the user's that a warning points at."""

from __future__ import annotations

import sys

__all__ = ["outside"]

PASSED = (
    __name__.partition(".")[0],
    "joblib",
    "sklearn",
    "torch",
)  # these call the package back, or wrap what it calls


def outside() -> int:
    """The ``stacklevel`` by which the caller's ``warnings.warn`` names the user's own line.

    However deep the call is: ``predict`` of what was adapted and of what was loaded warn from one place.

    >>> outside() > 1
    True
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in PASSED:
        level, frame = level + 1, frame.f_back
    return level
