"""Batches: data that rests on the device, and an order of samples that is a pure function of seed and epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dtypes import warn_of_rounding
from .seeds import generator
from .sparse import SparseRows, is_sparse
from .tasks import as_labels

__all__ = ["Order", "Rows", "Samples", "Sources", "SparseSamples", "as_samples", "is_several"]

BLOCK = 1 << 28  # bytes moved to a device at a time, so that the host never holds a second copy of a big array


class Order:
    """Which rows make batch number i: one permutation an epoch, batches running on across the epochs' borders.

    Args:
        n: how many rows there are.
        batch_size: rows a batch.
        seed: with ``name``, decides every permutation.
        name: the stream, ``"source"`` or ``"target"``: the domains shuffle and wrap independently.
        device: where the indices are to be.

    Raises:
        ValueError: if a batch would hold a row twice.

    >>> order = Order(3, 2, seed=0, name="source", device="cpu")
    >>> sorted(torch.cat([order(0), order(1), order(2)]).tolist())  # two epochs in three batches
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, n: int, batch_size: int, *, seed: int, name: str, device: torch.device | str) -> None:
        if not 1 <= batch_size <= n:
            raise ValueError(
                f"fit needs 1 <= batch size <= samples in the {name}; got batch size {batch_size} and {n} samples. "
                f"Pass batch_size=({'source, target'}) with at most {n} for the {name}."
            )
        self.n, self.batch_size, self.seed, self.name, self.device = n, batch_size, seed, name, device
        self._epochs: dict[int, Tensor] = {}

    def __call__(self, number: int) -> Tensor:
        """The row numbers of one batch, (batch_size,), int64, on the device."""
        epoch, start = divmod(number * self.batch_size, self.n)
        rows = self._permutation(epoch)[start : start + self.batch_size]
        missing = self.batch_size - len(rows)
        return torch.cat([rows, self._permutation(epoch + 1)[:missing]]) if missing else rows

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            rows = torch.randperm(self.n, generator=generator(self.seed, self.name, epoch))
            self._epochs = {e: p for e, p in self._epochs.items() if e >= epoch - 1}
            self._epochs[epoch] = rows.to(self.device)
        return self._epochs[epoch]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a big array, unread: what a split of a prepared data set is.

    Attributes:
        base: (N, ...), an array, a memory map (read-only or not), a tensor or a sparse matrix; it is never written.
        rows: which of its rows, in which order, (n,), int64.

    Raises:
        TypeError: if ``rows`` are no whole numbers.
        ValueError: if ``rows`` are not of shape (n,), or ``base`` lacks one of them.

    >>> rows = Rows(np.arange(10).reshape(5, 2), np.array([4, 0, 4]))
    >>> rows.shape, rows[1:].rows, rows.numpy()[0]
    ((3, 2), array([0, 4]), array([8, 9]))
    """

    base: NDArray[Any] | Tensor | SparseRows
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows)
        if rows.dtype.kind not in "iu" and rows.size:
            raise TypeError(f"Rows needs row numbers as whole numbers; got {_describe(self.rows)}.")
        if rows.ndim != 1:
            raise ValueError(f"Rows needs row numbers of shape (n,); got {rows.shape}.")
        if rows.size and not 0 <= int(rows.min()) <= int(rows.max()) < len(self.base):
            raise ValueError(
                f"Rows needs row numbers from 0 to {len(self.base) - 1}; got {int(rows.min())} to {int(rows.max())}."
            )
        object.__setattr__(self, "rows", rows.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...): of what :meth:`numpy` would read."""
        return (len(self.rows), *self.base.shape[1:])

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.base.shape)

    @property
    def dtype(self) -> Any:
        """The base's own: numpy's or torch's."""
        return self.base.dtype

    def __getitem__(self, which: Any) -> Rows | NDArray[Any]:
        """Some of these rows, by numbers, a slice or a mask, still unread; one row, read, by a whole number."""
        some = self.rows[which]
        return Rows(self.base, some) if isinstance(some, np.ndarray) else self._read(some)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._read(row) for row in self.rows)

    def numpy(self) -> NDArray[Any]:
        """The rows themselves, read into an array of their own."""
        return self._read(self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Rows cannot be an array without copying the rows; leave copy out.")
        return self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)

    def _read(self, rows: Any) -> NDArray[Any]:
        if isinstance(self.base, Tensor):
            return np.asarray(self.base[torch.as_tensor(rows, device=self.base.device)].cpu().numpy())
        return np.array(self.base[rows])


class Samples:
    """Inputs, and labels where there are any, held on the device if they fit and gathered there.

    Args:
        inputs: (n, ...), uint8 or floating point: a tensor, an array, a memory map (of which a batch reads its own
            rows alone, on the CPU), or :class:`Rows` of one of them.
        labels: (n,), or None.
        device: where batches are wanted.
    """

    def __init__(self, inputs: Tensor | NDArray[Any] | Rows, labels: Tensor | None, device: torch.device) -> None:
        self.device = device = torch.empty(0, device=device).device  # "cuda" is "cuda:0" in a tensor's own words
        self.inputs = _view(inputs.base if isinstance(inputs, Rows) else inputs)  # type: ignore[arg-type]
        self.rows = torch.from_numpy(np.array(inputs.rows)) if isinstance(inputs, Rows) else None  # within the base
        if self.inputs.device != device and _fits(self, device):
            self.inputs, self.rows = _moved(self, device), None
        if self.rows is not None:
            self.rows = self.rows.to(self.inputs.device)
        self.labels = None if labels is None else labels.to(device)
        self.cast: torch.dtype | None = None  # what whole numbers become in a batch, where a network wants that

    def __len__(self) -> int:
        return self.inputs.shape[0] if self.rows is None else self.rows.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...) of the inputs."""
        return (len(self), *self.inputs.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs as they came."""
        return self.inputs.dtype

    def gather(self, rows: Tensor) -> Tensor:
        """The inputs of some rows, on the device; row numbers from 0 to n - 1."""
        rows = rows.to(self.inputs.device)
        if self.rows is not None:
            rows = self.rows.index_select(0, rows)
        gathered = self.inputs.index_select(0, rows)
        if gathered.device != self.device:
            pinned = gathered.pin_memory() if self.device.type == "cuda" else gathered
            gathered = pinned.to(self.device, non_blocking=True)
        return gathered if self.cast is None else gathered.to(self.cast)

    def chunks(self, size: int) -> list[Tensor]:
        """All rows in order, as row numbers in nearly equal chunks of at most ``size``: none is left with one row."""
        count = -(-len(self) // size)
        return list(torch.arange(len(self), device=self.device).tensor_split(count))


class SparseSamples(Samples):
    """Rows of a sparse matrix, of which a batch alone is ever dense: gathered on the CPU and moved to the device.

    Args:
        inputs: of the matrix, or :class:`Rows` of it.
        labels: (n,), or None.
        device: where batches are wanted.
        dtype: theirs; None: the matrix's own.
    """

    def __init__(
        self, inputs: SparseRows | Rows, labels: Tensor | None, device: torch.device, dtype: torch.dtype | None
    ) -> None:
        self.device = torch.empty(0, device=device).device
        self.sparse: SparseRows = inputs.base if isinstance(inputs, Rows) else inputs  # type: ignore[assignment]
        self.rows = torch.from_numpy(np.array(inputs.rows)) if isinstance(inputs, Rows) else None
        own = torch.float64 if self.sparse.dtype == np.float64 else torch.float32
        self.inputs = torch.empty(0, self.sparse.shape[1], dtype=own if dtype is None else dtype)  # shape and dtype
        self.labels = None if labels is None else labels.to(device)
        self.cast = None

    def __len__(self) -> int:
        return len(self.sparse) if self.rows is None else len(self.rows)

    def gather(self, rows: Tensor) -> Tensor:
        rows = rows.cpu() if self.rows is None else self.rows[rows.cpu()]
        dense = np.asarray(self.sparse[rows.numpy()])
        return torch.from_numpy(dense).to(self.inputs.dtype).to(self.device)


def _view(inputs: Tensor | NDArray[Any]) -> Tensor:
    """A tensor on the same memory; one of a read-only array must not be written, and in this file none is."""
    if isinstance(inputs, Tensor):
        return inputs.detach()
    if any(stride < 0 for stride in inputs.strides):
        inputs = inputs.copy()  # torch has no such strides
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ", category=UserWarning)
        return torch.from_numpy(inputs)


def _moved(samples: Samples, device: torch.device) -> Tensor:
    """All rows of some samples on another device, in their order."""
    inputs, rows, n = samples.inputs, samples.rows, len(samples)
    if rows is None and not inputs.is_cpu:
        return inputs.to(device)
    moved = torch.empty((n, *inputs.shape[1:]), dtype=inputs.dtype, device=device)
    size = max(1, BLOCK // max(1, inputs[0].nelement() * inputs.element_size()))
    for start in range(0, n, size):
        some = slice(start, start + size)
        moved[some] = (inputs[some] if rows is None else inputs.index_select(0, rows[some])).to(device)
    return moved


def _fits(samples: Samples, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return math.prod(samples.shape) * samples.inputs.element_size() < free // 2


class Sources:
    """One labelled source or several, and what of them makes batch number i: as many rows of each, in blocks.

    Args:
        function: the caller, for the messages.
        data: ``(inputs, labels)``, or a list of such pairs.
        device: where batches are wanted.
        batch_size: rows a batch; of k sources each gives ``batch_size // k``, so that a batch may hold up to k - 1
            rows fewer than asked for.
        seed: of the orders. Those of several sources are independent streams: each shuffles and wraps by itself.
        dtype: what floating-point inputs become.
        task: what the labels are; see :func:`~landbridge.shared.tasks.as_labels`.
        values: what labels become in regression.

    Attributes:
        samples: each source's.
        domain: which source each row of a batch is of, (n_s,), int64: 0, 0, ..., 1, 1, ...; None for a lone pair.

    Raises:
        TypeError, ValueError: for what :func:`as_samples` refuses, no source at all, sources whose samples differ in
            shape or dtype, or a batch that does not hold a row of each, or one twice.
    """

    def __init__(
        self,
        function: str,
        data: Any,
        device: torch.device,
        batch_size: int,
        *,
        seed: int,
        dtype: torch.dtype | None = None,
        task: str = "classification",
        values: torch.dtype = torch.float32,
    ) -> None:
        several = is_several(data)
        pairs: list[Any] = data if several else [data]
        names = [f"source {i}" for i in range(len(pairs))] if len(pairs) > 1 else ["source"]
        k = len(pairs)
        share = batch_size // k
        if share < 1 <= batch_size:
            raise ValueError(
                f"{function} needs at least one row of each source in a batch; got batch size {batch_size} and "
                f"{k} sources. Pass batch_size of at least {k} for the source."
            )
        self.samples = [
            as_samples(function, name, pair, device, labelled=True, dtype=dtype, task=task, values=values)
            for name, pair in zip(names, pairs, strict=True)
        ]
        self._check_alike(function)
        fewest = min(map(len, self.samples))
        if k > 1 and share > fewest:
            raise ValueError(
                f"{function} takes as many rows of each source into a batch; got batch size {batch_size} of {k} "
                f"sources, {share} of each, and {fewest} samples in {names[[*map(len, self.samples)].index(fewest)]}. "
                f"Pass batch_size=(source, target) with at most {fewest * k + k - 1} for the source."
            )
        self.orders = [
            Order(len(samples), share, seed=seed, name=name, device=samples.device)
            for name, samples in zip(names, self.samples, strict=True)
        ]
        domain = torch.arange(k, device=device).repeat_interleave(share)
        self.domain = domain if several else None

    def _check_alike(self, function: str) -> None:
        first, *rest = self.samples
        for i, other in enumerate(rest, start=1):
            for what, ours, theirs in (
                ("inputs of one shape", first.shape[1:], other.shape[1:]),
                ("inputs of one dtype", first.dtype, other.dtype),
                ("labels of one shape", *(tuple(s.labels.shape[1:]) for s in (first, other) if s.labels is not None)),
                ("labels of one dtype", *(s.labels.dtype for s in (first, other) if s.labels is not None)),
            ):
                if ours != theirs:
                    raise ValueError(
                        f"{function} needs {what} in all sources; got {ours} in source 0 and {theirs} in source {i}."
                    )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> Tensor:
        """Of all sources, one after the other."""
        return torch.cat([s.labels for s in self.samples if s.labels is not None])

    def gather(self, number: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels of one batch, on the device."""
        inputs, labels = [], []
        for samples, order in zip(self.samples, self.orders, strict=True):
            rows = order(number)
            assert samples.labels is not None
            inputs.append(samples.gather(rows))
            labels.append(samples.labels.index_select(0, rows))
        return (inputs[0], labels[0]) if len(inputs) == 1 else (torch.cat(inputs), torch.cat(labels))


def is_several(source: Any) -> bool:
    """Whether it is a list of pairs ``(inputs, labels)``: several sources. A tuple of two is one.

    >>> x, y = torch.zeros(3, 2), torch.zeros(3)
    >>> is_several([(x, y), (x, y)]), is_several([(x, y)]), is_several((x, y)), is_several([x, y])
    (True, True, False, False)
    """
    return isinstance(source, list) and len(source) > 0 and all(isinstance(pair, (tuple, list)) for pair in source)


def as_samples(
    function: str,
    name: str,
    data: Any,
    device: torch.device,
    *,
    labelled: bool,
    dtype: torch.dtype | None = None,
    task: str = "classification",
    values: torch.dtype = torch.float32,
) -> Samples:
    """Arrays or tensors as :class:`Samples`; a sentence for what cannot be.

    Args:
        function: the caller, for the message.
        name: ``source``, ``target``, or ``inputs`` where there is but one domain.
        data: ``(inputs, labels)`` if labelled, else the inputs alone; numpy arrays (memory maps are read a batch at a
            time, and nothing is copied), :class:`Rows` of one, tensors, or sparse matrices of scipy or torch.
        device: where batches are wanted.
        labelled: whether labels are needed; without, they are refused, so that none can leak.
        dtype: what floating-point inputs become: the network's own (numpy's default is float64).
        task: what the labels are.
        values: what they become in regression.

    Raises:
        TypeError: for what is no array, no pair, or labels given for the target.
        ValueError: for no samples, or not one label a sample.
    """
    pair = isinstance(data, (tuple, list)) and len(data) == 2
    if labelled and not pair:
        raise TypeError(
            f"{function} needs {name}=(inputs, labels); got {_describe(data)}. Pass a tuple of two arrays or tensors; "
            "several sources are a list of such tuples."
        )
    if not labelled and name == "inputs" and isinstance(data, (tuple, list)):
        raise TypeError(
            f"{function} needs the inputs alone, as one array or tensor (samples, ...); got a {type(data).__name__} of "
            f"{len(data)}. Leave labels out, and stack what is in a list."
        )
    if not labelled and isinstance(data, (tuple, list)):
        raise TypeError(
            f"{function} never reads target labels, so that they cannot leak; got {name} as a "
            f"{type(data).__name__} of {len(data)}. Pass the {name} inputs alone."
        )
    what = name if name == "inputs" else f"{name} inputs"
    inputs = _as_rows(function, what, data[0] if labelled else data)
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ValueError(f"{function} needs {what} of shape (samples, ...); got {tuple(inputs.shape)}.")
    sparse = isinstance(inputs.base if isinstance(inputs, Rows) else inputs, SparseRows)
    if not sparse and dtype is not None and inputs.dtype != dtype and inputs.dtype.is_floating_point:
        if name != "inputs" and not isinstance(inputs, Rows):
            warn_of_rounding(function, what, inputs)
        inputs = (_view(inputs.numpy()) if isinstance(inputs, Rows) else inputs).to(dtype)
    labels = _as_tensor(function, f"{name} labels", data[1]) if labelled else None
    if labels is not None and len(labels) != len(inputs):
        raise ValueError(f"{function} needs one label a {name} sample; got {len(inputs)} inputs, {len(labels)} labels.")
    if labels is not None:
        if task == "regression" and values == torch.float32:
            warn_of_rounding(function, f"{name} labels", labels)
        labels = as_labels(function, name, labels, task, values)
    return SparseSamples(inputs, labels, device, dtype) if sparse else Samples(inputs, labels, device)


def _as_rows(function: str, what: str, value: Any) -> Any:
    """A tensor, rows of a sparse matrix, or :class:`Rows` of either."""
    if isinstance(value, Rows):
        return Rows(_as_rows(function, what, value.base), value.rows)
    if isinstance(value, SparseRows):
        return value
    return SparseRows(function, what, value) if is_sparse(value) else _as_tensor(function, what, value)


def _as_tensor(function: str, what: str, value: Any) -> Tensor:
    if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub"):
        return _view(value)
    raise TypeError(f"{function} needs {what} as a numeric array or tensor; got {_describe(value)}.")


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = f" of dtype {value.dtype}" if hasattr(value, "dtype") else ""
    return type(value).__name__ + kind + (f", shape {tuple(shape)}" if shape is not None else "")
