"""From the table to Python: a task as a cell of a benchmark has it, with the cell's network, method and settings.

Ten lines give a cell's own number, bit for bit on a CPU with as many threads, and so a place to try what is no row yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .suite import Suite, choose_backbone, read_suite

if TYPE_CHECKING:
    from torch import Tensor

    from ..shared.batches import Rows
    from ..shared.method import Method
    from ..shared.network import Network
    from ..shared.result import FitResult
    from .datasets import Split, TaskData
    from .settings import BackboneSettings, CellSettings

__all__ = ["LoadedTask", "load_task"]


class Labelled(NamedTuple):
    """Rows with their classes."""

    inputs: NDArray[Any] | Rows  # (n, ...): uint8 images (n, c, h, w), series (n, c, t), or features (n, d)
    labels: NDArray[np.int64]  # (n,), from 0


def load_task(
    suite: str | Path,
    task: str,
    protocol: str | None = None,
    seed: int = 0,
    *,
    data: Path | str | None = None,
    steps: int | None = None,
    frozen: bool = False,
    backbone: str | None = None,
    weights: Path | str | None = None,
    normalise: str | None = None,
    side: int | None = None,
    ten_crops: bool = False,
    device: str = "auto",
) -> LoadedTask:
    """One task of a suite, split and drawn as a benchmark's cells see it.

    Args:
        suite: its name, or the path of a ``.toml`` file.
        task: source and target, as in ``"mnist->usps"``.
        protocol: which samples are used; the suite's own if left out.
        seed: the number of the repeat, as in the table.
        data: the data folder; LANDBRIDGE_DATA if left out. Not needed for what is embedded.
        steps: of training, instead of the protocol's.
        frozen: photographs: train on features that are extracted once.
        backbone: photographs: instead of the suite's.
        weights: photographs: a ``.safetensors`` file, ``pretrained`` or ``none``; the suite's if left out.
        normalise: photographs: ``imagenet`` or ``caffe``; left out, the suite's, or a file's guessed as ``bench`` does.
        side: photographs: pixels that the network sees.
        ten_crops: photographs: evaluate on ten crops.
        device: where features are extracted.

    Raises:
        ValueError: for an unknown suite, task or protocol, with the nearest; for data that is missing or damaged.

    >>> import landbridge as lb
    >>> from landbridge.benchmarks import load_task
    >>> task = load_task("optdigits", "clean->noisy", seed=0, steps=2)
    >>> network, method = task.network(), task.method("dann")
    >>> result = lb.fit(network, method, task.source, task.target, device="cpu", **task.fit_arguments("dann"))
    >>> 0 <= task.accuracy(result) <= 1
    True
    """
    chosen = read_suite(str(suite))
    name = chosen.protocol if protocol is None else protocol
    if name not in chosen.protocols:
        from ..shared.names import nearest

        raise ValueError("load_task: " + nearest("protocol", name, chosen.protocols))
    tasks = chosen.choose("tasks", task, name)
    if len(tasks) != 1:
        raise ValueError(f"load_task takes one task; got {task!r}. Load each by itself.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"load_task needs seed as a whole number >= 0, the table's; got {seed!r}.")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ValueError(f"load_task needs steps as a whole number >= 1; got {steps!r}.")
    settings, source = choose_backbone(
        chosen,
        name=backbone,
        weights=None if weights is None else str(weights),
        normalise=normalise,
        side=side,
        ten_crops=ten_crops,
        frozen=frozen,
    )
    folder = _data_folder(data)
    if settings is not None and isinstance(source, Path):
        from .normalisation import unless_told

        settings, _ = unless_told(chosen, settings, source, folder, normalise)
    return LoadedTask(chosen, name, tasks[0], seed, folder, steps, settings, source, device)


def _data_folder(data: Path | str | None) -> Path | None:
    given = data if data is not None else os.environ.get("LANDBRIDGE_DATA")
    return Path(given) if given else None


class LoadedTask:
    """A task's arrays, and the network, methods and settings of the cells on it; made by :func:`load_task`.

    Attributes:
        source: ``(inputs, labels)`` that are trained on.
        source_holdout: ``(inputs, labels)`` kept from training, for validators; None where the protocol keeps none.
        target: inputs that are adapted to; no label of theirs is here.
        target_eval: inputs that are scored; ``target`` itself under a transductive protocol.
        classes: their names, in the order of the labels.
        seed: what all random numbers of the cells come from: ``fit(seed=task.seed)``.
        checksum: sha256 of the data, part of a cell's identity.
    """

    def __init__(
        self,
        suite: Suite,
        protocol: str,
        task: str,
        number: int,
        data: Path | None,
        steps: int | None,
        backbone: BackboneSettings | None,
        weights: Path | str,
        device: str,
    ) -> None:
        from .cell_parts import cell_seed, load_cell_data

        self._suite, self._protocol, self._task, self._number = suite, protocol, task, number
        self._steps, self._backbone, self._weights = steps, backbone, weights
        first = self._settings(next(iter(suite.methods)))
        self._data: TaskData = load_cell_data(first, data, weights=weights, device=device)
        self._first = first
        self._features: int | None = None
        self.classes = self._data.classes
        self.checksum = self._data.checksum
        self.seed = cell_seed(first)
        self.source = _labelled(self._data.source_train)
        held = self._data.source_holdout
        self.source_holdout = None if held is None else _labelled(held)
        self.target = self._data.target_train.inputs
        self.target_eval = self._data.target_eval.inputs

    def __repr__(self) -> str:
        name = self._suite.protocol_id(self._protocol)
        n = f"{len(self.source.labels)} source rows, {len(self.target)} adapted to, {len(self.target_eval)} scored"
        return f"<{self._task} of {name}, seed {self._number}: {n}>"

    def target_labels(self) -> NDArray[np.int64]:
        """The classes of ``target_eval``, (n,): for scoring alone, and so only when they are asked for."""
        return self._data.target_eval.labels

    def network(self) -> Network:
        """The network of the cells with the first weights of this seed: the same for all methods."""
        from ..shared.seeds import seeded
        from .cell_parts import build_network

        with seeded(self.seed, "network"):
            return build_network(self._first, self._data, self._weights)

    def method(self, name: str) -> Method:
        """A row's method with the row's settings, its parameters as the cell of this seed begins.

        Args:
            name: of a row of the suite, or of METHODS, which then has its own defaults.

        Raises:
            ValueError: for an unknown row, or a classical one, which is no method.
        """
        from ..shared.seeds import seeded
        from .cell_parts import build_method, features_of

        settings = self._row(name)
        if self._features is None:
            self._features = features_of(self._first, self.network(), self._data)
        with seeded(self.seed, "method"):
            return build_method(settings, len(self.classes), features=self._features)

    def fit_arguments(self, name: str) -> dict[str, Any]:
        """What ``fit`` is called with in a row's cell, beside network, method and data: steps, seed, augmentation, ...

        Args:
            name: of the row, as for :meth:`method`.
        """
        from .cell_parts import fit_arguments

        return fit_arguments(self._row(name), self._data)

    def settings(self, name: str) -> dict[str, Any]:
        """All that decides the numbers of a row's cell, as its ``result.json`` has it.

        Args:
            name: of the row.
        """
        return self._settings(self._known(name)).model_dump(mode="json")

    def predict(self, trained: FitResult | Network) -> NDArray[np.int64]:
        """The classes that a network gives ``target_eval``, (n,), seen as the cells show it: photographs by their
        centre, or by ten crops.

        Args:
            trained: what ``fit`` returned, or a network.
        """
        from ..shared.batches import as_samples
        from ..shared.evaluate import forward_all
        from .cell_parts import evaluation_view

        network: Any = getattr(trained, "network", trained)
        device = next(network.parameters()).device
        view: Callable[[Tensor], Tensor] | None = evaluation_view(self._first)
        some = as_samples("load_task", "inputs", self.target_eval, device, labelled=False, dtype=network.input_dtype)
        logits = forward_all(network, some, transform=view)[1]
        predicted: NDArray[np.int64] = logits.argmax(1).numpy()
        return predicted

    def accuracy(self, trained: FitResult | Network) -> float:
        """The share of ``target_eval`` that a network classifies rightly: a cell's number.

        Args:
            trained: what ``fit`` returned, or a network.
        """
        return float((self.predict(trained) == self.target_labels()).mean())

    def _known(self, name: str) -> str:
        return self._suite.choose("methods", name, self._protocol)[0]

    def _row(self, name: str) -> CellSettings:
        settings = self._settings(self._known(name))
        if settings.adaptation.classifier is not None:
            raise ValueError(
                f"{name!r} of suite {self._suite.name!r} is a classical row, without a network: take source, target "
                "and target_eval, and its estimator from landbridge."
            )
        if settings.adaptation.trains_on == "target":
            raise ValueError(
                f"{name!r} of suite {self._suite.name!r} trains on target labels, which a task does not hand out as "
                "training data. It is a bound in the table, no method."
            )
        return settings

    def _settings(self, name: str) -> CellSettings:
        return self._suite.cell(
            self._protocol, self._task, name, self._number, steps=self._steps, backbone=self._backbone
        )


def _labelled(split: Split) -> Labelled:
    return Labelled(split.inputs, split.labels)
