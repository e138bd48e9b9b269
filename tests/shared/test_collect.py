"""Whatever holds the data, the rows that come of it are the same; what cannot be read is told in a sentence."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import landbridge as lb
from landbridge.shared.batches import Rows
from landbridge.shared.checkpoint import random_states, set_random_states
from landbridge.shared.checks import NonFiniteError
from landbridge.shared.collect import collect
from landbridge.shared.labels import number_labels

X = torch.arange(22.0).view(11, 2)
Y = torch.arange(11) % 3


class Pairs(Dataset):
    """Of numpy rows and Python labels."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i].numpy(), int(Y[i])


class Duck:
    """A dataset by its manners alone; indexing past its end does not raise."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i % len(X)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame(X.numpy(), columns=["a", "b"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: X,
        lambda: X.numpy(),
        lambda: X.tolist(),
        frame,
        lambda: Duck(),
        lambda: TensorDataset(X),
        lambda: DataLoader(X, batch_size=4),  # the last batch has 3 rows
        lambda: DataLoader(TensorDataset(X), batch_size=None),
        lambda: [row.numpy() for row in X],
        lambda: Rows(X, np.arange(11)),
        lambda: lb.without_labels(Pairs()),
        lambda: lb.without_labels(Stream()),
        lambda: lb.without_labels((X, Y)),
        lambda: lb.without_labels(DataLoader(TensorDataset(X, Y), batch_size=5)),
    ],
)
def test_rows_without_labels(make):
    inputs, labels, ordered, _ = collect("adapt", "Xt", make())
    np.testing.assert_array_equal(np.asarray(inputs), X.numpy())
    assert labels is None
    assert ordered


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (lambda: X, Y),
        (lambda: X.numpy(), Y.tolist()),
        (lambda: (X, Y), None),
        (lambda: TensorDataset(X), Y),
        (lambda: TensorDataset(X, Y), None),
        (Pairs, None),
        (Stream, None),
        (lambda: DataLoader(TensorDataset(X, Y), batch_size=4), None),
        (lambda: DataLoader(Pairs(), batch_size=11), None),
        (lambda: DataLoader(Stream(), batch_size=3), None),
    ],
)
def test_rows_with_labels(make, labels):
    got = collect("adapt", "Xs", make(), labels, labelled=True)
    np.testing.assert_array_equal(np.asarray(got.inputs), X.numpy())
    np.testing.assert_array_equal(got.labels, Y.numpy())


def test_words_as_labels_and_several_values_a_row():
    words = ["yes", "no", "no"]
    data = [(torch.ones(2), word) for word in words]
    for loader in (DataLoader(data, batch_size=2), DataLoader(data, batch_size=None)):
        assert collect("adapt", "Xs", loader, labelled=True).labels.tolist() == words
    values = DataLoader(TensorDataset(X, X * 2), batch_size=4)
    np.testing.assert_array_equal(collect("adapt", "Xs", values, labelled=True).labels, X.numpy() * 2)


def test_images_stay_uint8_and_whole_numbers_whole():
    images = torch.randint(0, 255, (4, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert collect("adapt", "Xt", TensorDataset(images)).inputs.dtype == torch.uint8
    assert collect("adapt", "Xt", DataLoader(images, batch_size=3)).inputs.shape == (4, 3, 5, 5)
    assert collect("adapt", "Xt", np.arange(6).reshape(3, 2)).inputs.dtype == np.int64


@pytest.mark.parametrize("labels", [Y.numpy().astype(">i8"), Y.bfloat16()])
@pytest.mark.parametrize(
    "data",
    [
        X.bfloat16(),
        X.numpy().astype(">f4"),
        X.numpy().astype(">i2"),
        TensorDataset(X.bfloat16()),
        [row.numpy().astype(">f8") for row in X],
        Rows(X.numpy().astype(">f8"), np.arange(11)),
        Rows(X.bfloat16(), np.arange(11)),
        DataLoader(TensorDataset(X.bfloat16()), batch_size=4),
    ],
)
def test_what_numpy_or_torch_cannot_hold_is_converted(data, labels):
    got = collect("adapt", "Xs", data, labels, labelled=True)
    np.testing.assert_array_equal(np.asarray(got.inputs), X.numpy())
    torch.as_tensor(np.asarray(got.inputs))
    np.testing.assert_array_equal(got.labels, Y.numpy())
    assert torch.as_tensor(got.labels).dtype in (torch.int64, torch.float32)


def test_a_memory_map_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert collect("adapt", "Xt", mapped).inputs is mapped


def test_a_shuffling_loader_gives_the_same_order_each_time_and_says_that_there_is_none(keeps_random_state):
    loader = DataLoader(TensorDataset(X), batch_size=4, shuffle=True)
    first, again = collect("adapt", "Xt", loader), collect("adapt", "Xt", loader)
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, X)
    assert torch.equal(first.inputs.sort(0).values, X)
    assert not first.ordered


def test_which_loaders_keep_the_order():
    shuffled = BatchSampler(RandomSampler(X, generator=torch.Generator()), 4, drop_last=False)
    by_hand = [[1, 0], [2, 3]]
    for loader, ordered in (
        (DataLoader(X, batch_size=4), True),
        (DataLoader(X, batch_size=None), True),
        (DataLoader(TensorDataset(X), batch_sampler=shuffled), False),
        (DataLoader(TensorDataset(X), batch_sampler=by_hand), False),
        (DataLoader(X, batch_size=None, shuffle=True), False),
    ):
        assert collect("adapt", "Xt", loader).ordered == ordered
    assert collect("adapt", "Xs", DataLoader(Stream(), batch_size=3), labelled=True).ordered


def test_what_a_dataset_draws_is_drawn_from_a_fixed_seed(keeps_random_state):
    class Noisy(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return torch.tensor([torch.rand(()), np.random.rand(), random.random()])  # noqa: NPY002

    first, states = collect("adapt", "Xt", Noisy()).inputs, random_states()
    try:
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        again = collect("adapt", "Xt", Noisy()).inputs
    finally:
        set_random_states(states)
    assert torch.equal(first, again)
    assert (first.std(0) > 0).all()


@pytest.mark.parametrize(
    "make", [lambda: (X, Y), lambda: TensorDataset(X, Y), Pairs, lambda: DataLoader(TensorDataset(X, Y), batch_size=4)]
)
def test_labels_of_the_target_are_refused(make):
    with pytest.raises(TypeError, match=r"never reads target labels.*Xt with labels.*without_labels.*evaluate="):
        collect("adapt", "Xt", make())


class Dictionaries(Duck):
    def __getitem__(self, i):
        return {"image": X[i], "label": Y[i]}


class Ragged(Duck):
    def __getitem__(self, i):
        return torch.zeros(2 if i < 4 else 3)


class Image:
    """Stands for PIL's, which is not asked for here."""


Image.__module__ = "PIL.Image"


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (Dictionaries(), TypeError, r"in a dictionary; sample 0 of Xt has the keys 'image', 'label'"),
        (DataLoader(Dictionaries(), batch_size=3), TypeError, r"in a dictionary; batch 0 of Xt has the keys"),
        ({"x": X}, TypeError, "cannot tell inputs from labels in a dictionary; Xt has the keys 'x'"),
        (Ragged(), ValueError, r"samples of one shape in Xt; got \(2,\) first and \(3,\) in sample 4 of Xt"),
        ([[1.0, 2.0], [3.0]], ValueError, "rows of Xt equally long"),
        (np.array([["a", "b"]]), TypeError, "Xt as numbers; got ndarray of dtype <U1"),
        (np.array([[1, None]], dtype=object), TypeError, "dtype object"),
        ([Image(), Image()], TypeError, "dtype object"),
        (TensorDataset(X[:0]), ValueError, "yields none"),
        (X[:0], ValueError, r"got \(0, 2\)"),
        (X[:, 0], ValueError, r"\(samples, features\).*got \(11,\)"),
        ((row for row in X), TypeError, "cannot tell samples from batches in Xt; got generator"),
        ((X, X, X), TypeError, "a tuple of 3"),
        (X * torch.tensor([1.0, float("nan")]), NonFiniteError, "NaN or inf in Xt: 11 of 11 rows, the first is row 0"),
        (np.where(X == 8, np.inf, X.double()), NonFiniteError, "1 of 11 rows, the first is row 4"),
        (X * 1j, TypeError, "as real numbers; got torch.complex64"),
    ],
)
def test_what_cannot_be_read(data, error, sentence):
    with pytest.raises(error, match=sentence):
        collect("adapt", "Xt", data)


def test_an_image_of_pil_is_told_what_to_become():
    class Folder(Duck):
        def __getitem__(self, i):
            return Image()

    with pytest.raises(TypeError, match=r"an image of PIL in sample 0 of Xt.*PILToTensor"):
        collect("adapt", "Xt", Folder())


@pytest.mark.parametrize(
    ("data", "labels", "error", "sentence"),
    [
        (X, None, ValueError, "needs labels for Xs; got None"),
        (X, Y[:4], ValueError, r"one label for each of the 11 rows of Xs; got shape \(4,\)"),
        (TensorDataset(X, Y), Y, ValueError, "labels twice"),
        (X, np.where(Y == 2, np.nan, 1.0), NonFiniteError, "NaN or inf in the labels of Xs, first in row 2"),
        (lb.without_labels((X, Y)), Y, TypeError, "needs the labels of Xs; got without_labels"),
        ([(X[0], 1), X[1]], None, ValueError, "equally long"),
        (X, 3, ValueError, r"got shape \(\)"),
    ],
)
def test_wrong_labels(data, labels, error, sentence):
    with pytest.raises(error, match=sentence):
        collect("adapt", "Xs", data, labels, labelled=True)


def test_overflowing_sums_are_no_error():
    large = np.full((3, 2), 1e308)
    assert collect("adapt", "Xt", large).inputs is large


def test_values_of_a_frame_of_numbers_beside_booleans_are_numbers() -> None:
    values = np.array([[1.5, True], [2, False]], dtype=object)
    assert collect("adapt", "Xt", values).inputs.tolist() == [[1.5, 1.0], [2.0, 0.0]]
    with pytest.raises(TypeError, match="adapt needs Xt as numbers; got ndarray of dtype object"):
        collect("adapt", "Xt", np.array([[1.5, "1"]], dtype=object))


def test_masked_entries_are_missing() -> None:
    rows = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, False], [True, False]])
    with pytest.raises(ValueError, match="adapt got masked entries in Xt: 1 of 4"):
        collect("adapt", "Xt", rows)
    assert len(collect("adapt", "Xt", np.ma.array([[1.0], [2.0]])).inputs) == 2  # nothing of it is masked
    labels = np.ma.array([0, 1], mask=[False, True])
    with pytest.raises(ValueError, match="missing labels in ys: 1 of 2 rows, the first is row 1"):
        number_labels("adapt", "ys", labels)
