"""From the table to Python: a cell's own arrays, network, method and settings, and with them its very number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_suite import stored, tiny_file, tiny_job

import landbridge as lb
from landbridge.benchmarks import load_task
from landbridge.benchmarks.cell import load_cell_data, run_cell


def again(suite: Path, method: str, **options: object) -> tuple[float, np.ndarray]:  # type: ignore[type-arg]
    """The ten lines of the documentation."""
    task = load_task(suite, "clean->noisy", **options)  # type: ignore[arg-type]
    network, made = task.network(), task.method(method)
    result = lb.fit(network, made, task.source, task.target, device="cpu", **task.fit_arguments(method))
    return task.accuracy(result), task.predict(result)


@pytest.mark.parametrize(("method", "seed"), [("dann", 0), ("deepcoral", 1), ("source-only", 0)])
def test_ten_lines_give_a_cells_number_and_predictions(method: str, seed: int, tmp_path: Path) -> None:
    cell = run_cell(tiny_job(tmp_path, method, seed=seed))
    accuracy, predictions = again(tmp_path / "tiny.toml", method, seed=seed)
    assert accuracy == cell.last
    [folder] = tmp_path.glob(f"cells/*/{method}/seed-{seed}-*")
    np.testing.assert_array_equal(predictions, stored(folder)["step-000006/target_eval/predictions"])


def test_another_protocol_and_more_steps_than_its_own(tmp_path: Path) -> None:
    cell = run_cell(tiny_job(tmp_path, "dann", protocol="same", changes=(("steps = 4", "steps = 7"),)))
    suite = tiny_file(tmp_path)
    assert again(suite, "dann", protocol="same", steps=7)[0] == cell.last
    task = load_task(suite, "clean->noisy", "same")
    assert task.target_eval is task.target
    assert task.seed != load_task(suite, "clean->noisy", "short").seed


def test_arrays_are_those_of_a_cell(tmp_path: Path) -> None:
    task = load_task(tiny_file(tmp_path), "clean-to-noisy")
    data = load_cell_data(tiny_job(tmp_path).settings, None)
    held = data.source_holdout
    assert held is not None
    assert task.source_holdout is not None
    np.testing.assert_array_equal(np.asarray(task.source.inputs), np.asarray(data.source_train.inputs))
    assert task.classes == data.classes
    np.testing.assert_array_equal(task.source_holdout.labels, held.labels)
    np.testing.assert_array_equal(task.target_labels(), data.target_eval.labels)
    assert task.checksum == data.checksum
    assert "108 source rows, 100 adapted to, 359 scored" in repr(task)
    assert not any("label" in name for name in vars(task))  # a target label is there for who asks, and for nobody else


def test_the_first_weights_are_the_seeds_and_the_same_for_all_methods(tmp_path: Path) -> None:
    suite = tiny_file(tmp_path)
    first, second = (load_task(suite, "clean->noisy", seed=seed).network().state_dict() for seed in (0, 1))
    repeated = load_task(suite, "clean->noisy").network().state_dict()
    assert all(torch.equal(first[name], repeated[name]) for name in first)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_settings_are_a_rows(tmp_path: Path) -> None:
    task = load_task(tiny_file(tmp_path, ("batch_size = 16", "batch_size = 16\nrandom_shift = 2")), "clean->noisy")
    arguments = task.fit_arguments("dann")
    assert (arguments["steps"], arguments["batch_size"], arguments["seed"]) == (6, 16, task.seed)
    assert isinstance(arguments["augment"], lb.RandomShift)
    assert arguments["optimizer"] == lb.Optimizer(name="adam", lr=1e-3)
    assert task.settings("dann")["adaptation"]["settings"] == {"hidden": [8]}
    assert task.settings("mcc")["adaptation"]["settings"] == {}  # no row of the suite: with its own defaults


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("clean->nois",), "did you mean 'clean->noisy'"),
        (("clean->noisy,upright->rotated",), "takes one task"),
        (("clean->noisy", "shor"), "did you mean 'short'"),
        (("clean->noisy", "short", -1), "seed as a whole number >= 0"),
    ],
)
def test_mistakes_are_sentences(arguments: tuple[object, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        load_task(tiny_file(tmp_path), *arguments)  # type: ignore[arg-type]


def test_rows_that_are_no_methods_say_so(tmp_path: Path) -> None:
    task = load_task(tiny_file(tmp_path), "clean->noisy")
    with pytest.raises(ValueError, match="trains on target labels"):
        task.method("train-on-target")
    with pytest.raises(ValueError, match="did you mean 'dann'"):
        task.fit_arguments("dan-n")


def test_the_room_opens_when_it_is_asked_for() -> None:
    code = (
        "import sys, landbridge as lb\n"
        "assert 'landbridge.benchmarks' not in sys.modules\n"
        "assert callable(lb.benchmarks.load_task)\n"
        "assert 'typer' not in sys.modules and 'landbridge.benchmarks.cli' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
