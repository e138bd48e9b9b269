"""The order of samples is a pure function, and samples are gathered as they rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landbridge.shared.batches import Order, Samples, as_samples

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


def test_a_read_only_array_is_copied() -> None:
    array = np.zeros((2, 1), dtype=np.float32)
    array.flags.writeable = False
    assert as_samples("fit", "target", array, CPU, labelled=False).inputs.dtype == torch.float32


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
