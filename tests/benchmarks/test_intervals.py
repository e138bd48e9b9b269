"""An interval that is wider than the scale is not shown as one, anywhere."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from made_cells import made_cell

from landbridge.benchmarks.plots import draw
from landbridge.benchmarks.render import to_csv, to_latex, to_markdown
from landbridge.benchmarks.render_lines import sheets
from landbridge.benchmarks.report_template import spread, tip
from landbridge.benchmarks.table import summarise

TASK = "mnist->usps"


def table_of(*scores: float) -> Any:
    cells = [made_cell("source-only", seed=seed, scores=(0.3, 0.5 + 0.01 * seed)) for seed in range(len(scores))]
    return summarise([*cells, *(made_cell("dann", seed=seed, scores=(0.3, one)) for seed, one in enumerate(scores))])


def dann(table: Any) -> Any:
    return table.blocks[0].rows[1].numbers["last"][TASK]


def test_a_wide_interval_is_no_interval() -> None:
    table = table_of(0.4, 0.6)  # 12.7 times 10 points to each side
    number = dann(table)
    assert number.half_width == pytest.approx(127.06, abs=0.01)
    assert number.interval is None
    assert number.range == pytest.approx((40.0, 60.0))
    last, *_ = sheets(table, table.blocks[0])
    assert last.lines[1].entries[0].score == "50.0 ± n/a [40.0..60.0]"
    assert last.lines[0].entries[0].score == "50.5 ± 6.4"
    assert "50.0 ± n/a [40.0..60.0]" in to_markdown(table)
    assert r"50.0 $\pm$ n/a {[}40.0..60.0]" in to_latex(table)
    assert (
        "± n/a, 2 seeds: the 95% interval would be wider than the whole scale; in square brackets stand the lowest and "
        "the highest seed instead."
    ) in table.notes
    assert spread(number) == "± n/a [40.0..60.0]"
    assert "seeds from 40.00 to 60.00 (95% interval wider than the scale)" in tip(number)
    assert "127" not in tip(number)
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(to_csv(table))) if row["column"] == "last"}
    assert (rows["dann"]["low"], rows["dann"]["high"]) == ("", "")
    assert (rows["dann"]["gain_low"], rows["dann"]["gain_high"]) == ("", "")
    assert (rows["dann"]["lowest"], rows["dann"]["highest"]) == ("40.0000", "60.0000")
    assert rows["source-only"]["low"] != ""


def test_the_picture_has_the_range_for_it() -> None:
    figure = draw(table_of(0.4, 0.6))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "lowest to highest seed (interval wider than the scale)" in names
    (axes,) = figure.axes
    assert any(
        list(line.get_xdata()) == pytest.approx([40.0, 60.0]) for line in axes.lines if len(line.get_xdata()) == 2
    )
    assert "lowest to highest seed (interval wider than the scale)" not in [
        text.get_text() for text in draw(table_of(0.5, 0.51, 0.52)).legends[0].get_texts()
    ]


def test_an_interval_as_wide_as_the_scale_is_still_one_and_one_seed_has_none() -> None:
    assert dann(table_of(0.50, 0.578)).interval == pytest.approx(49.55, abs=0.01)
    assert dann(table_of(0.50, 0.579)).interval is None
    one = dann(table_of(0.5))
    assert (one.interval, one.range) == (None, None)
    assert spread(one) == ""
    assert not any(note.startswith("± n/a,") for note in table_of(0.5).notes)
