"""The one training loop."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .again import Again
from .batches import Order, Samples, Sources, as_samples
from .batchnorm import split_batchnorm
from .checkpoint import (
    CheckpointError,
    check_writable,
    random_states,
    read_checkpoint,
    set_random_states,
    write_checkpoint,
)
from .checks import NonFiniteError, nearest
from .devices import resolve_device
from .dtypes import check_trainable_dtype, default_dtype, working_dtype
from .evaluate import batch_size_for
from .fingerprint import fingerprint
from .history import History, TrainingDiverged
from .method import Method
from .network import Network
from .optimizer import Optimizer, as_optimizer
from .probe import Look, cast_whole_numbers, check_logits_are_meant, look
from .progress import ProgressLine
from .result import FitResult
from .seeds import derive_seed, seed_globally, seed_libraries, seeded
from .step import Batch, Step, Stepper, TaskLoss
from .tasks import check_head, check_method, check_task, default_loss

__all__ = ["fit"]


def fit(
    network: Network,
    method: Method,
    source: Any,
    target: Any,
    *,
    task: str = "classification",
    steps: int = 1000,
    batch_size: int | tuple[int, int] = 64,
    optimizer: Optimizer | str | Callable[..., Any] | None = None,
    seed: int = 0,
    batch_statistics: str = "joint",
    task_loss: TaskLoss | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    evaluation: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "auto",
    precision: str = "float32",
    compile: bool = False,
    channels_last: bool = False,
    accumulate: int = 1,
    metrics_every: int = 50,
    progress_bar: bool | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int | None = None,
    evaluate_at: Collection[int] = (),
    on_evaluate: Callable[[int, Network], None] | None = None,
    init: FitResult | Path | str | None = None,
) -> FitResult:
    """Train a network on labelled source and unlabelled target data with a method, in place.

    On the CPU the same seed gives the same weights, bit for bit, with the same number of threads (a GPU's kernels may
    add in another order each time). Global random states are left as they were.

    Args:
        network: inputs -> (features, logits): :class:`Network`, ``create_network`` or ``wrap`` make one.
        method: what is added to the task loss.
        source: ``(inputs, labels)``, (n_s, ...) and (n_s,), arrays or tensors; uint8 images stay uint8 until they are
            in the network (see ``Normalise``). A list of such pairs is several sources: ``Source.domain`` then holds
            each row's source number, and each source shuffles by itself. None for a source-free method.
        target: inputs (n_t, ...), without labels.
        task: ``classification``: labels are class numbers from 0, the head gives a logit a class. ``binary``: labels
            are 0 and 1, the head gives one logit z, (n, 1) or (n,), which methods and task loss get as the logits
            (0, z). ``regression``: labels are values (n_s,) or (n_s, m), which the head predicts; methods get no
            logits, and those that need class logits or labels refuse.
        steps: how many optimiser steps (of a method with one update a step).
        batch_size: samples a step and domain, or ``(source, target)``. Each of k sources gives ``source // k`` of them.
        optimizer: how parameters move; SGD with momentum 0.9 at 0.01 if left out. A name, a class of ``torch.optim`` or
            a function of the parameters do too: :func:`~landbridge.shared.optimizer.as_optimizer`.
        seed: decides the order of samples and all that is drawn in training (not the weights at the start, which
            the network brings).
        batch_statistics: of BatchNorm: ``joint``, over the concatenated batch; or ``per_domain``, each domain by its
            own (each source of several too), evaluated by the target's. ``per_domain`` and AdaBN leave layers in the
            network that keep both (its state holds the source's statistics beside the target's, and so does a saved
            file); ``wrap``'s ``unwrap``, or the end of its block, or ``shared.batchnorm.join_batchnorm(network)`` puts
            the plain ones back, with the target's. A method that does not see the target forwards the source alone,
            several as one batch.
        task_loss: of source logits (values, in regression) and labels, a scalar; cross-entropy, or in regression the
            mean squared error, if left out.
        augment: applied to each domain's batch on the device (to several sources' rows together).
        evaluation: applied instead of it to what a method forwards outside a step (AdaBN's statistics, pseudo-labels),
            such as ``CentreCrop``.
        device: ``auto`` is a GPU where there is one, else the CPU.
        precision: ``float32``, or ``bfloat16``: the network under autocast, the method in float32.
        compile: compile forward and losses with ``torch.compile``.
        channels_last: memory format of network and images.
        accumulate: batches a step, whose gradients are averaged; alignment is of each batch.
        metrics_every: steps between two readings of the loss terms.
        progress_bar: show one; None: if the output is a terminal.
        checkpoint: a file to go on from if it is there, and to write every ``checkpoint_every`` steps and at the end.
        checkpoint_every: in steps; a tenth of them if left out.
        evaluate_at: steps (1 is the first) after which ``on_evaluate(step, network)`` is called.
        on_evaluate: see there; the network comes in training mode.
        init: a result, or a file of one, whose weights the network starts from: the second phase of two.

    Returns:
        The trained network with its history.

    Raises:
        ValueError, TypeError: for arguments that do not fit, with a sentence.
        TrainingDiverged: if a loss becomes NaN or inf; the last good checkpoint stands.
        CheckpointError: if the checkpoint is damaged or of other settings.

    >>> x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> network = lb.Network(torch.nn.Linear(5, 8), torch.nn.Linear(8, 2))
    >>> result = fit(network, lb.SourceOnly(), (x, (x[:, 0] > 0).long()), x + 1, steps=20, batch_size=16, device="cpu")
    >>> len(result.history), result.predict(x).shape
    (20, torch.Size([64]))
    """
    run = _Run(**locals())
    return run()


class _Run:
    """One call of :func:`fit`."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        for name, least in (("steps", 1), ("accumulate", 1), ("metrics_every", 1), ("checkpoint_every", 1)):
            value = given[name]
            if value is not None and (not _is_whole(value) or value < least):
                raise ValueError(f"fit needs {name} as a whole number >= {least}; got {value!r}.")
            given[name] = None if value is None else int(value)
        for name, known in (("precision", ("float32", "bfloat16")), ("batch_statistics", ("joint", "per_domain"))):
            if given[name] not in known:
                raise ValueError("fit: " + nearest(name, given[name], known))
        if not isinstance(given["network"], Network):
            raise TypeError(
                f"fit needs a landbridge Network; got {type(given['network']).__name__}. Use Network(extractor, head), "
                "or wrap(module, head='name of its last layer')."
            )
        if not isinstance(given["method"], Method):
            raise TypeError(f"fit needs a Method; got {given['method']!r}. Use, for example, DANN(features=256).")
        if getattr(given["evaluation"], "views", 1) > 1:
            raise ValueError(
                f"fit needs an evaluation of one view an image; got {type(given['evaluation']).__name__}. Use "
                "CentreCrop, and keep several views for forward_all."
            )
        self.device = resolve_device(given["device"], function="fit")
        check_task("fit", given["task"])
        check_method(given["task"], given["method"])
        given["seed"] = int(given["seed"]) if _is_whole(given["seed"]) else given["seed"]
        self.steps, self.accumulate, self.seed = given["steps"], given["accumulate"], given["seed"]
        self.checkpoint = None if given["checkpoint"] is None else Path(given["checkpoint"])
        if self.checkpoint is not None:
            check_writable("fit", self.checkpoint)
        self.every = given["checkpoint_every"] or max(1, self.steps // 10)
        self.settings = Optimizer() if given["optimizer"] is None else as_optimizer("fit", given["optimizer"])
        check_trainable_dtype("fit", given["network"])
        self.dtype = working_dtype(given["network"])
        self._data(given["source"], given["target"], given["batch_size"])
        with default_dtype(self.dtype):
            self._modules(given["network"], given["method"])

    def _data(self, source: Any, target: Any, batch_size: Any) -> None:
        sizes = (batch_size, batch_size) if _is_whole(batch_size) else batch_size
        if not isinstance(sizes, (tuple, list)) or len(sizes) != 2 or not all(map(_is_whole, sizes)):
            raise TypeError(f"fit needs batch_size as a whole number or (source, target); got {batch_size!r}.")
        sizes = (int(sizes[0]), int(sizes[1]))
        kept = list(sizes) if isinstance(batch_size, list) else sizes  # as given: part of a checkpoint's fingerprint
        self.given["batch_size"] = sizes[0] if _is_whole(batch_size) else kept
        dtype = self.given["network"].input_dtype
        self.target = as_samples("fit", "target", target, self.device, labelled=False, dtype=dtype)
        self.target_order = Order(len(self.target), sizes[1], seed=self.seed, name="target", device=self.device)
        self.source: Sources | None = None
        if source is not None:
            task = self.given["task"]
            self.source = Sources(
                "fit", source, self.device, sizes[0], seed=self.seed, dtype=dtype, task=task, values=self.dtype
            )
            self._check_alike(self.source.samples[0], self.target)

    def _check_alike(self, of_source: Samples, of_target: Samples) -> None:
        """Rows that go through the network together agree in shape and scale, unless an augmentation sees to it."""
        if self.given["augment"] is not None or not self.given["method"].sees_target:
            return
        kinds = of_source.dtype, of_target.dtype
        if torch.uint8 in kinds and any(kind.is_floating_point for kind in kinds):
            raise ValueError(
                "fit puts source and target rows through the network as one batch; got source inputs of "
                f"{kinds[0]} and target inputs of {kinds[1]}, whose scales hardly agree. Give both as uint8 images, or "
                "both as floating-point numbers of one scale."
            )
        source, target = of_source.shape[1:], of_target.shape[1:]
        if source != target:
            raise ValueError(
                "fit puts source and target rows through the network as one batch, and needs inputs of one shape; got "
                f"(samples, {', '.join(map(str, source))}) for the source and (samples, {', '.join(map(str, target))}) "
                "for the target. Give both the same columns, or images of one size."
            )

    def _modules(self, network: Network, method: Method) -> None:
        name = type(method).__name__
        if self.source is None and {"source", "labels"} & method.needs:
            raise ValueError(f"{name} is not source-free; got source=None. Pass source=(inputs, labels).")
        self._check_sources(method)
        if "strong" in method.needs:
            raise ValueError(
                f"{name} needs a strongly augmented copy of each target batch, and fit makes none. Train it in a loop "
                "of your own, with Target(features, logits, strong=Target(...))."
            )
        format = torch.channels_last if self.given["channels_last"] else torch.preserve_format
        self.network = network.to(self.device, memory_format=format)  # type: ignore[call-overload]
        self._check_outputs()
        self.method = method.to(self.device)
        if any(p.dtype != self.dtype for p in method.parameters()):
            method.to(self.dtype)  # its own layers are multiplied with the network's features
        split = None
        per_domain = self.given["batch_statistics"] == "per_domain" and method.sees_target
        if per_domain or "batchnorm" in method.needs:
            split, layers = split_batchnorm(network)
            if "batchnorm" in method.needs and not layers:
                raise ValueError(f"{name} works on BatchNorm layers; {type(network).__name__} has none.")
        if not per_domain and method.sees_target:
            split = None  # one batch, whatever the layers could keep apart
        if self.given["init"] is not None:
            _start_from(self.given["init"], network)
        network.train()
        method.train()
        with seeded(self.seed, "begin"):
            method.begin(network)
        task, sources = self.given["task"], 1 if self.source is None else len(self.source)
        task_loss = self.given["task_loss"] or default_loss(task)
        self.step = Step(network, method, task_loss, split, self.given["precision"], task=task, sources=sources)
        self.frozen = [module for module in self.step.modules() if not module.training]
        self.optimizer = self.settings.make(network, method)
        self.stepper = Stepper(self.step, self.optimizer, self.settings, compile=self.given["compile"])
        self.history = History(self.given["metrics_every"])
        self.progress = torch.zeros((), device=self.device)
        rows = None if self.source is None else self.source.samples
        self.fingerprint = fingerprint(self.given, self.settings, self.step, rows, self.target)

    def _check_outputs(self) -> None:
        """What the network makes of a few rows, before it is trained: logits, and as many as the labels want."""
        domains = {"target": self.target}
        if self.source is not None:
            domains = {"source": self.source.samples[0], **(domains if self.given["method"].sees_target else {})}
        transform = self.given["evaluation"]  # never the augmentation, which may count what it is given
        seen: Look | None = None
        for name, samples in domains.items():
            cast_whole_numbers("fit", name, self.network, samples, transform)
            try:
                seen = look(self.network, samples, transform)
            except (RuntimeError, IndexError) as error:
                changed = transform is not None or self.given["augment"] is not None
                if changed or isinstance(error, (NotImplementedError, torch.cuda.OutOfMemoryError)):
                    continue  # whatever it has against these rows, training will say it
                raise ValueError(
                    f"fit: the network cannot take {name} inputs of shape {samples.shape}, {samples.dtype}: {error}"
                ) from error
        task, own_loss = self.given["task"], self.given["task_loss"] is not None
        if seen is not None and (not own_loss or "logits" in self.given["method"].needs):
            check_logits_are_meant("fit", seen, task)
        if self.source is None:
            return
        unseen = [] if self.given["method"].sees_target or self.target.dtype.is_floating_point else [self.target]
        for samples in (*self.source.samples[1:], *unseen):  # AdaBN forwards the target all the same
            samples.cast = self.source.samples[0].cast
        outputs = getattr(self.network.head, "out_features", None)
        if not isinstance(outputs, int):
            known = seen is not None and seen.outputs.ndim == 2 and task == "classification" and not own_loss
            outputs = seen.outputs.shape[1] if known and seen is not None else None
        check_head("fit", self.source.labels, outputs, task, own_loss=own_loss)

    def _check_sources(self, method: Method) -> None:
        """A method that tells sources apart wants as many as it was made for."""
        if self.source is None or not (method.sources > 1 or "domain" in method.needs):
            return
        came = 1 if self.source.domain is None else len(self.source)
        if self.source.domain is None or method.sources not in (1, came):
            wanted = method.sources if method.sources > 1 else "several"
            remedy = "Pass them as a list of pairs: source=[(inputs, labels), ...]"
            if self.source.domain is not None:
                what = "it" if "sources" in inspect.signature(type(method)).parameters else "its parts"
                remedy = f"Make {what} with sources={came}, or pass {wanted} sources"
            raise ValueError(f"{type(method).__name__} was made for {wanted} sources; got {came}. {remedy}.")

    def __call__(self) -> FitResult:
        with default_dtype(self.dtype):  # methods and networks make tensors on their way
            return self._whole()

    def _whole(self) -> FitResult:
        started = time.perf_counter()
        states = random_states()
        try:
            seed_libraries(derive_seed(self.seed, "libraries"))
            first = self._resume()
            self._train()
            if first == 0:
                self._refresh(self.method.refresh_every is not None)
            with ProgressLine(self.steps, first, self.given["progress_bar"]) as line:
                for step in range(first, self.steps):
                    self._one(step)
                    self._after(step + 1, line)
            self._read()
            self._check_weights(self.steps)
            self._refresh(self.method.refresh_every is None)
        finally:
            set_random_states(states)
        self.network.eval()
        seconds = time.perf_counter() - started
        samples = self.target if self.source is None else self.source.samples[0]
        shape = samples.shape[1:] if self.given["augment"] is None else None
        return FitResult(self.network, self.method, self.history, seconds, task=self.given["task"], trained_on=shape)

    def _one(self, step: int) -> None:
        seed_globally(derive_seed(self.seed, "step", step))  # what a step draws depends on nothing before it
        progress = step / self.steps
        self.progress.fill_(progress)
        self.settings.set_rate(self.optimizer, progress)
        batches = [self._batch(step * self.accumulate + i) for i in range(self.accumulate)]
        try:
            full = self.history.write(self.stepper(batches, self.progress))
        except NonFiniteError as error:
            self._read()  # a term of an earlier step says more
            raise self._diverged(f"training stopped at step {step}: {error}") from error
        except (ValueError, RuntimeError) as error:  # the latter of torch.compile
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"fit: a BatchNorm layer got one row, which has no variance; batch_size is {self.given['batch_size']}. "
                "Use at least 2 rows of each domain, and of each of several sources."
            ) from error
        if full:
            self._read()

    def _batch(self, number: int) -> Batch:
        rows = self.target_order(number)
        target = self._prepared(self.target.gather(rows))
        if self.source is None:
            return Batch(None, None, target, rows)
        inputs, labels = self.source.gather(number)
        return Batch(self._prepared(inputs), labels, target, rows, self.source.domain)

    def _prepared(self, x: Tensor, by: str = "augment") -> Tensor:
        if self.given[by] is not None:
            x = self.given[by](x)
        return x.contiguous(memory_format=torch.channels_last) if self.given["channels_last"] and x.ndim == 4 else x

    def _train(self) -> None:
        """Training mode, but for what the method has put into evaluation mode for good."""
        self.step.train()
        for module in self.frozen:
            module.training = False

    def _after(self, done: int, line: ProgressLine) -> None:
        line.advance(done, self.history)
        every = self.method.refresh_every
        if every is not None and done % every == 0:
            self._refresh(True)
        if done in self.given["evaluate_at"] and self.given["on_evaluate"] is not None:
            self._read()
            self._refresh(every is None)
            self.given["on_evaluate"](done, self.network)
            self._train()
        if self.checkpoint is not None and (done == self.steps or done % self.every == 0):
            self._save(self.checkpoint, done)

    def _read(self) -> None:
        try:
            self.history.read()
        except TrainingDiverged as error:
            raise self._diverged(str(error)) from None

    def _check_weights(self, done: int) -> None:
        """Weights can be lost to a gradient while every loss is finite; no checkpoint is written of such."""
        for name, parameter in self.step.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise self._diverged(
                    f"training diverged: {name} holds NaN or inf after {done} steps, though every loss was finite, so "
                    "a gradient was not. Lower the learning rate or the method's weight."
                )

    def _diverged(self, sentence: str) -> TrainingDiverged:
        kept = self.checkpoint is not None and self.checkpoint.exists()
        return TrainingDiverged(sentence + (f" The last good checkpoint is kept in {self.checkpoint}." if kept else ""))

    def _refresh(self, due: bool) -> None:
        if due and type(self.method).refresh is not Method.refresh:
            with seeded(self.seed, "refresh", len(self.history)):
                self.method.refresh(self.network, Again(self._target_batches))

    def _target_batches(self) -> Iterator[Tensor]:
        for rows in self.target.chunks(batch_size_for(self.target)):
            yield self._prepared(self.target.gather(rows), "evaluation")

    def _save(self, path: Path, done: int) -> None:
        self._read()
        self._check_weights(done)
        write_checkpoint(path, {
            "format": 1,
            "step": done,
            "fingerprint": self.fingerprint,
            "network": self.network.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.state(),
            "positions": {"source": done * self.accumulate, "target": done * self.accumulate},
            "random": random_states(),
        })  # fmt: skip

    def _resume(self) -> int:
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        state = read_checkpoint(self.checkpoint, self.device)
        ours, theirs = self.fingerprint, state.get("fingerprint", {})
        both = {key: (theirs.get(key), ours.get(key)) for key in {**ours, **theirs}}
        changed = [f"{key} was {was!r}, is {now!r}" for key, (was, now) in both.items() if was != now]
        if state.get("format") != 1 or changed:
            raise CheckpointError(
                f"{self.checkpoint} is of a run with other settings: {'; '.join(changed) or 'another file format'}. "
                "Delete it to start afresh, or run with its settings."
            )
        try:
            self.network.load_state_dict(state["network"])
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{self.checkpoint} is of another network or method: {error}") from error
        self.history.load(state["history"]["names"], state["history"]["values"].cpu())
        set_random_states(state["random"])
        return int(state["step"])


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _start_from(init: FitResult | Path | str, network: Network) -> None:
    state = init.network.state_dict() if isinstance(init, FitResult) else FitResult.weights(Path(init))
    known = network.state_dict().keys()
    extra = ("source_running_mean", "source_running_var")  # of a first phase per domain, where this one is not
    state = {name: value for name, value in state.items() if name in known or not name.endswith(extra)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"fit: the weights of init do not fit the network: {error}") from error
