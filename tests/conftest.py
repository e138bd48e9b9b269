"""What every test must leave as it found it: threads, processes, the environment, and torch's global switches."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import landbridge

# Libraries that set variables of their own when they are first imported.
SET_BY_LIBRARIES = ("KMP_", "PYTEST_", "PYTORCH_NVML_", "TORCHINDUCTOR_", "_TORCHINDUCTOR_", "TRITON_")
THREADS_OF_LIBRARIES = ("tqdm_monitor",)  # torch compiles under a tqdm bar, whose monitor stays to the end
PATIENCE = 5.0  # seconds a thread or process may take to end after the test


pytest.register_assert_rewrite("laws")


def pytest_sessionstart() -> None:
    torch.set_num_threads(1)
    where = Path(landbridge.__file__ or "")
    if os.environ.get("LANDBRIDGE_EXPECT_INSTALLED") == "1" and "site-packages" not in where.parts:
        raise pytest.UsageError(
            f"LANDBRIDGE_EXPECT_INSTALLED=1, but landbridge comes from {where}. Install the wheel, and call pytest "
            "itself: `python -m pytest` finds the checkout first."
        )


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process, or a changed global setting; and put the setting back."""
    threads, children = set(threading.enumerate()), _children()
    environment, switches = _environment(), _switches()
    yield
    left = _wait_for_end(threads, children)
    left += [f"environment variable {name}" for name in _changed(environment, _environment())]
    left += [f"torch's {name}" for name in _changed(switches, _switches())]
    if left:
        _restore(environment, switches)
        pytest.fail(f"the test leaves behind: {', '.join(left)}", pytrace=False)


@pytest.fixture
def keeps_random_state() -> Iterator[None]:
    """Fail a test that moves the global random states of torch, numpy or Python."""
    before = _random_states()
    yield
    moved = _changed(before, _random_states())
    assert not moved, f"the test moves the global random state of {', '.join(moved)}"


def _random_states() -> dict[str, object]:
    return {
        "torch": tuple(torch.get_rng_state().tolist()),
        "numpy": str(np.random.get_state()),  # noqa: NPY002 - the global state is what is watched
        "python": random.getstate(),
    }


def _environment() -> dict[str, object]:
    return {name: value for name, value in os.environ.items() if not name.startswith(SET_BY_LIBRARIES)}


def _switches() -> dict[str, object]:
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
    }


def _restore(environment: dict[str, object], switches: dict[str, object]) -> None:
    for name in _changed(environment, _environment()):
        if name in environment:
            os.environ[name] = str(environment[name])
        else:
            del os.environ[name]
    torch.set_default_dtype(switches["default dtype"])  # type: ignore[arg-type]
    torch.set_default_device(str(switches["default device"]))
    torch.set_grad_enabled(bool(switches["gradient mode"]))
    torch.set_num_threads(int(str(switches["number of threads"])))
    torch.use_deterministic_algorithms(bool(switches["deterministic algorithms"]))
    torch.set_float32_matmul_precision(str(switches["float32 matmul precision"]))


def _changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _wait_for_end(threads: set[threading.Thread], children: set[int]) -> list[str]:
    """The threads and child processes that were not there before and do not end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        new = [f"thread {t.name}" for t in threading.enumerate() if t not in threads]
        new = [name for name in new if not name.endswith(THREADS_OF_LIBRARIES)]
        new += [f"child process {pid}" for pid in sorted(_children() - children)]
        if not new or time.monotonic() > deadline:
            return new
        time.sleep(0.01)


def _children() -> set[int]:
    """The running child processes, but for the two helpers that multiprocessing keeps to the end."""
    pids = {process.pid for process in multiprocessing.active_children() if process.pid is not None}
    for listing in Path("/proc/self/task").glob("*/children"):  # Linux also tells of those started otherwise
        with contextlib.suppress(OSError):
            pids |= {int(pid) for pid in listing.read_text().split()}
    return pids - _helpers_of_multiprocessing()


def _helpers_of_multiprocessing() -> set[int]:
    pids = set()
    for module, name, attribute in (
        ("resource_tracker", "_resource_tracker", "_pid"),
        ("forkserver", "_forkserver", "_forkserver_pid"),
    ):
        helper = getattr(importlib.import_module(f"multiprocessing.{module}"), name, None)
        pids.add(getattr(helper, attribute, None))
    return {pid for pid in pids if pid is not None}
