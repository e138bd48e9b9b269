"""DANN: features that a domain discriminator cannot tell apart, by gradient reversal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..shared.discriminator import DomainDiscriminator, domain_loss
from ..shared.gradient_reversal import reverse_gradient
from ..shared.method import Method, Source, Target

__all__ = ["DANN"]


class DANN(Method):
    r"""Adds the loss of a domain discriminator, whose gradient is reversed before it reaches the extractor.

    .. math:: \frac1{n_s} \sum_i L_d(G_d(R_\lambda(f^s_i)), 1) + \frac1{n_t} \sum_j L_d(G_d(R_\lambda(f^t_j)), 0)

    with :math:`L_d` the binary cross-entropy on logits and :math:`R_\lambda` :func:`reverse_gradient`. The
    discriminator learns at full strength; lambda, the weight with its ramp, scales **the reversed gradient alone**
    (Ganin et al., section 5.2.2: the ramp is not for the discriminator). Term: ``domain``, 2 log 2 when the
    domains cannot be told apart.

    Args:
        features: d, the size of a feature; the discriminator is then a :class:`DomainDiscriminator`.
        discriminator: one of your own instead: features (n, d) -> logits (n,), positive for the source.
        hidden: widths of the discriminator's hidden layers.
        dropout: in the discriminator.
        weight: the largest lambda, >= 0.
        schedule: ``ramp``, the paper's, or ``constant``.

    Raises:
        ValueError: if neither ``features`` nor ``discriminator`` is given, or both are.

    Source: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), section 4.2.

    >>> method = DANN(features=8, hidden=[16])
    >>> method(lb.Source(torch.randn(4, 8)), lb.Target(torch.randn(6, 8)), progress=0.5).shape
    torch.Size([])
    """

    weighs: ClassVar[Literal["terms", "inside"]] = "inside"

    def __init__(
        self,
        *,
        features: int | None = None,
        discriminator: torch.nn.Module | None = None,
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        weight: float = 1.0,
        schedule: str = "ramp",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        if (features is None) == (discriminator is None):
            raise ValueError(
                f"DANN needs features=d or discriminator=module, one of the two; got {features=}, "
                f"discriminator={None if discriminator is None else type(discriminator).__name__}."
            )
        if discriminator is None and features is not None:
            discriminator = DomainDiscriminator(features, hidden=hidden, dropout=dropout)
        self.discriminator = discriminator

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert self.discriminator is not None
        features = torch.cat([source.features, target.features])  # (n_s+n_t, d)
        logits = self.discriminator(reverse_gradient(features, self.strength(progress)))  # (n_s+n_t,)
        n_s = source.features.shape[0]
        return {"domain": domain_loss(logits[:n_s], logits[n_s:])}
