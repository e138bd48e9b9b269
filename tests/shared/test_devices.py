"""The device of a name, or a sentence."""

from __future__ import annotations

import pytest
import torch

from landbridge.shared.devices import resolve_device
from landbridge.shared.result import load


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a GPU")
def test_a_gpu_that_is_not_there() -> None:
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch sees no GPU here"):
        resolve_device("cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="asks what happens without MPS")
def test_a_kind_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="fit: device 'mps' was asked for, but torch cannot compute on 'mps' here"):
        resolve_device("mps", function="fit")
    with pytest.raises(ValueError, match="load: device 'mps' was asked for"):
        load("nowhere", device="mps")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("gpu", "unknown device 'gpu'; use 'auto', 'cpu', 'cuda' or 'cuda:1'"),
        (None, "unknown device None; use 'auto'"),
        ("meta", "device 'meta' holds shapes and no numbers"),
    ],
)
def test_what_is_no_device(device: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        resolve_device(device)  # type: ignore[arg-type]


def test_a_gpu_of_a_number_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' was asked for, but torch sees only 'cuda:0', 'cuda:1' here"):
        resolve_device("cuda:2")
