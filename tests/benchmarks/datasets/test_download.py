"""Downloads against a server on this machine, with all it may do wrong."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from landbridge.benchmarks.datasets import DataError, digits, download, get
from landbridge.benchmarks.datasets.download import fetch

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``ranges``: understands Range; ``cut``: bytes after which each of ``cuts`` answers ends."""

    daemon_threads = True
    files: dict[str, bytes]
    ranges = True
    cut: int | None = None
    cuts = 0
    asked: list[tuple[str, str | None]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path[1:], asked))
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if asked and self.server.ranges and start >= len(content):
            self.send_error(416)
            return
        if asked and self.server.ranges:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cut is not None and self.server.cuts > 0:
            self.server.cuts -= 1
            body = body[: self.server.cut]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.asked = {"file": CONTENT}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("progress", [False, True])
def test_whole_file(server: Server, tmp_path: Path, progress: bool):
    path = tmp_path / "new" / "folder" / "file"
    assert fetch(server.url + "file", path, sha256=SHA256, size=len(CONTENT), progress=progress) == path
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file"]
    fetch(server.url + "file", path, sha256=SHA256)
    assert len(server.asked) == 1  # there and right: not asked again


def test_one_checksum_is_needed(tmp_path: Path):
    for checksums in ({}, {"sha256": "a", "md5": "b"}):
        with pytest.raises(ValueError, match="fetch needs one checksum"):
            fetch("http://none", tmp_path / "file", **checksums)


def test_a_part_is_continued(server: Server, tmp_path: Path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("file", "bytes=1000-")]
    assert names(tmp_path) == ["file"]


def test_a_whole_part_is_taken(server: Server, tmp_path: Path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(server.url + "file", tmp_path / "file", md5=hashlib.md5(CONTENT).hexdigest())
    assert server.asked == [("file", f"bytes={len(CONTENT)}-")]
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_another_file_is_begun_anew(server: Server, tmp_path: Path, length: int):
    (tmp_path / "file.part").write_bytes(b"x" * length)
    fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("file", f"bytes={length}-"), ("file", None)]


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_cut_connections_are_taken_up_again(server: Server, tmp_path: Path):
    server.cut, server.cuts = 100_000, 2
    fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [ranged for _, ranged in server.asked] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_connection_cut_again_and_again_keeps_what_came(server: Server, tmp_path: Path):
    server.cut, server.cuts = 1000, 10**6
    with pytest.raises(
        DataError, match=r"expected the whole file; got a cut connection after 5000 bytes.*run the same"
    ):
        fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:5000]
    assert names(tmp_path) == ["file.part"]
    server.cut = None
    fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert server.asked[-1] == ("file", "bytes=5000-")
    assert names(tmp_path) == ["file"]


def test_a_connection_that_gives_nothing_is_given_up(server: Server, tmp_path: Path):
    server.cut, server.cuts = 0, 10**6
    with pytest.raises(DataError, match="cut connection after 0 bytes"):
        fetch(server.url + "file", tmp_path / "file", sha256=SHA256)
    assert len(server.asked) == 1


def test_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match=f"expected sha256 {'0' * 64} from .*; got {SHA256}. Nothing was kept"):
        fetch(server.url + "file", tmp_path / "file", sha256="0" * 64)
    assert names(tmp_path) == []
    (tmp_path / "file").write_bytes(b"what was there")
    with pytest.raises(DataError):
        fetch(server.url + "file", tmp_path / "file", sha256="0" * 64)
    assert (tmp_path / "file").read_bytes() == b"what was there"
    assert names(tmp_path) == ["file"]


def test_wrong_size_is_said_before_the_download(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match=r"expected 17 bytes; got 256000. The address leads to another file"):
        fetch(server.url + "file", tmp_path / "file", sha256=SHA256, size=17)
    assert names(tmp_path) == []


def test_not_found(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match=r"expected a file; got HTTP 404 Not Found. Look whether the address has moved"):
        fetch(server.url + "nothing", tmp_path / "file", sha256=SHA256)
    assert names(tmp_path) == []


def test_no_connection(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"expected a connection; got .*Check the network"):
        fetch(f"http://127.0.0.1:{port}/file", tmp_path / "file", sha256=SHA256)
    assert names(tmp_path) == []


def test_no_place_to_write(server: Server, tmp_path: Path):
    (tmp_path / "folder").write_text("a file in the way")
    with pytest.raises(DataError, match="expected a place to write to"):
        fetch(server.url + "file", tmp_path / "folder" / "file", sha256=SHA256)


# ---------------------------------------------------------------- the data sets


@pytest.fixture
def mirrored(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """MNIST's and USPS's addresses lead to the server here; MNIST's first mirror is down."""
    from torchvision.datasets import MNIST, USPS

    resources, lists = [], {}
    for name, _ in MNIST.resources:
        server.files[name] = gzip.compress(name.encode(), mtime=0)
        resources.append((name, hashlib.md5(server.files[name]).hexdigest()))
    for split, (_, name, _) in USPS.split_list.items():
        server.files[name] = bz2.compress(name.encode())
        lists[split] = [server.url + name, name, hashlib.md5(server.files[name]).hexdigest()]
    monkeypatch.setattr(MNIST, "mirrors", [server.url + "down/", server.url])
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setattr(USPS, "split_list", lists)
    return server


@pytest.fixture
def not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched here holds its own name, and no images."""
    monkeypatch.setattr(digits, "_damage", lambda domain, data: None)


@pytest.mark.usefixtures("not_looked_into")
def test_get_fetches_unpacks_and_reports(mirrored: Server, tmp_path: Path):
    data = tmp_path / "data"
    assert [entry.present for entry in get("digits", ["mnist->usps"], data)] == [True, True]
    assert (data / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes() == b"train-images-idx3-ubyte.gz"
    assert len(names(data / "MNIST" / "raw")) == 4
    assert names(data / "usps") == ["usps.bz2", "usps.t.bz2"]
    asked = len(mirrored.asked)
    get("digits", ["usps->mnist"], data)
    assert len(mirrored.asked) == asked  # nothing twice


@pytest.mark.usefixtures("not_looked_into")
def test_get_says_what_has_no_address(mirrored: Server, tmp_path: Path):
    mnist, mnist_m = get("digits", ["mnist->mnist-m"], tmp_path)
    assert mnist.present
    assert not mnist_m.present
    assert "BSDS500/train" in mnist_m.how
    assert download.remotes("syn") == download.remotes("mnist-m") == []


def test_get_when_every_mirror_fails(mirrored: Server, tmp_path: Path):
    mirrored.files.clear()
    with pytest.raises(DataError, match="HTTP 404"):
        get("digits", ["mnist->usps"], tmp_path)


def test_get_what_does_not_unpack(mirrored: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from torchvision.datasets import MNIST

    name = MNIST.resources[0][0]
    mirrored.files[name] = mirrored.files[name][:-9]
    damaged = (name, hashlib.md5(mirrored.files[name]).hexdigest())
    monkeypatch.setattr(MNIST, "resources", [damaged, *MNIST.resources[1:]])
    with pytest.raises(DataError, match="expected a gzip file that can be unpacked"):
        get("digits", ["mnist->usps"], tmp_path)
    assert names(tmp_path / "MNIST" / "raw") == [name]


def test_get_needs_a_folder_and_known_tasks(tmp_path: Path):
    with pytest.raises(DataError, match="Pass --data DIR"):
        get("digits", ["mnist->usps"], None)
    with pytest.raises(ValueError, match="unknown task 'mnist->usp'; did you mean 'mnist->usps'"):
        get("digits", ["mnist->usp"], tmp_path)
    assert get("optdigits", ["clean->noisy"], None)[0].present


def test_addresses_are_those_of_torchvision():
    assert [len(download.remotes(domain)) for domain in digits.DOMAINS] == [4, 2, 2, 0, 0]
    places = {str(remote.unpacked or remote.path) for domain in digits.DOMAINS for remote in download.remotes(domain)}
    wanted = {name for domain in ("mnist", "usps", "svhn") for files in digits.FILES[domain].values() for name in files}
    assert places == wanted
