"""scikit-learn pipelines of two domains: a step that learns from the source alone, and domains for every step."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeVar

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.pipeline import make_pipeline as _make_pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted

from .callers import outside
from .estimator import labelled_rows, source_mask
from .learners import refuse_learners

__all__ = ["AdaptingPipeline", "OnSource", "make_pipeline"]

O = TypeVar("O", bound="OnSource")  # noqa: E741
P = TypeVar("P", bound="AdaptingPipeline")
F = TypeVar("F", bound=Callable[..., Any])
METHODS = ("fit", "transform", "predict", "predict_proba", "predict_log_proba", "decision_function", "score")
WITHOUT = (*METHODS[1:], "inverse_transform")  # where a fitted pipeline may do without domains


def _where_inner_has(name: str) -> Callable[[F], F]:
    """A method that is there where the estimator has one of this name."""

    def check(self: OnSource) -> bool:
        getattr(self.__dict__.get("estimator_", self.estimator), name)  # its AttributeError says what is missing
        return True

    decorator: Callable[[F], F] = available_if(check)
    return decorator


class OnSource(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn estimator fitted on the source rows alone: behind a transformer that knows both domains.

    A plain classifier would take the target's -1 for one more class. Which rows are source is decided as by all
    estimators here, see :func:`~landbridge.shared.estimator.source_mask`: by ``sample_domain`` alone where it is given,
    else, for a classifier, by y == -1 (an empty string, of strings) beside at least two other classes. Without target
    rows it is the plain estimator, with a warning. All else is handed on to the fitted estimator.

    Args:
        estimator: a classifier, regressor or transformer; a copy of it is fitted.

    Attributes:
        estimator_: the fitted copy.
        classes_, n_features_in_, feature_names_in_: its own, where it has them.

    Raises:
        ValueError: by ``fit``, if no row is source.

    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y, sample_domain = lb.pack([[0.0], [1.0]], [0, 1], [[5.0]])
    >>> OnSource(LogisticRegression()).fit(X, y, sample_domain).classes_.tolist()
    [0, 1]
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"sample_domain": True}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self: O, X: Any, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None, **params: Any) -> O:
        """Fit a copy of the estimator on the source rows.

        Args:
            X: rows of both domains in any order, (n, d).
            y: (n,), or None; that of target rows is not read.
            sample_domain: (n,), positive for source and negative for target rows; decides alone where it is given.
            params: handed to the estimator's ``fit``; of what has n entries, those of the source rows.
        """
        n = _num_samples(X)
        classifier = True if is_classifier(self.estimator) else False if is_regressor(self.estimator) else None
        source = source_mask("OnSource.fit", n, y, sample_domain, classifier=classifier)
        if not source.any():
            raise ValueError(
                f"OnSource.fit needs source rows; got sample_domain negative for all {n} rows, or NaN in all of y. "
                "Positive marks source, negative target."
            )
        if not source.all() and _is_pairwise(self.estimator):
            raise ValueError(
                f"OnSource.fit cannot cut a precomputed matrix of all rows to the source's; got "
                f"{type(self.estimator).__name__} with target rows. Pass the source's own matrix to the plain "
                "estimator, or let it compute the kernel."
            )
        if source.all():
            warnings.warn(
                f"OnSource.fit found no target rows among {n}, so it is the plain {type(self.estimator).__name__}. "
                "Mark them by negative entries of sample_domain (landbridge.pack(Xs, ys, Xt) makes it); for a "
                "classifier by y == -1 beside at least two classes, for a regressor by NaN. Folds of cross-validation "
                "that have none want to be shuffled.",
                UserWarning,
                stacklevel=outside(),
            )
        if params and sklearn.get_config()["enable_metadata_routing"]:
            params = dict(process_routing(self, "fit", **params).estimator.fit)
        rows = np.flatnonzero(source)
        params = {name: _some(value, rows, n) for name, value in params.items()}
        whole = source.all()  # then nothing is copied, and frames stay what they are
        Xs = X if whole else _safe_indexing(X, rows)
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(Xs, y if whole or y is None else _safe_indexing(y, rows), **params)
        return self

    @_where_inner_has("predict")
    def predict(self, X: Any) -> Any:
        """The fitted estimator's prediction for each row, whatever its domain."""
        return self._fitted().predict(X)

    @_where_inner_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Its class probabilities (n, k)."""
        return self._fitted().predict_proba(X)

    @_where_inner_has("predict_log_proba")
    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms (n, k)."""
        return self._fitted().predict_log_proba(X)

    @_where_inner_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """Its scores, (n,) or (n, k)."""
        return self._fitted().decision_function(X)

    @_where_inner_has("transform")
    def transform(self, X: Any) -> Any:
        """What it makes of each row."""
        return self._fitted().transform(X)

    @_where_inner_has("transform")
    def fit_transform(
        self, X: Any, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None, **params: Any
    ) -> Any:
        """Fit on the source rows, and transform all rows; arguments as in :meth:`fit`."""
        return self.fit(X, y, sample_domain, **params).transform(X)

    @_where_inner_has("score")
    def score(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        sample_domain: ArrayLike | None = None,
    ) -> float:
        """Its own score, of the rows that have a label.

        Rows that :func:`~landbridge.shared.estimator.labelled_rows` finds unlabelled, as ``pack`` marks the target's,
        are left out: what is scored is mostly the source then. ``label_free_scorer`` scores the target.

        Raises:
            ValueError: if no row has a label.
        """
        fitted = self._fitted()
        if y is not None and (is_classifier(fitted) or is_regressor(fitted)):
            n = _num_samples(X)
            classes = getattr(fitted, "classes_", None) if is_classifier(fitted) else None
            several = isinstance(classes, list)  # of each output
            kept = labelled_rows("OnSource.score", n, y, sample_domain, classes=None if several else classes)
            if not kept.all():
                rows = np.flatnonzero(kept)
                X, y, sample_weight = _safe_indexing(X, rows), _safe_indexing(y, rows), _some(sample_weight, rows, n)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(fitted.score(X, y, **weights))

    def get_metadata_routing(self) -> MetadataRouter:
        """``sample_domain`` is for OnSource itself; what else the estimator's ``fit`` requests goes through to it."""
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(self)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping()
                .add(caller="fit", callee="fit")
                .add(caller="fit_transform", callee="fit"),
            )
        )

    def __getattr__(self, name: str) -> Any:
        if name not in ("classes_", "n_features_in_", "feature_names_in_") or "estimator_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.estimator_, name)

    def _fitted(self) -> Any:
        check_is_fitted(self, "estimator_")
        return self.estimator_

    @property
    def _estimator_type(self) -> Any:  # scikit-learn before 1.6
        return getattr(self.estimator, "_estimator_type", None)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in ("estimator_type", "target_tags", "transformer_tags", "classifier_tags", "regressor_tags"):
            setattr(tags, name, getattr(inner, name))
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags


def _is_pairwise(estimator: Any) -> bool:
    try:
        from sklearn.utils import get_tags
    except ImportError:  # scikit-learn before 1.6
        return bool(estimator._get_tags().get("pairwise", False)) if hasattr(estimator, "_get_tags") else False
    return bool(get_tags(estimator).input_tags.pairwise)


def _some(value: Any, rows: NDArray[np.int64], n: int) -> Any:
    """The entries of some rows of what has one a row."""
    if value is None or np.isscalar(value) or isinstance(value, (str, dict)) or not hasattr(value, "__len__"):
        return value
    return _safe_indexing(value, rows) if len(value) == n else value


class AdaptingPipeline(Pipeline):  # type: ignore[misc]
    """scikit-learn's pipeline, whose methods take ``sample_domain`` and hand it to every step that wants it.

    Where ``sample_domain`` is given, metadata routing is on for the length of that call, and nowhere else. Without it
    this is scikit-learn's pipeline. A fitted pipeline of which no step asks for it (to predict, most need no domain)
    leaves it out. Fitting one whose steps would take the target's rows for labelled ones is an error, which names
    :class:`OnSource`. Made by :func:`make_pipeline`.
    """

    def fit(self: P, X: Any, y: ArrayLike | None = None, **params: Any) -> P:
        """Fit all steps in turn; ``sample_domain`` among the parameters goes to those that request it.

        Raises:
            TypeError: if there are target rows, and a step that would learn from their y.
        """
        refuse_learners("make_pipeline(...).fit", self.steps, X, y, params.get("sample_domain"))
        with _routing(params):
            super().fit(X, y, **params)
        return self


def _handed_on(name: str) -> Any:
    """A method of the pipeline, there if the pipeline's steps have it, with routing on where it is needed."""

    def check(self: AdaptingPipeline) -> bool:
        getattr(super(AdaptingPipeline, self), name)
        return True

    def method(self: AdaptingPipeline, X: Any, *args: Any, **params: Any) -> Any:
        if name.startswith("fit_"):
            given = args[0] if args else params.get("y")
            refuse_learners(f"make_pipeline(...).{name}", self.steps, X, given, params.get("sample_domain"))
        with _routing(params):
            if "sample_domain" in params and name in WITHOUT and not _asks(self, name):
                del params["sample_domain"]
            return getattr(super(AdaptingPipeline, self), name)(X, *args, **params)

    method.__name__, method.__qualname__ = name, f"AdaptingPipeline.{name}"
    method.__doc__ = f"``{name}`` of scikit-learn's pipeline, which also takes ``sample_domain``."
    return available_if(check)(method)


for _name in ("fit_transform", "fit_predict", "inverse_transform", "score_samples", *METHODS[1:]):
    setattr(AdaptingPipeline, _name, _handed_on(_name))


def _asks(pipeline: AdaptingPipeline, name: str) -> bool:
    """Whether a step requests ``sample_domain`` in this method, or might and has not said."""
    try:
        pipeline.get_metadata_routing().validate_metadata(method=name, params={"sample_domain": None})
    except TypeError:
        return False
    return True


def _routing(params: dict[str, Any]) -> AbstractContextManager[None]:
    if params.get("sample_domain", ...) is None:
        del params["sample_domain"]
    if "sample_domain" not in params:
        return nullcontext()
    context: AbstractContextManager[None] = sklearn.config_context(enable_metadata_routing=True)
    return context


def make_pipeline(*steps: Any, memory: Any = None, verbose: bool = False) -> AdaptingPipeline:
    """A scikit-learn pipeline that hands ``sample_domain`` to its steps, without any setting of scikit-learn's.

    The steps of this package request ``sample_domain`` by themselves. For other steps that take an argument of this
    name and have not been told what to do with it, the request is set here.

    Args:
        steps: estimators, the last of which predicts: as scikit-learn's ``make_pipeline`` takes them, with equal names.
        memory: where fitted transformers are cached; see there.
        verbose: whether the time of each step is printed.

    >>> from sklearn.svm import SVC
    >>> X, y, sample_domain = lb.pack([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], [[10.0], [11.0], [12.0], [13.0]])
    >>> pipeline = make_pipeline(lb.CORAL(match_means=True), OnSource(SVC())).fit(X, y, sample_domain=sample_domain)
    >>> pipeline.predict([[10.0], [13.0]]).tolist()
    [0, 1]
    """
    for step in steps:
        _preset(step)
    plain = _make_pipeline(*steps, memory=memory, verbose=verbose)
    return AdaptingPipeline(plain.steps, memory=memory, verbose=verbose)


def _preset(step: Any) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        for name in METHODS:
            method, setter = getattr(step, name, None), getattr(step, f"set_{name}_request", None)
            if method is None or setter is None or "sample_domain" not in inspect.signature(method).parameters:
                continue
            requests = getattr(step.get_metadata_routing(), name, None)
            if requests is not None and requests.requests.get("sample_domain") is None:
                setter(sample_domain=True)
