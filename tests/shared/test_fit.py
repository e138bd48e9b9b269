"""The one training loop: seeds, parity, what it leaves alone, and what it says of wrong arguments."""

from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import SIZES, create, data, network, same, train

from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.methods import METHODS
from landbridge.shared.adabn import AdaBN
from landbridge.shared.batches import Order
from landbridge.shared.checkpoint import read_checkpoint
from landbridge.shared.extractors import create_network
from landbridge.shared.fit import fit
from landbridge.shared.gradient_reversal import ramp
from landbridge.shared.history import TrainingDiverged
from landbridge.shared.method import Method, Source, Target
from landbridge.shared.network import Network
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.result import FitResult
from landbridge.shared.seeds import derive_seed
from landbridge.shared.source_only import SourceOnly
from landbridge.shared.step import Batch

# MCD is not among them: with weight 0 its heads still take their own step on the source.
WEIGHED = [n for n, m in METHODS.items() if "weight" in inspect.signature(m).parameters and m is not MCD]
STATISTICS = ["joint", "per_domain"]


def alike(one: FitResult, other: FitResult) -> bool:
    assert one.method is not None
    assert other.method is not None
    return same(one.network, other.network) and same(one.method, other.method)


# ---- seeds


@pytest.mark.usefixtures("keeps_random_state")
@pytest.mark.parametrize("name", METHODS)
def test_one_seed_one_result(name: str) -> None:
    one = train(create(METHODS[name]), seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        other = train(create(METHODS[name]), seed=3)
    assert alike(one, other)
    assert torch.equal(one.history.values, other.history.values)
    assert not same(one.network, train(create(METHODS[name]), seed=4).network)


def noise(x: Tensor) -> Tensor:
    """An augmentation that draws from every global stream."""
    return x + torch.rand(1) + random.random() + np.random.rand()  # noqa: NPY002


class Projected(Method):
    """Draws a part of its own when it begins."""

    def begin(self, network: Network) -> None:
        self.register_buffer("axis", torch.randn(SIZES.features))

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        gap = source.features.mean(0) - target.features.mean(0)
        return {"gap": (gap @ self.axis).square()}


@pytest.mark.usefixtures("keeps_random_state")
def test_the_seed_decides_augmentation_and_what_a_method_draws_at_its_beginning() -> None:
    one, other = train(Projected(), augment=noise), train(Projected(), augment=noise)
    assert alike(one, other)
    assert not alike(one, train(Projected(), augment=noise, seed=1))


@pytest.mark.usefixtures("keeps_random_state")
def test_random_states_are_given_back_after_a_failure_too() -> None:
    def fails(step: int, model: Network) -> None:
        torch.rand(1)
        raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        train(create(DANN), augment=noise, evaluate_at=[2], on_evaluate=fails)


# ---- laws between methods


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("name", WEIGHED)
def test_weight_zero_is_source_only_forwarded_the_same_way(name: str, statistics: str) -> None:
    settings = {"batch_statistics": statistics, "optimizer": Optimizer(name="adam")}
    zero = train(create(METHODS[name], weight=0.0), **settings)
    assert same(zero.network, train(SourceOnly(see_target=True), **settings).network)
    assert torch.equal(zero.history["task"], train(SourceOnly(see_target=True), **settings).history["task"])
    assert not same(zero.network, train(create(METHODS[name], weight=9.0), **settings).network)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_source_only_is_not_touched_by_the_target(statistics: str) -> None:
    some = data()
    results = [train(SourceOnly(), target=x, batch_statistics=statistics) for x in (some.target, 5 - some.target)]
    assert same(results[0].network, results[1].network)
    seeing = train(SourceOnly(see_target=True), batch_statistics=statistics)
    assert not same(seeing.network, results[0].network)


def test_target_labels_cannot_be_given() -> None:
    """What cannot be given cannot change a weight; and no batch has a place for it."""
    with pytest.raises(
        TypeError, match="fit never reads target labels, so that they cannot leak; got target as a tupl"
    ):
        train(create(DANN), target=(data().target, data().labels[:33]))
    assert Batch._fields == ("source", "labels", "target", "index", "domain")
    assert not any("label" in name for name in Target._fields)


def test_a_bare_loop_gives_the_same_bits() -> None:
    some, steps, seed = data(), 12, 5
    settings = Optimizer(lr=0.05, momentum=0.9, weight_decay=1e-3, schedule="annealed")
    result = train(create(DANN, weight=2.0), steps=steps, seed=seed, optimizer=settings)

    model, method = network(), create(DANN)
    model.train()
    optimizer = torch.optim.SGD(
        [*model.parameters(), *method.parameters()], lr=0.05, momentum=0.9, weight_decay=1e-3, fused=True
    )
    orders = [Order(n, b, seed=seed, name=d, device="cpu") for d, n, b in (("source", 40, 9), ("target", 33, 7))]
    with torch.random.fork_rng():
        for step in range(steps):
            torch.manual_seed(derive_seed(seed, "step", step))
            rows, target_rows = (order(step) for order in orders)
            features, logits = model(torch.cat([some.inputs[rows], some.target[target_rows]]))
            strength = 2.0 * ramp(torch.tensor(step / steps))
            reversed_ = features.clone()
            reversed_.register_hook(lambda gradient, by=strength: -by * gradient)
            domain = method.discriminator(reversed_)
            loss = F.cross_entropy(logits[:9], some.labels[rows])
            loss = loss + (F.softplus(-domain[:9]).mean() + F.softplus(domain[9:]).mean())
            optimizer.param_groups[0]["lr"] = 0.05 * (1 + 10 * step / steps) ** -0.75
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert same(result.network, model)
    assert result.method is not None
    assert same(result.method, method)


# ---- what the loop calls, and when


class Noting(SourceOnly):
    """Notes at which step it was refreshed, from what, and at what progress its terms were asked for."""

    def __init__(self, refresh_every: int | None = None) -> None:
        super().__init__(see_target=True)
        self.refresh_every = refresh_every
        self.calls: list[Any] = []

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        self.calls.append(round(float(progress), 6))
        return {}

    def refresh(self, network: Network, target_batches: Any) -> None:
        rows = torch.cat(list(target_batches))
        self.calls.append("all" if torch.equal(rows, data().target) else "some")


def test_progress_and_refresh_before_the_first_step_and_every_so_many() -> None:
    method = Noting(refresh_every=2)
    train(method, evaluate_at=[1, 3], on_evaluate=lambda step, model: method.calls.append(step))
    assert method.calls == ["all", 0.0, 1, 0.2, "all", 0.4, 3, 0.6, "all", 0.8]


def test_refresh_before_evaluations_and_at_the_end() -> None:
    method = Noting()
    train(method, evaluate_at={1, 5}, on_evaluate=lambda step, model: method.calls.append(step))
    assert method.calls == [0.0, "all", 1, 0.2, 0.4, 0.6, 0.8, "all", 5, "all"]


def test_evaluations_see_the_network_in_training_and_leave_training_alone() -> None:
    seen: dict[int, bool] = {}

    def evaluate(step: int, model: Network) -> None:
        seen[step] = model.training
        torch.rand(3)
        model.eval()

    watched = train(create(DANN), evaluate_at=range(1, 6), on_evaluate=evaluate)
    assert seen == dict.fromkeys(range(1, 6), True)
    assert alike(watched, train(create(DANN)))


def test_a_part_put_into_evaluation_mode_at_the_beginning_stays_so() -> None:
    class Frozen(Noting):
        def begin(self, network: Network) -> None:
            network.extractor[1].eval()

    model = network()
    before = model.extractor[1].running_mean.clone()
    train(Frozen(), model, evaluate_at=[2], on_evaluate=lambda step, model: None)
    assert torch.equal(model.extractor[1].running_mean, before)


def test_history_holds_the_weighted_terms_by_step() -> None:
    result = train(create(DANN), metrics_every=3)
    assert result.history.names == ["task", "domain", "accuracy"]
    assert result.history.values.shape == (5, 3)
    some, model, method = data(), network().train(), create(DANN)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(derive_seed(0, "step", 0))
        rows, target_rows = (
            Order(n, b, seed=0, name=d, device="cpu")(0) for d, n, b in (("source", 40, 9), ("target", 33, 7))
        )
        features, logits = model(torch.cat([some.inputs[rows], some.target[target_rows]]))
        assert result.history["task"][0] == F.cross_entropy(logits[:9], some.labels[rows])
        assert result.history["domain"][0] == method(Source(features[:9]), Target(features[9:]), 0.0)
        judged = method.discriminator(features) > 0
        share = (judged[:9].float().mean() + (~judged[9:]).float().mean()) / 2
        torch.testing.assert_close(result.history["accuracy"][0], share)


class Watches(SourceOnly):
    """Records a number, which a graph hangs on."""

    watches = frozenset({"size"})

    def __init__(self) -> None:
        super().__init__(see_target=True)
        self.weight = 5.0

    def terms(self, source: Source, target: Target, progress: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"size": 100 * source.features.square().mean()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_watched_is_recorded_and_moves_nothing(accumulate: int) -> None:
    watched = train(Watches(), accumulate=accumulate)
    plain = train(SourceOnly(see_target=True), accumulate=accumulate)
    assert same(watched.network, plain.network)
    assert torch.equal(watched.history["task"], plain.history["task"])
    assert watched.history.names == ["task", "size"]
    assert bool((watched.history["size"] > 0).all())


def test_a_method_that_only_watches_adds_nothing_of_its_own() -> None:
    some = data()
    features, logits = network().eval()(some.inputs)
    source, target = Source(features, logits, some.labels), Target(*network().eval()(some.target))
    watches = Watches()
    assert not watches(source, target).any()
    unweighted = watches.terms(source, target, torch.zeros(()))["size"]
    assert torch.equal(watches.losses(source, target, torch.zeros(()))["size"], unweighted)


def test_two_phases() -> None:
    first = train(SourceOnly())
    second = train(create(DANN), network(seed=8), init=first)
    again = train(create(DANN), first.network)
    assert same(second.network, again.network)


@pytest.mark.parametrize("second", STATISTICS)
def test_two_phases_where_the_first_was_per_domain(second: str, tmp_path: Any) -> None:
    first = train(create(DANN), batch_statistics="per_domain", steps=2)
    first.save(tmp_path / "first.safetensors")
    results = [
        train(create(DANN), network(seed=8), init=init, batch_statistics=second)
        for init in (first, tmp_path / "first.safetensors")
    ]
    assert same(results[0].network, results[1].network)
    assert not same(results[0].network, train(create(DANN), network(seed=8), batch_statistics=second).network)


def test_init_of_another_network_is_a_sentence() -> None:
    small, large = (Network(nn.Linear(6, d), nn.Linear(d, 3)) for d in (4, 5))
    with pytest.raises(ValueError, match=r"fit: the weights of init do not fit the network: [^$]*size mismatch"):
        train(SourceOnly(), small, init=train(SourceOnly(), large))


# ---- switches


def images() -> dict[str, Any]:
    x = torch.randint(0, 256, (24, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"source": (x, torch.arange(24) % 3), "target": x.flip(2)}


def image_run(**settings: Any) -> FitResult:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_network("lenet16-slim", classes=3, features=SIZES.features)
    return train(create(DANN), model, **images(), steps=2, **settings)


def test_channels_last_is_another_layout_of_the_same_numbers(tmp_path: Any) -> None:
    last, first = image_run(channels_last=True), image_run()
    weight = next(p for p in last.network.parameters() if p.ndim == 4 and p.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(last.network.parameters(), first.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    last.save(tmp_path / "last.safetensors")


def test_bfloat16_trains_near_float32_in_float32_weights() -> None:
    half, whole = image_run(precision="bfloat16"), image_run()
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    assert not same(half.network, whole.network)
    torch.testing.assert_close(half.history.values, whole.history.values, rtol=0.05, atol=0.02)


def test_accumulated_batches_are_the_next_ones() -> None:
    drawn: list[Tensor] = []
    train(SourceOnly(), accumulate=2, steps=3, augment=lambda x: (drawn.append(x), x)[1])
    halves: list[Tensor] = []
    train(SourceOnly(), steps=6, augment=lambda x: (halves.append(x), x)[1])
    assert len(drawn) == 12
    assert all(torch.equal(a, b) for a, b in zip(drawn, halves, strict=True))


def test_domains_of_different_size_and_batches_wrap_independently() -> None:
    result = train(create(DANN), batch_size=(40, 2), steps=20)
    assert result.predict(data().target).shape == (33,)


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    train(create(DANN), progress_bar=True, metrics_every=1)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "domain" in shown


# ---- divergence


class LossIsLost:
    """A task loss that is NaN from a call on."""

    def __init__(self, call: int) -> None:
        self.calls, self.call = 0, call

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(logits, labels) * (torch.nan if self.calls > self.call else 1)


@pytest.mark.parametrize("method", [SourceOnly, DANN])
def test_a_lost_loss_names_term_and_step_and_keeps_the_last_good_checkpoint(
    method: type[Method], tmp_path: Any
) -> None:
    path = tmp_path / "run.pt"
    settings = {"steps": 8, "checkpoint": path, "checkpoint_every": 2}
    kept = r"the term 'task' is nan at step 5\. .* The last good checkpoint is kept in .*run\.pt"
    with pytest.raises(TrainingDiverged, match=kept):
        train(create(method), task_loss=LossIsLost(5), **settings)
    again = train(create(method), network(seed=1), **settings)
    assert alike(again, train(create(method), steps=8))


def test_the_first_lost_term_is_named_where_the_features_are_lost_before_it_is_read() -> None:
    with pytest.raises(TrainingDiverged, match="the term 'task' is nan at step 2"):
        train(create(DANN), task_loss=LossIsLost(2), metrics_every=50)


def test_a_lost_gradient_is_seen_before_it_is_kept(tmp_path: Any) -> None:
    class Lost(Noting):
        def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
            return {"root": (progress * 0 + (progress < 0.5) + 0 * source.features.sum()).sqrt()}

    path = tmp_path / "run.pt"
    with pytest.raises(TrainingDiverged, match=r"holds NaN or inf after 3 steps, .*checkpoint is kept in"):
        train(Lost(), steps=4, checkpoint=path, checkpoint_every=1)
    assert read_checkpoint(path)["step"] == 2
    with pytest.raises(TrainingDiverged, match="holds NaN or inf after 2 steps"):
        train(Lost(), steps=2)  # progress 0 and 0.5


def test_nan_in_the_data_is_named() -> None:
    some = data()
    with pytest.raises(TrainingDiverged, match="training stopped at step 0: DANN got NaN or inf in target"):
        train(create(DANN), target=torch.full_like(some.target, torch.nan), batch_statistics="per_domain")


# ---- arguments


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"steps": 0}, ValueError, "fit needs steps as a whole number >= 1; got 0"),
        ({"accumulate": 1.5}, ValueError, "fit needs accumulate as a whole number >= 1; got 1.5"),
        ({"batch_size": 34}, ValueError, r"got batch size 34 and 33 samples\. .*at most 33 for the target"),
        ({"batch_size": (41, 3)}, ValueError, r"got batch size 41 and 40 samples\. .*at most 40 for the source"),
        ({"batch_size": 8.0}, TypeError, r"batch_size as a whole number or \(source, target\); got 8\.0"),
        ({"batch_size": (8, 8, 8)}, TypeError, "batch_size as a whole number or"),
        ({"precision": "float23"}, ValueError, "unknown precision 'float23'; did you mean 'float32'"),
        ({"batch_statistics": "perdomain"}, ValueError, "did you mean 'per_domain'"),
        ({"device": "gpu"}, ValueError, "unknown device 'gpu'; use 'auto', 'cpu', 'cuda' or 'cuda:1'"),
        ({"source": None}, ValueError, r"DANN is not source-free; got source=None\. Pass source="),
        ({"source": data().inputs}, TypeError, r"fit needs source=\(inputs, labels\); got Tensor"),
    ],
)
def test_wrong_arguments_meet_a_sentence(wrong: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        train(create(DANN), **wrong)


def test_what_is_no_network_or_method() -> None:
    some = data()
    with pytest.raises(TypeError, match=r"a landbridge Network; got Linear\. Use Network\(extractor, head\), or wrap"):
        fit(nn.Linear(6, 3), SourceOnly(), some.source, some.target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"fit needs a Method; got <class .*DANN"):
        fit(network(), DANN, some.source, some.target)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="AdaBN works on BatchNorm layers; Network has none"):
        train(AdaBN(), Network(nn.Linear(6, 4), nn.Linear(4, 3)))
