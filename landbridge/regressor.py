"""A network and a method as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite

from .classifier import DomainAdaptationEstimator
from .shared.labels import as_values

__all__ = ["DomainAdaptationRegressor"]


class DomainAdaptationRegressor(RegressorMixin, DomainAdaptationEstimator):  # type: ignore[misc]
    """A network, adapted from source rows with values to target rows without, as a scikit-learn regressor.

    An explicit ``sample_domain`` alone decides which rows are source (positive) and which are target (negative), and y
    of target rows is never read. Without it, NaN in y (in all values of a row) marks the target: any number can be a
    value. Without target rows the network learns from the source alone, with a warning. ``predict`` takes all rows for
    target rows. The loss is the mean squared error; a network made here learns values scaled to variance 1.

    Args:
        network: as in :class:`~landbridge.classifier.DomainAdaptationClassifier`, with one output a value.
        method: one that needs features alone, such as ``dann`` or ``deepcoral``: the others refuse, with a reason.
        weight, head, steps, batch_size, optimizer, batch_statistics, seed, device: as there.

    Attributes:
        result_, network_, history_, adapted_, n_features_in_: as there.

    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(40, 2)), rng.normal(size=(30, 2)) + 1
    >>> X, y, sample_domain = lb.pack(Xs, Xs.sum(1), Xt)
    >>> regressor = DomainAdaptationRegressor(method="deepcoral", steps=20, device="cpu")
    >>> regressor.fit(X, y, sample_domain).predict(Xt).shape
    (30,)
    """

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, sample_domain: ArrayLike | None = None
    ) -> DomainAdaptationRegressor:
        """Train on source rows and values and on target rows.

        Args:
            X: rows of both domains in any order, (n, d), or (n, c, h, w) images.
            y: (n,) or (n, m) values; that of target rows is not read, or NaN.
            sample_domain: (n,), positive for source and negative for target rows; decides alone where it is given.
        """
        rows, values, source, of = self._split(X, y, sample_domain, classifier=False)
        known = values[source]
        if known.dtype.kind not in "fiub":
            known = as_values(f"{type(self).__name__}.fit", "y", known)
        known = known.astype(np.float64)
        assert_all_finite(known, input_name="y")
        self.result_ = self._train(rows, known, source, of, known.shape[1] if known.ndim == 2 else 1, "regression")
        return self

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_domain: ArrayLike | None = None,
    ) -> float:
        """R squared of the rows that have a value; those of NaN, as ``pack`` marks the target's, are left out.

        Raises:
            ValueError: if no row has a value.
        """
        rows = self._labelled(X, y, sample_weight, sample_domain, None)
        return float(super().score(*rows))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The value of each row, taken for a target row, (n,) or (n, m)."""
        values = self._outputs(X)
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
