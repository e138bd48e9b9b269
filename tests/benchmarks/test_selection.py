"""What validators choose in finished cells, for the tables."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from made_cells import made_cell
from made_outputs import collapsed_outputs, folder_of, made_outputs, put_cell, sure_outputs

from landbridge.benchmarks import selection
from landbridge.benchmarks.results import Selection, read_cells
from landbridge.benchmarks.scores import CHEAP
from landbridge.benchmarks.selection import score_cell, selections

GOOD, BAD, WORST = sure_outputs(1.0), sure_outputs(0.3), sure_outputs(0.1)


def test_the_best_score_by_step_and_what_it_scores(tmp_path):
    cell = put_cell(tmp_path, {10: (0.1, BAD), 20: (0.4, GOOD), 30: (0.3, WORST)})
    found = selections(tmp_path, [cell])
    assert list(found) == [cell.identity]
    assert set(found[cell.identity]) == set(CHEAP)
    assert found[cell.identity]["information-maximisation"] == Selection(20, 0.4, False)
    assert read_cells(tmp_path) == [cell]


def test_equal_scores_choose_the_latest(tmp_path):
    cell = put_cell(tmp_path, {10: (0.1, GOOD), 20: (0.4, GOOD), 30: (0.3, BAD)})
    assert selections(tmp_path, [cell])[cell.identity]["information-maximisation"].step == 20


def test_a_collapsed_checkpoint_is_passed_over(tmp_path):
    cell = put_cell(tmp_path, {10: (0.5, BAD), 20: (0.1, collapsed_outputs(0)), 30: (0.5, WORST)})
    scores = score_cell(folder_of(tmp_path, cell))["entropy"]
    assert max(scores, key=lambda score: score.value).collapsed
    chosen = selections(tmp_path, [cell])[cell.identity]
    assert all(not choice.collapsed and choice.step != 20 for choice in chosen.values())


def test_where_all_have_collapsed_it_is_said(tmp_path):
    cell = put_cell(tmp_path, {10: (0.1, collapsed_outputs(0)), 20: (0.1, collapsed_outputs(1))})
    assert all(choice.collapsed for choice in selections(tmp_path, [cell])[cell.identity].values())


def test_cells_without_outputs_and_validators_without_scores_are_absent(tmp_path):
    bare = put_cell(tmp_path, {10: (0.5, GOOD)}, seed=0)
    shutil.rmtree(folder_of(tmp_path, bare) / "outputs")
    no_holdout = put_cell(tmp_path, {10: (0.5, made_outputs(0, holdout=False))}, seed=1)
    nowhere = made_cell(seed=2)
    found = selections(tmp_path, [bare, no_holdout, nowhere])
    assert list(found) == [no_holdout.identity]
    assert "entropy" in found[no_holdout.identity]
    assert not {"source-accuracy", "source-risk"} & set(found[no_holdout.identity])


def test_costly_ones_are_there_once_they_have_been_computed(tmp_path):
    cell = put_cell(tmp_path, {10: (0.5, GOOD), 20: (0.6, BAD)})
    assert "class-clustering" not in selections(tmp_path, [cell])[cell.identity]
    score_cell(folder_of(tmp_path, cell), ["class-clustering", "circular"])
    assert {"class-clustering", "circular", *CHEAP} == set(selections(tmp_path, [cell])[cell.identity])
    assert set(selections(tmp_path, [cell], ["deep-embedded-validation"])[cell.identity]) == {
        "deep-embedded-validation"
    }


def test_kept_scores_do_without_outputs(tmp_path):
    cell = put_cell(tmp_path, {10: (0.5, GOOD), 20: (0.6, BAD)})
    first = selections(tmp_path, [cell])
    shutil.rmtree(folder_of(tmp_path, cell) / "outputs")
    assert selections(tmp_path, [cell]) == first


def test_a_step_that_was_not_scored_is_not_chosen(tmp_path):
    cell = put_cell(tmp_path, {10: (0.5, BAD), 20: (0.6, GOOD)})
    shorter = cell.model_copy(update={"checkpoints": cell.checkpoints[:1]})
    assert {choice.step for choice in selections(tmp_path, [shorter])[cell.identity].values()} == {10}


def test_broken_outputs_cost_one_cell_and_a_warning(tmp_path):
    broken, sound = put_cell(tmp_path, {10: (0.5, GOOD)}, seed=0), put_cell(tmp_path, {10: (0.5, GOOD)}, seed=1)
    (folder_of(tmp_path, broken) / "outputs" / "step-000010.npz").write_bytes(b"PK")
    with pytest.warns(UserWarning, match="step-000010"):
        assert list(selections(tmp_path, [broken, sound])) == [sound.identity]


def test_unknown_validators_meet_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="unknown validator 'nuclear'; did you mean 'nuclear-norm'"):
        selections(tmp_path, [], ["nuclear"])


def test_no_torch_to_choose_and_rank(tmp_path):
    put_cell(tmp_path, {10: (0.5, GOOD), 20: (0.6, BAD)})
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from landbridge.benchmarks.results import read_cells\n"
        "from landbridge.benchmarks.selection import selections\n"
        "out = Path(sys.argv[1])\n"
        "assert selections(out, read_cells(out))\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_everything_offered_is_there():
    assert all(hasattr(selection, name) for name in selection.__all__)
