"""A whole data set through a trained network."""

from __future__ import annotations

import copy

import pytest
import torch
from toy import create, data, train

from landbridge.dann.dann import DANN
from landbridge.shared.batches import Samples
from landbridge.shared.batchnorm import DomainBatchNorm
from landbridge.shared.evaluate import forward_all
from landbridge.shared.network import Network


def trained(statistics: str = "per_domain") -> Network:
    return train(create(DANN), batch_statistics=statistics).network


def samples() -> Samples:
    return Samples(data().target, None, torch.device("cpu"))


def test_chunks_change_nothing_and_order_is_kept() -> None:
    model = trained()
    whole = forward_all(model, samples())
    for size in (1, 7, 33):
        torch.testing.assert_close(forward_all(model, samples(), batch_size=size), whole)
    with torch.no_grad():
        torch.testing.assert_close(model(data().target), whole)
    assert whole[0].dtype == whole[1].dtype == torch.float32
    assert not whole[0].requires_grad


def test_the_network_is_left_as_it_was() -> None:
    model = trained().train()
    model.extractor[3].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    forward_all(model, samples(), source=True)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    assert not layer.split.source


def test_the_network_is_left_as_it_was_after_a_failure() -> None:
    model = trained().train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        forward_all(model, Samples(torch.zeros(3, 2), None, torch.device("cpu")), source=True)
    assert model.training
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    assert not layer.split.source


def test_the_sources_statistics_if_asked() -> None:
    model = trained()
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    by_source = forward_all(model, samples(), source=True)
    by_target = forward_all(model, samples())
    assert not torch.equal(by_source[1], by_target[1])
    layer.running_mean, layer.running_var = layer.source_running_mean, layer.source_running_var
    assert torch.equal(forward_all(model, samples())[1], by_source[1])


def test_one_statistic_has_no_side() -> None:
    model = trained("joint")
    assert torch.equal(forward_all(model, samples(), source=True)[1], forward_all(model, samples())[1])
