"""Augmentation of image batches, on the device and for all images at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["RandomShift"]


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
