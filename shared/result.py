"""What training gives back: a network that predicts, saves itself, and loads without its method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batches import as_samples
from .batchnorm import DomainBatchNorm, split_batchnorm
from .collect import collect
from .default_network import NAME, from_spec
from .devices import resolve_device
from .evaluate import forward_all
from .extractors import create_network
from .files import write_or_say
from .frames import Names, is_frame, read_frame, warn_unnamed
from .history import History
from .method import Method
from .network import Network, WrappedNetwork, wrap
from .probe import cast_whole_numbers
from .tasks import as_outputs, as_predictions, as_probabilities, check_task

__all__ = ["FitResult", "Predictor", "load"]

Array = NDArray[Any]
TRAINED = "the rows trained on"


class FitResult:
    """A trained network with its history.

    Attributes:
        network: the network that was passed to ``fit``, trained, in evaluation mode.
        method: the method with what it learned; None after :func:`load`.
        history: loss terms by step.
        seconds: how long training took.
        task: what it was trained for: ``classification``, ``binary`` or ``regression``.
        classes: the labels in the order of the logits, (k,), where they are known: ``fit`` itself is handed class
            numbers, ``adapt`` and the estimators number labels. None: predictions are class numbers.
        columns: the columns' names of the frame trained on, by which those of frames to predict are aligned, or None.
    """

    def __init__(
        self,
        network: Network,
        method: Method | None,
        history: History,
        seconds: float,
        *,
        task: str = "classification",
        trained_on: tuple[int, ...] | None = None,
        classes: Array | None = None,
        columns: Names | None = None,
    ) -> None:
        self.network, self.method, self.history, self.seconds = network, method, history, seconds
        self.task, self.classes, self.columns = task, classes, columns
        self._trained_on = trained_on  # the shape of one sample, for the message to who brings another

    def forward(self, inputs: Any, *, source: bool = False) -> tuple[Tensor, Tensor]:
        """Features (n, d) and logits (n, k) of inputs (n, ...), on the CPU.

        For ``binary`` the logits are (0, z), (n, 2); for ``regression`` they are the predicted values as the head
        gives them.

        Args:
            inputs: an array, tensor or frame as in training.
            source: evaluate with the source's batch statistics, where both domains' are kept.

        Raises:
            TypeError: for what is no array, or inputs with labels.
            ValueError: for inputs of another shape than the network takes, or a frame of other columns.
        """
        if is_frame(inputs):
            inputs = read_frame("predict", "inputs", inputs, self.columns, of=TRAINED).values
        like = next(self.network.parameters())
        samples = as_samples("predict", "inputs", inputs, like.device, labelled=False, dtype=self.network.input_dtype)
        cast_whole_numbers("predict", "inputs", self.network, samples)
        try:
            features, outputs = forward_all(self.network, samples, source=source)
        except RuntimeError as error:
            known = self._trained_on
            if isinstance(error, torch.cuda.OutOfMemoryError) or known == samples.shape[1:]:
                raise
            trained = "" if known is None else f", (samples, {', '.join(map(str, known))})"
            raise ValueError(
                f"predict needs inputs of the shape trained on{trained}; got {samples.shape}, of which the network "
                f"says: {error}"
            ) from error
        return features, as_outputs(self.task, outputs)

    def predict(self, inputs: Any) -> Tensor | Array:
        """The class number of each input, (n,), int64; where ``classes`` are known, its label.

        Labels that are numbers are a tensor, strings an array. For ``regression`` its values: (n,) of a head of one,
        else (n, m).
        """
        found = as_predictions(self.task, self.forward(inputs)[1])
        if self.classes is None:
            return found
        labels = self.classes[found.numpy()]
        return labels if labels.dtype.kind == "U" else torch.from_numpy(labels)

    def predict_proba(self, inputs: Any) -> Tensor:
        """Class probabilities (n, k); of ``binary`` (n, 2).

        Raises:
            ValueError: for ``regression``, which has none.
        """
        return as_probabilities(self.task, self.forward(inputs)[1])

    def save(self, path: Path | str) -> None:
        """Write the network's weights into one safetensors file, atomically; it holds no code.

        Beside them stand the task, the classes and columns where they are known, and the layers' names of a wrapped
        module: what :func:`load` needs to predict the same.

        Raises:
            ValueError: if the path cannot be written.
        """
        self._save(path, {})

    def _save(self, path: Path | str, more: dict[str, Any]) -> None:
        from safetensors.torch import save

        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.network.state_dict().items()
        }
        per_domain = any(isinstance(m, DomainBatchNorm) for m in self.network.modules())
        about = {"format": 1, "network": self.network.spec, "per_domain": per_domain, "task": self.task, **more}
        if self.classes is not None:
            about["classes"] = {"dtype": self.classes.dtype.str, "values": self.classes.tolist()}
        if self.columns is not None:
            about["columns"] = _writable(self.columns)
        if isinstance(self.network, WrappedNetwork):
            about["layers"] = {"head": self.network.head_name, "features": self.network.features_name}
        write_or_say("save", Path(path), save(tensors, metadata={"landbridge": json.dumps(about)}))

    @staticmethod
    def weights(path: Path) -> dict[str, Tensor]:
        """The state that :meth:`save` wrote."""
        return _read(path)[0]


class Predictor(FitResult):
    """A network that predicts labels in arrays: what ``Adapted`` predicts by, and what is loaded of its file.

    Rows may be whatever :func:`~landbridge.shared.collect.collect` takes: arrays, tensors, frames, datasets, loaders.
    """

    @classmethod
    def of(cls, result: FitResult) -> Predictor:
        """A result, predicting likewise; nothing is copied."""
        return cls(
            result.network,
            result.method,
            result.history,
            result.seconds,
            task=result.task,
            trained_on=result._trained_on,
            classes=result.classes,
            columns=result.columns,
        )

    def predict(self, inputs: Any) -> Array:
        """The label of each row, of the kind that was given, (n,); values (n,) or (n, m) in regression."""
        scores = self._scores("predict", inputs)
        if self.task == "regression":
            return scores[:, 0] if scores.shape[1] == 1 else scores
        numbers: Array = scores.argmax(1)
        return numbers if self.classes is None else np.asarray(self.classes[numbers])

    def predict_proba(self, inputs: Any) -> Array:  # type: ignore[override]
        """Class probabilities (n, k), columns in the order of ``classes``.

        Raises:
            ValueError: in regression.
        """
        if self.task == "regression":
            raise ValueError("predict_proba is for classes; task='regression' has predict alone.")
        return np.asarray(torch.from_numpy(self._scores("predict_proba", inputs)).softmax(1).numpy())

    def _scores(self, function: str, X: Any) -> Array:
        """What the head gives for each row: logits (n, k), of one logit (0, z), or values (n, m)."""
        rows = collect(function, "X", X, columns=self.columns, of=TRAINED)
        warn_unnamed(function, "X", self.columns, rows.columns)
        outputs = self.forward(rows.inputs)[1]
        return np.asarray(outputs.double().reshape(len(outputs), -1).numpy())

    def save(self, path: Path | str) -> None:
        """As :meth:`FitResult.save`; what is loaded predicts in arrays again."""
        self._save(path, {"predictor": True})


def _writable(columns: Names) -> list[Any]:
    """Names as JSON has them: those of several levels are lists there, and anything odd is its own text."""
    plain = [one.item() if isinstance(one, np.generic) else one for one in columns]
    return [
        list(map(str, one)) if isinstance(one, tuple) else one if isinstance(one, (str, int, float)) else str(one)
        for one in plain
    ]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("landbridge", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"load found no file at {path}. Pass the path given to FitResult.save.") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"load cannot read {path} ({error}). It wants a file that FitResult.save wrote.") from error
    if not isinstance(about, dict) or about.get("format") != 1:
        raise ValueError(f"load wants a file that FitResult.save wrote; {path} is another safetensors file.")
    return tensors, about


def load(path: Path | str, network: nn.Module | None = None, *, device: torch.device | str = "cpu") -> FitResult:
    """What :meth:`FitResult.save`, or ``Adapted.save``, wrote, ready to predict what was predicted before.

    Args:
        path: the file.
        network: a network of the same architecture, for one that neither ``create_network`` nor ``adapt`` made; of a
            module that was wrapped, the module is enough.
        device: where it is to predict.

    Returns:
        A :class:`FitResult`; of a file of ``Adapted.save`` a :class:`Predictor`, whose ``predict`` gives arrays of the
        labels that were given.

    Raises:
        TypeError: for a module whose head neither it nor the file tells.
        ValueError: if the file is not there, not such a file, or its weights do not fit, saying which.
    """
    where = resolve_device(device, function="load")
    tensors, about = _read(Path(path))
    task = about.get("task", "classification")  # of before there were others
    check_task(f"load: {path}", task)
    network = _network(path, about, network)
    kinds = {value.dtype for value in tensors.values() if value.is_floating_point()}
    if len(kinds) == 1:
        network.to(kinds.pop())  # the estimators' networks are of float64 once they are trained
    if about["per_domain"]:
        split_batchnorm(network)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"load: the weights in {path} do not fit the network: {error}") from error
    kind = Predictor if about.get("predictor") else FitResult
    return kind(network.to(where).eval(), None, History(), 0.0, task=task, **_names(about))


def _names(about: dict[str, Any]) -> dict[str, Any]:
    """The classes and columns of a file; older ones have none."""
    classes, columns = about.get("classes"), about.get("columns")
    if classes is not None and np.dtype(classes["dtype"]).kind not in "biufU":
        raise ValueError(f"load: the file's classes are of dtype {classes['dtype']}, which no result has saved.")
    return {
        "classes": None if classes is None else np.array(classes["values"], dtype=classes["dtype"]),
        "columns": None if columns is None else tuple(tuple(c) if isinstance(c, list) else c for c in columns),
    }


def _network(path: Path | str, about: dict[str, Any], given: nn.Module | None) -> Network:
    """The network of a file: made by its name, or the one given, wrapped as the file says."""
    spec, layers = about["network"], about.get("layers")
    if given is None:
        if spec is None:
            what = f"network of your own making (a module with the head {layers['head']!r})" if layers else ""
            raise ValueError(
                f"load: {path} holds the weights of a {what or 'network of your own making'}. Make it again and pass "
                f"it: load(path, {'module' if layers else 'network'})."
            )
        return from_spec(spec) if spec.get("name") == NAME else create_network(**spec)
    if isinstance(given, Network):
        return given
    if not isinstance(given, nn.Module):
        raise TypeError(f"load needs network as a Network or a module; got {type(given).__name__}.")
    if layers is not None:
        return wrap(given, head=layers["head"], features=layers["features"])
    if isinstance(given, nn.Linear):
        return Network(nn.Flatten(), given)  # as adapt makes of a lone layer
    raise TypeError(
        f"load needs the Network that was saved; got a {type(given).__name__}. Make it as it was made: "
        "landbridge.wrap(module, head='...'), or Network(extractor, head)."
    )
