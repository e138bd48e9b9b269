"""The network made by the inputs' shape: it standardises by the source, and takes every size."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from toy import same

from landbridge.shared.batches import Rows
from landbridge.shared.default_network import BLOCK, Standardise, _hypot, default_network, from_spec


def made(*shape, scale=3.0, offset=10.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + offset


@pytest.mark.parametrize("n", [5, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_features_are_standardised_by_their_mean_and_biased_deviation(n):
    x = made(n, 3).double()
    layer = Standardise.of(x)
    torch.testing.assert_close(layer.mean.double(), x.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer.std.double(), x.std(0, correction=0), rtol=1e-6, atol=1e-6)


def test_channels_of_images_are_standardised_over_all_their_pixels():
    images = (made(6, 3, 4, 5).abs() * 10).to(torch.uint8)
    out = Standardise.of(images)(images)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(3), rtol=1e-5, atol=0)


def test_a_far_away_mean_costs_no_digits_and_a_constant_feature_does_no_harm():
    x = torch.cat([made(50, 1, scale=1.0, offset=1e6).double(), torch.full((50, 1), 0.1), torch.zeros(50, 1)], 1)
    layer = Standardise.of(x)
    torch.testing.assert_close(layer.std[0].double(), x[:, 0].std(correction=0), rtol=1e-6, atol=0)
    assert layer.std[1:].tolist() == [1.0, 1.0]
    assert layer(x)[:, 1:].abs().max() < 1e-6


def test_a_far_away_mean_is_subtracted_in_float64_where_float32_has_no_digits_for_it():
    x = made(50, 2, scale=1.0, offset=0.0).double()
    x[:, 0] += 1e9
    layer = Standardise.of(x)
    assert layer.wide
    assert layer(x).dtype == torch.float32
    exact = (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(layer(x).double(), exact, rtol=1e-6, atol=1e-6)
    whole = x.round().long()  # whole numbers lose digits in float32 too
    exact = (whole - whole.double().mean(0)) / whole.double().std(0, correction=0)
    torch.testing.assert_close(Standardise.of(whole)(whole).double(), exact, rtol=1e-6, atol=1e-6)
    network = default_network(x, 2)
    assert network.wide
    assert network.input_dtype is None
    assert copy.deepcopy(network).input_dtype is None


def test_digits_that_float32_has_are_left_to_it():
    """Rows in float32 whose rounding shows are constant, and a near mean stays in float32."""
    for offset in (0.0, 10.0, 1e3):
        x = made(50, 2, scale=1.0, offset=offset)
        network = default_network(x.double(), 2)
        assert not network.wide
        assert network.input_dtype == torch.float32
        assert network.extractor[0].mean.dtype == torch.float32
    constant = torch.full((50, 1), 0.1) + 1e-8 * torch.rand(50, 1, generator=torch.Generator().manual_seed(0))
    assert Standardise.of(constant).std.tolist() == [1.0]
    for n in (7, BLOCK + 3, 10 * BLOCK):
        assert Standardise.of(torch.full((n, 1), 0.1, dtype=torch.float64)).std.tolist() == [1.0]


@pytest.mark.parametrize("shape", [(7, 4), (7, 2, 40), (7, 3, 9, 20), (7, 1, 28, 28)])
@pytest.mark.parametrize("batchnorm", [False, True])
def test_its_spec_makes_it_again(shape, batchnorm, keeps_random_state):
    for offset in (0.0, 1e9):
        x = made(*shape, offset=0.0).double() + offset
        network = default_network(x, 5, batchnorm=batchnorm, seed=3)
        spec = json.loads(json.dumps(network.spec))
        again = from_spec(spec)
        again.load_state_dict(network.state_dict())
        assert same(again, network)
        assert again.wide == network.wide == (offset > 0)
        assert again.spec == network.spec
        assert torch.equal(again.eval()(x)[1], network.eval()(x)[1])


def test_a_feature_of_a_table_stays_within_its_limit_and_in_its_order():
    x = torch.tensor([[0.0], [2.0]])  # mean 1, deviation 1
    far = torch.tensor([[1.0], [1.003], [4.0], [101.0], [-9.0], [1e30]])
    drawn_in = Standardise.of(x, limit=3.0)(far)[:, 0]
    wanted = [z / (1 + (z / 3) ** 2) ** 0.5 for z in (0.0, 0.003, 3.0, 100.0, -10.0, 1e30)]
    assert drawn_in.tolist() == pytest.approx(wanted, rel=1e-4)
    assert default_network(x, 2).extractor[0].limit == 3.0
    assert default_network(torch.rand(4, 1, 6, 6), 2).extractor[0].limit is None


def test_rows_arrays_and_memory_maps_give_the_same(tmp_path):
    x = made(20, 3)
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    kinds = (x.numpy(), mapped, Rows(x, np.arange(20)), Rows(mapped, np.arange(20)))
    assert all(same(Standardise.of(kind), Standardise.of(x)) for kind in kinds)


@pytest.mark.parametrize(
    "shape",
    [
        (7, 1),
        (7, 40),
        (7, 2, 1),
        (7, 1, 90),
        (7, 3, 5000),
        (7, 9, 3),
        (7, 1, 1, 1),
        (7, 3, 8, 8),
        (7, 1, 28, 28),
        (7, 3, 9, 64),
        (7, 4, 2, 5),
    ],
)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_every_shape(shape, batchnorm):
    x = made(*shape)
    network = default_network(x, 5, batchnorm=batchnorm)
    features, logits = network(x)
    assert features.shape == (7, 64 if len(shape) == 2 else 128)
    assert logits.shape == (7, 5)
    assert features.std() > 0
    assert any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in network.modules()) == batchnorm
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_seed_decides_the_weights(keeps_random_state):
    x = made(7, 3)
    assert same(default_network(x, 2, seed=1), default_network(x, 2, seed=1))
    assert not same(default_network(x, 2, seed=1), default_network(x, 2, seed=2))


def test_the_scale_and_offset_of_the_source_do_not_matter():
    x = made(30, 4)
    one, other = default_network(x, 3), default_network(1000 * x - 7, 3)
    torch.testing.assert_close(other(1000 * x - 7), one(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((5, 28, 28, 3), r"images as \(n, channels, height, width\); got \(5, 28, 28, 3\).*transpose\(0, 3, 1, 2\)"),
        ((5, 6, 7, 8, 9), r"adapt has a network of its own for.*got \(5, 6, 7, 8, 9\).*or pass a network"),
        ((5, 0), r"got \(5, 0\)"),
    ],
)
def test_other_shapes_are_told(shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        default_network(torch.zeros(shape), 3, function="adapt")


EXPORTED = {  # operators that torch's exporters have an ONNX form for; no hypot
    *("to", "sub", "sub_", "div", "mul", "add", "add_", "abs", "clamp", "reciprocal", "square", "sqrt", "linear"),
    *("relu", "batch_norm", "_convolution", "max_pool2d", "adaptive_avg_pool2d", "flatten"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
@pytest.mark.parametrize("shape", [(30, 5), (30, 3, 20, 12)])
@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e9])
def test_the_network_is_made_of_operators_that_onnx_has(shape, batchnorm, far):
    x = made(*shape).double() + far
    network = default_network(x, 3, batchnorm=batchnorm).eval()
    traced = torch.jit.trace(network, (x[:4],))
    found = {node.kind().removeprefix("aten::") for node in traced.inlined_graph.nodes() if "aten::" in node.kind()}
    assert found <= EXPORTED
    torch.testing.assert_close(traced(x[4:8]), network(x[4:8]), rtol=1e-5, atol=1e-6)


def test_torch_export_takes_it_too():
    x = made(30, 5)
    network = default_network(x, 3).eval()
    exported = torch.export.export(network, (x[:4],))
    assert not any("hypot" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x[:4]), network(x[:4]), rtol=1e-5, atol=1e-6)


def test_the_root_that_is_exported_is_the_hypotenuse_and_does_not_overflow():
    a = torch.tensor([0.0, 1e-30, 0.3, -1.0, 2.5, -300.0, 1e10, 1e20, -3e38])
    torch.testing.assert_close(_hypot(a), torch.hypot(a, torch.ones_like(a)), rtol=3e-7, atol=0)
    double = torch.logspace(-20, 20, 100, dtype=torch.float64)
    torch.testing.assert_close(_hypot(double), torch.hypot(double, torch.ones_like(double)), rtol=1e-15, atol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False])
def test_onnx_runtime_gives_the_same(dynamo, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"needs {name}")
    import onnxruntime

    x = made(30, 5).double() + 1e8
    network = default_network(x, 3).eval()
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(network, (x[:4],), path, dynamo=dynamo, input_names=["x"], output_names=["features", "logits"])
    logits = onnxruntime.InferenceSession(path).run(None, {"x": x[:4].numpy()})[1]
    np.testing.assert_allclose(logits, network(x[:4])[1].detach(), rtol=1e-5, atol=1e-6)
