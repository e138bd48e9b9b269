"""A look at a network before it is trained: it leaves no trace, and probabilities are no logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy import INPUTS, create, data, network, same, train

import landbridge as lb
from landbridge.dann.dann import DANN
from landbridge.selftraining.mcc import MCC
from landbridge.shared.batches import Samples
from landbridge.shared.probe import are_probabilities, look
from landbridge.shared.source_only import SourceOnly


def ending(*end: nn.Module, classes: int = 3) -> lb.Network:
    torch.manual_seed(0)
    return lb.Network(nn.Linear(INPUTS, 5), nn.Sequential(nn.Linear(5, classes), *end))


def test_a_look_leaves_no_trace() -> None:
    model, before = network(), network()
    model.head.eval()
    state = torch.get_rng_state()
    seen = look(model, Samples(data().inputs, None, torch.device("cpu")))
    assert seen.features.shape == (8, 5)
    assert seen.outputs.shape == (8, 3)
    assert not seen.outputs.requires_grad
    assert same(model, before)
    assert model.training
    assert not model.head.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("end", "squashed"),
    [
        ([nn.Softmax(1)], "softmax"),
        ([nn.Sigmoid()], "sigmoid"),
        ([nn.Softmax(1), nn.Flatten()], "softmax"),
        ([nn.Softmax(1), nn.Identity()], "softmax"),
    ],
)
def test_probabilities_are_noticed_before_training(end: list[nn.Module], squashed: str) -> None:
    model = ending(*end)
    before = ending(*end)
    with pytest.raises(ValueError, match=rf"fit needs logits; the outputs of the network are .* made by a {squashed}"):
        train(create(DANN), model)
    assert same(model, before)


def test_probabilities_that_no_graph_tells_of() -> None:
    class Exponential(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            e = (x - x.max(1, keepdim=True).values).exp()
            return e / e.sum(1, keepdim=True)

    with pytest.raises(ValueError, match="are probabilities, made by a softmax"):
        train(SourceOnly(), ending(Exponential()))


def test_a_sigmoid_on_the_one_logit_of_a_binary_task() -> None:
    some = data()
    source = some.inputs, (some.labels > 0).long()
    with pytest.raises(ValueError, match="made by a sigmoid, and the loss would take a sigmoid of them"):
        train(SourceOnly(), ending(nn.Sigmoid(), classes=1), task="binary", source=source)
    train(SourceOnly(), ending(classes=1), task="binary", source=source)


@pytest.mark.parametrize("end", [nn.LogSoftmax(1), nn.ReLU(), nn.Hardtanh(0, 1)])
def test_what_is_no_probability_trains(end: nn.Module) -> None:
    train(SourceOnly(), ending(end), steps=2)


def test_the_logarithm_of_a_softmax_learns_what_logits_learn() -> None:
    one, other = train(SourceOnly(), ending(nn.LogSoftmax(1))), train(SourceOnly(), ending())
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_values_may_be_shares() -> None:
    shares = data().inputs[:, :3].softmax(1)
    train(SourceOnly(), ending(nn.Softmax(1)), task="regression", source=(data().inputs, shares))


def test_a_loss_of_probabilities_is_the_users_own_unless_the_method_reads_logits() -> None:
    own = {"task_loss": lambda p, labels: nn.functional.nll_loss(p.clamp(min=1e-6).log(), labels)}
    train(create(DANN), ending(nn.Softmax(1)), **own)
    with pytest.raises(ValueError, match="fit needs logits"):
        train(MCC(), ending(nn.Softmax(1)), **own)


def test_rows_that_sum_to_one_by_half_and_chance() -> None:
    assert are_probabilities(torch.randn(9, 4).softmax(1).bfloat16().float() * 0 + 0.25)
    assert are_probabilities(torch.randn(9, 4).softmax(1))
    assert not are_probabilities(torch.zeros(9, 4))
    assert not are_probabilities(torch.tensor([[0.5, 0.5], [0.7, 0.4]]))  # every row has to
    assert not are_probabilities(torch.tensor([[1.5, -0.5]]))
    assert not are_probabilities(torch.ones(4, 1))


def test_inputs_that_the_network_does_not_take_are_told_before_training() -> None:
    with pytest.raises(ValueError, match=r"fit: the network cannot take source inputs of shape \(40, 4\), .*mat1"):
        train(create(DANN), source=(data().inputs[:, :4], data().labels), target=data().target[:, :4])
