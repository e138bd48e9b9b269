"""A network and a method as a scikit-learn classifier."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing, assert_all_finite, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d
from torch import Tensor

from .parts import Units, batch_sizes, default_optimizer, make_parts, steps_for, whole
from .proportions import LabelShiftWarning, Proportions, check_label_shift, decide_first, not_estimated, take_rows
from .shared.callers import outside
from .shared.collect import as_native
from .shared.estimator import labelled_rows, source_mask, validated
from .shared.fit import fit
from .shared.history import History
from .shared.labels import as_array, as_label_column, number_labels
from .shared.method import Method
from .shared.network import Network
from .shared.optimizer import Optimizer, as_optimizer
from .shared.result import FitResult
from .shared.source_only import SourceOnly
from .shared.sparse import SparseRows, is_sparse
from .sources import batch_of, pairs_of, source_numbers

__all__ = ["DomainAdaptationClassifier", "DomainAdaptationEstimator"]

E = TypeVar("E", bound="DomainAdaptationEstimator")


class DomainAdaptationEstimator(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share: which rows are which, training, and forwarding.

    Parameters are stored as given and never changed: copies of a network or a method are trained, so that fitting again
    gives the same, bit for bit, and ``clone`` and ``GridSearchCV`` work. ``sample_domain`` takes part in scikit-learn's
    metadata routing where that is on.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"sample_domain": True}

    result_: FitResult
    adapted_: bool
    n_features_in_: int

    def __init__(
        self,
        network: Any = None,
        method: Any = "dann",
        *,
        weight: float | None = None,
        head: str | None = None,
        steps: int | None = None,
        batch_size: int | tuple[int, int] | None = None,
        optimizer: Optimizer | str | Callable[..., Any] | None = None,
        batch_statistics: str = "joint",
        seed: int = 0,
        device: torch.device | str = "auto",
    ) -> None:
        self.network = network
        self.method = method
        self.weight = weight
        self.head = head
        self.steps = steps
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.batch_statistics = batch_statistics
        self.seed = seed
        self.device = device

    @property
    def network_(self) -> Network:
        """The trained network."""
        check_is_fitted(self, "result_")
        return self.result_.network

    @property
    def history_(self) -> History:
        """Loss terms by step."""
        check_is_fitted(self, "result_")
        return self.result_.history

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "result_" in vars(self)

    def _split(
        self, X: ArrayLike, y: ArrayLike | None, sample_domain: ArrayLike | None, *, classifier: bool
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], NDArray[Any] | None]:
        """Rows of both domains, checked, their labels, which rows are source, and of which of several."""
        name = type(self).__name__
        for learned in [key for key in vars(self) if key.endswith("_") and not key.startswith("_")]:
            delattr(self, learned)  # nothing of an earlier fit may be taken for a result of this one
        if y is None:
            raise ValueError(f"{name} requires y to be passed, but the target y is None.")
        rows = _validate(self, X, reset=True)
        labels = as_array(name, "y", y)
        if classifier or (labels.ndim == 2 and labels.shape[1] == 1):
            labels = column_or_1d(labels, warn=True)
        check_consistent_length(rows, labels)
        if classifier and sample_domain is None and labels.dtype.kind == "f" and np.isnan(labels).any():
            as_label_column(f"{name}.fit", "y", labels)  # says what marks a target row of a classifier
        source = source_mask(f"{name}.fit", len(rows), labels, sample_domain, classifier=classifier)
        if not source.any():
            raise ValueError(
                f"{name}.fit needs source rows; got sample_domain negative for all {len(rows)} rows, or NaN in all of "
                "y. Positive marks source, negative target."
            )
        if source.all():
            how = ", or by y == -1 beside at least two classes" if classifier else ", or by NaN in y"
            if not classifier and labels.dtype.kind in "iuf" and (labels == -1).any():
                how += " (pack(..., task='regression') writes it; y == -1 is a value here)"
            warnings.warn(
                f"{name}.fit found no target rows among {len(rows)}, so it learns from the source alone. Mark them by "
                f"negative entries of sample_domain (landbridge.pack(Xs, ys, Xt) makes it){how}; folds of "
                "cross-validation that have none want to be shuffled.",
                UserWarning,
                stacklevel=outside(),
            )
        return rows, labels, source, source_numbers(sample_domain, source)

    def _train(
        self,
        X: NDArray[Any],
        labels: NDArray[Any],
        source: NDArray[np.bool_],
        of: NDArray[Any] | None,
        outputs: int,
        task: str,
    ) -> FitResult:
        """Train a network on (n_s,) numbers or values of the source rows."""
        name = type(self).__name__
        self.adapted_ = bool(not source.all())
        Xs: Any = X[source] if self.adapted_ else X
        Xt = X[~source] if self.adapted_ else Xs
        seed = whole(name, "seed", self.seed)
        sizes = batch_sizes(name, self.batch_size, batch_of(len(Xs), of), len(Xt))
        given: dict[str, Any] = {"head": self.head, "weight": self.weight, "seed": seed}
        network, method = make_parts(name, self.network, self.method, Xs, outputs, classes=outputs, **given)
        larger = max((len(Xs), sizes[0]), (len(Xt), sizes[1]), key=lambda pair: pair[0] / max(1, pair[1]))
        units = Units.of(labels) if self.network is None and task == "regression" else None
        options: dict[str, Any] = {
            "task": task,
            "steps": steps_for(name, self.steps, *larger),
            "batch_size": sizes,
            "optimizer": default_optimizer() if self.optimizer is None else as_optimizer(name, self.optimizer),
            "batch_statistics": self.batch_statistics,
            "seed": seed,
            "device": self.device,
            "progress_bar": False,
        }
        values = labels if units is None else units.out(labels)
        rows = self._rows(network, method, (Xs, values), of, Xt, options)
        if rows is not None:
            Xs, values, of = take_rows(Xs, rows), values[rows], None if of is None else of[rows]
        aligned = method if self.adapted_ else SourceOnly()
        result = fit(network, aligned, pairs_of(Xs, values, of), Xt, **options)
        names = getattr(self, "feature_names_in_", None)
        result.columns = None if names is None else tuple(names.tolist())
        if self.network is None:
            result.network.double()  # so that a prediction does not depend on how many rows are forwarded at once
        if units is not None:
            units.back(result.network)
        return result

    def _rows(
        self,
        network: Network,
        method: Method,
        source: tuple[Any, NDArray[Any]],
        of: NDArray[Any] | None,
        target: Any,
        options: dict[str, Any],
    ) -> NDArray[np.int64] | None:
        """Which source rows to train on, some more than once; None: all of them as they are."""
        return None

    def _labelled(
        self, X: Any, y: ArrayLike, weights: ArrayLike | None, sample_domain: ArrayLike | None, classes: Any
    ) -> tuple[Any, Any, Any]:
        """The rows, labels and weights that a score is made of."""
        check_is_fitted(self, "result_")
        name, n = f"{type(self).__name__}.score", _num_samples(X)
        rows = np.flatnonzero(labelled_rows(name, n, y, sample_domain, classes=classes))
        if len(rows) == n:
            return X, y, weights
        return (
            _safe_indexing(X, rows),
            _safe_indexing(y, rows),
            None if weights is None else _safe_indexing(weights, rows),
        )

    def _outputs(self, X: ArrayLike) -> NDArray[np.float64]:
        """What the head gives for each row, (n, k)."""
        check_is_fitted(self, "result_")
        rows = _validate(self, X, reset=False)
        return np.asarray(self.result_.forward(rows)[1].double().numpy())


class DomainAdaptationClassifier(ClassifierMixin, DomainAdaptationEstimator):  # type: ignore[misc]
    """A network, adapted from labelled source rows to unlabelled target rows of one X, as a scikit-learn classifier.

    An explicit ``sample_domain`` alone decides which rows are source (positive) and which are target (negative), and y
    of target rows is never read; several positive numbers are several sources, and a batch holds as many rows of each.
    Without it, y == -1 marks the target if at least two other classes are there. With no target row at all the network
    learns from the source alone, with a warning. ``predict`` takes all rows for target rows. How the rows of the
    domains are interleaved makes no difference.

    Where there are target rows and a method that aligns, source-only is trained first, at as many steps, without a
    tenth of the source rows of each class: by its predictions the target's class proportions are estimated, and tested
    (:func:`~landbridge.weighting.proportions.class_proportions`). Where they have changed and the estimate can be
    trusted, the method is trained on source rows drawn in the target's proportions, with a
    :class:`~landbridge.proportions.LabelShiftWarning`; else on all of them as they are. This takes up to twice the time
    of the method alone, in each fit of a search too.

    Args:
        network: None for one made by the shape of X, its inputs standardised by the source; a torch module, whose
            head is the linear layer that makes its output, unless ``head`` names another; a
            :class:`~landbridge.shared.network.Network`; or a function of (shape of one row, classes) that makes one of
            these. A copy is trained.
        method: a name of ``METHODS``, a method, a class of one, or a function of the
            :class:`~landbridge.shared.method.Sizes`.
        weight: the trade-off of a method by name or class; its own default if left out.
        head: the name of the module's last layer.
        steps: of training; by default 30 passes over the larger domain, at least 300 and at most 2000 steps.
        batch_size: rows a step and domain, or ``(source, target)``; by default 64, or all there are.
        optimizer: by default Adam at 0.001 with a cosine; a name, a class of ``torch.optim`` and the like do too, see
            :func:`~landbridge.shared.optimizer.as_optimizer`.
        batch_statistics: ``joint`` or ``per_domain``; see :func:`~landbridge.shared.fit.fit`.
        seed: decides the weights that are made here, the batches and all that is drawn.
        device: ``auto`` is a GPU where there is one.
        label_shift: what happens where the classes' proportions have changed: ``correct``, as above; ``ignore``: the
            source rows are taken as they are, with a warning; ``refuse``: an error, before the method is trained.

    Attributes:
        classes_: the classes of the source, (k,).
        proportions_: what was found of the class proportions, and what was done: a
            :class:`~landbridge.proportions.Proportions`, whose ``sentence`` says it.
        result_: what ``fit`` gave: network, method, history; ``network_`` and ``history_`` are its parts.
        adapted_: False if there was no target row.
        n_features_in_: of X.

    Warns:
        LabelShiftWarning: by ``fit``, as :func:`~landbridge.adapted.adapt`.

    Raises:
        ValueError, TypeError: by ``fit``, for parameters or data that do not fit, with a sentence.

    >>> rng = np.random.default_rng(0)
    >>> Xs, ys, Xt = rng.normal(size=(40, 2)), np.arange(40) % 2, rng.normal(size=(30, 2)) + 1
    >>> X, y, sample_domain = lb.pack(Xs + 3 * ys[:, None], ys, Xt)
    >>> classifier = DomainAdaptationClassifier(method="deepcoral", steps=20, device="cpu")
    >>> classifier.fit(X, y, sample_domain).predict_proba(Xt).shape
    (30, 2)
    """

    classes_: NDArray[Any]
    proportions_: Proportions

    def __init__(
        self,
        network: Any = None,
        method: Any = "dann",
        *,
        weight: float | None = None,
        head: str | None = None,
        steps: int | None = None,
        batch_size: int | tuple[int, int] | None = None,
        optimizer: Optimizer | str | Callable[..., Any] | None = None,
        batch_statistics: str = "joint",
        seed: int = 0,
        device: torch.device | str = "auto",
        label_shift: str = "correct",
    ) -> None:
        super().__init__(
            network,
            method,
            weight=weight,
            head=head,
            steps=steps,
            batch_size=batch_size,
            optimizer=optimizer,
            batch_statistics=batch_statistics,
            seed=seed,
            device=device,
        )
        self.label_shift = label_shift

    def fit(self: E, X: ArrayLike, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None) -> E:
        """Train on source rows and labels and on target rows.

        Args:
            X: rows of both domains in any order, (n, d), or (n, c, h, w) images.
            y: (n,) class labels of any kind; that of target rows is not read.
            sample_domain: (n,), positive for source and negative for target rows; decides alone where it is given.
        """
        check_label_shift(type(self).__name__, self.label_shift)
        rows, labels, source, of = self._split(X, y, sample_domain, classifier=True)
        known = labels[source]
        if known.dtype.kind == "f":
            assert_all_finite(known, input_name="y")
        if known.dtype.kind != "O":
            check_classification_targets(known)
        classes, numbers = number_labels(f"{type(self).__name__}.fit", "y", known)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__}.fit needs source rows of at least 2 classes; got 1 class: {classes.tolist()}."
            )
        self.classes_ = classes
        self.result_ = self._train(rows, numbers, source, of, len(classes), "classification")
        self.result_.classes = classes
        if self.proportions_.warned:
            said = f"{type(self).__name__}.fit: class proportions: {self.proportions_.sentence}."
            warnings.warn(said, LabelShiftWarning, stacklevel=outside())
        return self

    def _rows(
        self,
        network: Network,
        method: Method,
        source: tuple[Any, NDArray[Any]],
        of: NDArray[Any] | None,
        target: Any,
        options: dict[str, Any],
    ) -> NDArray[np.int64] | None:
        if not self.adapted_:
            self.proportions_ = not_estimated("there are no target rows")
            return None
        function = f"{type(self).__name__}.fit"
        self.proportions_ = decide_first(
            function, self.label_shift, network, method, source, of, target, options, classes=self.classes_
        )
        return self.proportions_.rows(source[1], options["seed"], of)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_domain: ArrayLike | None = None,
    ) -> float:
        """Accuracy of the rows that have a label; those marked as target rows, as ``pack`` does, are left out.

        Raises:
            ValueError: if no row has a label.
        """
        rows = self._labelled(X, y, sample_weight, sample_domain, self.classes_)
        return float(super().score(*rows))

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits of float64, rounded to what does not depend on how many rows are forwarded at once."""
        return np.asarray(self._outputs(X).astype(np.float32).astype(np.float64))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities of each row, taken for a target row, (n, k), columns in the order of ``classes_``."""
        return np.asarray(torch.from_numpy(self._logits(X)).softmax(1).numpy())

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of each row, taken for a target row, (n,)."""
        numbers = self._logits(X).argmax(1)
        return np.asarray(self.classes_[numbers])


def _validate(estimator: DomainAdaptationEstimator, X: ArrayLike, *, reset: bool) -> Any:
    """(n, d) or (n, ...) numbers; whole numbers stay whole, as tokens and uint8 images are; sparse rows stay sparse."""
    if is_sparse(X) and isinstance(X, Tensor):
        X = SparseRows(type(estimator).__name__, "X", X).matrix
    rows = validated(estimator, X, reset=reset, dtype="numeric", allow_nd=True, accept_sparse="csr")
    return SparseRows(type(estimator).__name__, "X", rows) if is_sparse(rows) else as_native(rows)
