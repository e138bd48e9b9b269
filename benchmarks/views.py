"""How a network is shown the prepared photographs: cropped at random in training, centred in evaluation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..shared.augment import CentreCrop, RandomResizedCrop, TenCrops

__all__ = ["CENTRE", "EvaluationView", "evaluation_view", "training_view"]

CENTRE = 224 / 256  # of the array's side: what the Office-31 literature evaluates on
VERSION = 2  # raised by hand when a change here changes features; part of the key they are cached by


class EvaluationView:
    """The centre of each image, or its ten crops, at the side of the network.

    What is cut out is 7/8 of the image's side, or more where the network sees more pixels; it is resized where the
    network sees fewer.

    Args:
        side: pixels of the network's images.
        ten_crops: the four corners and the centre with their mirror images, (n, 10, c, side, side).

    >>> EvaluationView(128)(torch.zeros(2, 3, 256, 256, dtype=torch.uint8)).shape  # of the centre 224
    torch.Size([2, 3, 128, 128])
    """

    def __init__(self, side: int, *, ten_crops: bool = False) -> None:
        self.side = side
        self.ten_crops = ten_crops
        self.views = 10 if ten_crops else 1

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, h) of 0..255 as the network is to see them."""
        h = images.shape[-1]
        crop = min(max(self.side, round(CENTRE * h)), h)
        return (TenCrops if self.ten_crops else CentreCrop)(self.side, crop=crop)(images)


def training_view(side: int) -> Callable[[Tensor], Tensor]:
    """Random resized crops with flips, of both domains and for every row."""
    return RandomResizedCrop(side)


def evaluation_view(side: int, *, ten_crops: bool) -> Callable[[Tensor], Tensor]:
    """See :class:`EvaluationView`."""
    return EvaluationView(side, ten_crops=ten_crops)
