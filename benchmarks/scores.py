"""Scores of a cell's checkpoints by label-free validators, computed from its stored outputs and kept beside them.

``validators.json`` in a cell's folder holds them with the version of each validator and a fingerprint of the outputs:
what does not fit any more is computed again. Target labels are in a file of their own, which is never opened here.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shared.files import write_atomically
from ..shared.names import nearest
from ..shared.validators import COLLAPSE_VERSION, VALIDATORS, Outputs, Stored, Validator, collapse
from .circular import CIRCULAR

__all__ = [
    "CHEAP",
    "KNOWN",
    "CellScores",
    "Score",
    "check_names",
    "choose",
    "kept_names",
    "read_outputs",
    "score_cell",
    "stored_scores",
]

KNOWN: Final[Mapping[str, Validator]] = {**VALIDATORS, CIRCULAR.name: CIRCULAR}
CHEAP: Final = tuple(name for name, validator in VALIDATORS.items() if validator.cost == "cheap")

FILE = "validators.json"
FORMAT = 1
LARGEST = float(np.finfo(np.float16).max)


class Score(NamedTuple):
    """What a validator says of one checkpoint.

    Attributes:
        value: higher is better; None where there is none.
        why: the reason for that, or None.
        collapsed: the target predictions have collapsed into few classes, see ``shared.validators.collapse``.
    """

    value: float | None
    why: str | None = None
    collapsed: bool = False


class CellScores(NamedTuple):
    """All that validators say of a cell.

    Attributes:
        steps: of the checkpoints, growing.
        scores: by validator, one for each step.
        seconds: by validator, processor time of the cell when it was computed; importance weights count for each that
            uses them, reading the files for none.
        collapses: by step, a sentence on the predictions that have collapsed.
    """

    steps: tuple[int, ...]
    scores: dict[str, list[Score]]
    seconds: dict[str, float]
    collapses: dict[int, str]


def score_cell(folder: Path, names: Iterable[str] | None = None) -> dict[str, list[Score]]:
    """The scores of each stored checkpoint of a cell, in the order of the steps.

    Args:
        folder: the cell's, finished or not.
        names: of validators; None: the cheap ones (milliseconds a checkpoint).

    Returns:
        By validator. Without stored outputs (``--keep-outputs scores``) those that were computed while they were there.

    Raises:
        ValueError: for an unknown validator, or stored outputs that cannot be read.
    """
    return stored_scores(folder, CHEAP if names is None else names).scores


def stored_scores(folder: Path, names: Iterable[str]) -> CellScores:
    """Like :func:`score_cell`, with the steps, the seconds and the sentences on collapses.

    Steps, seconds and collapses are of all that is known; there are no steps if there is nothing.
    """
    names = list(dict.fromkeys(names))
    check_names(names)
    files = {int(path.stem.split("-")[1]): path for path in sorted((folder / "outputs").glob("step-*.npz"))}
    kept = _read(folder / FILE)
    if not files:
        return _as_scores(kept, names)
    prints = {str(step): _fingerprint(path) for step, path in files.items()}
    fresh = kept.get("outputs") == prints and kept.get("collapse_version") == COLLAPSE_VERSION
    if not fresh:
        kept = {}
    known = kept.get("validators", {})
    todo = [KNOWN[name] for name in names if known.get(name, {}).get("version") != KNOWN[name].version]
    if todo:
        made = _score(files, todo)
        kept = {
            "format": FORMAT,
            "outputs": prints,
            "collapse_version": COLLAPSE_VERSION,
            "collapses": made["collapses"],
            "validators": {**known, **made["validators"]},
        }
        with suppress(OSError):  # a folder that cannot be written to: the scores are computed again next time
            write_atomically(folder / FILE, (json.dumps(kept, indent=1, allow_nan=False) + "\n").encode())
    return _as_scores(kept, names)


def check_names(names: Iterable[str]) -> None:
    """Raise a ValueError that names the nearest validator, if one of these is unknown."""
    for name in names:
        if name not in KNOWN:
            raise ValueError(nearest("validator", name, KNOWN))


def kept_names(folder: Path) -> list[str]:
    """The validators whose scores lie beside the outputs, whatever their age."""
    return [name for name in _read(folder / FILE).get("validators", {}) if name in KNOWN]


def choose(scores: Sequence[Score]) -> int | None:
    """The place of the best score; of equal ones the latest. None if there is no score at all.

    A collapsed checkpoint is passed over as long as there is another with a score.

    >>> choose([Score(0.5), Score(0.7), Score(0.7), Score(0.9, collapsed=True), Score(None)])
    2
    """
    there = [(score.value, place) for place, score in enumerate(scores) if score.value is not None]
    sound = [(value, place) for value, place in there if not scores[place].collapsed]
    return max(sound or there, default=(None, None))[1]


def read_outputs(path: Path, *, features: bool = True) -> Outputs:
    """The stored outputs of one checkpoint, as float32.

    They were stored in half precision, whose largest number is 65504: what overflowed there is taken for +-65504. Two
    overflowing logits of one row are a tie then, and each class gets half.

    Args:
        path: a ``step-*.npz`` as the cell writes it.
        features: False: leave features out, (n, 0) each, which saves most of the reading.

    Raises:
        ValueError: if the file is broken, or no stored output.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            accuracy = None
            adapted_to = "target_train" if any(name.startswith("target_train/") for name in names) else "target_eval"
            if {"source_holdout/predictions", "source_holdout/all_labels"} <= names:
                hits = file["source_holdout/predictions"] == file["source_holdout/all_labels"]
                accuracy = float(hits.mean())
            return Outputs(
                source_train=_stored(file, "source_train", features),
                source_holdout=_stored(file, "source_holdout", features)._replace(accuracy=accuracy)
                if "source_holdout/logits" in names
                else None,
                # rows that are adapted to and scored are stored once
                target=_stored(file, adapted_to, features),
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(_broken(path, error)) from error


def _stored(file: Any, split: str, features: bool) -> Stored:
    logits = _as_float32(file[f"{split}/logits"])
    labels = file[f"{split}/labels"].astype(np.int64) if split.startswith("source") else None
    kept = _as_float32(file[f"{split}/features"]) if features else np.empty((len(logits), 0), dtype=np.float32)
    return Stored(logits, kept, labels)


def _as_float32(stored: NDArray[Any]) -> NDArray[np.float32]:
    return np.nan_to_num(stored.astype(np.float32), copy=False, nan=np.nan, posinf=LARGEST, neginf=-LARGEST)


def _broken(path: Path, error: Exception) -> str:
    where = "/".join(path.parts[-3:])
    return f"the stored outputs {where} cannot be read ({error}). Delete the cell's folder and run it again."


def _fingerprint(path: Path) -> str:
    """The checksums of a file's arrays, which stand in its directory; the arrays are not read."""
    try:
        with zipfile.ZipFile(path) as file:
            parts = [f"{part.filename} {part.CRC} {part.file_size}" for part in file.infolist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(_broken(path, error)) from error
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    """What is kept, {} if there is nothing that this version reads."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) and kept.get("format") == FORMAT else {}


def _score(files: Mapping[int, Path], validators: Sequence[Validator]) -> dict[str, Any]:
    scores: dict[str, list[list[Any]]] = {validator.name: [] for validator in validators}
    seconds = dict.fromkeys(scores, 0.0)
    collapses: list[str | None] = []
    features = any(validator.reads_features for validator in validators)
    for path in files.values():
        outputs = read_outputs(path, features=features)
        diverged = _diverged(outputs)
        collapses.append(None if diverged else collapse(outputs.target.logits, outputs.source_train.labels))
        weighing = 0.0
        for validator in validators:
            value, why = None, diverged or validator.missing(outputs)
            if why is None:
                if validator.weighs and not weighing:
                    weighing = _weigh(outputs)
                started = time.process_time()
                value, why = _value(validator, outputs)
                seconds[validator.name] += time.process_time() - started + (weighing if validator.weighs else 0.0)
            scores[validator.name].append([value, why])
    made = {v.name: {"version": v.version, "seconds": seconds[v.name], "scores": scores[v.name]} for v in validators}
    return {"collapses": collapses, "validators": made}


def _weigh(outputs: Outputs) -> float:
    """Compute the importance weights, which stay in the outputs; the processor seconds that took."""
    started = time.process_time()
    with suppress(ValueError):  # too few rows: the validators say so themselves
        outputs.importance  # noqa: B018 (computed once, on first use)
    return time.process_time() - started


def _value(validator: Validator, outputs: Outputs) -> tuple[float | None, str | None]:
    try:
        value = validator.score(outputs)
    except ValueError as error:
        return None, str(error)
    return (value, None) if np.isfinite(value) else (None, "the score is not finite")


def _diverged(outputs: Outputs) -> str | None:
    for name, stored in (
        ("target", outputs.target),
        ("source_holdout", outputs.source_holdout),
        ("source_train", outputs.source_train),
    ):
        if stored is not None and (np.isnan(stored.logits).any() or np.isnan(stored.features).any()):
            return f"the network has diverged: outputs of {name} hold NaN"
    return None


def _as_scores(kept: Mapping[str, Any], names: Iterable[str]) -> CellScores:
    steps = tuple(int(step) for step in kept.get("outputs", {}))
    collapses: list[str | None] = kept.get("collapses", [])
    known = kept.get("validators", {})
    scores = {
        name: [
            Score(value, why, sentence is not None)
            for (value, why), sentence in zip(known[name]["scores"], collapses, strict=True)
        ]
        for name in names
        if name in known
    }
    seconds = {name: float(known[name]["seconds"]) for name in scores}
    return CellScores(steps, scores, seconds, {step: s for step, s in zip(steps, collapses, strict=True) if s})
