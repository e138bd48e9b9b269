"""The numbers of a table, recomputed by loops."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest
from made_cells import made_cell, made_published
from pydantic import ValidationError

from landbridge.benchmarks.table import summarise

TASKS = ("mnist->usps", "usps->mnist", "svhn->mnist")
METHODS = ("source-only", "adabn", "dann", "dan", "train-on-target")
SEEDS = (0, 1, 4)


def grid(methods=METHODS, tasks=TASKS, seeds=SEEDS):
    draw = random.Random(5)
    return [
        made_cell(method, task, seed, tuple(draw.uniform(0.2, 0.9) for _ in range(4)), n=100 * (1 + tasks.index(task)))
        for method in methods
        for task in tasks
        for seed in seeds
    ]


def row(table, method, block=0):
    (found,) = [row for row in table.blocks[block].rows if row.method == method]
    return found


def slow_mean_and_error(values):
    mean = 0.0
    for value in values:
        mean += value / len(values)
    squares = 0.0
    for value in values:
        squares += (value - mean) ** 2
    return mean, (squares / (len(values) - 1) / len(values)) ** 0.5


@pytest.mark.parametrize("column", ["last", "oracle"])
def test_numbers_against_loops(column):
    cells = grid()
    random.Random(0).shuffle(cells)
    table = summarise(cells, tasks=TASKS)
    score = {}
    for cell in cells:
        values = [checkpoint.target_eval * 100 for checkpoint in cell.checkpoints]
        score[cell.method, cell.task, cell.seed] = values[-1] if column == "last" else sorted(values)[-1]
    for method in METHODS:
        numbers = row(table, method).numbers[column]
        for task in TASKS:
            mean, error = slow_mean_and_error([score[method, task, seed] for seed in SEEDS])
            gain, gain_error = slow_mean_and_error(
                [score[method, task, seed] - score["source-only", task, seed] for seed in SEEDS]
            )
            number = numbers[task]
            assert number.mean == pytest.approx(mean, rel=1e-10)
            assert number.stderr == pytest.approx(error, rel=1e-10)
            assert (number.seeds, number.gain_seeds) == (SEEDS, () if method == "source-only" else SEEDS)
            if method != "source-only":
                assert number.gain == pytest.approx(gain, rel=1e-10)
                assert number.gain_stderr == pytest.approx(gain_error, rel=1e-10)
        averages = [sum(score[method, task, seed] for task in TASKS) / 3 for seed in SEEDS]
        mean, error = slow_mean_and_error(averages)
        assert numbers["average"].mean == pytest.approx(mean, rel=1e-10)
        assert numbers["average"].stderr == pytest.approx(error, rel=1e-10)
        assert [numbers[task].n for task in (*TASKS, "average")] == [100, 200, 300, 600]


def test_order_of_rows_and_columns():
    methods = ("zeta", "train-on-target", "dann", "adabn", "alpha", "source-only", "mcd")
    cells = grid(methods, seeds=(0,))
    table = summarise(cells, order=("train-on-target", "mcd", "dann", "source-only"), tasks=("svhn->mnist",))
    names = [row.method for row in table.blocks[0].rows]
    assert names == ["source-only", "adabn", "mcd", "dann", "alpha", "zeta", "train-on-target"]
    assert table.blocks[0].tasks == ("svhn->mnist", "mnist->usps", "usps->mnist")
    assert table.blocks[0].columns[-1] == "average"


def test_one_seed_has_no_standard_error_and_one_task_no_average():
    table = summarise(grid(tasks=TASKS[:1], seeds=(2,)))
    number = row(table, "dann").numbers["last"]["mnist->usps"]
    assert number.stderr is None
    assert number.gain_stderr is None
    assert number.gain is not None
    assert table.blocks[0].columns == ("mnist->usps",)
    assert set(row(table, "dann").numbers["last"]) == {"mnist->usps"}
    assert any("n/a for one seed; seed 2" in note for note in table.notes)


def test_a_missing_cell_blanks_the_average_and_is_named():
    cells = [c for c in grid() if (c.method, c.task, c.seed) != ("dann", "usps->mnist", 1)]
    table = summarise(cells)
    dann = row(table, "dann").numbers["last"]
    assert dann["usps->mnist"].seeds == (0, 4)
    assert "average" not in dann
    assert "average" in row(table, "dan").numbers["last"]
    assert "Not finished: dann on usps->mnist seed 1." in table.notes
    assert "No average for dann: it needs every task for the same seeds." in table.notes


def test_a_missing_task_blanks_the_average_too():
    cells = [c for c in grid() if (c.method, c.task) != ("dann", "usps->mnist")]
    assert set(row(summarise(cells), "dann").numbers["last"]) == {"mnist->usps", "svhn->mnist"}


def test_gains_are_paired_by_seed():
    cells = [
        made_cell("source-only", seed=0, scores=(0.5,)),
        made_cell("source-only", seed=1, scores=(0.1,)),
        made_cell("dann", seed=0, scores=(0.8,)),
        made_cell("dann", seed=2, scores=(0.9,)),
    ]
    table = summarise(cells)
    number = row(table, "dann").numbers["last"]["mnist->usps"]
    assert number.mean == pytest.approx(85.0)
    assert number.gain == pytest.approx(30.0)
    assert number.gain_seeds == (0,)
    assert "Gain over the seeds that source-only has too: dann on mnist->usps." in table.notes


def test_without_source_only_there_are_no_gains():
    table = summarise(grid(("dann", "dan")))
    assert row(table, "dann").numbers["last"]["mnist->usps"].gain is None
    assert "No gains: there is no finished cell of source-only." in table.notes


def test_changed_settings_leave_older_cells_out():
    new = datetime(2026, 12, 1, tzinfo=timezone.utc)
    cells = [made_cell(seed=seed, scores=(0.5,), identity="f" * 64) for seed in (0, 1)]
    cells += [
        made_cell(seed=seed, scores=(0.9,), finished=new, settings={"steps": 9, "seed": seed}, label="DANN again")
        for seed in (0, 1)
    ]
    table = summarise(cells)
    assert row(table, "dann").numbers["last"]["mnist->usps"].mean == pytest.approx(90.0)
    assert "2 older cells with other settings left out." in table.notes
    assert not any("different settings" in note for note in table.notes)
    half = summarise(cells[:3])
    assert row(half, "dann").label == "DANN again"
    assert "1 older cell with other settings left out." in half.notes
    assert any("different settings under one mean: dann on mnist->usps." in note for note in half.notes)


def test_mixed_environments_are_said():
    other = {"torch": "2.4.0", "threads": 1, "device": "cuda"}
    plain = summarise([made_cell(seed=0), made_cell(seed=1)])
    assert not any("Mixed" in note for note in plain.notes)
    mixed = summarise([made_cell(seed=0), made_cell(seed=1, environment=other)])
    assert any("torch (2.15.0, 2.4.0), device (cpu, cuda);" in note for note in mixed.notes)


def test_a_varying_number_of_rows_scored_has_no_n():
    table = summarise([made_cell(seed=0), made_cell(seed=1, n=150)])
    assert row(table, "dann").numbers["last"]["mnist->usps"].n is None
    assert "Target rows scored: mnist->usps 150 or 200." in table.notes


def test_protocols_networks_and_tracks_never_mix():
    cells = [made_cell(scores=(0.5,)), made_cell(scores=(0.6,), protocol="digits/full/inductive")]
    cells += [made_cell(scores=(0.7,), network="resnet"), made_cell(scores=(0.8,), track="features")]
    table = summarise(cells)
    means = [block.rows[0].numbers["last"]["mnist->usps"].mean for block in table.blocks]
    assert sorted(means) == pytest.approx([50.0, 60.0, 70.0, 80.0])
    assert any(note.startswith("digits: protocol digits/full/inductive, network lenet16") for note in table.notes)


def test_published_rows_stand_beside_or_are_marked():
    rows = [
        made_published(),
        made_published(protocol="digits/full/inductive", selected="target labels", source="DANN, JMLR 2016"),
        made_published(seen="secondary", values={"svhn->mnist": 60.0}),
        made_published("adda"),
        made_published("source-only", values={"mnist->usps": 75.2}),
        made_published("dan", values={"amazon->webcam": 80.5}),
    ]
    table = summarise(grid(tasks=TASKS[:2]), published=rows)
    quotes = row(table, "dann").quotes
    assert [quote.same_protocol for quote in quotes] == [True, False]
    assert [quote.footnote for quote in quotes] == [1, 2]
    assert quotes[0].values == {"mnist->usps": 77.1, "usps->mnist": 73.0, "average": pytest.approx(75.05)}
    assert row(table, "dan").quotes == ()
    assert table.footnotes == (
        "ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated",
        "DANN, JMLR 2016: digits/full/inductive, LeNet-like, chosen by target labels",
    )
    assert any(note.startswith("†") for note in table.notes)
    assert any("compares with oracle, not with last" in note for note in table.notes)
    wide = summarise(grid(), published=rows)
    assert "average" not in row(wide, "dann").quotes[0].values
    assert "quotes it" in wide.footnotes[2]


def test_published_rows_are_checked():
    with pytest.raises(ValidationError, match="selected"):
        made_published(selected="validation")
    with pytest.raises(ValidationError, match="values"):
        made_published(values={"mnist->usps": 101.0})
    with pytest.raises(ValidationError, match="values"):
        made_published(values={})
    with pytest.raises(ValidationError, match="year"):
        made_published(year=2017)


def test_no_cells_is_an_error_with_the_reasons():
    with pytest.raises(ValueError, match=r"(?s)at least one finished cell; got none.*\n  x is broken"):
        summarise([], warnings=["x is broken"])


def test_warnings_go_among_the_notes():
    assert summarise([made_cell()], warnings=["x is broken"]).notes[-1] == "x is broken"


def test_many_missing_cells_are_counted():
    cells = [made_cell("dann", seed=seed) for seed in range(9)] + [made_cell("dan", seed=0)]
    (note,) = [note for note in summarise(cells).notes if note.startswith("Not finished")]
    assert note.count("dan on mnist->usps seed") == 5
    assert note.endswith("and 3 more.")


def test_rows_trained_by_different_rules_are_named():
    ways = [made_cell(method=m, settings={"rules": {"steps": n}}) for m, n in (("dann", 600), ("source-only", 10))]
    assert any("different rules (steps or others), not comparable: " in note for note in summarise(ways).notes)
    same = [made_cell(method=m, settings={"rules": {"steps": 600}}) for m in ("dann", "source-only")]
    assert not any("different rules" in note for note in summarise(same).notes)
