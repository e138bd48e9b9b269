"""Cells: paired seeds, what is stored and what may not be, scores, interruptions, and the folder put in place."""

from __future__ import annotations

import hashlib
import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_suite import same_arrays, stored, tiny_job

from landbridge.benchmarks.cell import Job, load_cell_data, run_cell
from landbridge.benchmarks.results import Cell, read_cells
from landbridge.shared.batches import Samples
from landbridge.shared.checkpoint import CheckpointError
from landbridge.shared.evaluate import forward_all
from landbridge.shared.validators import VALIDATORS

cells: Any = importlib.import_module("landbridge.benchmarks.cell")
training: Any = importlib.import_module("landbridge.shared.fit")
FILES = ["hits.npz", "outputs", "result.json", "target_labels.npz", "validators.json"]
SPLITS = ("source_train", "source_holdout", "target_train", "target_eval")


class Spy:
    """Watches every cell's training: the weights at its start, what ``fit`` was given, the batches, the steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.given: list[dict[str, Any]] = []
        self.results: list[Any] = []
        self.batches: list[dict[tuple[str, int], list[int]]] = []
        self.steps: list[list[int]] = []
        order, one, fit = training.Order.__call__, training._Run._one, cells.fit

        def watched_order(this: Any, number: int) -> torch.Tensor:
            rows: torch.Tensor = order(this, number)
            self.batches[-1][this.name, number] = rows.tolist()
            return rows

        def watched_step(this: Any, step: int) -> None:
            self.steps[-1].append(step)
            one(this, step)

        def watched_fit(network: Any, method: Any, source: Any, target: Any, **given: Any) -> Any:
            self.weights.append({name: value.clone() for name, value in network.state_dict().items()})
            self.given.append({"method": method, "source": source, "target": target, **given})
            self.batches.append({})
            self.steps.append([])
            self.results.append(fit(network, method, source, target, **given))
            return self.results[-1]

        monkeypatch.setattr(training.Order, "__call__", watched_order)
        monkeypatch.setattr(training._Run, "_one", watched_step)
        monkeypatch.setattr(cells, "fit", watched_fit)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def target_labels(job: Job) -> dict[str, Any]:
    with np.load(job.folder / "target_labels.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def stop_at_write(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The cell is interrupted as it begins to store the outputs of its checkpoint of this number."""
    write, calls = cells._Outputs.write, []

    def stopping(this: Any, step: int, network: Any) -> None:
        calls.append(step)
        if len(calls) == number:
            raise KeyboardInterrupt
        write(this, step, network)

    monkeypatch.setattr(cells._Outputs, "write", stopping)


def test_all_methods_start_from_the_same_weights_and_see_the_same_batches(tmp_path: Path, spy: Spy) -> None:
    for method in ("source-only", "dann", "deepcoral"):
        run_cell(tiny_job(tmp_path, method))
    first, *others = range(3)
    for other in others:
        assert same_weights(spy.weights[first], spy.weights[other])
        assert spy.given[first]["seed"] == spy.given[other]["seed"]
        assert spy.batches[first] == spy.batches[other]
    assert set(spy.batches[0]) == {(domain, i) for domain in ("source", "target") for i in range(6)}
    assert spy.batches[0]["source", 0] != spy.batches[0]["target", 0]


def test_another_seed_task_or_protocol_starts_elsewhere(tmp_path: Path, spy: Spy) -> None:
    run_cell(tiny_job(tmp_path))
    run_cell(tiny_job(tmp_path, seed=1))
    run_cell(tiny_job(tmp_path, task="upright->rotated"))
    run_cell(tiny_job(tmp_path, protocol="same"))
    for other in (1, 2, 3):
        assert not same_weights(spy.weights[0], spy.weights[other])
        assert spy.given[0]["seed"] != spy.given[other]["seed"]
        assert spy.batches[0]["source", 0] != spy.batches[other]["source", 0]


def test_a_method_of_weight_0_is_source_only_forwarded_the_same_way(tmp_path: Path) -> None:
    found = {}
    for method in ("seen", "dann-0", "deepcoral-0", "dann"):
        job = tiny_job(tmp_path, method)
        run_cell(job)
        found[method] = stored(job.folder)
    assert same_arrays(found["seen"], found["dann-0"])
    assert same_arrays(found["seen"], found["deepcoral-0"])
    assert not same_arrays(found["seen"], found["dann"])


def test_the_bound_trains_on_the_target_with_its_labels(tmp_path: Path, spy: Spy) -> None:
    for method in ("source-only", "train-on-target"):
        job = tiny_job(tmp_path, method)
        run_cell(job)
    data = load_cell_data(job.settings, None)
    for given, split in zip(spy.given, (data.source_train, data.target_train), strict=True):
        assert given["source"][0] is split.inputs
        assert given["source"][1] is split.labels
        assert given["target"] is data.target_train.inputs


def test_the_training_settings_arrive(tmp_path: Path, spy: Spy) -> None:
    changes = (
        ("batch_size = 16", "batch_size = 7\nchannels_last = true"),
        ("lr = 1e-3", "lr = 2e-3\nclip = 5.0\nschedule = 'cosine'"),
        ("checkpoints = 3", "checkpoints = 3\nbatch_statistics = 'joint'"),
    )
    run_cell(tiny_job(tmp_path, changes=changes))
    given = spy.given[0]
    assert (given["batch_size"], given["channels_last"], given["batch_statistics"]) == (7, True, "joint")
    optimizer = given["optimizer"]
    assert (optimizer.name, optimizer.lr, optimizer.clip, optimizer.schedule) == ("adam", 2e-3, 5.0, "cosine")
    assert list(given["evaluate_at"]) == [2, 4, 6]


def test_what_is_stored_at_the_checkpoints(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    run_cell(job)
    data, arrays = load_cell_data(job.settings, None), stored(job.folder)
    expected = set()
    for step in ("step-000002", "step-000004", "step-000006"):
        expected |= {f"{step}/{split}/{name}" for split in SPLITS for name in ("rows", "logits", "features")}
        expected |= {f"{step}/{split}/predictions" for split in SPLITS if len(getattr(data, split).labels) <= 1000}
        expected |= {f"{step}/source_{name}/labels" for name in ("train", "holdout")}
        expected.add(f"{step}/source_holdout/all_labels")
    assert set(arrays) == expected
    for split in SPLITS:
        held = getattr(data, split)
        n = len(held.labels)
        for name, shape in (("logits", (n, 10)), ("features", (n, 128))):
            array = arrays[f"step-000004/{split}/{name}"]
            assert (array.dtype, array.shape) == (np.float16, shape)
        np.testing.assert_array_equal(arrays[f"step-000004/{split}/rows"], held.rows)
        if split.startswith("source"):
            np.testing.assert_array_equal(arrays[f"step-000004/{split}/labels"], held.labels)


def test_target_labels_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    run_cell(job)
    data, labels = load_cell_data(job.settings, None), target_labels(job)
    assert set(labels) == {f"target_{s}/{what}" for s in ("train", "eval") for what in ("rows", "labels")}
    for split in ("target_train", "target_eval"):
        np.testing.assert_array_equal(labels[f"{split}/rows"], getattr(data, split).rows)
        np.testing.assert_array_equal(labels[f"{split}/labels"], getattr(data, split).labels)
    hidden = {getattr(data, split).labels.tobytes() for split in ("target_train", "target_eval")}
    assert not hidden & {array.astype(np.int64).tobytes() for array in stored(job.folder).values()}
    assert sorted(path.name for path in job.folder.iterdir()) == FILES


def test_no_more_rows_than_the_limit_are_stored_but_all_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny_job(tmp_path / "whole")
    run_cell(whole)
    monkeypatch.setattr(cells, "KEPT_ROWS", 9)
    job = tiny_job(tmp_path / "some")
    result = run_cell(job)
    data, arrays, all_arrays = load_cell_data(job.settings, None), stored(job.folder), stored(whole.folder)
    for split in SPLITS:
        held, at = getattr(data, split), f"step-000006/{split}"
        by_hash = sorted(range(len(held.rows)), key=lambda i: hashlib.sha256(f"outputs/{split}/{i}".encode()).digest())
        chosen = sorted(by_hash[:9])
        np.testing.assert_array_equal(arrays[f"{at}/rows"], held.rows[chosen])
        # forwarded alone or among others, a row's numbers may differ by rounding
        np.testing.assert_allclose(arrays[f"{at}/logits"], all_arrays[f"{at}/logits"][chosen], rtol=1e-2, atol=1e-2)
        if split.startswith("source"):
            np.testing.assert_array_equal(arrays[f"{at}/labels"], held.labels[chosen])
    assert len(arrays["step-000006/target_eval/predictions"]) == len(data.target_eval.labels) == result.n
    assert data.source_holdout is not None
    assert len(arrays["step-000006/source_holdout/predictions"]) == len(data.source_holdout.labels)
    assert "step-000006/source_train/predictions" not in arrays
    assert result.checkpoints == read_cells(tmp_path / "whole")[0].checkpoints


def test_the_outputs_are_the_network_s_with_each_domain_s_statistics(tmp_path: Path, spy: Spy) -> None:
    job = tiny_job(tmp_path)
    run_cell(job)
    data, arrays = load_cell_data(job.settings, None), stored(job.folder)
    for split in SPLITS:
        samples = Samples(torch.as_tensor(getattr(data, split).inputs), None, torch.device("cpu"))
        features, logits = forward_all(spy.results[0].network, samples, source=split.startswith("source"))
        np.testing.assert_array_equal(arrays[f"step-000006/{split}/logits"], logits.half().numpy())
        np.testing.assert_array_equal(arrays[f"step-000006/{split}/features"], features.half().numpy())


def test_scores_are_the_share_of_right_predictions_last_and_best(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, changes=(("steps = 6", "steps = 30"), ("checkpoints = 3", "checkpoints = 15")))
    result = run_cell(job)
    arrays, labels = stored(job.folder), target_labels(job)["target_eval/labels"].tolist()
    found: list[Any] = []
    for step in range(2, 31, 2):
        at = f"step-{step:06d}"
        predictions = arrays[f"{at}/target_eval/predictions"].tolist()
        target = sum(p == y for p, y in zip(predictions, labels, strict=True)) / len(labels)
        held = zip(arrays[f"{at}/source_holdout/predictions"], arrays[f"{at}/source_holdout/all_labels"], strict=True)
        holdout = np.mean([p == y for p, y in held])
        found.append((step, pytest.approx(target), pytest.approx(holdout)))
    assert [(c.step, c.target_eval, c.source_holdout) for c in result.checkpoints] == found
    assert result.last == result.checkpoints[-1].target_eval
    assert result.oracle == max(c.target_eval for c in result.checkpoints)
    assert read_cells(tmp_path) == [result]


def test_noise_for_target_labels_changes_scores_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path / "true")
    true = run_cell(job)
    kept = stored(job.folder)

    def noisy(settings: Any, data: Path | None, **_: Any) -> Any:
        task = load_cell_data(settings, data)
        noise = np.random.default_rng(0)
        changed = {
            name: getattr(task, name)._replace(labels=noise.integers(0, 10, len(getattr(task, name).labels)))
            for name in ("target_train", "target_eval")
        }
        return task._replace(**changed)

    monkeypatch.setattr(cells, "load_cell_data", noisy)
    other = tiny_job(tmp_path / "noise")
    noise = run_cell(other)
    assert same_arrays(kept, stored(other.folder))
    assert [c.source_holdout for c in noise.checkpoints] == [c.source_holdout for c in true.checkpoints]
    assert [c.target_eval for c in noise.checkpoints] != [c.target_eval for c in true.checkpoints]


def test_outputs_are_dropped_if_only_scores_are_kept(tmp_path: Path) -> None:
    every, scores = (tiny_job(tmp_path / keep, keep=keep) for keep in ("all", "scores"))
    assert run_cell(every).checkpoints == run_cell(scores).checkpoints
    assert not (scores.folder / "outputs").exists()
    assert len(read_cells(tmp_path / "scores")) == 1


@pytest.mark.parametrize("stopped", ["while storing", "between checkpoints"])
def test_an_interrupted_cell_goes_on_inside_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    whole = tiny_job(tmp_path / "whole")
    expected = run_cell(whole)
    job = tiny_job(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        if stopped == "while storing":
            stop_at_write(patch, 3)
        else:
            one = training._Run._one

            def stopping(this: Any, step: int) -> None:
                if step == 5:
                    raise KeyboardInterrupt
                one(this, step)

            patch.setattr(training._Run, "_one", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_cell(job)
    assert not job.folder.exists()
    assert job.work.name.startswith(".")
    assert (job.work / "training.pt").is_file()
    assert read_cells(job.out) == []
    spy = Spy(monkeypatch)
    result = run_cell(job)
    assert spy.steps == [[4, 5]]
    assert same_arrays(stored(whole.folder), stored(job.folder))
    assert result.checkpoints == expected.checkpoints
    assert [path.name for path in job.folder.parent.iterdir()] == [job.folder.name]


def test_a_cell_stopped_while_it_is_put_in_place_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_cell(tiny_job(tmp_path / "whole"))

    def stops(path: Path, **_: Any) -> None:
        for file in sorted(path.iterdir())[1:]:
            file.unlink()
        raise KeyboardInterrupt

    job = tiny_job(tmp_path / "stopped", keep="scores")
    with monkeypatch.context() as patch:
        patch.setattr(cells.shutil, "rmtree", stops)
        with pytest.raises(KeyboardInterrupt):
            run_cell(job)
    assert read_cells(job.out) == []
    assert run_cell(job).checkpoints == expected.checkpoints


def test_the_folder_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny_job(tmp_path)
    write, seen = cells._Outputs.write, []

    def watching(this: Any, step: int, network: Any) -> None:
        write(this, step, network)
        seen.append((job.folder.exists(), (job.work / "outputs").is_dir()))

    renamed = []

    def replace(old: Path, new: Path) -> None:
        renamed.append((Path(old), Path(new), sorted(path.name for path in Path(old).iterdir())))
        shutil.move(old, new)

    monkeypatch.setattr(cells._Outputs, "write", watching)
    patched = type("os", (), {"replace": staticmethod(replace), "getpid": cells.os.getpid})
    monkeypatch.setattr(cells, "os", patched)
    run_cell(job)
    assert seen == [(False, True)] * 3
    assert renamed == [(job.work, job.folder, FILES)]


def test_a_fresh_run_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    first = run_cell(job)
    (job.folder / "note.txt").write_text("of the old one")
    second = run_cell(job)
    assert second.checkpoints == first.checkpoints
    assert [path.name for path in job.folder.parent.iterdir()] == [job.folder.name]
    assert not (job.folder / "note.txt").exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    job.work.mkdir(parents=True)
    (job.work / "training.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"training\.pt cannot be read as a checkpoint .* Delete it to start"):
        run_cell(job)
    assert not job.folder.exists()


def test_wrong_settings_of_a_method_name_its_row(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, changes=(("{ hidden = [8] }", "{ hiden = [8] }"),))
    with pytest.raises(ValueError, match=r"method 'dann' of suite 'tiny': DANN: unknown setting 'hiden'.*'hidden'"):
        run_cell(job)


def test_what_a_result_says_of_its_making(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, "deepcoral", seed=1)
    result = run_cell(job)
    assert (result.suite, result.protocol, result.task) == ("tiny", "tiny/short/inductive", "clean->noisy")
    assert (result.network, result.track, result.method) == ("lenet16-slim", "end-to-end", "deepcoral")
    assert (result.label, result.seed, result.n) == ("DeepCORAL", 1, 359)
    assert result.identity == job.identity
    assert result.settings == {**job.settings.model_dump(mode="json"), "classes": [str(i) for i in range(10)]}
    assert result.peak_memory is None or result.peak_memory > 50
    assert result.environment["threads"] == torch.get_num_threads()
    assert (result.environment["torch"], result.environment["device"]) == (torch.__version__, "cpu")


def test_every_field_of_a_cell_comes_back_from_its_file(tmp_path: Path) -> None:
    result: Cell = run_cell(tiny_job(tmp_path))
    (read,) = read_cells(tmp_path)
    assert read == result


def test_dropped_outputs_leave_the_scores_of_all_validators(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, keep="scores")
    run_cell(job)
    assert not (job.folder / "outputs").exists()
    kept = (job.folder / "validators.json").read_text()
    assert all(f'"{name}"' in kept for name in VALIDATORS)


def test_what_float16_cannot_hold_is_stored_at_its_largest() -> None:
    stored_values = cells._half(torch.tensor([[1e6, -1e6, 0.5]]))
    assert stored_values.dtype == np.float16
    assert stored_values.tolist() == [[65504.0, -65504.0, 0.5]]
