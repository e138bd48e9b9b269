"""Which normalisation a file of weights was trained with, where nobody says: told by the spread of its own logits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..shared.backbones import IMAGENET, find_backbone, read_weights
from ..shared.normalise import CaffeNormalise, Normalise
from .datasets.prepare import open_prepared, prepare
from .settings import BackboneSettings
from .views import EvaluationView

if TYPE_CHECKING:
    from .suite import Suite

__all__ = ["guess", "spread_of_logits", "unless_told", "with_normalisation"]

IMAGES = 32
USUAL = 3.0  # standard deviation of a photograph's logits over the classes, of a network trained by cross-entropy
CLEAR = 3.0  # how many times nearer to it, as a ratio, the better guess has to be


def spread_of_logits(classifier: nn.Module, images: Tensor) -> dict[str, float]:
    """The standard deviation of an image's logits over the classes, averaged over images, under each normalisation.

    Inputs of the wrong range show in it: a network for 0..255 that is given standardised images says nothing (0.3 for
    SqueezeNet's Caffe weights, 3.5 as they were trained), and one for standardised images that is given 0..255 shouts.

    Args:
        classifier: images -> logits (n, k).
        images: (n, 3, h, w), 0..255, of the side that the network sees.
    """
    layers = {"imagenet": Normalise(*IMAGENET), "caffe": CaffeNormalise()}
    classifier.eval()
    with torch.no_grad():
        return {name: float(classifier(layer(images)).float().std(1).mean()) for name, layer in layers.items()}


def guess(name: str, file: Path, images: Tensor, otherwise: str = "imagenet") -> tuple[str, str]:
    """The normalisation under which the file's own classifier speaks as a trained one does, and a sentence on it.

    Args:
        name: of the backbone.
        file: its weights, a ``.safetensors`` file.
        images: (n, 3, h, w), 0..255, of the side that the network sees.
        otherwise: the normalisation where nothing tells.
    """
    classifier = _classifier(name, file)
    if classifier is None:
        return otherwise, f"{file.name} has no classifier of {name} to tell by; images are normalised as {otherwise}"
    spreads = spread_of_logits(classifier, images)
    far = {word: abs(math.log(max(spread, 1e-30) / USUAL)) for word, spread in spreads.items()}
    found = min(far, key=lambda word: far[word])
    measured = ", ".join(f"{spread:.2g} as {word}" for word, spread in spreads.items())
    if max(far.values()) - far[found] < math.log(CLEAR):
        return otherwise, f"the logits of {file.name} do not tell ({measured}); images are normalised as {otherwise}"
    return found, f"images are normalised as {found}, by the spread of the logits of {file.name}: {measured}"


def _classifier(name: str, file: Path) -> nn.Module | None:
    """The whole network with its classifier; None where the file has none, or it is not torchvision's."""
    from torchvision.models import get_model

    if name.startswith("timm/"):
        return None
    state = read_weights(name, file)
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = get_model(name, weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError:  # without classifier, or of another network, which is said when it is used
        return None
    return network


def with_normalisation(
    suite: Suite, backbone: BackboneSettings, weights: Path, data: Path | None
) -> tuple[BackboneSettings, str]:
    """A backbone's settings with the normalisation guessed on images of the suite's first domain, and a sentence.

    Without images yet the settings are as they were, and the sentence is empty.

    Args:
        suite: of photographs.
        backbone: its settings; where the normalisation was not told.
        weights: the file.
        data: the data folder; the domain is prepared if it is not yet.

    Raises:
        ValueError: if the file cannot be read.
    """
    assert suite.images is not None
    domain = suite.images.domain_names()[0]
    prepared = open_prepared(suite.name, suite.images, domain)
    if prepared is None:
        if data is None:
            return backbone, ""  # what loads them says what to do
        prepared = prepare(suite.name, suite.images, [domain], data)[domain]
    rows = np.unique(np.linspace(0, len(prepared.labels) - 1, IMAGES).round().astype(np.int64))
    side = backbone.side or find_backbone(backbone.name).side
    images = EvaluationView(side)(torch.from_numpy(np.array(prepared.array[rows])))
    found, sentence = guess(backbone.name, weights, images, backbone.normalise)
    return backbone.model_copy(update={"normalise": found}), sentence + "; --normalise says otherwise"


def unless_told(
    suite: Suite, backbone: BackboneSettings, weights: Path, data: Path | None, normalise: str | None
) -> tuple[BackboneSettings, str]:
    """:func:`with_normalisation`, where neither the caller nor the suite says which; else the settings as they are.

    Args:
        suite: of photographs.
        backbone: its settings, after what was asked for.
        weights: the file.
        data: the data folder.
        normalise: what was asked for, if anything.
    """
    if normalise is not None or (suite.backbone is not None and "normalise" in suite.backbone.model_fields_set):
        return backbone, ""
    return with_normalisation(suite, backbone, weights, data)
