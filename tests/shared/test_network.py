"""A network is an extractor and a head; any module can be wrapped as one by layer names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from toy import data, same, train

from landbridge.dann.dann import DANN
from landbridge.shared.network import Network, wrap


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
    wrapped = wrap(theirs(), head="top.3")
    wrapped(X)
    assert wrapped._caught is None


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
        ({"head": "top.33"}, r"wrap: unknown layer 'top\.33'; did you mean 'top\.3'\?"),
        ({"head": "top.3", "features": "body.stam"}, r"wrap: unknown layer 'body\.stam'; did you mean 'body\.stem'\?"),
        ({"head": ""}, "wrap: unknown layer ''; Known: body"),
    ],
)
def test_an_unknown_layer(names: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wrap(theirs(), **names)


def test_a_layer_that_passes_no_single_tensor() -> None:
    with pytest.raises(TypeError, match=r"one tensor each; got tuple at 'body\.pair'\. Name a layer within it: body, "):
        wrap(theirs(), head="top.3", features="body.pair")(X)


def test_a_head_that_is_never_called_with_a_tensor() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(input=x)
            return logits

    with pytest.raises(TypeError, match="got NoneType at 'fc'"):
        wrap(Named(), head="fc")(X)


def test_what_is_no_module() -> None:
    with pytest.raises(TypeError, match=r"wrap needs a torch\.nn\.Module; got function"):
        wrap(lambda x: x, head="fc")  # type: ignore[arg-type]


def test_the_state_is_the_modules_own() -> None:
    module = theirs()
    wrapped = wrap(module, head="top.3")
    assert [name.removeprefix("module.") for name in wrapped.state_dict()] == list(module.state_dict())
    assert same(wrapped.unwrap(), module)
