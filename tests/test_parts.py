"""What one call makes of a few words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from toy import same

import landbridge as lb
from landbridge.parts import Units, batch_sizes, check_options, head_size, make_method, make_network, steps_for

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def module():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_module_is_copied_and_its_last_linear_layer_is_the_head():
    given = module()
    network = make_network("adapt", given, X, 3)
    assert network.head is not given[2]
    assert same(network.head, given[2])
    torch.testing.assert_close(network(X)[0], given[:2](X))
    torch.testing.assert_close(network(X)[1], given(X))
    assert not given[2]._forward_pre_hooks  # nothing is hung on the user's own


def test_another_layer_by_name_a_lone_linear_layer_a_network_and_a_function():
    inner = nn.Sequential(nn.Linear(6, 3), nn.Flatten())
    assert make_network("adapt", inner, X, 3, head="0")(X)[0].shape == (12, 6)
    assert make_network("adapt", nn.Linear(6, 3), X, 3)(X)[0].shape == (12, 6)
    network = lb.Network(nn.Linear(6, 4), nn.Linear(4, 3))
    copy = make_network("adapt", network, X, 3)
    assert copy is not network
    assert same(copy, network)
    asked = []

    def make(shape, outputs):
        asked.append((shape, outputs))
        return nn.Sequential(nn.Linear(*shape, 5), nn.Linear(5, outputs))

    assert same(make_network("fit", make, X, 3, seed=1), make_network("fit", make, X, 3, seed=1))
    assert not same(make_network("fit", make, X, 3, seed=1), make_network("fit", make, X, 3, seed=2))
    assert asked[0] == ((6,), 3)


def test_modes_and_statistics_of_the_model_are_left_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    network = make_network("adapt", model, X, 3)
    assert network.training
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("model", "head", "error", "sentence"),
    [
        ("resnet", None, TypeError, "adapt needs a torch module.*got str"),
        (lambda shape, outputs: 3, None, TypeError, "a function that makes a module; it made a int"),
        (None, "fc", ValueError, "head='fc' without a model"),
        (lb.Network(nn.Identity(), nn.Linear(6, 3)), "head", ValueError, "a Network, which has its head"),
        (nn.Flatten(), None, ValueError, "found no linear layer in Flatten"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 7)), None, ValueError, r"a head of 3 outputs.*gives 7"),
        (nn.Sequential(nn.Linear(6, 4), nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten()), None, ValueError,
         "last linear layer, with 4 outputs, for the head, but the model gives 3"),
        (nn.Sequential(nn.Linear(5, 3)), None, ValueError, r"cannot take inputs of shape \(12, 6\)"),
        (module(), "nope", ValueError, "unknown layer 'nope'"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(model, head, error, sentence):
    with pytest.raises(error, match=sentence):
        make_network("adapt", model, X, 3, head=head)


def test_head_size():
    assert head_size(module(), None) == 3
    assert head_size(module(), "0") == 8
    assert head_size(lb.Network(nn.Identity(), nn.Linear(6, 4)), None) == 4
    assert [head_size(m, None) for m in (None, nn.Flatten(), lambda s, o: None)] == [None] * 3


def test_a_method_by_name_gets_a_discriminator_of_the_features_size():
    network = make_network("adapt", None, X, 3)
    method = make_method("adapt", "dann", network, X, outputs=3)
    assert [m.out_features for m in method.modules() if isinstance(m, nn.Linear)][:2] == [128, 128]
    assert make_method("adapt", "dann", network, X, weight=0.3, outputs=3).weight == 0.3
    assert make_method("adapt", "mcc", network, X).weight == lb.MCC().weight
    assert same(*(make_method("adapt", "cdan", network, X, seed=4, outputs=3) for _ in range(2)))


@pytest.mark.parametrize("name", lb.METHODS)
def test_every_method_by_name(name):
    network = make_network("adapt", None, X, 3, batchnorm=name == "adabn")
    assert type(make_method("adapt", name, network, X, outputs=3)) is lb.METHODS[name]


def test_a_method_given_is_copied_and_a_function_is_told_the_sizes():
    network = make_network("adapt", None, X, 3)
    given = lb.DANN(features=64, hidden=(5,))
    made = make_method("adapt", given, network, X)
    assert made is not given
    assert same(made, given)
    assert isinstance(make_method("adapt", lambda sizes: lb.CDAN(**sizes._asdict()), network, X, outputs=3), lb.CDAN)


@pytest.mark.parametrize(
    ("method", "weight", "error", "sentence"),
    [
        ("dan n", None, ValueError, "adapt: unknown method 'dan n'; did you mean 'dann'"),
        (lb.MCC(), 0.5, ValueError, "weight=0.5 beside a MCC that has its own"),
        ("adabn", 0.5, ValueError, "AdaBN: unknown setting 'weight'"),
        (3, None, TypeError, "method as a name, a Method or a function; got int"),
        (lambda sizes: 3, None, TypeError, "makes a Method; it made a int"),
    ],
)
def test_methods_that_do_not_fit(method, weight, error, sentence):
    with pytest.raises(error, match=sentence):
        make_method("adapt", method, make_network("adapt", None, X, 3), X, weight=weight)


def test_batches_and_steps():
    assert batch_sizes(None, 1000, 40) == (64, 40)
    assert batch_sizes(32, 10, 10) == (32, 32)  # fit says what is wrong with it
    assert batch_sizes((3, 4), 10, 10) == (3, 4)
    assert steps_for(None, 10, 10) == 300
    assert steps_for(None, 1000, 64) == 469  # 30 * 1000 / 64
    assert steps_for(None, 10**6, 64) == 2000
    assert steps_for(7, 10**6, 64) == 7


def test_units_come_back():
    values = np.array([[100.0, 1.0], [300.0, 1.0]], dtype=np.float32)
    units = Units.of(values)
    np.testing.assert_allclose(units.out(values), [[-1, 0], [1, 0]])
    head = nn.Linear(3, 2)
    x = torch.randn(5, 3)
    expected = head(x) * torch.tensor([100.0, 1.0]) + torch.tensor([200.0, 1.0])
    units.back(head)
    torch.testing.assert_close(head(x), expected)
    lone = nn.Linear(3, 1)
    expected = lone(x) * 100 + 200
    Units.of(values[:, 0]).back(lone)
    torch.testing.assert_close(lone(x), expected)


def test_options_are_those_of_fit():
    check_options("adapt", {"optimizer": None, "precision": "bfloat16", "task_loss": None})
    with pytest.raises(TypeError, match="adapt: unknown argument 'optimiser'; did you mean 'optimizer'"):
        check_options("adapt", {"optimiser": None})
    with pytest.raises(TypeError, match="unknown argument 'source'"):
        check_options("adapt", {"source": None})
