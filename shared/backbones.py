"""Backbones: the networks of ImageNet, by name, cut before their classifier, with weights from a file or the network.

torchvision and timm are imported when a backbone is made, not before.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .names import nearest
from .normalise import CaffeNormalise, Normalise

__all__ = ["BACKBONES", "Backbone", "create_backbone", "find_backbone", "read_weights", "weights_digest"]

TIMM = "timm/"
PRETRAINED = "IMAGENET1K_V1"  # torchvision's first weights of a network: those that the published tables start from
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of ImageNet's RGB channels


@dataclass(frozen=True)
class Backbone:
    """A network of ImageNet without its classifier.

    Attributes:
        name: torchvision's, or ``timm/`` and timm's.
        features: d, the size of what comes out.
        side: height and width of the crops that its weights were trained and judged on, in pixels.
        version: raised by hand when a change here changes numbers; part of a benchmark cell's identity.
        mean: of the RGB channels, 0..1, as its weights expect them.
        std: standard deviation, likewise.
    """

    name: str
    features: int
    side: int = 224
    version: int = 1
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]


BACKBONES: Mapping[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone("resnet18", 512),
        Backbone("resnet50", 2048),
        Backbone("resnet101", 2048),
        Backbone("alexnet", 4096),  # fc7 after its ReLU, as in the tables of Long et al. 2015
        Backbone("squeezenet1_0", 512),  # the last fire module, averaged over the image
        Backbone("vit_b_16", 768),  # the class token; takes images of 224x224 only
    )
}


def find_backbone(name: str) -> Backbone:
    """The facts of a backbone by name.

    Args:
        name: of ``BACKBONES``, or ``timm/NAME``.

    Raises:
        ValueError: for an unknown name, with the nearest.
        ImportError: for ``timm/NAME`` without timm.

    >>> find_backbone("resnet50").features
    2048
    """
    if str(name).startswith(TIMM):
        return _find_in_timm(name)
    if name not in BACKBONES:
        raise ValueError(nearest("backbone", name, [*BACKBONES, f"{TIMM}NAME"]))
    return BACKBONES[name]


def create_backbone(name: str, *, weights: Path | str = "pretrained", normalise: str = "imagenet") -> nn.Module:
    """A backbone that takes raw images.

    Args:
        name: of ``BACKBONES``, or ``timm/NAME``.
        weights: ``pretrained`` (torchvision's ``IMAGENET1K_V1``, or timm's own, downloaded once into their cache);
            ``none`` (random); or a ``.safetensors`` file with the keys of torchvision's (or timm's) network, whose
            classifier may be there or not.
        normalise: what the weights were trained on: ``imagenet``, RGB standardised by the channels' means and
            deviations; or ``caffe``, BGR 0..255 minus (104, 117, 123).

    Returns:
        A module from images (n, 3, h, w) or grey (n, 1, h, w), uint8 or 0..255, to features (n, d).

    Raises:
        ValueError: for an unknown name or normalisation, with the nearest; a file that cannot be read, or that holds
            another network's weights, saying which keys; or weights that cannot be downloaded.
        ImportError: for ``timm/NAME`` without timm.

    >>> create_backbone("squeezenet1_0", weights="none")(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 512])
    """
    backbone = find_backbone(name)
    if normalise not in ("imagenet", "caffe"):
        raise ValueError("create_backbone: " + nearest("normalise", normalise, ["imagenet", "caffe"]))
    first = CaffeNormalise() if normalise == "caffe" else Normalise(backbone.mean, backbone.std)
    network = _network(name)
    if weights == "pretrained":
        _load(network, name, _pretrained(name), "pretrained")
    elif weights != "none":
        _load(network, name, read_weights(name, Path(weights)), str(weights))
    return nn.Sequential(OrderedDict(normalise=first, network=network))


def weights_digest(weights: Path | str, name: str = "resnet50") -> str:
    """What tells weights apart: ``none``, ``torchvision/IMAGENET1K_V1``, ``timm/TAG``, or the sha256 of the file.

    Args:
        weights: as for :func:`create_backbone`.
        name: the backbone; what ``pretrained`` means depends on it for timm's.

    Raises:
        ValueError: if there is no such file.
    """
    if weights == "none":
        return "none"
    if weights == "pretrained":
        if name.startswith(TIMM):
            facts = _timm().get_pretrained_cfg(name[len(TIMM) :])
            return f"{TIMM}{facts.architecture}.{facts.tag}"
        return f"torchvision/{PRETRAINED}"
    path = Path(weights)
    try:
        state = path.stat()
        return _sha256(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ValueError(_no_weights(path, error)) from None


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _network(name: str, *, cut: bool = True) -> nn.Module:
    """The network with random weights, without its classifier or with it."""
    if name.startswith(TIMM):
        made: nn.Module = _timm().create_model(
            name[len(TIMM) :], pretrained=False, **({"num_classes": 0} if cut else {})
        )
        return made
    from torchvision import models

    network: Any = models.get_model(name, weights=None)
    if not cut:
        pass
    elif name == "alexnet":
        network.classifier = network.classifier[:-1]  # the last layer of three
    elif name == "squeezenet1_0":
        network.classifier = nn.AdaptiveAvgPool2d(1)
    elif name == "vit_b_16":
        network.heads = nn.Identity()
    else:
        network.fc = nn.Identity()
    whole: nn.Module = network
    return whole


def _load(network: nn.Module, name: str, given: Mapping[str, Tensor], source: str) -> None:
    """Copy weights in, or say which do not fit."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    came = {key: tuple(value.shape) for key, value in given.items()}
    missing, unexpected, other = _differences(wanted, came, _keys_of_classifier(name))
    if not (missing or unexpected or other):
        network.load_state_dict({key: value for key, value in given.items() if key in wanted}, strict=False)
        return
    parts = [
        f"{len(keys)} {one if len(keys) == 1 else many}, first {', '.join(keys[:3])}"
        for keys, one, many in (
            (missing, "key is missing", "keys are missing"),
            (unexpected, "is not its own", "are not its own"),
            (other, "has another shape", "have another shape"),
        )
        if keys
    ]
    if other:
        parts[-1] += f" ({came[other[0]]}, not {wanted[other[0]]})"
    fits = [n for n in BACKBONES if n != name and not any(_differences(*_shapes(n, came)))]
    raise ValueError(
        f"the weights in {source} are not of {name}: {'; '.join(parts)}. "
        + (f"They fit {' and '.join(fits)}: ask for that backbone." if fits else f"Pass a file of {name}'s weights.")
    )


def _differences(
    wanted: Mapping[str, tuple[int, ...]], came: Mapping[str, tuple[int, ...]], classifier: Iterable[str]
) -> tuple[list[str], list[str], list[str]]:
    """Keys that are missing (old files lack BatchNorm's counts), that are nowhere in the network, of another shape."""
    missing = [key for key in wanted if key not in came and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in came if key not in wanted and key not in set(classifier)]
    return missing, unexpected, [key for key in wanted if key in came and came[key] != wanted[key]]


def _shapes(
    name: str, came: Mapping[str, tuple[int, ...]]
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, tuple[int, ...]], Iterable[str]]:
    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in _network(name).state_dict().items()}
    return wanted, came, _keys_of_classifier(name)


@lru_cache(maxsize=16)
def _keys_of_classifier(name: str) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(_network(name, cut=False).state_dict()) - frozenset(_network(name).state_dict())


def read_weights(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: nothing in it is run.

    Args:
        name: of the backbone that they are for, for the message.
        path: the file.

    Raises:
        ValueError: if it cannot be read, or is not whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(_no_weights(path, error)) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"cannot read the weights of {name} in {path} ({error}). It wants a whole safetensors file; of a .pth "
            "file, safetensors.torch.save_file(torch.load(file, weights_only=True), 'weights.safetensors') makes one."
        ) from error


def _no_weights(path: Path, error: OSError) -> str:
    return (
        f"no file of weights at {path} ({error.strerror or error}). Pass weights='pretrained', 'none' or the path of a "
        ".safetensors file."
    )


def _pretrained(name: str) -> dict[str, Tensor]:
    """torchvision's or timm's own weights, from their cache or downloaded into it."""
    try:
        if name.startswith(TIMM):
            return dict(_timm().create_model(name[len(TIMM) :], pretrained=True, num_classes=0).state_dict())
        from torchvision import models

        state = models.get_model_weights(name)[PRETRAINED].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
        return dict(state)
    except (OSError, RuntimeError, ValueError) as error:  # what urllib, torch.hub and huggingface_hub raise
        raise ValueError(
            f"the pretrained weights of {name} cannot be downloaded here ({error}). Pass a file of them: "
            "--weights FILE.safetensors, or weights='FILE.safetensors'; or weights='none' for random ones."
        ) from error


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "backbones named timm/... come from timm, which is not installed: pip install landbridge[timm]."
        ) from error
    return timm


@lru_cache(maxsize=16)
def _find_in_timm(name: str) -> Backbone:
    timm, short = _timm(), name[len(TIMM) :]
    if not timm.is_model(short):
        close = difflib.get_close_matches(short, timm.list_models(), n=3)
        raise ValueError(
            f"timm knows no network {short!r}"
            + (f"; did you mean {' or '.join(TIMM + other for other in close)}?" if close else ".")
            + " timm.list_models() names all of them."
        )
    with torch.device("meta"):
        model = timm.create_model(short, pretrained=False, num_classes=0)
    facts = model.pretrained_cfg
    features, side = int(getattr(model, "head_hidden_size", model.num_features)), int(facts["input_size"][-1])
    return Backbone(name, features, side, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
