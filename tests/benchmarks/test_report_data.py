"""What the page shows, counted again by loops."""

from __future__ import annotations

import numpy as np
import pytest
from made_cells import made_cell
from made_report import folder_of, made_folder, store

from landbridge.benchmarks.report_data import (
    Point,
    block_settings,
    confusion,
    cost,
    curve,
    mistakes,
    pack,
    recorded,
)
from landbridge.benchmarks.results import Checkpoint, Selection


def unpack(packed):
    """What the page's script does."""
    matrix = np.zeros(packed["k"] ** 2, int)
    place = 0
    for gap, count in zip(packed["cells"][::2], packed["cells"][1::2], strict=True):
        place += gap
        matrix[place] = count
    return matrix.reshape(packed["k"], packed["k"])


def random_counts(k, seed=3, empty=0.4):
    draw = np.random.default_rng(seed)
    return draw.integers(1, 50, (k, k)) * (draw.random((k, k)) > empty)


# ------------------------------------------------------------------ curves


def test_a_curve_is_the_mean_over_seeds_between_the_lowest_and_the_highest():
    cells = [
        made_cell(seed=seed, scores=scores) for seed, scores in [(4, (0.2, 0.9)), (0, (0.4, 0.6)), (1, (0.3, 0.3))]
    ]
    made = curve("DANN", cells, {}, None)
    assert [run.seed for run in made.runs] == [0, 1, 4]
    assert [point.step for point in made.mean] == [100, 200]
    assert [point.score for point in made.mean] == pytest.approx([30.0, 60.0])
    assert made.low == pytest.approx((20.0, 30.0))
    assert made.high == pytest.approx((40.0, 90.0))
    assert made.label == "DANN"


def test_the_mean_has_the_steps_that_every_seed_has():
    short = made_cell(seed=0, scores=(0.5,))
    long = made_cell(seed=1, scores=(0.7, 0.8))
    odd = made_cell(seed=2, checkpoints=[Checkpoint(step=7, target_eval=0.1)])
    assert [point.step for point in curve("A", [short, long], {}, None).mean] == [100]
    apart = curve("A", [long, odd], {}, None)
    assert apart.mean == ()
    assert [len(run.points) for run in apart.runs] == [2, 1]


def test_the_oracle_is_the_first_of_the_best_and_the_choice_is_the_validators():
    cell = made_cell(scores=(0.5, 0.8, 0.8, 0.6))
    chosen = {cell.identity: {"entropy": Selection(400, 0.6, collapsed=True)}}
    (run,) = curve("A", [cell], chosen, "entropy").runs
    assert run.oracle == Point(200, 80.0)
    assert run.chosen == Point(400, 60.0)
    assert run.collapsed
    assert curve("A", [cell], chosen, "source-risk").runs[0].chosen is None
    assert curve("A", [cell], chosen, None).runs[0].chosen is None


# ------------------------------------------------------------------ confusion matrices


def slow_confusion(out, cells):
    k = 1 + max(int(np.load(folder_of(out, cell) / "target_labels.npz")["target_eval/labels"].max()) for cell in cells)
    counts = np.zeros((k, k), int)
    for cell in cells:
        folder = folder_of(out, cell)
        labels = np.load(folder / "target_labels.npz")["target_eval/labels"]
        last = sorted((folder / "outputs").iterdir())[-1]
        for true, predicted in zip(labels, np.load(last)["target_eval/predictions"], strict=True):
            counts[true, predicted] += 1
    return counts


def test_a_confusion_matrix_counts_every_row_of_every_seed_at_the_last_checkpoint(tmp_path):
    cells = made_folder(tmp_path, methods=["dann"], tasks=["mnist->usps"], seeds=3)
    made = confusion(cells, {cell.identity: folder_of(tmp_path, cell) for cell in cells})
    assert (made.counts == slow_confusion(tmp_path, cells)).all()
    assert made.counts.sum() == sum(cell.n for cell in cells)
    assert made.counts.trace() / made.counts.sum() == pytest.approx(np.mean([cell.last for cell in cells]))
    assert made.seeds == (0, 1, 2)
    assert made.missing == ()


def test_classes_of_which_one_seed_has_fewer_are_summed_in_one_matrix(tmp_path):
    cells = made_folder(tmp_path, methods=["dann"], tasks=["a->b"], seeds=2, outputs=False)
    folders = {cell.identity: folder_of(tmp_path, cell) for cell in cells}
    for cell, top in zip(cells, (1, 5), strict=True):
        store(folders[cell.identity], cell, [np.full(60, top)] * 3, np.random.default_rng(0))
    made = confusion(cells, folders)
    assert made.counts.shape == (6, 6)
    assert made.counts[:, 1].sum() == 60
    assert made.counts[:, 5].sum() == 60


def test_a_cell_without_outputs_is_named_and_the_others_are_counted(tmp_path):
    cells = made_folder(tmp_path, methods=["dann"], tasks=["a->b"], seeds=3)
    folders = {cell.identity: folder_of(tmp_path, cell) for cell in cells}
    for path in (folders[cells[1].identity] / "outputs").iterdir():
        path.unlink()
    made = confusion(cells, folders)
    assert made.seeds == (0, 2)
    (sentence,) = made.missing
    assert sentence == "dann on a->b seed 1: its outputs were dropped (--keep-outputs scores, or deleted)"
    nothing = confusion(cells[1:2], folders)
    assert nothing.counts is None
    assert nothing.seeds == ()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"target_eval/predictions": np.zeros(59, int)}, "labels have shape (60,), its predictions (59,)"),
        ({"target_eval/predictions": np.full(60, -1)}, "a class number is negative"),
        ({"other": np.zeros(60)}, "not whole (target_eval/predictions is not"),
        (b"no npz at all", "cannot be read"),
        (b"PK\x03\x04 half of one", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_outputs_that_are_wrong_are_told_of(tmp_path, arrays, said):
    (cell,) = made_folder(tmp_path, methods=["dann"], tasks=["a->b"], seeds=1)
    folder = folder_of(tmp_path, cell)
    path = sorted((folder / "outputs").iterdir())[-1]
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, **arrays)
    made = confusion([cell], {cell.identity: folder})
    assert made.counts is None
    assert said in made.missing[0]


@pytest.mark.parametrize("k", [1, 2, 7, 31])
def test_a_packed_matrix_unpacks_to_itself(k):
    counts = random_counts(k)
    packed = pack(counts, k * k)
    assert (unpack(packed) == counts).all()
    assert packed["totals"] == counts.sum(1).tolist()
    assert packed["left_out"] == 0


def test_of_a_large_matrix_the_diagonal_and_the_largest_mistakes_are_kept():
    counts = random_counts(12)
    packed = pack(counts, 40)
    kept = unpack(packed)
    assert len(packed["cells"]) == 2 * 40
    assert (np.diag(kept) == np.diag(counts)).all()
    dropped = (kept == 0) & (counts > 0)
    off = ~np.eye(12, dtype=bool)
    assert counts[dropped].max() <= kept[off & (kept > 0)].min()
    assert packed["left_out"] == counts.sum() - kept.sum() > 0
    assert packed["totals"] == counts.sum(1).tolist()
    assert (unpack(pack(counts, 1)) == np.diag(np.diag(counts))).all()


def test_mistakes_are_the_largest_off_the_diagonal():
    counts = np.array([[90, 0, 10], [7, 1, 0], [3, 0, 0]])
    found = mistakes(counts, 2)
    assert [(m.true, m.predicted, m.rows) for m in found] == [(0, 2, 10), (1, 0, 7)]
    assert [m.share for m in found] == pytest.approx([10.0, 87.5])
    assert len(mistakes(counts, 9)) == 3
    assert mistakes(np.diag([3, 4]), 3) == []
    assert counts[0, 0] == 90, "the matrix itself is left as it is"


# ------------------------------------------------------------------ settings, costs, environment


def settings_cell(method, task="a->b", seed=0, **adaptation):
    settings = {
        "suite": "digits",
        "seed": seed,
        "task": task,
        "method": method,
        "adaptation": {"method": method, "label": method.upper(), "settings": adaptation},
        "training": {"batch_size": 64, "optimizer": {"lr": 0.001, "clip": None}},
    }
    return made_cell(method, task, seed, settings=settings)


def test_settings_that_differ_from_most_methods_are_marked():
    cells = [settings_cell("source-only"), settings_cell("dann", weight=0.3), settings_cell("dan", weight=3.0)]
    cells += [settings_cell("mcc", weight=3.0), settings_cell("jan", weight=3.0)]
    found = block_settings(cells, ["source-only", "dann", "dan", "mcc", "jan"])
    weights = {
        method: [(s.value, s.usual, s.differs) for s in settings if s.name == "adaptation.settings.weight"]
        for method, settings in found.items()
    }
    assert weights["dann"] == [("0.3", "3.0", True)]
    assert weights["dan"] == [("3.0", "3.0", False)]
    assert weights["source-only"] == [("not set", "3.0", True)]
    names = [setting.name for setting in found["dann"]]
    assert names[:2] == ["adaptation.method", "adaptation.settings.weight"], "what makes the method stands first"
    assert "training.optimizer.lr" in names
    assert not {"seed", "task", "method", "suite", "adaptation.label"} & set(names)
    (clip,) = [s for s in found["dan"] if s.name == "training.optimizer.clip"]
    assert (clip.value, clip.differs) == ("null", False)


def test_a_setting_that_depends_on_the_task_is_listed_with_its_tasks():
    cells = [
        settings_cell("dann", "a->b", 0, weight=1.0),
        settings_cell("dann", "a->b", 1, weight=1.0),
        settings_cell("dann", "c->d", 0, weight=2.0),
    ]
    (weight,) = [s for s in block_settings(cells, ["dann"])["dann"] if s.name.endswith("weight")]
    assert weight.value == "1.0 (a->b); 2.0 (c->d)"
    assert not weight.differs


def test_long_settings_are_cut():
    cell = made_cell(settings={"files": [f"image-{i}.jpg" for i in range(400)], "words": "w" * 500, "empty": {}})
    found = {s.name: s.value for s in block_settings([cell], ["dann"])["dann"]}
    assert found["files"].startswith("400 values: image-0.jpg, image-1.jpg")
    assert len(found["words"]) < 130
    assert "empty" not in found


def test_costs_are_of_all_cells():
    cells = [made_cell(seed=0, seconds=10), made_cell(seed=1, seconds=40), made_cell(seed=2, seconds=20)]
    made = cost("DANN", cells)
    assert (made.cells, made.median, made.longest, made.total, made.memory) == (3, 20, 40, 70, None)
    measured = cost("DANN", [*cells, made_cell(seed=3, peak_memory=100.0), made_cell(seed=4, peak_memory=300.0)])
    assert measured.memory == 300.0


def test_what_cells_were_made_with_is_counted():
    cells = [made_cell(seed=seed) for seed in range(3)]
    cells.append(made_cell(seed=3, environment={"torch": "3.0", "driver": 7}))
    found = {each.name: each.values for each in recorded(cells)}
    assert found["torch"] == (("2.15.0", 3), ("3.0", 1))
    assert found["driver"] == (("not recorded", 3), ("7", 1))
    assert found["threads"] == (("1", 3), ("not recorded", 1))
