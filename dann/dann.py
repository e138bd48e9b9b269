"""DANN: features that a domain discriminator cannot tell apart, by gradient reversal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..shared.checks import check_whole, check_width
from ..shared.discriminator import (
    DomainDiscriminator,
    domain_accuracy,
    domain_loss,
    domains_accuracy,
    domains_loss,
)
from ..shared.gradient_reversal import reverse_gradient
from ..shared.method import Method, Source, Target

__all__ = ["DANN"]


class DANN(Method):
    r"""Adds the loss of a domain discriminator, whose gradient is reversed before it reaches the extractor.

    .. math:: \frac1{n_s} \sum_i L_d(G_d(R_\lambda(f^s_i)), 1) + \frac1{n_t} \sum_j L_d(G_d(R_\lambda(f^t_j)), 0)

    with :math:`L_d` the binary cross-entropy on logits and :math:`R_\lambda` :func:`reverse_gradient`. The
    discriminator learns at full strength; lambda, the weight with its ramp, scales **the reversed gradient alone**
    (Ganin et al., section 5.2.2: the ramp is not for the discriminator). Term: ``domain``, 2 log 2 when the
    domains cannot be told apart. Watched: ``accuracy``, the discriminator's balanced accuracy on the batch, 0.5 when
    they cannot.

    It is made for equal class proportions: where the target's differ, aligning the domains as wholes mixes classes.

    With ``sources=k`` above 1 the discriminator names the domain, of k sources (by ``Source.domain``) and the target:

    .. math:: -\sum_{j=1}^{k+1} \frac1{n_j} \sum_{i: d_i = j} \log \operatorname{softmax}(G_d(R_\lambda(f_i)))_j

    which is the same loss for k = 1 and two logits (z, 0). It is (k + 1) log(k + 1), and the accuracy 1/(k + 1), when
    no domain can be told from another: the sources are aligned with each other too. With ``sources=1`` several sources
    are taken together as one. :class:`~landbridge.shared.pairwise.Pairwise` makes a discriminator for each source.

    Args:
        features: d, the size of a feature; the discriminator is then a :class:`DomainDiscriminator`.
        discriminator: one of your own instead: features (n, d) -> logits (n,), positive for the source; (n, k + 1),
            the target last, for k sources.
        hidden: widths of the discriminator's hidden layers.
        dropout: in the discriminator.
        batchnorm: whether the discriminator's hidden layers are normalised, by the batch of both domains as one.
        weight: the largest lambda, >= 0.
        schedule: ``ramp``, the paper's, or ``constant``.
        sources: k, how many sources the discriminator tells apart.

    Raises:
        ValueError: if neither ``features`` nor ``discriminator`` is given, or both are; for no source; with k > 1, at a
            batch without ``Source.domain``, or whose discriminator does not give k + 1 logits.

    Source: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), section 4.2. Of many domains:
    the multinomial discriminator with the negative log-likelihood of Chen and Cardie, Multinomial Adversarial Networks
    for Multi-Domain Text Classification, NAACL 2018, its gradient reversed with lambda.

    >>> method = DANN(features=8, hidden=[16])
    >>> method(lb.Source(torch.randn(4, 8)), lb.Target(torch.randn(6, 8)), progress=0.5).shape
    torch.Size([])
    """

    assumes_proportions: ClassVar[bool] = True
    weighs: ClassVar[Literal["terms", "inside"]] = "inside"
    watches: ClassVar[frozenset[str]] = frozenset({"accuracy"})

    def __init__(
        self,
        *,
        features: int | None = None,
        discriminator: torch.nn.Module | None = None,
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        batchnorm: bool = False,
        weight: float = 1.0,
        schedule: str = "ramp",
        sources: int = 1,
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        sources = check_whole("DANN", "sources", sources)
        if (features is None) == (discriminator is None):
            raise ValueError(
                f"DANN needs features=d or discriminator=module, one of the two; got {features=}, "
                f"discriminator={None if discriminator is None else type(discriminator).__name__}."
            )
        if discriminator is None and features is not None:
            discriminator = DomainDiscriminator(
                features, hidden=hidden, dropout=dropout, batchnorm=batchnorm, domains=sources + 1
            )
        self.discriminator = discriminator
        self.sources = sources
        if sources > 1:
            self.needs = self.needs | {"domain"}  # type: ignore[misc]  # the number decides

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        check_width("DANN", getattr(self.discriminator, "features", None), target.features)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert self.discriminator is not None
        features = torch.cat([source.features, target.features])  # (n_s+n_t, d)
        logits = self.discriminator(reverse_gradient(features, self.strength(progress)))  # (n_s+n_t,) or (.., k+1)
        n_s = source.features.shape[0]
        if self.sources > 1:
            return self._of_many(logits, source, len(features) - n_s)
        found, missed = logits[:n_s], logits[n_s:]
        return {"domain": domain_loss(found, missed), "accuracy": domain_accuracy(found, missed)}

    def _of_many(self, logits: Tensor, source: Source, n_t: int) -> dict[str, Tensor]:
        assert source.domain is not None  # asked for in needs
        domains = self.sources + 1
        if logits.ndim != 2 or logits.shape[1] != domains:
            raise ValueError(
                f"DANN(sources={self.sources}) needs a discriminator of {domains} logits, one a source and the "
                f"target's last; got {tuple(logits.shape)}."
            )
        domain = torch.cat([source.domain, source.domain.new_full((n_t,), self.sources)])  # (n_s+n_t,)
        return {"domain": domains_loss(logits, domain), "accuracy": domains_accuracy(logits, domain)}
