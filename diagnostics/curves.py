"""Training over time: the losses, and what the discriminator could still tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..shared.style import CLASSES, INK, axes, panels, styled, whole_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curves", "curves"]

WATCHED = "accuracy"  # what ends so is an accuracy of a discriminator, not a loss
POINTS = 100  # means shown of a long training
OUTSIDE = 4  # entries up to which the legend fits into the panel


@dataclass(frozen=True, eq=False)
class Curves:
    """Terms by step.

    Attributes:
        losses: name -> values by step, (steps,).
        accuracies: name -> accuracy of a domain discriminator by step, (steps,); 0.5 where it cannot tell the domains
            apart. Empty for methods without one.
    """

    losses: dict[str, NDArray[np.float64]]
    accuracies: dict[str, NDArray[np.float64]]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(next(iter({**self.losses, **self.accuracies}.values())))

    @styled
    def plot(self, ax: Axes | None = None) -> Axes:
        """The losses: faint by step, and their mean over a hundredth of the training as a line."""
        ax = axes(ax)
        self._lines(ax, self.losses)
        ax.set_ylabel("loss")
        if self.losses and all((values > 0).all() for values in self.losses.values()):
            spread = max(values.max() for values in self.losses.values()) / min(
                values.min() for values in self.losses.values()
            )
            if spread > 100:
                ax.set_yscale("log")
                ax.set_ylabel("loss (log scale)")
        ax.set_title("Losses by step: flat once training has settled")
        return ax

    @styled
    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """The discriminator's accuracy; at 0.5 the features no longer tell the domains apart.

        Raises:
            ValueError: if the history holds none.
        """
        if not self.accuracies:
            raise ValueError(
                "Curves.plot_accuracy needs a discriminator's accuracy, a term whose name ends in 'accuracy'; the "
                f"history holds {', '.join(self.losses)}. Methods with a discriminator (dann, cdan) record it."
            )
        ax = axes(ax)
        ax.axhline(0.5, color=INK, linewidth=0.8, linestyle="--", label="cannot tell apart")
        self._lines(ax, self.accuracies)
        ax.set_ylim(0.0, 1.04)
        ax.set_ylabel("accuracy")
        ax.set_title("Discriminator: near 0.5 the domains look alike to it")
        return ax

    @styled
    def figure(self) -> Figure:
        """Losses and, where there are any, the discriminator's accuracy, side by side."""
        drawn = panels(1, 2 if self.accuracies else 1)
        self.plot(drawn[0])
        if self.accuracies:
            self.plot_accuracy(drawn[1])
        return whole_figure(drawn[0])

    def _lines(self, ax: Axes, terms: dict[str, NDArray[np.float64]]) -> None:
        for place, (name, values) in enumerate(terms.items()):
            colour = CLASSES[place % len(CLASSES)]
            width = max(1, len(values) // POINTS)
            if width > 1:
                ax.plot(np.arange(1, len(values) + 1), values, color=colour, alpha=0.18, linewidth=0.6)
            at, means = _means(values, width)
            ax.plot(at, means, color=colour, linewidth=1.6, label=name)
        ax.set_xlabel("step")
        if len(terms) > OUTSIDE:
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        else:
            ax.legend(loc="best")


def curves(history: Any) -> Curves:
    """Losses and discriminator accuracies over the steps of a training.

    Args:
        history: of a fit (``result.history``), the fit's result itself, or a mapping from names to values by step.
            Names that end in ``"accuracy"`` are taken for a discriminator's accuracy.

    Raises:
        TypeError: for something else.
        ValueError: for no steps, or terms of different lengths.

    >>> curves({"task": [0.9, 0.4], "accuracy": [0.8, 0.5]}).accuracies["accuracy"].tolist()
    [0.8, 0.5]
    """
    history = getattr(history, "history", history)
    if isinstance(history, Mapping):
        terms = {str(name): _column(values) for name, values in history.items()}
    elif hasattr(history, "names") and isinstance(getattr(history, "values", None), Tensor):
        terms = {name: _column(history.values[:, place]) for place, name in enumerate(history.names)}
    else:
        raise TypeError(
            f"curves needs a History, a FitResult or a mapping from names to values; got {type(history).__name__}. "
            "Pass lb.fit(...).history."
        )
    lengths = {name: len(values) for name, values in terms.items()}
    if not lengths or not max(lengths.values()):
        raise ValueError("curves needs at least one step; the history is empty. A loaded network has none.")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"curves needs terms of one length; got {lengths}.")
    return Curves(
        losses={name: values for name, values in terms.items() if not name.endswith(WATCHED)},
        accuracies={name: values for name, values in terms.items() if name.endswith(WATCHED)},
    )


def _column(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"curves needs one value a step, (steps,); got shape {array.shape}.")
    return array


def _means(values: NDArray[np.float64], width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of neighbouring steps, ``width`` at a time, and the steps in their middle (counted from 1)."""
    parts = np.array_split(values, max(1, len(values) // width))
    ends = np.cumsum([len(part) for part in parts])
    middles = ends - np.array([len(part) for part in parts]) / 2 + 0.5
    return middles, np.array([part.mean() for part in parts])
