"""The target's BatchNorm statistics are those of all its rows together, whatever their order and their portions."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from landbridge.shared import batchnorm
from landbridge.shared.batchnorm import DomainBatchNorm, estimate_target_statistics, split_batchnorm
from landbridge.shared.network import wrap


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_class(n: int = 90) -> Tensor:
    """Rows (n, 3) in the order of three classes that lie far apart."""
    x = torch.randn(n, 3, generator=generator())
    return x + 5.0 * (torch.arange(n) * 3 // n - 1)[:, None]


def layered() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 2), nn.BatchNorm1d(2),
    )  # fmt: skip
    split_batchnorm(module)
    with torch.no_grad():
        module[1].weight.mul_(2)
    return module


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if ".running" in f".{name}"}


def estimated(module: nn.Module, *batches: Tensor) -> dict[str, Tensor]:
    module = copy.deepcopy(module)
    estimate_target_statistics(module, batches)
    return statistics(module)


def assert_alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-6, atol=1e-6, msg=name)


def test_each_layer_sees_what_the_layers_before_it_give_by_their_statistics_of_all_rows() -> None:
    module, x = layered().train(), by_class()
    module[3].eval()
    before = copy.deepcopy(module.state_dict())
    estimate_target_statistics(module, x.split(25))

    inside = x.double()
    layers = copy.deepcopy(module).double()
    for layer in layers:
        if isinstance(layer, DomainBatchNorm):
            mean, var = inside.mean(0), inside.var(0)  # unbiased, by which an evaluation divides
            torch.testing.assert_close(layer.running_mean, mean, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(layer.running_var, var, rtol=1e-5, atol=1e-6)
            inside = (inside - mean) / (var + layer.eps).sqrt() * layer.weight + layer.bias
        elif not isinstance(layer, nn.Dropout):
            inside = layer(inside)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{n}.running_{s}" for n in "158" for s in ("mean", "var")}
    assert [m.training for m in module] == [True, True, True, False, True, True, True, True, True]
    assert module[1].momentum == 0.1


def test_neither_the_order_of_the_rows_nor_their_portions_change_it() -> None:
    module, x = layered(), by_class()
    whole = estimated(module, x)
    assert_alike(estimated(module, *x.split(7)), whole)
    assert_alike(estimated(module, x[:60], x[60:61], x[61:]), whole)
    assert_alike(estimated(module, *x[torch.randperm(90, generator=generator(1))].split(30)), whole)


def test_maps_count_every_position() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2))
    split_batchnorm(module)
    x = torch.randn(20, 2, 3, 4, generator=generator()) + torch.arange(20.0)[:, None, None, None]
    estimate_target_statistics(module, x.split(6))
    values = x.transpose(0, 1).flatten(1)
    torch.testing.assert_close(module[0].running_mean, values.mean(1))
    torch.testing.assert_close(module[0].running_var, values.var(1))


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_columns_far_from_zero_keep_their_variance(offset: float) -> None:
    module = nn.Sequential(nn.BatchNorm1d(3))
    split_batchnorm(module)
    x = by_class() + offset
    estimate_target_statistics(module, x.split(25))
    torch.testing.assert_close(module[0].running_var.double(), x.double().var(0), rtol=1e-6, atol=0)


def test_an_iterator_that_is_spent_after_one_pass_will_do() -> None:
    def once(x: Tensor) -> Iterator[Tensor]:
        yield from x.split(25)

    module, other = layered(), layered()
    estimate_target_statistics(module, once(by_class()))
    estimate_target_statistics(other, by_class().split(25))
    assert_alike(statistics(module), statistics(other))


class Twice(nn.Module):
    """One normalisation, used before and after a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(self.norm(x)))


def test_a_layer_that_is_called_twice_has_the_statistics_of_both_calls() -> None:
    torch.manual_seed(0)
    module, x = Twice(), by_class()
    split_batchnorm(module)
    estimate_target_statistics(module, x.split(25))
    first = (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt()
    both = torch.cat([x, module.layer(first)]).detach()
    torch.testing.assert_close(module.norm.running_mean, both.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(module.norm.running_var, both.var(0), rtol=1e-5, atol=1e-5)


def test_passes_end_where_their_layer_is_reached_and_the_network_is_left_whole() -> None:
    module = layered()
    rows: list[int] = []
    module[4].register_forward_hook(lambda layer, inputs, output: rows.append(len(output)))
    network = wrap(module, head="7")
    estimate_target_statistics(network, by_class().split(30))
    assert rows == [2, *[30] * 6]  # the count, and two of the three passes
    assert all(len(m._forward_pre_hooks) == 0 for m in module.modules() if isinstance(m, DomainBatchNorm))
    assert not network._catcher.listening


def test_very_deep_networks_are_measured_on_rows_chosen_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchnorm, "DEEP", 2)
    monkeypatch.setattr(batchnorm, "AFFORDABLE", 60)  # of three layers: 40 rows
    seen: list[int] = []
    module, x = layered(), by_class()
    module[8].register_forward_hook(lambda layer, inputs, output: seen.append(len(output)))
    estimate_target_statistics(module, x.split(25))
    assert sum(seen[1:]) == 40
    mixed = x[torch.randperm(90, generator=generator(1))]
    module = layered()
    assert_alike(estimated(module, *mixed.split(11)), estimated(module, *x.split(25)))
    monkeypatch.setattr(batchnorm, "AFFORDABLE", 135)  # all 90
    assert_alike(estimated(module, *x.split(25)), estimated(module, x))


def test_one_row_has_no_variance() -> None:
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        estimate_target_statistics(layered(), [by_class()[:1]])


def test_a_failed_estimate_leaves_modes_and_momentum() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3))
    split_batchnorm(module)
    with pytest.raises(ValueError, match="dimensions"):
        estimate_target_statistics(module, [torch.zeros(3)])
    assert module[0].training
    assert module[0].momentum == 0.1
    assert module[0].num_batches_tracked == 0
    assert not module[0]._forward_pre_hooks
