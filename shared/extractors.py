"""Networks by name: LeNet-like ones for digits, the SVHN literature's, a bottleneck for features, any backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import nn

from .backbones import BACKBONES, create_backbone, find_backbone
from .names import nearest
from .network import Network
from .normalise import Normalise

__all__ = ["BOTTLENECK", "EXTRACTORS", "Normalise", "create_network"]

BOTTLENECK = 256  # features after a backbone, as in the tables of Office-31 since Long et al., JAN, ICML 2017


def _block(
    c_in: int,
    c_out: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    dropout: float = 0.0,
    pool: bool = False,
) -> list[nn.Module]:
    """A convolution whose maps keep their side, unless a padding is given, with BatchNorm; whole maps are dropped."""
    padding = kernel // 2 if padding is None else padding
    layers: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    layers += [nn.Dropout2d(dropout)] if dropout else []
    layers += [nn.MaxPool2d(2)] if pool else []
    return [*layers, nn.ReLU()]  # after the pooling: the same values, on a quarter of them


def _projection(d_in: int, d_out: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(d_in, d_out, bias=False), nn.BatchNorm1d(d_out), nn.ReLU()]


def _lenet16_slim(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 16, 3, pool=True),
        *_block(16, 32, 3, pool=True),
        *_block(32, 64, 3, pool=True),
        *_projection(64 * 2 * 2, features),
    )  # fmt: skip


def _lenet16(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 16, 5, pool=True, dropout=0.1),
        *_block(16, 32, 5, pool=True, dropout=0.1),
        *_block(32, 64, 3, pool=True, dropout=0.1),
        *_projection(64 * 2 * 2, features),
    )  # fmt: skip


def _lenet28(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 32, 5, pool=True),
        *_block(32, 48, 5, pool=True),
        *_projection(48 * 7 * 7, features),
    )  # fmt: skip


def _lenet28_flat(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 32, 5, pool=True, padding=0),
        *_block(32, 48, 5, pool=True, padding=0, dropout=0.5),
        nn.Flatten(),
    )  # fmt: skip


def _ganin28(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(std=1.0),
        *(nn.Conv2d(channels, 32, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(32, 48, 5), nn.MaxPool2d(2), nn.ReLU()),
        nn.Flatten(),
    )


def _dtn32(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        Normalise(),
        *_block(channels, 64, 5, stride=2, dropout=0.1),
        *_block(64, 128, 5, stride=2, dropout=0.3),
        *_block(128, 256, 5, stride=2, dropout=0.5),
        *_projection(256 * 4 * 4, features),
    )  # fmt: skip


def _bottleneck(d: int, features: int) -> nn.Sequential:
    """Named as the parts of a network on a backbone, of which this is all that learns."""
    return nn.Sequential(OrderedDict(backbone=nn.Flatten(), bottleneck=_to_bottleneck(d, features)))


def _to_bottleneck(d: int, features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d, features), nn.BatchNorm1d(features), nn.ReLU())


@dataclass(frozen=True)
class Architecture:
    """A feature extractor by name: how to make it, the image side it takes, and the size of its features.

    Attributes:
        make: from the number of channels and of features to a module.
        side: height and width of the images, in pixels; 0 for an extractor that takes features (n, channels).
        features: d, unless asked otherwise.
        flat: whether these are the last convolution's maps, flattened, whose number cannot be asked for.
        head: widths of the hidden layers between features and logits, with ReLU; a linear head without.
        version: raised by hand when a change of the architecture changes numbers; part of a benchmark cell's identity.
    """

    make: Callable[[int, int], nn.Sequential]
    side: int
    features: int
    flat: bool = False
    head: tuple[int, ...] = ()
    version: int = 1


EXTRACTORS: dict[str, Architecture] = {
    "lenet16-slim": Architecture(_lenet16_slim, 16, 128),
    "lenet16": Architecture(_lenet16, 16, 128),
    "lenet28": Architecture(_lenet28, 28, 256),  # channel widths of the MNIST network in Ganin et al., JMLR 2016
    # and, as there, without padding or projection; with dropout
    "lenet28-flat": Architecture(_lenet28_flat, 28, 48 * 4 * 4, flat=True),
    # figure 4 of the same, as drawn: no BatchNorm either
    "ganin28": Architecture(_ganin28, 28, 48 * 4 * 4, flat=True, head=(100, 100)),
    "dtn32": Architecture(_dtn32, 32, 512),  # as in ADDA's and later papers' SVHN experiments
    "bottleneck": Architecture(_bottleneck, 0, BOTTLENECK),  # on the features of a frozen backbone
}


def create_network(
    name: str,
    *,
    classes: int,
    channels: int | None = None,
    features: int | None = None,
    weights: Path | str = "none",
    normalise: str = "imagenet",
    bottleneck: int | None = BOTTLENECK,
) -> Network:
    """A network by name, with its head; what it saves, ``landbridge.load`` can read alone.

    Args:
        name: of ``EXTRACTORS``, of ``BACKBONES``, or ``timm/NAME``.
        classes: k, the size of the logits.
        channels: of the images, 1 or 3 (a backbone takes grey images as three equal channels); 1 if left out, 3 for a
            backbone. The size of the features that come in for ``bottleneck``, where it must be said.
        features: d, the size of the features; the extractor's own if left out. A backbone's follow from ``bottleneck``.
        weights: of a backbone: ``none`` (random), ``pretrained``, or a file; see ``create_backbone``.
        normalise: of a backbone: ``imagenet`` or ``caffe``; see there.
        bottleneck: of a backbone: the size of the linear layer, BatchNorm and ReLU between backbone and head, which is
            also d; None: without, and d is the backbone's own.

    Raises:
        ValueError: for an unknown name, with the nearest, a size below 1, an argument that the network has no use
            for, or weights that do not fit.
        ImportError: for ``timm/NAME`` without timm.

    >>> features, logits = create_network("lenet16", classes=10)(torch.zeros(4, 1, 16, 16, dtype=torch.uint8))
    >>> features.shape, logits.shape
    (torch.Size([4, 128]), torch.Size([4, 10]))
    >>> create_network("bottleneck", channels=512, classes=31)(torch.zeros(4, 512))[1].shape
    torch.Size([4, 31])
    """
    if name not in EXTRACTORS and name not in BACKBONES and not str(name).startswith("timm/"):
        raise ValueError("create_network: " + nearest("network", name, [*EXTRACTORS, *BACKBONES, "timm/NAME"]))
    if name in EXTRACTORS:
        unused = {
            "weights": (weights, "none"),
            "normalise": (normalise, "imagenet"),
            "bottleneck": (bottleneck, BOTTLENECK),
        }
        for argument, (value, default) in unused.items():
            if value != default:
                raise ValueError(f"create_network: {name} has no {argument}; got {argument}={value!r}. Leave it out.")
        return _from_extractor(name, classes, channels, features)
    if features is not None:
        raise ValueError(
            f"create_network: the features of {name} are those of its bottleneck; got features={features}. "
            f"Pass bottleneck={features}."
        )
    d = find_backbone(name).features if bottleneck is None else bottleneck
    if min(classes, d) < 1 or channels not in (None, 1, 3):
        raise ValueError(
            f"create_network needs positive sizes, and 1 or 3 channels for {name}; got classes={classes}, {channels=}, "
            f"bottleneck={bottleneck}."
        )
    backbone = create_backbone(name, weights=weights, normalise=normalise)
    between = None if bottleneck is None else _to_bottleneck(find_backbone(name).features, bottleneck)
    network = Network(backbone, nn.Linear(d, classes), bottleneck=between)
    network.spec = {
        "name": name, "classes": classes, "channels": channels or 3, "normalise": normalise, "bottleneck": bottleneck,
    }  # fmt: skip
    return network


def _head(d: int, hidden: tuple[int, ...], classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise((d, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    last = nn.Linear((d, *hidden)[-1], classes)
    return nn.Sequential(*layers, last) if layers else last


def _from_extractor(name: str, classes: int, channels: int | None, features: int | None) -> Network:
    architecture = EXTRACTORS[name]
    if channels is None and architecture.side == 0:
        raise ValueError(f"create_network: {name} needs channels, the size of the features that come in.")
    channels = 1 if channels is None else channels
    d = architecture.features if features is None else features
    if architecture.flat and d != architecture.features:
        raise ValueError(
            f"create_network: the features of {name} are its last convolution's maps, {architecture.features} numbers; "
            f"got features={features}. Leave it out."
        )
    if min(classes, channels, d) < 1:
        raise ValueError(f"create_network needs positive sizes; got classes={classes}, {channels=}, features={d}.")
    network = Network(architecture.make(channels, d), _head(d, architecture.head, classes))
    network.spec = {"name": name, "classes": classes, "channels": channels, "features": d}
    return network
