"""landbridge: a model that learned on a labelled source domain, adapted to an unlabelled target domain.

Names are loaded when they are first asked for: ``import landbridge`` imports neither torch nor anything heavier.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapted import Adapted, LabelShiftWarning, NegativeTransferWarning, adapt
    from .classifier import DomainAdaptationClassifier
    from .coral.coral import CORAL
    from .coral.deep_coral import DeepCORAL, coral_distance
    from .dann.cdan import CDAN, CDANE
    from .dann.dann import DANN
    from .dann.mcd import MCD
    from .diagnostics.diagnose import Diagnosis, diagnose
    from .methods import METHODS
    from .mmd.dan import DAN, DDC
    from .mmd.jan import JAN, joint_mmd2
    from .mmd.mmd import mmd2
    from .regressor import DomainAdaptationRegressor
    from .selftraining.mcc import MCC, class_confusion
    from .shared.adabn import AdaBN
    from .shared.augment import CentreCrop, RandomResizedCrop, RandomShift, TenCrops
    from .shared.collect import without_labels
    from .shared.combine import Combine
    from .shared.discriminator import DomainDiscriminator
    from .shared.estimator import pack
    from .shared.extractors import create_network
    from .shared.fit import fit
    from .shared.gradient_reversal import ramp, reverse_gradient
    from .shared.method import Method, Sizes, Source, Target, Update
    from .shared.network import Network, wrap
    from .shared.optimizer import Optimizer
    from .shared.pairwise import Pairwise
    from .shared.pipeline import OnSource, make_pipeline
    from .shared.result import FitResult, load
    from .shared.scorer import label_free_scorer
    from .shared.source_only import SourceOnly
    from .shared.tasks import binary_logits
    from .transport.deepjdot import DeepJDOT
    from .transport.otda import OTDA

__version__ = "0.1.0"

_HOME = {
    "Adapted": "adapted",
    "LabelShiftWarning": "adapted",
    "NegativeTransferWarning": "adapted",
    "adapt": "adapted",
    "DomainAdaptationClassifier": "classifier",
    "DomainAdaptationRegressor": "regressor",
    "CORAL": "coral.coral",
    "DeepCORAL": "coral.deep_coral",
    "coral_distance": "coral.deep_coral",
    "CDAN": "dann.cdan",
    "CDANE": "dann.cdan",
    "DANN": "dann.dann",
    "MCD": "dann.mcd",
    "Diagnosis": "diagnostics.diagnose",
    "diagnose": "diagnostics.diagnose",
    "METHODS": "methods",
    "DAN": "mmd.dan",
    "DDC": "mmd.dan",
    "JAN": "mmd.jan",
    "joint_mmd2": "mmd.jan",
    "mmd2": "mmd.mmd",
    "MCC": "selftraining.mcc",
    "class_confusion": "selftraining.mcc",
    "AdaBN": "shared.adabn",
    "CentreCrop": "shared.augment",
    "RandomResizedCrop": "shared.augment",
    "RandomShift": "shared.augment",
    "TenCrops": "shared.augment",
    "without_labels": "shared.collect",
    "Combine": "shared.combine",
    "DomainDiscriminator": "shared.discriminator",
    "pack": "shared.estimator",
    "create_network": "shared.extractors",
    "fit": "shared.fit",
    "ramp": "shared.gradient_reversal",
    "reverse_gradient": "shared.gradient_reversal",
    "Method": "shared.method",
    "Sizes": "shared.method",
    "Source": "shared.method",
    "Target": "shared.method",
    "Update": "shared.method",
    "Network": "shared.network",
    "wrap": "shared.network",
    "Optimizer": "shared.optimizer",
    "Pairwise": "shared.pairwise",
    "OnSource": "shared.pipeline",
    "make_pipeline": "shared.pipeline",
    "FitResult": "shared.result",
    "load": "shared.result",
    "label_free_scorer": "shared.scorer",
    "SourceOnly": "shared.source_only",
    "binary_logits": "shared.tasks",
    "DeepJDOT": "transport.deepjdot",
    "OTDA": "transport.otda",
}

__all__ = [  # noqa: RUF022 (in the order of _HOME, which is by folder)
    "CORAL", "DeepCORAL", "coral_distance", "CDAN", "CDANE", "DANN", "MCD", "Diagnosis", "diagnose",
    "METHODS", "DAN", "DDC", "JAN",
    "joint_mmd2", "mmd2", "MCC", "class_confusion", "AdaBN",
    "CentreCrop", "RandomResizedCrop", "RandomShift", "TenCrops", "Combine", "DomainDiscriminator", "pack",
    "create_network",
    "fit", "ramp", "reverse_gradient", "Method", "Sizes", "Source", "Target", "Update", "Network", "wrap", "Optimizer",
    "Pairwise",
    "FitResult", "load", "SourceOnly", "binary_logits", "DeepJDOT", "OTDA", "Adapted", "LabelShiftWarning",
    "NegativeTransferWarning", "adapt", "without_labels", "DomainAdaptationClassifier", "DomainAdaptationRegressor",
    "OnSource", "make_pipeline", "label_free_scorer", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "benchmarks":  # a room of its own, which nothing here needs: opened for who asks for it
        return import_module(".benchmarks", __name__)
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'landbridge' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
