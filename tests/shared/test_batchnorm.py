"""Per-domain batch statistics are those of two BatchNorms with one affine part."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import data, same, train
from toy import network as toy_network

from landbridge.shared.adabn import AdaBN
from landbridge.shared.batchnorm import (
    DomainBatchNorm,
    DomainSplit,
    join_batchnorm,
    split_batchnorm,
)
from landbridge.shared.method import Method
from landbridge.shared.network import wrap
from landbridge.shared.source_only import SourceOnly

Layer = type[nn.BatchNorm1d] | type[nn.BatchNorm2d] | type[nn.BatchNorm3d]
N_S, N_T, CHANNELS = 6, 4, 3
SHAPES = [(nn.BatchNorm1d, ()), (nn.BatchNorm1d, (5,)), (nn.BatchNorm2d, (2, 3)), (nn.BatchNorm3d, (2, 3, 2))]


def batch(rest: tuple[int, ...] = (), seed: int = 0) -> Tensor:
    x = torch.randn(N_S + N_T, CHANNELS, *rest, generator=torch.Generator().manual_seed(seed))
    x[N_S:] = 3 * x[N_S:] + 2
    return x


def plain(layer: Layer = nn.BatchNorm1d, **settings: Any) -> nn.Module:
    made = layer(CHANNELS, **settings)
    with torch.no_grad():
        if made.affine:
            made.weight.copy_(torch.tensor([1.0, 2.0, -0.5]))
            made.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
        if made.running_mean is not None:
            made.running_mean.copy_(torch.tensor([0.3, -0.3, 1.0]))
    return made


def split(layer: nn.Module) -> tuple[nn.Sequential, DomainSplit]:
    module = nn.Sequential(copy.deepcopy(layer))
    made, count = split_batchnorm(module)
    assert count == 1
    assert isinstance(module[0], DomainBatchNorm)
    return module, made


@pytest.mark.parametrize(("layer", "rest"), SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_several_sources_each_by_its_own_statistics(
    layer: Layer, rest: tuple[int, ...], momentum: float | None
) -> None:
    start = plain(layer, momentum=momentum)
    layers = [copy.deepcopy(start) for _ in range(4)]  # three sources and the target
    for one in layers:
        one.momentum = 1.0  # their running statistics are then those of the last batch
    both, told = split(start)
    momentum_of = (lambda step: momentum) if momentum is not None else (lambda step: 1 / (step + 1))
    mean, var = start.running_mean.clone(), start.running_var.clone()
    for step in range(3):
        x = batch(rest, step)
        blocks = [*x[:N_S].chunk(3), x[N_S:]]
        told.sources = 3
        with told.of(n_source=N_S):
            got = both(x)
        torch.testing.assert_close(got, torch.cat([one(block) for one, block in zip(layers, blocks, strict=True)]))
        share = momentum_of(step)
        mean = (1 - share) * mean + share * sum(one.running_mean for one in layers[:3]) / 3
        var = (1 - share) * var + share * sum(one.running_var for one in layers[:3]) / 3
    torch.testing.assert_close(both[0].source_running_mean, mean)
    torch.testing.assert_close(both[0].source_running_var, var)


@pytest.mark.parametrize(("layer", "rest"), SHAPES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": None}, {"momentum": 0.7, "eps": 0.1}, {"affine": False}, {"track_running_stats": False}],
)
def test_as_two_layers(layer: Layer, rest: tuple[int, ...], settings: dict[str, Any]) -> None:
    start = plain(layer, **settings)
    source, target = copy.deepcopy(start), copy.deepcopy(start)
    both, told = split(start)
    for seed in range(3):
        x = batch(rest, seed)
        with told.of(n_source=N_S):
            got = both(x)
        torch.testing.assert_close(got, torch.cat([source(x[:N_S]), target(x[N_S:])]))
    mine = both[0]
    if settings.get("track_running_stats", True):
        assert torch.equal(mine.source_running_mean, source.running_mean)
        assert torch.equal(mine.source_running_var, source.running_var)
        assert torch.equal(mine.running_mean, target.running_mean)
        assert torch.equal(mine.running_var, target.running_var)
        assert mine.num_batches_tracked == 3
    for module in (both, source, target):
        module.eval()
    x = batch(rest, 9)
    assert torch.equal(both(x), target(x))
    with told.of(source=True):
        assert torch.equal(both(x), source(x))
    assert torch.equal(both(x), target(x))  # told no longer
    with told.of(n_source=N_S):
        torch.testing.assert_close(both(x), torch.cat([source(x[:N_S]), target(x[N_S:])]))


def test_a_batch_of_the_source_alone_moves_the_sources_statistics_alone() -> None:
    both, told = split(plain())
    before = both[0].running_mean.clone()
    with told.of(source=True):
        both(batch())
    assert torch.equal(both[0].running_mean, before)
    assert not torch.equal(both[0].source_running_mean, before)


def test_the_affine_part_is_one_and_learns_from_both() -> None:
    layer = plain()
    module = nn.Sequential(layer)
    told, _ = split_batchnorm(module)
    assert module[0].weight is layer.weight
    assert [name for name, _ in module.named_parameters()] == ["0.weight", "0.bias"]
    with told.of(n_source=N_S):
        module(batch()).sum().backward()
    assert layer.bias.grad.tolist() == [N_S + N_T] * CHANNELS


def test_the_state_of_a_plain_network_loads() -> None:
    both, _ = split(nn.BatchNorm1d(CHANNELS))
    whole = nn.Sequential(plain())
    both.load_state_dict(whole.state_dict())
    assert torch.equal(both[0].running_mean, whole[0].running_mean)
    assert torch.equal(both[0].source_running_mean, whole[0].running_mean)
    assert torch.equal(both[0].weight, whole[0].weight)
    assert "0.source_running_mean" not in whole.state_dict()


def test_the_state_loads_into_a_plain_network_which_predicts_by_the_targets_statistics() -> None:
    both, told = split(plain())
    with told.of(n_source=N_S):
        both(batch())
    whole = nn.Sequential(nn.BatchNorm1d(CHANNELS))
    left_out = whole.load_state_dict(both.state_dict(), strict=False)
    assert left_out.missing_keys == []
    assert left_out.unexpected_keys == ["0.source_running_mean", "0.source_running_var"]
    assert torch.equal(whole.eval()(batch(seed=3)), both.eval()(batch(seed=3)))


def test_its_own_state_loads_whole() -> None:
    one, told = split(plain())
    other, _ = split(nn.BatchNorm1d(CHANNELS))
    with told.of(n_source=N_S):
        one(batch())
    other.load_state_dict(one.state_dict())
    assert same(one, other)


def test_nested_layers_are_found_and_doing_it_again_keeps_them() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2))))
    told, count = split_batchnorm(module)
    layers = [m for m in module.modules() if isinstance(m, DomainBatchNorm)]
    again, same_count = split_batchnorm(module)
    assert count == same_count == len(layers) == 2
    assert again is told
    assert [m for m in module.modules() if isinstance(m, DomainBatchNorm)] == layers
    assert all(m.split is told for m in layers)
    assert split_batchnorm(nn.Sequential(nn.Linear(1, 1)))[1] == 0


def test_a_copy_is_told_apart() -> None:
    both, told = split(plain())
    copied = copy.deepcopy(both)
    with told.of(n_source=N_S):
        both(batch())
        copied(batch())
    assert not torch.equal(copied[0].running_mean, both[0].running_mean)  # the copy took all for the target's


@pytest.mark.parametrize(("layer", "wrong", "sizes"), [(nn.BatchNorm1d, 4, "2 or 3"), (nn.BatchNorm2d, 3, "4")])
def test_an_input_of_wrong_dimensions(layer: Layer, wrong: int, sizes: str) -> None:
    both, _ = split(plain(layer))
    with pytest.raises(ValueError, match=f"expected an input of {sizes} dimensions, got {wrong}"):
        both(torch.zeros(2, CHANNELS, *[1] * (wrong - 2)))


class NormAct(nn.BatchNorm1d):
    """As timm writes it: BatchNorm, dropout and activation in one layer."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.drop, self.act = nn.Identity(), nn.PReLU(init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.drop(super().forward(x)))
        return out


def test_a_layer_that_also_activates_goes_on_doing_so() -> None:
    network = nn.Sequential(nn.Linear(3, 4), NormAct(4), nn.Linear(4, 2))
    names, x = list(network.state_dict()), torch.randn(6, 3)
    whole, expected = network(x), network.eval()(x)
    layer, count = split_batchnorm(network)
    assert count == 1
    assert [name for name in network.state_dict() if "source_" not in name] == names
    assert torch.equal(network(x), expected)
    with layer.of(source=True):
        assert torch.equal(network.train()(x), whole)
    with layer.of(n_source=4):
        hidden = network[:2](x)
    assert torch.equal(hidden[:4], nn.PReLU(init=0.1)(nn.BatchNorm1d(4)(network[0](x[:4]))))


def test_a_batchnorm_that_computes_something_else_is_refused() -> None:
    class Doubled(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    with pytest.raises(ValueError, match=r"the layer '1' is a Doubled with a forward of its own\. Use"):
        split_batchnorm(nn.Sequential(nn.Linear(3, 4), Doubled(4)))


def test_hooks_go_on_and_can_be_taken_off() -> None:
    network, seen = nn.Sequential(nn.BatchNorm1d(3)), []
    before = network[0].register_forward_pre_hook(lambda layer, inputs: seen.append("before"))
    after = network[0].register_forward_hook(lambda layer, inputs, output: seen.append("after"))
    split_batchnorm(network)
    network(torch.randn(4, 3))
    assert seen == ["before", "after"]
    before.remove()
    after.remove()
    network(torch.randn(4, 3))
    assert len(seen) == 2


@pytest.mark.parametrize(("layer", "rest"), SHAPES)
def test_joined_it_is_the_layer_it_was_with_the_targets_statistics(layer: Layer, rest: tuple[int, ...]) -> None:
    start = plain(layer)
    module = nn.Sequential(start, nn.Sequential(start))  # in two places
    told, _ = split_batchnorm(module)
    with told.of(n_source=N_S):
        module(batch(rest))
    expected, source = module.eval()(batch(rest, 3)), module[0].source_running_mean
    module.load_state_dict(module.state_dict())
    assert join_batchnorm(module) == 1
    assert module[0] is module[1][0] is start
    assert torch.equal(module(batch(rest, 3)), expected)
    assert not torch.equal(start.running_mean, source)
    assert not start.training
    assert join_batchnorm(module) == 0
    single = nn.Sequential(plain(layer))
    told, _ = split_batchnorm(single)
    with told.of(n_source=N_S):
        single(batch(rest))
    expected = single.eval()(batch(rest, 3))
    assert join_batchnorm(single) == 1
    assert torch.equal(single(batch(rest, 3)), expected)
    fresh = nn.Sequential(layer(CHANNELS))
    fresh.load_state_dict(single.state_dict())
    assert torch.equal(fresh.eval()(batch(rest, 3)), expected)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), nn.Module.double])
def test_joined_after_a_copy_a_pickle_or_a_move(way: Callable[[nn.Module], nn.Module]) -> None:
    both, told = split(plain())
    module = way(both)
    dtype = next(module.parameters()).dtype
    told = module[0].split
    with told.of(n_source=N_S):
        module(batch().to(dtype))
    x = batch(seed=4).to(dtype)
    expected, weight = module.eval()(x), module[0].weight
    join_batchnorm(module)
    assert type(module[0]) is nn.BatchNorm1d
    assert module[0].weight is weight
    assert torch.equal(module(x), expected)


def test_joined_hooks_and_what_the_layer_does_besides_go_on() -> None:
    network, seen = nn.Sequential(nn.Linear(3, 4), NormAct(4)), []
    before = network[1].register_forward_pre_hook(lambda layer, inputs: seen.append("before"))
    split_batchnorm(network)
    after = network[1].register_forward_hook(lambda layer, inputs, output: seen.append("after"))
    x = torch.randn(6, 3)
    expected = network.eval()(x)
    join_batchnorm(network)
    assert type(network[1]) is NormAct
    assert torch.equal(network(x), expected)
    assert seen == ["before", "after"] * 2
    before.remove()
    after.remove()
    network(x)
    assert len(seen) == 4


@pytest.mark.parametrize("method", [AdaBN, lambda: SourceOnly(see_target=True)])
@pytest.mark.parametrize("block", [True, False])
def test_an_unwrapped_module_predicts_for_the_target_and_has_its_own_state(
    method: Callable[[], Method], block: bool
) -> None:
    def made() -> nn.Module:
        model = toy_network()
        return nn.Sequential(*model.extractor, model.head)

    module = made()
    names, layer, x = list(module.state_dict()), module[1], data().target
    wrapped = wrap(module, head="5")
    result = train(method(), wrapped, batch_statistics="per_domain")
    expected = result.forward(x)
    wrapped(x)  # a call takes nothing off
    assert "1.source_running_mean" in module.state_dict()
    if block:
        with wrapped:
            pass
    else:
        assert wrapped.unwrap() is module
    assert list(module.state_dict()) == names
    assert module[1] is layer
    with torch.no_grad():
        assert torch.equal(module(x), expected[1])
    assert all(torch.equal(a, b) for a, b in zip(result.forward(x), expected, strict=True))
    again = train(method(), wrap(again_module := made(), head="5"), batch_statistics="per_domain")
    again.network.unwrap()
    train(method(), again.network, batch_statistics="per_domain")
    again.network(x)  # unwrapped, it takes its hook off after each call, and leaves the layers
    assert isinstance(again_module[1], DomainBatchNorm)
    fresh = made().eval()
    fresh.load_state_dict(module.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(x), expected[1])


@pytest.mark.parametrize(("n_source", "side"), [(1, "source"), (N_S + N_T - 1, "target")])
def test_one_row_of_a_domain_has_no_variance(n_source: int, side: str) -> None:
    both, told = split(plain())
    with told.of(n_source=n_source), pytest.raises(ValueError, match=rf"at least 2 rows of each {side} batch.*got 1"):
        both(batch())
    pixels, told = split(plain(nn.BatchNorm2d))
    with told.of(n_source=n_source):
        assert pixels(batch((2, 3))).isfinite().all()
    with told.of(n_source=n_source):
        assert both.eval()(batch()).isfinite().all()


def test_a_layer_in_two_places_stays_one_layer():
    norm = nn.BatchNorm1d(3)
    module = nn.Sequential(norm, nn.Linear(3, 3), norm, nn.Sequential(norm))
    assert split_batchnorm(module)[1] == 1
    assert isinstance(module[0], DomainBatchNorm)
    assert module[0] is module[2] is module[3][0]
    assert join_batchnorm(module) == 1
    assert module[0] is module[2] is module[3][0] is norm
