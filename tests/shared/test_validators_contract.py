"""Validators out of their contract, at small temperatures, under one large weight, and on domains far apart."""

from __future__ import annotations

import numpy as np
import pytest
from made_outputs import made_outputs

from landbridge.benchmarks.circular import CIRCULAR
from landbridge.shared.validators import VALIDATORS, Outputs, Stored, soft_neighbourhood_density

EVERY = {**VALIDATORS, CIRCULAR.name: CIRCULAR}


def broken(place: str, how: str) -> Outputs:
    """Outputs with one array emptied, or with one NaN or inf in it."""
    outputs = made_outputs(0)
    split, array = place.split(".")
    stored = getattr(outputs, split)
    value = np.array(getattr(stored, array))
    if how == "empty":
        stored = Stored(*(None if v is None else np.asarray(v)[:0] for v in stored[:3]))
    elif array == "labels":
        value[2] = {"nan": -1, "inf": stored.logits.shape[1]}[how]
        stored = stored._replace(labels=value)
    else:
        value[2, 1] = {"nan": np.nan, "inf": np.inf}[how]
        stored = stored._replace(**{array: value})
    parts = {"source_train": outputs.source_train, "source_holdout": outputs.source_holdout, "target": outputs.target}
    return Outputs(**{**parts, split: stored})


READ = [(name, place) for name, validator in EVERY.items() for place in validator.reads]


@pytest.mark.parametrize("how", ["empty", "nan", "inf"])
@pytest.mark.parametrize(("name", "place"), READ)
def test_what_a_validator_reads_is_there_and_finite(name: str, place: str, how: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs .*{place.split('.')[0]}"):
        EVERY[name].score(broken(place, how))


LOGITS = [(name, place) for name, place in READ if place.endswith("logits")]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize(("name", "place"), LOGITS)
def test_probabilities_are_no_logits(name: str, place: str, dtype: type) -> None:
    outputs, split = made_outputs(0), place.split(".")[0]
    stored = getattr(outputs, split)
    p = np.exp(stored.logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    parts = {"source_train": outputs.source_train, "source_holdout": outputs.source_holdout, "target": outputs.target}
    with pytest.raises(ValueError, match=rf"{name} needs logits; got rows of {split} that sum to 1"):
        EVERY[name].score(Outputs(**{**parts, split: stored._replace(logits=p.astype(dtype))}))
    EVERY[name].score(Outputs(**{**parts, split: stored._replace(logits=np.log(p))}))  # their logarithm does


@pytest.mark.parametrize("name", EVERY)
def test_what_it_does_not_read_may_be_anything(name: str) -> None:
    validator, whole = EVERY[name], made_outputs(0)
    score = validator.score(whole)
    for place in {"target.logits", "target.features"} - set(validator.reads):
        assert validator.score(broken(place, "nan")) == score
    if not any(place.startswith("target") for place in validator.reads):
        nothing = Stored(np.empty((0, 3)), np.empty((0, 0)))
        assert validator.score(Outputs(whole.source_train, whole.source_holdout, nothing)) == score


def slow_density(p: np.ndarray, temperature: float) -> float:
    p = p.astype(np.float64)
    units, entropies = p / np.linalg.norm(p, axis=1, keepdims=True), []
    for i in range(len(units)):
        exponents = np.delete(units @ units[i], i) / temperature
        q = np.exp(exponents - exponents.max())
        q /= q.sum()
        entropies.append(-(q[q > 0] * np.log(q[q > 0])).sum())
    return float(np.mean(entropies))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.05, 0.01, 0.005, 0.001, 1e-300])
def test_no_temperature_is_too_small(temperature: float, dtype: type) -> None:
    z = 5 * np.random.default_rng(0).normal(size=(10, 13))
    sharp = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    for p in (sharp.astype(dtype), np.eye(4, dtype=dtype)):
        found = soft_neighbourhood_density(p, temperature=temperature)
        assert found == pytest.approx(slow_density(p, temperature), rel=2e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("p", "temperature", "sentence"),
    [
        (np.eye(3), 0.0, "temperature > 0; got 0.0"),
        (np.eye(3), float("nan"), "temperature > 0; got nan"),
        (np.eye(3)[:1], 0.05, "two rows or more; got 1"),
        (np.zeros((3, 2)), 0.05, "not all 0 in a row"),
        (np.array([[np.nan, 1.0], [0.5, 0.5]]), 0.05, "finite probabilities"),
    ],
)
def test_a_wrong_density_meets_a_sentence(p: np.ndarray, temperature: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        soft_neighbourhood_density(p, temperature=temperature)


def with_weights(weights: np.ndarray) -> tuple[Outputs, np.ndarray]:
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 4, 200), rng.normal(size=(200, 4))
    losses = -(z - np.log(np.exp(z).sum(1, keepdims=True)))[np.arange(200), y]
    outputs = Outputs(Stored(z, z, y), Stored(z, z, y), Stored(z, z))
    outputs.__dict__["importance"] = weights
    return outputs, losses


@pytest.mark.parametrize("seed", [0, 1])
def test_normalised_weights_have_the_mean_one_that_the_control_variate_presupposes(seed: int) -> None:
    weights = np.random.default_rng(seed).pareto(1.1, 200)
    outputs, losses = with_weights(weights)
    u = weights / weights.max()
    u = u - (u.mean() - 1)
    covariance = np.cov(u * losses, u)
    eta = -covariance[0, 1] / covariance[1, 1]
    right = -((u * losses).mean() + eta * u.mean() - eta)
    assert EVERY["deep-embedded-validation-normalised"].score(outputs) == pytest.approx(right, rel=1e-10)


def test_one_outlier_does_not_rule_the_normalised_score() -> None:
    """It was that row's loss, to the last digit."""
    outputs, losses = with_weights(np.where(np.arange(200) == 7, 1e6, 1.0))
    found = EVERY["deep-embedded-validation-normalised"].score(outputs)
    assert found == pytest.approx(-losses.mean(), abs=0.01)
    assert losses[7] - losses.mean() > 0.5


def test_weights_that_all_underflow_leave_the_plain_risk() -> None:
    outputs, losses = with_weights(np.zeros(200))
    assert EVERY["deep-embedded-validation-normalised"].score(outputs) == pytest.approx(-losses.mean())


def apart(gap: float, *, guess: bool) -> Outputs:
    """Three classes in five columns, the target moved by ``gap`` along the last one; a right classifier, or guesses."""
    rng = np.random.default_rng(0)

    def domain(shift: float) -> tuple[np.ndarray, np.ndarray]:
        y, f = rng.integers(0, 3, 300), rng.normal(size=(300, 5))
        f[:, :3] += 2 * np.eye(3)[y]
        f[:, 4] += shift
        return f, y

    def stored(f: np.ndarray, y: np.ndarray | None) -> Stored:
        return Stored(np.random.default_rng(1).normal(size=(300, 3)) if guess else 2 * f[:, :3], f, y)

    (train, y), (holdout, y_holdout), (target, _) = domain(0), domain(0), domain(gap)
    return Outputs(stored(train, y), stored(holdout, y_holdout), stored(target, None))


def test_importance_weighting_scores_separable_domains_backwards_as_it_says() -> None:
    guesses, right = apart(8.0, guess=True), apart(0.0, guess=False)
    scores = {name: (EVERY[name].score(guesses), EVERY[name].score(right)) for name in EVERY}
    assert scores["importance-weighted"] == pytest.approx((-0.021, -0.382), abs=1e-3)
    assert guesses.importance.mean() == pytest.approx(0.016, abs=1e-3)
    for name, value in (("deep-embedded-validation", -1.341), ("deep-embedded-validation-normalised", -1.372)):
        assert scores[name][0] == pytest.approx(value, abs=1e-3)
        assert scores[name][0] < scores[name][1]
