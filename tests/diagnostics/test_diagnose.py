"""``lb.diagnose``: what it takes, what it hands over, and that the target's labels change no verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landbridge as lb
from landbridge.diagnostics import page
from landbridge.diagnostics.verdict import decide

CENTRES = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])


def rows(n: int, seed: int, move: float = 0.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return CENTRES[y] + move + rng.normal(size=(n, 2)), y


def small_network() -> lb.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lb.Network(nn.Sequential(nn.Linear(2, 8), nn.ReLU()), nn.Linear(8, 3))


def test_labels_of_the_target_change_no_verdict() -> None:
    x, y = rows(60, 0)
    z, of_z = rows(60, 1, 1.0)
    logits = {
        "source_logits": -((x[:, None] - CENTRES) ** 2).sum(-1),
        "target_logits": -((z[:, None] - CENTRES) ** 2).sum(-1),
    }
    plain = lb.diagnose(x, z, source_labels=y, **logits)
    scored = lb.diagnose(x, z, source_labels=y, evaluate=of_z, **logits)
    noise = lb.diagnose(x, z, source_labels=y, evaluate=np.random.default_rng(5).permutation(of_z), **logits)
    assert str(plain) == str(scored) == str(noise)
    assert [t.p_value for t in plain.verdict.tests] == [t.p_value for t in scored.verdict.tests]
    assert plain.confusion is None
    assert plain.class_shift is None
    assert plain.target_proportions is None
    assert scored.confusion is not None
    predicted = logits["target_logits"].argmax(1)
    assert scored.confusion.accuracy == pytest.approx((predicted == of_z).mean())
    assert scored.target_proportions == pytest.approx(np.full(3, 1 / 3))
    assert scored.class_shift is not None


def test_the_verdict_is_that_of_the_tests_alone() -> None:
    x, y = rows(60, 0)
    z, _ = rows(60, 1, 1.0)
    alone, whole = decide(x, z, source_labels=y, seed=2), lb.diagnose(x, z, source_labels=y, seed=2)
    assert str(alone) == str(whole)


@pytest.mark.parametrize("as_result", [False, True])
def test_a_network_gives_features_and_logits(as_result: bool) -> None:
    network = small_network()
    x, y = rows(40, 0)
    z, _ = rows(40, 1, 1.0)
    given = lb.FitResult(network.eval(), None, None, 0.0) if as_result else network  # type: ignore[arg-type]
    x32, z32 = x.astype(np.float32), z.astype(np.float32)
    found = lb.diagnose(x32, z32, source_labels=y, network=given)
    with torch.no_grad():
        features, logits = network(torch.as_tensor(x32))
    torch.testing.assert_close(found.source, features)
    assert found.calibration is not None
    assert found.calibration.accuracy == pytest.approx(float((logits.argmax(1).numpy() == y).mean()))
    assert found.estimated_accuracy is not None
    assert found.plan is not None


def test_names_of_classes_are_taken_and_shown() -> None:
    x, y = rows(30, 0)
    found = lb.diagnose(x, x + 1, source_labels=np.array(["cat", "ape", "dog"])[y])
    assert found.classes == ("ape", "cat", "dog")
    found = lb.diagnose(x, x + 1, source_labels=torch.as_tensor(y), classes=["a", "b", "c", "d"])
    assert found.classes == ("a", "b", "c", "d")
    assert found.verdict.mixture is not None
    long = lb.diagnose(x, x, source_labels=y, classes=["$a$", "b" * 99, "c"]).classes
    assert (long[0], len(long[1])) == ("＄a＄", 32)
    assert lb.diagnose(x, x).classes == ()


def test_what_there_is_no_ground_for_is_left_out() -> None:
    x, _ = rows(20, 0)
    found = lb.diagnose(x, x + 1)
    for name in (
        "calibration",
        "estimated_accuracy",
        "plan",
        "confusion",
        "class_shift",
        "target_proportions",
        "before",
    ):
        assert getattr(found, name) is None, name
    assert found.spectra is not None
    assert lb.diagnose(np.ones((6, 2)), np.ones((6, 2))).spectra is None


def test_a_network_of_values_has_no_logits() -> None:
    network = lb.Network(nn.Linear(2, 4), nn.Linear(4, 1))
    x, _ = rows(20, 0)
    found = lb.diagnose(x.astype(np.float32), x.astype(np.float32) + 3, network=network)
    assert found.source.shape == (20, 4)
    assert found.verdict.label_shift is None


def test_same_seed_same_answer_and_global_states_stay(keeps_random_state: None) -> None:
    x, y = rows(30, 0)
    first, second = (lb.diagnose(x, x + 1, source_labels=y, seed=4) for _ in range(2))
    assert str(first) == str(second)
    assert first.distances.rows() == second.distances.rows()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"network": small_network(), "source_logits": np.zeros((20, 3))}, ValueError, "a network or logits, not both"),
        ({"network": "resnet"}, TypeError, "landbridge.Network"),
        ({"source_labels": np.linspace(0, 1, 20)}, ValueError, "For a regression leave the labels out"),
        ({"source_labels": ["a"] * 3}, ValueError, r"shape \(20,\)"),
        ({"source_labels": [None] * 20}, ValueError, "missing labels in source_labels: 20 of 20"),
        ({"source_labels": ["c"] * 20, "classes": ["a", "b"]}, ValueError, "'c' in source_labels, which is none of"),
        ({"source_labels": np.arange(20), "classes": ["a", "b"]}, ValueError, "from 0 to 1"),
        ({"level": 0.0}, ValueError, "level"),
        ({"level": "low"}, ValueError, "level"),
        ({"network": nn.Linear(2, 3)}, TypeError, "landbridge.Network or the result of fit; got Linear"),
        (
            {"network": lb.Network(nn.Linear(3, 4), nn.Linear(4, 2))},
            ValueError,
            r"cannot pass the source rows of shape \(20, 2\)",
        ),
        ({"source_logits": np.zeros(20), "target_logits": np.zeros(20)}, ValueError, "at least 2 classes"),
        ({"source_logits": np.zeros((20, 1)), "target_logits": np.zeros((20, 1))}, ValueError, "at least 2 classes"),
        ({"source_logits": np.zeros((20, 2))}, ValueError, "target_logits is missing"),
        ({"source_logits": np.zeros((20, 2)), "target_logits": np.zeros((20, 3))}, ValueError, "one classifier"),
        ({"source_logits": np.zeros((9, 2)), "target_logits": np.zeros((20, 2))}, ValueError, "one row of source_log"),
        ({"source_labels": ["a"] * 20, "evaluate": np.zeros(20, dtype=int)}, TypeError, "evaluate as strings"),
        ({"source_labels": np.zeros(20, dtype=int), "evaluate": ["a"] * 20}, TypeError, "evaluate as numbers"),
        ({"source_labels": [[0], [1, 2]] * 10}, TypeError, "source_labels as one class a row; they make no array"),
        ({"names": ["a"]}, ValueError, "one name a feature, 2 of them; got 1"),
    ],
)
def test_wrong_arguments_meet_a_sentence(changes: dict[str, object], error: type[Exception], words: str) -> None:
    x, _ = rows(20, 0)
    with pytest.raises(error, match=words):
        lb.diagnose(x, x, **changes)


def test_wrong_names_of_classes_are_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["landbridge.diagnostics.diagnose"], "decide", lambda *_, **__: pytest.fail("late"))
    x, y = rows(20, 0)
    with pytest.raises(ValueError, match="a name for each of the logits' 3 classes; got 2"):
        lb.diagnose(
            x, x, source_labels=y, source_logits=np.zeros((20, 3)), target_logits=np.zeros((20, 3)), classes=["a", "b"]
        )


def test_logits_may_be_lists() -> None:
    x, y = rows(30, 0)
    logits = (-((x[:, None] - CENTRES) ** 2).sum(-1)).tolist()
    found = lb.diagnose(x, x, source_labels=y, evaluate=y, source_logits=logits, target_logits=logits)
    assert found.confusion is not None
    assert found.calibration is not None


def test_a_class_of_the_target_alone_changes_no_verdict(tmp_path: Path) -> None:
    x, y = rows(90, 0)
    z, of_z = rows(90, 1, 0.4)
    names = np.array(["cat", "dog", "eel"])[y]
    scored = lb.diagnose(x, z, source_labels=names, evaluate=np.array(["ant", "dog", "eel"])[of_z])
    plain = lb.diagnose(x, z, source_labels=names)
    assert str(plain) == str(scored)
    assert [t.p_value for t in plain.verdict.tests] == [t.p_value for t in scored.verdict.tests]
    assert plain.verdict.mixture is not None
    assert scored.verdict.mixture is not None
    assert plain.verdict.mixture.test.statistic == scored.verdict.mixture.test.statistic
    assert scored.classes == ("cat", "dog", "eel", "ant")
    assert scored.target_proportions == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert page._names(scored, 3) == ("cat", "dog", "eel")
    gaps = lb.diagnose(x, z, source_labels=2 * y)  # class numbers with gaps stay so, whatever the target's are
    assert str(gaps) == str(lb.diagnose(x, z, source_labels=2 * y, evaluate=of_z + 1))


def test_no_class_with_rows_enough_in_both_domains_is_no_error() -> None:
    x, _ = rows(30, 0)
    found = lb.diagnose(x, x + 1, source_labels=np.zeros(30, dtype=int), evaluate=np.ones(30, dtype=int))
    assert found.class_shift is None
    assert found.verdict.shifted


def test_many_constant_features_are_no_shift() -> None:
    assert str(lb.diagnose(np.ones((300, 600)), np.ones((300, 600)))).startswith("No shift found.")


def test_values_whose_powers_overflow_meet_a_sentence() -> None:
    x, _ = rows(20, 0)
    with pytest.raises(ValueError, match=r"diagnose overflows: the features go up to .* Divide both domains"):
        lb.diagnose(1e160 * x, 1e160 * x)


def test_too_few_rows_and_other_sizes_meet_a_sentence() -> None:
    x, _ = rows(20, 0)
    with pytest.raises(ValueError, match="at least 5 rows"):
        lb.diagnose(x[:4], x)
    with pytest.raises(ValueError, match="one size"):
        lb.diagnose(x, x[:, :1])
    with pytest.raises(TypeError, match="numbers"):
        lb.diagnose(np.array([["a"]] * 9, dtype=object), x)


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "render", lambda found, *, title: f"<!DOCTYPE html>{title}")
    x, _ = rows(20, 0)
    found = lb.diagnose(x, x)
    assert found.write(tmp_path / "deep" / "page.html").read_text() == "<!DOCTYPE html>source and target"
    with pytest.raises(ValueError, match="needs a file; got the folder"):
        found.write(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        found.write(tmp_path / "file" / "page.html")
