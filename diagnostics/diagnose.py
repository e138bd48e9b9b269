"""One call that looks at two domains: the verdict, and all that the page shows beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..shared.arrays import as_logits
from ..shared.evaluate import forward_all
from ..shared.files import write_atomically
from ..shared.frames import align, column_names, is_frame, read_frame
from ..shared.labels import as_label_column, number_labels, number_together
from ..shared.network import Network
from ..shared.result import FitResult
from .inputs import as_classes, as_pair
from .verdict import Verdict, decide

if TYPE_CHECKING:
    from ..shared.batches import Samples
    from .calibration import Calibration
    from .confusion import Confusion
    from .distances import Distances
    from .embedding import Embedding
    from .estimated_accuracy import EstimatedAccuracy
    from .plan import PlanByClass
    from .shifts import ClassShift, FeatureShift
    from .spectra import Spectra
    from .witness import Witness

__all__ = ["Diagnosis", "diagnose"]

PLAN_CLASSES = 40  # more classes make no readable matrix
VALUES = "For a regression leave the labels out: only the inputs are compared."
LONGEST_NAME = 32  # letters of a class or feature
LEAST_ROWS = 5  # of each domain: with fewer no fold or interval is left
FARTHEST = 1e75  # fourth powers, of the CORAL distance, leave float64 beyond it


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What two domains look like beside each other; made by :func:`diagnose`.

    Attributes:
        verdict: is there a shift, of which kind, how sure, what to try first.
        source: the rows compared, (n_s, d): the network's features, where one was given.
        target: the same of the target, (n_t, d).
        classes: names of the classes; () without labels.
        distances: several, with intervals.
        feature_shift: which features differ.
        embedding: all rows in the plane.
        witness: where one domain has more rows than the other.
        spectra: how much each domain varies, and whether its leading directions are turned; None where a domain does
            not vary, or has too few rows.
        calibration: of the logits on the source; None without logits and labels.
        estimated_accuracy: on the target, without its labels; None without logits and labels.
        plan: transport between the classes, the target's as predicted (or as evaluated); None without them.
        confusion: on the target, by its labels; None unless they are evaluated and there are logits.
        class_shift: of each class between the domains, by the target's labels; None unless they are evaluated, and a
            class has 5 rows in both domains.
        target_proportions: true class proportions of the target, (k,); None unless evaluated.
        before: an earlier diagnosis of the same rows, such as before adaptation.
        about: what was compared, as pairs of a word and its value, for the head of the page.
        seed: of everything drawn.
    """

    verdict: Verdict
    source: Tensor
    target: Tensor
    classes: tuple[str, ...]
    distances: Distances
    feature_shift: FeatureShift
    embedding: Embedding
    witness: Witness
    spectra: Spectra | None
    calibration: Calibration | None
    estimated_accuracy: EstimatedAccuracy | None
    plan: PlanByClass | None
    confusion: Confusion | None
    class_shift: ClassShift | None
    target_proportions: NDArray[np.float64] | None
    before: Diagnosis | None
    about: tuple[tuple[str, str], ...]
    seed: int

    def write(self, path: Path | str, *, title: str = "source and target") -> Path:
        """Write the page: one HTML file that fetches nothing, replaced whole or not at all.

        Args:
            path: the file.
            title: its heading.

        Raises:
            ValueError: if the file cannot be written there.
        """
        from .page import render

        path = Path(path)
        if path.is_dir():
            raise ValueError(f"Diagnosis.write needs a file; got the folder {path}. Pass {path / 'report.html'}.")
        content = render(self, title=title).encode()
        try:
            write_atomically(path, content)
        except OSError as error:
            raise ValueError(
                f"the page {path} cannot be written ({error.strerror}). Pass a file in a folder that you may write to."
            ) from error
        return path

    def __str__(self) -> str:
        return str(self.verdict)


_Logits = tuple[NDArray[np.float64], NDArray[np.float64]]  # (n_s, k) and (n_t, k)


class _Classes(NamedTuple):
    """Labels as numbers, with the names behind the numbers."""

    source: NDArray[np.int64] | None
    target: NDArray[np.int64] | None
    names: tuple[str, ...]


def diagnose(
    source: Any,
    target: Any,
    *,
    source_labels: Any = None,
    network: nn.Module | FitResult | None = None,
    source_logits: Any = None,
    target_logits: Any = None,
    evaluate: Any = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    before: Diagnosis | None = None,
    about: Sequence[tuple[str, str]] = (),
    level: float = 0.05,
    seed: int = 0,
) -> Diagnosis:
    """Look at two domains: is there a shift, of which kind, how sure is that, and what to try first.

    The verdict is that of :func:`landbridge.diagnostics.decide`, made by tests whose false alarms stay within
    ``level``; the distances, estimates and figures around it explain it and do not enter it. It is about the rows
    given: raw values, or with ``network`` its features. **Source rows that a network was trained on** are no fair
    sample of its features or logits; pass rows held out.

    Args:
        source: rows of the source, (n_s, d) or (n_s, ...); with ``network`` its inputs. The columns of two frames go
            by name.
        target: rows of the target, without labels.
        source_labels: of the source rows, (n_s,): labels of any kind. With logits they say whose column is whose:
            numbers from 0, names that stand in ``classes``, or, of a network that ``adapt`` trained, labels as there.
        network: a :class:`~landbridge.Network` or what ``fit`` or ``adapt`` gave back: its features are compared, its
            logits used.
        source_logits: of a classifier of your own, (n_s, k), together with ``target_logits``; of probabilities (rows
            that sum to 1) the logarithm is taken, and the page says so.
        target_logits: (n_t, k).
        evaluate: labels of the target, (n_t,). They are scored against, on the page, and **change no verdict**.
        classes: names of the classes, in the order of their numbers (of the labels, where these are no numbers from 0);
            long ones are cut.
        names: of the features, d of them, for the figures; likewise. Those of a frame's columns if left out.
        before: an earlier diagnosis, such as of the features before adaptation; the page shows both.
        about: words and values for the head of the page.
        level: share of false alarms, between 0 and 0.5.
        seed: of everything drawn; the same seed gives the same page.

    Raises:
        TypeError: for what is no array of numbers, or no network.
        ValueError: for shapes that do not fit, NaN, values beyond 1e75, both a network and logits, or a level out of
            range.

    >>> rng = np.random.default_rng(0)
    >>> found = diagnose(rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) + [0.0, 0.0, 3.0])
    >>> found.verdict.shifted, found.feature_shift.shifted()
    (True, ['feature 2'])
    """
    from .distances import distances
    from .embedding import embedding
    from .shifts import feature_shift
    from .witness import witness

    own = None
    network = getattr(network, "result", network)  # of adapt
    target = align("diagnose", source, target, names=("source", "target"))
    if network is not None:
        own = network.classes if isinstance(network, FitResult) else None
        if source_logits is not None or target_logits is not None:
            raise ValueError("diagnose takes a network or logits, not both: the network gives its own.")
        source, source_logits = _forward(network, source, "source")
        target, target_logits = _forward(network, target, "target")
    elif names is None:
        columns = column_names(source)
        names = None if columns is None else [str(name) for name in columns]
    x, z = as_pair("diagnose", source, target, least=LEAST_ROWS)
    _check_size(x, z)
    logits, read_as = _logits(x, z, source_logits, target_logits)
    known = _as_classes(x, z, source_labels, evaluate, logits, classes, own)
    if names is not None and len(names) != x.shape[1]:
        raise ValueError(f"diagnose needs one name a feature, {x.shape[1]} of them; got {len(names)}.")
    verdict = decide(
        x,
        z,
        source_labels=known.source,
        source_logits=None if logits is None else logits[0],
        target_logits=None if logits is None else logits[1],
        names=None if names is None else [_short(name) for name in names],
        level=level,
        seed=seed,
    )
    predicted = None if logits is None else logits[1].argmax(1)
    of_target = known.target if known.target is not None else predicted
    facts = [("source rows", f"{len(x)}"), ("target rows", f"{len(z)}"), ("features", f"{x.shape[1]}")]
    if known.names:
        facts.append(("classes", f"{len(known.names)}"))
    if read_as:
        facts.append(("logits", read_as))
    names = None if names is None else [_short(name) for name in names]
    return Diagnosis(
        verdict=verdict,
        source=x,
        target=z,
        classes=known.names,
        distances=distances(x, z, seed=seed),
        feature_shift=feature_shift(x, z, names=names),
        embedding=embedding(x, z, source_classes=known.source, target_classes=of_target, seed=seed),
        witness=witness(x, z, names=names, seed=seed),
        spectra=_spectra(x, z, seed),
        **_of_the_model(known, logits, seed),
        plan=_plan(x, z, known, of_target, seed),
        confusion=_confusion(known, predicted),
        class_shift=_class_shift(x, z, known, seed),
        target_proportions=_proportions(known),
        before=before,
        about=(*about, *facts, ("level", f"{level:g}"), ("seed", f"{seed}")),
        seed=seed,
    )


def _forward(network: Any, rows: Any, domain: str) -> tuple[Tensor, Tensor | None]:
    """Features and logits; no logits of a network that predicts values."""
    from ..shared.batches import as_samples

    if is_frame(rows):
        columns = network.columns if isinstance(network, FitResult) else None
        rows = read_frame("diagnose", domain, rows, columns, of="the rows trained on").values
    if isinstance(network, FitResult):
        features, logits = network.forward(rows, source=domain == "source")
        task = network.task
    elif isinstance(network, nn.Module):
        like = next(network.parameters(), torch.empty(0))
        dtype = network.input_dtype if isinstance(network, Network) else like.dtype
        samples = as_samples("diagnose", domain, rows, like.device, labelled=False, dtype=dtype)
        features, logits = _passed(network, samples, domain)
        task = "classification"
    else:
        raise _no_network(network)
    return features.flatten(1), logits if task != "regression" and logits.ndim == 2 and logits.shape[1] > 1 else None


def _passed(network: nn.Module, samples: Samples, domain: str) -> tuple[Tensor, Tensor]:
    def check(module: nn.Module, _: object, output: object) -> None:
        pair = isinstance(output, (tuple, list)) and len(output) == 2
        if not pair or not all(isinstance(one, Tensor) for one in output):  # type: ignore[attr-defined]
            raise _no_network(module)

    handle = network.register_forward_hook(check)
    try:
        return forward_all(network, samples, source=domain == "source")
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        raise ValueError(
            f"diagnose cannot pass the {domain} rows of shape {tuple(samples.shape)} through the network, which says: "
            f"{error}. Pass inputs of the shape that it was made for."
        ) from error
    finally:
        handle.remove()


def _no_network(given: object) -> TypeError:
    return TypeError(
        f"diagnose needs network as a landbridge.Network or the result of fit; got {type(given).__name__}. "
        "lb.wrap(module, head=...) makes a Network of any module."
    )


def _as_classes(
    x: Tensor,
    z: Tensor,
    source_labels: Any,
    evaluate: Any,
    logits: _Logits | None,
    classes: Sequence[object] | None,
    known: NDArray[Any] | None,
) -> _Classes:
    k = None if logits is None else logits[0].shape[1]
    if k is not None and classes is not None and len(classes) != k:
        raise ValueError(f"diagnose needs a name for each of the logits' {k} classes; got {len(classes)} in classes.")
    if source_labels is None and evaluate is None:
        return _Classes(None, None, ())
    arguments = {"source_labels": (source_labels, len(x)), "evaluate": (evaluate, len(z))}
    columns = {
        name: as_label_column("diagnose", name, labels, rows=rows, values=VALUES)
        for name, (labels, rows) in arguments.items()
        if labels is not None
    }
    if known is not None:  # the network's own: labels are of the kind that it was trained on
        columns = {name: _of_network(name, labels, known) for name, labels in columns.items()}
        classes = known.tolist() if classes is None else classes
    if k is not None and classes is None:
        classes = range(k)
    if k is None and known is None and classes is not None:
        columns = _by_their_order(columns, len(classes))
    if classes is not None:
        given = {name: (labels, len(labels)) for name, labels in columns.items()}
        shown, numbers = as_classes("diagnose", given, classes)
    else:  # the source's first: what evaluate holds moves no number of a source class, and nothing of the verdict
        found, numbers = number_together("diagnose", columns)
        shown = tuple(map(str, found.tolist()))
    return _Classes(numbers.get("source_labels"), numbers.get("evaluate"), tuple(map(_short, shown)))


def _by_their_order(columns: dict[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    """Labels that are no numbers from 0, such as years, by their order, where there are as many as names."""
    first = next(iter(columns.values()))
    found = np.unique(first)
    if first.dtype.kind == "U" or len(found) != count or (found[0] >= 0 and found[-1] < count):
        return columns
    return {name: number_labels("diagnose", name, labels, found).numbers for name, labels in columns.items()}


def _of_network(name: str, labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    numbers = number_labels("diagnose", name, labels, known).numbers
    if (numbers < 0).any():
        raise ValueError(
            f"diagnose got {labels[numbers.argmin()].item()!r} in {name}, which is no class of the network: "
            f"{known[:5].tolist()}. Pass labels as the network was trained on, and leave rows of other classes out."
        )
    return numbers


def _short(name: object) -> str:
    """A name that leaves room for the drawing; a pair of dollar signs would be read as a formula."""
    text = " ".join(str(name).replace("$", "\N{FULLWIDTH DOLLAR SIGN}").split())
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _check_size(x: Tensor, z: Tensor) -> None:
    largest = max(float(rows.abs().max()) for rows in (x, z))
    if largest > FARTHEST:
        raise ValueError(
            f"diagnose overflows: the features go up to {largest:.3g}, and powers of them leave the range of numbers "
            f"beyond {FARTHEST:g}. Divide both domains by one number."
        )


def _logits(x: Tensor, z: Tensor, source: Any, target: Any) -> tuple[_Logits | None, str]:
    """The logits of both domains, and how they were read if not as logits."""
    if (source is None) != (target is None):
        missing = "source_logits" if source is None else "target_logits"
        raise ValueError(f"diagnose needs the logits of both domains; {missing} is missing. Pass both, or neither.")
    if source is None:
        return None, ""
    (of_source, of_target), note = as_logits("diagnose", source_logits=source, target_logits=target)
    found = of_source, of_target
    for domain, scores, rows in (("source", found[0], x), ("target", found[1], z)):
        if len(scores) != len(rows):
            raise ValueError(
                f"diagnose needs one row of {domain}_logits a row of the {domain}; got {scores.shape} and "
                f"{tuple(rows.shape)}."
            )
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(
            f"diagnose needs logits of one classifier; got {found[0].shape[1]} classes in source_logits and "
            f"{found[1].shape[1]} in target_logits."
        )
    return found, note


def _spectra(x: Tensor, z: Tensor, seed: int) -> Spectra | None:
    from .spectra import spectra

    varies = bool((x != x[:1]).any()) and bool((z != z[:1]).any())
    return spectra(x, z, seed=seed) if varies else None


def _of_the_model(known: _Classes, logits: _Logits | None, seed: int) -> dict[str, Any]:
    from .calibration import calibration
    from .estimated_accuracy import estimated_accuracy

    if known.source is None or logits is None:
        return {"calibration": None, "estimated_accuracy": None}
    return {
        "calibration": calibration(logits[0], known.source, seed=seed),
        "estimated_accuracy": estimated_accuracy(logits[0], known.source, logits[1], seed=seed),
    }


def _plan(x: Tensor, z: Tensor, known: _Classes, of_target: NDArray[Any] | None, seed: int) -> PlanByClass | None:
    from .plan import plan_by_class

    if known.source is None or of_target is None or len(known.names) > PLAN_CLASSES:
        return None
    return plan_by_class(x, known.source, z, of_target, classes=known.names, seed=seed)


def _confusion(known: _Classes, predicted: NDArray[Any] | None) -> Confusion | None:
    from .confusion import confusion

    if known.target is None or predicted is None:
        return None
    return confusion(known.target, predicted, known.names)


def _class_shift(x: Tensor, z: Tensor, known: _Classes, seed: int) -> ClassShift | None:
    from .shifts import LEAST_OF_CLASS, class_shift

    if known.source is None or known.target is None:
        return None
    k = len(known.names)
    counts = np.minimum(np.bincount(known.source, minlength=k), np.bincount(known.target, minlength=k))
    if counts.max() < LEAST_OF_CLASS:  # there is none to test
        return None
    return class_shift(x, known.source, z, known.target, seed=seed)


def _proportions(known: _Classes) -> NDArray[np.float64] | None:
    if known.target is None:
        return None
    return np.bincount(known.target, minlength=len(known.names)) / len(known.target)
