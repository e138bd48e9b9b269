"""Circular (reverse) validation: a classifier learns from the target's pseudo-labels and is scored on source labels."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np

from ..shared.validators import Outputs, Validator

__all__ = ["CIRCULAR", "Circular"]

STRENGTH = 1.0  # inverse l2 strength, on standardised features: scikit-learn's default; nothing is tuned here
ITERATIONS = 500


class Circular(Validator):
    r"""Accuracy on source labels of a classifier that is trained on target rows and their predicted labels.

    If the target's predictions are right, and the domains are alike in the features, one can go back: source -> target
    -> source. What stands here for the reverse model is a new task head, a multinomial logistic regression (features
    standardised by the target rows) on the checkpoint's own stored features, the extractor kept: the papers train the
    whole network again from the target's pseudo-labels, with the source as the unlabelled domain, which costs a
    training for each checkpoint and needs the data. So this sees wrong pseudo-labels where they do not fit the source's
    features, and does not see classes that the extractor has swapped in the features themselves. It is scored on the
    held-out source rows; where a protocol holds none out, on source training rows.

    Costs one fit a checkpoint, of up to 1000 stored rows.

    Source: Bruzzone and Marconcini, Domain Adaptation Problems: A DASVM Classification Technique and a Circular
    Validation Strategy, TPAMI 32 (2010); Zhong et al., Cross Validation Framework to Choose amongst Models and Datasets
    for Transfer Learning, ECML PKDD 2010; Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016).
    """

    name = "circular"
    paper = "Zhong et al., ECML PKDD 2010; Ganin et al., JMLR 2016 (reverse validation); here with a new head alone"
    reads_features = True
    reads = ("source_train.features", "target.logits", "target.features")
    cost = "training"

    def _score(self, outputs: Outputs) -> float:
        source = outputs.source_holdout or outputs.source_train
        if source.labels is None:
            raise ValueError("Circular needs source labels; got Stored(labels=None). Pass Stored(logits, ..., labels).")
        pseudo = outputs.target.logits.argmax(1)
        classes = np.unique(pseudo)
        if len(classes) == 1:  # collapsed: there is nothing to train, it says one class
            return float((source.labels == classes[0]).mean())
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        x = np.asarray(outputs.target.features, dtype=np.float64)
        mean, spread = x.mean(0), x.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        head = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a head that has not converged is a weaker one
            head.fit((x - mean) / spread, pseudo)
        return float((head.predict((source.features - mean) / spread) == source.labels).mean())


CIRCULAR: Final = Circular()
