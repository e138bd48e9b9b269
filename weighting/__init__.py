"""Weights of samples and of classes: the target's class proportions, by which source rows are weighed or drawn."""

from .explanations import Explanations, explanations
from .label_shift import LabelShift, label_shift
from .nearest_means import nearest_means
from .proportions import ClassProportions, class_proportions
from .resampling import rows_in_proportions
from .second_opinion import SecondOpinion, second_opinion

__all__ = [
    "ClassProportions",
    "Explanations",
    "LabelShift",
    "SecondOpinion",
    "class_proportions",
    "explanations",
    "label_shift",
    "nearest_means",
    "rows_in_proportions",
    "second_opinion",
]
