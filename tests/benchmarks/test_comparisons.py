"""Gains over AdaBN, and losses on the same images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cells import made_cell, made_classical, made_selections
from made_report import folder_of
from scipy import stats

from landbridge.benchmarks.comparisons import kept_hits
from landbridge.benchmarks.hits import Hits, write_hits
from landbridge.benchmarks.render import to_csv, to_latex, to_markdown
from landbridge.benchmarks.render_lines import sheets
from landbridge.benchmarks.results import Cell, Selection, folders_of
from landbridge.benchmarks.statistics import in_every_seed, mcnemar_below
from landbridge.benchmarks.table import negative_transfer, summarise

TASK, OTHER = "mnist->usps", "usps->mnist"


def row(table: Any, method: str) -> Any:
    (found,) = [row for row in table.blocks[0].rows if row.method == method]
    return found


def place(table: Any, method: str, where: str = TASK, column: str = "last") -> Any:
    return row(table, method).numbers[column][where]


# ------------------------------------------------------------------ over AdaBN
SCORES = {
    "source-only": (0.50, 0.52, 0.51),
    "adabn": (0.585, 0.60, 0.60),
    "dann": (0.589, 0.601, 0.603),
    "dan": (0.64, 0.66, 0.655),
    "mcc": (0.55, 0.56, 0.57),
    "train-on-target": (0.9, 0.91, 0.9),
}


def several(methods: Any = tuple(SCORES), tasks: tuple[str, ...] = (TASK, OTHER), **changes: Any) -> list[Cell]:
    return [
        made_cell(method, task, seed, (0.3, score + 0.01 * tasks.index(task) * seed), **changes)
        for method in methods
        for task in tasks
        for seed, score in enumerate(SCORES[method])
    ]


def test_gains_over_adabn_against_loops_and_scipy() -> None:
    table = summarise(several())
    assert table.blocks[0].second == "adabn"
    raw = {}
    for method in ("dann", "dan", "mcc"):
        for task in (TASK, OTHER):
            differences = [100 * (a - b) for a, b in zip(SCORES[method], SCORES["adabn"], strict=True)]
            found = place(table, method, task).beyond
            assert found.gain == pytest.approx(sum(differences) / 3)
            assert found.seeds == (0, 1, 2)
            test = stats.ttest_1samp(differences, 0)
            assert found.p == pytest.approx(test.pvalue)
            assert found.half_width == pytest.approx(test.confidence_interval(0.95).high - found.gain)
            assert found.comparisons == 6
            raw[method, task] = test.pvalue
    least = min(raw.values())  # Holm over these six by themselves, not over source-only's eight too
    assert min(place(table, *where).beyond.p_holm for where in raw) == pytest.approx(min(1, 6 * least))
    assert place(table, "dann").comparisons == 8  # those with source-only


def test_adabn_and_source_only_have_none_and_the_bound_is_not_tested() -> None:
    table = summarise(several())
    assert place(table, "source-only").beyond is None
    assert place(table, "adabn").beyond is None
    bound = place(table, "train-on-target").beyond
    assert (bound.gain, bound.p) == (pytest.approx(100 * (2.71 - 1.785) / 3), None)


def test_without_the_row_or_under_joint_statistics_there_is_one_gain() -> None:
    for cells in (
        several(("source-only", "dann")),
        several(settings={"rules": {"batch_statistics": "joint"}}),
    ):
        table = summarise(cells)
        assert table.blocks[0].second is None
        assert place(table, "dann").beyond is None
        texts = [to_markdown(table), to_latex(table), *table.notes]
        assert not any("AdaBN" in text or "p AdaBN" in text for text in texts)
    separate = summarise(several(settings={"rules": {"batch_statistics": "per_domain"}}))
    assert separate.blocks[0].second == "adabn"


def test_classical_rows_are_not_compared_with_it() -> None:
    cells = [made_classical("raw", estimator="none"), made_classical("coral")]
    cells += [made_cell(method, track="features", network="features") for method in ("source-only", "adabn", "dann")]
    table = summarise(cells)
    assert place(table, "coral").beyond is None
    assert place(table, "dann").beyond is not None


def test_both_gains_stand_in_every_form() -> None:
    table = summarise(several(), tasks=(TASK, OTHER))
    last, *_, summary = sheets(table, table.blocks[0])
    assert last.title.endswith("in brackets the gain over source-only and, behind the comma, over AdaBN")
    (dann,) = [line for line in last.lines if line.label == "DANN"]
    assert dann.entries[0].gain == "+8.8, +0.3"
    (adabn,) = [line for line in last.lines if line.label == "ADABN"]
    assert adabn.entries[0].gain == "+8.5"
    assert "test against source-only and against AdaBN" in summary.title
    assert summary.header[2:6] == ("gain", "p", "over AdaBN", "p AdaBN")
    assert "(+8.8, +0.3)" in to_markdown(table)
    assert "($+8.8, +0.3$)" in to_latex(table)
    lines = [line.split(",") for line in to_csv(table).splitlines()]
    at = lines[0].index("gain_adabn")
    assert lines[0][at : at + 5] == ["gain_adabn", "gain_adabn_low", "gain_adabn_high", "p_adabn", "p_adabn_holm"]
    (line,) = [line for line in lines if line[4:7] == [TASK, "dann", "last"]]
    assert float(line[at]) == pytest.approx(place(table, "dann").beyond.gain, abs=1e-4)
    assert float(line[at + 4]) == pytest.approx(place(table, "dann").beyond.p_holm, rel=1e-3)


def test_what_is_no_more_than_batch_statistics_is_said() -> None:
    (note,) = [note for note in summarise(several()).notes if note.startswith("Not shown to be more than batch")]
    assert note == ("Not shown to be more than batch statistics alone (AdaBN) on the average: dann (+0.3), mcc (-3.5).")
    one = summarise([cell for cell in several(tasks=(TASK,)) if cell.seed == 0])
    assert not any(note.startswith("Not shown") for note in one.notes)  # nothing was tested
    assert any("over AdaBN, which is batch statistics alone" in note for note in one.notes)


# ------------------------------------------------------------------ on the same images
def right(n: int, *wrong: range) -> Any:
    found = np.ones(n, dtype=bool)
    for rows in wrong:
        found[list(rows)] = False
    return found


def hits_of(rows: dict[tuple[str, str, int], Any], digests: dict[tuple[str, str, int], str] | None = None) -> Any:
    def hits(cell: Cell, step: int) -> Hits | None:
        where = (cell.method, cell.task, cell.seed)
        if where not in rows:
            return None
        return Hits((digests or {}).get(where, "rows"), {step: rows[where]})

    return hits


def made(rows: dict[tuple[str, str, int], Any]) -> list[Cell]:
    return [
        made_cell(method, task, seed, (0.3, float(found.mean())), n=len(found))
        for (method, task, seed), found in rows.items()
    ]


N = 400
BASE = {("source-only", task, seed): right(N, range(20)) for task in (TASK, OTHER) for seed in (0, 1)}
LOSES = {("dann", task, seed): right(N, range(10 + seed, 50 + 40 * seed)) for task in (TASK, OTHER) for seed in (0, 1)}


def slow_mcnemar(lost: int, won: int) -> float:
    return sum(math.comb(lost + won, i) for i in range(won + 1)) / 2 ** (lost + won)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 0), (0, 5), (7, 7), (60, 31), (400, 352)])
def test_mcnemar_against_a_sum_of_binomials_and_scipy(lost: int, won: int) -> None:
    assert mcnemar_below(lost, won) == pytest.approx(slow_mcnemar(lost, won), rel=1e-10)
    if lost + won:
        assert mcnemar_below(lost, won) == pytest.approx(stats.binomtest(won, lost + won, alternative="less").pvalue)


def test_mcnemar_needs_counts() -> None:
    with pytest.raises(ValueError, match="got lost=-1, won=3"):
        mcnemar_below(-1, 3)


def test_two_seeds_and_even_one_can_show_a_loss() -> None:
    rows = {**BASE, **LOSES}
    cells = made(rows)
    silent = summarise(cells)
    assert negative_transfer(silent) == []  # two seeds alone cannot tell
    table = summarise(cells, hits=hits_of(rows))
    largest = slow_mcnemar(30, 10)  # of seed 0: rows 20 to 50 lost, 0 to 10 won
    for task in (TASK, OTHER):
        number = place(table, "dann", task)
        assert number.p_images == pytest.approx(2 * largest)  # Holm over two tasks with one p
        assert number.images_comparisons == 2
        assert number.negative
        assert number.below_on_images
        assert not number.below_over_seeds
    sentence = next(sentence for sentence in negative_transfer(table) if TASK in sentence)
    assert sentence.endswith(
        f"dann is below source-only on {TASK} by 9.9 points (exact McNemar test on the same 400 images, in each of 2 "
        f"seeds, the largest one-sided p = {2 * largest:.2g} after Holm over 2 comparisons, less than 0.05)."
    )
    assert any(note.startswith("↓ negative transfer") and "dann on mnist->usps (-9.9; images)" in note
               for note in table.notes)  # fmt: skip
    one = summarise([cell for cell in cells if cell.seed == 0 and cell.task == TASK], hits=hits_of(rows))
    (sentence,) = negative_transfer(one)
    assert "of the one seed one-sided p = 0.0011 after Holm over 1 comparison" in sentence
    last, *_ = sheets(one, one.blocks[0])
    assert [line.entries[0].gain for line in last.lines] == ["", "-5.0↓"]


def test_every_seed_has_to_lose_and_some_are_told_of() -> None:
    rows = {**BASE, **LOSES, ("dann", TASK, 1): right(N, range(19))}
    table = summarise(made(rows), hits=hits_of(rows))
    number = place(table, "dann")
    assert number.p_images == 1.0  # seed 1 won a row
    assert not number.negative
    assert (number.images_lost, number.images_tests) == (1, 4)
    assert (
        "Below source-only on the same images in some seeds only (exact McNemar test, p < 0.05 after Bonferroni over 4 "
        f"tests): dann on {TASK} in 1 of 2."
    ) in table.notes
    assert place(table, "dann", OTHER).negative
    assert place(table, "dann", OTHER).images_lost == 2


def test_rows_that_were_not_kept_or_differ_are_not_compared() -> None:
    rows = {**BASE, **LOSES}
    del rows["dann", TASK, 1]
    cells = made({**BASE, **LOSES})
    table = summarise(cells, hits=hits_of(rows, {("dann", OTHER, 0): "other rows"}))
    assert place(table, "dann").p_images is None
    assert place(table, "dann", OTHER).p_images is None
    (note,) = [note for note in table.notes if note.startswith("Not tested on the same images")]
    assert note.endswith(f"dann on {TASK}, dann on {OTHER}.")
    assert not any(note.startswith("Not tested on") for note in summarise(cells).notes)


def test_the_bound_the_oracle_and_the_baseline_are_not_tested() -> None:
    rows = {**BASE, **LOSES, **{("train-on-target", *where[1:]): found for where, found in LOSES.items()}}
    table = summarise(made(rows), hits=hits_of(rows))
    assert place(table, "train-on-target").p_images is None
    assert place(table, "source-only").p_images is None
    assert place(table, "dann", column="oracle").p_images is None


def test_the_chosen_column_compares_the_chosen_checkpoints(tmp_path: Path) -> None:
    labels, rows = np.zeros(N, dtype=np.int64), np.arange(N)
    cells, chosen = [], {}
    for method, first in (("source-only", 20), ("dann", 60)):
        predictions = {100: (rows < first).astype(np.int64), 200: (rows < 20).astype(np.int64)}
        scores = [float((found == labels).mean()) for found in predictions.values()]
        cell = made_cell(method, scores=tuple(scores), n=N)
        cells.append(cell)
        write_hits(folder_of(tmp_path, cell), rows, labels, predictions)
        chosen[cell.identity] = {"information-maximisation": Selection(100, scores[0])}
    table = summarise(cells, selections=chosen, hits=kept_hits(folders_of(tmp_path, cells)))
    assert place(table, "dann").p_images == 1.0
    assert place(table, "dann", column="chosen:information-maximisation").p_images == pytest.approx(2.0**-40)
    assert place(table, "dann", column="chosen:information-maximisation").negative
    lines = [line.split(",") for line in to_csv(table).splitlines()]
    at, flag = lines[0].index("p_images"), lines[0].index("negative_transfer")
    found = {line[6]: (line[at], line[flag]) for line in lines if line[5] == "dann"}
    assert found["last"] == ("1", "0")
    assert found["oracle"] == ("", "")
    assert found["chosen:information-maximisation"] == (f"{2.0**-40:.4g}", "1")


def test_a_choice_of_blank_cells_is_not_tested() -> None:
    rows = {**BASE, **LOSES}
    cells = made(rows)
    chosen = made_selections(cells, place=1)
    del chosen[cells[-1].identity]
    table = summarise(cells, selections=chosen, hits=hits_of(rows))
    assert OTHER not in row(table, "dann").numbers["chosen:information-maximisation"]
    assert place(table, "dann", column="chosen:information-maximisation").negative


def test_false_alarms_where_seeds_share_their_images() -> None:
    """Networks as good as one another, four seeds on the same images: the largest p keeps its level, sums do not."""
    draw = np.random.default_rng(0)
    runs, n, seeds = 1500, 300, 4
    alarms = {"largest": 0, "pooled": 0, "single": 0}
    for _ in range(runs):
        ease = 3 * draw.standard_normal(n) + 2
        ours, theirs = ease + 1.5 * draw.standard_normal(n), ease + 1.5 * draw.standard_normal(n)
        values, lost, won = [], 0, 0
        for _ in range(seeds):
            method, baseline = (kind + draw.standard_normal(n) > 0 for kind in (ours, theirs))
            counts = int((baseline & ~method).sum()), int((method & ~baseline).sum())
            lost, won = lost + counts[0], won + counts[1]
            values.append(mcnemar_below(*counts))
        alarms["largest"] += in_every_seed(values) < 0.05
        alarms["pooled"] += mcnemar_below(lost, won) < 0.05
        alarms["single"] += values[0] < 0.05
    assert alarms["single"] / runs < 0.06
    assert alarms["largest"] / runs < 0.02
    assert alarms["pooled"] / runs > 0.08  # which is why counts are not pooled over seeds
