"""Any dtype that users bring: torch's default changed, double and half networks, whole numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from toy import SIZES, create, data, network, same, train

import landbridge as lb
from landbridge.methods import METHODS
from landbridge.shared.dtypes import default_dtype
from landbridge.shared.extractors import create_network
from landbridge.shared.method import Method
from landbridge.shared.source_only import SourceOnly

X = np.random.default_rng(0).normal(size=(40, 6))
Y = (X[:, 0] > 0).astype(int)
pytestmark = pytest.mark.filterwarnings("ignore::landbridge.NegativeTransferWarning")  # of three steps
EVERY = pytest.mark.parametrize("method", list(METHODS))


@pytest.fixture
def double() -> Iterator[None]:
    """torch's default dtype is float64, and has to be so afterwards too."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


@EVERY
def test_what_adapt_makes_does_not_depend_on_the_default(method: str) -> None:
    given = {"method": method, "steps": 3, "device": "cpu", "baseline": False}
    plain = lb.adapt(None, X, Y, X + 1, **given)
    with default_dtype(torch.float64):
        changed = lb.adapt(None, X, Y, X + 1, **given)
        assert torch.get_default_dtype() == torch.float64
    assert same(plain.network, changed.network)
    assert all(p.dtype == torch.float32 for p in changed.network.parameters())


@EVERY
def test_every_method_trains_a_network_in_double_precision(method: str, double: None) -> None:
    adapted = lb.adapt(module(), X, Y, X + 1, method=method, steps=3, device="cpu", baseline=False)
    assert all(p.dtype == torch.float64 for p in adapted.network.parameters())
    assert adapted.result.forward(X)[1].dtype == torch.float64


@EVERY
def test_a_double_network_and_a_method_made_in_float32(method: str) -> None:
    made = create(METHODS[method])
    result = train(made, network().double(), steps=2)
    assert all(p.dtype == torch.float64 for p in (*result.network.parameters(), *made.parameters()))
    assert result.history.values.isfinite().all()


def test_a_double_network_learns_in_double_precision() -> None:
    """Its first step is what float64 by hand gives, to more digits than float32 has."""
    model, reference = network(dropout=0.0).double(), network(dropout=0.0).double()
    train(SourceOnly(), model, steps=1, batch_size=(40, 33))
    reference.train()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9)
    loss = nn.functional.cross_entropy(reference(data().inputs.double())[1], data().labels)
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(model.head.weight, reference.head.weight, rtol=1e-12, atol=1e-14)


def test_the_estimators_and_fit_under_a_changed_default(double: None) -> None:
    classifier = lb.DomainAdaptationClassifier(steps=3, device="cpu").fit(*lb.pack(X, Y, X))
    assert classifier.predict(X).shape == (40,)
    regressor = lb.DomainAdaptationRegressor(steps=3, device="cpu").fit(*lb.pack(X, X[:, 0], X))
    assert regressor.predict(X).shape == (40,)
    result = lb.fit(
        lb.wrap(module(), head="3"), lb.DANN(features=8), (X, Y), X, steps=3, device="cpu", batch_size=8,
        progress_bar=False,
    )  # fmt: skip
    assert result.network.module[0].weight.dtype == torch.float64


def test_networks_by_name_under_a_changed_default(double: None) -> None:
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    assert create_network("lenet16-slim", classes=3)(images)[1].dtype == torch.float64


def test_a_saved_network_predicts_the_same_under_another_default(tmp_path: object) -> None:
    adapted = lb.adapt(None, X, Y, X, steps=3, device="cpu", baseline=False)
    path = f"{tmp_path}/network.safetensors"
    adapted.result.save(path)
    with default_dtype(torch.float64):
        assert torch.equal(lb.load(path).predict(X), adapted.result.predict(X))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_networks_are_told_what_to_do_and_predict(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"fit trains weights of float32 or float64; got .* of {dtype}.*\.float\(\)"):
        lb.adapt(module().to(dtype), X, Y, X, steps=3, device="cpu")
    result = train(SourceOnly(), steps=2)
    wanted = result.forward(data().inputs)[1]
    result.network.to(dtype)
    torch.testing.assert_close(result.forward(data().inputs)[1], wanted, rtol=0.1, atol=0.05)


def test_a_frozen_half_part_may_stay_as_it_is() -> None:
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Linear(6, 8).bfloat16().requires_grad_(False)
            self.body = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(self.frozen(x.bfloat16()).float())

    train(create(METHODS["dann"]), lb.Network(Halved(), nn.Linear(5, 3)), steps=2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@EVERY
def test_features_of_any_floating_dtype(method: str, dtype: torch.dtype) -> None:
    some = data()
    result = train(
        create(METHODS[method]), source=(some.inputs.to(dtype), some.labels), target=some.target.to(dtype), steps=2
    )
    assert result.predict(some.target.to(dtype)).shape == (33,)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int8, np.uint8, np.bool_])
def test_whole_numbers_that_are_measurements(kind: type) -> None:
    """Without being asked, as the default network takes them, where the first layer is linear."""
    rows = (10 * X).round().clip(0, 100).astype(kind)
    result = lb.fit(
        lb.wrap(module(), head="3"), lb.DeepCORAL(), (rows, Y), rows, steps=3, device="cpu", batch_size=8,
        progress_bar=False,
    )  # fmt: skip
    floats = lb.fit(
        lb.wrap(module(), head="3"), lb.DeepCORAL(), (rows.astype(np.float32), Y), rows.astype(np.float32), steps=3,
        device="cpu", batch_size=8, progress_bar=False,
    )  # fmt: skip
    assert same(result.network, floats.network)
    assert torch.equal(result.forward(rows)[1], floats.forward(rows.astype(np.float32))[1])
    adapted = lb.adapt(module(), rows, Y, rows, method="deepcoral", steps=3, device="cpu", baseline=False)
    assert adapted.predict(rows).shape == (40,)


def test_adabn_forwards_whole_numbers_of_the_target_too() -> None:
    rows = (10 * X).round().astype(np.int64)
    adapted = lb.adapt(module(), rows, Y, rows + 3, method="adabn", steps=3, device="cpu", baseline=False)
    floats = lb.adapt(module(), 1.0 * rows, Y, rows + 3.0, method="adabn", steps=3, device="cpu", baseline=False)
    assert same(adapted.network, floats.network)


def test_token_numbers_stay_whole() -> None:
    tokens = torch.randint(0, 9, (40, 6), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 2))
    adapted = lb.adapt(model, tokens, Y, tokens, method="deepcoral", steps=3, device="cpu", baseline=False)
    assert adapted.predict(tokens).shape == (40,)


def test_bytes_of_images_are_no_scale_to_learn_on() -> None:
    images = torch.zeros(12, 1, 8, 8, dtype=torch.uint8)
    model = lb.Network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), nn.Linear(72, 2))
    with pytest.raises(ValueError, match=r"takes floating-point images; got source of torch.uint8. Pass images / 255"):
        lb.fit(model, lb.DDC(), (images, torch.arange(12) % 2), images, steps=1, batch_size=4, device="cpu")


def test_methods_called_by_themselves_in_half_and_double_precision() -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        for kind in METHODS.values():
            method: Method = create(kind)
            if len(method.updates()) > 1:
                continue
            batch = [torch.ones(4, SIZES.features, dtype=dtype), torch.ones(4, SIZES.classes, dtype=dtype)]
            source = lb.Source(*batch, torch.arange(4) % SIZES.classes)
            if next(method.parameters(), None) is None:
                assert method(source, lb.Target(*batch)).isfinite()
                continue
            with pytest.raises(ValueError, match=r"computes in torch.float32, as its own layers do; got feat"):
                method(source, lb.Target(*batch))
