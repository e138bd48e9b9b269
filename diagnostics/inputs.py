"""What the diagnostics accept: arrays, tensors and whatever numpy makes an array of; and what they say of the rest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..shared.arrays import as_class_numbers, as_class_scores, as_rows

__all__ = ["InRange", "as_class_numbers", "as_class_scores", "as_pair", "as_rows", "in_range"]

ORDINARY = 40  # powers of two: values from 2^-40 to 2^40 have squares, summed, that every dtype holds


def as_pair(function: str, source: Any, target: Any, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Rows of both domains, (n_s, d) and (n_t, d), in one dtype on one device; see :func:`as_rows`.

    Raises:
        ValueError: also if the feature sizes or the devices differ.
    """
    x, y = as_rows(function, "source", source, least=least), as_rows(function, "target", target, least=least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{function} compares features of one size; got source {tuple(x.shape)} and target {tuple(y.shape)}. "
            "Pass both through the same feature extractor, or keep the columns they share."
        )
    if x.device != y.device:
        raise ValueError(f"{function} needs both domains on one device; got {x.device} and {y.device}.")
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


class InRange(NamedTuple):
    """Rows whose squares can be summed.

    Attributes:
        source: (n_s, d).
        target: (n_t, d).
        unit: a power of two; the rows as they came are these times the unit, moved.
    """

    source: Tensor
    target: Tensor
    unit: float


def in_range(source: Tensor, target: Tensor) -> InRange:
    """Both domains divided by one power of two, where squares of their values would leave the range of numbers.

    Rows of ordinary size stay what they are, to the bit. Others are also moved by the least value of each column, so
    that a constant one does not overflow in its turn.

    Args:
        source: (n_s, d), finite.
        target: (n_t, d), of the same dtype and device.

    >>> in_range(torch.tensor([[0.0], [2.0**70]]), torch.tensor([[2.0**69]]))
    InRange(source=tensor([[0.0000],
            [0.5000]]), target=tensor([[0.2500]]), unit=2.3611832414348226e+21)
    """
    (low_s, high_s), (low_t, high_t) = (rows.aminmax(dim=0) for rows in (source, target))
    low, high = torch.minimum(low_s, low_t), torch.maximum(high_s, high_t)
    size = 2 * float((high / 2 - low / 2).max())
    largest = float(torch.maximum(low.abs(), high.abs()).max())
    if size == 0 or (size > 2.0**-ORDINARY and largest < 2.0**ORDINARY):
        return InRange(source, target, 1.0)
    exponent = min(max(math.frexp(size)[1] if math.isfinite(size) else 1024, -1000), 1000)
    first = exponent // 2  # two steps, since 2^-exponent itself may be no float

    def moved(rows: Tensor) -> Tensor:
        if rows.device.type != "mps":  # Apple's GPU has no float64
            rows = rows.double()
        away = rows / 2 - low.to(rows) / 2
        return (away * 2.0 ** (1 - first) * 2.0 ** (first - exponent)).to(source.dtype)

    return InRange(moved(source), moved(target), 2.0**exponent)
