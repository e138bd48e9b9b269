"""Results: one finished cell as a file, and a folder of them read back.

A finished cell is a folder ``OUT/cells/mnist-to-usps/dann/seed-0-1a2b3c4d/`` that holds ``result.json``. Folders whose
name starts with a dot are unfinished work and are passed over.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from ..shared.files import write_atomically
from .departures import with_departures

__all__ = [
    "SCHEMA",
    "Cell",
    "Checkpoint",
    "Selection",
    "asked_for",
    "cell_folder",
    "folders_of",
    "newest",
    "read_cells",
    "read_folder",
    "write_result",
]

SCHEMA: Final = 1
RESULT = "result.json"
RERUN = "Delete its folder and run the benchmark again to fill the cell."

Words = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Checkpoint(BaseModel):
    """One evaluation during training: accuracies as fractions of the rows scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Annotated[int, Field(ge=0)]
    target_eval: Fraction
    source_holdout: Fraction | None = None


class Selection(NamedTuple):
    """The checkpoint of a cell that a label-free validator chooses, and what it then scores.

    Attributes:
        step: the checkpoint's.
        accuracy: on the target, a fraction of the rows scored.
        collapsed: the predictions at the checkpoint have collapsed into few classes; chosen for want of a better one.
    """

    step: int
    accuracy: float
    collapsed: bool = False


class Cell(BaseModel):
    """One finished cell: task x method x seed under one protocol, with its scores and what they were made with.

    Accuracies are fractions; tables turn them into percent. ``schema`` is filled in and is this file's ``SCHEMA``.

    Attributes:
        identity: sha256 of the resolved settings, the data, the schema and the method file's version, 64 hex digits.
        settings: the resolved settings, nested.
        n: how many target rows are scored.
        checkpoints: in the order of their steps, at least one; the last one is the end of training.
        seconds: what the cell took.
        peak_memory: the most it held at once, in MiB: of the process, or of the GPU's memory; None where not measured.
        finished: when it was done, with its time zone.
        environment: versions, threads and device; ``torch``, ``threads`` and ``device`` are compared in tables.

    Raises:
        pydantic.ValidationError: (a ValueError) for a missing or unknown field, an accuracy outside 0 to 1, no
            checkpoint, steps that do not grow, or a time without zone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = Field(SCHEMA, alias="schema")
    suite: Words
    protocol: Words
    network: Words
    track: Words
    task: Words
    method: Words
    label: Words
    seed: Annotated[int, Field(ge=0)]
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    settings: dict[str, Any]
    n: Annotated[int, Field(ge=1)]
    checkpoints: Annotated[list[Checkpoint], Field(min_length=1)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    peak_memory: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    finished: AwareDatetime
    environment: dict[str, Any]

    @field_validator("checkpoints")
    @classmethod
    def _steps_grow(cls, value: list[Checkpoint]) -> list[Checkpoint]:
        steps = [checkpoint.step for checkpoint in value]
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise ValueError(f"checkpoints need growing steps; got {steps}")
        return value

    @field_serializer("finished")
    def _with_offset(self, value: datetime) -> str:
        return value.isoformat()  # +00:00, which Python 3.10 reads too; pydantic's own Z it does not

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What one block of a table has in common: suite, protocol and where it is left, network, track."""
        return (self.suite, with_departures(self.protocol, self.settings), self.network, self.track)

    @property
    def key(self) -> tuple[str, str, str, str, str, str, int]:
        """The place of the cell in its table; two cells of one key differ in their settings."""
        return (*self.group, self.task, self.method, self.seed)

    @property
    def last(self) -> float:
        """Target accuracy at the end of training."""
        return self.checkpoints[-1].target_eval

    @property
    def oracle(self) -> float:
        """The largest target accuracy over the checkpoints: chosen by target labels, so not attainable."""
        return max(checkpoint.target_eval for checkpoint in self.checkpoints)


def cell_folder(out: Path, *, task: str, method: str, seed: int, identity: str) -> Path:
    """Where a finished cell lies under ``out``.

    >>> cell_folder(Path("runs"), task="mnist->usps", method="dann", seed=0, identity="1a2b3c4d5e").as_posix()
    'runs/cells/mnist-to-usps/dann/seed-0-1a2b3c4d'
    """
    return out / "cells" / task.replace("->", "-to-") / method / f"seed-{seed}-{identity[:8]}"


def folders_of(out: Path, cells: Iterable[Cell]) -> dict[str, Path]:
    """Where finished cells lie under ``out``, by their identities."""
    return {
        cell.identity: cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity)
        for cell in cells
    }


def write_result(folder: Path, cell: Cell) -> Path:
    """Write ``result.json`` into a cell's folder, made if missing: whole or not at all. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULT
    write_atomically(path, (cell.model_dump_json(by_alias=True, indent=2) + "\n").encode())
    return path


def read_cells(out: Path) -> list[Cell]:
    """All finished cells under ``out``, in the order of their folders; [] where there are none.

    What cannot be read is left out with a ``UserWarning`` that names the file; :func:`read_folder` hands these
    sentences over instead.
    """
    cells, problems = read_folder(out)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return cells


def read_folder(out: Path) -> tuple[list[Cell], list[str]]:
    """All finished cells under ``out``, and one sentence for each that is broken, foreign or of another schema.

    >>> read_folder(Path("no such folder"))
    ([], [])
    """
    cells: list[Cell] = []
    problems: list[str] = []
    for folder in _finished(out / "cells"):
        path = folder / RESULT
        try:
            cells.append(_read(path))
        except (OSError, ValueError) as error:
            problems.append(f"{path.relative_to(out).as_posix()} is left out: {error}")
    return cells, problems


def _finished(root: Path) -> Iterator[Path]:
    for task in _folders(root):
        for method in _folders(task):
            yield from _folders(method)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(path: Path) -> Cell:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OSError(f"it cannot be read ({error.strerror}). {RERUN}") from error
    except ValueError as error:  # broken JSON or broken UTF-8
        raise ValueError(f"it is no valid JSON ({error}). {RERUN}") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise ValueError(f"it is no result of a cell (no field 'schema'). {RERUN}")
    if data["schema"] != SCHEMA:
        raise ValueError(
            f"it has result schema {data['schema']!r} and this version reads {SCHEMA}. "
            "Re-run the benchmark to make the cell anew."
        )
    try:
        return Cell.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"its field {where!r} is wrong ({first['msg']}). {RERUN}") from error


def asked_for(cells: Iterable[Cell], identities: Collection[str]) -> list[Cell]:
    """The cells without those which stand where one of these identities stands, made with other settings."""
    cells = list(cells)
    taken = {_place(cell) for cell in cells if cell.identity in identities}
    return [cell for cell in cells if cell.identity in identities or _place(cell) not in taken]


def _place(cell: Cell) -> tuple[str, str, str, str, str, int]:
    suite, protocol, _, track = cell.group
    return (suite, protocol, track, cell.task, cell.method, cell.seed)


def newest(cells: Iterable[Cell]) -> tuple[list[Cell], int]:
    """One cell per place in the table, the one finished last; and how many older ones are left out."""
    kept: dict[tuple[str, str, str, str, str, str, int], Cell] = {}
    total = 0
    for cell in cells:
        total += 1
        rival = kept.get(cell.key)
        if rival is None or (cell.finished, cell.identity) > (rival.finished, rival.identity):
            kept[cell.key] = cell
    return [kept[key] for key in sorted(kept)], total - len(kept)
