"""Importance weights: how much more likely a source row is under the target, by a classifier of the two domains."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["density_ratio"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation strengths tried, weakest classifier first
HELD_OUT = 5  # every fifth row of each domain chooses the strength, as in the papers' code
LARGEST_LOG_ODDS = 30.0  # e^30: beyond it a weight says nothing more, and float32 losses would overflow
ITERATIONS = 500


def density_ratio(source: NDArray[Any], target: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    r"""Importance weights of ``rows``: the ratio of the target's density to the source's.

    .. math:: w(x) = \frac{n_s}{n_t} \frac{p(\mathrm{target} \mid x)}{p(\mathrm{source} \mid x)}

    with p from a logistic regression on features standardised by both domains together, trained on four fifths of the
    rows of each domain; the other fifth chooses its l2 strength among five by the log loss (the papers' code trains a
    small network and chooses its weight decay by accuracy; probabilities are what is used here). Which rows are held
    out depends on their values, not on their order, so that permuted rows give the same weights.

    Args:
        source: features of source training rows, (n_s, d).
        target: features of target rows, (n_t, d).
        rows: features of the source rows to be weighed, (n, d): held out, or the weights are optimistic.

    Returns:
        (n,) positive weights, 1 on average over the source if the classifier is right; at most e^30 n_s / n_t.

    Raises:
        ValueError: if a domain has fewer than 10 rows, or the feature sizes differ.

    Source: Bickel, Bruckner, Scheffer, Discriminative Learning for Differing Training and Test Distributions, ICML
    2007; You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019.

    >>> same = np.random.default_rng(0).normal(size=(200, 3))
    >>> density_ratio(same, same, same[:4]).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if min(len(source), len(target)) < 2 * HELD_OUT:
        raise ValueError(
            f"density_ratio needs at least {2 * HELD_OUT} rows of each domain; got {len(source)} of the source and "
            f"{len(target)} of the target."
        )
    if not source.shape[1] == target.shape[1] == rows.shape[1]:
        raise ValueError(
            f"density_ratio needs features of one size; got source {source.shape}, target {target.shape} and rows "
            f"{rows.shape}."
        )
    both = np.concatenate([source, target], dtype=np.float64)
    mean, spread = both.mean(0), both.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    fitting, choosing = zip(_parts((source - mean) / spread), _parts((target - mean) / spread), strict=True)
    weights = _fit(*_joined(*fitting), choosing=_joined(*choosing))
    log_odds = ((rows - mean) / spread) @ weights[:-1] + weights[-1]  # (n,)
    n_s, n_t = len(fitting[0]), len(fitting[1])
    return np.asarray(n_s / n_t * np.exp(np.minimum(log_odds, LARGEST_LOG_ODDS)), dtype=np.float64)


def _parts(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Four fifths to fit and one fifth to choose by, drawn by the rows' values."""
    rows = rows[np.lexsort((rows[:, 0], rows.sum(1)))]
    held_out = np.arange(len(rows)) % HELD_OUT == HELD_OUT // 2
    return rows[~held_out], rows[held_out]


def _joined(source: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])


def _fit(
    x: NDArray[np.float64], y: NDArray[np.int64], *, choosing: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Coefficients (d + 1,), the last one the intercept, of the regression with the least log loss on ``choosing``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    best, least = np.zeros(x.shape[1] + 1), np.inf
    model = LogisticRegression(max_iter=ITERATIONS, warm_start=True)  # each strength starts where the last one ended
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a classifier that has not converged is a weaker one
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(x, y)
            log_odds = choosing[0] @ model.coef_[0] + model.intercept_[0]
            loss = float(np.logaddexp(0, np.where(choosing[1] == 1, -log_odds, log_odds)).mean())
            if loss < least:
                best, least = np.append(model.coef_[0], model.intercept_[0]), loss
    return best
