"""Decoding: every colour mode against a rule written down anew, orientation, and what no image can be made of."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from landbridge.benchmarks.datasets.decode import Unreadable, decode
from landbridge.benchmarks.datasets.images import resize

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def saved(folder: Path, image: Image.Image, name: str = "a.png", **settings: object) -> Path:
    image.save(folder / name, **settings)  # type: ignore[arg-type]
    return folder / name


def chw(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def test_rgb_of_the_right_size_is_left_as_it_is(tmp_path: Path) -> None:
    made = decode(saved(tmp_path, Image.fromarray(COLOUR)), 12)
    assert made.dtype == np.uint8
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, chw(COLOUR))


@pytest.mark.parametrize(("h", "w"), [(30, 17), (5, 7), (200, 12)])
def test_squashed_bilinear_with_antialiasing(tmp_path: Path, h: int, w: int) -> None:
    image = RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)
    made = decode(saved(tmp_path, Image.fromarray(image)), 12)

    def matrix(old: int) -> NDArray[np.float64]:  # the triangle of half width max(1, old / 12) about each centre
        centre = (np.arange(12) + 0.5)[:, None] * old / 12
        weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centre) / max(1, old / 12))
        return weights / weights.sum(1, keepdims=True)

    expected = np.einsum("yh,xw,hwc->cyx", matrix(h), matrix(w), image.astype(float))
    assert np.abs(made - expected).max() <= 1.01  # each of two passes rounds


def test_jpeg_is_decoded_whole(tmp_path: Path) -> None:
    """A decoder may shrink JPEGs while decoding them, which changes pixels; here all of them are used."""
    y, x = np.mgrid[:96, :96]
    image = np.stack([(x * 37 + y * 11) % 256, (x * y) % 256, (x ^ y) % 256], -1).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(image), "a.jpg", quality=90)
    with Image.open(path) as opened:
        whole = chw(np.asarray(opened.convert("RGB")))
    assert np.abs(decode(path, 12).astype(int) - resize(whole[None], 12)[0]).max() <= 1


def test_grey_and_one_bit(tmp_path: Path) -> None:
    np.testing.assert_array_equal(decode(saved(tmp_path, Image.fromarray(GREY)), 12), np.stack([GREY] * 3))
    np.testing.assert_array_equal(
        decode(saved(tmp_path, Image.fromarray(GREY > 99)), 12), np.stack([np.where(GREY > 99, 255, 0)] * 3)
    )


def test_palette(tmp_path: Path) -> None:
    indexed = Image.new("P", (12, 12))
    indexed.putdata((GREY % 4).ravel().tolist())
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    indexed.putpalette(colours.ravel().tolist())
    np.testing.assert_array_equal(decode(saved(tmp_path, indexed), 12), chw(colours[GREY % 4]))
    np.testing.assert_array_equal(decode(saved(tmp_path, indexed, "a.gif"), 12), chw(colours[GREY % 4]))
    white = colours.copy()
    white[2] = 255
    np.testing.assert_array_equal(decode(saved(tmp_path, indexed, transparency=2), 12), chw(white[GREY % 4]))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white_paper(tmp_path: Path, mode: str) -> None:
    alpha = RNG.integers(0, 256, (12, 12), dtype=np.uint8)
    alpha[:4], alpha[4:6] = 0, 255
    channels = COLOUR if mode == "RGBA" else GREY[..., None]
    made = decode(saved(tmp_path, Image.fromarray(np.concatenate([channels, alpha[..., None]], -1))), 12)
    share = alpha[..., None] / 255
    expected = chw(np.broadcast_to(channels * share + 255 * (1 - share), COLOUR.shape))
    assert np.abs(made - expected).max() <= 1.01
    assert (made[:, :4] == 255).all()
    np.testing.assert_array_equal(made[:, 4:6], expected[:, 4:6])


def test_a_colour_that_stands_for_transparency(tmp_path: Path) -> None:
    image = COLOUR.copy()
    image[3:6] = (1, 2, 3)
    expected = image.copy()
    expected[3:6] = 255
    np.testing.assert_array_equal(
        decode(saved(tmp_path, Image.fromarray(image), transparency=(1, 2, 3)), 12), chw(expected)
    )


def test_cmyk(tmp_path: Path) -> None:
    ink = RNG.integers(0, 256, (12, 12, 4), dtype=np.uint8)
    made = decode(saved(tmp_path, Image.frombytes("CMYK", (12, 12), ink.tobytes()), "a.tif"), 12)
    c, m, y, k = (1 - ink[..., i] / 255 for i in range(4))
    expected = 255 * np.stack([c * k, m * k, y * k])
    assert np.abs(made - expected).max() <= 1.01
    flat = Image.new("CMYK", (12, 12), (255, 0, 0, 0))
    cyan = decode(saved(tmp_path, flat, "a.jpg", quality=100), 12)  # JPEG stores it inverted
    assert (np.abs(cyan[:, 0, 0].astype(int) - (0, 255, 255)) <= 2).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    deep = RNG.integers(0, 65536, (12, 12)).astype(np.uint16)
    deep[0, :3] = (0, 65535, 300)
    made = decode(saved(tmp_path, Image.fromarray(deep), name), 12)
    np.testing.assert_array_equal(made, np.stack([np.rint(deep / 65535 * 255)] * 3))
    assert made[0, 0, :3].tolist() == [0, 255, 1]


def test_sixteen_bits_big_endian(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (12, 12)).astype(np.uint16)
    made = decode(saved(tmp_path, Image.frombytes("I;16B", (12, 12), deep.astype(">u2").tobytes()), "a.tif"), 12)
    np.testing.assert_array_equal(made[0], np.rint(deep / 257))


def test_sixteen_bits_of_a_portable_graymap(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (12, 12)).astype(np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 12 12 65535\n" + deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(tmp_path / "a.pgm", 12)[1], np.rint(deep / 257))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, orientation: int) -> None:
    """Row and column that the first row and column of the stored image show, by the EXIF standard's table."""
    upright = np.zeros((12, 12, 3), np.uint8)
    upright[:6, :, 0], upright[:, :6, 1] = 200, 200  # red above, green on the left
    rows = ("top", "top", "bottom", "bottom", "left", "right", "right", "left")
    columns = ("left", "right", "right", "left", "top", "top", "bottom", "bottom")
    first_row, first_column = rows[orientation - 1], columns[orientation - 1]
    stored = upright
    if first_row in ("left", "right"):
        stored = stored.transpose(1, 0, 2)
    if first_row in ("bottom", "right"):
        stored = stored[::-1]
    if first_column in ("bottom", "right"):
        stored = stored[:, ::-1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(decode(path, 12), chw(upright))


def test_damaged_exif_does_not_make_a_bad_photograph(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR), "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x00" + b"\xff" * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(path, 12).shape == (3, 12, 12)


def test_contents_decide_not_the_suffix(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR), "a.png")
    np.testing.assert_array_equal(decode(path.rename(tmp_path / "b.jpg"), 12), chw(COLOUR))


def test_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((12, 12), value, np.uint8)) for value in (10, 200)]
    path = saved(tmp_path, frames[0], "a.tif", save_all=True, append_images=frames[1:])
    assert set(decode(path, 12).ravel().tolist()) == {10}


# ---------------------------------------------------------------- what no image can be made of


def why_not(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(path, 12)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".ppm"])
@pytest.mark.parametrize("lenient", [False, True])
def test_truncated(tmp_path: Path, suffix: str, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    big = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(big).save(buffer, Image.registered_extensions()[suffix])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert why_not(path).startswith(("truncated or damaged: ", "not an image: "))
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def test_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("<html>404</html>")
    assert why_not(path) == "not an image: it begins with b'<html>404</html>'"
    path.write_bytes(b"")
    assert why_not(path) == "empty"
    path.unlink()
    assert why_not(path) == "cannot be opened: No such file or directory"
    path.mkdir()
    assert why_not(path) == "cannot be opened: Is a directory"


def test_no_format_that_starts_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert why_not(tmp_path / "a.eps").startswith("not an image")


def test_modes_without_a_rule(tmp_path: Path) -> None:
    real = Image.fromarray(RNG.random((12, 12)).astype(np.float32))
    assert why_not(saved(tmp_path, real, "a.tif")).startswith("floating point, for which there is no rule: save it")
    wide = Image.fromarray(RNG.integers(0, 1 << 30, (12, 12)).astype(np.int32))
    assert why_not(saved(tmp_path, wide, "a.tif")).startswith("32-bit integers")
    lab = Image.frombytes("LAB", (12, 12), COLOUR.tobytes())
    assert why_not(saved(tmp_path, lab, "a.tif")).startswith("LAB colour")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 144 pixels: a warning of Pillow's, which nobody needs
    np.testing.assert_array_equal(decode(path, 12), chw(COLOUR))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert why_not(path).startswith("too large: Image size (144 pixels)")
