"""Exact arithmetic on batches of uint8 images: the same bits with every library version and on every machine."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["absolute_difference", "convert", "patches", "resize", "rotate", "to_channels"]

Images = NDArray[np.uint8]
_CHUNK = 4096  # images at a time: bounds the memory that wider integers take
_ONE = 1 << 12  # resampling weights are multiples of 1 / _ONE
_TURN = 1 << 14  # sines and cosines are multiples of 1 / _TURN


def to_channels(images: Images, channels: int) -> Images:
    """Grey or RGB: (n, 1 or 3, h, w) to (n, channels, h, w).

    Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) in integers, 2^-16 fine; RGB of grey repeats it.

    >>> to_channels(np.full((1, 3, 2, 2), 200, np.uint8), 1).ravel().tolist()
    [200, 200, 200, 200]
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    red, green, blue = (images[:, c : c + 1].astype(np.uint32) for c in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def resize(images: Images, size: int) -> Images:
    """Bilinear with antialiasing, (n, c, h, w) to (n, c, size, size).

    Pixel i of ``size`` out of ``h`` is centred at (i + 1/2) h / size and weighs its neighbours by a triangle of half
    width max(1, h / size): what PIL and torch call bilinear with antialiasing, from which it differs by rounding alone.
    The weights are integers out of 4096 and their products are summed in float64, which holds them exactly; one
    rounding at the end.
    """
    n, c, h, w = images.shape
    if h == w == size:
        return images
    across = _weights(w, size).T  # (w, size)
    down = _weights(h, size)  # (size, h)
    wide = (images.reshape(-1, w).astype(np.float64) @ across).reshape(n * c, h, size)
    sums = np.matmul(down, wide).astype(np.int64)  # (n*c, size, size), at most 255 * 2^24
    half = _ONE * _ONE // 2
    resized: Images = ((sums + half) // (_ONE * _ONE)).astype(np.uint8)
    return resized.reshape(n, c, size, size)


def _weights(old: int, new: int) -> NDArray[np.float64]:
    scale = Fraction(old, new)
    width = max(Fraction(1), scale)
    table = np.zeros((new, old))
    for i in range(new):
        centre = (i + Fraction(1, 2)) * scale
        row = [max(Fraction(0), 1 - abs(j + Fraction(1, 2) - centre) / width) for j in range(old)]
        table[i] = [int(_ONE * value / sum(row) + Fraction(1, 2)) for value in row]
        table[i, table[i].argmax()] += _ONE - table[i].sum()  # a flat image stays as it is
    return table


def convert(images: Images, rows: NDArray[np.int64], *, size: int, channels: int) -> Images:
    """Chosen rows of a whole data set in the size and channels wanted, contiguous, with little memory beside."""
    out = np.empty((len(rows), channels, size, size), dtype=np.uint8)
    for start in range(0, len(rows), _CHUNK):
        some = images[rows[start : start + _CHUNK]]
        if channels == 1:
            some = to_channels(some, 1)  # grey first: fewer pixels to resample
        out[start : start + _CHUNK] = to_channels(resize(some, size), channels)
    return out


def rotate(images: Images, degrees: NDArray[np.int64]) -> Images:
    """Each image turned counter-clockwise about its centre by its own whole number of degrees; 0 where nothing was.

    Bilinear inverse mapping in fixed point: sines and cosines rounded to 2^-14, pixel positions to 2^-7.

    Args:
        images: (n, c, h, w).
        degrees: (n,).
    """
    n, c, h, w = images.shape
    angle = np.deg2rad(degrees.astype(np.float64))
    # rounding to 14 bits hides the last-bit differences between mathematics libraries
    cos = np.rint(np.cos(angle) * _TURN).astype(np.int64)[:, None, None]
    sin = np.rint(np.sin(angle) * _TURN).astype(np.int64)[:, None, None]
    # twice the distance from the centre is whole for odd and even sides alike
    y = (2 * np.arange(h, dtype=np.int64) - (h - 1))[None, :, None]
    x = (2 * np.arange(w, dtype=np.int64) - (w - 1))[None, None, :]
    drop = 2 * _TURN // 128  # to units of 1/128 pixel
    from_x = (cos * x - sin * y) // drop + 64 * (w - 1)  # (n, h, w)
    from_y = (sin * x + cos * y) // drop + 64 * (h - 1)
    left, top, right_part, low_part = from_x >> 7, from_y >> 7, from_x & 127, from_y & 127
    total = np.zeros((n, c, h, w), dtype=np.int64)
    for down, weight_y in ((0, 128 - low_part), (1, low_part)):
        for along, weight_x in ((0, 128 - right_part), (1, right_part)):
            i, j = top + down, left + along
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
            picked = images[
                np.arange(n)[:, None, None, None],
                np.arange(c)[None, :, None, None],
                i.clip(0, h - 1)[:, None],
                j.clip(0, w - 1)[:, None],
            ]
            total += picked * (weight_x * weight_y * inside)[:, None]
    turned: Images = ((total + (1 << 13)) >> 14).astype(np.uint8)
    return turned


def patches(photos: list[Images], words: NDArray[np.uint64], size: int) -> Images:
    """A random patch of a random photograph for each row of words.

    Args:
        photos: images (h, w, c), each at least ``size`` high and wide; sizes may differ, c may not.
        words: (n, 3) random words: which photograph, which row, which column.
        size: height and width of a patch.

    Returns:
        (n, c, size, size).
    """
    flat = np.concatenate([photo.reshape(-1, photo.shape[2]) for photo in photos])  # (pixels, c)
    shapes = np.array([photo.shape[:2] for photo in photos], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(shapes.prod(1))[:-1]])
    which = (words[:, 0] % np.uint64(len(photos))).astype(np.int64)
    free = (shapes[which] - size + 1).astype(np.uint64)  # (n, 2) places for the upper left corner
    corner = (words[:, 1:3] % free).astype(np.int64)
    width = shapes[which, 1]
    first = starts[which] + corner[:, 0] * width + corner[:, 1]
    out = np.empty((len(words), flat.shape[1], size, size), dtype=np.uint8)
    for at in range(0, len(words), _CHUNK):
        some = slice(at, at + _CHUNK)
        down = np.arange(size)[None, :, None] * width[some, None, None]
        index = first[some, None, None] + down + np.arange(size)[None, None, :]  # (chunk, size, size)
        out[some] = flat[index].transpose(0, 3, 1, 2)
    return out


def absolute_difference(first: Images, second: Images) -> Images:
    """abs(first - second), pixel by pixel, without the wrap-around of unsigned bytes; shapes broadcast."""
    return np.maximum(first, second) - np.minimum(first, second)
