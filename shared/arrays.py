"""Arrays, tensors and whatever numpy makes one of, as rows, class numbers and scores; and what is said of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import NonFiniteError
from .frames import is_frame, read_frame
from .labels import as_label_column
from .probe import are_probabilities

__all__ = ["TAKEN_AS_LOGARITHMS", "as_class_numbers", "as_class_scores", "as_logits", "as_rows"]

TAKEN_AS_LOGARITHMS = "probabilities were given (rows that sum to 1) and are taken as logits by their logarithm"


def as_rows(function: str, name: str, value: Any, *, least: int = 2) -> Tensor:
    """Rows of one domain as a floating-point matrix, without a graph, on the device they came on.

    Args:
        function: the caller, which opens every message.
        name: of the argument.
        value: (n, d) or (n, ...), which is flattened; a tensor, an array, a frame, or what numpy makes an array of.
            Half precision and whole numbers of 8 or 16 bits become float32, longer ones float64; float64 stays. A
            floating-point tensor is not copied.
        least: how many rows it must have.

    Raises:
        TypeError: for objects, strings, complex numbers or sparse matrices.
        ValueError: for fewer rows or dimensions, no features, masked entries, or (NonFiniteError) NaN and inf.

    >>> as_rows("f", "source", [[1, 2], [3, 4]]).dtype
    torch.float64
    """
    if is_frame(value):
        value = read_frame(function, name, value).values
    if hasattr(value, "toarray") or (isinstance(value, Tensor) and value.layout != torch.strided):
        raise TypeError(
            f"{function} needs {name} as a dense matrix; got a sparse one. Pass its .toarray() or .to_dense()."
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{function} got masked entries in {name}. Fill them, or drop their rows.")
    rows = value.detach() if isinstance(value, Tensor) else _from_array(function, name, _array(function, name, value))
    if rows.is_complex():
        raise TypeError(f"{function} needs {name} as real numbers; got {rows.dtype}. Pass its real part, or both.")
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.double() if rows.element_size() > 2 and rows.device.type in ("cpu", "cuda") else rows.float()
    if rows.ndim < 2:
        raise ValueError(
            f"{function} needs {name} of shape (rows, features); got {tuple(rows.shape)}. "
            "For a single feature use .reshape(-1, 1)."
        )
    rows = rows.flatten(1)
    if rows.shape[0] < least or rows.shape[1] == 0:
        raise ValueError(
            f"{function} needs at least {least} rows and one feature in {name}; got {tuple(rows.shape)}. "
            "Pass more samples of this domain."
        )
    if not bool(rows.sum().isfinite()):  # cheap; the row is looked for on failure only
        bad = (~rows.isfinite()).any(1).nonzero()
        if len(bad):
            raise NonFiniteError(
                f"{function} got NaN or inf in {name}: {len(bad)} of {len(rows)} rows, the first is row {int(bad[0])}. "
                "Drop these rows or fill the gaps."
            )
    return rows


def as_class_numbers(function: str, name: str, value: Any, rows: int, *, classes: int) -> NDArray[np.int64]:
    """Class numbers from 0 to ``classes - 1``, (rows,): for labels that say which column of the scores is theirs.

    Labels that say less are numbered by :func:`~landbridge.shared.labels.number_labels`.

    Raises:
        TypeError: for strings, and what is no label.
        ValueError: for another shape, numbers that are not whole, negative ones, or those of ``classes`` and above.
    """
    array = as_label_column(function, name, value, rows=rows, values="Number the classes from 0.")
    if array.dtype.kind == "U":
        raise TypeError(
            f"{function} needs {name} as whole class numbers, which say the column of each class; got strings, such "
            f"as {array[:1].tolist()}. Number the classes in the order of the columns."
        )
    if len(array) and (array.min() < 0 or array.max() >= classes):
        raise ValueError(
            f"{function} needs {name} as class numbers from 0 to {classes - 1}; got {array.min()} to {array.max()}. "
            "Number the classes in the order of the columns."
        )
    return array.astype(np.int64)


def as_class_scores(function: str, name: str, value: Any) -> NDArray[np.float64]:
    """Logits of a classifier, (n, k) with at least two classes, as float64 on the CPU.

    Raises:
        TypeError, ValueError: as :func:`as_rows`, or for fewer than two columns.
    """
    if not hasattr(value, "ndim"):
        value = _array(function, name, value)
    if value.ndim != 2 or value.shape[1] < 2:
        raise ValueError(
            f"{function} needs {name} of shape (rows, classes) with at least 2 classes; got {tuple(value.shape)}. A "
            "one-logit head z becomes numpy.stack([0 * z, z], -1)."
        )
    return np.asarray(as_rows(function, name, value, least=1).double().cpu().numpy())


def as_logits(function: str, **given: Any) -> tuple[list[NDArray[np.float64]], str]:
    """Logits of one classifier by the name of their argument, each (n, k); of probabilities the logarithm.

    Classifiers of scikit-learn have ``predict_proba`` alone; the softmax of a logarithm gives it back. A probability of
    0 is taken as the smallest number above it.

    Returns:
        The logits in the order given, and a note that says so if probabilities came.

    Raises:
        TypeError, ValueError: as :func:`as_class_scores`; or for probabilities in one argument and logits in another.

    >>> [found], note = as_logits("f", logits=[[0.25, 0.75], [0.5, 0.5]])
    >>> np.exp(found).round(2).tolist(), note[:24]
    ([[0.25, 0.75], [0.5, 0.5]], 'probabilities were given')
    """
    found = {name: as_class_scores(function, name, value) for name, value in given.items()}
    squashed = [name for name, scores in found.items() if are_probabilities(torch.from_numpy(scores))]
    if not squashed or len({scores.shape[1] for scores in found.values()}) > 1:  # that is the caller's to say
        return list(found.values()), ""
    if len(squashed) < len(found):
        others = ", ".join(name for name in found if name not in squashed)
        raise ValueError(
            f"{function} needs logits of one kind; got probabilities in {squashed[0]}, whose rows sum to 1, and none "
            f"in {others}. Pass logits in both, or probabilities in both."
        )
    least = np.finfo(np.float64).tiny
    return [np.log(np.maximum(scores, least)) for scores in found.values()], TAKEN_AS_LOGARITHMS


def _array(function: str, name: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{function} needs {name} as numbers in equally long rows; got a {type(value).__name__} that makes no "
            f"array ({str(error).splitlines()[0]}). Make the rows equally long; a list of tensors becomes one by "
            "torch.stack."
        ) from error


def _from_array(function: str, name: str, array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "fiubc":
        raise TypeError(
            f"{function} needs {name} as numbers; got an array of dtype {array.dtype}. Encode strings and categories "
            "first, and make ragged rows equally long."
        )
    if array.dtype.kind in "ui" and array.dtype.itemsize > 1:
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    longest = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(array.dtype.kind, array.dtype)
    dtype = min(array.dtype, longest, key=lambda one: one.itemsize).newbyteorder("=")  # what torch knows
    return torch.from_numpy(
        np.array(array, dtype=dtype, order="C")
    )  # a copy: memory maps and negative strides are fine
