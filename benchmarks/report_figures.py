"""The geometry of the page's curves: scales, ticks and SVG paths, rounded to a tenth of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .report_data import Curve, Point

__all__ = ["Line", "Mark", "Panel", "Plot", "overview", "single", "ticks"]


class Plot(NamedTuple):
    """A drawing's size and the margins of its plot area, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


OVERVIEW = Plot(400, 270, 36, 10, 10, 34)
SINGLE = Plot(170, 125, 24, 6, 8, 18)


class Mark(NamedTuple):
    """One marked checkpoint: its place, what it marks (``oracle`` or ``chosen``), and the sentence of its tooltip."""

    x: float
    y: float
    kind: str
    tip: str


class Line(NamedTuple):
    """One method's drawing: its place among the block's rows, path of the mean, band, paths of seeds, and marks."""

    place: int
    method: str
    label: str
    path: str
    band: str
    seeds: tuple[str, ...]
    marks: tuple[Mark, ...]


class Panel(NamedTuple):
    """A drawing with its ticks (position, text) and lines; ``hover`` is what the script needs for its tooltip."""

    plot: Plot
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    hover: dict[str, Any]


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` round numbers (1, 2 or 5 times a power of ten apart) within [low, high].

    >>> ticks(27.9, 92.0, 5)
    [40.0, 60.0, 80.0]
    """
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, final = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if final - first + 1 <= most:
            return [round(place * step, 10) for place in range(first, final + 1)]
    return [low]


def overview(curves: Sequence[tuple[int, Curve]], validator: str | None) -> Panel:
    """All methods of one task in one drawing; each curve comes with its place among the block's rows."""
    scale = _Scale(OVERVIEW, [curve for _, curve in curves], most_across=6, most_up=6)
    lines = tuple(_line(scale, place, curve, validator) for place, curve in curves)
    steps = sorted({point.step for _, curve in curves for point in curve.mean})
    hover = {
        "plot": [round(value, 1) for value in OVERVIEW],
        "range": [scale.low, scale.high],
        "steps": steps,
        "x": [scale.x(step) for step in steps],
        "lines": [[place, *_aligned(curve, steps)] for place, curve in curves],
    }
    return Panel(OVERVIEW, scale.across, scale.up, lines, hover)


def single(curves: Sequence[tuple[int, Curve]], shown: int, validator: str | None) -> Panel:
    """One method of a task by seeds, on the scale that all methods of the task share."""
    scale = _Scale(SINGLE, [curve for _, curve in curves], most_across=3, most_up=4)
    place, curve = curves[shown]
    return Panel(SINGLE, scale.across, scale.up, (_line(scale, place, curve, validator),), {})


def _aligned(curve: Curve, steps: Sequence[int]) -> list[list[float | None]]:
    """Mean, lowest and highest seed at the panel's steps; None where the curve has no such step."""
    there = [point.step for point in curve.mean]
    columns = []
    for scores in ([point.score for point in curve.mean], curve.low, curve.high):
        known = {step: round(score, 2) for step, score in zip(there, scores, strict=True)}
        columns.append([known.get(step) for step in steps])
    return columns


class _Scale:
    """From steps and percent to pixels."""

    def __init__(self, plot: Plot, curves: Sequence[Curve], *, most_across: int, most_up: int) -> None:
        points = [point for curve in curves for run in curve.runs for point in run.points]
        scores = [point.score for point in points]
        margin = max(0.04 * (max(scores) - min(scores)), 0.5)
        self.plot = plot
        self.low, self.high = round(max(0.0, min(scores) - margin), 2), round(min(100.0, max(scores) + margin), 2)
        steps = sorted({point.step for point in points})
        self.first, self.final = (steps[0], steps[-1]) if len(steps) > 1 else (steps[0] - 1, steps[0] + 1)
        named = steps if len(steps) <= most_across else ticks(self.first, self.final, most_across)
        self.across = tuple((self.x(step), _number(step)) for step in named)
        self.up = tuple((self.y(score), f"{score:g}") for score in ticks(self.low, self.high, most_up))

    def x(self, step: float) -> float:
        plot = self.plot
        share = (step - self.first) / (self.final - self.first)
        return round(plot.left + share * (plot.width - plot.left - plot.right), 1)

    def y(self, score: float) -> float:
        plot = self.plot
        share = (self.high - score) / (self.high - self.low)
        return round(plot.top + share * (plot.height - plot.top - plot.bottom), 1)

    def path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{self.x(point.step):g} {self.y(point.score):g}" for point in points) if points else ""


def _number(step: float) -> str:
    """A step, thousands set apart by a thin space."""
    return f"{step:,.0f}".replace(",", "\u2009")


def _line(scale: _Scale, place: int, curve: Curve, validator: str | None) -> Line:
    band = ""
    if len(curve.runs) > 1 and curve.mean:
        above = [Point(point.step, high) for point, high in zip(curve.mean, curve.high, strict=True)]
        below = [Point(point.step, low) for point, low in zip(curve.mean, curve.low, strict=True)]
        band = scale.path(above) + "L" + scale.path(below[::-1])[1:] + "Z"
    marks = []
    for run in curve.runs:
        marks.append(_mark(scale, run.oracle, "oracle", f"oracle: {curve.label}, seed {run.seed}"))
        if run.chosen is not None:
            after = "; predictions collapsed" if run.collapsed else ""
            marks.append(
                _mark(scale, run.chosen, "chosen", f"chosen by {validator}: {curve.label}, seed {run.seed}", after)
            )
    return Line(
        place=place,
        method=curve.method,
        label=curve.label,
        path=scale.path(curve.mean),
        band=band,
        seeds=tuple(scale.path(run.points) for run in curve.runs),
        marks=tuple(marks),
    )


def _mark(scale: _Scale, point: Point, kind: str, before: str, after: str = "") -> Mark:
    tip = f"{before}, step {_number(point.step)}: {point.score:.1f} %{after}"
    return Mark(scale.x(point.step), scale.y(point.score), kind, tip)
