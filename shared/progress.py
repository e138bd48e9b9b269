"""The line that shows how training goes."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from .history import History

__all__ = ["ProgressLine"]


class ProgressLine:
    """A progress bar with loss terms and steps a second, or nothing.

    Args:
        steps: how many there are.
        first: where it starts, after a resume.
        show: None: if the error output is a terminal.
    """

    def __init__(self, steps: int, first: int, show: bool | None) -> None:
        self.steps, self.first, self.show = steps, first, sys.stderr.isatty() if show is None else show
        self._bar: Progress | None = None
        self._shown = -1

    def __enter__(self) -> ProgressLine:
        if self.show:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
                TextColumn("{task.description}"), console=Console(stderr=True),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("", total=self.steps, completed=self.first, rate="")
        return self

    def advance(self, done: int, history: History) -> None:
        """Show the steps done, and the terms where new ones have been read."""
        if self._bar is None:
            return
        blocks = done // history.interval
        if blocks != self._shown:
            self._shown = blocks
            text = "  ".join(f"{name} {value:.3g}" for name, value in history.latest().items())
            self._bar.update(self._task, description=text)
        speed = self._bar.tasks[self._task].speed
        self._bar.update(self._task, completed=done, rate=f"{speed:.1f} steps/s" if speed else "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
