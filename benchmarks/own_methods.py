"""Methods from a file of the user's: the rows that ``landbridge bench SUITE --method-from FILE:CLASS`` adds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ..shared.method import Method
from .own_files import code_of, module_of, read_text
from .settings import MethodSettings
from .suite import Suite

__all__ = ["OwnMethod", "read_own", "row_name", "with_own"]

ROW = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")  # also the name of a folder
WHERE = "--method-from"


class OwnMethod(NamedTuple):
    """A method class in a file of the user's, as it was when the grid was planned.

    The text travels with the jobs, so that every process runs what the cells' identities tell, even if the file is
    edited meanwhile.

    Attributes:
        name: the row's.
        kind: the name of the class.
        path: the file, for messages.
        text: what it held.
    """

    name: str
    kind: str
    path: str
    text: bytes

    @property
    def code(self) -> str:
        """The beginning of the text's sha256, and the name of the class: part of a cell's identity."""
        return code_of(self.text, self.kind)

    def load(self) -> type[Method]:
        """The class; the file is run once in each process.

        Raises:
            ValueError: if the file does not run, or has no such class, or that is no method.
        """
        found = getattr(self._module(), self.kind, None)
        if found is None:
            there = [name for name, value in vars(self._module()).items() if _is_method(value)]
            raise ValueError(
                f"{WHERE}: {self.path} has no class {self.kind!r}. "
                + (f"Methods in it: {', '.join(there)}." if there else "There is no landbridge.Method in it.")
            )
        if not _is_method(found):
            raise ValueError(
                f"{WHERE}: {self.kind} in {self.path} is no landbridge.Method. Write 'class {self.kind}(lb.Method)'."
            )
        if found.terms is Method.terms and found.updates is Method.updates:
            raise ValueError(f"{WHERE}: {self.kind} in {self.path} has to say what it adds: write terms().")
        method: type[Method] = found
        return method

    def _module(self) -> ModuleType:
        return module_of(WHERE, self.path, self.text)


def read_own(asked: str) -> OwnMethod:
    """A method from ``FILE:CLASS`` or ``NAME=FILE:CLASS``; checked, and read once.

    The file stands alone: it may import what is installed, but not its neighbours, whose contents would decide numbers
    without being part of a cell's identity.

    Args:
        asked: ``my_method.py:MyMethod``, whose row is called ``my-method``, or with the row's name before it.

    Raises:
        ValueError: if it is not of this form, there is no such file, it does not run, the class is not there or no
            :class:`Method`, or the name is no name of a row.

    >>> read_own("my_method.py")
    Traceback (most recent call last):
        ...
    ValueError: --method-from needs FILE:CLASS, such as my_method.py:MyMethod; got 'my_method.py'.
    """
    name, equals, rest = asked.partition("=")
    if not equals or (not ROW.fullmatch(name) and Path(asked.rpartition(":")[0]).is_file()):
        name, rest, equals = "", asked, ""  # a path may hold the sign too
    file, _, kind = rest.rpartition(":")
    if not file or not kind.isidentifier():
        raise ValueError(f"{WHERE} needs FILE:CLASS, such as my_method.py:MyMethod; got {asked!r}.")
    name = name if equals else row_name(kind)
    if not ROW.fullmatch(name):
        raise ValueError(
            f"{WHERE}: a row's name is of small letters, digits and dashes; got {name!r}. Call it NAME={rest}."
        )
    path = Path(file)
    text = read_text(WHERE, path)
    own = OwnMethod(name, kind, str(path.resolve()), text)
    own.load()
    return own


def row_name(kind: str) -> str:
    """The name of a class as rows are called.

    >>> row_name("MyMethod"), row_name("DeepCORAL"), row_name("MMDLike2")
    ('my-method', 'deep-coral', 'mmd-like2')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind.replace("_", "-")).strip("-").lower()


def with_own(suite: Suite, found: Sequence[OwnMethod]) -> Suite:
    """The suite with a row for each of these methods, also among those run unless asked otherwise.

    Raises:
        ValueError: if a name is one of the suite's rows or of the package's methods, or given twice.
    """
    from ..methods import METHODS

    if not found:
        return suite
    rows = dict(suite.methods)
    for own in found:
        if own.name in rows or own.name in METHODS:
            raise ValueError(
                f"{WHERE}: the name {own.name!r} is taken. Give another: {WHERE} my-{own.name}=FILE:{own.kind}."
            )
        rows[own.name] = MethodSettings(method=own.name, label=own.kind, code=own.code)
    default = [*(suite.default_methods or suite.methods), *(own.name for own in found)]
    return suite.model_copy(update={"methods": rows, "default_methods": tuple(default)})


def _is_method(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Method) and value is not Method
