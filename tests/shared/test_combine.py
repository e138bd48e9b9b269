"""Several methods at once are the sum of their terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from toy import SIZES, create, data, same, train

from landbridge.coral.deep_coral import DeepCORAL
from landbridge.dann.cdan import CDAN
from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN, DDC
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method, Source, Target, Update
from landbridge.shared.network import Network
from landbridge.shared.pairwise import Pairwise
from landbridge.shared.source_only import SourceOnly


def batch() -> tuple[Source, Target]:
    generator = torch.Generator().manual_seed(0)
    features, logits = (torch.randn(7, n, generator=generator) for n in SIZES)
    return Source(features[:4], logits[:4], torch.tensor([0, 1, 2, 0])), Target(features[4:] + 1, logits[4:])


class Watched(SourceOnly):
    """Notes its calls."""

    def __init__(self, refresh_every: int | None = None) -> None:
        super().__init__(see_target=True)
        self.refresh_every = refresh_every
        self.calls: list[str] = []

    def begin(self, network: Network) -> None:
        self.calls.append("begin")

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        self.calls.append(f"refresh {sum(map(len, target_batches))}")


def test_terms_are_named_weighted_and_summed() -> None:
    dann, ddc = create(DANN, weight=2.0), DDC(weight=3.0, schedule="ramp")
    progress = torch.tensor(0.1)
    got = Combine(dann=dann, ddc=ddc).losses(*batch(), progress)
    assert list(got) == ["dann/domain", "dann/accuracy", "ddc/features"]
    assert torch.equal(got["dann/domain"], dann.losses(*batch(), progress)["domain"])
    assert torch.equal(got["ddc/features"], ddc.losses(*batch(), progress)["features"])
    total = Combine(dann=dann, ddc=ddc)(*batch(), progress)
    torch.testing.assert_close(total, dann(*batch(), progress) + ddc(*batch(), progress))


def test_of_one_is_that_one() -> None:
    for one, other in ((DAN(), Combine(dan=DAN())), (create(MCD), Combine(mcd=create(MCD)))):
        assert same(train(one).network, train(other).network)


def test_what_it_needs_is_what_its_parts_need() -> None:
    both = Combine(coral=DeepCORAL(), dan=DAN())
    assert both.needs == {"source", "logits"}
    assert both.least == 2
    assert both.watches == frozenset()
    assert both.sources == 1
    assert both.sees_target
    assert not Combine(none=SourceOnly()).sees_target
    with pytest.raises(ValueError, match="Combine needs target logits"):
        both(batch()[0], batch()[1]._replace(logits=None))
    with pytest.raises(ValueError, match="Combine needs at least 2 samples"):
        both(batch()[0], Target(batch()[1].features[:1], batch()[1].logits[:1]))


def test_what_a_part_watches_is_watched_under_its_name() -> None:
    both = Combine(dann=create(DANN), ddc=DDC(), more=Combine(again=create(DANN)))
    assert both.watches == {"dann/accuracy", "more/again/accuracy"}
    source, target = batch()
    got = both.losses(source, target, torch.tensor(1.0))
    assert both.watches <= got.keys()
    losses = sum(value for name, value in got.items() if name not in both.watches)
    torch.testing.assert_close(both(source, target), losses)


def test_how_many_sources_it_was_made_for() -> None:
    three = create(DANN, sources=3)
    assert Combine(one=DDC(), three=three).sources == 3
    assert "domain" in Combine(one=DDC(), three=three).needs
    with pytest.raises(ValueError, match=r"Combine needs parts made for the same number of sources; got \[2, 3\]"):
        Combine(two=create(DANN, sources=2), three=three)


def test_the_leaders_updates_with_the_others_in_the_first() -> None:
    mcd, ddc = create(MCD, inner=3), DDC(weight=3.0)
    both = Combine(ddc=ddc, mcd=mcd)
    updates, own = both.updates(), mcd.updates()
    assert [u._replace(terms=both.terms) for u in updates] == [u._replace(terms=both.terms) for u in own]
    progress = torch.tensor(0.5)
    names = [list(both.losses(*batch(), progress, update)) for update in updates]
    assert names == [["ddc/features", "mcd/task2"], ["mcd/task2", "mcd/discrepancy"], ["mcd/discrepancy"]]
    for update, theirs in zip(updates, own, strict=True):
        for name, value in mcd.losses(*batch(), progress, theirs).items():
            assert torch.equal(both.losses(*batch(), progress, update)[f"mcd/{name}"], value)
    with pytest.raises(TypeError, match="Combine trains its parts in 3 separate updates"):
        both(*batch())


def test_begin_and_refresh_reach_every_part() -> None:
    parts = Watched(refresh_every=2), Watched(refresh_every=2)
    both = Combine(a=parts[0], b=parts[1], ddc=DDC())
    assert both.refresh_every == 2
    train(both)
    n = len(data().target)
    for part in parts:
        assert part.calls == ["begin", *[f"refresh {n}"] * 3]  # before steps 1, 3 and 5


def test_the_target_is_not_gathered_for_parts_that_do_not_refresh() -> None:
    def forbidden() -> Iterable[Tensor]:
        raise AssertionError
        yield

    Combine(ddc=DDC(), coral=DeepCORAL()).refresh(train(DDC()).network, forbidden())


def test_a_part_of_a_part() -> None:
    inner = Combine(ddc=DDC(weight=2.0), mcd=create(MCD, inner=1))
    outer = Combine(all=inner, coral=DeepCORAL())
    first = outer.updates()[0]
    assert list(outer.losses(*batch(), torch.tensor(1.0), first)) == [
        "all/ddc/features",
        "all/mcd/task2",
        "coral/features",
    ]
    assert len(train(outer).history) == 5


class Own(Method):
    """Asks for an update of its own."""

    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def updates(self) -> tuple[Update, ...]:
        return (Update(self.terms, task=False),)


def test_what_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match="Combine needs at least one method; got none"):
        Combine()
    with pytest.raises(TypeError, match="Combine needs methods; got a=type"):
        Combine(a=DANN)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one method with updates of its own; got mcd and own\. "):
        Combine(mcd=create(MCD), ddc=DDC(), own=Own())
    with pytest.raises(ValueError, match=r"one refresh_every for all parts; got \['2', '3'\]"):
        Combine(a=Watched(refresh_every=2), b=Watched(refresh_every=3))


def test_the_parts_own_checks_are_made() -> None:
    source, target = batch()
    twisted = source._replace(domain=torch.tensor([0, 1, 0, 1]))
    pairwise = Combine(ddc=DDC(), each=Pairwise(sources=2, method=DDC()))
    with pytest.raises(ValueError, match="Pairwise needs source rows in 2 equal blocks, in the order of the sources"):
        pairwise(twisted, target)
    assert pairwise(source._replace(domain=torch.tensor([0, 0, 1, 1])), target).isfinite()
    for method in (
        Combine(ddc=DDC(), cdan=CDAN(features=9, classes=3, hidden=[4])),
        Combine(outer=Combine(cdan=CDAN(features=9, classes=3, hidden=[4]))),
    ):
        with pytest.raises(ValueError, match="CDAN was made for features=9 and classes=3"):
            method(source, target)
    several = Combine(mcd=create(MCD), cdan=CDAN(features=9, classes=3, hidden=[4]))
    for update in several.updates():
        with pytest.raises(ValueError, match="CDAN was made for features=9"):
            several.losses(source, target, torch.tensor(1.0), update)
