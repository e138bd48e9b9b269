"""Every script under examples/ runs, without a warning, and keeps the promise that it ends with."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {"lightning_module.py": "lightning", "wrap_torchvision.py": "torchvision"}  # file -> what it cannot do without
pytestmark = pytest.mark.skipif(not EXAMPLES, reason="there is no examples/ beside these tests")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if file.name in NEEDS:
        pytest.importorskip(NEEDS[file.name])
    monkeypatch.chdir(tmp_path)  # what it writes, it writes here
    monkeypatch.setattr(sys, "argv", [str(file)])
    with torch.random.fork_rng():
        runpy.run_path(str(file), run_name="__main__")
    said = capsys.readouterr().out
    figures = re.findall(r"\d+\.\d+", said)
    assert len(figures) >= 2, f"{file.name} shows no figures of before and after: {said!r}"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_says_what_it_shows_and_ends_in_a_claim(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert len((ast.get_docstring(tree) or "").split()) >= 10
    main = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"), None)
    assert main is not None, f"{file.name} has no main()"
    assert any(isinstance(node, ast.Assert) for node in ast.walk(main)), f"main() of {file.name} claims nothing"


def test_there_is_one_for_each_way_of_plugging_in() -> None:
    assert {file.stem for file in EXAMPLES} >= {
        "plain_loop", "wrap_torchvision", "sklearn_pipeline", "tabular", "sequences", "regression_and_binary",
        "several_sources", "lightning_module", "own_method",
    }  # fmt: skip


def test_the_method_of_one_s_own_goes_into_a_table_from_its_file() -> None:
    from landbridge.benchmarks.own_methods import read_own
    from landbridge.shared.method import Sizes

    own = read_own(f"{FOLDER / 'own_method.py'}:ClassMeans")
    assert (own.name, own.load().create(Sizes(features=8, classes=3)).schedule) == ("class-means", "ramp")
