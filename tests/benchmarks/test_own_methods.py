"""A method from a file of the user's: how it is named, read and refused, and its row in a table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from command import Command, command_line
from tiny_suite import Ran, stored, tiny_file, tiny_suite

from landbridge.benchmarks import plots, runner
from landbridge.benchmarks.own_methods import OwnMethod, read_own, row_name, with_own
from landbridge.benchmarks.results import read_cells
from landbridge.methods import METHODS
from landbridge.mmd.dan import DDC
from landbridge.shared.method import Sizes

FILE = '''
"""The distance of the means."""
import landbridge as lb


class MyMethod(lb.Method):
    """Adds the squared distance of the means."""

    def __init__(self, *, weight=1.0):
        super().__init__(weight=weight)

    def terms(self, source, target, progress):
        return {"mean": (source.features.mean(0) - target.features.mean(0)).square().sum()}


class Strong(MyMethod):
    """The same, ten times as strong."""

    def __init__(self, *, weight=10.0):
        super().__init__(weight=weight)


class Plain:
    pass


class Silent(lb.Method):
    pass


answer = 42
'''
ONE_TASK = ("--tasks", "clean-to-noisy", "--seeds", "1", "--device", "cpu")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "my_method.py"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


@pytest.fixture
def landbridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: ``landbridge("bench", ...)``."""
    monkeypatch.setattr(plots, "to_png", lambda _: b"a picture")
    return command_line(monkeypatch, capsys)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Cells run in this process."""
    here = Ran()
    monkeypatch.setattr(runner, "run_jobs", here.run_jobs)
    return here


@pytest.mark.parametrize(
    ("kind", "row"),
    [("MyMethod", "my-method"), ("DANN", "dann"), ("MMDNet", "mmd-net"), ("my_method", "my-method"), ("A1B", "a1-b")],
)
def test_a_row_is_called_like_its_class(kind: str, row: str) -> None:
    assert row_name(kind) == row


def test_a_class_is_loaded_once_and_its_own_settings_are_taken(file: Path) -> None:
    own = read_own(f"{file}:Strong")
    assert (own.name, own.kind, own.path) == ("strong", "Strong", str(file.resolve()))
    assert own.load() is own.load()
    assert own.load().create(Sizes(4, 2)).weight == 10.0
    assert read_own(f"ten-times={file}:Strong").name == "ten-times"


def test_the_code_is_that_of_the_content_and_the_class(file: Path) -> None:
    codes = {read_own(f"{file}:MyMethod").code, read_own(f"{file}:Strong").code}
    before = read_own(f"{file}:MyMethod")
    file.write_text(FILE.replace("squared", "euclidean"))
    codes.add(read_own(f"{file}:MyMethod").code)
    assert len(codes) == 3
    assert read_own(f"other={file}:MyMethod").code in codes
    assert "squared" in str(before.load().__doc__)  # what was planned, not what the file holds now
    elsewhere = file.with_name("copy.py")
    elsewhere.write_text(FILE)
    assert read_own(f"{elsewhere}:MyMethod").code == before.code


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("{file}", "needs FILE:CLASS, such as my_method.py:MyMethod; got "),
        ("{file}:", "needs FILE:CLASS"),
        (":MyMethod", "needs FILE:CLASS"),
        ("{file}:My Method", "needs FILE:CLASS"),
        ("{file}.txt:MyMethod", r"there is no file .*my_method.py.txt. unknown file 'my_method.py.txt'; did you mean"),
        ("nowhere/my.py:MyMethod", "there is no file nowhere/my.py.$"),
        ("{file}:MyMethods", "has no class 'MyMethods'. Methods in it: MyMethod, Strong, Silent."),
        ("{file}:Plain", "Plain in .* is no landbridge.Method. Write 'class Plain.lb.Method.'."),
        ("{file}:answer", "answer in .* is no landbridge.Method"),
        ("{file}:Silent", "Silent in .* has to say what it adds: write terms"),
        ("My Row={file}:MyMethod", "a row's name is of small letters, digits and dashes; got 'My Row'"),
        ("../up={file}:MyMethod", "a row's name is of small letters, digits and dashes; got '../up'"),
        ("={file}:MyMethod", "a row's name is of small letters, digits and dashes; got ''"),
    ],
)
def test_what_cannot_be_read_is_said(file: Path, asked: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_own(asked.format(file=file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class My(:\n", r"my_method.py does not run: line 1: SyntaxError: "),
        ("import landbridge\n\n1 / 0\n", r"does not run: line 3: ZeroDivisionError: division by zero\.$"),
        ("import helpers_beside_it\n", r"line 1: ModuleNotFoundError: .* put all of it into this one\.$"),
        ("raise SystemExit(3)\n", r"does not run: line 1: SystemExit: 3\.$"),
        ("", r"has no class 'MyMethod'. There is no landbridge.Method in it\.$"),
        ("\x00", r"does not run: "),
    ],
)
def test_a_file_that_does_not_run_is_said(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    file.with_name("helpers_beside_it.py").write_text("")
    with pytest.raises(ValueError, match=says):
        read_own(f"{file}:MyMethod")


def test_a_file_means_what_it_means_when_python_runs_it(file: Path) -> None:
    file.write_text(FILE + "\ndef later(x: 1 + 1): ...\nassert later.__annotations__ == {'x': 2}\n")
    assert read_own(f"{file}:MyMethod").kind == "MyMethod"


def test_a_path_may_hold_the_sign_of_a_name(file: Path, tmp_path: Path) -> None:
    odd = tmp_path / "run=3" / "my_method.py"
    odd.parent.mkdir()
    odd.write_text(FILE)
    assert read_own(f"{odd}:MyMethod").name == "my-method"
    assert read_own(f"mine={odd}:MyMethod").name == "mine"


def test_a_name_is_given_once(file: Path, tmp_path: Path) -> None:
    suite, own = tiny_suite(tmp_path), read_own(f"{file}:MyMethod")
    with pytest.raises(ValueError, match=r"'my-method' is taken\. Give another: --method-from my-my-method=FILE"):
        with_own(suite, [own, own])
    for name in ("dann", "mcc", "seen"):  # a row that is a method, a method that is no row, a row of another name
        with pytest.raises(ValueError, match=f"the name {name!r} is taken"):
            with_own(suite, [own._replace(name=name)])
    assert with_own(suite, []) is suite


def test_a_row_joins_the_suite_s_and_nobody_else_s(file: Path, tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    before = dict(METHODS)
    more = with_own(suite, [read_own(f"{file}:MyMethod"), read_own(f"{file}:Strong")])
    assert more.choose("methods", None, "short") == ["source-only", "dann", "my-method", "strong"]
    assert suite.choose("methods", None, "short") == ["source-only", "dann"]
    assert more.cell("short", "clean->noisy", "my-method", 0).adaptation.label == "MyMethod"
    assert before == METHODS
    assert more.cell("short", "clean->noisy", "dann", 0) == suite.cell("short", "clean->noisy", "dann", 0)


def test_no_suite_file_says_code(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 'dann': 'code' is not for suite files; use --method-from FILE:CLASS"):
        tiny_suite(tmp_path, ('label = "DANN"\n', 'label = "DANN"\ncode = "abc"\n'))


def test_the_method_stands_in_the_table_beside_source_only(
    file: Path, tmp_path: Path, ran: Ran, landbridge: Command
) -> None:
    out = tmp_path / "out"
    command = ("bench", tiny_file(tmp_path), "--out", out, "--method-from", f"{file}:MyMethod", *ONE_TASK)
    assert landbridge(*command, "--methods", "source-only").code == 0
    with (out / "table.csv").open(newline="") as lines:
        rows = {row["method"] for row in csv.DictReader(lines)}
    assert rows == {"source-only", "my-method"}
    assert "MyMethod" in (out / "table.md").read_text()
    said = landbridge(*command, "--methods", "source-only")  # nothing twice
    assert "0 cells to run" in said.err
    assert landbridge("table", out).code == 0  # from the folders alone
    said = landbridge(*command)  # the suite's own rows and this one
    assert [job.settings.method for job in ran.jobs] == ["my-method", "source-only", "dann"]
    file.write_text(FILE + "# a word\n")
    said = landbridge(*command)
    assert len(ran.jobs) == 4
    assert "settings changed, runs again: clean->noisy my-method seed 0: adaptation.code" in said.err
    identities = {cell.identity for cell in read_cells(out) if cell.method == "my-method"}
    assert len(identities) == 2


def test_the_numbers_are_those_of_the_same_method_of_the_package(
    file: Path, tmp_path: Path, ran: Ran, landbridge: Command
) -> None:
    file.write_text(FILE.replace("weight=1.0", f"weight={DDC().weight}"))
    changes = ("[methods.train-on-target]", '[methods.ddc]\nmethod = "ddc"\nlabel = "DDC"\n[methods.train-on-target]')
    suite = tiny_file(tmp_path, changes)
    command = ("bench", suite, "--out", tmp_path / "out", "--methods", "seen,ddc", *ONE_TASK)
    assert landbridge(*command, "--method-from", f"{file}:MyMethod").code == 0
    mine, theirs, nothing = (stored(job.folder)["step-000006/target_train/features"] for job in ran.jobs)
    assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    assert nothing != pytest.approx(theirs, rel=1e-2, abs=1e-2)


def test_worker_processes_load_the_file_too(file: Path, tmp_path: Path, landbridge: Command) -> None:
    out = tmp_path / "out"
    command = ("bench", tiny_file(tmp_path), "--out", out, *ONE_TASK, "--methods", "my-method", "--jobs", "1")
    assert landbridge(*command, "--method-from", f"{file}:MyMethod").code == 0
    (cell,) = read_cells(out)
    assert (cell.method, cell.label) == ("my-method", "MyMethod")
    assert cell.settings["adaptation"]["code"] == read_own(f"{file}:MyMethod").code


@pytest.mark.parametrize(
    ("asked", "says"),
    [("{file}:Nobody", "has no class 'Nobody'"), ("dann={file}:MyMethod", "the name 'dann' is taken")],
)
def test_a_mistake_is_a_sentence_and_nothing_is_run(
    file: Path, tmp_path: Path, ran: Ran, landbridge: Command, asked: str, says: str
) -> None:
    said = landbridge("bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--method-from", asked.format(file=file))
    assert said.code == 2
    assert says in said.err
    assert "Traceback" not in said.err
    assert not ran.jobs
    assert not (tmp_path / "out").exists()


def test_a_constructor_that_refuses_names_the_row(file: Path, tmp_path: Path, ran: Ran, landbridge: Command) -> None:
    file.write_text(FILE.replace("*, weight=1.0", "width, *, weight=1.0"))
    command = ("bench", tiny_file(tmp_path), "--out", tmp_path / "out", "--method-from", f"{file}:MyMethod")
    said = landbridge(*command)
    assert said.code == 2
    assert "method 'my-method' of suite 'tiny': " in said.err
    assert not ran.jobs


def test_an_own_method_travels_in_a_pickle(file: Path) -> None:
    import pickle

    own: OwnMethod = pickle.loads(pickle.dumps(read_own(f"{file}:MyMethod")))
    file.unlink()
    assert own.load().__name__ == "MyMethod"
