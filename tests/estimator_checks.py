"""Every estimator through scikit-learn's own checks: ``python tests/estimator_checks.py`` prints the list.

``test_estimator_checks.py`` asserts the same list. A check that is expected to fail has its reason here.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from typing import Any, NamedTuple

import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import landbridge as lb

__all__ = ["CASES", "Case", "Outcome", "can_run", "run"]

# few steps at a high rate, so that some hundred fits take seconds
QUICK: dict[str, Any] = {"steps": 25, "optimizer": lb.Optimizer(name="adam", lr=0.02), "device": "cpu"}
N_ITER = "no n_iter_: max_iter belongs to one solver of several, and POT's exact one does not tell its iterations"


class Case(NamedTuple):
    """An estimator, and the checks that it is expected to fail, with the reason."""

    estimator: Any
    expected: dict[str, str]


class Outcome(NamedTuple):
    """Of one check: ``passed``, ``failed``, ``skipped`` (by scikit-learn) or ``xfail`` (expected to fail, and does)."""

    check: str
    status: str
    reason: str


CASES = {
    "CORAL": Case(lb.CORAL(), {}),
    "OTDA exact": Case(lb.OTDA(), {"check_transformer_n_iter": N_ITER}),
    "OTDA sinkhorn": Case(lb.OTDA("sinkhorn"), {"check_transformer_n_iter": N_ITER}),
    "OTDA group_lasso": Case(lb.OTDA("group_lasso"), {"check_transformer_n_iter": N_ITER}),
    "DomainAdaptationClassifier": Case(lb.DomainAdaptationClassifier(**QUICK), {}),
    "DomainAdaptationRegressor": Case(lb.DomainAdaptationRegressor(**QUICK), {}),
    "OnSource(LogisticRegression)": Case(lb.OnSource(LogisticRegression()), {}),
    "OnSource(Ridge)": Case(lb.OnSource(Ridge()), {}),
    "OnSource(KNeighborsClassifier)": Case(lb.OnSource(KNeighborsClassifier()), {}),  # of several outputs
    "OnSource(MultinomialNB)": Case(lb.OnSource(MultinomialNB()), {}),  # of counts
    "OnSource(StandardScaler)": Case(lb.OnSource(StandardScaler()), {}),
}


def can_run() -> bool:
    """check_estimator of scikit-learn before 1.6 cannot be told of an expected failure."""
    return "expected_failed_checks" in inspect.signature(check_estimator).parameters


def run(name: str) -> list[Outcome]:
    """All checks of one case."""
    estimator, expected = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks know no domains: every fit warns that there is no target
        results = check_estimator(sklearn.clone(estimator), expected_failed_checks=expected, on_fail=None, on_skip=None)
    outcomes = []
    for result in results:
        status, reason = result["status"], ""
        if status == "xfail":
            reason = result["expected_to_fail_reason"]
        elif result["exception"] is not None:
            reason = f"{type(result['exception']).__name__}: {result['exception']}"
        outcomes.append(Outcome(result["check_name"], status, " ".join(reason.split())))
    return outcomes


def main() -> None:
    """Print every check of every estimator, and the counts."""
    if not can_run():
        raise SystemExit(f"the list needs scikit-learn 1.6 or newer; this is {sklearn.__version__}")
    print(f"scikit-learn {sklearn.__version__}")
    for name in CASES:
        outcomes = run(name)
        counts = Counter(outcome.status for outcome in outcomes)
        print(f"\n{name}: " + ", ".join(f"{number} {status}" for status, number in sorted(counts.items())))
        for check, status, reason in outcomes:
            print(f"  {status:<8}{check}" + (f"  ({reason})" if reason else ""))


if __name__ == "__main__":
    main()
