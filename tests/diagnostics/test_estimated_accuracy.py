"""Accuracy without labels: each way against slow loops, laws on the source's own rows, and where it is right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from landbridge.diagnostics import agreement, estimated_accuracy, fit_temperature
from landbridge.diagnostics.calibration import log_probabilities

WAYS = ["atc", "atc-confidence", "difference-of-confidences"]


def rows(n: int, seed: int, *, noise: float = 1.0, k: int = 3) -> tuple[Any, Any]:
    """A classifier that knows its noise: labels drawn from the softmax of its logits."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, k)) * 3 / noise
    p = np.exp(log_probabilities(logits))
    return logits, (random.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=k - 1)


def slow(source: Any, labels: Any, target: Any, way: str) -> float:
    """By loops, for scores without ties."""

    def probabilities(row: Any) -> list[float]:
        e = [math.exp(v - max(row)) for v in row]
        return [v / sum(e) for v in e]

    def score(row: Any) -> float:
        p = probabilities(row)
        return sum(v * math.log(v) for v in p) if way == "atc" else max(p)

    errors = sum(int(np.argmax(row)) != y for row, y in zip(source, labels, strict=True))
    s, t = [score(row) for row in source], [score(row) for row in target]
    if way == "difference-of-confidences":
        return (1 - errors / len(s)) - (sum(s) / len(s) - sum(t) / len(t))
    threshold = next(v for v in sorted(s) if sum(u < v for u in s) == errors)
    return sum(v >= threshold for v in t) / len(t)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("calibrate", [False, True])
def test_each_way_is_that_of_slow_loops(way: Any, calibrate: bool) -> None:
    source, labels = rows(80, 0)
    target, _ = rows(57, 1, noise=2.0)
    found = estimated_accuracy(source, labels, target, method=way, calibrate=calibrate, bootstrap=0)
    temperature = fit_temperature(source, labels) if calibrate else 1.0
    assert found.temperature == temperature
    assert found.value == pytest.approx(slow(source / temperature, labels, target / temperature, way), rel=1e-10)
    assert found.source_accuracy == (source.argmax(1) == labels).mean()
    assert np.isnan(found.low)
    assert (found.n_source, found.n_target, found.method) == (80, 57, way)


@pytest.mark.parametrize("way", WAYS)
def test_on_the_sources_own_rows_it_is_the_source_accuracy(way: Any) -> None:
    source, labels = rows(83, 0)
    for logits in (source, np.repeat(source[:9], 10, 0)[:83], source * 400):  # as they are, tied, saturated
        found = estimated_accuracy(logits, labels, logits, method=way, calibrate=False)
        assert found.value == pytest.approx(found.source_accuracy, abs=1e-12)


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_threshold_is_right_where_the_doubtful_rows_are_the_wrong_ones(way: Any) -> None:
    random = np.random.default_rng(0)
    truths = {}
    for domain, spread in (("source", 4.0), ("target", 2.0)):
        logits = np.stack([random.normal(size=4000) * spread, np.zeros(4000)], 1)
        wrong = np.abs(logits[:, 0]) < 1
        truths[domain] = logits, np.where(wrong, 1 - logits.argmax(1), logits.argmax(1))
    (source, labels), (target, hidden) = truths["source"], truths["target"]
    found = estimated_accuracy(source, labels, target, method=way, calibrate=False, bootstrap=40)
    truth = (target.argmax(1) == hidden).mean()
    assert found.value == pytest.approx(truth, abs=0.005)
    assert found.low <= truth <= found.high
    assert found.source_accuracy - truth > 0.1


def test_the_difference_is_right_where_the_classifier_knows_its_noise() -> None:
    source, labels = rows(4000, 2)
    target, hidden = rows(4000, 3, noise=2.0)
    found = estimated_accuracy(source, labels, target, method="difference-of-confidences", bootstrap=40)
    truth = (target.argmax(1) == hidden).mean()
    assert found.value == pytest.approx(truth, abs=0.02)
    assert found.low <= truth <= found.high
    assert found.source_accuracy - truth > 0.1


def test_a_classifier_that_is_always_or_never_right() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    always = estimated_accuracy(logits, [0, 1, 0], logits[:2], bootstrap=0)
    assert always.value == 1
    never = estimated_accuracy(logits, [1, 0, 1], logits[:2], bootstrap=0)
    assert never.value == 0
    assert never.threshold == float("inf")
    settings: dict[str, Any] = {"method": "difference-of-confidences", "calibrate": False, "bootstrap": 0}
    assert estimated_accuracy(logits, [0, 1, 0], [[9.0, 0.0]], **settings).value == 1
    assert estimated_accuracy(logits, [1, 0, 1], [[0.1, 0.0]], **settings).value == 0


def test_certain_rows_are_still_told_apart() -> None:
    gaps = np.array([40.0, 50.0, 60.0, 70.0])  # the softmax is 1 for all
    logits = np.stack([gaps, 0 * gaps], 1)
    for way in WAYS[:2]:
        found = estimated_accuracy(
            logits, [1, 0, 0, 0], [[45.0, 0.0], [30.0, 0.0]], method=way, calibrate=False, bootstrap=0
        )
        assert found.value == 0
        found = estimated_accuracy(logits, [1, 0, 0, 0], [[55.0, 0.0], [30.0, 0.0]], method=way, bootstrap=0)
        assert found.value == 0.5


@pytest.mark.parametrize("way", WAYS)
def test_the_interval_covers_the_estimate_of_many_rows(way: Any) -> None:
    many_s, many_labels = rows(40_000, 10)
    many_t, _ = rows(40_000, 11, noise=1.5)
    settings: dict[str, Any] = {"method": way, "calibrate": False}
    truth = estimated_accuracy(many_s, many_labels, many_t, bootstrap=0, **settings).value
    covered, runs = 0, 50
    for run in range(runs):
        part = slice(300 * run, 300 * run + 300)
        found = estimated_accuracy(
            many_s[part], many_labels[part], many_t[part], bootstrap=100, level=0.9, seed=run, **settings
        )
        assert found.low <= found.value <= found.high
        covered += found.low <= truth <= found.high
    assert 39 <= covered < 50  # of 45; P(below 39 | 50, 0.9) = 0.003


def test_seeds_levels_and_kinds_of_array() -> None:
    source, labels = rows(80, 0)
    target, _ = rows(57, 1)
    first = estimated_accuracy(source, labels, target)
    again = estimated_accuracy(torch.tensor(source), torch.tensor(labels), torch.tensor(target))
    other = estimated_accuracy(source, labels, target, seed=1)
    assert (first.value, first.low, first.high) == (again.value, again.low, again.high)
    assert (first.low, first.high) != (other.low, other.high)
    narrow = estimated_accuracy(source, labels, target, level=0.5)
    assert narrow.high - narrow.low < first.high - first.low


def test_agreement_is_the_share_of_rows_with_the_same_class() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 50, 4))
    count = sum(
        int(max(range(4), key=lambda c: x[c]) == max(range(4), key=lambda c: y[c])) for x, y in zip(a, b, strict=True)
    )
    found = agreement(a, b)
    assert found.value == count / 50
    assert agreement(a, 3 * a).value == 1
    assert found.method == "agreement"
    assert np.isnan(found.source_accuracy)


def test_the_interval_of_agreement_is_wilsons() -> None:
    from scipy.stats import binomtest

    a, b = np.tile([1.0, 0.0], (40, 1)), np.repeat([[1.0, 0.0], [0.0, 1.0]], [29, 11], 0)
    found = agreement(a, b, level=0.9)
    theory = binomtest(29, 40).proportion_ci(0.9, method="wilson")
    assert (found.low, found.high) == pytest.approx((theory.low, theory.high))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target_logits": np.zeros((4, 3))}, ValueError, "same classes"),
        ({"source_labels": [0, 2]}, ValueError, "from 0 to 1"),
        ({"source_labels": [0.5, 1.0]}, ValueError, "whole"),
        ({"method": "atc-entropie"}, ValueError, "atc"),
        ({"bootstrap": 1}, ValueError, "bootstrap"),
        ({"level": 0.0}, ValueError, "level"),
        ({"target_logits": [["a", "b"]]}, TypeError, "numbers"),
    ],
)
def test_what_cannot_be_used_is_said(change: dict[str, Any], error: type[Exception], words: str) -> None:
    fine: dict[str, Any] = {"source_logits": np.eye(2), "source_labels": [0, 1], "target_logits": np.eye(2)}
    with pytest.raises(error, match=words):
        estimated_accuracy(**{**fine, **change})


def test_agreement_needs_the_same_rows() -> None:
    with pytest.raises(ValueError, match="same rows"):
        agreement(np.eye(3), np.eye(3)[:2])
    with pytest.raises(ValueError, match="level"):
        agreement(np.eye(3), np.eye(3), level=95)


@pytest.mark.parametrize("way", WAYS)
def test_the_plot_shows_both_domains_and_the_threshold(way: Any) -> None:
    source, labels = rows(80, 0)
    found = estimated_accuracy(source, labels, rows(57, 1)[0], method=way, bootstrap=50)
    ax = found.plot()
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"source", "target"} <= set(names)
    assert ("counted as errors below" in names) == (way != "difference-of-confidences")
    assert [float(stairs.get_data().values.sum()) for stairs in ax.patches] == pytest.approx([1, 1])
    assert f"{found.value:.1%}" in ax.get_title()


def test_the_plot_of_agreement_shows_its_share() -> None:
    ax = agreement(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])).plot()
    assert [bar.get_height() for bar in ax.containers[0]] == [0.5, 0.5]


@pytest.mark.parametrize("method", ["atc", "atc-confidence", "difference-of-confidences"])
def test_probabilities_are_read_by_their_logarithm(method: str) -> None:
    rng = np.random.default_rng(0)
    source, target = 2 * rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    labels = source.argmax(1)
    labels[::5] = 0
    p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (source, target))
    plain = estimated_accuracy(source, labels, target, method=method, bootstrap=0)
    read = estimated_accuracy(p, labels, q, method=method, bootstrap=0)
    assert read.value == pytest.approx(plain.value, abs=1e-6)
    assert read.temperature == pytest.approx(plain.temperature, rel=1e-3)
    assert "logarithm" in read.note
    assert plain.note == ""
    with pytest.raises(ValueError, match="probabilities in source_logits, whose rows sum to 1, and none in target_log"):
        estimated_accuracy(p, labels, target, method=method, bootstrap=0)
