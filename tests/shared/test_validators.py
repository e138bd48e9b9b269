"""Validators against slow transcriptions in float64, known values, and what a collapsed model does to them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from made_outputs import collapsed_outputs, made_outputs

from landbridge.shared.importance import density_ratio
from landbridge.shared.validators import (
    DEFAULT_VALIDATOR,
    VALIDATORS,
    Outputs,
    Stored,
    Validator,
    collapse,
    control_variate_risk,
    soft_neighbourhood_density,
)

NAMES = list(VALIDATORS)
ON_HOLDOUT = [
    "source-accuracy", "source-risk", "importance-weighted", "deep-embedded-validation",
    "deep-embedded-validation-normalised",
]  # fmt: skip


def slow_softmax(row):
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def slow_entropy(p):
    return -sum(x * math.log(x) for x in p if x > 0)


def slow_losses(stored):
    return [
        -math.log(slow_softmax(row)[label])
        for row, label in zip(stored.logits.tolist(), stored.labels.tolist(), strict=True)
    ]


def slow_accuracy(outputs):
    stored = outputs.source_holdout
    return sum(
        row.index(max(row)) == y for row, y in zip(stored.logits.tolist(), stored.labels.tolist(), strict=True)
    ) / len(stored.labels)


def slow_mean(values):
    return sum(values) / len(values)


def slow_information(outputs):
    p = [slow_softmax(row) for row in outputs.target.logits.tolist()]
    mean = [slow_mean(column) for column in zip(*p, strict=True)]
    return slow_entropy(mean) - slow_mean([slow_entropy(row) for row in p])


def slow_density(outputs, temperature=0.05):
    rows = [slow_softmax(row) for row in outputs.target.logits.tolist()]
    units = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    entropies = []
    for i, one in enumerate(units):
        mass = [
            math.exp(sum(a * b for a, b in zip(one, other, strict=True)) / temperature)
            for j, other in enumerate(units)
            if j != i
        ]
        entropies.append(slow_entropy([m / sum(mass) for m in mass]))
    return slow_mean(entropies)


def slow_nuclear(outputs):
    p = np.array([slow_softmax(row) for row in outputs.target.logits.tolist()])
    eigenvalues = np.linalg.eigvalsh(p.T @ p)
    return sum(math.sqrt(max(value, 0)) for value in eigenvalues) / len(p)


def slow_risk(weights, losses):
    n = len(weights)
    weighted = [w * x for w, x in zip(weights, losses, strict=True)]
    mean_w, mean_wl = slow_mean(weights), slow_mean(weighted)
    covariance = sum((a - mean_wl) * (w - mean_w) for a, w in zip(weighted, weights, strict=True)) / (n - 1)
    variance = sum((w - mean_w) ** 2 for w in weights) / (n - 1)
    eta = -covariance / variance
    return mean_wl + eta * mean_w - eta


def weights_of(outputs):
    return density_ratio(
        outputs.source_train.features, outputs.target.features, outputs.source_holdout.features
    ).tolist()


def slow_normalised(outputs):
    weights = weights_of(outputs)
    scaled = [w / max(weights) for w in weights]
    return -slow_risk([w - slow_mean(scaled) + 1 for w in scaled], slow_losses(outputs.source_holdout))


def slow_clustering(outputs):
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score

    x, said = outputs.target.features, outputs.target.logits.argmax(1)
    begin = np.array([x[said == c].mean(0) for c in range(outputs.target.logits.shape[1])])
    found = KMeans(len(begin), init=begin, n_init=1, algorithm="lloyd", tol=0).fit(x).labels_
    return adjusted_mutual_info_score(said, found)


SLOW = {
    "source-accuracy": slow_accuracy,
    "source-risk": lambda o: -slow_mean(slow_losses(o.source_holdout)),
    "entropy": lambda o: -slow_mean([slow_entropy(slow_softmax(row)) for row in o.target.logits.tolist()]),
    "information-maximisation": slow_information,
    "soft-neighbourhood-density": slow_density,
    "nuclear-norm": slow_nuclear,
    "class-clustering": slow_clustering,
    "importance-weighted": lambda o: (
        -slow_mean([w * x for w, x in zip(weights_of(o), slow_losses(o.source_holdout), strict=True)])
    ),
    "deep-embedded-validation": lambda o: -slow_risk(weights_of(o), slow_losses(o.source_holdout)),
    "deep-embedded-validation-normalised": slow_normalised,
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_what_the_papers_say(name, seed):
    outputs = made_outputs(seed)
    assert VALIDATORS[name].score(outputs) == pytest.approx(SLOW[name](outputs), rel=1e-10)


def permuted(stored: Stored, rng: np.random.Generator) -> Stored:
    order = rng.permutation(len(stored.logits))
    labels = None if stored.labels is None else stored.labels[order]
    return Stored(stored.logits[order], stored.features[order], labels)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_changes_nothing(name):
    outputs, rng = made_outputs(3), np.random.default_rng(0)
    again = Outputs(
        permuted(outputs.source_train, rng), permuted(outputs.source_holdout, rng), permuted(outputs.target, rng)
    )
    assert VALIDATORS[name].score(again) == pytest.approx(VALIDATORS[name].score(outputs), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_added_to_the_logits_of_a_row_changes_nothing(name):
    outputs = made_outputs(4)

    def moved(stored):
        return stored._replace(logits=stored.logits + np.linspace(-900, 900, len(stored.logits))[:, None])

    again = Outputs(moved(outputs.source_train), moved(outputs.source_holdout), moved(outputs.target))
    assert VALIDATORS[name].score(again) == pytest.approx(VALIDATORS[name].score(outputs), rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_and_half_precision_extremes_are_survived(name):
    outputs = made_outputs(5)

    def as_float32(stored):
        return Stored(stored.logits.astype(np.float32), stored.features.astype(np.float32), stored.labels)

    def extreme(stored):
        logits = stored.logits.astype(np.float32)
        logits[:5, 0], logits[:3, 1] = 65504, -65504
        return Stored(logits, stored.features.astype(np.float32) * 5000, stored.labels)

    def of(change):
        return Outputs(change(outputs.source_train), change(outputs.source_holdout), change(outputs.target))

    assert VALIDATORS[name].score(of(as_float32)) == pytest.approx(VALIDATORS[name].score(outputs), rel=1e-3)
    assert math.isfinite(VALIDATORS[name].score(of(extreme)))


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_held_out_rows_says_so(name):
    validator, without = VALIDATORS[name], made_outputs(0, holdout=False)
    assert validator.needs_holdout == (name in ON_HOLDOUT)
    if validator.needs_holdout:
        assert validator.missing(without) == "the protocol holds no source rows out"
        assert validator.missing(made_outputs()) is None
        with pytest.raises(ValueError, match="source_holdout=None"):
            validator.score(without)
    else:
        assert validator.missing(without) is None
        assert validator.score(without) == pytest.approx(validator.score(made_outputs(0)), abs=2)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_only_looked_at_by_those_that_say_so(name):
    outputs = made_outputs(1)

    def blank(stored):
        return stored._replace(features=np.empty((len(stored.logits), 0)))

    bare = Outputs(blank(outputs.source_train), blank(outputs.source_holdout), blank(outputs.target))
    if not VALIDATORS[name].reads_features:
        assert VALIDATORS[name].score(bare) == VALIDATORS[name].score(outputs)
    assert VALIDATORS[name].reads_features or not VALIDATORS[name].weighs
    assert (VALIDATORS[name].cost == "cheap") == (not VALIDATORS[name].reads_features)


def test_names_papers_and_the_default():
    assert [validator.name for validator in VALIDATORS.values()] == NAMES
    assert all(
        isinstance(validator, Validator) and validator.paper and validator.version >= 1
        for validator in VALIDATORS.values()
    )
    assert {
        "source-accuracy", "source-risk", "entropy", "information-maximisation", "soft-neighbourhood-density",
        "deep-embedded-validation", "importance-weighted", "nuclear-norm", "class-clustering",
    } <= set(NAMES)  # fmt: skip
    default = VALIDATORS[DEFAULT_VALIDATOR]
    assert (default.needs_holdout, default.cost) == (False, "cheap")


def test_no_torch_and_no_scikit_learn_to_begin_with():
    code = (
        "import sys, landbridge.shared.validators\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def target_only(logits, features=None):
    logits = np.asarray(logits, dtype=np.float64)
    features = np.zeros((len(logits), 1)) if features is None else features
    labels = np.arange(12) % logits.shape[1]
    source = Stored(np.eye(logits.shape[1])[labels], np.zeros((12, features.shape[1])), labels)
    return Outputs(source, None, Stored(logits, features))


SURE = 60.0  # a logit that leaves nothing to the others


@pytest.mark.parametrize(
    ("name", "one_class", "spread", "unsure"),
    [
        ("entropy", 0.0, 0.0, -math.log(4)),
        ("information-maximisation", 0.0, math.log(4), 0.0),
        ("soft-neighbourhood-density", math.log(39), math.log(9), math.log(39)),
        ("nuclear-norm", 1 / math.sqrt(40), math.sqrt(4 / 40), 1 / math.sqrt(40) / 2),
        ("class-clustering", 0.0, 1.0, 0.0),
    ],
)
def test_known_values(name, one_class, spread, unsure):
    features = np.eye(4)[np.arange(40) % 4] + np.arange(40)[:, None] / 1e3
    validator = VALIDATORS[name]
    all_one = np.tile([0.0, SURE, 0.0, 0.0], (40, 1))
    each = SURE * np.eye(4)[np.arange(40) % 4]
    assert validator.score(target_only(all_one, features)) == pytest.approx(one_class, abs=1e-6)
    assert validator.score(target_only(each, features)) == pytest.approx(spread, abs=1e-6)
    assert validator.score(target_only(np.zeros((40, 4)), features)) == pytest.approx(unsure, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "collapse_wins"),
    [
        ("entropy", True),
        ("soft-neighbourhood-density", True),
        ("information-maximisation", False),
        ("nuclear-norm", False),
        ("class-clustering", False),
    ],
)
def test_what_a_collapsed_model_scores(name, collapse_wins):
    score = VALIDATORS[name].score
    assert (score(collapsed_outputs(0)) > score(made_outputs(0, right=0.9))) == collapse_wins


@pytest.mark.parametrize("name", ["source-accuracy", "source-risk"])
def test_source_scores_do_not_see_the_target(name):
    assert VALIDATORS[name].score(collapsed_outputs(0)) == VALIDATORS[name].score(made_outputs(0))


def test_the_accuracy_of_all_rows_counts_where_it_is_known():
    outputs = made_outputs()
    known = Outputs(outputs.source_train, outputs.source_holdout._replace(accuracy=0.125), outputs.target)
    assert VALIDATORS["source-accuracy"].score(known) == 0.125


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("soft-neighbourhood-density", "entropy")])
def test_better_outputs_score_better(name):
    """Sure and right on target and source, against neither."""
    good, bad = made_outputs(7, right=1.0), made_outputs(7, right=0.2)
    spoilt = bad.source_holdout._replace(logits=-bad.source_holdout.logits)
    worse = Outputs(bad.source_train, spoilt, bad.target._replace(logits=bad.target.logits / 4))
    assert VALIDATORS[name].score(good) > VALIDATORS[name].score(worse)


def test_source_labels_are_asked_for():
    outputs = made_outputs()
    bare = Outputs(outputs.source_train, outputs.source_holdout._replace(labels=None), outputs.target)
    with pytest.raises(ValueError, match=r"need labels; got Stored\(labels=None\)"):
        VALIDATORS["source-risk"].score(bare)


def test_importance_weights_are_computed_once(monkeypatch):
    calls = []

    def counted(*features):
        calls.append(1)
        return density_ratio(*features)

    monkeypatch.setattr("landbridge.shared.validators.density_ratio", counted)
    outputs = made_outputs()
    for name in ("importance-weighted", "deep-embedded-validation", "deep-embedded-validation-normalised"):
        VALIDATORS[name].score(outputs)
    assert len(calls) == 1


# --- the control variate


def test_equal_weights_need_no_control_variate():
    losses = np.array([0.1, 0.7, 2.0])
    assert control_variate_risk(np.full(3, 0.3), losses) == pytest.approx(0.3 * losses.mean(), rel=1e-12)
    assert control_variate_risk(np.array([2.0]), np.array([3.0])) == 6.0


def test_a_constant_loss_is_estimated_without_error():
    """With loss c the estimate is c, whatever the weights: what the control variate is for."""
    weights = np.random.default_rng(0).gamma(1.0, size=50)
    assert control_variate_risk(weights, np.full(50, 1.7)) == pytest.approx(1.7, rel=1e-12)


def test_weights_of_mean_one_make_it_vanish():
    rng = np.random.default_rng(1)
    weights, losses = rng.gamma(1.0, size=50), rng.random(50)
    weights /= weights.mean()
    assert control_variate_risk(weights, losses) == pytest.approx((weights * losses).mean(), rel=1e-12)


# --- soft neighbourhood density


def test_a_temperature_apart_from_the_papers():
    p = np.random.default_rng(2).dirichlet(np.ones(3), size=300)  # more than two blocks of rows
    outputs = target_only(np.log(p))
    assert soft_neighbourhood_density(p, temperature=0.3) == pytest.approx(slow_density(outputs, 0.3), rel=1e-10)
    assert soft_neighbourhood_density(p) < soft_neighbourhood_density(p, temperature=0.3) < math.log(299)


def test_one_row_has_no_neighbours():
    with pytest.raises(ValueError, match=r"needs two rows or more; got 1\."):
        soft_neighbourhood_density(np.ones((1, 3)) / 3)


# --- collapse


def predictions(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.eye(len(counts))[labels]


def slow_in_use(counts):
    total = sum(counts)
    return math.exp(-sum(c / total * math.log(c / total) for c in counts if c))


@pytest.mark.parametrize(
    ("counts", "collapsed"),
    [
        ([0, 0, 100, 0, 0, 0, 0, 0, 0, 0], True),
        ([90, 2, 1, 1, 1, 1, 1, 1, 1, 1], True),
        ([50, 50, 0, 0, 0, 0, 0, 0, 0, 0], True),  # 2.0 of 10
        ([40, 30, 30, 0, 0, 0, 0, 0, 0, 0], False),
        ([55, 5, 5, 5, 5, 5, 5, 5, 5, 5], False),
        ([97, 3], True),
        ([90, 10], False),
        ([0] * 64 + [300], True),
        ([1] * 10 + [0] * 55, False),  # ten rows of 65 classes
        ([9, 0, 0], False),  # too few rows to say
        ([12, 0, 0], True),
    ],
)
def test_what_counts_as_collapsed(counts, collapsed):
    n, k = sum(counts), len(counts)
    said = collapse(predictions(counts))
    assert (said is not None) == collapsed
    if n >= 10:
        assert collapsed == (slow_in_use(counts) < 1 + 0.2 * (min(k, n) - 1))


def test_the_sentence_says_what_was_seen():
    assert collapse(predictions([3, 97, 0, 0, 0])) == (
        "collapsed: 97 of 100 target rows are predicted as class 1 (1.1 of 5.0 classes in use, below 1.8)"
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("rows", "classes", "few"),
    [(157, 10, 1.0), (100, 65, 1.0), (30, 65, 1.0), (15, 31, 1.0), (10, 10, 1.0), (400, 31, 10 / 31), (500, 12, 0.5)],
)
def test_sane_predictions_are_none(rows, classes, few, seed):
    """dslr of Office-Caltech10, few rows of many classes, unequal classes, and partial targets (10 of 31, 6 of 12)."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, classes, 600)
    kinds = round(classes * few)
    unequal = rng.dirichlet(np.full(kinds, 2.0))
    target = rng.choice(kinds, size=rows, p=unequal)
    noisy = np.where(rng.random(rows) < 0.7, target, rng.integers(0, kinds, rows))
    assert collapse(np.eye(classes)[noisy], source) is None


def test_an_unequal_source_is_no_reason():
    source = np.repeat([0, 1], [95, 5])
    target = predictions([97, 3])
    assert collapse(target) is not None
    assert collapse(target, source) is None
    assert collapse(predictions([100, 0]), source) is not None
    assert collapse(predictions([100, 0]), np.zeros(5, dtype=int)) is None  # one class is all there is


def test_the_definition_at_random():
    rng = np.random.default_rng(0)
    fired = 0
    for k, n in itertools.product((2, 5, 20), (10, 40, 200)):
        for _ in range(10):
            counts = np.bincount(rng.choice(k, size=n, p=rng.dirichlet(np.full(k, 0.2))), minlength=k)
            source = rng.choice(k, size=100, p=rng.dirichlet(np.full(k, 1.0)))
            known = slow_in_use(np.bincount(source).tolist())
            want = slow_in_use(counts.tolist()) < 1 + 0.2 * (min(known, n) - 1)
            assert (collapse(predictions(counts), source) is not None) == want
            fired += want
    assert 10 < fired < 80
