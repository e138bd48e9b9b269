"""Networks from a file of the user's: what ``network = "my_network.py:make"`` in a suite's ``[arrays]`` trains."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .own_files import code_of, module_of, read_text
from .settings import TaskSettings

if TYPE_CHECKING:
    from .suite import Suite

__all__ = ["WHERE", "is_own", "make_own", "with_own_networks"]

WHERE = "network"


def is_own(name: str) -> bool:
    """Whether a network's name is a file of the user's, ``FILE.py:NAME``.

    >>> is_own("my_network.py:make"), is_own("lenet28"), is_own("timm/resnet18.a1_in1k")
    (True, False, False)
    """
    return name.rpartition(":")[0].endswith(".py")


def with_own_networks(suite: Suite, folder: Path) -> Suite:
    """The suite with the files of its own networks read, once: their text travels with the cells.

    A file stands alone: it may import what is installed, but not its neighbours, whose contents would decide numbers
    without being part of a cell's identity.

    Args:
        suite: of arrays.
        folder: of the suite's file, to which the paths are relative.

    Raises:
        ValueError: if there is no such file, it does not run, or has no such function.
    """
    if suite.arrays is None:
        return suite
    protocols = {
        name: protocol.model_copy(update={"networks": _read_all(protocol.networks, folder)})
        for name, protocol in suite.protocols.items()
    }
    return suite.model_copy(update={"tasks": _read_all(suite.tasks, folder), "protocols": protocols})


def _read_all(tasks: dict[str, TaskSettings], folder: Path) -> dict[str, TaskSettings]:
    return {name: _read(task, folder) if is_own(task.network) else task for name, task in tasks.items()}


def _read(task: TaskSettings, folder: Path) -> TaskSettings:
    file, _, name = task.network.rpartition(":")
    path = folder / file
    text = read_text(WHERE, path)
    read = task.model_copy(update={"code": code_of(text, name), "text": text, "path": str(path.resolve())})
    _found(read)
    return read


def _found(task: TaskSettings) -> Any:
    name = task.network.rpartition(":")[2]
    module = module_of(WHERE, task.path, task.text)
    found = getattr(module, name, None)
    if found is None or not callable(found):
        there = [
            other for other, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not other.startswith("_")
        ]  # fmt: skip
        told = f" There is {', '.join(there)}." if there else ""
        raise ValueError(f"{WHERE}: {task.path} has no function {name!r} that makes a network.{told}")
    return found


def make_own(task: TaskSettings, shape: tuple[int, ...], classes: int) -> Any:
    """What the user's function makes: a module, or a landbridge Network.

    It is called with those of ``shape``, ``classes`` and ``channels`` that it has arguments of these names for, else
    with the shape and the number of classes.

    Args:
        task: the settings, with the text of the file.
        shape: of one row, such as (1, 28, 28).
        classes: k.

    Raises:
        ValueError: if it raises, with what it says.
    """
    make = _found(task)
    known = {"shape": shape, "classes": classes, "channels": shape[0]}
    try:
        named = inspect.signature(make).parameters
        taken = {name: value for name, value in known.items() if name in named}
        return make(**taken) if taken else make(shape, classes)
    except Exception as error:
        raise ValueError(
            f"{WHERE}: {task.network}, called for rows of shape {shape} and {classes} classes, says "
            f"{type(error).__name__}: {error}. It is called with those of shape, classes and channels that it takes."
        ) from error
