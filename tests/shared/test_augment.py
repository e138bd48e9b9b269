"""Augmentation against loops over images, and against torchvision's on the same boxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from landbridge.shared import augment
from landbridge.shared.augment import CentreCrop, RandomResizedCrop, RandomShift, TenCrops, resized_crop

BOXES = torch.tensor(
    [[0, 0, 37, 41], [5, 3, 20, 9], [36, 40, 1, 1], [0, 20, 37, 4], [7, 7, 16, 16], [1, 0, 36, 41], [2, 30, 1, 11]]
)
FLIPS = torch.tensor([False, True, False, True, True, False, True])


def photos(n: int = 7, height: int = 37, width: int = 41, *, dtype: torch.dtype = torch.uint8) -> Tensor:
    drawn = torch.randint(0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0))
    return drawn.to(dtype)


def by_torchvision(images: Tensor, boxes: Tensor, side: int, flips: Tensor) -> Tensor:
    made = []
    for image, box, flip in zip(images, boxes.tolist(), flips.tolist(), strict=True):
        crop = v2.functional.resized_crop(image, *box, [side, side], antialias=True)
        made.append(v2.functional.horizontal_flip(crop) if flip else crop)
    return torch.stack(made)


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


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("side", [2, 16, 50])  # 16: no resizing of one box, shrinking and growing of others
def test_a_crop_is_torchvisions_on_the_same_boxes_bit_for_bit(side: int, dtype: torch.dtype) -> None:
    images = photos(dtype=dtype)
    kept = images.clone()
    got = resized_crop(images, BOXES, side, FLIPS)
    assert got.dtype == dtype
    within = 0 if dtype != torch.uint8 or "AVX" in torch.backends.cpu.get_cpu_capability() else 1
    assert (got.double() - by_torchvision(images, BOXES, side, FLIPS).double()).abs().max() <= within
    assert torch.equal(images, kept)
    got[FLIPS] = got[FLIPS].flip(-1)
    assert torch.equal(resized_crop(images, BOXES, side), got)


@pytest.mark.parametrize("side", [2, 16, 50])
def test_what_a_gpu_computes_is_torchvisions_within_rounding(side: int) -> None:
    for dtype, within in ((torch.float32, 1e-3), (torch.float64, 1e-10)):
        images = photos(dtype=dtype)
        got = augment._by_products(images, BOXES.float(), side, FLIPS)
        assert got.dtype == dtype
        torch.testing.assert_close(got, by_torchvision(images, BOXES, side, FLIPS), rtol=0, atol=within)
    got = augment._by_products(photos(), BOXES, side, FLIPS)
    assert got.dtype == torch.uint8
    exact = by_torchvision(photos(dtype=torch.float64), BOXES, side, FLIPS)
    assert (got - exact).abs().max() <= 0.501  # rounded once; torchvision's kernel for bytes rounds twice
    assert (got.int() - by_torchvision(photos(), BOXES, side, FLIPS).int()).abs().max() <= 1


def test_autocast_leaves_a_crop_alone() -> None:
    alone = augment._by_products(photos(), BOXES, 16, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment._by_products(photos(), BOXES, 16, None), alone)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 48), (10, 90), (90, 10)])
def test_boxes_lie_within_the_image_and_are_distributed_as_torchvisions(height: int, width: int) -> None:
    torch.manual_seed(1)
    n, scale, ratio = 4000, (0.2, 0.9), (0.6, 1.5)
    ours = RandomResizedCrop(8, scale=scale, ratio=ratio).boxes(n, height, width).double()
    image = torch.empty(3, height, width)
    drawer = v2.RandomResizedCrop(8, scale=scale, ratio=ratio)
    drawn = [drawer.make_params([image]) for _ in range(n)]
    theirs = torch.tensor([[d[name] for name in ("top", "left", "height", "width")] for d in drawn]).double()
    assert torch.equal(ours, ours.round())
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] >= 1).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    for power in (1, 2):  # moments, within four standard errors of a difference
        a, b = ours**power, theirs**power
        error = ((a.var(0) + b.var(0)) / n).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 4 * error + 1e-9).all()
    joint = [(x[:, 2] * x[:, 3], x[:, 0] * x[:, 2], x[:, 1] * x[:, 3]) for x in (ours, theirs)]
    for a, b in zip(*joint, strict=True):
        assert (a.mean() - b.mean()).abs() <= 4 * ((a.var() + b.var()) / n).sqrt() + 1e-9


@pytest.mark.parametrize(
    ("height", "width", "ratio", "box"),
    [
        (30, 40, (4.0, 5.0), [10, 0, 10, 40]),  # too tall for the ratio: as wide as the image
        (31, 40, (0.1, 0.2), [0, 17, 31, 6]),  # too wide: as tall as the image, and half a pixel goes left
        (5, 40, (8.0, 8.0), [0, 0, 5, 40]),  # just the ratio: the image itself
    ],
)
def test_the_largest_centred_box_where_no_try_fits(
    height: int, width: int, ratio: tuple[float, float], box: list[int]
) -> None:
    crop = RandomResizedCrop(8, scale=(3.0, 4.0), ratio=ratio)  # three times the image's area fits nowhere
    assert crop.boxes(3, height, width).tolist() == [box] * 3
    theirs = v2.RandomResizedCrop(8, scale=(3.0, 4.0), ratio=ratio).make_params([torch.empty(3, height, width)])
    assert [theirs[name] for name in ("top", "left", "height", "width")] == box


def test_a_box_of_the_first_of_ten_tries_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow transcription of torchvision's loop, on the same draws."""
    crop, (height, width), n = RandomResizedCrop(8, scale=(0.3, 1.6), ratio=(0.5, 3.0)), (20, 30), 300
    drawn = torch.rand(22, n, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(torch, "rand", lambda *size, device: drawn.clone())
    later = 0
    for i, box in enumerate(crop.boxes(n, height, width).tolist()):
        for attempt in range(10):
            area = height * width * (0.3 + 1.3 * float(drawn[attempt, i]))
            ratio = math.exp(math.log(0.5) + (math.log(3.0) - math.log(0.5)) * float(drawn[10 + attempt, i]))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = (
                    int(float(drawn[20 + k, i]) * (room + 1)) for k, room in enumerate((height - h, width - w))
                )
                assert box == [top, left, h, w]
                later += attempt > 0
                break
    assert later > 30


def test_every_place_comes() -> None:
    torch.manual_seed(0)
    boxes = RandomResizedCrop(2, scale=(1 / 9, 1 / 9), ratio=(1.0, 1.0)).boxes(500, 3, 3)
    assert {tuple(box) for box in boxes.tolist()} == {(y, x, 1, 1) for y in range(3) for x in range(3)}


@pytest.mark.parametrize(("flip", "low", "high"), [(0.0, 0, 0), (1.0, 100, 100), (0.5, 30, 70), (0.2, 5, 40)])
def test_the_chance_of_a_flip(flip: float, low: int, high: int) -> None:
    torch.manual_seed(0)
    images = torch.arange(4).expand(100, 1, 4, 4)  # columns 0 1 2 3
    out = RandomResizedCrop(4, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=flip)(images.to(torch.uint8))
    mirrored = (out[:, 0, 0, 0] == 3).sum()
    assert low <= mirrored <= high
    assert torch.equal(out.flip(-1)[out[:, 0, 0, 0] == 3], images[: int(mirrored)].to(torch.uint8))


def test_the_whole_augmentation_is_a_crop_of_its_own_boxes() -> None:
    crop, images = RandomResizedCrop(9), photos()
    torch.manual_seed(5)
    got = crop(images)
    torch.manual_seed(5)
    boxes = crop.boxes(7, 37, 41)
    flips = torch.rand(7) < 0.5
    assert torch.equal(got, resized_crop(images, boxes, 9, flips))
    torch.manual_seed(6)
    assert not torch.equal(crop(images), got)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("side", [1, 8, 9, 37])
def test_centre_and_ten_crops_are_torchvisions(side: int, dtype: torch.dtype) -> None:
    images = photos(dtype=dtype)
    assert torch.equal(CentreCrop(side)(images), v2.functional.center_crop(images, [side, side]))
    theirs = torch.stack(v2.functional.ten_crop(images, [side, side]), 1)
    assert torch.equal(TenCrops(side)(images), theirs)


@pytest.mark.parametrize(("side", "crop"), [(8, 30), (35, 30)])
def test_what_is_cut_may_be_resized(side: int, crop: int) -> None:
    images = photos()
    centre = v2.functional.center_crop(images, [crop, crop])
    assert torch.equal(CentreCrop(side, crop=crop)(images), v2.functional.resize(centre, [side, side], antialias=True))
    ten = v2.functional.ten_crop(images, [crop, crop])
    theirs = torch.stack([v2.functional.resize(one, [side, side], antialias=True) for one in ten], 1)
    assert torch.equal(TenCrops(side, crop=crop)(images), theirs)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: RandomResizedCrop(0), "RandomResizedCrop needs side as a whole number >= 1; got 0"),
        (lambda: RandomResizedCrop(8, scale=(0.0, 1.0)), r"scale as 0 < smallest <= largest; got \(0.0, 1.0\)"),
        (lambda: RandomResizedCrop(8, ratio=(2.0, 1.0)), r"ratio as 0 < smallest <= largest; got \(2.0, 1.0\)"),
        (lambda: RandomResizedCrop(8, flip=1.5), "flip as a chance from 0 to 1; got 1.5"),
        (
            lambda: resized_crop(photos(), BOXES[:1], 8),
            r"boxes \(n, 4\) and flips .* got \(7, 3, 37, 41\), \(1, 4\) and N",
        ),
        (lambda: resized_crop(photos(), BOXES, 8, FLIPS[:2]), r"got \(7, 3, 37, 41\), \(7, 4\) and \(2,\)"),
        (lambda: CentreCrop(True), "CentreCrop needs side as a whole number >= 1; got True"),
        (lambda: TenCrops(8, crop=0), "TenCrops needs crop as a whole number >= 1; got 0"),
        (lambda: CentreCrop(38)(photos()), r"CentreCrop needs images of at least 38x38 .* \(7, 3, 37, 41\)"),
        (lambda: TenCrops(4, crop=40)(photos()), "TenCrops needs images of at least 40x40 pixels"),
    ],
)
def test_what_cannot_be_cropped(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
