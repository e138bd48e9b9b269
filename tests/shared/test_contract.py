"""The contract carries methods of kinds that later families need, and ``fit`` trains them all as it is.

A frozen copy (ADDA), a critic with inner steps (WDGRL), a source-free method (Tent), and pseudo-labels with a memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import SIZES, data, network, same, train

from landbridge.shared.combine import Combine
from landbridge.shared.discriminator import DomainDiscriminator, domain_loss
from landbridge.shared.method import Method, Source, Target, Update
from landbridge.shared.network import Network, wrap
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.result import FitResult
from landbridge.shared.source_only import SourceOnly


class ADDA(Method):
    """The target's extractor learns to look like a frozen copy of the source's (Tzeng et al., CVPR 2017)."""

    needs: ClassVar[frozenset[str]] = frozenset({"source", "inputs"})
    frozen: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = DomainDiscriminator(SIZES.features, hidden=[7])

    def begin(self, network: Network) -> None:
        self.frozen = copy.deepcopy(network.extractor).requires_grad_(False).eval()

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(self.tell, trains=frozenset({"method"}), task=False, fresh=False),
            Update(self.fool, trains=frozenset({"extractor"}), task=False),
        )

    def tell(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {
            "tell": domain_loss(self.discriminator(self.frozen(source.inputs)), self.discriminator(target.features))
        }

    def fool(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"fool": F.softplus(-self.discriminator(target.features)).mean()}


class WDGRL(Method):
    """A critic estimates the Wasserstein distance in inner steps (Shen et al., AAAI 2018), here by clipped weights."""

    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def __init__(self) -> None:
        super().__init__(weight=0.5)
        self.critic = nn.Sequential(nn.Linear(SIZES.features, 7), nn.ReLU(), nn.Linear(7, 1))
        self.graphs: list[bool] = []

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(self.criticise, trains=frozenset({"method"}), task=False, repeat=5, fresh=False),
            Update(self.terms, trains=frozenset({"extractor", "head"})),
        )

    def distance(self, source: Source, target: Target) -> Tensor:
        gap: Tensor = self.critic(source.features).mean() - self.critic(target.features).mean()
        return gap

    def criticise(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.graphs.append(source.features.requires_grad)
        return {"critic": -self.distance(source, target)}

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.graphs.append(source.features.requires_grad)
        return {"distance": self.distance(source, target)}


class Tent(Method):
    """Without a source: the affine part of BatchNorm minimises the predictions' entropy (Wang et al., ICLR 2021)."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "batchnorm"})

    def updates(self) -> tuple[Update, ...]:
        return (Update(self.terms, trains=frozenset({"norm"})),)

    def terms(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source is None
        assert target.logits is not None
        return {"entropy": -(target.logits.softmax(1) * target.logits.log_softmax(1)).sum(1).mean()}


class PseudoLabels(Method):
    """Learns from its own labels of all target rows, renewed every two steps."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "index"})
    refresh_every: int | None = 2

    def __init__(self) -> None:
        super().__init__()
        self.labels = torch.empty(0, dtype=torch.long)
        self.renewed = 0
        self.rows: list[Tensor] = []

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        network.eval()
        with torch.no_grad():
            self.labels = torch.cat([network(x)[1].argmax(1) for x in target_batches])
        network.train()
        self.renewed += 1

    def terms(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert target.index is not None
        assert target.logits is not None
        assert target.inputs is not None
        assert torch.equal(target.inputs, data().target[target.index])
        self.rows.append(target.index)
        return {"pseudo": F.cross_entropy(target.logits, self.labels[target.index])}

    def get_extra_state(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.labels = state["labels"]


def made(method: Callable[[], Method]) -> Method:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return method()


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


# ---- a frozen copy


@pytest.mark.parametrize("statistics", ["joint", "per_domain"])
def test_a_frozen_copy_stays_what_it_was_and_the_extractor_moves(statistics: str) -> None:
    first = train(SourceOnly())
    start, method = parameters(first.network), made(ADDA)
    copied = copy.deepcopy(first.network.extractor)
    result = train(
        method, first.network, batch_statistics=statistics, evaluate_at=[2], on_evaluate=lambda step, model: None
    )
    assert isinstance(method, ADDA)
    for name, value in copied.state_dict().items():
        assert torch.equal(method.frozen.state_dict()[name], value)  # and the running statistics of its BatchNorm
    assert not method.frozen.training
    moved = changed(start, result.network) - {"extractor.0.bias"}  # BatchNorm takes its gradient away
    assert moved == {name for name in start if name.startswith("extractor")} - {"extractor.0.bias"}
    assert result.history.names == ["tell", "fool"]


def test_a_frozen_copy_of_a_wrapped_module() -> None:
    module = nn.Sequential(nn.Linear(6, SIZES.features), nn.ReLU(), nn.Linear(SIZES.features, SIZES.classes))
    method = made(ADDA)
    start = parameters(wrap(module, head="2").extractor)
    train(method, wrap(module, head="2"))
    assert isinstance(method, ADDA)
    assert not changed(start, method.frozen)
    assert not torch.equal(module[0].weight, method.frozen.network.module[0].weight)  # type: ignore[union-attr]


def test_inputs_are_asked_for() -> None:
    method = made(ADDA)
    method.begin(network())
    features = torch.zeros(2, SIZES.features)
    for source in (Source(features), Source(features, inputs=torch.zeros(2, 6))):
        with pytest.raises(ValueError, match="ADDA forwards a network of its own; got inputs=None"):
            method.losses(source, Target(features), torch.tensor(1.0), method.updates()[0])


# ---- a critic


def test_a_critic_takes_its_steps_on_one_forward_and_the_network_stands_still_meanwhile() -> None:
    method, model = made(WDGRL), network()
    forwards, extractor, critic = [], [], []

    def before_forward(module: nn.Module, inputs: object) -> None:
        if module.training:  # what fit looks at before it trains is in evaluation mode
            forwards.append(inputs)

    model.register_forward_pre_hook(before_forward)
    for part, seen in ((model, extractor), (method, critic)):
        seen.append(parameters(part))
    moves: list[tuple[bool, bool]] = []

    class Watching(Optimizer):
        def make(self, network: Network, method: Method) -> torch.optim.Optimizer:
            optimizer = super().make(network, method)

            def note(*_: object) -> None:
                moves.append((bool(changed(extractor[-1], network)), bool(changed(critic[-1], method))))
                extractor.append(parameters(network))
                critic.append(parameters(method))

            optimizer.register_step_post_hook(note)
            return optimizer

    result = train(method, model, steps=3, optimizer=Watching(lr=0.1))
    assert moves == [*[(False, True)] * 5, (True, False)] * 3
    assert len(forwards) == 3
    assert isinstance(method, WDGRL)
    assert method.graphs == [*[False] * 5, True] * 3
    assert result.history.names == ["critic", "task", "distance"]


def test_a_critic_gets_better_in_its_steps() -> None:
    values: list[float] = []

    class Noted(WDGRL):
        def criticise(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
            terms = super().criticise(source, target, progress)
            values.append(terms["critic"].item())
            return terms

    train(made(Noted), steps=1)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


# ---- without a source


def test_a_source_free_method_moves_the_affine_part_of_batchnorm_alone() -> None:
    first = train(SourceOnly(), steps=50)
    start = parameters(first.network)
    result = train(
        Tent(), first.network, source=None, steps=30,
        optimizer=Optimizer(lr=0.1, weight_decay=0.1),
    )  # fmt: skip
    assert changed(start, result.network) == {"extractor.1.weight", "extractor.1.bias"}
    entropy = result.history["entropy"]
    assert entropy[-5:].mean() < entropy[:5].mean()
    assert result.history.names == ["entropy"]


# ---- pseudo-labels


def test_pseudo_labels_are_of_the_rows_in_the_batch_and_there_from_the_first_step() -> None:
    method = PseudoLabels()
    train(method)
    assert method.renewed == 3  # before steps 1, 3 and 5
    assert len(method.labels) == len(data().target)
    first_epoch = torch.cat(method.rows)[: len(data().target)]
    assert len(first_epoch.unique()) == len(data().target)


def test_pseudo_labels_sharpen_the_targets_predictions() -> None:
    plain, sharpened = train(SourceOnly(), steps=100), train(PseudoLabels(), steps=100)
    confidence = [r.predict_proba(data().target).max(1).values.mean() for r in (plain, sharpened)]
    assert confidence[1] > confidence[0] + 0.05


# ---- and all of them


KINDS: dict[str, Callable[[], Method]] = {
    "adda": ADDA,
    "wdgrl": WDGRL,
    "tent": Tent,
    "pseudo": PseudoLabels,
    "combined": lambda: Combine(wdgrl=WDGRL(), pseudo=PseudoLabels()),
}


def run(kind: str, model: Network | None = None, **settings: Any) -> FitResult:
    return train(made(KINDS[kind]), model, source=None if kind == "tent" else data().source, steps=6, **settings)


@pytest.mark.usefixtures("keeps_random_state")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_resumed_bit_for_bit(kind: str, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(step: int, model: Network) -> None:
        raise Interrupted

    whole = run(kind)
    for stop in range(2, 7):
        path = tmp_path / f"{stop}.pt"
        with pytest.raises(Interrupted):
            run(kind, checkpoint=path, checkpoint_every=1, evaluate_at=[stop], on_evaluate=interrupt)
        resumed = run(kind, network(seed=7), checkpoint=path)
        assert same(resumed.network, whole.network)
        assert torch.equal(resumed.history.values, whole.history.values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs_under_every_switch(kind: str) -> None:
    result = run(kind, accumulate=2, precision="bfloat16", batch_statistics="per_domain")
    assert len(result.history) == 6
    assert result.history.values.isfinite().all()
