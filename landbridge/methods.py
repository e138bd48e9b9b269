"""Every deep method by name: what the command line and suite files can ask for."""

from __future__ import annotations

from .coral.deep_coral import DeepCORAL
from .dann.cdan import CDAN, CDANE
from .dann.dann import DANN
from .dann.mcd import MCD
from .mmd.dan import DAN, DDC
from .mmd.jan import JAN
from .selftraining.mcc import MCC
from .shared.adabn import AdaBN
from .shared.method import Method
from .shared.source_only import SourceOnly
from .transport.deepjdot import DeepJDOT

__all__ = ["METHODS"]

METHODS: dict[str, type[Method]] = {
    "source-only": SourceOnly,
    "adabn": AdaBN,
    "dann": DANN,
    "cdan": CDAN,
    "cdan-e": CDANE,
    "mcd": MCD,
    "ddc": DDC,
    "dan": DAN,
    "jan": JAN,
    "deepcoral": DeepCORAL,
    "deepjdot": DeepJDOT,
    "mcc": MCC,
}
