"""The note on changed class proportions: from source-only's stored outputs, without target labels and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_cells import made_cell
from made_outputs import folder_of, put_cell
from tiny_suite import tiny_job

from landbridge.benchmarks.cell import run_cell
from landbridge.benchmarks.proportions import find_proportions, kept_proportions
from landbridge.benchmarks.results import Cell, folders_of
from landbridge.benchmarks.table import summarise
from landbridge.shared.validators import Outputs, Stored

EVEN, SKEWED = (0.25, 0.25, 0.25, 0.25), (0.55, 0.15, 0.15, 0.15)


def drawn(proportions: tuple[float, ...], seed: int, n: int = 300, shift: float = 0.0) -> Stored:
    """Rows of four classes in these proportions: clusters, which a network tells apart with few errors."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), np.round(n * np.array(proportions)).astype(int))
    centres = np.random.default_rng(99).normal(size=(4, 6)) * 2
    features = centres[truth] + rng.normal(size=(len(truth), 6)) + shift * (centres[1] - centres[0])
    logits = -((features[:, None] - centres) ** 2).sum(2) / 4
    return Stored(logits, features, truth)


def outputs_of(target: tuple[float, ...], seed: int, *, holdout: bool = True, shift: float = 0.0) -> Outputs:
    unlabelled = drawn(target, 300 + seed, shift=shift)._replace(labels=None)
    return Outputs(drawn(EVEN, 100 + seed), drawn(EVEN, 200 + seed) if holdout else None, unlabelled)


def put_all(out: Path, *outputs: Outputs, task: str = "mnist->usps") -> list[Cell]:
    """A source-only and two other finished cells for each seed."""
    cells = []
    for seed, stored in enumerate(outputs):
        cells.append(put_cell(out, {100: (0.7, stored)}, method="source-only", seed=seed, task=task))
        cells += [made_cell(name, task, seed, (0.7,)) for name in ("dann", "mcc")]
    return cells


def notes_of(out: Path, cells: list[Cell]) -> list[str]:
    table = summarise(cells, proportions=kept_proportions(folders_of(out, cells)))
    return [note for note in table.notes if "Class proportions" in note]


def test_changed_proportions_make_one_note_with_tasks_class_and_rows(tmp_path: Path) -> None:
    cells = put_all(tmp_path, *(outputs_of(SKEWED, seed) for seed in range(3)))
    cells += put_all(tmp_path, *(outputs_of(EVEN, seed) for seed in range(3)), task="usps->mnist")
    (note,) = notes_of(tmp_path, cells)
    assert note.startswith("Class proportions differ between the domains, as the predictions of source-only tell")
    assert "mnist->usps (class 0: 0.25 -> 0.5" in note
    assert "; 3 of 3 seeds)" in note
    assert "usps->mnist" not in note
    assert note.endswith("Made for equal ones: dann.")
    found = find_proportions(folder_of(tmp_path, cells[0]))
    assert found is not None
    assert found.shown
    assert found.low[0] < 0.55 < found.high[0]


def test_equal_proportions_make_none(tmp_path: Path) -> None:
    cells = put_all(tmp_path, *(outputs_of(EVEN, seed) for seed in range(3)))
    assert notes_of(tmp_path, cells) == []
    assert notes_of(tmp_path / "elsewhere", cells) == []


def test_predictions_that_moved_with_the_features_make_none(tmp_path: Path) -> None:
    """The logits alone take this for changed proportions."""
    from landbridge.weighting import class_proportions

    stored = outputs_of(EVEN, 0, shift=0.5)
    assert stored.source_holdout is not None
    alone = class_proportions(stored.source_holdout.logits, stored.source_holdout.labels, stored.target.logits)
    assert alone.changed
    assert alone.trusted
    cells = put_all(tmp_path, stored)
    found = find_proportions(folder_of(tmp_path, cells[0]))
    assert found is not None
    assert not found.shown
    assert notes_of(tmp_path, cells) == []


def test_a_network_that_is_unsure_of_the_target_tells_nothing(tmp_path: Path) -> None:
    """As on mnist->mnist-m, where most images are taken for one class: the same predictions, at lower confidence."""
    stored = outputs_of(SKEWED, 0)
    assert len(notes_of(tmp_path / "sure", put_all(tmp_path / "sure", stored))) == 1
    unsure = stored.target._replace(logits=stored.target.logits * 0.2)
    cells = put_all(tmp_path / "unsure", Outputs(stored.source_train, stored.source_holdout, unsure))
    assert notes_of(tmp_path / "unsure", cells) == []


@pytest.mark.parametrize(("changed", "said"), [(1, 0), (2, 1)])
def test_most_seeds_must_tell_it(tmp_path: Path, changed: int, said: int) -> None:
    outputs = [outputs_of(SKEWED if seed < changed else EVEN, seed) for seed in range(3)]
    assert len(notes_of(tmp_path, put_all(tmp_path, *outputs))) == said


def test_without_held_out_rows_and_with_broken_or_diverged_outputs_there_is_none(tmp_path: Path) -> None:
    diverged = outputs_of(SKEWED, 2)
    diverged.target.logits[0, 0] = np.nan
    cells = put_all(tmp_path, outputs_of(SKEWED, 0, holdout=False), outputs_of(SKEWED, 1), diverged)
    (folder_of(tmp_path, cells[3]) / "outputs" / "step-000100.npz").write_bytes(b"no file of arrays")
    assert notes_of(tmp_path, cells) == []
    assert [find_proportions(folder_of(tmp_path, cell)) for cell in cells] == [None] * len(cells)


def test_what_was_found_is_kept_and_read_without_torch_and_without_the_outputs(tmp_path: Path) -> None:
    cells = put_all(tmp_path, outputs_of(SKEWED, 0))
    folder = folder_of(tmp_path, cells[0])
    first = find_proportions(folder)
    (folder / "outputs" / "step-000100.npz").unlink()
    assert find_proportions(folder) == first is not None
    code = (
        "import sys; from landbridge.benchmarks.cli import app\n"
        f"app(['table', {str(tmp_path)!r}], standalone_mode=False)\n"
        "print('loaded:', 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Class proportions differ" in done.stdout
    assert done.stdout.endswith("loaded: False\n")
    (folder / "proportions.json").write_text(json.dumps({"format": 0}))
    assert find_proportions(folder) is None


def test_a_source_only_cell_keeps_it_when_it_ends_and_no_other_does(tmp_path: Path) -> None:
    for method, kept in (("source-only", True), ("dann", False)):
        job = tiny_job(tmp_path, method=method)
        run_cell(job._replace(keep="scores"))
        assert (job.folder / "proportions.json").is_file() == kept
        assert not (job.folder / "outputs").exists()
