"""JAN against its paper: the joint kernel, its three estimates, and what tells it from DAN."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from landbridge.mmd import JAN, GaussianKernel, MultiGaussianKernel, joint_mmd2, mmd2
from landbridge.shared.method import Sizes, Source, Target

END = torch.tensor(1.0, dtype=torch.float64)
ESTIMATORS = ("biased", "unbiased", "linear")
Rows = list[list[float]]
Sample = tuple[list[float], list[float]]  # features, probabilities


def batch(n_s: int = 6, n_t: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Source, Target]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return Source(draw(n_s, 5), draw(n_s, 3)), Target(draw(n_t, 5) + 1, draw(n_t, 3) - 1)


# ---- slow transcription, by Python's numbers


def slow_softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def squared(p: list[float], q: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def samples(domain: Source | Target) -> list[Sample]:
    return [(f, slow_softmax(z)) for f, z in zip(domain.features.tolist(), domain.logits.tolist(), strict=True)]


def slow_jan(source: Source, target: Target, *, estimator: str, bandwidths: list[float], other: float) -> float:
    x, y = samples(source), samples(target)

    def k(a: Sample, b: Sample) -> float:
        of_features = sum(math.exp(-squared(a[0], b[0]) / gamma) for gamma in bandwidths) / len(bandwidths)
        return of_features * math.exp(-squared(a[1], b[1]) / other)

    n_s, n_t = len(x), len(y)
    if estimator == "linear":
        total, m = 0.0, min(n_s, n_t) // 2
        for i in range(m):
            total += k(x[2 * i], x[2 * i + 1]) + k(y[2 * i], y[2 * i + 1])
            total -= k(x[2 * i], y[2 * i + 1]) + k(y[2 * i], x[2 * i + 1])
        return total / m
    same = estimator == "biased"
    within_x = sum(k(x[i], x[j]) for i in range(n_s) for j in range(n_s) if same or i != j)
    within_y = sum(k(y[i], y[j]) for i in range(n_t) for j in range(n_t) if same or i != j)
    across = sum(k(a, b) for a in x for b in y)
    pairs_x, pairs_y = (n_s**2, n_t**2) if same else (n_s * (n_s - 1), n_t * (n_t - 1))
    return within_x / pairs_x + within_y / pairs_y - 2 * across / (n_s * n_t)


def median_ladder(source: Source, target: Target) -> list[float]:
    pool = [*source.features.tolist(), *target.features.tolist()]
    median = statistics.median_low([squared(p, q) for i, p in enumerate(pool) for j, q in enumerate(pool) if i != j])
    return [median / 4, median / 2, median, 2 * median, 4 * median]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n_s", "n_t"), [(6, 5), (2, 7), (8, 2)])
def test_the_value_is_the_papers(estimator: str, n_s: int, n_t: int) -> None:
    source, target = batch(n_s, n_t)
    expected = slow_jan(source, target, estimator=estimator, bandwidths=[1.5, 3.0, 6.0], other=0.9)
    jan = JAN(weight=3.0, kernels=3, bandwidth=3.0, probability_bandwidth=0.9, estimator=estimator)
    found = jan.losses(source, target, END)["joint"] / (3 * math.tanh(5.0))
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_the_defaults_are_five_kernels_around_the_median_and_one_of_168(estimator: str) -> None:
    source, target = batch()
    ladder = median_ladder(source, target)
    expected = slow_jan(source, target, estimator=estimator, bandwidths=ladder, other=1.68)
    found = JAN(schedule="constant", estimator=estimator)(source, target)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-14)
    assert (JAN().schedule, JAN().weight, JAN().estimator) == ("ramp", 1.0, "biased")


# ---- laws


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_layer_is_mmd2(estimator: str) -> None:
    source, target = batch()
    kernel = MultiGaussianKernel()
    joint = joint_mmd2([source.features], [target.features], [kernel], estimator)
    assert_close(joint, mmd2(source.features, target.features, kernel, estimator), rtol=1e-12, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_gaussians_are_one_of_both_layers_side_by_side(estimator: str) -> None:
    """exp(-a/g) exp(-b/g) = exp(-(a+b)/g)."""
    source, target = batch()
    kernel = GaussianKernel(4.0)
    joint = joint_mmd2([source.features, source.logits], [target.features, target.logits], [kernel, kernel], estimator)
    x, y = torch.cat([source.features, source.logits], 1), torch.cat([target.features, target.logits], 1)
    assert_close(joint, mmd2(x, y, kernel, estimator), rtol=1e-10, atol=1e-14)


def test_it_sees_what_no_layer_shows_by_itself() -> None:
    features = torch.tensor([[0.0], [1.0]])
    classes = torch.eye(2)
    kernels = [GaussianKernel(1.0), GaussianKernel(1.0)]
    assert mmd2(features, features.flip(0), kernels[0]).abs() < 1e-6
    assert joint_mmd2([features, classes], [features.flip(0), classes], kernels) > 0.4
    assert joint_mmd2([features, classes], [features.flip(0), classes.flip(0)], kernels).abs() < 1e-6


def test_a_layer_that_is_constant_changes_nothing() -> None:
    source, target = batch()
    kernel = GaussianKernel()
    constant = [torch.ones(n, 2, dtype=torch.float64) for n in (6, 5)]
    joint = joint_mmd2([source.features, constant[0]], [target.features, constant[1]], [kernel, kernel])
    assert_close(joint, mmd2(source.features, target.features, kernel), rtol=1e-12, atol=0)


def test_gradients_reach_features_and_logits_of_both_domains_and_are_those_of_the_value() -> None:
    source, target = batch()
    kernels = [GaussianKernel(3.0), GaussianKernel(1.68)]
    layers = [t.requires_grad_() for t in (source.features, source.logits, target.features, target.logits)]
    for estimator in ESTIMATORS:
        assert torch.autograd.gradcheck(
            lambda a, b, c, d, estimator=estimator: joint_mmd2(
                [a, b.softmax(1)], [c, d.softmax(1)], kernels, estimator
            ),
            layers,
        )
        found = torch.autograd.grad(JAN(estimator=estimator)(source, target), layers)
        assert all(g.abs().sum() > 0 for g in found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    source, target = batch(dtype=dtype)
    with torch.autocast("cpu", dtype=dtype):
        inside = JAN(schedule="constant")(source, target)
        layers = joint_mmd2([source.features], [target.features], [GaussianKernel()])
    assert inside.dtype == layers.dtype == torch.float32
    wider = (v._replace(features=v.features.float(), logits=v.logits.float()) for v in (source, target))
    wide = JAN(schedule="constant")(*wider)
    assert_close(inside, wide, rtol=1e-6, atol=0)
    assert_close(layers, mmd2(source.features, target.features, GaussianKernel()), rtol=1e-6, atol=0)


def test_one_graph_for_the_compiler() -> None:
    source, target = batch()
    jan = JAN()
    compiled = torch.compile(jan, backend="eager", fullgraph=True)
    assert_close(compiled(source, target, END), jan(source, target, END))


def test_samples_that_a_batch_needs_follow_the_estimator() -> None:
    source, target = batch(n_s=1, n_t=1)
    assert JAN()(source, target).isfinite()
    for estimator in ("unbiased", "linear"):
        with pytest.raises(ValueError, match="JAN needs at least 2 samples of each domain; got 1 in source"):
            JAN(estimator=estimator)(source, target)
    assert JAN.least == 1  # the class is as it was


# ---- errors


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: JAN(estimator="quadratic"), ValueError, "JAN: unknown estimator 'quadratic'"),
        (lambda: JAN(bandwidth=-1.0), ValueError, "positive finite bandwidth"),
        (lambda: JAN(probability_bandwidth=0.0), ValueError, "GaussianKernel needs a positive finite bandwidth"),
        (lambda: JAN(kernels=0), ValueError, "at least 1 kernel"),
        (lambda: JAN(weight=-1.0), ValueError, "JAN needs a finite weight"),
        (lambda: JAN.create(Sizes(5, 3), kernel=5), ValueError, "did you mean 'kernels'"),
    ],
)
def test_wrong_settings_meet_a_sentence(make: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make()


def test_wrong_layers_meet_a_sentence() -> None:
    f, k = torch.zeros(3, 2), GaussianKernel()
    wrong: list[tuple[Any, type[Exception], str]] = [
        (([f], [f, f], [k]), ValueError, "got 1 source layers, 2 target layers and 1 kernels"),
        (([], [], []), ValueError, "got 0 source layers"),
        (([f], [f], []), ValueError, "1 target layers and 0 kernels"),
        (([f, f[:2]], [f, f], [k, k]), ValueError, r"all source layers of the same samples; got \(3, 2\), \(2, 2\)"),
        (([f, f], [f, f[:2]], [k, k]), ValueError, r"all target layers of the same samples; got \(3, 2\), \(2, 2\)"),
        (([f], [f], [GaussianKernel]), TypeError, "joint_mmd2 needs a kernel object .*; got GaussianKernel"),
        (([f], [f], [k], "quadratic"), ValueError, "joint_mmd2: unknown estimator 'quadratic'"),
        (([f], [f[:, :1]], [k]), ValueError, "joint_mmd2 compares features of one size"),
        (([f[:1]], [f], [k], "unbiased"), ValueError, "joint_mmd2 needs at least 2 samples"),
    ]
    for arguments, error, sentence in wrong:
        with pytest.raises(error, match=sentence):
            joint_mmd2(*arguments)


def test_both_logits_are_asked_for() -> None:
    source, target = batch()
    with pytest.raises(ValueError, match="JAN needs target logits"):
        JAN()(source, target._replace(logits=None))
    with pytest.raises(ValueError, match="JAN needs source logits"):
        JAN()(source._replace(logits=None), target)
