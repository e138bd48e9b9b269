"""What the scikit-learn estimators share: which rows are source, which are target, and how a transformer moves them."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .sparse import is_sparse, stack_sparse

__all__ = ["AdaptingTransformer", "pack", "source_mask"]

STRINGS = "UT"  # numpy's kinds of them

T = TypeVar("T", bound="AdaptingTransformer")


def source_mask(
    function: str,
    samples: int,
    y: ArrayLike | None = None,
    sample_domain: ArrayLike | None = None,
    *,
    classifier: bool | None = None,
) -> NDArray[np.bool_]:
    """Which rows are source, by the one rule that all estimators follow.

    An explicit ``sample_domain`` alone decides: positive is source, negative is target, and ``y`` is not read. Without
    it, ``y == -1`` marks the target (an empty string, where all labels are strings), as :func:`pack` writes it, if
    ``y`` holds class labels and at least two other classes are there: in {-1, 1} both are labels. Otherwise every row
    is source.

    Args:
        function: the name of the caller, which opens every message.
        samples: how many rows there are, n.
        y: labels, (n,), or None.
        sample_domain: (n,) numbers other than 0, or None.
        classifier: whether ``y`` holds class labels. None, for a transformer, which is not told: integers, strings and
            objects are taken for classes, floating-point numbers are not.

    Returns:
        (n,) booleans, True for source rows.

    Raises:
        TypeError: for a ``sample_domain`` that is not made of numbers (booleans do not say which domain they mean).
        ValueError: for a wrong length, or a ``sample_domain`` of 0 or NaN.

    >>> source_mask("fit", 4, y=[0, 1, -1, -1]).tolist()
    [True, True, False, False]
    >>> source_mask("fit", 4, y=[-1, 1, -1, 1]).tolist()
    [True, True, True, True]
    >>> source_mask("fit", 3, y=["cat", "dog", ""]).tolist()
    [True, True, False]
    """
    if sample_domain is not None:
        return _explicit(function, samples, sample_domain)
    everything = np.ones(samples, dtype=np.bool_)
    if y is None or classifier is False:
        return everything
    labels = _column(function, "y", samples, y)
    if labels.dtype.kind not in STRINGS + ("iO" if classifier is None else "ifO"):
        return everything  # unsigned numbers are never -1
    words = labels.dtype.kind in STRINGS or all(isinstance(label, str) for label in labels)
    source = np.asarray(labels != ("" if words else -1), dtype=np.bool_)
    return source if len(set(labels[source].tolist())) >= 2 else everything


def _explicit(function: str, samples: int, sample_domain: ArrayLike) -> NDArray[np.bool_]:
    domain = _column(function, "sample_domain", samples, sample_domain)
    if domain.dtype.kind not in "if":
        raise TypeError(
            f"{function} needs sample_domain as signed numbers, positive for source and negative for target rows; got "
            f"{domain.dtype}. Use np.where(is_source, 1, -1)."
        )
    neither = np.flatnonzero(~((domain > 0) | (domain < 0)))
    if neither.size:
        raise ValueError(
            f"{function} needs sample_domain positive for source and negative for target rows; got "
            f"{domain[neither[0]]} in {neither.size} rows, the first is row {neither[0]}."
        )
    return np.asarray(domain > 0, dtype=np.bool_)


def _column(function: str, name: str, samples: int, values: ArrayLike) -> NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (samples,):
        raise ValueError(
            f"{function} needs one entry of {name} for each row of X, shape ({samples},); got {column.shape}."
        )
    return column


def pack(Xs: ArrayLike, ys: ArrayLike, Xt: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Put two domains into the one ``X, y, sample_domain`` that the estimators take.

    Args:
        Xs: source samples, (n_s, ...); a sparse matrix of scipy or torch stays sparse, as scipy's compressed rows.
        ys: source labels or values, (n_s,).
        Xt: target samples, (n_t, ...), each of the shape of a source sample.

    Returns:
        ``X`` (n_s + n_t, ...), source rows first; ``y`` (n_s + n_t,), which for target rows holds -1 (integers), NaN
        (floating point) or an empty string, and is never read there; ``sample_domain`` (n_s + n_t,), 1 and -1.

    Raises:
        ValueError: if the shapes do not fit, or a domain is empty.

    >>> X, y, sample_domain = pack([[1.0], [2.0]], [0, 1], [[5.0]])
    >>> X.ravel().tolist(), y.tolist(), sample_domain.tolist()
    ([1.0, 2.0, 5.0], [0, 1, -1], [1, 1, -1])
    """
    if is_sparse(Xs) or is_sparse(Xt):
        stacked, n_s, n_t = stack_sparse("pack", Xs, Xt)
        return (stacked, *pack(np.zeros((n_s, 1)), ys, np.zeros((n_t, 1)))[1:])
    source, target = np.asarray(Xs), np.asarray(Xt)
    if source.ndim < 2 or target.ndim < 2 or source.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"pack needs Xs and Xt of shapes (samples, features) with the same features; got {source.shape} and "
            f"{target.shape}."
        )
    if not len(source) or not len(target):
        raise ValueError(f"pack needs samples of both domains; got Xs {source.shape} and Xt {target.shape}.")
    labels = np.asarray(ys)
    if labels.shape != source.shape[:1]:
        raise ValueError(
            f"pack needs one entry of ys for each row of Xs, shape ({len(source)},); got {labels.shape}. "
            "Target rows have no labels here."
        )
    if labels.dtype.kind in "bu":
        labels = labels.astype(np.int64)  # -1 has to fit in
    unknown: Any = {"f": np.nan, **dict.fromkeys(STRINGS, "")}.get(labels.dtype.kind, -1)
    y = np.concatenate([labels, np.full(len(target), unknown, dtype=labels.dtype)])
    domain = np.repeat(np.array([1, -1], dtype=np.int64), [len(source), len(target)])
    return np.concatenate([source, target]), y, domain


class AdaptingTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn transformer that moves source rows to where the target is, and leaves target rows alone.

    A subclass writes ``_check_settings``, ``_adapt`` and ``_move``. Parameters are stored as given and checked by
    ``fit``. Where scikit-learn's metadata routing is on, ``sample_domain`` is requested without being asked to
    (``set_fit_request`` and ``set_transform_request`` with ``sample_domain=False`` decline it).

    Attributes:
        adapted_: False if ``fit`` saw no target row, and the transformer is the identity.
        n_features_in_: the number of features seen by ``fit``.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"sample_domain": True}

    adapted_: bool
    n_features_in_: int

    def fit(self: T, X: ArrayLike, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None) -> T:
        """Learn the move from the source rows to the target rows.

        Args:
            X: rows of both domains in any order, (n, d).
            y: (n,), or None; that of target rows is not read. See :func:`source_mask` for what -1 means.
            sample_domain: (n,), positive for source and negative for target rows; decides alone where it is given.

        Raises:
            TypeError, ValueError: for wrong settings or data, or if no row is source.
        """
        self._fit(X, y, sample_domain)
        return self

    def transform(self, X: ArrayLike, sample_domain: ArrayLike | None = None) -> NDArray[Any]:
        """The rows as the target sees them: target rows unchanged, source rows moved.

        Args:
            X: (n, d).
            sample_domain: (n,), positive for source and negative for target rows; None: all are target rows.

        Returns:
            A new array, (n, d), rows in the order of ``X``.
        """
        check_is_fitted(self)
        X = _validate(self, X, reset=False)
        out: NDArray[Any] = X.copy()
        if sample_domain is not None:
            source = _explicit(f"{type(self).__name__}.transform", len(X), sample_domain)
            if self.adapted_ and source.any():
                out[source] = self._move(X[source])
        return out

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Fit, and return the rows of ``X`` with the source rows moved; arguments as in :meth:`fit`."""
        X, source = self._fit(X, y, sample_domain)
        out: NDArray[Any] = X.copy()
        if self.adapted_:
            out[source] = self._move_fitted(X[source])
        return out

    def _fit(
        self, X: ArrayLike, y: ArrayLike | None, sample_domain: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        name = f"{type(self).__name__}.fit"
        self._check_settings()
        for learned in [key for key in vars(self) if key.endswith("_") and not key.startswith("_")]:
            delattr(self, learned)  # nothing of an earlier fit may be taken for a result of this one
        X = _validate(self, X, reset=True)
        source = source_mask(name, len(X), y, sample_domain)
        if not source.any():
            raise ValueError(
                f"{name} needs source rows; got sample_domain negative for all {len(X)} rows. "
                "Positive marks source, negative target."
            )
        labels = None if y is None else _column(name, "y", len(X), y)[source]
        self.adapted_ = bool(not source.all())
        if self.adapted_:
            self._adapt(X[source], X[~source], labels)
        else:
            warnings.warn(
                f"{name} found no target rows among {len(X)}, so {type(self).__name__} is the identity. Mark them by "
                "negative entries of sample_domain (landbridge.pack(Xs, ys, Xt) makes it), or by y == -1 beside at "
                "least two integer classes ('' beside two strings).",
                UserWarning,
                stacklevel=3,
            )
        return X, source

    def _check_settings(self) -> None:
        """Raise for parameters that are wrong, whatever the data."""

    def _adapt(self, source: NDArray[Any], target: NDArray[Any], labels: NDArray[Any] | None) -> None:
        """Learn from (n_s, d) source rows, (n_t, d) target rows and (n_s,) source labels, if there are any."""
        raise NotImplementedError(f"{type(self).__name__} has to say what it learns: write _adapt()")

    def _move(self, source: NDArray[Any]) -> NDArray[Any]:
        """Move (n, d) source rows, seen by ``fit`` or new."""
        raise NotImplementedError(f"{type(self).__name__} has to say how source rows move: write _move()")

    def _move_fitted(self, source: NDArray[Any]) -> NDArray[Any]:
        """Move the very source rows that ``fit`` saw, in their order."""
        return self._move(source)


def _validate(estimator: AdaptingTransformer, X: ArrayLike, *, reset: bool) -> NDArray[Any]:
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn before 1.6
        checked: NDArray[Any] = estimator._validate_data(X, reset=reset, dtype=[np.float64, np.float32])
    else:
        checked = validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32])
    return checked
