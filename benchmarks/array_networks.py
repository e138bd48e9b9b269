"""Networks of ``[arrays]``: by name, by the shape of the rows, or from a file; and whether rows and network agree."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..shared.backbones import BACKBONES, find_backbone
from ..shared.batches import as_samples
from ..shared.default_network import FEATURES, VERSION
from ..shared.evaluate import forward_all
from ..shared.extractors import BOTTLENECK, EXTRACTORS, create_network
from ..shared.names import nearest
from ..shared.network import Network
from ..shared.normalise import Normalise
from .datasets import TaskData
from .datasets.arrays import DEFAULT_NETWORK
from .datasets.readers import BLOCK
from .own_networks import is_own, make_own

if TYPE_CHECKING:
    from .settings import CellSettings, TaskSettings

__all__ = ["build_for_arrays", "check_name", "features_given", "most_features", "version_for_arrays"]

OWN_FEATURES = 512  # of a network of the user's, for an estimate of what a cell stores


def check_name(name: str) -> None:
    """Refuse what is no network of arrays.

    Args:
        name: ``default``, of EXTRACTORS, a backbone's, or ``FILE.py:NAME``.

    Raises:
        ValueError: for an unknown name, with the nearest.
        ImportError: for ``timm/NAME`` without timm.
    """
    if name == DEFAULT_NETWORK or name in EXTRACTORS or is_own(name):
        return
    if name in BACKBONES or name.startswith("timm/"):
        find_backbone(name)
        return
    known = [DEFAULT_NETWORK, *EXTRACTORS, *BACKBONES, "timm/NAME", "FILE.py:NAME"]
    raise ValueError(nearest("network", name, known))


def version_for_arrays(settings: CellSettings) -> str:
    """The version of a cell's network, part of its identity; of a file of the user's the settings hold the digest."""
    name = settings.network.network
    if name == DEFAULT_NETWORK:
        return f"default {VERSION}"
    if name in EXTRACTORS:
        return f"{name} {EXTRACTORS[name].version}"
    if is_own(name):
        return "own"
    return f"{find_backbone(name).version} and bottleneck {EXTRACTORS['bottleneck'].version}"


def most_features(settings: CellSettings) -> int:
    """About how many features a row has, for an estimate of what a cell stores."""
    name = settings.network.network
    if name == DEFAULT_NETWORK:
        return FEATURES
    if name in EXTRACTORS:
        return EXTRACTORS[name].features
    return OWN_FEATURES if is_own(name) else BOTTLENECK


def build_for_arrays(settings: CellSettings, data: TaskData, seed: int) -> Network:
    """The network of a cell of arrays, for the shape of its rows.

    Args:
        settings: the cell's.
        data: its data.
        seed: of the weights of ``default`` and of the user's own; torch's generator decides those of the others.

    Raises:
        ValueError: for rows that the network cannot take, saying what to do.
    """
    from ..parts import make_network

    name, inputs, classes = settings.network.network, data.source_train.inputs, len(data.classes)
    shape = tuple(inputs.shape[1:])
    if settings.training.random_shift and len(shape) != 3:
        raise ValueError(
            f"random_shift in [training] of suite {settings.suite!r} moves images; the rows have shape {shape}. Leave "
            "it out."
        )
    if name == DEFAULT_NETWORK:
        return make_network(f"network {name!r}", None, inputs, classes, seed=seed, batchnorm=True)
    if is_own(name):
        return make_network(
            f"network {name!r}", lambda of, k: _own(settings.network, tuple(of), k, inputs), inputs, classes, seed=seed
        )
    _check_named(settings.suite, name, inputs)
    return create_network(name, classes=classes, channels=shape[0])


def _own(task: TaskSettings, shape: tuple[int, ...], classes: int, inputs: Any) -> Any:
    """The user's module; one that does not take bytes gets them divided by 255, as torchvision's ``ToTensor`` does."""
    module = make_own(task, shape, classes)
    if inputs.dtype != np.uint8 or not isinstance(module, nn.Module) or _takes_bytes(module, inputs):
        return module
    if isinstance(module, Network):
        shown = ", ".join(map(str, shape))
        raise ValueError(
            f"network {task.network!r} gets images of bytes, uint8 of (n, {shown}), which its extractor does not take. "
            "Begin it with landbridge.shared.normalise.Normalise(), or return a module without lb.Network around it, "
            "which gets them from 0 to 1."
        )
    return nn.Sequential(OrderedDict(unit=Normalise(0.0, 1.0), module=module))


@torch.no_grad()
def _takes_bytes(module: nn.Module, inputs: Any) -> bool:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        module(torch.from_numpy(np.array(inputs[:2])))
    except Exception:  # of whatever kind: what is wrong beside the dtype is told when it is called again
        return False
    finally:
        for part, training in modes.items():
            part.training = training
    return True


def features_given(network: Network, data: TaskData) -> int:
    """d, the size of a network's features, by two rows that leave no trace."""
    inputs: Any = data.source_train.inputs[:2]
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        some = as_samples("bench", "inputs", inputs, device, labelled=False, dtype=network.input_dtype)
        features = forward_all(network, some, source=True)[0]
    if features.ndim != 2:
        raise ValueError(
            f"a network needs features of shape (rows, d); got {tuple(features.shape)}. Flatten them in its extractor."
        )
    return int(features.shape[1])


def _check_named(suite: str, name: str, inputs: Any) -> None:
    """A network by name takes images of its own side, of bytes; ``bottleneck`` takes vectors."""
    shape = tuple(inputs.shape[1:])
    side = EXTRACTORS[name].side if name in EXTRACTORS else None
    other = f"Or write network = {DEFAULT_NETWORK!r}, which takes rows of any shape and scale."
    where = f"network {name!r} of suite {suite!r}"
    if side == 0:
        if len(shape) != 1:
            raise ValueError(f"{where} takes vectors (n, features); the rows have shape {shape}. {other}")
        return
    if len(shape) != 3:
        raise ValueError(f"{where} takes images (n, channels, height, width); the rows have shape {shape}. {other}")
    if side is not None and shape[1:] != (side, side):
        raise ValueError(
            f"{where} takes images of {side} x {side}; got {shape[1]} x {shape[2]}. Write side = {side} in [arrays] to "
            f"have them resized. {other}"
        )
    if side is None and shape[0] not in (1, 3):
        raise ValueError(f"{where} takes images of 1 or 3 channels; got {shape[0]}. {other}")
    if inputs.dtype != np.uint8:
        low, high = _range(inputs)
        todo = "Write scale = 255 in [arrays]." if low >= 0 and high <= 1 + 1e-6 else "Store bytes."
        if low < 0 or high > 255 or high <= 1 + 1e-6:
            raise ValueError(
                f"{where} takes images from 0 to 255; got {inputs.dtype} from {low:g} to {high:g}. {todo} {other}"
            )


def _range(inputs: Any) -> tuple[float, float]:
    size = max(1, BLOCK // max(1, math.prod(inputs.shape[1:])))
    low, high = math.inf, -math.inf
    for start in range(0, len(inputs), size):
        block = np.asarray(inputs[start : start + size])
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high
