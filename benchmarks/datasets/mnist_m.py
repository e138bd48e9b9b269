"""MNIST-M: digits blended into photographs. The released files where they are, else made by the paper's recipe.

.. math:: I^{out}_{ijk} = | I^{digit}_{ijk} - I^{photo}_{ijk} |

with the digit repeated over the three channels and a random patch of a random training photograph of BSDS500 (Ganin
et al., JMLR 2016, section 5.2.4). What is made here differs from the released files: the patches are other ones (the
authors' random numbers are not known), all 60000 + 10000 digits are there instead of 59001 + 9001, rows keep MNIST's
numbers, images are 28x28, not 32x32, and digits are blended as they are, in grey levels, where some later scripts make
them black and white first. Test digits take patches of training photographs too, as only those are asked for.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...shared.files import write_atomically
from .base import DataError
from .images import absolute_difference, patches
from .progress import bars
from .streams import random_words

__all__ = ["find_photos", "find_released", "load_released", "make_mnist_m", "read_labels"]

RECIPE = 1  # raised when the arithmetic below changes: part of the cached file's name
PHOTO_FOLDERS = ("BSDS500/train", "BSR/BSDS500/data/images/train", "BSDS500/data/images/train")
SIDES = (28, 32)
GET_RELEASED = (
    "Unpack mnist_m.tar.gz (from the DANN authors' page) so that mnist_m/mnist_m_train/*.png and "
    "mnist_m/mnist_m_train_labels.txt lie in the data folder, likewise for test"
)
GET_PHOTOS = (
    "Unpack BSR_bsds500.tgz (BSDS500, from the Berkeley segmentation page) in the data folder, or put its training "
    "photographs into BSDS500/train"
)


def find_released(data: Path, split: str) -> tuple[Path, Path] | None:
    """The released files' folder and list of labels for ``train`` or ``test``; None if neither is there."""
    folder, labels = data / "mnist_m" / f"mnist_m_{split}", data / "mnist_m" / f"mnist_m_{split}_labels.txt"
    return (folder, labels) if folder.is_dir() or labels.is_file() else None


def load_released(folder: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The released images, (n, 3, h, h), in the order of the list of labels, and the labels.

    The files are read once, which takes minutes for all 68002, and kept as one array with its checksum, in
    ``landbridge-cache`` in the data folder or the user's cache folder, under a name that holds the list of labels and
    the size and time of each file: after a change they are read again.

    Raises:
        DataError: for a missing, damaged or odd-sized image, or a line that is not a file name and a digit.
    """
    names, digits = read_labels(labels)
    places = _places(labels.parents[1], f"{folder.name}-{_digest_of_files(folder, labels, names)}.npy")
    for path in places:
        kept = _mapped(path, len(names))
        if kept is not None:
            return kept, digits
    images = _decoded(folder, names)
    for path in places:
        if _keep_checked(path, images):
            break
    return images, digits


def read_labels(labels: Path) -> tuple[list[str], NDArray[np.int64]]:
    """The file names and digits of the released list.

    Raises:
        DataError: for a list that cannot be read, or a line that is not a file name and a digit.
    """
    try:
        lines = labels.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(labels, "lines 'NAME.png DIGIT'", str(error), GET_RELEASED + ".") from error
    names, digits = [], []
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if len(parts) != 2 or parts[1] not in tuple("0123456789"):
            raise DataError(labels, f"'NAME.png DIGIT' in line {number}", repr(line), GET_RELEASED + ".")
        names.append(parts[0])
        digits.append(int(parts[1]))
    return names, np.array(digits, dtype=np.int64)


def _decoded(folder: Path, names: list[str]) -> NDArray[np.uint8]:
    from PIL import Image

    images: NDArray[np.uint8] = np.empty((0, 3, 0, 0), dtype=np.uint8)
    with bars({folder.name: len(names)}) as advance:
        for row, name in enumerate(names):
            try:
                with Image.open(folder / name) as file:
                    image = np.asarray(file.convert("RGB"))
            except OSError as error:
                raise DataError(folder / name, "a PNG image", str(error), GET_RELEASED + ".") from error
            if row == 0:
                side = image.shape[0] if image.shape[0] in SIDES else SIDES[-1]
                images = np.empty((len(names), 3, side, side), dtype=np.uint8)
            if image.shape[:2] != images.shape[2:]:
                side = images.shape[2]
                came = f"{image.shape[0]}x{image.shape[1]}"
                raise DataError(folder / name, f"an image of {side}x{side}", came, GET_RELEASED + ".")
            images[row] = image.transpose(2, 0, 1)
            advance(folder.name, 1)
    return images


def _digest_of_files(folder: Path, labels: Path, names: list[str]) -> str:
    """Of the list, and of the size and time of each file that it names; 0 for one that is not there."""
    digest = hashlib.sha256(labels.read_bytes())
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat() for entry in entries}
    except OSError as error:
        raise DataError(folder, "a folder of PNG images", error.strerror or str(error), GET_RELEASED + ".") from error
    for name in names:
        stat = found.get(name)
        digest.update(b"0" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _mapped(path: Path, rows: int) -> NDArray[np.uint8] | None:
    """The kept array, mapped; None where there is none, or its checksum is not the one beside it."""
    try:
        wanted = path.with_suffix(".sha256").read_text(encoding="ascii").strip()
        kept: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = kept.ndim == 4 and len(kept) == rows and kept.dtype == np.uint8
    return kept if whole and hashlib.sha256(np.ascontiguousarray(kept).data).hexdigest() == wanted else None


def _keep_checked(path: Path, array: NDArray[np.uint8]) -> bool:
    """Keep an array and its checksum; False where that cannot be done."""
    if not _keep(path, array):
        return False
    try:
        digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        write_atomically(path.with_suffix(".sha256"), digest.encode() + b"\n")
    except OSError:
        return False
    return True


def _places(data: Path, name: str) -> list[Path]:
    """Where an array may be kept: in the data folder, unless it is write-protected, and in the user's cache folder."""
    # a folder without any write permission is left alone even by those who could write it all the same
    writable = data.stat().st_mode & 0o222
    return [folder / name for folder in (*([data / "landbridge-cache"] if writable else []), _user_cache())]


def find_photos(data: Path) -> list[Path]:
    """BSDS500's training photographs, sorted by name, of the first known folder that has any."""
    for folder in PHOTO_FOLDERS:
        photos = sorted((data / folder).glob("*.jpg"), key=lambda path: path.name)
        if photos:
            return photos
    return []


def make_mnist_m(digits: NDArray[np.uint8], split: str, data: Path) -> NDArray[np.uint8]:
    """MNIST-M of MNIST: (n, 1, 28, 28) grey to (n, 3, 28, 28), each row's patch drawn by its own hashed stream.

    The result is kept in ``landbridge-cache`` in the data folder, or in the user's cache folder if that cannot be
    written, under a name that holds the checksum of the digits, the photographs and the recipe.

    Args:
        digits: MNIST's images, all of one split.
        split: ``train`` or ``test``.
        data: the data folder, with the photographs of BSDS500.

    Raises:
        DataError: if there are no photographs, or one is damaged.
    """
    paths = find_photos(data)
    if not paths:
        todo = f"{GET_PHOTOS}. Or, instead of making MNIST-M: {GET_RELEASED}."
        raise DataError(data / PHOTO_FOLDERS[0], "photographs (*.jpg)", "none", todo)
    digest = hashlib.sha256(f"{RECIPE} {split} {digits.shape}".encode())
    digest.update(np.ascontiguousarray(digits).data)
    for path in paths:
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    name = f"mnist-m-{split}-{digest.hexdigest()[:24]}.npy"
    places = _places(data, name)
    shape = (len(digits), 3, *digits.shape[2:])
    for path in places:
        kept = _read(path, shape)
        if kept is not None:
            return kept
    made = _blend(digits, split, [_photo(path) for path in paths])
    for path in places:
        if _keep(path, made):
            break  # where neither can be written it is made again next time
    return made


def _blend(digits: NDArray[np.uint8], split: str, photos: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    words = random_words(f"mnist-m/{split}", np.arange(len(digits), dtype=np.int64), 3)
    return absolute_difference(digits, patches(photos, words, digits.shape[2]))


def _photo(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as file:
            photo = np.asarray(file.convert("RGB"))
    except OSError as error:
        raise DataError(path, "a photograph (JPEG)", str(error), GET_PHOTOS + ".") from error
    if min(photo.shape[:2]) < 28:
        came = f"{photo.shape[0]}x{photo.shape[1]}"
        raise DataError(path, "a photograph of 28x28 at least", came, GET_PHOTOS + ".")
    return photo


def _user_cache() -> Path:
    given, home = os.environ.get("LANDBRIDGE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "landbridge"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "landbridge"


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The kept array, or None where there is none or it is damaged: then it is made again."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if isinstance(kept, np.ndarray) and kept.shape == shape and kept.dtype == np.uint8 else None


def _keep(path: Path, array: NDArray[np.uint8]) -> bool:
    """Write atomically; False where that cannot be done."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError:
        return False
    return True
