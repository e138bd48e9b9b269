"""Binary and regression heads: what the task loss, the methods and the predictions make of their output."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import INPUTS, SIZES, data, network, same, train

import landbridge as lb
from landbridge.methods import METHODS
from landbridge.shared.combine import Combine
from landbridge.shared.fit import fit
from landbridge.shared.method import Method, Sizes, Source, Target
from landbridge.shared.network import Network
from landbridge.shared.result import FitResult, load
from landbridge.shared.source_only import SourceOnly
from landbridge.shared.tasks import (
    BY_FEATURES,
    as_labels,
    as_predictions,
    as_values,
    binary_logits,
    default_loss,
    squared_error,
)

BINARY = data().labels.clamp(max=1)
VALUES = data().inputs[:, 0] - 0.5 * data().inputs[:, 1]
FLAT = nn.Flatten(0)


class Pair(nn.Module):
    """A one-logit head that spells out (0, z) itself."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(x)
        return torch.cat([torch.zeros_like(z), z], 1)


class Looks(SourceOnly):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__(see_target=True)
        self.seen: list[tuple[Source, Target]] = []

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.seen.append((source, target))
        return {}


def create(name: str, classes: int = 2) -> Method:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = {"hidden": (7,)} if name in ("dann", "cdan", "cdan-e") else {}
        return METHODS[name].create(Sizes(SIZES.features, classes), **small)


def one_output(outputs: int = 1, *, flat: bool = False) -> Network:
    model = network()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        head = nn.Linear(SIZES.features, outputs)
    model.head = nn.Sequential(head, FLAT) if flat else head
    return model


def values(
    method: Method | None = None, model: Network | None = None, labels: Any = VALUES, **settings: Any
) -> FitResult:
    source = data().inputs, labels
    return train(method or SourceOnly(), model or one_output(), source=source, task="regression", **settings)


# ---- binary


def test_the_cross_entropy_of_the_pair_is_the_binary_one_by_slow_numbers() -> None:
    z = torch.tensor([-3.0, -0.2, 0.0, 1.0, 40.0, -700.0, 30.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    loss = default_loss("binary")(binary_logits(z), y)
    expected = 0.0
    for logit, label in zip(z.tolist(), y.tolist(), strict=True):
        logit = logit if label == 0 else -logit  # -log of the label's probability is log(1 + e^logit)
        expected += (max(logit, 0.0) + math.log1p(math.exp(-abs(logit)))) / len(y)
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    bare = F.binary_cross_entropy_with_logits(z, y.double())
    torch.testing.assert_close(loss, bare, rtol=1e-12, atol=0)
    (ours,), (theirs,) = torch.autograd.grad(loss, z), torch.autograd.grad(bare, z)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_one_logit_head_as_it_takes_the_pair(name: str) -> None:
    source = data().inputs, BINARY
    binary = train(create(name), one_output(), source=source, task="binary")
    spelled = one_output()
    spelled.head = Pair(spelled.head)
    pair = train(create(name), spelled, source=source)
    assert all(torch.equal(a, b) for a, b in zip(binary.network.parameters(), pair.network.parameters(), strict=True))
    assert torch.equal(binary.history.values, pair.history.values)
    x = data().target
    assert torch.equal(binary.predict(x), pair.predict(x))
    assert torch.equal(binary.predict_proba(x), pair.predict_proba(x))


@pytest.mark.parametrize("flat", [False, True])
def test_methods_and_predictions_see_the_pair(flat: bool) -> None:
    looks = Looks()
    result = train(looks, one_output(flat=flat), source=(data().inputs, BINARY), task="binary")
    for side in looks.seen[0]:
        assert side.logits is not None
        assert side.logits.shape == (len(side.features), 2)
        assert not side.logits[:, 0].any()
        assert side.logits[:, 1].any()
    x = data().target
    with torch.no_grad():
        z = result.network(x)[1].reshape(-1)
    torch.testing.assert_close(result.predict_proba(x)[:, 1], z.sigmoid())
    assert torch.equal(result.predict(x), (z > 0).long())
    assert torch.equal(result.forward(x)[1], binary_logits(z))


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_labels_of_two_classes_in_any_dtype(kind: torch.dtype) -> None:
    start = train(SourceOnly(), one_output(), source=(data().inputs, BINARY), task="binary")
    for labels in (BINARY.to(kind), BINARY.to(kind)[:, None], BINARY.to(kind).numpy()):
        other = train(SourceOnly(), one_output(), source=(data().inputs, labels), task="binary")
        assert same(start.network, other.network)


@pytest.mark.parametrize("outputs", [(4, 2), (4, 1, 1), ()])
def test_two_logits_are_not_one(outputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"binary_logits needs one logit a sample, \(n, 1\) or \(n,\); got "):
        binary_logits(torch.zeros(outputs))


# ---- regression


@pytest.mark.parametrize(("outputs", "flat"), [(1, False), (1, True), (2, False)])
def test_as_in_a_loop_written_by_hand(outputs: int, flat: bool) -> None:
    labels = torch.stack([VALUES, VALUES.square()], 1)[:, :outputs] if outputs > 1 else VALUES
    method = SourceOnly(see_target=True)
    settings = {"steps": 3, "batch_size": (40, 33), "seed": 3}
    result = values(method, one_output(outputs, flat=flat), labels, **settings)
    rows = train(seen := Looks(), source=(torch.arange(40.0)[:, None].repeat(1, INPUTS), data().labels), **settings)
    assert rows.task == "classification"
    model = one_output(outputs, flat=flat).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    from landbridge.shared.seeds import derive_seed

    with torch.random.fork_rng():
        for step, (source, target) in enumerate(seen.seen):
            assert source.inputs is not None
            assert target.index is not None
            chosen = source.inputs[:, 0].long()
            torch.manual_seed(derive_seed(3, "step", step))
            predicted = model(torch.cat([data().inputs[chosen], data().target[target.index]]))[1][:40]
            loss = ((predicted.reshape(labels[chosen].shape) - labels[chosen]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.testing.assert_close(result.history["task"][step], loss.detach(), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(result.network.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_methods_see_no_logits_but_the_values_as_labels() -> None:
    looks = Looks()
    values(looks)
    source, target = looks.seen[0]
    assert source.logits is None
    assert target.logits is None
    assert source.labels is not None
    assert set(source.labels.tolist()) <= set(VALUES.tolist())


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_features_work_and_others_refuse_before_training(name: str) -> None:
    method, model = create(name), one_output()
    before = [p.clone() for p in model.parameters()]
    if METHODS[name].__name__ in BY_FEATURES:
        assert values(method, model).history["task"].isfinite().all()
        assert not all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
        return
    with pytest.raises(
        ValueError, match=rf"{type(method).__name__} needs class l.*task='regression' has none.*DANN, DDC"
    ):
        values(method, model)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_the_methods_named_are_those_that_need_no_logits() -> None:
    reading = {method.__name__ for method in METHODS.values() if method.needs & {"logits", "labels"}}
    assert set(BY_FEATURES) == {method.__name__ for method in METHODS.values()} - reading


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Combine(ddc=lb.DDC(), dan=lb.DAN()), "DAN needs class logits"),
        (lambda: lb.DeepCORAL(layer="logits"), "DeepCORAL needs class logits"),
        (lambda: lb.Pairwise(sources=2, method=lb.JAN()), "JAN needs class logits"),
        (lambda: create("mcd"), "MCD needs class logits and class labels"),
    ],
)
def test_who_refuses_is_named(make: Callable[[], Method], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        values(make())


@pytest.mark.parametrize("labels", [(40,), (40, 1)])
@pytest.mark.parametrize("flat", [False, True])
def test_one_value_a_sample_whatever_the_shapes(labels: tuple[int, ...], flat: bool) -> None:
    """(n, 1) against (n,) would broadcast to every pair of samples."""
    plain = values()
    for loss in (None, F.mse_loss):
        result = values(model=one_output(flat=flat), labels=VALUES.reshape(labels), task_loss=loss)
        assert torch.equal(result.history["task"], plain.history["task"])
        assert result.predict(data().target).shape == (33,)


def test_several_values_a_sample() -> None:
    labels = torch.stack([VALUES, -VALUES], 1)
    result = values(model=one_output(2), labels=labels, steps=40)
    assert result.predict(data().target).shape == (33, 2)
    before = squared_error(as_predictions("regression", one_output(2).eval()(data().inputs)[1]), labels)
    assert squared_error(result.predict(data().inputs), labels) < 0.7 * before


def test_whole_numbers_and_doubles_are_values_too() -> None:
    rounded = (10 * VALUES).round()
    results = [values(labels=y) for y in (rounded, rounded.long(), rounded.double().numpy(), rounded.numpy())]
    assert all(same(results[0].network, other.network) for other in results[1:])


def test_a_loss_of_your_own() -> None:
    result = values(task_loss=F.l1_loss)
    assert not same(result.network, values().network)
    pinball = values(
        model=one_output(2), task_loss=lambda v, y: (v[:, 0] - y).abs().mean() + (v[:, 1] - y).square().mean()
    )
    assert pinball.predict(data().target).shape == (33, 2)


def test_values_keep_their_shape_where_labels_are_not_as_many() -> None:
    assert as_values(torch.zeros(4, 2), torch.zeros(4)).shape == (4, 2)
    assert as_values(torch.zeros(4, 1), torch.zeros(4)).shape == (4,)
    with pytest.raises(
        ValueError, match=r"as many values a sample as its labels have; got outputs \(4, 2\) for .*\(4,\)"
    ):
        squared_error(torch.zeros(4, 2), torch.zeros(4))


def test_there_are_no_probabilities_of_values() -> None:
    with pytest.raises(ValueError, match="predict_proba: task='regression' predicts values and has no classes"):
        values().predict_proba(data().target)


# ---- both


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_result_is_saved_and_loaded_with_its_task(task: str, tmp_path: Path) -> None:
    result = train(SourceOnly(), one_output(), source=(data().inputs, BINARY), task=task)
    result.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", one_output())
    assert loaded.task == result.task == task
    assert torch.equal(loaded.predict(data().target), result.predict(data().target))


def test_a_file_of_an_unknown_task(tmp_path: Path) -> None:
    result = train(SourceOnly())
    result.task = "ranking"
    result.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"load: .*unknown task 'ranking'; .*binary, classification, regression"):
        load(tmp_path / "model.safetensors", network())


def test_a_checkpoint_is_of_its_task(tmp_path: Path) -> None:
    from landbridge.shared.checkpoint import CheckpointError

    source, path = (data().inputs, BINARY), tmp_path / "run.pt"
    first = train(SourceOnly(), one_output(), source=source, task="binary", checkpoint=path)
    again = train(SourceOnly(), one_output(), source=source, task="binary", checkpoint=path)
    assert same(first.network, again.network)
    with pytest.raises(CheckpointError, match="task was 'binary', is 'regression'"):
        train(SourceOnly(), one_output(), source=source, task="regression", checkpoint=path)
    with pytest.raises(CheckpointError, match="task was 'binary', is None"):
        train(SourceOnly(), network(), source=source, checkpoint=path)


BROKEN = VALUES.clone()
BROKEN[3] = math.nan


@pytest.mark.parametrize(
    ("task", "labels", "outputs", "sentence"),
    [
        ("ranking", BINARY, 1, "fit: unknown task 'ranking'"),
        ("regresion", BINARY, 1, "did you mean 'regression'"),
        ("binary", BINARY, 2, r"task='binary' needs a head of one logit; got one of 2\. Use task='classification'"),
        ("binary", data().labels, 1, "task='binary' needs source labels 0 and 1; got labels from 0 to 2"),
        ("binary", 2 * BINARY - 1, 1, "task='binary' needs source labels 0 and 1; got labels from -1 to 1"),
        ("binary", VALUES, 1, "task='binary' needs source labels 0 and 1; got labels from -"),
        ("binary", torch.zeros(40, 2).long(), 1, r"source labels of shape \(samples,\); got \(40, 2\)"),
        ("classification", BINARY, 1, "needs a head of one logit a class; got a head of 1. Pass task='binary'"),
        ("classification", VALUES, 3, r"class numbers as source labels; got torch.float32.*task='regression'"),
        ("regression", VALUES, 3, r"a head of as many outputs as a label has values; got 3 .*Use a head of 1"),
        (
            "regression",
            torch.zeros(40, 2, 2),
            4,
            r"labels of shape \(samples,\) or \(samples, values\); got \(40, 2, 2\)",
        ),
        ("regression", torch.zeros(40, 0), 1, r"got \(40, 0\)"),
        ("regression", BROKEN, 1, "NaN or inf in source labels: 1 of 40 rows, the first is row 3"),
    ],
)
def test_labels_and_heads_that_do_not_go_together(task: str, labels: Tensor, outputs: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        train(SourceOnly(), one_output(outputs), source=(data().inputs, labels), task=task)


def test_a_head_that_does_not_tell_its_size_is_told_at_the_first_step() -> None:
    with pytest.raises(ValueError, match="one output for each value"):
        values(model=Network(network().extractor, nn.Sequential(nn.Linear(SIZES.features, 3))))


def test_labels_without_a_dtype_to_become() -> None:
    assert as_labels("fit", "source", torch.arange(3), "regression").dtype == torch.float32
    assert as_labels("fit", "source", torch.arange(3.0).double(), "regression").dtype == torch.float64
    assert as_labels("fit", "source", torch.arange(3, dtype=torch.uint8), "classification").dtype == torch.int64


def test_a_network_in_double_precision_learns_doubles() -> None:
    model = one_output().double()
    x, y = data().inputs.double(), np.asarray(VALUES, dtype=np.float32)
    result = fit(model, lb.DDC(), (x, y), data().target, task="regression", steps=2, batch_size=8, device="cpu")
    assert result.predict(x.numpy()).dtype == torch.float64
