"""A network is an extractor and a head; any module can be wrapped as one by layer names."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import data, same, train

from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN
from landbridge.shared.method import Method
from landbridge.shared.network import Network, wrap
from landbridge.shared.optimizer import Optimizer


class Theirs(nn.Module):
    """A module as others write it: nested names, features in the middle, a pair on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"stem": nn.Linear(6, 8), "norm": nn.BatchNorm1d(8), "pair": Pair()})
        self.top = nn.Sequential(nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.body["pair"](self.body["norm"](self.body["stem"](x)))
        logits: Tensor = self.top(x)
        return logits


class Pair(nn.Module):
    """Passes two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def theirs() -> Theirs:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Theirs()


X = data().inputs


def test_features_then_logits() -> None:
    network = Network(nn.Linear(6, 4), nn.Linear(4, 3))
    features, logits = network(X)
    assert torch.equal(features, network.extractor(X))
    assert torch.equal(logits, network.head(features))
    assert network.backbone is network.extractor


def test_a_bottleneck_is_in_the_extractor_and_not_in_the_backbone() -> None:
    body, bottleneck = nn.Linear(6, 4), nn.Linear(4, 2)
    network = Network(body, nn.Linear(2, 3), bottleneck=bottleneck)
    assert network.backbone is body
    assert torch.equal(network(X)[0], bottleneck(body(X)))
    assert len(network.parts()["extractor"]) == 4


def test_parts_are_a_partition_and_norm_lies_within() -> None:
    network = Network(
        nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    )
    parts = {name: {id(p) for p in of} for name, of in network.parts().items()}
    assert parts["extractor"] | parts["head"] == {id(p) for p in network.parameters()}
    assert not parts["extractor"] & parts["head"]
    assert parts["norm"] == {id(p) for p in (*network.extractor[1].parameters(), *network.head[0].parameters())}


def test_the_heads_own_input_is_caught() -> None:
    module = theirs().eval()
    wrapped = wrap(module, head="top.3")
    features, logits = wrapped(X)
    assert torch.equal(logits, module(X))
    assert torch.equal(module.top[3](features), logits)
    assert features.shape == (len(X), 5)
    assert torch.equal(wrapped.extractor(X), features)


def test_the_output_of_a_named_layer_is_caught_and_flattened() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    features, logits = wrap(module, features="0", head="2")(torch.ones(5, 1, 4, 4))
    assert features.shape == (5, 8)
    assert torch.equal(module[2](features), logits)


def test_unwrap_gives_the_module_back_without_its_hook() -> None:
    for features in (None, "body.stem"):
        module = theirs()
        wrapped = wrap(module, head="top.3", features=features)
        assert wrapped.unwrap() is module
        assert not module.top[3]._forward_pre_hooks
        assert not module.body["stem"]._forward_hooks


def test_nothing_is_kept_of_a_batch() -> None:
    module = theirs()
    wrapped = wrap(module, head="top.3")
    for call in (wrapped, module):  # the module by itself, too
        call(X)
        assert wrapped._catcher.caught is None
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        wrapped(X[:, :2])
    wrapped(X)
    assert wrapped._catcher.caught is None


def test_parts_of_a_wrapped_module() -> None:
    module = theirs()
    parts = wrap(module, head="top.3").parts()
    assert [id(p) for p in parts["head"]] == [id(p) for p in module.top[3].parameters()]
    assert len(parts["extractor"]) + len(parts["head"]) == len(list(module.parameters()))
    assert [id(p) for p in parts["norm"]] == [id(p) for p in module.body["norm"].parameters()]


def test_a_copy_catches_for_itself() -> None:
    wrapped = wrap(theirs(), head="top.3").eval()
    copied = copy.deepcopy(wrapped)
    with torch.no_grad():
        copied.module.body["stem"].weight.zero_()
    assert torch.equal(copied(X)[0][0], copied(X)[0][1])
    assert not torch.equal(wrapped(X)[0][0], wrapped(X)[0][1])
    copied.unwrap()
    assert wrapped(X)[0].shape == (len(X), 5)


def test_a_copy_of_the_extractor_is_a_copy() -> None:
    wrapped = wrap(theirs(), head="top.3").eval()
    frozen = copy.deepcopy(wrapped.extractor)
    before = wrapped.extractor(X)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter.add_(1)
    assert torch.equal(frozen(X), before)
    assert not torch.equal(wrapped.extractor(X), before)


def test_wrapped_and_written_out_train_alike() -> None:
    module = theirs()
    body = nn.Sequential(*list(copy.deepcopy(module.body).values())[:2], *copy.deepcopy(module.top)[:3])
    written = Network(body, copy.deepcopy(module.top[3]))
    wrapped = wrap(module, head="top.3")
    for network in (written, wrapped):
        torch.manual_seed(3)
        result = train(DANN(features=5, hidden=[4]), network, batch_statistics="per_domain")
        assert not network.training
        assert result.predict(X).shape == (len(X),)
    assert all(torch.equal(a, b) for a, b in zip(written.parameters(), wrapped.parameters(), strict=True))
    assert torch.equal(written(X)[1], wrapped(X)[1])


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            {"head": "top.33"},
            "wrap: unknown layer 'top.33' as head of Theirs; did you mean 'top.3'? Near it: top.2, top.1, top.0, top. "
            "Its last Linear is 'top.3'.",
        ),
        (
            {"head": "top.3", "features": "body.stam"},
            "wrap: unknown layer 'body.stam' as features of Theirs; did you mean 'body.stem'? Near it: ",
        ),
        ({"head": "norm"}, "did you mean 'body.norm'?"),
        ({"head": "an_encoder.first_block.stem"}, "did you mean 'body.stem'?"),  # alike at the end alone
        ({"head": ""}, "unknown layer '' as head of Theirs; At the top: body, top. Its last Linear is 'top.3'."),
        ({"head": 3}, "unknown layer '3' as head of Theirs; "),
    ],
)
def test_an_unknown_layer(names: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        wrap(theirs(), **names)


def test_names_are_few_where_layers_are_many() -> None:
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(200)))
    with pytest.raises(ValueError, match=r"Its last Linear is '199'\.") as told:
        wrap(module, head="1999")
    assert len(str(told.value)) < 200
    with pytest.raises(ValueError, match=r"At the top: 0, 1, 2, 3, 4, 5 and 194 more\."):
        wrap(module, head="classifier")


def test_a_module_without_layers() -> None:
    with pytest.raises(ValueError, match=r"Linear has no layers to name as head\. Put it into a Sequential; its name"):
        wrap(nn.Linear(6, 3), head="fc")
    assert wrap(nn.Sequential(nn.Linear(6, 3)), head="0")(X)[0].equal(X)


class Calls(nn.Module):
    """Whose forward is a given function of itself and its input."""

    def __init__(self, forward: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.blocks = nn.ModuleList([nn.Identity(), nn.ReLU(inplace=True)])
        self.pair = Pair()
        self._forward = forward

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        return self._forward(self, *inputs, **keywords)


@pytest.mark.parametrize(
    ("forward", "features", "error", "sentence"),
    [
        (
            lambda m, x: m.fc(m.pair(x)[0]), "pair", TypeError,
            "wrap needs a layer that passes one tensor; 'pair' gives a tuple of 2. Name another layer or leave features"
            " out.",
        ),
        (lambda m, x: (m.fc(x), x), None, TypeError, "the logits; Calls gives a tuple of 2. Wrap a module whose"),
        (lambda m, x: {"logits": m.fc(x), "loss": 0}, None, TypeError, "Calls gives a dict of 'logits', 'loss'."),
        (lambda m, x: m.fc(x).tolist(), None, TypeError, "Calls gives a list of 40."),
        (lambda m, x: x, None, ValueError, "the forward of Calls never calls the layer 'fc', so there is nothing to c"),
        (
            lambda m, x: m.fc(m.blocks[0](x)), "blocks", ValueError,
            "If it only holds others, name one of them: blocks.0, blocks.1.",
        ),
        (
            lambda m, x: m.fc(x) + m.fc(x), None, ValueError,
            "the head 'fc' is called 2 times in one forward, so that its input is not one tensor of features. Name the",
        ),
        (
            lambda m, x: m.fc(m.blocks[0](x[:7])).repeat(2, 1), "blocks.0", ValueError,
            "features of shape (14, ...), one row for each row of logits; got (7, 6) at 'blocks.0' and logits (14, 3)",
        ),
        (
            lambda m, x: m.fc(x) + m.blocks[0](x[:, 0])[:, None], "blocks.0", ValueError,
            "features of shape (40, ...), one row for each row of logits; got (40,) at 'blocks.0'",
        ),
        (
            lambda m, x: m.fc(m.blocks[1](m.blocks[0](1 * x))), "blocks.0", ValueError,
            "caught the features at 'blocks.0', and a later layer changed them in place. Name that layer instead",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_caught(forward: Any, features: str | None, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        wrap(Calls(forward), head="fc", features=features)(X)


def test_a_head_that_is_given_no_tensor_names_what_lies_within() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)

        def forward(self, x: tuple[Tensor]) -> Tensor:
            logits: Tensor = self.inner(x[0])
            return logits

    with pytest.raises(TypeError, match=r"'0' is given a tuple of 1\. Name a layer within it: 0\.inner\."):
        wrap(nn.Sequential(Head()), head="0")((X,))
    assert wrap(nn.Sequential(Head()), head="0.inner")((X,))[0].equal(X)


def test_a_named_layer_that_is_called_several_times_counts_last() -> None:
    module = Calls(lambda m, x: m.fc(m.blocks[0](2 * m.blocks[0](x))))
    assert torch.equal(wrap(module, head="fc", features="blocks.0")(X)[0], 2 * X)


def test_a_changed_input_of_the_head_is_seen() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="changed them in place"):
        wrap(module, head="1")(X)
    assert wrap(module, head="1.1")(X)[0].min() == 0


def test_whatever_the_module_takes_it_gets() -> None:
    """Nothing is asked of its forward: any inputs, by position and by name; heads called by keyword."""
    module = Calls(lambda m, tokens, scale, *, mask: m.fc(input=scale * tokens * mask))
    network = wrap(module, head="fc")
    tokens, mask = torch.ones(4, 6, dtype=torch.long), torch.arange(6) > 2
    features, logits = network(tokens, 0.5, mask=mask)
    assert torch.equal(features, 0.5 * tokens * mask)
    assert torch.equal(logits, module(tokens, 0.5, mask=mask))
    assert torch.equal(network.extractor(tokens, 0.5, mask=mask), features)


def test_what_is_no_module() -> None:
    with pytest.raises(TypeError, match=r"wrap needs a torch\.nn\.Module; got function"):
        wrap(lambda x: x, head="fc")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got a WrappedNetwork, which gives \(features, logits\) already"):
        wrap(wrap(theirs(), head="top.3"), head="module.top.3")
    with pytest.raises(TypeError, match=r"one that torch\.compile has made\. Wrap first, then compile"):
        wrap(torch.compile(theirs()), head="_orig_mod.top.3")  # type: ignore[arg-type]


# ---- for how long, and where to


@pytest.mark.parametrize("features", [None, "body.norm"])
def test_the_hook_goes_at_the_end_of_the_block_even_after_an_error(features: str | None) -> None:
    module = theirs()
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]

    def hooks() -> list[tuple[int, int]]:
        return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]

    network = wrap(module, head="top.3", features=features)
    assert hooks() != before
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), network:
        network(X[:, :2])
    assert hooks() == before
    with network as again:
        assert again is network
        assert hooks() != before
    assert hooks() == before


@pytest.mark.parametrize("features", [None, "body.norm"])
def test_an_unwrapped_network_goes_on_working_and_leaves_no_hook(features: str | None) -> None:
    module = theirs().eval()
    network = wrap(module, head="top.3", features=features)
    inside = network(X)
    network.unwrap()
    network.unwrap()
    assert all(torch.equal(a, b) for a, b in zip(network(X), inside, strict=True))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        network(X[:, :2])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_what_was_fitted_in_the_block_predicts_after_it() -> None:
    with wrap(theirs(), head="top.3") as network:
        result = train(DANN(features=5, hidden=[4]), network)
    assert result.predict(X).shape == (len(X),)
    assert not network.head._forward_pre_hooks


def test_two_networks_of_one_module_do_not_meet() -> None:
    module = theirs().eval()
    first, second = wrap(module, head="top.3"), wrap(module, head="top.1", features="body.stem")
    assert torch.equal(first(X)[0], module.top[:3](module.body["norm"](module.body["stem"](X))))
    assert torch.equal(second(X)[0], module.body["stem"](X))
    second.unwrap()
    assert torch.equal(first(X)[1], module(X))


@pytest.mark.parametrize("features", [None, "body.norm"])
def test_a_pickle_catches_for_itself(features: str | None) -> None:
    wrapped = wrap(theirs(), head="top.3", features=features).eval()
    restored = pickle.loads(pickle.dumps(wrapped))
    assert all(torch.equal(a, b) for a, b in zip(restored(X), wrapped(X), strict=True))
    restored.unwrap()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in restored.module.modules())
    assert wrapped(X)[0].shape == restored(X)[0].shape


def test_modes_of_autograd_make_no_difference() -> None:
    wrapped = wrap(theirs(), head="top.3").eval()
    expected = wrapped(X)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            got = wrapped(X)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
        assert not got[0].requires_grad
    assert expected[0].requires_grad


def test_gradients_flow_through_what_was_caught() -> None:
    module = theirs()
    features, _ = wrap(module, head="top.3")(X)
    features.square().sum().backward()
    assert module.body["stem"].weight.grad is not None
    assert module.top[3].weight.grad is None


def test_a_batchnorm_that_is_the_features_may_be_split_by_domain() -> None:
    """Per-domain statistics put another layer in its place."""
    module = theirs()
    network = wrap(module, head="top.3", features="body.norm")
    result = train(DANN(features=8, hidden=[4]), network, batch_statistics="per_domain")
    features = result.forward(X)[0]
    assert torch.equal(features, module.body["norm"](module.body["stem"](X)))
    network.unwrap()
    assert not module.body["norm"]._forward_hooks


# ---- compiled


@pytest.fixture
def graphs() -> Iterator[list[torch.fx.GraphModule]]:
    """What the compiler has traced."""
    yield []
    torch.compiler.reset()


def compiled(network: Any, graphs: list[torch.fx.GraphModule], *, compile: Any = torch.compile) -> Any:
    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    return compile(network, backend=count, fullgraph=True)


@pytest.mark.parametrize("features", [None, "top.2"])
def test_a_wrapped_network_is_one_graph_traced_once(features: str | None, graphs: list[torch.fx.GraphModule]) -> None:
    wrapped = wrap(theirs(), head="top.3", features=features)
    traced = compiled(wrapped, graphs)
    for _ in range(3):
        caught, logits = traced(X)
        (caught.sum() + logits.sum()).backward()
    assert len(graphs) == 1
    wrapped.eval()
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(traced(X), wrapped(X), strict=True))
    assert len(graphs) == 2
    assert wrapped._catcher.caught is None


def test_a_smaller_last_batch_is_traced_once_more_and_then_no_more(graphs: list[torch.fx.GraphModule]) -> None:
    traced = compiled(wrap(theirs(), head="top.3"), graphs)
    for rows in (9, 9, 4, 9, 4, 7, 9):  # the second trace is for any size
        assert traced(X[:rows])[0].shape == (rows, 5)
    assert len(graphs) == 2


@pytest.mark.filterwarnings(r"ignore:The \.grad attribute of a Tensor that is not a leaf")  # torch's own, while tracing
@pytest.mark.parametrize("statistics", ["joint", "per_domain"])
@pytest.mark.parametrize(
    "method",
    [DANN(features=5, hidden=[4]), MCD(features=5, classes=3), DAN()],
    ids=lambda method: type(method).__name__,
)
def test_fitting_a_wrapped_network_compiles_in_the_first_step_and_never_again(
    method: Method, statistics: str, graphs: list[torch.fx.GraphModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs end within batches, the ramp and the learning rate move, terms are read, and evaluations come between."""
    after: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, graphs))
    traced = train(
        copy.deepcopy(method), wrap(theirs(), head="top.3"), steps=9, compile=True, batch_statistics=statistics,
        optimizer=Optimizer(schedule="annealed"), metrics_every=2, evaluate_at=range(10),
        on_evaluate=lambda step, network: after.append(len(graphs)),
    )  # fmt: skip
    assert after[0] > 0
    assert after == after[:1] * 9
    plain = train(
        copy.deepcopy(method), wrap(theirs(), head="top.3"), steps=9, batch_statistics=statistics,
        optimizer=Optimizer(schedule="annealed"),
    )  # fmt: skip
    torch.testing.assert_close(traced.history.values, plain.history.values, rtol=1e-3, atol=1e-4)


def test_the_state_is_the_modules_own() -> None:
    module = theirs()
    wrapped = wrap(module, head="top.3")
    assert [name.removeprefix("module.") for name in wrapped.state_dict()] == list(module.state_dict())
    assert same(wrapped.unwrap(), module)
