"""The source's units, read in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landbridge.weighting import units
from landbridge.weighting.units import Units, blocks, drawn_in


def test_mean_and_deviation_in_blocks_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2, 3)) * 1e-3 + 1e6
    monkeypatch.setattr(units, "BLOCK", 20)  # three rows at a time
    found = Units.of(rows)
    assert [start for start, _ in blocks(rows)] == list(range(0, 50, 3))
    np.testing.assert_allclose(found.mean, rows.reshape(50, 6).mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.std, rows.reshape(50, 6).std(0), rtol=1e-6)


def test_a_constant_feature_has_deviation_one_whatever_its_size() -> None:
    assert Units.of(np.full((7, 1), 0.1 + 1e9)).std.tolist() == [1.0]


def test_drawn_in_is_odd_increasing_and_within_three() -> None:
    z = torch.linspace(-50, 50, 101, dtype=torch.float64)
    y = drawn_in(z)
    assert (y.diff() > 0).all()
    assert y.abs().max() < 3
    torch.testing.assert_close(y, -y.flip(0))
    assert drawn_in(torch.tensor(0.1)).item() == pytest.approx(0.1, rel=1e-3)
