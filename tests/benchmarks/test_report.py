"""The results page as text: its numbers, what it may load, what is escaped, and the errors."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import numpy as np
import pytest
from made_cells import made_cell
from made_report import METHODS, TASKS, folder_of, made_folder

from landbridge.benchmarks import selection
from landbridge.benchmarks.report import write_report
from landbridge.benchmarks.results import Selection, write_result

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """A page's elements with their attributes, and the text inside each kind that is asked for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, tag):
        return [data for inside, data in self.texts if inside == tag]

    def all(self, tag, **attributes):
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]

    @property
    def seen(self):
        return " ".join(" ".join(data for inside, data in self.texts if inside not in ("script", "style")).split())


def chosen_first(out, cells, names=None, *, also=()):
    """A validator's choice without its cost: always the first checkpoint."""
    return {
        c.identity: {"information-maximisation": Selection(c.checkpoints[0].step, c.checkpoints[0].target_eval)}
        for c in cells
    }


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(selection, "selections", chosen_first)


@pytest.fixture
def unscored(monkeypatch):
    monkeypatch.setattr(selection, "selections", lambda out, cells, names=None, *, also=(): {})


def written(tmp_path, out=None, **options):
    page = write_report(out or tmp_path / "runs", tmp_path / "page.html", **options)
    return page.read_text(encoding="utf-8")


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


# ------------------------------------------------------------------ what it shows


def test_every_number_of_the_three_columns_is_the_mean_of_its_cells(tmp_path, fast):
    cells = made_folder(tmp_path / "runs")
    text = written(tmp_path)
    for column, score in (
        ("last", lambda c: c.checkpoints[-1].target_eval),
        ("chosen", lambda c: c.checkpoints[0].target_eval),
        ("oracle", lambda c: max(k.target_eval for k in c.checkpoints)),
    ):
        shown = re.findall(rf'class="c {column}" data-v="([\d.]+)" data-tip', text)
        expected = []
        for method in METHODS:
            means = [100 * np.mean([score(c) for c in cells if (c.method, c.task) == (method, t)]) for t in TASKS]
            expected += [*means, np.mean(means)]
        assert list(map(float, shown)) == pytest.approx(expected, abs=1e-3)


def test_the_page_tells_what_it_is_of(tmp_path, fast):
    made_folder(tmp_path / "runs")
    page = Page(written(tmp_path))
    assert "16 finished cells: 4 methods on 2 tasks, seeds 0, 1." in page.seen
    for words in ("digits/small/inductive (lenet16, end-to-end)", "2026-11-20 10:00 UTC", "2.15.0", "cpu"):
        assert words in page.seen
    assert "Target labels drew these curves" in page.seen
    assert {"last iterate", "chosen by information-maximisation", "oracle", "side by side"} <= set(page.text_of("span"))
    assert "An upper limit of choosing, not a result" in page.seen


def test_tables_are_semantic_and_heads_can_be_sorted_by(tmp_path, fast):
    made_folder(tmp_path / "runs")
    text = written(tmp_path)
    page = Page(text)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    heads = page.all("th", **{"aria-sort": "none"})
    assert len(heads) == len(page.all("button", **{"data-kind": "number"})) + len(
        page.all("button", **{"data-kind": "text"})
    )
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_published_rows_stand_beside_with_their_footnotes(tmp_path, fast):
    made_folder(tmp_path / "runs")
    page = Page(written(tmp_path))
    assert "77.1" in page.seen
    assert "79.7†" in page.seen
    assert "ADDA, CVPR 2017 (read in a later work that quotes it)" in page.seen


def test_the_matrices_the_script_draws_sum_to_the_rows_scored(tmp_path, fast):
    made_folder(tmp_path / "runs", k=5, n=55, seeds=3)
    text = written(tmp_path)
    (block,) = data_of(text)["blocks"]
    assert len(block["matrices"]) == len(TASKS)
    for task in block["matrices"]:
        assert [matrix["place"] for matrix in task] == [0, 1, 2, 3]
        for matrix in task:
            assert matrix["k"] == 5
            assert sum(matrix["totals"]) == sum(matrix["cells"][1::2]) == 3 * 55
    assert text.count('class="draw"') == len(METHODS) * len(TASKS)


def test_classes_have_names_where_cells_know_them(tmp_path, fast):
    names = ["bike", "mug", "back pack", "pen"]
    made_folder(tmp_path / "runs", settings={"classes": names})
    text = written(tmp_path)
    assert data_of(text)["blocks"][0]["classes"] == names
    assert re.search(r"<li>(bike|mug|pen|back pack) as (bike|mug|pen|back pack): \d+ ", text)
    shutil.rmtree(tmp_path / "runs")
    made_folder(tmp_path / "runs")
    text = written(tmp_path)
    assert data_of(text)["blocks"][0]["classes"] == []
    assert re.search(r"<li>\d as \d: \d+ ", text)


def test_dropped_outputs_are_told_of_and_the_rest_is_there(tmp_path, unscored):
    made_folder(tmp_path / "runs", outputs=False)
    text = written(tmp_path)
    page = Page(text)
    assert page.seen.count("No matrix: the outputs of these 2 cells are not there") == 8
    assert "its outputs were dropped (--keep-outputs scores, or deleted)" in page.seen
    assert 'class="draw"' not in text
    assert 'value="chosen"' not in text, "nothing was chosen by a validator"
    assert "No column chosen:information-maximisation" in page.seen
    assert "a number comes in two ways" in page.seen


def test_outputs_that_cannot_be_read_become_a_note(tmp_path):
    (cell,) = made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1)
    for path in (folder_of(tmp_path / "runs", cell) / "outputs").iterdir():
        path.write_bytes(b"no npz")
    page = Page(written(tmp_path))
    assert "its stored outputs cannot be read" in page.seen
    notes = [text for text in page.text_of("li") if "step-000100.npz" in text]
    assert len(notes) == 1, "and a note says what the validators could not read"


def test_with_one_checkpoint_there_are_no_curves_and_no_choice(tmp_path, fast):
    made_folder(tmp_path / "runs", checkpoints=1)
    text = written(tmp_path)
    assert "Every cell has a single checkpoint" in text
    assert 'class="switch"' not in text
    assert 'class="panels"' not in text
    assert data_of(text)["blocks"][0]["panels"] == []


def test_real_validators_choose_from_the_stored_outputs(tmp_path):
    made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1)
    text = written(tmp_path, validator="entropy")
    assert "chosen by entropy" in text
    assert re.search(r'class="c chosen" data-v="[\d.]+"', text)


def test_the_newest_cell_counts_and_unreadable_ones_are_named(tmp_path, fast):
    out = tmp_path / "runs"
    (old,) = made_folder(out, methods=["dann"], tasks=["a->b"], seeds=1)
    new = made_cell("dann", "a->b", 0, (0.125, 0.25), finished=old.finished + timedelta(hours=1), seconds=1.0)
    write_result(folder_of(out, new), new)
    broken = out / "cells" / "a-to-b" / "dann" / "seed-1-deadbeef"
    broken.mkdir()
    (broken / "result.json").write_text("{")
    page = Page(written(tmp_path))
    assert "25.0" in page.seen
    assert "1 older cell with other settings left out." in page.seen
    assert "cells/a-to-b/dann/seed-1-deadbeef/result.json is left out" in page.seen


def test_several_folders_make_one_page(tmp_path, fast):
    made_folder(tmp_path / "one")
    made_folder(tmp_path / "two", suite="other", protocol="other/full", tasks=["x->y"])
    page = Page(written(tmp_path, [tmp_path / "one", tmp_path / "two"]))
    assert page.text_of("h1") == ["digits, other"]
    assert page.all("section", id="b1")
    assert page.all("section", id="b2")
    assert "24 finished cells: 4 methods on 3 tasks" in page.seen


def test_the_same_cells_make_the_same_page(tmp_path, fast):
    made_folder(tmp_path / "runs")
    assert written(tmp_path) == written(tmp_path)


# ------------------------------------------------------------------ what it may do


def test_the_page_loads_nothing_and_runs_its_own_script_only(tmp_path, fast):
    made_folder(tmp_path / "runs")
    text = written(tmp_path)
    page = Page(text)
    (policy,) = (a["content"] for a in page.all("meta", **{"http-equiv": "Content-Security-Policy"}))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        assert rules[rule] == "'sha256-" + base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode() + "'"
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}, tag
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert attributes.get(name, "#").startswith("#") or attributes[name] == "data:,"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"label": EVIL},
        {"suite": EVIL},
        {"protocol": EVIL},
        {"network": EVIL},
        {"track": EVIL},
        {"settings": {EVIL: {EVIL: [EVIL]}, "classes": [EVIL, "b", "c", "d"]}},
        {"environment": {EVIL: EVIL, "torch": EVIL, "device": {EVIL: EVIL}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_a_cell_says_is_text(tmp_path, fast, changes):
    made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1, **changes)
    page = Page(written(tmp_path))
    assert "img" not in {tag for tag, _ in page.elements}
    assert len(page.all("script")) == 2
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "alert('x')" in page.seen
    assert "{{ 7*7 }}" in page.seen


def test_a_task_or_method_name_is_text_too(tmp_path, unscored):
    cell = made_cell("<b>", "<i>->b", label="x")
    write_result(tmp_path / "runs" / "cells" / "t" / "m" / "seed-0", cell)
    page = Page(written(tmp_path))
    assert len(page.all("i")) == 16, "those of the colour scale"
    assert "<i> → b" in page.seen


def test_400_cells_stay_under_two_megabytes(tmp_path, fast):
    domains = ("amazon", "caltech10", "dslr", "webcam")
    tasks = [f"{a}->{b}" for a in domains for b in domains if a != b]
    made_folder(
        tmp_path / "runs", methods=[f"method-{i}" for i in range(11)], tasks=tasks, seeds=3, k=65, n=4000,
        checkpoints=10, keep=1, settings={"classes": [f"a class of things, number {i}" for i in range(65)]},
    )  # fmt: skip
    page = write_report(tmp_path / "runs", tmp_path / "page.html")
    assert page.stat().st_size < 2_000_000
    text = page.read_text(encoding="utf-8")
    assert "The largest entries only" in text
    assert "396 finished cells" in text


# ------------------------------------------------------------------ colours


def colours():
    from landbridge.benchmarks.report_template import TEMPLATES

    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    return {name: (light, dark) for name, light, dark in pairs}


def contrast(one, other):
    """WCAG 2.1's ratio."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_can_be_trusted():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_enough(theme):
    found = colours()
    for ground in ("paper", "raised"):
        for ink in ("ink", "muted", "link", "below"):
            assert contrast(found[ink][theme], found[ground][theme]) >= 4.5, (ink, ground)
    for i in range(7):
        assert contrast(found[f"s{i}"][theme], found["paper"][theme]) >= 3, f"s{i}"


# ------------------------------------------------------------------ errors


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere\. Pass the --out folder of a bench\."):
        write_report(tmp_path / "nowhere", tmp_path / "page.html")


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ValueError, match="needs at least one folder of finished cells; got none"):
        write_report([], tmp_path / "page.html")


def test_a_folder_without_cells_says_how_to_get_some(tmp_path):
    broken = tmp_path / "runs" / "cells" / "t" / "m" / "seed-0"
    broken.mkdir(parents=True)
    (broken / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"holds no finished cell\. Run 'landbridge bench SUITE --out .*is left out"):
        write_report(tmp_path / "runs", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_is_a_folder(tmp_path, fast):
    made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1)
    with pytest.raises(ValueError, match=r"needs a file to write; got the folder .*Pass .*page\.html"):
        write_report(tmp_path / "runs", tmp_path)


def test_a_page_that_cannot_be_written(tmp_path, fast):
    made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"page .* cannot be written \(.+\)\. Pass a file in a folder"):
        write_report(tmp_path / "runs", tmp_path / "file" / "page.html")


def test_an_unknown_validator_has_its_nearest(tmp_path, fast):
    made_folder(tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1)
    with pytest.raises(ValueError, match="unknown validator 'entropie'; did you mean 'entropy'"):
        write_report(tmp_path / "runs", tmp_path / "page.html", validator="entropie")


def test_the_page_is_made_without_torch(tmp_path):
    made_folder(
        tmp_path / "runs", methods=["dann"], tasks=["a->b"], seeds=1, finished=datetime(2026, 1, 2, tzinfo=timezone.utc)
    )
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from landbridge.benchmarks.report import write_report\n"
        f"write_report(Path({str(tmp_path / 'runs')!r}), Path({str(tmp_path / 'page.html')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert "2026-01-02" in (tmp_path / "page.html").read_text(encoding="utf-8")
