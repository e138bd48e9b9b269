"""``landbridge diagnose``: files, folders, a model, a cell; a mistake is a sentence and exit code 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command import Command, command_line
from made_domains import make_cell_folder, make_images
from safetensors.torch import save_file
from torchvision.models import squeezenet1_0

from landbridge import Network, create_network
from landbridge.benchmarks import normalisation
from landbridge.diagnostics import page
from landbridge.diagnostics.diagnose import Diagnosis
from landbridge.shared.backbones import create_backbone
from landbridge.shared.history import History
from landbridge.shared.result import FitResult


class Pages(list[tuple[Diagnosis, str]]):
    """The pages asked for: what was found, and the title."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command_line(monkeypatch, capsys)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    """Pages are noted down instead of drawn; tests/diagnostics/test_page.py draws them."""
    asked = Pages()

    def render(found: Diagnosis, *, title: str) -> str:
        asked.append((found, title))
        return "<!DOCTYPE html>"

    monkeypatch.setattr(page, "render", render)
    return asked


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 3)) + 3 * y[:, None]
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", x=x[::-1] + np.array([2.0, 0.0, 0.0]))
    return tmp_path / "a.npz", tmp_path / "b.npz"


def test_two_files_become_a_page_and_a_verdict(command: Command, pages: Pages, files, tmp_path: Path) -> None:
    said = command("diagnose", "--source", files[0], "--target", files[1], "-o", tmp_path / "page.html", "--seed", 3)
    assert said.code == 0, said.err
    found, title = pages[0]
    assert said.out.strip() == str(found)
    assert "There is a shift" in said.out
    assert title == "a → b"
    assert found.verdict.kind == "covariate"
    assert found.seed == 3
    assert ("source", "a.npz") in found.about
    assert f"wrote {tmp_path / 'page.html'}" in said.err
    assert (tmp_path / "page.html").read_text() == "<!DOCTYPE html>"


def test_labels_of_the_target_are_refused_unless_evaluated(
    command: Command, pages: Pages, files, tmp_path: Path
) -> None:
    source, target = files
    np.savez(target, x=np.load(target)["x"], y=np.arange(60) % 2)
    both = ("diagnose", "--source", source, "--target", target, "-o", tmp_path / "page.html")
    said = command(*both)
    assert said.code == 2
    assert "A verdict may not see them" in said.err
    assert command(*both, "--evaluate").code == 0
    assert pages[0][0].target_proportions is not None


def test_evaluate_needs_labels(command: Command, files) -> None:
    said = command("diagnose", "--source", files[0], "--target", files[1], "--evaluate")
    assert said.code == 2
    assert "--evaluate needs labels of the target" in said.err


def test_a_saved_model_gives_the_features(command: Command, pages: Pages, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_network("bottleneck", classes=2, channels=3)
    FitResult(network.eval(), None, None, 0.0).save(tmp_path / "model.safetensors")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for name, move in (("a", 0.0), ("b", 4.0)):
        np.savez(tmp_path / f"{name}.npz", x=rng.normal(size=(30, 3)).astype(np.float32) + np.float32(move))
    said = command(
        "diagnose", "--source", tmp_path / "a.npz", "--target", tmp_path / "b.npz", "--model",
        tmp_path / "model.safetensors", "-o", tmp_path / "page.html",
    )  # fmt: skip
    assert said.code == 0, said.err
    found = pages[0][0]
    assert ("model", "model.safetensors") in found.about
    with torch.no_grad():
        features = network(torch.as_tensor(np.load(tmp_path / "a.npz")["x"]))[0]
    torch.testing.assert_close(found.source, features)


def test_folders_of_images(command: Command, pages: Pages, tmp_path: Path) -> None:
    for domain, colour in (("day", 200), ("night", 40)):
        for kind in ("cat", "dog"):
            make_images(tmp_path / domain / kind, 6, colour)
    where = ("--source", tmp_path / "day", "--target", tmp_path / "night", "-o", tmp_path / "page.html")
    said = command("diagnose", *where, "--side", 4)
    assert said.code == 0, said.err
    found, title = pages[0]
    assert title == "day → night"
    assert found.classes == ("cat", "dog")
    assert found.source.shape == (12, 48)
    assert found.target_proportions is None  # folders of the target are not looked at
    assert found.verdict.shifted
    assert "reading 12 images" in said.err


def test_folders_of_images_by_a_backbone(command: Command, pages: Pages, tmp_path: Path) -> None:
    for domain, colour in (("day", 200), ("night", 40)):
        make_images(tmp_path / domain, 6, colour)
    where = ("--source", tmp_path / "day", "--target", tmp_path / "night", "-o", tmp_path / "page.html")
    said = command("diagnose", *where, "--backbone", "squeezenet1_0", "--weights", "none", "--side", 40)
    assert said.code == 0, said.err
    found, _ = pages[0]
    assert found.source.shape == found.target.shape == (6, 512)
    images = torch.stack([
        torch.tensor([200, i, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 40, 40) for i in range(6)
    ])  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_backbone("squeezenet1_0", weights="none").eval()
    with torch.no_grad():
        torch.testing.assert_close(found.source, network(images))
    assert ("features of", "squeezenet1_0, weights none, imagenet") in found.about


def test_the_normalisation_is_told_or_guessed_of_a_file(
    command: Command, pages: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain, colour in (("day", 200), ("night", 40)):
        make_images(tmp_path / domain, 6, colour)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(squeezenet1_0(weights=None).state_dict(), tmp_path / "w.safetensors")
    where = ("--source", tmp_path / "day", "--target", tmp_path / "night", "-o", tmp_path / "page.html", "--side", 40)
    seen = ("--backbone", "squeezenet1_0", "--weights", tmp_path / "w.safetensors")
    monkeypatch.setattr(normalisation, "guess", lambda name, file, images: ("caffe", f"{name}: {len(images)} tell"))
    for more in ((), ("--normalise", "caffe"), ("--normalise", "imagenet")):
        said = command("diagnose", *where, *seen, *more)
        assert said.code == 0, said.err
        assert ("squeezenet1_0: 6 tell; --normalise says otherwise" in said.err) == (not more)
    guessed, caffe, imagenet = (found.source for found, _ in pages)
    assert torch.equal(guessed, caffe)
    assert not torch.allclose(caffe, imagenet)


def test_a_backbone_wants_images(command: Command, files, tmp_path: Path) -> None:
    both = ("--source", files[0], "--target", files[1], "-o", tmp_path / "page.html")
    for more, words in (
        (("--backbone", "squeezenet1_0"), "wants images"),
        (("--backbone", "squeezenet1_1_0"), "squeezenet1_0"),
        (("--backbone", "squeezenet1_0", "--model", "m.safetensors"), "not of both"),
        (("--weights", "none"), "for a --backbone; got none"),
        (("--normalise", "caffe"), "for a --backbone; got none"),
    ):
        said = command("diagnose", *both, *more)
        assert said.code == 2
        assert words in said.err


def test_a_folder_beside_arrays_is_looked_at_without_its_classes(
    command: Command, pages: Pages, tmp_path: Path
) -> None:
    make_images(tmp_path / "night" / "cat", 12, 40)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "day.npz", x=rng.integers(0, 255, size=(12, 3, 4, 4), dtype=np.uint8))
    where = ("--source", tmp_path / "day.npz", "--target", tmp_path / "night", "-o", tmp_path / "page.html")
    said = command("diagnose", *where, "--side", 4)
    assert said.code == 0, said.err
    assert pages[0][0].target_proportions is None


def test_a_model_that_a_file_cannot_make_again_has_other_ways_out(command: Command, files, tmp_path: Path) -> None:
    network = Network(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    FitResult(network, None, History(), 0.0).save(tmp_path / "m.safetensors")
    said = command("diagnose", "--source", files[0], "--target", files[1], "--model", tmp_path / "m.safetensors")
    assert said.code == 2
    assert "Write its features as x" in said.err


def test_a_cell_before_and_after(command: Command, pages: Pages, tmp_path: Path) -> None:
    cell = make_cell_folder(tmp_path / "cell")
    assert command("diagnose", "--run", cell, "-o", tmp_path / "page.html").code == 0
    found, title = pages[0]
    assert title == "mnist->usps, DANN, seed 0"
    assert found.before is not None
    assert found.before.verdict.kind in ("covariate", "both")  # the moved features move the predictions too
    assert found.verdict.kind == "no shift found"
    assert found.confusion is None
    assert command("diagnose", "--run", cell, "--evaluate", "-o", tmp_path / "page.html").code == 0
    assert pages[1][0].confusion is not None
    assert str(pages[1][0]) == str(found)
    one = make_cell_folder(tmp_path / "one", steps=(100,))
    assert command("diagnose", "--run", one, "-o", tmp_path / "page.html").code == 0
    assert pages[2][0].before is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs --source and --target"),
        (("--source", "a.npz"), "needs --source and --target"),
        (("--run", "x", "--source", "a.npz"), "not both"),
        (("--source", "nowhere", "--target", "nowhere"), "neither a file nor a folder"),
    ],
)
def test_mistakes_are_sentences(command: Command, arguments: tuple[str, ...], words: str) -> None:
    said = command("diagnose", *arguments)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err


def test_bad_numbers_are_sentences(command: Command, files, tmp_path: Path) -> None:
    rows = np.load(files[0])["x"]
    rows[7, 1] = np.nan
    np.savez(tmp_path / "nan.npz", x=rows)
    said = command("diagnose", "--source", files[0], "--target", tmp_path / "nan.npz")
    assert said.code == 2
    assert "NaN or inf in target: 1 of 60 rows, the first is row 7" in said.err
    np.savez(tmp_path / "strings.npz", x=np.array([["a", "b"]] * 9))
    assert "as numbers" in command("diagnose", "--source", files[0], "--target", tmp_path / "strings.npz").err
    assert "level between" in command("diagnose", "--source", files[0], "--target", files[1], "--level", "2").err
    said = command("diagnose", "--source", files[0], "--target", files[1], "--most-gib", "1e-7")
    assert said.code == 2
    assert "unpacks to" in said.err
