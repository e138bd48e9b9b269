"""One step: what is forwarded, how often, and which parameters an update moves."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import SIZES, create, data, network, train

from landbridge.dann.dann import DANN
from landbridge.methods import METHODS
from landbridge.shared.method import Method, Source, Target, Update
from landbridge.shared.network import Network
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.pairwise import Pairwise
from landbridge.shared.result import FitResult
from landbridge.shared.source_only import SourceOnly
from landbridge.shared.step import Batch, Step, Stepper


class Declared(Method):
    """Carries out the updates it is given, each with the same term, and notes what it saw."""

    def __init__(self, *updates: dict[str, Any]) -> None:
        super().__init__()
        self.part = nn.Linear(SIZES.features, 1)
        self.declared = updates
        self.seen: list[Tensor] = []

    def updates(self) -> tuple[Update, ...]:
        return tuple(Update(self.terms, **kinds) for kinds in self.declared)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.seen.append(source.features)
        every = torch.cat([source.features, target.features])
        return {"part": self.part(every).square().mean() + target.logits.square().mean()}


def batch(start: int = 0) -> Batch:
    some = data()
    rows = torch.arange(start, start + 8)
    return Batch(some.inputs[rows], some.labels[rows], some.target[rows], rows)


def stepper(model: Network, method: Method, **settings: Any) -> Stepper:
    chosen = Optimizer(**{"lr": 0.1, **settings})
    step = Step(model, method, F.cross_entropy, None, "float32").train()
    return Stepper(step, chosen.make(model, method), chosen, compile=False)


def forwards(model: Network) -> list[Tensor]:
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


def parts(model: Network, method: Method) -> dict[str, Tensor]:
    flat = {**model.parts(), "method": list(method.parameters())}
    norm = {id(p) for p in flat["norm"]}
    flat["extractor"] = [p for p in flat["extractor"] if id(p) not in norm]
    return {name: torch.cat([p.detach().flatten() for p in of]) for name, of in flat.items() if of}


@pytest.mark.parametrize("trains", [{"extractor"}, {"head"}, {"method"}, {"norm"}, {"head", "method"}])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_update_moves_what_it_trains_and_nothing_else(trains: set[str], name: str) -> None:
    model = network()
    method = Declared({"trains": frozenset(trains)})
    step = stepper(model, method, name=name, weight_decay=0.1)
    before = parts(model, method)
    for _ in range(2):
        step([batch()], torch.zeros(()))
    after = parts(model, method)
    moved = {part for part in before if not torch.equal(before[part], after[part])}
    assert moved == (trains | {"norm"} if "extractor" in trains else trains)


@pytest.mark.parametrize(
    ("updates", "count"),
    [
        ([{}], 1),
        ([{"repeat": 3}], 3),
        ([{"trains": frozenset({"method"}), "task": False, "repeat": 5, "fresh": False}, {}], 1),
        ([{}, {"trains": frozenset({"method"}), "task": False, "repeat": 5, "fresh": False}], 2),
        ([{"trains": frozenset({"method"}), "repeat": 3}, {}], 4),
        ([{}, {"trains": frozenset({"head"})}, {"trains": frozenset({"extractor"}), "repeat": 4}], 6),
    ],
)
def test_a_forward_serves_as_long_as_it_holds(updates: list[dict[str, Any]], count: int) -> None:
    model, method = network(), Declared(*updates)
    seen = forwards(model)
    terms = stepper(model, method)([batch()], torch.zeros(()))
    assert len(seen) == count
    assert len(method.seen) == sum(u.get("repeat", 1) for u in updates)
    assert set(terms) == {"task", "part"}


def test_without_fresh_features_no_gradient_reaches_the_network() -> None:
    inner = {"trains": frozenset({"method"}), "task": False, "repeat": 2, "fresh": False}
    method = Declared(inner, {})
    stepper(network(), method)([batch()], torch.zeros(()))
    assert [features.requires_grad for features in method.seen] == [False, False, True]
    assert all(torch.equal(features, method.seen[0]) for features in method.seen)


def test_both_domains_go_through_together_and_source_only_alone() -> None:
    for method, rows in ((create(DANN), 16), (SourceOnly(see_target=True), 16), (SourceOnly(), 8)):
        model = network()
        seen = forwards(model)
        stepper(model, method)([batch()], torch.zeros(()))
        assert [len(x) for x in seen] == [rows]


def test_a_method_sees_inputs_and_rows_but_no_target_labels() -> None:
    given = batch()
    source, target = Step(network(), create(DANN), F.cross_entropy, None, "float32").outputs(given)
    assert source is not None
    assert source.inputs is given.source
    assert source.labels is given.labels
    assert target.inputs is given.target
    assert target.index is given.index
    assert source.features.shape == target.features.shape == (8, SIZES.features)


def test_two_batches_give_the_mean_of_their_gradients() -> None:
    moved = []
    for batches in ([batch(0), batch(8)], [batch(0)], [batch(8)]):
        model = network(dropout=0.0)
        method = create(DANN)
        stepper(model, method, momentum=0.0)(batches, torch.tensor(0.5))
        moved.append(torch.cat([p.detach().flatten() for p in (*model.parameters(), *method.parameters())]))
    torch.testing.assert_close(moved[0], (moved[1] + moved[2]) / 2)


def test_terms_are_averaged_over_two_batches() -> None:
    values = [
        stepper(network(dropout=0.0), create(DANN))(batches, torch.tensor(0.5))
        for batches in ([batch(0), batch(8)], [batch(0)], [batch(8)])
    ]
    for name in ("task", "domain"):
        torch.testing.assert_close(values[0][name], (values[1][name] + values[2][name]) / 2)


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_the_gradient_of_an_update_is_clipped(clip: float) -> None:
    moved = []
    for chosen in (clip, None):
        model = network(dropout=0.0)
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        stepper(model, SourceOnly(), lr=1.0, momentum=0.0, clip=chosen)([batch()], torch.zeros(()))
        moved.append(before - torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    factor = min(1.0, clip / float(moved[1].norm()))
    torch.testing.assert_close(moved[0], factor * moved[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ([{"trains": frozenset({"heads"})}], r"Update\.trains knows .*; got \['heads'\]"),
        ([{"trains": frozenset()}], "there is no parameter to learn in these"),
    ],
)
def test_updates_that_cannot_be(updates: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        stepper(network(), Declared(*updates))


def test_losses_that_reach_nothing() -> None:
    class Constant(Method):
        def updates(self) -> tuple[Update, ...]:
            return (Update(self.terms, task=False),)

        def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
            return {"one": progress + 1}

    with pytest.raises(ValueError, match=r"the losses \['one'\] do not depend on anything that the update trains"):
        stepper(network(), Constant())([batch()], torch.zeros(()))


def test_an_update_of_nothing() -> None:
    class Nothing(SourceOnly):
        def updates(self) -> tuple[Update, ...]:
            return (Update(self.terms, task=False),)

    with pytest.raises(ValueError, match="fit got an update with neither task loss nor terms"):
        stepper(network(), Nothing())([batch()], torch.zeros(()))


def test_the_method_gets_float32_where_the_network_runs_in_half_precision() -> None:
    inside: list[torch.dtype] = []
    model = network()
    model.extractor[0].register_forward_hook(lambda module, inputs, output: inside.append(output.dtype))
    outputs = Step(model, create(DANN), F.cross_entropy, None, "bfloat16").outputs(batch())
    assert inside == [torch.bfloat16]
    assert {v.dtype for side in outputs for v in (side.features, side.logits)} == {torch.float32}


# ---- compiled


def assert_close(one: nn.Module, other: nn.Module) -> None:
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings(r"ignore:The \.grad attribute of a Tensor that is not a leaf")  # torch's own, while tracing
@pytest.mark.parametrize("name", METHODS)
def test_a_traced_step_is_the_step_and_is_traced_no_more_while_the_ramp_moves(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[torch.fx.GraphModule] = []
    after: list[int] = []
    compile = torch.compile

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    settings: dict[str, Any] = {} if name in ("source-only", "adabn") else {"schedule": "ramp"}
    monkeypatch.setattr(torch, "compile", lambda function: compile(function, backend=count))
    try:
        traced = train(
            create(METHODS[name], **settings), network(dropout=0.0), steps=4, compile=True,
            evaluate_at=range(5), on_evaluate=lambda step, model: after.append(len(graphs)),
        )  # fmt: skip
    finally:
        torch.compiler.reset()
    assert after[0] > 0
    assert after == after[:1] * 4
    assert_close(traced.network, train(create(METHODS[name], **settings), network(dropout=0.0), steps=4).network)


@pytest.mark.filterwarnings(r"ignore:The \.grad attribute of a Tensor that is not a leaf")  # torch's own, while tracing
@pytest.mark.parametrize("case", ["pairwise", "three sources", "binary", "regression"])
def test_other_tasks_and_several_sources_are_traced_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[torch.fx.GraphModule] = []
    after: list[int] = []
    compile, some = torch.compile, data()
    several = [(some.inputs[i::3], some.labels[i::3]) for i in range(3)]
    settings: dict[str, Any] = {
        "pairwise": {"source": several, "batch_statistics": "per_domain"},
        "three sources": {"source": several, "batch_statistics": "per_domain"},
        "binary": {"source": (some.inputs, some.labels.clamp(max=1)), "task": "binary"},
        "regression": {"source": (some.inputs, some.inputs[:, 0]), "task": "regression"},
    }[case]

    def go(**more: Any) -> FitResult:
        model = network(dropout=0.0)
        if "task" in settings:
            torch.manual_seed(3)
            model.head = nn.Linear(SIZES.features, 1)
        method = create(DANN, sources=3) if case == "three sources" else create(DANN)
        made = Pairwise(sources=3, make=lambda: create(DANN)) if case == "pairwise" else method
        return train(made, model, steps=4, **settings, **more)

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    with torch.random.fork_rng():
        monkeypatch.setattr(torch, "compile", lambda function: compile(function, backend=count))
        try:
            noted = {"evaluate_at": range(5), "on_evaluate": lambda step, model: after.append(len(graphs))}
            traced = go(compile=True, **noted)
        finally:
            torch.compiler.reset()
        assert after[0] > 0
        assert after == after[:1] * 4
        assert_close(traced.network, go().network)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_step() -> None:
    """Without dropout: the compiler draws from a random stream of its own."""
    try:
        with torch._inductor.config.patch(compile_threads=1):
            compiled = train(create(DANN), network(dropout=0.0), steps=3, compile=True)
    finally:
        torch.compiler.reset()
    assert_close(compiled.network, train(create(DANN), network(dropout=0.0), steps=3).network)
