"""What training gives back: a network that predicts, saves itself, and loads without its method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .batches import as_samples
from .batchnorm import DomainBatchNorm, split_batchnorm
from .default_network import NAME, from_spec
from .evaluate import forward_all
from .extractors import create_network
from .files import write_atomically
from .history import History
from .method import Method
from .network import Network
from .tasks import as_outputs, as_predictions, as_probabilities, check_task

__all__ = ["FitResult", "load"]


class FitResult:
    """A trained network with its history.

    Attributes:
        network: the network that was passed to ``fit``, trained, in evaluation mode.
        method: the method with what it learned; None after :func:`load`.
        history: loss terms by step.
        seconds: how long training took.
        task: what it was trained for: ``classification``, ``binary`` or ``regression``.
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
    ) -> None:
        self.network, self.method, self.history, self.seconds = network, method, history, seconds
        self.task = task
        self._trained_on = trained_on  # the shape of one sample, for the message to who brings another

    def forward(self, inputs: Any, *, source: bool = False) -> tuple[Tensor, Tensor]:
        """Features (n, d) and logits (n, k) of inputs (n, ...), on the CPU.

        For ``binary`` the logits are (0, z), (n, 2); for ``regression`` they are the predicted values as the head
        gives them.

        Args:
            inputs: an array or tensor as in training.
            source: evaluate with the source's batch statistics, where both domains' are kept.

        Raises:
            TypeError: for what is no array, or inputs with labels.
            ValueError: for inputs of another shape than the network takes.
        """
        like = next(self.network.parameters())
        samples = as_samples("predict", "inputs", inputs, like.device, labelled=False, dtype=self.network.input_dtype)
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

    def predict(self, inputs: Any) -> Tensor:
        """The class number of each input, (n,), int64.

        For ``regression`` its values: (n,) of a head of one, else (n, m).
        """
        return as_predictions(self.task, self.forward(inputs)[1])

    def predict_proba(self, inputs: Any) -> Tensor:
        """Class probabilities (n, k); of ``binary`` (n, 2).

        Raises:
            ValueError: for ``regression``, which has none.
        """
        return as_probabilities(self.task, self.forward(inputs)[1])

    def save(self, path: Path | str) -> None:
        """Write the network's weights into one safetensors file, atomically; it holds no code."""
        from safetensors.torch import save

        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.network.state_dict().items()
        }
        per_domain = any(isinstance(m, DomainBatchNorm) for m in self.network.modules())
        about = {"format": 1, "network": self.network.spec, "per_domain": per_domain, "task": self.task}
        write_atomically(Path(path), save(tensors, metadata={"landbridge": json.dumps(about)}))

    @staticmethod
    def weights(path: Path) -> dict[str, Tensor]:
        """The state that :meth:`save` wrote."""
        return _read(path)[0]


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


def load(path: Path | str, network: Network | None = None, *, device: torch.device | str = "cpu") -> FitResult:
    """What :meth:`FitResult.save` wrote, ready to predict.

    Args:
        path: the file.
        network: a network of the same architecture, for one that neither ``create_network`` nor ``adapt`` made.
        device: where it is to predict.

    Raises:
        ValueError: if the file is not there, not such a file, or its weights do not fit, saying which.
    """
    tensors, about = _read(Path(path))
    task = about.get("task", "classification")  # of before there were others
    check_task(f"load: {path}", task)
    if network is None:
        if about["network"] is None:
            raise ValueError(
                f"load: {path} holds the weights of a network of your own making. Make it again and pass it: "
                "load(path, network)."
            )
        spec = about["network"]
        network = from_spec(spec) if spec.get("name") == NAME else create_network(**spec)
        if all(value.dtype == torch.float64 for value in tensors.values() if value.is_floating_point()):
            network.double()  # as the estimators do, once it is trained
    if about["per_domain"]:
        split_batchnorm(network)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"load: the weights in {path} do not fit the network: {error}") from error
    return FitResult(network.to(device).eval(), None, History(), 0.0, task=task)
