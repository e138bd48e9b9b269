"""Pairwise: each source with the target by itself, against the parts called one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import laws
import pytest
import torch
from laws import METHOD_LAWS
from records import SIZES, MethodRecord
from torch import Tensor, nn
from toy import create, same, train

from landbridge.coral.deep_coral import DeepCORAL
from landbridge.dann.cdan import CDAN
from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN, DDC
from landbridge.shared.adabn import AdaBN
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method, Sizes, Source, Target, Update
from landbridge.shared.pairwise import Pairwise
from landbridge.shared.source_only import SourceOnly
from landbridge.transport.deepjdot import DeepJDOT

PROGRESS = torch.tensor(0.3, dtype=torch.float64)


def batch(k: int = 3, n: int = 4) -> laws.Batch:
    given = laws.batch(k * n)
    return given._replace(source=given.source._replace(domain=torch.arange(k).repeat_interleave(n)))


def block(source: Source, i: int, n: int = 4) -> Source:
    assert source.logits is not None
    assert source.labels is not None
    rows = slice(i * n, (i + 1) * n)
    return Source(source.features[rows], source.logits[rows], source.labels[rows])


def dann(seed: int | None = None) -> DANN:
    if seed is not None:
        torch.manual_seed(seed)
    return DANN(features=SIZES.features, hidden=[6], weight=0.7).double()


@pytest.mark.parametrize(
    "make",
    [
        dann,
        lambda: DDC(weight=2.0, schedule="ramp"),
        DAN,
        lambda: DeepCORAL(weight=3.0),
        DeepJDOT,
        lambda: CDAN(features=SIZES.features, classes=SIZES.classes, hidden=[6]).double(),
    ],
)
def test_the_mean_of_the_parts(make: Callable[[], Method]) -> None:
    torch.manual_seed(0)
    parts = [make() for _ in range(3)]
    remaining = list(parts)
    both = Pairwise(sources=3, make=lambda: remaining.pop(0))
    source, target = batch()
    got = both.losses(source, target, PROGRESS)
    one_by_one = [part.losses(block(source, i), target, PROGRESS) for i, part in enumerate(parts)]
    assert list(got) == list(one_by_one[0])
    for name, value in got.items():
        expected = (one_by_one[0][name] + one_by_one[1][name] + one_by_one[2][name]) / 3
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    total = sum(part(block(source, i), target, PROGRESS) for i, part in enumerate(parts)) / 3
    torch.testing.assert_close(both(source, target, PROGRESS), total, rtol=1e-10, atol=0)


def test_each_source_has_parameters_of_its_own() -> None:
    torch.manual_seed(0)
    made = Pairwise(sources=2, make=dann)
    copied = Pairwise(sources=2, method=dann())
    sizes = [sum(p.numel() for p in m.parameters()) for m in (made, copied, dann())]
    assert sizes[0] == sizes[1] == 2 * sizes[2]
    assert not same(*made.parts)
    assert same(*copied.parts)
    source, target = batch(2)
    before = [p.detach().clone() for p in copied.parameters()]
    copied(source, target, PROGRESS).backward()
    first, second = (torch.cat([p.grad.flatten() for p in part.parameters()]) for part in copied.parts)
    assert not torch.equal(first, second)
    alone = dann()
    alone.load_state_dict(copied.parts[1].state_dict())
    alone(block(source, 1), target, PROGRESS).backward()
    torch.testing.assert_close(second, torch.cat([p.grad.flatten() for p in alone.parameters()]) / 2)
    assert all(torch.equal(a, b) for a, b in zip(before, copied.parameters(), strict=True))


def test_the_method_given_is_not_touched() -> None:
    given = dann(0)
    assert all(part is not given for part in Pairwise(sources=2, method=given).parts)


@pytest.mark.parametrize("make", [lambda: create(DANN), DAN, lambda: create(MCD), AdaBN, SourceOnly])
def test_of_one_source_is_that_method(make: Callable[[], Method]) -> None:
    from toy import data

    one, other = train(make(), source=[data().source]), train(Pairwise(sources=1, make=make), source=[data().source])
    assert same(one.network, other.network)
    assert torch.equal(one.history.values, other.history.values)


def test_updates_of_its_own_are_made_together() -> None:
    parts = [create(MCD, seed, inner=3).double() for seed in (0, 1)]
    remaining = list(parts)
    both = Pairwise(sources=2, make=lambda: remaining.pop(0))
    updates, own = both.updates(), parts[0].updates()
    assert [u._replace(terms=both.terms) for u in updates] == [u._replace(terms=both.terms) for u in own]
    source, target = batch(2)
    source, target = (s._replace(features=torch.cat([s.features, s.features[:, :1]], 1)) for s in (source, target))
    for number, update in enumerate(updates):
        got = both.losses(source, target, PROGRESS, update)
        for name, value in got.items():
            expected = [
                part.losses(block(source, i), target, PROGRESS, part.updates()[number])[name]
                for i, part in enumerate(parts)
            ]
            torch.testing.assert_close(value, (expected[0] + expected[1]) / 2, rtol=1e-10, atol=0)
    with pytest.raises(TypeError, match=r"Pairwise trains its parts in 3 separate updates .*use landbridge\.fit"):
        both(source, target)


def test_in_a_combine() -> None:
    torch.manual_seed(0)
    pairwise, ddc = Pairwise(sources=3, make=dann), DDC()
    both = Combine(each=pairwise, ddc=ddc)
    assert both.updates() == (Update(both.terms),)
    assert both.watches == {"each/accuracy"}
    source, target = batch()
    got = both.losses(source, target, PROGRESS)
    assert list(got) == ["each/domain", "each/accuracy", "ddc/features"]
    expected = pairwise(source, target, PROGRESS) + ddc(source, target, PROGRESS)
    torch.testing.assert_close(both(source, target, PROGRESS), expected)


class Refreshed(SourceOnly):
    """Notes its calls."""

    refresh_every = 2

    def __init__(self) -> None:
        super().__init__(see_target=True)
        self.calls: list[str] = []

    def begin(self, network: nn.Module) -> None:
        self.calls.append("begin")

    def refresh(self, network: nn.Module, target_batches: Any) -> None:
        self.calls.append(f"refresh {sum(map(len, target_batches))}")


def test_every_part_begins_and_is_refreshed_with_all_rows() -> None:
    from toy import data

    both = Pairwise(sources=2, make=Refreshed)
    train(both, source=[data().source] * 2)
    assert both.refresh_every == 2
    assert [part.calls for part in both.parts] == [["begin", *["refresh 33"] * 3]] * 2


# ---- the laws of methods


def pairwise(sizes: Sizes, *, method: type[Method] = DANN, **settings: Any) -> Pairwise:
    return Pairwise(sources=laws.SOURCES, make=lambda: method.create(sizes, **settings))


RECORDS = [
    MethodRecord(
        "pairwise",
        Pairwise,
        make=pairwise,
        settings={},
        base={"hidden": (6,), "schedule": "constant"},
        reverses=True,
        half_tolerance=2e-2,
    ),
    MethodRecord(
        "pairwise, ddc",
        Pairwise,
        make=pairwise,
        settings={},
        base={"method": DDC},
    ),
]
OTHERWISE = {  # where what the law asks cannot be asked of blocks, or of what is no setting of the class
    laws.order_of_samples_does_not_matter: "test_rows_may_be_in_any_order_within_their_block",
    laws.one_sample_works_or_meets_a_sentence: "test_blocks_that_are_none",
    laws.every_setting_changes_something: "test_each_source_has_parameters_of_its_own",
    laws.identical_domains_give_zero_and_a_finite_gradient: "test_the_mean_of_the_parts",
}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
@pytest.mark.parametrize("law", [law for law in METHOD_LAWS if law not in OTHERWISE], ids=lambda law: law.__name__)
def test_the_laws(law: Callable[[MethodRecord], None], record: MethodRecord) -> None:
    law(record)


def test_rows_may_be_in_any_order_within_their_block() -> None:
    torch.manual_seed(0)
    both, (source, target) = Pairwise(sources=3, make=dann), batch()
    order = torch.tensor([2, 0, 3, 1, 4, 7, 6, 5, 11, 10, 9, 8])
    got = both(laws.rows(source, order), laws.rows(target, torch.tensor([4, 2, 0, 3, 1])), PROGRESS)
    torch.testing.assert_close(got, both(source, target, PROGRESS))


# ---- what it refuses


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"domain": None}, r"Pairwise tells 3 sources apart; got Source\(domain=None\)"),
        ({"domain": torch.arange(12) % 3}, r"equal blocks, in the order of the sources; got domain=\[0, 1, 2, 0"),
        ({"domain": torch.arange(3).flip(0).repeat_interleave(4)}, "in the order of the sources"),
        ({"domain": torch.arange(12) // 3}, "made for 3 sources, numbered from 0 to 2; got domain from 0 to 3"),
        ({"domain": torch.zeros(5).long()}, r"the source number of each sample, shape \(12,\); got \(5,\)"),
    ],
)
def test_blocks_that_are_none(change: dict[str, Tensor | None], sentence: str) -> None:
    source, target = batch()
    with pytest.raises(ValueError, match=sentence):
        Pairwise(sources=3, method=DDC())(source._replace(**change), target)  # type: ignore[arg-type]


def test_domains_that_are_no_whole_numbers() -> None:
    source, target = batch()
    with pytest.raises(TypeError, match=r"Pairwise needs whole source numbers as domain; got torch\.float64"):
        Pairwise(sources=3, method=DDC())(source._replace(domain=torch.zeros(12).double()), target)


@pytest.mark.parametrize(("rows", "method"), [(10, DDC()), (3, DeepCORAL())])
def test_blocks_of_unequal_size_or_too_few_rows(rows: int, method: Method) -> None:
    source, target = batch()
    few = (
        laws.rows(source, torch.arange(12)[:: 12 // rows][:rows])
        if rows == 3
        else laws.rows(source, torch.arange(rows))
    )
    with pytest.raises(ValueError, match=rf"in 3 equal blocks of at least {method.least}; got {rows} rows"):
        Pairwise(sources=3, method=method)(few, target)


def test_a_part_s_own_check_is_asked() -> None:
    source, target = batch()
    wrong = Pairwise(sources=3, method=CDAN(features=9, classes=SIZES.classes, hidden=[4])).double()
    with pytest.raises(ValueError, match="CDAN was made for features=9"):
        wrong(source, target)


def test_it_is_not_source_free() -> None:
    with pytest.raises(ValueError, match=r"Pairwise compares source and target; got source=None"):
        Pairwise(sources=3, method=DDC())(None, Target(torch.zeros(2, 3)))


SHARED = DDC()


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"sources": 0, "method": DDC()}, ValueError, "sources as a whole number >= 1; got 0"),
        ({"sources": True, "method": DDC()}, ValueError, "got True"),
        ({"sources": 2}, ValueError, "one of the two; got neither"),
        ({"sources": 2, "method": DDC(), "make": DDC}, ValueError, "one of the two; got both"),
        ({"sources": 2, "make": dict}, TypeError, "Pairwise needs methods; got dict"),
        ({"sources": 2, "method": "dann"}, TypeError, "Pairwise needs methods; got str"),
        ({"sources": 2, "make": lambda: SHARED}, ValueError, r"make\(\) returned the same one twice"),
        ({"sources": 2, "method": DANN(features=3, sources=2)}, ValueError, "one source; got DANN, made for 2"),
        ({"sources": 2, "make": iter([DDC(), DAN()]).__next__}, ValueError, "one kind and settings; .*DDC and DAN"),
    ],
)
def test_what_it_cannot_be_made_of(settings: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Pairwise(**settings)
