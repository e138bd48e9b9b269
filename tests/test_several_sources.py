"""Several sources through ``adapt`` and the estimators, as through ``fit``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import same

import landbridge as lb
from landbridge.shared.batches import Rows
from landbridge.shared.source_only import SourceOnly
from landbridge.sources import collect_sources, pairs_of

RNG = np.random.default_rng(0)
SIZES = (40, 25, 60)
PAIRS = [
    (RNG.normal(size=(n, 4)) + i, np.array(["ape", "bee", "cat", "dog"])[RNG.permutation(n) % 3 + (i > 0)])
    for i, n in enumerate(SIZES)
]
TARGET = RNG.normal(size=(50, 4)) + 1
GIVEN = {"steps": 4, "device": "cpu", "seed": 3}
TOGETHER = np.concatenate([x for x, _ in PAIRS])
LABELS = np.concatenate([y for _, y in PAIRS])
NUMBERS = np.repeat([0, 1, 2], SIZES)
pytestmark = pytest.mark.filterwarnings("ignore::landbridge.NegativeTransferWarning")


class Looks(lb.Method):
    """Keeps which source each row of a batch is of."""

    needs = frozenset({"source", "domain"})

    def __init__(self, sources: int = 3) -> None:
        super().__init__(weight=0.0)
        self.sources = sources
        self.seen = []

    def terms(self, source, target, progress):
        self.seen.append(source.domain.tolist())
        return {"none": 0 * source.features.sum()}


def test_classes_are_numbered_over_all_sources_and_rows_of_each_are_held_out():
    adapted = lb.adapt(None, PAIRS, None, TARGET, holdout=0.2, **GIVEN)
    assert adapted.classes.tolist() == ["ape", "bee", "cat", "dog"]
    assert set(adapted.predict(TARGET)) <= set(adapted.classes)
    kept = [sum(n - int(0.2 * n) for n in np.unique(y, return_counts=True)[1]) for _, y in PAIRS]
    assert f"{sum(kept)} source ({' + '.join(map(str, kept))} of 3 sources) and 50 target rows" in str(adapted)
    assert adapted.after.held_out == sum(SIZES) - sum(kept)
    assert adapted.before is not None


def test_a_batch_holds_as_many_rows_of_each():
    method = Looks()
    adapted = lb.adapt(None, PAIRS, None, TARGET, method=lambda sizes: method, holdout=0, baseline=False, **GIVEN)
    assert adapted.result.method.seen[0] == [0] * 21 + [1] * 21 + [2] * 21
    adapted = lb.adapt(
        None, PAIRS, None, TARGET, method=lambda sizes: Looks(), batch_size=(9, 5), baseline=False, **GIVEN
    )
    assert adapted.result.method.seen[0] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_small_source_bounds_the_batch_that_nobody_asked_for():
    small = [PAIRS[0], (PAIRS[1][0][:5], PAIRS[1][1][:5])]
    adapted = lb.adapt(None, small, None, TARGET, method=lambda sizes: Looks(2), holdout=0, baseline=False, **GIVEN)
    assert adapted.result.method.seen[0] == [0] * 5 + [1] * 5


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.mark.parametrize("method", [lb.DDC, SourceOnly, lambda: lb.Pairwise(sources=3, method=lb.DDC())])
def test_adapt_trains_what_fit_trains(method):
    given = {"batch_size": 12, "optimizer": lb.Optimizer(lr=0.05), "progress_bar": False, **GIVEN}
    adapted = lb.adapt(model(), PAIRS, None, TARGET, method=method(), holdout=0, baseline=False, **given)
    numbered = [(x, np.searchsorted(adapted.classes, y)) for x, y in PAIRS]
    assert same(adapted.network, lb.fit(lb.wrap(model(), head="2"), method(), numbered, TARGET, **given).network)


@pytest.mark.parametrize(
    "given",
    [
        (PAIRS, None),
        ([list(pair) for pair in PAIRS], None),
        ([x for x, _ in PAIRS], [y for _, y in PAIRS]),
        ([(torch.from_numpy(x), y) for x, y in PAIRS], None),
        ([(sparse.csr_matrix(x), y) for x, y in PAIRS], None),
        ([(PAIRS[0][0], PAIRS[0][1]), (sparse.csr_matrix(PAIRS[1][0]), PAIRS[1][1]), PAIRS[2]], None),
    ],
    ids=["pairs", "lists", "two lists", "tensors", "sparse", "mixed"],
)
def test_forms_of_several_sources(given):
    found, of = collect_sources("adapt", *given)
    np.testing.assert_array_equal(np.asarray(found.inputs), TOGETHER)
    assert found.labels.tolist() == LABELS.tolist()
    assert of.tolist() == NUMBERS.tolist()


def test_datasets_loaders_and_frames():
    pandas = pytest.importorskip("pandas")
    numbered = [(torch.from_numpy(x), torch.from_numpy(np.searchsorted(np.unique(LABELS), y))) for x, y in PAIRS]
    sets = [TensorDataset(*numbered[0]), DataLoader(TensorDataset(*numbered[1]), batch_size=9), numbered[2]]
    found, of = collect_sources("adapt", sets, None)
    np.testing.assert_array_equal(np.asarray(found.inputs), TOGETHER)
    assert of.tolist() == NUMBERS.tolist()
    frames = [(pandas.DataFrame(x, columns=list("abcd")), y) for x, y in PAIRS]
    frames[1] = (frames[1][0][list("dcab")], frames[1][1])  # aligned by name
    found, _ = collect_sources("adapt", frames, None)
    np.testing.assert_array_equal(np.asarray(found.inputs), TOGETHER)
    assert found.columns == tuple("abcd")


def test_one_source_in_a_list_and_rows_in_lists_are_one_source():
    found, of = collect_sources("adapt", [PAIRS[0]], None)
    assert of is None
    assert len(found.inputs) == 40
    found, of = collect_sources("adapt", [[0.0, 1.0], [2.0, 3.0]], [0, 1])
    assert of is None
    assert found.inputs.shape == (2, 2)
    images = [np.zeros((3, 4, 4)), np.ones((3, 4, 4))]
    assert collect_sources("adapt", images, [0, 1])[0].inputs.shape == (2, 3, 4, 4)


def test_pairs_copy_no_row():
    of = np.array([0, 1, 0, 1])
    pairs = pairs_of(TOGETHER, np.arange(4), of)
    assert all(isinstance(rows, Rows) and rows.base is TOGETHER for rows, _ in pairs)
    assert [labels.tolist() for _, labels in pairs] == [[0, 2], [1, 3]]
    inner = pairs_of(Rows(TOGETHER, np.array([5, 6, 7, 8])), np.arange(4), of)
    assert [rows.rows.tolist() for rows, _ in inner] == [[5, 7], [6, 8]]


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ((PAIRS, LABELS), TypeError, r"labels in the pairs of Xs and beside them.*\[\(X1, y1\), \(X2, y2\)\], None"),
        (([PAIRS[0], (PAIRS[1][0][:, :3], PAIRS[1][1])], None), ValueError,
         r"rows of one shape in all sources; got \(4,\) in Xs\[0\] and \(3,\) in Xs\[1\]"),
        (([PAIRS[0], (PAIRS[1][0], np.arange(25))], None), TypeError,
         r"labels of one kind in all sources; got strings in Xs\[0\] and numbers in Xs\[1\]"),
        (([PAIRS[0], (PAIRS[1][0].astype(np.uint8), PAIRS[1][1])], None), ValueError, "bytes, or other numbers"),
        (([PAIRS[0], (PAIRS[1][0], PAIRS[1][1][:5])], None), ValueError, r"each of the 25 rows of Xs\[1\]"),
        (([PAIRS[0], (PAIRS[1][0] * np.nan, PAIRS[1][1])], None), ValueError, r"NaN or inf in Xs\[1\]"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_sources(given, error, sentence):
    with pytest.raises(error, match=sentence):
        collect_sources("adapt", *given)


def test_regression_of_several_sources():
    pairs = [(x, x.sum(1)) for x, _ in PAIRS]
    adapted = lb.adapt(None, pairs, None, TARGET, method="deepcoral", task="regression", **GIVEN)
    assert adapted.predict(TARGET).shape == (50,)


def test_the_estimators_tell_sources_by_their_positive_numbers():
    X, y, domain = lb.pack(TOGETHER, LABELS, TARGET)
    numbers = np.where(domain > 0, np.r_[NUMBERS, np.zeros(50, dtype=int)] + 2, -1)
    seen = Looks()
    classifier = lb.DomainAdaptationClassifier(method=lambda sizes: seen, **GIVEN).fit(X, y, numbers)
    assert classifier.result_.method.seen[0] == [0] * 21 + [1] * 21 + [2] * 21
    assert classifier.predict(X).shape == (175,)
    one = lb.DomainAdaptationClassifier(method="deepcoral", **GIVEN).fit(X, y, domain)
    assert same(one.network_, lb.DomainAdaptationClassifier(method="deepcoral", **GIVEN).fit(X, y, 7 * domain).network_)
    regressor = lb.DomainAdaptationRegressor(method=lambda sizes: Looks(), **GIVEN)
    assert regressor.fit(X, X.sum(1), numbers).result_.method.seen[0] == [0] * 21 + [1] * 21 + [2] * 21
