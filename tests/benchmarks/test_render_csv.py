"""A table as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from made_cells import PROTOCOL, TWELVE, TWO_TASKS, made_big, made_cell, made_published, made_selections, made_table

from landbridge.benchmarks.render_csv import CSV_HEADER, to_csv
from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import summarise

# what readers of earlier files know, in their order; more may follow
HEADER = "suite,protocol,network,track,task,method,column,mean,stderr,seeds,n,published,published_source"


def read(table):
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def one(table, method, task, column="last"):
    (found,) = [r for r in read(table) if (r["method"], r["task"], r["column"]) == (method, task, column)]
    return found


def test_csv():
    table = made_table(chosen=True)
    assert to_csv(table).splitlines()[0].startswith(HEADER)
    assert to_csv(table).splitlines()[0] == ",".join(CSV_HEADER)
    assert len(read(table)) == 3 * 3 * 3  # methods x columns x (tasks and average)
    row = one(table, "dann", "mnist->usps")
    assert [row[name] for name in HEADER.split(",")[:4]] == ["digits", PROTOCOL, "lenet16", "end-to-end"]
    assert [float(row[name]) for name in ("mean", "stderr", "seeds", "n")] == [61.0, 0.2309, 3.0, 200.0]
    assert [float(row[name]) for name in ("low", "high")] == [60.0063, 61.9937]
    assert [row[name] for name in ("baseline", "gain", "gain_low", "gain_high")] == ["source-only", *["10.0000"] * 3]
    assert [row[name] for name in ("p", "p_holm", "p_below", "p_tasks", "negative_transfer")] == [""] * 5
    assert [row[name] for name in ("rank", "collapsed", "seconds", "peak_memory")] == ["1.0000", "0", "84.200", ""]
    assert row["published"] == "77.1"
    assert row["published_source"] == (
        "ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated; also 73.85: "
        "† DANN_2016: digits/full/inductive, LeNet-like, chosen by target labels"
    )
    assert one(table, "dann", "average", "oracle")["mean"] == "66.0000"
    assert one(table, "dann", "average", "chosen:information-maximisation")["mean"] == "59.0000"
    assert one(table, "dann", "average")["n"] == "400"
    assert one(table, "dann", "average")["published"] == "75.05"
    assert one(table, "source-only", "mnist->usps")["published"] == ""
    assert one(table, "source-only", "mnist->usps")["baseline"] == ""


def test_tests_and_costs():
    table = summarise(made_big(("source-only", "deepcoral", "dan")), tasks=TWELVE)
    row = one(table, "deepcoral", "average")
    assert row["negative_transfer"] == "1"
    assert float(row["p_below"]) == pytest.approx(2 / 65536, rel=1e-3)
    assert float(row["p_holm"]) >= float(row["p"]) >= float(row["p_below"]) / 2
    assert float(row["p_tasks"]) == pytest.approx(2 * 2 / 4096, rel=1e-3)
    assert (row["rank"], one(table, "dan", "average")["negative_transfer"]) == ("3.0000", "0")
    assert 3 < float(row["seconds"]) < 4
    assert 700 < float(row["peak_memory"]) < 800
    oracle = one(table, "deepcoral", "average", "oracle")
    assert [oracle[name] for name in ("p", "p_holm", "p_below", "p_tasks", "negative_transfer")] == [""] * 5
    assert oracle["gain"] != ""


def test_every_validator_has_its_column():
    cells = [made_cell(seed=seed) for seed in (0, 1)]
    chosen = made_selections(cells)
    chosen[cells[0].identity]["entropy"] = chosen[cells[1].identity]["entropy"] = Selection(100, 0.25, collapsed=True)
    table = summarise(cells, selections=chosen)
    columns = [row["column"] for row in read(table)]
    assert columns == ["last", "chosen:entropy", "chosen:information-maximisation", "oracle"]
    row = one(table, "dann", "mnist->usps", "chosen:entropy")
    assert (row["mean"], row["collapsed"], row["low"]) == ("25.0000", "2", "25.0000")


def test_single_checkpoints_have_all_columns_too():
    columns = [row["column"] for row in read(summarise([made_cell(scores=(0.5,))]))]
    assert columns == ["last", "oracle"]


def test_csv_prefers_the_same_protocol_and_marks_another():
    other = made_published(protocol="digits/full/inductive", values={"mnist->usps": 60.0, "usps->mnist": 61.0})
    same = made_published(values={"mnist->usps": 70.0})
    table = summarise([made_cell(task=task) for task in TWO_TASKS], published=[other, same])
    assert one(table, "dann", "mnist->usps")["published"] == "70"
    assert one(table, "dann", "usps->mnist")["published"] == "61"
    assert one(table, "dann", "usps->mnist")["published_source"].startswith("† ")
    average = one(table, "dann", "average")
    assert (average["stderr"], average["low"], average["high"]) == ("", "", "")
    assert average["published_source"].startswith("† ")


def test_missing_cells_have_no_line():
    cells = [made_cell(task=task, seed=seed) for task in TWO_TASKS for seed in (0, 1)][:-1]
    places = [(row["method"], row["task"]) for row in read(summarise([*cells, made_cell("dan", TWO_TASKS[0])]))]
    assert ("dan", "usps->mnist") not in places
    assert ("dann", "average") not in places
    assert ("dann", "usps->mnist") in places
