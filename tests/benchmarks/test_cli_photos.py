"""Photographs at the command line: what is asked for arrives, a mistake is a sentence, and the report follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from command import Command, command_line
from made_cells import made_cell
from made_photos import THREE_CLASSES, make_photos
from safetensors.torch import save_file
from tiny_suite import Ran, tiny_file

from landbridge.benchmarks import plots, runner
from landbridge.benchmarks.results import cell_folder, read_cells, write_result
from landbridge.benchmarks.settings import BackboneSettings
from landbridge.benchmarks.suite import read_suite

SUITE = """
name = "things"

[images]
domains = { shop = "shop", phone = "phone" }
side = 40

[backbone]
name = "resnet18"
weights = "none"
side = 32
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    return make_photos(root, domains={"shop": 12, "phone": 9}, classes=THREE_CLASSES, side=40)


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command in this process, its cells too, with a cache of its own and no picture."""
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runner, "run_jobs", Ran().run_jobs)
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    (tmp_path / "things.toml").write_text(SUITE)
    return command_line(monkeypatch, capsys)


ONE = ("--tasks", "shop-to-phone", "--seeds", "1", "--device", "cpu", "--jobs", "1")


def test_frozen_photographs_from_folder_to_report(landbridge: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("bench", tmp_path / "things.toml", "--data", photos, "--out", out, "--frozen", "--steps", "20", *ONE)
    said = landbridge(*command, "--methods", "source-only,dann,mcc", "--checkpoints", "2")
    assert said.code == 0, said.err
    assert "extracting the features of 36 images with resnet18" in said.err
    cells = read_cells(out)
    assert {(cell.network, cell.track, cell.method) for cell in cells} == {
        ("resnet18", "frozen", method) for method in ("source-only", "dann", "mcc")
    }
    assert all(len(cell.checkpoints) == 2 for cell in cells)
    assert "chosen:information-maximisation" in said.out
    again = landbridge(*command, "--methods", "source-only,dann,mcc", "--checkpoints", "2")
    assert "0 cells to run, " in again.err
    assert "extracting" not in again.err
    ranked = landbridge("validators", out)
    assert ranked.code == 0, ranked.err
    assert "information-maximisation" in ranked.out
    assert "n/a" in ranked.out  # there is no source hold-out in a transductive protocol
    costly = landbridge("table", out, "--validator", "class-clustering")  # computed when asked for
    assert "chosen:class-clustering" in costly.out
    assert "chosen:class-clustering" in (out / "table.csv").read_text()
    page = tmp_path / "page.html"
    assert landbridge("report", out, "-o", page).code == 0
    assert "shop" in page.read_text(encoding="utf-8")


def test_the_network_sees_the_side_it_was_asked_for(
    landbridge: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[int, ...]] = set()
    forward = torchvision.models.ResNet.forward

    def watching(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(x.shape[1:]))
        return forward(self, x)

    monkeypatch.setattr(torchvision.models.ResNet, "forward", watching)
    out = ("--out", tmp_path / "out", "--methods", "adabn", "--steps", "2", "--checkpoints", "1")
    command = ("bench", tmp_path / "things.toml", "--data", photos, *out, *ONE)
    assert landbridge(*command, "--side", "36", "--ten-crops").code == 0
    if seen:  # the network forwards by the module's own method
        assert seen == {(3, 36, 36)}
    (cell,) = read_cells(tmp_path / "out")
    assert cell.settings["size"] == 36
    assert cell.track == "end-to-end"


def test_weights_are_part_of_what_a_cell_is(landbridge: Command, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(torchvision.models.resnet18(weights=None).state_dict(), file)
    out = ("--out", tmp_path / "out", "--methods", "source-only", "--steps", "2", "--checkpoints", "1", "--frozen")
    command = ("bench", tmp_path / "things.toml", "--data", photos, *out, *ONE)
    assert landbridge(*command).code == 0
    assert landbridge(*command, "--weights", file).code == 0
    assert landbridge(*command, "--weights", file, "--normalise", "caffe").code == 0
    assert len({cell.identity for cell in read_cells(tmp_path / "out")}) == 3


def test_mistakes_are_sentences(landbridge: Command, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "squeeze.safetensors"
    save_file(torchvision.models.squeezenet1_0(weights=None).state_dict(), other)
    (tmp_path / "cut.safetensors").write_bytes(other.read_bytes()[:1000])
    things = ("bench", tmp_path / "things.toml", "--data", photos, "--out", tmp_path / "out", *ONE)
    mistakes = {
        ("bench", tmp_path / "things.toml", "--out", tmp_path / "out", *ONE): "data prepare",  # before they are
        ("bench", tiny_file(tmp_path), "--frozen", "--out", tmp_path / "out"): "has no photographs",
        (*things, "--backbone", "resnet81"): "resnet18",
        (*things, "--weights", tmp_path / "none.safetensors"): "none.safetensors",
        (*things, "--weights", other): "squeezenet1_0",
        (*things, "--backbone", "squeezenet1_0", "--weights", tmp_path / "cut.safetensors"): "cannot read the weights",
        (*things, "--normalise", "coffee"): "caffe",
        (*things, "--side", "64"): "40 pixels",
        (*things, "--validator", "entrpy"): "entropy",
    }
    for command, says in mistakes.items():
        said = landbridge(*command)
        assert said.code == 2, (command, said)
        assert says in said.err, said.err
        assert "Traceback" not in said.err


def test_a_suite_with_a_task_of_no_domain_or_an_unknown_key(landbridge: Command, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    for text, says in (
        (SUITE + '[tasks."shop->fhone"]\n', "did you mean 'phone'"),
        (SUITE + '[tasks."shop->shop"]\n', "a task is two domains"),
        (SUITE.replace("side = 40", "sied = 40"), "[images] unknown key 'sied'; did you mean 'side'"),
        (SUITE.replace("[images]", "[imagse]"), "images"),
        (SUITE.replace('name = "resnet18"', 'name = "resnte18"'), "resnet18"),
    ):
        path.write_text(text)
        said = landbridge("bench", path, "--data", photos, "--out", tmp_path / "out")
        assert said.code == 2
        assert says in said.err, said.err


def test_strict_is_an_exit_code(landbridge: Command, tmp_path: Path) -> None:
    for seed in range(6):
        for method, score in (("source-only", 0.8), ("dann", 0.6 + 0.003 * seed)):
            cell = made_cell(method, seed=seed, scores=(score + 0.001 * seed,))
            place = cell_folder(tmp_path, task=cell.task, method=method, seed=seed, identity=cell.identity)
            write_result(place, cell)
    assert landbridge("table", tmp_path).code == 0
    said = landbridge("table", tmp_path, "--strict")
    assert said.code == 1
    assert "negative transfer: " in said.err
    assert "dann" in said.err.lower()


def test_classical_rows_and_deep_ones_share_a_table(landbridge: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for shift, domain in enumerate(("shop", "phone")):
        y = np.arange(90) % 3
        np.savez(tmp_path / f"{domain}.npz", x=rng.random((90, 6)) + np.eye(3, 6)[y] + 0.3 * shift, y=y)
    (tmp_path / "surf.toml").write_text(
        'name = "surf"\n[features]\nfiles = { shop = "shop.npz", phone = "phone.npz" }\nfeatures = "x"\nlabels = "y"\n'
        '[methods.svm]\nmethod = "none"\nclassifier = "svm"\nlabel = "SVM"\n'
        '[methods.coral-svm]\nmethod = "coral"\nclassifier = "svm"\nlabel = "CORAL + SVM"\n'
        '[methods.dann]\nmethod = "dann"\nlabel = "DANN"\n'
    )
    said = landbridge(
        "bench", tmp_path / "surf.toml", "--data", tmp_path, "--out", tmp_path / "out", "--steps", "5", *ONE
    )
    assert said.code == 0, said.err
    assert {(cell.track, cell.method) for cell in read_cells(tmp_path / "out")} == {
        ("features", "svm"), ("features", "coral-svm"), ("features", "dann"),
    }  # fmt: skip
    assert landbridge("report", tmp_path / "out", "-o", tmp_path / "page.html").code == 0


def test_photographs_that_changed_are_noticed(landbridge: Command, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", domains={"shop": 4, "phone": 4}, classes=THREE_CLASSES, side=40)
    out = ("--out", tmp_path / "out", "--methods", "source-only", "--steps", "2", "--checkpoints", "1", "--frozen")
    command = ("bench", tmp_path / "things.toml", "--data", photos, *out, *ONE)
    assert landbridge(*command).code == 0
    assert "0 cells to run" in landbridge(*command).err
    moved = next((photos / "phone" / THREE_CLASSES[0]).iterdir())
    moved.rename(photos / "phone" / THREE_CLASSES[1] / "moved.jpg")
    status = landbridge("data", tmp_path / "things.toml", "--data", photos)
    assert "changed since they were prepared" in status.out
    again = landbridge(*command)
    assert again.code == 0, again.err
    assert "1 cells to run" in again.err
    assert len({cell.identity for cell in read_cells(tmp_path / "out")}) == 2


def test_a_protocol_tuned_on_target_labels_takes_classical_rows_alone(landbridge: Command, tmp_path: Path) -> None:
    where = ("--data", tmp_path, "--out", tmp_path / "out")
    said = landbridge("bench", "office-caltech10-surf", "--protocol", "published-tuning", "--methods", "dann", *where)
    assert said.code == 2
    assert "searches the settings of classical rows by target labels" in said.err


def test_what_does_not_count_is_no_part_of_a_cell(tmp_path: Path) -> None:
    suite = read_suite("office-caltech10")
    end, frozen = (
        suite.cell("transductive", "amazon->dslr", "dann", 0, backbone=BackboneSettings(name="resnet18", frozen=way))
        for way in (False, True)
    )
    assert end.adaptation.settings["weight"] == 1.0
    assert frozen.adaptation.settings["weight"] == 0.1
    assert not end.adaptation.frozen
    assert not frozen.adaptation.frozen
    surf = read_suite("office-caltech10-surf")
    row = "otda-sinkhorn-1nn"
    assert not surf.cell("all", "amazon->dslr", row, 0).adaptation.grid
    assert surf.cell("published-tuning", "amazon->dslr", row, 0).adaptation.grid
    cell = surf.cell("all", "amazon->dslr", row, 0)
    assert cell.identity("d", "v") == surf.cell("all", "amazon->dslr", row, 0, 7, 3).identity("d", "v")


def test_the_normalisation_is_guessed_only_where_nobody_says(landbridge: Command, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(torchvision.models.resnet18(weights=None).state_dict(), file)
    suite = tmp_path / "things.toml"
    out = ("--out", tmp_path / "out", "--methods", "source-only", "--steps", "2", "--checkpoints", "1", "--frozen")
    command = ("bench", suite, "--data", photos, "--weights", file, *out, *ONE)
    assert "--normalise says otherwise" in landbridge(*command).err
    assert "--normalise says otherwise" not in landbridge(*command, "--normalise", "imagenet").err
    suite.write_text(SUITE + 'normalise = "caffe"\n')
    assert "--normalise says otherwise" not in landbridge(*command).err
    assert "caffe" in {cell.settings["backbone"]["normalise"] for cell in read_cells(tmp_path / "out")}
