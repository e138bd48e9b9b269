"""How far a long step is: bars with the time left on a terminal, else a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["bars", "duration"]

EVERY = 30.0  # seconds between two lines where the error output is no terminal


@contextmanager
def bars(totals: Mapping[str, int], show: bool | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show how far some pieces of work are, while the block runs.

    Args:
        totals: how many steps each has, by its name.
        show: bars if true, nothing if false; None: bars if the error output is a terminal, else lines on it.

    Yields:
        ``advance(name, count)``: so many steps more are done.

    >>> with bars({"decoding": 3}) as advance:  # nothing is said of what ends within half a minute
    ...     advance("decoding", 3)
    """
    if not totals or show is False:
        yield lambda name, count: None
    elif show or sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            tasks = {name: progress.add_task(name, total=total) for name, total in totals.items()}
            yield lambda name, count: progress.advance(tasks[name], count)
    else:
        yield _Lines(totals)


class _Lines:
    """Says how far all of it is, at most every half minute."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self.totals, self.done = totals, dict.fromkeys(totals, 0)
        self.began = self.said = time.monotonic()

    def __call__(self, name: str, count: int) -> None:
        self.done[name] += count
        now = time.monotonic()
        if now - self.said < EVERY:
            return
        self.said = now
        done, total = sum(self.done.values()), sum(self.totals.values())
        left = (now - self.began) / max(done, 1) * (total - done)
        print(f"{name}: {self.done[name]} of {self.totals[name]}, about {duration(left)} left", file=sys.stderr)


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(7.4), duration(125), duration(7300)
    ('7 s', '2 min 05 s', '2 h 01 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
