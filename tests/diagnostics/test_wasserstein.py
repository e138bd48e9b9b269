"""Transport distances against POT, sorting, closed forms of Gaussians, and resamples solved one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from landbridge.diagnostics import frechet_distance, sinkhorn_divergence, sliced_wasserstein, wasserstein
from landbridge.diagnostics.bootstrap import resampled_counts
from landbridge.shared.seeds import generator


def rows(n: int, d: int = 3, *, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=numbers, dtype=torch.float64) + shift


def slow_line(x: list[float], y: list[float], p: float) -> float:
    """W_p^p on a line, by moving mass from the left."""
    x, y, total, i, j = sorted(x), sorted(y), 0.0, 0, 0
    left_x, left_y = 1 / len(x), 1 / len(y)
    while i < len(x) and j < len(y):
        mass = min(left_x, left_y)
        total += mass * abs(x[i] - y[j]) ** p
        left_x, left_y = left_x - mass, left_y - mass
        if left_x < 1e-12:
            i, left_x = i + 1, 1 / len(x)
        if left_y < 1e-12:
            j, left_y = j + 1, 1 / len(y)
    return total


@pytest.mark.parametrize(("n_s", "n_t"), [(8, 8), (8, 6), (5, 7), (2, 9)])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_sliced_wasserstein_moves_mass_along_each_line(n_s: int, n_t: int, p: float) -> None:
    x, y = rows(n_s), rows(n_t, shift=0.5, seed=1)
    lines = torch.randn(7, 3, generator=generator("sliced_wasserstein", 4), dtype=torch.float64)
    total = 0.0
    for line in lines:
        unit = line / line.norm()
        total += slow_line((x @ unit).tolist(), (y @ unit).tolist(), p) / 7
    found = sliced_wasserstein(x, y, projections=7, p=p, bootstrap=0, seed=4)
    assert found.value == pytest.approx(total ** (1 / p), rel=1e-10)


def test_sliced_wasserstein_is_pots() -> None:
    x, y = rows(30), rows(20, shift=1.0, seed=1)
    lines = torch.randn(50, 3, generator=generator("sliced_wasserstein", 0), dtype=torch.float64)
    lines = lines / lines.norm(dim=1, keepdim=True)
    theirs = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=lines.T.numpy(), p=2)
    assert sliced_wasserstein(x, y, projections=50, bootstrap=0).value == pytest.approx(theirs, rel=1e-9)


def test_one_feature_is_one_line() -> None:
    from scipy.stats import wasserstein_distance

    x, y = rows(30, 1), rows(20, 1, shift=1.0, seed=1)
    theirs = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y, p=1, bootstrap=0).value == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize(("n_s", "n_t"), [(9, 9), (9, 7)])
def test_resamples_of_sliced_wasserstein_are_those_computed_anew(
    n_s: int, n_t: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rows(n_s), rows(n_t, shift=0.5, seed=1)
    seen: list[Any] = []
    whole = wasserstein.as_distance
    monkeypatch.setattr(wasserstein, "as_distance", lambda *a, **k: seen.append(a[2]) or whole(*a, **k))
    sliced_wasserstein(x, y, projections=5, bootstrap=20, seed=2)
    a = resampled_counts(n_s, 20, "sliced_wasserstein", 2, "source")
    b = resampled_counts(n_t, 20, "sliced_wasserstein", 2, "target")
    for draw in range(20):
        again = sliced_wasserstein(
            x.repeat_interleave(a[draw], 0), y.repeat_interleave(b[draw], 0), projections=5, bootstrap=0, seed=2
        )
        assert float(seen[0][draw]) == pytest.approx(again.value**2, rel=1e-9)


def slow_entropic(x: Tensor, y: Tensor, epsilon: float) -> float:
    """min <plan, cost> + epsilon KL(plan | product) by plain scalings in the log domain."""
    cost = torch.cdist(x, y).square()
    n, m = cost.shape
    f, g = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    for _ in range(800):
        f = -epsilon * (((g - cost) / epsilon).logsumexp(1) - math.log(m))
        g = -epsilon * (((f[:, None] - cost) / epsilon).logsumexp(0) - math.log(n))
    plan = ((f[:, None] + g - cost) / epsilon).exp() / (n * m)
    return float((plan * cost).sum() + epsilon * (plan * (plan * n * m).log()).sum())


def spread(x: Tensor, y: Tensor) -> float:
    """The mean squared distance within the domains."""
    means = [torch.pdist(z).square().mean() for z in (x, y)]
    return float(means[0] + means[1]) / 2


@pytest.mark.parametrize("regularisation", [0.2, 1.0])
def test_the_sinkhorn_divergence_is_that_of_plain_scalings(regularisation: float) -> None:
    x, y = rows(15), rows(11, shift=1.0, scale=1.5, seed=1)
    epsilon = regularisation * spread(x, y)
    slow = slow_entropic(x, y, epsilon) - (slow_entropic(x, x, epsilon) + slow_entropic(y, y, epsilon)) / 2
    found = sinkhorn_divergence(x, y, regularisation=regularisation, bootstrap=0)
    assert found.value == pytest.approx(slow, rel=1e-6)
    assert found.note == ""


def test_the_sinkhorn_divergence_of_gaussians_has_a_closed_form() -> None:
    def entropic(a: float, b: float, epsilon: float) -> float:  # variances in one dimension, equal means; Janati et al.
        s = epsilon / 2
        root = math.sqrt(4 * a * b + s * s)
        return a + b - root + s * (1 - math.log(2 * s)) + s * math.log(root + s)

    x, y = rows(1000, 2), rows(1000, 2, shift=0.7, scale=2.0, seed=1)
    epsilon = (2 * 2 * 1 + 2 * 2 * 4) / 2
    each = entropic(1, 4, epsilon) - (entropic(1, 1, epsilon) + entropic(4, 4, epsilon)) / 2
    found = sinkhorn_divergence(x, y, bootstrap=40)
    assert found.low < 2 * (0.49 + each) < found.high
    assert found.value == pytest.approx(2 * (0.49 + each), rel=0.1)


def test_the_sinkhorn_divergence_is_exactly_zero_on_identical_samples() -> None:
    x = rows(200, 5).float()
    for regularisation in (0.05, 1.0):
        assert sinkhorn_divergence(x, x.clone(), regularisation=regularisation, bootstrap=0).value == 0
    assert sinkhorn_divergence(x, x, bootstrap=20).low == 0
    assert sinkhorn_divergence(x, x[torch.randperm(200, generator=generator("o"))], bootstrap=0).value < 1e-9
    assert sinkhorn_divergence(x, x + 1e-3, bootstrap=0).value == pytest.approx(5e-6, rel=1e-3)


def test_a_translation_is_its_square_at_any_regularisation() -> None:
    x = rows(40)
    for regularisation in (0.1, 1.0, 100.0):
        found = sinkhorn_divergence(x, x + 50.0, regularisation=regularisation, bootstrap=0)
        assert found.value == pytest.approx(3 * 50**2, rel=1e-6)


def test_little_regularisation_is_transport_and_much_is_the_distance_of_means() -> None:
    x, y = rows(30), rows(30, shift=1.0, scale=1.5, seed=1)
    exact = ot.emd2(np.full(30, 1 / 30), np.full(30, 1 / 30), torch.cdist(x, y).square().numpy())
    assert sinkhorn_divergence(x, y, regularisation=0.003, bootstrap=0).value == pytest.approx(exact, rel=0.05)
    means = float((x.mean(0) - y.mean(0)).square().sum())
    assert sinkhorn_divergence(x, y, regularisation=1e4, bootstrap=0).value == pytest.approx(means, rel=1e-3)


def test_resamples_of_the_sinkhorn_divergence_are_those_solved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(12), rows(9, shift=1.0, scale=1.5, seed=1)
    seen: list[Any] = []
    whole = wasserstein.as_distance
    monkeypatch.setattr(wasserstein, "as_distance", lambda *a, **k: seen.append(a[2]) or whole(*a, **k))
    sinkhorn_divergence(x, y, bootstrap=20, seed=2)
    epsilon = spread(x, y)  # that of the whole sample
    a = resampled_counts(12, 20, "sinkhorn_divergence", 2, "source")
    b = resampled_counts(9, 20, "sinkhorn_divergence", 2, "target")
    for draw in range(3):
        p, q = x.repeat_interleave(a[draw], 0), y.repeat_interleave(b[draw], 0)
        slow = slow_entropic(p, q, epsilon) - (slow_entropic(p, p, epsilon) + slow_entropic(q, q, epsilon)) / 2
        assert float(seen[0][draw]) == pytest.approx(slow, rel=1e-5)


def test_far_rows_do_not_underflow_and_too_few_steps_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(50), rows(40, seed=1)
    x[0] = 1e4  # an outlier: costs from 1 to 1e8
    found = sinkhorn_divergence(x, y, bootstrap=20)
    assert math.isfinite(found.value)
    assert math.isfinite(found.high)
    sharp = sinkhorn_divergence(x, y, regularisation=0.001, bootstrap=0).value  # that row's kernel alone would be 0
    exact = ot.emd2(np.full(50, 1 / 50), np.full(40, 1 / 40), torch.cdist(x, y).square().numpy())
    assert sharp == pytest.approx(exact, rel=0.01)
    monkeypatch.setattr(wasserstein, "SINKHORN_STEPS", 2)
    assert "did not converge" in sinkhorn_divergence(rows(50), rows(40, scale=3.0), bootstrap=0).note


def slow_frechet(x: Tensor, y: Tensor) -> float:
    from scipy.linalg import sqrtm

    c_s, c_t = np.atleast_2d(np.cov(x.T.numpy())), np.atleast_2d(np.cov(y.T.numpy()))
    root = np.real(sqrtm(c_s))
    between = np.real(sqrtm(root @ c_t @ root))
    return float((x.mean(0) - y.mean(0)).square().sum()) + float(np.trace(c_s + c_t - 2 * between))


@pytest.mark.parametrize(("n_s", "n_t", "d"), [(40, 30, 1), (40, 30, 4), (40, 5, 8)])
def test_the_frechet_distance_is_that_of_matrix_roots(n_s: int, n_t: int, d: int) -> None:
    x, y = rows(n_s, d), rows(n_t, d, shift=1.0, scale=2.0, seed=1)
    assert frechet_distance(x, y, bootstrap=0).value == pytest.approx(slow_frechet(x, y), rel=1e-6)


def test_the_frechet_distance_of_diagonal_covariances() -> None:
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    y = x * torch.tensor([3.0, 5.0]) + torch.tensor([1.0, 2.0])
    assert frechet_distance(x, y, bootstrap=0).value == pytest.approx(1 + 4 + 4 / 3 * (2**2 + 4**2), rel=1e-9)


def test_the_frechet_distance_of_identical_samples_is_zero_up_to_rounding() -> None:
    for n, d in ((50, 5), (5, 50)):
        x = rows(n, d)
        assert frechet_distance(x, x, bootstrap=0).value == pytest.approx(0, abs=1e-11)


def test_few_rows_a_feature_are_said() -> None:
    assert "10 rows a feature" in frechet_distance(rows(39, 4), rows(60, 4), bootstrap=0).note
    assert frechet_distance(rows(40, 4), rows(60, 4), bootstrap=0).note == ""


def test_many_features_have_fewer_resamples_and_very_many_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    whole = wasserstein.as_distance
    monkeypatch.setattr(wasserstein, "as_distance", lambda *a, **k: seen.append(len(a[2])) or whole(*a, **k))
    for most in (20, 3):
        monkeypatch.setattr(wasserstein, "FRECHET_SLOW", 3)
        monkeypatch.setattr(wasserstein, "FRECHET_MOST", most)
        found = frechet_distance(rows(60, 4), rows(60, 4, shift=2.0, seed=1))
    assert seen == [20, 0]
    assert math.isnan(found.low)
    assert "no interval" in found.note
    monkeypatch.undo()
    exact = frechet_distance(rows(60, 4), rows(60, 4, shift=2.0, seed=1))
    assert exact.low < exact.value


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        (sliced_wasserstein, {"projections": 0}, "projections"),
        (sliced_wasserstein, {"p": 0.5}, "p >= 1"),
        (sliced_wasserstein, {"p": float("inf")}, "p >= 1"),
        (sinkhorn_divergence, {"regularisation": 0.0}, "regularisation"),
        (sinkhorn_divergence, {"regularisation": float("nan")}, "regularisation"),
    ],
)
def test_settings_out_of_range_are_said(function: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        function(np.eye(4), np.eye(4), **settings)


def test_resamples_without_near_columns_keep_their_number() -> None:
    x, y = rows(60), rows(50, scale=3.0)
    found = sinkhorn_divergence(x, y, regularisation=0.01)
    assert "of 200 resamples did not converge in 200 steps" in found.note
    assert "left out" not in found.note
    assert np.isfinite([found.low, found.high]).all()
    density = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    u, v, _ = wasserstein._scalings(density, weights, weights, 5, 1e-4)
    assert bool(u.isfinite().all() and v.isfinite().all())


@pytest.mark.parametrize("distance", [sinkhorn_divergence, frechet_distance, sliced_wasserstein])
def test_an_overflow_meets_a_sentence(distance) -> None:
    with pytest.raises(ValueError, match="overflows: the rows lie too far apart"):
        distance(1e160 * rows(20), 1e160 * rows(20, scale=2.0))
