"""What mkdocs calls while it builds: pages made of docstrings, tables made of the package, equations as MathML."""

from __future__ import annotations

import inspect
import posixpath
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import docstrings
import mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import landbridge
import landbridge.diagnostics
from landbridge.benchmarks.settings import LABELS
from landbridge.benchmarks.suite import read_suite, suites
from landbridge.methods import METHODS
from landbridge.shared.method import Method
from landbridge.shared.validators import VALIDATORS

__all__ = ["on_config", "on_files", "on_page_content", "on_page_markdown"]

CLOSED_FORM = {"coral": "CORAL", "otda": "OTDA"}  # scikit-learn's estimators: page -> class
FAMILIES = {
    "dann": "adversarial",
    "mmd": "kernel mean embeddings",
    "coral": "second-order statistics",
    "transport": "optimal transport",
    "selftraining": "the target's own predictions",
    "shared": "baselines",
}
API, FAR = "api/landbridge.md", "api/diagnostics.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages of the methods join the navigation under its entry 'Methods'."""
    (methods,) = (entry for entry in config.nav or () if isinstance(entry, dict) and "Methods" in entry)
    methods["Methods"] = [{"All methods": "methods/index.md"}, *_by_family()]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The pages that are made: of every method, and of everything public."""
    for place, text in made_pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Tables that come from the package stand where a page says so: ``<!-- table: validators -->``."""

    def fill(found: re.Match[str]) -> str:
        return TABLES[found[1]](page.file.src_uri)

    return re.sub(r"^<!-- table: ([a-z ]+) -->$", fill, markdown, flags=re.M)


def on_page_content(html: str, **_: Any) -> str:
    """Equations; and long code in tables may break where a name does."""
    return mathml.replace_math(re.sub(r"<td.*?</td>", _breakable, html, flags=re.S))


def _breakable(cell: re.Match[str]) -> str:
    return re.sub(r"(?<=<code>)[^<]{20,}", lambda code: re.sub(r"(?<=[.,(/_=>-])(?=\w)", "<wbr>", code[0]), cell[0])


@cache
def made_pages() -> dict[str, str]:
    """The text of every page that is made, by its place."""
    pages = {"methods/index.md": _overview()}
    pages |= {f"methods/{name}.md": _method_page(name, METHODS[name]) for name in METHODS}
    pages |= {f"methods/{name}-estimator.md": _method_page(name, _find(kind)) for name, kind in CLOSED_FORM.items()}
    pages[API] = _listing(
        API,
        "API",
        "What `import landbridge as lb` offers: `lb.fit`, `lb.wrap` and so on. Methods and the functions that stand in "
        "their files have [pages of their own](../methods/index.md).",
        [name for name in landbridge.__all__ if name not in ("__version__", "METHODS")],
        landbridge,
    )
    pages[FAR] = _listing(
        FAR,
        "API of the diagnostics",
        "What `from landbridge import diagnostics` offers; [See the shift](../diagnostics.md) shows it at work.",
        landbridge.diagnostics.__all__,
        landbridge.diagnostics,
    )
    return pages


# where things are explained


def _find(name: str) -> Any:
    return getattr(landbridge, name)


@cache
def _places() -> dict[str, str]:
    """The page and anchor of every public name."""
    places: dict[str, str] = {}
    for name in landbridge.diagnostics.__all__:
        places[name] = f"{FAR}#{name}"
    for name in landbridge.__all__:
        places.setdefault(name, f"{API}#{name}")
    for page, kind in [*METHODS.items(), *_estimators()]:
        module = sys.modules[kind.__module__]
        for name in [kind.__name__, *_functions(module)]:
            if name == kind.__name__ or not _documented(name, places):
                places[name] = f"methods/{page}.md" + ("" if name == kind.__name__ else f"#{name}")
    places["METHODS"] = "methods/index.md"
    return places


def _documented(name: str, places: dict[str, str]) -> bool:
    return places.get(name, "").startswith("methods/")


def _estimators() -> list[tuple[str, type]]:
    return [(f"{name}-estimator", _find(kind)) for name, kind in CLOSED_FORM.items()]


def _functions(module: ModuleType) -> list[str]:
    """What a method's file offers beside its methods."""
    classes = {*(kind.__name__ for kind in METHODS.values()), *CLOSED_FORM.values()}
    return [name for name in module.__all__ if name not in classes and callable(getattr(module, name))]


def _link(page: str) -> Callable[[str], str | None]:
    """Links from this page."""

    def link(name: str) -> str | None:
        parts = name.split(".")
        for known in (parts[-1], *parts[-2:-1]):  # a method of a class is explained with its class
            if known in _places():
                place, _, anchor = _places()[known].partition("#")
                to = posixpath.relpath(place, posixpath.dirname(page) or ".")
                return f"{'' if place == page else to}{'#' + anchor if anchor else ''}" or f"{posixpath.basename(page)}"
        return None

    return link


# pages of methods


def _title(name: str, kind: type) -> str:
    return LABELS.get(name, kind.__name__) if issubclass(kind, Method) else f"{kind.__name__} (estimator)"


def _by_family() -> Iterator[dict[str, Any]]:
    for folder, family in FAMILIES.items():
        members = [(name, kind) for name, kind in [*METHODS.items(), *_estimators()] if _folder(kind) == folder]
        pages = [{_title(name, kind): f"methods/{name}.md"} for name, kind in members]
        if pages:
            yield {family.capitalize(): pages}


def _folder(kind: type) -> str:
    return kind.__module__.split(".")[1]


def _method_page(name: str, kind: type) -> str:
    place = f"methods/{name}.md" if issubclass(kind, Method) else f"methods/{name}-estimator.md"
    link = _link(place)
    module = sys.modules[kind.__module__]
    file = posixpath.join(*kind.__module__.split(".")[1:]) + ".py"
    parts = [f"# {_title(name, kind)}", _facts(name, kind, file)]
    parts += [_code(docstrings.signature(kind, f"lb.{kind.__name__}")), _documentation(kind, link)]
    if issubclass(kind, Method):
        parts += [_settings_in_suites(name)]
        parts += ["## In a table", f"```sh\nlandbridge bench optdigits --methods {_rows(name)}\n```"]
    shown = [each for each in _functions(module) if _places()[each].startswith(f"{place}#")]
    if shown:
        parts += ["## Also in its file"]
    for each in shown:
        public = f"lb.{each}" if each in landbridge.__all__ else f"{kind.__module__}.{each}"
        parts += [f"### {each} {{ #{each} }}", _code(docstrings.signature(getattr(module, each), public))]
        parts += [_documentation(getattr(module, each), link)]
    elsewhere = [each for each in _functions(module) if each not in shown]
    if elsewhere:
        parts += ["In its file, too: " + ", ".join(f"[`{each}`]({link(each)})" for each in elsewhere) + "."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(name: str) -> str:
    return name if name == "source-only" else f"source-only,{name}"


def _facts(name: str, kind: type, file: str) -> str:
    facts = [f"`lb.{kind.__name__}`", FAMILIES[_folder(kind)], f"file `{file}`"]
    if issubclass(kind, Method):
        facts[1:1] = [f'`method="{name}"`']
        facts += ["needs " + _needs(kind)]
        facts += [f"at least {kind.least} rows of each domain a batch"] if kind.least > 1 else []
        facts += ["trains in several updates a step: `lb.fit` carries them out"] * _several_updates(kind)
    return " · ".join(facts) + "\n{ .facts }"


def _needs(kind: type[Method]) -> str:
    words = {
        "source": "features",
        "logits": "logits",
        "labels": "source labels",
        "head": "the head itself",
        "domain": "source numbers",
        "index": "row numbers",
        "strong": "strongly augmented copies",
        "inputs": "the inputs",
        "batchnorm": "BatchNorm layers",
    }
    return ", ".join(word for need, word in words.items() if need in kind.needs) or "nothing of a batch"


def _several_updates(kind: type[Method]) -> bool:
    return kind.updates is not Method.updates


def _settings_in_suites(name: str) -> str:
    rows = []
    for suite in map(read_suite, suites()):
        for row in suite.methods.values():
            if row.method == name and row.classifier is None and row.trains_on == "source":
                settings = ", ".join(f"`{key}={value!r}`" for key, value in row.settings.items()) or "its defaults"
                frozen = ", ".join(f"`{key}={value!r}`" for key, value in row.frozen.items())
                rows.append(f"| {suite.name} | {settings} | {frozen or 'the same' if suite.images else ''} |")
    if not rows:
        return ""
    head = "| suite | settings | on frozen features |\n| :--- | :--- | :--- |\n"
    return "## Settings in the suites\n\n" + head + "\n".join(dict.fromkeys(rows))


def _documentation(thing: object, link: Callable[[str], str | None]) -> str:
    return docstrings.to_markdown(inspect.getdoc(thing) or "", link)


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


# pages of everything public


def _listing(place: str, title: str, about: str, names: Iterable[str], home: ModuleType) -> str:
    link, parts = _link(place), [f"# {title}", about]
    for name in sorted(names, key=str.lower):
        if not _places()[name].startswith(f"{place}#"):
            continue
        thing = getattr(home, name)
        prefix = "lb." if home is landbridge else "diagnostics."
        parts += [f"## {name} {{ #{name} }}"]
        if callable(thing):
            parts += [_code(docstrings.signature(thing, prefix + name))]
        parts += [_documentation(thing, link)]
        if inspect.isclass(thing):
            parts += _members(thing, link)
    elsewhere = [name for name in sorted(names, key=str.lower) if not _places()[name].startswith(f"{place}#")]
    if elsewhere:
        parts += ["On other pages: " + ", ".join(f"[`{name}`]({link(name)})" for name in elsewhere) + "."]
    return "\n\n".join(parts) + "\n"


def _members(kind: type, link: Callable[[str], str | None]) -> list[str]:
    """Public functions and properties that the class itself writes and explains."""
    parts = []
    for name, value in vars(kind).items():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if name[0] == "_" or not inspect.isfunction(function) or not inspect.getdoc(function):
            continue
        shown = f"{kind.__name__}.{name}"
        parts += [f"### {shown} {{ #{shown} }}"]
        parts += [] if isinstance(value, property) else [_code(docstrings.signature(function, shown))]
        parts += [_documentation(function, link)]
    return parts


# tables


def _overview() -> str:
    return "\n\n".join([
        "# All methods",
        "Every deep method is a term beside the task loss: in `lb.fit` by its class, in `lb.adapt` and on the command "
        "line by its name. *Needs* is what it reads of each batch; only features means that it also works where there "
        "are no class logits, in regression for example.",
        _table_of_methods("methods/index.md"),
        "The closed-form methods are scikit-learn transformers, which move the source rows onto the target's:",
        _table_of_estimators("methods/index.md"),
        "Not one of these? [A method of your own](../own-method.md) is one class in one file.",
    ]) + "\n"  # fmt: skip


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _sentence(thing: object, page: str) -> str:
    return docstrings.inline(docstrings.first_sentence(thing), _link(page))


def _table_of_methods(page: str) -> str:
    rows = ["| method | name | family | needs | what it does |", "| :--- | :--- | :--- | :--- | :--- |"]
    for name, kind in METHODS.items():
        to = posixpath.relpath(f"methods/{name}.md", posixpath.dirname(page) or ".")
        title = f"[{_title(name, kind)}]({to})"
        rows += [_row(title, f"`{name}`", FAMILIES[_folder(kind)], _needs(kind), _sentence(kind, page))]
    return "\n".join(rows)


def _table_of_estimators(page: str) -> str:
    rows = ["| estimator | what it does |", "| :--- | :--- |"]
    for name, kind in _estimators():
        to = posixpath.relpath(f"methods/{name}.md", posixpath.dirname(page) or ".")
        rows += [_row(f"[{kind.__name__}]({to})", _sentence(kind, page))]
    return "\n".join(rows)


def _table_of_validators(page: str) -> str:
    rows = ["| validator | what it is | cost | source hold-out | paper |", "| :--- | :--- | :--- | :--- | :--- |"]
    for name, validator in VALIDATORS.items():
        held = "needed" if validator.needs_holdout else "no"
        rows += [_row(f"`{name}`", _sentence(type(validator), page), validator.cost, held, validator.paper)]
    return "\n".join(rows)


def _table_of_suites(page: str) -> str:
    rows = ["| suite | data | tasks | rows | protocols |", "| :--- | :--- | ---: | ---: | :--- |"]
    for suite in map(read_suite, suites()):
        kind = "photographs" if suite.images else "features" if suite.features else "digits"
        names = ", ".join(f"`{suite.protocol_id(name)}`" for name in suite.protocols)
        rows += [_row(f"`{suite.name}`", kind, str(len(suite.tasks)), str(len(suite.methods)), names)]
    return "\n".join(rows)


TABLES: dict[str, Callable[[str], str]] = {
    "methods": _table_of_methods,
    "estimators": _table_of_estimators,
    "validators": _table_of_validators,
    "suites": _table_of_suites,
}
