"""The data sets of the suites: a task's images, drawn, split and made as a pure function of names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from ...shared.names import nearest
from .base import DataError, Split, Status, TaskData

__all__ = ["DATASETS", "DESCRIBED", "DataError", "Split", "Status", "TaskData", "get", "load_task", "status"]

DATASETS = ("digits", "optdigits")
DESCRIBED = ("folders", "features", "arrays")  # by a table of the suite file: see .folders, .features and .arrays
_NOTHING: Mapping[str, int] = {}


def load_task(
    dataset: str,
    task: str,
    *,
    size: int,
    channels: int,
    draw: Mapping[str, int] = _NOTHING,
    source_holdout: float = 0.1,
    scored: str = "inductive",
    data: Path | None = None,
) -> TaskData:
    """The images of one task, as a benchmark cell sees them.

    Rows are drawn, and the source's hold-out is set aside, by sha256 of the domain's name and the row number: the same
    rows on every machine and with every version of numpy. Nothing is downloaded; :func:`get` does that.

    Args:
        dataset: ``"optdigits"`` (inside scikit-learn) or ``"digits"`` (files under ``data``).
        task: source and target, as in ``"mnist->usps"``.
        size: height and width of the images: 16 for optdigits; 16, 28 or 32 for digits.
        channels: 1 for grey, 3 for RGB.
        draw: how many rows of a domain's training split are used, as in ``{"mnist": 2000}``; all where not named.
        source_holdout: share of the drawn source rows that is held out of training, in [0, 1); 0: no hold-out.
        scored: ``"inductive"``: scored on other target rows than those adapted to; ``"transductive"``: on the same.
        data: the data folder; not needed for optdigits.

    Returns:
        Four splits of uint8 images (n, channels, size, size), the class names, and a checksum of all of it.

    Raises:
        ValueError: for an unknown data set, task or domain, a size, number of channels or share that cannot be.
        DataError: a ValueError, for files that are missing, damaged, or hold another number of images than published.

    >>> task = load_task("optdigits", "clean->noisy", size=16, channels=1)
    >>> task.source_train.inputs.shape, task.target_eval.inputs.shape
    ((647, 1, 16, 16), (359, 1, 16, 16))
    """
    module = _module("load_task", dataset)
    if task not in module.TASKS:
        raise ValueError(f"load_task({dataset!r}): " + nearest("task", task, module.TASKS))
    if size not in module.SIZES:
        sizes = ", ".join(map(str, module.SIZES))
        raise ValueError(f"load_task({dataset!r}) needs size as one of {sizes}; got {size!r}.")
    if channels not in (1, 3):
        raise ValueError(f"load_task({dataset!r}) needs channels=1 (grey) or channels=3 (RGB); got {channels!r}.")
    if scored not in ("inductive", "transductive"):
        raise ValueError(f"load_task({dataset!r}), scored: " + nearest("word", scored, ["inductive", "transductive"]))
    if not 0 <= source_holdout < 1:
        raise ValueError(
            f"load_task({dataset!r}) needs source_holdout as a share of the source rows in [0, 1); "
            f"got {source_holdout}. 0 switches the hold-out off."
        )
    for domain, count in draw.items():
        if domain not in module.DOMAINS:
            raise ValueError(f"load_task({dataset!r}), draw: " + nearest("domain", domain, module.DOMAINS))
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(
                f"load_task({dataset!r}) draws a positive number of rows; got draw={{{domain!r}: {count!r}}}. "
                "Leave the domain out to use all its rows."
            )
    made: TaskData = module.load(
        task,
        size=size,
        channels=channels,
        draw=dict(draw),
        source_holdout=source_holdout,
        scored=scored,
        data=None if data is None else Path(data),
    )
    return made


def status(dataset: str, tasks: Iterable[str], data: Path | None = None) -> list[Status]:
    """What is there of the files that some tasks need, what is missing and how to get it. Reads no image.

    Args:
        dataset: ``"optdigits"`` or ``"digits"``.
        tasks: the tasks in question.
        data: the data folder.

    Raises:
        ValueError: for an unknown data set or task.

    >>> [(entry.name, entry.present) for entry in status("optdigits", ["clean->photo"])]
    [('optdigits', True)]
    """
    module = _module("status", dataset)
    found: list[Status] = module.status(_known(module, "status", dataset, tasks), None if data is None else Path(data))
    return found


def get(dataset: str, tasks: Iterable[str], data: Path | None, *, progress: bool = False) -> list[Status]:
    """Download what some tasks need and what has a stable address, with checksums; what is there is left alone.

    Args:
        dataset: ``"optdigits"`` (nothing to download) or ``"digits"``.
        tasks: the tasks in question.
        data: the data folder; it is made if need be.
        progress: draw progress bars.

    Returns:
        :func:`status` afterwards: what has no stable address says there how to get it.

    Raises:
        ValueError: for an unknown data set or task.
        DataError: if there is no data folder, or a download fails.
    """
    tasks = _known(_module("get", dataset), "get", dataset, tasks)
    if dataset == "digits":
        from .download import get_digits

        get_digits(tasks, None if data is None else Path(data), progress=progress)
    return status(dataset, tasks, data)


def _known(module: ModuleType, function: str, dataset: str, tasks: Iterable[str]) -> list[str]:
    tasks = list(tasks)
    for task in tasks:
        if task not in module.TASKS:
            raise ValueError(f"{function}({dataset!r}): " + nearest("task", task, module.TASKS))
    return tasks


def _module(function: str, dataset: str) -> ModuleType:
    if dataset not in DATASETS:
        raise ValueError(f"{function}: " + nearest("data set", dataset, DATASETS))
    if dataset == "optdigits":
        from . import optdigits

        return optdigits
    from . import digits

    return digits
