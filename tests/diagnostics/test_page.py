"""The page of a diagnosis: opens with the verdict, holds every figure itself, runs and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import re

import numpy as np
import pytest

import landbridge as lb
from landbridge.diagnostics import page
from landbridge.shared import style

EVIL = "<img src=x onerror=alert(2)>"
Whole = tuple[lb.Diagnosis, str, dict[str, page.Section]]
CENTRES = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])


def made(move: float, **changes) -> lb.Diagnosis:
    rng = np.random.default_rng(0)
    y = np.arange(45) % 3
    x, z = CENTRES[y] + rng.normal(size=(45, 3)), CENTRES[y] + move + rng.normal(size=(45, 3))
    logits = [-((rows[:, None] - CENTRES) ** 2).sum(-1) for rows in (x, z)]
    given = {"source_labels": y, "evaluate": y, "source_logits": logits[0], "target_logits": logits[1]}
    return lb.diagnose(x, z, **{**given, **changes})


@pytest.fixture(scope="module")
def whole() -> Whole:
    """A page with everything on it, names of classes and features that try to break out."""
    found = made(
        1.0, classes=[EVIL, "b", "c"], names=[EVIL, "width", "height"], before=made(3.0), about=[("from", EVIL)]
    )
    drawn = page.sections(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "sections", lambda _: drawn)  # drawn once
        return found, page.render(found, title=EVIL), {section.id: section for section in drawn}


def test_the_verdict_comes_first_in_words(whole: Whole) -> None:
    found, text, _ = whole
    plain = html.unescape(text)
    at = [plain.index(sentence) for sentence in (found.verdict.headline, *found.verdict.sentences)]
    assert at == sorted(at)
    assert at[-1] < plain.index("What to try first") < plain.index("<table>") < plain.index("data:image/png")
    for sentence in (*found.verdict.sure, *found.verdict.advice, *found.verdict.undecided):
        assert sentence in plain
    assert found.before is not None
    assert f"<b>Before:</b> {found.before.verdict.headline}" in plain


def test_nothing_is_fetched_and_nothing_runs(whole: Whole) -> None:
    _, text, _ = whole
    css = re.search(r"<style>(.*?)</style>", text, re.S)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert css is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    rules = html.unescape(policy[1])
    assert rules.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in rules
    assert "script-src" not in rules  # so default-src forbids them
    assert not re.search(r"<script|onerror|style=", text.replace(html.escape(EVIL), ""))
    assert "url(" not in css[1]
    for source in re.findall(r'(?:src|href)="(.*?)"', text):
        assert source.startswith(("data:", "#")), source[:50]


def test_names_are_escaped(whole: Whole) -> None:
    _, text, _ = whole
    assert EVIL not in text
    assert text.count(str(html.escape(EVIL, quote=False))) >= 4  # title twice, a class, a feature, the head


def test_every_figure_is_a_picture_with_a_sentence(whole: Whole) -> None:
    _, text, _ = whole
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">', text)
    assert len(pictures) == text.count("<figure") == text.count("<figcaption>") >= 12
    for picture, reading in pictures:
        assert base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n"
        assert len(reading) > 40


def test_every_section_is_linked_and_there_once(whole: Whole) -> None:
    _, text, _ = whole
    links = re.findall(r'<li><a href="#(.+?)">', text)
    assert links == ["tests", "distances", "rows", "where", "proportions", "model", "evaluated"]
    for name in links:
        assert text.count(f'id="{name}"') == 1


def test_the_numbers_are_those_found(whole: Whole) -> None:
    found, _, sections = whole
    tests = sections["tests"].grids[0].rows
    assert [row[0] for row in tests] == [test.name for test in found.verdict.tests]
    assert [row[1] for row in tests] == [page.number(test.statistic) for test in found.verdict.tests]
    _, before, after, *_ = zip(*sections["distances"].grids[0].rows, strict=True)
    assert found.before is not None
    assert list(before) == [page.number(d.value) for d in found.before.distances]
    assert list(after) == [page.number(d.value) for d in found.distances]
    true = [row[-1] for row in sections["proportions"].grids[0].rows]
    assert true == ["33.3"] * 3
    assert found.confusion is not None
    assert sections["evaluated"].grids[0].rows[0][1] == page.share(found.confusion.accuracy)


def test_two_bare_arrays_have_a_short_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "to_png", lambda drawn: b"a picture")
    rng = np.random.default_rng(0)
    found = lb.diagnose(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    assert [section.id for section in page.sections(found)] == ["tests", "distances", "rows", "where"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.5, "−0.5"),
        (123456.0, "1.23·10⁵"),
        (1.5e-7, "1.5·10⁻⁷"),
        (float("-inf"), "−∞"),
        (float("nan"), ""),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert page.number(value) == text
