"""A suite whose cells take a moment, for the tests of suites, cells, the grid and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landbridge.benchmarks.cell import Job, cell_identity, load_cell_data
from landbridge.benchmarks.suite import Suite, read_suite
from landbridge.benchmarks.workers import Outcome

TINY = """
name = "tiny"
dataset = "optdigits"
seeds = 2
protocol = "short"
default_methods = ["source-only", "dann"]

[protocols.short]
draw = { clean = 120, noisy = 100, upright = 120, rotated = 100 }
checkpoints = 3
steps = 6

[protocols.same]
draw = { clean = 120, noisy = 100 }
scored = "transductive"
steps = 4
tasks = ["clean->noisy"]

[tasks."clean->noisy"]
network = "lenet16-slim"
[tasks."upright->rotated"]
network = "lenet16-slim"

[training]
batch_size = 16
[training.optimizer]
name = "adam"
lr = 1e-3

[methods.source-only]
method = "source-only"
label = "source-only"
[methods.seen]
method = "source-only"
label = "source-only, target forwarded"
settings = { see_target = true }
[methods.dann]
method = "dann"
label = "DANN"
settings = { hidden = [8] }
[methods.dann-0]
method = "dann"
label = "DANN of weight 0"
settings = { hidden = [8], weight = 0 }
[methods.deepcoral]
method = "deepcoral"
label = "DeepCORAL"
[methods.deepcoral-0]
method = "deepcoral"
label = "DeepCORAL of weight 0"
settings = { weight = 0 }
[methods.train-on-target]
method = "source-only"
label = "train-on-target"
trains_on = "target"

[[published]]
method = "dann"
protocol = "tiny/short/inductive"
network = "LeNet-like"
selected = "not stated"
source = "A paper, 2020"
values = { "clean->noisy" = 77.1 }
"""


def tiny_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """The suite as a file, after replacing texts in it that have to be there."""
    text = TINY
    for old, new in changes:
        assert old in text, f"the tiny suite has no {old!r}"
        text = text.replace(old, new, 1)
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tiny_suite(folder: Path, *changes: tuple[str, str]) -> Suite:
    """The suite, read."""
    return read_suite(str(tiny_file(folder, *changes)))


def tiny_job(
    out: Path,
    method: str = "dann",
    task: str = "clean->noisy",
    seed: int = 0,
    *,
    protocol: str = "short",
    keep: str = "all",
    changes: tuple[tuple[str, str], ...] = (),
) -> Job:
    """One cell of the suite, ready to run; ``out`` is made."""
    out.mkdir(parents=True, exist_ok=True)
    settings = tiny_suite(out, *changes).cell(protocol, task, method, seed)
    return Job(settings, cell_identity(settings, load_cell_data(settings, None)), out, None, "cpu", keep)


def stored(folder: Path) -> dict[str, Any]:
    """All that a cell has stored at its checkpoints: ``step-000002/target_eval/logits`` and so on."""
    arrays = {}
    for path in sorted((folder / "outputs").glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            arrays.update({f"{path.stem}/{name}": file[name] for name in file.files})
    return arrays


def same_arrays(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether they hold the same, bit for bit."""
    return list(left) == list(right) and all(left[name].tobytes() == right[name].tobytes() for name in left)


class Ran:
    """Runs jobs in this process, the last one first, instead of ``run_jobs``; and remembers what was asked."""

    def __init__(self) -> None:
        self.processes = self.threads = 0
        self.jobs: list[Job] = []

    def run_jobs(
        self, function: Callable[[Any], Any], jobs: Sequence[Any], *, processes: int, threads: int
    ) -> Iterator[Outcome]:
        """As ``landbridge.benchmarks.workers.run_jobs``."""
        self.processes, self.threads = processes, threads
        for number, job in reversed(list(enumerate(jobs))):
            self.jobs.append(job)
            yield self._outcome(number, function, job)

    def _outcome(self, number: int, function: Callable[[Any], Any], job: Any) -> Outcome:
        try:
            return Outcome(number, function(job))
        except Exception as error:
            return Outcome(number, message=f"{type(error).__name__}: {error}", trace="a traceback")
