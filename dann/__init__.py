"""Adversarial methods: a discriminator or a second head finds the shift, the feature extractor hides it."""

from ..shared.discriminator import DomainDiscriminator, domain_loss
from ..shared.gradient_reversal import ramp, reverse_gradient
from .cdan import CDAN, CDANE, RandomMultilinearMap, multilinear_map
from .dann import DANN
from .mcd import MCD, classifier_discrepancy

__all__ = [
    "CDAN",
    "CDANE",
    "DANN",
    "MCD",
    "DomainDiscriminator",
    "RandomMultilinearMap",
    "classifier_discrepancy",
    "domain_loss",
    "multilinear_map",
    "ramp",
    "reverse_gradient",
]
