"""Curves: what is a loss, what an accuracy, and the means drawn of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from landbridge.diagnostics.curves import curves
from landbridge.shared.history import History


def history(steps: int = 5) -> History:
    made = History(interval=3)
    for step in range(steps):
        made.write(
            {
                "task": torch.tensor(1.0 / (step + 1)),
                "dann/domain": torch.tensor(0.7),
                "dann/accuracy": torch.tensor(0.9),
            }
        )
        if made._pending == made.interval:
            made.read()
    return made


@pytest.mark.parametrize("wrap", [lambda h: h, lambda h: SimpleNamespace(history=h)])
def test_a_history_or_the_result_that_holds_it(wrap: Any) -> None:
    found = curves(wrap(history()))
    assert list(found.losses) == ["task", "dann/domain"]
    assert list(found.accuracies) == ["dann/accuracy"]
    assert found.steps == 5
    np.testing.assert_allclose(found.losses["task"], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rtol=1e-6)


def test_a_mapping_of_whatever_holds_numbers() -> None:
    found = curves({"task": [2, 1], "accuracy": torch.tensor([0.5, 0.25], requires_grad=True)})
    assert found.losses["task"].tolist() == [2, 1]
    assert found.accuracies["accuracy"].tolist() == [0.5, 0.25]


def lines(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_a_short_training_is_drawn_step_by_step() -> None:
    ax = curves(history()).plot()
    drawn = lines(ax)
    assert list(drawn) == ["task", "dann/domain"]
    np.testing.assert_allclose(drawn["task"].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(drawn["task"].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rtol=1e-6)
    assert ax.get_xlabel() == "step"
    assert ax.get_ylabel() == "loss"
    assert len(ax.lines) == 2


def test_of_a_long_training_means_are_drawn_over_the_faint_steps() -> None:
    values = np.arange(1000.0)
    ax = curves({"task": values}).plot()
    mean = lines(ax)["task"]
    np.testing.assert_allclose(mean.get_ydata(), values.reshape(100, 10).mean(1))
    np.testing.assert_allclose(mean.get_xdata(), (values + 1).reshape(100, 10).mean(1))
    faint = next(line for line in ax.lines if line is not mean)
    assert len(faint.get_ydata()) == 1000
    assert faint.get_alpha() < 0.5


def test_steps_that_do_not_divide_are_all_in_some_mean() -> None:
    values = np.random.default_rng(0).random(257)
    mean = lines(curves({"task": values}).plot())["task"]
    parts = np.array_split(values, 128)
    np.testing.assert_allclose(mean.get_ydata(), [part.mean() for part in parts])
    np.testing.assert_allclose(mean.get_xdata(), [part.mean() for part in np.array_split(np.arange(1, 258), 128)])


def test_the_accuracy_has_a_picture_of_its_own() -> None:
    found = curves(history())
    ax = found.plot_accuracy()
    assert list(lines(ax)) == ["cannot tell apart", "dann/accuracy"]
    assert list(lines(ax)["cannot tell apart"].get_ydata()) == [0.5, 0.5]
    assert ax.get_ylim()[0] == 0
    assert [a.get_ylabel() for a in found.figure().axes] == ["loss", "accuracy"]


def test_without_an_accuracy_there_is_one_panel_and_a_sentence() -> None:
    found = curves({"task": [1.0, 2.0], "mmd": [0.1, 0.2]})
    assert len(found.figure().axes) == 1
    with pytest.raises(ValueError, match="a term whose name ends in 'accuracy'; the history holds task, mmd"):
        found.plot_accuracy()


@pytest.mark.parametrize(("last", "scale"), [(0.001, "log"), (0.5, "linear"), (0.0, "linear"), (-1.0, "linear")])
def test_losses_of_many_orders_are_drawn_on_a_logarithmic_axis(last: float, scale: str) -> None:
    ax = curves({"task": [2.0, 1.0, last]}).plot()
    assert ax.get_yscale() == scale
    assert ax.get_ylabel() == ("loss (log scale)" if scale == "log" else "loss")


def test_the_legend_of_many_terms_stands_outside() -> None:
    ax = curves({f"term {i}": [1.0, 2.0] for i in range(6)}).plot()
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x0 > ax.get_window_extent().x1 - 1
    inside = curves({"task": [1.0, 2.0]}).plot()
    inside.figure.draw_without_rendering()
    assert inside.get_legend().get_window_extent().x1 <= inside.get_window_extent().x1 + 1


def test_one_step_is_drawn() -> None:
    assert lines(curves({"task": [1.0]}).plot())["task"].get_ydata().tolist() == [1.0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0, 2.0], TypeError, "curves needs a History, a FitResult or a mapping .* got list"),
        (History(), ValueError, "the history is empty. A loaded network has none"),
        ({"task": []}, ValueError, "the history is empty"),
        ({"task": [1.0], "mmd": [1.0, 2.0]}, ValueError, "terms of one length; got {'task': 1, 'mmd': 2}"),
        ({"task": [[1.0]]}, ValueError, r"one value a step, \(steps,\); got shape \(1, 1\)"),
    ],
)
def test_what_does_not_fit(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        curves(given)
