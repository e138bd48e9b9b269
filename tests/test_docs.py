"""What the pages under docs/ show, runs: the suites of docs/suites.md, to the table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from made_photos import THREE_CLASSES, make_photos

from landbridge.benchmarks import cli, plots
from landbridge.benchmarks.suite import read_suite

PAGE = Path(__file__).parents[1] / "docs" / "suites.md"
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S) if PAGE.exists() else []
pytestmark = pytest.mark.skipif(not TOML, reason="there is no docs/suites.md beside these tests")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["landbridge", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return code or 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDBRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    return tmp_path


def test_the_first_suite_has_ten_lines() -> None:
    assert len([line for line in TOML[0].splitlines() if line.strip()]) <= 10


def test_folders_of_photographs_become_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photos(folder / "data" / "things", domains={"shop": 10, "phone": 8}, classes=THREE_CLASSES, side=40)
    suite = folder / "my.toml"
    suite.write_text(TOML[0])
    chosen = read_suite(str(suite))
    assert list(chosen.tasks) == ["shop->phone", "phone->shop"]
    assert {"source-only", "dann", "mcc"} <= set(chosen.methods)
    assert run(monkeypatch, "data", "prepare", suite, "--data", folder / "data", "--processes", "1") == 0
    small = ("--weights", "none", "--side", "32", "--steps", "2", "--checkpoints", "1", "--seeds", "1", "--jobs", "1")
    rows = ("--methods", "source-only,dann", "--tasks", "shop-to-phone", "--device", "cpu", "--out", folder / "runs")
    assert run(monkeypatch, "bench", suite, *rows, *small) == 0
    assert run(monkeypatch, "bench", suite, *rows, *small, "--frozen") == 0
    table = (folder / "runs" / "table.csv").read_text()
    assert "end-to-end,shop->phone,dann,last" in table
    assert "frozen,shop->phone,dann,last" in table


def test_list_files_become_a_suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    things = make_photos(folder / "data" / "things", domains={"shop": 2, "phone": 2}, classes=THREE_CLASSES, side=20)
    for domain in ("shop", "phone"):
        files = sorted((things / domain).rglob("*.jpg"))
        lines = [f"{file.relative_to(things).as_posix()} {THREE_CLASSES.index(file.parent.name)}\n" for file in files]
        (things / f"{domain}.txt").write_text("".join(lines))
    suite = folder / "listed.toml"
    suite.write_text(TOML[1])
    assert run(monkeypatch, "data", "prepare", suite, "--data", folder / "data", "--processes", "1") == 0
    assert np.load(folder / "cache" / "prepared" / "listed-256" / "phone.npy", mmap_mode="r").shape[0] == 6


def test_features_become_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (folder / "data" / "surf").mkdir(parents=True)
    for shift, domain in enumerate(("shop", "phone")):
        y = np.arange(60) % 3
        x = rng.random((60, 8)) + np.eye(3, 8)[y] + 0.2 * shift
        np.savez(folder / "data" / "surf" / f"{domain}.npz", x=x, y=y)
    suite = folder / "surf.toml"
    suite.write_text(TOML[2])
    rows = ("--methods", "source-only,dann", "--tasks", "shop-to-phone", "--seeds", "1", "--steps", "3", "--jobs", "1")
    out = ("--out", folder / "runs", "--data", folder / "data", "--device", "cpu", "--checkpoints", "1")
    assert run(monkeypatch, "bench", suite, *rows, *out) == 0
    assert "features,shop->phone,dann,last" in (folder / "runs" / "table.csv").read_text()
