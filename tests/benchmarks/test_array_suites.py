"""Suites of arrays: cells trained end to end by a network by name, by the rows' shape, or from a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import landbridge as lb
from landbridge.benchmarks import load_task
from landbridge.benchmarks.cell import Job, build_network, cell_identity, load_cell_data, run_cell
from landbridge.benchmarks.results import Cell
from landbridge.benchmarks.suite import SuiteError, read_suite

NETWORK = """
import torch
from torch import nn

def make(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 12), nn.BatchNorm1d(12), nn.ReLU(),
                         nn.Linear(12, classes))

def narrow(classes, channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes + 1))

def takes_bytes(classes):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

        def forward(self, x):
            assert x.dtype == torch.uint8
            return self.body(x.float() / 10)

    return Scaled()

def network(classes):
    import landbridge as lb
    return lb.Network(nn.Flatten(), nn.Linear(64, classes))

def fails(shape, classes):
    raise RuntimeError("no such network today")
"""


def suite_file(folder: Path, arrays: str = "", rest: str = "") -> Path:
    """Two domains of scikit-learn's digits, (n, 8, 8), the second inverted; in a suite of a few lines."""
    bunch = load_digits(n_class=3)
    for domain, rows in (("light", slice(0, 80)), ("dark", slice(80, 150))):
        images = (bunch.images[rows] * 15).astype(np.uint8)
        np.savez(folder / f"{domain}.npz", x=images if domain == "light" else 255 - images, y=bunch.target[rows])
    path = folder / "mine.toml"
    kind = "" if "kind" in arrays else 'kind = "images"\n'
    path.write_text(
        f'name = "mine"\n[arrays]\nfiles = {{ light = "light.npz", dark = "dark.npz" }}\n{kind}{arrays}\n{rest}'
    )
    return path


def run(folder: Path, path: Path, method: str = "dann", task: str = "light->dark", steps: int = 4) -> Cell:
    settings = read_suite(str(path)).cell("inductive", task, method, 0, steps, 2)
    identity = cell_identity(settings, load_cell_data(settings, folder))
    return run_cell(Job(settings, identity, folder / "runs", folder, "cpu", "all"))


def identity(folder: Path, path: Path) -> str:
    settings = read_suite(str(path)).cell("inductive", "light->dark", "dann", 0, 4, 2)
    return cell_identity(settings, load_cell_data(settings, folder))


def network(folder: Path, path: Path) -> Any:
    settings = read_suite(str(path)).cell("inductive", "light->dark", "dann", 0)
    return build_network(settings, load_cell_data(settings, folder), "none")


def test_few_lines_are_a_suite(tmp_path: Path) -> None:
    suite = read_suite(str(suite_file(tmp_path)))
    assert list(suite.tasks) == ["light->dark", "dark->light"]
    assert (suite.protocol, suite.protocols["inductive"].source_holdout) == ("inductive", 0.1)
    assert {"source-only", "adabn", "dann", "mcc"} <= set(suite.methods)
    assert suite.tasks["light->dark"].network == "default"
    assert suite.cell("inductive", "light->dark", "dann", 0).track == "end-to-end"


@pytest.mark.parametrize("method", ["source-only", "adabn", "dann", "deepcoral"])
def test_the_network_of_the_rows_shape_is_trained_end_to_end(method: str, tmp_path: Path) -> None:
    cell = run(tmp_path, suite_file(tmp_path), method)
    assert (cell.track, cell.network, len(cell.checkpoints), cell.n) == ("end-to-end", "default", 2, 15)
    assert cell.settings["classes"] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "arrays",
    [
        'network = "lenet16-slim"\nside = 16',
        'network = "lenet16-slim"\nside = 16\nchannels = 3',
        'network = "squeezenet1_0"\nside = 32',
        'network = "my_network.py:make"',
    ],
)
def test_networks_by_name_and_by_file(arrays: str, tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    cell = run(tmp_path, suite_file(tmp_path, arrays), steps=2)
    assert 0 <= cell.last <= 1
    assert cell.network == arrays.split('"')[1]


@pytest.mark.parametrize(("kind", "shape"), [("series", (2, 30)), ("vectors", (5,))])
def test_series_and_vectors_are_trained_on(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = suite_file(tmp_path, f'kind = "{kind}"')
    rng = np.random.default_rng(0)
    for domain, offset in (("light", 0.0), ("dark", 1e8)):
        y = np.arange(60) % 3
        x = rng.normal(size=(60, *shape)) + y.reshape(-1, *(1,) * len(shape)) + offset  # float64, and wide
        np.savez(tmp_path / f"{domain}.npz", x=x, y=y)
    assert run(tmp_path, path, steps=30).checkpoints[-1].source_holdout is not None


def test_ten_lines_give_the_number_of_a_cell_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    path = suite_file(tmp_path, 'network = "my_network.py:make"')
    cell = run(tmp_path, path, steps=5)
    task = load_task(path, "light->dark", data=tmp_path, steps=5)
    made, method = task.network(), task.method("dann")
    result = lb.fit(made, method, task.source, task.target, device="cpu", **task.fit_arguments("dann"))
    assert task.accuracy(result) == cell.last


def test_a_seed_decides_the_first_weights_of_each_kind_of_network(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    for arrays in ('network = "my_network.py:make"', "", 'network = "lenet16-slim"\nside = 16'):
        path = suite_file(tmp_path, arrays)
        tasks = [load_task(path, "light->dark", seed=seed, data=tmp_path) for seed in (0, 0, 1)]
        first, again, other = (torch.cat([p.flatten() for p in task.network().parameters()]) for task in tasks)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_a_module_that_takes_no_bytes_gets_them_from_0_to_1(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    made = network(tmp_path, suite_file(tmp_path, 'network = "my_network.py:make"'))
    images = torch.arange(128, dtype=torch.uint8).view(2, 1, 8, 8)
    inner = made.eval().module.module
    assert torch.allclose(made(images)[1], inner(images.float() / 255))
    assert network(tmp_path, suite_file(tmp_path, 'network = "my_network.py:takes_bytes"'))(images)[1].shape == (2, 3)


def test_what_decides_a_cell_is_in_its_identity(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    path = suite_file(tmp_path, 'network = "my_network.py:make"')
    first = identity(tmp_path, path)
    assert identity(tmp_path, path) == first
    (tmp_path / "my_network.py").write_text(NETWORK.replace("12", "13"))
    found = [first, identity(tmp_path, path), identity(tmp_path, suite_file(tmp_path))]
    data = dict(np.load(tmp_path / "light.npz"))
    data["x"][0, 0, 0] += 1
    np.savez(tmp_path / "light.npz", **data)
    found.append(identity(tmp_path, path))
    assert len(set(found)) == len(found)


def test_a_moved_file_of_a_network_changes_nothing(tmp_path: Path) -> None:
    found = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        (folder / "my_network.py").write_text(NETWORK)
        found.append(identity(folder, suite_file(folder, 'network = "my_network.py:make"')))
    assert found[0] == found[1]


def test_cells_run_the_text_that_was_read(tmp_path: Path) -> None:
    """What the identity tells is what runs, in every process, even if the file is edited meanwhile."""
    (tmp_path / "my_network.py").write_text(NETWORK)
    path = suite_file(tmp_path, 'network = "my_network.py:make"')
    settings = read_suite(str(path)).cell("inductive", "light->dark", "dann", 0, 2, 1)
    (tmp_path / "my_network.py").write_text("raise SystemExit('edited')")
    made = build_network(settings, load_cell_data(settings, tmp_path), "none")
    assert made(torch.zeros(2, 1, 8, 8))[1].shape == (2, 3)
    assert "text" not in settings.model_dump(mode="json")["network"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ('network = "lenet82"', r"unknown network 'lenet82'; did you mean 'lenet28'"),
        ('network = "my_netwrk.py:make"', r"there is no file .*did you mean 'my_network\.py'"),
        (
            'network = "my_network.py:mke"',
            r"has no function 'mke' that makes a network\. There is make, narrow",
        ),
        ('networks = "lenet28"', r"unknown key 'networks'; did you mean 'network'"),
        ('kind = "imagse"', r"arrays\.kind: input should be 'images', 'series' or 'vectors'"),
    ],
)
def test_mistakes_in_the_suite_file_are_sentences(arrays: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    with pytest.raises(SuiteError, match=words):
        read_suite(str(suite_file(tmp_path, arrays)))


@pytest.mark.parametrize(
    ("arrays", "rest", "words"),
    [
        ('network = "lenet28"', "", r"'lenet28' of suite 'mine' takes images of 28 x 28; got 8 x 8\. Write side"),
        (
            'network = "bottleneck"',
            "",
            r"takes vectors \(n, features\); the rows have shape \(1, 8, 8\)\. Or w",
        ),
        ('network = "my_network.py:narrow"', "", r"needs a head of 3 outputs for these labels; the mod"),
        ('network = "my_network.py:network"', "", r"which its extractor does not take\. Begin it with .*Normalise\(\)"),
        ('network = "my_network.py:fails"', "", r"says RuntimeError: no such network today"),
        (
            'kind = "series"',
            "[training]\nrandom_shift = 2",
            r"random_shift .* moves images; the rows have shape",
        ),
    ],
)
def test_rows_that_a_network_cannot_take_are_told(arrays: str, rest: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(NETWORK)
    with pytest.raises(ValueError, match=words):
        network(tmp_path, suite_file(tmp_path, arrays, rest))


@pytest.mark.parametrize(("factor", "words"), [(1 / 255, "Write scale = 255"), (-1, "Store bytes"), (9.5, "Store")])
def test_floats_where_bytes_are_meant(factor: float, words: str, tmp_path: Path) -> None:
    path = suite_file(tmp_path, 'network = "lenet16-slim"')
    for domain in ("light", "dark"):
        data = dict(np.load(tmp_path / f"{domain}.npz"))
        images = np.kron(data["x"], np.ones((1, 2, 2))) * factor
        np.savez(tmp_path / f"{domain}.npz", x=images, y=data["y"])
    with pytest.raises(ValueError, match=rf"images from 0 to 255; got float64 .*{words}.* network = 'default'"):
        network(tmp_path, path)
    assert network(tmp_path, suite_file(tmp_path)) is not None
