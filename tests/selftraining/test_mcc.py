"""MCC against its paper: the confusion matrix that is never formed, its ends, and what is a constant."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toy import SIZES, data, network, train

from landbridge.mmd.dan import DDC
from landbridge.selftraining import MCC, class_confusion
from landbridge.shared.combine import Combine
from landbridge.shared.method import Sizes, Source, Target

Rows = list[list[float]]


def logits(n: int = 7, k: int = 4, scale: float = 2.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_confusion(rows: Rows, temperature: float, weights: list[float] | None = None) -> float:
    """Equations 1 and 3 to 7, one after the other, with the whole matrix."""
    n, k = len(rows), len(rows[0])
    p = []
    for row in rows:
        total = sum(math.exp(z / temperature) for z in row)
        p.append([math.exp(z / temperature) / total for z in row])  # 1
    if weights is None:
        entropies = [-sum(q * math.log(q) for q in row) for row in p]  # 3
        whole = sum(1 + math.exp(-h) for h in entropies)
        weights = [n * (1 + math.exp(-h)) / whole for h in entropies]  # 4
    c = [[sum(weights[i] * p[i][a] * p[i][b] for i in range(n)) for b in range(k)] for a in range(k)]  # 5
    normal = [[c[a][b] / sum(c[a]) for b in range(k)] for a in range(k)]  # 6
    return sum(abs(normal[a][b]) for a in range(k) for b in range(k) if b != a) / k  # 7


def weights_of(z: Tensor, temperature: float) -> list[float]:
    p = (z / temperature).softmax(1)
    return [1 + math.exp(sum(q * math.log(q) for q in row)) for row in p.tolist()]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
@pytest.mark.parametrize(("n", "k"), [(7, 4), (1, 3), (3, 8), (20, 2)])
def test_the_value_is_the_papers(n: int, k: int, temperature: float) -> None:
    z = logits(n, k)
    expected = torch.tensor(slow_confusion(z.tolist(), temperature), dtype=torch.float64)
    for detach in (True, False):
        assert_close(class_confusion(z, temperature, detach=detach), expected, rtol=1e-10, atol=0)
    target = Target(torch.zeros(n, 2, dtype=torch.float64), z)
    assert_close(MCC(weight=3.0, temperature=temperature)(None, target), 3 * expected, rtol=1e-10, atol=0)


def test_the_default_temperature_is_25() -> None:
    z = logits()
    assert_close(class_confusion(z), class_confusion(z, 2.5), rtol=0, atol=0)
    assert (MCC().temperature, MCC().weight, MCC().schedule, MCC().detach) == (2.5, 1.0, "constant", True)


def numeric(z: Tensor, value: Any, step: float = 1e-6) -> Tensor:
    grad = torch.zeros_like(z)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            above, below = z.detach().clone(), z.detach().clone()
            above[i, j] += step
            below[i, j] -= step
            grad[i, j] = (value(above.tolist()) - value(below.tolist())) / (2 * step)
    return grad


@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_takes_the_weights_as_constants_or_not(detach: bool) -> None:
    z = logits().requires_grad_()
    (found,) = torch.autograd.grad(class_confusion(z, detach=detach), z)
    held = weights_of(z, 2.5) if detach else None
    assert_close(found, numeric(z, lambda rows: slow_confusion(rows, 2.5, held)), rtol=1e-5, atol=1e-8)
    if not detach:
        assert torch.autograd.gradcheck(lambda x: class_confusion(x, detach=False), (z,))
        (constant,) = torch.autograd.grad(class_confusion(z), z)
        assert not torch.allclose(found, constant)


@pytest.mark.parametrize("k", [2, 5])
def test_its_ends(k: int) -> None:
    most = 1 - 1 / k
    certain = 1e4 * torch.eye(k)
    assert class_confusion(certain) == 0
    assert class_confusion(torch.zeros(3, k)).item() == pytest.approx(most, rel=1e-6)
    assert class_confusion(certain[:1].repeat(6, 1)).item() == pytest.approx(most, rel=1e-6)  # all in one class
    for seed in range(20):
        value = class_confusion(logits(6, k, scale=0.1 * 2**seed, seed=seed))
        assert -1e-12 <= value <= most + 1e-12


def test_a_class_without_any_probability_gives_no_nan() -> None:
    z = torch.tensor([[0.0, 1e4, -3e4], [2e4, 0.0, -1e30]], requires_grad=True)
    loss = class_confusion(z)
    assert 0 <= loss <= 1 - 1 / 3
    (gradient,) = torch.autograd.grad(loss, z)
    assert gradient.isfinite().all()


def test_clear_predictions_count_more() -> None:
    """Of two confused samples, the one that is clearer moves the result towards itself."""
    clear, unclear = torch.tensor([[6.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    p = torch.cat([clear, unclear]).div(2.5).softmax(1).double()
    unweighed = 1 - ((p * p).sum(0) / p.sum(0)).mean()
    assert class_confusion(torch.cat([clear, unclear])) < unweighed


def test_laws() -> None:
    z = logits()
    value = class_confusion(z)
    assert_close(class_confusion(z.flip(0)), value)
    assert_close(class_confusion(z.flip(1)), value)  # no class is special
    assert_close(class_confusion(z + torch.arange(7.0)[:, None]), value)  # logits are known up to a constant
    assert_close(class_confusion(z.repeat(3, 1)), value)
    assert_close(class_confusion(z, 5.0), class_confusion(z / 2))
    stepped = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(class_confusion(stepped), stepped)
    assert class_confusion(z - 0.1 * gradient) < value


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    z = logits().to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        found = class_confusion(z)
    assert found.dtype == torch.float32
    assert_close(found, class_confusion(z.float()), rtol=1e-6, atol=0)


def test_one_graph_for_the_compiler() -> None:
    target = Target(torch.zeros(7, 2, dtype=torch.float64), logits())
    source = Source(torch.zeros(3, 2, dtype=torch.float64), logits(3))
    mcc, end = MCC(schedule="ramp"), torch.tensor(1.0, dtype=torch.float64)
    compiled = torch.compile(mcc, backend="eager", fullgraph=True)
    assert_close(compiled(source, target, end), mcc(source, target, end))


def test_the_source_changes_nothing() -> None:
    target = Target(torch.zeros(7, 2, dtype=torch.float64), logits())
    source = Source(torch.ones(3, 2, dtype=torch.float64), logits(3, seed=5))
    assert torch.equal(MCC()(source, target), MCC()(None, target))


def test_it_trains_with_fit_alone_and_beside_another() -> None:
    alone = train(MCC(weight=10.0), network(dropout=0.0), steps=60, augment=None)
    plain = train(MCC(weight=0.0), network(dropout=0.0), steps=60, augment=None)

    def confusion(result: Any) -> float:
        with torch.no_grad():
            return class_confusion(result.network.eval()(data().target)[1]).item()

    assert confusion(alone) < confusion(plain) - 0.05
    both = Combine(ddc=DDC(), mcc=MCC.create(Sizes(*SIZES)))
    target = Target(torch.zeros(7, 2, dtype=torch.float64), logits())
    source = Source(torch.ones(3, 2, dtype=torch.float64), logits(3))
    losses = both.losses(source, target, torch.tensor(1.0, dtype=torch.float64))
    assert set(losses) == {"ddc/features", "mcc/confusion"}


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: MCC(temperature=0.0), ValueError, r"MCC needs a finite temperature > 0; got 0\.0"),
        (lambda: MCC(temperature=math.inf), ValueError, "MCC needs a finite temperature > 0; got inf"),
        (lambda: MCC(temperature="hot"), TypeError, "MCC needs temperature as a number; got str"),
        (lambda: MCC(temperature=True), TypeError, "MCC needs temperature as a number; got bool"),
        (lambda: MCC(weight=-1.0), ValueError, "MCC needs a finite weight >= 0"),
        (lambda: MCC.create(Sizes(5, 3), temprature=1.0), ValueError, "did you mean 'temperature'"),
        (lambda: class_confusion(logits(), -1.0), ValueError, "class_confusion needs a finite temperature > 0"),
        (lambda: class_confusion(logits()[0]), ValueError, "class_confusion needs target logits of shape"),
        (lambda: class_confusion(logits(3, 1)), ValueError, "with at least 2 classes"),
        (lambda: class_confusion(logits()[:0]), ValueError, "class_confusion got an empty batch"),
        (lambda: class_confusion(logits() * math.nan), ValueError, "NaN or inf in target logits: 7 of 7 rows"),
        (lambda: MCC()(None, Target(torch.zeros(3, 2))), ValueError, "MCC needs target logits"),
    ],
)
def test_what_cannot_be(make: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make()
