"""Spectra against numpy, angles against a construction of known angles, and what the pictures say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landbridge.diagnostics.spectra import spectra


def drawn(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(4, 0.5, d)


def exact(directions: np.ndarray, variances: list[float]) -> np.ndarray:
    """Rows whose scatter has exactly these eigenvectors and eigenvalues."""
    scaled = directions * np.sqrt(np.array(variances) / 2)[:, None]
    return np.concatenate([scaled, -scaled])


def test_the_eigenvalues_are_those_of_the_covariances() -> None:
    x, y = drawn(50, 7), drawn(40, 7, 1) * 2 + 3
    found = spectra(x, y, components=3)
    np.testing.assert_allclose(found.source, np.linalg.eigvalsh(np.cov(x.T))[::-1], rtol=1e-9)
    np.testing.assert_allclose(found.target, np.linalg.eigvalsh(np.cov(y.T))[::-1], rtol=1e-9)
    np.testing.assert_allclose(found.source_total, np.trace(np.cov(x.T)), rtol=1e-12)
    np.testing.assert_allclose(found.target_total, np.trace(np.cov(y.T)), rtol=1e-12)
    assert (found.n_source, found.n_target, found.note) == (50, 40, "")


def test_the_angles_by_singular_values_of_the_product() -> None:
    x, y = drawn(60, 8), drawn(60, 8, 1) @ np.linalg.qr(drawn(8, 8, 2))[0]
    bases = [np.linalg.eigh(np.cov(rows.T))[1][:, ::-1][:, :3] for rows in (x, y)]
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    found = spectra(x, y, components=3).angles
    np.testing.assert_allclose(np.cos(np.radians(found)), cosines, atol=1e-9)
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("turn", [1e-7, 1.0, 30.0, 90.0])
def test_a_turn_by_a_known_angle(turn: float) -> None:
    e, angle = np.eye(5), np.radians(turn)
    turned = np.stack([e[0], np.cos(angle) * e[1] + np.sin(angle) * e[2]])
    found = spectra(exact(e[:2], [9.0, 4.0]), exact(turned, [9.0, 4.0]), components=2)
    np.testing.assert_allclose(found.angles, [0.0, turn], rtol=1e-6, atol=1e-8)


def test_translation_and_scale_turn_nothing() -> None:
    x = drawn(40, 6)
    found = spectra(x, 3 * x + 5, components=4)
    np.testing.assert_allclose(found.angles, 0, atol=1e-5)
    np.testing.assert_allclose(found.target, 9 * found.source, rtol=1e-9)


def test_the_angles_are_symmetric() -> None:
    x, y = drawn(60, 8), drawn(50, 8, 1)
    np.testing.assert_allclose(spectra(x, y, components=3).angles, spectra(y, x, components=3).angles, atol=1e-8)


def test_without_a_shift_the_angles_are_about_those_between_halves() -> None:
    exceeded = 0
    for seed in range(20):
        found = spectra(drawn(200, 6, seed), drawn(200, 6, 100 + seed), components=2)
        exceeded += found.angles[-1] > found.halves[-1]
    assert exceeded <= 5
    turned = drawn(200, 6, 7)[:, ::-1]
    found = spectra(drawn(200, 6), turned, components=2)
    assert found.angles[-1] > 3 * found.halves[-1]


def test_the_seed_decides_the_halves_and_nothing_else(keeps_random_state: None) -> None:
    x, y = drawn(50, 5), drawn(40, 5, 1)
    first, again, other = (spectra(x, y, components=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.halves, again.halves)
    assert not np.array_equal(first.halves, other.halves)
    assert np.array_equal(first.angles, other.angles)


def test_of_many_rows_some_are_drawn() -> None:
    found = spectra(drawn(50, 3), drawn(40, 3, 1), most=10, components=1)
    assert (found.n_source, found.n_target) == (10, 10)
    assert found.note == "10 of 50 source rows and 10 of 40 target rows, drawn with seed 0"


def test_fewer_rows_than_features() -> None:
    found = spectra(drawn(6, 30), drawn(5, 30, 1), components=10)
    assert len(found.source) == 5
    assert len(found.target) == 4
    assert len(found.angles) == 4
    assert len(found.halves) == 2
    assert found.figure() is not None


def test_a_single_feature() -> None:
    found = spectra([[0.0], [1.0], [2.0], [3.0]], [[0.0], [4.0]])
    np.testing.assert_allclose(found.angles, [0.0], atol=1e-6)


def test_a_source_whose_halves_do_not_vary() -> None:
    found = spectra([[0.0, 0.0]] * 7 + [[1.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(found.angles, [45.0])
    assert len(found.halves) == 0
    assert found.plot_angles() is not None


def test_the_pictures() -> None:
    found = spectra(torch.from_numpy(drawn(50, 7)), drawn(40, 7, 1) * 2, components=4)
    ax = found.plot()
    drawn_lines = {line.get_label().split(" (")[0]: line for line in ax.lines}
    np.testing.assert_allclose(drawn_lines["source"].get_ydata(), found.source)
    np.testing.assert_allclose(drawn_lines["target"].get_ydata(), found.target)
    assert drawn_lines["target"].get_xdata().tolist() == list(range(1, 8))
    assert ax.get_yscale() == "log"
    angles = found.plot_angles()
    np.testing.assert_allclose([bar.get_height() for bar in angles.patches], found.angles)
    assert "4 leading directions" in angles.get_title(loc="left")
    assert len(found.figure().axes) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"components": 0}, "spectra needs components as a whole number >= 1; got 0"),
        ({"most": 3}, "spectra needs most as a whole number >= 4; got 3"),
        ({"source": np.eye(3)}, "at least 4 rows of the source, to compare its halves; got 3"),
        ({"target": np.ones((5, 3))}, "all target rows are equal"),
        ({"source": np.ones((5, 3))}, "all source rows are equal"),
        ({"target": np.eye(4)}, "compares features of one size"),
    ],
)
def test_what_does_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectra(**{"source": drawn(9, 3), "target": drawn(8, 3, 1), **changed})
