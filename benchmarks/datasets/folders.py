"""Photographs in folders or by list files: which files a domain has, which class each is of, and what is wrong.

Two layouts are read, told apart by themselves: ``domain/class/image.jpg``, and Office-31's own with a folder ``images``
in each domain. List files (VisDA, DomainNet) hold a relative path and a class number a line. Nothing is decoded here.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from ...shared.names import nearest
from .base import Classes, DataError

__all__ = ["SUFFIXES", "FolderSettings", "Listing", "holds", "scan", "scan_all", "scan_folder"]

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp",
            ".gif")  # fmt: skip
PASSED_OVER = ("thumbs.db", "desktop.ini", "__macosx", "icon\r")  # what file managers leave; hidden files, too
NAMED = 5  # names that a sentence lists before it counts the others

Places = str | tuple[str, ...]  # alternatives: the first that exists
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # of a domain: it becomes a file's name and a part of "a->b"


class FolderSettings(BaseModel):
    """The ``[images]`` table of a suite file: where the photographs are and what has to be there.

    Attributes:
        folder: below the data folder; a tuple holds alternatives, of which the first that exists is taken.
        domains: domain to its folder below ``folder``; a tuple holds alternatives.
        lists: domain to its list file below ``folder``, ``path label`` a line; a tuple holds several, read one after
            the other. Paths are relative to the list file's folder, or to ``folder``.
        classes: how many classes there are, or their names, whose order makes the labels (folders are sorted).
        counts: images that a domain must have.
        side: height and width of the prepared images.

    Raises:
        ValueError: for no domain, one under both ``domains`` and ``lists``, a count of an unknown one, and the like.

    >>> FolderSettings(folder="pets", domains={"photo": "photos", "sketch": "sketches"}).domain_names()
    ['photo', 'sketch']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Places = "."
    domains: dict[str, Places] = {}
    lists: dict[str, Places] = {}
    classes: Classes = None
    counts: dict[str, Annotated[int, Field(ge=1)]] = {}
    side: Annotated[int, Field(ge=8, le=4096)] = 256
    _called: str = PrivateAttr("")

    @model_validator(mode="after")
    def _domains_are_named(self) -> FolderSettings:
        names = self.domain_names()
        if not names:
            raise ValueError("no domain is named; give [images.domains] or [images.lists], as in amazon = 'amazon'")
        for name in names:
            if not _NAME.fullmatch(name) or "->" in name:
                raise ValueError(f"a domain's name is letters, digits, '_', '-', '+' and '.'; got {name!r}")
        if twice := sorted(set(self.domains) & set(self.lists)):
            raise ValueError(f"{twice[0]!r} is under both 'domains' and 'lists'; leave one of them out")
        for name in self.counts:
            if name not in names:
                raise ValueError("counts: " + nearest("domain", name, names))
        if not all((self.folder, *self.domains.values(), *self.lists.values())):
            raise ValueError("a tuple of alternatives is empty; name one place at least ('.' is the folder itself)")
        return self

    def call(self, suite: str) -> None:
        """Note how the user calls the suite, a name or a file's path, for commands that can be pasted."""
        self._called = suite

    def command(self, name: str, data: Path | None) -> str:
        """The command that prepares the suite's photographs.

        >>> FolderSettings(domains={"a": "a"}).command("pets", Path("my data"))
        "landbridge data prepare pets --data 'my data'"
        """
        folder = "DIR" if data is None else shlex.quote(str(data))
        return f"landbridge data prepare {shlex.quote(self._called or name)} --data {folder}"

    def domain_names(self) -> list[str]:
        """The domains in the order of the file, folders first."""
        return [*self.domains, *(name for name in self.lists if name not in self.domains)]

    def folders(self) -> tuple[str, ...]:
        """The alternatives of ``folder``."""
        return (self.folder,) if isinstance(self.folder, str) else self.folder

    def places(self, domain: str) -> tuple[str, ...]:
        """The alternatives of a domain's folder, or all its list files."""
        places = self.lists[domain] if domain in self.lists else self.domains[domain]
        return (places,) if isinstance(places, str) else places


class Listing(NamedTuple):
    """The files of a domain, in order of class and then of name (by code point, whatever the locale)."""

    files: tuple[str, ...]  # relative to root, with "/"
    labels: NDArray[np.int64]  # (n,)
    classes: tuple[str, ...]
    root: Path  # the folder of the class folders, or the one that a list's paths are relative to
    strangers: tuple[str, ...] = ()  # in class folders, but by their suffix no images
    place: tuple[
        str, ...
    ] = ()  # folder, then "domains" and the domain's, or "lists" and these, as the settings spell them


class _Found(NamedTuple):
    """A domain as it lies there, before its classes are compared with the others'."""

    root: Path
    classes: dict[str, list[str]]  # class name -> files; of a list file, label -> files
    strangers: list[str]
    place: tuple[str, ...]
    listed: bool = False


def scan(settings: FolderSettings, data: Path | None, domain: str) -> Listing:
    """The files and labels of one domain. The other domains are looked at for their class names alone.

    Args:
        settings: see :class:`FolderSettings`.
        data: the data folder.
        domain: one of ``settings.domain_names()``.

    Raises:
        ValueError: for an unknown domain.
        DataError: a ValueError, for a folder or file that is missing, a class that is missing, empty or none of the
            suite's, or another number of images or classes than there must be.
    """
    return scan_all(settings, data, [domain])[domain]


def scan_all(settings: FolderSettings, data: Path | None, domains: Iterable[str]) -> dict[str, Listing]:
    """:func:`scan` of several domains; the class names are gathered once."""
    domains = list(dict.fromkeys(domains))
    for domain in domains:
        if domain not in settings.domain_names():
            raise ValueError("scan: " + nearest("domain", domain, settings.domain_names()))
    try:
        base, place = _base(settings, data)
        found: dict[str, _Found] = {}
        for domain in settings.domain_names():
            if domain in domains:
                found[domain] = _find(settings, base, place, domain)
            elif not isinstance(settings.classes, tuple):
                with suppress(DataError):  # a domain not asked for need not be there
                    found[domain] = _find(settings, base, place, domain)
        found, classes = _named(settings, found)
        return {domain: _checked(settings, domain, found, classes) for domain in domains}
    except OSError as error:
        raise _unreadable(error, base) from error


def scan_folder(folder: Path) -> Listing:
    """The files of a domain that no suite describes, whatever its classes, by the rules of a suite's folders.

    Images that lie in the folder itself, or in its ``images``, with no class folder beside them, have no classes: then
    ``classes`` is empty and all labels are 0. A class folder without an image is passed over.

    Args:
        folder: the domain's.

    Raises:
        DataError: a ValueError, for a folder that cannot be read or holds no image where they are looked for.
    """
    try:
        root = _class_root(folder)
        classes, strangers = _class_files(root)
        found = {name: files for name, files in classes.items() if files}
        if found and list(found) != ["images"]:
            beside = [entry.name for entry in _entries(root) if _is_image(entry)]
            labels = np.repeat(np.arange(len(found), dtype=np.int64), [len(files) for files in found.values()])
            names = tuple(file for files in found.values() for file in files)
            return Listing(names, labels, tuple(found), root, (*sorted(beside), *strangers))
        for root in (folder, folder / "images"):
            flat = sorted(entry.name for entry in _entries(root) if _is_image(entry)) if root.is_dir() else []
            if flat:
                return Listing(tuple(flat), np.zeros(len(flat), dtype=np.int64), (), root)
        deeper = next((file for name in classes for file in _deeper(folder, folder / name)), None)
    except OSError as error:
        came = error.strerror or str(error)
        raise DataError(
            error.filename or folder, "a folder that can be read", came, "Check its permissions."
        ) from error
    came = "none there" if deeper is None else f"none there, but {deeper} deeper down"
    todo = "They are read from FOLDER/class/image.jpg, FOLDER/images/class/image.jpg and FOLDER/image.jpg" + (
        "; pass another folder." if deeper is None else f": pass {folder / Path(deeper).parts[0]}, or the folder below."
    )
    raise DataError(folder, f"a folder of images ({', '.join(SUFFIXES[:5])} and the like)", came, todo)


def _unreadable(error: OSError, folder: Path) -> DataError:
    came = error.strerror or str(error)
    return DataError(error.filename or folder, "a folder that can be read", came, "Check its permissions.")


def _deeper(base: Path, folder: Path) -> list[str]:
    """The first image below a folder, whose name the message can show."""
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not _hidden(name))
        images = sorted(name for name in files if not _hidden(name) and name.lower().endswith(SUFFIXES))
        if images:
            return [(Path(place) / images[0]).relative_to(base).as_posix()]
    return []


def holds(settings: FolderSettings, data: Path, domain: str) -> bool:
    """Whether the data folder has the domain's folder or list file at all, whatever is in it."""
    return any((data / folder / place).exists() for folder in settings.folders() for place in settings.places(domain))


def _base(settings: FolderSettings, data: Path | None) -> tuple[Path, str]:
    """The folder of the suite's photographs, and which of the alternatives it is."""
    if data is None:
        todo = "Pass --data DIR, or set the environment variable LANDBRIDGE_DATA."
        raise DataError("prepare", "a data folder with the photographs", "none", todo)
    if not data.is_dir():
        raise DataError(data, "the data folder", "no folder of that name", "Make it, or pass another --data DIR.")
    place = _first(data, settings.folders(), "the folder of the photographs", Path.is_dir)
    return data / place, place


def _first(below: Path, places: tuple[str, ...], what: str, there: Callable[[Path], bool]) -> str:
    """The first of the alternatives that is there, or a sentence that names the nearest folder that is."""
    for place in places:
        if there(below / place):
            return place
    wanted = below / places[0]
    parent = wanted.parent if wanted.parent.is_dir() else below
    names = sorted(p.name for p in parent.iterdir() if not _hidden(p.name) and there(p))
    others = f" nor {', '.join(places[1:])}" if len(places) > 1 else ""
    close = nearest("name", wanted.name, names[:50]) if names else "nothing of the kind is there"
    todo = f"In {parent}: {close}. Put it there, pass another --data DIR, or correct the suite file."
    raise DataError(wanted, what, f"none of that name{others}", todo)


def _find(settings: FolderSettings, base: Path, folder_place: str, domain: str) -> _Found:
    if domain in settings.lists:
        return _read_lists(settings, base, folder_place, domain)
    place = _first(base, settings.places(domain), f"the folder of domain {domain!r}", Path.is_dir)
    root = _class_root(base / place)
    classes, strangers = _class_files(root)
    if not classes:
        todo = "Photographs are read from domain/class/image.jpg and domain/images/class/image.jpg."
        raise DataError(root, f"a folder for each class of domain {domain!r}", "no folder", todo)
    return _Found(root, classes, strangers, (folder_place, "domains", place))


def _class_files(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The images of each class folder, by class, and what else is in these folders; both sorted by code point."""
    classes: dict[str, list[str]] = {}
    strangers: list[str] = []
    for folder in sorted(_folders(root)):
        files = []
        for entry in _entries(root / folder):
            if _is_image(entry):
                files.append(f"{folder}/{entry.name}")
            else:
                strangers.append(f"{folder}/{entry.name}")
        classes[folder] = sorted(files)
    return classes, sorted(strangers)


def _class_root(folder: Path) -> Path:
    """Where the class folders are: in ``images`` if that holds folders and no image, else in the folder itself."""
    inner = folder / "images"
    if not inner.is_dir() or not _folders(inner):
        return folder
    return folder if any(map(_is_image, _entries(inner))) else inner


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and entry.name.lower().endswith(SUFFIXES)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, but for what file managers leave there."""
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not _hidden(entry.name)]
    for entry in entries:
        if any("\ud800" <= character <= "\udfff" for character in entry.name):
            raise DataError(folder, "names in UTF-8", repr(entry.name), "Rename it.")
    return entries


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in PASSED_OVER


def _read_lists(settings: FolderSettings, base: Path, folder_place: str, domain: str) -> _Found:
    places = settings.places(domain)
    by_label: dict[str, list[str]] = {}
    roots: list[Path] = []
    for place in places:
        _first(base, (place,), f"the list file of domain {domain!r}", Path.is_file)
        file = base / place
        entries = _lines(file, settings)
        root = next((root for root in (file.parent, base) if (root / entries[0][0]).is_file()), None)
        if root is None:
            todo = f"Paths are read relative to {file.parent} or {base}; put the photographs there."
            raise DataError(file, "paths of files that are there", f"{entries[0][0]!r} in its first line", todo)
        roots.append(root)
        inner = Path(os.path.relpath(root, roots[0])).as_posix()  # several lists may lie in several folders
        for path, label in entries:
            by_label.setdefault(label, []).append(path if inner == "." else f"{inner}/{path}")
    classes = {label: sorted(files) for label, files in by_label.items()}
    return _Found(roots[0], classes, [], (folder_place, "lists", *places), True)


def _lines(file: Path, settings: FolderSettings) -> list[tuple[str, str]]:
    """The lines of a list file as path and label."""
    most = settings.classes if isinstance(settings.classes, int) else len(settings.classes or ()) or None
    entries = []
    todo = "A line holds a relative path, a blank and a class number from 0, as in 'aeroplane/src_1.png 0'."
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(file, "a text file in UTF-8", str(error), todo) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.rsplit(None, 1)  # a path may hold blanks
        if len(parts) < 2 or not parts[1].isdecimal():
            raise DataError(file, "'path label' in each line", f"{line!r} in line {number}", todo)
        path, label = parts[0].strip().replace("\\", "/"), int(parts[1])
        if most is not None and label >= most:
            raise DataError(file, f"labels from 0 to {most - 1}", f"{label} in line {number}", todo)
        entries.append((path, str(label)))
    if not entries:
        raise DataError(file, "'path label' in each line", "no line", todo)
    return entries


def _named(settings: FolderSettings, found: Mapping[str, _Found]) -> tuple[dict[str, _Found], tuple[str, ...]]:
    """The domains with names in place of list files' labels, and all class names in the order that makes the labels."""
    names = _names_of_labels(settings, [domain for domain in found.values() if domain.listed])
    named = {
        name: domain._replace(classes={names[label]: files for label, files in domain.classes.items()})
        if domain.listed
        else domain
        for name, domain in found.items()
    }
    if isinstance(settings.classes, tuple):
        return named, settings.classes
    others = {name for domain in named.values() for name in domain.classes} - set(names.values())
    return named, (*names.values(), *sorted(others))


def _names_of_labels(settings: FolderSettings, listed: list[_Found]) -> dict[str, str]:
    """The suite's names; else those of the folders, if each label has one of its own; else the numbers."""
    if isinstance(settings.classes, tuple):
        return {str(label): name for label, name in enumerate(settings.classes)}
    folders: dict[str, set[str]] = {}
    for domain in listed:
        for label, files in domain.classes.items():
            folders.setdefault(label, set()).update(posixpath.basename(posixpath.dirname(file)) for file in files)
    labels = sorted(folders, key=int)
    names = [next(iter(folders[label])) for label in labels]
    own = all(len(folders[label]) == 1 for label in labels) and len(set(names)) == len(names) and all(names)
    return dict(zip(labels, names if own else labels, strict=True))


def _checked(settings: FolderSettings, domain: str, others: Mapping[str, _Found], classes: tuple[str, ...]) -> Listing:
    """The listing, if its classes are the suite's and its images as many as they must be."""
    found = others[domain]
    unknown = sorted(set(found.classes) - set(classes))
    if unknown:
        known = nearest("class", unknown[0], set(classes) - set(found.classes) or classes)
        todo = f"{known[:1].upper()}{known[1:]}. Rename the folder or take it out; the classes are the suite file's."
        raise DataError(found.root, f"the {len(classes)} classes of the suite", f"also {_some(unknown)}", todo)
    absent = [name for name in classes if name not in found.classes]
    if absent:
        having = [name for name, other in others.items() if absent[0] in other.classes]
        where = f" ({absent[0]!r} is in {', '.join(having)})" if having else ""
        todo = f"All domains need the same classes{where}: add what is missing, or take it out of the others."
        raise DataError(found.root, f"{len(classes)} classes in domain {domain!r}", f"no {_some(absent)}", todo)
    if isinstance(settings.classes, int) and len(classes) != settings.classes:
        todo = f"There are: {', '.join(classes[:40])}. Take out what is no class, or correct classes in the suite file."
        raise DataError(found.root, f"{settings.classes} classes in domain {domain!r}", str(len(classes)), todo)
    empty = [name for name in classes if not found.classes[name]]
    if empty:
        todo = f"Put its images there ({', '.join(SUFFIXES[:5])} and the like), or take the class out of all domains."
        raise DataError(found.root / empty[0], "images of the class", f"none in {_some(empty)}", todo)
    files = [file for name in classes for file in found.classes[name]]
    if found.listed and (lost := [file for file in files if not (found.root / file).is_file()]):
        what = f"the {len(files)} files that {', '.join(found.place[2:])} names"
        todo = "Put them there, or get the list file that belongs to these photographs."
        raise DataError(found.root, what, f"no {_some(lost)}", todo)
    expected = settings.counts.get(domain)
    if expected is not None and len(files) != expected:
        each = ", ".join(f"{name} {len(found.classes[name])}" for name in classes[:40])
        todo = f"Get the collection again, or correct counts in the suite file. By class: {each}."
        raise DataError(found.root, f"{expected} images in domain {domain!r}", str(len(files)), todo)
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(found.classes[name]) for name in classes])
    return Listing(tuple(files), labels, classes, found.root, tuple(found.strangers), found.place)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
