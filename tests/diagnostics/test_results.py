"""What tests and distances say of themselves, in words and as pictures."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from landbridge.diagnostics.results import Distance, TwoSampleTest


def outcome(
    statistic: float = 0.5, p_value: float = 0.0123, null: list[float] | None = None, note: str = ""
) -> TwoSampleTest:
    values = np.linspace(0, 1, 100) if null is None else np.array(null)
    return TwoSampleTest("kernel test", statistic, p_value, 40, 30, values, note)


def distance(low: float = 0.3, high: float = 0.6, **more: str) -> Distance:
    return Distance("sliced Wasserstein", 0.4, low, high, 0.95, 40, 30, **more)


@pytest.mark.parametrize(
    ("p_value", "level", "rejected"), [(0.05, 0.05, True), (0.051, 0.05, False), (0.05, 0.01, False)]
)
def test_a_test_rejects_at_its_level(p_value: float, level: float, rejected: bool) -> None:
    assert outcome(p_value=p_value).rejects(level) is rejected


def test_a_test_in_words() -> None:
    assert str(outcome()) == "kernel test: statistic 0.5, p = 0.012 (40 and 30 rows)"
    assert str(outcome(p_value=0.0004, note="linear time")).endswith("p < 0.001 (40 and 30 rows; linear time)")


def test_the_picture_of_a_test() -> None:
    ax = outcome().plot()
    assert ax.get_title(loc="left") == "kernel test: p = 0.012\nthe domains differ more than in 50% of permutations"
    assert sum(bar.get_height() for bar in ax.patches) == 100
    assert ax.lines[0].get_xdata()[0] == 0.5
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["domains permuted (100 times)", "observed"]
    assert "in any permutation" in outcome(statistic=2.0).plot().get_title(loc="left")


def test_the_picture_of_a_test_by_theory() -> None:
    ax = outcome(null=[]).plot()
    assert not ax.patches
    assert ax.get_title(loc="left") == "kernel test: p = 0.012\nby the test's own theory"


def test_the_picture_of_equal_permutations() -> None:
    assert outcome(null=[0.0] * 50).plot().get_title(loc="left")


def test_a_distance_in_words() -> None:
    text = "sliced Wasserstein: 0.4, 95% interval 0.3 to 0.6 (40 and 30 rows)"
    assert str(distance()) == text
    assert str(distance(note="64 projections")) == text[:-1] + "; 64 projections)"
    assert str(distance(np.nan, np.nan)) == "sliced Wasserstein: 0.4 (40 and 30 rows)"


def test_the_picture_of_a_distance() -> None:
    ax = distance(scale="units of the features").plot()
    assert ax.get_title(loc="left") == "sliced Wasserstein: 0.4, 95% interval 0.3 to 0.6"
    assert ax.get_xlabel() == "units of the features"
    interval, estimate = ax.lines[:2]
    assert list(interval.get_xdata()) == [0.3, 0.6]
    assert list(estimate.get_xdata()) == [0.4]
    assert ax.get_xlim()[0] <= 0
    without = distance(np.nan, np.nan).plot()
    assert list(without.lines[0].get_xdata()) == [0.4]
    assert without.get_xlabel() == "sliced Wasserstein"


def test_results_stay_as_they_are() -> None:
    with pytest.raises(FrozenInstanceError):
        outcome().p_value = 1.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        distance().value = 1.0  # type: ignore[misc]
