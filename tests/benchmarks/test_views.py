"""Views of the prepared array: the centre that the literature evaluates on, at the network's own pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from landbridge.benchmarks.views import EvaluationView, evaluation_view, training_view


@pytest.fixture
def photos() -> Tensor:
    return torch.randint(0, 256, (3, 3, 256, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("side", [224, 227, 256])
def test_a_network_of_224_pixels_and_more_sees_a_crop(photos: Tensor, side: int) -> None:
    assert torch.equal(EvaluationView(side)(photos).float(), v2.CenterCrop(side)(photos).float())


@pytest.mark.parametrize("side", [64, 128])
def test_a_smaller_one_sees_the_same_centre_made_smaller(photos: Tensor, side: int) -> None:
    seen = EvaluationView(side)(photos)
    wanted = v2.functional.resize(v2.CenterCrop(224)(photos), [side, side], antialias=True)
    assert seen.shape == (3, 3, side, side)
    assert (seen.float() - wanted.float()).abs().max() <= 1


def test_small_arrays_are_shown_whole_where_the_crop_is_larger() -> None:
    small = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    assert EvaluationView(64)(small).shape == (2, 3, 64, 64)


def test_ten_crops_and_training_crops_have_the_networks_side(photos: Tensor) -> None:
    ten = evaluation_view(96, ten_crops=True)(photos)
    assert ten.shape == (3, 10, 3, 96, 96)
    corner = v2.functional.resize(photos[:, :, :224, :224], [96, 96], antialias=True)
    assert (ten[:, 0].float() - corner.float()).abs().max() <= 1
    assert evaluation_view(96, ten_crops=False)(photos).shape == (3, 3, 96, 96)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        view = training_view(96)
        first, second = view(photos), view(photos)
    assert first.shape == (3, 3, 96, 96)
    assert not torch.equal(first, second)
