"""The optimiser as settings."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from toy import create, network, same, train

from landbridge.dann.dann import DANN
from landbridge.shared.extractors import create_network
from landbridge.shared.network import Network, wrap
from landbridge.shared.optimizer import Optimizer, TorchOptimizer, as_optimizer
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


def test_names_in_any_writing() -> None:
    assert as_optimizer("fit", "SGD") == Optimizer()
    assert as_optimizer("fit", "adam") == Optimizer(name="adam", lr=1e-3)
    assert as_optimizer("fit", "AdamW").name == "adamw"
    given = Optimizer(lr=0.5)
    assert as_optimizer("fit", given) is given


@pytest.mark.parametrize(
    "given", [torch.optim.Adam, partial(torch.optim.SGD, lr=0.5), torch.optim.RMSprop, lambda p: torch.optim.Adagrad(p)]
)
def test_classes_of_torch_train_and_resume(given: Any, tmp_path: Any) -> None:
    path = tmp_path / "run.pt"
    whole, start = train(create(DANN), optimizer=given), network()
    assert not same(whole.network, start)
    train(create(DANN), start, optimizer=given, checkpoint=path)
    again = train(create(DANN), network(seed=3), optimizer=given, checkpoint=path)  # nothing is left to do
    assert same(whole.network, again.network)


def test_a_class_of_torch_moves_as_torch_does() -> None:
    ours, theirs = network(), network()
    made = as_optimizer("fit", partial(torch.optim.SGD, lr=0.5)).make(ours, SourceOnly())
    reference = torch.optim.SGD(theirs.parameters(), lr=0.5)
    for model, optimizer in ((ours, made), (theirs, reference)):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert same(ours, theirs)


def test_what_it_is_called_in_a_checkpoint_stays_from_one_process_to_the_next() -> None:
    made = as_optimizer("fit", partial(torch.optim.SGD, lr=0.5, momentum=0.9))
    assert str(made) == "TorchOptimizer(torch.optim.sgd.SGD(lr=0.5, momentum=0.9))"
    assert isinstance(made, TorchOptimizer)
    assert "0x" not in str(as_optimizer("fit", lambda p: torch.optim.SGD(p, lr=1.0)))


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ("adma", ValueError, "fit: unknown optimizer 'adma'; did you mean 'adam'.* optimizer=torch.optim.RMSprop"),
        (torch.optim.SGD([torch.zeros(1)], lr=0.1), TypeError, "got torch's SGD bound to parameters already. Pass its"),
        (torch.optim.LBFGS, ValueError, "LBFGS wants a closure at each step, which fit has not"),
        (partial(torch.optim.LBFGS, lr=0.1), ValueError, "LBFGS.* wants a closure"),
        (nn.Linear, TypeError, "fit needs optimizer as .* got Linear"),
        ({"lr": 0.1}, TypeError, r"fit needs optimizer as .* got {'lr': 0.1}"),
        (partial(torch.optim.Adam, rate=1), ValueError, "cannot take the parameters: .*rate"),
        (lambda p: None, TypeError, "made a NoneType"),
    ],
)
def test_what_is_no_optimizer(wrong: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        train(SourceOnly(), optimizer=wrong)
