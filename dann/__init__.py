"""Adversarial methods: a discriminator or a second head finds the shift, the feature extractor hides it."""

from ..shared.discriminator import DomainDiscriminator, domain_loss
from ..shared.gradient_reversal import ramp, reverse_gradient
from .dann import DANN
from .mcd import MCD, classifier_discrepancy

__all__ = ["DANN", "MCD", "DomainDiscriminator", "classifier_discrepancy", "domain_loss", "ramp", "reverse_gradient"]
