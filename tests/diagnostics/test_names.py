"""The names of the package: loaded when asked for, and functions stay functions though files are called like them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from landbridge import diagnostics


@pytest.mark.parametrize("name", sorted(diagnostics._HOME))
def test_every_name_is_what_its_file_defines(name: str) -> None:
    home = importlib.import_module(f".{diagnostics._HOME[name]}", "landbridge.diagnostics")
    assert name in home.__all__
    value = getattr(diagnostics, name)
    assert value is getattr(home, name)
    assert not isinstance(value, ModuleType)


def test_all_names_are_listed_once() -> None:
    assert sorted(diagnostics.__all__) == sorted(diagnostics._HOME)


def test_a_function_stays_one_when_its_file_is_imported() -> None:
    code = """
from importlib import import_module
from landbridge.diagnostics.embedding import Embedding
from landbridge.diagnostics import Witness
import landbridge.diagnostics.spectra
import_module("landbridge.diagnostics.curves")
from landbridge.diagnostics import confusion, curves, embedding, spectra, witness
for function in (confusion, curves, embedding, spectra, witness):
    assert type(function).__name__ == "function", function
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'embeddings'"):
        diagnostics.embeddings  # noqa: B018
