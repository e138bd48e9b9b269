"""Loaders without an end are met before memory is gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

import landbridge as lb
from landbridge.shared import endless
from landbridge.shared.collect import collect
from landbridge.shared.endless import available_memory

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
MOST = endless.MOST


class Stream(IterableDataset):
    """As many rows as asked for; without an end for None."""

    def __init__(self, rows: int | None) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Tensor]:
        return (X[i % 12] for i in (itertools.count() if self.rows is None else range(self.rows)))


class Promising(Stream):
    def __len__(self) -> int:
        return 12


class Cycle(Sampler):
    def __iter__(self) -> Iterator[int]:
        return itertools.cycle(range(12))


class PromisingCycle(Cycle):
    def __len__(self) -> int:
        return 12


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "MOST", 500)


@pytest.mark.parametrize(
    "data",
    [
        Stream(None),
        DataLoader(Stream(None), batch_size=4),
        DataLoader(Stream(None), batch_size=None),
        DataLoader(TensorDataset(X), batch_size=4, sampler=Cycle()),
        DataLoader(TensorDataset(X), batch_sampler=(list(range(6)) for _ in itertools.count())),
    ],
    ids=["stream", "batches", "samples", "cycle", "batch sampler"],
)
def test_what_has_no_end_and_says_no_length(data: object) -> None:
    for given in (data, lb.without_labels(data)):
        with pytest.raises(
            ValueError, match=r"adapt gathers all rows of Xt .* got 50[1-6] from a .* without an end.*islice"
        ):
            collect("adapt", "Xt", given)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (Promising(None), "a Promising of 12 samples that goes on"),
        (
            DataLoader(TensorDataset(X), batch_size=4, sampler=PromisingCycle()),
            "a DataLoader of 3 batches that goes on",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_what_goes_on_after_the_length_it_says(data: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        collect("adapt", "Xt", lb.without_labels(data))


@pytest.mark.parametrize("rows", [1, 499, 500])
def test_finite_streams_are_gathered(rows: int) -> None:
    assert collect("adapt", "Xt", Stream(rows)).inputs.shape == (rows, 3)
    assert collect("adapt", "Xt", DataLoader(Stream(rows), batch_size=7)).inputs.shape == (rows, 3)
    assert collect("adapt", "Xt", Promising(12)).inputs.shape == (12, 3)


def test_long_ones_that_say_their_length_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "MOST", 5)
    assert collect("adapt", "Xt", DataLoader(X, batch_size=4)).inputs.shape == (12, 3)


def test_what_does_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "available_memory", lambda: 12 * 12)

    class Large(Dataset):
        def __len__(self) -> int:
            return 10**9

        def __getitem__(self, i: int) -> Tensor:
            return X[i % 12]

    with pytest.raises(ValueError, match=r"got 8.4e-08 GB after 7 rows of a Large, more than half .* a memory map"):
        collect("adapt", "Xt", Large())


def test_the_memory_that_is_free() -> None:
    free = available_memory()
    assert free is None or 0 < free < 1 << 50
    assert MOST == 1 << 20
