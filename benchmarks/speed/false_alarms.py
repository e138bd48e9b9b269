"""How often the verdict is a false alarm: random halves of one data set, where there is no shift, many times over.

    python benchmarks/speed/false_alarms.py --data DIR                 # MNIST, 200 splits of 500 + 500 rows
    python benchmarks/speed/false_alarms.py --dataset optdigits        # scikit-learn's digits, no data folder
    python benchmarks/speed/false_alarms.py --data DIR --label-shift 5 # half of the classes 5 times rarer in the target

Prints the rate with its exact binomial (Clopper-Pearson) interval, and how the verdicts are spread over the kinds. With
``--label-shift`` the truth is "label": the rate is then that of verdicts which speak of a covariate shift.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from landbridge.diagnostics.verdict import Verdict, decide

SIDE = 16  # pixels that MNIST is shrunk to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["mnist", "optdigits"], default="mnist")
    parser.add_argument("--data", type=Path, help="folder of data sets (of MNIST)")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500, help="of each domain")
    parser.add_argument("--level", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unlabelled", action="store_true", help="leave the source's labels out")
    parser.add_argument("--label-shift", type=float, default=1.0, metavar="FACTOR")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = read(options.dataset, options.data)
    verdicts = []
    began = time.perf_counter()
    for split in range(options.splits):
        verdicts.append(look(x, y, np.random.default_rng([options.seed, split]), split, options))
        if (split + 1) % 20 == 0:
            print(f"{split + 1} of {options.splits}: {Counter(v.kind for v in verdicts)}", flush=True)
    seconds = (time.perf_counter() - began) / options.splits
    tell(verdicts, options, x.shape[1], seconds)


def read(dataset: str, data: Path | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows and classes of the whole data set."""
    if dataset == "optdigits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.data.astype(np.float32), digits.target.astype(np.int64)
    if data is None:
        raise SystemExit("false_alarms.py needs --data DIR for MNIST; --dataset optdigits needs none.")
    from torchvision.datasets import MNIST

    mnist = MNIST(str(data), train=True)
    shrunk = [
        torch.nn.functional.interpolate(block[:, None].float(), size=(SIDE, SIDE), mode="bilinear", antialias=True)
        for block in mnist.data.split(5000)
    ]
    return torch.cat(shrunk).flatten(1).numpy(), mnist.targets.numpy().astype(np.int64)


def look(
    x: NDArray[np.float32], y: NDArray[np.int64], rng: np.random.Generator, split: int, options: argparse.Namespace
) -> Verdict:
    """The verdict on one random split into a source and a target."""
    order = rng.permutation(len(x))
    source, rest = order[: options.rows], order[options.rows :]
    rare = y[rest] >= (y.max() + 1) // 2
    rest = rest[~rare | (rng.random(len(rest)) * options.label_shift < 1)]
    target = rest[: options.rows]
    if len(target) < options.rows:
        raise SystemExit(f"{len(x)} rows are too few for two domains of {options.rows}; pass a smaller --rows.")
    labels = None if options.unlabelled else y[source]
    return decide(x[source], x[target], source_labels=labels, level=options.level, seed=split)


def tell(verdicts: list[Verdict], options: argparse.Namespace, features: int, seconds: float) -> None:
    """Print the rate of false alarms with its interval, of the verdict and of each test by itself."""
    shifted = options.label_shift != 1
    wrong = [v.kind in ("covariate", "both") if shifted else v.shifted for v in verdicts]
    what = "verdicts that speak of a covariate shift" if shifted else "false alarms"
    print(f"{options.dataset}, {options.rows} + {options.rows} rows x {features} features, level {options.level:g}")
    print(f"{what}: {rate(wrong)}")
    print("kinds: " + ", ".join(f"{kind} {count}" for kind, count in Counter(v.kind for v in verdicts).most_common()))
    for place, test in enumerate(verdicts[0].tests):
        print(f"  {test.name} by itself: {rate([v.tests[place].p_value <= options.level for v in verdicts])}")
    mixtures = [v.mixture.test.p_value <= options.level for v in verdicts if v.mixture is not None]
    if mixtures:
        print(f"  mixture test by itself: {rate(mixtures)}")
    print(f"{seconds:.2f} s a verdict, one thread")


def rate(wrong: list[bool]) -> str:
    """A share with its exact 95% interval."""
    ends = binomtest(sum(wrong), len(wrong)).proportion_ci(0.95, "exact")
    return (
        f"{sum(wrong)} of {len(wrong)} = {sum(wrong) / len(wrong):.3f}, 95% interval {ends.low:.3f} to {ends.high:.3f}"
    )


if __name__ == "__main__":
    main()
