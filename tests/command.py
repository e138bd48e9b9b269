"""The command line in this process, for the tests of what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from landbridge.benchmarks import cli


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command("bench", ...)`` as ``landbridge bench ...``."""

    def command(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["landbridge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.run()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Said(code or 0, *capsys.readouterr())

    return command
