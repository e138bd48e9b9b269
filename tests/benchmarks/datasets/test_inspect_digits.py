"""`landbridge data digits` looks into the files: each of the formats, whole, cut, and with another number of images."""

from __future__ import annotations

import bz2
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from landbridge.benchmarks.datasets import digits
from landbridge.benchmarks.datasets.digits import status

N = 12


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of all domains in their formats, of twelve images a split."""
    monkeypatch.setattr(digits, "COUNTS", {domain: {"train": (N,), "test": (N,)} for domain in digits.COUNTS})
    for folder in ("MNIST/raw", "usps", "svhn", "syn", "mnist_m/mnist_m_train", "mnist_m/mnist_m_test"):
        (tmp_path / folder).mkdir(parents=True)
    for part in ("train", "t10k"):
        images = struct.pack(">4I", 0x803, N, 28, 28) + bytes(N * 784)
        (tmp_path / f"MNIST/raw/{part}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"MNIST/raw/{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, N) + bytes(N))
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / "usps" / name).write_bytes(bz2.compress(b"1 1:-1 2:0.5\n" * N))
    for folder, stem in (("svhn", "{}_32x32.mat"), ("syn", "synth_{}_32x32.mat")):
        for split in ("train", "test"):
            arrays = {"X": np.zeros((32, 32, 3, N), np.uint8), "y": np.ones((N, 1), np.uint8)}
            savemat(tmp_path / folder / stem.format(split), arrays, do_compression=split == "train")
    for split in ("train", "test"):
        names = [f"{i:08d}.png" for i in range(N)]
        for name in names:
            Image.new("RGB", (32, 32)).save(tmp_path / "mnist_m" / f"mnist_m_{split}" / name)
        (tmp_path / "mnist_m" / f"mnist_m_{split}_labels.txt").write_text("".join(f"{name} 3\n" for name in names))
    return tmp_path


def states(data: Path) -> dict[str, str]:
    return {each.name: each.state for each in status(list(digits.TASKS), data)}


def test_whole_files_are_there(data: Path) -> None:
    assert states(data) == dict.fromkeys(("mnist", "usps", "svhn", "mnist-m", "syn"), "there")


def cut(file: str, by: int = 5) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        content = (data / file).read_bytes()
        (data / file).write_bytes(content[:-by])

    return change


def put(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda data: (data / file).write_bytes(content) and None


@pytest.mark.parametrize(
    ("domain", "change", "says"),
    [
        ("mnist", cut("MNIST/raw/train-images-idx3-ubyte"), "bytes, as its begin says"),
        ("mnist", put("MNIST/raw/t10k-labels-idx1-ubyte", b"\x1f\x8b\x08 gzip"), "an idx file of labels"),
        (
            "mnist",
            put("MNIST/raw/t10k-labels-idx1-ubyte", struct.pack(">2I", 0x801, 3) + bytes(3)),
            "expected 12 images; got 3",
        ),
        ("usps", cut("usps/usps.bz2"), "a whole bz2 file; got one that is cut"),
        ("usps", put("usps/usps.t.bz2", b"no bz2"), "a bz2 file"),
        ("usps", put("usps/usps.t.bz2", bz2.compress(b"1 1:2\n" * 7)), "12 lines, one an image; got 7"),
        ("svhn", cut("svhn/train_32x32.mat"), "bytes, as its elements say"),
        ("svhn", cut("svhn/test_32x32.mat", 20000), "bytes, as its elements say"),
        ("syn", put("syn/synth_test_32x32.mat", b"<html>not found</html>" * 20), "a MATLAB file of version 5 to 7"),
        ("mnist-m", cut("mnist_m/mnist_m_train/00000003.png"), "a whole PNG image; got one that is cut"),
        ("mnist-m", put("mnist_m/mnist_m_test/00000007.png", b""), r"no 00000007.png (1 lost or empty)"),
        ("mnist-m", cut("mnist_m/mnist_m_test_labels.txt", 15), "12 lines, one an image; got 11"),
    ],
)
def test_what_is_not_as_published_is_damaged(
    domain: str, change: Callable[[Path], None], says: str, data: Path
) -> None:
    change(data)
    found = {each.name: each for each in status(list(digits.TASKS), data)}
    assert (found[domain].present, found[domain].state) == (False, "damaged")
    assert says in found[domain].how
    assert [name for name, each in found.items() if each.state != "there"] == [domain]


def test_another_number_in_a_matlab_file(data: Path) -> None:
    savemat(data / "svhn/test_32x32.mat", {"X": np.zeros((32, 32, 3, 5), np.uint8), "y": np.ones((5, 1), np.uint8)})
    assert (
        "X of (32, 32, 3, 12); got (32, 32, 3, 5)" in {e.name: e.how for e in status(list(digits.TASKS), data)}["svhn"]
    )


def test_advice_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    (missing, _) = status(["mnist->usps"], folder)
    assert missing.state == "missing"
    assert f"Run `landbridge data digits --download --data '{folder}'`" in missing.how
