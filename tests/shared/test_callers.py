from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import landbridge as lb

X = np.arange(24.0).reshape(12, 2) % 7
Y = np.arange(12) % 2
LARGE = torch.linspace(0, 1, 12, dtype=torch.float64)[:, None] + 1e9


def loses_digits() -> object:
    network = lb.Network(torch.nn.Linear(1, 2), torch.nn.Linear(2, 2))
    return lb.fit(network, lb.SourceOnly(), (LARGE, torch.arange(12) % 2), LARGE, steps=1, batch_size=4, device="cpu")


CALLS = {
    "a transformer that scikit-learn wraps": lambda: lb.CORAL().fit_transform(X, Y),
    "OnSource": lambda: lb.OnSource(LogisticRegression()).fit(X, Y),
    "within a pipeline": lambda: lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression())).fit(X, Y),
    "a network": lambda: lb.DomainAdaptationClassifier(method="deepcoral", steps=1, device="cpu").fit(X, Y),
    "pack": lambda: lb.pack(X, Y - 1, X),
    "fit": loses_digits,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_names_the_line_of_who_called(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name]()
    assert caught
    assert {one.filename for one in caught} == {__file__}
