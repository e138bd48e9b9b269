"""How certain a prediction is: the weight by which several methods prefer samples with a clear prediction."""

from __future__ import annotations

from torch import Tensor

from .checks import full_precision

__all__ = ["certainty"]


@full_precision
def certainty(logits: Tensor) -> Tensor:
    r"""The weight of each sample by the entropy of its class probabilities g.

    .. math:: w = 1 + e^{-H(g)}, \qquad H(g) = -\sum_c g_c \log g_c, \quad g = \mathrm{softmax}(z)

    From 1 + 1/k, where all classes are equally likely, to 2, where one is certain. Whoever uses it divides by a sum,
    and detaches it if it is to be a constant; no argument is checked.

    Args:
        logits: z, (n, k).

    Returns:
        (n,), in float32 at least.

    Source: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, entropy conditioning; with a
    temperature, Jin et al., Minimum Class Confusion, ECCV 2020, equations 3 and 4.

    >>> certainty(torch.tensor([[0.0, 0.0], [0.0, 1000.0]]))
    tensor([1.5000, 2.0000])
    """
    logs = logits.log_softmax(1)  # (n, k)
    negative_entropy = (logs.exp() * logs).sum(1)  # (n,); a probability that underflows adds 0, since its log is finite
    return 1 + negative_entropy.exp()
