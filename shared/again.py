"""An iterable that can be gone through again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Again", "again"]

T = TypeVar("T")


class Again(Generic[T]):
    """What a function's generator gives, anew each time it is gone through, and never kept as a whole.

    Args:
        make: called without arguments for each pass.

    >>> twice = Again(lambda: (n * n for n in range(3)))
    >>> list(twice), list(twice)
    ([0, 1, 4], [0, 1, 4])
    """

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[T]:
        return self._make()


def again(items: Iterable[T]) -> Iterable[T]:
    """The items, in a list if they are of an iterator, which is spent after one pass.

    >>> squares = again(n * n for n in range(3))
    >>> list(squares), list(squares)
    ([0, 1, 4], [0, 1, 4])
    """
    return list(items) if iter(items) is items else items
