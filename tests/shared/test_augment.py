"""RandomShift against a loop over images."""

import pytest
import torch

from landbridge.shared.augment import RandomShift


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    _, h, w = image.shape
    out = torch.zeros_like(image)
    for y in range(h):
        for x in range(w):
            if 0 <= y - down < h and 0 <= x - right < w:
                out[:, y, x] = image[:, y - down, x - right]
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_is_moved_by_whole_pixels_and_all_moves_come(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    images = torch.randint(1, 256, (200, 2, 5, 6)).to(dtype)
    seen = set()
    for before, after in zip(images, RandomShift(1)(images), strict=True):
        moves = [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1) if torch.equal(moved(before, d, r), after)]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) == 9


def test_no_move_is_the_identity() -> None:
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    assert torch.equal(RandomShift(0)(images), images)


def test_the_same_seed_moves_alike() -> None:
    images = torch.rand(8, 1, 6, 6)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(RandomShift(2)(images))
    assert torch.equal(*results)


@pytest.mark.parametrize("pixels", [-1, 1.5, True])
def test_a_wrong_size_is_a_sentence(pixels: object) -> None:
    with pytest.raises(ValueError, match="RandomShift needs pixels as a whole number >= 0"):
        RandomShift(pixels)  # type: ignore[arg-type]
