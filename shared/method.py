"""The contract between a method and a training loop: what a method sees, what it adds, what it trains."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .checks import check_domain, check_features, check_finite, check_labels, check_logits, nearest
from .gradient_reversal import ramp

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Method", "Sizes", "Source", "Target", "Update"]

NEEDS = frozenset({"source", "logits", "labels", "domain", "head", "index", "strong", "inputs", "batchnorm"})
TRAINS = frozenset({"extractor", "head", "method", "norm"})


class Source(NamedTuple):
    """What a method sees of a labelled batch. Read fields by name: more can follow."""

    features: Tensor  # (n_s, d)
    logits: Tensor | None = None  # (n_s, k)
    labels: Tensor | None = None  # (n_s,)
    weights: Tensor | None = None  # (n_s,) sample weights
    domain: Tensor | None = None  # (n_s,) which source, where there are several
    inputs: Tensor | None = None  # (n_s, ...) what the features were made of, for a frozen or averaged network


class Target(NamedTuple):
    """What a method sees of an unlabelled batch. There is no field for labels: what it cannot see cannot leak."""

    features: Tensor  # (n_t, d)
    logits: Tensor | None = None  # (n_t, k)
    index: Tensor | None = None  # type: ignore[assignment] # (n_t,) row numbers, for memories and pseudo-labels
    strong: Target | None = None  # the same samples, strongly augmented
    inputs: Tensor | None = None  # (n_t, ...)


class Sizes(NamedTuple):
    """The sizes a method may have to know to build its own parts."""

    features: int
    classes: int


Terms = Callable[
    [Any, Target, Tensor], dict[str, Tensor]
]  # (source, or None in a source-free method, target, progress)


class Update(NamedTuple):
    """One optimiser step, declared as data: the loop owns the optimiser and carries it out.

    Attributes:
        terms: the formula whose terms are added up, ``terms(source, target, progress)``.
        trains: which parts move: of ``extractor``, ``head``, ``method``, and ``norm`` (the affine part of BatchNorm
            alone).
        task: whether the task loss on the source is added.
        repeat: how many times the update is made in a row, each on a forward of its own if ``fresh``.
        fresh: False: on this step's features, detached (a critic's inner steps).
    """

    terms: Terms
    trains: frozenset[str] = frozenset({"extractor", "head", "method"})
    task: bool = True
    repeat: int = 1
    fresh: bool = True


M = TypeVar("M", bound="Method")


class Method(nn.Module):
    """What is added to the task loss so that a model learned on the source works on the target.

    A subclass writes :meth:`terms`, and states in ``needs`` what it reads. It owns no loop, no optimiser and no data.

    Args:
        weight: trade-off against the task loss, >= 0.
        schedule: ``"constant"``, or ``"ramp"``: the weight times 2/(1+exp(-10 p))-1 with p the training progress
            (Ganin et al., JMLR 2016, section 5.2.2).

    Raises:
        ValueError: if the weight is negative or not finite, or the schedule is unknown.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"source"})
    """Of ``source logits labels domain head index strong inputs batchnorm``: what must be there. Without ``source`` it
    is source-free."""
    watches: ClassVar[frozenset[str]] = frozenset()
    """Names among the terms that are measured and recorded only, detached: never weighted, never added to the loss."""
    sources: int = 1
    """How many sources it tells apart by ``Source.domain``; 1: any number, taken together as one."""
    least: ClassVar[int] = 1
    """The samples of each domain that one batch must hold: 2 where a covariance is taken."""
    weighs: ClassVar[Literal["terms", "inside"]] = "terms"
    """``terms``: the weight multiplies every term. ``inside``: the method applies it itself (DANN: to the reversed
    gradient alone), and says so."""
    sees_target: bool = True
    """False: the loop forwards the source alone (source-only training)."""
    refresh_every: int | None = None
    """Steps between two calls of :meth:`refresh`, the first before the first step; None: before evaluations only."""
    assumes_proportions: ClassVar[bool] = False
    """Whether it is made for classes as frequent in the target as in the source: it aligns the domains as wholes."""
    version: ClassVar[int] = 1
    """Raised by hand when a change of the file changes its numbers; part of a benchmark cell's identity."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name in ("needs", "watches"):
            words = getattr(cls, name)
            if not isinstance(words, (set, frozenset, property)):
                raise TypeError(
                    f"{cls.__name__} needs {name} as a set of words; got {words!r}. Write "
                    f'{name} = frozenset({{"source", "logits"}}).'
                )

    def __init__(self, *, weight: float = 1.0, schedule: str = "constant") -> None:
        super().__init__()
        name = type(self).__name__
        number: object = weight
        if isinstance(number, bool) or not isinstance(number, Real):
            raise TypeError(f"{name} needs weight as a number; got {type(weight).__name__}.")
        weight = int(number) if isinstance(number, Integral) else float(number)  # of numpy's, as a grid has them
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"{name} needs a finite weight >= 0; got {weight}. Use 0 to switch the method off.")
        if schedule not in ("constant", "ramp"):
            raise ValueError(f"{name}: " + nearest("schedule", schedule, ["constant", "ramp"]))
        if not self.needs <= NEEDS:
            raise ValueError(f"{name}.needs: " + nearest("need", min(self.needs - NEEDS), NEEDS))
        self.weight = weight
        self.schedule = schedule

    @classmethod
    def create(cls: type[M], sizes: Sizes, **settings: Any) -> M:
        """Build from sizes and settings, as the command line and suite files do.

        Args:
            sizes: what the network offers; passed as ``features=`` and ``classes=`` where the constructor has them.
            settings: the constructor's other arguments.

        Raises:
            ValueError: for a setting that the constructor does not have, with the nearest that it has.
        """
        known = inspect.signature(cls).parameters
        for key in settings:
            if key not in known:
                raise ValueError(f"{cls.__name__}: " + nearest("setting", key, known))
        given = {name: value for name, value in sizes._asdict().items() if name in known}
        made = cls(**{**given, **settings})
        if not hasattr(made, "weight"):
            raise TypeError(f"{cls.__name__}.__init__ has to begin with super().__init__(weight=weight).")
        return made

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        """The formula: named scalars, unweighted unless ``weighs`` is ``inside``. The batch has been checked.

        Those named in ``watches`` come detached and are kept in the history beside the losses.

        Args:
            source: what came of the labelled batch.
            target: what came of the unlabelled batch.
            progress: a scalar tensor, 0 at the first step and 1 at the end of training.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say what it adds: write terms()")

    def losses(
        self, source: Source | None, target: Target, progress: float | Tensor, update: Update | None = None
    ) -> dict[str, Tensor]:
        """The terms, checked and weighted: what the loop adds up, and what it only records (``watches``).

        Args:
            source: the labelled batch; None for source-free methods.
            target: the unlabelled batch.
            progress: of training, in [0, 1]; a number, or a scalar tensor, whose value is not asked.
            update: which of :meth:`updates`; None for a method with only one.

        Raises:
            ValueError: if the batch lacks what the method needs, or holds NaN or inf (asked on the CPU only).
        """
        self.check(source, target)
        if not isinstance(progress, Tensor):
            progress = _as_progress(type(self).__name__, progress, target.features)
        terms = (update.terms if update is not None else self.updates()[0].terms)(source, target, progress)
        _check_terms(type(self).__name__, terms)
        return self.weighted(terms, progress)

    def forward(self, source: Source | None, target: Target, progress: float | Tensor = 1.0) -> Tensor:
        """The sum of :meth:`losses` without what is only watched: what a loop of your own adds to its task loss.

        Args:
            source: the labelled batch, a :class:`Source`; None for source-free methods.
            target: the unlabelled batch, a :class:`Target`.
            progress: of training, from 0 to 1; a number or a scalar tensor.

        Raises:
            TypeError: if the method needs several updates a step, and so cannot be one sum; for plain tensors.
            ValueError: as :meth:`losses`, and for a progress outside [0, 1].
        """
        _check_kinds(type(self).__name__, source, target)
        progress = _as_progress(type(self).__name__, progress, target.features)
        updates = self.updates()
        plain = type(self).updates is Method.updates  # comparing updates takes some microseconds
        if not plain and (len(updates) > 1 or updates[0]._replace(terms=self.terms) != Update(self.terms)):
            raise TypeError(
                f"{type(self).__name__} trains its parts in {len(updates)} separate updates a step and cannot be "
                "one sum; use landbridge.fit, or carry out method.updates() in your loop."
            )
        losses = [v for n, v in self.losses(source, target, progress, updates[0]).items() if n not in self.watches]
        return sum(losses[1:], losses[0]) if losses else target.features.new_zeros(())

    def updates(self) -> tuple[Update, ...]:
        """The optimiser steps made on each batch; one, of :meth:`terms`, unless a method says more."""
        return (Update(self.terms),)

    def begin(self, network: Network) -> None:
        """Called once before the optimiser is made: take frozen copies, freeze parts.

        Both modules are in training mode; what is put into ``eval()`` here stays in it.
        """

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        """Called before the first step and every ``refresh_every`` steps, or before evaluations if that is None.

        What it keeps from one call to the next belongs in buffers or :meth:`get_extra_state`, so that it is resumed.

        Args:
            network: the network in training, in the mode it is in.
            target_batches: the inputs of the target rows adapted to, in order; it can be gone through several times.
        """

    def strength(self, progress: Tensor) -> float | Tensor:
        """The weight at this progress: a float, or a tensor if it ramps (so that nothing recompiles)."""
        return self.weight if self.schedule == "constant" else self.weight * ramp(progress)

    def weighted(self, terms: dict[str, Tensor], progress: Tensor) -> dict[str, Tensor]:
        """The terms times :meth:`strength`; as they are if the method weighs them inside, or only watches them."""
        if self.weighs == "inside" or not terms:
            return terms
        strength = self.strength(progress)
        return {name: term if name in self.watches else strength * term for name, term in terms.items()}

    def check(self, source: Source | None, target: Target) -> None:
        """Raise with a sentence if the batch lacks something in ``needs``, has a wrong shape, or is not finite."""
        name = type(self).__name__
        _check_kinds(name, source, target)
        n_t = target.features.shape[0]
        if source is None:
            if "source" in self.needs or "labels" in self.needs:
                raise ValueError(f"{name} compares source and target; got source=None. Pass Source(features, ...).")
            check_finite(name, "target", target.features)
        else:
            check_features(name, source.features, target.features, least=self.least)
        _check_own_dtype(name, next(self.parameters(), None), target.features)
        if "logits" in self.needs:
            target_logits = check_logits(name, "target", target.logits, n_t)
            if source is not None:
                source_logits = check_logits(name, "source", source.logits, source.features.shape[0])
                if source_logits.shape[1] != target_logits.shape[1]:
                    raise ValueError(
                        f"{name} needs logits over the same classes; got {source_logits.shape[1]} for the source "
                        f"and {target_logits.shape[1]} for the target."
                    )
        if "labels" in self.needs and source is not None:
            check_labels(name, source.labels, source.features.shape[0])
        if "domain" in self.needs and source is not None:
            check_domain(name, source.domain, source.features.shape[0], self.sources)
        if "index" in self.needs and target.index is None:
            raise ValueError(f"{name} keeps a memory of target rows; got Target(index=None). Pass their row numbers.")
        if "strong" in self.needs and target.strong is None:
            raise ValueError(f"{name} needs a strongly augmented copy of the batch; got Target(strong=None).")
        if "inputs" in self.needs and (target.inputs is None or (source is not None and source.inputs is None)):
            raise ValueError(f"{name} forwards a network of its own; got inputs=None. Pass the inputs of the features.")


def _check_kinds(name: str, source: object, target: object) -> None:
    """A batch comes as :class:`Source` and :class:`Target`; plain tensors are met most often."""
    if isinstance(target, Target) and (source is None or isinstance(source, Source)):
        return
    came = " and ".join("a Tensor" if isinstance(v, Tensor) else type(v).__name__ for v in (source, target))
    raise TypeError(
        f"{name} takes a batch as Source(features, logits, labels) and Target(features, logits), fields that it does "
        f"not need left out; got {came}. Write method(Source(fs, ls, ys), Target(ft, lt), progress)."
    )


def _check_own_dtype(name: str, own: Tensor | None, features: Tensor) -> None:
    """What a method's own layers are made of and what they are given multiply only in one dtype."""
    if own is None or own.dtype == features.dtype or torch.is_autocast_enabled(features.device.type):
        return
    raise ValueError(
        f"{name} computes in {own.dtype}, as its own layers do; got features of {features.dtype}. Convert the method, "
        f"method.to({features.dtype}), or the features and logits, features.to({own.dtype})."
    )


def _as_progress(name: str, progress: float | Tensor, like: Tensor) -> Tensor:
    """A scalar tensor in [0, 1]; on a GPU a tensor is not asked, which would make the step wait."""
    if isinstance(progress, Tensor):
        if progress.ndim:
            raise ValueError(f"{name} needs progress as one number; got a tensor of shape {tuple(progress.shape)}.")
        if torch.compiler.is_compiling() or progress.device.type != "cpu":
            return progress
        value: Any = progress.item()
    else:
        value = progress
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} needs progress as a number from 0 to 1; got {type(value).__name__}.")
    if not 0 <= float(value) <= 1:  # NaN neither
        raise ValueError(
            f"{name} needs progress from 0, at the first step, to 1, at the end of training; got {value}. Pass "
            "step / steps."
        )
    return progress if isinstance(progress, Tensor) else like.new_full((), float(value))


def _check_terms(name: str, terms: object) -> None:
    """What :meth:`Method.terms` gave back: scalars by name, none of them called as the task loss is."""
    if not isinstance(terms, dict):
        raise TypeError(
            f"{name}.terms() has to return scalars by name; got {type(terms).__name__}. Write "
            'return {"distance": distance}.'
        )
    for key, value in terms.items():
        if key == "task":
            raise ValueError(f"{name}.terms() has a term 'task', which is the task loss's name. Call it otherwise.")
        if not isinstance(value, Tensor) or value.ndim:
            came = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name}.terms() has to return scalar tensors; {key!r} is {came}. Take its mean or sum.")
