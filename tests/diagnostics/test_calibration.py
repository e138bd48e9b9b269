"""Calibration: every score against slow loops, the level of its test, and the temperature's own equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from landbridge.diagnostics import calibration, fit_temperature
from landbridge.diagnostics.calibration import log_probabilities


def classifier(n: int, k: int, seed: int, *, sharpened: float = 1.0) -> tuple[Any, Any]:
    """Logits, and labels drawn from their softmax: calibrated, unless sharpened afterwards."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, k)) * 2
    p = np.exp(log_probabilities(logits))
    labels = (random.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=k - 1)
    return logits * sharpened, labels


def test_scores_are_those_of_slow_loops() -> None:
    logits, labels = classifier(60, 4, 0, sharpened=1.5)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    brier = loss = 0.0
    for row, y in zip(logits, labels, strict=True):
        e = [math.exp(z) for z in row]
        p = [v / sum(e) for v in e]
        confidence, guess = max(p), p.index(max(p))
        place = next(b for b in range(10) if b / 10 < confidence <= (b + 1) / 10)
        bins[place].append((confidence, guess == y))
        brier += sum((q - (c == y)) ** 2 for c, q in enumerate(p)) / 60
        loss -= math.log(p[y]) / 60
    gaps = [abs(np.mean([r for _, r in b]) - np.mean([c for c, _ in b])) if b else 0.0 for b in bins]
    found = calibration(logits, labels, bins=10)
    assert found.error == pytest.approx(sum(len(b) / 60 * g for b, g in zip(bins, gaps, strict=True)), rel=1e-10)
    assert found.largest_error == pytest.approx(max(gaps), rel=1e-10)
    assert found.brier == pytest.approx(brier, rel=1e-10)
    assert found.log_loss == pytest.approx(loss, rel=1e-10)
    assert found.bin_counts.tolist() == [len(b) for b in bins]
    assert found.n == 60
    assert np.isnan(found.bin_accuracy[found.bin_counts == 0]).all()
    np.testing.assert_allclose(np.nansum(found.bin_accuracy * found.bin_counts) / 60, found.accuracy)
    np.testing.assert_allclose(np.nansum(found.bin_confidence * found.bin_counts) / 60, found.confidence)


def test_a_confidence_on_an_edge_falls_into_the_lower_bin() -> None:
    half = calibration([[0.0, 0.0]], [0], bins=2)
    assert half.bin_counts.tolist() == [1, 0]
    sure = calibration([[1000.0, 0.0]], [0], bins=2)
    assert sure.bin_counts.tolist() == [0, 1]
    assert sure.log_loss == sure.error == 0


def test_adaptive_bins_hold_equally_many_rows() -> None:
    logits, labels = classifier(103, 3, 1)
    found = calibration(logits, labels, bins=5, adaptive=True)
    assert found.bin_counts.tolist() == [20, 21, 20, 21, 21]
    tied = calibration([[0.0, 0.0]] * 7 + [[3.0, 0.0]] * 5, [0] * 12, bins=4, adaptive=True)
    assert sorted(c for c in tied.bin_counts.tolist() if c) == [5, 7]
    few = calibration(logits[:3], labels[:3], bins=15, adaptive=True)
    assert few.bin_counts.sum() == 3
    assert few.bin_counts.max() == 1


def test_one_bin_is_the_gap_of_confidence_and_accuracy() -> None:
    logits, labels = classifier(200, 3, 2, sharpened=3.0)
    found = calibration(logits, labels, bins=1)
    assert found.error == pytest.approx(found.confidence - found.accuracy)
    assert found.confidence > found.accuracy


def test_the_level_holds_for_a_calibrated_classifier_and_an_overconfident_one_is_found() -> None:
    runs = 100
    alarms = sum(calibration(*classifier(80, 3, s), draws=99, seed=s).p_value <= 0.05 for s in range(runs))
    assert alarms <= 12  # of 5 on average; P(more than 12 | 100, 0.05) = 0.0015
    over = calibration(*classifier(400, 3, 7, sharpened=2.5))
    assert over.p_value < 0.01
    assert over.error > 3 * over.error_if_calibrated
    exact = calibration(*classifier(400, 3, 7))
    assert exact.error < 3 * exact.error_if_calibrated
    assert calibration(*classifier(4000, 3, 7)).error_if_calibrated < 0.5 * exact.error_if_calibrated


def test_the_p_value_of_one_bin_is_that_of_a_binomial_test() -> None:
    from scipy.stats import binomtest

    found = calibration([[0.0, 0.0]] * 20, [0] * 15 + [1] * 5, bins=1, draws=5000)
    assert found.p_value == pytest.approx(binomtest(15, 20).pvalue, abs=0.009)  # 0.041


def test_what_a_calibrated_classifier_shows_is_the_mean_of_its_own_samples() -> None:
    errors = [calibration(*classifier(150, 2, s), bins=5, draws=1).error for s in range(150)]
    expected = np.mean([calibration(*classifier(150, 2, s), bins=5, draws=20).error_if_calibrated for s in range(20)])
    assert np.mean(errors) == pytest.approx(expected, rel=0.1)


def test_the_draws_follow_the_seed() -> None:
    problem = classifier(50, 3, 0)
    first, again, other = calibration(*problem), calibration(*problem), calibration(*problem, seed=1)
    assert first.error_if_calibrated == again.error_if_calibrated != other.error_if_calibrated
    assert first.error == other.error


def test_the_temperature_undoes_a_sharpening() -> None:
    logits, labels = classifier(3000, 4, 3)
    base = fit_temperature(logits, labels)
    assert base == pytest.approx(1.0, abs=0.1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * base, rel=1e-4)
    sharpened = calibration(3 * logits, labels)
    assert calibration(3 * logits / fit_temperature(3 * logits, labels), labels).error < sharpened.error / 3


def test_the_temperature_has_a_likelihood_without_a_slope() -> None:
    logits, labels = classifier(300, 3, 4, sharpened=2.0)
    inverse = torch.tensor(1 / fit_temperature(logits, labels), dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits) * inverse, torch.tensor(labels))
    loss.backward()
    assert inverse.grad is not None
    assert abs(float(inverse.grad)) < 1e-5


def test_the_temperature_stays_in_its_range() -> None:
    assert fit_temperature([[1.0, 0.2], [0.2, 1.0]], [0, 1]) == 0.05  # no error
    assert fit_temperature([[2.0, 0.0], [0.0, 2.0]], [1, 0]) == 20.0  # nothing but errors
    assert fit_temperature([[5000.0, 0.0]] * 2, [0, 1]) == 20.0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labels": [0, 5]}, ValueError, "from 0 to 1"),
        ({"labels": [0, 1, 1]}, ValueError, "labels"),
        ({"labels": ["a", "b"]}, TypeError, "whole class numbers"),
        ({"logits": [0.0, 1.0]}, ValueError, "shape"),
        ({"logits": [[0.0, np.inf], [0.0, 1.0]]}, ValueError, "row 0"),
        ({"bins": 0}, ValueError, "bin"),
        ({"draws": 0}, ValueError, "draw"),
    ],
)
def test_what_cannot_be_used_is_said(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        calibration(**{"logits": [[0.0, 1.0], [1.0, 0.0]], "labels": [0, 1], **change})


def test_the_plot_shows_every_bin_that_is_not_empty() -> None:
    found = calibration(*classifier(100, 3, 0))
    ax = found.plot()
    points = ax.collections[-1].get_offsets()
    used = found.bin_counts > 0
    np.testing.assert_allclose(points, np.stack([found.bin_confidence[used], found.bin_accuracy[used]], 1))
    assert "ECE" in ax.get_title()
    assert found.plot(ax) is ax


def test_probabilities_are_read_by_their_logarithm() -> None:
    """scikit-learn has predict_proba alone: a calibrated classifier had an error of 0.22 and p = 0.002."""
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.normal(size=(2000, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in p])
    plain, read, rounded = (calibration(given, labels) for given in (logits, p, p.astype(np.float16)))
    assert read.error == pytest.approx(plain.error, abs=1e-9)
    assert read.p_value > 0.05
    assert rounded.error == pytest.approx(plain.error, abs=2e-3)
    assert "taken as logits by their logarithm" in read.note
    assert plain.note == ""
    assert fit_temperature(p, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-4)


def test_certain_probabilities_have_a_logarithm() -> None:
    sure = calibration([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 0])
    assert (sure.error, sure.confidence, sure.log_loss) == (0.0, 1.0, 0.0)
    assert np.isfinite(calibration([[1.0, 0.0], [0.0, 1.0]], [1, 1]).log_loss)
