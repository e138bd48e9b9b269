"""The domain discriminator: which domain do these features come from?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import full_precision

__all__ = ["DomainDiscriminator", "domain_accuracy", "domain_loss", "domains_accuracy", "domains_loss"]


class DomainDiscriminator(nn.Sequential):
    """A multi-layer perceptron from features to one logit a sample, positive for the source; or to one a domain.

    Logits, not probabilities: their binary cross-entropy is safe under autocast.

    With ``batchnorm`` each hidden layer is normalised before its ReLU, in training by the rows it is called with: hand
    it all domains in one call, as the methods do. Each domain by its own statistics would take away the very means and
    spreads that it is to tell the domains by; so ``batch_statistics="per_domain"``, a choice for the network, leaves it
    alone.

    Args:
        features: d, the size of a feature.
        hidden: the widths of the hidden layers; two of 1024 as in Ganin et al., JMLR 2016, figure 4 (SVHN and GTSRB
            networks), 100 for their MNIST network.
        dropout: the rate after each hidden layer.
        batchnorm: whether hidden layers are normalised by the batch, of all domains as one; not in the paper.
        domains: how many domains it tells apart: 2 by one logit, (n,); more by a logit each, (n, domains).

    Raises:
        ValueError: if a size is not positive, the rate not in [0, 1), or there are fewer than 2 domains.

    >>> DomainDiscriminator(16, hidden=[8])(torch.zeros(5, 16)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        batchnorm: bool = False,
        domains: int = 2,
    ) -> None:
        if domains < 2:
            raise ValueError(f"DomainDiscriminator needs at least 2 domains to tell apart; got {domains}.")
        if min(features, *hidden, 1) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"DomainDiscriminator needs positive sizes and dropout in [0, 1); got features={features}, "
                f"hidden={list(hidden)}, dropout={dropout}."
            )
        sizes = [features, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after)] if batchnorm else [nn.Linear(before, after)]
            layers += [nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers, nn.Linear(sizes[-1], 1 if domains == 2 else domains))
        self.features, self.domains = features, domains

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return logits.squeeze(-1) if self.domains == 2 else logits


@full_precision
def domain_loss(
    source_logits: Tensor,
    target_logits: Tensor,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
) -> Tensor:
    r"""The discriminator's loss: the sum over both domains of the mean binary cross-entropy.

    .. math:: -\frac1{n_s} \sum_i \log \sigma(z^s_i) - \frac1{n_t} \sum_j \log(1 - \sigma(z^t_j))

    A mean of each domain, so that each weighs the same whatever n_s and n_t: Ganin et al., JMLR 17 (2016),
    section 4.2 (its 1/n and 1/n'). It is 2 log 2 for a discriminator that does not know. Weights make it the weighted
    mean of each domain, :math:`\sum_i w_i \ell_i / \sum_i w_i`, in which only their ratios matter.

    Args:
        source_logits: (n_s,).
        target_logits: (n_t,).
        source_weights: of the source samples, (n_s,), positive; None: all alike.
        target_weights: of the target samples, (n_t,).

    >>> domain_loss(torch.zeros(3), torch.zeros(5))
    tensor(1.3863)
    """
    return _mean(F.softplus(-source_logits), source_weights) + _mean(F.softplus(target_logits), target_weights)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.mean() if weights is None else (weights * losses).sum() / weights.sum()


@torch.no_grad()
def domain_accuracy(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """The discriminator's balanced accuracy on a batch, to be watched: the mean of both domains' shares found.

    0.5 where it cannot tell the domains apart, whatever n_s and n_t; 1 where it always can. A logit of 0 counts half.

    Args:
        source_logits: (n_s,), positive for the source.
        target_logits: (n_t,).

    Returns:
        A scalar in [0, 1], float32, without gradient.

    >>> domain_accuracy(torch.tensor([2.0, -1.0, 3.0, 1.0]), torch.tensor([-1.0, -2.0]))
    tensor(0.8750)
    """
    source, target = source_logits.sign().mean(dtype=torch.float32), target_logits.sign().mean(dtype=torch.float32)
    return 0.5 + 0.25 * (source - target)  # a share p has signs of mean 2 p - 1


@full_precision
def domains_loss(logits: Tensor, domain: Tensor) -> Tensor:
    r"""The loss of a discriminator of many domains: the sum over the domains of their mean cross-entropy.

    .. math:: -\sum_{j=1}^{m} \frac1{n_j} \sum_{i: d_i = j} \log \operatorname{softmax}(z_i)_j

    A mean of each domain, as in :func:`domain_loss`, which it is for m = 2 and :math:`z = (z, 0)`. It is m log m for a
    discriminator that does not know. A domain without rows in the batch adds nothing.

    Args:
        logits: z, (n, m).
        domain: d, which of the m domains each row is of, (n,), integers in [0, m).

    >>> domains_loss(torch.zeros(5, 3), torch.tensor([0, 0, 1, 2, 2]))
    tensor(3.2958)
    """
    members = _members(domain, logits.shape[1]).to(logits.dtype)  # (n, m)
    return -((logits.log_softmax(1) * members).sum(0) / members.sum(0).clamp(min=1)).sum()


@torch.no_grad()
def domains_accuracy(logits: Tensor, domain: Tensor) -> Tensor:
    """The balanced accuracy of a discriminator of m domains: the mean over the domains of their share found.

    1/m where it cannot tell them apart; 1 where it always can. Domains without rows in the batch are left out.

    Args:
        logits: (n, m).
        domain: (n,), integers in [0, m).

    Returns:
        A scalar in [0, 1], float32, without gradient.

    >>> domains_accuracy(torch.eye(3)[[0, 0, 1, 1, 2, 2]], torch.tensor([0, 0, 1, 2, 2, 2]))
    tensor(0.8889)
    """
    members = _members(domain, logits.shape[1]).float()  # (n, m)
    found = (logits.argmax(1) == domain).float() @ members  # (m,)
    sizes = members.sum(0)
    return (found / sizes.clamp(min=1)).sum() / (sizes > 0).sum()


def _members(domain: Tensor, domains: int) -> Tensor:
    return domain[:, None] == torch.arange(domains, device=domain.device)
