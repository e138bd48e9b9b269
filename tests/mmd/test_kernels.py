import math
import statistics

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from landbridge.mmd import DistanceKernel, GaussianKernel, MultiGaussianKernel


def features(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def slow_distance(a: Tensor, b: Tensor) -> float:
    return sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True))


def slow_bandwidth(rows: list[Tensor], rule: str) -> float:
    distances = [slow_distance(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return statistics.median_low(distances) if rule == "median" else statistics.fmean(distances)


def slow_kernel(x: Tensor, y: Tensor, bandwidths: list[float]) -> Tensor:
    return torch.tensor(
        [[statistics.fmean(math.exp(-slow_distance(a, b) / g) for g in bandwidths) for b in y] for a in x],
        dtype=torch.float64,
    )


def test_gaussian_is_its_formula_with_bandwidth_two_sigma_squared() -> None:
    x, y = features(5, 3), features(4, 3, seed=1)
    sigma = 0.7
    expected = slow_kernel(x, y, [2 * sigma**2])
    assert_close(GaussianKernel(2 * sigma**2)(x, y), expected, rtol=1e-10, atol=0)
    assert_close(GaussianKernel(1.3)(x), slow_kernel(x, x, [1.3]), rtol=1e-10, atol=0)


@pytest.mark.parametrize("kernels", [1, 2, 5, 8, 14])  # 14: past the second new exponential
@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_multi_gaussian_is_the_mean_over_the_ladder(kernels: int, factor: float) -> None:
    x, y = features(5, 3), features(4, 3, seed=1)
    ladder = [1.7 * factor ** (u - kernels // 2) for u in range(kernels)]
    kernel = MultiGaussianKernel(1.7, kernels=kernels, factor=factor)
    assert_close(kernel(x, y), slow_kernel(x, y, ladder), rtol=1e-10, atol=0)


@pytest.mark.parametrize("rule", ["median", "mean"])
@pytest.mark.parametrize(("n", "m"), [(5, 4), (4, 4), (3, 1)])  # odd and even numbers of pairs
def test_rules_run_over_the_distinct_pairs_of_the_pooled_sample(rule: str, n: int, m: int) -> None:
    x, y = features(n, 3), features(m, 3, seed=1) + 1
    pooled = slow_bandwidth([*x, *y], rule)
    assert_close(GaussianKernel(rule)(x, y), slow_kernel(x, y, [pooled]), rtol=1e-10, atol=0)
    assert_close(GaussianKernel(rule)(x), slow_kernel(x, x, [slow_bandwidth([*x], rule)]), rtol=1e-10, atol=0)
    multi = MultiGaussianKernel(rule, kernels=3)(x, y)
    assert_close(multi, slow_kernel(x, y, [pooled / 2, pooled, pooled * 2]), rtol=1e-10, atol=0)


def test_ladder_is_as_accurate_as_one_exponential_for_each() -> None:
    squared = torch.logspace(-6, 2, 5000, dtype=torch.float64)
    for kernels in (5, 33):
        kernel = MultiGaussianKernel(1.0, kernels=kernels)
        exact = sum(torch.exp(-squared / 2.0 ** (u - kernels // 2)) for u in range(kernels)) / kernels
        assert_close(kernel.of_distances(squared.float(), 1.0).double(), exact, rtol=4e-6, atol=1e-30)


def test_far_points_underflow_to_zero_with_finite_gradients() -> None:
    x = torch.tensor([[0.0], [1e4]], requires_grad=True)
    matrix = MultiGaussianKernel(1.0)(x)
    assert matrix[0, 1] == 0
    (gradient,) = torch.autograd.grad(matrix.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("rule", ["median", "mean"])
def test_bandwidth_by_rule_carries_no_gradient(rule: str) -> None:
    x = features(5, 3).requires_grad_()
    y = features(4, 3, seed=1)
    bandwidth = slow_bandwidth([*x.detach(), *y], rule)
    by_rule = torch.autograd.grad(GaussianKernel(rule)(x, y).sum(), x)
    given = torch.autograd.grad(GaussianKernel(bandwidth)(x, y).sum(), x)
    assert_close(by_rule, given)


@pytest.mark.parametrize("rule", ["median", "mean"])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.3e4])
def test_coinciding_rows_give_one_and_no_gradient(rule: str, value: float) -> None:
    x = torch.full((7, 16), value, requires_grad=True)
    matrix = MultiGaussianKernel(rule)(x)
    assert (matrix == 1).all()
    (gradient,) = torch.autograd.grad(matrix.sum(), x)
    assert (gradient == 0).all()


def test_a_median_of_repeated_rows_gives_way_to_the_mean() -> None:
    x = features(10, 4, dtype=torch.float32) * 3
    x[:9] = x[0]  # 36 of 45 pairs coincide
    assert_close(GaussianKernel("median")(x), GaussianKernel("mean")(x), rtol=0, atol=0)
    squared = torch.tensor([1e-8, 1e-8, 1e-8, 1.0])  # or nearly, by rounding
    assert GaussianKernel("median").choose_bandwidth(squared) == squared.mean()
    squared[:3] = 1e-2
    assert GaussianKernel("median").choose_bandwidth(squared) == squared[0]


def test_one_row_is_one() -> None:
    assert GaussianKernel("median")(torch.ones(1, 3)) == 1


def test_rules_make_the_kernel_independent_of_scale_and_place() -> None:
    x, y = features(6, 3), features(5, 3, seed=1)
    for rule in ("median", "mean"):
        kernel = MultiGaussianKernel(rule)
        assert_close(kernel(x, y), kernel(100 * x - 7, 100 * y - 7), rtol=1e-9, atol=0)


def test_a_common_offset_costs_no_accuracy_in_float32() -> None:
    x, y = (features(6, 3, seed) * 0.125 + 1000 for seed in (0, 1))
    x, y = x.float(), y.float()
    for kernel in (GaussianKernel("median"), GaussianKernel(0.5)):
        assert_close(kernel(x, y).double(), kernel(x.double(), y.double()), rtol=1e-4, atol=0)


def test_given_bandwidth_changes_the_kernel() -> None:
    x = features(6, 3)
    assert not torch.allclose(MultiGaussianKernel(1.0)(x), MultiGaussianKernel(1.1)(x))


@pytest.mark.parametrize("kernel", [GaussianKernel(1.5), MultiGaussianKernel(1.5), MultiGaussianKernel(2, factor=3)])
def test_gradients_of_both_orders(kernel: DistanceKernel) -> None:
    x, y = features(3, 2).requires_grad_(), features(2, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel, (x, y))
    assert torch.autograd.gradgradcheck(kernel, (x, y))
    assert torch.autograd.gradcheck(kernel, (x,))
    assert torch.autograd.gradgradcheck(kernel, (x,))


def test_half_precision_is_computed_in_float32() -> None:
    x, y = features(6, 8, dtype=torch.float32), features(5, 8, seed=1, dtype=torch.float32)
    kernel = MultiGaussianKernel()
    expected = kernel(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(kernel(x, y), expected, rtol=0, atol=0)
    assert kernel(x.bfloat16(), y.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: GaussianKernel(0.0), ValueError, r"positive finite bandwidth.*got 0.0"),
        (lambda: GaussianKernel(float("inf")), ValueError, "positive finite bandwidth"),
        (lambda: GaussianKernel("medain"), ValueError, "did you mean 'median'"),
        (lambda: GaussianKernel(None), TypeError, "bandwidth as a number, 'median' or 'mean'; got NoneType"),
        (lambda: GaussianKernel(True), TypeError, "got bool"),
        (lambda: MultiGaussianKernel(-1.0), ValueError, "MultiGaussianKernel needs a positive"),
        (lambda: MultiGaussianKernel(kernels=0), ValueError, "at least 1 kernel"),
        (lambda: MultiGaussianKernel(kernels=2.0), TypeError, "kernels as an integer; got float"),
        (lambda: MultiGaussianKernel(factor="2"), TypeError, "factor as a number; got str"),
        (lambda: MultiGaussianKernel(factor=1.0), ValueError, "factor > 1 .* got 1.0"),
        (lambda: GaussianKernel()(torch.ones(3, 2), torch.ones(3, 4)), ValueError, "GaussianKernel compares features"),
        (lambda: GaussianKernel()(torch.ones(3, 2).long()), TypeError, "floating-point"),
        (lambda: GaussianKernel()(torch.ones(0, 2)), ValueError, "empty"),
        (lambda: GaussianKernel()(torch.full((3, 2), torch.nan)), ValueError, "the first is row 0"),
    ],
)
def test_wrong_input_meets_a_sentence(make, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        make()
