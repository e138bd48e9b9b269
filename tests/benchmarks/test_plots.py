"""The picture: what is drawn where, and that nothing lies on anything else."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from made_cells import BIG, TWELVE, made_big, made_cell, made_classical, made_published, made_selections
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from landbridge.benchmarks.plots import DPI, draw, to_png
from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import summarise

TASKS = ("mnist->usps", "usps->mnist", "svhn->mnist", "mnist->mnist-m", "syn->svhn", "mnist-m->svhn")
OTHERS = tuple(f"method-{i}" for i in range(8))


def made_table(tasks, methods, seeds=(0, 1), *, chosen=False, **changes):
    cells = [
        made_cell(method, task, seed, (0.5 + 0.03 * place + 0.02 * seed, 0.48 + 0.03 * place + 0.02 * seed), **changes)
        for place, method in enumerate(methods)
        for task in tasks
        for seed in seeds
    ]
    published = [made_published(), made_published(protocol="digits/full/inductive", values={"mnist->usps": 60.0})]
    return summarise(cells, published=published, tasks=tasks, selections=made_selections(cells) if chosen else None)


def panels(figure):
    return {axes.get_title().split("\n")[0].replace(" → ", "->"): axes for axes in figure.axes}


def points(axes, marker):
    return [
        (float(np.ravel(line.get_xdata())[0]), float(np.ravel(line.get_ydata())[0]), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() == marker
    ]


def test_what_is_drawn():
    figure = draw(made_table(TASKS[:2], ("source-only", "dann", "train-on-target"), chosen=True))
    axes = panels(figure)["mnist->usps"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["SOURCE-ONLY", "DANN", "TRAIN-ON-TARGET"]
    dots = points(axes, "o")
    last = [x for x, _, fill in dots if fill != "white"]
    oracle = [x for x, _, fill in dots if fill == "white"]
    assert last == pytest.approx([49.0, 52.0, 55.0])
    assert oracle == pytest.approx([51.0, 54.0, 57.0])
    bars = [segment[:, 0] for bar in axes.containers for segment in bar[2][0].get_segments()]
    half = 12.706204736  # Student's t of two seeds, two points apart
    assert [(bar[1] - bar[0]) / 2 for bar in bars] == pytest.approx([half, half, half])
    choices = points(axes, "^")
    assert [x for x, _, _ in choices] == pytest.approx([51.0, 54.0, 57.0])
    assert {round(y) for _, y, _ in choices} == {0, 1, 2}
    lines = {line.get_linestyle(): line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1}
    assert lines["--"] == pytest.approx(49.0)
    assert lines["-"] == pytest.approx(55.0)
    diamonds = points(axes, "D")
    assert [(x, fill == "white") for x, _, fill in diamonds] == [(77.1, False), (60.0, True)]
    assert {round(y) for _, y, _ in diamonds} == {1}
    assert [text.get_text() for text in axes.texts] == ["49.0", "52.0", "55.0"]
    top, bottom = sorted(axes.get_ylim())
    assert top < 0 < 2 < bottom
    assert axes.yaxis_inverted()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "last, mean and 95% interval",
        "chosen:information-maximisation",
        "oracle (chosen by target labels)",
        "source-only",
        "train-on-target",
        "published",
        "published, not comparable (†)",
    ]


def test_one_seed_and_missing_cells():
    table = summarise([made_cell("dann", TASKS[0]), made_cell("dan", TASKS[1])])
    figure = draw(table)
    assert len(points(panels(figure)[TASKS[0]], "o")) == 2
    assert figure.legends[0].get_texts()[0].get_text() == "last, one seed"
    assert len(figure.legends[0].get_texts()) == 2


def test_negative_transfer_and_collapsed_choices_stand_out():
    cells = made_big(("source-only", "deepcoral", "mcc"))
    chosen = made_selections(cells)
    chosen[cells[0].identity]["information-maximisation"] = Selection(100, 0.6, collapsed=True)
    table = summarise(cells, tasks=TWELVE, order=list(BIG), selections=chosen)
    figure = draw(table)
    deepcoral = table.blocks[0].rows[1]
    for task, axes in panels(figure).items():
        number = deepcoral.numbers["last"][task]
        text = axes.texts[1]
        assert text.get_text() == f"{number.mean:.1f}" + ("↓" if number.negative else "")
        assert (text.get_color() != axes.texts[0].get_color()) == number.negative
        hollow = [fill == "white" for _, _, fill in points(axes, "^")]
        assert hollow == [task == cells[0].task, False, False]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "negative transfer" in names
    assert "chosen, but collapsed (‡ in the table)" in names


def test_single_checkpoints_have_one_marker():
    table = summarise([made_classical("raw", estimator="none"), made_classical("coral", scores=(0.6,))])
    figure = draw(table)
    (axes,) = figure.axes
    assert [fill == "white" for _, _, fill in points(axes, "o")] == [False, False]
    assert [line.get_linestyle() for line in axes.lines if len(set(line.get_xdata())) == 1].count("--") == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["last, one seed", "the same classifier without adaptation"]


def test_the_axis_ends_with_the_percents():
    (axes,) = draw(summarise([made_cell(scores=(1.0,)), made_cell("dan", scores=(0.0,))])).axes
    assert axes.get_xlim() == (-1, 101)


MANY = ("source-only", *OTHERS, "train-on-target")


@pytest.mark.parametrize(
    ("count", "methods"), [(1, ("dann",)), (1, MANY), (2, ("dann",)), (4, MANY), (6, ("dann",)), (12, MANY[-3:])]
)
def test_no_labels_overlap(count, methods):
    tasks = TASKS[:count] if count <= len(TASKS) else TWELVE
    figure = draw(made_table(tasks, methods, chosen=True))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert len(figure.axes) == count
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == {1: 1, 2: 2, 4: 2, 6: 3, 12: 4}[count]
    texts = [figure.legends[0], *([figure._suptitle] if figure._suptitle else [])]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, *axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels()]
        inside = axes.get_xlim()
        texts = [text for text in texts if not _outside(text, axes, inside)]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    width, height = canvas.get_width_height()
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        for other in boxes[:i]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0 or along <= 0


def _outside(text, axes, limits):
    """Tick labels past the ends of the axis exist but are not drawn."""
    if text not in axes.get_xticklabels():
        return False
    return not limits[0] <= text.get_position()[0] <= limits[1]


def test_blocks_have_panels_of_their_own():
    cells = [
        made_cell(task=task, protocol=f"digits/{size}/inductive") for task in TASKS[:2] for size in ("full", "small")
    ]
    figure = draw(summarise(cells))
    assert [axes.get_title().split("\n")[1] for axes in figure.axes] == [
        *["digits/full/inductive"] * 2,
        *["digits/small/inductive"] * 2,
    ]


def test_the_file_opens_and_has_the_size_of_the_figure():
    table = made_table(TASKS[:3], ("source-only", "dann", "train-on-target"))
    data = to_png(table)
    image = imread(io.BytesIO(data))
    width, height = draw(table).get_size_inches()
    assert image.shape[1] == pytest.approx(DPI * width, abs=1)
    assert image.shape[0] == pytest.approx(DPI * height, abs=1)
    assert image.shape[1] > 3 * 3 * DPI
    assert (image[:2, :, :3] == 1).all()  # light, and nothing cut off at the edge
    assert image.std() > 0.05
    assert to_png(table) == data


def test_long_names_do_not_eat_the_panels():
    figure = draw(made_table(TASKS[:3], ("a method with a really long name, of forty-six",)))
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        assert axes.get_position().width * figure.get_size_inches()[0] > 2


def test_the_users_settings_are_left_alone():
    before = dict(mpl.rcParams)
    to_png(made_table(TASKS[:1], ("dann",)))
    assert dict(mpl.rcParams) == before
