"""How far apart two domains are: tests, distances and plots, before adaptation and after."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..weighting.label_shift import LabelShift, label_shift
    from .calibration import Calibration, calibration, fit_temperature
    from .classifier_test import classifier_test
    from .confusion import Confusion, confusion
    from .curves import Curves, curves
    from .diagnose import Diagnosis, diagnose
    from .distances import (
        Distances,
        covariance_distance,
        distances,
        energy_distance,
        kernel_distance,
        proxy_a_distance,
    )
    from .embedding import ComparedEmbeddings, Embedding, compare_embeddings, embedding
    from .estimated_accuracy import EstimatedAccuracy, agreement, estimated_accuracy
    from .mixture import MixtureTest, mixture_test
    from .plan import PlanByClass, plan_by_class
    from .results import Distance, TwoSampleTest
    from .shifts import ClassShift, FeatureShift, adjusted_p_values, class_shift, feature_shift
    from .spectra import Spectra, spectra
    from .two_sample import energy_test, kernel_test
    from .verdict import Verdict, decide
    from .wasserstein import frechet_distance, sinkhorn_divergence, sliced_wasserstein
    from .witness import Profile, Witness, witness

# Where each public name lives; loaded when it is first asked for.
_HOME = {
    "Calibration": "calibration",
    "calibration": "calibration",
    "fit_temperature": "calibration",
    "classifier_test": "classifier_test",
    "Confusion": "confusion",
    "confusion": "confusion",
    "Curves": "curves",
    "curves": "curves",
    "Diagnosis": "diagnose",
    "diagnose": "diagnose",
    "Distances": "distances",
    "covariance_distance": "distances",
    "distances": "distances",
    "energy_distance": "distances",
    "kernel_distance": "distances",
    "proxy_a_distance": "distances",
    "ComparedEmbeddings": "embedding",
    "Embedding": "embedding",
    "compare_embeddings": "embedding",
    "embedding": "embedding",
    "EstimatedAccuracy": "estimated_accuracy",
    "agreement": "estimated_accuracy",
    "estimated_accuracy": "estimated_accuracy",
    "LabelShift": ".weighting.label_shift",
    "label_shift": ".weighting.label_shift",
    "MixtureTest": "mixture",
    "mixture_test": "mixture",
    "PlanByClass": "plan",
    "plan_by_class": "plan",
    "Distance": "results",
    "TwoSampleTest": "results",
    "ClassShift": "shifts",
    "FeatureShift": "shifts",
    "adjusted_p_values": "shifts",
    "class_shift": "shifts",
    "feature_shift": "shifts",
    "Spectra": "spectra",
    "spectra": "spectra",
    "energy_test": "two_sample",
    "kernel_test": "two_sample",
    "Verdict": "verdict",
    "decide": "verdict",
    "frechet_distance": "wasserstein",
    "sinkhorn_divergence": "wasserstein",
    "sliced_wasserstein": "wasserstein",
    "Profile": "witness",
    "Witness": "witness",
    "witness": "witness",
}

__all__ = [  # noqa: RUF022 (in the order of _HOME, which is by file)
    "Confusion", "confusion", "Curves", "curves", "ComparedEmbeddings", "Embedding", "compare_embeddings", "embedding",
    "PlanByClass", "plan_by_class", "Distance", "TwoSampleTest", "Spectra", "spectra", "Profile", "Witness", "witness",
    "classifier_test", "ClassShift", "FeatureShift", "adjusted_p_values", "class_shift", "feature_shift",
    "energy_test", "kernel_test",
    "Calibration", "calibration", "fit_temperature", "Distances", "covariance_distance", "distances", "energy_distance",
    "kernel_distance", "proxy_a_distance", "EstimatedAccuracy", "agreement", "estimated_accuracy", "LabelShift",
    "label_shift", "frechet_distance", "sinkhorn_divergence", "sliced_wasserstein",
    "Diagnosis", "diagnose", "MixtureTest", "mixture_test", "Verdict", "decide",
]  # fmt: skip


class _Package(ModuleType):
    """Keeps a function where its file of the same name would take its place: an import binds a submodule's name."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'landbridge.diagnostics' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
