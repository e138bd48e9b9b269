"""How a ranking looks: the same figures on the terminal, in Markdown and in CSV."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from landbridge.benchmarks.ranking import Figures, Picked, Ranked, RankedBlock, Ranking
from landbridge.benchmarks.ranking_table import CSV_HEADER, ranking_to_csv, ranking_to_markdown, render_ranking

FIGURES = Figures(0.5, Picked(81.25, 1.5, 6, 0, 2), Picked(90.0, 0.25, 3, 1, 1), 6)


@pytest.fixture
def ranking():
    undefined = FIGURES._replace(spearman=None)
    rows = (
        Ranked("entropy", {"a->b": FIGURES, "average": FIGURES}, 0.0123),
        Ranked("nuclear-norm", {"a->b": undefined, "average": undefined}, 0.25),
        Ranked("source-risk", {}, None, "the protocol holds no source rows out"),
    )
    group = ("digits", "digits/[small]", "lenet16", "end-to-end")
    block = RankedBlock(group, ("a->b",), 60, rows, last=80.0, oracle=82.75, model_oracle=90.25)
    return Ranking((block, block), ("how to read it",))


def shown(ranking):
    out = io.StringIO()
    Console(file=out, width=140).print(render_ranking(ranking))
    return out.getvalue()


def test_the_terminal(ranking):
    text = shown(ranking)
    lines = [line.split() for line in text.splitlines()]
    assert ["entropy", "0.500", "81.2", "1.5", "90.0", "0.2", "1", "3", "0.012"] in lines
    assert ["nuclear-norm", "n/a", "81.2", "1.5", "90.0", "0.2", "1", "3", "0.250"] in lines
    assert ["last", "checkpoint", "80.0", "2.8"] in lines
    assert ["oracle", "82.8", "0.0", "90.2", "0.0"] in lines
    assert "source-risk: n/a: the protocol holds no source rows out" in text
    assert text.count("digits: protocol digits/[small], network lenet16, end-to-end; 60 checkpoints of 1 task\n") == 0
    assert text.count("digits/[small], network lenet16, end-to-end; 60 checkpoints of 1 task") == 2
    assert text.count("- how to read it") == 1


def test_markdown(ranking):
    lines = ranking_to_markdown(ranking).splitlines()
    assert lines[0] == "### digits: protocol digits/[small], network lenet16, end-to-end; 60 checkpoints of 1 task"
    columns = {line.count("|") for line in lines if line.startswith("|")}
    assert columns == {10}
    assert "| entropy | 0.500 | 81.2 | 1.5 | 90.0 | 0.2 | 1 | 3 | 0.012 |" in lines
    assert "| source-risk | n/a: the protocol holds no source rows out |  |  |  |  |  |  |  |" in lines
    assert lines[-1] == "- how to read it"


def test_csv(ranking):
    rows = list(csv.DictReader(io.StringIO(ranking_to_csv(ranking))))
    assert len(rows) == 2 * (2 + 2 + 1)
    assert tuple(rows[0]) == CSV_HEADER
    assert rows[0] == {
        "suite": "digits", "protocol": "digits/[small]", "network": "lenet16", "track": "end-to-end", "task": "a->b",
        "validator": "entropy", "cost": "cheap", "weighted_spearman": "0.500000", "checkpoint_accuracy": "81.2500",
        "checkpoint_regret": "1.5000", "model_accuracy": "90.0000", "model_regret": "0.2500", "collapsed_picks": "1",
        "passed_over": "3", "cells": "6", "seconds_per_cell": "0.0123", "why": "", "ranks_backwards": "",
        "p_backwards": "", "below_last": "", "p_below_last": "",
    }  # fmt: skip
    assert (rows[4]["validator"], rows[4]["task"], rows[4]["weighted_spearman"]) == ("source-risk", "average", "")
    assert rows[4]["why"] == "the protocol holds no source rows out"
