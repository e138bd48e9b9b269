"""The laws of methods: each takes a record of the table, and fails for a method that breaks it."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any, NamedTuple, TypeVar

import pytest
import torch
from records import HALVES, N_S, N_T, SIZES, MethodRecord, features
from torch import Tensor, nn

from landbridge.shared.method import Method, Source, Target, Update
from landbridge.shared.network import Network

PROGRESS = 0.3  # where a ramp is neither 0 nor 1
SOURCES = 3  # of which the batch's source rows are, in blocks


S = TypeVar("S", Source, Target)


class Batch(NamedTuple):
    """What a method sees of one step."""

    source: Source
    target: Target


def batch(n_s: int = N_S, n_t: int = N_T, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(7)
    logits_s, logits_t = (torch.randn(n, SIZES.classes, generator=generator, dtype=dtype) for n in (n_s, n_t))
    labels, domain = torch.arange(n_s) % SIZES.classes, torch.arange(n_s) * SOURCES // n_s
    target = Target(1.5 * features(n_t, 2, dtype) + 0.5, logits_t, torch.arange(n_t))
    strong = Target(target.features + 0.1, logits_t + 0.1)
    return Batch(Source(features(n_s, 1, dtype), logits_s, labels, domain=domain), target._replace(strong=strong))


def moved(given: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with all its floating-point tensors changed."""
    return Batch(*(_each(v, lambda t: change(t) if t.is_floating_point() else t) for v in given))


def rows(values: S, order: Tensor) -> S:
    """A Source or Target with its rows in another order."""
    return _each(values, lambda t: t[order])


def _each(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(values, Tensor):
        return change(values)
    return values if values is None else type(values)(*(_each(v, change) for v in values))


def make(record: MethodRecord, dtype: torch.dtype = torch.float64, seed: int = 0, **settings: Any) -> Method:
    """The record's method after ``begin`` on a small network, as the loop would have it."""
    torch.manual_seed(seed)
    network = Network(nn.Identity(), nn.Linear(SIZES.features, SIZES.classes)).to(dtype)
    method = record.make(SIZES, **{**record.base, **settings}).to(dtype)
    method.begin(network)
    return method.to(dtype)


def losses(method: Method, given: Batch, progress: float = PROGRESS) -> dict[str, Tensor]:
    """The weighted terms of all updates, by update and name."""
    at = given.target.features.new_full(
        (), progress, dtype=torch.promote_types(given.target.features.dtype, torch.float32)
    )
    seen = {}
    for number, update in enumerate(method.updates()):
        torch.manual_seed(1)
        for name, loss in method.losses(given.source, given.target, at, update).items():
            seen[f"{number}/{name}"] = loss
    return seen


def total_of(update: int, terms: Mapping[str, Tensor], without: frozenset[str] = frozenset()) -> Tensor:
    """The sum of one update's terms, but for some."""
    here = [v for name, v in terms.items() if name.startswith(f"{update}/") and term(name) not in without]
    return torch.stack(here).sum() if here else torch.zeros(())


def term(name: str) -> str:
    """The term's own name: 1/discrepancy is discrepancy in the second update."""
    return name.split("/", 1)[1]


def inputs(given: Batch) -> dict[str, Tensor]:
    """The tensors of a batch that gradients can reach."""
    both = {"source": given.source, "target": given.target}
    return {f"{d} {name}": getattr(v, name) for d, v in both.items() for name in ("features", "logits")}


def gradients(
    method: Method, given: Batch, progress: float = PROGRESS, without: frozenset[str] = frozenset()
) -> dict[str, Tensor]:
    """The gradient of each update's sum, of what came in and of the method's own parts; 0 where there is none."""
    given = moved(given, lambda v: v.detach().clone().requires_grad_())
    to = {**inputs(given), **{f"own {name}": p for name, p in method.named_parameters() if p.requires_grad}}
    found: dict[str, Tensor] = {}
    for number in range(len(method.updates())):
        total = total_of(number, losses(method, given, progress), without | method.watches)
        grads: tuple[Tensor | None, ...] = (None,) * len(to)
        if total.requires_grad:
            grads = torch.autograd.grad(total, list(to.values()), allow_unused=True)
        for (name, value), grad in zip(to.items(), grads, strict=True):
            found[f"{number}/{name}"] = torch.zeros_like(value) if grad is None else grad
    return found


def facts(method: Method) -> tuple[object, ...]:
    """What a loop reads of a method beside its numbers."""
    updates = [(sorted(u.trains), u.task, u.repeat, u.fresh) for u in method.updates()]
    return updates, method.sees_target, method.refresh_every


def outputs(method: Method, progress: float = PROGRESS) -> dict[str, Tensor]:
    given = batch()
    return {**losses(method, given, progress), **gradients(method, given, progress)}


def assert_same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], rtol: float = 1e-9, atol: float = 1e-12) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        close = torch.allclose(value.double(), b[name].double(), rtol=rtol, atol=atol)
        assert close, f"{name}: {value} is not {b[name]}"


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def numeric_gradient(value: Callable[[], Tensor], x: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences in place, entry by entry."""
    grad = torch.zeros_like(x)
    for index in range(x.numel()):
        flat, here = x.view(-1), float(x.view(-1)[index])
        flat[index] = here + step
        above = float(value())
        flat[index] = here - step
        grad.view(-1)[index] = (above - float(value())) / (2 * step)
        flat[index] = here
    return grad


# ---- the laws of methods


def terms_are_named_finite_scalars(record: MethodRecord) -> None:
    for name, loss in losses(make(record), batch()).items():
        assert loss.shape == (), name
        assert loss.isfinite(), name


def watched_terms_are_measured_only(record: MethodRecord) -> None:
    """They keep their value whatever the weight, and have no gradient."""
    method = make(record)
    found = losses(method, batch())
    assert method.watches <= {term(name) for name in found}
    for name, loss in found.items():
        assert term(name) not in method.watches or not loss.requires_grad, name
    if "weight" in record.settings:
        heavy = losses(make(record, weight=3.0), batch())
        assert all(torch.equal(found[n], heavy[n]) for n in found if term(n) in method.watches)


def forward_is_the_sum_of_losses(record: MethodRecord) -> None:
    method, given = make(record), batch()
    updates = method.updates()
    if len(updates) > 1 or updates[0] != Update(method.terms):
        with pytest.raises(TypeError, match=r"use landbridge\.fit"):
            method(*given, PROGRESS)
        return
    torch.manual_seed(1)
    total = method(*given, PROGRESS)
    assert total.shape == ()
    torch.testing.assert_close(total, total_of(0, losses(method, given), method.watches).to(total.dtype))


def order_of_samples_does_not_matter(record: MethodRecord) -> None:
    if not record.order:
        return
    method, given = make(record), batch()
    shuffled = Batch(
        rows(given.source, torch.tensor([3, 0, 5, 1, 4, 2])), rows(given.target, torch.tensor([4, 2, 0, 3, 1]))
    )
    assert_same(losses(method, given), losses(method, shuffled))


def identical_domains_give_zero_and_a_finite_gradient(record: MethodRecord) -> None:
    method, given = make(record), batch(N_S, N_S)
    target = Target(given.source.features, given.source.logits, given.target.index)
    same = Batch(given.source, target._replace(strong=target))
    for name, loss in losses(method, same).items():
        assert loss.abs() < 1e-9 if term(name) in record.zero_at_identical else loss.isfinite(), name
    assert all(grad.isfinite().all() for grad in gradients(method, same).values())
    for name, loss in losses(method, given).items():
        assert loss > 1e-6 or term(name) not in record.zero_at_identical, name


def domains_may_differ_in_size(record: MethodRecord) -> None:
    method = make(record)
    for n_s, n_t in ((9, 3), (3, 9)):
        given = batch(n_s, n_t)
        assert all(loss.isfinite() for loss in losses(method, given).values())
        assert all(grad.isfinite().all() for grad in gradients(method, given).values())


def one_sample_works_or_meets_a_sentence(record: MethodRecord) -> None:
    method = make(record)
    for n_s, n_t in ((1, N_T), (N_S, 1), (1, 1)):
        given = batch(n_s, n_t)
        if method.least > 1 and "source" in method.needs:
            with pytest.raises(ValueError, match=rf"{record.method.__name__} needs at least {method.least} samples"):
                losses(method, given)
            continue
        assert all(loss.isfinite() for loss in losses(method, given).values())
        assert all(grad.isfinite().all() for grad in gradients(method, given).values())


def wrong_batches_meet_a_sentence(record: MethodRecord) -> None:
    method, good = make(record), batch()
    name = record.method.__name__
    nan_s, nan_t = good.source.features.clone(), good.target.features.clone()
    nan_s[2, 1] = nan_t[3, 0] = math.nan
    source, target = good
    wrong: list[tuple[Batch, type[Exception], str]] = [
        (Batch(source._replace(features=nan_s), target), ValueError, f"{name} got NaN or inf in source: .* is row 2"),
        (Batch(source, target._replace(features=nan_t)), ValueError, f"{name} got NaN or inf in target: .* is row 3"),
        (Batch(rows(source, torch.arange(0)), target), ValueError, f"{name} got an empty source"),
        (Batch(source, rows(target, torch.arange(0))), ValueError, f"{name} got an empty target"),
        (
            Batch(source, target._replace(features=target.features[:, :3])),
            ValueError,
            rf"{name} compares features of one size; got source \(6, 4\) and target \(5, 3\)",
        ),
        (
            Batch(source._replace(features=source.features.long()), target),
            TypeError,
            f"{name} needs floating-point source features; got torch.int64",
        ),
        (Batch(source, target._replace(features=target.features.float())), ValueError, f"{name} needs both domains in"),
    ]
    if "logits" in method.needs:
        wrong.append((Batch(source, target._replace(logits=None)), ValueError, f"{name} needs target logits"))
        wrong.append((Batch(source._replace(logits=None), target), ValueError, f"{name} needs source logits"))
    if "labels" in method.needs:
        wrong.append((Batch(source._replace(labels=None), target), ValueError, f"{name} needs source labels"))
    if "domain" in method.needs:
        wrong.append((Batch(source._replace(domain=None), target), ValueError, f"{name} tells .* sources apart; got"))
    for given, error, sentence in wrong:
        for update in method.updates():
            with pytest.raises(error, match=sentence):
                method.losses(*given, torch.tensor(1.0), update)


def what_is_not_needed_may_be_missing(record: MethodRecord) -> None:
    method, (source, target) = make(record), batch()
    if "logits" not in method.needs:
        source, target = source._replace(logits=None), target._replace(logits=None)
    if "labels" not in method.needs:
        source = source._replace(labels=None)
    if "domain" not in method.needs:
        source = source._replace(domain=None)
    if "index" not in method.needs:
        target = target._replace(index=None)
    if "strong" not in method.needs:
        target = target._replace(strong=None)
    assert equal(losses(method, Batch(source, target)), losses(method, batch()))


def half_precision_changes_little(record: MethodRecord) -> None:
    made = make(record, torch.float32)
    for dtype in HALVES:
        method = copy.deepcopy(made).eval()  # which keeps what a method has measured of the batches as it is
        half = moved(batch(dtype=torch.float32), methodcaller("to", dtype))
        exact = losses(method, moved(half, torch.Tensor.float))
        with torch.autocast("cpu", dtype=dtype):
            rounded = losses(method, half)
            widened = losses(method, moved(half, torch.Tensor.float))
            backward = gradients(method, half)
        for found in (rounded, widened):
            assert {loss.dtype for loss in found.values()} <= {torch.float32}
            assert_same(exact, found, rtol=record.half_tolerance, atol=record.half_tolerance)
        assert all(grad.isfinite().all() for grad in backward.values())


def every_setting_changes_something(record: MethodRecord) -> None:
    known = set(inspect.signature(record.method.__init__).parameters) - {"self", *SIZES._fields}
    assert known == set(record.settings), f"the record of {record.name} has no value for some setting, or too many"
    method = make(record)
    before, was = outputs(method), facts(method)
    for setting, value in record.settings.items():
        changed = make(record, **(value if isinstance(value, dict) else {setting: value}))
        after = outputs(changed)
        assert facts(changed) != was or not equal(before, after), f"{record.name} ignores {setting}={value!r}"


def one_seed_one_result(record: MethodRecord) -> None:
    first, again, other = make(record), make(record), make(record, seed=9)
    assert equal(outputs(first), outputs(again))
    if any(p.requires_grad for p in first.parameters()):
        assert not equal(outputs(first), outputs(other))


def state_is_all_there_is(record: MethodRecord) -> None:
    """A method that loads another's state gives the same numbers, so a checkpoint can hold it."""
    first, other = make(record), make(record, seed=9)
    other.load_state_dict(first.state_dict())
    assert equal(outputs(first), outputs(other))


def the_weight_scales_as_stated(record: MethodRecord) -> None:
    if "weight" not in record.settings:
        return
    half, one, three = (make(record, weight=w) for w in (0.5, 1.0, 3.0))
    given = batch()
    if record.method.weighs == "terms":
        expected = {n: v if term(n) in record.unweighted else 3 * v for n, v in losses(one, given).items()}
        assert_same(losses(three, given), expected)
        full = gradients(one, given, without=record.unweighted)
        assert_same(gradients(half, given, without=record.unweighted), {n: 0.5 * v for n, v in full.items()})
        return
    assert record.reverses, "a method that weighs inside states how"
    assert equal(losses(three, given), losses(one, given))
    expected = {n: v if "own" in n else 3 * v for n, v in gradients(one, given).items()}
    assert_same(gradients(three, given), expected)


def outer(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradients that leave the method."""
    return {name: grad for name, grad in found.items() if "own" not in name}


def weight_zero_moves_nothing_outside_the_method(record: MethodRecord) -> None:
    if "weight" not in record.settings:
        return
    found = outer(gradients(make(record, weight=0.0), batch(), without=record.unweighted))
    assert not any(grad.any() for grad in found.values())


def the_ramp_starts_at_nothing_and_ends_at_the_weight(record: MethodRecord) -> None:
    if "schedule" not in record.settings:
        return
    ramped, constant = make(record, schedule="ramp"), make(record, schedule="constant")
    start, middle, end, full = (
        outer(gradients(method, batch(), progress, record.unweighted))
        for method, progress in ((ramped, 0.0), (ramped, 0.1), (ramped, 1.0), (constant, 0.1))
    )
    assert any(grad.any() for grad in full.values())
    assert not any(grad.any() for grad in start.values())
    assert_same(middle, {name: math.tanh(0.5) * grad for name, grad in full.items()})
    assert_same(end, full, rtol=1e-3)


def gradients_are_those_of_the_value(record: MethodRecord) -> None:
    """Against central differences; times minus the weight where a gradient is reversed."""
    method, given = make(record, **record.smooth), moved(batch(), torch.clone)
    factor = -float(method.strength(torch.tensor(PROGRESS, dtype=torch.float64))) if record.reverses else 1.0
    found = gradients(method, given)
    for number in range(len(method.updates())):

        def value(number: int = number) -> Tensor:
            return total_of(number, losses(method, given), method.watches)

        for name, x in inputs(given).items():
            with torch.no_grad():
                expected = factor * numeric_gradient(value, x)
            torch.testing.assert_close(found[f"{number}/{name}"], expected, rtol=1e-5, atol=1e-7)


def some_gradient_reaches_the_features(record: MethodRecord) -> None:
    if not losses(make(record), batch()):
        return
    found = gradients(make(record), batch())
    assert any(grad.any() for name, grad in found.items() if "features" in name or "logits" in name)


METHOD_LAWS: list[Callable[[MethodRecord], None]] = [
    terms_are_named_finite_scalars,
    watched_terms_are_measured_only,
    forward_is_the_sum_of_losses,
    order_of_samples_does_not_matter,
    identical_domains_give_zero_and_a_finite_gradient,
    domains_may_differ_in_size,
    one_sample_works_or_meets_a_sentence,
    wrong_batches_meet_a_sentence,
    what_is_not_needed_may_be_missing,
    half_precision_changes_little,
    every_setting_changes_something,
    one_seed_one_result,
    state_is_all_there_is,
    the_weight_scales_as_stated,
    weight_zero_moves_nothing_outside_the_method,
    the_ramp_starts_at_nothing_and_ends_at_the_weight,
    gradients_are_those_of_the_value,
    some_gradient_reaches_the_features,
]
