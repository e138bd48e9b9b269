"""Docstrings as Markdown: sections, equations, examples and references, as this project writes them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator

__all__ = ["first_sentence", "signature", "to_markdown"]

Link = Callable[[str], "str | None"]  # the name of a public thing -> where it is explained

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Warns|Yields):$")
TITLES = {"Args": "Arguments", "Warns": "Warnings"}
NAMED = {"Args", "Attributes", "Raises", "Warns"}
ENTRY = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:(?:, | and )\*{0,2}[A-Za-z_][\w.]*)*): (.*)$")
LABEL = re.compile(r"^(Source|Sources|Term|Terms|Note): ")
TOKEN = re.compile(r"``(?P<code>.+?)``|:math:`(?P<math>[^`]+)`|:[a-z]+:`(?P<name>[^`]+)`|`(?P<plain>[^`]+)`", re.S)
EMPHASIS = re.compile(r"(?<![\w*\\])(\*{1,2})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])")
BULLET = re.compile(r"^(\s*)([*-]|\d+\.) (?=\S)")


def first_sentence(thing: object) -> str:
    """The first paragraph of the docstring, in one line and as it stands."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def to_markdown(text: str, link: Link = lambda _: None) -> str:
    """A docstring as Markdown.

    Args:
        text: the docstring, as ``inspect.getdoc`` gives it.
        link: where a public thing is explained, for references in the text.
    """
    return "\n\n".join(_blocks(inspect.cleandoc(text).splitlines(), link)) + "\n"


def _blocks(lines: list[str], link: Link) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith(".. math::"):
            inner, at = _indented(lines, at + 1)
            yield f"$$\n{' '.join([line.removeprefix('.. math::'), *inner]).strip()}\n$$"
        elif line.startswith(">>>"):
            end = next((i for i in range(at, len(lines)) if not lines[i].strip()), len(lines))
            yield "\n".join(["```pycon", *lines[at:end], "```"])
            at = end
        elif found := SECTION.match(line):
            inner, at = _indented(lines, at + 1)
            yield f"**{TITLES.get(found[1], found[1])}**"
            yield from _entries(inner, link) if found[1] in NAMED else _blocks(inner, link)
        else:
            end = at
            while end < len(lines) and lines[end].strip() and not lines[end].startswith((".. math::", ">>>")):
                end += 1
            yield _paragraph(lines[at:end], link)
            at = end


def _indented(lines: list[str], at: int) -> tuple[list[str], int]:
    """The indented lines from here on, less their indentation, and where they end."""
    end = at
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
        end += 1
    return textwrap.dedent("\n".join(lines[at:end])).strip("\n").splitlines(), end


def _paragraph(lines: list[str], link: Link) -> str:
    text = inline("\n".join(lines), link)
    return LABEL.sub(r"**\1:** ", text)


def _entries(lines: list[str], link: Link) -> Iterator[str]:
    """``name: text`` as a list of definitions."""
    names: list[str] = []
    texts: list[list[str]] = []
    for line in lines:
        found = ENTRY.match(line)
        if found and not line.startswith(" "):
            names.append(found[1])
            texts.append([found[2]])
        elif not texts:
            yield from _blocks(lines, link)
            return
        else:
            texts[-1].append(line.strip())
    for name, text in zip(names, texts, strict=True):
        shown = ", ".join(f"`{each}`" for each in re.split(r", | and ", name))
        paragraphs = inline("\n".join(text).strip(), link).split("\n\n")
        yield f"{shown}\n:   " + "\n\n".join(paragraphs).replace("\n", "\n    ")


def inline(text: str, link: Link) -> str:
    """The words between code, equations and references, with Markdown's own signs taken literally."""
    made, at = [], 0
    for found in TOKEN.finditer(text):
        made.append(_escaped(text[at : found.start()]))
        made.append(_token(found, link))
        at = found.end()
    made.append(_escaped(text[at:]))
    return "".join(made)


def _token(found: re.Match[str], link: Link) -> str:
    if found["math"]:
        return f"\\({found['math']}\\)"
    if found["name"]:
        name = found["name"].lstrip("~").removesuffix("()")
        shown = name.rsplit(".", 1)[-1] if found["name"].startswith("~") else name
        where = link(name)
        return f"[`{shown}`]({where})" if where else f"`{shown}`"
    return f"`{' '.join((found['code'] or found['plain']).split())}`"


def _escaped(text: str) -> str:
    return "\n".join(_escaped_line(line) for line in text.split("\n"))


def _escaped_line(line: str) -> str:
    bullet = BULLET.match(line)
    start, rest = (bullet[0], line[bullet.end() :]) if bullet else ("", line)
    rest = rest.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    rest = rest.replace("_", "\\_").replace("[", "\\[").replace("]", "\\]")
    rest = re.sub(r"^([#+=])", r"\\\1", rest)  # no heading and no list
    kept = EMPHASIS.sub(lambda m: f"\0{len(m[1])}{m[2]}\0{len(m[1])}", rest).replace("*", "\\*")
    return start + kept.replace("\0001", "*").replace("\0002", "**")


def signature(thing: Callable[..., object], name: str) -> str:
    """How a thing is called, over several lines where one would be long."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return name
    parts, keyword_only, positional_only = [], False, False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
            keyword_only = True
        if positional_only and parameter.kind is not parameter.POSITIONAL_ONLY:
            parts.append("/")
        positional_only = parameter.kind is parameter.POSITIONAL_ONLY
        keyword_only = keyword_only or parameter.kind is parameter.VAR_POSITIONAL
        parts.append(_parameter(parameter))
    end = (
        ""
        if found.return_annotation is found.empty or inspect.isclass(thing)
        else f" -> {_type(found.return_annotation)}"
    )
    line = f"{name}({', '.join(parts)}){end}"
    if len(line) <= 90:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    shown = f"{star}{parameter.name}"
    typed = parameter.annotation is not parameter.empty
    if typed:
        shown += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        shown += f"{' = ' if typed else '='}{_value(parameter.default)}"
    return shown


def _type(annotation: object) -> str:
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", shown)


def _value(default: object) -> str:
    """A default as it is written; never with an address in it, so that pages are the same at every build."""
    return str(getattr(default, "__name__", repr(default)))
