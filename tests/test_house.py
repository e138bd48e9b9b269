"""The house: which folder is which package, who may import whom, and what every module must show."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest

import landbridge

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOT_PACKAGES = {"landbridge", "tests", "docs", "examples", "build", "dist", "runs", "data"}
FAMILIES = {"dann", "mmd", "coral", "transport", "selftraining", "weighting"}
# package -> the packages it may import from, beside itself; "landbridge" stands for the public face
ARROWS: dict[str, set[str]] = {
    "shared": set(),
    **{family: {"shared"} for family in FAMILIES},
    "diagnostics": {"shared", *FAMILIES},
    "benchmarks": {"landbridge", "shared", "diagnostics", *FAMILIES},
    "landbridge": {"shared", "diagnostics", *FAMILIES},
}
MAY_IMPORT_BENCHMARKS = {"landbridge/__main__.py"}
# scikit-learn's; loaded when asked for
ESTIMATORS = {
    "shared/estimator.py",
    "shared/learners.py",
    "shared/pipeline.py",
    "shared/scorer.py",
    "coral/coral.py",
    "transport/otda.py",
}
HEAVY = {"accelerate", "jinja2", "matplotlib", "ot", "sklearn", "torchvision"}
MOST_LINES = 500

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
PACKAGES = SETUP["options"]["packages"].split()
FOLDERS = {
    package.strip(): Path(folder.strip())
    for package, folder in (line.split("=") for line in SETUP["options"]["package_dir"].strip().splitlines())
}


def sources(*packages: str) -> list[str]:
    """The source files of these packages (all, if none is named), relative to the root: mmd/dan.py."""
    folders = [folder for package, folder in FOLDERS.items() if not packages or package.split(".")[-1] in packages]
    return sorted(file.relative_to(ROOT).as_posix() for folder in folders for file in (ROOT / folder).glob("*.py"))


def module_name(file: str) -> str:
    """mmd/dan.py -> landbridge.mmd.dan."""
    parts = list(Path(file).with_suffix("").parts)
    if parts[0] != "landbridge":
        parts.insert(0, "landbridge")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: str, text: str) -> Iterator[str]:
    """The absolute names that a file imports, wherever in it: landbridge.shared.method.Method."""
    package = module_name(file).split(".")
    if not file.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def forbidden(file: str, text: str) -> list[str]:
    """The imports of a file against the arrows."""
    own = module_name(file).split(".")
    home = own[1] if len(own) > 1 and own[1] in ARROWS else "landbridge"
    wrong = []
    for name in imported(file, text):
        parts = name.split(".")
        if parts[0] != "landbridge":
            continue
        there = parts[1] if len(parts) > 1 and parts[1] in ARROWS else "landbridge"
        allowed = ARROWS[home] | {home} | ({"benchmarks"} if file in MAY_IMPORT_BENCHMARKS else set())
        if there not in allowed:
            wrong.append(name)
    return wrong


def public_definitions(file: str) -> list[str] | None:
    """A module's ``__all__``, read without running it; None if it has none."""
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def test_every_package_folder_has_its_line_in_setup_cfg_and_nothing_else_has() -> None:
    found = {"landbridge"}
    for top in sorted(ROOT.iterdir()):
        if top.is_dir() and top.name not in NOT_PACKAGES and (top / "__init__.py").exists():
            inner = sorted(top.rglob("__init__.py"))
            found |= {"landbridge." + ".".join(init.parent.relative_to(ROOT).parts) for init in inner}
    assert set(PACKAGES) == found
    assert sorted(FOLDERS) == sorted(PACKAGES)
    for package, folder in FOLDERS.items():
        assert package in ("landbridge", "landbridge." + ".".join(folder.parts)), f"{package} = {folder}"


@pytest.mark.skipif((ROOT / "PKG-INFO").exists(), reason="a source archive holds no links; they are for a checkout")
def test_every_package_folder_has_its_link_for_the_tools_and_nothing_else_has() -> None:
    links = {link.name: link.readlink().as_posix() for link in (ROOT / "landbridge").iterdir() if link.is_symlink()}
    tops = {str(folder) for folder in FOLDERS.values() if len(folder.parts) == 1} - {"landbridge"}
    assert links == {top: f"../{top}" for top in tops}


def test_every_data_file_in_a_package_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]
    for folder in (ROOT / folder for folder in FOLDERS.values()):
        package = next(name for name, place in FOLDERS.items() if ROOT / place == folder)
        inner = [ROOT / place for place in FOLDERS.values() if folder in (ROOT / place).parents]
        for file in (*folder.rglob("*.toml"), *folder.rglob("templates/*")):
            if any(package_below in file.parents for package_below in inner):
                continue
            name = file.relative_to(folder).as_posix()
            assert any(fnmatch(name, glob) for glob in globs.get(package, [])), f"{package} does not ship {name}"


@pytest.mark.parametrize("file", sources())
def test_the_arrows(file: str) -> None:
    wrong = forbidden(file, (ROOT / file).read_text(encoding="utf-8"))
    assert not wrong, f"{file} may not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shared/step.py", "from ..mmd.mmd import mmd2"),
        ("shared/step.py", "from .. import methods"),
        ("shared/step.py", "from ..methods import METHODS"),
        ("shared/step.py", "def f():\n    from ..dann import dann"),
        ("mmd/dan.py", "from ..coral.coral import CORAL"),
        ("weighting/label_shift.py", "from ..diagnostics.results import Distance"),
        ("mmd/dan.py", "import landbridge"),
        ("mmd/dan.py", "import landbridge.dann.dann as dann"),
        ("mmd/dan.py", "from landbridge.benchmarks import suite"),
        ("mmd/__init__.py", "from ..dann import dann"),
        ("dann/dann.py", "import landbridge.methods"),
        ("diagnostics/plots.py", "from ..benchmarks.table import table"),
        ("landbridge/methods.py", "from .benchmarks.suite import Suite"),
    ],
)
def test_a_forbidden_import_is_seen(file: str, line: str) -> None:
    assert forbidden(file, line)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shared/step.py", "from .method import Method"),
        ("mmd/dan.py", "from ..shared.method import Method"),
        ("mmd/dan.py", "from .kernels import gaussian\nimport torch"),
        ("mmd/__init__.py", "from .dan import DAN"),
        ("benchmarks/datasets/usps.py", "from ...shared.checks import nearest"),
        ("benchmarks/cell.py", "from ..methods import METHODS"),
        ("landbridge/__main__.py", "from .benchmarks.cli import app"),
        ("landbridge/methods.py", "from .dann.dann import DANN"),
        ("diagnostics/verdict.py", "from ..weighting.label_shift import label_shift"),
    ],
)
def test_an_allowed_import_is_allowed(file: str, line: str) -> None:
    assert not forbidden(file, line)


@pytest.mark.parametrize("file", sources())
def test_files_are_short(file: str) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) < MOST_LINES


def test_test_files_are_short() -> None:
    for file in (ROOT / "tests").rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) < MOST_LINES, file


@pytest.mark.parametrize("file", sources())
def test_every_public_name_exists_and_is_explained(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{file} needs a sentence that says what it is"
    listed = public_definitions(file)
    if listed is None:
        defined = [n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name[0] != "_"]
        assert Path(file).name in ("__init__.py", "__main__.py") or not defined, f"{file} has no __all__"
        return
    module = importlib.import_module(module_name(file))
    for name in listed:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{file}: {name} has no docstring"
            # a NamedTuple or dataclass without one shows its own signature
            assert not str(value.__doc__).startswith(f"{name}("), f"{file}: {name} has no docstring"


@pytest.mark.parametrize("file", sources())
def test_nothing_exported_is_called_like_a_package(file: str) -> None:
    tops = {package.split(".")[1] for package in PACKAGES if "." in package}
    assert not tops & set(public_definitions(file) or [])


@pytest.mark.parametrize("file", [f for f in sources(*FAMILIES, "diagnostics") if not f.endswith("__init__.py")])
def test_every_file_of_a_family_has_its_test_file(file: str) -> None:
    folder, name = file.split("/")
    assert (ROOT / "tests" / folder / f"test_{name}").exists()


def test_no_folder_of_tests_hides_the_package() -> None:
    """tests/ is on the path: a folder of the package's name there is found first, as an empty package."""
    assert not (ROOT / "tests" / "landbridge").exists(), "tests of landbridge/ itself lie in tests/ directly"


def test_every_deep_method_is_offered_under_its_own_name() -> None:
    from landbridge.methods import METHODS

    for name, method in METHODS.items():
        module = inspect.getmodule(method)
        assert module is not None
        assert method.__name__ in module.__all__, f"{name}: {module.__name__}.__all__ lacks {method.__name__}"
        assert getattr(landbridge, method.__name__) is method, f"landbridge.{method.__name__} is not METHODS[{name!r}]"
        _, folder, file = module.__name__.split(".")
        assert (ROOT / "tests" / folder / f"test_{file}.py").exists(), f"{name} has no tests/{folder}/test_{file}.py"


def loaded_by(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has imported after running this code, outside the checkout."""
    code += f"\nimport sys; print('loaded:', *({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("loaded:", 1)[1].split())


def test_import_landbridge_is_light() -> None:
    assert loaded_by("import landbridge") == set()


def test_the_core_and_the_families_are_light_but_for_their_estimators() -> None:
    torch_part = [module_name(file) for file in sources("shared", "diagnostics", *FAMILIES) if file not in ESTIMATORS]
    code = f"import importlib\nfor name in {torch_part!r}: importlib.import_module(name)"
    assert loaded_by(code + "\nimport landbridge.methods; assert landbridge.methods.METHODS") == set()


def test_the_watch_for_heavy_imports_sees_one() -> None:
    assert "matplotlib" in loaded_by("import matplotlib")


def test_the_version_is_one_number() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    assert landbridge.__version__ == version
    assert metadata.version("landbridge") == version
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings
