"""The line that shows how training goes."""

from __future__ import annotations

import sys

import pytest
import torch

from landbridge.shared.history import History
from landbridge.shared.progress import ProgressLine


def go(show: bool | None, steps: int = 4) -> None:
    history = History(interval=2)
    with ProgressLine(steps, 0, show) as line:
        for step in range(steps):
            if history.write({"task": torch.tensor(0.125), "domain": torch.tensor(1.5)}):
                history.read()
            line.advance(step + 1, history)


def test_terms_and_steps_are_shown_on_the_error_output(capsys: pytest.CaptureFixture[str]) -> None:
    go(True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "4/4" in shown.err
    assert "task 0.125  domain 1.5" in shown.err.replace("\n", "")


@pytest.mark.parametrize(
    ("show", "terminal", "shown"), [(False, True, False), (None, False, False), (None, True, True)]
)
def test_shown_where_somebody_looks(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    show: bool | None,
    terminal: bool,
    shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    go(show)
    assert bool(capsys.readouterr().err) == shown


def test_goes_on_where_a_run_was_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine(10, 7, True) as line:
        line.advance(8, History())
    assert "8/10" in capsys.readouterr().err


def test_an_error_within_is_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="within"), ProgressLine(2, 0, True):
        raise RuntimeError("within")
