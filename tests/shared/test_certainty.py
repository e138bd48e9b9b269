"""The weight of a sample by the entropy of its prediction."""

from __future__ import annotations

import math

import pytest
import torch

from landbridge.shared.certainty import certainty


def slow_certainty(logits: list[float]) -> float:
    """1 + exp(-H), by Python's numbers."""
    total = sum(math.exp(z) for z in logits)
    entropy = -sum(math.exp(z) / total * math.log(math.exp(z) / total) for z in logits)
    return 1 + math.exp(-entropy)


def test_against_the_formula() -> None:
    logits = 2 * torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor([slow_certainty(row) for row in logits.tolist()], dtype=torch.float64)
    torch.testing.assert_close(certainty(logits), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("k", [2, 5, 31])
def test_its_ends(k: int) -> None:
    unsure, sure = torch.zeros(1, k), torch.zeros(1, k)
    sure[0, 1] = 1e4
    assert certainty(unsure).item() == pytest.approx(1 + 1 / k, rel=1e-6)
    assert certainty(sure).item() == 2


def test_large_logits_have_a_finite_gradient() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [1e38, -1e38, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(certainty(logits).sum(), logits)
    assert gradient.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = certainty(logits)
    torch.testing.assert_close(found, certainty(logits.float()), rtol=0, atol=0)
