"""Which rows are right: kept by scoring, bit for bit, and read from older cells too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_suite import tiny_job

from landbridge.benchmarks.cell import run_cell
from landbridge.benchmarks.hits import lost_and_won, read_hits, write_hits


def test_bits_come_back(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows, labels = np.arange(21) * 3, draw.integers(0, 4, 21)
    predictions = {step: draw.integers(0, 4, 21) for step in (20, 5)}
    write_hits(tmp_path, rows, labels, predictions)
    found = read_hits(tmp_path, (5, 20))
    assert found is not None
    for step, predicted in predictions.items():
        assert found.right[step].tolist() == [int(a) == int(b) for a, b in zip(predicted, labels, strict=True)]
    assert read_hits(tmp_path, (7,)) is None
    assert read_hits(tmp_path / "elsewhere", (5,)) is None
    write_hits(tmp_path / "other", rows + 1, labels, predictions)
    other = read_hits(tmp_path / "other", (5,))
    assert other is not None
    assert other.rows != found.rows


def test_a_cell_keeps_all_rows_scored_and_older_cells_are_read_from_their_outputs(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    cell = run_cell(job)
    steps = [checkpoint.step for checkpoint in cell.checkpoints]
    found = read_hits(job.folder, steps)
    assert found is not None
    for checkpoint in cell.checkpoints:
        right = found.right[checkpoint.step]
        assert len(right) == cell.n
        assert right.mean() == checkpoint.target_eval
    (job.folder / "hits.npz").unlink()
    older = read_hits(job.folder, steps)
    assert older is not None
    assert older.rows == found.rows
    assert all((older.right[step] == found.right[step]).all() for step in steps)


def test_they_stay_where_outputs_are_dropped(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, keep="scores")
    cell = run_cell(job)
    found = read_hits(job.folder, [cell.checkpoints[-1].step])
    assert found is not None
    assert found.right[cell.checkpoints[-1].step].mean() == cell.last


def test_discordant_rows_are_counted() -> None:
    method, baseline = np.array([1, 1, 0, 0, 0], dtype=bool), np.array([1, 0, 1, 1, 0], dtype=bool)
    assert lost_and_won(method, baseline) == (2, 1)
