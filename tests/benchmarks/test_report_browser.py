"""The results page in a headless Chromium, by Playwright.

The browser is the one that LANDBRIDGE_CHROMIUM names, else ``chromium`` (or Chrome) on the path, else Playwright's own.
Without Playwright or a browser these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_report import METHODS, folder_of, made_folder

from landbridge.benchmarks import selection
from landbridge.benchmarks.report import write_report
from landbridge.benchmarks.report_data import confusion
from landbridge.benchmarks.results import Selection

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'landbridge[browser]')")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def browser_path(own):
    """Which browser is used; None if there is none."""
    asked = os.environ.get("LANDBRIDGE_CHROMIUM")
    if asked:
        assert Path(asked).exists(), f"LANDBRIDGE_CHROMIUM={asked} is not there"
        return asked
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or (own if Path(own).exists() else None)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        path = browser_path(driver.chromium.executable_path)
        if path is None:
            pytest.skip("needs Chromium: install it, run `playwright install chromium`, or set LANDBRIDGE_CHROMIUM")
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium has no sandbox for root
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of 4 methods x 2 tasks x 2 seeds."""
    folder = tmp_path_factory.mktemp("page")
    cells = made_folder(folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "selections", upside_down)
        return write_report(folder / "runs", folder / "page.html"), cells


def upside_down(out, cells, names=None, *, also=()):
    """A made-up choice that turns the order of the methods round, so that sorting by it shows."""
    return {
        c.identity: {"information-maximisation": Selection(c.checkpoints[0].step, SCORES["chosen"](c))} for c in cells
    }


@pytest.fixture
def show(browser, made):
    """Open the page; at the end nothing may have been complained of or fetched."""
    contexts, wrong = [], []

    def opened(page=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        contexts.append(context)
        tab = context.new_page()
        path = page or made[0]
        tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append(f"alert {dialog.message}") or dialog.dismiss())
        tab.on("request", lambda r: wrong.append(r.url) if r.url not in (path.as_uri(), "data:,") else None)
        tab.goto(path.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def shown(tab, method, place=1):
    """The numbers that are to be seen in a row's cell, without what stands below them."""
    return tab.evaluate(
        """([method, place]) => {
            const row = [...document.querySelectorAll(".accuracy tbody tr:first-child")]
                .find((row) => row.cells[0].textContent === method);
            return [...row.cells[place].querySelectorAll(".c")].filter((c) => c.checkVisibility())
                .map((c) => Number(c.firstChild.textContent));
        }""",
        [method.upper(), place],
    )


def order(tab):
    return [row.split("\n")[0].lower() for row in tab.locator(".accuracy tbody tr:first-child > th").all_inner_texts()]


def mean(cells, method, task, score):
    values = [100 * score(cell) for cell in cells if (cell.method, cell.task) == (method, task)]
    return sum(values) / len(values)


SCORES = {
    "last": lambda cell: cell.checkpoints[-1].target_eval,
    "chosen": lambda cell: 1 - cell.checkpoints[0].target_eval,
    "oracle": lambda cell: max(checkpoint.target_eval for checkpoint in cell.checkpoints),
}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_switch_shows_one_of_the_three_columns(show, made, scripts):
    tab = show(java_script_enabled=scripts)
    wanted = {name: mean(made[1], "dann", "mnist->usps", score) for name, score in SCORES.items()}
    if not scripts:  # the page is asked by evaluating, which needs them; so by what is to be seen
        cell = tab.locator(".accuracy tbody").nth(1).locator("td").first
        for name in SCORES:
            tab.locator(f".switch [value={name}]").check(force=True)
            assert cell.inner_text().startswith(f"{wanted[name]:.1f}")
        return
    for name in SCORES:
        tab.locator(f".switch [value={name}]").check(force=True)
        assert shown(tab, "dann") == [pytest.approx(wanted[name], abs=0.051)]
    assert "not attainable" in tab.locator("caption").first.inner_text()
    tab.locator(".switch [value=all]").check(force=True)
    assert shown(tab, "dann") == pytest.approx(list(wanted.values()), abs=0.051)


def test_a_table_is_sorted_by_its_heads(show, made):
    tab = show()
    before = order(tab)
    assert before == list(METHODS)
    head = tab.locator(".accuracy thead th").nth(1)
    by_score = sorted(METHODS, key=lambda method: mean(made[1], method, "mnist->usps", SCORES["last"]))
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert order(tab) == by_score[::-1]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert order(tab) == by_score
    head.locator("button").press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert order(tab) == before
    name = tab.locator(".accuracy thead th").first
    name.locator("button").click()
    assert order(tab) == sorted(METHODS)
    head.locator("button").click()
    assert name.get_attribute("aria-sort") == "none", "one head at a time"


def test_the_switch_sorts_anew_and_published_rows_go_with_their_method(show, made):
    tab = show()
    tab.locator(".accuracy thead button").nth(2).click()
    tab.locator(".switch [value=chosen]").check(force=True)
    by_score = sorted(METHODS, key=lambda method: mean(made[1], method, "usps->mnist", SCORES["chosen"]))
    assert order(tab) == by_score[::-1] != list(METHODS)[::-1]
    bodies = tab.locator(".accuracy tbody")
    for i in range(bodies.count()):
        lines = bodies.nth(i).locator("tr")
        assert lines.first.get_attribute("class") is None
        if lines.first.locator("th").inner_text().lower() in ("source-only", "dann"):
            assert "published" in (lines.nth(1).get_attribute("class") or "")


def test_blank_cells_stay_below_whichever_way_a_table_is_sorted(show):
    tab = show()
    button = tab.locator(".accuracy thead button", has_text="rank")
    for _ in range(2):
        button.click()
        assert order(tab)[-1] == "train-on-target"


def test_the_whole_page_can_be_used_by_keyboard(show):
    tab = show()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(75):
        tab.keyboard.press("Tab")
        names, outlined = tab.evaluate(
            """() => { const a = document.activeElement;
                const near = [a, a.nextElementSibling, a.parentElement.querySelector("span")].filter(Boolean);
                const outlined = near.some((e) => getComputedStyle(e).outlineStyle !== "none");
                return [[a.tagName, a.className], outlined || a === document.body]; }"""
        )
        reached |= set(names)
        assert outlined, f"nothing shows the focus on {names}"
    assert {"A", "INPUT", "BUTTON", "SUMMARY", "hover", "draw", "scroll"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_switched(show, scheme):
    tab = show(color_scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    colours = {}
    for name in ("auto", "light", "dark"):
        tab.locator(f"#theme-{name}").check(force=True)
        colours[name] = tab.evaluate(ground)
    assert colours["auto"] == colours[scheme]
    assert colours["light"] != colours["dark"]
    assert tab.evaluate("document.cookie") == ""


@pytest.mark.parametrize("width", [400, 800, 1400])
def test_nothing_sticks_out_of_the_window(show, width):
    tab = show(viewport={"width": width, "height": 800})
    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for name in (*SCORES, "all"):
        tab.locator(f".switch [value={name}]").check(force=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_curve_tells_its_numbers_under_the_pointer_and_by_the_arrows(show, made):
    tab = show()
    host = tab.locator(".hover").first
    host.scroll_into_view_if_needed()
    box = host.bounding_box()
    tab.mouse.move(box["x"] + 0.97 * box["width"], box["y"] + 3)
    tip = tab.locator("#tip")
    assert tip.is_visible()
    assert "step 300" in tip.inner_text()
    rows = {row[1].lower(): row[2:] for row in tip.locator("tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )}  # fmt: skip
    for method in METHODS:
        scores = [100 * SCORES["last"](cell) for cell in made[1] if (cell.method, cell.task) == (method, "mnist->usps")]
        assert float(rows[method][0]) == pytest.approx(sum(scores) / 2, abs=0.051)
        assert rows[method][1] in ("", f"{min(scores):.1f} to {max(scores):.1f}")
    tab.mouse.move(2, 2)
    assert not tip.is_visible()
    tab.locator(".legend .marks input").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Home")
    assert "step 100" in tip.inner_text()
    tab.wait_for_timeout(400)  # the page scrolls to what has the focus
    assert tip.is_visible()
    tab.keyboard.press("ArrowRight")
    assert "step 200" in tip.inner_text()
    tab.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_mark_has_its_own_tooltip_and_can_be_hidden(show):
    tab = show()
    mark = tab.locator(".hover .mark.chosen").last
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    assert "chosen by information-maximisation" in tab.locator("#tip").inner_text()
    tab.locator(".legend [value=marks]").uncheck(force=True)
    assert not mark.is_visible()


def test_a_method_can_be_taken_out_of_the_curves(show):
    tab = show()
    line = tab.locator('.hover .line[data-place="1"] .mean').first
    assert line.is_visible()
    tab.locator('.legend [value="1"]').uncheck(force=True)
    assert not line.is_visible()
    assert tab.locator('.hover .line[data-place="2"] .mean').first.is_visible()
    tab.locator('.legend [value="1"]').check(force=True)
    assert line.is_visible()


def test_a_matrix_is_drawn_and_enlarged_with_its_counts(show, made):
    tab = show()
    buttons = tab.locator(".matrices").first.locator(".draw")
    assert buttons.count() == len(METHODS)
    assert tab.locator(".matrices").nth(1).locator("svg").count() == 0, "drawn when it is opened"
    buttons.nth(1).focus()
    tab.keyboard.press("Enter")
    dialog = tab.locator("#enlarged")
    assert dialog.is_visible()
    assert dialog.locator("h3").inner_text() == "DANN on mnist → usps"
    drawn = np.zeros((4, 4), int)
    for x, y, count in dialog.locator("svg text.labels:not(.axis)").evaluate_all(
        "texts => texts.map((t) => [Number(t.getAttribute('x')), Number(t.getAttribute('y')), Number(t.textContent)])"
    ):
        drawn[int(y / 150), int(x / 150)] = count
    cells = [cell for cell in made[1] if (cell.method, cell.task) == ("dann", "mnist->usps")]
    folders = {cell.identity: folder_of(made[0].parent / "runs", cell) for cell in cells}
    assert (drawn == confusion(cells, folders).counts).all()
    box = dialog.locator("svg .frame").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 8, box["y"] + box["height"] / 8)
    assert "0, recognised:" in tab.locator("#tip").inner_text()
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert tab.evaluate("document.activeElement.className") == "draw", "back where one was"
    tab.locator(".matrices summary").nth(1).click()
    tab.locator(".matrices").nth(1).locator("svg").last.wait_for()  # what opens tells of it a moment later
    assert tab.locator(".matrices").nth(1).locator("svg").count() == len(METHODS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_count_can_be_read_on_every_shade(show, scheme):
    tab = show(color_scheme=scheme)
    found = tab.evaluate(
        """() => {
            const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const svg = document.body.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
            const luminance = (kind) => {
                const node = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
                node.setAttribute("class", kind);
                canvas.fillStyle = getComputedStyle(node).fill;
                canvas.fillRect(0, 0, 1, 1);
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((c) => c / 255)
                    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            return ["d", "e"].flatMap((hue) => [0, 1, 2, 3, 4, 5, 6, 7].map((i) => {
                const [low, high] = [luminance(hue + i), luminance("labels on-" + i)].sort((a, b) => a - b);
                return [hue + i, (high + 0.05) / (low + 0.05)];
            }));
        }"""
    )
    assert len(found) == 16
    assert not [(shade, ratio) for shade, ratio in found if ratio < 4.5]


def test_on_paper_there_are_no_switches_and_it_is_light(show):
    tab = show(color_scheme="dark")
    tab.emulate_media(media="print")
    for name in (".switch", ".theme", "nav"):
        assert not tab.locator(name).first.is_visible()
    assert tab.locator(".accuracy").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_label_that_is_a_script_stays_a_label(show, tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "selections", upside_down)
    settings = {EVIL: EVIL, "classes": [EVIL, "b", "c", "d"]}
    made_folder(tmp_path / "runs", methods=["dann"], label=EVIL, settings=settings, environment={"torch": EVIL})
    tab = show(write_report(tmp_path / "runs", tmp_path / "page.html"))
    assert tab.locator(".accuracy tbody th").first.inner_text() == EVIL
    tab.locator(".draw").first.click()
    assert EVIL in tab.locator("#enlarged h3").inner_text()
    box = tab.locator("#enlarged .frame").bounding_box()
    tab.mouse.move(box["x"] + 20, box["y"] + 20)
    assert EVIL in tab.locator("#tip").inner_text()
    tab.keyboard.press("Escape")
    tab.locator(".hover").first.hover(position={"x": 200, "y": 3})
    assert EVIL in tab.locator("#tip").inner_text()
    assert tab.locator("img").count() == 0
