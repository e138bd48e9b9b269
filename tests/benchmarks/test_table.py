"""The numbers of a table, recomputed by loops."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest
from made_cells import BIG, TWELVE, made_big, made_cell, made_classical, made_published, made_selections
from pydantic import ValidationError
from scipy import stats

from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import chosen_by, negative_transfer, summarise

VALIDATOR = "information-maximisation"
CHOSEN = chosen_by(VALIDATOR)

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


@pytest.mark.parametrize("column", ["last", CHOSEN, "oracle"])
def test_numbers_against_loops(column):
    cells = grid()
    random.Random(0).shuffle(cells)
    table = summarise(cells, tasks=TASKS, selections=made_selections(cells, place=1))
    score = {}
    for cell in cells:
        values = [checkpoint.target_eval * 100 for checkpoint in cell.checkpoints]
        score[cell.method, cell.task, cell.seed] = {"last": values[-1], CHOSEN: values[1]}.get(column, max(values))
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
            assert number.half_width == pytest.approx(4.30265272975 * error)
            assert (number.seeds, number.gain_seeds) == (SEEDS, () if method == "source-only" else SEEDS)
            if method != "source-only":
                assert number.gain == pytest.approx(gain, rel=1e-10)
                assert number.gain_stderr == pytest.approx(gain_error, rel=1e-10)
                assert number.gain_half_width == pytest.approx(4.30265272975 * gain_error)
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
    assert (number.stderr, number.half_width) == (None, None)
    assert (number.gain_stderr, number.gain_half_width, number.p, number.p_below) == (None, None, None, None)
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
    assert any(
        "different rules or networks (steps, weights, pixels or others), not comparable: " in note
        for note in summarise(ways).notes
    )
    same = [made_cell(method=m, settings={"rules": {"steps": 600}}) for m in ("dann", "source-only")]
    assert not any("different rules" in note for note in summarise(same).notes)
    for name, two in (("backbone", ({"normalise": "caffe"}, {"normalise": "imagenet"})), ("size", (32, 64))):
        pair = zip(("dann", "source-only"), two, strict=True)
        cells = [made_cell(method=m, settings={"rules": {"steps": 600}, name: value}) for m, value in pair]
        assert any("different rules" in note for note in summarise(cells).notes)


@pytest.mark.parametrize(
    ("network", "track", "theirs", "ten_crops", "same"),
    [
        ("resnet50", "end-to-end", "ResNet-50", False, True),
        ("timm/resnet50", "end-to-end", "ResNet-50", False, True),
        ("resnet50", "frozen", "ResNet-50", False, False),
        ("squeezenet1_0", "end-to-end", "ResNet-50", False, False),
        ("resnet50", "end-to-end", "ResNet-50, ten crops", False, False),
        ("resnet50", "end-to-end", "ResNet-50, ten crops", True, True),
    ],
)
def test_a_published_row_of_another_network_or_view_is_marked(network, track, theirs, ten_crops, same):
    cell = made_cell(network=network, track=track, settings={"backbone": {"ten_crops": ten_crops}})
    table = summarise([cell], published=[made_published(network=theirs)])
    (row,) = table.blocks[0].rows
    assert row.quotes[0].same_protocol is same


def differences(cells, method, task, baseline="source-only"):
    scores = {(cell.method, cell.seed): 100 * cell.last for cell in cells if cell.task == task}
    return [scores[method, seed] - scores[baseline, seed] for seed in sorted({cell.seed for cell in cells})]


def test_tasks_are_tested_by_paired_t_and_corrected_together():
    cells = grid()
    table = summarise(cells)
    places = [(method, task) for method in ("adabn", "dann", "dan") for task in TASKS]
    raw = {place: stats.ttest_1samp(differences(cells, *place), 0).pvalue for place in places}
    below = {place: stats.ttest_1samp(differences(cells, *place), 0, alternative="less").pvalue for place in places}
    for method, task in places:
        number = row(table, method).numbers["last"][task]
        assert number.p == pytest.approx(raw[method, task])
        assert (number.comparisons, number.test, number.p_least) == (9, "paired t-test", 0.0)
    for name, values in (("p_holm", raw), ("p_below", below)):
        ordered = sorted(values, key=values.__getitem__)
        largest = 0.0
        for rank, place in enumerate(ordered):
            largest = max(largest, min(1.0, (9 - rank) * values[place]))
            assert getattr(row(table, place[0]).numbers["last"][place[1]], name) == pytest.approx(largest)


def test_averages_of_few_differences_are_tested_by_t_over_seeds():
    cells = grid()
    table = summarise(cells)
    for method in ("adabn", "dann", "dan"):
        tasks = [differences(cells, method, task) for task in TASKS]
        averages = [sum(task[seed] for task in tasks) / 3 for seed in range(3)]
        number = row(table, method).numbers["last"]["average"]
        assert number.p == pytest.approx(stats.ttest_1samp(averages, 0).pvalue)
        assert (number.comparisons, number.test, number.p_tasks) == (3, "paired t-test", None)
        assert number.p_holm >= number.p


def test_averages_of_many_are_tested_by_sign_flips_and_over_tasks():
    cells = made_big(("source-only", "dan", "deepcoral", "train-on-target"))
    table = summarise(cells, tasks=TWELVE)
    dan = row(table, "dan").numbers["last"]["average"]
    assert (dan.test, dan.comparisons) == ("sign-flip test", 2)
    gains = [sum(differences(cells, "dan", task)) / 3 for task in TWELVE]
    over_tasks = stats.wilcoxon(gains, method="exact").pvalue
    assert dan.p_tasks in (pytest.approx(over_tasks), pytest.approx(2 * over_tasks))  # Holm over two
    assert row(table, "deepcoral").numbers["last"]["average"].p_below == 2 / 65536


def test_neither_the_oracle_nor_the_bound_nor_the_baseline_is_tested():
    table = summarise(grid())
    assert all(number.p is None for each in table.blocks[0].rows for number in each.numbers["oracle"].values())
    for method in ("source-only", "train-on-target"):
        numbers = row(table, method).numbers["last"]
        assert all((number.p, number.p_below, number.comparisons) == (None, None, 0) for number in numbers.values())
        assert (row(table, method).baseline is None) == (method == "source-only")
    assert row(table, "train-on-target").numbers["last"]["average"].gain is not None


def test_ranks_are_averages_over_tasks_and_seeds():
    cells = grid()
    table = summarise(cells)
    rivals = METHODS[:-1]
    places = {method: [] for method in rivals}
    for task in TASKS:
        for seed in SEEDS:
            scores = {c.method: c.last for c in cells if (c.task, c.seed) == (task, seed) and c.method in rivals}
            ranks = stats.rankdata([-scores[method] for method in rivals])
            for method, rank in zip(rivals, ranks, strict=True):
                places[method].append(rank)
    for method in rivals:
        numbers = row(table, method).numbers["last"]
        assert numbers["average"].rank == pytest.approx(sum(places[method]) / 9)
        assert numbers[TASKS[1]].rank == pytest.approx(sum(places[method][3:6]) / 3)
    assert row(table, "train-on-target").numbers["last"]["average"].rank is None


def test_ranks_are_over_what_all_rows_have():
    cells = [c for c in grid() if (c.method, c.task, c.seed) != ("dann", TASKS[0], SEEDS[0])]
    kept = [c for c in grid() if (c.task, c.seed) != (TASKS[0], SEEDS[0])]
    with_gap = row(summarise(cells), "dan").numbers["last"]
    without = row(summarise(kept), "dan").numbers["last"]
    assert with_gap[TASKS[0]].rank == without[TASKS[0]].rank
    assert with_gap["average"].rank == pytest.approx(
        (2 * without[TASKS[0]].rank + 3 * sum(without[task].rank for task in TASKS[1:])) / 8
    )


def test_a_chosen_column_for_every_validator():
    cells = grid()
    chosen = made_selections(cells, place=2)
    for cell in cells:
        first = cell.checkpoints[0]
        chosen[cell.identity]["entropy"] = Selection(first.step, first.target_eval)
    table = summarise(cells, selections=chosen)
    assert table.columns == ("last", "chosen:entropy", CHOSEN, "oracle")
    assert table.shown == ("last", CHOSEN, "oracle")
    cell = cells[0]
    mean = row(table, cell.method).numbers["chosen:entropy"][cell.task].mean
    first = [c.checkpoints[0].target_eval for c in cells if (c.method, c.task) == (cell.method, cell.task)]
    assert mean == pytest.approx(100 * sum(first) / 3)
    assert summarise(cells, selections=chosen, validator="entropy").shown == ("last", "chosen:entropy", "oracle")
    assert summarise(cells, selections=chosen, validator=None).shown == ("last", "oracle")
    assert summarise(cells).columns == ("last", "oracle")


def test_a_cell_without_scores_blanks_its_place():
    cells = grid()
    chosen = made_selections(cells)
    lacking = next(cell for cell in cells if (cell.method, cell.task, cell.seed) == ("dann", TASKS[1], 4))
    del chosen[lacking.identity]
    table = summarise(cells, selections=chosen)
    assert set(row(table, "dann").numbers[CHOSEN]) == {TASKS[0], TASKS[2]}
    assert set(row(table, "dann").numbers["last"]) == {*TASKS, "average"}
    assert set(row(table, "dan").numbers[CHOSEN]) == {*TASKS, "average"}
    for cell in cells:
        if cell.method == "dann":
            chosen.pop(cell.identity, None)
    table = summarise(cells, selections=chosen)
    ranks = [row(table, method).numbers[CHOSEN]["average"].rank for method in ("source-only", "adabn", "dan")]
    assert sum(ranks) == pytest.approx(6)  # the others are ranked without it


def test_collapsed_choices_are_counted():
    cells = grid(("source-only", "dann"), seeds=(0, 1))
    chosen = made_selections(cells)
    for cell in cells:
        if cell.method == "dann" and (cell.task, cell.seed) != (TASKS[0], 0):
            chosen[cell.identity][VALIDATOR] = Selection(100, 0.1, collapsed=True)
    numbers = row(summarise(cells, selections=chosen), "dann").numbers[CHOSEN]
    assert [numbers[place].collapsed for place in (*TASKS, "average")] == [1, 2, 2, 5]
    assert numbers[TASKS[1]].mean == pytest.approx(10.0)


def test_blocks_without_choices_show_no_column_of_them():
    one, other = made_cell(scores=(0.5, 0.6)), made_cell(scores=(0.5, 0.6), network="resnet")
    table = summarise([one, other], selections=made_selections([one]))
    assert table.shown_of(table.blocks[0]) == ("last", CHOSEN, "oracle")
    assert table.shown_of(table.blocks[1]) == ("last", "oracle")


def test_blocks_of_single_checkpoints_show_one_column():
    table = summarise([made_cell(scores=(0.5,)), made_cell("dan", scores=(0.5,))])
    assert table.blocks[0].single
    assert table.shown_of(table.blocks[0]) == ("last",)
    numbers = table.blocks[0].rows[0].numbers
    assert numbers["oracle"]["mnist->usps"].mean == numbers["last"]["mnist->usps"].mean
    assert not summarise([made_cell(scores=(0.5,)), made_cell("dan")]).blocks[0].single


def test_classical_rows_are_over_their_own_classifier():
    cells = [
        made_classical("raw-1nn", "1nn", "none", scores=(0.4,)),
        made_classical("coral-1nn", "1nn", scores=(0.45,)),
        made_classical("raw-svm", "svm", "none", scores=(0.5,)),
        made_classical("coral-svm", "svm", scores=(0.48,)),
    ]
    table = summarise(cells)
    assert {each.method: each.baseline for each in table.blocks[0].rows} == {
        "coral-1nn": "raw-1nn",
        "coral-svm": "raw-svm",
        "raw-1nn": None,
        "raw-svm": None,
    }
    assert row(table, "coral-svm").numbers["last"]["mnist->usps"].gain == pytest.approx(-2)
    assert table.blocks[0].reference == "the same classifier without adaptation"
    assert row(summarise(cells[3:]), "coral-svm").baseline is None
    both = [*cells, *(made_cell(m, track="features", network="features") for m in ("source-only", "dann"))]
    assert row(summarise(both), "dann").baseline == "source-only"
    assert row(summarise(both), "coral-svm").baseline == "raw-svm"


def test_seconds_and_memory_of_a_row():
    cells = [made_cell(seed=seed, seconds=seconds) for seed, seconds in enumerate((9.0, 1.0, 2.0))]
    assert (row(summarise(cells), "dann").seconds, row(summarise(cells), "dann").peak_memory) == (2.0, None)
    measured = [made_cell(seed=3, peak_memory=512.0), made_cell(seed=4, peak_memory=400.0)]
    assert row(summarise([*cells, *measured]), "dann").peak_memory == 512.0


def test_negative_transfer_is_said():
    table = summarise(made_big(("source-only", "deepcoral", "dan", "train-on-target")), tasks=TWELVE)
    numbers = row(table, "deepcoral").numbers["last"]
    assert numbers["average"].negative
    assert not any(number.negative for number in row(table, "dan").numbers["last"].values())
    found = negative_transfer(table)
    assert len(found) == sum(number.negative for number in numbers.values())
    assert found[-1] == (
        "office-caltech10: protocol office-caltech10/transductive, network squeezenet1_0, frozen: deepcoral is below "
        f"source-only on the average of 12 tasks by {-numbers['average'].gain:.1f} points (sign-flip test over tasks "
        "and 3 seeds: one-sided p = 3.1e-05 after Holm over 2 comparisons, less than 0.05)."
    )
    assert negative_transfer(summarise(made_big(tuple(BIG)[:4]))) == []


def test_negative_transfer_on_one_task_and_seeds_that_differ_in_nothing():
    cells = [made_cell("source-only", seed=seed, scores=(0.6 + 0.01 * seed,)) for seed in range(3)]
    worse = [made_cell("dan", seed=seed, scores=(0.5 + 0.012 * seed,)) for seed in range(3)]
    (sentence,) = negative_transfer(summarise([*cells, *worse]))
    assert (
        "dan is below source-only on mnist->usps by 9.8 points (paired t-test over 3 seeds: one-sided p =" in sentence
    )
    assert "after Holm over 1 comparison, less than 0.05)" in sentence
    same = [made_cell("dan", seed=seed, scores=(0.5 + 0.01 * seed,)) for seed in range(3)]
    assert negative_transfer(summarise([*cells, *same])) == []  # no spread, no test
    assert negative_transfer(summarise([cells[0], worse[0]])) == []  # one seed
    few = [made_cell("dan", seed=seed, scores=(0.55 + 0.06 * seed,)) for seed in range(3)]
    assert negative_transfer(summarise([*cells, *few])) == []  # below, but not clearly


def test_one_seed_of_many_tasks_can_be_tested_together():
    table = summarise(made_big(("source-only", "deepcoral"), seeds=(0,)), tasks=TWELVE)
    (sentence,) = negative_transfer(table)
    assert "average of 12 tasks" in sentence
    assert "sign-flip test over tasks and 1 seed: one-sided p = 0.00024" in sentence
    three = summarise(grid(seeds=(0,)))
    assert row(three, "dann").numbers["last"]["average"].p_least == 3 / 8  # three tasks' signs, three rows compared


def test_negative_transfer_of_a_chosen_column():
    cells = made_big(("source-only", "dan"))
    chosen = made_selections(cells, place=-1)
    for cell in cells:
        if cell.method == "dan":
            chosen[cell.identity][VALIDATOR] = Selection(100, 0.3)
    table = summarise(cells, selections=chosen)
    assert negative_transfer(table) == []
    assert any("average of 12 tasks" in sentence for sentence in negative_transfer(table, CHOSEN))
