"""What a table is made of."""

from __future__ import annotations

import pytest
from made_cells import made_cell, made_classical, made_selections

from landbridge.benchmarks.blocks import Number, chosen_by
from landbridge.benchmarks.table import summarise


@pytest.mark.parametrize(("p_below", "negative"), [(None, False), (0.049, True), (0.05, False), (0.9, False)])
def test_negative_transfer_is_by_the_corrected_one_sided_p(p_below, negative):
    number = Number(70.0, 1.0, (0, 1), 100, gain=-1.0, p=0.01, p_holm=0.01, p_below=p_below)
    assert number.negative == negative


def test_places_and_title_of_a_block():
    two = summarise([made_cell(), made_cell(task="usps->mnist")]).blocks[0]
    assert two.columns == ("mnist->usps", "usps->mnist", "average")
    assert two.title == "digits: protocol digits/small/inductive, network lenet16, end-to-end"
    assert summarise([made_cell()]).blocks[0].columns == ("mnist->usps",)


def test_what_gains_are_over():
    assert summarise([made_cell("source-only"), made_cell()]).blocks[0].reference == "source-only"
    assert summarise([made_cell()]).blocks[0].reference == "source-only"
    classical = summarise([made_classical("raw", estimator="none"), made_classical("coral")])
    assert classical.blocks[0].reference == "the same classifier without adaptation"


def test_columns_to_show():
    cells = [made_cell(), made_cell(network="b"), made_cell(network="c", scores=(0.5,))]
    table = summarise(cells, selections=made_selections([cells[0], cells[2]]))
    shown = [table.shown_of(block) for block in table.blocks]
    assert shown == [("last", "oracle"), ("last",), ("last", chosen_by("information-maximisation"), "oracle")]
