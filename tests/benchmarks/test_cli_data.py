"""The commands of `landbridge data`: what they say and write, and their exit codes."""

from __future__ import annotations

import re
import shlex
import shutil
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
    assert before.out.count("NOT DECODED YET") == 2
    assert "MISSING" not in before.out
    assert before.out.count("The photographs are there. Run `landbridge data prepare ") == 2
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


def test_advice_can_be_pasted(landbridge: Command, tmp_path: Path, data: Path) -> None:
    """What is advised is run word for word; blanks in names are quoted."""
    spaced = tmp_path / "my data"
    data.rename(spaced)
    suite = tmp_path / "my things.toml"
    suite.write_text(SUITE)
    before = landbridge("data", suite, "--data", spaced)
    [command, _] = re.findall(r"Run `(landbridge .*?)` to decode", before.out)
    words = shlex.split(command)
    assert words[0] == "landbridge"
    assert landbridge(*words[1:], "--processes", "1").code == 0
    after = landbridge("data", suite, "--data", spaced)
    assert (after.code, after.out.count("there")) == (0, 2)
    make_photos(spaced / "things", domains={"shop": 3}, classes=THREE_CLASSES, side=10, seed=1)
    changed = landbridge("data", suite, "--data", spaced)
    assert changed.code == 0
    assert "shop   CHANGED" in changed.out
    assert command in changed.out
    array = tmp_path / "cache" / "prepared" / "things-24" / "phone.npy"
    array.write_bytes(array.read_bytes()[:-9])
    damaged = landbridge("data", suite, "--data", spaced)
    assert damaged.code == 1
    assert "DAMAGED" in damaged.out


def test_photographs_that_are_not_there_are_missing(landbridge: Command, suite: Path, data: Path) -> None:
    shutil.rmtree(data / "things" / "phone")
    (data / "things" / "shop" / "mug" / "frame_0001.jpg").unlink()
    said = landbridge("data", suite, "--data", data)
    assert said.code == 1
    assert re.search(r"phone +MISSING", said.out)
    assert re.search(r"shop +DAMAGED", said.out)  # fewer than counts says
    assert "expected 9 images in domain 'shop'; got 8" in said.out


def test_features_are_looked_into(landbridge: Command, tmp_path: Path) -> None:
    for domain in ("a", "b"):
        np.savez(tmp_path / f"{domain}.npz", fts=np.random.default_rng(0).random((40, 3)), labels=np.arange(40) % 2)
    (tmp_path / "my.toml").write_text('name = "my"\n[features]\nfiles = { a = "a.npz", b = "b.npz" }\n')
    whole = landbridge("data", tmp_path / "my.toml", "--data", tmp_path)
    assert (whole.code, whole.out.count("there    40 rows of 3 features") + whole.out.count("there  40")) == (0, 2)
    (tmp_path / "b.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:300])
    said = landbridge("data", tmp_path / "my.toml", "--data", tmp_path)
    assert said.code == 1
    assert re.search(r"b +DAMAGED", said.out)
    assert "b.npz: expected an .npz archive of numpy" in said.out


@pytest.mark.parametrize("command", ["prepare", "status"])
def test_folders_that_cannot_be_used_are_sentences(
    command: str, landbridge: Command, suite: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    said = landbridge("data", command, suite, "--data", data)
    assert said.code in (1, 2)
    assert "Errno" not in said.err + said.out
    assert "Traceback" not in said.err
    assert ("LANDBRIDGE_CACHE" in said.err) == (command == "prepare")
    assert ("NOT DECODED YET" in said.out) == (command == "status")
