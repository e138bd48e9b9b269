"""Sums over blocks of a kernel: against loops, and one pass over the pairs whatever is asked of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from landbridge.diagnostics import blocks
from landbridge.diagnostics.blocks import (
    gaussian_profile,
    kernel_means,
    labellings,
    negative_distance,
    pool_rows,
    pooled_bandwidth,
    quadratic_forms,
    squared_blocks,
)
from landbridge.mmd import MultiGaussianKernel, mmd2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def squared(a: Tensor, b: Tensor) -> float:
    return sum((float(u) - float(v)) ** 2 for u, v in zip(a, b, strict=True))


def ladder(value: float, gamma: float, kernels: int) -> float:
    return sum(math.exp(-value / (gamma * 2.0 ** (u - kernels // 2))) for u in range(kernels)) / kernels


@pytest.mark.parametrize("block", [1, 4, 11, 100, None])
@pytest.mark.parametrize(
    ("profile", "slow"),
    [
        (gaussian_profile(2.5), lambda s: ladder(s, 2.5, 5)),
        (gaussian_profile(0.5, kernels=1), lambda s: math.exp(-s / 0.5)),
        (negative_distance, lambda s: -math.sqrt(s)),
    ],
)
def test_quadratic_forms_are_the_double_sum(
    block: int | None, profile: blocks.Profile, slow: Callable[[float], float]
) -> None:
    rows, weights = drawn(11, 3), drawn(11, 4, seed=1)
    kernel = [[slow(squared(a, b)) for b in rows] for a in rows]
    found = quadratic_forms(rows, weights, profile, block=block)
    for b in range(4):
        w = weights[:, b].tolist()
        form = sum(w[i] * kernel[i][j] * w[j] for i in range(11) for j in range(11) if i != j)
        assert float(found.forms[b]) == pytest.approx(form, rel=1e-10)
    sums = [sum(kernel[i][j] for j in range(11) if j != i) for i in range(11)]
    np.testing.assert_allclose(found.rows.numpy(), sums, rtol=1e-10)


@pytest.mark.parametrize("columns", [1, 50])
def test_each_pair_is_computed_once_and_no_block_is_larger_than_asked(columns: int) -> None:
    seen: list[tuple[int, int]] = []

    def watched(values: Tensor) -> Tensor:
        seen.append((values.shape[0], values.shape[1]))
        return negative_distance(values)

    quadratic_forms(drawn(70, 3), drawn(70, columns, seed=1), watched, block=16)
    assert max(max(shape) for shape in seen) == 16
    pairs = sum(a * b for a, b in seen)
    assert pairs == sum(16 * (70 - 16 * i) if i < 4 else 6 * 6 for i in range(5))  # the upper half, by blocks


def test_squared_blocks_cover_the_upper_half() -> None:
    rows = drawn(9, 2)
    whole = torch.full((9, 9), torch.nan, dtype=torch.float64)
    for i, j, values in squared_blocks(rows, block=4):
        whole[i, j] = values
    assert whole.diagonal().eq(0).all()
    for i in range(9):
        for j in range(i, 9):
            assert float(whole[i, j]) == pytest.approx(squared(rows[i], rows[j]), abs=1e-12)


def test_kernel_means_are_means_over_pairs() -> None:
    x, y = drawn(7, 3), drawn(5, 3, seed=1) + 1
    for block in (2, 5, None):
        means = kernel_means(x, y, gaussian_profile(3.0), block=block)
        within = [ladder(squared(a, b), 3.0, 5) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
        target = [ladder(squared(a, b), 3.0, 5) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
        across = [ladder(squared(a, b), 3.0, 5) for a in x for b in y]
        assert means == pytest.approx((np.mean(within), np.mean(target), np.mean(across)), rel=1e-10)
        assert means.discrepancy == pytest.approx(float(mmd2(x, y, MultiGaussianKernel(3.0), "unbiased")), rel=1e-9)


def test_float32_keeps_a_small_difference_far_from_the_origin() -> None:
    x, y = drawn(900, 20) + 1000, drawn(700, 20, seed=1) + 1000
    profile = gaussian_profile(40.0)
    exact = kernel_means(x, y, profile).discrepancy
    rough = kernel_means(x.float(), y.float(), profile, block=128).discrepancy
    assert pool_rows(x.float(), y.float()).dtype == torch.float32
    assert rough == pytest.approx(exact, abs=2e-6)


def test_the_pool_is_a_copy_with_mean_zero_in_float64_where_that_is_free_or_needed() -> None:
    x, y = drawn(5, 2).float() + 3, drawn(4, 2).float()
    before = x.clone(), y.clone()
    rows = pool_rows(x, y)
    assert rows.dtype == torch.float64
    torch.testing.assert_close(rows.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    many = drawn(1025, 1).float()
    assert pool_rows(many, y[:, :1]).dtype == torch.float32
    assert pool_rows(many * 1e30, y[:, :1]).dtype == torch.float64
    assert pool_rows(many * 1e-30, y[:, :1] * 0).dtype == torch.float64
    assert pool_rows(many * 0, y[:, :1] * 0).dtype == torch.float32


@pytest.mark.parametrize("value", [0.1, 0.7, 1e9 + 0.1, -1e-9 / 3])
def test_a_constant_column_becomes_zero_without_rounding(value: float) -> None:
    for n in (3, 7, 11, 49):
        constant = torch.full((n, 1), value, dtype=torch.float64)
        rows = pool_rows(torch.cat([constant, drawn(n, 1)], 1), torch.cat([constant, drawn(n, 1, seed=1)], 1))
        assert rows[:, 0].eq(0).all()
        assert rows[:, 1].ne(0).any()


def test_labellings_begin_with_the_truth_and_draw_each_row_alike() -> None:
    chosen = labellings(6, 14, 4000, torch.Generator().manual_seed(0))
    assert chosen.shape == (20, 4001)
    assert chosen[:, 0].tolist() == [True] * 6 + [False] * 14
    assert chosen.sum(0).eq(6).all()
    share = chosen[:, 1:].double().mean(1)
    assert float((share - 0.3).abs().max()) < 4.5 * math.sqrt(0.3 * 0.7 / 4000)


def test_the_bandwidth_is_the_median_of_all_pairs() -> None:
    rows = drawn(12, 3)  # 66 pairs: the lower of the two middle ones
    values = sorted(squared(rows[i], rows[j]) for i in range(12) for j in range(i))
    assert pooled_bandwidth(rows) == pytest.approx(values[32], rel=1e-12)
    assert pooled_bandwidth(rows.flip(0)) == pytest.approx(values[32], rel=1e-12)


def test_the_bandwidth_of_many_rows_is_that_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(600, 5)
    exact = pooled_bandwidth(rows)
    monkeypatch.setattr(blocks, "BANDWIDTH_ROWS", 300)
    some = pooled_bandwidth(rows, seed=3)
    assert some != exact
    assert some == pytest.approx(exact, rel=0.05)
    assert some == pooled_bandwidth(rows, seed=3) != pooled_bandwidth(rows, seed=4)


def test_the_bandwidth_of_repeated_rows() -> None:
    assert pooled_bandwidth(torch.zeros(5, 2)) == 1.0
    mostly = torch.cat([torch.zeros(9, 1), torch.ones(1, 1)])  # 9 of 45 pairs are 1 apart
    assert pooled_bandwidth(mostly) == pytest.approx(0.2)


def test_the_bandwidth_ignores_a_few_far_rows_and_the_dtype() -> None:
    rows = drawn(1200, 5).float()
    plain = pooled_bandwidth(rows)
    for far in (1e3, 1e5, 1e7):
        rows[0] = far
        pooled = pool_rows(rows[:600], rows[600:])
        assert pooled.dtype == torch.float32
        assert pooled_bandwidth(pooled) == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_where_most_pairs_coincide_the_bandwidth_is_the_mean(noise: float) -> None:
    rows = drawn(2, 1)[:1].repeat(60, 3) + noise * drawn(60, 3, seed=1)
    rows[:10] = 2 * drawn(10, 3, seed=2)
    rows = pool_rows(rows[:30], rows[30:])
    values = [squared(rows[i], rows[j]) for i in range(60) for j in range(i)]
    assert pooled_bandwidth(rows) == pytest.approx(sum(values) / len(values), rel=1e-6)
    assert pooled_bandwidth(rows * 0) == 1.0
