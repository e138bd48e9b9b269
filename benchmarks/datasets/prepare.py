"""Prepared image suites: every photograph decoded once into a memory-mapped uint8 array, and tasks read from there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...shared.names import nearest
from .base import DataError, Split, Status, TaskData, draw_rows, hash_order, hold_out
from .folders import FolderSettings, Listing, holds, scan_all
from .making import Work, array_is_fresh, exclusive, make, sweep
from .store import Identity, Index, read_index, right_size

__all__ = ["Prepared", "cache_folder", "load_folders", "open_prepared", "prepare", "status"]

SCORED = 0.2  # share of the target rows that an inductive protocol scores
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Prepared(NamedTuple):
    """One domain's photographs, decoded."""

    array: NDArray[np.uint8]  # (n, 3, side, side), a read-only memory map
    labels: NDArray[np.int64]  # (n,)
    files: tuple[str, ...]  # relative to the folder they came from
    classes: tuple[str, ...]
    checksum: str  # of the array: sha256 over the sha256 of its rows


def cache_folder() -> Path:
    """Where prepared arrays and features go: LANDBRIDGE_CACHE, else ``landbridge`` in XDG_CACHE_HOME or ~/.cache.

    >>> cache_folder().is_absolute()
    True
    """
    own = os.environ.get("LANDBRIDGE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    common = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(common) if os.path.isabs(common) else Path.home() / ".cache") / "landbridge"


def prepare(
    name: str,
    settings: FolderSettings,
    domains: Iterable[str],
    data: Path | None,
    *,
    cache: Path | None = None,
    processes: int | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Prepared]:
    """Decode the photographs of some domains into the cache; what is there and unchanged is left alone.

    Stopped at any moment, the next call goes on: it decodes no image again that is written, and ends with the same
    bytes. Files that are new or changed since (by name, size and time) are decoded, the others taken over. Images that
    cannot be read are named together at the end; all others are kept, so that only the mended ones are decoded next.

    Args:
        name: of the suite; the arrays go to ``CACHE/prepared/NAME-SIDE/DOMAIN.npy``, their index to ``DOMAIN.json``.
        settings: what the suite's folders hold.
        domains: which of ``settings.domain_names()``.
        data: the data folder.
        cache: instead of :func:`cache_folder`.
        processes: that decode side by side; None: as many as there are cores; 1: this process alone.
        progress: draw progress bars on the error output; None: if it is a terminal.
        say: called with a sentence for each domain that images have to be decoded of.

    Returns:
        What :func:`open_prepared` finds now, for each domain.

    Raises:
        ValueError: for an unknown domain, a name that is none for a folder, or no process.
        DataError: a ValueError, for folders that are not as they should be (see :func:`.folders.scan`; said before
            anything is decoded), files of which no image can be made (see :func:`.decode.decode`), a disk that is full,
            or another call at work on the suite.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"prepare needs one process or more; got processes={processes}. None takes a core each.")
    folder = _folder(name, settings, cache)
    listings = scan_all(settings, data, domains)
    assert data is not None  # else the scan has raised
    works = [Work(domain, listing, _identities(listing)) for domain, listing in listings.items()]
    try:
        if not all(_is_fresh(folder, work, settings, data) for work in works):
            with exclusive(folder):
                works = [work for work in works if not _is_fresh(folder, work, settings, data)]
                make(
                    folder,
                    works,
                    settings.side,
                    data,
                    processes=processes or _cores(),
                    progress=progress,
                    say=say or (lambda sentence: None),
                )
        sweep(folder, listings)
    except OSError as error:
        todo = (
            "Make room and see that the folder can be written to, or set LANDBRIDGE_CACHE to another; then run the "
            "same command again: what was decoded is kept."
        )
        raise DataError(folder, "a place to write to", error.strerror or str(error), todo) from error
    return {domain: _opened(folder, domain, settings, name) for domain in listings}


def open_prepared(name: str, settings: FolderSettings, domain: str, *, cache: Path | None = None) -> Prepared | None:
    """What the cache holds of a domain; needs no data folder, and reads no image.

    Returns:
        None, if it is not prepared, or was for other settings: other classes, counts or folders.

    Raises:
        ValueError: for an unknown domain.
        DataError: if the array or its index is damaged.
    """
    _check_domain("open_prepared", settings, domain)
    folder = _folder(name, settings, cache)
    index = read_index(folder / f"{domain}.json")
    if index is None or not _fits(index, settings, domain):
        return None
    return _mapped(folder, domain, index, settings.command(name, None))


def status(
    name: str, settings: FolderSettings, domains: Iterable[str], data: Path | None, cache: Path | None = None
) -> list[Status]:
    """For each domain: whether it is prepared, whether its photographs have changed since, and what to do.

    Args:
        name: of the suite.
        settings: what its folders hold.
        domains: which of ``settings.domain_names()``.
        data: the data folder; None: only the cache is looked at.
        cache: instead of :func:`cache_folder`.

    Raises:
        ValueError: for an unknown domain.
    """
    return [_status(name, settings, domain, data, cache) for domain in domains]


def load_folders(
    name: str,
    settings: FolderSettings,
    task: str,
    *,
    data: Path | None,
    cache: Path | None = None,
    source_holdout: float = 0.1,
    scored: str = "inductive",
    draw: Mapping[str, int] | None = None,
) -> TaskData:
    """One task of an image suite; the inputs are views of the prepared arrays, of which nothing is read yet.

    Args:
        name: of the suite.
        settings: what its folders hold.
        task: source and target, as in ``"amazon->dslr"``.
        data: the data folder; a domain that is not prepared, or was from another data folder, is prepared from it.
            None: the cache has to hold both. That files have changed since is noticed by :func:`prepare`, not here.
        cache: instead of :func:`cache_folder`.
        source_holdout: share of the drawn source rows held out of training, in [0, 1); 0: no hold-out.
        scored: ``"transductive"``: the target rows that are adapted to, as Office-31 papers do; ``"inductive"``: a
            fifth of the drawn target rows, chosen by hash, is scored and the others are adapted to.
        draw: how many rows of a domain are used; all where it is not named.

    Returns:
        Four splits whose inputs are :class:`~landbridge.shared.batches.Rows` of (N, 3, side, side), the class names,
        and a checksum made of the domains' checksums, the labels and the row numbers.

    Raises:
        ValueError: for a task or domain that the suite does not have, or a word or share that cannot be.
        DataError: a ValueError, for domains that are not prepared and cannot be.
    """
    from ...shared.batches import Rows

    source, target = _domains_of(settings, task)
    draw = draw or {}
    for domain in draw:
        _check_domain(f"load_folders({name!r}), draw", settings, domain)
    if scored not in ("inductive", "transductive"):
        raise ValueError(f"load_folders({name!r}), scored: " + nearest("word", scored, ["inductive", "transductive"]))
    if not 0 <= source_holdout < 1:
        raise ValueError(f"load_folders({name!r}) needs source_holdout in [0, 1); got {source_holdout}.")
    found = {domain: _ready(name, settings, domain, data, cache) for domain in (source, target)}
    if found[source].classes != found[target].classes:
        todo = f"Run `{settings.command(name, data)}`, which compares the domains."
        came = f"{', '.join(found[source].classes)} and {', '.join(found[target].classes)}"
        raise DataError(_folder(name, settings, cache), f"the same classes in {source} and {target}", came, todo)

    def split(domain: str, rows: NDArray[np.int64]) -> Split:
        return Split(Rows(found[domain].array, rows), found[domain].labels[rows], rows)  # type: ignore[arg-type]

    def drawn(domain: str) -> NDArray[np.int64]:
        return draw_rows(domain, np.arange(len(found[domain].labels), dtype=np.int64), draw.get(domain))

    train, held = hold_out(source, drawn(source), source_holdout)
    adapted = drawn(target)
    splits: dict[str, Split | None] = {
        "source_train": split(source, train),
        "source_holdout": split(source, held) if len(held) else None,
    }
    if scored == "transductive":
        splits["target_train"] = splits["target_eval"] = split(target, adapted)
    else:
        adapted, kept = _scored_apart(target, adapted)
        splits["target_train"], splits["target_eval"] = split(target, adapted), split(target, kept)
    checksum = _checksum(splits, found[source], found[target])
    return TaskData(**splits, classes=found[source].classes, checksum=checksum)  # type: ignore[arg-type]


def _scored_apart(target: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Target rows to adapt to and rows to score, both ascending."""
    count = max(1, int(SCORED * len(rows) + 0.5))
    if count >= len(rows):
        raise ValueError(
            f"load_folders cannot score a fifth of {len(rows)} rows of {target!r} and adapt to the others. Draw more, "
            "or score the rows adapted to (scored = 'transductive')."
        )
    order = hash_order(f"scored/{target}", rows)
    return np.sort(order[count:]), np.sort(order[:count])


def _checksum(splits: Mapping[str, Split | None], source: Prepared, target: Prepared) -> str:
    digest = hashlib.sha256("\n".join((*source.classes, source.checksum, target.checksum)).encode())
    for name, split in splits.items():
        digest.update(f"\n{name} {'none' if split is None else len(split.rows)}\n".encode())
        if split is not None:
            digest.update(split.rows.astype("<i8").tobytes() + split.labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _domains_of(settings: FolderSettings, task: str) -> tuple[str, str]:
    source, arrow, target = task.partition("->")
    if not arrow or source == target:
        raise ValueError(f"a task is two domains, as in 'amazon->dslr'; got {task!r}.")
    for domain in (source, target):
        _check_domain(f"task {task!r}", settings, domain)
    return source, target


def _check_domain(where: str, settings: FolderSettings, domain: str) -> None:
    if domain not in settings.domain_names():
        raise ValueError(f"{where}: " + nearest("domain", domain, settings.domain_names()))


def _ready(name: str, settings: FolderSettings, domain: str, data: Path | None, cache: Path | None) -> Prepared:
    """The domain as the cache has it, prepared now if it is not and the photographs are there."""
    folder = _folder(name, settings, cache)
    if data is not None and holds(settings, data, domain):
        index = _index(folder, domain)
        from_there = index is not None and index.data == str(data.resolve()) and _fits(index, settings, domain)
        if not from_there or not right_size(folder / f"{domain}.npy", len(index.files), settings.side):  # type: ignore[union-attr]
            return prepare(name, settings, [domain], data, cache=cache)[domain]
    found = open_prepared(name, settings, domain, cache=cache)
    if found is None:
        where = "" if data is not None else ", DIR being the folder that holds the photographs"
        todo = f"Run `{settings.command(name, data)}` first{where}."
        raise DataError(folder / f"{domain}.npy", f"the prepared images of domain {domain!r}", "none", todo)
    return found


def _status(name: str, settings: FolderSettings, domain: str, data: Path | None, cache: Path | None) -> Status:
    _check_domain("status", settings, domain)
    folder = _folder(name, settings, cache)
    array = folder / f"{domain}.npy"
    command = f"`{settings.command(name, data)}`"
    try:
        found = open_prepared(name, settings, domain, cache=cache)
    except DataError as error:
        return Status(domain, False, str(array), str(error), "prepared images", "damaged")
    expected = settings.counts.get(domain)
    if found is None:
        size = f"{expected} images" if expected else "any number of images"
        if data is None:
            how = f"Put the photographs into a data folder and run {command}."
            return Status(domain, False, str(array), how, size, "missing")
        try:
            listing = scan_all(settings, data, [domain])[domain]
        except DataError as error:
            state = "damaged" if holds(settings, data, domain) else "missing"
            return Status(domain, False, str(array), str(error), size, state)
        size = f"{len(listing.files)} images in {len(listing.classes)} classes"
        how = f"The photographs are there. Run {command} to decode them."
        return Status(domain, False, str(listing.root), how, size, "not decoded yet")
    size = f"{len(found.labels)} images in {len(found.classes)} classes, {found.array.nbytes / 1e6:.0f} MB"
    how, state = "Nothing to do.", "there"
    if data is not None and holds(settings, data, domain):
        try:
            listing = scan_all(settings, data, [domain])[domain]
            if not _is_fresh(folder, Work(domain, listing, _identities(listing)), settings, data):
                how = f"The photographs have changed since they were prepared: run {command} again."
        except DataError as error:
            how = f"The photographs have changed since they were prepared: {error}"
    return Status(domain, True, str(array), how, size, state if how == "Nothing to do." else "changed")


def _folder(name: str, settings: FolderSettings, cache: Path | None) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a suite's name is letters, digits, '_', '-' and '.', to name a folder by; got {name!r}.")
    return (cache_folder() if cache is None else cache) / "prepared" / f"{name}-{settings.side}"


def _identities(listing: Listing) -> list[Identity]:
    identities = []
    for file in listing.files:
        try:
            found = os.stat(listing.root / file)
        except OSError as error:
            todo = "Run the same command again."
            raise DataError(listing.root / file, "the file found a moment ago", str(error.strerror), todo) from error
        identities.append(Identity(file, found.st_size, found.st_mtime_ns))
    return identities


def _index(folder: Path, domain: str) -> Index | None:
    try:
        return read_index(folder / f"{domain}.json")
    except DataError:
        return None


def _is_fresh(folder: Path, work: Work, settings: FolderSettings, data: Path) -> bool:
    """Whether there is nothing to do: the array, the index and the files agree."""
    index, listing = _index(folder, work.domain), work.listing
    return (
        index is not None
        and not listing.strangers
        and array_is_fresh(folder, work, index, settings.side)
        and (index.classes, index.labels) == (listing.classes, tuple(listing.labels.tolist()))
        and (index.data, index.source) == (str(data.resolve()), str(listing.root.resolve()))
        and index.place == listing.place
    )


def _fits(index: Index, settings: FolderSettings, domain: str) -> bool:
    """Whether the array is one that these settings would make, as far as the cache alone can tell."""
    classes, (folder, kind, *places) = settings.classes, index.place
    return (
        index.side == settings.side
        and (index.classes == classes if isinstance(classes, tuple) else classes in (None, len(index.classes)))
        and settings.counts.get(domain) in (None, len(index.files))
        and folder in settings.folders()
        and (kind == "lists") == (domain in settings.lists)
        and (tuple(places) == settings.places(domain) if kind == "lists" else places[0] in settings.places(domain))
    )


def _opened(folder: Path, domain: str, settings: FolderSettings, name: str) -> Prepared:
    index = read_index(folder / f"{domain}.json")
    if index is None or not _fits(index, settings, domain):
        todo = "Run the same command again."
        raise DataError(folder / f"{domain}.json", "the index just written", "another", todo)
    return _mapped(folder, domain, index, settings.command(name, None))


def _mapped(folder: Path, domain: str, index: Index, command: str) -> Prepared:
    array = folder / f"{domain}.npy"
    n, side = len(index.files), index.side
    if not right_size(array, n, side):
        came = f"{array.stat().st_size} bytes" if array.is_file() else "no such file"
        todo = f"It is damaged: run `{command}`, which makes it anew."
        raise DataError(array, f"{n} images of 3x{side}x{side} bytes and a header", came, todo)
    labels = np.array(index.labels, dtype=np.int64)
    return Prepared(np.load(array, mmap_mode="r"), labels, index.files, index.classes, index.checksum)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
