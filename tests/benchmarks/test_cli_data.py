"""The commands of `landbridge data`: what they say and write, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import Command, command_line
from made_photos import THREE_CLASSES, make_photos

SUITE = """
name = "things"

[images]
folder = "things"
domains = { shop = "shop", phone = "phone" }
counts = { shop = 9, phone = 6 }
side = 24

[backbone]
name = "resnet18"
"""


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command in this process, with a cache of its own."""
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "cache"))
    return command_line(monkeypatch, capsys)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_photos(tmp_path / "data" / "things", domains={"shop": 3, "phone": 2}, classes=THREE_CLASSES, side=10)
    return tmp_path / "data"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "things.toml"
    path.write_text(SUITE)
    return path


def test_status_is_what_a_suite_alone_asks_for(landbridge: Command) -> None:
    short, long = landbridge("data", "optdigits"), landbridge("data", "status", "optdigits")
    assert short == long
    assert short.code == 0
    assert "there" in short.out


def test_photographs_are_missing_then_prepared_then_there(
    landbridge: Command, suite: Path, data: Path, tmp_path: Path
) -> None:
    before = landbridge("data", suite, "--data", data)
    assert before.code == 1
    assert before.out.count("MISSING") == 2
    assert "data prepare" in before.out
    made = landbridge("data", "prepare", suite, "--data", data, "--processes", "1")
    assert made.code == 0, made.err
    assert "shop: 9 images of 3 classes, 24 x 24" in made.err
    assert "phone: 6 images of 3 classes, 24 x 24" in made.err
    array = np.load(tmp_path / "cache" / "prepared" / "things-24" / "shop.npy", mmap_mode="r")
    assert array.shape == (9, 3, 24, 24)
    after = landbridge("data", suite, "--data", data)
    assert after.code == 0
    assert after.out.count("there") == 2


def test_a_missing_class_is_a_sentence(landbridge: Command, suite: Path, data: Path) -> None:
    for photo in (data / "things" / "phone" / "mug").iterdir():
        photo.unlink()
    (data / "things" / "phone" / "mug").rmdir()
    said = landbridge("data", "prepare", suite, "--data", data)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "mug" in said.err
    assert "phone" in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("data", "prepare", "optdigits"), "no photographs to prepare"),
        (("data", "prepare", "office31"), "Pass --data DIR"),
        (("data", "prepare", "ofice31"), "did you mean"),
        (("data", "nothing"), "suite"),
    ],
)
def test_mistakes_are_sentences(
    arguments: tuple[str, ...], says: str, landbridge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANDBRIDGE_DATA", raising=False)
    said = landbridge(*arguments)
    assert said.code == 2
    assert says in said.err
    assert "Traceback" not in said.err


def test_the_surf_suite_says_what_is_missing(landbridge: Command, tmp_path: Path) -> None:
    said = landbridge("data", "office-caltech10-surf", "--data", tmp_path)
    assert said.code == 1
    assert said.out.count("MISSING") == 4
