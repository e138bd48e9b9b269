"""One image file to one uint8 RGB array, or a sentence that says why not."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

__all__ = ["VERSION", "Unreadable", "decode"]

VERSION = 1  # to be raised whenever the pixels that `decode` makes of a file change
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")  # none that starts another program, as EPS does
PAPER = (255, 255, 255, 255)  # what shows through where an image is transparent
_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(ValueError):
    """A file of which no image can be made; the message says why, without the file's name."""


def decode(path: Path | str, side: int) -> NDArray[np.uint8]:
    """Decode an image, turn it upright, make it RGB, and squash it to a square.

    * **Size**: both edges go to ``side``, whatever their proportion, as the published Office recipes do; bilinear with
      antialiasing, from all of the image's pixels: no decoding at a reduced scale, which would change them.
    * **Orientation**: as EXIF says, where it does.
    * **Grey** (1 and 8 bits) is repeated; **palette** colours are looked up; **CMYK** and YCbCr go by the plain
      formulas: colour profiles are not applied.
    * **16 bits**: grey is scaled by 255/65535 and rounded, never clipped; of colour the upper byte is taken. 32-bit
      integers and floating point have no known white and are refused, as is LAB.
    * **Transparency** is laid on white paper: what a viewer shows, where dropping alpha would uncover colours that
      nobody was meant to see.
    * **Several frames** (GIF, TIFF): the first.

    Args:
        path: the file; its contents decide the format, not its suffix.
        side: height and width wanted.

    Returns:
        (3, side, side), C-contiguous.

    Raises:
        Unreadable: for what is empty, no image, truncated, damaged, too large, or in a colour mode without a rule.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of metadata, and of images above 89 million pixels; above twice that: an error
        try:
            with Image.open(path, formats=FORMATS) as image:
                _load(image)
                square = _rgb(_upright(image)).resize((side, side), Image.Resampling.BILINEAR)
        except Unreadable:
            raise
        except UnidentifiedImageError:
            raise Unreadable(_no_image(path)) from None
        except Image.DecompressionBombError as error:
            raise Unreadable(f"too large: {error}") from None
        except MemoryError:
            raise Unreadable("too large for the memory") from None
        except Exception as error:  # what a decoder raises on a damaged file is anything
            if isinstance(error, OSError) and error.errno is not None:
                raise Unreadable(f"cannot be opened: {error.strerror}") from None
            raise Unreadable(f"truncated or damaged: {str(error).rstrip('.') or type(error).__name__}") from None
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _load(image: Image.Image) -> None:
    """Read all pixels; somebody's LOAD_TRUNCATED_IMAGES would turn missing ones into grey without a word."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _no_image(path: Path | str) -> str:
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    return f"not an image: it begins with {start!r}" if start else "empty"


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not make a bad photograph
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_integers(image).convert("RGB")
    if image.mode in ("F", "LAB"):
        what = "floating point" if image.mode == "F" else "LAB colour"
        raise Unreadable(f"{what}, for which there is no rule: save it as 8-bit RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8; mode I is 32 bits, but some formats and older versions of Pillow hand 16-bit grey so."""
    values = np.asarray(image).astype(np.int64)
    sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
    if not sixteen or values.min() < 0 or values.max() > 65535:
        raise Unreadable("32-bit integers, for which there is no rule: save it as 8-bit RGB")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
