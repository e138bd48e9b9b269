"""The look of the figures: no global state is touched, and equal figures are equal bytes."""

from __future__ import annotations

import matplotlib
from matplotlib import _pylab_helpers
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landbridge.shared.style import CLASSES, SOURCE, STYLE, TARGET, axes, panels, styled, to_png, whole_figure


def test_axes_of_the_callers_are_used() -> None:
    mine = Figure().add_subplot()
    assert axes(mine) is mine


def test_new_axes_belong_to_no_global_state() -> None:
    settings, open_figures = dict(matplotlib.rcParams), list(_pylab_helpers.Gcf.figs)
    ax = axes(size=(5.0, 2.0))
    assert tuple(ax.figure.get_size_inches()) == (5.0, 2.0)
    assert list(_pylab_helpers.Gcf.figs) == open_figures
    assert dict(matplotlib.rcParams) == settings


def test_panels_come_row_by_row_in_one_figure() -> None:
    drawn = panels(2, 3, size=(2.0, 1.0))
    assert len(drawn) == 6
    assert all(ax.figure is drawn[0].figure for ax in drawn)
    assert [ax.get_subplotspec().num1 for ax in drawn] == list(range(6))
    assert tuple(drawn[0].figure.get_size_inches()) == (6.0, 2.0)


def test_drawing_is_styled_and_the_settings_come_back() -> None:
    seen = []

    @styled
    def draw(ax: Axes, *, text: str) -> Axes:
        """Draws."""
        seen.append(matplotlib.rcParams["legend.frameon"])
        ax.set_title(text)
        return ax

    before = dict(matplotlib.rcParams)
    ax = axes()
    assert draw(ax, text="a") is ax
    assert seen == [STYLE["legend.frameon"]] == [False]
    assert dict(matplotlib.rcParams) == before
    assert draw.__doc__ == "Draws."


def test_equal_figures_are_equal_bytes() -> None:
    def picture() -> bytes:
        ax = axes()
        ax.plot([0, 1], [1, 0], color=SOURCE)
        return to_png(ax)

    assert picture() == picture()
    ax = axes()
    assert to_png(ax) == to_png(ax.figure) != picture()


def test_the_whole_figure_is_found_through_a_subfigure() -> None:
    figure = Figure()
    left, _ = figure.subfigures(1, 2)
    ax = left.add_subplot()
    assert whole_figure(ax) is figure
    assert to_png(ax) == to_png(figure)


def test_the_domains_have_the_first_two_colours_and_no_class_shares_one() -> None:
    assert CLASSES[:2] == (SOURCE, TARGET)
    assert len(set(CLASSES)) == len(CLASSES)
