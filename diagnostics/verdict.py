"""The verdict: is there a shift, of which kind, how sure is that, and what to try first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.checks import full_precision
from ..shared.labels import number_labels
from ..shared.seeds import generator
from ..weighting.label_shift import LabelShift, label_shift
from .classifier_test import classifier_test
from .copies import Copies, find_copies
from .inputs import as_class_numbers, as_class_scores, as_pair, in_range
from .mixture import MixtureTest, mixture_test, most_classes
from .results import TwoSampleTest
from .rows import choose_rows, is_number
from .shifts import adjusted_p_values
from .two_sample import kernel_test
from .words import Lopsided, Words, say

__all__ = ["KINDS", "Verdict", "decide"]

KINDS = ("no shift found", "covariate", "label", "both", "shift of unknown kind")
EXPLAINED = 0.5  # "both": at least half of the squared distance goes when the source takes the target's proportions
ERRS = 5  # or the predicted proportions differ at a fifth of the level: where classes look different, classifiers err
LOPSIDED = 0.9  # of the variance in few features: the others count for nothing in a distance
FEW_FEATURES = 1 / 3  # of all, at most, where they are several
UNIT_APART = 100.0  # times the variance of the middle one of the other features, that of each of several at least
ROWS_OF_CLASSIFIER = 1000
RIDGE = 0.1  # of the kernel ridge classifier, whose kernel is 1 on the diagonal
MOST_ROWS = 20_000  # of each domain: beyond it, tests see no more than they do


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the tests say of two domains, in words and numbers.

    Attributes:
        kind: one of ``KINDS``. ``covariate``: classes look different, p(x | y) has changed; ``label``: only their
            proportions p(y) have; ``both``: classes look different, and are predicted in clearly other proportions.
        level: the share of false alarms where there is no shift.
        p_value: of "there is no shift": the smallest of ``adjusted``.
        tests: those which decide whether there is a shift.
        adjusted: their p-values after Holm's correction, in the same order.
        mixture: whether the class proportions alone can explain the target; None without labels of the source.
        label_shift: the target's class proportions from predictions; None without labels of the source.
        copies: exact copies among the rows, and which rows were tested.
        headline: the verdict in one sentence.
        sentences: what was found.
        sure: how sure that is.
        advice: what to try first, in this order.
        undecided: what these rows cannot tell, and why.
    """

    kind: str
    level: float
    p_value: float
    tests: tuple[TwoSampleTest, ...]
    adjusted: tuple[float, ...]
    mixture: MixtureTest | None
    label_shift: LabelShift | None
    copies: Copies
    headline: str
    sentences: tuple[str, ...]
    sure: tuple[str, ...]
    advice: tuple[str, ...]
    undecided: tuple[str, ...]

    @property
    def shifted(self) -> bool:
        """Whether there is a shift, at the level asked for."""
        return self.kind != KINDS[0]

    def __str__(self) -> str:
        parts = [self.headline, *self.sentences, *self.sure]
        parts += ["What to try first:", *(f"- {each}" for each in self.advice)]
        if self.undecided:
            parts += ["What cannot be told from these rows:", *(f"- {each}" for each in self.undecided)]
        return "\n".join(parts)


class _Evidence(NamedTuple):
    """What the labels and logits of the source add."""

    mixture: MixtureTest | None
    proportions: LabelShift | None
    own_classifier: bool


@full_precision
def decide(
    source: Any,
    target: Any,
    *,
    source_labels: Any = None,
    source_logits: Any = None,
    target_logits: Any = None,
    names: Sequence[str] | None = None,
    level: float = 0.05,
    seed: int = 0,
) -> Verdict:
    """Whether two domains differ and how, by tests alone: no distances, no figures.

    1. **Is there a shift?** The kernel test, the classifier test and, with labels of the source, the test of equal
       predicted proportions; some shift is found if the smallest p-value after Holm's correction is at most the level.
       Each test is exact under permutations of the domains, so false alarms stay within the level: whatever the tests
       have to do with each other, and if source rows are new to the network whose features or logits they are.
    2. **Of which kind?** Only where there is one, each at the same level. The mixture test asks whether *some*
       proportions of the source's classes make the target; if not, p(x | y) has changed. The test of predicted
       proportions tells whether the classifier sees other proportions. Mixture rejected: ``covariate``, or ``both`` if
       the predicted proportions differ as well: at the level where the proportions nearest to the target explain at
       least half of the squared distance, and else at a fifth of it (an indication, not a test: a classifier that errs
       on the target sees other proportions too; docs/figures.md has counts). Mixture not rejected and proportions
       differ: ``label``. Neither, or no labels: ``shift of unknown kind``. The level of this second part is
       approximate: it is right for many rows in each class.

    Rows must be independent. Exact copies are counted and said; rows that are repeated within their domain are tested
    once, see :func:`~landbridge.diagnostics.copies.find_copies`.

    Without logits, a kernel ridge classifier learns on one half of the labelled source rows, and the other half serves
    for the proportions; the halves have the same share of each class, which makes that test conservative. Of more than
    20,000 rows of a domain, as many are drawn.

    Distances are in the features' own units, and the classifier is linear: a change of nothing but the correlations of
    features needs many rows to be seen. ``classifier_test(..., classifier="random-features")`` looks for it; it is
    not one of the tests that decide.

    Args:
        source: rows of the source, (n_s, d): features or raw values, on comparable scales.
        target: rows of the target, (n_t, d).
        source_labels: labels of the source rows, (n_s,), of any kind; with logits class numbers from 0.
        source_logits: of a classifier which has not learned on these rows, (n_s, k).
        target_logits: of the same classifier, (n_t, k).
        names: of the features, for the words; their numbers if left out.
        level: of false alarms, between 0 and 0.5.
        seed: of permutations, folds and draws.

    Raises:
        TypeError: for what is no array of numbers.
        ValueError: for shapes that do not fit, NaN, logits of one domain only, or a level out of range.

    Source: Holm 1979; Gretton et al. 2012 (kernel test); Lopez-Paz and Oquab 2017 (classifier test); Lipton et al. 2018
    (proportions); and :func:`landbridge.diagnostics.mixture_test`.

    >>> rows = np.random.default_rng(0).normal(size=(120, 3))
    >>> decide(rows[:60], rows[60:]).kind, decide(rows[:60], rows[60:] + 2).kind
    ('no shift found', 'shift of unknown kind')
    """
    if not is_number(level) or not 0 < level < 0.5:
        raise ValueError(f"diagnose needs a level between 0 and 0.5, the share of false alarms; got {level!r}.")
    x, z = as_pair("diagnose", source, target)
    labels, scores = _labels_and_logits(x, z, source_labels, source_logits, target_logits)
    names = [f"feature {column}" for column in range(x.shape[1])] if names is None else list(names)
    if len(names) != x.shape[1]:
        raise ValueError(f"diagnose needs one name a feature, {x.shape[1]} of them; got {len(names)}.")
    copies = find_copies(x, z, seed=seed)
    if copies.left_out:
        x, z = x[copies.source_rows], z[copies.target_rows]
        labels = None if labels is None else labels[copies.source_rows]
        scores = None if scores is None else (scores[0][copies.source_rows], scores[1][copies.target_rows])
    of_x = choose_rows(len(x), MOST_ROWS, "diagnose", seed, "source")
    of_z = choose_rows(len(z), MOST_ROWS, "diagnose", seed, "target")
    x, z, _ = in_range(x[of_x], z[of_z])
    labels = None if labels is None else labels[of_x]
    scores = None if scores is None else (scores[0][of_x], scores[1][of_z])

    several = 3 if labels is not None else 2
    permutations = max(200, math.ceil(4 * several / level))  # the smallest p-value must pass the correction with ease
    evidence = _evidence(x, z, labels, scores, permutations, seed)
    tests = [
        kernel_test(x, z, permutations=permutations, seed=seed),
        classifier_test(x, z, permutations=permutations, seed=seed),
    ]
    if evidence.proportions is not None:
        tests.append(_as_test(evidence.proportions))
    adjusted = tuple(map(float, adjusted_p_values([test.p_value for test in tests], "holm")))
    kind = _kind(min(adjusted), evidence, level)
    words = say(
        Words(
            kind=kind,
            level=level,
            tests=tuple(tests),
            adjusted=adjusted,
            mixture=evidence.mixture,
            proportions=evidence.proportions,
            own_classifier=evidence.own_classifier,
            labelled=labels is not None,
            fewest=_fewest(labels),
            rows=(len(x), len(z)),
            lopsided=_lopsided(x, z, names),
            copies=copies,
            many=most_classes() if _too_many(labels) else None,
        )
    )
    return Verdict(
        kind=kind,
        level=level,
        p_value=min(adjusted),
        tests=tuple(tests),
        adjusted=adjusted,
        mixture=evidence.mixture,
        label_shift=evidence.proportions,
        copies=copies,
        headline=words.headline,
        sentences=words.sentences,
        sure=words.sure,
        advice=words.advice,
        undecided=words.undecided,
    )


def _kind(p_value: float, evidence: _Evidence, level: float) -> str:
    none, covariate, label, both, unknown = KINDS
    if p_value > level:
        return none
    if evidence.mixture is None or evidence.proportions is None:
        return unknown
    p_proportions = evidence.proportions.p_value
    if not evidence.mixture.test.rejects(level):
        return label if p_proportions <= level else unknown
    enough = level if evidence.mixture.explained >= EXPLAINED else level / ERRS
    return both if p_proportions <= enough else covariate


def _labels_and_logits(
    x: Tensor, z: Tensor, source_labels: Any, source_logits: Any, target_logits: Any
) -> tuple[NDArray[np.int64] | None, tuple[NDArray[np.float64], NDArray[np.float64]] | None]:
    if (source_logits is None) != (target_logits is None):
        missing = "source_logits" if source_logits is None else "target_logits"
        raise ValueError(f"diagnose needs the logits of both domains; {missing} is missing. Pass both, or neither.")
    scores = None
    if source_logits is not None:
        scores = (
            as_class_scores("diagnose", "source_logits", source_logits),
            as_class_scores("diagnose", "target_logits", target_logits),
        )
        for name, found, rows in (("source", scores[0], x), ("target", scores[1], z)):
            if len(found) != len(rows):
                raise ValueError(
                    f"diagnose needs one row of {name}_logits a row of the {name}; got {found.shape} and "
                    f"{tuple(rows.shape)}."
                )
        if scores[0].shape[1] != scores[1].shape[1]:
            raise ValueError(
                f"diagnose needs logits of one classifier; got {scores[0].shape[1]} classes in source_logits and "
                f"{scores[1].shape[1]} in target_logits."
            )
    if source_labels is None:
        return None, scores
    if scores is None:
        return number_labels("diagnose", "source_labels", source_labels, rows=len(x)).numbers, None
    k = scores[0].shape[1]
    return as_class_numbers("diagnose", "source_labels", source_labels, len(x), classes=k), scores


def _evidence(
    x: Tensor,
    z: Tensor,
    labels: NDArray[np.int64] | None,
    scores: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    permutations: int,
    seed: int,
) -> _Evidence:
    if labels is None:
        return _Evidence(None, None, False)
    counts = np.bincount(labels)
    if (counts >= 2).sum() < 2:  # one class has no proportions
        return _Evidence(None, None, False)
    mixture = None if _too_many(labels) else mixture_test(x, labels, z, draws=max(400, permutations), seed=seed)
    permutations = max(1999, permutations)
    if scores is not None:
        found = label_shift(scores[0], labels, scores[1], permutations=permutations, seed=seed)
        return _Evidence(mixture, found, False)
    held_out, of_source, of_target = _own_classifier(x, labels, z, seed)
    found = label_shift(of_source, labels[held_out], of_target, permutations=permutations, seed=seed)
    return _Evidence(mixture, found, True)


def _too_many(labels: NDArray[np.int64] | None) -> bool:
    """Whether the source has more classes than the mixture test takes."""
    return labels is not None and int((np.bincount(labels) >= 2).sum()) > most_classes()


def _own_classifier(
    x: Tensor, labels: NDArray[np.int64], z: Tensor, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """A kernel ridge classifier of one half of the source: which rows it did not see, its scores of them and of z.

    Rows alternate between the halves within each class.
    """
    order = torch.randperm(len(x), generator=generator("diagnose", seed, "halves")).numpy()
    order = order[np.argsort(labels[order], kind="stable")]
    learns, held_out = np.sort(order[::2]), np.sort(order[1::2])
    if len(learns) > ROWS_OF_CLASSIFIER:
        stream = generator("diagnose", seed, "classifier")
        learns = learns[torch.randperm(len(learns), generator=stream)[:ROWS_OF_CLASSIFIER].numpy()]
    rows = x[torch.as_tensor(learns, device=x.device)]
    centre = rows.mean(0)
    rows = rows - centre
    squared = torch.cdist(rows, rows).square()
    bandwidth = float(squared[~torch.eye(len(rows), dtype=torch.bool, device=x.device)].median())
    bandwidth = bandwidth if bandwidth > 0 else float(squared.mean()) or 1.0
    k = int(labels.max()) + 1
    wanted = torch.nn.functional.one_hot(torch.as_tensor(labels[learns]), k).double().to(x.device)
    kernel = (-squared / bandwidth).exp().double()
    kernel.diagonal().add_(RIDGE)
    solution = torch.linalg.solve(kernel, wanted - wanted.mean(0))

    def scores(of: Tensor) -> NDArray[np.float64]:
        found = [
            (-torch.cdist(block - centre, rows).square() / bandwidth).exp().double() @ solution + wanted.mean(0)
            for block in of.split(2048)
        ]
        return np.asarray(torch.cat(found).cpu().numpy(), dtype=np.float64)

    return held_out, scores(x[torch.as_tensor(held_out, device=x.device)]), scores(z)


def _as_test(found: LabelShift) -> TwoSampleTest:
    return TwoSampleTest(
        name="predicted proportions",
        statistic=found.statistic,
        p_value=found.p_value,
        n_source=found.n_source,
        n_target=found.n_target,
        null=np.empty(0),
        note=found.note,
    )


def _fewest(labels: NDArray[np.int64] | None) -> int | None:
    """Rows of the smallest class that is there."""
    if labels is None:
        return None
    counts = np.bincount(labels)
    return int(counts[counts > 0].min())


def _lopsided(x: Tensor, z: Tensor, names: Sequence[str]) -> Lopsided | None:
    """The few features that hold nearly all of the variance, where there are such: columns in raw units."""
    if x.shape[1] < 3:
        return None
    variance = torch.cat([x, z]).double().var(0)
    total = float(variance.sum())
    if not 0 < total < math.inf:
        return None
    falling, order = variance.sort(descending=True)
    count = int((falling.cumsum(0) <= LOPSIDED * total).sum()) + 1
    if count > 1 and count > FEW_FEATURES * len(variance):
        return None
    if count > 1 and float(falling[count - 1]) < UNIT_APART * float(falling[count:].median()):
        return None
    return Lopsided(float(falling[:count].sum()) / total, tuple(names[int(column)] for column in order[:count]))
