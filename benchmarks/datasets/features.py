"""Features that a user already has: ``.npz`` and ``.mat`` files, one for each domain, as a task's data.

A file holds a matrix (n, d) under one name and n whole numbers, the classes, under another. Rows may be divided by
their norm, and columns standardised, as published recipes on bags of words do. No label is read for that.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...shared.names import nearest
from .base import Classes, DataError, Split, Status, TaskData, draw_rows, hash_order, hold_out

__all__ = ["SUFFIXES", "FeatureSettings", "load_features", "status"]

SUFFIXES = (".npz", ".mat")
NAMED = 5  # names that a sentence lists before it counts the others

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # of a domain: it becomes a part of "a->b"
_NOTHING: Mapping[str, int] = {}


class FeatureSettings(BaseModel):
    """The ``[features]`` table of a suite file: where the features are, what has to be there, how they are scaled.

    Attributes:
        files: domain to its file below ``folder``, ``.npz`` or ``.mat`` (up to version 7).
        folder: below the data folder.
        features: the name of the matrix (n, d) in each file.
        labels: the name of the n whole numbers in each file; their order is that of the classes.
        classes: how many classes there are, or their names in the order of the numbers; the numbers themselves if left
            out.
        counts: rows that a domain must have.
        row_norm: what each row is divided by: ``l1`` (the sum of its absolute values) or ``l2``; rows of zeros stay.
        standardise: whose rows give the mean that each column loses and the population standard deviation (divisor n)
            that it is divided by: ``per_domain`` its own domain's, ``source`` the source's, ``joint`` those of both.
            All rows of a file count, the drawn and the scored ones too. A constant column becomes 0.
        scored_share: share of the target rows that an inductive protocol scores: of each class, rounded up.

    Raises:
        ValueError: for fewer than one domain, a name that cannot stand in a task, a count of an unknown domain, or a
            class named twice.

    >>> FeatureSettings(files={"amazon": "amazon.npz", "dslr": "dslr.mat"}).domain_names()
    ['amazon', 'dslr']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: Annotated[dict[str, str], Field(min_length=1)]
    folder: str = "."
    features: Annotated[str, Field(min_length=1)] = "fts"
    labels: Annotated[str, Field(min_length=1)] = "labels"
    classes: Classes = None
    counts: dict[str, Annotated[int, Field(ge=1)]] = {}
    row_norm: Literal["none", "l1", "l2"] = "none"
    standardise: Literal["none", "per_domain", "source", "joint"] = "none"
    scored_share: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _names_fit(self) -> FeatureSettings:
        for name, file in self.files.items():
            if not _NAME.fullmatch(name) or "->" in name:
                raise ValueError(f"a domain's name is letters, digits, '_', '-', '+' and '.'; got {name!r}")
            if Path(file).suffix.lower() not in SUFFIXES:
                raise ValueError(f"features are read from {' and '.join(SUFFIXES)} files; got {file!r} for {name!r}")
        for name in self.counts:
            if name not in self.files:
                raise ValueError("counts: " + nearest("domain", name, self.files))
        return self

    def domain_names(self) -> list[str]:
        """The domains in the order of the suite file."""
        return list(self.files)


class _File(NamedTuple):
    """A file as it is now; the time and size of its last change are there to read it again after one."""

    path: Path
    changed: int
    size: int
    features: str
    labels: str


class _Domain(NamedTuple):
    file: _File
    features: NDArray[Any]  # (n, d), finite, as in the file
    labels: NDArray[np.int64]  # (n,), as in the file


class _Scaled(NamedTuple):
    rows: NDArray[np.float32]  # (n, d)
    digest: bytes


def load_features(
    name: str,
    settings: FeatureSettings,
    task: str,
    *,
    data: Path | None,
    source_holdout: float = 0.0,
    scored: str = "transductive",
    draw: Mapping[str, int] = _NOTHING,
    per_class: Mapping[str, int] = _NOTHING,
    repeat: int = 0,
) -> TaskData:
    """The features of one task, as a benchmark cell sees them.

    Rows are chosen by sha256 of names and numbers: the same on every machine. First ``draw``, then ``per_class``, then
    the hold-out is set aside. The features are scaled before that, by all rows of the files.

    Args:
        name: the suite's, for messages.
        settings: its ``[features]`` table.
        task: source and target, as in ``"amazon->dslr"``.
        data: the data folder.
        source_holdout: share of the source rows that is held out of training, in [0, 1).
        scored: ``"transductive"``: scored on the rows adapted to; ``"inductive"``: ``settings.scored_share`` of each
            target class is scored, drawn anew for each ``repeat``, and the rest adapted to.
        draw: how many rows of a domain are trained on or adapted to; all where not named.
        per_class: how many labelled rows of each class a domain gives as a source, drawn anew for each ``repeat``; all
            where not named.
        repeat: the number of the draw, >= 0.

    Returns:
        Splits of float32 features (n, d) with classes numbered from 0, their names, and a checksum of all of it.

    Raises:
        ValueError: for an unknown task or domain, a share or number that cannot be, or a class with too few rows.
        DataError: a ValueError, for files that are missing or damaged, hold NaN or inf, or do not fit each other.
    """
    source, target = _check_arguments(name, settings, task, source_holdout, scored, draw, per_class, repeat)
    folder = _folder(name, settings, data)
    domains = {domain: _read_domain(settings, domain, folder) for domain in (source, target)}
    classes, numbers = _classes(settings, domains)
    pair = _scaled(domains[source].file, domains[target].file, settings.row_norm, settings.standardise)
    scaled = dict(zip((source, target), pair, strict=True))
    labels = {domain: np.searchsorted(numbers, domains[domain].labels).astype(np.int64) for domain in domains}

    def split(domain: str, rows: NDArray[np.int64]) -> Split:
        return Split(scaled[domain].rows[rows], labels[domain][rows], rows)

    everything = {domain: np.arange(len(labels[domain]), dtype=np.int64) for domain in domains}
    of_source = draw_rows(source, everything[source], draw.get(source))
    if source in per_class:
        of_source = _draw_classes(source, of_source, labels[source], classes, per_class[source], repeat)
    train, held = hold_out(source, of_source, source_holdout)
    adapting, scoring = everything[target], None
    if scored == "inductive":
        adapting, scoring = _divide(target, labels[target], settings.scored_share, repeat)
    target_train = split(target, draw_rows(target, adapting, draw.get(target)))
    splits: dict[str, Split | None] = {
        "source_train": split(source, train),
        "source_holdout": split(source, held) if len(held) else None,
        "target_train": target_train,
        "target_eval": target_train if scoring is None else split(target, scoring),
    }
    digest = _checksum([held.digest for held in pair], splits, classes)
    return TaskData(**splits, classes=classes, checksum=digest)  # type: ignore[arg-type]


def status(name: str, settings: FeatureSettings, domains: list[str], data: Path | None) -> list[Status]:
    """For each domain: whether its file is there, and where. Reads none."""
    found = []
    for domain in domains:
        path = None if data is None else data / settings.folder / settings.files[domain]
        present = path is not None and path.is_file()
        where = "no data folder: pass --data DIR or set LANDBRIDGE_DATA" if path is None else str(path)
        relative = (Path(settings.folder) / settings.files[domain]).as_posix()
        how = "Nothing to do." if present else f"Put {relative} into the data folder; suite {name!r} downloads nothing."
        counted = settings.counts.get(domain)
        size = f"{settings.features!r} and {settings.labels!r}" + (f", {counted} rows" if counted else "")
        found.append(Status(domain, present, where, how, size))
    return found


def _check_arguments(
    name: str,
    settings: FeatureSettings,
    task: str,
    source_holdout: float,
    scored: str,
    draw: Mapping[str, int],
    per_class: Mapping[str, int],
    repeat: int,
) -> tuple[str, str]:
    if task.count("->") != 1:
        raise ValueError(f"load_features({name!r}) needs a task as 'source->target'; got {task!r}.")
    source, target = task.split("->")
    named = {"draw": draw, "per_class": per_class}
    for what, domains in {"task": {source: 1, target: 1}, **named}.items():
        for domain, count in domains.items():
            if domain not in settings.files:
                raise ValueError(f"load_features({name!r}), {what}: " + nearest("domain", domain, settings.files))
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"load_features({name!r}) draws a positive number of rows; got {what}={{{domain!r}: {count!r}}}. "
                    "Leave the domain out to use all its rows."
                )
    if source == target:
        raise ValueError(f"load_features({name!r}) needs two domains in a task; got {task!r}.")
    if scored not in ("inductive", "transductive"):
        raise ValueError(f"load_features({name!r}), scored: " + nearest("word", scored, ["inductive", "transductive"]))
    if not 0 <= source_holdout < 1:
        raise ValueError(
            f"load_features({name!r}) needs source_holdout as a share of the source rows in [0, 1); got "
            f"{source_holdout}. 0 switches the hold-out off."
        )
    if repeat < 0:
        raise ValueError(f"load_features({name!r}) needs repeat >= 0; got {repeat}.")
    return source, target


def _folder(name: str, settings: FeatureSettings, data: Path | None) -> Path:
    if data is None:
        first = (Path(settings.folder) / next(iter(settings.files.values()))).as_posix()
        raise DataError(
            f"suite {name!r}", f"a data folder with {first}", "none", "Pass --data DIR, or set LANDBRIDGE_DATA."
        )
    return Path(data) / settings.folder


def _read_domain(settings: FeatureSettings, domain: str, folder: Path) -> _Domain:
    path = folder / settings.files[domain]
    try:
        stat = path.stat()
    except OSError as error:
        there = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        came = f"no such file ({_some(there)} in {folder})" if there else f"no such file ({error.strerror})"
        raise DataError(
            path, f"the features of domain {domain!r}", came, "Put it there, or correct 'files'."
        ) from error
    if not path.is_file():
        raise DataError(path, f"the features of domain {domain!r} in a file", "a folder", "Correct 'files'.")
    found = _read(_File(path, stat.st_mtime_ns, stat.st_size, settings.features, settings.labels))
    count = settings.counts.get(domain)
    if count is not None and len(found.labels) != count:
        raise DataError(
            path,
            f"{count} rows of domain {domain!r}",
            str(len(found.labels)),
            "Get the file of the published set, or correct 'counts'.",
        )
    return found


@lru_cache(maxsize=4)
def _read(file: _File) -> _Domain:
    """One file, checked."""
    path = file.path
    arrays = (_npz_arrays if path.suffix.lower() == ".npz" else _mat_arrays)(path, (file.features, file.labels))
    matrix = _matrix(path, file.features, arrays[file.features])
    numbers = _numbers(path, file.labels, arrays[file.labels])
    if len(numbers) != len(matrix):
        turned = " It seems to be transposed." if matrix.shape[1] == len(numbers) else ""
        raise DataError(
            path,
            f"one label for each row of {file.features!r}, {len(matrix)}",
            f"{len(numbers)} in {file.labels!r}",
            f"Store features as (rows, features) and labels in the same order.{turned}",
        )
    return _Domain(file, matrix, numbers)


def _npz_arrays(path: Path, wanted: tuple[str, str]) -> dict[str, Any]:
    todo = f"Save it by numpy.savez(path, {wanted[0]}=features, {wanted[1]}=labels)."
    with path.open("rb") as opened:  # numpy leaves it open where the archive is broken
        if not zipfile.is_zipfile(opened):
            raise DataError(path, "an .npz archive of numpy", "a broken or another file", todo)
        opened.seek(0)
        try:
            with np.load(opened, allow_pickle=False) as file:
                _check_names(path, wanted, file.files)
                return {name: file[name] for name in wanted}
        except DataError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            came = f"what cannot be read ({error})"
            if "pickle" in str(error):
                came = "an array of Python objects, which would run code when it is read"
            raise DataError(path, "arrays of numbers in an .npz archive", came, todo) from error


def _mat_arrays(path: Path, wanted: tuple[str, str]) -> dict[str, Any]:
    from scipy.io import loadmat, whosmat

    try:
        _check_names(path, wanted, [name for name, _, _ in whosmat(path)])
        held: dict[str, Any] = loadmat(path, variable_names=list(wanted))
    except DataError:
        raise
    except NotImplementedError as error:  # what scipy says to the HDF5 files of MATLAB 7.3
        raise DataError(
            path,
            "a MATLAB file up to version 7",
            "version 7.3 (HDF5)",
            f"In MATLAB: save('{path.name}', '{wanted[0]}', '{wanted[1]}', '-v7'). Or store both in an .npz file.",
        ) from error
    except Exception as error:  # scipy raises what its parser stumbles over: zlib.error, TypeError, ValueError, ...
        if isinstance(error, (MemoryError, RecursionError)):
            raise
        came = f"what cannot be read ({error or type(error).__name__})"
        todo = "Get it again, or save it again."
        raise DataError(path, "a MATLAB file", came, todo) from error
    return {name: held[name] for name in wanted}


def _check_names(path: Path, wanted: tuple[str, str], there: list[str]) -> None:
    for name, key in zip(wanted, ("features", "labels"), strict=True):
        if name not in there:
            todo = f"Name the one that holds the {key} in the suite's [features] table: {key} = ..."
            raise DataError(path, f"an array named {name!r}", _some(sorted(there)) or "no array at all", todo)


def _matrix(path: Path, name: str, held: Any) -> NDArray[Any]:
    if hasattr(held, "toarray"):  # a sparse matrix of MATLAB
        held = held.toarray()
    found = np.asarray(held)
    if found.dtype.kind not in "fiub" or found.ndim != 2 or 0 in found.shape:
        raise DataError(
            path, f"{name!r} as numbers of shape (rows, features)", f"{found.dtype} of {found.shape}", "Save it so."
        )
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    if bad.size:
        column = int(np.flatnonzero(~np.isfinite(found[bad[0]]))[0])
        raise DataError(
            path,
            f"finite numbers in {name!r}",
            f"{found[bad[0], column]} in {bad.size} of {len(found)} rows, the first in row {bad[0]}, column {column}",
            "Leave such rows out (with their labels), or fill them in.",
        )
    return found


def _numbers(path: Path, name: str, held: Any) -> NDArray[np.int64]:
    found = np.asarray(held)
    if found.size != max(found.shape, default=0):
        raise DataError(
            path, f"{name!r} as one number a row", f"shape {found.shape}", "Store class numbers, not one-hot."
        )
    found = found.ravel()
    todo = "Number the classes, as 0, 1, 2, and store whole numbers."
    if found.dtype.kind not in "fiu":
        raise DataError(path, f"whole numbers in {name!r}", str(found.dtype), todo)
    if found.dtype.kind == "f":  # MATLAB's numbers are floating-point unless told otherwise
        broken = np.flatnonzero(~(np.isfinite(found) & (found == np.round(found))))
        if broken.size:
            raise DataError(path, f"whole numbers in {name!r}", f"{found[broken[0]]} in row {broken[0]}", todo)
    return found.astype(np.int64)


def _classes(settings: FeatureSettings, domains: dict[str, _Domain]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the classes, and their numbers in the files, ascending."""
    (source, of_source), (target, of_target) = domains.items()
    numbers, others = np.unique(of_source.labels), np.unique(of_target.labels)
    if not np.array_equal(numbers, others):
        only = {source: np.setdiff1d(numbers, others), target: np.setdiff1d(others, numbers)}
        told = [f"{_some([str(n) for n in extra])} in {domain!r} alone" for domain, extra in only.items() if len(extra)]
        raise DataError(
            of_target.file.path,
            f"the classes of domain {source!r} ({of_source.file.path.name})",
            ", ".join(told),
            "Closed-set adaptation needs the same classes in both: leave out the rows of the others.",
        )
    given = settings.classes
    wanted = len(given) if isinstance(given, tuple) else given
    if wanted is not None and wanted != len(numbers):
        came = f"{len(numbers)} ({_some([str(n) for n in numbers])})"
        raise DataError(of_source.file.path, f"labels of {wanted} classes", came, "Correct the labels, or 'classes'.")
    if len(numbers) < 2:
        raise DataError(
            of_source.file.path, "labels of two classes or more", str(numbers.tolist()), "Check the labels."
        )
    return given if isinstance(given, tuple) else tuple(map(str, numbers.tolist())), numbers


@lru_cache(maxsize=2)
def _scaled(source: _File, target: _File, row_norm: str, standardise: str) -> tuple[_Scaled, _Scaled]:
    """Both domains of a task, scaled; kept, since the draws and seeds of a task share them."""
    domains = _read(source), _read(target)
    sizes = [domain.features.shape[1] for domain in domains]
    if sizes[0] != sizes[1]:
        raise DataError(
            target.path,
            f"{sizes[0]} features a row, as in the source domain ({source.path.name})",
            f"{sizes[1]}",
            "Extract both by the same means.",
        )
    rows = [_normalise(row_norm, domain.features.astype(np.float64)) for domain in domains]
    if standardise == "per_domain":
        rows = [_standardise(held, held) for held in rows]
    elif standardise != "none":
        over = rows[0] if standardise == "source" else np.concatenate(rows)
        rows = [_standardise(held, over) for held in rows]
    first, second = (np.ascontiguousarray(held, dtype="<f4") for held in rows)
    return _Scaled(first, _digest(first, domains[0].labels)), _Scaled(second, _digest(second, domains[1].labels))


def _digest(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> bytes:
    digest = hashlib.sha256(f"{rows.shape}\n".encode())
    digest.update(rows.data)
    digest.update(labels.astype("<i8").data)
    return digest.digest()


def _checksum(domains: list[bytes], splits: Mapping[str, Split | None], classes: tuple[str, ...]) -> str:
    """Of the domains as they are scaled, and of the rows that each split takes."""
    digest = hashlib.sha256("\n".join(classes).encode())
    for domain in domains:
        digest.update(domain)
    for name, split in splits.items():
        digest.update(f"\n{name} {0 if split is None else len(split.rows)}\n".encode())
        if split is not None:
            digest.update(split.rows.astype("<i8").data)
    return digest.hexdigest()


def _normalise(norm: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if norm == "none":
        return rows
    lengths = np.linalg.norm(rows, ord={"l1": 1, "l2": 2}[norm], axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def _standardise(rows: NDArray[np.float64], over: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, deviation = over.mean(0), over.std(0)
    constant = deviation <= 1e-12 * np.abs(over).max(0)  # equal numbers, whose mean is rounded
    return np.where(constant, 0.0, (rows - mean) / np.where(constant, 1.0, deviation))


def _draw_classes(
    domain: str,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    count: int,
    repeat: int,
) -> NDArray[np.int64]:
    chosen = []
    for number, name in enumerate(classes):
        members = rows[labels[rows] == number]
        if len(members) < count:
            raise ValueError(
                f"load_features cannot draw {count} rows of class {name!r} of {domain!r}: it has {len(members)}. "
                f"Draw at most as many as the smallest class has (per_class), or leave {domain!r} out to use all rows."
            )
        chosen.append(hash_order(f"per-class/{domain}/{repeat}", members)[:count])
    return np.sort(np.concatenate(chosen))


def _divide(
    domain: str, labels: NDArray[np.int64], share: float, repeat: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows adapted to and rows scored, both ascending; of each class the share, rounded up, is scored."""
    adapting, scoring = [], []
    for number in np.unique(labels):
        order = hash_order(f"scored/{domain}/{repeat}", np.flatnonzero(labels == number).astype(np.int64))
        count = int(np.ceil(share * len(order) - 1e-9))
        scoring.append(order[:count])
        adapting.append(order[count:])
    found = np.sort(np.concatenate(adapting)), np.sort(np.concatenate(scoring))
    if not len(found[0]):
        raise ValueError(
            f"load_features cannot score {share} of each class of {domain!r}: no row is left to adapt to. "
            "Lower scored_share, or use a transductive protocol."
        )
    return found


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
