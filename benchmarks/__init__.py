"""Benchmarks: suites, data sets, the runner, tables and the command line; and a table's tasks in Python.

``load_task`` is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loading import LoadedTask, load_task

__all__ = ["LoadedTask", "load_task"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
