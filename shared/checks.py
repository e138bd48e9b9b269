"""What every public function asks of its arguments, and the sentences for those who give it something else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from .names import nearest

__all__ = [
    "NonFiniteError",
    "check_domain",
    "check_features",
    "check_finite",
    "check_labels",
    "check_logits",
    "check_whole",
    "check_width",
    "full_precision",
    "nearest",
]

P = ParamSpec("P")
R = TypeVar("R")


class NonFiniteError(ValueError):
    """NaN or inf where numbers are needed."""


def check_features(function: str, source: Tensor, target: Tensor, *, least: int = 1) -> None:
    """Two batches of features that can be compared: (n_s, d) and (n_t, d), floating, finite, at least ``least`` rows.

    Args:
        function: the name of the caller, which opens every message.
        source: features of the source domain, (n_s, d).
        target: features of the target domain, (n_t, d).
        least: how many rows each needs: 2 where a covariance or an unbiased estimate is taken.

    Raises:
        TypeError: for what is no floating-point tensor.
        ValueError: for a wrong shape, an empty domain, too few rows, another dtype or device, NaN or inf.
    """
    _check_matrix(function, "source", source, least)
    _check_matrix(function, "target", target, least)
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"{function} compares features of one size; got source {tuple(source.shape)} and target "
            f"{tuple(target.shape)}. Pass both through the same feature extractor."
        )
    if source.dtype != target.dtype or source.device != target.device:
        raise ValueError(
            f"{function} needs both domains in one dtype on one device; got source {source.dtype} on {source.device} "
            f"and target {target.dtype} on {target.device}. Convert one with .to(other)."
        )
    check_finite(function, "source", source)
    check_finite(function, "target", target)


def _check_matrix(function: str, name: str, value: Tensor, least: int) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{function} needs {name} as a torch.Tensor; got {type(value).__name__}. Use torch.as_tensor.")
    if not value.is_floating_point():
        raise TypeError(f"{function} needs floating-point {name} features; got {value.dtype}. Convert with .float().")
    if value.ndim != 2:
        raise ValueError(
            f"{function} needs {name} of shape (samples, features); got {tuple(value.shape)}. "
            "Flatten the rest with .flatten(1)."
        )
    if value.shape[0] == 0 or value.shape[1] == 0:
        raise ValueError(f"{function} got an empty {name}: {tuple(value.shape)}. Pass at least one sample and feature.")
    if value.shape[0] < least:
        raise ValueError(
            f"{function} needs at least {least} samples of each domain; got {value.shape[0]} in {name}. "
            "Use a larger batch."
        )


def check_finite(function: str, name: str, value: Tensor) -> None:
    """Raise NonFiniteError if a tensor on the CPU holds NaN or inf, and name its first bad row.

    The sum is asked first, which costs little; the row is looked for on failure only. On a GPU asking would make the
    step wait, so it is left to the training loop's metrics; while compiling there is nothing to ask.
    """
    if torch.compiler.is_compiling() or value.device.type != "cpu":
        return
    if math.isfinite(value.detach().sum().item()):
        return
    bad = (~value.detach().isfinite()).reshape(value.shape[0], -1).any(1).nonzero()
    if bad.numel() == 0:
        return  # finite numbers whose sum overflows
    row = int(bad[0])
    raise NonFiniteError(
        f"{function} got NaN or inf in {name}: {bad.numel()} of {value.shape[0]} rows, the first is row {row}. "
        "Check the input data, or lower the learning rate if it came up in training."
    )


def check_logits(function: str, name: str, logits: Tensor | None, samples: int) -> Tensor:
    """Logits of shape (samples, classes), or ValueError with what to pass; returns them."""
    if logits is None:
        raise ValueError(
            f"{function} needs {name} logits; got {name.capitalize()}(features=({samples}, ...), logits=None). "
            f"Pass {name.capitalize()}(features, logits)."
        )
    if logits.ndim != 2 or logits.shape[0] != samples or logits.shape[1] < 2:
        raise ValueError(
            f"{function} needs {name} logits of shape ({samples}, classes) with at least 2 classes; got "
            f"{tuple(logits.shape)}. A one-logit head z becomes torch.stack([0 * z, z], -1)."
        )
    check_finite(function, f"{name} logits", logits)
    return logits


def check_labels(function: str, labels: Tensor | None, samples: int) -> Tensor:
    """Integer source labels of shape (samples,), or an error with what to pass; returns them."""
    if labels is None:
        raise ValueError(f"{function} needs source labels; got labels=None. Pass Source(features, logits, labels).")
    if labels.shape != (samples,):
        raise ValueError(
            f"{function} needs one label for each source sample, shape ({samples},); got {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{function} needs class numbers as labels; got {labels.dtype}. Convert with .long().")
    return labels


def check_domain(function: str, domain: Tensor | None, samples: int, sources: int = 1) -> Tensor:
    """Integer source numbers of shape (samples,), on the CPU each in [0, sources), or an error; returns them.

    Args:
        function: the caller, for the message.
        domain: which source each row is of.
        samples: how many rows there are.
        sources: how many sources are told apart; 1: any.
    """
    if domain is None:
        raise ValueError(
            f"{function} tells {sources if sources > 1 else 'several'} sources apart; got Source(domain=None). Pass "
            "each row's source number, or to fit a list of sources: source=[(inputs, labels), ...]."
        )
    if domain.shape != (samples,):
        raise ValueError(
            f"{function} needs the source number of each sample, shape ({samples},); got {tuple(domain.shape)}."
        )
    if domain.is_floating_point() or domain.is_complex() or domain.dtype == torch.bool:
        raise TypeError(f"{function} needs whole source numbers as domain; got {domain.dtype}. Convert with .long().")
    if sources > 1 and not torch.compiler.is_compiling() and domain.device.type == "cpu" and samples:
        low, high = int(domain.min()), int(domain.max())
        if low < 0 or high >= sources:
            raise ValueError(
                f"{function} was made for {sources} sources, numbered from 0 to {sources - 1}; got domain from {low} "
                f"to {high}."
            )
    return domain


def check_whole(function: str, name: str, value: object, *, least: int = 1) -> int:
    """A whole number of Python's or numpy's as Python's, or ValueError; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{function} needs {name} as a whole number >= {least}; got {value!r}.")
    return int(value)


def check_width(function: str, made_for: object, features: Tensor) -> None:
    """Raise ValueError if features (n, d) are not of the size that a method's own layers were made for.

    Args:
        function: the method's name.
        made_for: d; what is no number (of a layer that does not say) is not asked.
        features: of either domain.
    """
    if isinstance(made_for, int) and features.shape[1] != made_for:
        raise ValueError(
            f"{function} was made for features={made_for}; got features of shape {tuple(features.shape)}. Make it anew "
            f"with features={features.shape[1]}."
        )


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a statistic in float32 at least, outside autocast: half-precision arguments are converted first.

    Covariances and squared distances subtract nearly equal numbers, which bfloat16 (8 bits) and float16 cannot hold.
    """

    def convert(value: object) -> object:
        half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if half and isinstance(value, Tensor) else value

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        if not torch.is_autocast_enabled(device) and not _any_half(args, kwargs):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(
                *(convert(a) for a in args),  # type: ignore[arg-type]
                **{k: convert(v) for k, v in kwargs.items()},  # type: ignore[arg-type]
            )

    return wrapped


def _any_half(args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
    return any(isinstance(a, Tensor) and a.dtype in (torch.bfloat16, torch.float16) for a in (*args, *kwargs.values()))
