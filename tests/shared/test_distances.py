"""Squared distances against a slow loop, and their rounding far from the origin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landbridge.shared.distances import squared_distances


def slow_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    rows = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in y.tolist()] for p in x.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("n", "m", "d"), [(5, 3, 4), (1, 6, 2), (2, 1, 1)])
def test_against_a_loop(n: int, m: int, d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, dtype=torch.float64, generator=generator)
    y = 3 + torch.randn(m, d, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(squared_distances(x, y), slow_squared_distances(x, y), rtol=1e-10, atol=0)


def test_of_a_point_to_itself_is_never_negative_and_nearly_zero() -> None:
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    own = squared_distances(x, x).diagonal()
    assert (own >= 0).all()
    assert own.max() < 1e-4


def test_far_from_the_origin_float32_keeps_its_digits() -> None:
    """Without centring, |x|^2 of about 1e8 would leave no digit of distances of about 1."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(0, 8, (6, 4), generator=generator) / 8 for _ in range(2))
    near, far = squared_distances(x, y), squared_distances(x + 4096, y + 4096)
    torch.testing.assert_close(far, near, rtol=1e-5, atol=1e-5)


def test_gradients_reach_both_arguments() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 3, dtype=torch.float64, generator=generator, requires_grad=True) for n in (4, 3))
    assert torch.autograd.gradcheck(squared_distances, (x, y))
