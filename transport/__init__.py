"""Optimal transport: the target is reached by moving the source's mass at least cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .deepjdot import DeepJDOT, deepjdot_distance, jdot_cost, transport_plan

if TYPE_CHECKING:
    from .otda import OTDA

__all__ = ["OTDA", "DeepJDOT", "deepjdot_distance", "jdot_cost", "transport_plan"]


def __getattr__(name: str) -> Any:
    if name == "OTDA":  # needs scikit-learn, which the torch part does without
        from .otda import OTDA

        return OTDA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
