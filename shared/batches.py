"""Batches: data that rests on the device, and an order of samples that is a pure function of seed and epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .seeds import generator

__all__ = ["Order", "Samples", "as_samples"]


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


class Samples:
    """Inputs, and labels where there are any, held on the device if they fit and gathered there.

    Args:
        inputs: (n, ...), uint8 or floating point.
        labels: (n,), or None.
        device: where batches are wanted.
    """

    def __init__(self, inputs: Tensor, labels: Tensor | None, device: torch.device) -> None:
        self.device = device
        self.inputs = inputs.to(device) if _fits(inputs, device) else inputs
        self.labels = None if labels is None else labels.to(device)

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def gather(self, rows: Tensor) -> Tensor:
        """The inputs of some rows, on the device."""
        if self.inputs.device == rows.device:
            return self.inputs.index_select(0, rows)
        return self.inputs.index_select(0, rows.cpu()).pin_memory().to(self.device, non_blocking=True)

    def chunks(self, size: int) -> list[Tensor]:
        """All rows in order, as row numbers in nearly equal chunks of at most ``size``: none is left with one row."""
        count = -(-len(self) // size)
        return list(torch.arange(len(self), device=self.device).tensor_split(count))


def _fits(inputs: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return inputs.nelement() * inputs.element_size() < free // 2


def as_samples(
    function: str, name: str, data: Any, device: torch.device, *, labelled: bool, dtype: torch.dtype | None = None
) -> Samples:
    """Arrays or tensors as :class:`Samples`; a sentence for what cannot be.

    Args:
        function: the caller, for the message.
        name: ``source`` or ``target``.
        data: ``(inputs, labels)`` if labelled, else the inputs alone; numpy arrays or tensors.
        device: where batches are wanted.
        labelled: whether labels are needed; without, they are refused, so that none can leak.
        dtype: what floating-point inputs become: the network's own (numpy's default is float64).

    Raises:
        TypeError: for what is no array, no pair, or labels given for the target.
        ValueError: for no samples, or not one label a sample.
    """
    pair = isinstance(data, (tuple, list)) and len(data) == 2
    if labelled and not pair:
        raise TypeError(
            f"{function} needs {name}=(inputs, labels); got {_describe(data)}. Pass a tuple of two arrays or tensors."
        )
    if not labelled and isinstance(data, (tuple, list)):
        raise TypeError(
            f"{function} never reads target labels, so that they cannot leak; got {name} as a "
            f"{type(data).__name__} of {len(data)}. Pass the {name} inputs alone."
        )
    inputs = _as_tensor(function, f"{name} inputs", data[0] if labelled else data)
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ValueError(f"{function} needs {name} inputs of shape (samples, ...); got {tuple(inputs.shape)}.")
    if dtype is not None and inputs.is_floating_point():
        inputs = inputs.to(dtype)
    labels = _as_tensor(function, f"{name} labels", data[1]) if labelled else None
    if labels is not None and len(labels) != len(inputs):
        raise ValueError(f"{function} needs one label a {name} sample; got {len(inputs)} inputs, {len(labels)} labels.")
    if labels is not None and not labels.is_floating_point():
        if labels.ndim != 1:
            raise ValueError(f"{function} needs {name} labels of shape (samples,); got {tuple(labels.shape)}.")
        labels = labels.long()  # what cross-entropy takes
    return Samples(inputs, labels, device)


def _as_tensor(function: str, what: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.as_tensor(value if value.flags.writeable else value.copy())
    raise TypeError(f"{function} needs {what} as a numeric array or tensor; got {_describe(value)}.")


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = f" of dtype {value.dtype}" if hasattr(value, "dtype") else ""
    return type(value).__name__ + kind + (f", shape {tuple(shape)}" if shape is not None else "")
