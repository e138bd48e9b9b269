"""Source-only: no adaptation, the row beside which every other stands."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .method import Method, Source, Target

__all__ = ["SourceOnly"]


class SourceOnly(Method):
    """Adds nothing to the task loss.

    Args:
        see_target: whether target batches go through the network all the same (and into its batch statistics, under
            ``joint``); False: the source is forwarded alone, as source-only has to be.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, see_target: bool = False) -> None:
        super().__init__(weight=0.0)
        self.see_target = self.sees_target = see_target

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {}
