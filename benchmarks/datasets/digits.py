"""Real digits: MNIST, USPS, SVHN, MNIST-M and SynDigits, from files in a data folder.

======== ====================================================== ======================
domain   files under the data folder                            images (train + test)
======== ====================================================== ======================
mnist    MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte 60000 + 10000, 28x28
usps     usps/usps.bz2, usps/usps.t.bz2                         7291 + 2007, 16x16
svhn     svhn/{train,test}_32x32.mat                            73257 + 26032, 32x32
mnist-m  mnist_m/mnist_m_{train,test}/ and their _labels.txt    59001 + 9001, 32x32
..       or made of MNIST and BSDS500                           60000 + 10000, 28x28
syn      syn/synth_{train,test}_32x32.mat                       479400 + 9553, 32x32
======== ====================================================== ======================

Images are resized by :func:`.images.resize`; one that has the size already is left as it is. Where MNIST-M is made, row
i is MNIST's digit i; the two domains' draws and orders are independent all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import mnist_m
from .base import DataError, Split, Status, TaskData, checksum, draw_rows, hold_out
from .images import convert

__all__ = ["COUNTS", "DOMAINS", "FILES", "SIZES", "TASKS", "data_folder", "domains_of", "load", "missing", "status"]

TASKS = ("mnist->usps", "usps->mnist", "svhn->mnist", "mnist->mnist-m", "syn->svhn")
DOMAINS = ("mnist", "usps", "svhn", "mnist-m", "syn")
SIZES = (16, 28, 32)
CLASSES = tuple("0123456789")

FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "mnist": {
        "train": ("MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"),
        "test": ("MNIST/raw/t10k-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"),
    },
    "usps": {"train": ("usps/usps.bz2",), "test": ("usps/usps.t.bz2",)},
    "svhn": {"train": ("svhn/train_32x32.mat",), "test": ("svhn/test_32x32.mat",)},
    "syn": {"train": ("syn/synth_train_32x32.mat",), "test": ("syn/synth_test_32x32.mat",)},
}
# the published numbers of images; of MNIST-M the released file's, and the whole of MNIST for what is made
COUNTS: dict[str, dict[str, tuple[int, ...]]] = {
    "mnist": {"train": (60000,), "test": (10000,)},
    "usps": {"train": (7291,), "test": (2007,)},
    "svhn": {"train": (73257,), "test": (26032,)},
    "mnist-m": {"train": (59001, 60000), "test": (9001, 10000)},
    "syn": {"train": (479400,), "test": (9553,)},
}
_DOWNLOAD = "Run `landbridge data digits --download`"
HOW = {
    "mnist": f"{_DOWNLOAD}, or unpack the four idx files into MNIST/raw in the data folder",
    "usps": f"{_DOWNLOAD}, or put usps.bz2 and usps.t.bz2 (of the LIBSVM collection) into usps in the data folder",
    "svhn": f"{_DOWNLOAD}, or put train_32x32.mat and test_32x32.mat into svhn in the data folder",
    "mnist-m": f"{mnist_m.GET_RELEASED}; or have it made of MNIST and BSDS500: {mnist_m.GET_PHOTOS}",
    "syn": "Put synth_train_32x32.mat and synth_test_32x32.mat (SynNumbers, from the DANN authors' page) into syn in "
    "the data folder",
}


class _Domain(NamedTuple):
    images: NDArray[np.uint8]  # (n, c, h, w), perhaps not contiguous
    labels: NDArray[np.int64]  # (n,)


def load(
    task: str,
    *,
    size: int,
    channels: int,
    draw: dict[str, int],
    source_holdout: float,
    scored: str,
    data: Path | None,
) -> TaskData:
    """A task's splits; see :func:`landbridge.benchmarks.datasets.load_task`, which has checked the arguments."""
    folder = data_folder("load_task", data)
    source, target = domains_of(task)

    def split(domain: _Domain, rows: NDArray[np.int64]) -> Split:
        return Split(convert(domain.images, rows, size=size, channels=channels), domain.labels[rows], rows)

    # one domain at a time in memory: SynDigits alone takes 1.5 GB
    of_source = _load_domain(source, "train", folder)
    train, held = hold_out(source, _drawn(source, of_source, draw), source_holdout)
    splits: dict[str, Split | None] = {
        "source_train": split(of_source, train),
        "source_holdout": split(of_source, held) if len(held) else None,
    }
    del of_source
    of_target = _load_domain(target, "train", folder)
    splits["target_train"] = split(of_target, _drawn(target, of_target, draw))
    del of_target
    if scored == "transductive":
        splits["target_eval"] = splits["target_train"]
    else:
        test = _load_domain(target, "test", folder)
        splits["target_eval"] = split(test, np.arange(len(test.labels), dtype=np.int64))
    return TaskData(**splits, classes=CLASSES, checksum=checksum(splits, CLASSES))  # type: ignore[arg-type]


def status(tasks: list[str], data: Path | None) -> list[Status]:
    """For each domain that the tasks need: whether its files are there and whole, where, and how to get them."""
    needed = {domain for task in tasks for domain in domains_of(task)}
    found = []
    for domain in (name for name in DOMAINS if name in needed):
        absent = missing(domain, data) if data is not None else ["the data folder"]
        damage = None if absent or data is None else _damage(domain, data)
        where = "no data folder: pass --data DIR or set LANDBRIDGE_DATA" if data is None else _where(domain, data)
        way = HOW[domain].replace(_DOWNLOAD, _download(data))
        how = f"{way} (missing: {', '.join(absent)})." if absent else damage or "Nothing to do."
        state = "missing" if absent else "damaged" if damage else "there"
        released = domain == "mnist-m" and data is not None and mnist_m.find_released(data, "train") is not None
        counts = " + ".join(str(COUNTS[domain][split][0 if released else -1]) for split in ("train", "test"))
        found.append(Status(domain, state == "there", where, how, f"{counts} images", state))
    return found


def _damage(domain: str, data: Path) -> str | None:
    """A sentence, if the files do not hold what they should."""
    from .inspect_digits import inspect

    try:
        inspect(domain, data, FILES.get(domain, {}), COUNTS[domain])
        if domain == "mnist-m" and mnist_m.find_released(data, "train") is None:
            inspect("mnist", data, FILES["mnist"], COUNTS["mnist"])
    except DataError as error:
        return str(error)
    return None


def _download(data: Path | None) -> str:
    """The command that fetches what has a stable address, to be pasted."""
    import shlex

    return _DOWNLOAD if data is None else f"{_DOWNLOAD[:-1]} --data {shlex.quote(str(data))}`"


def missing(domain: str, data: Path) -> list[str]:
    """The files of a domain that are not in the data folder, by their paths in it."""
    if domain != "mnist-m":
        names = [name for files in FILES[domain].values() for name in files]
        return [name for name in names if not (data / name).is_file()]
    absent: list[str] = []
    for split in ("train", "test"):
        released = mnist_m.find_released(data, split)
        if released is not None:
            absent += [str(path.relative_to(data)) for path in released if not path.exists()]
            continue
        absent += [name for name in FILES["mnist"][split] if not (data / name).is_file()]
        if not mnist_m.find_photos(data) and mnist_m.PHOTO_FOLDERS[0] not in absent:
            absent.append(mnist_m.PHOTO_FOLDERS[0])
    return absent


def data_folder(function: str, data: Path | None) -> Path:
    """The data folder, or a sentence on how to name one.

    Raises:
        DataError: if none is given, or it is no folder.
    """
    if data is None:
        todo = "Pass --data DIR, or set the environment variable LANDBRIDGE_DATA."
        raise DataError(f"{function}('digits')", "a data folder", "none", todo)
    if not data.is_dir():
        raise DataError(data, "the data folder", "no folder of that name", "Make it, or pass another --data DIR.")
    return data


def domains_of(task: str) -> tuple[str, str]:
    """Source and target of a task.

    >>> domains_of("mnist->mnist-m")
    ('mnist', 'mnist-m')
    """
    source, target = task.split("->")
    return source, target


def _where(domain: str, data: Path) -> str:
    if domain != "mnist-m":
        return str((data / FILES[domain]["train"][0]).parent)
    if mnist_m.find_released(data, "train") is not None:
        return str(data / "mnist_m")
    photos = mnist_m.find_photos(data)
    return f"made of {data / 'MNIST'} and {photos[0].parent}" if photos else str(data / "mnist_m")


def _drawn(name: str, domain: _Domain, draw: dict[str, int]) -> NDArray[np.int64]:
    return draw_rows(name, np.arange(len(domain.labels), dtype=np.int64), draw.get(name))


def _load_domain(domain: str, split: str, data: Path) -> _Domain:
    if domain == "mnist-m":
        loaded, file = _load_mnist_m(split, data)
        sides: tuple[int, ...] = mnist_m.SIDES
    else:
        file = data / FILES[domain][split][0]
        for name in FILES[domain][split]:
            if not (data / name).is_file():
                raise DataError(data / name, f"a file of {domain}", "no such file", HOW[domain] + ".")
        loader, side = _LOADERS[domain]
        try:
            loaded = _Domain(*loader(data, split))
        except MemoryError:
            raise
        except Exception as error:  # what a parser raises on a damaged file is anything
            came = f"{type(error).__name__}: {error}".rstrip(". :")
            raise DataError(file, f"a readable file of {domain}", came, _again(domain)) from error
        sides = (side,)
    images, labels = loaded
    shape = "x".join(map(str, images.shape[2:]))
    if images.shape[2:] not in [(side, side) for side in sides]:
        expected = " or ".join(f"{side}x{side}" for side in sides)
        raise DataError(file, f"images of {expected}", shape, _again(domain))
    counts = COUNTS[domain][split]
    for what, count in (("images", len(images)), ("labels", len(labels))):
        if count not in counts:
            expected = " or ".join(map(str, counts))
            raise DataError(file, f"{expected} {what} ({split} split)", str(count), _again(domain))
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(file, "labels from 0 to 9", f"{labels.min()} to {labels.max()}", _again(domain))
    return loaded


def _again(domain: str) -> str:
    return f"Delete it and get it again: {HOW[domain][0].lower()}{HOW[domain][1:]}."


def _load_mnist_m(split: str, data: Path) -> tuple[_Domain, Path]:
    released = mnist_m.find_released(data, split)
    if released is not None:
        return _Domain(*mnist_m.load_released(*released)), released[1]
    digits = _load_domain("mnist", split, data)
    return _Domain(mnist_m.make_mnist_m(digits.images, split, data), digits.labels), data / "mnist_m"


def _load_mnist(data: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from torchvision.datasets import MNIST

    dataset = MNIST(root=str(data), train=split == "train", download=False)
    return dataset.data.numpy()[:, None], dataset.targets.numpy().astype(np.int64)


def _load_usps(data: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from torchvision.datasets import USPS

    dataset = USPS(root=str(data / "usps"), train=split == "train", download=False)
    return dataset.data[:, None], np.asarray(dataset.targets, dtype=np.int64)


def _load_svhn(data: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from torchvision.datasets import SVHN

    dataset = SVHN(root=str(data / "svhn"), split=split, download=False)  # checks the md5 checksum, too
    return dataset.data, dataset.labels.astype(np.int64)


def _load_syn(data: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """SVHN's format without its checksum. Copies of the collection write zero as 0 or, like SVHN, as 10."""
    from scipy.io import loadmat

    contents: dict[str, Any] = loadmat(str(data / FILES["syn"][split][0]), variable_names=("X", "y"))
    images, labels = contents["X"], contents["y"].astype(np.int64).ravel()
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise ValueError(f"X is {images.dtype} of shape {images.shape}, not uint8 of (32, 32, 3, n)")
    labels[labels == 10] = 0
    return images.transpose(3, 2, 0, 1), labels


_Loader = Callable[[Path, str], tuple[NDArray[np.uint8], NDArray[np.int64]]]
_LOADERS: dict[str, tuple[_Loader, int]] = {
    "mnist": (_load_mnist, 28),
    "usps": (_load_usps, 16),
    "svhn": (_load_svhn, 32),
    "syn": (_load_syn, 32),
}
