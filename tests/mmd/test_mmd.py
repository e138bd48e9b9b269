import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from landbridge.mmd import GaussianKernel, MultiGaussianKernel, mean_distance, mmd2

ESTIMATORS = ["biased", "unbiased", "linear"]
BANDWIDTH = 1.9


def features(n: int, d: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def k(a: Tensor, b: Tensor, bandwidth: float = BANDWIDTH) -> float:
    return math.exp(-sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)) / bandwidth)


def slow_mmd2(x: Tensor, y: Tensor, estimator: str, bandwidth: float = BANDWIDTH) -> float:
    n, m = len(x), len(y)
    if estimator == "linear":
        pairs = min(n, m) // 2
        total = 0.0
        for i in range(1, pairs + 1):  # numbered from 1, as in lemma 14
            x1, x2, y1, y2 = x[2 * i - 2], x[2 * i - 1], y[2 * i - 2], y[2 * i - 1]
            total += k(x1, x2, bandwidth) + k(y1, y2, bandwidth) - k(x1, y2, bandwidth) - k(x2, y1, bandwidth)
        return total / pairs
    own = estimator == "biased"
    within_x = sum(k(x[i], x[j], bandwidth) for i in range(n) for j in range(n) if own or i != j)
    within_y = sum(k(y[i], y[j], bandwidth) for i in range(m) for j in range(m) if own or i != j)
    across = sum(k(a, b, bandwidth) for a in x for b in y)
    within_x /= n * n if own else n * (n - 1)
    within_y /= m * m if own else m * (m - 1)
    return within_x + within_y - 2 * across / (n * m)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 3), (2, 7)])
def test_mmd2_is_its_formula(estimator: str, n: int, m: int) -> None:
    x, y = features(n, 3), features(m, 3, seed=1, shift=0.5)
    expected = torch.tensor(slow_mmd2(x, y, estimator), dtype=torch.float64)
    assert_close(mmd2(x, y, GaussianKernel(BANDWIDTH), estimator), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_several_kernels_are_the_mean_of_their_mmds(estimator: str) -> None:
    x, y = features(6, 3), features(5, 3, seed=1, shift=0.5)
    expected = sum(slow_mmd2(x, y, estimator, BANDWIDTH * 2.0**u) for u in (-2, -1, 0, 1, 2)) / 5
    value = mmd2(x, y, MultiGaussianKernel(BANDWIDTH), estimator)
    assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_which_pairs_the_mean_rule_sees(estimator: str) -> None:
    x, y = features(5, 3), features(7, 3, seed=1, shift=0.5)
    rows = [*x, *y]
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    if estimator == "linear":
        x, y = x[:4], y[:4]
        pairs = [p for i in (0, 2) for p in ((x[i], x[i + 1]), (y[i], y[i + 1]), (x[i], y[i + 1]), (x[i + 1], y[i]))]
    bandwidth = sum(float((a - b).square().sum()) for a, b in pairs) / len(pairs)
    expected = torch.tensor(slow_mmd2(x, y, estimator, bandwidth), dtype=torch.float64)
    assert_close(mmd2(x, y, GaussianKernel("mean"), estimator), expected, rtol=1e-10, atol=0)


def test_biased_is_the_default_and_zero_on_equal_batches_where_unbiased_is_negative() -> None:
    x, y = features(6, 3), features(4, 3, seed=1)
    kernel = MultiGaussianKernel()
    assert_close(mmd2(x, y, kernel), mmd2(x, y, kernel, "biased"), rtol=0, atol=0)
    assert mmd2(x, y, kernel) > mmd2(x, y, kernel, "unbiased")
    assert abs(mmd2(x, x.clone(), kernel)) < 1e-15
    assert mmd2(x, x.clone(), kernel, "unbiased") < 0  # nothing is added to make it look positive


def test_unbiased_averages_to_zero_where_biased_does_not() -> None:
    kernel = GaussianKernel(BANDWIDTH)
    drawn = [(features(4, 2, seed=2 * i), features(4, 2, seed=2 * i + 1)) for i in range(300)]
    for estimator in ("unbiased", "linear"):
        values = torch.stack([mmd2(x, y, kernel, estimator) for x, y in drawn])
        assert abs(values.mean()) < 3 * values.std() / len(drawn) ** 0.5
    assert min(mmd2(x, y, kernel) for x, y in drawn) > 0


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_order_of_rows_place_and_rotation_change_nothing(estimator: str) -> None:
    x, y = features(6, 3), features(5, 3, seed=1, shift=0.5)
    kernel = MultiGaussianKernel(BANDWIDTH)
    value = mmd2(x, y, kernel, estimator)
    rotation, _ = torch.linalg.qr(features(3, 3, seed=2))
    for moved in ((x.flip(0), y.roll(2, 0)), (x + 3, y + 3), (x @ rotation, y @ rotation), (y, x)):
        assert_close(mmd2(*moved, kernel, estimator), value, rtol=1e-10, atol=1e-14)


def test_linear_reads_rows_in_order_and_leaves_the_rest() -> None:
    x, y = features(5, 3), features(8, 3, seed=1)
    kernel = GaussianKernel("median")
    assert_close(mmd2(x, y, kernel, "linear"), mmd2(x[:4], y[:4], kernel, "linear"), rtol=0, atol=0)
    assert not torch.allclose(mmd2(x[:4], y[:4], kernel, "linear"), mmd2(x[1:], y[:4], kernel, "linear"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_of_both_orders(estimator: str) -> None:
    x, y = features(4, 2).requires_grad_(), features(3, 2, seed=1).requires_grad_()
    kernel = MultiGaussianKernel(BANDWIDTH)
    assert torch.autograd.gradcheck(lambda a, b: mmd2(a, b, kernel, estimator), (x, y))
    assert torch.autograd.gradgradcheck(lambda a, b: mmd2(a, b, kernel, estimator), (x, y))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rule", ["median", "mean"])
def test_collapsed_features_give_zero_and_no_gradient(estimator: str, rule: str) -> None:
    x, y = (torch.full((n, 16), 0.1, requires_grad=True) for n in (7, 9))
    value = mmd2(x, y, MultiGaussianKernel(rule), estimator)
    gradients = torch.autograd.grad(value, (x, y))
    assert abs(value) < 1e-6
    assert all((g == 0).all() for g in gradients)


def test_one_sample_of_each_is_legal_for_biased() -> None:
    x, y = features(1, 3), features(1, 3, seed=1)
    expected = torch.tensor(2 - 2 * k(x[0], y[0]), dtype=torch.float64)
    assert_close(mmd2(x, y, GaussianKernel(BANDWIDTH)), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_half_precision_is_computed_in_float32(estimator: str) -> None:
    x, y = features(6, 32).float(), features(8, 32, seed=1).float()
    kernel = MultiGaussianKernel()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(mmd2(x, y, kernel, estimator), mmd2(x, y, kernel, estimator))
        inside = mmd2(x, y, kernel, estimator)
    assert_close(inside, mmd2(x, y, kernel, estimator), rtol=0, atol=0)
    assert mmd2(x.half(), y.half(), kernel, estimator).dtype == torch.float32


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_graph_for_the_compiler(estimator: str) -> None:
    x, y = features(6, 3), features(4, 3, seed=1)
    kernel = MultiGaussianKernel()
    compiled = torch.compile(mmd2, backend="eager", fullgraph=True)
    assert_close(compiled(x, y, kernel, estimator), mmd2(x, y, kernel, estimator))


def test_mean_distance_is_its_formula() -> None:
    x, y = features(5, 3), features(7, 3, seed=1, shift=0.5)
    expected = 0.0
    for c in range(3):
        expected += (sum(x[:, c].tolist()) / 5 - sum(y[:, c].tolist()) / 7) ** 2
    assert_close(mean_distance(x, y), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)
    assert_close(mean_distance(3 * x, 3 * y), 9 * mean_distance(x, y))
    assert mean_distance(x, x.clone()) == 0
    assert torch.autograd.gradcheck(mean_distance, (x.requires_grad_(), y.requires_grad_()))
    assert mean_distance(x.bfloat16(), y.bfloat16()).dtype == torch.float32


ONES = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: mmd2(ONES, ONES, GaussianKernel(), "unbaised"), ValueError, "mmd2: unknown.*did you mean 'unbiased'"),
        (lambda: mmd2(ONES, ONES, "gaussian"), TypeError, r"mmd2 needs a kernel object.*got str.*GaussianKernel\(\)"),
        (lambda: mmd2(ONES, ONES, GaussianKernel), TypeError, "got GaussianKernel"),
        (lambda: mmd2(ONES[:1], ONES, GaussianKernel(), "unbiased"), ValueError, "at least 2 samples.*1 in source"),
        (lambda: mmd2(ONES, ONES[:1], GaussianKernel(), "linear"), ValueError, "at least 2 samples.*1 in target"),
        (lambda: mmd2(ONES, ONES[:, :1], GaussianKernel()), ValueError, "mmd2 compares features of one size"),
        (lambda: mmd2(ONES, ONES[:0], GaussianKernel()), ValueError, "mmd2 got an empty target"),
        (lambda: mmd2(ONES.int(), ONES, GaussianKernel()), TypeError, "mmd2 needs floating-point source"),
        (lambda: mmd2(ONES, ONES * torch.inf, GaussianKernel()), ValueError, "NaN or inf in target.*row 0"),
        (lambda: mean_distance(ONES, ONES[:, :1]), ValueError, "mean_distance compares features of one size"),
        (lambda: mean_distance(ONES * torch.nan, ONES), ValueError, "mean_distance got NaN or inf in source"),
    ],
)
def test_wrong_input_meets_a_sentence(call, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        call()
