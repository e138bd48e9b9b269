"""What the diagnostics accept: arrays, tensors and whatever numpy makes an array of; and what they say of the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.arrays import as_class_numbers, as_class_scores, as_rows
from ..shared.frames import align
from ..shared.labels import as_label_column, number_labels, number_together

__all__ = ["InRange", "as_class_numbers", "as_class_scores", "as_classes", "as_pair", "as_rows", "in_range"]

ORDINARY = 40  # powers of two: values from 2^-40 to 2^40 have squares, summed, that every dtype holds


def as_pair(function: str, source: Any, target: Any, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Rows of both domains, (n_s, d) and (n_t, d), in one dtype on one device; see :func:`as_rows`.

    Columns of two frames go by name, in the order of the source's.

    Raises:
        ValueError: also if the feature sizes, the columns' names or the devices differ.
    """
    target = align(function, source, target, names=("source", "target"))
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


def as_classes(
    function: str, given: Mapping[str, tuple[Any, int]], names: Sequence[object] | None = None
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The names of the classes, and labels of one or more arguments as their numbers.

    Args:
        function: the caller, which opens every message.
        given: labels of any kind, and how many there have to be, by the name of their argument.
        names: of the classes; labels are these names, or class numbers in their order. None: those that occur, sorted.

    Raises:
        TypeError, ValueError: as :func:`~landbridge.shared.labels.number_labels`; for labels without a name.

    >>> as_classes("f", {"labels": ([2018, 2020, 2018], 3), "predictions": ([2020, 2019, 2018], 3)})[0]
    ('2018', '2019', '2020')
    """
    columns = {name: as_label_column(function, name, labels, rows=rows) for name, (labels, rows) in given.items()}
    if names is None:
        classes, numbers = number_together(function, columns)
        order = np.argsort(classes, kind="stable")
        place = np.argsort(order)
        return tuple(map(str, classes[order].tolist())), {name: place[found] for name, found in numbers.items()}
    shown = tuple(map(str, names))
    return shown, {name: _by_name(function, name, column, shown) for name, column in columns.items()}


def _by_name(function: str, name: str, labels: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    if labels.dtype.kind != "U":
        return as_class_numbers(function, name, labels, len(labels), classes=len(names))
    numbers = number_labels(function, name, labels, np.array(names)).numbers
    if (numbers < 0).any():
        raise ValueError(
            f"{function} got {str(labels[numbers.argmin()])!r} in {name}, which is none of the names of the classes: "
            f"{', '.join(names[:5])}. Write both in one way."
        )
    return numbers


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
