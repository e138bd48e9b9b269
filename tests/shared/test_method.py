"""The contract between a method and a loop, held by two small methods."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method, Sizes, Source, Target, Update
from landbridge.shared.pairwise import Pairwise


class Small(Method):
    """The mean features' distance, and a part of its own."""

    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def __init__(self, *, features: int, scale: float = 1.0, weight: float = 1.0, schedule: str = "constant") -> None:
        super().__init__(weight=weight, schedule=schedule)
        self.scale = scale
        self.part = nn.Linear(features, 1, bias=False)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        gap = source.features.mean(0) - target.features.mean(0)
        return {"gap": self.scale * gap.square().sum(), "part": self.part(gap).square().sum()}


class Greedy(Method):
    """Reads everything a batch can hold."""

    needs: ClassVar[frozenset[str]] = frozenset({"source", "logits", "labels", "index", "strong"})

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"confusion": target.logits.softmax(-1).prod(-1).mean()}


class SourceFree(Method):
    """Sees the target alone."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})

    def terms(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"entropy": torch.distributions.Categorical(logits=target.logits).entropy().mean()}


class Inside(Small):
    """Applies its weight itself."""

    weighs = "inside"


class TwoUpdates(Small):
    """Trains in two updates a step."""

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(self.terms, trains=frozenset({"method"}), repeat=3, fresh=False),
            Update(self.other, task=False),
        )

    def other(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"other": target.features.square().sum()}


SOURCE = Source(torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 1.0]]), torch.zeros(3, 4), torch.tensor([0, 1, 3]))
TARGET = Target(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.zeros(2, 4), torch.tensor([5, 9]))
WHOLE = TARGET._replace(strong=TARGET)


def small(**settings: float | str) -> Small:
    torch.manual_seed(0)
    return Small.create(Sizes(features=2, classes=4), **settings)


def test_terms_are_weighted_and_summed() -> None:
    one, three = small(), small(weight=3.0)
    progress = torch.tensor(0.25)
    assert list(one.losses(SOURCE, TARGET, progress)) == ["gap", "part"]
    for name, loss in one.losses(SOURCE, TARGET, progress).items():
        assert torch.equal(3 * loss, three.losses(SOURCE, TARGET, progress)[name])
    assert torch.equal(three(SOURCE, TARGET), sum(three.losses(SOURCE, TARGET, torch.tensor(1.0)).values()))
    assert float(one.losses(SOURCE, TARGET, progress)["gap"]) == pytest.approx(1.0 + 0.25)


def test_a_method_that_weighs_inside_is_left_alone() -> None:
    torch.manual_seed(0)
    inside = Inside(features=2, weight=3.0, schedule="ramp")
    assert float(inside.losses(SOURCE, TARGET, torch.tensor(0.0))["gap"]) == pytest.approx(1.25)


def test_the_ramp() -> None:
    ramped, plain = small(weight=2.0, schedule="ramp"), small()
    for p in (0.0, 0.1, 1.0):
        expected = 2 * torch.tanh(torch.tensor(5 * p)) * plain(SOURCE, TARGET)
        torch.testing.assert_close(ramped(SOURCE, TARGET, p), expected)
    assert isinstance(ramped.strength(torch.tensor(0.5)), Tensor)
    assert small(weight=2.0).strength(torch.tensor(0.5)) == 2.0


def test_progress_is_a_number_or_a_tensor() -> None:
    ramped = small(schedule="ramp")
    assert torch.equal(ramped(SOURCE, TARGET, 0.1), ramped(SOURCE, TARGET, torch.tensor(0.1)))
    assert not torch.equal(ramped(SOURCE, TARGET, 0.1), ramped(SOURCE, TARGET))


def test_weight_zero_adds_nothing_and_moves_nothing() -> None:
    method = small(weight=0.0)
    source = SOURCE._replace(features=SOURCE.features.clone().requires_grad_())
    loss = method(source, TARGET)
    loss.backward()
    assert loss == 0
    assert torch.count_nonzero(source.features.grad) == 0
    assert torch.count_nonzero(method.part.weight.grad) == 0


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"weight": -1.0}, ValueError, "Small needs a finite weight >= 0; got -1.0."),
        ({"weight": float("inf")}, ValueError, "Small needs a finite weight >= 0; got inf."),
        ({"weight": float("nan")}, ValueError, "Small needs a finite weight >= 0; got nan."),
        ({"weight": "1"}, TypeError, "Small needs weight as a number; got str."),
        ({"weight": True}, TypeError, "Small needs weight as a number; got bool."),
        ({"schedule": "rampe"}, ValueError, "Small: unknown schedule 'rampe'; did you mean 'ramp'?"),
        ({"scales": 2.0}, ValueError, "Small: unknown setting 'scales'; did you mean 'scale'?"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        Small.create(Sizes(2, 4), **settings)


def test_create_passes_sizes_where_they_are_asked_for_and_settings_win() -> None:
    assert Small.create(Sizes(7, 4), scale=2.0).part.in_features == 7
    assert Small.create(Sizes(7, 4), features=5).part.in_features == 5
    assert Greedy.create(Sizes(7, 4), weight=0.5).weight == 0.5


def test_an_unknown_need_is_a_sentence() -> None:
    class Misspelt(Small):
        needs: ClassVar[frozenset[str]] = frozenset({"sources"})

    with pytest.raises(ValueError, match=r"Misspelt\.needs: unknown need 'sources'; did you mean 'source'\?"):
        Misspelt(features=2)


@pytest.mark.parametrize("words", ["logits", ["source", "logits"]])
def test_needs_is_a_set(words: object) -> None:
    with pytest.raises(TypeError, match=r"Wordy needs needs as a set of words; got .* Write needs = frozenset"):
        type("Wordy", (Small,), {"needs": words})


def test_a_constructor_that_forgets_the_base_class_is_told() -> None:
    class Forgetful(Small):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"Forgetful.__init__ has to begin with super\(\).__init__"):
        Forgetful.create(Sizes(2, 4))


@pytest.mark.parametrize(
    ("terms", "error", "sentence"),
    [
        (torch.ones(()), TypeError, "Wrong.terms() has to return scalars by name; got Tensor."),
        (None, TypeError, "Wrong.terms() has to return scalars by name; got NoneType."),
        ({"gap": torch.ones(5)}, TypeError, "'gap' is a tensor of shape (5,). Take its mean or sum."),
        ({"gap": 1.0}, TypeError, "'gap' is float. Take its mean or sum."),
        ({"task": torch.ones(())}, ValueError, "a term 'task', which is the task loss's name. Call it otherwise."),
    ],
)
def test_wrong_terms_are_told(terms: object, error: type[Exception], sentence: str) -> None:
    class Wrong(Small):
        def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
            return terms  # type: ignore[return-value]

    with pytest.raises(error, match=re.escape(sentence)):
        Wrong(features=2)(SOURCE, TARGET)


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        (None, WHOLE, "Greedy compares source and target; got source=None. Pass Source(features, ...)."),
        (SOURCE, WHOLE._replace(logits=None), "Greedy needs target logits; got Target(features=(2, ...), logits=None)"),
        (SOURCE._replace(logits=None), WHOLE, "Greedy needs source logits; got Source(features=(3, ...), logits=None)"),
        (SOURCE._replace(logits=torch.zeros(3, 5)), WHOLE, "the same classes; got 5 for the source and 4 for the targ"),
        (SOURCE._replace(labels=None), WHOLE, "Greedy needs source labels; got labels=None"),
        (SOURCE._replace(labels=torch.zeros(2, dtype=torch.long)), WHOLE, "shape (3,); got (2,)"),
        (SOURCE, WHOLE._replace(index=None), "Greedy keeps a memory of target rows; got Target(index=None)"),
        (SOURCE, TARGET, "Greedy needs a strongly augmented copy of the batch; got Target(strong=None)"),
        (SOURCE, WHOLE._replace(features=torch.zeros(2, 3)), "got source (3, 2) and target (2, 3)"),
        (SOURCE, WHOLE._replace(features=torch.full((2, 2), torch.nan)), "Greedy got NaN or inf in target: 2 of 2"),
        (SOURCE, WHOLE._replace(logits=torch.full((2, 4), torch.nan)), "Greedy got NaN or inf in target logits"),
    ],
)
def test_a_batch_that_lacks_something(source: Source | None, target: Target, sentence: str) -> None:
    method = Greedy()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        method.losses(source, target, torch.tensor(1.0))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        method(source, target)


def test_a_whole_batch_is_taken() -> None:
    assert float(Greedy()(SOURCE, WHOLE)) == pytest.approx(0.25**4)


def test_least_rows() -> None:
    class Pairs(Small):
        least = 3

    with pytest.raises(ValueError, match=r"Pairs needs at least 3 samples of each domain; got 2 in target\."):
        Pairs(features=2)(SOURCE, TARGET)


def test_a_source_free_method_does_without_the_source() -> None:
    method = SourceFree()
    assert float(method(None, TARGET)) == pytest.approx(float(torch.tensor(4.0).log()))
    with pytest.raises(ValueError, match="SourceFree got NaN or inf in target"):
        method(None, TARGET._replace(features=TARGET.features * torch.nan))
    with pytest.raises(ValueError, match="SourceFree needs target logits"):
        method(None, TARGET._replace(logits=None))


def test_several_updates_cannot_be_one_sum() -> None:
    method = TwoUpdates(features=2)
    with pytest.raises(TypeError, match=r"TwoUpdates trains its parts in 2 separate updates .*use landbridge\.fit"):
        method(SOURCE, TARGET)
    first, second = method.updates()
    assert list(method.losses(SOURCE, TARGET, torch.tensor(1.0), first)) == ["gap", "part"]
    assert list(method.losses(SOURCE, TARGET, torch.tensor(1.0), second)) == ["other"]
    with pytest.raises(ValueError, match="TwoUpdates got an empty target"):
        method.losses(SOURCE, Target(torch.zeros(0, 2)), torch.tensor(1.0), second)


@pytest.mark.parametrize(
    "change", [{"trains": frozenset({"norm"})}, {"task": False}, {"repeat": 2}, {"fresh": False}], ids=str
)
def test_one_update_of_another_kind_cannot_be_a_sum_either(change: dict[str, object]) -> None:
    class Other(Small):
        def updates(self) -> tuple[Update, ...]:
            return (Update(self.terms)._replace(**change),)

    with pytest.raises(TypeError, match="Other trains its parts in 1 separate updates"):
        Other(features=2)(SOURCE, TARGET)


def test_no_terms_add_a_zero() -> None:
    class Nothing(Method):
        def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
            return {}

    assert torch.equal(Nothing()(SOURCE, TARGET), torch.tensor(0.0))


def test_a_method_without_terms_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match=r"Method has to say what it adds: write terms\(\)"):
        Method()(SOURCE, TARGET)


def test_a_target_has_no_field_for_labels() -> None:
    assert not any("label" in field for field in Target._fields)


def test_a_weight_of_numpys_is_kept_as_pythons() -> None:
    for given, kind in ((np.float64(0.5), float), (np.float32(0.5), float), (np.int64(2), int), (0.5, float), (2, int)):
        method = Small(features=2, weight=given)
        assert method.weight == given
        assert type(method.weight) is kind
    for wrong in (True, np.bool_(True), "1", torch.tensor(1.0)):
        with pytest.raises(TypeError, match="Small needs weight as a number; got"):
            Small(features=2, weight=wrong)


@pytest.mark.parametrize(
    ("batch", "came"),
    [
        ((SOURCE.features, TARGET.features), "a Tensor and a Tensor"),
        ((SOURCE, TARGET.features), "Source and a Tensor"),
        ((SOURCE, SOURCE), "Source and Source"),
        (((SOURCE.features, None), TARGET), "tuple and Target"),
    ],
)
def test_plain_tensors_are_met_with_what_to_write(batch: tuple[object, object], came: str) -> None:
    sentence = rf"Small takes a batch as Source\(.*; got {came}\. Write method\(Source\(fs, ls, ys\), Target\(ft, lt\)"
    with pytest.raises(TypeError, match=sentence):
        Small(features=2)(*batch)
    with pytest.raises(TypeError, match=sentence):
        Small(features=2).losses(*batch, torch.tensor(1.0))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, 100, float("nan"), torch.tensor(2.0), np.float32(-1)])
def test_progress_is_a_share(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"Small needs progress from 0, at the first step, to 1.*Pass step / steps"):
        Small(features=2, schedule="ramp")(SOURCE, TARGET, wrong)


@pytest.mark.parametrize("right", [0, 1, 0.5, np.float32(0.5), torch.tensor(0.25), torch.tensor(1)])
def test_any_number_from_0_to_1_is_progress(right: object) -> None:
    method = Small(features=2, schedule="ramp")
    wanted = method(SOURCE, TARGET, torch.tensor(float(right)))
    assert torch.equal(method(SOURCE, TARGET, right), wanted)
    assert sum(method.losses(SOURCE, TARGET, float(right)).values()) == wanted


def test_what_is_no_number_is_no_progress() -> None:
    with pytest.raises(TypeError, match="Small needs progress as a number from 0 to 1; got str"):
        Small(features=2)(SOURCE, TARGET, "half")
    with pytest.raises(ValueError, match=r"progress as one number; got a tensor of shape \(2,\)"):
        Small(features=2)(SOURCE, TARGET, torch.zeros(2))


def test_features_of_another_dtype_than_the_methods_own_layers() -> None:
    method = Small(features=2)
    wide = Source(SOURCE.features.double()), Target(TARGET.features.double())
    with pytest.raises(ValueError, match=r"computes in torch.float32.* got features of torch.float64\. Convert the"):
        method(*wide)
    assert method.double()(*wide).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which sees to it itself
        Small(features=2)(Source(SOURCE.features.bfloat16()), Target(TARGET.features.bfloat16()))


@pytest.mark.parametrize("make", [DANN, MCD])
def test_features_of_another_size_than_the_method_was_made_for(make: type[Method]) -> None:
    method = make.create(Sizes(features=3, classes=3))
    batch = (
        Source(torch.ones(4, 2), torch.ones(4, 3), torch.zeros(4).long()),
        Target(torch.ones(4, 2), torch.ones(4, 3)),
    )
    for checked in (method, Combine(inner=method), Pairwise(sources=1, method=method)):
        source = batch[0]._replace(domain=torch.zeros(4).long())
        with pytest.raises(ValueError, match=rf"{make.__name__} was made for features=3; got .*\(4, 2\).*features=2"):
            checked.check(source, batch[1])
