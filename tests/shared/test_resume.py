"""Interrupted at any step and resumed in a new process, a run ends in the same weights and history, bit for bit."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import create, data, network, same, train

from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN
from landbridge.shared.adabn import AdaBN
from landbridge.shared.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method
from landbridge.shared.network import Network
from landbridge.shared.optimizer import Optimizer
from landbridge.shared.result import FitResult

STEPS = 6
METHODS: dict[str, Callable[[], Method]] = {
    "dann": lambda: create(DANN, dropout=0.3),
    "mcd": lambda: create(MCD, inner=2),
    "adabn": AdaBN,
    "combine": lambda: Combine(dann=create(DANN), mcd=create(MCD, inner=1)),
}
OPTIMIZERS = {
    "momentum": Optimizer(lr=0.05, schedule="annealed", clip=1.0, backbone_factor=0.5),
    "adam": Optimizer(name="adam", schedule="cosine"),
}


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def run(name: str, optimizer: str = "momentum", model: Network | None = None, **settings: Any) -> FitResult:
    settings = {"steps": STEPS, "batch_statistics": "per_domain", "augment": noise, "metrics_every": 2, **settings}
    return train(METHODS[name](), model, optimizer=OPTIMIZERS[optimizer], **settings)


def noise(x: torch.Tensor) -> torch.Tensor:
    """Draws from torch's stream, and from Python's, which no step seeds."""
    return x + 0.1 * torch.randn_like(x) + 0.1 * random.random()


def interrupt_at(stop: int) -> dict[str, Any]:
    def interrupt(step: int, model: Network) -> None:
        raise Interrupted

    return {"evaluate_at": [stop], "on_evaluate": interrupt}


def assert_alike(one: FitResult, other: FitResult) -> None:
    assert same(one.network, other.network)
    assert one.method is not None
    assert other.method is not None
    assert same(one.method, other.method)
    assert one.history.names == other.history.names
    assert torch.equal(one.history.values, other.history.values)


@pytest.mark.usefixtures("keeps_random_state")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", METHODS)
def test_interrupted_at_every_step(name: str, optimizer: str, tmp_path: Path) -> None:
    whole = run(name, optimizer)
    for stop, every in [*((stop, 1) for stop in range(1, STEPS + 1)), (4, 2)]:
        path = tmp_path / f"{every}-{stop}.pt"
        settings = {"checkpoint": path, "checkpoint_every": every}
        with pytest.raises(Interrupted):
            run(name, optimizer, **settings, **interrupt_at(stop))
        kept = (stop - 1) // every * every  # the step it was stopped in is not yet written
        assert path.exists() == (kept > 0)
        if kept:
            assert read_checkpoint(path)["step"] == kept
            resumed = run(name, optimizer, network(seed=7), **settings)  # weights come from the file
        else:
            resumed = run(name, optimizer, **settings)
        assert_alike(resumed, whole)
        assert read_checkpoint(path)["step"] == STEPS


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    whole = run("dann", checkpoint=path)
    written = path.stat().st_mtime_ns
    calls: list[torch.Tensor] = []
    again = run("dann", model=network(seed=7), checkpoint=path, augment=lambda x: (calls.append(x), x)[1])
    assert_alike(again, whole)
    assert not calls
    assert path.stat().st_mtime_ns == written


def test_accumulation_and_positions(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    settings = {"accumulate": 3, "checkpoint": path, "checkpoint_every": 1}
    with pytest.raises(Interrupted):
        run("dann", **settings, **interrupt_at(4))
    assert read_checkpoint(path)["positions"] == {"source": 9, "target": 9}
    assert_alike(run("dann", **settings), run("dann", accumulate=3))


SCRIPT = """
import os, random, sys
import torch
import test_resume
torch.set_num_threads(1)
torch.manual_seed(os.getpid())
random.seed(os.getpid())
settings = {} if sys.argv[2] == "go on" else {"evaluate_at": [4], "on_evaluate": lambda step, model: os._exit(9)}
result = test_resume.run("dann", checkpoint=sys.argv[1], checkpoint_every=1, **settings)
print(*test_resume.digest(result))
"""


def digest(result: FitResult) -> list[str]:
    tensors = [*result.network.state_dict().values(), result.history.values]
    return [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in tensors]


def in_a_process(path: Path, what: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), what],
        capture_output=True, text=True, timeout=300, cwd=path.parent,  # the checkout is not to be imported from
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))},
    )  # fmt: skip


def test_a_process_that_dies_and_one_that_goes_on(tmp_path: Path) -> None:
    assert in_a_process(tmp_path / "run.pt", "die").returncode == 9
    assert read_checkpoint(tmp_path / "run.pt")["step"] == 3
    resumed = in_a_process(tmp_path / "run.pt", "go on")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split() == digest(run("dann"))


# ---- files that are not this run's


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"steps": 7}, "steps was 6, is 7"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"batch_size": 8}, r"batch_size was '\(9, 7\)', is '8'"),
        ({"batch_statistics": "joint"}, "batch_statistics was 'per_domain', is 'joint'"),
        ({"precision": "bfloat16"}, "precision was 'float32', is 'bfloat16'"),
        ({"accumulate": 2}, "accumulate was 1, is 2"),
        ({"optimizer": Optimizer(lr=0.07)}, r"optimizer was .Optimizer\(.*lr=0\.05.*lr=0\.07"),
        ({"method": create(DANN, weight=3.0)}, r"method was \"DANN .*'weight': 1\.0.*'weight': 3\.0"),
        ({"method": create(MCD)}, 'method was "DANN .*is "MCD '),
        ({"source": (data().inputs + 1, data().labels)}, "source was '.*torch.float32 "),
        ({"source": (data().inputs, data().labels.flip(0))}, "source was '.*torch.float32 "),
        ({"target": data().target.flip(0)}, "target was '.*torch.float32 "),
    ],
)
def test_changed_settings_are_named(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    settings = {"checkpoint": tmp_path / "run.pt", "steps": 6, "batch_statistics": "per_domain"}
    train(create(DANN), optimizer=OPTIMIZERS["momentum"], **settings)
    method = changed.pop("method", None) or create(DANN)
    with pytest.raises(CheckpointError, match=rf"run\.pt is of a run with other settings: {sentence}") as caught:
        train(method, **{"optimizer": OPTIMIZERS["momentum"], **settings, **changed})
    assert "Delete it to start afresh, or run with its settings." in str(caught.value)


def test_changed_settings_of_a_part_are_named(tmp_path: Path) -> None:
    for first, second in ((DAN(), DAN(kernels=3)), (Combine(dan=DAN()), Combine(dan=DAN(weight=0.5)))):
        path = tmp_path / f"{type(first).__name__}.pt"
        train(first, checkpoint=path)
        with pytest.raises(CheckpointError, match="other settings: method was"):
            train(second, checkpoint=path)


def test_another_network_is_a_sentence(tmp_path: Path) -> None:
    train(create(DANN), checkpoint=tmp_path / "run.pt")
    model = network()
    model.extractor.append(torch.nn.Identity())
    train(create(DANN), model, checkpoint=tmp_path / "run.pt")  # the same parameters under the same names
    renamed = network()
    renamed.extractor.insert(0, torch.nn.Identity())
    with pytest.raises(CheckpointError, match=r"run\.pt is of another network or method: .*"):
        train(create(DANN), renamed, checkpoint=tmp_path / "run.pt")


def test_a_damaged_or_foreign_file_is_a_sentence_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    train(create(DANN), checkpoint=path)
    part = path.read_bytes()[:500]
    path.write_bytes(part)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        train(create(DANN), checkpoint=path)
    assert path.read_bytes() == part
    write_checkpoint(path, {"weights": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="is of a run with other settings"):
        train(create(DANN), checkpoint=path)
