"""Sparse matrices: never dense as a whole, and the same as their dense form in all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from toy import same

import landbridge as lb
from landbridge.shared.batches import Rows, SparseSamples, as_samples
from landbridge.shared.collect import collect
from landbridge.shared.default_network import Standardise, default_network
from landbridge.shared.sparse import SparseRows, is_sparse, stack_sparse

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR)"),
    pytest.mark.filterwarnings("ignore::landbridge.NegativeTransferWarning"),
]
RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((60, 7)) < 0.4, RNG.integers(1, 9, (60, 7)), 0).astype(np.float64)
Y = (DENSE[:, 0] > DENSE[:, 1]).astype(int)
FORMATS = ["csr_matrix", "csr_array", "csc_matrix", "csc_array", "coo_matrix", "coo_array", "lil_matrix", "dok_array"]
ROWS = SparseRows("fit", "target", sparse.csr_array(DENSE))
GIVEN = {"steps": 4, "device": "cpu"}
CPU = torch.device("cpu")


def of_torch(layout: str, dense: np.ndarray = DENSE) -> torch.Tensor:
    return getattr(torch.from_numpy(dense), f"to_sparse_{layout}")()


@pytest.fixture
def densified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows became dense at each time."""
    seen: list[int] = []
    numpy = SparseRows.numpy

    def count(self: SparseRows) -> Any:
        seen.append(len(self))
        return numpy(self)

    monkeypatch.setattr(SparseRows, "numpy", count)
    return seen


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
def test_every_format_and_dtype_of_scipy(kind: str, dtype: type) -> None:
    given = getattr(sparse, kind)(DENSE.astype(dtype))
    assert is_sparse(given)
    rows = SparseRows("fit", "source", given)
    assert rows.shape == (60, 7)
    np.testing.assert_array_equal(rows.numpy(), DENSE.astype(dtype).astype(np.float64))
    assert rows.dtype == (np.float64 if dtype in (np.float64, np.int64, np.int32) else np.float32)
    np.testing.assert_array_equal(rows[3], DENSE[3].astype(dtype))
    np.testing.assert_array_equal(np.asarray(rows[DENSE[:, 0] > 0]), DENSE[DENSE[:, 0] > 0].astype(dtype))
    np.testing.assert_array_equal(np.asarray(rows[5:2:-1]), DENSE[5:2:-1].astype(dtype))


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_tensors(layout: str) -> None:
    np.testing.assert_array_equal(SparseRows("fit", "source", of_torch(layout)).numpy(), DENSE)


def test_entries_given_twice_are_summed_and_the_users_matrix_stays_as_it_is() -> None:
    given = sparse.csr_matrix((np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3))
    rows = SparseRows("fit", "source", given)
    assert rows.numpy().tolist() == [[0, 3, 0], [4, 0, 0]]
    assert given.data.tolist() == [1.0, 2.0, 4.0]
    mean, variance = rows.moments()
    torch.testing.assert_close(mean, torch.tensor([2.0, 1.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(variance, torch.tensor([4.0, 2.25, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_moments_are_those_of_the_dense_rows(offset: float, densified: list[int]) -> None:
    dense = DENSE + offset * (np.arange(7) == 2)
    mean, variance = SparseRows("fit", "source", sparse.csr_matrix(dense)).moments()
    np.testing.assert_allclose(mean, dense.mean(0), rtol=1e-14)
    np.testing.assert_allclose(variance, dense.var(0), rtol=1e-7)
    ours = Standardise.of(Rows(SparseRows("fit", "source", sparse.csr_matrix(dense)), np.arange(40)), limit=3.0)
    theirs = Standardise.of(dense[:40], limit=3.0)
    assert not densified
    assert ours.wide == theirs.wide == (offset > 0)
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.std, theirs.std)


def test_a_constant_column_has_no_deviation() -> None:
    dense = np.column_stack([DENSE, np.full(60, 0.1), np.zeros(60)])
    made = Standardise.of(SparseRows("fit", "source", sparse.csr_matrix(dense)))
    assert made.std[-2:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.coo_array, lambda dense: of_torch("csr", dense)])
def test_fit_and_predict_as_with_the_dense_rows(make: Any) -> None:
    given = make(DENSE)

    def run(X: Any) -> lb.FitResult:
        torch.manual_seed(0)
        network = lb.wrap(torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)), head="2")
        return lb.fit(network, lb.DeepCORAL(), (X, Y), X, batch_size=16, progress_bar=False, **GIVEN)

    ours, theirs = run(given), run(DENSE)
    assert same(ours.network, theirs.network)
    assert torch.equal(ours.forward(given)[1], theirs.forward(DENSE)[1])


def test_adapt_as_with_the_dense_rows_but_for_rounding(densified: list[int]) -> None:
    rows = sparse.csr_matrix(DENSE)
    ours = lb.adapt(None, rows, Y, rows, method="deepcoral", evaluate=(rows, Y), **GIVEN)
    theirs = lb.adapt(None, DENSE, Y, DENSE, method="deepcoral", evaluate=(DENSE, Y), **GIVEN)
    for one, other in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(DENSE), rtol=1e-5)
    assert ours.after.target == theirs.after.target
    assert densified


def test_estimators_take_sparse_rows_and_say_so() -> None:
    X, y, domain = lb.pack(sparse.csr_matrix(DENSE), Y, sparse.csr_matrix(DENSE + 1))
    dense = lb.pack(DENSE, Y, DENSE + 1)
    ours = lb.DomainAdaptationClassifier(**GIVEN).fit(X, y, domain)
    theirs = lb.DomainAdaptationClassifier(**GIVEN).fit(*dense)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(dense[0]), rtol=1e-5)
    np.testing.assert_array_equal(ours.predict(of_torch("coo")), ours.predict(DENSE))
    values = lb.DomainAdaptationRegressor(**GIVEN).fit(X, y.astype(float), domain)
    assert values.predict(X).shape == (120,)
    assert ours.__sklearn_tags__().input_tags.sparse


@pytest.mark.parametrize("given", [sparse.csr_matrix, sparse.csc_array, lambda x: of_torch("csr", x)])
def test_pack_keeps_sparse_rows_sparse(given: Any) -> None:
    X, y, domain = lb.pack(given(DENSE), Y, given(DENSE[:9]))
    wanted = lb.pack(DENSE, Y, DENSE[:9])
    assert sparse.issparse(X)
    assert X.format == "csr"
    assert isinstance(X, sparse.csr_matrix) == (given is sparse.csr_matrix)
    for ours, theirs in zip((X.toarray(), y, domain), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert lb.pack(DENSE, Y, given(DENSE[:9]))[0].shape == (69, 7)  # one of them alone
    with pytest.raises(ValueError, match=r"pack needs Xs and Xt of shapes .* got \(60, 7\) and \(9, 6\)"):
        stack_sparse("pack", given(DENSE), DENSE[:9, :6])


def test_a_wide_matrix_is_dense_a_batch_at_a_time(densified: list[int]) -> None:
    """100,000 x 50,000, of which the dense form has 20 GB in float32: two updates and a prediction of 1,000 rows."""
    n, d = 100_000, 50_000
    columns = np.random.default_rng(1).integers(0, d, 4 * n)
    wide = sparse.csr_array((np.ones(4 * n, dtype=np.float32), columns, np.arange(0, 4 * n + 1, 4)), shape=(n, d))
    network = default_network(SparseRows("fit", "source", wide), 2)
    assert not densified
    result = lb.fit(network, lb.SourceOnly(), (wide, np.arange(n) % 2), wide, steps=2, batch_size=64, device="cpu")
    result.predict(wide[:1000])
    assert max(densified) <= 335  # 64 MiB of float32
    assert sum(densified) == 8 + 2 * 64 + 2 * (64 + 64) + 1000  # look, fingerprints, steps, prediction


def test_samples_of_some_rows_of_a_matrix() -> None:
    rows = Rows(ROWS, np.array([4, 2, 9]))
    some = as_samples("fit", "target", rows, CPU, labelled=False)
    np.testing.assert_array_equal(rows.numpy(), DENSE[[4, 2, 9]])
    assert isinstance(some, SparseSamples)
    assert some.shape == (3, 7)
    assert some.dtype == torch.float64
    assert torch.equal(some.gather(torch.tensor([2, 0])), torch.from_numpy(DENSE[[9, 4]]))
    half = as_samples("fit", "target", sparse.csr_array(DENSE), CPU, labelled=False, dtype=torch.float32)
    assert half.gather(torch.tensor([0])).dtype == torch.float32


def test_nan_complex_numbers_and_other_shapes_meet_a_sentence() -> None:
    rotten = sparse.csr_matrix(np.where(DENSE.max() == DENSE, np.nan, DENSE))
    first = int(np.flatnonzero((DENSE.max() == DENSE).any(1))[0])
    with pytest.raises(ValueError, match=rf"adapt got NaN or inf in Xs: .* the first is row {first}"):
        collect("adapt", "Xs", rotten)
    with pytest.raises(TypeError, match="fit needs source as numbers; got a sparse matrix of dtype complex128"):
        SparseRows("fit", "source", sparse.csr_matrix(DENSE.astype(complex)))
    with pytest.raises(TypeError, match=r"as a sparse tensor \(samples, features\) of real numbers; got \(2, 2, 2\)"):
        SparseRows("fit", "source", torch.zeros(2, 2, 2).to_sparse_coo())
    with pytest.raises(ValueError, match=r"adapt needs source and target rows of one shape; got Xs \(60, 7\)"):
        lb.adapt(None, sparse.csr_matrix(DENSE), Y, sparse.csr_matrix(DENSE[:, :5]), **GIVEN)


@pytest.mark.parametrize("make", [lb.CORAL, lb.OTDA])
def test_closed_forms_say_that_they_need_dense_rows(make: Any) -> None:
    with pytest.raises(TypeError, match=r"dense data is required.*toarray\(\)"):
        make().fit(*lb.pack(sparse.csr_matrix(DENSE), Y, sparse.csr_matrix(DENSE)))
