"""Validators as scikit-learn scorers: what GridSearchCV can choose by without target labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from .checks import nearest
from .estimator import source_mask
from .validators import DEFAULT_VALIDATOR, VALIDATORS, Outputs, Stored

__all__ = ["LabelFreeScorer", "label_free_scorer", "one_against_one"]

LABEL_FREE = [
    name for name, validator in VALIDATORS.items() if not validator.needs_holdout and not validator.reads_features
]


class LabelFreeScorer(BaseEstimator):  # type: ignore[misc]
    """Scores an estimator by its predictions on target rows, of whose labels nothing is read; higher is better.

    Called as ``scorer(estimator, X, y, sample_domain=None)``. The target rows are those with a negative
    ``sample_domain``, or, without it, with y == -1 (an empty string, of strings) beside at least two other classes.
    Their class probabilities come from ``predict_proba``; an estimator without one gives ``decision_function``, whose
    values are taken for logits: (0, z) for two classes, and by :func:`one_against_one` where they are of pairs of
    classes. Made by :func:`label_free_scorer`.

    Args:
        name: of the validator.
    """

    __metadata_request__score: ClassVar[dict[str, bool]] = {"sample_domain": True}

    def __init__(self, name: str = DEFAULT_VALIDATOR) -> None:
        self.name = name

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None
    ) -> float:
        target = ~source_mask("label_free_scorer", _num_samples(X), y, sample_domain, classifier=True)
        if not target.any():
            raise ValueError(
                f"label_free_scorer found no target rows among {len(target)}. Mark them by y == -1 ('' of strings) "
                "beside at least two other classes in y; or by sample_domain, which scikit-learn hands to a scorer "
                "only with metadata routing on: sklearn.set_config(enable_metadata_routing=True). If they are marked, "
                "this fold of cross-validation has none: shuffle the folds, as StratifiedKFold(shuffle=True) does."
            )
        logits = _logits(estimator, _safe_indexing(X, np.flatnonzero(target)))
        nothing = Stored(logits[:0], logits[:0], np.zeros(0, dtype=np.int64))
        return VALIDATORS[self.name].score(Outputs(nothing, None, Stored(logits, logits)))

    def score(self, *arguments: Any, **keywords: Any) -> float:
        """The same; metadata routing asks a scorer for a method of this name."""
        return self(*arguments, **keywords)


def _logits(estimator: Any, X: Any) -> NDArray[np.float64]:
    if hasattr(estimator, "predict_proba"):
        p = estimator.predict_proba(X)
        _check_matrix(estimator, "predict_proba", p)
        return np.log(np.clip(np.asarray(p, dtype=np.float64), np.finfo(np.float64).tiny, None))
    if not hasattr(estimator, "decision_function"):
        raise TypeError(
            f"label_free_scorer needs class probabilities or decision values; {type(estimator).__name__} has neither "
            "predict_proba nor decision_function. Use SVC(probability=True) or another classifier."
        )
    z = np.asarray(estimator.decision_function(X), dtype=np.float64)
    if z.ndim == 1:
        return np.stack([np.zeros_like(z), z], 1)
    _check_matrix(estimator, "decision_function", z)
    known = getattr(estimator, "classes_", None)
    k = z.shape[1] if known is None else len(known)
    pairs = k * (k - 1) // 2
    if z.shape[1] == pairs and (pairs != k or _is_one_against_one(estimator)):
        return one_against_one(z, k)
    if z.shape[1] != k:
        raise ValueError(
            f"label_free_scorer needs a decision value a class; {type(estimator).__name__} gives {z.shape[1]} columns "
            f"for {k} classes. Use a classifier with predict_proba."
        )
    return z


def _check_matrix(estimator: Any, method: str, values: Any) -> None:
    if isinstance(values, list) or np.ndim(values) != 2:
        raise ValueError(
            f"label_free_scorer needs one set of classes; {method} of {type(estimator).__name__} gives several "
            "outputs. Score one output at a time."
        )


def _is_one_against_one(estimator: Any) -> bool:
    """Whether decision values are of pairs, by the setting of the classifier within pipelines and searches."""
    while True:
        inner = getattr(estimator, "best_estimator_", getattr(estimator, "estimator_", None))
        steps = getattr(estimator, "steps", None)
        inner = steps[-1][1] if steps else inner
        if inner is None:
            return getattr(estimator, "decision_function_shape", None) == "ovo"
        estimator = inner


def one_against_one(z: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    r"""Scores of the classes by those of their pairs (0, 1), (0, 2), ..., (k - 2, k - 1).

    .. math:: s_a = \#\{b : a \text{ beats } b\} + \frac{c_a}{3 (|c_a| + 1)}, \qquad
        c_a = \sum_{b > a} z_{ab} - \sum_{b < a} z_{ba}

    where a beats b if :math:`z_{ab} \ge 0`: the votes, and between equal ones the sum of the values, squeezed to less
    than a third. It is what ``decision_function_shape="ovr"`` gives.

    Args:
        z: (n, k (k - 1) / 2), positive for the first class of the pair.
        k: how many classes there are.

    >>> one_against_one(np.array([[1.0, 1.0, -1.0]]), 3).round(2).tolist()  # 0 beats 1 and 2, 2 beats 1
    [[2.22, -0.22, 1.0]]
    """
    votes, confidence = np.zeros((len(z), k)), np.zeros((len(z), k))
    first, second = np.triu_indices(k, 1)
    for column, (a, b) in enumerate(zip(first, second, strict=True)):
        values = z[:, column]
        confidence[:, a] += values
        confidence[:, b] -= values
        votes[:, a] += values >= 0
        votes[:, b] += values < 0
    return np.asarray(votes + confidence / (3 * (np.abs(confidence) + 1)))


def label_free_scorer(name: str = DEFAULT_VALIDATOR) -> LabelFreeScorer:
    """A scorer for ``GridSearchCV(..., scoring=...)`` that reads no target label.

    Args:
        name: ``information-maximisation``, ``entropy``, ``nuclear-norm`` or ``soft-neighbourhood-density``: the
            validators that need target predictions and nothing else. Entropy alone is best for a collapsed model.

    Raises:
        ValueError: for another name, with the nearest.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> rng = np.random.default_rng(0)
    >>> Xs, ys, Xt = rng.normal(size=(60, 2)), np.arange(60) % 2, rng.normal(size=(60, 2)) + 1
    >>> X, y, sample_domain = lb.pack(Xs + 3 * ys[:, None], ys, Xt)
    >>> pipeline = lb.make_pipeline(lb.CORAL(), lb.OnSource(LogisticRegression()))
    >>> search = GridSearchCV(pipeline, {"coral__regularization": [0.1, 1.0]}, scoring=label_free_scorer())
    >>> search.fit(X, y, sample_domain=sample_domain).best_params_.keys()
    dict_keys(['coral__regularization'])
    """
    if name not in LABEL_FREE:
        raise ValueError("label_free_scorer: " + nearest("validator", name, LABEL_FREE))
    return LabelFreeScorer(name)
