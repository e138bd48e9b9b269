"""Numbers that vary by little around a large one: years, timestamps, ids, prices."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from toy import same

import landbridge as lb

RAW, VALUES = load_diabetes(return_X_y=True)
RAW, VALUES = 20 * RAW[:400], VALUES[:400] / 77  # deviations of about 1
GIVEN = {"method": "deepcoral", "steps": 60, "device": "cpu", "optimizer": lb.Optimizer(name="adam", lr=0.003)}
ARANGE = np.arange(400)
OFFSETS = pytest.mark.parametrize("offset", [1e8, 1.6e9])


def scores(X: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """R squared on held-out rows: what adapt says, what its predictions give, and the estimator's."""
    Xs, ys, Xt, yt = X[::2], y[::2], X[1::2], y[1::2]
    adapted = lb.adapt(None, Xs, ys, Xt, task="regression", baseline=False, evaluate=(Xt, yt), **GIVEN)
    regressor = lb.DomainAdaptationRegressor(**GIVEN).fit(*lb.pack(Xs, ys, Xt))

    def right(predicted: np.ndarray) -> float:
        return float(1 - np.square(predicted - yt).mean() / yt.var())

    assert adapted.after.target is not None
    return adapted.after.target, right(adapted.predict(Xt)), right(regressor.predict(Xt))


PLAIN = scores(RAW, VALUES)


def test_the_problem_can_be_learned() -> None:
    assert min(PLAIN) > 0.2


@OFFSETS
@pytest.mark.parametrize("moved", ["inputs", "values", "both"])
def test_an_offset_changes_nothing(offset: float, moved: str) -> None:
    X = RAW + offset if moved != "values" else RAW
    y = VALUES + offset if moved != "inputs" else VALUES
    np.testing.assert_allclose(scores(X, y), PLAIN, atol=0.02)


@OFFSETS
def test_an_offset_of_inputs_changes_no_class(offset: float) -> None:
    labels = np.median(VALUES) < VALUES
    given = {"method": "dann", "steps": 20, "device": "cpu", "baseline": False}
    plain = lb.adapt(None, RAW, labels, RAW, **given)
    moved = lb.adapt(None, RAW + offset, labels, RAW + offset, **given)
    np.testing.assert_allclose(moved.predict_proba(RAW + offset), plain.predict_proba(RAW), atol=0.005)
    whole = (RAW * 1000).round().astype(np.int64)
    microseconds = lb.adapt(None, whole + 10**15, labels, whole + 10**15, **given)  # of some thirty years
    wanted = lb.adapt(None, whole, labels, whole, **given).predict_proba(whole)
    np.testing.assert_allclose(microseconds.predict_proba(whole + 10**15), wanted, atol=0.005)


def test_values_of_a_saved_network_far_from_zero(tmp_path) -> None:
    y = VALUES + 1.6e9
    adapted = lb.adapt(None, RAW, y, RAW, task="regression", baseline=False, **GIVEN)
    adapted.save(tmp_path / "network.safetensors")
    np.testing.assert_array_equal(lb.load(tmp_path / "network.safetensors").predict(RAW), adapted.predict(RAW))
    assert np.square(adapted.predict(RAW) - y).mean() < y.var()


def test_usual_values_leave_the_network_in_float32() -> None:
    adapted = lb.adapt(None, RAW, VALUES, RAW, task="regression", baseline=False, **GIVEN)
    assert all(p.dtype == torch.float32 for p in adapted.network.parameters())


def linear(outputs: int) -> lb.Network:
    torch.manual_seed(0)
    return lb.Network(nn.Linear(10, 4), nn.Linear(4, outputs))


def run(X: np.ndarray, y: np.ndarray, network: lb.Network, **more: object) -> lb.FitResult:
    return lb.fit(network, lb.DDC(weight=0.0), (X, y), X, steps=1, batch_size=16, device="cpu", **more)


@pytest.mark.parametrize(
    ("X", "y", "task", "sentence"),
    [
        (RAW + 1e8 * (np.arange(10) == 3), ARANGE % 2, "classification",
         r"float32, where column 3 of the .* inputs, which varies by .* around 1e\+08, keeps but steps of 1e\+01"),
        ((RAW * 1000).astype(np.int64) + 10**12, ARANGE % 2, "classification", r"column \d of the .* inputs"),
        (RAW, VALUES + 1e8, "regression", "where the source labels, which varies by"),
    ],
)  # fmt: skip
def test_a_network_of_ones_own_loses_digits_with_a_warning(X, y, task: str, sentence: str) -> None:
    settings = {"task": task, "optimizer": lb.Optimizer(lr=1e-30, momentum=0.0)}
    with pytest.warns(UserWarning, match=sentence + r".*Standardise before.*network\.double\(\)"):
        run(X, y, linear(1 if task == "regression" else 2), **settings)


def test_no_warning_where_float32_holds_the_digits() -> None:
    years = RAW + 2026
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(years, ARANGE % 2, linear(2))
        run(np.column_stack([RAW[:, 1:], np.full(400, 1e9)]), ARANGE % 2, linear(2), optimizer="adam")  # constant
        run(RAW + 1e8, ARANGE % 2, linear(2).double(), optimizer="adam")


def test_the_users_own_inputs_stay_as_they_are() -> None:
    """float64 rows give what float32 rows give."""
    y = ARANGE % 2
    assert same(run(RAW, y, linear(2)).network, run(RAW.astype(np.float32), y, linear(2)).network)
