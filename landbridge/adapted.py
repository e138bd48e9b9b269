"""One call: a model and two domains in; the adapted model, and what is known of it without target labels, out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .harm import NegativeTransferWarning, Scores, negative_transfer, scores_of
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
from .proportions import (
    LabelShiftWarning,
    Proportions,
    check_label_shift,
    decide,
    held_out_rows,
    not_estimated,
    take_rows,
    try_one_step,
)
from .shared.checkpoint import check_writable
from .shared.collect import Collected, WithoutLabels, collect
from .shared.fit import fit
from .shared.frames import Names, warn_unnamed
from .shared.history import History
from .shared.labels import as_values, number_labels
from .shared.method import Method
from .shared.network import Network
from .shared.optimizer import as_optimizer
from .shared.result import FitResult, Predictor
from .shared.source_only import SourceOnly
from .shared.tasks import check_task
from .sources import batch_of, collect_sources, described, pairs_of
from .weighting.second_opinion import second_opinion

__all__ = ["Adapted", "LabelShiftWarning", "NegativeTransferWarning", "Scores", "adapt"]

Array = NDArray[Any]
BASELINE_LACKS = ("checkpoint", "checkpoint_every", "evaluate_at", "on_evaluate")  # of fit: they are of one run


class Adapted:
    """What :func:`adapt` gives back.

    Attributes:
        proportions: whether the target's class proportions have changed, on what evidence, and what was done:
            ``proportions.sentence``, ``.corrected``, and ``.found``, the estimate.
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
        proportions: Proportions,
    ) -> None:
        self.proportions = proportions
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
            ("target: expected by a second opinion", [s.expected and s.expected[0] for s in both]),
            ("target, evaluated: " + ("R squared" if r else "accuracy"), [s.target for s in both]),
        ):
            if any(value is not None for value in values):
                lines.append(f"{label:<40}" + "".join(f"{'-' if v is None else f'{v:.3f}':>13}" for v in values))
        if not r:
            lines.append(f"Class proportions: {self.proportions.sentence}.")
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
    label_shift: str = "correct",
    **fit_options: Any,
) -> Adapted:
    """Adapt a model from labelled source rows to unlabelled target rows, and say what is known of the outcome.

    A tenth of the source rows is held out for scoring. Source-only is trained first, after one step of the method,
    which may refuse; then the method, from the same weights on the same batches. What is passed in stays as it is:
    copies are trained.

    Between the two, the target's class proportions are estimated from source-only's predictions, and tested
    (:func:`~landbridge.weighting.proportions.class_proportions`): most methods are made for equal ones, and do harm
    where they differ. Where they have changed and the estimate can be trusted, the method is trained on source rows
    drawn in the target's proportions, some of them more than once, with a :class:`LabelShiftWarning` that says so.

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
        baseline: whether source-only is trained too, at as many steps; without it there is no ``before``, and class
            proportions are not estimated.
        label_shift: what happens where the classes' proportions have changed: ``correct``, as above; ``ignore``: the
            source rows are taken as they are, with a warning; ``refuse``: an error, before the method is trained.
        fit_options: more arguments of :func:`~landbridge.shared.fit.fit`, such as ``optimizer`` (by default Adam at
            0.001 with a cosine; ``"adam"``, ``torch.optim.AdamW`` and the like do too) or ``batch_statistics``.

    Warns:
        LabelShiftWarning: if the classes' proportions have changed, with what was done; or if their predictions have,
            and the rows or the classifier are too weak for an estimate.
        NegativeTransferWarning: if the label-free scores say that adapting has done harm: :func:`negative_transfer`.

    Raises:
        ValueError, TypeError: for arguments that do not fit, with a sentence.

    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) + [0, 1]
    >>> ys = np.where(Xs[:, 0] > 0, "right", "left")
    >>> adapted = adapt(None, Xs, ys, Xt, method="deepcoral", steps=20, device="cpu", seed=1)
    >>> adapted.predict(Xt).shape, adapted.classes.tolist()
    ((60,), ['left', 'right'])
    """
    check_task("adapt", task)
    check_options("adapt", fit_options)
    label_shift = check_label_shift("adapt", label_shift)
    if label_shift == "refuse" and not (baseline and holdout):
        without = "baseline=False" if not baseline else "holdout=0"
        raise ValueError(
            "adapt needs source-only's predictions on held-out rows to see whether class proportions have changed, as "
            f"label_shift='refuse' asks; got {without}. Leave it out."
        )
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
    held = held_out_rows(labels, holdout, classes is not None, seed, of)
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

    held_out = None if not held.any() else (_take(source.inputs, held), labels[held])

    def run(method: Method, options: dict[str, Any], rows: Array | None = None) -> FitResult:
        inputs, given = (trained, known) if rows is None else (take_rows(trained, rows), known[rows])
        start = make_network("adapt", network, trained, width)
        values = given if units is None else units.out(given)
        pairs = pairs_of(inputs, values, of if of is None or rows is None else of[rows])
        result = fit(start, method, pairs, target.inputs, **options)
        if units is not None:
            units.back(result.network)
        result.classes, result.columns = classes, source.columns
        return result

    def proportions_by(source_only: FitResult) -> Proportions:
        if classes is None:
            return not_estimated("there are no classes in regression")
        if held_out is None:
            return not_estimated("no source rows are held out")
        given = (source.inputs, labels), target.inputs
        return decide("adapt", label_shift, made, source_only, held_out, *given, classes=classes, seed=seed)

    alone = {k: v for k, v in options.items() if k not in BASELINE_LACKS}
    first, rows = None, None
    proportions = not_estimated("baseline=False" if not baseline else "nothing is aligned")
    if baseline and not isinstance(made, SourceOnly):
        if options.get("checkpoint") is not None:
            check_writable("adapt", Path(options["checkpoint"]))
        try_one_step(
            network, made, pairs_of(trained, known, of), target.inputs, alone
        )  # what it refuses is refused at once
        first = run(SourceOnly(), alone)
        proportions = proportions_by(first)
        rows = proportions.rows(known, seed, of)
    result = run(made, options, rows)
    if baseline and isinstance(made, SourceOnly):
        first = result
    opinion = None
    if first is not None and first is not result and classes is not None:
        opinion = second_opinion(source.inputs, labels, target.inputs, classes=len(classes), seed=seed)
    shared = (held_out, target.inputs, scored, task)
    known_of: dict[str, Any] = {"proportions": proportions, "opinion": opinion}
    before = None if first is None else scores_of(first, known, *shared, **known_of)
    after = scores_of(result, known if rows is None else known[rows], *shared, **known_of)
    if proportions.warned:
        warnings.warn(f"adapt: class proportions: {proportions.sentence}.", LabelShiftWarning, stacklevel=2)
    about = (
        f"{type(made).__name__}: {described(len(trained), of)} and {len(target.inputs)} target rows, "
        + (f"{outputs} classes, " if classes is not None else "")
        + f"{options['steps']} steps of {sizes[0]} + {sizes[1]}"
    )
    adapted = Adapted(result, first, before, after, classes, task, about, proportions)
    if adapted.negative_transfer:
        warnings.warn(" ".join(adapted.negative_transfer), NegativeTransferWarning, stacklevel=2)
    return adapted


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


def _take(inputs: Any, mask: NDArray[np.bool_]) -> Any:
    return inputs if mask.all() else take_rows(inputs, np.flatnonzero(mask))
