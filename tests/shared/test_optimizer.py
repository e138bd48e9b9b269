"""The optimiser as settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from toy import create, network

from landbridge.dann.dann import DANN
from landbridge.shared.extractors import create_network
from landbridge.shared.network import Network, wrap
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.source_only import SourceOnly


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_kinds_and_settings(name: str, kind: str) -> None:
    settings = Optimizer(name=name, lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.02)
    made = settings.make(network(), SourceOnly())
    assert type(made).__name__ == kind
    for group in made.param_groups:
        assert group["lr"] == group["base_lr"] == 0.3
        assert group["weight_decay"] == 0.02
        if name == "sgd":
            assert group["momentum"] == 0.8
            assert group["nesterov"]


def test_everything_that_learns_is_in_it_once() -> None:
    model, method = network(), create(DANN)
    model.head.bias.requires_grad_(False)
    parameters = [p for group in Optimizer().make(model, method).param_groups for p in group["params"]]
    wanted = {id(p) for p in (*model.parameters(), *method.parameters())} - {id(model.head.bias)}
    assert len(parameters) == len(wanted)
    assert {id(p) for p in parameters} == wanted


def test_a_part_that_network_and_method_share_is_in_it_once() -> None:
    model = network()
    method = DANN(discriminator=model.head)
    parameters = [p for group in Optimizer().make(model, method).param_groups for p in group["params"]]
    assert len(parameters) == len(list(model.parameters()))


def test_the_backbone_learns_more_slowly_and_the_bottleneck_does_not() -> None:
    body, bottleneck, head = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(3, 2)
    model, method = Network(body, head, bottleneck=bottleneck), DANN(features=3, hidden=[2])
    made = Optimizer(lr=0.5, backbone_factor=0.1).make(model, method)
    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in body.parameters()} == {0.05}
    assert {rates[id(p)] for m in (bottleneck, head, method) for p in m.parameters()} == {0.5}


def test_a_pretrained_part_learns_more_slowly_and_what_is_new_does_not() -> None:
    model = create_network("squeezenet1_0", classes=3, bottleneck=4)
    made = Optimizer(lr=0.5, backbone_factor=0.1).make(model, SourceOnly())
    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    slow = {name for name, p in model.named_parameters() if rates[id(p)] == 0.05}
    assert slow == {name for name, _ in model.named_parameters() if name.startswith("extractor.backbone.network.")}
    bottleneck = create_network("bottleneck", classes=3, channels=7)
    groups = Optimizer(lr=0.5, backbone_factor=0.1).make(bottleneck, SourceOnly()).param_groups
    assert [group["lr"] for group in groups] == [0.5]


def test_the_head_of_a_wrapped_module_is_not_its_backbone() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    made = Optimizer(lr=0.5, backbone_factor=0.1).make(wrap(module, head="1"), SourceOnly())
    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in module.parameters()] == [0.05, 0.05, 0.5, 0.5]


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.99])
def test_the_rate_through_training(progress: float) -> None:
    expected = {
        "constant": 1.0,
        "annealed": 1 / (1 + 10 * progress) ** 0.75,
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
    }
    for schedule, factor in expected.items():
        settings = Optimizer(lr=0.2, backbone_factor=0.5, schedule=schedule)
        made = settings.make(network(), SourceOnly())
        for earlier in (0.7, progress):  # a function of progress alone
            settings.set_rate(made, earlier)
        assert [group["lr"] for group in made.param_groups] == pytest.approx([0.1 * factor, 0.2 * factor], rel=1e-12)


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="fit has nothing to train: every parameter of network and method is frozen"):
        Optimizer().make(network().requires_grad_(False), SourceOnly())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "sdg"}, "Optimizer: unknown name 'sdg'; did you mean 'sgd'"),
        ({"schedule": "anneal"}, "Optimizer: unknown schedule 'anneal'; did you mean 'annealed'"),
        ({"lr": 0.0}, "needs lr > 0"),
        ({"lr": math.nan}, "needs lr > 0"),
        ({"backbone_factor": -1.0}, "backbone_factor >= 0"),
        ({"weight_decay": -0.1}, "weight_decay >= 0"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"clip": 0.0}, "clip > 0 or None"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Optimizer(**settings)


def test_a_rate_of_a_tenth_moves_a_tenth() -> None:
    moved = []
    for lr in (0.1, 1.0):
        model = network()
        before = model.head.weight.detach().clone()
        made = Optimizer(lr=lr, momentum=0.0).make(model, SourceOnly())
        model.head.weight.grad = torch.ones_like(before)
        made.step()
        moved.append(before - model.head.weight)
    torch.testing.assert_close(10 * moved[0], moved[1])
