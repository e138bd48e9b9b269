"""Several sources in one training: what a batch holds of each, and that resuming and batch statistics cover them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import INPUTS, SIZES, create, network, same, train

from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN
from landbridge.shared.adabn import AdaBN
from landbridge.shared.batches import Order, Rows, Sources, is_several
from landbridge.shared.batchnorm import DomainBatchNorm
from landbridge.shared.checkpoint import CheckpointError
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method, Source, Target
from landbridge.shared.network import Network
from landbridge.shared.pairwise import Pairwise
from landbridge.shared.result import FitResult
from landbridge.shared.source_only import SourceOnly

CPU = torch.device("cpu")
Pair = tuple[Tensor, Tensor]


def pairs(k: int = 3) -> list[Pair]:
    """Sources of different size, whose inputs say which they are and which row."""
    found = []
    for i in range(k):
        x = torch.randn(20 + 3 * i, INPUTS, generator=torch.Generator().manual_seed(i)) + 0.3 * i
        x[:, 0], x[:, 1] = i, torch.arange(len(x))
        found.append((x, (torch.arange(len(x)) + i) % SIZES.classes))
    return found


def sources(given: Any = None, batch_size: int = 9, **settings: Any) -> Sources:
    return Sources("fit", pairs() if given is None else given, CPU, batch_size, **{"seed": 0, **settings})


class Looks(SourceOnly):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__(see_target=True)
        self.seen: list[Source] = []

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.seen.append(source)
        return {}


# ---- batches


def test_a_batch_holds_as_many_rows_of_each_in_blocks() -> None:
    given = pairs()
    made = sources(given)
    assert len(made) == 3
    for number in range(20):
        inputs, labels = made.gather(number)
        assert made.domain is not None
        assert made.domain.dtype == torch.int64
        assert inputs[:, 0].tolist() == made.domain.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert labels.tolist() == [int(given[int(x[0])][1][int(x[1])]) for x in inputs]


def test_the_sources_shuffle_and_wrap_each_by_itself() -> None:
    given = pairs()
    drawn = [sources(given).gather(number)[0][:, 1].view(3, 3) for number in range(20)]
    for i, (x, _) in enumerate(given):
        order = Order(len(x), 3, seed=0, name=f"source {i}", device=CPU)
        assert all(drawn[number][i].tolist() == order(number).tolist() for number in range(20))
    twice = sources([given[0], given[0]], 6)
    assert any(not torch.equal(*twice.gather(number)[0].chunk(2)) for number in range(3))
    changed = sources([given[0], given[2], given[2]])
    assert all(torch.equal(changed.gather(n)[0][:3], sources(given).gather(n)[0][:3]) for n in range(9))


def test_a_batch_that_cannot_be_shared_equally_holds_fewer() -> None:
    for asked, rows in ((9, 9), (10, 9), (11, 9), (12, 12), (3, 3)):
        assert len(sources(batch_size=asked).gather(0)[0]) == rows
    with pytest.raises(ValueError, match=r"at least one row of each source in a batch; got batch size 2 and 3 sources"):
        sources(batch_size=2)
    with pytest.raises(ValueError, match="got batch size 0"):
        sources(batch_size=0)


def test_one_pair_in_a_list_is_that_pair_with_a_domain() -> None:
    (one,) = pairs(1)
    alone, listed = sources(one), sources([one])
    assert alone.domain is None
    assert listed.domain is not None
    assert listed.domain.tolist() == [0] * 9
    for number in range(5):
        assert all(torch.equal(a, b) for a, b in zip(alone.gather(number), listed.gather(number), strict=True))


def test_what_is_several() -> None:
    x, y = pairs(1)[0]
    assert is_several([(x, y), [x, y]])
    assert not any(is_several(one) for one in ((x, y), [x, y], ((x, y), (x, y)), [], [(x, y), x], None))


def rows_of(x: Tensor) -> Rows:
    return Rows(x.numpy(), np.arange(len(x)))


def test_any_kind_of_array_can_be_a_source() -> None:
    given: list[Any] = [(x.numpy(), y.numpy()) for x, y in pairs()]
    given[2] = rows_of(pairs()[2][0]), pairs()[2][1]
    mixed = sources(given)
    assert all(torch.equal(a, b) for a, b in zip(mixed.gather(3), sources().gather(3), strict=True))


X, Y = pairs(1)[0]


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (
            [(X, Y), (X[:, :3], Y)],
            ValueError,
            r"inputs of one shape in all sources; got .*6.* in source 0 and .*3.* in",
        ),
        ([(X, Y), (X.byte(), Y)], ValueError, "inputs of one dtype in all sources; got torch.float32 .* torch.uint8"),
        ([(X, Y), (X, Y.float())], ValueError, "labels of one dtype in all sources"),
        ([(X, Y.float()), (X, Y.float()[:, None])], ValueError, "labels of one shape in all sources"),
        ([(X, Y), (X, Y[:-1])], ValueError, "one label a source 1 sample; got 20 inputs, 19 labels"),
        ([(X, Y), (X, Y, Y)], TypeError, r"needs source 1=\(inputs, labels\)"),
        (
            [(X, Y), (X[:2], Y[:2])],
            ValueError,
            "got batch size 9 of 2 sources, 4 of each, and 2 samples in source 1.*at most 5 for",
        ),
        ([(X, Y), X], TypeError, "source inputs as a numeric array or tensor; got tuple"),
        (((X, Y), (X, Y)), TypeError, "source inputs as a numeric array or tensor; got tuple"),
        ([X, Y, X], TypeError, "several sources are a list of such tuples"),
        ([], TypeError, r"needs source=\(inputs, labels\); got list"),
    ],
)
def test_sources_that_cannot_be(given: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        sources(given)


# ---- in fit


def run(method: Method | None = None, k: int = 3, **settings: Any) -> FitResult:
    return train(method or SourceOnly(), **{"source": pairs(k), **settings})


def test_a_method_sees_which_source_a_row_is_of() -> None:
    run(looks := Looks())
    for source in looks.seen:
        assert source.domain is not None
        assert source.inputs is not None
        assert source.domain.tolist() == source.inputs[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert source.labels is not None
        assert len(source.labels) == len(source.features) == 9
    run(one := Looks(), source=pairs(1)[0])
    assert all(source.domain is None for source in one.seen)


@pytest.mark.parametrize("statistics", ["joint", "per_domain"])
@pytest.mark.parametrize("make", [SourceOnly, lambda: create(DANN), DAN, lambda: create(MCD), AdaBN])
def test_a_list_of_one_trains_as_the_pair(make: Callable[[], Method], statistics: str) -> None:
    (one,) = pairs(1)
    first, second = (run(make(), source=given, batch_statistics=statistics) for given in (one, [one]))
    assert same(first.network, second.network)
    assert torch.equal(first.history.values, second.history.values)


def test_the_source_is_augmented_as_one_batch() -> None:
    seen: list[tuple[int, ...]] = []

    def note(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    run(augment=note, steps=1)
    assert seen == [(7, INPUTS), (9, INPUTS)]


METHODS: dict[str, Callable[[], Method]] = {
    "dann": lambda: create(DANN, dropout=0.3, sources=3),
    "pairwise": lambda: Pairwise(sources=3, make=lambda: create(DANN)),
    "combine": lambda: Combine(all=create(DANN, sources=3), each=Pairwise(sources=3, method=create(MCD, inner=1))),
}


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("name", METHODS)
def test_resumed_it_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    def interrupt(step: int, model: Network) -> None:
        raise Interrupted

    settings = {"batch_statistics": "per_domain", "steps": 6, "checkpoint_every": 2}
    whole = run(METHODS[name](), **settings)
    path = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        run(METHODS[name](), **settings, checkpoint=path, evaluate_at=[5], on_evaluate=interrupt)
    resumed = run(METHODS[name](), **settings, checkpoint=path)
    assert same(whole.network, resumed.network)
    assert whole.method is not None
    assert resumed.method is not None
    assert same(whole.method, resumed.method)
    assert torch.equal(whole.history.values, resumed.history.values)


def test_a_checkpoint_is_of_its_sources_in_their_order(tmp_path: Path) -> None:
    path, given = tmp_path / "run.pt", pairs()
    run(checkpoint=path)
    assert len(run(checkpoint=path).history) == 5
    for other in (given[::-1], given[:2], given[0], [*given[:2], (given[2][0], given[2][1].flip(0))]):
        with pytest.raises(CheckpointError, match="source was"):
            run(checkpoint=path, source=other)


def test_labels_of_every_source_are_looked_at() -> None:
    given = pairs()
    given[2] = given[2][0], given[2][1] + 1
    with pytest.raises(ValueError, match="got source labels from 0 to 3"):
        run(source=given)


@pytest.mark.parametrize(
    ("make", "k", "sentence"),
    [
        (lambda: create(DANN, sources=3), 2, r"3 sources; got 2\. Make it with sources=2, or pass 3 so"),
        (lambda: create(DANN, sources=3), 0, r"DANN was made for 3 sources; got 1\. Pass them as a list of p"),
        (lambda: Pairwise(sources=2, method=DAN()), 3, "Pairwise was made for 2 sources; got 3"),
        (
            lambda: Combine(dann=create(DANN, sources=2)),
            3,
            r"Combine was made for 2 sources; got 3\. Make its parts with",
        ),
        (lambda: Pairwise(sources=1, method=DAN()), 0, "Pairwise was made for several sources; got 1"),
    ],
)
def test_a_method_made_for_other_sources_is_refused_before_training(
    make: Callable[[], Method], k: int, sentence: str
) -> None:
    model = network()
    with pytest.raises(ValueError, match=sentence):
        train(make(), model, source=pairs(k) if k else pairs(1)[0])
    assert same(model, network())


def test_a_method_for_one_source_takes_several_together() -> None:
    result = run(create(DANN))
    assert result.history.names == ["task", "domain", "accuracy"]
    assert not same(result.network, run(create(DANN, sources=3)).network)


# ---- batch statistics


def statistics_of(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.var(0)


def test_under_per_domain_each_source_is_normalised_by_its_own() -> None:
    model = network(dropout=0.0)
    seen: list[Tensor] = []
    layer_in: list[Tensor] = []

    def watch(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not module.training:
            return
        layer_in.append(inputs[0].detach())
        seen.append(output.detach())

    model.extractor[1].register_forward_hook(watch)
    train(SourceOnly(see_target=True), model, source=pairs(), batch_statistics="per_domain", steps=1)
    layer = model.extractor[1]
    assert isinstance(layer, DomainBatchNorm)
    blocks, came = seen[0].split([3, 3, 3, 7]), layer_in[0].split([3, 3, 3, 7])
    for got, x in zip(blocks, came, strict=True):
        expected = (x - x.mean(0)) / (x.var(0, unbiased=False) + layer.eps).sqrt()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)  # the affine part starts as the identity
    means, variances = zip(*map(statistics_of, came), strict=True)
    torch.testing.assert_close(layer.source_running_mean, 0.1 * sum(means[:3]) / 3)
    torch.testing.assert_close(layer.source_running_var, 0.9 + 0.1 * sum(variances[:3]) / 3)
    torch.testing.assert_close(layer.running_mean, 0.1 * means[3])
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * variances[3])


def test_joint_statistics_are_of_all_rows_together() -> None:
    model, seen = network(dropout=0.0), []
    model.extractor[1].register_forward_hook(
        lambda module, inputs, output: seen.append(output.detach()) if module.training else None
    )
    train(SourceOnly(see_target=True), model, source=pairs(), steps=1)
    assert len(seen[0]) == 16
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(8), rtol=0, atol=1e-5)


def test_adabn_s_weights_are_those_of_source_only_whose_sources_go_together() -> None:
    assert same_parameters(run(AdaBN()).network, run().network)
    assert same_parameters(run().network, run(batch_statistics="per_domain").network)


def same_parameters(one: Network, other: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
