"""What may be said of a difference: intervals, paired tests, Holm's correction, average ranks.

What varies here is the seed (first weights, batches, augmentation) and the task. A seed gives every method the same
weights and batches, so differences are paired. Seeds share their data: intervals and tests say how far another seed
would lie, not another sample of the domains. Where a seed draws training rows anew, the draws overlap, and an interval
is narrower than fresh data would make it (Nadeau and Bengio, Machine Learning 2003).

Plain numbers in, plain numbers out; only numpy and scipy, which are imported where they are used.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MCNEMAR",
    "PAIRED_T",
    "SIGN_FLIP",
    "PValues",
    "average_ranks",
    "half_width",
    "holm",
    "in_every_seed",
    "mcnemar_below",
    "over_tasks_and_seeds",
    "paired_t",
    "sign_flip",
    "signed_rank",
    "standard_error",
]

PAIRED_T, SIGN_FLIP, SIGNED_RANK = "paired t-test", "sign-flip test", "signed-rank test"
MCNEMAR = "exact McNemar test"

ENOUGH = 12  # blocks for a sign-flip test: its smallest p, 1/4096, survives the correction for many methods
EXACT = 16  # blocks up to which all sign patterns are gone through: 65,536
DRAWS = 65_535  # patterns drawn beyond that; with the observed one 65,536
CHUNK = 8192  # patterns multiplied at once
DRAW_SEED = 20060101  # fixed: the same differences give the same p
SAME = 1e-9  # percentage points; closer numbers differ by rounding alone
TASKS_NEEDED = 6  # fewer tasks cannot reach p < 0.05 in a signed-rank test: 2 / 2^5 is 0.0625


class PValues(NamedTuple):
    """What a paired test says.

    Attributes:
        two_sided: p of a difference either way.
        below: p of the first being below the second, one-sided.
        test: which one it is.
        least: the smallest one-sided p that it could have given with so few differences.
    """

    two_sided: float
    below: float
    test: str
    least: float = 0.0


def standard_error(values: Sequence[float]) -> float | None:
    r"""Standard error of the mean of S values; None for fewer than two.

    .. math:: \sqrt{\frac1{S (S-1)} \sum_s (a_s - \bar a)^2}

    >>> standard_error([1.0, 3.0])
    1.0
    """
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def half_width(values: Sequence[float], level: float = 0.95) -> float | None:
    r"""Half the confidence interval of the mean of S values, by Student's t; None for fewer than two.

    .. math:: t_{S-1,\,(1 + \text{level})/2} \, \sqrt{\frac1{S (S-1)} \sum_s (a_s - \bar a)^2}

    With three values t is 4.30: the interval is more than four standard errors to each side.

    Raises:
        ValueError: if ``level`` is not between 0 and 1.

    >>> round(half_width([70.0, 71.0, 72.0]), 2)
    2.48
    """
    if not 0 < level < 1:
        raise ValueError(f"half_width needs a level between 0 and 1; got {level}. Pass 0.95 for 95%.")
    error = standard_error(values)
    if error is None:
        return None
    from scipy.special import stdtrit

    return error * float(stdtrit(len(values) - 1, (1 + level) / 2))


def paired_t(differences: Sequence[float]) -> PValues | None:
    """Student's t-test of paired differences against 0.

    Right for few seeds of one task, where a permutation test could not get below 2^-S. Without any spread it has no
    answer: None where all differences are the same but 0, p = 1 where all are 0.

    Args:
        differences: one a seed, in any unit.

    Returns:
        None for fewer than two differences, or for some that do not vary: seeds that all say the same (a method
        without randomness) are no evidence that others would.

    >>> round(paired_t([-1.0, -2.0, -3.0]).below, 3)
    0.037
    >>> paired_t([-1.0]) is None
    True
    """
    if len(differences) < 2:
        return None
    if _alike(differences):
        return PValues(1.0, 1.0, PAIRED_T) if abs(differences[0]) < SAME else None
    from scipy.special import stdtr

    error = standard_error(differences)
    assert error is not None
    t = statistics.fmean(differences) / error
    freedom = len(differences) - 1
    return PValues(2 * float(stdtr(freedom, -abs(t))), float(stdtr(freedom, t)), PAIRED_T)


def sign_flip(differences: Sequence[Sequence[float]]) -> PValues | None:
    r"""Sign-flip permutation test of the average difference over tasks and seeds.

    If a method changes nothing, each difference is as likely to have come out with the other sign, independently of
    the others (seeds of different tasks are different). The p-value is the share of sign patterns whose average is at
    least as extreme as the one observed:

    .. math:: p = \frac1{2^B} \#\Big\{\varepsilon \in \{\pm1\}^B : \sum_b \varepsilon_b d_b \le \sum_b d_b\Big\}

    A block b is one task x seed. The test needs no distribution, takes tied and rounded accuracies as they are, and
    tasks of unequal spread do not break it; where the gain differs from task to task it errs on the side of caution.
    Seeds of a task that all say the same (a method without randomness) are one block. Up to 16 blocks it is exact;
    beyond that 65,535 patterns are drawn, always the same, and the observed one is counted with them, so that p is
    never 0.

    It is about further seeds on these very tasks. For further tasks take :func:`signed_rank`.

    Args:
        differences: for each task one difference a seed, as many for every task.

    Returns:
        None if there is no difference at all.

    Raises:
        ValueError: if tasks have different numbers of differences.

    Source: Fisher, The Design of Experiments (1935), section 21; drawing: Phipson and Smyth, SAGMB 2010.

    >>> sign_flip([[-1.0, -2.0], [-3.0, -1.5]])
    PValues(two_sided=0.125, below=0.0625, test='sign-flip test', least=0.0625)
    """
    _check_rectangle("sign_flip", differences)
    if not any(differences):
        return None
    blocks: list[float] = []
    for task in differences:
        blocks += [sum(task)] if _alike(task) else task
    return _flip([block for block in blocks if abs(block) >= SAME], SIGN_FLIP)


def over_tasks_and_seeds(differences: Sequence[Sequence[float]]) -> PValues | None:
    """The test of the average gain over tasks and seeds, by what so many differences allow.

    With 12 differences or more (four tasks and three seeds), or one seed, :func:`sign_flip` over task x seed. With
    fewer it could hardly ever get below 0.05 once corrected for several methods (2 tasks and 3 seeds: 1/64), and
    :func:`paired_t` of the seeds' averages over the tasks takes its place. Which one it is does not depend on what the
    differences are.

    Args:
        differences: for each task one difference a seed, seeds in the same order and as many for every task.

    Returns:
        None where :func:`paired_t` or :func:`sign_flip` has no answer.

    Raises:
        ValueError: if tasks have different numbers of differences.

    >>> over_tasks_and_seeds([[-1.0, -2.0, -1.5], [-3.0, -1.5, -2.0]]).test
    'paired t-test'
    >>> over_tasks_and_seeds([[-1.0], [-3.0]]).test
    'sign-flip test'
    """
    _check_rectangle("over_tasks_and_seeds", differences)
    count = sum(map(len, differences))
    if count >= ENOUGH or count == len(differences):
        return sign_flip(differences)
    return paired_t([statistics.fmean(seed) for seed in zip(*differences, strict=True)])


def signed_rank(differences: Sequence[float]) -> PValues | None:
    """Wilcoxon's signed-rank test of the differences against 0, one a task: would it hold on further tasks?

    What Demsar recommends for two classifiers on several data sets: it does not ask that gains on different tasks are
    of one size or normal. Ties share their ranks, zeros are left out. Tasks that share domains are not independent, as
    the test takes them to be, so its p is a guide. Exact up to 16 tasks, like :func:`sign_flip`, of which it is the
    case with ranks for differences.

    Returns:
        None for fewer than six tasks: no result could be below p = 0.05.

    Source: Wilcoxon, Biometrics Bulletin 1945; Demsar, JMLR 7 (2006), section 3.1.3.

    >>> signed_rank([1.2, 0.4, 3.0, 0.1, 0.9, 2.0]).two_sided
    0.03125
    """
    if len(differences) < TASKS_NEEDED:
        return None
    kept = [difference for difference in differences if abs(difference) >= SAME]
    sizes = [abs(difference) for difference in kept]
    ranks = []
    for size in sizes:
        smaller = sum(other < size - SAME for other in sizes)
        tied = sum(abs(other - size) <= SAME for other in sizes)
        ranks.append(smaller + (tied + 1) / 2)
    signed = [math.copysign(rank, difference) for rank, difference in zip(ranks, kept, strict=True)]
    return _flip(signed, SIGNED_RANK)


def mcnemar_below(lost: int, won: int) -> float:
    r"""McNemar's exact test of two networks on the same images: is the first below the second? One-sided.

    Only the images that one network alone gets right tell them apart. If both are as good, each of these is as likely
    the one's as the other's:

    .. math:: p = 2^{-m} \sum_{i=0}^{w} \binom{m}{i}, \qquad m = l + w

    Args:
        lost: l, how many images the second network alone gets right.
        won: w, how many the first alone gets right.

    Returns:
        p; 1 where the networks never differ.

    Raises:
        ValueError: for a negative count.

    Source: McNemar, Psychometrika 1947; Dietterich, Neural Computation 1998, section 3.1. It is about further images
    and these very networks, not about further seeds.

    >>> mcnemar_below(8, 1)
    0.01953125
    """
    if lost < 0 or won < 0:
        raise ValueError(f"mcnemar_below needs counts of at least 0; got lost={lost}, won={won}.")
    from scipy.special import bdtr

    return float(bdtr(won, lost + won, 0.5)) if lost + won else 1.0


def in_every_seed(values: Sequence[float]) -> float:
    r"""One p-value for "below in every seed": the largest of the seeds' own.

    .. math:: p = \max_s p_s

    Seeds are scored on the same images, so their p-values are not independent, and Fisher's or Stouffer's combination
    would be too sure of itself. The largest never is, however they depend on one another: it is below 0.05 only if each
    is (an intersection-union test). With two seeds it has more power than twice the mean, which is their sum. And the
    more seeds there are, the less can a method that is no worse on average be called so for the luck of its seeds.

    Args:
        values: one p-value a seed, at least one.

    Source: Berger, Technometrics 1982; against twice the mean: Vovk and Wang, Biometrika 2020.

    >>> in_every_seed([0.001, 0.02])
    0.02
    """
    return max(values)


def _check_rectangle(function: str, differences: Sequence[Sequence[float]]) -> None:
    counts = sorted({len(task) for task in differences})
    if len(counts) > 1:
        raise ValueError(
            f"{function} needs as many differences for every task; got {' and '.join(map(str, counts))}. "
            "Keep the seeds that all tasks have."
        )


def _alike(values: Sequence[float]) -> bool:
    return len(values) > 1 and max(values) - min(values) < SAME


def _flip(blocks: Sequence[float], test: str) -> PValues:
    """The share of sign patterns whose sum is as extreme as that of ``blocks``, none of which is 0."""
    import numpy as np

    if not blocks:
        return PValues(1.0, 1.0, test, least=1.0)
    values = np.asarray(blocks, dtype=np.float64)
    observed = float(values.sum())
    edge = SAME * len(blocks)
    if len(blocks) <= EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        extreme = np.abs(sums) >= abs(observed) - edge
        below = (sums <= observed + edge).mean()
        return PValues(float(extreme.mean()), float(below), test, least=2.0 ** -len(blocks))
    patterns = _patterns(len(blocks))
    either = lower = 1  # the observed pattern
    for start in range(0, DRAWS, CHUNK):
        sums = patterns[start : start + CHUNK] @ values
        either += int((np.abs(sums) >= abs(observed) - edge).sum())
        lower += int((sums <= observed + edge).sum())
    return PValues(either / (DRAWS + 1), lower / (DRAWS + 1), test, least=1 / (DRAWS + 1))


@lru_cache(maxsize=1)  # all rows of a table have as many blocks
def _patterns(count: int) -> NDArray[np.int8]:
    import numpy as np

    coins = np.random.default_rng(DRAW_SEED).integers(0, 2, size=(DRAWS, count), dtype=np.int8)
    signs: NDArray[np.int8] = 2 * coins - np.int8(1)
    return signs


def holm(values: Sequence[float | None]) -> list[float | None]:
    r"""p-values corrected for their number: with no real difference, the chance of any below 0.05 is at most 5%.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\big((m - j + 1) \, p_{(j)},\, 1\big)

    Holm's step-down: it holds however the tests depend on one another (all share source-only), and is never weaker
    than Bonferroni's. None (not tested) stays None and does not count.

    Source: Holm, Scandinavian Journal of Statistics 1979; recommended against a control by Demsar, JMLR 2006,
    section 3.2.2.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    adjusted: list[float | None] = [None] * len(values)
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    largest = 0.0
    for done, (value, place) in enumerate(known):
        largest = max(largest, min((len(known) - done) * value, 1.0))
        adjusted[place] = largest
    return adjusted


def average_ranks(blocks: Sequence[Sequence[float]]) -> list[float]:
    r"""Average rank of k methods over blocks (task x seed): the highest score has rank 1, ties share theirs.

    .. math:: R_j = \frac1B \sum_b r_b^j

    Args:
        blocks: for each block the scores of the k methods, always in the same order.

    Returns:
        k ranks from 1 to k, whose mean is (k + 1) / 2; [] without blocks.

    Raises:
        ValueError: if blocks have different numbers of scores.

    Source: Friedman (1937), as in Demsar, JMLR 2006, section 3.2.2.

    >>> average_ranks([[80.0, 90.0, 70.0], [75.0, 75.0, 60.0]])
    [1.75, 1.25, 3.0]
    """
    counts = {len(block) for block in blocks}
    if len(counts) > 1:
        raise ValueError(
            f"average_ranks needs as many scores in every block; got {' and '.join(map(str, sorted(counts)))}. "
            "Leave out the blocks that a method lacks."
        )
    ranked = [[_rank(score, block) for score in block] for block in blocks]
    return [statistics.fmean(ranks) for ranks in zip(*ranked, strict=True)]


def _rank(score: float, block: Sequence[float]) -> float:
    above = sum(other > score + SAME for other in block)
    tied = sum(abs(other - score) <= SAME for other in block)
    return above + (tied + 1) / 2
