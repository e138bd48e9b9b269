"""The pages, built strictly: from the docstrings, with equations, and with nothing fetched when they are read."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest

import landbridge
import landbridge.diagnostics
from landbridge.methods import METHODS

ROOT = Path(__file__).parents[1]
HOOKS = ROOT / "docs" / "hooks"
pytestmark = pytest.mark.skipif(not HOOKS.is_dir(), reason="there is no docs/ beside these tests")


class Page(HTMLParser):
    """What a built page holds: what it loads, its anchors, its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.anchors: list[str] = []
        self.equations = 0
        self.words: list[str] = []
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors += [given["id"]] if "id" in given else []
        self.equations += given.get("class") == "equation"
        if tag in ("script", "img", "iframe", "audio", "video", "source", "embed"):
            self.loads.append(given.get("src", ""))
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given.get("href", ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    pytest.importorskip("material")
    pytest.importorskip("latex2mathml")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``hook("mathml")``: a module of docs/hooks."""
    monkeypatch.syspath_prepend(str(HOOKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {"docstrings", "mathml"} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {file.relative_to(site).as_posix(): Page(file) for file in site.rglob("*.html")}


def test_every_method_has_its_page_in_the_navigation(pages: dict[str, Page]) -> None:
    expected = {f"methods/{name}.html" for name in [*METHODS, "coral-estimator", "otda-estimator", "index"]}
    assert {name for name in pages if name.startswith("methods/")} == expected
    assert {f'href="{name}"' for name in expected} <= set(
        re.findall(r'href="methods/[^"]+"', pages["index.html"].source)
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_page_has_its_sentence_its_equations_and_its_source(name: str, pages: dict[str, Page]) -> None:
    page, kind = pages[f"methods/{name}.html"], METHODS[name]
    doc = inspect.getdoc(kind) or ""
    sentence = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", " ".join(doc.split("\n\n")[0].split())).replace("`", "")
    assert sentence.split(". ")[0] in re.sub(r" ([,.;:)])", r"\1", page.text).replace("( ", "(")
    assert page.equations >= doc.count(".. math::")
    assert ".. math::" in doc or name in ("source-only", "adabn"), "a method says what it computes"
    for parameter in inspect.signature(kind).parameters:
        assert parameter in page.text
    assert f'method="{name}"' in page.text
    source = re.search(r"^Source: (\w+)", doc, re.M)
    assert source is None or f"Source: {source[1]}" in page.text


def test_the_equations_are_mathml_and_nothing_is_left_of_the_docstrings_own_language(pages: dict[str, Page]) -> None:
    assert sum(page.source.count("<math ") for page in pages.values()) > 40
    for name, page in pages.items():
        assert "arithmatex" not in page.source, name
        left = re.findall(r"\.\. math::|:(?:class|func|meth|math|attr|mod|data):`| at 0x[0-9a-f]+|<merror", page.source)
        assert not left, f"{name}: {left}"


def test_nothing_is_fetched_when_a_page_is_read(pages: dict[str, Page], site: Path) -> None:
    for name, page in pages.items():
        far = [load for load in page.loads if re.match(r"(\w+:)?//", load)]
        assert not far, f"{name} loads {far}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_everything_public_is_explained(pages: dict[str, Page]) -> None:
    anchors = {anchor for page in pages.values() for anchor in page.anchors}
    methods = {kind.__name__ for kind in METHODS.values()} | {"CORAL", "OTDA", "METHODS", "__version__"}
    public = [*landbridge.__all__, *landbridge.diagnostics.__all__]
    assert [name for name in public if name not in methods and name not in anchors] == []
    for name, page in pages.items():
        assert len(page.anchors) == len(set(page.anchors)), f"{name} has an anchor twice"


def test_the_tables_of_the_package_are_there_and_the_hooks_are_not(pages: dict[str, Page], site: Path) -> None:
    assert not [name for name, page in pages.items() if "<!-- table:" in page.source]
    assert all(name in pages["methods/index.html"].text for name in METHODS)
    assert not (site / "hooks").exists()


# what the pages are made with


def test_equations_side_by_side_are_taken_apart(hook: Any) -> None:
    parts = hook("mathml").parts
    assert parts(r"a = b, \qquad c = d, \quad e") == ["a = b,", "c = d,", "e"]
    assert parts(r"\frac{a \quad b}{c}") == [r"\frac{a \quad b}{c}"]
    assert parts(r"\{ a \quad b \}") == [r"\{ a", r"b \}"]
    cases = r"T = \begin{cases} a & b \quad c \\ d & \text{else} \end{cases}"
    assert parts(cases) == [cases]


def test_an_equation_that_cannot_be_set_fails_the_build(hook: Any) -> None:
    mathml = hook("mathml")
    with pytest.raises(ValueError, match=r"nosuchcommand"):
        mathml.to_mathml(r"x + \nosuchcommand y", block=True)
    made = mathml.to_mathml(r"\arg\min_x \frac12 \|x\|^2", block=True)
    assert 'display="block"' in made
    assert "<mfrac>" in made
    assert mathml.replace_math('<p>a <span class="arithmatex">\\(x &lt; y\\)</span></p>').count("<math ") == 1


def test_a_docstring_becomes_markdown(hook: Any) -> None:
    text = r"""Adds :func:`~a.b.thing` of :math:`x_i` to ``y_i``; an *emphasis*, 2 * 3 * 4 and n_s < [d].

    .. math:: a = b
        + c

    Args:
        weight: lambda, >= 0;
            of the whole term.
        more: > 1, no quotation.
        one, two: both.

    Raises:
        ValueError: if not.

    Returns:
        A scalar.

    * A point
      goes on.

    Source: A paper.

    >>> 1 + 1
    2
    """
    made = hook("docstrings").to_markdown(text, lambda name: "x.md#thing" if name == "a.b.thing" else None)
    assert made.splitlines() == [
        r"Adds [`thing`](x.md#thing) of \(x_i\) to `y_i`; an *emphasis*, 2 \* 3 \* 4 and n\_s &lt; \[d\].", "",
        "$$", "a = b + c", "$$", "",
        "**Arguments**", "", "`weight`", ":   lambda, &gt;= 0;", "    of the whole term.", "",
        "`more`", ":   &gt; 1, no quotation.", "",
        "`one`, `two`", ":   both.", "",
        "**Raises**", "", "`ValueError`", ":   if not.", "",
        "**Returns**", "", "A scalar.", "",
        "* A point", "  goes on.", "",
        "**Source:** A paper.", "",
        "```pycon", ">>> 1 + 1", "2", "```",
    ]  # fmt: skip


def test_a_signature_is_the_same_at_every_build(hook: Any) -> None:
    signature = hook("docstrings").signature

    def called(x: int, /, *rest: str, key: Literal["a"] | None = None, how: Any = len, **more: Any) -> bool:
        return True

    parts = ["x: int", "/", "*rest: str", "key: Literal['a'] | None = None", "how: Any = len", "**more: Any"]
    assert signature(called, "f") == "f(\n" + "".join(f"    {part},\n" for part in parts) + ") -> bool"
    assert signature(lambda a, *, b=1: a, "g") == "g(a, *, b=1)"
