"""How far a long step is: nothing of short ones, lines where there is no terminal, bars where one is."""

from __future__ import annotations

import pytest

from landbridge.benchmarks.datasets import progress
from landbridge.benchmarks.datasets.progress import bars


class Clock:
    """Ten seconds pass whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def test_lines_every_half_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", Clock())
    with bars({"amazon": 60, "dslr": 30}) as advance:
        for _ in range(6):
            advance("amazon", 10)
        for _ in range(3):
            advance("dslr", 10)
    assert capsys.readouterr().err.splitlines() == [
        "amazon: 30 of 60, about 1 min 00 s left",  # 30 of 90 in 30 s
        "amazon: 60 of 60, about 30 s left",
        "dslr: 30 of 30, about 0 s left",
    ]


@pytest.mark.parametrize("show", [None, False])
def test_short_steps_and_those_not_to_be_shown_say_nothing(
    show: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with bars({"amazon": 3}, show) as advance:
        advance("amazon", 3)
    assert capsys.readouterr().err == ""


def test_bars_show_names_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with bars({"amazon": 3, "dslr": 5}, True) as advance:
        advance("amazon", 3)
        advance("dslr", 2)
    said = capsys.readouterr().err
    assert "amazon" in said
    assert "3/3" in said
    assert "2/5" in said
