"""What ``landbridge diagnose`` reads: arrays in .npz files, folders of images, and the stored outputs of a cell."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .datasets.base import DataError, hash_order
from .datasets.progress import bars
from .results import RESULT

__all__ = ["MOST_GIB", "SIDE", "Arrays", "Domain", "Run", "Seen", "read_cell", "read_domain", "read_npz", "see"]

MOST_GIB = 4.0  # unpacked, of one archive
SIDE = 32  # pixels that images of a folder are squashed to
MOST_IMAGES = 2000  # of one folder
NAMED = 5  # files that a sentence lists before it counts the others
ROWS = ("x", "features")
NAMES = (*ROWS, "y", "logits")


class Arrays(NamedTuple):
    """What a file holds."""

    x: NDArray[Any]
    y: NDArray[Any] | None = None
    logits: NDArray[Any] | None = None


class Domain(NamedTuple):
    """One domain as it is compared, and a sentence on how it was made."""

    arrays: Arrays
    about: str


class Seen(NamedTuple):
    """Both domains' images through a backbone, and words and values on how."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    about: tuple[str, str]


class Run(NamedTuple):
    """The stored outputs of a cell at its first and its last checkpoint."""

    title: str
    first: tuple[Arrays, Arrays]  # source, target
    last: tuple[Arrays, Arrays]
    steps: tuple[int, int]
    split: str  # of the source
    classes: tuple[str, ...] | None
    target_labels: NDArray[np.int64] | None  # where they were asked for


def read_domain(
    path: Path, *, most_gib: float = MOST_GIB, side: int = SIDE, say: Callable[[str], None] | None = None
) -> Domain:
    """A domain from an .npz file or a folder of images.

    Args:
        path: the file or folder.
        most_gib: of an archive, unpacked.
        side: pixels of a folder's images.
        say: told of what takes long.

    Raises:
        ValueError: if there is neither, and as :func:`read_npz`; a DataError for images that cannot be read.
    """
    if path.is_dir():
        return _read_folder(path, side, say)
    if not path.exists():
        raise ValueError(
            f"diagnose found neither a file nor a folder at {path}. Pass an .npz file or a folder of images."
        )
    return Domain(read_npz(path, most_gib=most_gib), f"{path.name}")


def read_npz(path: Path, *, most_gib: float = MOST_GIB) -> Arrays:
    """The arrays ``x`` (or ``features``), ``y`` and ``logits`` of an .npz file; others are not opened.

    Nothing in the file is unpickled. How large the arrays unpack is read from the archive's own directory before any of
    them is, and no more than that is ever unpacked.

    Args:
        path: the file.
        most_gib: how much it may unpack to.

    Raises:
        ValueError: for what is no .npz file, one without ``x``, one that is too large, or arrays of objects.

    >>> read_npz(Path("nowhere.npz"))
    Traceback (most recent call last):
    ValueError: diagnose found no file at nowhere.npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(info.filename.removesuffix(".npy"), info.file_size) for info in archive.infolist()]
    except FileNotFoundError:
        raise ValueError(f"diagnose found no file at {path}.") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"diagnose cannot read {path} as an .npz file ({error}). Write one with "
            f"numpy.savez('{path.stem}.npz', x=rows, y=classes)."
        ) from error
    sizes = dict(members)
    if len(sizes) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"{path} holds two arrays named {twice}, of which one would hide the other. Write the file again with "
            "numpy.savez."
        )
    there = [name for name in ROWS if name in sizes]
    if len(there) != 1:
        came = ", ".join(sorted(sizes)[:8]) or "nothing"
        wanted = "one array of rows, named x or features" if not there else "x or features, not both"
        raise ValueError(f"diagnose needs {wanted}, in {path}; it holds {came}. Write x=rows, and y=classes if known.")
    unpacked = sum(size for name, size in sizes.items() if name in NAMES) / 2**30
    if unpacked > most_gib:
        digits = max(1, 1 - math.floor(math.log10(unpacked)))  # rounded up, so that it is enough
        enough = math.ceil(unpacked * 10**digits) / 10**digits
        raise ValueError(
            f"{path} unpacks to {unpacked:.3g} GiB, more than {most_gib:g}. If you trust it, pass --most-gib "
            f"{enough:g}; or store fewer rows: some thousands tell a shift."
        )
    found = {name: _read_array(path, name) for name in NAMES if name in sizes}
    return Arrays(found[there[0]], found.get("y"), found.get("logits"))


def _read_array(path: Path, name: str) -> NDArray[Any]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            array = np.asarray(file[name])
    except MemoryError:
        raise ValueError(f"the array {name} of {path} does not fit into memory. Store fewer rows.") from None
    except Exception as error:  # what a damaged or hostile file raises is anything
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise ValueError(
                f"the array {name} of {path} holds Python objects, which are never unpickled: that could run code. "
                "Store numbers (or strings, for y): array.astype(float)."
            ) from None
        raise ValueError(
            f"the array {name} of {path} cannot be read ({type(error).__name__}: {error}). Write the file again with "
            "numpy.savez."
        ) from error
    return array


def _read_folder(path: Path, side: int, say: Callable[[str], None] | None) -> Domain:
    """Images of a folder, (n, 3, side, side) uint8, found as ``landbridge data prepare`` finds a suite's."""
    from .datasets.folders import scan_folder

    found = scan_folder(path)
    total = len(found.files)
    kept = np.arange(total, dtype=np.int64)
    if total > MOST_IMAGES:
        kept = np.sort(hash_order("diagnose/images", kept)[:MOST_IMAGES])
    if say is not None:
        say(f"reading {len(kept)} images of {path}" + (f", drawn from {total}" if total > len(kept) else ""))
        if found.strangers:
            rest = f" and {len(found.strangers) - NAMED} more" if len(found.strangers) > NAMED else ""
            say(f"passed over in {found.root}, no images of a class: {', '.join(found.strangers[:NAMED])}{rest}")
    images = np.empty((len(kept), 3, side, side), dtype=np.uint8)
    with bars({path.name: len(kept)}) as advance:
        for place, row in enumerate(kept):
            images[place] = _decoded(found.root / found.files[row], side)
            advance(path.name, 1)
    labels = np.array(found.classes, dtype=np.str_)[found.labels[kept]] if found.classes else None
    drawn = f", {len(kept)} drawn of {total}" if total > len(kept) else ""
    return Domain(Arrays(images, labels), f"{path.name}: images squashed to {side} x {side} pixels{drawn}")


def _decoded(file: Path, side: int) -> NDArray[np.uint8]:
    from .datasets.decode import Unreadable, decode

    try:
        return decode(file, side)
    except Unreadable as error:
        raise DataError(file, "an image", str(error), "Remove it, or put a readable one there.") from None


def see(
    source: NDArray[Any],
    target: NDArray[Any],
    name: str,
    *,
    weights: str,
    normalise: str | None,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> Seen:
    """The features that a backbone makes of both domains' images.

    Args:
        source: (n_s, 3, h, w), uint8.
        target: (n_t, 3, h, w), uint8.
        name: of the backbone.
        weights: a ``.safetensors`` file, ``pretrained`` or ``none``.
        normalise: ``imagenet`` or ``caffe``; None: told by a file's own classifier, else ``imagenet``.
        device: where to run it.
        say: told of what takes long, and how the normalisation was told.

    Raises:
        ValueError: for arrays that are no images, an unknown backbone, or weights that do not fit.
    """
    import torch

    from ..shared.backbones import find_backbone
    from ..shared.batches import Samples
    from ..shared.devices import resolve_device
    from .frozen import features_of
    from .normalisation import IMAGES, guess

    find_backbone(name)
    for domain, images in (("source", source), ("target", target)):
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                f"--backbone wants images, (n, 3, height, width) of dtype uint8; the {domain} is {images.shape} of "
                f"{images.dtype}. Pass folders of images, or leave --backbone out."
            )
    file = weights not in ("pretrained", "none")
    if normalise is None:
        normalise = "imagenet"
        if file:
            normalise, sentence = guess(name, Path(weights), torch.from_numpy(source[:IMAGES]))
            if say is not None:
                say(sentence + "; --normalise says otherwise")
    if say is not None:
        say(f"extracting the features of {len(source)} + {len(target)} images with {name}")
    where = resolve_device(device)
    of: Path | str = Path(weights) if file else weights
    found = [
        features_of(Samples(images, None, where), name, weights=of, normalise=normalise, progress=domain)
        for domain, images in (("source", source), ("target", target))
    ]
    return Seen(found[0], found[1], ("features of", f"{name}, weights {Path(weights).name}, {normalise}"))


def read_cell(folder: Path, *, evaluate: bool = False) -> Run:
    """A benchmark cell's stored features and logits at its first and last checkpoint.

    The source is its held-out rows, which the network did not learn from, where the protocol holds some out.

    Args:
        folder: a cell's own folder, with ``result.json`` and ``outputs``.
        evaluate: read the target's labels, too; their file is not opened otherwise.

    Raises:
        ValueError: if it is no such folder, has no stored outputs (or labels, where asked for), or they are damaged.
    """
    from .results import Cell

    if not (folder / RESULT).is_file():
        inner = sorted(folder.glob(f"cells/*/*/*/{RESULT}"))[:1] or sorted(folder.glob(f"**/{RESULT}"))[:1]
        hint = (
            f" Pass one cell, such as {inner[0].parent}." if inner else " Pass a folder that 'landbridge bench' made."
        )
        raise ValueError(f"diagnose needs the folder of one cell; there is no {RESULT} in {folder}.{hint}")
    try:
        cell = Cell.model_validate_json((folder / RESULT).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"diagnose cannot read {folder / RESULT} ({str(error).splitlines()[0]}).") from error
    steps = sorted((folder / "outputs").glob("step-*.npz"))
    if not steps:
        raise ValueError(
            f"the cell {folder} has no stored outputs (--keep-outputs scores, a classical row, or deleted). Run the "
            "benchmark again with --keep-outputs all."
        )
    first, last = _read_step(steps[0]), _read_step(steps[-1])
    classes = cell.settings.get("classes")
    return Run(
        title=f"{cell.task}, {cell.label}, seed {cell.seed}",
        first=first.pair,
        last=last.pair,
        steps=(_step(steps[0]), _step(steps[-1])),
        split=last.split,
        classes=tuple(map(str, classes)) if isinstance(classes, list) else None,
        target_labels=_target_labels(folder / "target_labels.npz", last.target_rows) if evaluate else None,
    )


class _Step(NamedTuple):
    pair: tuple[Arrays, Arrays]
    split: str
    target_rows: NDArray[np.int64]


def _target_labels(path: Path, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            labels = dict(zip(file["target_eval/rows"].tolist(), file["target_eval/labels"].tolist(), strict=True))
        return np.array([labels[row] for row in rows.tolist()], dtype=np.int64)
    except FileNotFoundError:
        raise ValueError(f"--evaluate needs the target's labels; there is no {path}. Run the cell again.") from None
    except KeyError as error:
        raise ValueError(f"the target's labels {path} have no {error.args[0]}. Run the cell again.") from error
    except Exception as error:  # of a damaged archive: BadZipFile, ValueError, EOFError ...
        raise ValueError(f"the target's labels {path} cannot be read ({error}). Run the cell again.") from error


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _read_step(path: Path) -> _Step:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            split = "source_holdout" if "source_holdout/features" in file else "source_train"
            source, target = (
                Arrays(file[f"{name}/features"].astype(np.float32), None, file[f"{name}/logits"].astype(np.float32))
                for name in (split, "target_eval")
            )
            labels, rows = file[f"{split}/labels"], file["target_eval/rows"]
    except Exception as error:  # of a damaged archive: BadZipFile, ValueError, KeyError, EOFError ...
        raise ValueError(f"the stored outputs {path} cannot be read ({error}). Run the cell again.") from error
    return _Step((source._replace(y=labels.astype(np.int64)), target), split, rows)
