"""The order of samples is a pure function, and samples are gathered as they rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landbridge.shared import batches
from landbridge.shared.batches import Order, Rows, Samples, as_samples

CPU = torch.device("cpu")


def order(n: int = 7, batch_size: int = 3, seed: int = 0, name: str = "source") -> Order:
    return Order(n, batch_size, seed=seed, name=name, device=CPU)


def rows(of: Order, batches: int) -> list[int]:
    return [row for number in range(batches) for row in of(number).tolist()]


def test_every_epoch_is_a_permutation_and_batches_run_on_across_its_border() -> None:
    drawn = rows(order(), 14)  # six epochs
    epochs = [drawn[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert all(len(order()(number)) == 3 for number in range(14))


def test_a_pure_function_of_seed_and_number() -> None:
    one = order()
    forwards = [one(number).tolist() for number in range(20)]
    other = order()
    for number in (19, 0, 7, 8, 3, 19, 2):
        assert other(number).tolist() == forwards[number]
    assert rows(order(seed=1), 20) != rows(order(), 20)


def test_the_domains_shuffle_independently() -> None:
    assert rows(order(name="target"), 10) != rows(order(), 10)
    assert rows(order(n=11, name="target"), 11)[:7] != rows(order(), 10)[:7]


def test_a_batch_of_all_rows() -> None:
    assert sorted(order(batch_size=7)(4).tolist()) == list(range(7))


def test_only_the_last_epochs_are_kept() -> None:
    one = order()
    rows(one, 100)
    assert len(one._epochs) <= 3


@pytest.mark.usefixtures("keeps_random_state")
def test_no_global_random_state_is_read_or_moved() -> None:
    drawn = rows(order(), 5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert rows(order(), 5) == drawn


@pytest.mark.parametrize("batch_size", [0, 8])
def test_a_batch_size_that_cannot_be(batch_size: int) -> None:
    with pytest.raises(ValueError, match=rf"got batch size {batch_size} and 7 samples\. .*at most 7 for the source"):
        order(batch_size=batch_size)


def test_bytes_stay_bytes() -> None:
    images = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
    gathered = Samples(images, None, CPU).gather(torch.tensor([3, 3, 0]))
    assert gathered.dtype == torch.uint8
    assert torch.equal(gathered, images[[3, 3, 0]])


def test_chunks_are_all_rows_in_order_and_nearly_equal() -> None:
    samples = Samples(torch.zeros(7, 1), None, CPU)
    assert [chunk.tolist() for chunk in samples.chunks(3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert len(samples) == 7


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.bool_])
def test_class_numbers_of_any_integer_kind_become_int64(kind: type) -> None:
    made = as_samples("fit", "source", (np.zeros((2, 1)), np.array([1, 0]).astype(kind)), CPU, labelled=True)
    assert made.labels is not None
    assert made.labels.dtype == torch.int64
    assert made.labels.tolist() == [1, 0]


def test_labels_that_are_no_class_numbers_stay_what_they_are() -> None:
    made = as_samples("fit", "source", [torch.zeros(2, 1), torch.tensor([0.5, 1.5])], CPU, labelled=True)
    assert made.labels is not None
    assert made.labels.tolist() == [0.5, 1.5]


def memory_map(path: Path, array: np.ndarray[Any, Any]) -> np.memmap[Any, Any]:
    np.save(path, array)
    opened = np.load(path, mmap_mode="r")
    assert isinstance(opened, np.memmap)
    return opened


def photos(n: int = 6) -> np.ndarray[Any, Any]:
    return np.arange(n * 3 * 2 * 2).reshape(n, 3, 2, 2).astype(np.uint8)


def test_a_read_only_array_is_used_where_it_lies_and_never_written() -> None:
    array = np.zeros((2, 1), dtype=np.float32)
    array.flags.writeable = False
    held = as_samples("fit", "target", array, CPU, labelled=False).inputs
    assert held.data_ptr() == array.__array_interface__["data"][0]


def test_a_memory_map_is_neither_copied_nor_read_whole(tmp_path: Path) -> None:
    opened = memory_map(tmp_path / "a.npy", photos())
    for data in (opened, Rows(opened, np.array([5, 2, 2, 0]))):
        filters = list(warnings.filters)
        samples = as_samples("fit", "target", data, CPU, labelled=False)
        assert warnings.filters == filters
        assert samples.inputs.data_ptr() == opened.__array_interface__["data"][0]
        gathered = samples.gather(torch.tensor([3, 1, 1]))
        assert torch.equal(gathered, torch.as_tensor(np.asarray(data)[[3, 1, 1]]))
        gathered.zero_()  # a copy: the map is read-only, and writing into it would end the process
        assert np.array_equal(opened, photos())


def test_reversed_rows_are_copied() -> None:
    samples = as_samples("fit", "target", photos()[::-1], CPU, labelled=False)
    assert torch.equal(samples.gather(torch.tensor([0])), torch.as_tensor(photos()[5:]))


@pytest.mark.parametrize("of", [np.asarray, torch.as_tensor])
def test_rows_are_a_view(of: Callable[[Any], Any]) -> None:
    rows = Rows(of(photos()), np.array([4, 0, 5, 4], dtype=np.int32))
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (4, (4, 3, 2, 2), 4, of(photos()).dtype)
    expected = photos()[[4, 0, 5, 4]]
    for read in (rows.numpy(), np.asarray(rows), np.stack(list(rows)), np.asarray(rows[:])):
        assert np.array_equal(read, expected)
    for which in (np.array([3, 3, 1]), slice(1, 3), np.array([True, False, True, False]), [2, 0]):
        some = rows[which]
        assert isinstance(some, Rows)
        assert some.base is rows.base
        assert np.array_equal(some.numpy(), expected[which])
    assert np.array_equal(rows[-2], expected[2])
    assert np.asarray(rows, dtype=np.float64).dtype == np.float64
    rows.numpy()[:] = 0
    assert np.array_equal(rows.numpy(), expected)
    with pytest.raises(IndexError):
        rows[4]


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        (np.array([0.0, 1.0]), TypeError, "Rows needs row numbers as whole numbers; got ndarray of dtype float64"),
        (np.array([True, False]), TypeError, "as whole numbers; got ndarray of dtype bool"),
        (np.array([[0, 1]]), ValueError, r"of shape \(n,\); got \(1, 2\)"),
        (np.array([0, 6]), ValueError, "from 0 to 5; got 0 to 6"),
        (np.array([-1, 3]), ValueError, "from 0 to 5; got -1 to 3"),
    ],
)
def test_what_are_no_rows(rows: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Rows(photos(), rows)


def test_no_rows_at_all() -> None:
    none = Rows(photos(), np.array([], dtype=np.int64))
    assert none.shape == (0, 3, 2, 2)
    with pytest.raises(ValueError, match=r"it inputs of shape \(samples, ...\); got \(0, 3, 2, 2\)"):
        as_samples("fit", "it", none, CPU, labelled=False)


def test_labels_of_rows_are_of_the_rows() -> None:
    rows = Rows(photos(), np.array([5, 1]))
    samples = as_samples("fit", "source", (rows, np.array([7, 8])), CPU, labelled=True)
    assert samples.shape == (2, 3, 2, 2)
    assert [chunk.tolist() for chunk in samples.chunks(1)] == [[0], [1]]
    with pytest.raises(ValueError, match="one label a source sample; got 2 inputs, 6 labels"):
        as_samples("fit", "source", (rows, np.arange(6)), CPU, labelled=True)


def test_rows_of_features_become_the_networks_dtype() -> None:
    rows = Rows(np.arange(12.0).reshape(6, 2), np.array([5, 1]))
    samples = as_samples("fit", "target", rows, CPU, labelled=False, dtype=torch.float32)
    assert samples.gather(torch.tensor([1])).tolist() == [[2.0, 3.0]]
    assert samples.inputs.dtype == torch.float32
    bytes_stay = as_samples("fit", "target", Rows(photos(), np.array([5])), CPU, labelled=False, dtype=torch.float32)
    assert bytes_stay.inputs.dtype == torch.uint8


def test_rows_move_to_a_device_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On "meta" nothing is stored; the blocks are looked at on their way."""
    moved = []
    monkeypatch.setattr(batches, "BLOCK", 24)  # two images
    monkeypatch.setattr(torch.Tensor, "__setitem__", lambda of, where, block: moved.append((where, block.shape)))
    samples = Samples(Rows(photos(), np.array([5, 1, 1, 0, 3])), None, torch.device("meta"))
    assert moved == [(slice(i, i + 2), (min(2, 5 - i), 3, 2, 2)) for i in (0, 2, 4)]
    assert samples.shape == (5, 3, 2, 2)
    assert samples.inputs.device.type == "meta"
    assert samples.rows is None


def test_blocks_hold_the_rows_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK", 30)
    for data in (photos(), Rows(photos(), np.array([5, 1, 1, 0, 3]))):
        samples = Samples(data, None, CPU)
        assert torch.equal(batches._moved(samples, CPU), torch.as_tensor(np.asarray(data)))


@pytest.mark.parametrize(
    ("data", "labelled", "error", "sentence"),
    [
        (
            torch.zeros(3, 2),
            True,
            TypeError,
            r"fit needs it=\(inputs, labels\); got Tensor of dtype torch.float32, shape",
        ),
        ((torch.zeros(3, 2),), True, TypeError, r"fit needs it=\(inputs, labels\); got tuple"),
        ((torch.zeros(3, 2), torch.zeros(3)), False, TypeError, "fit never reads target labels, .* a tuple of 2"),
        ([torch.zeros(3, 2)], False, TypeError, "fit never reads target labels, .* a list of 1"),
        (torch.zeros(3), False, ValueError, r"it inputs of shape \(samples, ...\); got \(3,\)"),
        (torch.zeros(0, 3), False, ValueError, r"it inputs of shape \(samples, ...\); got \(0, 3\)"),
        ((torch.zeros(3, 2), torch.zeros(2)), True, ValueError, "one label a it sample; got 3 inputs, 2 labels"),
        (np.array(["a"]), False, TypeError, "it inputs as a numeric array or tensor; got ndarray of dtype <U1"),
        ("images", False, TypeError, "it inputs as a numeric array or tensor; got str"),
    ],
)
def test_what_is_no_data(data: object, labelled: bool, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        as_samples("fit", "it", data, CPU, labelled=labelled)
