"""Steps of a scikit-learn pipeline that would learn what marks a target row in y as if it were one more class."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from .estimator import source_mask

__all__ = ["knows_domains", "refuse_learners", "refuse_learners_around"]

FARTHEST = 12  # calls from a pipeline's fit to its step's, with joblib's between them


def refuse_learners(function: str, steps: Sequence[tuple[str, Any]], X: Any, y: Any, sample_domain: Any) -> None:
    """Raise TypeError if there are target rows, and a step that learns from y without being told which they are.

    Args:
        function: the caller, which opens the message.
        steps: of the pipeline, with their names.
        X: what it is fitted on.
        y: its labels or values, or None.
        sample_domain: (n,), or None.
    """
    if y is None:
        return
    found = [step for step in _learners(steps) if not knows_domains(step)]
    if not found or source_mask(function, len(np.asarray(y)), y, sample_domain, classifier=_reads(found[-1])).all():
        return
    name = type(found[-1]).__name__
    raise TypeError(
        f"{function} got target rows, and {name} is not told which they are: it would learn from their y (-1, '' or "
        f"whatever stands there) as from labels. Let it learn from the source alone: landbridge.OnSource({name}(...)), "
        "which asks for sample_domain."
    )


def refuse_learners_around(transformer: Any, X: Any, y: Any, sample_domain: Any) -> None:
    """The same for the pipeline that calls this transformer's ``fit_transform``, if one does.

    scikit-learn tells a step nothing of the steps behind it, so the call stack is asked.
    """
    frame = inspect.currentframe()
    for _ in range(FARTHEST):
        frame = None if frame is None else frame.f_back
        pipeline = None if frame is None else frame.f_locals.get("self")
        if isinstance(pipeline, Pipeline) and any(type(step) is type(transformer) for _, step in pipeline.steps):
            refuse_learners(f"{type(transformer).__name__}.fit_transform", pipeline.steps, X, y, sample_domain)
            break


def knows_domains(step: Any) -> bool:
    """Whether a step asks for ``sample_domain`` in ``fit``, or could be given it."""
    fit = getattr(step, "fit", None)
    if fit is not None and "sample_domain" in inspect.signature(fit).parameters:
        return True
    with sklearn.config_context(enable_metadata_routing=True):
        try:
            router = step.get_metadata_routing()
            return bool(router.consumes("fit", ["sample_domain"]))
        except (AttributeError, NotImplementedError):  # of scikit-learn before 1.4, or of nothing that routes
            return False


def _learners(steps: Sequence[tuple[str, Any]]) -> list[Any]:
    """The steps that learn from y, those of pipelines within the pipeline too."""
    found: list[Any] = []
    for _, step in steps:
        if isinstance(step, Pipeline):
            found += _learners(step.steps)
        elif step is not None and not isinstance(step, str) and (_reads(step) is not None or _needs_y(step)):
            found.append(step)
    return found


def _reads(step: Any) -> bool | None:
    """Whether it learns classes (True) or values (False); None for a step that predicts neither."""
    return True if is_classifier(step) else False if is_regressor(step) else None


def _needs_y(step: Any) -> bool:
    """Whether a transformer learns from y, as a selection of features does."""
    if hasattr(step, "score_func"):  # whose tags say that some of its functions can do without
        return True
    try:
        from sklearn.utils import get_tags
    except ImportError:  # scikit-learn before 1.6
        return bool(step._get_tags().get("requires_y", False)) if hasattr(step, "_get_tags") else False
    return bool(get_tags(step).target_tags.required) if hasattr(step, "__sklearn_tags__") else False
