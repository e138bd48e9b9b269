"""Classical rows: an estimator moves the source rows, then a classifier that is held fixed is trained on them.

The classifier alone moves the average of Office-Caltech10 by more than ten points, so it is part of the row's name.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import product
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..shared.names import nearest
from .datasets.base import Split, TaskData
from .memory import available_memory

__all__ = ["CLASSIFIERS", "ESTIMATORS", "VERSION", "Classical", "Row", "Rules", "check_row", "run_classical"]

VERSION: Final = 1  # raised by hand when a change here, in CORAL or in OTDA changes a number; part of a cell's identity

ESTIMATORS: Final[Mapping[str, str]] = {  # module:class, imported when asked for
    "none": "",
    "coral": "landbridge.coral.coral:CORAL",
    "otda": "landbridge.transport.otda:OTDA",
}
CLASSIFIERS: Final[Mapping[str, str]] = {
    "1nn": "the label of the nearest source row, Euclidean",
    "svm": "linear support vector machine of libsvm, one against one, C = 1",
    "svm-rbf": "support vector machine with the kernel exp(-|x - x'|^2 / d), C = 100",
    "svm-similarity": "support vector machine on products of moved with unmoved source rows, C by cross-validation",
}
RBF_C = 100.0
SIMILARITY_C = tuple(10.0**power for power in range(-3, 5))  # searched by 2-fold cross-validation on the source
SIMILARITY_STEPS = 1_000_000  # such products are no kernel, so that the solver need not end by itself

Rows = NDArray[np.float64]
Settings = dict[str, Any]


class Row(Protocol):
    """What a classical row of a suite says: ``MethodSettings``, or anything with these attributes."""

    @property
    def method(self) -> str: ...  # a key of ESTIMATORS
    @property
    def classifier(self) -> str | None: ...  # a key of CLASSIFIERS
    @property
    def settings(self) -> Mapping[str, Any]: ...  # of the estimator
    @property
    def grid(self) -> Mapping[str, Sequence[Any]]: ...  # of its settings, searched where the protocol is tuned


class Rules(Protocol):
    """What a protocol says that matters here."""

    @property
    def scored(self) -> str: ...  # "inductive" or "transductive"
    @property
    def tuned(self) -> str: ...  # "none" or "target"


class Classical(NamedTuple):
    """What a classical cell found.

    Attributes:
        predictions: classes of the rows of ``target_eval``, (n,).
        chosen: the estimator, the settings used, the classifier; for a tuned cell the accuracy on the validation rows,
            and how many combinations were tried, refused or did not converge. Plain values that JSON holds.
        tried: for a tuned cell each combination of the grid with its accuracy on the validation rows, a fraction; None
            where the estimator refused it.
        seconds: for all of it.
    """

    predictions: NDArray[np.int64]
    chosen: Settings
    tried: tuple[tuple[Settings, float | None], ...]
    seconds: float


def check_row(adaptation: Row) -> None:
    """Refuse a row that could not run, before a grid starts.

    Args:
        adaptation: the row.

    Raises:
        TypeError, ValueError: for an unknown estimator, classifier or setting, a value that the estimator refuses, an
            empty list in the grid, or a row that asks to train on the target.
    """
    if adaptation.classifier not in CLASSIFIERS:
        raise ValueError(nearest("classifier", str(adaptation.classifier), CLASSIFIERS))
    if adaptation.method not in ESTIMATORS:
        raise ValueError(nearest("estimator", adaptation.method, ESTIMATORS))
    if getattr(adaptation, "trains_on", "source") != "source":
        raise ValueError("a classical row trains on the source; got trains_on = 'target'. Leave it out.")
    for name, values in adaptation.grid.items():
        if isinstance(values, str) or not len(values):
            raise ValueError(f"grid: {name!r} needs a list of values to search; got {values!r}")
    for settings in _combinations(adaptation):
        _check_settings(adaptation.method, settings)


def run_classical(adaptation: Row, rules: Rules, data: TaskData, *, seed: int) -> Classical:
    """Move the source rows, train the classifier on them, and classify the target rows that are scored.

    The estimator sees the source rows with their labels and the rows of ``target_train`` without. Under ``tuned =
    "target"`` the protocol of Courty et al. (2017), section 6.2.2, runs instead: the rows of ``target_train`` are a
    validation set, by whose labels one combination of ``adaptation.grid`` is chosen (the first of equals, the last key
    varying fastest); with it the source is adapted anew to the rows of ``target_eval``, without their labels, which are
    then scored. A row without a grid has nothing to tune and runs with its own settings.

    Args:
        adaptation: the row.
        rules: the protocol.
        data: the task's features.
        seed: decides the folds of ``svm-similarity``; nothing else is random.

    Returns:
        Predictions for ``target_eval``, and how they came about.

    Raises:
        ValueError: as :func:`check_row`; for inputs that are no features (n, d), or more of them than memory holds
            densely; for tuning on rows that are scored; or if the estimator refuses each combination of the grid.

    Source: Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017).
    """
    started = time.perf_counter()
    check_row(adaptation)
    shape = tuple(data.source_train.inputs.shape)
    if len(shape) != 2:
        raise ValueError(
            f"run_classical needs features of shape (n, d) as inputs; got {shape}. Use a [features] suite."
        )
    _check_room(adaptation, data)
    source, labels = _rows(data.source_train), data.source_train.labels
    settings = _plain(adaptation.settings)
    tried: list[tuple[Settings, float | None]] = []
    told: Settings = {}
    adapting = _rows(data.target_train)
    if rules.tuned == "target":
        if rules.scored != "inductive":
            raise ValueError(
                "run_classical tunes on validation rows that are not scored, but this protocol scores the rows adapted "
                "to. Write scored = 'inductive' beside tuned = 'target'."
            )
        if adaptation.grid:
            settings, told = _tune(adaptation, data, seed, tried)
        adapting = _rows(data.target_eval)
    with warnings.catch_warnings():
        if told:
            _ignore_unconverged()  # counted among the combinations already
            warnings.filterwarnings("ignore", "OTDA has moved the source", UserWarning)  # labels chose it all the same
        moved = _move(adaptation.method, settings, source, labels, adapting)
    assert adaptation.classifier is not None
    predictions, fitted = _classify(adaptation.classifier, moved, source, labels, _rows(data.target_eval), seed)
    chosen = {
        "estimator": adaptation.method,
        "settings": settings,
        "classifier": adaptation.classifier,
        **fitted,
        **told,
    }
    return Classical(predictions, chosen, tuple(tried), time.perf_counter() - started)


def _tune(
    adaptation: Row, data: TaskData, seed: int, tried: list[tuple[Settings, float | None]]
) -> tuple[Settings, Settings]:
    """The combination that scores best on the validation rows by their labels, and what to tell of the search."""
    from sklearn.exceptions import ConvergenceWarning

    assert adaptation.classifier is not None
    source, labels = _rows(data.source_train), data.source_train.labels
    validation, truth = _rows(data.target_train), data.target_train.labels
    refused = unconverged = 0
    reason = ""
    for settings in _combinations(adaptation):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                moved = _move(adaptation.method, settings, source, labels, validation)
            except ValueError as error:  # numbers beyond float64, at the ends of a grid
                tried.append((settings, None))
                refused, reason = refused + 1, str(error)
                continue
            predictions, _ = _classify(adaptation.classifier, moved, source, labels, validation, seed)
        unconverged += any(issubclass(each.category, ConvergenceWarning) for each in caught)
        tried.append((settings, float((predictions == truth).mean())))
    known = [(accuracy, settings) for settings, accuracy in tried if accuracy is not None]
    if not known:
        raise ValueError(
            f"run_classical: {adaptation.method!r} refused each combination of the grid. The last: {reason}"
        )
    best, settings = max(known, key=lambda each: each[0])  # the first of equals
    told = {
        "tuned_on_target_labels": len(truth),
        "validation_accuracy": best,
        "combinations": len(tried),
        "refused": refused,
        "not_converged": unconverged,
    }
    return settings, told


def _ignore_unconverged() -> None:
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)


def _combinations(adaptation: Row) -> Iterator[Settings]:
    """The row's settings with each combination of its grid; they alone where there is no grid."""
    for values in product(*adaptation.grid.values()):
        yield _plain({**adaptation.settings, **dict(zip(adaptation.grid, values, strict=True))})


def _plain(settings: Mapping[str, Any]) -> Settings:
    """``"none"`` stands for None, which TOML does not have."""
    return {name: None if value == "none" else value for name, value in settings.items()}


def _check_settings(name: str, settings: Settings) -> None:
    if not ESTIMATORS[name]:
        if settings:
            raise ValueError(f"estimator {name!r} has no settings; got {', '.join(settings)}. Leave them out.")
        return
    known = inspect.signature(_class(name)).parameters
    for setting in settings:
        if setting not in known:
            raise ValueError(nearest(f"setting of {name!r}", setting, known))
    _class(name)(**settings)._check_settings()


def _class(name: str) -> Any:
    module, _, kind = ESTIMATORS[name].partition(":")
    return getattr(import_module(module), kind)


def _check_room(adaptation: Row, data: TaskData) -> None:
    """Estimators and classifiers take all rows at once, densely in float64: said before memory is gone."""
    splits = [data.source_train, data.target_train]
    splits += [] if data.target_eval is data.target_train else [data.target_eval]
    rows, d = sum(len(split.labels) for split in splits), data.source_train.inputs.shape[1]
    needed, there = 8.0 * rows * d, available_memory()
    if there is not None and needed > there:
        raise ValueError(
            f"the row of {adaptation.method!r} and {adaptation.classifier!r} needs all rows densely, {rows} x {d} in "
            f"float64: {needed / 1e9:.1f} GB, and {there / 1e9:.1f} GB of memory are left. Draw fewer rows (draw, or "
            "per_class, in the protocol), or leave classical rows out: the others take rows batch by batch."
        )


def _rows(split: Split) -> Rows:
    return np.asarray(split.inputs, dtype=np.float64)


def _move(name: str, settings: Settings, source: Rows, labels: NDArray[np.int64], target: Rows) -> Rows:
    """Source rows as the estimator moves them towards the target, (n_s, d)."""
    if not ESTIMATORS[name]:
        return source
    from ..shared.estimator import pack

    X, y, sample_domain = pack(source, labels, target)
    moved: Rows = _class(name)(**settings).fit_transform(X, y, sample_domain)[: len(source)]
    return moved


def _classify(
    classifier: str, moved: Rows, source: Rows, labels: NDArray[np.int64], target: Rows, seed: int
) -> tuple[NDArray[np.int64], Settings]:
    """Classes of the target rows by a classifier that learns from the moved source rows, and what it chose."""
    from sklearn.metrics import pairwise_distances_argmin
    from sklearn.svm import SVC

    if classifier == "1nn":
        return labels[pairwise_distances_argmin(target, moved)], {}
    if classifier == "svm-similarity":
        return _classify_by_similarity(moved, source, labels, target, seed)
    if classifier == "svm":
        machine = SVC(kernel="linear", C=1.0)
    else:
        machine = SVC(kernel="rbf", C=RBF_C, gamma=1.0 / moved.shape[1])
    return np.asarray(machine.fit(moved, labels).predict(target), dtype=np.int64), {}


def _classify_by_similarity(
    moved: Rows, source: Rows, labels: NDArray[np.int64], target: Rows, seed: int
) -> tuple[NDArray[np.int64], Settings]:
    """As the published row of CORAL + SVM was made: trained on <A x_i, x_j>, not on <A x_i, A x_j>.

    The products of a moved with an unmoved row are neither symmetric nor a kernel; libsvm reads them all the same.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    products = moved @ source.T  # (n_s, n_s)
    folds = StratifiedKFold(2, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        _ignore_unconverged()
        accuracies = [
            cross_val_score(
                SVC(kernel="precomputed", C=c, max_iter=SIMILARITY_STEPS), products, labels, cv=folds
            ).mean()
            for c in SIMILARITY_C
        ]
        c = SIMILARITY_C[int(np.argmax(accuracies))]
        machine = SVC(kernel="precomputed", C=c, max_iter=SIMILARITY_STEPS).fit(products, labels)
        found = machine.predict(target @ moved.T)
    return np.asarray(found, dtype=np.int64), {"C": c}
