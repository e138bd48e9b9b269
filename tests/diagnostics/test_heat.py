"""The heat map: its names, and its numbers where they can be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landbridge.diagnostics.heat import heat_map


def cells(ax: object) -> dict[tuple[int, int], str]:
    return {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}  # type: ignore[attr-defined]


def test_small_matrices_show_their_numbers_in_their_cells() -> None:
    ax = heat_map(None, np.array([[90.0, 10.0, 0.0], [0.4, 99.6, 0.0]]), ["a", "b"], ["x", "y", "z"])
    assert cells(ax) == {(0, 0): "90", (1, 0): "10", (1, 1): "100"}  # (column, row); what rounds to 0 is left out
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert len(ax.figure.axes) == 1


def test_numbers_on_dark_cells_are_white() -> None:
    ax = heat_map(None, np.array([[90.0, 10.0]]), ["a"], ["x", "y"])
    assert [text.get_color() for text in ax.texts] == ["white", "#222222"]


def test_large_matrices_have_a_scale_instead() -> None:
    names = [str(i) for i in range(20)]
    ax = heat_map(None, np.eye(20) * 100, names, names)
    assert not ax.texts
    assert len(ax.figure.axes) == 2
    assert ax.figure.axes[1].get_ylabel() == "%"


@pytest.mark.parametrize(("count", "shown"), [(40, 40), (41, 21), (345, 39)])
def test_not_every_one_of_many_rows_is_named(count: int, shown: int) -> None:
    names = [str(i) for i in range(count)]
    labels = [label.get_text() for label in heat_map(None, np.eye(count), names, names).get_yticklabels()]
    assert len(labels) == shown
    assert labels == names[:: (count + 39) // 40]


def test_the_darkest_colour_is_the_top() -> None:
    ax = Figure().add_subplot()
    assert heat_map(ax, np.eye(2), ["a", "b"], ["a", "b"], top=50.0) is ax
    assert ax.images[0].get_clim() == (0, 50)


def test_long_names_stand_upright() -> None:
    ax = heat_map(None, np.eye(2), ["a", "b"], ["a long name", "b"])
    assert all(label.get_rotation() == 90 for label in ax.get_xticklabels())
    assert heat_map(None, np.eye(2), ["a", "b"], ["a", "b"]).get_xticklabels()[0].get_rotation() == 0
