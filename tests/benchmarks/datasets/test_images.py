"""Exact image arithmetic against slow loops, and against torch where it does the same with rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from landbridge.benchmarks.datasets.images import (
    absolute_difference,
    convert,
    patches,
    resize,
    rotate,
    to_channels,
)
from landbridge.benchmarks.datasets.streams import random_words


def noise(*shape: int) -> np.ndarray:
    words = random_words("test images", np.arange(shape[0]), math.prod(shape[1:]))
    return (words >> np.uint64(56)).astype(np.uint8).reshape(shape)


@pytest.mark.parametrize(("old", "new"), [(28, 16), (28, 32), (16, 28), (32, 28), (32, 16), (16, 32)])
def test_resize_is_torch_antialiased_bilinear_up_to_rounding(old: int, new: int):
    images = noise(5, 3, old, old)
    theirs = F.interpolate(torch.from_numpy(images).double(), (new, new), mode="bilinear", antialias=True).numpy()
    assert np.abs(resize(images, new) - theirs).max() < 0.5 + 0.15  # the weights are multiples of 1/4096


@pytest.mark.parametrize(("old", "new"), [(28, 16), (16, 28), (28, 32)])
def test_resize_keeps_flat_images_and_symmetry(old: int, new: int):
    assert (resize(np.full((1, 1, old, old), 255, np.uint8), new) == 255).all()
    images = noise(2, 1, old, old)
    assert np.abs(resize(images, new)[..., ::-1].astype(int) - resize(images[..., ::-1], new)).max() <= 1


def test_resize_leaves_the_right_size_alone():
    images = noise(2, 1, 16, 16)
    assert resize(images, 16) is images


def test_to_channels_weighs_as_the_standard_says():
    images = noise(4, 3, 5, 5)
    grey = images.astype(float).transpose(0, 2, 3, 1) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_channels(images, 1)[:, 0] - grey).max() < 0.51
    assert (to_channels(images[:, :1], 3) == images[:, :1]).all()
    assert to_channels(images[:, :1], 3).shape == (4, 3, 5, 5)


def test_convert_works_by_chunks_as_at_once(monkeypatch: pytest.MonkeyPatch):
    images, rows = noise(9, 3, 32, 32), np.array([8, 0, 3, 3, 5])
    whole = convert(images, rows, size=28, channels=1)
    monkeypatch.setattr("landbridge.benchmarks.datasets.images._CHUNK", 2)
    assert (convert(images, rows, size=28, channels=1) == whole).all()
    assert (whole == resize(to_channels(images[rows], 1), 28)).all()
    assert convert(images.transpose(0, 1, 3, 2), rows, size=28, channels=3).flags.c_contiguous


def test_rotate_by_right_angles_permutes_pixels():
    images = noise(4, 2, 16, 16)
    turned = rotate(images, np.array([0, 90, 180, 270]))
    for quarter in range(4):
        assert (turned[quarter] == np.rot90(images[quarter], quarter, axes=(1, 2))).all()


def test_rotate_is_bilinear_inverse_mapping():
    images, degrees = noise(3, 1, 9, 9), np.array([25, 37, 50])
    turned = rotate(images, degrees)
    for n in range(3):
        cos, sin = math.cos(math.radians(degrees[n])), math.sin(math.radians(degrees[n]))
        for i in range(9):
            for j in range(9):
                y, x = i - 4, j - 4
                fy, fx = sin * x + cos * y + 4, cos * x - sin * y + 4
                value = 0.0
                for a in (math.floor(fy), math.floor(fy) + 1):
                    for b in (math.floor(fx), math.floor(fx) + 1):
                        if 0 <= a < 9 and 0 <= b < 9:
                            value += images[n, 0, a, b] * (1 - abs(fy - a)) * (1 - abs(fx - b))
                # positions are multiples of 1/128 pixel, and neighbours differ by up to 255
                assert abs(turned[n, 0, i, j] - value) < 0.5 + 2 * 2 * 255 / 128


def test_patches_are_cut_from_the_photograph_named():
    photos = [noise(20, 31, 3), noise(40, 18, 3)]
    words = random_words("patches", np.arange(50), 3)
    cut = patches(photos, words, 16)
    assert cut.shape == (50, 3, 16, 16)
    for patch, (which, down, along) in zip(cut, words.tolist(), strict=True):
        photo = photos[which % 2]
        i, j = down % (photo.shape[0] - 15), along % (photo.shape[1] - 15)
        assert (patch == photo[i : i + 16, j : j + 16].transpose(2, 0, 1)).all()


def test_patches_reach_every_place():
    photo = np.arange(18 * 17, dtype=np.int64).astype(np.uint8).reshape(18, 17, 1)
    corners = {int(patch[0, 0, 0]) for patch in patches([photo], random_words("all", np.arange(200), 3), 16)}
    assert corners == {0, 1, 17, 18, 34, 35}


def test_absolute_difference_does_not_wrap():
    first, second = np.array([10, 200, 0], np.uint8), np.array([250, 190, 255], np.uint8)
    assert absolute_difference(first, second).tolist() == [240, 10, 255]
