"""CDAN: a domain discriminator that sees each feature together with the predicted classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..shared.certainty import certainty
from ..shared.checks import check_features, check_finite
from ..shared.discriminator import DomainDiscriminator, domain_accuracy, domain_loss
from ..shared.gradient_reversal import reverse_gradient
from ..shared.method import Method, Source, Target

__all__ = ["CDAN", "CDANE", "RandomMultilinearMap", "multilinear_map"]

LARGEST = 4096  # d k in the paper: the widest layer of a usual network
PROJECTIONS = 1024  # of the authors' code


def multilinear_map(features: Tensor, probabilities: Tensor) -> Tensor:
    r"""The outer product of each sample's features and class probabilities.

    .. math:: T_\otimes(f, g) = f \otimes g, \qquad T_{i k + c} = f_i \, g_c

    Args:
        features: f, (n, d), floating point.
        probabilities: g, (n, k).

    Returns:
        (n, d k), linear in both.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for another shape, another number of rows, NaN or inf.

    Source: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, section 3.1.

    >>> multilinear_map(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]]))
    tensor([[0.2500, 0.7500, 0.5000, 1.5000]])
    """
    _check_pair("multilinear_map", features, probabilities)
    return _multilinear_map(features, probabilities)


def _multilinear_map(features: Tensor, probabilities: Tensor) -> Tensor:
    return (features[:, :, None] * probabilities[:, None, :]).flatten(1)


class RandomMultilinearMap(nn.Module):
    r"""As many random numbers of the outer product as asked for, without forming it.

    .. math:: T_\odot(f, g) = \frac{1}{\sqrt m} (R_f f) \odot (R_g g)

    Each of the m entries is the outer product's inner product with a random matrix of rank one, so the inner product of
    two such vectors has that of the outer products as its expectation (theorem 1). R_f and R_g are drawn once, from the
    standard normal distribution, and never trained: buffers, which are saved, resumed and moved with the module.

    Args:
        features: d.
        classes: k.
        projections: m >= 1, the numbers that come out.

    Raises:
        ValueError: if a size is not positive.

    Source: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, section 3.1, with Gaussian entries.

    >>> RandomMultilinearMap(256, 31, projections=8)(torch.zeros(2, 256), torch.full((2, 31), 1 / 31)).shape
    torch.Size([2, 8])
    """

    of_features: Tensor
    of_probabilities: Tensor

    def __init__(self, features: int, classes: int, *, projections: int = PROJECTIONS) -> None:
        super().__init__()
        if min(features, classes, projections) < 1:
            raise ValueError(
                f"RandomMultilinearMap needs positive sizes; got features={features}, classes={classes}, "
                f"projections={projections}."
            )
        self.register_buffer("of_features", torch.randn(features, projections))  # R_f, transposed
        self.register_buffer("of_probabilities", torch.randn(classes, projections))  # R_g, transposed

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """The map of a batch.

        Args:
            features: (n, d).
            probabilities: (n, k).

        Returns:
            (n, m).
        """
        scale = 1 / math.sqrt(self.of_features.shape[1])
        return (features @ self.of_features) * ((scale * probabilities) @ self.of_probabilities)


class CDAN(Method):
    r"""Adds the loss of a discriminator of features and predictions together, whose gradient is reversed.

    .. math:: \sum_i w^s_i L_d(G_d(T(f^s_i, g^s_i)), 1) + \sum_j w^t_j L_d(G_d(T(f^t_j, g^t_j)), 0), \qquad
        T = \begin{cases} T_\otimes & d k \le 4096 \\ T_\odot & \text{else} \end{cases}

    with L_d the binary cross-entropy on logits, g the softmax of the head's logits, and T :func:`multilinear_map` or
    :class:`RandomMultilinearMap`. The weights of a domain sum to 1: alike in CDAN; in CDAN+E
    (``entropy=True``, :class:`CDANE`) in proportion to :math:`1 + e^{-H(g)}`, so that clear predictions count more.
    The discriminator learns at full strength; the weight with its ramp scales **the reversed gradient alone**, as in
    :class:`~landbridge.dann.DANN`. Term: ``domain``, 2 log 2 when the domains cannot be told apart. Watched:
    ``accuracy``, the discriminator's balanced accuracy on the batch (all rows count alike), 0.5 when they cannot.

    How that stands to the paper and to its authors' code:

    * What is detached. In the paper's game (equation 3) the whole network plays against the discriminator, the head
      too. The authors' code takes g as a constant in T, and so does their later library; the published numbers were
      made so, and it is the default here: the head learns from the task loss alone. ``detach=False`` is the equation
      taken literally: the reversed gradient also flows through g.
    * Entropy weights. The paper multiplies by :math:`1 + e^{-H(g)}`; the code divides by the sum over each domain, as
      here. The first code reverses the gradient of these weights, the later library detaches them; here they go with g:
      constants, or with ``detach=False`` reversed.
    * Scale. The sum of both domains' means, as in DANN's paper; the authors' code takes their average, half of it.

    It is made for equal class proportions: where the target's differ, aligning the domains as wholes mixes classes.

    Args:
        features: d, the size of a feature.
        classes: k.
        entropy: whether samples are weighed by their entropy: CDAN+E.
        discriminator: one of your own, (n, d k) or (n, projections) -> logits (n,), positive for the source.
        hidden: widths of the hidden layers of the :class:`DomainDiscriminator` made otherwise.
        dropout: in the discriminator; 0.5 in the authors' code.
        batchnorm: whether the discriminator's hidden layers are normalised, by the batch of both domains as one.
        limit: the largest d k for which the outer product is formed; above it the random map is used.
        projections: what comes out of the random map.
        detach: whether g and the weights are constants in the gradient.
        weight: the largest lambda, >= 0.
        schedule: ``ramp``, as in the authors' code, or ``constant``.

    Raises:
        ValueError: for a size that is not positive, or at the first batch of other sizes than the method was made for.

    Source: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, equations 2 and 3 with the maps of
    section 3.1 and the entropy conditioning of section 3.2.

    >>> method = CDAN(features=8, classes=3, hidden=[16])
    >>> source = lb.Source(torch.randn(4, 8), torch.randn(4, 3))
    >>> method(source, lb.Target(torch.randn(6, 8), torch.randn(6, 3)), progress=0.5).shape
    torch.Size([])
    """

    assumes_proportions: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"source", "logits"})
    weighs: ClassVar[Literal["terms", "inside"]] = "inside"
    watches: ClassVar[frozenset[str]] = frozenset({"accuracy"})

    def __init__(
        self,
        *,
        features: int,
        classes: int,
        entropy: bool = False,
        discriminator: nn.Module | None = None,
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        batchnorm: bool = False,
        limit: int = LARGEST,
        projections: int = PROJECTIONS,
        detach: bool = True,
        weight: float = 1.0,
        schedule: str = "ramp",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        if min(features, classes, limit, projections) < 1:
            raise ValueError(
                f"{type(self).__name__} needs positive sizes; got features={features}, classes={classes}, "
                f"limit={limit}, projections={projections}."
            )
        random = features * classes > limit
        self.random_map = RandomMultilinearMap(features, classes, projections=projections) if random else None
        if discriminator is None:
            width = projections if random else features * classes
            discriminator = DomainDiscriminator(width, hidden=hidden, dropout=dropout, batchnorm=batchnorm)
        self.discriminator = discriminator
        self.features = features
        self.classes = classes
        self.entropy = entropy
        self.detach = detach

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        assert target.logits is not None
        got = target.features.shape[1], target.logits.shape[1]
        if got != (self.features, self.classes):
            name = type(self).__name__
            raise ValueError(
                f"{name} was made for features={self.features} and classes={self.classes}; got target features "
                f"{tuple(target.features.shape)} and logits {tuple(target.logits.shape)}. Make it anew with "
                f"{name}(features={got[0]}, classes={got[1]})."
            )

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source.logits is not None  # both asked for in needs
        assert target.logits is not None
        strength = self.strength(progress)
        features = reverse_gradient(torch.cat([source.features, target.features]), strength)  # (n_s+n_t, d)
        logits = torch.cat([source.logits, target.logits])  # (n_s+n_t, k)
        logits = logits.detach() if self.detach else reverse_gradient(logits, strength)
        map_ = _multilinear_map if self.random_map is None else self.random_map
        seen = map_(features, logits.softmax(1))  # (n_s+n_t, d k or projections)
        judged = self.discriminator(seen)  # (n_s+n_t,)
        n_s = source.features.shape[0]
        found, missed = judged[:n_s], judged[n_s:]
        watched = {"accuracy": domain_accuracy(found, missed)}
        if not self.entropy:
            return {"domain": domain_loss(found, missed), **watched}
        weights = certainty(logits)  # (n_s+n_t,)
        return {"domain": domain_loss(found, missed, weights[:n_s], weights[n_s:]), **watched}


class CDANE(CDAN):
    r"""CDAN whose samples are weighed by the entropy of their predictions: CDAN+E.

    .. math:: - \sum_i w^s_i \log D(T(f^s_i, g^s_i)) - \sum_j w^t_j \log (1 - D(T(f^t_j, g^t_j))), \qquad
        w_i = \frac{1 + e^{-H(g_i)}}{\sum_{i'} (1 + e^{-H(g_{i'})})}

    with H the entropy of the predicted probabilities g, the weights summing to 1 within each domain, and T, D and the
    reversed gradient as in :class:`CDAN`.

    Args:
        features: d, the size of a feature.
        classes: k.
        discriminator: as in :class:`CDAN`, and so all others.
        hidden: widths of the discriminator's hidden layers.
        dropout: in the discriminator.
        batchnorm: whether its hidden layers are normalised.
        limit: the largest d k for which the outer product is formed.
        projections: what comes out of the random map.
        detach: whether predictions and weights are constants in the gradient.
        weight: the largest lambda, >= 0.
        schedule: ``ramp`` or ``constant``.

    Raises:
        ValueError: as :class:`CDAN`.

    Source: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, section 3.2, entropy conditioning.

    >>> CDANE(features=8, classes=3, hidden=[16]).entropy
    True
    """

    def __init__(
        self,
        *,
        features: int,
        classes: int,
        discriminator: nn.Module | None = None,
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        batchnorm: bool = False,
        limit: int = LARGEST,
        projections: int = PROJECTIONS,
        detach: bool = True,
        weight: float = 1.0,
        schedule: str = "ramp",
    ) -> None:
        super().__init__(
            features=features, classes=classes, entropy=True, discriminator=discriminator, hidden=hidden,
            dropout=dropout, batchnorm=batchnorm, limit=limit, projections=projections, detach=detach, weight=weight,
            schedule=schedule,
        )  # fmt: skip


def _check_pair(function: str, features: Tensor, probabilities: Tensor) -> None:
    check_features(function, features, features)
    if probabilities.ndim != 2 or probabilities.shape[0] != features.shape[0]:
        raise ValueError(
            f"{function} needs the class probabilities of each sample, shape ({features.shape[0]}, classes); got "
            f"{tuple(probabilities.shape)}. Pass logits.softmax(1)."
        )
    check_finite(function, "probabilities", probabilities)
