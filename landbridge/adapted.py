"""One call: a model and two domains in; the adapted model, and what is known of it without target labels, out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .parts import (
    Units,
    batch_sizes,
    check_options,
    default_optimizer,
    head_size,
    make_network,
    make_parts,
    number,
    steps_for,
    whole,
)
from .shared.batches import Rows
from .shared.collect import Collected, WithoutLabels, collect
from .shared.fit import fit
from .shared.frames import Names, warn_unnamed
from .shared.history import History
from .shared.labels import as_values, number_labels
from .shared.method import Method
from .shared.network import Network
from .shared.optimizer import as_optimizer
from .shared.result import FitResult, Predictor
from .shared.seeds import generator
from .shared.source_only import SourceOnly
from .shared.tasks import check_task
from .shared.validators import Entropy, InformationMaximisation, Outputs, Stored, collapse
from .sources import batch_of, collect_sources, described, pairs_of

__all__ = ["Adapted", "NegativeTransferWarning", "Scores", "adapt", "negative_transfer"]

Array = NDArray[Any]
BASELINE_LACKS = ("checkpoint", "checkpoint_every", "evaluate_at", "on_evaluate")  # of fit: they are of one run
LOST_INFORMATION = 0.2  # of log k
LOST_ACCURACY = 0.02
STANDARD_ERRORS = 2.0


class NegativeTransferWarning(UserWarning):
    """The label-free scores say that adapting has done harm; see :func:`negative_transfer` for the rule."""


@dataclass(frozen=True)
class Scores:
    """What is known of a network without target labels.

    Attributes:
        source: accuracy on source rows that were held out of training (R squared in regression); None if none were.
        held_out: how many rows these were.
        information_maximisation: of the target predictions, from 0 to log k, higher is better; None in regression.
        entropy: minus the mean entropy of the target predictions, at most 0, higher is better; None in regression.
        collapse: a sentence if the target predictions have collapsed into few classes, else None.
        target: accuracy (R squared) on the rows and labels of ``evaluate``, which trained nothing; None without.
    """

    source: float | None
    held_out: int
    information_maximisation: float | None
    entropy: float | None
    collapse: str | None
    target: float | None


class Adapted:
    """What :func:`adapt` gives back.

    Attributes:
        result: the adapted network's :class:`~landbridge.shared.result.FitResult`; ``result.save(path)`` writes it.
        baseline: that of source-only training, from the same start on the same batches; None if it was left out.
        before, after: the :class:`Scores` of both; ``before`` is None without a baseline.
        classes: the labels as they came, in the order of the logits; None in regression.
        task: ``classification``, ``binary`` or ``regression``.
        negative_transfer: the sentences of the warning, if there was one.
    """

    def __init__(
        self,
        result: FitResult,
        baseline: FitResult | None,
        before: Scores | None,
        after: Scores,
        classes: Array | None,
        task: str,
        about: str,
    ) -> None:
        self.result, self.baseline, self.before, self.after = result, baseline, before, after
        self.classes, self.task, self.about = classes, task, about
        self.negative_transfer: list[str] = negative_transfer(before, after, 0 if classes is None else len(classes))

    @property
    def network(self) -> Network:
        """The adapted network, in evaluation mode."""
        return self.result.network

    @property
    def history(self) -> History:
        """Loss terms by step."""
        return self.result.history

    def predict(self, X: Any) -> Array:
        """The label of each row, of the kind that was given, (n,); values (n,) or (n, m) in regression.

        Columns of frames go by name, in whatever order they stand.
        """
        return Predictor.of(self.result).predict(X)

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (n, k), columns in the order of ``classes``.

        Raises:
            ValueError: in regression.
        """
        return Predictor.of(self.result).predict_proba(X)

    def save(self, path: Path | str) -> None:
        """Write what predicts into one file: weights, classes, columns, the head's name; it holds no code.

        ``landbridge.load(path)`` predicts what this does, to the bit; of a module of your own ``load(path, module)``.
        """
        Predictor.of(self.result).save(path)

    def __str__(self) -> str:
        both = [self.before, self.after] if self.before is not None else [self.after]
        r = self.classes is None
        lines = [self.about, " " * 40 + "".join(f"{name:>13}" for name in ("source-only", "adapted")[-len(both) :])]
        for label, values in (
            ("source, held out: " + ("R squared" if r else "accuracy"), [s.source for s in both]),
            ("target: information maximisation", [s.information_maximisation for s in both]),
            ("target: minus entropy", [s.entropy for s in both]),
            ("target, evaluated: " + ("R squared" if r else "accuracy"), [s.target for s in both]),
        ):
            if any(value is not None for value in values):
                lines.append(f"{label:<40}" + "".join(f"{'-' if v is None else f'{v:.3f}':>13}" for v in values))
        return "\n".join([*lines, *(f"Negative transfer? {sentence}" for sentence in self.negative_transfer)])


def adapt(
    model: Any,
    Xs: Any,
    ys: Any,
    Xt: Any,
    *,
    method: Any = "dann",
    task: str = "classification",
    weight: float | None = None,
    head: str | None = None,
    steps: int | None = None,
    batch_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    evaluate: Any = None,
    holdout: float = 0.1,
    device: torch.device | str = "auto",
    baseline: bool = True,
    **fit_options: Any,
) -> Adapted:
    """Adapt a model from labelled source rows to unlabelled target rows, and say what is known of the outcome.

    A tenth of the source rows is held out for scoring. The method is trained first, as it may refuse; then source-only,
    from the same weights on the same batches. What is passed in stays as it is: copies are trained.

    Args:
        model: None: an MLP for (n, d), a small convolutional network for (n, c, h, w), either with its inputs
            standardised by the source's own mean and variance as its first layer. A torch module: the linear layer that
            makes its output is the head, unless ``head`` names another. A
            :class:`~landbridge.shared.network.Network`. Or a function of (shape of one input, outputs) that makes one
            of these.
        Xs: source rows: an array, tensor or frame (n_s, ...), a sparse matrix, a torch ``Dataset`` or ``DataLoader``;
            see :func:`~landbridge.shared.collect.collect`. Several sources are a list of pairs ``[(X1, y1), (X2, y2)]``
            (or of datasets), with ``ys=None``: classes are numbered over all of them, rows of each are held out, and a
            batch holds as many rows of each (:func:`~landbridge.shared.fit.fit`).
        ys: their labels, of any kind (numbers, strings), (n_s,); None where ``Xs`` yields ``(inputs, labels)``.
        Xt: target rows, likewise, without labels: data that yield them are refused, or wrapped in
            ``lb.without_labels(data)``.
        method: a name of ``METHODS``; a method, of which a copy is trained; a class of one; or a function of the
            :class:`~landbridge.shared.method.Sizes` that makes one.
        task: ``classification``; ``binary``, a head of one logit; or ``regression``.
        weight: the trade-off of a method by name or class; its own default if left out.
        head: the name of the model's last layer, such as ``"classifier.6"``.
        steps: of training; by default 30 passes over the larger domain, at least 300 and at most 2000 steps.
        batch_size: rows a step and domain, or ``(source, target)``; by default 64, or all there are.
        seed: decides the held-out rows, the weights that are made here, the batches and all that is drawn.
        evaluate: target labels, which score both networks and train nothing: (n_t,), in the order of ``Xt``; or
            ``(inputs, labels)`` or a dataset of other target rows. Of the same kind as ``ys``; a class that the source
            lacks counts as wrong.
        holdout: the share of source rows (of each class) held out, in [0, 1).
        device: ``auto`` is a GPU where there is one.
        baseline: whether source-only is trained too, at as many steps; without it there is no ``before``.
        fit_options: more arguments of :func:`~landbridge.shared.fit.fit`, such as ``optimizer`` (by default Adam at
            0.001 with a cosine; ``"adam"``, ``torch.optim.AdamW`` and the like do too) or ``batch_statistics``.

    Warns:
        NegativeTransferWarning: if the label-free scores say that adapting has done harm: :func:`negative_transfer`.

    Raises:
        ValueError, TypeError: for arguments that do not fit, with a sentence.

    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) + 1
    >>> ys = np.where(Xs[:, 0] > 0, "right", "left")
    >>> adapted = adapt(None, Xs, ys, Xt, method="deepcoral", steps=20, device="cpu", seed=1)
    >>> adapted.predict(Xt).shape, adapted.classes.tolist()
    ((60,), ['left', 'right'])
    """
    check_task("adapt", task)
    check_options("adapt", fit_options)
    seed, holdout = whole("adapt", "seed", seed), number(holdout)
    if isinstance(holdout, bool) or not isinstance(holdout, (int, float)) or not 0 <= holdout < 1:
        raise ValueError(f"adapt needs holdout as a share in [0, 1); got {holdout!r}. Use 0 to hold none out.")
    source, of = collect_sources("adapt", Xs, ys)
    target = collect("adapt", "Xt", Xt, columns=source.columns)
    warn_unnamed("adapt", "Xt", source.columns, target.columns)
    if source.inputs.shape[1:] != target.inputs.shape[1:]:
        raise ValueError(
            f"adapt needs source and target rows of one shape; got Xs {tuple(source.inputs.shape)} and Xt "
            f"{tuple(target.inputs.shape)}. Keep the features both have, or resize the images."
        )
    classes, labels = _encoded(task, source.labels, head_size("adapt", model, head, source.inputs))
    scored = None if evaluate is None else _scored(evaluate, target, classes, labels, source.columns)
    held = _held_out(labels, holdout, classes is not None, seed, of)
    trained, of = _take(source.inputs, ~held), None if of is None else of[~held]
    outputs = len(classes) if classes is not None else labels.shape[1] if labels.ndim == 2 else 1
    width = 1 if task == "binary" else outputs
    sizes = batch_sizes("adapt", batch_size, batch_of(len(trained), of), len(target.inputs))
    network, made = make_parts(
        "adapt", model, method, trained, width, classes=outputs, head=head, weight=weight, seed=seed
    )
    larger = max((len(trained), sizes[0]), (len(target.inputs), sizes[1]), key=lambda pair: pair[0] / pair[1])
    wanted = fit_options.pop("optimizer", None)
    optimizer = default_optimizer() if wanted is None else as_optimizer("adapt", wanted)
    options = {**fit_options, "optimizer": optimizer, "batch_size": sizes, "seed": seed, "device": device}
    options = {**options, "steps": steps_for("adapt", steps, *larger), "task": task}
    known = labels[~held]
    units = Units.of(known) if model is None and classes is None else None

    def run(method: Method, options: dict[str, Any]) -> tuple[FitResult, Scores]:
        start = make_network("adapt", network, trained, width)
        values = known if units is None else units.out(known)
        result = fit(start, method, pairs_of(trained, values, of), target.inputs, **options)
        if units is not None:
            units.back(result.network)
        result.classes, result.columns = classes, source.columns
        held_out = None if not held.any() else (_take(source.inputs, held), labels[held])
        return result, _scores(result, known, held_out, target.inputs, scored, task)

    result, after = run(made, options)  # first, so that what it refuses is refused at once
    first: tuple[FitResult | None, Scores | None] = (None, None)
    if baseline and isinstance(made, SourceOnly):
        first = (result, after)
    elif baseline:
        first = run(SourceOnly(), {k: v for k, v in options.items() if k not in BASELINE_LACKS})
    about = (
        f"{type(made).__name__}: {described(len(trained), of)} and {len(target.inputs)} target rows, "
        + (f"{outputs} classes, " if classes is not None else "")
        + f"{options['steps']} steps of {sizes[0]} + {sizes[1]}"
    )
    adapted = Adapted(result, *first, after, classes, task, about)
    if adapted.negative_transfer:
        warnings.warn(" ".join(adapted.negative_transfer), NegativeTransferWarning, stacklevel=2)
    return adapted


def negative_transfer(before: Scores | None, after: Scores, classes: int) -> list[str]:
    r"""Whether scores without target labels speak of negative transfer: one sentence for each sign of it.

    The signs are: the target predictions have collapsed into few classes
    (:func:`~landbridge.shared.validators.collapse`), and source-only's have not; their mutual information has fallen
    by more than :math:`0.2 \log k` against source-only's; or the accuracy on held-out source rows has, by more than
    0.02 and by more than two standard errors of a difference of two binomial shares. None of them is a proof, and
    their absence is none either: a network can be certain, diverse and wrong.

    How good that is was counted on 144 runs, of seeds other than those the bounds were chosen on
    (``benchmarks/tuning/negative_transfer.py``). At weights that are far too high, it warned in 28 of 40 runs that had
    cost more than two points of target accuracy, and in 5 of 32 that had not; at the methods' own weights in 1 of 20,
    most of them with other class proportions in the target, and in 0 of 52.

    Args:
        before: of source-only; None: only whether predictions have collapsed is looked at.
        after: of the adapted network.
        classes: k; 0 in regression, where only R squared on the source, falling by more than 0.02, is looked at.
    """
    found = []
    if after.collapse is not None and (before is None or before.collapse is None):
        found.append(f"The adapted network's target predictions have {after.collapse}. Lower the method's weight.")
    if before is None:
        return found
    was, now = before.information_maximisation, after.information_maximisation
    if was is not None and now is not None and now < was - LOST_INFORMATION * math.log(max(2, classes)):
        found.append(
            "Adapting has made the target predictions less certain or less diverse: information maximisation "
            f"{now:.3f} after, {was:.3f} before. Compare with source-only, or lower the method's weight."
        )
    if before.source is not None and after.source is not None:
        lost = before.source - after.source
        noise = 0.0
        if classes:
            variances = [s * (1 - s) for s in (before.source, after.source)]
            noise = STANDARD_ERRORS * math.sqrt(sum(variances) / max(1, after.held_out))
        if lost > max(LOST_ACCURACY, noise):
            what = "accuracy" if classes else "R squared"
            found.append(
                f"Adapting has cost {what} on held-out source rows: {after.source:.3f} after, {before.source:.3f} "
                "before. The features no longer tell what they should; lower the method's weight."
            )
    return found


def _encoded(task: str, labels: Array | None, logits: int | None) -> tuple[Array | None, Array]:
    """The classes in the order of the logits, and each label's number; values as they are in regression."""
    assert labels is not None
    if task == "regression":
        return None, as_values("adapt", "ys", labels).astype(np.float64)
    classes, numbers = number_labels("adapt", "ys", labels, values="Pass task='regression' if they are values.")
    if len(classes) < 2 or (task == "binary" and len(classes) != 2):
        needed = "2 classes" if task == "binary" else "at least 2 classes"
        raise ValueError(f"adapt needs source labels of {needed}; got {len(classes)}: {classes[:5].tolist()}.")
    whole = classes.dtype.kind in "iuf" and task == "classification"
    if whole and logits is not None and len(classes) < logits and classes[0] >= 0 and classes[-1] < logits:
        every = np.arange(logits).astype(classes.dtype)  # numbers of the head's own classes, not all of them here
        return number_labels("adapt", "ys", labels, every)
    return classes, numbers


def _scored(
    evaluate: Any, target: Collected, classes: Array | None, known: Array, columns: Names | None
) -> tuple[Any, Array]:
    """Target rows and their labels as numbers (-1 for a class the source lacks), which only score."""
    array = evaluate.detach().cpu().numpy() if isinstance(evaluate, Tensor) else evaluate
    lone = isinstance(array, (list, np.ndarray)) or hasattr(array, "__array__")
    if isinstance(evaluate, WithoutLabels) or lone:
        if not target.ordered:
            raise ValueError(
                "adapt got labels in evaluate= for a loader that shuffles Xt, so that they belong to other rows. Pass "
                "evaluate=(inputs, labels), a labelled dataset, or a loader with shuffle=False."
            )
        given = collect("adapt", "evaluate", target.inputs, array, labelled=True)
    else:
        given = collect("adapt", "evaluate", evaluate, labelled=True, columns=columns)
    if given.inputs.shape[1:] != target.inputs.shape[1:]:
        raise ValueError(
            f"adapt needs rows in evaluate= like those of Xt; got {tuple(given.inputs.shape)} and "
            f"{tuple(target.inputs.shape)}."
        )
    labels = given.labels
    assert labels is not None
    if classes is None:
        values = known.shape[1] if known.ndim == 2 else 1
        labels = as_values("adapt", "evaluate", labels)
        if labels.size != values * len(labels):
            raise ValueError(
                f"adapt needs as many values a row in evaluate= as in ys, which has {values}; got {labels.shape}."
            )
        return given.inputs, labels.astype(np.float64)
    if labels.size != len(labels):
        raise ValueError(
            f"adapt needs one class a row in evaluate=, shape ({len(labels)},); got {labels.shape}. For one-hot labels "
            "pass labels.argmax(1)."
        )
    numbers = number_labels("adapt", "evaluate", labels, classes).numbers
    if (numbers < 0).all():
        few = list(dict.fromkeys(labels.reshape(-1).tolist()))[:5]
        raise ValueError(
            f"adapt got no class of the source in evaluate=: {few}, where the source has {classes[:5].tolist()}. Pass "
            "labels as in ys."
        )
    return given.inputs, numbers


def _held_out(labels: Array, share: float, by_class: bool, seed: int, of: Array | None = None) -> NDArray[np.bool_]:
    """True for rows that only score: the share of each class, rounded down; of all rows in regression.

    Of several sources, the share of each.
    """
    held = np.zeros(len(labels), dtype=np.bool_)
    order = torch.randperm(len(labels), generator=generator(seed, "holdout")).numpy()
    parts = [order] if of is None else [order[of[order] == i] for i in np.unique(of)]
    groups = [part[labels[part] == c] for part in parts for c in np.unique(labels)] if by_class else parts
    for rows in groups:
        held[rows[: int(share * len(rows))]] = True
    return held


def _take(inputs: Any, mask: NDArray[np.bool_]) -> Any:
    if mask.all():
        return inputs
    rows = np.flatnonzero(mask)
    return Rows(inputs.base, inputs.rows[rows]) if isinstance(inputs, Rows) else Rows(inputs, rows)


def _class_scores(result: FitResult, inputs: Any, *, source: bool = False) -> tuple[Array, Array]:
    """Features and what the head gives: logits (n, k), of one logit (0, z), or values (n, m)."""
    features, scores = result.forward(inputs, source=source)
    return features.numpy(), scores.double().reshape(len(scores), -1).numpy()


def _scores(
    result: FitResult, train: Array, held_out: Any, target: Any, evaluate: tuple[Any, Array] | None, task: str
) -> Scores:
    features, logits = _class_scores(result, target)
    found: tuple[float | None, float | None, str | None] = (None, None, None)
    if task != "regression":
        nothing = Stored(np.zeros((0, logits.shape[1])), np.zeros((0, features.shape[1])), np.zeros(0, dtype=np.int64))
        outputs = Outputs(nothing, None, Stored(logits, features))
        found = (InformationMaximisation().score(outputs), Entropy().score(outputs), collapse(logits, train))
    return Scores(
        None if held_out is None else _right(result, held_out[0], held_out[1], task, source=True),
        0 if held_out is None else len(held_out[1]),
        *found,
        None if evaluate is None else _right(result, *evaluate, task),
    )


def _right(result: FitResult, inputs: Any, labels: Array, task: str, *, source: bool = False) -> float:
    """Accuracy, or R squared (of all values together), of rows of either domain."""
    scores = _class_scores(result, inputs, source=source)[1]
    if task != "regression":
        return float((scores.argmax(1) == labels).mean())
    wanted = labels.reshape(scores.shape).astype(np.float64)
    total = float(np.square(wanted - wanted.mean(0)).sum())
    return 1.0 - float(np.square(wanted - scores).sum()) / total if total > 0 else 0.0
