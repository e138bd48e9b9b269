"""optdigits: scikit-learn's 1797 handwritten digits, and three shifts made of them; no download.

The 8x8 images (0 to 16) become 16x16 bytes. Source, adapting and scoring take disjoint images (40, 40 and 20 per cent,
by hash), so no target image is a shifted source image. Everything is integer arithmetic on streams of random integers
that depend on names and row numbers alone. The photographs of ``clean->photo`` are JPEG files that scikit-learn
decodes: there the bits are those of the JPEG library, which the checksum of a task tells.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .base import Split, Status, TaskData, checksum, draw_rows, hash_order, hold_out
from .images import absolute_difference, patches, rotate, to_channels
from .streams import bell, random_words

__all__ = ["DOMAINS", "SIZES", "TASKS", "load", "status"]

TASKS = ("clean->noisy", "upright->rotated", "clean->photo")
DOMAINS = ("clean", "noisy", "upright", "rotated", "photo")
SIZES = (16,)
CLASSES = tuple("0123456789")

SHARES = (40, 40, 20)  # per cent: source, adapting, scoring
# How strong the shifts are: a small network trained on the source falls below 40 (noisy) and 60 per cent (rotated), one
# trained on the target itself stays above 90 and 95. docs/weights.md tells what else was looked at.
NOISE = 30  # standard deviation of the additive noise, in grey levels
SPECKLE = 25  # per cent of the pixels turn white
ANGLES = (25, 45)  # degrees, both ends included


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
    source, target = task.split("->")
    of_source, adapting, scoring = _parts()
    of_source = draw_rows(source, of_source, draw.get(source))
    train, held = hold_out(source, of_source, source_holdout)
    target_train = _split(target, draw_rows(target, adapting, draw.get(target)), channels)
    splits: dict[str, Split | None] = {
        "source_train": _split(source, train, channels),
        "source_holdout": _split(source, held, channels) if len(held) else None,
        "target_train": target_train,
        "target_eval": target_train if scored == "transductive" else _split(target, scoring, channels),
    }
    return TaskData(**splits, classes=CLASSES, checksum=checksum(splits, CLASSES))  # type: ignore[arg-type]


def status(tasks: list[str], data: Path | None) -> list[Status]:
    """Always there: scikit-learn brings it."""
    how = "Nothing to do: scikit-learn brings it."
    return [Status("optdigits", True, "inside scikit-learn", how, "1797 images of 8x8, made 16x16", "there")]


@cache
def _parts() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    order = hash_order("optdigits/parts", np.arange(len(_digits()[1]), dtype=np.int64))
    first = (SHARES[0] * len(order) + 50) // 100
    second = first + (SHARES[1] * len(order) + 50) // 100
    return np.sort(order[:first]), np.sort(order[first:second]), np.sort(order[second:])


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images, (1797, 1, 16, 16), and their labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _double(bunch.images.astype(np.int64)), bunch.target.astype(np.int64)


def _double(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, h, w) of 0..16 to (n, 1, 2h, 2w) of 0..255, bilinear: 3/4 of the nearest pixel and 1/4 of the next."""
    for axis in (1, 2):
        last = images.shape[axis] - 1
        before = images.take(np.arange(-1, last).clip(0), axis)
        after = images.take(np.arange(1, last + 2).clip(0, last), axis)
        pairs = np.stack([3 * images + before, 3 * images + after], axis + 1)
        images = pairs.reshape(*images.shape[:axis], -1, *images.shape[axis + 1 :])
    return ((images * 255 + 128) // 256).astype(np.uint8)[:, None]  # 256 = 16 grey levels * 4 * 4


def _split(domain: str, rows: NDArray[np.int64], channels: int) -> Split:
    images, labels = _digits()
    chosen = images[rows]
    if domain == "noisy":
        chosen = _noisy(chosen, rows)
    elif domain == "rotated":
        spread = np.uint64(ANGLES[1] - ANGLES[0] + 1)
        turns = ANGLES[0] + (random_words("optdigits/rotated", rows, 1)[:, 0] % spread).astype(np.int64)
        chosen = rotate(chosen, turns)
    elif domain == "photo":
        photos = [to_channels(photo.transpose(2, 0, 1)[None], channels)[0].transpose(1, 2, 0) for photo in _photos()]
        chosen = absolute_difference(chosen, patches(photos, random_words("optdigits/photo", rows, 3), SIZES[0]))
    return Split(np.ascontiguousarray(to_channels(chosen, channels)), labels[rows], rows)


def _noisy(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Bell-shaped noise is added and the sum clipped; then some pixels turn white."""
    words = random_words("optdigits/noisy", rows, 2 * images[0].size).reshape(len(rows), 2, *images.shape[1:])
    noise = bell(words[:, 0]) * np.int32(NOISE) // np.int32(209)  # 209: the standard deviation of bell()
    noisy: NDArray[np.uint8] = (images.astype(np.int32) + noise).clip(0, 255).astype(np.uint8)
    noisy[words[:, 1] % np.uint64(100) < SPECKLE] = 255
    return noisy


@cache
def _photos() -> tuple[NDArray[np.uint8], ...]:
    """scikit-learn's two photographs at half size, (213, 320, 3): a 16x16 patch then shows as much as one of 32x32."""
    from sklearn.datasets import load_sample_images

    halves = []
    for photo in load_sample_images().images:
        h, w = photo.shape[0] // 2, photo.shape[1] // 2
        blocks = photo[: 2 * h, : 2 * w].astype(np.uint16).reshape(h, 2, w, 2, 3)
        halves.append(((blocks.sum((1, 3)) + 2) // 4).astype(np.uint8))
    return tuple(halves)
