"""The verdict: the right kind on problems of known shift, within the level, from tests alone."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from landbridge.diagnostics import verdict as module
from landbridge.diagnostics.mixture import MixtureTest
from landbridge.diagnostics.results import TwoSampleTest
from landbridge.diagnostics.verdict import KINDS, Verdict, decide
from landbridge.weighting.label_shift import label_shift

EVEN, UNEVEN = (80, 80, 80), (160, 60, 20)
CENTRES = np.array([[0.0, 0.0, 0.0], [3.5, 0.0, 0.0], [0.0, 3.5, 0.0]])


def rows(counts, seed, *, move=0.0):
    """Rows of three classes; ``move`` shifts all of them along the third axis."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(3), counts))
    return CENTRES[y] + [0, 0, move] + rng.normal(size=(len(y), 3)), y


def logits(x):
    """A classifier that knows the centres."""
    return -((x[:, None] - CENTRES) ** 2).sum(-1)


@pytest.mark.parametrize("own_logits", [False, True], ids=["own classifier", "logits"])
@pytest.mark.parametrize(
    ("kind", "counts", "move"),
    [
        ("no shift found", EVEN, 0.0),
        ("covariate", EVEN, 1.5),
        ("label", UNEVEN, 0.0),
        ("both", UNEVEN, 0.8),
    ],
)
def test_each_kind_is_named(kind: str, counts: tuple[int, ...], move: float, own_logits: bool) -> None:
    x, y = rows(EVEN, 0)
    z, _ = rows(counts, 1, move=move)
    extra = {"source_logits": logits(x), "target_logits": logits(z)} if own_logits else {}
    found = decide(x, z, source_labels=y, **extra)
    assert found.kind == kind
    assert found.shifted == (kind != "no shift found")
    assert found.p_value == min(found.adjusted)
    assert len(found.tests) == 3


def test_without_labels_there_is_a_shift_but_no_kind() -> None:
    x, _ = rows(EVEN, 0)
    assert decide(x, rows(EVEN, 1)[0]).kind == "no shift found"
    found = decide(x, rows(UNEVEN, 1)[0])
    assert found.kind == "shift of unknown kind"
    assert found.mixture is None
    assert found.label_shift is None
    assert len(found.tests) == 2
    assert "no labels of the source" in str(found)


def test_a_single_class_has_no_kind() -> None:
    x, _ = rows(EVEN, 0)
    found = decide(x, x + 2, source_labels=np.zeros(len(x), dtype=int))
    assert found.kind == "shift of unknown kind"


def test_false_alarms_stay_within_the_level() -> None:
    """50 pairs without a shift at the level 0.1, with labels and logits; seeds are fixed."""
    alarms = 0
    for seed in range(50):
        x, y = rows((20, 20, 20), seed)
        z, _ = rows((20, 20, 20), 500 + seed)
        rng = np.random.default_rng(seed)  # proportions vary as those of random rows do
        x, y = x[keep := rng.random(60) < 0.7], y[keep]
        z = z[rng.random(60) < 0.7]
        alarms += decide(x, z, source_labels=y, level=0.1).shifted
    assert alarms <= binom.ppf(0.999, 50, 0.1)


def made_evidence(mixture_p: float, proportions_p: float, explained: float) -> module._Evidence:
    test = TwoSampleTest("mixture test", 1.0, mixture_p, 9, 9, np.empty(0))
    shift = label_shift(np.eye(2), [0, 1], np.eye(2), bootstrap=0)
    mixture = MixtureTest(test, np.ones(2) / 2, np.ones(2) / 2, explained)
    return module._Evidence(mixture, dataclasses.replace(shift, p_value=proportions_p), False)


@pytest.mark.parametrize(
    ("p", "mixture_p", "proportions_p", "explained", "kind"),
    [
        (0.051, 0.001, 0.001, 0.9, "no shift found"),
        (0.05, 0.001, 0.001, 0.5, "both"),
        (0.05, 0.001, 0.05, 0.5, "both"),
        (0.05, 0.001, 0.01, 0.1, "both"),
        (0.05, 0.001, 0.01, float("nan"), "both"),
        (0.05, 0.001, 0.011, 0.49, "covariate"),
        (0.05, 0.001, 0.011, float("nan"), "covariate"),
        (0.05, 0.05, 0.051, 0.9, "covariate"),
        (0.05, 0.051, 0.05, 0.1, "label"),
        (0.05, 0.051, 0.051, 0.9, "shift of unknown kind"),
    ],
)
def test_the_kind_follows_from_the_tests(p, mixture_p, proportions_p, explained, kind) -> None:
    assert module._kind(p, made_evidence(mixture_p, proportions_p, explained), 0.05) == kind


@pytest.mark.skipif(not os.environ.get("LANDBRIDGE_DATA"), reason="needs real data: set LANDBRIDGE_DATA")
def test_mnist_and_usps_are_shifted_and_halves_of_mnist_are_not() -> None:
    from torchvision.datasets import MNIST, USPS

    folder = Path(os.environ["LANDBRIDGE_DATA"])
    mnist, usps = MNIST(str(folder), train=True), USPS(str(folder / "usps"), train=True)
    # its rows lie in order of the writers, so the first halves differ from the second
    drawn = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))[:1000]
    small = torch.nn.functional.interpolate(mnist.data[drawn, None].float(), size=(16, 16), mode="bilinear")
    x, y = small.flatten(1), mnist.targets[drawn]
    assert decide(x[:500], x[500:], source_labels=y[:500]).kind == "no shift found"
    digits, labels = torch.as_tensor(usps.data).float().flatten(1), np.array(usps.targets)
    alike = np.concatenate([np.flatnonzero(labels == c)[: int(n)] for c, n in enumerate(np.bincount(y[:500]))])
    found = decide(x[:500], digits[alike], source_labels=y[:500])  # its classifier takes a quarter of them for sevens
    assert found.kind in ("covariate", "both")
    assert "estimated" in " ".join(found.advice)
    uneven = np.flatnonzero((labels < 5) | (np.arange(len(labels)) % 5 == 0))[:500]
    assert decide(x[:500], digits[uneven], source_labels=y[:500]).kind == "both"


def test_the_correction_is_holms() -> None:
    x, y = rows(EVEN, 0)
    found = decide(x, rows(EVEN, 1, move=0.3)[0], source_labels=y)
    p = [test.p_value for test in found.tests]
    order = np.argsort(p)
    slow, so_far = [0.0] * 3, 0.0
    for place, i in enumerate(order):
        so_far = max(so_far, min(1.0, (3 - place) * p[i]))
        slow[i] = so_far
    assert found.adjusted == pytest.approx(slow)


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_permutations_are_enough_for_the_correction(level: float) -> None:
    x, y = rows(EVEN, 0)
    found = decide(x, x + 5, source_labels=y, level=level)
    assert found.shifted
    assert found.level == level
    assert all(3 / (1 + len(test.null)) <= level for test in found.tests if len(test.null))


def test_the_proportions_are_of_rows_the_classifier_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def watch(scores, labels, of_target, **settings):
        seen["rows"] = len(scores)
        return label_shift(scores, labels, of_target, **settings)

    monkeypatch.setattr(module, "label_shift", watch)
    x, y = rows((41, 40, 40), 0)
    held_out, of_source, of_target = module._own_classifier(torch.as_tensor(x), y, torch.as_tensor(x[:7]), 0)
    assert np.bincount(y[held_out]).tolist() == [20, 20, 20]
    assert of_source.shape == (60, 3)
    assert of_target.shape == (7, 3)
    assert (of_source.argmax(1) == y[held_out]).mean() > 0.85
    changed = x.copy()
    changed[held_out[0]] += 50.0  # a row it does not see changes no other score
    again = module._own_classifier(torch.as_tensor(changed), y, torch.as_tensor(x[:7]), 0)
    np.testing.assert_array_equal(again[2], of_target)
    decide(x, x, source_labels=y)
    assert seen["rows"] == 60


def test_more_rows_than_the_limit_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    x, y = rows(EVEN, 0)
    sure = np.eye(3)[y]  # each row's logits go with the row
    found = decide(x, x + 1, source_labels=y, source_logits=sure, target_logits=sure)
    assert {(test.n_source, test.n_target) for test in found.tests} == {(50, 50)}
    assert found.label_shift is not None
    np.testing.assert_array_equal(found.label_shift.confusion, np.eye(3))


def test_same_seed_same_verdict_and_global_states_stay(keeps_random_state: None) -> None:
    x, y = rows(EVEN, 0)
    z = rows(UNEVEN, 1)[0]
    first, second = decide(x, z, source_labels=y, seed=3), decide(x, z, source_labels=y, seed=3)
    assert str(first) == str(second)
    assert all(a.p_value == b.p_value for a, b in zip(first.tests, second.tests, strict=True))


def test_every_verdict_has_words_for_each_question() -> None:
    x, y = rows(EVEN, 0)
    kinds = set()
    for counts, move in ((EVEN, 0.0), (EVEN, 1.5), (UNEVEN, 0.0), (UNEVEN, 0.8)):
        found = decide(x, rows(counts, 1, move=move)[0], source_labels=y)
        kinds.add(found.kind)
        assert isinstance(found, Verdict)
        assert found.headline
        assert found.sentences
        assert found.sure
        assert found.advice
        assert found.headline in str(found)
        assert "What to try first" in str(found)
    assert kinds <= set(KINDS)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"level": 0.7}, ValueError, "level between 0 and 0.5"),
        ({"source_logits": np.zeros((240, 3))}, ValueError, "target_logits is missing"),
        (
            {"source_logits": np.zeros((2, 3)), "target_logits": np.zeros((240, 3))},
            ValueError,
            "one row of source_logits",
        ),
        ({"source_logits": np.zeros((240, 3)), "target_logits": np.zeros((240, 4))}, ValueError, "one classifier"),
        ({"source_labels": np.zeros(3, dtype=int)}, ValueError, r"shape \(240,\)"),
        ({"source_labels": np.full(240, 0.5)}, ValueError, "no whole numbers"),
    ],
)
def test_wrong_arguments_meet_a_sentence(changes: dict[str, object], error: type[Exception], words: str) -> None:
    x, _ = rows(EVEN, 0)
    with pytest.raises(error, match=words):
        decide(x, x, **changes)


def test_hard_inputs_still_get_a_verdict() -> None:
    same = np.ones((12, 4))
    assert not decide(same, same, source_labels=np.arange(12) % 2).shifted  # nothing varies
    wide = np.random.default_rng(0).normal(size=(20, 300))  # fewer rows than features
    assert decide(wide[:10], wide[10:] + 3, source_labels=np.arange(10) % 2).shifted
    assert decide([[1, 2], [3, 4], [5, 6], [7, 8]], [[1, 2], [3, 4]]).kind == "no shift found"  # integers, few rows
    with pytest.raises(ValueError, match="at least 2 rows"):
        decide(same[:1], same)
    broken = wide.copy()
    broken[4, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or inf in target"):
        decide(wide, broken)


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e18), (np.float32, 1e-30), (np.float64, 1e160)])
def test_the_scale_of_the_features_changes_no_verdict(dtype: type, scale: float) -> None:
    x, y = rows(EVEN, 0)
    z, _ = rows(UNEVEN, 1, move=0.8)
    plain, scaled = (decide((s * x).astype(dtype), (s * z).astype(dtype), source_labels=y) for s in (1, scale))
    assert scaled.kind == plain.kind == "both"
    assert [test.p_value for test in scaled.tests] == pytest.approx([test.p_value for test in plain.tests], abs=0.01)


def test_more_classes_than_the_mixture_test_takes_leave_the_kind_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["landbridge.diagnostics.mixture"], "FREQUENCIES", 1)
    x, y = rows(EVEN, 0)
    found = decide(x, x + 3, source_labels=y)
    assert found.kind == "shift of unknown kind"
    assert found.mixture is None
    assert found.label_shift is not None
    assert "more than 2 classes" in " ".join(found.undecided)


def test_a_small_level_has_permutations_enough_for_the_proportions() -> None:
    x, y = rows(EVEN, 0)
    found = decide(x, rows((240, 0, 0), 1)[0], source_labels=y, level=0.001)
    assert found.label_shift is not None
    assert found.label_shift.p_value <= 0.001 / 4


def test_autocast_changes_nothing() -> None:
    x, y = rows(EVEN, 0)
    x32, z32 = torch.as_tensor(x).float(), torch.as_tensor(rows(UNEVEN, 1)[0]).float()
    plain = str(decide(x32, z32, source_labels=y))
    with torch.autocast("cpu", torch.bfloat16):
        assert str(decide(x32, z32, source_labels=y)) == plain


def breast_cancer(kind: str, seed: int):
    """Halves of a table that nobody here made: the target's benign rows thinned, its features scaled and moved."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    s, t = order[:285], order[285:]
    x = (x - x[s].mean(0)) / x[s].std(0)
    if kind in ("label", "both"):
        t = np.concatenate([t[y[t] == 0], t[y[t] == 1][:20]])
    target = x[t]
    if kind in ("covariate", "both"):
        target = 1.3 * target + np.random.default_rng(7).normal(0, 0.5, size=x.shape[1])
    return x[s], y[s], target


@pytest.mark.parametrize("kind", ["label", "covariate", "both"])
def test_each_kind_of_a_table_that_nobody_made(kind: str) -> None:
    named = []
    for seed in range(3):
        x, y, z = breast_cancer(kind, seed)
        named.append(decide(x, z, source_labels=y, seed=seed))
    assert [found.kind for found in named].count(kind) >= 2
    for found in named:  # "both" came as "covariate", with p < 0.001 for other proportions and plain alignment advised
        if found.label_shift.p_value <= 0.01 and found.kind != "label":
            assert "estimated" in " ".join(found.advice)


def test_few_columns_in_raw_units_are_pointed_out() -> None:
    from sklearn.datasets import load_breast_cancer, load_digits

    data = load_breast_cancer()
    found = decide(data.data[:200], data.data[200:400], names=list(data.feature_names))
    told = " ".join(found.undecided)
    assert "99 % of the variance is of 2 features, worst area and mean area" in told
    rng = np.random.default_rng(0)
    one, three = rng.normal(size=(80, 12)), rng.normal(size=(80, 12))
    one[:, 4] *= 50
    three[:, [1, 5, 7]] *= 50
    assert "of one feature, feature 4" in " ".join(decide(one[:40], one[40:]).undecided)
    assert "of 3 features, feature" in " ".join(decide(three[:40], three[40:]).undecided)
    six = three.copy()
    six[:, [2, 3, 9]] *= 50  # half of the features are no few
    pixels = load_digits().data
    for plain in (six, rng.normal(size=(80, 12)), pixels[:80]):
        assert "of the variance" not in " ".join(decide(plain[:40], plain[40:]).undecided)
