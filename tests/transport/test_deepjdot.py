"""DeepJDOT against loops over the paper's double sum, and the laws of its plan and gradient."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import landbridge as lb
from landbridge.shared.checks import NonFiniteError
from landbridge.transport import DeepJDOT, deepjdot, deepjdot_distance, jdot_cost, transport_plan


def batch(n_s=6, n_t=7, d=4, k=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(n_s, d, generator=generator, dtype=dtype)
    target = torch.randn(n_t, d, generator=generator, dtype=dtype) + 1
    labels = torch.randint(k, (n_s,), generator=generator)
    return source, target, labels, 2 * torch.randn(n_t, k, generator=generator, dtype=dtype)


def slow_costs(source, target, labels, logits):
    features = torch.zeros(len(source), len(target), dtype=source.dtype)
    label = torch.zeros_like(features)
    for i in range(len(source)):
        for j in range(len(target)):
            features[i, j] = sum((source[i, m] - target[j, m]) ** 2 for m in range(source.shape[1]))
            label[i, j] = F.cross_entropy(logits[j : j + 1], labels[i : i + 1])
    return features, label


@pytest.mark.parametrize(("n_s", "n_t"), [(6, 7), (5, 5), (1, 3), (3, 1), (1, 1)])
def test_cost_is_the_double_loop(n_s, n_t):
    values = batch(n_s, n_t)
    features, label = slow_costs(*values)
    cost = jdot_cost(*values, feature_weight=0.3, label_weight=0.7)
    torch.testing.assert_close(cost, 0.3 * features + 0.7 * label, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(jdot_cost(*values), 0.001 * features + 0.0001 * label, rtol=1e-10, atol=1e-14)


def test_distance_and_terms_are_sums_over_the_plan():
    values = batch()
    features, label = slow_costs(*values)
    plan = transport_plan(0.3 * features + 0.7 * label)
    expected = (0.3 * (plan * features).sum(), 0.7 * (plan * label).sum())
    distance = deepjdot_distance(*values, feature_weight=0.3, label_weight=0.7)
    torch.testing.assert_close(distance, expected[0] + expected[1], rtol=1e-10, atol=0)
    source, target, labels, logits = values
    method = DeepJDOT(feature_weight=0.3, label_weight=0.7, weight=2.0)
    losses = method.losses(lb.Source(source, logits[:6], labels), lb.Target(target, logits), torch.tensor(1.0))
    assert list(losses) == ["features", "labels"]
    torch.testing.assert_close(losses["features"], 2 * expected[0], rtol=1e-10, atol=0)
    torch.testing.assert_close(losses["labels"], 2 * expected[1], rtol=1e-10, atol=0)


@pytest.mark.parametrize(("n_s", "n_t"), [(6, 7), (9, 2), (1, 4), (1, 1)])
def test_plan_has_uniform_marginals(n_s, n_t):
    plan = transport_plan(jdot_cost(*batch(n_s, n_t)))
    torch.testing.assert_close(plan.sum(1), torch.full((n_s,), 1 / n_s, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((n_t,), 1 / n_t, dtype=torch.float64))
    assert (plan >= 0).all()


def test_plan_in_one_dimension_is_sorting():
    x, y = torch.randn(12, 1), torch.randn(12, 1)
    plan = transport_plan((x - y.T) ** 2)
    expected = torch.zeros(12, 12)
    expected[x[:, 0].argsort(), y[:, 0].argsort()] = 1 / 12
    torch.testing.assert_close(plan, expected)


def test_labels_steer_the_plan():
    source, labels = torch.tensor([[0.0], [0.0]]), torch.tensor([0, 1])
    logits = torch.tensor([[-5.0, 5.0], [5.0, -5.0]])  # the first target looks like class 1
    plan = transport_plan(jdot_cost(source, source, labels, logits, label_weight=1.0))
    assert plan.tolist() == [[0.0, 0.5], [0.5, 0.0]]


def test_gradient_is_that_of_the_fixed_plan():
    source, target, labels, logits = batch()
    inputs = [tensor.clone().requires_grad_() for tensor in (source, target, logits)]
    deepjdot_distance(inputs[0], inputs[1], labels, inputs[2], feature_weight=0.3, label_weight=0.7).backward()
    fixed = [tensor.clone().requires_grad_() for tensor in (source, target, logits)]
    plan = transport_plan(jdot_cost(source, target, labels, logits, feature_weight=0.3, label_weight=0.7))
    features, label = slow_costs(fixed[0], fixed[1], labels, fixed[2])
    (plan * (0.3 * features + 0.7 * label)).sum().backward()
    for got, expected in zip(inputs, fixed, strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-9, atol=1e-12)
        assert got.grad.abs().max() > 1e-3


def test_gradcheck():
    source, target, labels, logits = batch(3, 4, 2)
    inputs = tuple(tensor.requires_grad_() for tensor in (source, target, logits))
    assert torch.autograd.gradcheck(
        lambda s, t, z: deepjdot_distance(s, t, labels, z, feature_weight=0.3, label_weight=0.7), inputs
    )


def test_plan_carries_no_gradient_and_keeps_the_dtype():
    cost = torch.rand(3, 4, requires_grad=True)
    plan = transport_plan(cost)
    assert not plan.requires_grad
    assert plan.dtype == torch.float32


def test_permutation_translation_and_identical_batches():
    source, target, labels, logits = batch()
    distance = deepjdot_distance(source, target, labels, logits, feature_weight=1.0, label_weight=1.0)
    s, t = torch.randperm(6), torch.randperm(7)
    permuted = deepjdot_distance(source[s], target[t], labels[s], logits[t], feature_weight=1.0, label_weight=1.0)
    moved = deepjdot_distance(source + 9, target + 9, labels, logits, feature_weight=1.0, label_weight=1.0)
    torch.testing.assert_close(permuted, distance, rtol=1e-10, atol=0)
    torch.testing.assert_close(moved, distance, rtol=1e-10, atol=0)
    sure = 100.0 * F.one_hot(labels, 3).double()
    zero = deepjdot_distance(source, source, labels, sure, feature_weight=1.0, label_weight=1.0)
    torch.testing.assert_close(zero, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)


def test_weight_leaves_the_plan_and_scales_both_terms():
    source, target, labels, logits = batch()
    once = DeepJDOT()(lb.Source(source, logits[:6], labels), lb.Target(target, logits))
    thrice = DeepJDOT(weight=3.0)(lb.Source(source, logits[:6], labels), lb.Target(target, logits))
    ramped = DeepJDOT(schedule="ramp")(lb.Source(source, logits[:6], labels), lb.Target(target, logits), 0.1)
    torch.testing.assert_close(thrice, 3 * once)
    torch.testing.assert_close(ramped, torch.tanh(torch.tensor(0.5)).double() * once)


@pytest.mark.parametrize("setting", ["feature_weight", "label_weight"])
def test_each_inner_weight_changes_the_loss(setting):
    source, target, labels, logits = batch()
    given = lb.Source(source, logits[:6], labels), lb.Target(target, logits)
    assert DeepJDOT(**{setting: 0.5})(*given) > 10 * DeepJDOT()(*given)


def test_half_precision_and_autocast_are_computed_in_float32():
    source, target, labels, logits = batch(dtype=torch.float32)
    expected = deepjdot_distance(
        source.bfloat16().float(), target.bfloat16().float(), labels, logits.bfloat16().float()
    )
    half = deepjdot_distance(source.bfloat16(), target.bfloat16(), labels, logits.bfloat16())
    torch.testing.assert_close(half, expected)
    assert half.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = deepjdot_distance(source, target, labels, logits)
    torch.testing.assert_close(mixed, deepjdot_distance(source, target, labels, logits))


def test_compiled_around_the_plan(monkeypatch):
    compiling = []
    solve = deepjdot._exact_plan
    monkeypatch.setattr(
        deepjdot, "_exact_plan", lambda cost: compiling.append(torch.compiler.is_compiling()) or solve(cost)
    )
    source, target, labels, logits = batch(dtype=torch.float32)
    given = lb.Source(source, logits[:6], labels), lb.Target(target, logits), torch.tensor(1.0)
    method = DeepJDOT(feature_weight=0.3, label_weight=0.7)
    torch.testing.assert_close(torch.compile(method, backend="eager")(*given), method(*given))
    assert compiling == [False, False]  # the solver was not traced


def test_importing_it_loads_neither_the_compiler_nor_the_estimators():
    code = (
        "import sys, landbridge.transport; print([m for m in ('torch._dynamo', 'ot', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_on_it_moves_the_target_to_its_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    source = torch.randn(40, 2, generator=generator) + 6.0 * F.one_hot(labels, 2)
    target = source.flip(0) + torch.tensor([2.0, 0.0])
    move = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([move], lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        moved = target + move
        deepjdot_distance(source, moved, labels, moved, feature_weight=1.0, label_weight=0.1).backward()
        optimizer.step()
    torch.testing.assert_close(move.detach(), torch.tensor([-2.0, 0.0]), atol=0.15, rtol=0)


def test_create_refuses_what_it_does_not_know():
    method = DeepJDOT.create(lb.Sizes(features=4, classes=3), feature_weight=0.1, weight=0.0)
    assert (method.feature_weight, method.label_weight, method.weight) == (0.1, 0.0001, 0.0)
    with pytest.raises(ValueError, match="did you mean 'label_weight'"):
        DeepJDOT.create(lb.Sizes(features=4, classes=3), label_wieght=1.0)


def test_errors_are_sentences():
    source, target, labels, logits = batch()
    progress = torch.tensor(1.0)
    wrong = labels.clone()
    wrong[1] = 3
    with pytest.raises(ValueError, match="DeepJDOT needs target logits; got Target"):
        DeepJDOT().losses(lb.Source(source, logits[:6], labels), lb.Target(target), progress)
    with pytest.raises(ValueError, match="DeepJDOT needs source labels; got labels=None"):
        DeepJDOT().losses(lb.Source(source, logits[:6]), lb.Target(target, logits), progress)
    with pytest.raises(
        ValueError, match="source labels from 0 to 2, as the target logits have 3 classes; got 3 in row 1"
    ):
        DeepJDOT().losses(lb.Source(source, logits[:6], wrong), lb.Target(target, logits), progress)
    with pytest.raises(ValueError, match="compares features of one size"):
        jdot_cost(source, target[:, :2], labels, logits)
    with pytest.raises(NonFiniteError, match="NaN or inf in target logits"):
        jdot_cost(source, target, labels, logits * float("inf"))
    with pytest.raises(TypeError, match="needs class numbers as labels"):
        jdot_cost(source, target, labels.double(), logits)
    with pytest.raises(TypeError, match=r"transport_plan needs the cost as a floating-point tensor; got torch.int64"):
        transport_plan(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(NonFiniteError, match="transport_plan got NaN or inf in the cost"):
        transport_plan(torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="finite feature_weight >= 0; got -1"):
        DeepJDOT(feature_weight=-1.0)
    with pytest.raises(TypeError, match="label_weight as a number; got str"):
        DeepJDOT(label_weight="1")
    with pytest.raises(ValueError, match="every plan is as good as any other"):
        DeepJDOT(feature_weight=0.0, label_weight=0.0)
