"""Correlation alignment: of deep features while they are learned, and in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .deep_coral import DeepCORAL, coral_distance

if TYPE_CHECKING:
    from .coral import CORAL

__all__ = ["CORAL", "DeepCORAL", "coral_distance"]


def __getattr__(name: str) -> Any:
    if name == "CORAL":  # an estimator: loaded when asked for, since it brings scikit-learn
        from .coral import CORAL

        return CORAL
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
