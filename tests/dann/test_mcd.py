"""MCD against its paper: the discrepancy, and what each of its three updates moves, and which way."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import create, data, network

from landbridge.dann.mcd import MCD, classifier_discrepancy
from landbridge.shared.network import Network
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.step import Batch, Step, Stepper

LR = 0.1


def slow_discrepancy(logits: Tensor, others: Tensor) -> float:
    """Saito et al. (2018), equation 2, and the mean over the samples."""
    total = 0.0
    for one, other in zip(logits.tolist(), others.tolist(), strict=True):
        p, q = ([math.exp(z) / sum(map(math.exp, row)) for z in row] for row in (one, other))
        total += sum(abs(a - b) for a, b in zip(p, q, strict=True)) / len(p)
    return total / len(logits)


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (4, 10)])
def test_the_discrepancy_is_the_papers(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = torch.tensor(slow_discrepancy(one, other), dtype=torch.float64)
    torch.testing.assert_close(classifier_discrepancy(one, other), expected, rtol=1e-10, atol=0)
    assert torch.equal(classifier_discrepancy(other, one), classifier_discrepancy(one, other))
    assert classifier_discrepancy(one, one + 3) < 1e-15


def test_gradients_of_the_discrepancy() -> None:
    generator = torch.Generator().manual_seed(0)
    both = [torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(classifier_discrepancy, both)


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), r"compares logits over the same classes; got \(2, 3\) and \(2, 4\)"),
        (torch.zeros(2, 3), torch.zeros(3, 3), r"of shape \(2, classes\)"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.nan), "got NaN or inf in target logits"),
        (torch.zeros(2), torch.zeros(2), "at least 2 classes"),
    ],
)
def test_what_has_no_discrepancy(one: Tensor, other: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"classifier_discrepancy .*{sentence}"):
        classifier_discrepancy(one, other)


# ---- the three updates


def batch() -> Batch:
    some = data()
    return Batch(some.inputs[:9], some.labels[:9], some.target[:7], torch.arange(7))


def plain() -> Network:
    """Without dropout, so that every forward of the same weights is the same."""
    return network(dropout=0.0).train()


def vectors(model: Network, method: MCD) -> dict[str, Tensor]:
    parts = {"extractor": model.extractor, "head": model.head, "method": method}
    return {name: nn.utils.parameters_to_vector(part.parameters()).detach().clone() for name, part in parts.items()}


def one_step(method: MCD, model: Network) -> list[dict[str, Tensor]]:
    """The parameters before, and after each of the optimiser's steps."""
    settings = Optimizer(lr=LR, momentum=0.0)
    optimizer = settings.make(model, method)
    seen = [vectors(model, method)]
    optimizer.register_step_post_hook(lambda *_: seen.append(vectors(model, method)))
    step = Step(model, method, F.cross_entropy, None, "float32").train()
    Stepper(step, optimizer, settings, compile=False)([batch()], torch.tensor(0.5))
    return seen


def mcd(**settings: Any) -> MCD:
    made = create(MCD, seed=5, **settings)
    assert isinstance(made, MCD)
    return made


@pytest.mark.parametrize("inner", [1, 4])
def test_each_update_moves_what_it_should(inner: int) -> None:
    seen = one_step(mcd(inner=inner), plain())
    moved = [{n for n in a if not torch.equal(a[n], b[n])} for a, b in pairwise(seen)]
    assert moved == [{"extractor", "head", "method"}, {"head", "method"}, *[{"extractor"}] * inner]


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_each_update_goes_the_papers_way(weight: float) -> None:
    """The same step written out with plain gradient descent: equations 3, 4 with 5, and 6."""
    seen = one_step(mcd(inner=2, weight=weight), plain())
    model, method = plain(), mcd(inner=2, weight=weight)
    assert method.head is not None
    given = batch()

    def losses() -> tuple[Tensor, Tensor]:
        features, logits = model(torch.cat([given.source, given.target]))
        assert method.head is not None
        second = method.head(features)
        labels = given.labels
        task = F.cross_entropy(logits[:9], labels) + F.cross_entropy(second[:9], labels)
        return task, (logits[9:].softmax(1) - second[9:].softmax(1)).abs().sum(1).mean() / 3

    def descend(loss: Tensor, *modules: nn.Module) -> None:
        parameters = [p for m in modules for p in m.parameters()]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= LR * gradient

    written = [vectors(model, method)]
    for update in ("A", "B", "C", "C"):
        task, discrepancy = losses()
        if update == "A":
            descend(task, model, method.head)
        elif update == "B":
            descend(task - weight * discrepancy, model.head, method.head)
        else:
            descend(weight * discrepancy, model.extractor)
        written.append(vectors(model, method))
    for got, expected in zip(seen, written, strict=True):
        for name in got:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-6)


def test_a_ramp_scales_the_discrepancy_alone() -> None:
    method = mcd(weight=2.0, schedule="ramp")
    terms = {"task2": torch.tensor(3.0), "discrepancy": torch.tensor(0.5)}
    got = method.weighted(terms, torch.tensor(0.1))
    assert got["task2"] == 3.0
    assert float(got["discrepancy"]) == pytest.approx(math.tanh(0.5), rel=1e-6)


def test_heads() -> None:
    assert [type(m) for m in MCD(features=5, classes=3).head] == [nn.Linear]
    hidden = MCD(features=5, classes=3, hidden=(7, 6)).head
    assert [m.out_features for m in hidden if isinstance(m, nn.Linear)] == [7, 6, 3]
    own = nn.Linear(5, 3)
    assert MCD(head=own).head is own
    assert MCD(head=own).inner == 4
    assert MCD(head=own).needs == {"source", "logits", "labels"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {},
            "MCD needs features=d and classes=k, or head=module, not both; got features=None, classes=None, head=None",
        ),
        ({"features": 5}, "got features=5, classes=None, head=None"),
        ({"features": 5, "classes": 3, "head": nn.Linear(5, 3)}, "head=Linear"),
        ({"features": 5, "classes": 3, "inner": 0}, "MCD needs inner >= 1, how often the extractor moves; got 0"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MCD(**given)
