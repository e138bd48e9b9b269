"""Counts, numbers and levels as arguments: what passes for one, and what is said of the rest."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard

__all__ = ["check_count", "check_interval", "is_number", "is_whole"]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether this is a whole number, of Python or numpy, and no truth value.

    >>> is_whole(np.int64(3)), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a real number, of Python or numpy, and no truth value.

    >>> is_number(np.float32(0.5)), is_number("median")
    (True, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def check_count(function: str, name: str, value: object, lowest: int) -> None:
    """Raise ValueError for what is no whole number of at least ``lowest``."""
    if not is_whole(value) or value < lowest:
        raise ValueError(f"{function} needs {name} as a whole number >= {lowest}; got {value!r}.")


def check_interval(function: str, bootstrap: object, level: object) -> None:
    """Raise ValueError unless there are 0 or at least 20 resamples and a level between 0 and 1."""
    if not is_whole(bootstrap) or bootstrap < 0 or 0 < bootstrap < 20:
        raise ValueError(
            f"{function} needs bootstrap=0 for no interval, or at least 20 resamples; got {bootstrap!r}. 200 are usual."
        )
    if not is_number(level) or not 0 < level < 1:
        raise ValueError(f"{function} needs a level between 0 and 1, such as 0.95; got {level!r}.")
