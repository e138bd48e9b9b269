"""The domain discriminator and its loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from landbridge.shared.discriminator import (
    DomainDiscriminator,
    domain_accuracy,
    domain_loss,
    domains_accuracy,
    domains_loss,
)


def slow_domain_loss(source: list[float], target: list[float]) -> float:
    """Ganin et al. (2016), section 4.2: a mean of each domain's cross-entropies, with the source as 1."""
    of_source = sum(-math.log(1 / (1 + math.exp(-z))) for z in source) / len(source)
    of_target = sum(-math.log(1 - 1 / (1 + math.exp(-z))) for z in target) / len(target)
    return of_source + of_target


@pytest.mark.parametrize(("n_s", "n_t"), [(1, 1), (5, 3), (2, 9)])
def test_the_loss_is_the_papers(n_s: int, n_t: int) -> None:
    generator = torch.Generator().manual_seed(n_s)
    source, target = (3 * torch.randn(n, generator=generator, dtype=torch.float64) for n in (n_s, n_t))
    expected = torch.tensor(slow_domain_loss(source.tolist(), target.tolist()), dtype=torch.float64)
    torch.testing.assert_close(domain_loss(source, target), expected, rtol=1e-10, atol=0)


def test_each_domain_weighs_the_same() -> None:
    source, target = torch.tensor([0.3, -1.0]), torch.tensor([2.0])
    torch.testing.assert_close(domain_loss(source.repeat(5), target), domain_loss(source, target))


def test_weights_make_a_weighted_mean_of_each_domain() -> None:
    source, target = [0.3, -1.0, 2.0], [2.0, -0.5]
    weights = [1.0, 3.0, 0.5], [2.0, 0.25]
    of_source = sum(-w * math.log(1 / (1 + math.exp(-z))) for w, z in zip(weights[0], source, strict=True)) / 4.5
    of_target = sum(-w * math.log(1 - 1 / (1 + math.exp(-z))) for w, z in zip(weights[1], target, strict=True)) / 2.25
    tensors = [torch.tensor(x, dtype=torch.float64) for x in (source, target, *weights)]
    expected = torch.tensor(of_source + of_target, dtype=torch.float64)
    torch.testing.assert_close(domain_loss(*tensors), expected, rtol=1e-10, atol=0)
    seven = [tensors[2] * 7, tensors[3] / 7]  # only the ratios within a domain matter
    torch.testing.assert_close(domain_loss(*tensors[:2], *seven), expected, rtol=1e-10, atol=0)


def test_equal_weights_change_nothing() -> None:
    source, target = torch.tensor([0.3, -1.0]), torch.tensor([2.0, 1.0, -4.0])
    weighted = domain_loss(source, target, torch.full_like(source, 1.5), torch.full_like(target, 0.2))
    torch.testing.assert_close(weighted, domain_loss(source, target))


def test_large_logits_are_finite() -> None:
    z = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = domain_loss(z, z)
    loss.backward()
    assert loss == 1e4
    assert z.grad.isfinite().all()


def test_layers() -> None:
    made = DomainDiscriminator(6, hidden=[5, 4], dropout=0.25)
    assert [type(m) for m in made] == [nn.Linear, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    assert [(m.in_features, m.out_features) for m in made if isinstance(m, nn.Linear)] == [(6, 5), (5, 4), (4, 1)]
    assert {m.p for m in made if isinstance(m, nn.Dropout)} == {0.25}
    assert not any(isinstance(m, nn.Dropout) for m in DomainDiscriminator(6))
    assert [m.out_features for m in DomainDiscriminator(6) if isinstance(m, nn.Linear)] == [1024, 1024, 1]
    assert len(DomainDiscriminator(6, hidden=[])) == 1
    normalised = DomainDiscriminator(6, hidden=[5, 4], dropout=0.25, batchnorm=True)
    assert [type(m) for m in normalised] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    assert [m.num_features for m in normalised if isinstance(m, nn.BatchNorm1d)] == [5, 4]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in made)


def test_one_logit_a_sample() -> None:
    made = DomainDiscriminator(6, hidden=[5])
    for n in (0, 1, 4):
        assert made(torch.zeros(n, 6)).shape == (n,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": 0},
        {"features": 3, "hidden": [0]},
        {"features": 3, "dropout": 1.0},
        {"features": 3, "dropout": -0.1},
    ],
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"DomainDiscriminator needs positive sizes and dropout in \[0, 1\); got"):
        DomainDiscriminator(**wrong)


# ---- the accuracy that is watched


@pytest.mark.parametrize(("n_s", "n_t"), [(1, 1), (5, 3), (2, 9)])
def test_the_accuracy_is_the_mean_of_both_domains_shares(n_s: int, n_t: int) -> None:
    generator = torch.Generator().manual_seed(n_s)
    source, target = (torch.randn(n, generator=generator, requires_grad=True) for n in (n_s, n_t))
    right_s = sum(1 for z in source.tolist() if z > 0) / n_s
    right_t = sum(1 for z in target.tolist() if z <= 0) / n_t
    got = domain_accuracy(source, target)
    assert got.item() == pytest.approx((right_s + right_t) / 2)
    assert not got.requires_grad
    assert got.dtype == torch.float32
    assert domain_accuracy(source.detach().bfloat16(), target.detach().bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("z", [-1.0, 0.0, 1.0])
def test_who_always_says_the_same_is_right_half_the_time_whatever_the_sizes(z: float) -> None:
    assert domain_accuracy(torch.full((9,), z), torch.full((2,), z)) == 0.5


def test_who_knows_is_always_right() -> None:
    assert domain_accuracy(torch.tensor([2.0, 0.1]), torch.tensor([-0.1])) == 1
    assert domain_accuracy(torch.tensor([-2.0]), torch.tensor([0.1])) == 0
    assert domain_accuracy(torch.tensor([0.0]), torch.tensor([-0.1])) == 0.75  # a guess


# ---- many domains


def slow_domains_loss(logits: list[list[float]], domain: list[int]) -> float:
    total = 0.0
    for j in range(len(logits[0])):
        here = [row for row, d in zip(logits, domain, strict=True) if d == j]
        for row in here:
            total -= math.log(math.exp(row[j]) / sum(math.exp(z) for z in row)) / len(here)
    return total


@pytest.mark.parametrize("domain", [[0, 0, 1, 2, 2, 2], [2, 1, 0, 1, 2, 2], [0, 0, 0, 2, 2, 2]])
def test_the_loss_of_many_is_each_domains_mean_summed(domain: list[int]) -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor(slow_domains_loss(logits.tolist(), domain), dtype=torch.float64)
    torch.testing.assert_close(domains_loss(logits, torch.tensor(domain)), expected, rtol=1e-10, atol=0)
    right = [
        sum(max(range(3), key=row.__getitem__) == j for row in rows) / len(rows)
        for j in range(3)
        if (rows := [row for row, d in zip(logits.tolist(), domain, strict=True) if d == j])
    ]
    assert domains_accuracy(logits, torch.tensor(domain)).item() == pytest.approx(sum(right) / len(right))


def test_of_two_domains_it_is_the_loss_of_one_logit() -> None:
    source, target = torch.tensor([0.3, -1.0, 2.0]).double(), torch.tensor([2.0, -0.5]).double()
    z = torch.cat([source, target])
    pair, domain = torch.stack([z, torch.zeros_like(z)], 1), torch.tensor([0, 0, 0, 1, 1])
    torch.testing.assert_close(domains_loss(pair, domain), domain_loss(source, target), rtol=1e-12, atol=0)
    torch.testing.assert_close(domains_accuracy(pair, domain), domain_accuracy(source, target))


def test_not_knowing_is_m_log_m() -> None:
    domain = torch.tensor([0, 1, 1, 2, 3, 3])
    torch.testing.assert_close(domains_loss(torch.zeros(6, 4), domain), torch.tensor(4 * math.log(4)))
    assert domains_accuracy(torch.zeros(6, 4), domain) == 0.25


def test_large_logits_of_many_are_finite() -> None:
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = domains_loss(z, torch.tensor([0, 0]))
    loss.backward()
    assert loss == 1e4
    assert z.grad.isfinite().all()


def test_a_logit_for_each_of_many_domains() -> None:
    assert DomainDiscriminator(6, hidden=[5], domains=4)(torch.zeros(3, 6)).shape == (3, 4)
    assert DomainDiscriminator(6, hidden=[5], domains=2)(torch.zeros(3, 6)).shape == (3,)
    with pytest.raises(ValueError, match="at least 2 domains to tell apart; got 1"):
        DomainDiscriminator(6, domains=1)
