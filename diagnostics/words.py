"""The verdict in words: sentences chosen by the kind of shift and filled with what the tests found."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..weighting.label_shift import ILL_CONDITIONED, LabelShift
from .copies import Copies
from .mixture import MixtureTest
from .results import TwoSampleTest

__all__ = ["Said", "Words", "p_text", "say"]

FEW_ROWS = 10  # of a class: with fewer, the level of the mixture test is a guess
DOUBTED = 0.01  # p of equal predicted proportions: below it no advice takes them for equal, whatever the level
NAMED = 3  # tests that a sentence lists before it counts the others


class Lopsided(NamedTuple):
    """Features that hold nearly all of the variance."""

    share: float
    names: tuple[str, ...]


class Words(NamedTuple):
    """All that the sentences are made of; see :class:`landbridge.diagnostics.Verdict`."""

    kind: str
    level: float
    tests: tuple[TwoSampleTest, ...]
    adjusted: tuple[float, ...]
    mixture: MixtureTest | None
    proportions: LabelShift | None
    own_classifier: bool  # the proportions come from a classifier learned here, on half of the source
    labelled: bool
    fewest: int | None  # rows of the source's smallest class
    rows: tuple[int, int]
    lopsided: Lopsided | None = None
    copies: Copies | None = None
    many: int | None = None  # how many classes the mixture test takes, where there are more


class Said(NamedTuple):
    """The sentences of a verdict."""

    headline: str
    sentences: tuple[str, ...]
    sure: tuple[str, ...]
    advice: tuple[str, ...]
    undecided: tuple[str, ...]


HEADLINES = {
    "no shift found": "No shift found.",
    "covariate": "There is a shift: the classes look different in the target (covariate shift).",
    "label": "There is a shift: the classes occur in other proportions, and look the same (label shift).",
    "both": "There is a shift: the classes look different, and seem to occur in other proportions too.",
    "shift of unknown kind": "There is a shift; of which kind, these rows do not tell.",
}

ADVICE = {
    "no shift found": (
        "Use the source model as it is: adaptation has nothing to gain here, and can lose (negative transfer).",
        "If the model does badly on the target all the same, look at its features instead of the raw values, or at "
        "more rows.",
    ),
    "covariate": (
        "If the network has BatchNorm, first try AdaBN: the target's statistics, and no training "
        '(lb.adapt(..., method="adabn")).',
        'Then align features while training, beginning with "dann" or "deepcoral", or "mcc", which asks for certain '
        "and separate classes; keep what a label-free validator scores above source-only.",
    ),
    "label": (
        "Weigh each source row by label_shift(...).weights of its class in the task loss, or resample the source so, "
        "and train again. A trained model needs only log-weights added to its logits.",
        "Do not align the features of the domains as a whole (DANN, DAN, Deep CORAL): where proportions differ, equal "
        "features of the domains mean mixed-up classes (Zhao et al., ICML 2019).",
    ),
    "both": (
        "Correct the proportions first: draw or weigh the source rows to the estimated ones, label_shift(...).weights, "
        'as lb.adapt(..., label_shift="correct") does, and align with these rows (DANN, Deep CORAL). The source rows '
        "as they are, aligned as a whole, would mix up classes (Zhao et al., ICML 2019).",
        'Beside it try a method that does not force the domains onto each other as a whole, such as "mcc".',
        "Look at the proportions again with the adapted network's logits: they assume that classes look the same.",
        "Keep what a label-free validator scores above source-only, and see that no class dies out in the predictions.",
    ),
    "shift of unknown kind": (
        "Find out the kind first: pass source_labels (and the logits of a network that did not learn on these rows), "
        "or more rows.",
        'Until then, AdaBN or "mcc" risk least if proportions differ; keep what a label-free validator scores above '
        "source-only.",
    ),
}


CAREFUL = (
    'Then align features while training ("dann", "deepcoral") with source rows drawn to the estimated proportions '
    '(lb.adapt(..., label_shift="correct")): the classes are predicted in other proportions, because the classifier '
    'errs or because they have changed. "mcc" forces no proportions. Keep what a label-free validator scores above '
    "source-only."
)


def say(words: Words) -> Said:
    """The sentences for what was found."""
    advice = list(ADVICE[words.kind])
    if (
        words.kind == "covariate"
        and words.proportions is not None
        and words.proportions.p_value <= max(DOUBTED, words.level)
    ):
        advice[1] = CAREFUL
    if words.kind == "shift of unknown kind" and words.labelled:
        advice[0] = "Find out the kind first: more labelled rows, or the logits of a better classifier, tell more."
    return Said(
        headline=HEADLINES[words.kind],
        sentences=tuple(_found(words)),
        sure=tuple(_sure(words)),
        advice=tuple(advice),
        undecided=tuple(_undecided(words)),
    )


def p_text(p_value: float) -> str:
    """A p-value as one reads it.

    >>> p_text(0.0004), p_text(0.0312)
    ('p < 0.001', 'p = 0.031')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _found(words: Words) -> list[str]:
    named = [f"the {test.name} ({p_text(p)})" for test, p in zip(words.tests, words.adjusted, strict=True)]
    rejecting = [name for name, p in zip(named, words.adjusted, strict=True) if p <= words.level]
    if not rejecting:
        first = f"None of {len(named)} tests tells source and target apart: {_and(named)}."
    else:
        others = "" if len(rejecting) == len(named) else f", of {len(named)} tests"
        first = f"Source and target are told apart by {_and(rejecting)}{others}."
    return [first, *_of_the_kind(words), *_of_the_copies(words.copies)]


def _of_the_copies(copies: Copies | None) -> list[str]:
    if copies is None or not copies.source + copies.target + copies.across:
        return []
    counts = [
        f"{count} of {rows} {domain} rows are exact copies of earlier ones"
        for count, rows, domain in (
            (copies.source, copies.n_source, "source"),
            (copies.target, copies.n_target, "target"),
        )
        if count
    ]
    if copies.across:
        counts.append(f"{copies.across} of {copies.n_target} target rows stand in the source too")
    if copies.left_out:
        done = (
            f"copies are no samples of their own, and repeated rows were tested once: {len(copies.source_rows)} source "
            f"and {len(copies.target_rows)} target rows"
        )
    else:
        done = "all rows were tested, since the copies lie as chance or few values would lay them"
    return [f"{'; '.join(counts)}: {done}."]


def _of_the_kind(words: Words) -> list[str]:
    if words.kind == "no shift found" or words.mixture is None or words.proportions is None:
        return []
    mixture, proportions = words.mixture, words.proportions
    p_mixture, p_proportions = p_text(mixture.test.p_value), p_text(proportions.p_value)
    if mixture.test.rejects(words.level):
        sentences = [f"No proportions of the source's classes make the target ({p_mixture}): p(x | y) has changed."]
    else:
        sentences = [
            f"The target passes for the source's classes in other proportions ({p_mixture} against it): there is no "
            "sign that the classes look different."
        ]
    if proportions.p_value > words.level:
        sentences.append(f"The classes are predicted about as often in both domains ({p_proportions}).")
        return sentences
    share = ""
    if mixture.test.rejects(words.level) and math.isfinite(mixture.explained):
        part = f"{100 * min(1.0, max(0.0, mixture.explained)):.0f} %"
        share = f"; the best proportions explain {part} of the squared distance of the domains"
    sentences.append(f"The classes are predicted in other proportions ({p_proportions}){share}.")
    return sentences


def _sure(words: Words) -> list[str]:
    percent, smallest = f"{100 * words.level:g} in 100", min(words.adjusted)
    how = f"p-values are corrected for {len(words.tests)} tests (Holm)"
    if words.kind == "no shift found":
        return [
            f"A false alarm happens in at most {percent} cases without a shift; {how}.",
            f"That none was found is no proof: {words.rows[0]} + {words.rows[1]} rows leave small shifts unseen.",
        ]
    strength = "Very sure" if smallest <= words.level / 3 else "Sure" if smallest <= words.level / 1.5 else "Not sure"
    sentences = [
        f"{strength} that there is a shift: {p_text(smallest)}, and at most {words.level:g} counts as one; {how}."
    ]
    if words.kind == "label":
        sentences.append(
            "That nothing but the proportions differs is what the tests did not contradict, no proof: a small change "
            "of p(x | y) may hide behind it."
        )
    if words.kind == "covariate":
        sentences.append("The kind has a test of its own at the same level, which holds approximately.")
    if words.kind == "both":
        sentences.append(
            "That the classes look different is tested; that their proportions differ is an indication only, since a "
            "classifier that errs on the target sees other proportions too."
        )
    if words.fewest is not None and words.fewest < FEW_ROWS and words.mixture is not None:
        sentences.append(
            f"The smallest class has {words.fewest} source rows: the kind is less sure than the level says."
        )
    return sentences


def _undecided(words: Words) -> list[str]:
    found = []
    if words.kind == "no shift found":
        found.append(
            "A change of how features depend on each other, their means and spreads staying: the classifier test sees "
            "differences of the means alone, and the kernel test needs many rows for it. classifier_test(source, "
            'target, classifier="random-features") looks for that.'
        )
    elif words.kind in ("covariate", "both"):
        found.append(
            "The target's true class proportions, and whether p(y | x) has changed: both need labels of the target. "
            "The estimated proportions assume that classes look the same, which they do not."
        )
    elif words.kind == "label":
        found.append(
            "Whether another shift has just the effect of other proportions: without target labels the two look alike."
        )
    elif words.kind == "shift of unknown kind":
        why = "the tests of the kind found nothing" if words.labelled else "there are no labels of the source"
        if words.many is not None:
            why = f"the source has more than {words.many} classes, which the mixture test does not take"
        found.append(f"Whether the classes look different, occur in other proportions, or both: {why}.")
    if words.lopsided is not None:
        share, names = words.lopsided
        what = "one feature" if len(names) == 1 else f"{len(names)} features"
        found.append(
            f"What happens in most features: {100 * share:.0f} % of the variance is of {what}, {_and(list(names))}. "
            "Scale the columns, for example by their standard deviations in the source, and look again."
        )
    if words.proportions is not None and words.kind != "no shift found":
        whose = "a classifier learned on half of the source rows" if words.own_classifier else "the given logits"
        if words.proportions.condition > ILL_CONDITIONED:
            found.append(f"The class proportions in detail: {whose} confuses the classes too often.")
    return found


def _and(names: list[str]) -> str:
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
