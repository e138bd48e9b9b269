"""Augmentation of image batches, on the device and for all images at once.

All take images (n, c, h, w) in 0..255, uint8 or floating point, and give back the same kind; ``Normalise`` is a
network's first layer. What is random is drawn from torch's global generator of the images' device, and nothing waits
for a GPU. Resizing is bilinear with antialias, as PIL's and torchvision's: on the CPU the very kernel of
``torchvision.transforms.v2``, image by image on bytes; on a GPU, where a kernel an image would be slow, as two matrix
products with all images' weights. What is rounded to bytes may differ by 1 between the two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CentreCrop", "RandomResizedCrop", "RandomShift", "TenCrops", "resized_crop"]

TRIES = 10  # as torchvision: so many boxes are drawn until one lies within the image


class RandomShift:
    """Move each image by whole pixels drawn at random; what comes in at the border is 0.

    Args:
        pixels: the largest move in each direction, >= 0; the same as padding by so many and cropping at random.

    Raises:
        ValueError: if ``pixels`` is negative or no whole number.

    >>> RandomShift(1)(torch.ones(5, 1, 4, 4, dtype=torch.uint8)).shape
    torch.Size([5, 1, 4, 4])
    """

    def __init__(self, pixels: int) -> None:
        if not isinstance(pixels, int) or isinstance(pixels, bool) or pixels < 0:
            raise ValueError(f"RandomShift needs pixels as a whole number >= 0; got {pixels!r}.")
        self.pixels = pixels

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) of any dtype, moved; drawn from torch's global generator."""
        n, _, h, w = images.shape
        p, device = self.pixels, images.device
        moves = torch.randint(0, 2 * p + 1, (2, n, 1), device=device)
        rows = moves[0] + torch.arange(h, device=device)  # (n, h)
        columns = moves[1] + torch.arange(w, device=device)  # (n, w)
        padded = F.pad(images, (p, p, p, p)).permute(0, 2, 3, 1)  # (n, h+2p, w+2p, c)
        sample = torch.arange(n, device=device)[:, None, None]
        return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class RandomResizedCrop:
    """Cut a box of random area, shape and place from each image, resize it to a square, and flip some.

    Boxes are distributed as torchvision's: the area uniform in ``scale`` of the image's, the logarithm of width over
    height uniform in ``ratio``'s, up to ten tries until the box lies within the image, then the place uniform; and the
    largest centred box within ``ratio`` where no try does. The one difference: all ten tries are drawn at once for
    every image, so a seed gives other boxes than torchvision's.

    Args:
        side: height and width of what comes out, in pixels.
        scale: smallest and largest area, as shares of the image's; 0 < smallest <= largest.
        ratio: smallest and largest width over height; 0 < smallest <= largest.
        flip: the chance that an image is mirrored left to right, 0 to 1.

    Raises:
        ValueError: if a number is out of its range.

    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6.

    >>> RandomResizedCrop(8)(torch.zeros(5, 3, 16, 16, dtype=torch.uint8)).shape
    torch.Size([5, 3, 8, 8])
    """

    def __init__(
        self,
        side: int,
        *,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        _check_side("RandomResizedCrop", "side", side)
        for name, (low, high) in (("scale", scale), ("ratio", ratio)):
            if not 0 < low <= high < math.inf:
                raise ValueError(f"RandomResizedCrop needs {name} as 0 < smallest <= largest; got {(low, high)}.")
        if not 0 <= flip <= 1:
            raise ValueError(f"RandomResizedCrop needs flip as a chance from 0 to 1; got {flip!r}.")
        self.side, self.scale, self.ratio, self.flip = side, scale, ratio, flip

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to (n, c, side, side)."""
        n, _, height, width = images.shape
        boxes = self.boxes(n, height, width, images.device)
        return resized_crop(images, boxes, self.side, self._flips(n, images.device))

    def boxes(self, n: int, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw a box for each of n images: (n, 4), float32 whole numbers: top, left, height and width in pixels."""
        drawn = torch.rand(2 * TRIES + 2, n, device=device)
        area = drawn[:TRIES] * (self.scale[1] - self.scale[0]) + self.scale[0]  # (tries, n), as all until `first`
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        root = (drawn[TRIES:-2] * ((high - low) / 2) + low / 2).exp_()  # of the ratio
        side = area.mul_(height * width).sqrt_()
        w, h = (side * root).round_(), (side / root).round_()
        fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
        first = fits.to(torch.uint8).argmax(0, keepdim=True)  # the first that fits; 0 where none does
        fits, w, h = (x.gather(0, first)[0] for x in (fits, w, h))
        largest = self._largest(height, width)
        h, w = h.masked_fill_(~fits, largest[0]), w.masked_fill_(~fits, largest[1])  # where would copy the numbers
        room = torch.stack([height - h, width - w])  # (2, n)
        place = (drawn[-2:] * (room + 1)).floor_().minimum(room)  # rounding up could reach room + 1
        place = torch.where(fits, place, (room / 2).floor_())
        return torch.cat([place, h[None], w[None]]).T

    def _flips(self, n: int, device: torch.device) -> Tensor | None:
        return torch.rand(n, device=device) < self.flip if self.flip else None

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        if width / height < self.ratio[0]:
            return round(width / self.ratio[0]), width
        if width / height > self.ratio[1]:
            return height, round(height * self.ratio[1])
        return height, width


def resized_crop(images: Tensor, boxes: Tensor, side: int, flips: Tensor | None = None) -> Tensor:
    """Cut each image's own box, resize it to a square (bilinear, antialias), and mirror some left to right.

    Args:
        images: (n, c, h, w), uint8 or floating point.
        boxes: (n, 4) whole numbers: top, left, height, width in pixels, within the image; on the images' device.
        side: height and width of what comes out.
        flips: (n,) bool: which are mirrored; None: none.

    Returns:
        (n, c, side, side), of the images' dtype: equal to ``torchvision.transforms.v2.functional.resized_crop`` (and
        ``horizontal_flip``), on the CPU bit for bit (where torchvision resizes bytes as bytes: it needs AVX2), else
        within rounding.

    Raises:
        ValueError: if there is not one box, and one flip, an image.

    >>> resized_crop(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[1, 1, 2, 2]]), 1)
    tensor([[[[7.5000]]]])
    """
    n = len(images)
    if images.ndim != 4 or boxes.shape != (n, 4) or (flips is not None and flips.shape != (n,)):
        raise ValueError(
            f"resized_crop needs images (n, c, h, w), boxes (n, 4) and flips (n,); got {tuple(images.shape)}, "
            f"{tuple(boxes.shape)} and {None if flips is None else tuple(flips.shape)}."
        )
    return (_one_by_one if images.is_cpu else _by_products)(images, boxes, side, flips)


def _one_by_one(images: Tensor, boxes: Tensor, side: int, flips: Tensor | None) -> Tensor:
    out = images.new_empty(*images.shape[:2], side, side)
    for i, (top, left, height, width) in enumerate(boxes.to(torch.int64).tolist()):
        out[i : i + 1] = _resized(images[i : i + 1, :, top : top + height, left : left + width], side)
    if flips is not None:
        mirrored = flips.nonzero().squeeze(1)
        out[mirrored] = out[mirrored].flip(-1)
    return out


def _by_products(images: Tensor, boxes: Tensor, side: int, flips: Tensor | None) -> Tensor:
    """Rows and columns are resized by a matrix each: out = R x C^T, of which most is 0, and a GPU does not mind."""
    with torch.autocast(images.device.type, enabled=False):
        floats = images if images.dtype == torch.float64 else images.float()
        top, left, height, width = boxes.to(floats.dtype).T
        rows = _weights(top, height, images.shape[2], side, None)  # (n, side, h)
        columns = _weights(left, width, images.shape[3], side, flips)  # (n, side, w)
        narrow = floats.flatten(1, 2) @ columns.transpose(1, 2)  # (n, c*h, side)
        out: Tensor = rows[:, None] @ narrow.unflatten(1, images.shape[1:3])
    return out.to(images.dtype) if images.is_floating_point() else out.round_().to(images.dtype)


def _weights(start: Tensor, length: Tensor, pixels: int, side: int, flips: Tensor | None) -> Tensor:
    """How much each of an image's pixels along an axis counts in each that comes out: triangles as wide as a step."""
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    out = torch.arange(0.5, side, device=start.device, dtype=start.dtype).view(1, -1, 1)
    if flips is not None:
        out = torch.where(flips.view(-1, 1, 1), side - out, out)
    step = length / side
    at = torch.arange(0.5, pixels, device=start.device, dtype=start.dtype) - start  # from the box's edge
    weights = 1 - ((at - out * step) / step.clamp(min=1)).abs_()
    weights = weights.clamp_(min=0).mul_((at > 0) & (at < length))
    return weights / weights.sum(-1, keepdim=True)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    exact = images.is_floating_point() or images.is_cpu
    out = F.interpolate(images if exact else images.float(), (side, side), mode="bilinear", antialias=True)
    return out if exact else out.round_().to(images.dtype)


class CentreCrop:
    """Cut a square from the centre of each image: what a network that was trained on random crops is judged on.

    Args:
        side: height and width of what comes out, in pixels.
        crop: height and width of what is cut, which is then resized to ``side`` (bilinear, antialias): 224 of 256 for
            a network that sees less than 224 pixels, so that the objects keep their share of the image. ``side`` if
            left out: nothing is resized.

    Raises:
        ValueError: if a size is no whole number >= 1, or an image smaller than what is cut.

    >>> CentreCrop(2)(torch.arange(16).view(1, 1, 4, 4))
    tensor([[[[ 5,  6],
              [ 9, 10]]]])
    """

    views = 1  # how many images come of one

    def __init__(self, side: int, *, crop: int | None = None) -> None:
        self.side, self.crop = _check_crop(type(self).__name__, side, crop)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to (n, c, side, side)."""
        return _resized(_centre(images, *_room(type(self).__name__, images, self.crop)), self.side)


class TenCrops:
    """Cut each image's four corners and its centre, and the same of its mirror image.

    Args:
        side: height and width of what comes out, in pixels.
        crop: height and width of what is cut, as in :class:`CentreCrop`.

    Raises:
        ValueError: if a size is no whole number >= 1, or an image smaller than what is cut.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012, section 4.1;
    the order is torchvision's: upper left, upper right, lower left, lower right, centre, and those of the mirror image.

    >>> TenCrops(2)(torch.zeros(5, 3, 4, 4)).shape
    torch.Size([5, 10, 3, 2, 2])
    """

    views = 10

    def __init__(self, side: int, *, crop: int | None = None) -> None:
        self.side, self.crop = _check_crop(type(self).__name__, side, crop)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to (n, 10, c, side, side)."""
        down, right = _room(type(self).__name__, images, self.crop)
        crops = []
        for of in (images, images.flip(-1)):
            for top in (of[..., : self.crop, :], of[..., down:, :]):
                crops += [_resized(top[..., : self.crop], self.side), _resized(top[..., right:], self.side)]
            crops.append(_resized(_centre(of, down, right), self.side))
        return torch.stack(crops, 1)


def _centre(images: Tensor, down: int, right: int) -> Tensor:
    """What is left when so many rows and columns go, half at each side; torchvision rounds halves to even numbers."""
    top, left = round(down / 2), round(right / 2)
    height, width = images.shape[-2] - down, images.shape[-1] - right
    return images[..., top : top + height, left : left + width]


def _room(name: str, images: Tensor, crop: int) -> tuple[int, int]:
    down, right = images.shape[-2] - crop, images.shape[-1] - crop
    if min(down, right) < 0:
        raise ValueError(
            f"{name} needs images of at least {crop}x{crop} pixels; got {tuple(images.shape)}. Prepare larger ones, or "
            "pass a smaller crop (it is resized to side)."
        )
    return down, right


def _check_crop(name: str, side: int, crop: int | None) -> tuple[int, int]:
    _check_side(name, "side", side)
    if crop is not None:
        _check_side(name, "crop", crop)
    return side, side if crop is None else crop


def _check_side(name: str, argument: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} needs {argument} as a whole number >= 1; got {value!r}.")
