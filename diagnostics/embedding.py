"""Both domains in one picture: a joint embedding of their rows in the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import full_precision, nearest
from ..shared.distances import squared_distances
from ..shared.seeds import derive_seed
from ..shared.style import CLASSES, GREY, SOURCE, TARGET, axes, panels, styled, whole_figure
from .inputs import as_classes, as_pair, in_range
from .principal import principal_axes
from .rows import check_count, choose_pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ComparedEmbeddings", "Embedding", "compare_embeddings", "embedding"]

Method = Literal["pca", "tsne", "umap"]
Colour = Literal["domain", "class"]
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
BEFORE = 50  # dimensions that t-SNE and UMAP see, by PCA
NEIGHBOURS = 30  # perplexity of t-SNE
BLOCK = 1024  # rows of the distance matrix at a time


@dataclass(frozen=True, eq=False)
class Embedding:
    """Rows of both domains in the plane.

    Attributes:
        method: ``"pca"``, ``"tsne"`` or ``"umap"``.
        source: places of the source rows, (n_s, 2).
        target: places of the target rows, (n_t, 2).
        source_rows: their row numbers in what was passed, (n_s,).
        target_rows: the same for the target, (n_t,).
        source_classes: class numbers of the source rows, (n_s,), or None.
        target_classes: class numbers of the target rows, (n_t,), or None.
        own_domain: how many rows have their nearest neighbour in their own domain: the mean of both domains' shares, in
            all dimensions and not in the plane. One half where the domains are mixed, 1 where they are apart.
        own_class: the share of target rows whose nearest source row is of their class, in all dimensions; None where
            the classes of either domain are not known.
        explained: shares of the variance along both axes, (2,), of PCA; None otherwise.
        note: how it was computed, if not on all rows.
    """

    method: Method
    source: NDArray[np.float64]
    target: NDArray[np.float64]
    source_rows: NDArray[np.int64]
    target_rows: NDArray[np.int64]
    source_classes: NDArray[np.int64] | None
    target_classes: NDArray[np.int64] | None
    own_domain: float
    own_class: float | None = None
    explained: NDArray[np.float64] | None = None
    note: str = ""

    @styled
    def plot(self, ax: Axes | None = None, colour: Colour = "domain", *, classes: Sequence[str] | None = None) -> Axes:
        """The rows as points; source and target overlap where the features cannot tell them apart.

        Args:
            ax: axes to draw on; new ones if left out.
            colour: ``"domain"``, or ``"class"`` with source rows as discs and target rows as crosses. Ten classes have
                a colour; of more, the nine with most rows, and the others are grey.
            classes: their names, in the order of the class numbers.

        Raises:
            ValueError: for another colour, or ``"class"`` where no classes were passed.
        """
        if colour not in get_args(Colour):
            raise ValueError("Embedding.plot: " + nearest("colour", colour, get_args(Colour)))
        ax = axes(ax, size=(4.2, 3.6) if colour == "domain" else (5.0, 3.6))
        if colour == "domain":
            self._by_domain(ax)
        else:
            self._by_class(ax, classes)
        self._frame(ax)
        return ax

    def _by_domain(self, ax: Axes) -> None:
        points = np.concatenate([self.source, self.target])
        colours = np.array([SOURCE] * len(self.source) + [TARGET] * len(self.target))
        mixed = np.random.default_rng(0).permutation(len(points))  # neither domain hides the other
        ax.scatter(points[mixed, 0], points[mixed, 1], c=colours[mixed], s=_size(len(points)), alpha=0.6, linewidths=0)
        entries = [(f"source ({len(self.source)})", SOURCE), (f"target ({len(self.target)})", TARGET)]
        _legend_below(ax, [ax.scatter([], [], color=shade, s=22, label=label) for label, shade in entries])
        share = 100 * self.own_domain
        reading = f"for {share:.0f}% of rows the nearest is of\ntheir own domain (all dimensions; mixed: 50%)"
        ax.set_title(f"{TITLES[self.method]}: {reading}")

    def _by_class(self, ax: Axes, names: Sequence[str] | None) -> None:
        if self.source_classes is None and self.target_classes is None:
            raise ValueError(
                "Embedding.plot colours by class where classes are known; embedding() got none. Pass source_classes= "
                "(and target_classes=, true or predicted) to it, or plot with colour='domain'."
            )
        given = [c for c in (self.source_classes, self.target_classes) if c is not None]
        palette, handles = _palette(ax, np.concatenate(given), names)
        size = _size(len(self.source) + len(self.target))
        for points, classes, marker in (
            (self.source, self.source_classes, "o"),
            (self.target, self.target_classes, "x"),
        ):
            shades = [GREY] * len(points) if classes is None else [palette.get(int(c), GREY) for c in classes]
            width, alpha = (0.0, 0.45) if marker == "o" else (0.8, 0.8)
            ax.scatter(points[:, 0], points[:, 1], c=shades, marker=marker, s=1.6 * size, linewidths=width, alpha=alpha)
        for marker, label in (("o", "source"), ("x", "target")):
            handles.append(ax.scatter([], [], color="#555555", marker=marker, s=18, label=label, linewidths=1))
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), handletextpad=0.2, borderaxespad=0.2)
        reading = "each class should lie in one\nplace, its discs among its crosses"
        if self.own_class is not None:
            share = 100 * self.own_class
            reading = f"for {share:.0f}% of target rows the nearest\nsource row (all dimensions) is of their class"
        ax.set_title(f"{TITLES[self.method]}: {reading}")

    def _frame(self, ax: Axes) -> None:
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_xticks([])
        ax.set_yticks([])
        if self.explained is not None:
            ax.set_xlabel(f"first component, {100 * self.explained[0]:.0f}% of the variance")
            ax.set_ylabel(f"second, {100 * self.explained[1]:.0f}%")


@full_precision
def embedding(
    source: Any,
    target: Any,
    *,
    source_classes: Any = None,
    target_classes: Any = None,
    method: Method = "pca",
    seed: int = 0,
    most: int = 2000,
) -> Embedding:
    r"""Both domains in the plane, by one embedding of the pooled rows.

    ``"pca"`` projects on the two leading principal directions of the pooled rows, each row of the same weight.
    ``"tsne"`` and ``"umap"`` start from the 50 leading ones; their distances between groups, and the sizes of groups,
    mean little. What they show is checked by :attr:`Embedding.own_domain`, measured in all dimensions: the mean over
    the domains of the share of rows whose nearest neighbour (Euclidean, the first of equals) is of their own domain,

    .. math:: \frac12 \left( \frac1{n_s} \sum_{i \in s} 1[\mathrm{nn}(i) \in s]
        + \frac1{n_t} \sum_{j \in t} 1[\mathrm{nn}(j) \in t] \right)

    which is (N - 2) / (2 (N - 1)) on average if both have one distribution, N = n_s + n_t, also for n_s != n_t; and,
    with classes of both, by :attr:`Embedding.own_class`, the accuracy of the nearest source row as a classifier.

    Args:
        source: features, logits or raw arrays of the source, (n, d) or (n, ...), at least 2 rows.
        target: the same of the target, (m, d).
        source_classes: labels of any kind, (n,), for the colours.
        target_classes: labels of the target, true or predicted, (m,); they move no point.
        method: ``"pca"``, ``"tsne"`` (on one thread, so that the same seed gives the same picture), or ``"umap"``
            (extra ``landbridge[umap]``).
        seed: of the rows drawn, and of t-SNE and UMAP.
        most: rows of each domain, at most; of more, so many are drawn.

    Raises:
        TypeError: for what are no numbers, or no class numbers.
        ValueError: for shapes that do not fit, NaN, an unknown method, or ``most`` below 2.
        ImportError: for ``"umap"`` without umap-learn.

    Source: Schilling, Multivariate Two-Sample Tests Based on Nearest Neighbors, JASA 81 (1986), k = 1, here averaged
    over the domains; van der Maaten and Hinton, JMLR 9 (2008), for t-SNE and the PCA before it.

    >>> shown = embedding([[0.0, 0.0], [1.0, 0.0]], [[5.0, 0.0], [6.0, 0.0]])
    >>> shown.source.round(6).tolist(), shown.own_domain
    ([[-3.0, 0.0], [-2.0, 0.0]], 1.0)
    """
    name = "embedding"
    if method not in get_args(Method):
        raise ValueError(f"{name}: " + nearest("method", method, get_args(Method)))
    check_count(name, "most", most, 2)
    x, y = as_pair(name, source, target)
    given = {"source_classes": (source_classes, len(x)), "target_classes": (target_classes, len(y))}
    given = {argument: labels for argument, labels in given.items() if labels[0] is not None}
    numbers = as_classes(name, given)[1] if given else {}
    classes_s, classes_t = numbers.get("source_classes"), numbers.get("target_classes")
    used = choose_pair(x, y, most, name, seed)
    near_s, near_t, unit = in_range(used.source, used.target)
    pooled = torch.cat([near_s, near_t])
    places, explained = _places(pooled, method, seed)
    if method == "pca":
        places = places * unit
    n_s = len(used.source)
    neighbour, nearest_source = _neighbours(pooled, n_s)
    of_source = neighbour < n_s
    drawn_s = None if classes_s is None else classes_s[used.source_rows]
    drawn_t = None if classes_t is None else classes_t[used.target_rows]
    own_class = None if drawn_s is None or drawn_t is None else float((drawn_s[nearest_source] == drawn_t).mean())
    return Embedding(
        method=method,
        source=places[:n_s],
        target=places[n_s:],
        source_rows=used.source_rows,
        target_rows=used.target_rows,
        source_classes=drawn_s,
        target_classes=drawn_t,
        own_domain=float((of_source[:n_s].mean() + (~of_source[n_s:]).mean()) / 2),
        own_class=own_class,
        explained=explained,
        note=used.note,
    )


@dataclass(frozen=True, eq=False)
class ComparedEmbeddings:
    """The same rows before adaptation and after.

    Attributes:
        before: their embedding before.
        after: their embedding after.
    """

    before: Embedding
    after: Embedding

    @styled
    def plot(self, *, classes: Sequence[str] | None = None) -> Figure:
        """A figure: before above and after below; by domain and, where classes are known, by class.

        Args:
            classes: names of the classes, in the order of their numbers.
        """
        known = self.before.source_classes is not None or self.before.target_classes is not None
        columns: tuple[Colour, ...] = ("domain", "class") if known else ("domain",)
        drawn = panels(2, len(columns), size=(4.4, 3.5))
        for row, (when, shown) in enumerate((("Before", self.before), ("After", self.after))):
            for column, colour in enumerate(columns):
                ax = shown.plot(drawn[row * len(columns) + column], colour, classes=classes)
                ax.set_title(f"{when}, {ax.get_title(loc='left') or ax.get_title()}", loc="left")
        return whole_figure(drawn[0])


def compare_embeddings(
    before: tuple[Any, Any],
    after: tuple[Any, Any],
    *,
    source_classes: Any = None,
    target_classes: Any = None,
    method: Method = "pca",
    seed: int = 0,
    most: int = 2000,
) -> ComparedEmbeddings:
    """The same rows of both domains in the features before adaptation and after, each embedded by itself.

    Args:
        before: features (source, target) before, (n, d) and (m, d).
        after: features of the same rows after, (n, e) and (m, e); e may differ from d.
        source_classes: class numbers of the source rows, (n,).
        target_classes: class numbers of the target rows, (m,).
        method: as in :func:`embedding`.
        seed: as in :func:`embedding`; the same rows are drawn from both.
        most: rows of each domain, at most.

    Raises:
        TypeError: if either is no pair.
        ValueError: if the numbers of rows differ, and as in :func:`embedding`.

    Source: as :func:`embedding`.

    >>> near, far = [[0.0, 0.0], [1.0, 1.0]], [[8.0, 8.0], [9.0, 9.0]]
    >>> pair = compare_embeddings((near, far), (near, near))
    >>> pair.before.own_domain, pair.after.own_domain
    (1.0, 0.0)
    """
    for name, pair in (("before", before), ("after", after)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"compare_embeddings needs {name} as a pair (source features, target features); got "
                f"{type(pair).__name__}."
            )
    counts = [tuple(len(rows) for rows in pair) for pair in (before, after)]
    if counts[0] != counts[1]:
        raise ValueError(
            "compare_embeddings shows the same rows before and after; got (source, target) rows "
            f"{counts[0]} before and {counts[1]} after. Pass the features of the same inputs in the same order."
        )
    shown = [
        embedding(
            source,
            target,
            source_classes=source_classes,
            target_classes=target_classes,
            method=method,
            seed=seed,
            most=most,
        )
        for source, target in (before, after)
    ]
    return ComparedEmbeddings(*shown)


def _places(pooled: Tensor, method: Method, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    axes_of = principal_axes(pooled, 2 if method == "pca" else BEFORE)
    projected = (pooled.double().cpu().numpy() - axes_of.mean) @ axes_of.directions.T  # (n, k)
    if projected.shape[1] < 2:  # one feature, or rows on a line
        projected = np.pad(projected, ((0, 0), (0, 2 - projected.shape[1])))
    if method == "pca":
        shares = axes_of.variances / axes_of.total if axes_of.total > 0 else axes_of.variances
        return projected, np.pad(shares, (0, 2 - len(shares)))
    random_state = derive_seed("embedding", method, seed) % 2**32
    if method == "umap":
        return _umap(projected, random_state), None
    return _tsne(projected, random_state), None


def _tsne(rows: NDArray[np.float64], random_state: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if not np.ptp(rows, axis=0).any():  # all rows are equal, and t-SNE divides by their spread
        return rows[:, :2]
    perplexity = min(NEIGHBOURS, (len(rows) - 1) / 3)
    with threadpool_limits(1):  # the order of a sum over threads is not fixed
        return np.asarray(
            TSNE(perplexity=perplexity, init="pca", random_state=random_state, n_jobs=1).fit_transform(rows),
            dtype=np.float64,
        )


def _umap(rows: NDArray[np.float64], random_state: int) -> NDArray[np.float64]:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            "embedding(method='umap') needs umap-learn, which is not installed. Run pip install 'landbridge[umap]', "
            "or use method='tsne'."
        ) from error
    neighbours = min(15, len(rows) - 1)
    init = "spectral" if len(rows) > 50 else "random"  # too few rows have no spectrum to start from
    reducer = UMAP(n_neighbors=neighbours, random_state=random_state, n_jobs=1, init=init)
    return np.asarray(reducer.fit_transform(rows), dtype=np.float64)


def _neighbours(pooled: Tensor, n_s: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nearest other row of every row, (n_s + n_t,), and the nearest source row of every target row, (n_t,)."""
    any_row, source_row = [], []
    if pooled.device.type != "mps":  # in float32 a domain far from the mean of both would lose the distances within it
        pooled = pooled.double()
    for first in range(0, len(pooled), BLOCK):
        squared = squared_distances(pooled[first : first + BLOCK], pooled)
        here = torch.arange(len(squared), device=squared.device)
        squared[here, here + first] = math.inf
        any_row.append(squared.argmin(1))
        source_row.append(squared[:, :n_s].argmin(1))
    return torch.cat(any_row).cpu().numpy(), torch.cat(source_row)[n_s:].cpu().numpy()


def _palette(ax: Axes, classes: NDArray[np.int64], names: Sequence[str] | None) -> tuple[dict[int, str], list[Any]]:
    """The colour of each class that has one, and entries for the legend."""
    numbers, counts = np.unique(classes, return_counts=True)
    if len(numbers) > len(CLASSES):
        frequent = np.sort(numbers[np.argsort(-counts, kind="stable")[: len(CLASSES) - 1]])
    else:
        frequent = numbers
    palette = {int(number): CLASSES[place] for place, number in enumerate(frequent)}
    labels = {number: str(number) if names is None else str(names[number]) for number in palette}
    handles = [ax.scatter([], [], color=palette[number], s=22, label=labels[number]) for number in palette]
    if len(frequent) < len(numbers):
        handles.append(ax.scatter([], [], color=GREY, s=22, label=f"{len(numbers) - len(frequent)} others"))
    return palette, handles


def _legend_below(ax: Axes, handles: list[Any]) -> None:
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=len(handles), handletextpad=0.2)


def _size(points: int) -> float:
    """Area of a marker: smaller where there are many."""
    return float(np.clip(8000 / max(points, 1), 4, 24))
