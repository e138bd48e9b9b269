"""What a suite file says of arrays in files, whatever they are: where rows and labels lie, and which are scored."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...shared.names import nearest
from .base import Classes, DataError, Status
from .readers import ARRAYS, SVMLIGHT, Place, as_labels, check_finite, is_sparse, locate, read, some

__all__ = ["DescribedSettings", "Domain", "Names", "Part", "classes_of",
           "label_bytes", "look", "read_again", "read_domain"]  # fmt: skip

Names = Annotated[str, Field(min_length=1)] | dict[str, str]  # one for all domains, or by domain
Check = Callable[[Place, Any], Any]  # refuses what the table does not take, and gives it as it is kept
NAMELESS = (".npy", *SVMLIGHT)  # files of one array, or of one and its labels
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # of a domain: it becomes a part of "a->b"


class DescribedSettings(BaseModel):
    """What ``[features]`` and ``[arrays]`` have in common.

    Attributes:
        files: domain to its file below ``folder``; domains may share one, and have names of their own in it.
        folder: below the data folder.
        labels: the name of the n labels in each file, or names by domain: whole numbers, names or booleans. Their
            sorted order is that of the classes.
        label_files: domain to the file of its labels, where they lie in another: ``.npy``, ``.npz`` or ``.mat``.
        test_files: domain to a file of rows that are given for scoring, with the same names within.
        test_labels: the name of their labels, where it is another than ``labels``.
        test_label_files: domain to the file of their labels.
        split: the name of n marks in each file, ``train`` or ``test``, or 0 and 1: rows marked ``test`` (1) are scored.
        classes: how many classes there are, or their names in the order of the labels; the labels themselves if left
            out.
        counts: rows that a domain must have (without those of ``test_files``).
        scored_share: share of the target rows that an inductive protocol scores, where neither ``test_files`` nor
            ``split`` says which: of each class, rounded up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    TABLE: ClassVar[str]
    KEY: ClassVar[str]  # how the table calls the name of the rows
    SUFFIXES: ClassVar[tuple[str, ...]]

    files: Annotated[dict[str, str], Field(min_length=1)]
    folder: str = "."
    labels: Names = "labels"
    label_files: dict[str, str] = {}
    test_files: dict[str, str] = {}
    test_labels: Names | Literal[""] = ""
    test_label_files: dict[str, str] = {}
    split: str = ""
    classes: Classes = None
    counts: dict[str, Annotated[int, Field(ge=1)]] = {}
    scored_share: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _names_fit(self) -> DescribedSettings:
        for name, file in self.files.items():
            if not _NAME.fullmatch(name) or "->" in name:
                raise ValueError(f"a domain's name is letters, digits, '_', '-', '+' and '.'; got {name!r}")
            self._check_suffix(self.KEY, name, file, self.SUFFIXES)
        for name, file in self.test_files.items():
            self._check_suffix(self.KEY, name, file, self.SUFFIXES)
        for name, file in {**self.label_files, **self.test_label_files}.items():
            self._check_suffix("labels", name, file, ARRAYS)
        maps = ("counts", "label_files", "test_files", "test_label_files")
        by_domain: dict[str, Any] = {key: getattr(self, key) for key in maps}
        for key in (self.KEY, "labels", f"test_{self.KEY}", "test_labels"):
            if isinstance(getattr(self, key), dict):
                by_domain[key] = getattr(self, key)
                files = self.test_files if key.startswith("test_") else self.files
                if key.endswith("labels"):
                    files = {**files, **(self.test_label_files if key.startswith("test_") else self.label_files)}
                named = [name for name, file in files.items() if Path(file).suffix.lower() not in NAMELESS]
                missing = [name for name in named if name not in getattr(self, key)]
                if missing:
                    raise ValueError(f"{key}: domain {missing[0]!r} has no name there; name one for each domain")
        for key, known in by_domain.items():
            for name in known:
                if name not in self.files:
                    raise ValueError(f"{key}: " + nearest("domain", name, self.files))
        if self.split and self.test_files:
            raise ValueError("'split' and 'test_files' both say which rows are scored; leave one of them out")
        return self

    def _check_suffix(self, what: str, domain: str, file: str, suffixes: tuple[str, ...]) -> None:
        if Path(file).suffix.lower() not in suffixes:
            known = ", ".join(suffixes[:-1]) + f" and {suffixes[-1]}"
            raise ValueError(f"{what} are read from {known} files; got {file!r} for {domain!r}")

    def domain_names(self) -> list[str]:
        """The domains in the order of the suite file."""
        return list(self.files)

    def name_in(self, key: str, domain: str, *, test: bool = False) -> str:
        """The name of an array in a domain's file, or in the one of its rows given for scoring."""
        names: str | dict[str, str] = (getattr(self, f"test_{key}") if test else "") or getattr(self, key)
        return names if isinstance(names, str) else names.get(domain, "")

    def stamps(self, domains: list[str], data: Path | None) -> list[tuple[str, int, int]]:
        """Time and size of the files of some domains: after a change they are read again."""
        found = []
        for files in (self.files, self.label_files, self.test_files, self.test_label_files):
            for path in [Path(data or ".") / self.folder / files[domain] for domain in domains if domain in files]:
                try:
                    stat = path.stat()
                except OSError:  # what reads it says so
                    continue
                found.append((str(path), stat.st_mtime_ns, stat.st_size))
        return found


class Part(NamedTuple):
    """Where some rows of a domain lie, and their labels and marks."""

    rows: Place
    labels: Place
    split: Place | None
    test: bool


class Domain(NamedTuple):
    """A domain as its files have it.

    Attributes:
        parts: where it came from.
        rows: (n, ...), finite: an array, perhaps mapped, or a sparse matrix in rows.
        labels: (n,), as in the files: whole numbers, booleans or strings.
        test: (n,), which rows are given for scoring; None: nobody says.
    """

    parts: tuple[Part, ...]
    rows: Any
    labels: NDArray[Any]
    test: NDArray[np.bool_] | None


def read_domain(name: str, settings: DescribedSettings, domain: str, data: Path | None, check: Check) -> Domain:
    """A domain, checked; the last four are kept until their files change.

    Args:
        name: the suite's, for messages.
        settings: its table.
        domain: which.
        data: the data folder.
        check: of the rows, hashable.

    Raises:
        DataError: for files that are missing, damaged, or not as the suite file says.
    """
    if data is None:
        first = (Path(settings.folder) / next(iter(settings.files.values()))).as_posix()
        raise DataError(
            f"suite {name!r}", f"a data folder with {first}", "none", "Pass --data DIR, or set LANDBRIDGE_DATA."
        )
    folder = Path(data) / settings.folder
    parts = [_part(settings, domain, folder, test=False)]
    if domain in settings.test_files:
        parts.append(_part(settings, domain, folder, test=True))
    found = read_again(tuple(parts), check)
    count = settings.counts.get(domain)
    rows = len(found.labels) if found.test is None or settings.split else int((~found.test).sum())
    if count is not None and rows != count:
        raise DataError(
            parts[0].rows.path,
            f"{count} rows of domain {domain!r}",
            str(rows),
            "Get the file of the published set, or correct 'counts'.",
        )
    return found


def _part(settings: DescribedSettings, domain: str, folder: Path, *, test: bool) -> Part:
    files, label_files = (
        (settings.test_files, settings.test_label_files) if test else (settings.files, settings.label_files)
    )
    given = " given for scoring" if test else ""
    file = folder / files[domain]
    alone = file.suffix.lower() in NAMELESS
    table, key = settings.TABLE, settings.KEY
    what = f"the {key} of domain {domain!r}{given}"
    rows = locate(file, "" if alone else settings.name_in(key, domain, test=test), key, table, what, settings.SUFFIXES)
    label_file = folder / label_files[domain] if domain in label_files else file
    nameless = label_file.suffix.lower() in NAMELESS
    if label_file == file and file.suffix.lower() == ".npy":
        other = "test_label_files" if test else "label_files"
        raise DataError(file, f"a file of labels beside it, as it holds the {key} alone", "none",
                        f"Name it in the suite's [{table}] table: {other} = {{ {domain} = ... }}.")  # fmt: skip
    what = f"the labels of domain {domain!r}{given}"
    name = "" if nameless else settings.name_in("labels", domain, test=test)
    labels = locate(label_file, name, "labels", table, what, (*ARRAYS, *SVMLIGHT))
    marks = None
    if settings.split:
        if alone:
            raise DataError(file, f"marks named {settings.split!r} beside the rows", "a file of one array",
                            "Store them together in an .npz file, or name test_files instead of split.")  # fmt: skip
        marks = rows._replace(name=settings.split, key="split")
    return Part(rows, labels, marks, test)


@lru_cache(maxsize=4)
def read_again(parts: tuple[Part, ...], check: Check) -> Domain:
    """:func:`read_domain` of files that were found: what was read last is still there."""
    rows, labels, test = [], [], []
    for part in parts:
        found = read(part.rows)
        values = check(part.rows, found.values)
        check_finite(part.rows, values)
        n = int(values.shape[0])
        same = part.labels.path == part.rows.path and found.labels is not None
        held: Any = found.labels if same else read(part.labels).values
        turned = ""
        if not is_sparse(held) and values.ndim > 1 and np.size(held) in values.shape[1:] and np.size(held) != n:
            turned = " It seems to be transposed: rows come first."
        of = f"{part.rows.name!r}" if part.rows.name else part.rows.path.name
        column = as_labels(part.labels, held, n, of, turned)
        rows.append(values)
        labels.append(column)
        test.append(np.full(n, part.test) if part.split is None else _marks(part.split, n))
    _check_alike(parts, rows, labels)
    marked = len(parts) > 1 or parts[0].split is not None
    return Domain(parts, _together(rows), np.concatenate(labels), np.concatenate(test) if marked else None)


def _marks(place: Place, rows: int) -> NDArray[np.bool_]:
    """Which rows are given for scoring."""
    found = np.asarray(read(place).values)
    found = found.ravel() if found.size == max(found.shape, default=0) else found
    todo = "Store one mark a row: 'train' or 'test', or 0 and 1, where 1 is for rows to be scored."
    if found.shape != (rows,):
        raise DataError(place.path, f"{rows} marks in {place.name!r}", f"shape {found.shape}", todo)
    words = {word for word in np.unique(found).tolist()}  # noqa: C416 (numpy's own types become Python's)
    if words == {"train", "test"}:
        return np.asarray(found == "test")
    if words in ({0, 1}, {False, True}):
        return np.asarray(found == 1)
    raise DataError(place.path, f"marks of both kinds in {place.name!r}", some(sorted(map(repr, words))), todo)


def _check_alike(parts: tuple[Part, ...], rows: list[Any], labels: list[NDArray[Any]]) -> None:
    """The rows given for scoring are like the others."""
    for part, values, column in zip(parts[1:], rows[1:], labels[1:], strict=True):
        first = parts[0].rows.path.name
        if values.shape[1:] != rows[0].shape[1:] and not is_sparse(values):
            raise DataError(part.rows.path, f"rows of shape {rows[0].shape[1:]}, as in {first}", str(values.shape[1:]),
                            "Make them by the same means.")  # fmt: skip
        if (column.dtype.kind == "U") != (labels[0].dtype.kind == "U"):
            raise DataError(part.labels.path, f"labels as in {first}", str(column.dtype), "Write them in one way.")


def _together(rows: list[Any]) -> Any:
    if len(rows) == 1:
        return rows[0]
    if is_sparse(rows[0]):
        from scipy.sparse import csr_matrix, vstack

        width = max(held.shape[1] for held in rows)
        return vstack([csr_matrix((r.data, r.indices, r.indptr), (r.shape[0], width)) for r in rows]).tocsr()
    return np.concatenate(rows)


def classes_of(
    settings: DescribedSettings, domains: dict[str, Domain]
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The names of the classes, and each domain's labels as their numbers.

    Raises:
        DataError: for classes that one domain alone has, another number of them than the suite file says, or one.
    """
    (source, of_source), (target, of_target) = domains.items()
    paths = of_source.parts[0].labels.path, of_target.parts[0].labels.path
    columns = of_source.labels, of_target.labels
    if (columns[0].dtype.kind == "U") != (columns[1].dtype.kind == "U"):
        came, wanted = (some(sorted(map(repr, np.unique(c)[:3].tolist()))) for c in columns[::-1])
        todo = "Write the labels of all domains in one way, as numbers or as names."
        raise DataError(paths[1], f"labels as in domain {source!r} ({paths[0].name}): {wanted}", came, todo)
    known, others = np.unique(columns[0]), np.unique(columns[1])
    if not np.array_equal(known, others):
        only = {source: np.setdiff1d(known, others), target: np.setdiff1d(others, known)}
        told = [f"{some([str(n) for n in extra])} in {domain!r} alone" for domain, extra in only.items() if len(extra)]
        todo = "Closed-set adaptation needs the same classes in both: leave out the rows of the others."
        if len(known) == len(others) and known.dtype.kind in "iu" and others.dtype.kind in "iu":
            step = np.unique(known.astype(np.int64) - others.astype(np.int64))
            if len(step) == 1 and abs(step[0]) == 1:
                todo = "One seems to count its classes from 0 and the other from 1: number both alike."
        raise DataError(paths[1], f"the classes of domain {source!r} ({paths[0].name})", ", ".join(told), todo)
    given = settings.classes
    wanted_number = len(given) if isinstance(given, tuple) else given
    if wanted_number is not None and wanted_number != len(known):
        came = f"{len(known)} ({some([str(n) for n in known])})"
        raise DataError(paths[0], f"labels of {wanted_number} classes", came, "Correct the labels, or 'classes'.")
    if len(known) < 2:
        raise DataError(paths[0], "labels of two classes or more", str(known.tolist()), "Check the labels.")
    names = given if isinstance(given, tuple) else tuple(map(str, known.tolist()))
    if isinstance(given, tuple) and known.dtype.kind == "U":  # names are found by themselves, not by their order
        strange = [label for label in known.tolist() if label not in given]
        if strange:
            raise DataError(
                paths[0], "labels that 'classes' names", repr(strange[0]), nearest("class", strange[0], given)
            )
        order = {label: number for number, label in enumerate(given)}
        place = np.array([order[label] for label in known.tolist()], dtype=np.int64)
    else:
        place = np.arange(len(known), dtype=np.int64)
    numbers = {domain: place[np.searchsorted(known, column)] for domain, column in zip(domains, columns, strict=True)}
    return names, numbers


def label_bytes(labels: NDArray[Any]) -> bytes:
    """Labels as bytes that do not depend on how wide numbers or texts are stored."""
    if labels.dtype.kind == "U":
        return "\0".join(labels.tolist()).encode()
    return labels.astype("<i8").tobytes()


def look(
    name: str,
    settings: DescribedSettings,
    domains: list[str],
    data: Path | None,
    read_one: Callable[[str], tuple[int, str]],
) -> list[Status]:
    """For each domain: whether its files are there and hold what they should; they are read for that.

    Args:
        name: the suite's.
        settings: its table.
        domains: which.
        data: the data folder.
        read_one: reads a domain and gives the number of its rows and their shape in words; raises DataError.
    """
    found = []
    for domain in domains:
        file = (Path(settings.folder) / settings.files[domain]).as_posix()
        path = None if data is None else data / file
        where = "no data folder: pass --data DIR or set LANDBRIDGE_DATA" if path is None else str(path)
        counted = settings.counts.get(domain)
        size = f"{settings.name_in(settings.KEY, domain)!r} and {settings.name_in('labels', domain)!r}"
        size += f", {counted} rows" if counted else ""
        if path is None or not path.is_file():
            how = f"Put {file} into the data folder; suite {name!r} downloads nothing."
            found.append(Status(domain, False, where, how, size, "missing"))
            continue
        try:
            rows, shape = read_one(domain)
        except DataError as error:
            state = "missing" if error.came.startswith("no such file") else "damaged"
            found.append(Status(domain, False, where, str(error), size, state))
            continue
        found.append(Status(domain, True, where, "Nothing to do.", f"{rows} rows of {shape}", "there"))
    return found
