"""One training step: the forward of both domains, the task loss, the method's terms, and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .batchnorm import DomainSplit
from .dtypes import working_dtype
from .method import Method, Source, Target, Update
from .network import Network
from .optimizer import Optimizer
from .tasks import as_outputs, as_values

__all__ = ["Batch", "Step", "Stepper", "TaskLoss"]

TaskLoss = Callable[[Tensor, Tensor], Tensor]
Losses = Callable[[int, Any, Tensor], tuple[Tensor, dict[str, Tensor]]]


class Batch(NamedTuple):
    """What one forward takes."""

    source: Tensor | None  # (n_s, ...)
    labels: Tensor | None  # (n_s,)
    target: Tensor  # (n_t, ...)
    index: Tensor  # type: ignore[assignment] # (n_t,) row numbers of the target
    domain: Tensor | None = None  # (n_s,) which source, where there are several


class Outputs(NamedTuple):
    """What came of a batch; in regression the logits are the predicted values, which the method does not get."""

    source: Source | None
    target: Target

    def detach(self) -> Outputs:
        """The same without a graph."""
        return Outputs(*(None if side is None else _detached(side) for side in self))  # type: ignore[arg-type]


def _detached(side: Source | Target) -> Source | Target:
    return type(side)(*(v.detach() if isinstance(v, Tensor) else v for v in side))  # type: ignore[arg-type]


class Step(nn.Module):
    """Network, task loss and method as one module: what is autocast and compiled.

    Args:
        network: what learns.
        method: what is added.
        task_loss: of source logits and labels, a scalar.
        split: told what a batch holds, for per-domain batch statistics; None under ``joint``.
        precision: ``float32``, or ``bfloat16`` to forward the network under autocast. Task loss and method get float32,
            or float64 of a network that computes in it.
        task: what the network's second output is: see :mod:`~landbridge.shared.tasks`.
        sources: how many equal blocks the source rows of a batch are.
    """

    def __init__(
        self,
        network: Network,
        method: Method,
        task_loss: TaskLoss,
        split: DomainSplit | None,
        precision: str,
        *,
        task: str = "classification",
        sources: int = 1,
    ) -> None:
        super().__init__()
        self.network, self.method, self.task_loss = network, method, task_loss
        self.updates = method.updates()
        self.split = split or DomainSplit()
        self.task, self.sources = task, sources
        self.autocast = precision == "bfloat16"
        self.dtype = working_dtype(network)

    def outputs(self, batch: Batch) -> Outputs:
        """One forward of both domains, concatenated; of the source alone if the method does not see the target."""
        n_s = 0 if batch.source is None else batch.source.shape[0]
        both = self.method.sees_target and n_s > 0
        if both and batch.source is not None:
            x = torch.cat([batch.source, batch.target])
        else:
            x = batch.target if batch.source is None else batch.source
        self.split.n_source, self.split.source = (n_s if both else None), n_s > 0
        self.split.sources = self.sources
        try:  # not split.of(), at which torch.compile would break the graph
            with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.autocast):
                features, logits = self.network(x)
        finally:
            self.split.n_source, self.split.source, self.split.sources = None, False, 1
        features, logits = features.to(self.dtype), as_outputs(self.task, logits.to(self.dtype))
        if n_s == 0:
            return Outputs(None, Target(features, logits, batch.index, inputs=batch.target))
        source = Source(features[:n_s], logits[:n_s], batch.labels, domain=batch.domain, inputs=batch.source)
        return Outputs(source, Target(features[n_s:], logits[n_s:], batch.index, inputs=batch.target))

    def loss(self, number: int, outputs: Outputs, progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What an update differentiates, and its parts detached: ``task``, the method's weighted terms, and beside them
        what the method only watches."""
        update = self.updates[number]
        losses: dict[str, Tensor] = {}
        source, target = outputs
        if update.task and source is not None and source.logits is not None and source.labels is not None:
            predicted = as_values(source.logits, source.labels) if self.task == "regression" else source.logits
            losses["task"] = self.task_loss(predicted, source.labels)
        if self.method.sees_target:
            if self.task == "regression":  # values are no logits
                source, target = None if source is None else source._replace(logits=None), target._replace(logits=None)
            terms = self.method.losses(source, target, progress, update)
            losses = {**losses, **terms}
        values = [value for name, value in losses.items() if name == "task" or name not in self.method.watches]
        if not values:
            raise ValueError(
                "fit got an update with neither task loss nor terms: there is nothing to train. Give it a term, or "
                "a source and task=True."
            )
        return sum(values[1:], values[0]), {name: value.detach() for name, value in losses.items()}

    def forward(self, number: int, batch: Batch, progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """From a batch to :meth:`loss`."""
        return self.loss(number, self.outputs(batch), progress)


class Stepper:
    """Carries out a method's updates on the batches of a step.

    Args:
        step: the module.
        optimizer: torch's, over all parameters that learn.
        settings: where it came from; for clipping.
        compile: whether to compile forward and losses.
    """

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer, settings: Optimizer, *, compile: bool) -> None:
        self.step, self.optimizer, self.clip = step, optimizer, settings.clip
        self.trained = [self._parameters(update) for update in step.updates]
        everything = {id(p) for group in optimizer.param_groups for p in group["params"]}
        network = {id(p) for p in step.network.parameters()}
        self.halves = [
            ([p for p in t if id(p) in network], [p for p in t if id(p) not in network]) for t in self.trained
        ]
        self.partial = [everything != {id(p) for p in trained} for trained in self.trained]
        self.single = len(step.updates) == 1 and step.updates[0].repeat == 1
        self._forward: Losses = torch.compile(step) if compile else step
        self._outputs: Callable[[Batch], Outputs] = torch.compile(step.outputs) if compile else step.outputs
        self._loss: Losses = torch.compile(step.loss) if compile else step.loss

    def _parameters(self, update: Update) -> list[nn.Parameter]:
        parts = {**self.step.network.parts(), "method": list(self.step.method.parameters())}
        unknown = update.trains - parts.keys()
        if unknown:
            raise ValueError(f"Update.trains knows {sorted(parts)}; got {sorted(unknown)}.")
        chosen = dict.fromkeys(p for name in sorted(update.trains) for p in parts[name] if p.requires_grad)
        if not chosen:
            raise ValueError(f"an Update trains {sorted(update.trains)}, but there is no parameter to learn in these.")
        return list(chosen)

    def __call__(self, batches: Sequence[Batch], progress: Tensor) -> dict[str, Tensor]:
        """All updates on the batches of one step (several under accumulation); the terms, averaged over them."""
        if self.single:
            return self._update(0, self._forward, batches, progress)
        terms: dict[str, Tensor] = {}
        outputs: list[Outputs] | None = None
        spent = False  # whether the outputs' graph has been differentiated
        for number, update in enumerate(self.step.updates):
            for _ in range(update.repeat):
                if outputs is None or (update.fresh and spent):
                    outputs, spent = [self._outputs(batch) for batch in batches], False
                seen = outputs if update.fresh else [o.detach() for o in outputs]
                terms |= self._update(number, self._loss, seen, progress)
                spent = spent or update.fresh
                if update.fresh and update.trains & {"extractor", "head", "norm"}:
                    outputs = None  # the network has moved
        return terms

    def _update(self, number: int, losses: Losses, inputs: Sequence[Any], progress: Tensor) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        trained = self.trained[number]
        seen: list[dict[str, Tensor]] = []
        for one in inputs:
            value, terms = losses(number, one, progress)
            if len(inputs) > 1:
                value = value / len(inputs)
            if not value.requires_grad:
                raise ValueError(f"the losses {sorted(terms)} do not depend on anything that the update trains.")
            value.backward(inputs=trained if self.partial[number] else None)  # type: ignore[no-untyped-call]
            seen.append(terms)
        if self.clip is not None:
            for parameters in self.halves[number]:
                torch.nn.utils.clip_grad_norm_(parameters, self.clip)
        self.optimizer.step()
        if len(seen) == 1:
            return seen[0]
        return {name: torch.stack([terms[name] for terms in seen]).mean() for name in seen[0]}
