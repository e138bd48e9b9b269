"""The verdict's sentences: filled with what was found, and claiming no more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from landbridge.diagnostics.copies import Copies
from landbridge.diagnostics.mixture import MixtureTest
from landbridge.diagnostics.results import TwoSampleTest
from landbridge.diagnostics.words import ADVICE, CAREFUL, HEADLINES, Lopsided, Words, p_text, say
from landbridge.methods import METHODS
from landbridge.weighting.label_shift import label_shift


def made_test(p_value: float, name: str = "kernel test") -> TwoSampleTest:
    return TwoSampleTest(name, 1.0, p_value, 100, 120, np.empty(0))


def made_words(kind: str, **changes) -> Words:
    eye = np.eye(2)
    sure = label_shift(eye.repeat(50, 0), [0] * 50 + [1] * 50, eye.repeat([80, 20], 0), bootstrap=0)
    fields = {
        "kind": kind,
        "level": 0.05,
        "tests": (made_test(0.01), made_test(0.2, "classifier test")),
        "adjusted": (0.02, 0.2),
        "mixture": MixtureTest(made_test(0.002), np.array([0.8, 0.2]), np.array([0.5, 0.5]), 0.634),
        "proportions": sure,
        "own_classifier": False,
        "labelled": True,
        "fewest": 50,
        "rows": (100, 120),
    }
    return Words(**{**fields, **changes})


def test_every_kind_has_its_headline_and_advice() -> None:
    from landbridge.diagnostics.verdict import KINDS

    assert set(HEADLINES) == set(ADVICE) == set(KINDS)
    assert len(set(HEADLINES.values())) == len(KINDS)


def test_methods_that_are_advised_exist() -> None:
    advice = [line for lines in (*ADVICE.values(), (CAREFUL,)) for line in lines]
    named = {word.strip('(),;.:"') for line in advice for word in line.split() if '"' in word}
    settings = {name for name in named if name.startswith("label_shift=")}
    assert {name.removeprefix('method="') for name in named - settings} <= {*METHODS, "adabn"}
    assert {"dann", "mcc", "deepcoral"} <= named
    assert settings == {'label_shift="correct'}


def test_the_rejecting_tests_are_named_with_corrected_p_values() -> None:
    said = say(made_words("covariate"))
    assert said.sentences[0] == "Source and target are told apart by the kernel test (p = 0.020), of 2 tests."
    assert "0.2" not in said.sentences[0].split("by")[1]
    none = say(made_words("no shift found", adjusted=(0.4, 0.4)))
    assert none.sentences == (
        "None of 2 tests tells source and target apart: the kernel test (p = 0.400) and the classifier test "
        "(p = 0.400).",
    )


def test_a_share_is_told_only_where_both_changed() -> None:
    assert "explain 63 % of the squared distance" in say(made_words("both")).sentences[-1]
    alone = made_words("label", mixture=MixtureTest(made_test(0.4), np.ones(2) / 2, np.ones(2) / 2, 0.9))
    assert "%" not in " ".join(say(alone).sentences)


def test_how_sure_grows_with_the_evidence() -> None:
    first = [say(made_words("covariate", adjusted=(p, 1.0))).sure[0].split(" that")[0] for p in (0.049, 0.03, 0.01)]
    assert first == ["Not sure", "Sure", "Very sure"]


def test_no_shift_is_no_proof_and_says_its_rows() -> None:
    sure = " ".join(say(made_words("no shift found", adjusted=(1.0, 1.0))).sure)
    assert "5 in 100" in sure
    assert "no proof: 100 + 120 rows" in sure


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("covariate", {}, "need labels of the target"),
        ("label", {}, "without target labels the two look alike"),
        ("shift of unknown kind", {"labelled": False}, "no labels of the source"),
        ("shift of unknown kind", {}, "the tests of the kind found nothing"),
        (
            "no shift found",
            {"adjusted": (1.0, 1.0), "lopsided": Lopsided(0.97, ("area",))},
            "97 % of the variance is of one feature, area",
        ),
        (
            "no shift found",
            {"adjusted": (1.0, 1.0), "lopsided": Lopsided(0.98, ("area", "worst area"))},
            "98 % of the variance is of 2 features, area and worst area",
        ),
    ],
)
def test_what_cannot_be_told_is_said(kind: str, changes: dict[str, object], words: str) -> None:
    assert words in " ".join(say(made_words(kind, **changes)).undecided)


def test_a_poor_classifier_and_a_small_class_are_said() -> None:
    eye = np.eye(2)
    poor = label_shift(eye[[0, 1] * 50], [0] * 49 + [1] * 51, eye[[0, 1] * 30], bootstrap=0)
    assert poor.condition > 10
    said = say(made_words("label", proportions=poor, own_classifier=True, fewest=3))
    assert "learned on half of the source rows confuses" in " ".join(said.undecided)
    assert "3 source rows" in " ".join(said.sure)


def test_p_values_are_short() -> None:
    assert [p_text(p) for p in (0.0009, 0.001, 1.0)] == ["p < 0.001", "p = 0.001", "p = 1.000"]


def test_what_none_found_cannot_see_is_said() -> None:
    said = " ".join(say(made_words("no shift found", adjusted=(0.4, 0.4))).undecided)
    assert "how features depend on each other" in said
    assert 'classifier="random-features"' in said
    assert not any("depend on each other" in one for one in say(made_words("covariate")).undecided)


def test_too_many_classes_are_the_reason_where_they_are() -> None:
    said = say(made_words("shift of unknown kind", mixture=None, many=1024)).undecided
    assert any("the source has more than 1024 classes" in one for one in said)


@pytest.mark.parametrize(
    ("p_value", "level"), [(0.0004, 0.05), (0.009, 0.05), (0.04, 0.05), (0.0004, 0.001), (0.009, 0.001)]
)
def test_no_page_tells_of_other_proportions_and_advises_to_align_all_rows(p_value: float, level: float) -> None:
    proportions = dataclasses.replace(made_words("both").proportions, p_value=p_value)
    for kind in ("covariate", "both"):
        said = " ".join(say(made_words(kind, level=level, proportions=proportions)).advice)
        assert "estimated" in said
        assert 'label_shift="correct"' in said
    alike = dataclasses.replace(proportions, p_value=0.3)
    assert "label_shift" not in " ".join(say(made_words("covariate", proportions=alike)).advice)


def test_copies_are_counted_and_what_was_done_is_said() -> None:
    def told(**changes) -> str:
        rows = {"source_rows": np.arange(60), "target_rows": np.arange(50), "n_source": 180, "n_target": 50}
        copies = Copies(**{"source": 120, "target": 0, "across": 0, **rows, **changes})
        return say(made_words("covariate", copies=copies)).sentences[-1]

    thinned = told()
    assert "120 of 180 source rows are exact copies" in thinned
    assert "tested once: 60 source and 50 target rows" in thinned
    kept = told(source_rows=np.arange(180), across=7)
    assert "7 of 50 target rows stand in the source too: all rows were tested" in kept
    none = made_words("covariate", copies=Copies(0, 0, 0, np.arange(9), np.arange(9), 9, 9))
    assert "copies" not in " ".join(say(none).sentences)
