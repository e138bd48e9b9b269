"""Equations as MathML, made when the pages are built: no script and no network where they are read."""

from __future__ import annotations

import html
import re
from functools import cache

from latex2mathml.converter import convert

__all__ = ["parts", "replace_math", "to_mathml"]

# what the converter does not know, or leaves as it is
ARG = re.compile(r"\\arg\s*\\(min|max)(?![A-Za-z])")
LEFT = {r">\|<": ">‖<", r">\Vert<": ">‖<", r">\{<": ">{<", r">\}<": ">}<", r">\langle<": ">⟨<", r">\rangle<": ">⟩<"}
# norm bars: as operators between two things they would be given space
LEFT['<mo fence="false" stretchy="false">'] = '<mo fence="true" stretchy="false" lspace="0" rspace="0">'

OPENS, CLOSES = re.compile(r"\\begin\b|\\left\b|(?<!\\)\{"), re.compile(r"\\end\b|\\right\b|(?<!\\)\}")
ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


@cache
def to_mathml(tex: str, *, block: bool) -> str:
    """The MathML of an equation in TeX.

    Raises:
        ValueError: if it holds a command that the converter does not know.
    """
    spelled = ARG.sub(r"\\operatorname{arg}\\\1", " ".join(tex.split()))
    made: str = convert(spelled, display="block" if block else "inline")
    for known, sign in LEFT.items():
        made = made.replace(known, sign)
    unknown = re.findall(r"\\[^<]*", made)
    if unknown:
        raise ValueError(f"the equation {tex!r} holds {', '.join(sorted(set(unknown)))}, which MathML is not made of")
    return made


def parts(tex: str) -> list[str]:
    """The equations that stand side by side in one, apart: where the page is narrow they stand below each other."""
    found, depth = [""], 0
    for piece in re.split(r"(\\q?quad\b)", tex):
        if piece in (r"\quad", r"\qquad") and depth == 0:
            found.append("")
            continue
        found[-1] += piece
        depth += len(OPENS.findall(piece)) - len(CLOSES.findall(piece))
    return [part.strip() for part in found if part.strip()]


def replace_math(page: str) -> str:
    """A page's HTML with each of arithmatex's places filled in."""

    def fill(found: re.Match[str]) -> str:
        tex = html.unescape(found[3])
        if found[2] == "(":
            return to_mathml(tex, block=False)
        made = "".join(f"<span>{to_mathml(part, block=True)}</span>" for part in parts(tex))
        return f'<div class="equation">{made}</div>'

    return ARITHMATEX.sub(fill, page)
