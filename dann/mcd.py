"""MCD: two task heads look for target samples on which they disagree, the extractor takes these away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..shared.checks import check_logits, check_width, full_precision
from ..shared.method import Method, Source, Target, Update

__all__ = ["MCD", "classifier_discrepancy"]


def classifier_discrepancy(logits: Tensor, others: Tensor) -> Tensor:
    r"""How far two heads' class probabilities lie apart: the mean absolute difference.

    .. math:: \frac1{n_t} \sum_j \frac1K \sum_k |p_{1k}(x_j) - p_{2k}(x_j)|

    Args:
        logits: of the first head, (n, k).
        others: of the second, (n, k).

    Returns:
        A scalar in [0, 2/k].

    Raises:
        ValueError: if the shapes differ, or a logit is not finite.

    Source: Saito et al., Maximum Classifier Discrepancy, CVPR 2018, equation 2, averaged over the samples.

    >>> classifier_discrepancy(torch.tensor([[9.0, -9.0]]), torch.tensor([[-9.0, 9.0]]))
    tensor(1.)
    """
    check_logits("classifier_discrepancy", "source", logits, logits.shape[0])
    check_logits("classifier_discrepancy", "target", others, logits.shape[0])
    if logits.shape != others.shape:
        raise ValueError(
            f"classifier_discrepancy compares logits over the same classes; got {tuple(logits.shape)} and "
            f"{tuple(others.shape)}."
        )
    return _classifier_discrepancy(logits, others)


@full_precision
def _classifier_discrepancy(logits: Tensor, others: Tensor) -> Tensor:
    return (logits.softmax(1) - others.softmax(1)).abs().mean()


class MCD(Method):
    r"""Trains a second head, and takes away the target samples on which it and the network's head disagree.

    .. math:: A: \min_{G, F_1, F_2} L, \qquad B: \min_{F_1, F_2} L - \lambda D, \qquad C: \min_G \lambda D

    with G the extractor, F_1 and F_2 the heads, lambda the weight, L the cross-entropy on the source and D
    :func:`classifier_discrepancy` on the target: three updates a step.

    - A: extractor and both heads minimise L (equation 3);
    - B: both heads minimise L - weight D (equations 4 and 5);
    - C: the extractor minimises weight D, ``inner`` times (equation 6).

    The weight scales D in B and C; with weight 0 the heads still take their step B. Predictions are the network's own
    head's. The second head's cross-entropy is the term ``task2``; D is ``discrepancy``.

    Args:
        features: d, the size of a feature.
        classes: k; the second head is then linear, or has the hidden layers asked for.
        head: a second head of your own instead: features (n, d) -> logits (n, k).
        hidden: widths of the second head's hidden layers.
        inner: how often C is made, the paper's n, 2 to 4 there.
        weight: of D.
        schedule: of the weight.

    Raises:
        ValueError: if sizes and head are both given or both missing, or ``inner`` is below 1.

    Source: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR 2018.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"source", "logits", "labels"})

    def __init__(
        self,
        *,
        features: int | None = None,
        classes: int | None = None,
        head: nn.Module | None = None,
        hidden: Sequence[int] = (),
        inner: int = 4,
        weight: float = 1.0,
        schedule: str = "constant",
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        if (head is None) == (features is None or classes is None):
            raise ValueError(
                f"MCD needs features=d and classes=k, or head=module, not both; got {features=}, {classes=}, "
                f"head={None if head is None else type(head).__name__}."
            )
        if inner < 1:
            raise ValueError(f"MCD needs inner >= 1, how often the extractor moves; got {inner}.")
        if head is None and features is not None and classes is not None:
            sizes = [features, *hidden]
            layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
            head = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
        self.head = head
        self.inner = inner

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        first = next(iter(self.head.children()), None) if isinstance(self.head, nn.Sequential) else self.head
        check_width("MCD", getattr(first, "in_features", None), target.features)

    def updates(self) -> tuple[Update, ...]:
        return (
            Update(self._classify),
            Update(self._disagree, trains=frozenset({"head", "method"})),
            Update(self._agree, trains=frozenset({"extractor"}), task=False, repeat=self.inner),
        )

    def weighted(self, terms: dict[str, Tensor], progress: Tensor) -> dict[str, Tensor]:
        strength = self.strength(progress)
        return {name: strength * term if name == "discrepancy" else term for name, term in terms.items()}

    def _second(self, features: Tensor) -> Tensor:
        assert self.head is not None
        logits: Tensor = self.head(features)
        return logits

    def _classify(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert source is not None
        assert source.labels is not None
        return {"task2": F.cross_entropy(self._second(source.features), source.labels)}

    def _agree(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert target.logits is not None
        return {"discrepancy": _classifier_discrepancy(target.logits, self._second(target.features))}

    def _disagree(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        apart = {name: -term for name, term in self._agree(source, target, progress).items()}
        return {**self._classify(source, target, progress), **apart}
