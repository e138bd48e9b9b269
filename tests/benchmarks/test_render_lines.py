"""The lines that all renderings show."""

from __future__ import annotations

import pytest
from made_cells import BIG, TWELVE, made_big, made_cell, made_classical, made_selections, made_table

from landbridge.benchmarks.render_lines import Sheet, sheets, spread
from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import summarise

VALIDATOR = "information-maximisation"


def the_sheets(table, block=0):
    return list(sheets(table, table.blocks[block]))


def texts(sheet, label):
    (line,) = [line for line in sheet.lines if line.label == label]
    return [f"{entry.score} {entry.gain}".strip() for entry in line.entries]


def test_the_headline_first_and_the_summary_last():
    found = the_sheets(made_table(chosen=True))
    assert [sheet.column for sheet in found] == ["last", f"chosen:{VALIDATOR}", "oracle", ""]
    last, chosen, oracle, summary = found
    assert last.header == chosen.header == oracle.header == ("mnist->usps", "usps->mnist", "average")
    assert texts(last, "DANN") == ["61.0 ± 1.0 +10.0"] * 3
    assert texts(chosen, "DANN") == ["59.0 ± 1.0"] * 3
    assert texts(oracle, "DANN") == ["66.0 ± 1.0"] * 3
    assert summary.header == ("last", "chosen", "oracle", "gain", "p", "rank", "time")
    assert texts(summary, "DANN") == ["61.0", "59.0", "66.0", "+10.0", "", "1.0", "84.2 s"]
    assert texts(summary, "TRAIN-ON-TARGET") == ["71.0", "69.0", "76.0", "+20.0", "", "", "84.2 s"]
    assert [line.bound for line in summary.lines] == [False, False, True]


def test_published_rows_stand_below_the_last_iterate_alone():
    last, oracle, summary = the_sheets(made_table())
    published = [line for line in last.lines if line.published]
    assert [line.label for line in published] == ["published [1]", "published [2]"]
    assert [entry.score for entry in published[0].entries] == ["77.1", "73.0", "75.1"]
    assert [entry.score for entry in published[1].entries] == ["73.9†", "", ""]
    assert not any(line.published for sheet in (oracle, summary) for line in sheet.lines)


def test_titles():
    last, chosen, oracle, summary = the_sheets(made_table(chosen=True))
    assert last.title == (
        "last: accuracy (%) at the end of training ± half its 95% interval over seeds, in brackets the gain over "
        "source-only"
    )
    assert chosen.title == f"chosen:{VALIDATOR}: checkpoint chosen by this validator, without target labels"
    assert oracle.title == "oracle: best checkpoint by target labels, not attainable"
    assert summary.title.startswith("in short, on the average of 2 tasks: accuracy (%), test against source-only")
    assert the_sheets(summarise([made_cell()]))[0].title == "last: accuracy (%) at the end of training"
    assert the_sheets(summarise([made_cell()]))[-1].title.startswith("in short, on mnist->usps: accuracy")
    classical = summarise([made_classical("raw", estimator="none"), made_classical("coral")])
    assert the_sheets(classical)[0].title.endswith("the gain over the same classifier without adaptation")


def test_a_loss_is_shown_as_one_and_nothing_as_plus_zero():
    cells = [made_cell("source-only", scores=(0.5,)), made_cell("dann", scores=(0.45,))]
    cells.append(made_cell("dan", scores=(0.4999,)))
    last, _ = the_sheets(summarise(cells))
    assert texts(last, "DANN") == ["45.0 ± n/a -5.0"]
    assert texts(last, "DAN") == ["50.0 ± n/a +0.0"]


def test_negative_transfer_has_an_arrow_everywhere():
    cells = made_big(("source-only", "deepcoral", "dan"))
    table = summarise(cells, tasks=TWELVE, selections=made_selections(cells, place=-1))
    last, chosen, oracle, summary = the_sheets(table)
    row = next(row for row in table.blocks[0].rows if row.method == "deepcoral")
    for place, text in zip(table.blocks[0].columns, texts(last, "DEEPCORAL"), strict=True):
        assert text.endswith("↓") == row.numbers["last"][place].negative
    assert texts(last, "DEEPCORAL")[-1].endswith("-3.1↓")
    assert texts(chosen, "DEEPCORAL")[-1].endswith("↓")
    assert texts(summary, "DEEPCORAL")[3] == "-3.1↓"
    assert not any("↓" in text for label in ("DAN", "SOURCE-ONLY") for text in texts(last, label))
    assert not any("↓" in text for text in texts(oracle, "DEEPCORAL"))


def test_collapsed_choices_have_a_sign():
    cells = [made_cell(seed=seed, task=task) for seed in (0, 1) for task in TWELVE[:2]]
    chosen = made_selections(cells)
    chosen[cells[0].identity][VALIDATOR] = Selection(100, 0.1, collapsed=True)
    last, column, _, summary = the_sheets(summarise(cells, tasks=TWELVE[:2], selections=chosen))
    assert ["‡" in text for text in texts(column, "DANN")] == [True, False, True]
    assert texts(summary, "DANN")[1] == "40.0‡"
    assert not any("‡" in text for text in texts(last, "DANN"))


def test_single_checkpoints_have_one_column():
    found = the_sheets(summarise([made_cell(scores=(0.5,)), made_cell("dan", scores=(0.4,))]))
    assert [sheet.column for sheet in found] == ["last", ""]
    assert found[1].header == ("last", "gain", "p", "rank", "time")


def test_tests_and_costs_of_a_big_table():
    summary = the_sheets(summarise(made_big(), tasks=TWELVE))[-1]
    assert summary.header == (
        "last", "oracle", "gain", "p", "p tasks", "over AdaBN", "p AdaBN", "rank", "time", "memory",
    )  # fmt: skip
    texts_of_mcc = texts(summary, "MCC")
    assert texts_of_mcc[3:8] == ["<0.001", "0.004", "+6.5", "<0.001", "1.0"]
    assert texts_of_mcc[8].endswith(" s")
    assert texts_of_mcc[9].endswith(" MiB")
    assert texts(summary, "SOURCE-ONLY")[2:7] == [""] * 5
    assert texts(summary, "ADABN")[5:7] == ["", ""]


def test_p_is_the_corrected_one():
    scores = {"source-only": (0.5, 0.52, 0.51), "dan": (0.52, 0.53, 0.53), "jan": (0.53, 0.56, 0.53)}
    cells = [made_cell(method, seed=seed, scores=(own[seed],)) for method, own in scores.items() for seed in range(3)]
    table = summarise(cells)
    summary = the_sheets(table)[-1]
    for row in table.blocks[0].rows[1:]:
        number = row.numbers["last"]["mnist->usps"]
        assert texts(summary, row.label)[2] == f"{number.p_holm:.3f}" != f"{number.p:.3f}"


def test_long_times_and_much_memory():
    summary = the_sheets(summarise([made_cell(seconds=4321.4, peak_memory=12345.6)]))[-1]
    assert texts(summary, "DANN")[-2:] == ["4,321 s", "12,346 MiB"]


def test_missing_cells_are_blank():
    cells = [made_cell(task=task) for task in TWELVE[:2]] + [made_cell("dan", task=TWELVE[0])]
    last, _, summary = the_sheets(summarise(cells))
    assert texts(last, "DAN") == ["75.0 ± n/a", "", ""]
    assert texts(summary, "DAN")[:2] == ["", ""]
    assert texts(summary, "DAN")[-1] == "84.2 s"
    seeds = [made_cell(seed=0), made_cell(seed=1), made_cell(task=TWELVE[0])]
    assert [line.seeds for line in the_sheets(summarise(seeds))[0].lines] == ["1-2"]


@pytest.mark.parametrize(
    ("count", "most", "parts"), [(7, 7, [7]), (13, 7, [7, 6]), (8, 7, [4, 4]), (13, 4, [4, 3, 3, 3]), (5, 1, [1] * 5)]
)
def test_wide_sheets_are_spread_evenly(count, most, parts):
    last = the_sheets(made_table(tuple(BIG)[:2], TWELVE[:1]))[0]
    wide = last._replace(
        header=tuple(map(str, range(count))),
        lines=tuple(line._replace(entries=line.entries * count) for line in last.lines),
    )
    found = spread(wide, most)
    assert [len(part.header) for part in found] == parts
    assert [name for part in found for name in part.header] == list(wide.header)
    assert all(len(line.entries) == len(part.header) for part in found for line in part.lines)
    assert isinstance(found[0], Sheet)
