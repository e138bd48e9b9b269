"""A table on the terminal."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from made_cells import BIG, TWELVE, made_big, made_cell, made_selections, made_table
from rich.console import Console

from landbridge.benchmarks.render_terminal import print_table
from landbridge.benchmarks.table import summarise


def terminal(table, width):
    text = io.StringIO()
    print_table(table, Console(file=text, width=width, force_terminal=False))
    return text.getvalue()


def test_terminal_shows_it_all():
    text = terminal(made_table(chosen=True), 120)
    lines = text.splitlines()
    (dann,) = [line for line in lines if "DANN " in line and "(+10.0)" in line]
    assert dann.split() == ["DANN", *["61.0", "±", "1.0", "(+10.0)"] * 3, "3"]
    assert any(line.split() == ["published", "[1]", "77.1", "73.0", "75.1"] for line in lines)
    assert any(line.split() == ["published", "[2]", "73.9†"] for line in lines)
    rules = [i for i, line in enumerate(lines) if line.strip("─ ") == "" and "─" in line]
    assert len(rules) == 8  # under the header and over the bound, for the three columns and the summary
    for above in rules[1::2]:
        assert lines[above + 1].split()[0] == "TRAIN-ON-TARGET"
    assert "oracle: best checkpoint by target labels, not attainable" in lines
    order = ["61.0 ± 1.0", "chosen:information", "59.0 ± 1.0", "oracle: best", "66.0 ± 1.0", "in short"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert any(line.split() == ["DANN", "61.0", "59.0", "66.0", "+10.0", "1.0", "84.2", "s"] for line in lines)


@pytest.mark.parametrize("width", [60, 100, 120, 150])
def test_five_tasks_fit_the_terminal(width):
    tasks = ("mnist->usps", "usps->mnist", "svhn->mnist", "mnist->mnist-m", "syn->svhn")
    table = made_table(("source-only", "source-only + adabn", "dann", "train-on-target"), tasks)
    text = terminal(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    last = text[: text.index("oracle: best")]
    scores = [line for line in last.splitlines() if line.strip().startswith("DANN")]
    assert len(scores) == (3 if width == 60 else 1)  # at 60 the tasks are spread over three grids of two
    assert "".join(scores).replace(" ", "").count("71.0±1.0") == 6
    assert last.count("(+20.0)") == 6


@pytest.mark.parametrize("width", [70, 120])
def test_twelve_tasks_and_ten_methods_fit_the_terminal(width):
    cells = made_big()
    table = summarise(cells, order=list(BIG), tasks=TWELVE, selections=made_selections(cells))
    text = terminal(table, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    parts = [text.index(start) for start in ("last: ", "chosen:", "oracle: ", "in short")]
    for start, stop in pairwise(parts):
        grids = text[start:stop]
        assert grids.count("\n SOURCE-ONLY ") == (2 if width == 120 else 5)
        assert grids.count("±") - ("± half" in grids) == len(BIG) * 13
        assert grids.count("amazon->") == 3
    summary = text[parts[3] :]
    assert summary.count("\n MCC ") == (1 if width == 120 else 2)
    assert summary.count(" MiB") == len(BIG)
    assert "-3.1↓" in summary


def test_markup_in_names_is_text():
    table = summarise([made_cell(label="[bold]x[/bold]")])
    assert "[bold]x[/bold]" in terminal(table, 100)


def test_losses_are_red_and_gains_green():
    cells = [made_cell("source-only", scores=(0.5,)), made_cell("dann", scores=(0.45,)), made_cell("dan")]
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True, color_system="standard")
    print_table(summarise(cells), console)
    assert "\x1b[31m(-5.0)" in text.getvalue()
    assert "\x1b[32m(+25.0)" in text.getvalue()


def test_the_width_of_a_pipe(capsys):
    print_table(made_table())
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120
