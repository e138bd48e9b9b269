"""What the pages under docs/ show, runs: python, commands, and the suites of docs/suites.md to their tables."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from made_photos import THREE_CLASSES, make_photos
from tiny_suite import Ran

from landbridge.benchmarks import cli, load_task, plots, runner
from landbridge.benchmarks.suite import read_suite

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = ROOT / "docs" / "suites.md"
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S) if PAGE.exists() else []
pytestmark = pytest.mark.skipif(not TOML, reason="there is no docs/ beside these tests")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a page with the number of their first line; those that show a whole file left out."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [(text[: block.start(1)].count("\n") + 1, block[1]) for block in found if "--8<--" not in block[1]]


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The command lines of a page, in words, with their line numbers."""
    for line, block in blocks(page, "sh"):
        for number, command in enumerate(block.replace("\\\n", "  ").splitlines(), line):
            words = shlex.split(command, comments=True)
            if words:
                yield number, words


def parsed(words: Sequence[str]) -> Any:
    """The context of ``landbridge WORDS``; a command, option or argument that is not there raises."""
    command: Any = typer.main.get_command(cli.app)
    name, rest, context = "landbridge", list(words), None
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
        context.resilient_parsing = False  # an unknown command is to be refused
        name, command, rest = command.resolve_command(context, rest)
    return command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_every_block_of_python_runs_after_the_ones_before(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for line, block in blocks(page, "python"):
            # at its own lines, so that an error tells the line of the page
            exec(compile("\n" * (line - 1) + block, str(page), "exec", dont_inherit=True), names)


@pytest.mark.parametrize(
    "page", [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))], ids=lambda page: page.stem
)
def test_every_command_exists_with_its_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    if page.stem in ("README", "CONTRIBUTING") and page.exists():
        assert list(commands(page)), f"{page.name} shows no command that could be tested"
    for line, words in commands(page):
        if words[0] == "landbridge":
            try:
                parsed(words[1:])
            except Exception as error:
                told = getattr(error, "format_message", lambda error=error: repr(error))()
                pytest.fail(f"{page.name}:{line}: {shlex.join(words)}: {told}")
        elif words[0] == "make":
            assert words[1] in targets, f"{page.name}:{line}: there is no target {words[1]!r}"


@pytest.mark.parametrize(
    "command", ["bench --metods dann", "benches optdigits", "table", "data prepare", "report --output", "bench a b"]
)
def test_a_command_that_does_not_exist_is_seen(command: str) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        parsed(command.split())
    assert hasattr(raised.value, "exit_code")  # a usage error, and not a defect of the test


@pytest.mark.parametrize("command", ["bench optdigits --method-from my.py:M", "data digits --data DIR", "methods"])
def test_a_command_that_exists_is_parsed(command: str) -> None:
    assert parsed(command.split()).command.name in ("bench", "status", "methods")


def test_files_that_pages_show_are_shown_whole_and_exist() -> None:
    shown = [
        (page, name)
        for page in PAGES
        for name in re.findall(r'^--8<-- "(.+?)"', page.read_text(encoding="utf-8"), re.M)
    ]
    assert shown
    for page, name in shown:
        assert (ROOT / name).is_file(), f"{page.name} shows {name}"
    examples = {f"examples/{file.name}" for file in (ROOT / "examples").glob("*.py")}
    assert examples <= {name for _, name in shown}, "an example that no page shows"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["landbridge", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return code or 0


def shown(name: str) -> str:
    """The suite of that name on the page."""
    return next(text for text in TOML if text.startswith(f'name = "{name}"'))


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
    suite.write_text(shown("things"))
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
    suite.write_text(shown("listed"))
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
    suite.write_text(shown("surf"))
    rows = ("--methods", "source-only,dann", "--tasks", "shop-to-phone", "--seeds", "1", "--steps", "3", "--jobs", "1")
    out = ("--out", folder / "runs", "--data", folder / "data", "--device", "cpu", "--checkpoints", "1")
    assert run(monkeypatch, "bench", suite, *rows, *out) == 0
    assert "features,shop->phone,dann,last" in (folder / "runs" / "table.csv").read_text()


def test_arrays_become_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = [block for _, block in blocks(PAGE, "python")]
    for block in code[:1]:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), {})
    Path("negatives.toml").write_text(shown("negatives"))
    Path("my_network.py").write_text(code[1])
    own = shown("negatives").replace('kind = "images"', 'kind = "images"\nnetwork = "my_network.py:make"')
    Path("own.toml").write_text(own.replace('name = "negatives"', 'name = "own"'))
    assert run(monkeypatch, "data", "negatives.toml", "--data", ".") == 0
    rows = ("--methods", "source-only,dann", "--tasks", "light-to-dark", "--seeds", "1", "--jobs", "1")
    small = (*rows, "--device", "cpu", "--steps", "20", "--checkpoints", "1", "--keep-outputs", "scores")
    monkeypatch.setattr(runner, "run_jobs", Ran().run_jobs)
    for suite in ("negatives", "own"):
        assert run(monkeypatch, "bench", f"{suite}.toml", "--data", ".", *small) == 0
        assert "light->dark,dann,last" in Path("runs", suite, "table.csv").read_text()


def test_other_layouts_of_arrays_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (30, 16, 16), dtype=np.uint8), np.arange(30) % 3
    for name in ("usps", "usps_test"):
        np.save(folder / f"{name}.npy", images)
        np.save(folder / f"{name}_labels.npy", y)
    np.savez(folder / "mnist.npz", x_train=images, y_train=y, x_test=images[:9], y_test=y[:9])
    (folder / "my.toml").write_text(shown("usps-mnist"))
    assert run(monkeypatch, "data", folder / "my.toml", "--data", folder) == 0
    task = load_task(folder / "my.toml", "usps->mnist", data=folder)
    assert len(task.target_eval) == 9
    assert task.network()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))[1].shape == (2, 3)


def test_sparse_features_become_a_suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "reviews").mkdir()
    for name in ("books_train", "kitchen_train", "kitchen_test"):
        lines = [f"{1 - 2 * (row % 2)} {row}:1 {row + 7}:2\n" for row in range(20)]
        (folder / "reviews" / f"{name}.svmlight").write_text("".join(lines))
    (folder / "my.toml").write_text(shown("reviews"))
    assert run(monkeypatch, "data", folder / "my.toml", "--data", folder) == 0
    task = load_task(folder / "my.toml", "books->kitchen", "inductive", data=folder)
    assert (task.source.inputs.shape[1], len(task.target_eval)) == (5000, 20)
