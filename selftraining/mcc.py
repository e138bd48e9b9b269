"""MCC: the classes that the network confuses on the target are pulled apart."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from ..shared.certainty import certainty
from ..shared.checks import check_logits, full_precision
from ..shared.method import Method, Source, Target

__all__ = ["MCC", "class_confusion"]

TEMPERATURE = 2.5  # of the paper's Office-31 experiments, and the default of its code


def class_confusion(logits: Tensor, temperature: float = TEMPERATURE, *, detach: bool = True) -> Tensor:
    r"""How much the predictions of a batch spread over pairs of different classes.

    .. math:: L = \frac1k \sum_{j} \sum_{j' \ne j} \frac{C_{jj'}}{\sum_{j''} C_{jj''}}, \qquad
        C_{jj'} = \sum_i w_i \, p_{ij} \, p_{ij'}, \quad
        w_i = 1 + e^{-H(p_i)}, \quad p_i = \mathrm{softmax}(z_i / T)

    The paper's w has another factor n / sum w, which makes its mean 1 (equation 4); a factor common to all samples
    cancels in the row normalisation, and is not computed. Neither is the matrix C, since the p of a sample sum to 1:

    .. math:: L = \frac1k \sum_j \sum_i q_{ij} (1 - p_{ij}), \qquad q_{ij} = \frac{w_i p_{ij}}{\sum_{i'} w_{i'} p_{i'j}}

    which costs O(n k) for O(n k^2), and is finite where a class has no probability at all (q comes from logarithms).

    Args:
        logits: z of the target, (n, k).
        temperature: T > 0; 1 is the plain softmax, more makes predictions softer.
        detach: whether the weights w are constants, as in the authors' code. The equation itself does not say.

    Returns:
        A scalar in [0, 1 - 1/k], computed in float32 at least: 0 where every prediction is certain and each class is
        predicted; 1 - 1/k where all predictions are alike, be they uniform or of one class. A class that nobody
        predicts counts fully, so with fewer samples than classes 0 is out of reach.

    Raises:
        ValueError: for a wrong shape, an empty batch, NaN or inf, or a temperature that is not positive and finite.

    Source: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020, equations 1 and 3 to 7.

    >>> class_confusion(torch.tensor([[500.0, 0.0], [0.0, 500.0]])), class_confusion(torch.zeros(2, 2))
    (tensor(0.), tensor(0.5000))
    """
    _check_temperature("class_confusion", temperature)
    if logits.ndim == 2 and logits.shape[0] == 0:
        raise ValueError("class_confusion got an empty batch: no logits. Pass at least one sample.")
    check_logits("class_confusion", "target", logits, logits.shape[0])
    return _class_confusion(logits, temperature, detach)


@full_precision
def _class_confusion(logits: Tensor, temperature: float, detach: bool) -> Tensor:
    logits = logits / temperature
    weights = certainty(logits)  # (n,)
    if detach:
        weights = weights.detach()
    logs = logits.log_softmax(1)  # (n, k)
    shares = (logs + weights.log()[:, None]).softmax(0)  # q: of a class's weighed probability, each sample's share
    return (shares * (1 - logs.exp())).sum(0).mean()


class MCC(Method):
    r"""Adds the class confusion of the target's predictions to the task loss.

    .. math:: L = L_C + \lambda \, \frac1k \sum_{j} \sum_{j' \ne j} \frac{C_{jj'}}{\sum_{j''} C_{jj''}}

    with C the class correlation of :func:`class_confusion`. Nothing is aligned, and only the target's logits are read:
    the source is there for the task loss alone. The weights of the samples are constants in the gradient, as in the
    authors' code.

    Term: ``confusion``, in [0, 1 - 1/k].

    Args:
        weight: lambda >= 0; scales the whole term. 1 in the paper.
        schedule: ``"constant"``, as in the paper, or ``"ramp"``.
        temperature: T > 0, by which logits are divided first; 2.5 in the authors' code for Office-31.
        detach: whether the samples' weights are constants; False lets the gradient of equation 4 through.

    Raises:
        TypeError: if the weight is not a number.
        ValueError: for a temperature that is not positive and finite, a wrong weight, or an unknown schedule.

    Source: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020, equations 1 and 3 to 8.

    >>> target = Target(torch.zeros(2, 3), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    >>> MCC().losses(None, target, torch.tensor(1.0))
    {'confusion': tensor(0.4580)}
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})  # of the target; the task loss needs the source

    def __init__(
        self,
        *,
        weight: float = 1.0,
        schedule: str = "constant",
        temperature: float = TEMPERATURE,
        detach: bool = True,
    ) -> None:
        super().__init__(weight=weight, schedule=schedule)
        _check_temperature("MCC", temperature)
        self.temperature = temperature
        self.detach = detach

    def terms(self, source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
        assert target.logits is not None  # asked for in needs
        return {"confusion": _class_confusion(target.logits, self.temperature, self.detach)}


def _check_temperature(function: str, temperature: float) -> None:
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
        raise TypeError(f"{function} needs temperature as a number; got {type(temperature).__name__}.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"{function} needs a finite temperature > 0; got {temperature}. 1 leaves the logits as they are."
        )
