"""DANN against its paper: the domain loss, the reversal of its gradient, and the ramp."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import network, train

from landbridge.dann.dann import DANN
from landbridge.shared.discriminator import DomainDiscriminator
from landbridge.shared.method import Source, Target
from landbridge.shared.pairwise import Pairwise

N_S, N_T, D = 5, 3, 4


def method(**settings: object) -> DANN:
    torch.manual_seed(0)
    return DANN(**{"features": D, "hidden": [6], **settings}).double()  # type: ignore[arg-type]


def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = (torch.randn(n, D, generator=generator, dtype=torch.float64) for n in (N_S, N_T))
    source, target = (x.requires_grad_() for x in drawn)
    return source, target


def slow_logit(discriminator: DomainDiscriminator, row: Tensor) -> float:
    """A hidden layer with ReLU, and one logit, by Python's numbers."""
    first, last = discriminator[0], discriminator[2]
    hidden = []
    for weights, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True):
        hidden.append(max(0.0, bias + sum(w * x for w, x in zip(weights, row.tolist(), strict=True))))
    logit: float = last.bias.item() + sum(w * h for w, h in zip(last.weight[0].tolist(), hidden, strict=True))
    return logit


@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_the_value_is_the_papers_and_does_not_ramp(progress: float) -> None:
    source, target = features()
    dann = method(weight=0.7)
    expected = 0.0
    for row in source:
        expected += -math.log(1 / (1 + math.exp(-slow_logit(dann.discriminator, row)))) / N_S
    for row in target:
        expected += -math.log(1 - 1 / (1 + math.exp(-slow_logit(dann.discriminator, row)))) / N_T
    got = dann(Source(source), Target(target), progress)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("schedule", "progress"), [("ramp", 0.0), ("ramp", 0.2), ("ramp", 1.0), ("constant", 0.2)])
def test_features_get_the_reversed_gradient_times_lambda_and_the_discriminator_the_straight_one(
    schedule: str, progress: float
) -> None:
    source, target = features()
    dann = method(weight=0.7, schedule=schedule)
    dann(Source(source), Target(target), progress).backward()
    reversed_ = [source.grad, target.grad]
    learned = [p.grad for p in dann.parameters()]

    source, target = features()
    plain = method().discriminator
    logits = plain(torch.cat([source, target]))
    loss = -(logits[:N_S].sigmoid().log().mean() + (1 - logits[N_S:].sigmoid()).log().mean())
    loss.backward()
    strength = 0.7 * (2 / (1 + math.exp(-10 * progress)) - 1 if schedule == "ramp" else 1.0)
    for got, straight in zip(reversed_, (source.grad, target.grad), strict=True):
        assert torch.count_nonzero(straight) > 0
        torch.testing.assert_close(got, -strength * straight, rtol=1e-10, atol=1e-15)
    for got, straight in zip(learned, (p.grad for p in plain.parameters()), strict=True):
        torch.testing.assert_close(got, straight, rtol=1e-10, atol=1e-15)


def test_a_small_step_makes_features_harder_and_the_discriminator_better() -> None:
    source, target = features()
    dann = method()
    before = dann(Source(source), Target(target))
    before.backward()
    with torch.no_grad():
        moved = Source(source - 0.01 * source.grad), Target(target - 0.01 * target.grad)
        assert dann(*moved) > before
        for parameter in dann.parameters():
            parameter -= 0.01 * parameter.grad
        assert dann(Source(source), Target(target)) < before


def test_not_knowing_is_two_log_two() -> None:
    zero = nn.Linear(D, 1, bias=False).double()
    nn.init.zeros_(zero.weight)
    dann = DANN(discriminator=nn.Sequential(zero, nn.Flatten(0)))
    source, target = features()
    assert dann(Source(source), Target(target)).item() == pytest.approx(2 * math.log(2), rel=1e-12)


def test_the_defaults_are_the_papers() -> None:
    dann = DANN(features=D)
    assert [m.out_features for m in dann.discriminator if isinstance(m, nn.Linear)] == [1024, 1024, 1]
    assert dann.schedule == "ramp"
    assert dann.weight == 1.0


def test_dropout_and_hidden_reach_the_discriminator() -> None:
    made = DANN(features=D, hidden=(6, 5), dropout=0.3).discriminator
    assert [m.out_features for m in made if isinstance(m, nn.Linear)] == [6, 5, 1]
    assert [m.p for m in made if isinstance(m, nn.Dropout)] == [0.3, 0.3]


def test_a_discriminator_of_your_own_learns() -> None:
    own = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))
    before = own[0].weight.detach().clone()
    train(DANN(discriminator=own), network())
    assert not torch.equal(own[0].weight, before)


# ---- several sources


def many(k: int = 3, **settings: object) -> tuple[DANN, Source, Target]:
    domain = torch.arange(2 * k) % k  # in any order
    generator = torch.Generator().manual_seed(2)
    source, target = (
        torch.randn(n, D, generator=generator, dtype=torch.float64).requires_grad_() for n in (2 * k, N_T)
    )
    return method(sources=k, **settings), Source(source, domain=domain), Target(target)


def test_of_several_sources_each_domain_has_its_mean_cross_entropy() -> None:
    dann, source, target = many()
    logits = dann.discriminator(torch.cat([source.features, target.features])).tolist()
    domains = [*source.domain.tolist(), *[3] * N_T]
    expected = 0.0
    for row, d in zip(logits, domains, strict=True):
        expected -= math.log(math.exp(row[d]) / sum(map(math.exp, row))) / domains.count(d)
    got = dann(source, target, 0.4)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)


def test_of_several_sources_the_gradient_is_reversed_too() -> None:
    dann, source, target = many(weight=0.7)
    dann(source, target, 0.2).backward()
    reversed_, learned = [source.features.grad, target.features.grad], [p.grad for p in dann.parameters()]
    plain, source, target = many()
    logits = plain.discriminator(torch.cat([source.features, target.features])).log_softmax(1)
    domain = torch.cat([source.domain, torch.full((N_T,), 3)])
    loss = -sum(logits[domain == j, j].mean() for j in range(4))
    loss.backward()
    strength = 0.7 * (2 / (1 + math.exp(-2)) - 1)
    for got, straight in zip(reversed_, (source.features.grad, target.features.grad), strict=True):
        torch.testing.assert_close(got, -strength * straight, rtol=1e-10, atol=1e-15)
    for got, straight in zip(learned, (p.grad for p in plain.parameters()), strict=True):
        torch.testing.assert_close(got, straight, rtol=1e-10, atol=1e-15)


def test_of_one_source_there_is_one_logit_whatever_the_domains_say() -> None:
    source, target = features()
    plain = method()(Source(source), Target(target))
    assert torch.equal(method(sources=1)(Source(source, domain=torch.arange(N_S)), Target(target)), plain)


def test_not_knowing_among_four_domains() -> None:
    zero = nn.Linear(D, 4, bias=False).double()
    nn.init.zeros_(zero.weight)
    _, source, target = many()
    found = DANN(discriminator=zero, sources=3).losses(source, target, torch.tensor(1.0))
    assert found["domain"].item() == pytest.approx(4 * math.log(4), rel=1e-12)
    assert found["accuracy"] == 0.25


def test_numbers_of_numpy_are_numbers() -> None:
    assert type(DANN(features=4, sources=np.int64(2)).sources) is int  # type: ignore[arg-type]
    assert type(Pairwise(sources=np.int64(2), method=DANN(features=4)).sources) is int  # type: ignore[arg-type]


def test_sources_that_are_not_told() -> None:
    dann, source, target = many()
    with pytest.raises(ValueError, match=r"DANN tells 3 sources apart; got Source\(domain=None\)"):
        dann(source._replace(domain=None), target)
    with pytest.raises(ValueError, match="made for 3 sources, numbered from 0 to 2; got domain from 0 to 3"):
        dann(source._replace(domain=source.domain + (source.domain == 2).long()), target)
    with pytest.raises(ValueError, match=r"DANN\(sources=3\) needs a discriminator of 4 logits, .*; got \(9,\)"):
        DANN(discriminator=nn.Sequential(nn.Linear(D, 1), nn.Flatten(0)).double(), sources=3)(source, target)


@pytest.mark.parametrize("sources", [0, -1, 1.5, True])
def test_a_number_of_sources_that_cannot_be(sources: object) -> None:
    with pytest.raises(ValueError, match="DANN needs sources as a whole number >= 1; got "):
        method(sources=sources)


# ---- what it watches


def test_the_accuracy_is_watched_and_is_no_part_of_the_sum() -> None:
    source, target = features()
    dann = method()
    found = dann.losses(Source(source), Target(target), torch.tensor(0.5))
    assert list(found) == ["domain", "accuracy"]
    assert dann.watches == {"accuracy"}
    right_s = sum(slow_logit(dann.discriminator, row) > 0 for row in source) / N_S
    right_t = sum(slow_logit(dann.discriminator, row) <= 0 for row in target) / N_T
    assert found["accuracy"].item() == pytest.approx((right_s + right_t) / 2)
    assert torch.equal(dann(Source(source), Target(target), 0.5), found["domain"])


@pytest.mark.parametrize("given", [{}, {"features": 3, "discriminator": nn.Linear(3, 1)}])
def test_features_or_a_discriminator(given: dict[str, object]) -> None:
    with pytest.raises(
        ValueError, match="DANN needs features=d or discriminator=module, one of the two; got features="
    ):
        DANN(**given)  # type: ignore[arg-type]
