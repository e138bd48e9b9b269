"""Where a cell leaves its protocol: what was asked for on the command line and differs from the suite's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Cell
    from .settings import BackboneSettings, Protocol
    from .suite import Suite

__all__ = ["departures", "filled_in", "with_departures"]


def departures(
    *,
    rules: Protocol,
    usual: Protocol,
    backbone: BackboneSettings | None,
    usual_backbone: BackboneSettings | None,
    alike: bool = True,
) -> tuple[str, ...]:
    """A phrase for each setting that is not the suite's; the network's name and track stand in a title anyway.

    Args:
        rules: of the cell.
        usual: of the protocol and task, as the suite has it.
        backbone: of the cell.
        usual_backbone: the suite's; its weights as a digest.
        alike: all tasks have the same steps, so that these can be named: what leaves the protocol by the same option
            stands in one block.
    """
    found = _of_rules(rules.model_dump(), usual, alike)
    if backbone is None or usual_backbone is None:
        return tuple(found)
    if backbone.weights != usual_backbone.weights:
        found.append({"none": "no pretrained weights"}.get(backbone.weights, f"weights {_short(backbone.weights)}"))
    if backbone.normalise != usual_backbone.normalise:
        found.append(f"normalise {backbone.normalise}")
    if backbone.side not in (None, usual_backbone.side):
        found.append(f"{backbone.side} pixels")
    if backbone.ten_crops != usual_backbone.ten_crops:
        found.append("ten crops" if backbone.ten_crops else "one crop")
    return tuple(found)


def _short(weights: str) -> str:
    return weights[:8] if len(weights) == 64 else weights  # a file's sha256


def with_departures(protocol: str, settings: Mapping[str, Any]) -> str:
    """A protocol's id, and where the settings of a cell leave it.

    >>> with_departures("digits/small/inductive", {"departs": ["50 steps instead of 1500"]})
    'digits/small/inductive with 50 steps instead of 1500'
    """
    departs = settings.get("departs")
    if not isinstance(departs, (list, tuple)) or not departs:
        return protocol
    *most, final = map(str, departs)
    return f"{protocol} with {', '.join(most)} and {final}" if most else f"{protocol} with {final}"


def filled_in(cells: Iterable[Cell], suites: Iterable[Suite]) -> list[Cell]:
    """Cells that were made before departures were recorded, with those that their settings tell, if the suite is known.

    Steps and checkpoints alone are compared: how a backbone differs does not change what its cells are called.
    """
    by_name = {suite.name: suite for suite in suites}
    found = []
    for cell in cells:
        rules, suite = cell.settings.get("rules"), by_name.get(cell.suite)
        if "departs" not in cell.settings and isinstance(rules, Mapping) and suite is not None:
            named = [name for name in suite.protocols if suite.protocol_id(name) == cell.protocol]
            if named and cell.task in suite.tasks and not _classical(cell):
                usual = suite.usual_rules(named[0], cell.task, frozen=cell.track == "frozen")
                departs = _of_rules(rules, usual, suite.alike(named[0]))
                cell = cell.model_copy(update={"settings": {**cell.settings, "departs": departs}})
        found.append(cell)
    return found


def _of_rules(rules: Mapping[str, Any], usual: Protocol, alike: bool) -> list[str]:
    found = []
    for name in ("steps", "checkpoints"):
        value, expected = rules.get(name), getattr(usual, name)
        if value not in (None, expected):
            instead = f" instead of {expected}" if alike or name == "checkpoints" else ""
            found.append(f"{value} {name}{instead}")
    return found


def _classical(cell: Cell) -> bool:
    """Nothing is trained in steps."""
    adaptation = cell.settings.get("adaptation")
    return isinstance(adaptation, Mapping) and bool(adaptation.get("classifier"))
