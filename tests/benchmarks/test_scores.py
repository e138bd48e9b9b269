"""Scores of a cell: read from its stored outputs, kept beside them, and made anew where they do not fit."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from made_outputs import collapsed_outputs, folder_of, made_outputs, put_cell, step_arrays, write_step

from landbridge.benchmarks import scores as module
from landbridge.benchmarks.scores import (
    CHEAP,
    KNOWN,
    Score,
    choose,
    kept_names,
    read_outputs,
    score_cell,
    stored_scores,
)
from landbridge.shared.validators import VALIDATORS, Entropy, collapse


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints, of which the second has collapsed."""
    write_step(tmp_path, 100, made_outputs(0, right=0.5))
    write_step(tmp_path, 200, collapsed_outputs(1))
    write_step(tmp_path, 1000, made_outputs(2, right=0.9))
    return tmp_path


def kept(folder):
    return json.loads((folder / "validators.json").read_text())


def values(scores):
    return [score.value for score in scores]


def test_cheap_ones_by_default_in_the_order_of_steps(folder):
    found = score_cell(folder)
    assert tuple(found) == CHEAP
    assert set(CHEAP) == {name for name, validator in VALIDATORS.items() if validator.cost == "cheap"}
    for name, scores in found.items():
        files = [folder / "outputs" / f"step-{step:06d}.npz" for step in (100, 200, 1000)]
        assert values(scores) == [VALIDATORS[name].score(read_outputs(file)) for file in files]
        assert [score.collapsed for score in scores] == [False, True, False]
        assert [score.why for score in scores] == [None] * 3


def test_all_of_them_on_request_and_seconds(folder):
    found = stored_scores(folder, KNOWN)
    assert list(found.scores) == list(KNOWN) == [*VALIDATORS, "circular"]
    assert found.steps == (100, 200, 1000)
    assert all(math.isfinite(score.value) for scores in found.scores.values() for score in scores)
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert list(found.collapses) == [200]
    assert "are predicted as class 1" in found.collapses[200]


def test_the_stored_outputs_are_read_whole(folder):
    outputs = made_outputs(0, right=0.5)
    back = read_outputs(folder / "outputs" / "step-000100.npz")
    for stored, made in zip(
        (back.source_train, back.source_holdout, back.target),
        (outputs.source_train, outputs.source_holdout, outputs.target),
        strict=True,
    ):
        assert stored.logits.dtype == stored.features.dtype == np.float32
        np.testing.assert_allclose(stored.logits, made.logits, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(stored.features, made.features, rtol=1e-3, atol=1e-2)
        assert (made.labels is None) == (stored.labels is None)
        if made.labels is not None:
            np.testing.assert_array_equal(stored.labels, made.labels)
    hits = outputs.source_holdout.logits.argmax(1) == outputs.source_holdout.labels
    assert back.source_holdout.accuracy == hits.mean()
    assert read_outputs(folder / "outputs" / "step-000100.npz", features=False).target.features.shape == (60, 0)


def test_the_accuracy_is_of_all_held_out_rows(folder):
    arrays = step_arrays(made_outputs(0))
    arrays["source_holdout/all_labels"] = np.zeros(8, dtype=int)
    arrays["source_holdout/predictions"] = np.array([0] * 3 + [1] * 5, dtype=np.int16)
    np.savez(folder / "outputs" / "step-000100.npz", **arrays)
    assert score_cell(folder, ["source-accuracy"])["source-accuracy"][0].value == 0.375


def test_kept_scores_are_used(folder, monkeypatch):
    first = score_cell(folder)
    monkeypatch.setattr(module, "read_outputs", lambda *_, **__: pytest.fail("nothing needs to be read"))
    assert score_cell(folder) == first
    assert kept_names(folder) == list(CHEAP)


def test_one_more_validator_leaves_the_others(folder):
    score_cell(folder, ["entropy"])
    before = kept(folder)["validators"]["entropy"]
    score_cell(folder, ["source-risk"])
    assert list(kept(folder)["validators"]) == ["entropy", "source-risk"]
    assert kept(folder)["validators"]["entropy"] == before


def test_a_new_version_is_computed_anew_alone(folder, monkeypatch):
    score_cell(folder, ["entropy", "source-risk"])
    spoilt = kept(folder)
    for each in spoilt["validators"].values():
        each["scores"] = [[7.0, None]] * 3
    (folder / "validators.json").write_text(json.dumps(spoilt))
    assert values(score_cell(folder, ["entropy"])["entropy"]) == [7.0] * 3
    monkeypatch.setattr(Entropy, "version", 2)
    found = score_cell(folder, ["entropy", "source-risk"])
    assert 7.0 not in values(found["entropy"])
    assert values(found["source-risk"]) == [7.0] * 3
    assert kept(folder)["validators"]["entropy"]["version"] == 2


def test_a_new_definition_of_collapse_makes_all_anew(folder, monkeypatch):
    score_cell(folder, ["entropy"])
    monkeypatch.setattr(module, "COLLAPSE_VERSION", 99)
    monkeypatch.setattr(module, "collapse", lambda *_: "never")
    assert all(score.collapsed for score in score_cell(folder, ["entropy"])["entropy"])


def test_other_outputs_make_all_anew(folder):
    before = values(score_cell(folder)["entropy"])
    write_step(folder, 1000, made_outputs(5, right=0.1))
    after = values(score_cell(folder)["entropy"])
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    (folder / "outputs" / "step-000100.npz").unlink()
    assert values(score_cell(folder)["entropy"]) == after[1:]
    assert stored_scores(folder, ["entropy"]).steps == (200, 1000)


def test_a_copied_folder_needs_no_new_scores(folder, tmp_path_factory, monkeypatch):
    first = score_cell(folder)
    copy = tmp_path_factory.mktemp("copy") / "cell"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    monkeypatch.setattr(module, "read_outputs", lambda *_, **__: pytest.fail("nothing needs to be read"))
    assert score_cell(copy) == first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": 0}', '"text"', b"\xff"])
def test_a_broken_or_foreign_file_of_scores_is_made_anew(folder, content):
    first = score_cell(folder)
    path = folder / "validators.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert score_cell(folder) == first
    assert kept(folder)["format"] == 1


def test_scores_of_another_format_are_not_used(folder):
    first = score_cell(folder, ["entropy"])
    foreign = kept(folder)
    foreign["format"] += 1
    foreign["validators"]["entropy"]["scores"] = [[7.0, None]] * 3
    (folder / "validators.json").write_text(json.dumps(foreign))
    assert score_cell(folder, ["entropy"]) == first


def test_weights_count_for_each_that_uses_them(folder, monkeypatch):
    monkeypatch.setattr(module, "_weigh", lambda outputs: 100.0)
    seconds = stored_scores(folder, ["source-risk", "importance-weighted", "deep-embedded-validation"]).seconds
    assert {name: round(spent, -1) for name, spent in seconds.items()} == {
        "source-risk": 0,
        "importance-weighted": 300,
        "deep-embedded-validation": 300,
    }


def test_features_are_read_only_where_they_are_needed(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "read_outputs", lambda p, *, features: asked.append(features) or read_outputs(p))
    score_cell(folder)
    score_cell(folder, ["entropy", "class-clustering"])
    assert asked == [False] * 3 + [True] * 3


def test_a_folder_that_cannot_be_written_to(folder, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(module, "write_atomically", refuse)
    assert len(score_cell(folder)["entropy"]) == 3
    assert not (folder / "validators.json").exists()


def test_without_outputs_the_kept_scores_stand(folder):
    first = score_cell(folder, ["entropy"])
    shutil.rmtree(folder / "outputs")
    assert score_cell(folder, ["entropy", "nuclear-norm"]) == first
    (folder / "validators.json").unlink()
    assert score_cell(folder) == {}
    assert stored_scores(folder, CHEAP).steps == ()
    assert kept_names(folder) == []


def test_no_holdout_is_said(tmp_path):
    write_step(tmp_path, 10, made_outputs(0, holdout=False))
    found = score_cell(tmp_path, KNOWN)
    for name, validator in KNOWN.items():
        (score,) = found[name]
        assert score.why == ("the protocol holds no source rows out" if validator.needs_holdout else None)
        assert (score.value is None) == validator.needs_holdout


def test_half_precision_overflow_counts_as_the_largest_number(tmp_path):
    outputs = made_outputs(0)
    outputs.target.logits[:4, 0] = 1e6
    outputs.target.logits[:2, 1] = 1e6
    outputs.target.logits[5, 2] = -1e6
    outputs.source_train.features[0] = 1e9
    write_step(tmp_path, 10, outputs)
    back = read_outputs(tmp_path / "outputs" / "step-000010.npz")
    assert back.target.logits.max() == 65504
    assert back.target.logits.min() == -65504
    assert all(math.isfinite(scores[0].value) for scores in score_cell(tmp_path, KNOWN).values())


@pytest.mark.parametrize(
    ("split", "says"),
    [("target", "outputs of target"), ("source_holdout", "source_holdout"), ("source_train", "train")],
)
def test_a_diverged_network_has_no_score_and_is_not_called_collapsed(tmp_path, split, says):
    outputs = made_outputs(0)
    getattr(outputs, split).logits[:] = np.nan
    write_step(tmp_path, 10, outputs)
    for scores in score_cell(tmp_path, KNOWN).values():
        assert scores[0].value is None
        assert scores[0].why.startswith("the network has diverged")
        assert says in scores[0].why
        assert not scores[0].collapsed


def test_too_few_rows_for_the_weights_is_said(tmp_path):
    write_step(tmp_path, 10, made_outputs(0, n=8))
    (score,) = score_cell(tmp_path, ["deep-embedded-validation"])["deep-embedded-validation"]
    assert score.value is None
    assert "needs at least 10 rows of each domain" in score.why


def test_a_score_that_is_not_finite_is_none(folder, monkeypatch):
    monkeypatch.setattr(Entropy, "score", lambda self, outputs: float("nan"))
    assert score_cell(folder, ["entropy"])["entropy"][0] == Score(None, "the score is not finite")
    assert values(score_cell(folder, ["entropy"])["entropy"]) == [None] * 3


def test_collapse_is_judged_against_the_sources_labels(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "collapse", lambda logits, labels: seen.append(labels) or collapse(logits, labels))
    score_cell(folder, ["entropy"])
    assert [len(labels) for labels in seen] == [63] * 3


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all"])
def test_broken_outputs_are_named(folder, content):
    (folder / "outputs" / "step-000200.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"outputs/step-000200\.npz cannot be read .* Delete the cell's folder"):
        score_cell(folder)


def test_truncated_outputs_are_named(folder):
    path = folder / "outputs" / "step-000200.npz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="step-000200"):
        score_cell(folder)


def test_outputs_without_an_array_are_named(folder):
    arrays = step_arrays(made_outputs(0))
    del arrays["target_train/logits"]
    np.savez(folder / "outputs" / "step-000200.npz", **arrays)
    with pytest.raises(ValueError, match=r"step-000200.*target_train/logits"):
        score_cell(folder)


def test_rows_adapted_to_and_scored_are_stored_once(folder):
    arrays = step_arrays(made_outputs(0))
    np.savez(folder / "outputs" / "step-000200.npz", **arrays)
    apart = score_cell(folder, ["entropy"])
    (folder / "validators.json").unlink()
    once = {name.replace("target_train/", "target_eval/"): value for name, value in arrays.items()
            if not name.startswith("target_eval/")}  # fmt: skip
    np.savez(folder / "outputs" / "step-000200.npz", **once)
    assert score_cell(folder, ["entropy"]) == apart


def test_unknown_validators_meet_the_nearest(folder):
    with pytest.raises(ValueError, match="unknown validator 'entropie'; did you mean 'entropy'"):
        score_cell(folder, ["entropie"])


def test_target_labels_are_never_opened(folder):
    (folder / "target_labels.npz").write_bytes(b"nobody reads this")
    assert len(score_cell(folder, KNOWN)) == len(KNOWN)


def test_a_real_cells_folder(tmp_path):
    cell = put_cell(tmp_path, {10: (0.5, made_outputs(0)), 20: (0.6, made_outputs(1))})
    assert len(score_cell(folder_of(tmp_path, cell))["entropy"]) == 2


@pytest.mark.parametrize(
    ("scores", "place"),
    [
        ([Score(1.0), Score(3.0), Score(2.0)], 1),
        ([Score(1.0), Score(3.0), Score(3.0), Score(2.0)], 2),
        ([Score(-1.0), Score(None, "no"), Score(-2.0)], 0),
        ([Score(None, "no"), Score(None, "no")], None),
        ([], None),
        ([Score(1.0), Score(9.0, None, True)], 0),
        ([Score(8.0, None, True), Score(9.0, None, True)], 1),
        ([Score(8.0, None, True), Score(None, "no")], 0),
        ([Score(0.0), Score(0.0)], 1),
    ],
)
def test_the_choice(scores, place):
    assert choose(scores) == place
