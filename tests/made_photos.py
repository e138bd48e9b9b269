"""Small folders of photographs, made in a moment, for the tests of image suites.

A class is a colour with stripes of its own slant; a domain is a shift of light and tint over all of its classes, so
that a classifier of one domain does worse in another, and better once it is adapted.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OFFICE31_CLASSES = (
    "back_pack", "bike", "bike_helmet", "bookcase", "bottle", "calculator", "desk_chair", "desk_lamp",
    "desktop_computer", "file_cabinet", "headphones", "keyboard", "laptop_computer", "letter_tray", "mobile_phone",
    "monitor", "mouse", "mug", "paper_notebook", "pen", "phone", "printer", "projector", "punchers", "ring_binder",
    "ruler", "scissors", "speaker", "stapler", "tape_dispenser", "trash_can",
)  # fmt: skip
OFFICE31_COUNTS = {"amazon": 2817, "dslr": 498, "webcam": 795}
THREE_CLASSES = ("bike", "mouse", "mug")


def make_photos(
    root: Path,
    *,
    domains: Mapping[str, int | Sequence[int]],
    classes: Sequence[str],
    side: int = 24,
    layout: str = "plain",
    seed: int = 0,
) -> Path:
    """Write JPEG files ``root/domain/class/frame_0001.jpg`` and so on; the same arguments make the same bytes.

    Args:
        root: the folder; made if need be.
        domains: how many images each class has in a domain: one number, or one a class.
        classes: their names; colours go by their order here.
        side: height and width in pixels.
        layout: ``"plain"``, or ``"images"`` with a folder of that name between domain and class, as in Office-31.
        seed: of the noise.

    Returns:
        ``root``.
    """
    if layout not in ("plain", "images"):
        raise ValueError(f"make_photos knows the layouts 'plain' and 'images'; got {layout!r}.")
    for d, (domain, counts) in enumerate(domains.items()):
        each = [counts] * len(classes) if isinstance(counts, int) else list(counts)
        for k, (name, count) in enumerate(zip(classes, each, strict=True)):
            folder = root / domain / "images" / name if layout == "images" else root / domain / name
            folder.mkdir(parents=True, exist_ok=True)
            photos = made_pixels(k, len(classes), d, count, side=side, seed=seed)
            for i, photo in enumerate(photos):
                Image.fromarray(photo).save(folder / f"frame_{i + 1:04d}.jpg", quality=95)
    return root


def make_office31(root: Path, *, layout: str = "images", side: int = 8) -> Path:
    """Office-31 in its true shape: 31 classes with their names, 2817, 498 and 795 images, but tiny ones; about 2 s."""
    return make_photos(
        root,
        domains={domain: spread(count, len(OFFICE31_CLASSES)) for domain, count in OFFICE31_COUNTS.items()},
        classes=OFFICE31_CLASSES,
        side=side,
        layout=layout,
    )


def spread(total: int, parts: int) -> list[int]:
    """As even as can be, with the larger parts first: ``spread(8, 3) == [3, 3, 2]``."""
    return [total // parts + (k < total % parts) for k in range(parts)]


def made_pixels(k: int, classes: int, domain: int, count: int, *, side: int, seed: int) -> NDArray[np.uint8]:
    """The pixels of class k in a domain, (count, side, side, 3)."""
    rng = np.random.default_rng([seed, domain, k])
    hue = k / classes
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, 0.75, 0.8))
    y, x = np.mgrid[:side, :side] / side
    slant = np.pi * hue
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    stripes = 30 * np.sin(4 * np.pi * (x * np.cos(slant) + y * np.sin(slant)) + phase)  # (count, side, side)
    photos = colour + stripes[..., None] + rng.normal(0, 12, (count, side, side, 3))
    photos += rng.normal(0, 15, (count, 1, 1, 3))  # no two photographs are lit alike
    shift = np.random.default_rng([seed, domain]).uniform(-45, 45, 3) if domain else np.zeros(3)
    shifted = photos * (1 - 0.2 * (domain % 3)) + shift
    return np.clip(np.rint(shifted), 0, 255).astype(np.uint8)
