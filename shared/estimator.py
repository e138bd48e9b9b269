"""What the scikit-learn estimators share: which rows are source, which are target, and how a transformer moves them."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .callers import outside
from .frames import align, column_names, column_order, concatenate, is_frame, read_frame, warn_unnamed
from .labels import NotWholeError, as_array, as_label_column, as_values, is_missing
from .sparse import is_sparse, stack_sparse
from .tasks import check_task

__all__ = ["AdaptingTransformer", "labelled_rows", "pack", "source_mask", "validated"]

STRINGS = "UT"  # numpy's kinds of them
DTYPES = (np.float64, np.float32)
MOST_CLASSES, ROWS_A_CLASS = 20, 20  # whole floats: values, if there are more, and on average fewer rows of each

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
    ``y`` holds class labels and at least two other classes are there: in {-1, 1} both are labels. Among values, and for
    a transformer, NaN marks it (in all of several values a row). Otherwise every row is source.

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
    if y is None:
        return everything
    labels = _labels(function, samples, y)
    gone = _missing(labels)
    if (classifier is not True or labels.ndim > 1) and gone.any():
        return ~gone
    if classifier is False or labels.ndim > 1 or not len(labels):
        return everything
    if labels.dtype.kind not in STRINGS + ("iO" if classifier is None else "ifO"):
        return everything  # unsigned numbers are never -1
    source = np.asarray(labels != _mark(labels), dtype=np.bool_)
    return source if len(set(labels[source].tolist())) >= 2 else everything


def labelled_rows(
    function: str,
    samples: int,
    y: ArrayLike,
    sample_domain: ArrayLike | None = None,
    *,
    classes: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Which rows a score can be made of: those that have a label.

    A row has none where ``y`` holds the mark of :func:`pack` (-1 or '', where that is no class of the estimator; NaN).
    Where ``sample_domain`` is given, a -1 on every target row is the mark even if there is such a class or value.

    Args:
        function: the name of the caller, which opens every message.
        samples: how many rows there are, n.
        y: labels or values, (n,) or (n, m).
        sample_domain: (n,), positive for source and negative for target rows, or None.
        classes: of the estimator; None: ``y`` holds values.

    Raises:
        ValueError: if no row has one.

    >>> labelled_rows("score", 3, [0, 1, -1], classes=np.array([0, 1])).tolist()
    [True, True, False]
    """
    labels = _labels(function, samples, y)
    without = _missing(labels)
    if labels.ndim == 1 and len(labels):
        mark = _mark(labels)
        marked = np.asarray(labels == mark, dtype=np.bool_)
        target = None if sample_domain is None else ~_explicit(function, samples, sample_domain)
        if (classes is not None and mark not in classes.tolist()) or (
            target is not None and target.any() and bool((marked | without)[target].all())
        ):
            without |= marked if target is None else marked & target
    if without.all():
        raise ValueError(
            f"{function} needs rows with a label; got none among {samples}: -1, '' and NaN mark target rows. In "
            "cross-validation let each fold hold source rows (StratifiedKFold(shuffle=True)); "
            "scoring=landbridge.label_free_scorer() scores by target rows, which need no labels."
        )
    return ~without


def _labels(function: str, samples: int, y: ArrayLike) -> NDArray[Any]:
    """(n,), or (n, m) of several values."""
    labels = as_array(function, "y", y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return labels if labels.ndim == 2 and len(labels) == samples else _column(function, "y", samples, labels)


def _mark(labels: NDArray[Any]) -> Any:
    """What stands for no label: '' among strings, -1 among all else."""
    if labels.dtype.kind != "O":
        return "" if labels.dtype.kind in STRINGS else -1
    known = [label for label in labels.tolist() if not is_missing(label)]
    return "" if known and all(isinstance(label, str) for label in known) else -1


def _missing(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows whose label is NaN or None (all of several)."""
    if labels.dtype.kind == "f":
        gone = np.isnan(labels)
    elif labels.dtype.kind == "O":
        gone = np.array([is_missing(label) for label in labels.reshape(-1)], dtype=np.bool_).reshape(labels.shape)
    else:
        return np.zeros(len(labels), dtype=np.bool_)
    return np.asarray(gone.all(1) if gone.ndim == 2 else gone)


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


def pack(Xs: Any, ys: Any, Xt: Any, *, task: str | None = None) -> tuple[Any, NDArray[Any], NDArray[np.int64]]:
    """Put two domains into the one ``X, y, sample_domain`` that the estimators take.

    Two frames stay a frame, as a ``ColumnTransformer`` wants it: the target's columns are put in the source's order by
    their names. A frame beside an array is taken by place, with a warning.

    Args:
        Xs: source samples, (n_s, ...); a sparse matrix of scipy or torch stays sparse, as scipy's compressed rows.
        ys: source labels or values, (n_s,), or (n_s, m) values.
        Xt: target samples, (n_t, ...), each of the shape of a source sample.
        task: ``classification`` or ``regression``. None: strings, booleans and whole numbers are classes; what is not
            whole, or has several columns, are values, and so are floats of more than 20 whole values with fewer than
            20 rows each.

    Returns:
        ``X`` (n_s + n_t, ...), source rows first; ``y`` (n_s + n_t,), which for target rows holds -1 beside classes
        that are numbers (whole floats and booleans become integers), an empty string beside strings, and NaN beside
        values, and is never read there; ``sample_domain`` (n_s + n_t,), 1 and -1.

    Warns:
        UserWarning: if -1 (or '') is itself one of the classes.

    Raises:
        TypeError: for labels that are neither numbers nor strings.
        ValueError: if the shapes or the columns' names do not fit, a label is missing, or a domain is empty.

    >>> X, y, sample_domain = pack([[1.0], [2.0]], [0, 1], [[5.0]])
    >>> X.ravel().tolist(), y.tolist(), sample_domain.tolist()
    ([1.0, 2.0, 5.0], [0, 1, -1], [1, 1, -1])
    """
    if task is not None:
        check_task("pack", task)
    if is_sparse(Xs) or is_sparse(Xt):
        X, n_s, n_t = stack_sparse("pack", Xs, Xt)
    else:
        X, n_s, n_t = _stacked(Xs, Xt)
    y = _marked(ys, n_s, n_t, task)
    return X, y, np.repeat(np.array([1, -1], dtype=np.int64), [n_s, n_t])


def _stacked(Xs: Any, Xt: Any) -> tuple[Any, int, int]:
    """Both domains' rows, and how many there are of each."""
    frames = is_frame(Xs) and is_frame(Xt)
    if is_frame(Xs) != is_frame(Xt):
        warn_unnamed("pack", "Xt", column_names(Xs), column_names(Xt))
    Xt = align("pack", Xs, Xt)
    source, target = (
        X if frames else read_frame("pack", n, X, finite=False).values for n, X in (("Xs", Xs), ("Xt", Xt))
    )
    shapes = tuple(source.shape), tuple(target.shape)
    if len(shapes[0]) < 2 or len(shapes[1]) < 2 or shapes[0][1:] != shapes[1][1:]:
        raise ValueError(
            f"pack needs Xs and Xt of shapes (samples, features) with the same features; got {shapes[0]} and "
            f"{shapes[1]}."
        )
    if not len(source) or not len(target):
        raise ValueError(f"pack needs samples of both domains; got Xs {shapes[0]} and Xt {shapes[1]}.")
    return concatenate(source, target) if frames else np.concatenate([source, target]), len(source), len(target)


def _marked(ys: Any, n_s: int, n_t: int, task: str | None) -> NDArray[Any]:
    """The source's labels, and a mark for each target row."""
    labels = as_array("pack", "ys", ys)
    if labels.ndim not in (1, 2) or len(labels) != n_s:
        raise ValueError(
            f"pack needs one entry of ys for each row of Xs, shape ({n_s},), or values ({n_s}, m); got {labels.shape}. "
            "Target rows have no labels here."
        )
    column = None
    if task != "regression" and (labels.ndim == 1 or labels.shape[1] == 1):
        try:
            column = as_label_column("pack", "ys", labels, values="Pass task='regression'.")
        except NotWholeError:
            if task is not None:
                raise
        if column is not None and task is None and _like_values(column):
            column = None
    if column is None:
        values = as_values("pack", "ys", labels)
        values = values if values.dtype.kind == "f" else values.astype(np.float64)
        return np.concatenate([values, np.full((n_t, *values.shape[1:]), np.nan, dtype=values.dtype)])
    if column.dtype.kind != "U":
        column = column.astype(np.int64)  # -1 has to fit in, and scikit-learn takes it for a class like another
    mark: Any = "" if column.dtype.kind == "U" else -1
    if (column == mark).any():
        warnings.warn(
            f"pack marks target rows by {mark!r} in y, and {mark!r} is one of the classes in ys. Pass sample_domain to "
            "every fit and score, which then alone decides; or write this class in another way.",
            UserWarning,
            stacklevel=outside(),
        )
    return np.concatenate([column, np.full(n_t, mark, dtype=column.dtype)])


def _like_values(column: NDArray[Any]) -> bool:
    """Whether whole floats are too many different ones for classes."""
    distinct = len(np.unique(column)) if column.dtype.kind == "f" else 0
    return distinct > MOST_CLASSES and distinct * ROWS_A_CLASS > len(column)


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
        X = np.asarray(validated(self, X, reset=False, dtype=DTYPES))
        out: NDArray[Any] = X.copy()
        if sample_domain is not None:
            source = _explicit(f"{type(self).__name__}.transform", len(X), sample_domain)
            if self.adapted_ and source.any():
                out[source] = self._move(X[source])
        return out

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Fit, and return the rows of ``X`` with the source rows moved; arguments as in :meth:`fit`.

        Raises:
            TypeError: within a pipeline of which another step would learn from the target rows' y.
        """
        from .learners import refuse_learners_around

        refuse_learners_around(self, X, y, sample_domain)
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
        X = np.asarray(validated(self, X, reset=True, dtype=DTYPES))
        source = source_mask(name, len(X), y, sample_domain)
        if not source.any():
            raise ValueError(
                f"{name} needs source rows; got sample_domain negative for all {len(X)} rows, or NaN in all of y. "
                "Positive marks source, negative target."
            )
        labels = None if y is None else _labels(name, len(X), y)[source]
        self.adapted_ = bool(not source.all())
        if self.adapted_:
            self._adapt(X[source], X[~source], labels)
        else:
            warnings.warn(
                f"{name} found no target rows among {len(X)}, so {type(self).__name__} is the identity. Mark them by "
                "negative entries of sample_domain (landbridge.pack(Xs, ys, Xt) makes it), or by y == -1 beside at "
                "least two integer classes ('' beside two strings, NaN beside values); folds of cross-validation that "
                "have none want to be shuffled.",
                UserWarning,
                stacklevel=outside(),
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


def validated(estimator: BaseEstimator, X: Any, *, reset: bool, **checks: Any) -> Any:
    """Rows as scikit-learn checks them, names of columns included; frames are read as everywhere in this package.

    Args:
        estimator: whose ``n_features_in_`` and ``feature_names_in_`` are set, or compared.
        X: rows of whatever kind.
        reset: whether they are set.
        checks: of ``check_array``.

    Raises:
        TypeError: for a column that holds no numbers, with its name.
        ValueError: for other columns or features than in ``fit``, missing values, and what ``check_array`` refuses.
    """
    frame = is_frame(X)
    _check_numbered_columns(estimator, X, reset)
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn before 1.6
        estimator._check_feature_names(X, reset=reset)
        rows = _numbers(estimator, X) if frame else X
        checked = check_array(rows, estimator=estimator, input_name="X", **checks)
        estimator._check_n_features(checked, reset=reset)
        return checked
    if not frame:
        return validate_data(estimator, X, reset=reset, **checks)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return check_array(_numbers(estimator, X), estimator=estimator, input_name="X", **checks)


def _check_numbered_columns(estimator: BaseEstimator, X: Any, reset: bool) -> None:
    """Hold columns named by numbers, such as years, to their order; scikit-learn remembers strings alone."""
    if reset:
        estimator._columns = column_names(X)
    known, found = getattr(estimator, "_columns", None), column_names(X)
    if known is None or found is None or any(isinstance(name, str) for name in known):
        return
    name = type(estimator).__name__
    if column_order(name, "X", found, known, of="fit") is not None:
        raise ValueError(f"{name} needs the columns of X in the order they had in fit; got {list(found[:6])}.")


def _numbers(estimator: BaseEstimator, X: Any) -> NDArray[Any]:
    return read_frame(type(estimator).__name__, "X", X).values
