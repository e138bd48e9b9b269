"""Weights of samples and of classes: the target's class proportions, by which source rows are weighed or drawn."""

from .label_shift import LabelShift, label_shift

__all__ = ["LabelShift", "label_shift"]
