"""AdaBN: the target's own BatchNorm statistics, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from .batchnorm import estimate_target_statistics
from .method import Method, Source, Target

if TYPE_CHECKING:
    from .network import Network

__all__ = ["AdaBN"]


class AdaBN(Method):
    """Trains on the source alone, and evaluates with BatchNorm statistics of the target.

    Its weights are those of source-only training, bit for bit. The statistics are those of all target rows given to
    training, together and in whatever order they come
    (:func:`~landbridge.shared.batchnorm.estimate_target_statistics`, which also says what that costs), whenever the
    network is about to be evaluated, and at the end.

    It is made for equal class proportions: where the target's differ, its statistics differ without any other shift.

    Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016, algorithm 1.
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"batchnorm"})
    version: ClassVar[int] = 2  # statistics of all rows together, not the mean of those of portions

    def __init__(self) -> None:
        super().__init__(weight=0.0)
        self.sees_target = False

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {}

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        estimate_target_statistics(network, target_batches)
