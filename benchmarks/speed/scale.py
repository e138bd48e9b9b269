"""Two-sample tests and distances against the number of rows: python benchmarks/speed/scale.py

1. The exact kernel test (all pairs, in blocks, 200 permutations) at n = m = 1000 to 20,000 rows of 512 features: time,
   and its exponent in n.
2. The same for the number of permutations at n = m = 5000: the kernel is computed once, whatever their number.
3. Every test at n = m = 100,000 as `auto` runs it: time and the memory of the whole process at its peak.
4. The seven distances there, with their intervals, on as many rows as each draws by itself (see the note).

Each figure comes from a process of its own, whose peak memory includes Python, torch and the samples. One thread,
unless told otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from typing import Any

FEATURES = 512
SIZES = (1000, 2000, 5000, 10_000, 20_000)
PERMUTATIONS = (19, 200, 1000)
LARGE = 100_000
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "kernel test, exact": ("kernel_test", {"estimator": "exact"}),
    "kernel test": ("kernel_test", {}),
    "kernel test, linear": ("kernel_test", {"estimator": "linear"}),
    "energy test": ("energy_test", {}),
    "energy test, linear": ("energy_test", {"estimator": "linear"}),
    "classifier test": ("classifier_test", {}),
    "classifier test, random features": ("classifier_test", {"classifier": "random-features"}),
    "feature shift": ("feature_shift", {}),
}
DISTANCES: dict[str, tuple[str, dict[str, Any]]] = {
    "proxy A-distance": ("proxy_a_distance", {}),
    "MMD": ("kernel_distance", {}),
    "energy distance": ("energy_distance", {}),
    "CORAL": ("covariance_distance", {}),
    "sliced Wasserstein": ("sliced_wasserstein", {}),
    "Sinkhorn divergence": ("sinkhorn_divergence", {}),
    "Frechet distance": ("frechet_distance", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of tests and distances against the rows.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="rows of each domain for the exact test")
    parser.add_argument("--large", type=int, default=LARGE, help="rows of each domain for all; 0 leaves it out")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a case as JSON, measured in this process
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_measure(**json.loads(arguments.one))))
        return
    sizes = [n for n in SIZES if n <= arguments.most]
    print(f"exact kernel test, {FEATURES} features, 200 permutations, {arguments.threads} thread(s)")
    print(f"{'n = m':>8}  {'seconds':>8}  {'GiB at peak':>11}  note")
    seconds = [_row(f"{n:>8}", "kernel test, exact", n, arguments.threads) for n in sizes]
    if len(sizes) > 1:
        print(f"exponent of n, from {sizes[-2]} to {sizes[-1]}: {_exponent(sizes[-2:], seconds[-2:]):.2f}")
        print(f"exponent of n, least squares over all sizes: {_exponent(sizes, seconds):.2f}")
    print("\nexact kernel test at n = m = 5000, by permutations")
    for count in PERMUTATIONS:
        _row(f"{count:>8}", "kernel test, exact", 5000, arguments.threads, permutations=count)
    if arguments.large:
        print(f"\nall tests at n = m = {arguments.large}, {FEATURES} features")
        for case in CASES:
            if case != "kernel test, exact":
                _row(f"{case:<32}", case, arguments.large, arguments.threads)
        print(f"\ndistances at n = m = {arguments.large}, {FEATURES} features")
        for case in DISTANCES:
            _row(f"{case:<32}", case, arguments.large, arguments.threads)


def _row(title: str, case: str, n: int, threads: int, **settings: Any) -> float:
    told = json.dumps({"case": case, "n": n, "threads": threads, "settings": settings})
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, __file__, "--one", told], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{title}  {found['seconds']:>8.2f}  {found['gib']:>11.2f}  {found['note']}", flush=True)
    return float(found["seconds"])


def _measure(case: str, n: int, threads: int, settings: dict[str, Any]) -> dict[str, Any]:
    import torch

    from landbridge import diagnostics

    torch.set_num_threads(threads)
    function, fixed = (CASES | DISTANCES)[case]
    draw = torch.Generator().manual_seed(0)
    source, target = (torch.randn(n, FEATURES, generator=draw) for _ in range(2))
    target[:, 0] += 0.1
    getattr(diagnostics, function)(source[:50], target[:50])  # imports and first calls
    start = time.perf_counter()
    result = getattr(diagnostics, function)(source, target, **fixed, **settings)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes
    note = getattr(result, "note", "")
    found = str(result).split(" (")[0] if case in DISTANCES else f"p = {result.p_value:.3f}"
    return {"seconds": seconds, "gib": peak, "note": found + (f"; {note}" if note else "")}


def _exponent(sizes: list[int], seconds: list[float]) -> float:
    x, y = [math.log(n) for n in sizes], [math.log(s) for s in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    over = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return over / sum((a - mean_x) ** 2 for a in x)


if __name__ == "__main__":
    main()
