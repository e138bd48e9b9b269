"""Features that a user already has, dense or sparse: a file a domain, as a task's data.

A file holds a matrix (n, d) and n labels: ``.npz`` and ``.mat`` under two names, svmlight in its lines; a matrix alone
(``.npy``, what ``scipy.sparse.save_npz`` wrote) has its labels in another file. Rows may be divided by their norm, and
columns standardised, as published recipes on bags of words do. No label is read for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .base import DataError, Split, Status, TaskData
from .choice import check_arguments, choose, digest_of
from .described import DescribedSettings, Domain, Names, Part, classes_of, label_bytes, look, read_again, read_domain
from .readers import ARRAYS, SVMLIGHT, Place, is_sparse

__all__ = ["SUFFIXES", "FeatureSettings", "load_features", "status"]

SUFFIXES = (*ARRAYS, *SVMLIGHT)
DENSE_BYTES = 1 << 28  # of a domain's rows as float32, up to which a sparse matrix is made dense in memory
_NOTHING: Mapping[str, int] = {}


class FeatureSettings(DescribedSettings):
    """The ``[features]`` table of a suite file: where the features are, what has to be there, how they are scaled.

    Attributes:
        files: domain to its file below ``folder``: ``.npz`` or ``.mat`` (up to version 7), of a dense or a sparse
            matrix; ``.npy``; or svmlight (``.svmlight``, ``.libsvm``, ``.txt``).
        features: the name of the matrix (n, d) in each file, or names by domain.
        test_features: the same in ``test_files``, where it is another.
        columns: d, where svmlight files do not name the last one; the most that a domain of the task has, if left out.
        row_norm: what each row is divided by: ``l1`` (the sum of its absolute values) or ``l2``; rows of zeros stay.
        standardise: whose rows give the mean that each column loses and the population standard deviation (divisor n)
            that it is divided by: ``per_domain`` its own domain's, ``source`` the source's, ``joint`` those of both.
            All rows of a domain count, the drawn and the scored ones too. A constant column becomes 0.

    Raises:
        ValueError: for fewer than one domain, a name that cannot stand in a task, a count of an unknown domain, or a
            class named twice.

    >>> FeatureSettings(files={"amazon": "amazon.npz", "dslr": "dslr.mat"}).domain_names()
    ['amazon', 'dslr']
    """

    TABLE: ClassVar[str] = "features"
    KEY: ClassVar[str] = "features"
    SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES

    features: Names = "fts"
    test_features: Names | Literal[""] = ""
    columns: Annotated[int, Field(ge=1)] | None = None
    row_norm: Literal["none", "l1", "l2"] = "none"
    standardise: Literal["none", "per_domain", "source", "joint"] = "none"


class _Scaled(NamedTuple):
    rows: NDArray[np.float32]  # (n, d), in memory or mapped
    digest: bytes


class _How(NamedTuple):
    """What decides the scaled rows of two domains, beside their files."""

    row_norm: str
    standardise: str
    columns: int | None


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
        scored: ``"transductive"``: scored on the rows adapted to; ``"inductive"``: scored on those given for it, else
            on ``settings.scored_share`` of each target class, drawn anew for each ``repeat``, and adapted to the rest.
        draw: how many rows of a domain are trained on or adapted to; all where not named.
        per_class: how many labelled rows of each class a domain gives as a source, drawn anew for each ``repeat``; all
            where not named.
        repeat: the number of the draw, >= 0.

    Returns:
        Splits of float32 features (n, d) with classes numbered from 0, their names, and a checksum of all of it. Of a
        sparse matrix too large to be dense in memory the inputs are :class:`~landbridge.shared.batches.Rows` of a file.

    Raises:
        ValueError: for an unknown task or domain, a share or number that cannot be, or a class with too few rows.
        DataError: a ValueError, for files that are missing or damaged, hold NaN or inf, or do not fit each other.
    """
    from ...shared.batches import Rows  # it needs torch

    source, target = check_arguments(
        "load_features", name, settings, task, source_holdout, scored, draw, per_class, repeat
    )
    domains = {domain: read_domain(name, settings, domain, data, _matrix) for domain in (source, target)}
    classes, labels = classes_of(settings, domains)
    how = _How(settings.row_norm, settings.standardise, settings.columns)
    pair = _scaled(domains[source].parts, domains[target].parts, how)
    scaled = dict(zip((source, target), pair, strict=True))
    chosen = choose(
        source, target, domains, labels, classes, source_holdout=source_holdout, scored=scored,
        scored_share=settings.scored_share, draw=draw, per_class=per_class, repeat=repeat,
    )  # fmt: skip

    def split(domain: str, rows: NDArray[np.int64]) -> Split:
        held = scaled[domain].rows
        inputs: Any = Rows(held, rows) if isinstance(held, np.memmap) else held[rows]
        return Split(inputs, labels[domain][rows], rows)

    target_train = split(target, chosen.target_train)
    splits: dict[str, Split | None] = {
        "source_train": split(source, chosen.source_train),
        "source_holdout": split(source, chosen.source_holdout) if len(chosen.source_holdout) else None,
        "target_train": target_train,
        "target_eval": target_train if chosen.target_eval is None else split(target, chosen.target_eval),
    }
    digest = digest_of([held.digest for held in pair], splits, classes)
    return TaskData(**splits, classes=classes, checksum=digest)  # type: ignore[arg-type]


def status(name: str, settings: FeatureSettings, domains: list[str], data: Path | None) -> list[Status]:
    """For each domain: whether its file is there and holds what it should, and where. It is read for that."""

    def one(domain: str) -> tuple[int, str]:
        found = read_domain(name, settings, domain, data, _matrix)
        sparse = ", sparse" if is_sparse(found.rows) else ""
        return found.rows.shape[0], f"{found.rows.shape[1]} features{sparse}"

    return look(name, settings, domains, data, one)


def _matrix(place: Place, held: Any) -> Any:
    """Numbers (n, d), dense or sparse."""
    found: Any = held if is_sparse(held) else np.asarray(held)
    if found.dtype.kind not in "fiub" or found.ndim != 2 or 0 in found.shape:
        name = f"{place.name!r}" if place.name else f"the {place.key}"
        raise DataError(
            place.path, f"{name} as numbers of shape (rows, features)", f"{found.dtype} of {found.shape}", "Save it so."
        )
    if is_sparse(found):
        found.sum_duplicates()
    return found


@lru_cache(maxsize=2)
def _scaled(source: tuple[Part, ...], target: tuple[Part, ...], how: _How) -> tuple[_Scaled, _Scaled]:
    """Both domains of a task, scaled; kept, since the draws and seeds of a task share them."""
    domains = [read_again(parts, _matrix) for parts in (source, target)]
    raw = _of_one_width(domains, how.columns)
    if all(_is_small(rows) for rows in raw):
        return _scaled_in_memory(raw, [domain.labels for domain in domains], how)
    from .sparse_rows import scaled_files

    first, second = scaled_files(raw, [domain.labels for domain in domains], how.row_norm, how.standardise)
    return _Scaled(*first), _Scaled(*second)


def _of_one_width(domains: list[Domain], columns: int | None) -> list[Any]:
    """Both matrices; those of svmlight, whose last columns may be empty, as wide as the wider, and numbered alike.

    Whether column numbers begin with 0 or 1 is told by all files of the task together: one that happens to lack the
    first feature would otherwise be moved by a column.
    """
    raw = [domain.rows for domain in domains]
    paths = [domain.parts[0].rows.path for domain in domains]
    lines = [path.suffix.lower() in SVMLIGHT for path in paths]
    if any(lines):
        from scipy.sparse import csr_matrix

        first = min(
            (int(rows.indices.min()) for rows, line in zip(raw, lines, strict=True) if line and rows.nnz), default=0
        )
        shift = min(first, 1)
        most = max(rows.shape[1] - (shift if line else 0) for rows, line in zip(raw, lines, strict=True))
        if columns is not None and most > columns:
            widest = paths[int(np.argmax([rows.shape[1] for rows in raw]))]
            todo = "Correct 'columns' in the suite's [features] table, or get the file again."
            raise DataError(widest, f"at most {columns} features a row", f"{most}", todo)
        wide = columns or most
        raw = [
            csr_matrix((rows.data, rows.indices - shift, rows.indptr), shape=(rows.shape[0], wide)) if line else rows
            for rows, line in zip(raw, lines, strict=True)
        ]
    if raw[0].shape[1] != raw[1].shape[1]:
        raise DataError(
            paths[1],
            f"{raw[0].shape[1]} features a row, as in the source domain ({paths[0].name})",
            f"{raw[1].shape[1]}",
            "Extract both by the same means.",
        )
    return raw


def _is_small(rows: Any) -> bool:
    return not is_sparse(rows) or 4 * rows.shape[0] * rows.shape[1] <= DENSE_BYTES


def _scaled_in_memory(raw: list[Any], labels: list[NDArray[Any]], how: _How) -> tuple[_Scaled, _Scaled]:
    dense = [rows.toarray() if is_sparse(rows) else rows for rows in raw]
    rows = [_normalise(how.row_norm, held.astype(np.float64)) for held in dense]
    if how.standardise == "per_domain":
        rows = [_standardise(held, held) for held in rows]
    elif how.standardise != "none":
        over = rows[0] if how.standardise == "source" else np.concatenate(rows)
        rows = [_standardise(held, over) for held in rows]
    first, second = (np.ascontiguousarray(held, dtype="<f4") for held in rows)
    return _Scaled(first, _digest(first, labels[0])), _Scaled(second, _digest(second, labels[1]))


def _digest(rows: NDArray[np.float32], labels: NDArray[Any]) -> bytes:
    digest = hashlib.sha256(f"{rows.shape}\n".encode())
    digest.update(rows.data)
    digest.update(label_bytes(labels))
    return digest.digest()


def _normalise(norm: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if norm == "none":
        return rows
    lengths = np.linalg.norm(rows, ord={"l1": 1, "l2": 2}[norm], axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def _standardise(rows: NDArray[np.float64], over: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, deviation = over.mean(0), over.std(0)
    constant = deviation <= 1e-12 * np.abs(over).max(0)  # equal numbers, whose mean is rounded
    return np.where(constant, 0.0, (rows - mean) / np.where(constant, 1.0, deviation))
