"""Settings that leave the protocol: told in the block's title, no part of a cell's identity."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from made_cells import made_cell, made_published
from tiny_suite import tiny_suite

from landbridge.benchmarks.departures import filled_in
from landbridge.benchmarks.suite import choose_backbone, read_suite
from landbridge.benchmarks.table import summarise


def test_what_is_asked_for_is_told_where_it_differs(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    plain = suite.cell("short", "clean->noisy", "dann", 0)
    same = suite.cell("short", "clean->noisy", "dann", 0, steps=6, checkpoints=3)
    asked = suite.cell("short", "clean->noisy", "dann", 0, steps=4, checkpoints=2)
    assert (plain.departs, same.departs) == ((), ())
    assert asked.departs == ("4 steps instead of 6", "2 checkpoints instead of 3")
    assert plain.identity("data", "1") == same.identity("data", "1") != asked.identity("data", "1")
    assert asked.identity("data", "1") == asked.model_copy(update={"departs": ()}).identity("data", "1")


def test_frozen_features_have_steps_of_their_own() -> None:
    suite = read_suite("office31")
    backbone, _ = choose_backbone(suite, frozen=True)
    cell = suite.cell("transductive", "amazon->webcam", "dann", 0, backbone=backbone)
    assert (cell.rules.steps, cell.departs) == (suite.frozen.steps, ())
    asked = suite.cell("transductive", "amazon->webcam", "dann", 0, 50, backbone=backbone)
    assert asked.departs == (f"50 steps instead of {suite.frozen.steps}",)


def test_another_backbone_s_weights_size_and_crops_are_told(tmp_path: Path) -> None:
    suite = read_suite("office31")
    weights = tmp_path / "resnet.safetensors"
    weights.write_bytes(b"weights")
    asked: dict[str, dict[str, Any]] = {
        "no pretrained weights": {"weights": "none"},
        f"weights {hashlib.sha256(b'weights').hexdigest()[:8]}": {"weights": str(weights)},
        "112 pixels": {"side": 112},
        "ten crops": {"ten_crops": True},
        "normalise caffe": {"normalise": "caffe"},
    }
    for told, given in asked.items():
        backbone, _ = choose_backbone(suite, **given)
        (found,) = suite.cell("transductive", "amazon->webcam", "dann", 0, backbone=backbone).departs
        assert found == told
    plain, _ = choose_backbone(suite)
    assert suite.cell("transductive", "amazon->webcam", "dann", 0, backbone=plain).departs == ()
    other, _ = choose_backbone(suite, name="squeezenet1_0")
    assert suite.cell("transductive", "amazon->webcam", "dann", 0, backbone=other).departs == ()


def test_rows_that_train_nothing_in_steps_follow_the_protocol() -> None:
    suite = read_suite("office-caltech10-surf")
    protocol = suite.protocol
    row = next(name for name, row in suite.methods.items() if row.classifier is not None)
    task = next(iter(suite.tasks))
    assert suite.cell(protocol, task, row, 0, steps=3).departs == ()


def test_the_title_says_it_and_published_values_are_marked() -> None:
    settings = {"departs": ["50 steps instead of 1500", "2 checkpoints instead of 10"]}
    left = [made_cell(method, seed=seed, settings=settings) for method in ("source-only", "dann") for seed in (0, 1)]
    kept = [made_cell(method, seed=seed) for method in ("source-only", "dann") for seed in (0, 1)]
    table = summarise([*left, *kept], published=[made_published()])
    plain, departed = table.blocks
    told = "digits/small/inductive with 50 steps instead of 1500 and 2 checkpoints instead of 10"
    assert departed.protocol == told
    assert told in departed.title
    assert "steps" not in plain.title
    quotes = [block.rows[1].quotes[0] for block in (plain, departed)]
    assert [quote.same_protocol for quote in quotes] == [True, False]
    assert not any("older" in note for note in table.notes)


def test_cells_from_before_are_told_by_their_rules(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    rules = suite.protocols["short"].model_dump(mode="json")
    fields = {"suite": "tiny", "protocol": "tiny/short/inductive"}
    cells = [
        made_cell(settings={"rules": rules}, **fields),
        made_cell(seed=1, settings={"rules": {**rules, "steps": 3}}, **fields),
        made_cell(seed=2, settings={"rules": {**rules, "steps": 3}, "departs": []}, **fields),
        made_cell(seed=3, settings={"rules": {**rules, "steps": 3}}, suite="unknown"),
    ]
    groups = [cell.group[1] for cell in filled_in(cells, [suite])]
    assert groups == [
        "tiny/short/inductive",
        "tiny/short/inductive with 3 steps instead of 6",
        "tiny/short/inductive",
        "digits/small/inductive",
    ]
