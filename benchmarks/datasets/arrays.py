"""Arrays that a user already has, trained on from end to end: images, series or vectors, a file a domain.

Nothing is scaled but what the suite file asks for: whole numbers from 0 to 255 become uint8 images, which stay so until
they are in the network; other numbers go in as they are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...shared.names import nearest
from .base import DataError, Split, Status, TaskData
from .choice import check_arguments, choose, digest_of
from .described import DescribedSettings, Names, Part, classes_of, label_bytes, look, read_again, read_domain
from .images import convert
from .readers import ARRAYS, BLOCK, Place, is_sparse

__all__ = ["DEFAULT_NETWORK", "ArraySettings", "load_arrays", "status"]

DEFAULT_NETWORK = "default"  # of adapt: by the shape of the rows, standardised by the source
SHAPES = {"images": "(n, channels, height, width) or (n, height, width)", "series": "(n, channels, time)",
          "vectors": "(n, features)"}  # fmt: skip
CHANNELS = (1, 3, 4)
EXACT = 1e-3  # how far scaled numbers may be from whole ones, that bytes are: 255 * (200 / 255) in float32
_NOTHING: Mapping[str, int] = {}


class ArraySettings(DescribedSettings):
    """The ``[arrays]`` table of a suite file: where the arrays are, what they are, and which network learns from them.

    Attributes:
        files: domain to its file below ``folder``: ``.npz``, ``.mat`` (up to version 7), or ``.npy``, whose labels lie
            in ``label_files``.
        inputs: the name of the array (n, ...) in each file, or names by domain.
        test_inputs: the same in ``test_files``, where it is another.
        kind: ``images``, (n, channels, height, width) or (n, height, width); ``series``, (n, channels, time);
            ``vectors``, (n, features). Told by the number of axes where there are not three.
        scale: what inputs are multiplied by, or by domain: 255 for images from 0 to 1.
        side: height and width that images of bytes are resized to.
        channels: 1 or 3, that images of bytes become.
        network: what is trained: a name of ``create_network``; ``default``, which standardises by the source and fits
            all three kinds; or a file of yours, ``my_network.py:make``.

    Raises:
        ValueError: as for ``[features]``, and for a scale of an unknown domain.

    >>> ArraySettings(files={"a": "a.npz", "b": "b.npy"}, label_files={"b": "b_labels.npy"}).network
    'default'
    """

    TABLE: ClassVar[str] = "arrays"
    KEY: ClassVar[str] = "inputs"
    SUFFIXES: ClassVar[tuple[str, ...]] = ARRAYS

    inputs: Names = "x"
    labels: Names = "y"
    test_inputs: Names | Literal[""] = ""
    kind: Literal["images", "series", "vectors"] | None = None
    scale: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] = 1.0
    side: Annotated[int, Field(ge=8, le=4096)] | None = None
    channels: Literal[1, 3] | None = None
    network: Annotated[str, Field(min_length=1)] = DEFAULT_NETWORK

    @model_validator(mode="after")
    def _scales_fit(self) -> ArraySettings:
        for name in self.scale if isinstance(self.scale, dict) else ():
            if name not in self.files:
                raise ValueError("scale: " + nearest("domain", name, self.files))
        return self

    def how(self, domain: str) -> How:
        """What becomes of a domain's rows."""
        scale = self.scale.get(domain, 1.0) if isinstance(self.scale, dict) else self.scale
        return How(self.kind, scale, self.side, self.channels)


class How(NamedTuple):
    """What decides a domain's rows, beside its files."""

    kind: str | None
    scale: float
    side: int | None
    channels: int | None


class _Made(NamedTuple):
    rows: NDArray[Any]  # (n, ...), in memory or mapped
    digest: bytes


def load_arrays(
    name: str,
    settings: ArraySettings,
    task: str,
    *,
    data: Path | None,
    source_holdout: float = 0.1,
    scored: str = "inductive",
    draw: Mapping[str, int] = _NOTHING,
    per_class: Mapping[str, int] = _NOTHING,
    repeat: int = 0,
) -> TaskData:
    """The arrays of one task, as a benchmark cell sees them.

    Args:
        name: the suite's, for messages.
        settings: its ``[arrays]`` table.
        task: source and target, as in ``"mnist->usps"``.
        data: the data folder.
        source_holdout: share of the source rows that is held out of training, in [0, 1).
        scored: ``"transductive"``: scored on the rows adapted to; ``"inductive"``: scored on those given for it, else
            on ``settings.scored_share`` of each target class, drawn anew for each ``repeat``, and adapted to the rest.
        draw: how many rows of a domain are trained on or adapted to; all where not named.
        per_class: how many labelled rows of each class a domain gives as a source, drawn anew for each ``repeat``.
        repeat: the number of the draw, >= 0.

    Returns:
        Splits whose inputs are :class:`~landbridge.shared.batches.Rows` of the domain's array, uint8 (n, c, h, w) or
        floating point, with classes numbered from 0, their names, and a checksum of all of it.

    Raises:
        ValueError: for an unknown task or domain, a share or number that cannot be, or a class with too few rows.
        DataError: a ValueError, for files that are missing or damaged, hold NaN or inf, or do not fit each other.
    """
    from ...shared.batches import Rows  # it needs torch

    source, target = check_arguments(
        "load_arrays", name, settings, task, source_holdout, scored, draw, per_class, repeat
    )
    domains = {domain: read_domain(name, settings, domain, data, _numbers) for domain in (source, target)}
    classes, labels = classes_of(settings, domains)
    made = {domain: _made(held.parts, settings.how(domain)) for domain, held in domains.items()}
    _check_alike({domain: (held.parts[0].rows, made[domain].rows) for domain, held in domains.items()})
    chosen = choose(
        source, target, domains, labels, classes, source_holdout=source_holdout, scored=scored,
        scored_share=settings.scored_share, draw=draw, per_class=per_class, repeat=repeat,
    )  # fmt: skip

    def split(domain: str, rows: NDArray[np.int64]) -> Split:
        return Split(Rows(made[domain].rows, rows), labels[domain][rows], rows)

    target_train = split(target, chosen.target_train)
    splits: dict[str, Split | None] = {
        "source_train": split(source, chosen.source_train),
        "source_holdout": split(source, chosen.source_holdout) if len(chosen.source_holdout) else None,
        "target_train": target_train,
        "target_eval": target_train if chosen.target_eval is None else split(target, chosen.target_eval),
    }
    digest = digest_of([made[domain].digest for domain in (source, target)], splits, classes)
    return TaskData(**splits, classes=classes, checksum=digest)  # type: ignore[arg-type]


def status(name: str, settings: ArraySettings, domains: list[str], data: Path | None) -> list[Status]:
    """For each domain: whether its file is there and holds what it should, and where. It is read for that."""

    def one(domain: str) -> tuple[int, str]:
        found = read_domain(name, settings, domain, data, _numbers)
        made = _made(found.parts, settings.how(domain)).rows
        classes = len(np.unique(found.labels))
        return len(made), f"{'x'.join(map(str, made.shape[1:]))} {made.dtype}, {classes} classes"

    return look(name, settings, domains, data, one)


def _numbers(place: Place, held: Any) -> Any:
    """An array of numbers (n, ...)."""
    if is_sparse(held):
        todo = "Sparse rows are for the table [features]; or store them dense."
        raise DataError(place.path, f"a dense array {place.name!r}", "a sparse matrix", todo)
    found = held if isinstance(held, np.ndarray) else np.asarray(held)
    if found.dtype.kind not in "fiub" or not 2 <= found.ndim <= 4 or 0 in found.shape:
        known = "; ".join(f"{kind} are {shape}" for kind, shape in SHAPES.items())
        name = f"{place.name!r}" if place.name else "the array"
        raise DataError(place.path, f"{name} as numbers: {known}", f"{found.dtype} of {found.shape}", "Save it so.")
    return found


@lru_cache(maxsize=4)
def _made(parts: tuple[Part, ...], how: How) -> _Made:
    """A domain's rows as they are trained on; kept, since the draws and seeds of a task share them."""
    place = parts[0].rows
    rows = _scaled(_shaped(place, read_again(parts, _numbers), how.kind), how.scale)
    images = rows.ndim == 4
    if images and rows.dtype != np.uint8 and _are_bytes(rows):
        rows = np.rint(rows).astype(np.uint8)
    elif not images and rows.dtype.kind in "iub":
        rows = rows.astype(np.float32)
    rows = _native(rows)
    if how.side is not None or how.channels is not None:
        rows = _converted(place, rows, how)
    digest = hashlib.sha256(f"{rows.dtype.str} {rows.shape}\n".encode())
    size = max(1, BLOCK // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), size):
        digest.update(np.ascontiguousarray(rows[start : start + size]).data)
    digest.update(label_bytes(read_again(parts, _numbers).labels))
    return _Made(rows, digest.digest())


def _shaped(place: Place, domain: Any, kind: str | None) -> NDArray[Any]:
    """The rows with the axes of their kind: (n, c, h, w), (n, c, t) or (n, d)."""
    rows: NDArray[Any] = domain.rows
    shape = rows.shape
    name = f"{place.name!r}" if place.name else "the array"
    if kind is None:
        if rows.ndim == 3:
            todo = "Say which, in the suite's [arrays] table: kind = 'images' or kind = 'series'."
            came = f"{shape}: images (n, height, width), or series (n, channels, time)"
            raise DataError(place.path, f"{name} of a kind that its axes tell", came, todo)
        kind = "images" if rows.ndim == 4 else "vectors"
    axes = {"images": (3, 4), "series": (3,), "vectors": (2,)}[kind]
    if rows.ndim not in axes:
        todo = "Reshape it, or correct 'kind' in the suite's [arrays] table."
        raise DataError(place.path, f"{name} as {kind}, {SHAPES[kind]}", str(shape), todo)
    if kind == "images" and rows.ndim == 3:
        return rows[:, None]
    if kind == "images" and shape[1] not in CHANNELS and shape[3] in CHANNELS:
        todo = "Store it as images.transpose(0, 3, 1, 2)."
        raise DataError(place.path, f"{name} as {SHAPES[kind]}", f"{shape}, with the channels last", todo)
    return rows


def _scaled(rows: NDArray[Any], scale: float) -> NDArray[Any]:
    if scale == 1:
        return rows
    scaled: NDArray[Any] = rows.astype(np.float64 if rows.dtype.itemsize > 4 else np.float32) * scale
    return scaled.astype(np.float32)


def _are_bytes(rows: NDArray[Any]) -> bool:
    """Whether all are whole numbers from 0 to 255, and not 0 and 1 alone, of which nobody can tell."""
    if rows.dtype.kind == "b":
        return False
    size, most = max(1, BLOCK // max(1, math.prod(rows.shape[1:]))), 0.0
    for start in range(0, len(rows), size):
        block = np.asarray(rows[start : start + size])
        if block.min() < -EXACT or block.max() > 255 + EXACT:
            return False
        if block.dtype.kind == "f" and np.abs(block - np.rint(block)).max() > EXACT:
            return False
        most = max(most, float(block.max()))
    return most > 1 + EXACT


def _native(rows: NDArray[Any]) -> NDArray[Any]:
    """In this machine's byte order, of float64 at most; integers of images too wide for bytes as numbers."""
    if rows.dtype.kind in "iub" and rows.dtype != np.uint8:
        return rows.astype(np.float32)
    if rows.dtype.kind == "f" and rows.dtype.itemsize not in (4, 8):
        return rows.astype(np.float32 if rows.dtype.itemsize == 2 else np.float64)
    return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))


def _converted(place: Place, rows: NDArray[Any], how: How) -> NDArray[np.uint8]:
    """Images of bytes, resized and grey or RGB."""
    asked = {"side": how.side, "channels": how.channels}
    wanted = " and ".join(f"{key} = {value}" for key, value in asked.items() if value is not None)
    if rows.dtype != np.uint8 or rows.ndim != 4:
        low, high = float(np.min(rows)), float(np.max(rows))
        todo = "Resize them before, or store bytes."
        if 0 <= low <= high <= 1:
            todo = "Write scale = 255 for images from 0 to 1, or resize them before."
        came = f"{rows.dtype} from {low:g} to {high:g}"
        raise DataError(place.path, f"images of bytes, 0 to 255, for {wanted}", came, todo)
    channels = how.channels or rows.shape[1]
    if channels not in (1, 3) or rows.shape[1] not in (1, 3):
        todo = "Leave the others out."
        raise DataError(place.path, f"images of 1 or 3 channels, for {wanted}", str(rows.shape), todo)
    if how.side is None and rows.shape[2] != rows.shape[3]:
        raise DataError(place.path, f"square images, for {wanted}", str(rows.shape), "Add side = 28, or another.")
    everything = np.arange(len(rows), dtype=np.int64)
    return convert(rows, everything, size=how.side or rows.shape[2], channels=channels)


def _check_alike(made: dict[str, tuple[Place, NDArray[Any]]]) -> None:
    """Both domains of a task go through one network."""
    (source, (_, first)), (target, (place, second)) = made.items()
    if first.shape[1:] != second.shape[1:]:
        todo = "Make both by the same means."
        if first.ndim == second.ndim == 4:
            side, channels = max(first.shape[2:] + second.shape[2:]), min(first.shape[1], second.shape[1])
            todo = f"Write side = {side}, channels = {channels} in the suite's [arrays] table."
        wanted = f"rows of shape {first.shape[1:]}, as in domain {source!r}"
        raise DataError(place.path, wanted, str(second.shape[1:]), todo)
    if (first.dtype == np.uint8) != (second.dtype == np.uint8):
        told = {domain: _range(held) for domain, (_, held) in made.items()}
        other = target if first.dtype == np.uint8 else source
        todo = f"Bring both to one scale: for images from 0 to 1 write scale = {{ {other} = 255 }} in [arrays]."
        raise DataError(place.path, f"numbers as in domain {source!r}, {told[source]}", told[target], todo)


def _range(rows: NDArray[Any]) -> str:
    return "bytes, 0 to 255" if rows.dtype == np.uint8 else f"{rows.dtype} from {rows.min():g} to {rows.max():g}"
