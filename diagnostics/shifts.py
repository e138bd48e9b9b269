"""Which features shifted, and which classes: one test each, corrected for their number."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..shared.checks import nearest
from ..shared.seeds import derive_seed
from ..shared.style import GREY, INK, TARGET, axes, styled
from .copies import distinct_pair
from .inputs import as_classes, as_pair
from .results import TwoSampleTest
from .rows import is_whole
from .two_sample import energy_test, kernel_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ClassShift", "Correction", "FeatureShift", "adjusted_p_values", "class_shift", "feature_shift"]

Correction = Literal["holm", "benjamini-hochberg"]
Floats = NDArray[np.float64]

EXACT_ROWS = 1000  # of either domain: beyond, the exact p-values cost more than the asymptotic ones differ from them
COLUMNS = 64  # at once, in float64
LEAST_OF_CLASS = 5  # rows of a class that each domain must have


@dataclass(frozen=True, eq=False)
class FeatureShift:
    """How far each feature shifted by itself.

    Attributes:
        names: of the features, (d,).
        statistic: Kolmogorov and Smirnov's: the largest difference of the distribution functions, 0 to 1, (d,).
        p_values: of each feature by itself, (d,).
        adjusted: corrected for the number of features, (d,).
        mean_difference: target mean minus source mean, in pooled standard deviations (Cohen's d), (d,); 0 where
            neither mean nor values vary, inf where two constants differ.
        spread_ratio: the target's standard deviation over the source's, (d,); 1 where both are 0.
        correction: ``"holm"`` or ``"benjamini-hochberg"``.
        n_source: rows of the source that were tested.
        n_target: rows of the target.
        note: what was left out, if copies of rows were.
    """

    names: tuple[str, ...]
    statistic: Floats
    p_values: Floats
    adjusted: Floats
    mean_difference: Floats
    spread_ratio: Floats
    correction: Correction
    n_source: int
    n_target: int
    note: str = ""

    def shifted(self, level: float = 0.05) -> list[str]:
        """The features whose adjusted p-value is at most this level, the largest difference first."""
        return [self.names[i] for i in self._order() if self.adjusted[i] <= level]

    @property
    def p_value(self) -> float:
        """Of "no feature shifted": the smallest adjusted p-value."""
        return float(self.adjusted.min())

    def rows(self) -> list[dict[str, Any]]:
        """One record a feature, the largest difference first."""
        return [
            {
                "feature": self.names[i],
                "statistic": float(self.statistic[i]),
                "p_value": float(self.p_values[i]),
                "adjusted": float(self.adjusted[i]),
                "mean_difference": float(self.mean_difference[i]),
                "spread_ratio": float(self.spread_ratio[i]),
            }
            for i in self._order()
        ]

    @styled
    def plot(self, ax: Axes | None = None, *, most: int = 15, level: float = 0.05) -> Axes:
        """The features of the largest differences, as bars; those that pass the level after correction in colour."""
        order = self._order()[:most]
        ax = axes(ax, size=(4.6, 1.0 + 0.22 * len(order)))
        colours = [TARGET if self.adjusted[i] <= level else GREY for i in order]
        ax.barh(range(len(order)), self.statistic[order], color=colours)
        ax.set_yticks(range(len(order)), [self.names[i] for i in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.set_xlabel("largest difference of the distribution functions")
        count = int((self.adjusted <= level).sum())
        ax.set_title(f"{count} of {len(self.names)} features shifted, in colour\n{_said(self.correction, level)}")
        return ax

    def _order(self) -> list[int]:
        return [int(i) for i in np.argsort(-self.statistic, kind="stable")]


@dataclass(frozen=True, eq=False)
class ClassShift:
    """How far each class shifted by itself.

    Attributes:
        names: of the classes that both domains have rows enough of, (k,).
        tests: one a class.
        adjusted: their p-values, corrected for the number of classes, (k,).
        correction: ``"holm"`` or ``"benjamini-hochberg"``.
        skipped: the other classes, with the reason.
    """

    names: tuple[str, ...]
    tests: tuple[TwoSampleTest, ...]
    adjusted: Floats
    correction: Correction
    skipped: dict[str, str]

    def shifted(self, level: float = 0.05) -> list[str]:
        """The classes whose adjusted p-value is at most this level."""
        return [name for name, p in zip(self.names, self.adjusted, strict=True) if p <= level]

    @property
    def p_value(self) -> float:
        """Of "no class shifted": the smallest adjusted p-value."""
        return float(self.adjusted.min())

    def rows(self) -> list[dict[str, Any]]:
        """One record a class that was tested."""
        return [
            {
                "class": name,
                "statistic": test.statistic,
                "p_value": test.p_value,
                "adjusted": float(p),
                "n_source": test.n_source,
                "n_target": test.n_target,
            }
            for name, test, p in zip(self.names, self.tests, self.adjusted, strict=True)
        ]

    @styled
    def plot(self, ax: Axes | None = None, *, level: float = 0.05) -> Axes:
        """The statistic of each class, beside the middle 95% of its permutations; what passes the level in colour."""
        ax = axes(ax, size=(4.6, 1.2 + 0.24 * len(self.names)))
        for place, (test, p) in enumerate(zip(self.tests, self.adjusted, strict=True)):
            low, high = np.quantile(test.null, [0.025, 0.975])
            ax.plot([low, high], [place, place], color=GREY, linewidth=6, solid_capstyle="butt")
            ax.plot(test.statistic, place, "o", color=TARGET if p <= level else INK)
        ax.set_yticks(range(len(self.names)), self.names)
        ax.set_ylim(len(self.names) - 0.5, -0.5)
        ax.set_xlabel(f"{self.tests[0].name}; grey: 95% of permutations")
        count = len(self.shifted(level))
        ax.set_title(f"{count} of {len(self.names)} classes shifted, in colour\n{_said(self.correction, level)}")
        return ax


def feature_shift(
    source: Any, target: Any, *, names: Sequence[str] | None = None, correction: Correction = "holm"
) -> FeatureShift:
    r"""Kolmogorov and Smirnov's test of each feature, corrected for their number, with effect sizes.

    .. math:: D_j = \sup_u \left| F_j(u) - G_j(u) \right|

    p-values are scipy's: exact for up to 1000 rows of either domain, asymptotic beyond; both are for continuous
    features, and too large (safe) with ties. A shift of the features' dependence alone is not seen: that is what
    :func:`~landbridge.diagnostics.kernel_test` is for.

    Args:
        source: (n_s, d), an array or tensor; further dimensions are flattened.
        target: (n_t, d).
        names: of the features; ``feature 0`` and so on if left out.
        correction: ``"holm"`` bounds the chance of any false alarm among the features; ``"benjamini-hochberg"`` the
            expected share of false ones among those called shifted (for independent or positively dependent features),
            and finds more.

    Raises:
        TypeError: for objects, strings or complex numbers.
        ValueError: for fewer than two rows of a domain, differing feature sizes, NaN or inf, or too few names.

    Source: Massey, The Kolmogorov-Smirnov Test for Goodness of Fit (1951); Rabanser, Guennemann, Lipton, Failing
    Loudly, NeurIPS 2019, section 3, for its use against shift; Holm (1979); Benjamini and Hochberg (1995).

    >>> rows = np.random.default_rng(0).normal(size=(2, 100, 3))
    >>> feature_shift(rows[0], rows[1] + [0, 2, 0], names=["a", "b", "c"]).shifted()
    ['b']
    """
    x, y = as_pair("feature_shift", source, target)
    _check_correction("feature_shift", correction)
    if names is not None and len(names) != x.shape[1]:
        raise ValueError(f"feature_shift needs one name a feature, {x.shape[1]} of them; got {len(names)}.")
    x, y, note = distinct_pair(x, y)
    parts = [
        _by_feature(
            x[:, start : start + COLUMNS].double().cpu().numpy(), y[:, start : start + COLUMNS].double().cpu().numpy()
        )
        for start in range(0, x.shape[1], COLUMNS)
    ]
    statistic, p_values, mean_difference, spread_ratio = (np.concatenate(column) for column in zip(*parts, strict=True))
    return FeatureShift(
        names=tuple(map(str, names)) if names is not None else tuple(f"feature {j}" for j in range(x.shape[1])),
        statistic=statistic,
        p_values=p_values,
        adjusted=adjusted_p_values(p_values, correction),
        mean_difference=mean_difference,
        spread_ratio=spread_ratio,
        correction=correction,
        n_source=len(x),
        n_target=len(y),
        note=note,
    )


def class_shift(
    source: Any,
    source_classes: Any,
    target: Any,
    target_classes: Any,
    *,
    names: Sequence[str] | None = None,
    test: Literal["kernel", "energy"] = "kernel",
    correction: Correction = "holm",
    least: int = LEAST_OF_CLASS,
    permutations: int | None = None,
    seed: int = 0,
) -> ClassShift:
    """A two-sample test within each class, corrected for their number: which classes look different in the target?

    Needs classes of the target: its labels where they are known (for looking at a benchmark), or predictions, whose
    errors then shift the classes too: a test with predictions says what the classifier sees, not what the classes are.

    Args:
        source: (n_s, d), an array or tensor; further dimensions are flattened.
        source_classes: (n_s,) labels of any kind; with ``names`` class numbers from 0, or these names.
        target: (n_t, d).
        target_classes: (n_t,) likewise.
        names: of the classes, by number; the labels if left out.
        test: ``"kernel"`` or ``"energy"``.
        correction: ``"holm"`` or ``"benjamini-hochberg"``, see :func:`feature_shift`.
        least: rows of a class that each domain must have, at least 2; other classes are skipped, and listed.
        permutations: at least 19; left out: 40 for each class, and at least 200, so that a single shifted class can
            pass the correction at level 0.05 (p is at least 1 / (1 + permutations)).
        seed: each class draws from a stream of its own.

    Raises:
        TypeError, ValueError: as the tests; and if no class has rows enough in both domains.

    >>> rows, classes = np.random.default_rng(0).normal(size=(2, 60, 3)), np.arange(60) % 2
    >>> class_shift(rows[0], classes, rows[1] + 2 * classes[:, None], classes).shifted()
    ['1']
    """
    x, y = as_pair("class_shift", source, target)
    given = {"source_classes": (source_classes, len(x)), "target_classes": (target_classes, len(y))}
    named, numbers = as_classes("class_shift", given, names)
    of_source, of_target = numbers["source_classes"], numbers["target_classes"]
    _check_correction("class_shift", correction)
    tests: dict[str, Callable[..., TwoSampleTest]] = {"kernel": kernel_test, "energy": energy_test}
    if test not in tests:
        raise ValueError("class_shift: " + nearest("test", test, tests))
    if not is_whole(least) or least < 2:
        raise ValueError(f"class_shift needs least as a whole number, at least 2; got {least!r}.")
    if permutations is None:
        permutations = max(200, 40 * len(np.intersect1d(of_source, of_target)))
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"class_shift needs a name of its own for each of {len(named)} classes; got {twice!r} twice.")
    done: dict[str, TwoSampleTest] = {}
    skipped: dict[str, str] = {}
    for number in np.unique(np.concatenate([of_source, of_target])).tolist():
        here, there = np.flatnonzero(of_source == number), np.flatnonzero(of_target == number)
        if min(len(here), len(there)) < least:
            counts = f"{len(here)} rows in the source and {len(there)} in the target"
            skipped[named[number]] = f"{counts}; {least} are needed"
            continue
        own = derive_seed("class_shift", seed, number)
        done[named[number]] = tests[test](x[here], y[there], permutations=permutations, seed=own)
    if not done:
        raise ValueError(
            f"class_shift needs a class with at least {least} rows in both domains; got "
            + "; ".join(f"class {name}: {why}" for name, why in list(skipped.items())[:5])
            + "."
        )
    adjusted = adjusted_p_values([result.p_value for result in done.values()], correction)
    return ClassShift(tuple(done), tuple(done.values()), adjusted, correction, skipped)


def adjusted_p_values(p_values: Sequence[float] | Floats, correction: Correction = "holm") -> Floats:
    r"""p-values corrected for their number: compare them with the level as if there were but one.

    With the p-values in rising order, of m tests:

    .. math:: \text{Holm:}\ \max_{j \le i} \min(1, (m - j + 1) p_{(j)}), \qquad
        \text{Benjamini-Hochberg:}\ \min_{j \ge i} \min(1, \tfrac m j p_{(j)})

    Args:
        p_values: (m,), 0 to 1.
        correction: ``"holm"`` (chance of any false alarm, under any dependence) or ``"benjamini-hochberg"`` (share of
            false ones among the alarms, for independent or positively dependent tests).

    Raises:
        ValueError: for p-values outside 0 to 1, or an unknown correction.

    Source: Holm, Scand. J. Statistics 6 (1979); Benjamini and Hochberg, J. Royal Statist. Soc. B 57 (1995).

    >>> adjusted_p_values([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    >>> adjusted_p_values([0.01, 0.04, 0.03], "benjamini-hochberg").tolist()
    [0.03, 0.04, 0.04]
    """
    _check_correction("adjusted_p_values", correction)
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or len(p) == 0 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"adjusted_p_values needs p-values between 0 and 1 in one dimension; got {p_values!r}.")
    order = np.argsort(p, kind="stable")
    m = len(p)
    if correction == "holm":
        rising = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    else:
        rising = np.minimum.accumulate((p[order] * m / np.arange(1, m + 1))[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(rising, 1.0)
    return adjusted


def _said(correction: Correction, level: float) -> str:
    kind = "false alarms" if correction == "holm" else "share of false ones"
    return f"{kind} at most {level:g} ({correction})"


def _by_feature(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Statistic, p-value, standardised difference of the means and ratio of the spreads of some columns, (d,) each."""
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "switching to asymp", where the exact count fails
        result = ks_2samp(x, y, axis=0, method="exact" if max(len(x), len(y)) <= EXACT_ROWS else "asymp")
    n_s, n_t = len(x), len(y)
    (mean_source, of_source), (mean_target, of_target) = _moments(x), _moments(y)
    pooled = np.sqrt(((n_s - 1) * of_source + (n_t - 1) * of_target) / (n_s + n_t - 2))
    return (
        np.asarray(result.statistic, dtype=np.float64),
        np.asarray(result.pvalue, dtype=np.float64),
        _ratio(mean_target - mean_source, pooled, none=0.0),
        _ratio(np.sqrt(of_target), np.sqrt(of_source), none=1.0),
    )


def _moments(rows: Floats) -> tuple[Floats, Floats]:
    """Means and unbiased variances, (d,) each; of a constant exactly itself and 0."""
    constant = np.ptp(rows, axis=0) == 0
    return np.where(constant, rows[0], rows.mean(0)), np.where(constant, 0.0, rows.var(0, ddof=1))


def _ratio(above: Floats, below: Floats, *, none: float) -> Floats:
    """Quotients; of 0 by 0 it is ``none``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), none, above / below)


def _check_correction(function: str, correction: str) -> None:
    if correction not in get_args(Correction):
        raise ValueError(f"{function}: " + nearest("correction", correction, get_args(Correction)))
