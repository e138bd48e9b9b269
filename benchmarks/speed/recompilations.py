"""How often ``torch.compile`` compiles while a wrapped ResNet-18 is trained with each method, and where graphs break.

    python benchmarks/speed/recompilations.py               # every method, some minutes; --methods dann,dan for fewer
    python benchmarks/speed/recompilations.py --backend inductor    # the compiler's own backend, with a C++ compiler

torchvision's ResNet-18 with random weights, wrapped by the name of its last layer, 64 x 64 images, 8 + 8 a step, by
``lb.fit`` with ``compile=False`` and ``compile=True``. A line says how many graphs the first step made (a method with
several updates a step makes several), how many were made after it (recompilations: 0 is what is wanted), where a graph
was broken, and by how much the loss terms of the compiled run differ from those of the other. ``aot_eager`` traces and
guards as the compiler does, forward and backward, and leaves only the generation of code out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torchvision.models import resnet18

import landbridge as lb

BATCH, SIDE, CLASSES, SAMPLES = 8, 64, 5, 20  # 20 rows: epochs end within batches


class Counted:
    """What was compiled: graphs by step, and breaks by reason."""

    def __init__(self) -> None:
        self.graphs = 0
        self.by_step: list[int] = []
        self.breaks: dict[str, int] = {}

    @property
    def first(self) -> int:
        """Graphs made in the first step."""
        return self.by_step[0]

    @property
    def later(self) -> int:
        """Graphs made after it."""
        return self.graphs - self.by_step[0]


@contextmanager
def counting(backend: str) -> Iterator[Counted]:
    """Within the block ``torch.compile`` uses this backend, and what it makes is counted."""
    from torch._dynamo import lookup_backend
    from torch._dynamo.utils import counters

    counted, compile_, make = Counted(), torch.compile, lookup_backend(backend)

    def counts(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        counted.graphs += 1
        return make(graph, inputs)

    def compile_counted(function: Callable[..., Any], **_: Any) -> Any:
        return compile_(function, backend=counts)

    torch.compiler.reset()
    counters.clear()
    try:
        with mock.patch.object(torch, "compile", compile_counted):
            yield counted
        counted.breaks = {reason.splitlines()[0]: number for reason, number in counters["graph_break"].items()}
    finally:
        torch.compiler.reset()


def train(name: str, *, compile: bool, steps: int, statistics: str, counted: Counted | None = None) -> lb.FitResult:
    """A few steps of one method on a wrapped ResNet-18."""
    torch.manual_seed(0)
    network = lb.wrap(resnet18(num_classes=CLASSES), head="fc")
    kind = lb.METHODS[name]
    ramped = {} if name in ("source-only", "adabn") else {"schedule": "ramp"}
    method = kind.create(lb.Sizes(network.head.in_features, CLASSES), **ramped)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, 3, SIDE, SIDE, generator=generator)
    y = torch.arange(SAMPLES) % CLASSES
    return lb.fit(
        network, method, (x, y), 1.2 * x.flip(0) + 0.3, steps=steps, batch_size=BATCH, batch_statistics=statistics,
        optimizer=lb.Optimizer(lr=1e-3, schedule="annealed"), compile=compile, device="cpu", progress_bar=False,
        evaluate_at=range(1, steps + 1) if counted else (),
        on_evaluate=(lambda step, network: counted.by_step.append(counted.graphs)) if counted else None,
    )  # fmt: skip


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(lb.METHODS), help="names, with commas between (default: all)")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--backend", default="aot_eager", help="aot_eager, eager or inductor (default aot_eager)")
    parser.add_argument("--statistics", default="joint", choices=["joint", "per_domain"], help="of BatchNorm")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {asked.backend}, ResNet-18 by lb.wrap(module, head='fc'), {SIDE} px, "
        f"{BATCH}+{BATCH}, {asked.statistics} batch statistics, {asked.steps} steps"
    )
    print(f"{'':12} {'first step':>10} {'later':>6} {'breaks':>7} {'difference':>11}")
    worst = 0
    for name in asked.methods.split(","):
        plain = train(name, compile=False, steps=asked.steps, statistics=asked.statistics)
        with counting(asked.backend) as counted:
            result = train(name, compile=True, steps=asked.steps, statistics=asked.statistics, counted=counted)
        ours, theirs = result.history.values, plain.history.values
        apart = float(((ours - theirs).abs() / theirs.abs().clamp(min=1e-3)).max())
        breaks = sum(counted.breaks.values())
        print(f"{name:12} {counted.first:>10} {counted.later:>6} {breaks:>7} {apart:>11.1e}", flush=True)
        for reason, number in counted.breaks.items():
            print(f"{'':12}   {number} x {reason}")
        worst = max(worst, counted.later)
    print(f"recompilations after the first step, at most: {worst}")


if __name__ == "__main__":
    main()
