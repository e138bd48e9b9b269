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


def test_tasks_with_steps_of_their_own_stay_in_one_block() -> None:
    suite = read_suite("digits")
    assert not suite.alike("full")
    told = {suite.cell("full", task, "dann", 0, steps=50).departs for task in suite.tasks}
    assert told == {("50 steps",)}
    assert {suite.cell("full", task, "dann", 0).departs for task in suite.tasks} == {()}


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
    fields = {"suite": "tiny", "protocol": "tiny/short/inductive", "task": "clean->noisy"}
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


def marks(ours: str = "lenet16", track: str = "end-to-end", settings: Any = None, **published: Any) -> tuple[str, ...]:
    cells = [made_cell(network=ours, track=track, settings=settings or {})]
    table = summarise(cells, published=[made_published(**published)])
    return table.blocks[0].rows[0].quotes[0].differs


SHIFTED = {"training": {"random_shift": 2}}
PHOTOGRAPHS = {"images": {"domains": {}}, "backbone": {"ten_crops": False}, "training": {"random_shift": 0}}


def test_a_published_row_of_another_network_or_augmentation_is_marked() -> None:
    assert marks() == ()
    assert marks(settings={"training": {"random_shift": 0}}) == ()
    assert marks(settings=SHIFTED) == ("augmentation",)
    assert marks(settings=SHIFTED, augmentation="random shifts") == ()
    assert marks(augmentation="random shifts", settings={"training": {"random_shift": 0}}) == ("augmentation",)
    assert marks("dtn32") == ("network",)
    assert marks("dtn32", network="LeNet (digits), DTN (svhn)") == ()
    assert marks("conv28", settings=SHIFTED, protocol="digits/full/inductive") == (
        "protocol",
        "network",
        "augmentation",
    )
    assert marks("resnet50", settings=PHOTOGRAPHS, network="ResNet-50") == ()
    assert marks("resnet50", settings=PHOTOGRAPHS, network="ResNet-50", augmentation="none") == ("augmentation",)
    assert marks("resnet50", "frozen", settings=PHOTOGRAPHS, network="ResNet-50") == ("network",)
    assert marks("features", "features", network="DeCAF", settings={"training": {"random_shift": 0}}) == ()


def test_the_footnote_says_what_differs() -> None:
    table = summarise([made_cell(settings=SHIFTED)], published=[made_published()])
    assert table.footnotes == (
        "ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated; differs in augmentation (here "
        "random shifts of up to 2 pixels)",
    )
    assert any(note.startswith("† published under another protocol, with another network or") for note in table.notes)


def test_the_paper_s_own_network_is_not_marked() -> None:
    suite = read_suite("digits")
    settings = suite.cell("jmlr", "mnist->mnist-m", "dann", 0).model_dump(mode="json")
    cell = made_cell(task="mnist->mnist-m", protocol="digits/jmlr/inductive", network=settings["network"]["network"],
                     settings=settings)  # fmt: skip
    quotes = summarise([cell], published=suite.published).blocks[0].rows[0].quotes
    assert [quote.published.values["mnist->mnist-m"] for quote in quotes if quote.same_protocol] == [76.66]


def test_shot_s_79_7_carries_a_mark_beside_numbers_with_random_shifts() -> None:
    suite = read_suite("digits")
    settings = suite.cell("full", "mnist->usps", "source-only", 0).model_dump(mode="json")
    cell = made_cell("source-only", protocol="digits/full/inductive", network=settings["network"]["network"],
                     settings=settings)  # fmt: skip
    quotes = summarise([cell], published=suite.published).blocks[0].rows[0].quotes
    (shot,) = [quote for quote in quotes if 79.7 in quote.values.values()]
    assert not shot.same_protocol
