"""Downloads: resumed where they stopped, checked, and never half a file under its final name."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from . import digits
from .base import DataError

__all__ = ["Remote", "fetch", "get_digits", "remotes"]

ATTEMPTS = 5  # how often a cut connection is taken up again in one call
TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 16


class Remote(NamedTuple):
    """A file with a stable address."""

    urls: tuple[str, ...]  # the same file, in order of preference
    md5: str
    path: Path  # where it goes, in the data folder
    unpacked: Path | None = None  # where a .gz is unpacked to


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: bool = False,
) -> Path:
    """Download one file and check it; a file that is there and right is left alone.

    The bytes go to ``path`` + ``.part`` and get the final name once the checksum is right. A ``.part`` of an earlier,
    interrupted download is continued if the server can (a Range request), else begun anew.

    Args:
        url: its address.
        path: its name on disk; folders are made.
        sha256: its checksum, hexadecimal; this or ``md5`` must be given.
        md5: the checksum where that is the only one published.
        size: its length in bytes, if known: a wrong one is noticed before the download.
        progress: draw a progress bar.

    Returns:
        ``path``.

    Raises:
        ValueError: unless exactly one checksum is given.
        DataError: no connection, a refusal by the server, a connection cut again and again (what came is kept, and
            the next call goes on there), a wrong checksum (nothing is kept), or a file that cannot be written.
    """
    if (sha256 is None) == (md5 is None):
        raise ValueError("fetch needs one checksum to check the file by; pass sha256=... or md5=..., not both or none.")
    kind, wanted = ("sha256", sha256) if sha256 is not None else ("md5", md5)
    part = path.with_name(path.name + ".part")
    try:
        if path.is_file() and _digest(path, kind) == wanted:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        _complete(url, part, size, progress)
        if resumed and _digest(part, kind) != wanted:  # its beginning may be of another version of the file
            part.unlink()
            _complete(url, part, size, progress)
        came = _digest(part, kind)
        if came != wanted:
            part.unlink()
            todo = "Nothing was kept. Try again later, or get the file elsewhere and put it there."
            raise DataError(path, f"{kind} {wanted} from {url}", str(came), todo)
        os.replace(part, path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(path, "a place to write to", str(error), "Free the space, or choose another folder.") from error
    return path


def get_digits(tasks: list[str], data: Path | None, *, progress: bool = False) -> None:
    """Download the missing files of the domains that some tasks need, where they have a stable address.

    Raises:
        DataError: if no data folder is named, it cannot be made, or a download fails at every address.
    """
    if data is None:
        digits.data_folder("get", None)
        return
    needed = {domain for task in tasks for domain in digits.domains_of(task)}
    if "mnist-m" in needed and digits.missing("mnist-m", data):
        needed.add("mnist")  # what it is made of
    for remote in (remote for domain in digits.DOMAINS if domain in needed for remote in remotes(domain)):
        final = data / (remote.unpacked or remote.path)
        if final.is_file():
            continue
        _fetch_any(remote, data, progress)
        if remote.unpacked is not None:
            _unpack(data / remote.path, final)


def remotes(domain: str) -> list[Remote]:
    """Stable addresses and checksums of a domain's files, as torchvision has them; none for MNIST-M and SynDigits."""
    from torchvision.datasets import MNIST, SVHN, USPS

    if domain == "mnist":
        raw = Path("MNIST/raw")
        return [
            Remote(tuple(mirror + name for mirror in MNIST.mirrors), md5, raw / name, raw / name.removesuffix(".gz"))
            for name, md5 in MNIST.resources
        ]
    if domain == "usps":
        return [Remote((url,), md5, Path("usps") / name) for url, name, md5 in USPS.split_list.values()]
    if domain == "svhn":
        lists = (SVHN.split_list[split] for split in ("train", "test"))
        return [Remote((url,), md5, Path("svhn") / name) for url, name, md5 in lists]
    return []


def _fetch_any(remote: Remote, data: Path, progress: bool) -> None:
    *others, last = remote.urls
    for url in others:
        with suppress(DataError):
            fetch(url, data / remote.path, md5=remote.md5, progress=progress)
            return
    fetch(last, data / remote.path, md5=remote.md5, progress=progress)


def _unpack(packed: Path, final: Path) -> None:
    temporary = final.with_name(final.name + ".part")
    try:
        with gzip.open(packed) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(temporary, final)
        packed.unlink()
    except (OSError, EOFError, zlib.error) as error:
        temporary.unlink(missing_ok=True)
        todo = "Delete it and run the download again; check the free space."
        raise DataError(packed, "a gzip file that can be unpacked beside it", str(error), todo) from error


def _complete(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Take a cut connection up again, as long as something comes."""
    for _ in range(ATTEMPTS):
        before = _length(part)
        if _transfer(url, part, size, progress):
            return
        if _length(part) == before:
            break
    todo = "What came is kept: run the same command again to go on from there."
    raise DataError(url, "the whole file", f"a cut connection after {_length(part)} bytes", todo)


def _transfer(url: str, part: Path, size: int | None, progress: bool) -> bool:
    """One request, from where the part ends; True if the file is whole as far as its length can tell."""
    start = _length(part)
    headers = {"User-Agent": "landbridge"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing after the part's end: the checksum says whether it is the file
            return True
        todo = "Look whether the address has moved, or get the file elsewhere."
        raise DataError(url, "a file", f"HTTP {error.code} {error.reason}", todo) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        todo = "Check the network (and the proxy settings), or get the file on another machine and copy it here."
        raise DataError(url, "a connection", str(reason), todo) from error
    with response:
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        start = start if goes_on else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if size is not None and total is not None and total != size:
            todo = "The address leads to another file, perhaps a login page: open it in a browser to see."
            raise DataError(url, f"{size} bytes", f"{total}", todo)
        with part.open("ab" if goes_on else "wb") as file, _bar(part.stem, start, total, progress) as advance:
            while True:
                try:
                    block = response.read(_BLOCK)
                except (OSError, HTTPException):
                    return False
                if not block:
                    break
                file.write(block)
                advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    return total is None or _length(part) == total


@contextmanager
def _bar(name: str, start: int, total: int | None, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda count: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(name, total=total, completed=start)
        yield lambda count: bar.advance(task, count)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
