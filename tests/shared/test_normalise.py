"""Raw images to what weights expect."""

from __future__ import annotations

import torch

from landbridge.shared.normalise import CaffeNormalise, Normalise


def test_normalise_by_its_equation() -> None:
    images = torch.randint(0, 256, (4, 2, 3, 3), dtype=torch.uint8)
    mean, std = (0.1, 0.6), (0.2, 0.5)
    got = Normalise(mean, std)(images)
    assert got.dtype == torch.float32
    for n in range(4):
        for c in range(2):
            expected = (images[n, c].double() / 255 - mean[c]) / std[c]
            torch.testing.assert_close(got[n, c].double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(Normalise()(images.float()), images / 127.5 - 1)


def test_caffes_form_by_its_equation() -> None:
    images = torch.randint(0, 256, (4, 3, 3, 5), dtype=torch.uint8)
    got = CaffeNormalise()(images)
    assert got.dtype == torch.float32
    for n in range(4):
        red, green, blue = images[n].float()
        assert torch.equal(got[n], torch.stack([blue - 104, green - 117, red - 123]))
    assert torch.equal(CaffeNormalise()(images.float()), got)


def test_grey_images_become_three_equal_channels() -> None:
    grey = torch.randint(0, 256, (4, 1, 3, 5), dtype=torch.uint8)
    for module in (CaffeNormalise(), Normalise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))):
        assert torch.equal(module(grey), module(grey.expand(4, 3, 3, 5)))


def test_there_is_no_state() -> None:
    for module in (Normalise(), CaffeNormalise()):
        assert not module.state_dict()
        assert module.double()(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).dtype == torch.float64
