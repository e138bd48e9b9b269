"""Validators that rank backwards on a run, or choose worse than the last checkpoint: marked, and others not."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import folder_of, made_folder
from rich.console import Console
from scipy import stats

from landbridge.benchmarks.backwards import Course, corrected, judge, rank_correlation
from landbridge.benchmarks.ranking import backwards_here, rank, weighted_spearman
from landbridge.benchmarks.ranking_table import ranking_to_csv, ranking_to_markdown, render_ranking
from landbridge.benchmarks.scores import stored_scores


def courses(
    draw: np.random.Generator, sign: float, *, tasks: int = 2, seeds: int = 3, methods: int = 4, noise: float = 1.0
) -> list[Course]:
    """Accuracies that wander; scores that follow them (``sign`` 1), go against them (-1), or do neither (0)."""
    found = []
    for task in range(tasks):
        for seed in range(seeds):
            for method in range(methods):
                accuracies = 60 + method + 2 * np.cumsum(draw.standard_normal(10))
                scores = sign * accuracies + noise * draw.standard_normal(10)
                pick = float(accuracies[int(np.argmax(scores))])
                accuracy = tuple(map(float, accuracies))
                found.append(Course(f"{task}", seed, tuple(map(float, scores)), accuracy, pick, accuracy[-1]))
    return found


def test_rank_correlation_against_scipy() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 5, 9).tolist(), draw.integers(0, 5, 9).tolist()
        assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([1.0, 2.0], [2.0, 1.0]) is None


def test_one_that_goes_against_the_accuracy_is_found_and_one_that_follows_is_not() -> None:
    against, follows = (judge(courses(np.random.default_rng(1), sign), weighted_spearman) for sign in (-1.0, 1.0))
    assert (against.backwards, against.below_last) == (True, True)
    assert against.loss > 0
    assert (follows.backwards, follows.below_last) == (False, False)
    assert follows.loss < 0
    few = judge(courses(np.random.default_rng(1), -1.0, tasks=1, seeds=2, methods=7), weighted_spearman)
    assert few.backwards  # two seeds of one task are enough


def test_backwards_over_methods_alone_is_found_too() -> None:
    """Scores say nothing within a cell, and put the worst method on top in every task and seed."""
    draw = np.random.default_rng(2)
    found = []
    for task in "ab":
        for seed in range(3):
            for method in range(4):
                noise = tuple(draw.standard_normal(10) / 10)
                accuracies = tuple(float(60 + 5 * method + one) for one in draw.standard_normal(10))
                scores = tuple(-method + one for one in noise)
                found.append(Course(task, seed, scores, accuracies, accuracies[-1], accuracies[-1]))
    judged = judge(found, weighted_spearman)
    assert judged.backwards
    assert judged.p_last is None  # its picks are the last checkpoints


def test_false_alarms_stay_at_their_level() -> None:
    draw = np.random.default_rng(3)
    runs = [judge(courses(draw, 0.0, seeds=2), weighted_spearman) for _ in range(300)]
    assert sum(one.backwards for one in runs) / len(runs) < 0.08
    assert sum(one.below_last for one in runs) / len(runs) < 0.08


def test_p_values_are_corrected_for_the_validators_each_kind_by_itself() -> None:
    one = judge(courses(np.random.default_rng(1), -1.0), weighted_spearman)
    other = judge(courses(np.random.default_rng(4), 1.0), weighted_spearman)
    assert one.p_order is not None
    assert one.p_last is not None
    both = corrected({"one": one, "other": other})
    assert both["one"].p_order == pytest.approx(2 * one.p_order)
    assert both["one"].p_last == pytest.approx(2 * one.p_last)
    assert judge([], weighted_spearman).p_order is None


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Cells that get better; information maximisation scores them the wrong way round."""
    for cell in made_folder(tmp_path, methods=("source-only", "dann", "mcc"), seeds=2, checkpoints=4, n=400):
        folder = folder_of(tmp_path, cell)
        stored_scores(folder, ["information-maximisation", "entropy"])
        kept = json.loads((folder / "validators.json").read_text())
        accuracies = [checkpoint.target_eval for checkpoint in cell.checkpoints]
        kept["validators"]["information-maximisation"]["scores"] = [[-one, None] for one in accuracies]
        kept["validators"]["entropy"]["scores"] = [[one, None] for one in accuracies]
        (folder / "validators.json").write_text(json.dumps(kept))
    return tmp_path


def test_the_ranking_marks_it(out: Path) -> None:
    ranking = rank(out, names=["information-maximisation", "entropy"])
    rows = {row.validator: row.judged for row in ranking.blocks[0].rows}
    assert (rows["information-maximisation"].backwards, rows["entropy"].backwards) == (True, False)
    text = io.StringIO()
    Console(file=text, width=120).print(render_ranking(ranking))
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert any(line[:1] == ["information-maximisation"] and "backwards" in line for line in lines)
    assert not any(line[:1] == ["entropy"] and "backwards" in line for line in lines)
    markdown = ranking_to_markdown(ranking)
    assert "| on this run |" in markdown
    (note,) = [
        note for note in ranking.notes if note.startswith("backwards: on this run higher scores went with lower")
    ]
    assert "information-maximisation (p = " in note
    assert "entropy" not in note
    table = list(csv.DictReader(io.StringIO(ranking_to_csv(ranking))))
    marked = {row["validator"]: row["ranks_backwards"] for row in table if row["task"] == "average"}
    assert marked == {"information-maximisation": "1", "entropy": "0"}


def test_nothing_is_marked_where_all_is_well(out: Path) -> None:
    ranking = rank(out, names=["entropy"])
    assert "on this run" not in ranking_to_markdown(ranking)
    assert not any(note.startswith(("backwards", "below last")) for note in ranking.notes)


def test_tables_chosen_by_it_get_a_note(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from command import command_line

    from landbridge.benchmarks import plots
    from landbridge.benchmarks.report import write_report
    from landbridge.benchmarks.results import read_cells

    sentence = "chosen:information-maximisation ranks backwards on this run"
    (found,) = backwards_here(out, read_cells(out), "information-maximisation")
    assert found.startswith(sentence)
    assert backwards_here(out, read_cells(out), "entropy") == []
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    landbridge: Any = command_line(monkeypatch, capsys)
    assert sentence in " ".join(landbridge("table", out).out.split())
    assert "backwards" not in landbridge("table", out, "--validator", "entropy").out
    assert sentence in write_report(out, out / "page.html").read_text(encoding="utf-8")
