"""Several sources in one call: gathered one after the other, and handed to ``fit`` as the pairs they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .shared.batches import Rows
from .shared.collect import Collected, collect
from .shared.frames import is_frame, warn_unnamed
from .shared.sparse import SparseRows

__all__ = ["batch_of", "collect_sources", "described", "pairs_of", "source_numbers"]

Array = NDArray[Any]


def collect_sources(function: str, Xs: Any, ys: Any) -> tuple[Collected, Array | None]:
    """All rows of one source, or of several one after the other, and which source each row is of.

    Args:
        function: the caller, which opens every message.
        Xs: of one source whatever :func:`~landbridge.shared.collect.collect` takes; of several a list of pairs
            ``(inputs, labels)``, of datasets or loaders, or of inputs whose labels are in the list ``ys``.
        ys: the labels; None where ``Xs`` holds them.

    Returns:
        The rows and labels of all; the number of its source for each row, (n,), or None for one source.

    Raises:
        TypeError: for labels beside pairs that hold them, or labels of several kinds.
        ValueError: for sources whose rows differ in shape, or uint8 images beside floating-point ones.
    """
    if not isinstance(Xs, list) or not Xs:
        return collect(function, "Xs", Xs, ys, labelled=True), None
    pairs = all(isinstance(one, (Dataset, DataLoader)) or _is_pair(one) for one in Xs)
    lists = isinstance(ys, (list, tuple)) and len(ys) == len(Xs) and all(map(_are_rows, Xs)) and all(map(np.ndim, ys))
    if pairs and ys is not None and not lists:
        raise TypeError(
            f"{function} got labels in the pairs of Xs and beside them. Pass ys=None: "
            f"{function}(model, [(X1, y1), (X2, y2)], None, Xt)."
        )
    if not pairs and not lists:
        return collect(function, "Xs", Xs, ys, labelled=True), None
    found: list[Collected] = []
    for i, one in enumerate(Xs):
        columns = found[0].columns if found else None
        name = f"Xs[{i}]"
        given = (tuple(one) if isinstance(one, list) else one, None) if pairs else (one, ys[i])
        found.append(collect(function, name, *given, labelled=True, columns=columns, of="Xs[0]"))
        if i:
            warn_unnamed(function, name, columns, found[i].columns)
    if len(found) == 1:
        return found[0], None
    _check_alike(function, found)
    labels = np.concatenate([one.labels for one in found if one.labels is not None])
    of = np.repeat(np.arange(len(found)), [len(one.inputs) for one in found])
    return Collected(_stacked([one.inputs for one in found]), labels, True, found[0].columns), of


def _is_pair(one: Any) -> bool:
    """Rows and their labels; an image and its label are one sample of a list."""
    return isinstance(one, (tuple, list)) and len(one) == 2 and _are_rows(one[0]) and np.ndim(one[1]) > 0


def _are_rows(one: Any) -> bool:
    return is_frame(one) or getattr(one, "ndim", 0) >= 2 or (hasattr(one, "shape") and len(one.shape) >= 2)


def _check_alike(function: str, found: list[Collected]) -> None:
    first = found[0]
    for i, other in enumerate(found[1:], start=1):
        for what, ours, theirs in (
            ("rows of one shape", tuple(first.inputs.shape[1:]), tuple(other.inputs.shape[1:])),
            ("bytes, or other numbers,", _is_bytes(first.inputs), _is_bytes(other.inputs)),
            ("labels of one kind", _kind(first.labels), _kind(other.labels)),
            ("labels of one shape", _shape(first.labels), _shape(other.labels)),
        ):
            if ours != theirs:
                error = TypeError if what == "labels of one kind" else ValueError
                raise error(f"{function} needs {what} in all sources; got {ours} in Xs[0] and {theirs} in Xs[{i}].")


def _is_bytes(inputs: Any) -> str:
    return "uint8" if str(inputs.dtype).endswith("uint8") else "others"


def _kind(labels: Array | None) -> str:
    assert labels is not None
    return {"U": "strings", "T": "strings", "O": "objects"}.get(labels.dtype.kind, "numbers")


def _shape(labels: Array | None) -> tuple[int, ...]:
    return () if labels is None else labels.shape[1:]


def _stacked(inputs: list[Any]) -> Any:
    if any(isinstance(one, SparseRows) for one in inputs):
        from scipy.sparse import csr_array, vstack

        rows = [one.matrix if isinstance(one, SparseRows) else csr_array(np.asarray(one)) for one in inputs]
        return SparseRows("adapt", "Xs", vstack(rows, format="csr"))
    if all(isinstance(one, Tensor) for one in inputs):
        return torch.cat([one.to(inputs[0].device) for one in inputs])
    arrays = [one.cpu().numpy() if isinstance(one, Tensor) else np.asarray(one) for one in inputs]
    return np.concatenate(arrays)


def source_numbers(sample_domain: ArrayLike | None, source: NDArray[np.bool_]) -> Array | None:
    """Which source each source row is of, by the positive numbers of ``sample_domain``; None for one source.

    >>> source_numbers([1, 3, -1, 3], np.array([True, True, False, True]))
    array([0, 1, 1])
    """
    if sample_domain is None:
        return None
    names, numbers = np.unique(np.asarray(sample_domain)[source], return_inverse=True)
    return np.asarray(numbers).reshape(-1) if len(names) > 1 else None


def pairs_of(inputs: Any, labels: Array, of: Array | None) -> Any:
    """What ``fit`` takes as its source: the pair, or for several a list of each source's pair; no row is copied."""
    if of is None:
        return inputs, labels
    each = [np.flatnonzero(of == i) for i in np.unique(of)]
    base, known = (inputs.base, inputs.rows) if isinstance(inputs, Rows) else (inputs, np.arange(len(inputs)))
    return [(Rows(base, known[rows]), labels[rows]) for rows in each]


def batch_of(n: int, of: Array | None) -> int:
    """The most source rows that a batch can hold: all, or of k sources k times the smallest."""
    return n if of is None else len(np.unique(of)) * int(np.bincount(of)[np.unique(of)].min())


def described(n: int, of: Array | None) -> str:
    """How many source rows there are, in words.

    >>> described(5, None), described(5, np.array([0, 0, 0, 1, 1]))
    ('5 source', '5 source (3 + 2 of 2 sources)')
    """
    if of is None:
        return f"{n} source"
    sizes = np.bincount(of)
    return f"{n} source ({' + '.join(map(str, sizes.tolist()))} of {len(sizes)} sources)"
