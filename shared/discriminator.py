"""The domain discriminator: which domain do these features come from?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .checks import full_precision

__all__ = ["DomainDiscriminator", "domain_loss"]


class DomainDiscriminator(nn.Sequential):
    """A multi-layer perceptron from features to one logit a sample, positive for the source.

    Logits, not probabilities: their binary cross-entropy is safe under autocast.

    Args:
        features: d, the size of a feature.
        hidden: the widths of the hidden layers; two of 1024 as in Ganin et al., JMLR 2016, figure 4 (SVHN and GTSRB
            networks), 100 for their MNIST network.
        dropout: the rate after each hidden layer.

    Raises:
        ValueError: if a size is not positive or the rate not in [0, 1).

    >>> DomainDiscriminator(16, hidden=[8])(torch.zeros(5, 16)).shape
    torch.Size([5])
    """

    def __init__(self, features: int, *, hidden: Sequence[int] = (1024, 1024), dropout: float = 0.0) -> None:
        if min(features, *hidden, 1) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"DomainDiscriminator needs positive sizes and dropout in [0, 1); got features={features}, "
                f"hidden={list(hidden)}, dropout={dropout}."
            )
        sizes = [features, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return logits.squeeze(-1)


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
