"""Peak memory: a large block shows, and only in the piece of work that held it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from landbridge.benchmarks import memory
from landbridge.benchmarks.memory import peak_memory, reset_peak

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a mark that can be put back")
def test_a_block_of_200_mib_shows_and_is_forgotten() -> None:
    if not reset_peak(CPU):
        pytest.skip("the kernel does not let this process put its mark back")
    before = peak_memory(CPU)
    assert before is not None
    block = np.ones(200 * 2**20, dtype=np.uint8)
    held = peak_memory(CPU)
    assert held is not None
    assert 190 < held - before < 260, len(block)
    del block
    assert peak_memory(CPU) == pytest.approx(held, abs=20)  # still the highest
    reset_peak(CPU)
    after = peak_memory(CPU)
    assert after is not None
    assert after < held - 150


def test_where_there_is_no_such_file_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "no" / "such")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "neither")
    assert reset_peak(CPU) is False
    assert peak_memory(CPU) is None


def test_what_is_left_is_a_part_of_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2000 kB\nMemAvailable:     1000 kB\n")
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    assert memory.available_memory() == 1024000
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "none")
    assert memory.available_memory() is None
