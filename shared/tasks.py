"""What the labels are and what the head's output means: classes, one logit of two classes, or values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from .method import Method
from .names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TASKS",
    "as_labels",
    "as_outputs",
    "as_predictions",
    "as_probabilities",
    "as_values",
    "binary_logits",
    "check_head",
    "check_method",
    "check_task",
    "default_loss",
    "squared_error",
]

TASKS = ("classification", "binary", "regression")
BY_FEATURES = ("SourceOnly", "AdaBN", "DANN", "DDC", "DeepCORAL")  # a test holds that METHODS has no others


def check_task(function: str, task: str) -> None:
    """Raise ValueError, with the nearest, if ``task`` is none of ``TASKS``."""
    if task not in TASKS:
        raise ValueError(f"{function}: " + nearest("task", str(task), TASKS))


def default_loss(task: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The task loss that a task has of its own: cross-entropy, or the mean squared error for regression."""
    return squared_error if task == "regression" else F.cross_entropy


def squared_error(values: Tensor, labels: Tensor) -> Tensor:
    r"""The mean squared error, over samples and values: the task loss of regression.

    .. math:: \frac1{n m} \sum_{i,j} (v_{ij} - y_{ij})^2

    Args:
        values: v, predicted, (n,) or (n, m).
        labels: y, of the same shape.

    Raises:
        ValueError: for another shape, which would broadcast.
    """
    if values.shape != labels.shape:
        raise ValueError(
            f"task='regression' needs as many values a sample as its labels have; got outputs {tuple(values.shape)} "
            f"for labels {tuple(labels.shape)}. Give the head one output for each value."
        )
    return F.mse_loss(values, labels)


def binary_logits(logits: Tensor) -> Tensor:
    r"""One logit z of two classes as the two logits (0, z).

    .. math:: \operatorname{softmax}(0, z) = (1 - \sigma(z), \sigma(z))

    so that the cross-entropy of the pair is the binary cross-entropy of z, and whatever takes class logits takes a
    one-logit head.

    Args:
        logits: z, (n, 1) or (n,), floating point.

    Returns:
        (n, 2), of the same dtype and device.

    Raises:
        ValueError: for another shape.

    >>> binary_logits(torch.tensor([[2.0], [-1.0]]))
    tensor([[ 0.,  2.],
            [ 0., -1.]])
    """
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits[:, 0]
    if logits.ndim != 1:
        raise ValueError(
            f"binary_logits needs one logit a sample, (n, 1) or (n,); got {tuple(logits.shape)}. A head of two logits "
            "is task='classification'."
        )
    return torch.stack([torch.zeros_like(logits), logits], -1)


def as_outputs(task: str, outputs: Tensor) -> Tensor:
    """What a network's second output is taken for: class logits, of a one-logit head (0, z), or values as they are."""
    return binary_logits(outputs) if task == "binary" else outputs


def as_values(outputs: Tensor, labels: Tensor) -> Tensor:
    """Outputs in the shape of their labels if they are as many: (n, 1) against (n,) would broadcast to (n, n)."""
    same = outputs.shape[0] == labels.shape[0] and outputs.numel() == labels.numel()
    return outputs.reshape(labels.shape) if same else outputs


def as_predictions(task: str, outputs: Tensor) -> Tensor:
    """Class numbers (n,) of logits (n, k); values: (n,) of a head of one, else (n, m).

    Args:
        task: of ``TASKS``.
        outputs: as :func:`as_outputs` gives them.
    """
    if task != "regression":
        return outputs.argmax(1)
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def as_probabilities(task: str, outputs: Tensor) -> Tensor:
    """Class probabilities (n, k) of logits (n, k).

    Raises:
        ValueError: for regression, which has none.
    """
    if task == "regression":
        raise ValueError("predict_proba: task='regression' predicts values and has no classes. Use predict.")
    return outputs.softmax(1)


def as_labels(function: str, name: str, labels: Tensor, task: str, dtype: torch.dtype | None = None) -> Tensor:
    """Labels as the task loss takes them: int64 class numbers (n,), or floating-point values (n,) or (n, m).

    Args:
        function: the caller, for the message.
        name: ``source``.
        labels: numeric. Floating-point ones stay as they are in classification, for a task loss that wants them.
        task: of ``TASKS``.
        dtype: what values become, the network's own; float32 for whole numbers if left out.

    Raises:
        ValueError: for a wrong shape, labels other than 0 and 1 in ``binary``, NaN or inf in ``regression``.
    """
    if task == "regression":
        return _as_values(function, name, labels, dtype)
    if task == "binary":
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.is_floating_point() and bool(((labels == 0) | (labels == 1)).all()):
            labels = labels.long()
        if labels.is_floating_point():
            raise ValueError(f"{function}: task='binary' needs {name} labels 0 and 1; got {_range(labels)}.")
    if labels.is_floating_point():
        return labels
    if labels.ndim != 1:
        raise ValueError(f"{function} needs {name} labels of shape (samples,); got {tuple(labels.shape)}.")
    return labels.long()  # what cross-entropy takes


def _as_values(function: str, name: str, labels: Tensor, dtype: torch.dtype | None) -> Tensor:
    if labels.ndim not in (1, 2) or labels.shape[-1] == 0:
        raise ValueError(
            f"{function}: task='regression' needs {name} labels of shape (samples,) or (samples, values); got "
            f"{tuple(labels.shape)}."
        )
    values = labels.to(dtype or (labels.dtype if labels.is_floating_point() else torch.float32))
    bad = (~values.isfinite()).reshape(len(values), -1).any(1).nonzero()
    if len(bad):
        raise ValueError(
            f"{function} got NaN or inf in {name} labels: {len(bad)} of {len(values)} rows, the first is row "
            f"{int(bad[0])}. Leave such rows out."
        )
    return values


def check_head(function: str, labels: Tensor, outputs: int | None, task: str, *, own_loss: bool) -> None:
    """Raise if the labels do not go with a head of so many outputs.

    A label without a logit would end in an index error, on a GPU in a dead process.

    Args:
        function: the caller, for the message.
        labels: as :func:`as_labels` gives them.
        outputs: of the head a sample; None: not known.
        task: of ``TASKS``.
        own_loss: whether the user has given a task loss, which may take what the default does not.

    Raises:
        ValueError: with what to change.
    """
    if task == "regression":
        values = labels.shape[1] if labels.ndim == 2 else 1
        if outputs not in (None, values) and not own_loss:
            raise ValueError(
                f"{function}: task='regression' needs a head of as many outputs as a label has values; got {outputs} "
                f"outputs and source labels {tuple(labels.shape)}. Use a head of {values}."
            )
        return
    if task == "binary":
        if outputs not in (None, 1):
            raise ValueError(
                f"{function}: task='binary' needs a head of one logit; got one of {outputs}. Use "
                "task='classification', or a head of 1."
            )
        outputs = 2
    elif not own_loss and outputs == 1:
        raise ValueError(
            f"{function}: task='classification' needs a head of one logit a class; got a head of 1. Pass task='binary' "
            "for one logit of two classes, or task='regression' for values."
        )
    if labels.is_floating_point():
        if not own_loss and labels.ndim == 1:
            raise ValueError(
                f"{function} needs class numbers as source labels; got {labels.dtype}. Convert them to integers, or "
                "pass task='regression' if they are values."
            )
        return
    low, high = int(labels.min()), int(labels.max())
    if outputs is None:
        if low < 0 and not own_loss:
            raise ValueError(
                f"{function} needs class numbers from 0 as source labels; got labels from {low} to {high}. Leave rows "
                "without a label out: cross-entropy would pass over a label of -100 in silence, and fail at others."
            )
        return
    if outputs < 2:
        return
    if low < 0 or high >= outputs:
        if task == "binary":
            raise ValueError(f"{function}: task='binary' needs source labels 0 and 1; got {_range(labels)}.")
        larger = f", or make a head of {high + 1} logits" if low >= 0 else ""
        raise ValueError(
            f"{function} needs class numbers from 0 to {outputs - 1}, as many as the head has logits; got source "
            f"labels from {low} to {high}. Number the classes from 0 (numpy.unique(labels, return_inverse=True)[1])"
            f"{larger}." + (" Leave rows without a label out." if low < 0 else "")
        )


def check_method(task: str, method: Method) -> None:
    """Raise if a method reads class logits or labels, and the task has none.

    Raises:
        ValueError: naming the method, what it reads, and the methods that work.
    """
    if task != "regression":
        return
    for part in method.modules():
        if not isinstance(part, Method) or any(isinstance(m, Method) for m in part.modules() if m is not part):
            continue  # of a Combine, its parts are named
        wanted = [word for word in ("logits", "labels") if word in part.needs]
        if wanted:
            raise ValueError(
                f"{type(part).__name__} needs class {' and class '.join(wanted)}, and task='regression' has none: its "
                "head predicts values. Use a method that needs the features alone: " + ", ".join(BY_FEATURES) + "."
            )


def _range(labels: Tensor) -> str:
    return f"labels from {labels.min().item():g} to {labels.max().item():g}"
