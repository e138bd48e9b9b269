"""What a benchmark cell spends on anything but training.

    python benchmarks/speed/cell_overhead.py                       # optdigits, DANN, about a minute of training
    python benchmarks/speed/cell_overhead.py --suite office-caltech10 --task webcam-to-dslr --steps 40 --side 128 \
        --backbone squeezenet1_0 --weights FILE.safetensors --normalise caffe --checkpoints 2

Runs one cell and times, from within: reading the data, evaluating and storing outputs at the checkpoints, writing
the checkpoints that a killed run goes on from, the label-free validators, scoring, and putting the folder in place. The
rest of the cell is training. One run, one thread, no other work beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from landbridge.benchmarks import cell as cells
from landbridge.benchmarks.cell import Job, cell_identity, load_cell_data, run_cell
from landbridge.benchmarks.suite import choose_backbone, read_suite
from landbridge.shared import fit as training


def main() -> None:
    """Run and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="optdigits")
    parser.add_argument("--task")
    parser.add_argument("--method", default="dann")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--checkpoints", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--backbone")
    parser.add_argument("--weights")
    parser.add_argument("--normalise")
    parser.add_argument("--side", type=int)
    parser.add_argument("--frozen", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    suite = read_suite(asked.suite)
    backbone, weights = choose_backbone(
        suite, name=asked.backbone, weights=asked.weights, normalise=asked.normalise, side=asked.side,
        frozen=asked.frozen,
    )  # fmt: skip
    (task,) = suite.choose("tasks", asked.task or next(iter(suite.tasks)), suite.protocol)
    settings = suite.cell(suite.protocol, task, asked.method, 0, asked.steps, asked.checkpoints, backbone)

    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[name] += time.perf_counter() - started

        return call

    started = time.perf_counter()
    data = load_cell_data(settings, asked.data, weights=weights)
    print(f"data: {time.perf_counter() - started:.2f} s for the first cell of a task; kept for the next ones")
    cells.load_cell_data = timed("data", cells.load_cell_data)
    cells._Outputs.write = timed("outputs", cells._Outputs.write)
    cells.score_cell = timed("validators", cells.score_cell)
    cells.score = timed("scoring", cells.score)
    cells._finish = timed("folder", cells._finish)
    training._Run._save = timed("checkpoints", training._Run._save)
    with tempfile.TemporaryDirectory() as out:
        job = Job(settings, cell_identity(settings, data), Path(out), asked.data, "auto", "all", weights)
        started = time.perf_counter()
        run_cell(job)
        total = time.perf_counter() - started
    print(f"{suite.name} {task} {asked.method}, {settings.rules.steps} steps: {total:.1f} s in all")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:12} {seconds:7.2f} s  {100 * seconds / total:5.2f} %")
    print(f"  all of these {sum(spent.values()):7.2f} s  {100 * sum(spent.values()) / total:5.2f} %")


if __name__ == "__main__":
    main()
