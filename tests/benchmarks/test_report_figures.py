"""The geometry of the curves: everything inside the plot, in the right order, at the right place."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from made_cells import made_cell

from landbridge.benchmarks.report_data import curve
from landbridge.benchmarks.report_figures import OVERVIEW, SINGLE, overview, single, ticks
from landbridge.benchmarks.results import Selection


def numbers(path):
    return [tuple(map(float, pair.split())) for pair in re.findall(r"[-\d.]+ [-\d.]+", path)]


def curves(*scores, seeds=2):
    """One curve a row of scores, each seed two points above the one before."""
    rows = []
    for place, row in enumerate(scores):
        cells = [made_cell(f"m{place}", seed=s, scores=tuple(v + 0.02 * s for v in row)) for s in range(seeds)]
        rows.append((place, curve(f"M{place}", cells, {}, None)))
    return rows


@pytest.mark.parametrize("low", [0.0, 27.9, 88.3, 99.1])
@pytest.mark.parametrize("span", [0.3, 0.9, 5.0, 64.1, 1500.0, 20000.0])
@pytest.mark.parametrize("most", [3, 4, 6])
def test_ticks_are_round_evenly_apart_and_not_too_many(low, span, most):
    found = ticks(low, low + span, most)
    assert 1 <= len(found) <= most
    assert all(low - 1e-9 <= value <= low + span + 1e-9 for value in found)
    steps = {round(b - a, 6) for a, b in pairwise(found)}
    assert len(steps) <= 1
    for step in steps:
        assert f"{step:e}"[0] in "125"
        assert float(f"{step:e}".split("e")[0]) in (1.0, 2.0, 5.0)


def test_ticks_of_an_empty_range_are_its_one_value():
    assert ticks(5.0, 5.0, 4) == [5.0]


def test_a_better_score_stands_higher_and_a_later_step_further_right():
    panel = overview(curves((0.2, 0.5, 0.9)), None)
    (line,) = panel.lines
    across, up = zip(*numbers(line.path), strict=True)
    assert list(across) == sorted(across)
    assert list(up) == sorted(up, reverse=True)
    assert across[0] == OVERVIEW.left
    assert across[-1] == OVERVIEW.width - OVERVIEW.right


def test_everything_drawn_lies_inside_the_plot():
    for panel, plot in ((overview(curves((0.0, 0.4), (0.9, 0.98)), None), OVERVIEW),):
        for line in panel.lines:
            points = numbers(line.path) + numbers(line.band) + [p for seed in line.seeds for p in numbers(seed)]
            points += [(mark.x, mark.y) for mark in line.marks]
            assert points
            for x, y in points:
                assert plot.left <= x <= plot.width - plot.right
                assert plot.top <= y <= plot.height - plot.bottom
        assert all(plot.top <= y <= plot.height - plot.bottom for y, _ in panel.up)
        assert all(plot.left <= x <= plot.width - plot.right for x, _ in panel.across)


def test_the_band_goes_along_the_highest_and_back_along_the_lowest():
    panel = overview(curves((0.2, 0.6)), None)
    (line,) = panel.lines
    corners = numbers(line.band)
    mean = numbers(line.path)
    assert [x for x, _ in corners] == [mean[0][0], mean[1][0], mean[1][0], mean[0][0]]
    assert corners[0][1] < mean[0][1] < corners[3][1]
    assert corners[1][1] < mean[1][1] < corners[2][1]
    assert line.band.endswith("Z")
    assert overview(curves((0.2, 0.6), seeds=1), None).lines[0].band == ""


def test_the_scripts_numbers_agree_with_the_drawing():
    panel = overview(curves((0.2, 0.6), (0.4, 0.5)), None)
    plot, (low, high) = panel.hover["plot"], panel.hover["range"]
    for line, (place, mean, lowest, highest) in zip(panel.lines, panel.hover["lines"], strict=True):
        assert line.place == place
        drawn = numbers(line.path)
        for i, (x, y) in enumerate(drawn):
            assert x == panel.hover["x"][i]
            at = plot[4] + (high - mean[i]) / (high - low) * (plot[1] - plot[4] - plot[5])
            assert y == pytest.approx(at, abs=0.11)
            assert lowest[i] < mean[i] < highest[i]
    assert panel.hover["steps"] == [100, 200]


def test_a_step_that_one_curve_lacks_is_none_for_the_script():
    short = curve("A", [made_cell(scores=(0.5,))], {}, None)
    long = curve("B", [made_cell("dan", scores=(0.5, 0.6))], {}, None)
    panel = overview([(0, short), (3, long)], None)
    assert panel.hover["steps"] == [100, 200]
    assert panel.hover["lines"][0][1] == [50.0, None]
    assert panel.hover["lines"][1] == [3, [50.0, 60.0], [50.0, 60.0], [50.0, 60.0]]


def test_marks_stand_where_the_oracle_and_the_validator_choose():
    cell = made_cell(scores=(0.5, 0.9, 0.7))
    chosen = {cell.identity: {"entropy": Selection(300, 0.7, collapsed=True)}}
    panel = overview([(0, curve("DANN", [cell], chosen, "entropy"))], "entropy")
    (line,) = panel.lines
    drawn = numbers(line.path)
    oracle, validator = line.marks
    assert (oracle.kind, oracle.x, oracle.y) == ("oracle", *drawn[1])
    assert (validator.kind, validator.x, validator.y) == ("chosen", *drawn[2])
    assert oracle.tip == "oracle: DANN, seed 0, step 200: 90.0 %"
    assert validator.tip == "chosen by entropy: DANN, seed 0, step 300: 70.0 %; predictions collapsed"


def test_panels_of_single_methods_share_the_scale_of_their_task():
    both = curves((0.1, 0.3), (0.8, 0.9))
    first, second = (single(both, shown, None) for shown in range(2))
    assert first.up == second.up
    assert first.plot == SINGLE
    assert [line.place for line in (*first.lines, *second.lines)] == [0, 1]
    assert len(first.lines[0].seeds) == 2
    assert min(y for _, y in numbers(first.lines[0].path)) > max(y for _, y in numbers(second.lines[0].path))


@pytest.mark.parametrize("score", [0.0, 0.7, 1.0])
def test_one_point_alone_and_a_flat_line_can_be_drawn(score):
    for scores in ((score,), (score, score)):
        panel = overview(curves(scores, seeds=1), None)
        for _, y in numbers(panel.lines[0].path):
            assert OVERVIEW.top <= y <= OVERVIEW.height - OVERVIEW.bottom
