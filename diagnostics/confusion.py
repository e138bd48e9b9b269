"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..shared.labels import as_label_column
from ..shared.style import styled
from .inputs import as_class_scores, as_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Confusion", "confusion"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for each.

    Attributes:
        counts: rows of class a predicted as b, (k, k).
        classes: their names.
    """

    counts: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def recalls(self) -> NDArray[np.float64]:
        """The share of each class that was recognised, (k,); NaN for a class without rows."""
        rows = self.counts.sum(1)
        return np.where(rows > 0, np.diag(self.counts) / np.maximum(rows, 1), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of :attr:`recalls` over the classes that have rows."""
        return float(np.nanmean(self.recalls))

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """Shares of each class's rows, in percent: right predictions on the diagonal, mistakes beside it."""
        from .heat import heat_map

        rows = np.maximum(self.counts.sum(1, keepdims=True), 1)
        ax = heat_map(ax, 100 * self.counts / rows, self.classes, self.classes)
        ax.set_xlabel("predicted class")
        ax.set_ylabel("true class (rows sum to 100%)")
        ax.set_title(
            f"{100 * self.accuracy:.1f}% right, {100 * self.balanced_accuracy:.1f}% over the classes{self._worst()}"
        )
        return ax

    def _worst(self) -> str:
        mistakes = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        np.fill_diagonal(mistakes, 0)
        if not mistakes.any():
            return ""
        true, taken = np.unravel_index(mistakes.argmax(), mistakes.shape)
        return f"\nworst: {100 * mistakes[true, taken]:.0f}% of {self.classes[true]} taken for {self.classes[taken]}"


def confusion(labels: Any, predictions: Any, classes: Sequence[object] | None = None) -> Confusion:
    r"""Counts of predicted classes for each true class.

    .. math:: N_{ab} = \#\{ i : y_i = a, \; \hat y_i = b \}

    Args:
        labels: true labels of any kind, (n,); beside logits, or with ``classes``, class numbers from 0.
        predictions: predicted ones likewise, (n,), or logits or probabilities (n, k), of which the largest counts.
        classes: names, k of them; the labels if left out.

    Raises:
        TypeError: for what are no class numbers.
        ValueError: for no rows, lengths that differ, or numbers without a name.

    >>> confusion([0, 0, 1], [0, 1, 1]).counts.tolist()
    [[1, 1], [0, 1]]
    """
    name = "confusion"
    array = as_label_column(name, "labels", labels)
    if not len(array):
        raise ValueError(f"{name} needs labels of shape (rows,), at least one; got {array.shape}.")
    guessed = predictions.detach().cpu() if isinstance(predictions, Tensor) else predictions
    if np.ndim(guessed) == 2 and np.shape(guessed)[1] > 1:
        scores = as_class_scores(name, "predictions", guessed)
        guessed, classes = scores.argmax(1), range(scores.shape[1]) if classes is None else classes
    n = len(array)
    names, numbers = as_classes(name, {"labels": (array, n), "predictions": (guessed, n)}, classes)
    k = len(names)
    counts = np.bincount(numbers["labels"] * k + numbers["predictions"], minlength=k * k).reshape(k, k)
    return Confusion(counts.astype(np.int64), names)
