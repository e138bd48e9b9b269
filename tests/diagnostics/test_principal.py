"""Principal directions against scikit-learn and against loops, by every way of finding them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from landbridge.diagnostics import principal
from landbridge.diagnostics.principal import principal_axes


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    spread = torch.linspace(3.0, 0.5, d, dtype=torch.float64)
    return torch.randn(n, d, generator=chance, dtype=torch.float64) * spread @ mixing(d) + 2.0


def mixing(d: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(9), dtype=torch.float64)).Q


def slow_covariance(x: Tensor) -> np.ndarray:
    n, d = x.shape
    mean = [sum(float(x[i, a]) for i in range(n)) / n for a in range(d)]
    covariance = np.zeros((d, d))
    for a in range(d):
        for b in range(d):
            covariance[a, b] = sum((float(x[i, a]) - mean[a]) * (float(x[i, b]) - mean[b]) for i in range(n)) / (n - 1)
    return covariance


@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40), (12, 12)])
def test_as_in_scikit_learn(n: int, d: int) -> None:
    x = rows(n, d)
    found, theirs = principal_axes(x, 3), PCA(3, svd_solver="full").fit(x.numpy())
    np.testing.assert_allclose(found.mean, theirs.mean_, rtol=1e-10)
    np.testing.assert_allclose(found.variances, theirs.explained_variance_, rtol=1e-10)
    signs = np.sign((found.directions * theirs.components_).sum(1))
    np.testing.assert_allclose(found.directions, theirs.components_ * signs[:, None], atol=1e-9)
    np.testing.assert_allclose(found.variances / found.total, theirs.explained_variance_ratio_, rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(9, 4), (4, 9)])
def test_each_direction_is_an_eigenvector_of_the_covariance(n: int, d: int) -> None:
    x = rows(n, d)
    covariance, found = slow_covariance(x), principal_axes(x, 20)
    assert len(found.variances) == min(n - 1, d)
    for variance, direction in zip(found.variances, found.directions, strict=True):
        np.testing.assert_allclose(covariance @ direction, variance * direction, atol=1e-10)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(len(found.variances)), atol=1e-9)
    np.testing.assert_allclose(found.total, np.trace(covariance), rtol=1e-12)
    assert (np.diff(found.variances) < 0).all()


@pytest.mark.parametrize(("n", "d"), [(60, 30), (30, 60)])
@pytest.mark.parametrize(("dense", "formed"), [(2, 2048), (2, 2)])
def test_large_matrices_give_the_same(n: int, d: int, dense: int, formed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(n, d)
    small = principal_axes(x, 4)
    monkeypatch.setattr(principal, "DENSE", dense)
    monkeypatch.setattr(principal, "FORMED", formed)
    monkeypatch.setattr(principal, "BLOCK", 7)
    large = principal_axes(x, 4)
    np.testing.assert_allclose(large.variances, small.variances, rtol=1e-9)
    np.testing.assert_allclose(large.directions, small.directions, atol=1e-7)
    assert np.array_equal(large.directions, principal_axes(x, 4).directions)


def test_the_largest_entry_of_each_direction_is_positive() -> None:
    found = principal_axes(rows(50, 8), 8).directions
    assert (found[np.arange(8), abs(found).argmax(1)] > 0).all()


@pytest.mark.parametrize("shape", [(20, 5), (5, 20)])
def test_directions_without_variance_are_left_out(shape: tuple[int, int]) -> None:
    x = torch.ones(shape)
    assert principal_axes(x, 3).directions.shape == (0, shape[1])
    assert principal_axes(x, 3).total == 0
    x[:, 0] = torch.arange(float(shape[0]))
    found = principal_axes(x, 3)
    np.testing.assert_allclose(found.directions, np.eye(shape[1])[:1], atol=1e-12)


def test_single_precision_far_from_zero_is_computed_in_double() -> None:
    x = rows(40, 6)
    far = (x + 1e4).float()
    np.testing.assert_allclose(principal_axes(far, 2).variances, principal_axes(far.double(), 2).variances, rtol=1e-9)


@pytest.mark.parametrize("value", [1.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_do_not_vary_have_no_direction(value: float, dtype: torch.dtype) -> None:
    found = principal_axes(torch.full((600, 600), value, dtype=dtype), 2)  # so large that eigenvectors are searched for
    assert found.directions.shape == (0, 600)
    assert found.variances.shape == (0,)
    assert found.total == 0
