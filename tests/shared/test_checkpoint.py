"""A checkpoint holds all random states and no code."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from landbridge.shared.checkpoint import (
    CheckpointError,
    random_states,
    read_checkpoint,
    set_random_states,
    write_checkpoint,
)

STATE = {"step": 3, "weights": {"a": torch.arange(4.0)}, "names": ["x", "y"], "none": None, "share": 0.5}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    write_checkpoint(path, STATE)
    state = read_checkpoint(path)
    assert torch.equal(state["weights"].pop("a"), torch.arange(4.0))
    assert {**state, "weights": None} == {**STATE, "weights": None}
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.usefixtures("keeps_random_state")
def test_every_random_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    def draw() -> list[float]:
        values = [random.random(), random.gauss(0, 1), *np.random.rand(2), np.random.randn()]  # noqa: NPY002
        return [*values, *torch.rand(2).tolist(), torch.randn(()).item()]

    before = random_states()
    draw()  # leaves a second Gaussian waiting in numpy and Python
    write_checkpoint(tmp_path / "run.pt", {"random": random_states()})
    drawn = draw()
    assert draw() != drawn
    set_random_states(read_checkpoint(tmp_path / "run.pt")["random"])
    assert draw() == drawn
    set_random_states(before)


def test_no_file_is_no_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "run.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_part_of_a_file_is_a_sentence(tmp_path: Path, share: float) -> None:
    path = tmp_path / "run.pt"
    write_checkpoint(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"run\.pt cannot be read as a checkpoint .*Delete it to start afresh"):
        read_checkpoint(path)


def test_another_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    path.write_text("a note")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match=r"holds a list, no checkpoint of landbridge\.fit"):
        read_checkpoint(path)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.proof),)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "run.pt", tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists()
    proof.rmdir()
    for write in (torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))):
        write({"step": Payload(proof)}, path)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            read_checkpoint(path)
        assert not proof.exists()


def test_a_failed_write_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    path = tmp_path / "run.pt"
    write_checkpoint(path, STATE)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written .No space left on device.; the checkpoint before it"):
        write_checkpoint(path, {"step": 4})
    assert read_checkpoint(path)["step"] == 3
