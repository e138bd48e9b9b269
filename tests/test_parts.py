"""What one call makes of a few words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from toy import same

import landbridge as lb
from landbridge.parts import (
    Units,
    batch_sizes,
    check_options,
    head_size,
    make_method,
    make_network,
    make_parts,
    steps_for,
)

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def module():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class Gated(nn.Module):
    """A gate of the classes' size that is registered last; unused, it changes nothing."""

    def __init__(self, unused):
        super().__init__()
        self.fc, self.gate, self.unused = nn.Linear(6, 3), nn.Linear(6, 3), unused

    def forward(self, x):
        return self.fc(x) if self.unused else self.fc(x) * self.gate(x).sigmoid()


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
         r"cannot tell which layer of Sequential is its head: .*head='...'; linear layers .*: '0'\."),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(1)), None, ValueError,
         "adapt needs logits; the outputs of Sequential are probabilities, made by a softmax.*Identity"),
        (nn.Sequential(nn.Linear(6, 3), nn.Sigmoid()), None, ValueError, "a sigmoid, and the loss would take a softm"),
        (nn.Sequential(nn.Linear(6, 3), nn.ReLU(inplace=True)), None, ValueError, "cannot tell which layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3), nn.Tanh()), "0", ValueError,
         "a head of 4 outputs, but the model gives 3 numbers a sample"),
        (Gated(unused=False), None, ValueError, r"the last one first: 'gate', 'fc'"),
        (torch.compile(module(), backend="eager"), None, TypeError, "Wrap first, then compile"),
        (nn.Sequential(nn.Linear(5, 3)), None, ValueError, r"cannot take inputs of shape \(12, 6\)"),
        (module(), "nope", ValueError, "unknown layer 'nope'"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(model, head, error, sentence):
    with pytest.raises(error, match=sentence):
        make_network("adapt", model, X, 3, head=head)


def test_head_size():
    assert head_size("adapt", module(), None, X) == 3
    assert head_size("adapt", module(), "0", X) == 8
    assert head_size("adapt", lb.Network(nn.Identity(), nn.Linear(6, 4)), None, X) == 4
    assert head_size("adapt", nn.Linear(6, 2), None, X) == 2
    assert head_size("adapt", Gated(unused=True), None, X) == 3
    assert [head_size("adapt", m, None, X) for m in (None, lambda s, o: None)] == [None] * 2


def test_a_head_is_found_wherever_it_is_registered():
    given = Gated(unused=True)
    network = make_network("adapt", given, X, 3)
    assert network.head_name == "fc"
    torch.testing.assert_close(network(X)[1], given(X))
    assert not given.fc._forward_hooks
    assert not network.module.fc._forward_hooks
    flat = nn.Sequential(nn.Linear(6, 1), nn.Flatten(0))  # (n, 1) made (n,) is the same output
    assert make_network("adapt", flat, X, 1).head_name == "0"


def test_equal_numbers_are_not_the_same_output():
    """What a ReLU makes of positive numbers equals them, on these rows."""
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, 100.0)
    with pytest.raises(ValueError, match="cannot tell which layer"):
        make_network("adapt", model, X, 3)


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


def test_a_class_is_what_its_name_is():
    network = make_network("adapt", None, X, 3)
    for name in ("dann", "mcd", "deepcoral"):
        made = [make_method("adapt", m, network, X, outputs=3) for m in (name, lb.METHODS[name])]
        assert type(made[0]) is type(made[1])
        assert same(*made)
    assert make_method("adapt", lb.MCC, network, X, weight=np.float32(0.5)).weight == 0.5


@pytest.mark.parametrize("method", ["adabn", lb.AdaBN, lb.AdaBN(), lambda sizes: lb.AdaBN()])
def test_a_network_made_here_has_the_batchnorm_that_the_method_needs(method):
    network, made = make_parts("adapt", None, method, X, 3, classes=3)
    assert isinstance(made, lb.AdaBN)
    assert same(network, make_network("adapt", None, X, 3, batchnorm=True))
    assert same(make_parts("adapt", None, "dann", X, 3, classes=3)[0], make_network("adapt", None, X, 3))


@pytest.mark.parametrize(
    ("method", "weight", "error", "sentence"),
    [
        ("dannn", None, ValueError, "adapt: unknown method 'dannn'; did you mean 'dann'"),
        (lb.MCC(), 0.5, ValueError, "weight=0.5 beside a MCC that has its own"),
        ("adabn", 0.5, ValueError, "AdaBN: unknown setting 'weight'"),
        (lambda sizes: lb.MCC(), 0.5, ValueError, "weight=0.5 beside a function"),
        (3, None, TypeError, "method as a name, a Method or a function; got int"),
        (lambda sizes: 3, None, TypeError, "makes a Method; it made a int"),
    ],
)
def test_methods_that_do_not_fit(method, weight, error, sentence):
    with pytest.raises(error, match=sentence):
        make_method("adapt", method, make_network("adapt", None, X, 3), X, weight=weight)


def test_batches_and_steps():
    assert batch_sizes("adapt", None, 1000, 40) == (64, 40)
    assert batch_sizes("adapt", 32, 10, 10) == (32, 32)  # fit says what is wrong with it
    assert batch_sizes("adapt", (3, 4), 10, 10) == (3, 4)
    assert steps_for("adapt", None, 10, 10) == 300
    assert steps_for("adapt", None, 1000, 64) == 469  # 30 * 1000 / 64
    assert steps_for("adapt", None, 10**6, 64) == 2000
    assert steps_for("adapt", 7, 10**6, 64) == 7


def test_numbers_of_numpy_are_numbers():
    sizes = batch_sizes("adapt", np.int64(8), 10, 10)
    assert sizes == (8, 8) == batch_sizes("adapt", np.array([8, 8]), 9, 9)
    assert {type(n) for n in (*sizes, *batch_sizes("adapt", [np.int32(3), 4], 9, 9))} == {int}
    assert type(steps_for("adapt", np.int64(7), 10, 10)) is int


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (0, ValueError, "adapt needs batch_size as a whole number >= 1; got 0"),
        ((8, 0), ValueError, "batch_size as a whole number >= 1; got 0"),
        ((8, 8, 8), ValueError, r"or a pair \(source, target\); got \(8, 8, 8\)"),
        ("a", TypeError, r"a whole number >= 1; got 'a' \(str\)"),
        (8.0, TypeError, r"a whole number >= 1; got 8.0 \(float\)"),
        (True, TypeError, r"got True \(bool\)"),
    ],
)
def test_batch_sizes_that_are_none(value, error, sentence):
    with pytest.raises(error, match=sentence):
        batch_sizes("adapt", value, 10, 10)
    if not isinstance(value, tuple):
        with pytest.raises(error, match=sentence.replace("batch_size", "steps")):
            steps_for("adapt", value, 10, 10)


def test_units_come_back():
    values = np.array([[100.0, 1.0], [300.0, 1.0]], dtype=np.float32)
    units = Units.of(values)
    np.testing.assert_allclose(units.out(values), [[-1, 0], [1, 0]])
    head = nn.Linear(3, 2)
    x = torch.randn(5, 3)
    expected = head(x) * torch.tensor([100.0, 1.0]) + torch.tensor([200.0, 1.0])
    units.back(lb.Network(nn.Identity(), head))
    torch.testing.assert_close(head(x), expected)
    lone = nn.Linear(3, 1)
    expected = lone(x) * 100 + 200
    Units.of(values[:, 0]).back(lb.Network(nn.Identity(), lone))
    torch.testing.assert_close(lone(x), expected)


def test_options_are_those_of_fit():
    check_options("adapt", {"optimizer": None, "precision": "bfloat16", "task_loss": None})
    with pytest.raises(TypeError, match="adapt: unknown argument 'optimiser'; did you mean 'optimizer'"):
        check_options("adapt", {"optimiser": None})
    with pytest.raises(TypeError, match="unknown argument 'source'"):
        check_options("adapt", {"source": None})


def test_a_sigmoid_on_one_logit():
    with pytest.raises(ValueError, match="made by a sigmoid, and the loss would take a sigmoid of them"):
        make_network("adapt", nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), X, 1)


@pytest.mark.parametrize("end", [nn.LogSoftmax(1), nn.Identity()])
def test_the_layer_before_a_log_softmax_is_the_head(end):
    given = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), end)
    network = make_network("adapt", given, X, 3)
    assert network.head_name == "2"
    torch.testing.assert_close(network(X)[1], given(X))


@pytest.mark.parametrize(("given", "made"), [("DANN", "DANN"), ("deep_coral", "DeepCORAL"), ("CDAN+E", "CDANE")])
def test_methods_by_name_in_any_writing(given, made):
    network, method = make_parts("adapt", None, given, X, 3, classes=3)
    assert type(method).__name__ == made
    assert network(X)[1].shape == (12, 3)


def test_adabn_in_capitals_gets_a_network_with_batchnorm():
    network, _ = make_parts("adapt", None, "AdaBN", X, 3, classes=3)
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in network.modules())
