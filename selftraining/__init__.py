"""Methods that learn from the target's own predictions: what the network already thinks of it is made clearer."""

from .mcc import MCC, class_confusion

__all__ = ["MCC", "class_confusion"]
