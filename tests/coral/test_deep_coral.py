import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import landbridge.coral
from landbridge.coral import DeepCORAL, coral_distance
from landbridge.coral.deep_coral import _by_covariance, _by_gram
from landbridge.shared.method import Sizes, Source, Target

SHAPES = [(5, 7, 3), (6, 3, 4), (4, 3, 12), (2, 5, 8)]  # n_s, n_t, d; the last two take the Gram form
END = torch.tensor(1.0, dtype=torch.float64)


def features(n: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * (1 + seed) + torch.arange(d)


def slow_covariance(rows: list[list[float]]) -> list[list[float]]:
    """Equation 2, entry by entry: (D'D - (1'D)'(1'D) / n) / (n - 1)."""
    n, d = len(rows), len(rows[0])
    sums = [sum(row[a] for row in rows) for a in range(d)]
    return [
        [(sum(row[a] * row[b] for row in rows) - sums[a] * sums[b] / n) / (n - 1) for b in range(d)] for a in range(d)
    ]


def slow_coral_distance(source: Tensor, target: Tensor) -> float:
    d = source.shape[1]
    c_s, c_t = slow_covariance(source.tolist()), slow_covariance(target.tolist())
    return sum((c_s[a][b] - c_t[a][b]) ** 2 for a in range(d) for b in range(d)) / (4 * d**2)


@pytest.mark.parametrize(("n_s", "n_t", "d"), SHAPES)
def test_coral_distance_is_its_formula(n_s: int, n_t: int, d: int) -> None:
    source, target = features(n_s, d), features(n_t, d, seed=1)
    expected = torch.tensor(slow_coral_distance(source, target), dtype=torch.float64)
    assert_close(coral_distance(source, target), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("n_s", "n_t", "d"), SHAPES)
def test_both_forms_agree_in_value_and_gradient(n_s: int, n_t: int, d: int) -> None:
    source, target = features(n_s, d), features(n_t, d, seed=1)
    centred = torch.cat([source - source.mean(0), target - target.mean(0)]).requires_grad_()
    weights = torch.tensor([1 / (n_s - 1)] * n_s + [-1 / (n_t - 1)] * n_t, dtype=torch.float64)
    values = [form(centred, weights) for form in (_by_gram, _by_covariance)]
    gradients = [torch.autograd.grad(value, centred)[0] for value in values]
    assert_close(values[0], values[1], rtol=1e-10, atol=0)
    assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("n_s", "n_t", "d"), SHAPES)
def test_gradients_are_those_of_equations_4_and_5(n_s: int, n_t: int, d: int) -> None:
    source, target = features(n_s, d).requires_grad_(), features(n_t, d, seed=1).requires_grad_()
    by_source, by_target = torch.autograd.grad(coral_distance(source, target), (source, target))
    difference = torch.cov(source.detach().T) - torch.cov(target.detach().T)
    assert_close(by_source, (source - source.mean(0)).detach() @ difference / (d**2 * (n_s - 1)))
    assert_close(by_target, -(target - target.mean(0)).detach() @ difference / (d**2 * (n_t - 1)))


@pytest.mark.parametrize(("n", "d"), [(2, 400_000), (200_000, 2)])
def test_the_larger_matrix_is_never_formed(n: int, d: int) -> None:
    source = torch.ones(n, d)
    assert coral_distance(source, source) == 0  # the other form needs 600 GB


@pytest.mark.parametrize("d", [2, 9])
def test_gradients_of_both_orders(d: int) -> None:
    source, target = features(4, d).requires_grad_(), features(3, d, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(coral_distance, (source, target))
    assert torch.autograd.gradgradcheck(coral_distance, (source, target))


@pytest.mark.parametrize("d", [3, 20])
def test_laws(d: int) -> None:
    source, target = features(5, d), features(7, d, seed=1)
    value = coral_distance(source, target)
    rotation, _ = torch.linalg.qr(features(d, d, seed=2))
    assert_close(coral_distance(source.flip(0), target.roll(2, 0)), value)
    assert_close(coral_distance(target, source), value)
    assert_close(coral_distance(source + 3, target - 5), value)  # blind to either mean
    assert_close(coral_distance(source @ rotation, target @ rotation), value)
    assert_close(coral_distance(3 * source, 3 * target), 81 * value)
    assert_close(coral_distance(source, source.flip(0)), torch.zeros_like(value))


@pytest.mark.parametrize(("n", "d"), [(32, 256), (32, 16)])
def test_float32_keeps_the_accuracy_that_is_promised(n: int, d: int) -> None:
    source, target = features(n, d), features(n, d)[torch.randperm(n)] + 1e-2 * features(n, d, seed=1)
    norms = sum(torch.cov(x.T).square().sum() for x in (source, target)) / (4 * d**2)
    exact = coral_distance(source, target)
    assert 1e-5 < exact / norms < 1e-3  # nearly equal covariances
    assert abs(coral_distance(source.float(), target.float()) - exact) < 1e-6 * norms


@pytest.mark.parametrize("seed", range(8))
def test_never_negative_by_rounding(seed: int) -> None:
    source = features(32, 256, seed).float()
    order = torch.randperm(32, generator=torch.Generator().manual_seed(seed))
    assert 0 <= coral_distance(source, source[order]) < 1e-6 * torch.cov(source.T).square().sum() / (4 * 256**2)


@pytest.mark.parametrize("d", [8, 64])
def test_half_precision_is_computed_in_float32(d: int) -> None:
    source, target = features(16, d).float(), features(12, d, seed=1).float()
    expected = coral_distance(source, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(coral_distance(source, target), expected, rtol=0, atol=0)
    assert coral_distance(source.bfloat16(), target.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("d", [3, 20])
def test_one_graph_for_the_compiler(d: int) -> None:
    source, target = features(5, d), features(7, d, seed=1)
    compiled = torch.compile(coral_distance, backend="eager", fullgraph=True)
    assert_close(compiled(source, target), coral_distance(source, target))


ONES = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("source", "target", "error", "sentence"),
    [
        (ONES[:1], ONES, ValueError, "coral_distance needs at least 2 samples of each domain; got 1 in source"),
        (ONES, ONES[:1], ValueError, "1 in target"),
        (ONES, ONES[:0], ValueError, "coral_distance got an empty target"),
        (ONES, ONES[:, :1], ValueError, "coral_distance compares features of one size"),
        (ONES.int(), ONES, TypeError, "coral_distance needs floating-point source"),
        (ONES, ONES.double(), ValueError, "in one dtype"),
        (ONES, ONES * torch.nan, ValueError, "coral_distance got NaN or inf in target: 3 of 3 rows"),
    ],
)
def test_wrong_input_meets_a_sentence(source: Tensor, target: Tensor, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        coral_distance(source, target)


def batch() -> tuple[Source, Target]:
    return Source(features(5, 4), features(5, 3, seed=1)), Target(features(6, 4, seed=2), features(6, 3, seed=3))


def test_deep_coral_weighs_the_layer_it_is_told() -> None:
    source, target = batch()
    of_features = coral_distance(source.features, target.features)
    of_logits = coral_distance(source.logits, target.logits)
    assert_close(DeepCORAL().losses(source, target, END), {"features": of_features})
    assert_close(DeepCORAL(weight=3.0)(source, target), 3 * of_features)
    assert_close(DeepCORAL(layer="logits").losses(source, target, END), {"logits": of_logits})
    assert DeepCORAL(schedule="ramp")(source, target, 0.1) < 0.5 * of_features


def test_deep_coral_needs_what_its_layer_needs() -> None:
    source, target = batch()
    bare = target._replace(logits=None)
    assert DeepCORAL()(source, bare) > 0
    with pytest.raises(ValueError, match="DeepCORAL needs target logits"):
        DeepCORAL(layer="logits")(source, bare)
    assert DeepCORAL.needs == {"source"}  # the class is as it was
    with pytest.raises(ValueError, match="DeepCORAL needs at least 2 samples of each domain; got 1 in target"):
        DeepCORAL()(source, Target(target.features[:1]))


def test_wrong_settings_meet_a_sentence() -> None:
    with pytest.raises(ValueError, match="DeepCORAL: unknown layer 'feature'; did you mean 'features'"):
        DeepCORAL(layer="feature")
    with pytest.raises(ValueError, match="DeepCORAL needs a finite weight"):
        DeepCORAL(weight=float("nan"))
    with pytest.raises(ValueError, match="did you mean 'layer'"):
        DeepCORAL.create(Sizes(4, 3), layers="logits")


def test_the_deep_part_does_not_bring_scikit_learn() -> None:
    code = "import sys, landbridge.coral; print(sorted({'sklearn', 'ot', 'torchvision'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert "CORAL" in dir(landbridge.coral)
