"""Power of the two-sample tests against the size of the shift: python benchmarks/speed/power.py

The share of trials in which each test rejects "no shift" at level 0.05, beside what scipy and scikit-learn offer: for
one feature scipy's ks_2samp, cramervonmises_2samp, mannwhitneyu and permutation_test of energy_distance; for many
features a logistic regression of scikit-learn's, by the binomial distribution on a held-out half (the classifier test
of Lopez-Paz and Oquab), and with --slow by permutation_test_score. At size 0 the share is that of false alarms. The
same trials for every test; one thread.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landbridge.diagnostics import classifier_test, energy_test, feature_shift, kernel_test

Rows = NDArray[np.float64]
PValue = Callable[[Rows, Rows, int], float]
LEVEL = 0.05
PERMUTATIONS = 199


def moved(chance: np.random.Generator, n: int, d: int, size: float) -> tuple[Rows, Rows]:
    """All means moved a little, together by ``size`` standard deviations."""
    return chance.normal(size=(n, d)), chance.normal(size=(n, d)) + size / math.sqrt(d)


def moved_once(chance: np.random.Generator, n: int, d: int, size: float) -> tuple[Rows, Rows]:
    """The mean of one feature moved by ``size`` standard deviations."""
    target = chance.normal(size=(n, d))
    target[:, 0] += size
    return chance.normal(size=(n, d)), target


def spread(chance: np.random.Generator, n: int, d: int, size: float) -> tuple[Rows, Rows]:
    """Every standard deviation multiplied by 1 + ``size``."""
    return chance.normal(size=(n, d)), (1 + size) * chance.normal(size=(n, d))


def correlated(chance: np.random.Generator, n: int, d: int, size: float) -> tuple[Rows, Rows]:
    """Neighbouring features correlated by ``size``; each alone has not changed."""
    target = chance.normal(size=(n, d))
    target[:, 1::2] = size * target[:, 0:-1:2] + math.sqrt(1 - size**2) * target[:, 1::2]
    return chance.normal(size=(n, d)), target


PROBLEMS: list[tuple[str, Any, int, int, tuple[float, ...]]] = [  # title, what is drawn, rows, features, sizes
    ("mean, 1 feature", moved, 100, 1, (0.0, 0.2, 0.4, 0.6)),
    ("spread, 1 feature", spread, 100, 1, (0.0, 0.2, 0.4, 0.8)),
    ("mean of all, 20 features", moved, 100, 20, (0.0, 0.4, 0.8, 1.2)),
    ("mean of one, 20 features", moved_once, 100, 20, (0.0, 0.3, 0.6, 0.9)),
    ("spread, 20 features", spread, 100, 20, (0.0, 0.05, 0.1, 0.2)),
    ("correlation, 20 features", correlated, 100, 20, (0.0, 0.3, 0.6, 0.9)),
    ("mean of all, 200 features", moved, 50, 200, (0.0, 1.0, 2.0, 3.0)),
]


def ours(test: Callable[..., Any], x: Rows, y: Rows, seed: int, **settings: Any) -> float:
    return float(test(x, y, permutations=PERMUTATIONS, seed=seed, **settings).p_value)


def features(x: Rows, y: Rows, seed: int) -> float:
    return feature_shift(x, y).p_value


def scipys(name: str, x: Rows, y: Rows, seed: int) -> float:
    from scipy import stats

    return float(getattr(stats, name)(x[:, 0], y[:, 0]).pvalue)


def scipys_energy(x: Rows, y: Rows, seed: int) -> float:
    from scipy import stats

    return float(
        stats.permutation_test(
            (x[:, 0], y[:, 0]),
            stats.energy_distance,
            n_resamples=PERMUTATIONS,
            alternative="greater",
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def held_out_half(x: Rows, y: Rows, seed: int) -> float:
    from scipy.stats import binomtest
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    rows, domain = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    train, test, of_train, of_test = train_test_split(rows, domain, test_size=0.5, stratify=domain, random_state=seed)
    right = int((LogisticRegression(max_iter=1000).fit(train, of_train).predict(test) == of_test).sum())
    return float(binomtest(right, len(of_test), 0.5, alternative="greater").pvalue)


def permuted_scores(x: Rows, y: Rows, seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, permutation_test_score

    rows, domain = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    return float(
        permutation_test_score(
            LogisticRegression(max_iter=1000),
            rows,
            domain,
            cv=StratifiedKFold(5, shuffle=True, random_state=seed),
            n_permutations=PERMUTATIONS,
            random_state=seed,
        )[2]
    )


EVERYWHERE: dict[str, PValue] = {
    "kernel test": partial(ours, kernel_test),
    "kernel test, random features": partial(ours, kernel_test, estimator="random-features"),
    "kernel test, linear": partial(ours, kernel_test, estimator="linear"),
    "energy test": partial(ours, energy_test),
    "energy test, random projections": partial(ours, energy_test, estimator="random-projections"),
    "classifier test": partial(ours, classifier_test),
    "classifier test, accuracy": partial(ours, classifier_test, score="accuracy"),
    "classifier test, random features": partial(ours, classifier_test, classifier="random-features"),
    "feature shift (Holm)": features,
}
ONE_FEATURE: dict[str, PValue] = {
    "scipy ks_2samp": partial(scipys, "ks_2samp"),
    "scipy cramervonmises_2samp": partial(scipys, "cramervonmises_2samp"),
    "scipy mannwhitneyu": partial(scipys, "mannwhitneyu"),
    "scipy energy_distance, permuted": scipys_energy,
}
MANY_FEATURES: dict[str, PValue] = {"scikit-learn logistic, held-out half": held_out_half}
SLOW: dict[str, PValue] = {"scikit-learn permutation_test_score": permuted_scores}  # a second a trial


def main() -> None:
    parser = argparse.ArgumentParser(description="Power of the two-sample tests, beside scipy's and scikit-learn's.")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--slow", action="store_true", help="also scikit-learn's permutation_test_score")
    parser.add_argument("--only", default="", help="a word that the title of a problem must hold")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    error = math.sqrt(0.25 / arguments.trials)
    print(f"share of {arguments.trials} trials rejected at {LEVEL} (standard error at most {error:.3f})")
    for title, draw, n, d, sizes in PROBLEMS:
        if arguments.only not in title:
            continue
        tests = EVERYWHERE | (ONE_FEATURE if d == 1 else MANY_FEATURES | (SLOW if arguments.slow else {}))
        print(f"\n{title}, n = m = {n}; size of the shift:")
        print(f"{'':<38}" + "".join(f"{size:>8g}" for size in sizes) + f"{'ms':>8}")
        for name, test in tests.items():
            start, shares = time.perf_counter(), []
            for size in sizes:
                pairs = [draw(np.random.default_rng([trial, n, d]), n, d, size) for trial in range(arguments.trials)]
                shares.append(np.mean([test(x, y, trial) <= LEVEL for trial, (x, y) in enumerate(pairs)]))
            each = (time.perf_counter() - start) / (arguments.trials * len(sizes)) * 1000
            print(f"{name:<38}" + "".join(f"{share:>8.2f}" for share in shares) + f"{each:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
