"""Every method keeps the laws; and a method with a fault is caught by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from laws import (
    METHOD_LAWS,
    domains_may_differ_in_size,
    every_setting_changes_something,
    forward_is_the_sum_of_losses,
    gradients_are_those_of_the_value,
    half_precision_changes_little,
    identical_domains_give_zero_and_a_finite_gradient,
    one_sample_works_or_meets_a_sentence,
    one_seed_one_result,
    order_of_samples_does_not_matter,
    some_gradient_reaches_the_features,
    state_is_all_there_is,
    terms_are_named_finite_scalars,
    the_ramp_starts_at_nothing_and_ends_at_the_weight,
    the_weight_scales_as_stated,
    watched_terms_are_measured_only,
    weight_zero_moves_nothing_outside_the_method,
    what_is_not_needed_may_be_missing,
    wrong_batches_meet_a_sentence,
)
from records import METHOD_RECORDS, SIZES, MeanAlignment, MethodRecord
from torch import Tensor

import landbridge.methods
from landbridge.shared.method import Source, Target


@pytest.mark.parametrize("record", METHOD_RECORDS, ids=lambda record: record.name)
@pytest.mark.parametrize("law", METHOD_LAWS, ids=lambda law: law.__name__)
def test_method(law: Callable[[MethodRecord], None], record: MethodRecord) -> None:
    law(record)


def test_every_method_has_a_record() -> None:
    recorded = {record.name.split(",")[0]: record.method for record in METHOD_RECORDS}
    assert {name: recorded.get(name) for name in landbridge.methods.METHODS} == landbridge.methods.METHODS


# ---- methods with a fault, each caught by a law


class Broken(MeanAlignment):
    """A setting, a vector drawn at construction, and a gap to build faults from."""

    def __init__(self, *, weight: float = 1.0, schedule: str = "constant", scale: float = 1.0) -> None:
        super().__init__(weight=weight, schedule=schedule)
        self.drawn = torch.randn(SIZES.features, dtype=torch.float64)

    def gap(self, source: Source, target: Target) -> Tensor:
        return source.features.mean(0) - target.features.mean(0)


class ReadsTheFirstRow(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": (source.features[0] - target.features.mean(0)).square().sum()}


class HasNoGradientAtZero(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": self.gap(source, target).square().sum().sqrt()}


class HasAConstantAdded(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": 1 + self.gap(source, target).square().sum()}


class NeedsEqualSizes(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": (source.features - target.features).mean(0).square().sum()}


class DividesByOneLess(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": (source.features.var(0) - target.features.var(0)).square().sum()}


class ChecksNothing(Broken):
    def check(self, source: Source | None, target: Target) -> None:
        pass


class ReadsWhatItDoesNotNeed(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": self.gap(source, target).square().sum() * (2.0 if target.index is None else 1.0)}


class ComputesInHalf(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        gap = self.gap(source, target)
        return {"mean": gap @ gap}


class IgnoresItsScale(Broken):
    pass


class RollsItsOwnDice(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": random.random() * self.gap(source, target).square().sum()}


class KeepsItsStateToItself(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": (self.gap(source, target) * self.drawn).square().sum()}


class IgnoresItsWeight(Broken):
    def weighted(self, terms: dict[str, Tensor], progress: Tensor) -> dict[str, Tensor]:
        return terms


class RampsTwice(Broken):
    def strength(self, progress: Tensor) -> float | Tensor:
        return super().strength(progress) ** 2


class DetachesHalf(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": (source.features.mean(0) - target.features.mean(0).detach()).square().sum()}


class DetachesAll(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": self.gap(source, target).detach().square().sum()}


class SumsTwice(Broken):
    def forward(self, source: Source | None, target: Target, progress: float | Tensor = 1.0) -> Tensor:
        return 2 * super().forward(source, target, progress)


class WeighsWhatItWatches(Broken):
    watches = frozenset({"gap"})

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        gap = self.gap(source, target).detach().square().sum()
        return {"mean": self.gap(source, target).square().sum(), "gap": gap}

    def weighted(self, terms: dict[str, Tensor], progress: Tensor) -> dict[str, Tensor]:
        return {name: self.strength(progress) * value for name, value in terms.items()}


class ReturnsAVector(Broken):
    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": self.gap(source, target).square()}


FAULTS: list[tuple[type[Broken], Callable[[MethodRecord], None]]] = [
    (ReturnsAVector, terms_are_named_finite_scalars),
    (WeighsWhatItWatches, watched_terms_are_measured_only),
    (SumsTwice, forward_is_the_sum_of_losses),
    (ReadsTheFirstRow, order_of_samples_does_not_matter),
    (HasNoGradientAtZero, identical_domains_give_zero_and_a_finite_gradient),
    (HasAConstantAdded, identical_domains_give_zero_and_a_finite_gradient),
    (NeedsEqualSizes, domains_may_differ_in_size),
    (DividesByOneLess, one_sample_works_or_meets_a_sentence),
    (ChecksNothing, wrong_batches_meet_a_sentence),
    (ReadsWhatItDoesNotNeed, what_is_not_needed_may_be_missing),
    (ComputesInHalf, half_precision_changes_little),
    (IgnoresItsScale, every_setting_changes_something),
    (RollsItsOwnDice, one_seed_one_result),
    (KeepsItsStateToItself, state_is_all_there_is),
    (IgnoresItsWeight, the_weight_scales_as_stated),
    (IgnoresItsWeight, weight_zero_moves_nothing_outside_the_method),
    (RampsTwice, the_ramp_starts_at_nothing_and_ends_at_the_weight),
    (DetachesHalf, gradients_are_those_of_the_value),
    (DetachesAll, some_gradient_reaches_the_features),
]


@pytest.mark.parametrize(("method", "law"), FAULTS)
@pytest.mark.filterwarnings("ignore:var\\(\\). degrees of freedom is <= 0")
def test_a_fault_is_caught(method: type[Broken], law: Callable[[MethodRecord], None]) -> None:
    record = next(record for record in METHOD_RECORDS if record.method is MeanAlignment)
    settings = {**record.settings, "scale": 2.0}
    broken = replace(record, method=method, make=method.create, settings=settings)
    with pytest.raises((AssertionError, pytest.fail.Exception, RuntimeError, TypeError)):
        law(broken)


def test_every_law_has_a_fault_that_it_catches() -> None:
    assert {law for _, law in FAULTS} == set(METHOD_LAWS)
