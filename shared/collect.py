"""What users hold their data in (arrays, tensors, datasets, loaders), gathered into the arrays that training takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from .batches import Rows
from .checkpoint import random_states, set_random_states
from .checks import NonFiniteError
from .endless import Gathering
from .frames import Names, is_frame, read_frame
from .labels import as_array
from .seeds import derive_seed, seed_globally, seed_libraries
from .sparse import SparseRows, is_sparse

__all__ = ["Collected", "WithoutLabels", "as_native", "collect", "without_labels"]

Array = NDArray[Any]


class Collected(NamedTuple):
    """Rows of one domain, in memory (or a memory map, which is not read)."""

    inputs: Tensor | Array | Rows | SparseRows  # (n, ...)
    labels: Array | None  # (n,) or (n, m)
    ordered: bool = True  # False: a loader shuffled them, so that row i is not row i of anything else
    columns: Names | None = None  # of a frame


class WithoutLabels:
    """Somebody's dataset or loader of ``(inputs, labels)``, of which the inputs alone are handed on."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return (_inputs(part) for part in _parts(self.data))

    def __len__(self) -> int:
        return len(self.data)


def without_labels(data: Any) -> WithoutLabels:
    """Drop the labels of a target dataset, loader or pair ``(inputs, labels)``, and say so in the code.

    Target labels are refused everywhere else, so that none is there by mistake.

    Args:
        data: a dataset or loader that yields ``(inputs, labels)``, or one such pair of arrays.

    >>> target = torch.utils.data.TensorDataset(torch.zeros(6, 2), torch.arange(6))
    >>> collect("adapt", "Xt", without_labels(target)).inputs.shape
    torch.Size([6, 2])
    """
    return WithoutLabels(data)


def collect(
    function: str,
    name: str,
    data: Any,
    labels: Any = None,
    *,
    labelled: bool = False,
    columns: Names | None = None,
    of: str = "Xs",
) -> Collected:
    """All rows of one domain, from whatever holds them.

    Arrays, tensors, memory maps and what numpy makes an array of are taken as they are. Datasets and loaders are
    walked through once and gathered in memory: a sample, or a batch of any size, is a tensor, an array, or (labelled)
    a pair. What they draw at random (a shuffling loader, an augmentation) is drawn once, from a fixed seed, and global
    random states are left as they were.

    Args:
        function: the caller, which opens every message.
        name: of the argument, such as ``Xs``.
        data: rows (n, ...): an array, a tensor, a frame of numbers, a sparse matrix of scipy or torch (which stays
            sparse), nested lists, a map-style or iterable dataset, or a ``DataLoader``.
        labels: (n,) or (n, m), where ``data`` holds none.
        labelled: whether labels are needed; without, they are refused, so that none can leak.
        columns: those a frame needs, in this order; None: those it has.
        of: what has these columns.

    Raises:
        TypeError: for what holds no numbers (objects, strings, images of PIL), dictionaries, or labels of the target.
        ValueError: for a frame of other columns, no rows, rows of unequal shapes, another number of labels than rows;
            NonFiniteError for NaN.

    >>> loader = torch.utils.data.DataLoader(torch.arange(10.0).view(5, 2), batch_size=2)  # of 2, 2 and 1 rows
    >>> collect("adapt", "Xt", loader).inputs.shape
    torch.Size([5, 2])
    """
    stripped = isinstance(data, WithoutLabels)
    inner = data.data if isinstance(data, WithoutLabels) else data
    names: Names | None = None
    if stripped and labelled:
        raise TypeError(f"{function} needs the labels of {name}; got without_labels(...). Pass the data themselves.")
    if isinstance(inner, tuple):
        inputs, found = _pair(function, name, inner, labelled or stripped)
        inputs, names = _read(function, name, inputs, columns, of)
        ordered = True
    elif _is_dataset(inner):
        with _kept_random_states(name):
            inputs, found = _gathered(function, name, inner, labelled or stripped)
        ordered = _is_ordered(inner)
    else:
        (inputs, names), found, ordered = _read(function, name, inner, columns, of), None, True
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ValueError(
            f"{function} needs {name} of shape (samples, features) or (samples, channels, height, width); got "
            f"{tuple(inputs.shape)}."
        )
    _check_finite(function, name, inputs)
    if not labelled:
        return Collected(inputs, None, ordered, names)
    return Collected(inputs, _labels(function, name, len(inputs), found, labels), ordered, names)


def _read(
    function: str, name: str, value: Any, columns: Names | None, of: str
) -> tuple[Tensor | Array | Rows | SparseRows, Names | None]:
    """Rows, and the names of their columns where they came in a frame."""
    if not is_frame(value):
        return _as_rows(function, name, value), None
    read = read_frame(function, name, value, columns, of=of)
    return as_native(read.values), read.columns


def _pair(function: str, name: str, given: tuple[Any, ...], allowed: bool) -> tuple[Any, Any]:
    """The two parts of a tuple; the second is None for a tuple of one."""
    if len(given) == 1:
        return given[0], None
    if len(given) != 2:
        raise TypeError(f"{function} needs {name} as inputs, or (inputs, labels); got a tuple of {len(given)}.")
    if not allowed:
        raise TypeError(
            f"{function} never reads target labels, so that they cannot leak; got {name} with labels. Pass the inputs "
            "alone, or landbridge.without_labels(data); labels that shall only score the result go into evaluate=."
        )
    return given


def _as_rows(function: str, name: str, value: Any) -> Tensor | Array | Rows | SparseRows:
    if is_sparse(value):
        return value if isinstance(value, SparseRows) else SparseRows(function, name, value)
    if isinstance(value, Rows):
        base = value.base
        known = base.dtype != torch.bfloat16 if isinstance(base, Tensor) else base.dtype.isnative
        return value if known else _as_rows(function, name, base[value.rows])
    if isinstance(value, Tensor):
        if value.is_complex():
            raise TypeError(f"{function} needs {name} as real numbers; got {value.dtype}.")
        return _known(value.detach())
    if isinstance(value, Mapping):
        raise TypeError(f"{function} {_refused_mapping(name, value)}")
    if hasattr(value, "__next__") or (hasattr(value, "__iter__") and not hasattr(value, "__len__")):
        raise TypeError(
            f"{function} cannot tell samples from batches in {name}; got {type(value).__name__}. Pass an array, a "
            "torch Dataset (of samples) or a torch DataLoader (of batches)."
        )
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function} needs the rows of {name} equally long; numpy says: {error}") from error
    if array.dtype.kind == "O" and array.ndim == 2 and all(map(_is_number, array.flat)):
        array = array.astype(np.float64)  # what a frame of numbers beside booleans gives as its values
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise NonFiniteError(
            f"{function} got masked entries in {name}: {int(np.ma.getmaskarray(array).sum())} of {array.size}. Fill "
            "them (array.filled(...)), or drop these rows."
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{function} needs {name} as numbers; got {type(value).__name__} of dtype {array.dtype}. Encode strings "
            "and categories first (scikit-learn's OneHotEncoder), and make ragged rows equally long."
        )
    return as_native(array)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.bool_))


def as_native(array: Array) -> Array:
    """An array that torch can read: in this machine's byte order, of float64 at most; itself where it is one already.

    >>> as_native(np.array([1.0], dtype=">f4")).dtype
    dtype('float32')
    """
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _known(value: Tensor) -> Tensor:
    """numpy, which what follows goes through, knows no bfloat16."""
    return value.float() if value.dtype == torch.bfloat16 else value


def _gathered(function: str, name: str, data: Any, pairs: bool) -> tuple[Tensor, Any]:
    """Inputs stacked or concatenated, and labels likewise where there are any."""
    batched = isinstance(data, DataLoader) and data.batch_sampler is not None
    inputs: list[Tensor] = []
    labels: list[Array] = []
    gathering = Gathering(function, name, data)
    for number, part in enumerate(_parts(data)):
        where = f"{'batch' if batched else 'sample'} {number} of {name}"
        if isinstance(part, Mapping):
            raise TypeError(f"{function} {_refused_mapping(where, part)}")
        if isinstance(part, (tuple, list)):
            x, y = _pair(function, name, tuple(part), pairs)
        else:
            x, y = part, None
        row = _as_part(function, where, x)
        if inputs and row.shape[batched:] != inputs[0].shape[batched:]:
            raise ValueError(
                f"{function} needs samples of one shape in {name}; got {tuple(inputs[0].shape[batched:])} first and "
                f"{tuple(row.shape[batched:])} in {where}. Resize or pad them in the dataset."
            )
        gathering.add(row)
        inputs.append(row)
        if y is not None:
            labels.append(_as_label(function, where, y))
    if not inputs:
        raise ValueError(f"{function} needs samples in {name}; got a {type(data).__name__} that yields none.")
    if labels and len(labels) != len(inputs):
        raise ValueError(f"{function} needs a label for every sample of {name}; some came without.")
    together = torch.cat(inputs) if batched else torch.stack(inputs)
    if not labels:
        return together, None
    return together, np.concatenate(labels) if batched and labels[0].ndim else np.stack(labels)


def _is_dataset(data: Any) -> bool:
    """torch's, or whatever is used like one; numpy knows what to do with the rest."""
    if isinstance(data, (DataLoader, Dataset)):
        return True
    known = isinstance(data, (list, Tensor, np.ndarray, Rows, Mapping, str)) or hasattr(data, "__array__")
    known = known or is_sparse(data)
    known = known or is_frame(data)
    return not known and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _parts(data: Any) -> Iterator[Any]:
    """Samples or batches; a map-style dataset need not know how to stop."""
    if isinstance(data, (DataLoader, IterableDataset)) or not hasattr(data, "__len__"):
        return iter(data)
    return (data[i] for i in range(len(data)))


def _inputs(part: Any) -> Any:
    return part[0] if isinstance(part, (tuple, list)) else part


def _as_part(function: str, where: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return _known(value.detach().cpu())
    if type(value).__module__.partition(".")[0] == "PIL":
        raise TypeError(
            f"{function} needs tensors or arrays; got an image of PIL in {where}. Give the dataset "
            "transform=torchvision.transforms.PILToTensor(), after a Resize."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{function} needs numbers; got {type(value).__name__} of dtype {array.dtype} in {where}. Let the dataset "
            "give tensors or arrays."
        )
    return torch.from_numpy(np.array(as_native(array)))  # a copy: the dataset may use its memory again


def _refused_mapping(where: str, value: Mapping[Any, Any]) -> str:
    keys = ", ".join(repr(key) for key in list(value)[:4])
    return (
        f"cannot tell inputs from labels in a dictionary; {where} has the keys {keys}. Wrap it in a dataset or "
        "collate_fn that gives (inputs, labels), or the inputs alone for the target."
    )


def _is_ordered(data: Any) -> bool:
    """Whether rows come in the dataset's own order, as far as a loader tells."""
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        return True
    batches = data.batch_sampler
    sampler = data.sampler if batches is None else getattr(batches, "sampler", None)
    return isinstance(sampler, SequentialSampler) and (batches is None or type(batches) is BatchSampler)


class _kept_random_states:
    """Draw from a fixed seed within, and give the global random states back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.states = random_states()
        seed_libraries(derive_seed("collect", self.name))
        seed_globally(derive_seed("collect", self.name))

    def __exit__(self, *_: object) -> None:
        set_random_states(self.states)


def _check_finite(function: str, name: str, inputs: Tensor | Array | Rows | SparseRows) -> None:
    if isinstance(inputs, Rows):
        return  # of a large base; the training loop asks the features
    if isinstance(inputs, SparseRows):
        bad = inputs.not_finite()
        finite: Array = np.ones(len(inputs), dtype=np.bool_)
        finite[bad] = False
    elif isinstance(inputs, Tensor):
        if not inputs.is_floating_point() or bool(inputs.sum(dtype=torch.float64).isfinite()):
            return  # the sum is cheap; the row is looked for on failure only
        finite = inputs.isfinite().reshape(len(inputs), -1).all(1).cpu().numpy()
    else:
        with np.errstate(all="ignore"):
            if inputs.dtype.kind != "f" or np.isfinite(inputs.sum(dtype=np.float64)):
                return
        finite = np.asarray(np.isfinite(inputs).reshape(len(inputs), -1).all(1))
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise NonFiniteError(
            f"{function} got NaN or inf in {name}: {len(bad)} of {len(inputs)} rows, the first is row {bad[0]}. "
            "Drop these rows or fill the gaps (scikit-learn's SimpleImputer)."
        )


def _as_label(function: str, name: str, value: Any) -> Array:
    array = as_array(function, name, value)
    return array if array.dtype.kind not in "fiu" else as_native(array)


def _labels(function: str, name: str, rows: int, found: Any, given: Any) -> Array:
    if found is not None and given is not None:
        raise ValueError(f"{function} got labels twice: in {name} and beside it. Pass None for the latter.")
    value = given if found is None else found
    if value is None:
        raise ValueError(f"{function} needs labels for {name}; got None. Pass one label a row.")
    labels = _as_label(function, f"the labels of {name}", value)
    if labels.ndim not in (1, 2) or len(labels) != rows:
        raise ValueError(f"{function} needs one label for each of the {rows} rows of {name}; got shape {labels.shape}.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels.reshape(rows, -1)).all(1))[0])
        raise NonFiniteError(f"{function} got NaN or inf in the labels of {name}, first in row {row}.")
    return labels
