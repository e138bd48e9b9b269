"""scikit-learn: CORAL and a classifier in one pipeline, its settings chosen without a target label.

The wine data were measured twice, so to speak: the target by another instrument, which mixes the channels, scales them
and is off zero. ``lb.pack`` puts both domains into one X, with y = -1 for rows without a label; ``OnSource`` keeps the
classifier from learning -1 as a class; ``lb.make_pipeline`` hands ``sample_domain`` to the steps that want it, with
no setting of scikit-learn's changed; and ``GridSearchCV`` chooses by a score of the target predictions alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import landbridge as lb

Array = NDArray[np.float64]


def make_data(seed: int) -> tuple[Array, Array, Array, Array]:
    """Half of the wines as they are, half as the other instrument has them; standardised by the first half."""
    X, y = load_wine(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    source, target = order[::2], order[1::2]
    X = (X - X[source].mean(0)) / X[source].std(0)
    d = X.shape[1]
    mixing = np.eye(d) + 0.6 * rng.normal(size=(d, d)) / np.sqrt(d)
    Xt = X[target] @ mixing * rng.uniform(0.5, 2.0, size=d) + rng.normal(size=d)
    return X[source], y[source], Xt, y[target]


def main() -> None:
    """Source-only, the pipeline as it comes, and the one that the search chose: their means over five instruments."""
    found = []
    for seed in range(5):
        Xs, ys, Xt, yt = make_data(seed)
        X, y, sample_domain = lb.pack(Xs, ys, Xt)  # y of target rows is -1
        source_only = LogisticRegression(max_iter=1000).fit(Xs, ys)
        pipeline = lb.make_pipeline(lb.CORAL(match_means=True), lb.OnSource(LogisticRegression(max_iter=1000)))
        as_it_comes = pipeline.fit(X, y, sample_domain=sample_domain).score(Xt, yt)
        search = GridSearchCV(
            pipeline,
            {"coral__regularization": [0.1, 1.0, 10.0], "onsource__estimator__C": [0.1, 1.0]},
            scoring=lb.label_free_scorer("information-maximisation"),
            cv=3,
        ).fit(X, y, sample_domain=sample_domain)
        chosen = search.best_estimator_.score(Xt, yt)  # here, and nowhere above, a target label is read
        found.append((source_only.score(Xt, yt), as_it_comes, chosen))
    before, after, chosen = np.mean(found, axis=0)
    print(f"target accuracy: source-only {before:.3f}, CORAL {after:.3f}, CORAL chosen without labels {chosen:.3f}")
    assert min(after, chosen) > before + 0.02


if __name__ == "__main__":
    main()
