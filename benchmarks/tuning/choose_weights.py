"""Choose each method's weight for a suite without target labels: how the weights in the suite files came about.

    python benchmarks/tuning/choose_weights.py optdigits --method deepcoral --weights 1,10,100,1000

Trains every weight on every task of the suite's protocol with a seed that no table uses, and scores the last iterate on
the target rows adapted to by information maximisation (Shi and Sha, ICML 2012, equation 5: the entropy of the mean
prediction less the mean entropy of a prediction, in nats; at most log k). One weight is taken for all tasks: the best
mean score. Source hold-out accuracy is shown beside it. Target accuracy is neither read nor shown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from landbridge.benchmarks.cell import Job, cell_identity, load_cell_data, run_cell
from landbridge.benchmarks.normalisation import with_normalisation
from landbridge.benchmarks.scores import read_outputs
from landbridge.benchmarks.suite import choose_backbone, read_suite
from landbridge.benchmarks.workers import run_jobs

SEED = 1000  # tables count seeds from 0


def information(logits: np.ndarray) -> float:
    """H(mean of p) - mean of H(p), in nats."""
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)

    def entropy(q: np.ndarray) -> np.ndarray:
        return -(q * np.log(np.maximum(q, 1e-300))).sum(-1)

    return float(entropy(p.mean(0)) - entropy(p).mean())


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--method", required=True)
    parser.add_argument("--weights", required=True, help="by comma")
    parser.add_argument("--protocol")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--tasks", help="by comma; all if left out")
    parser.add_argument("--frozen", action="store_true")
    parser.add_argument("--backbone")
    parser.add_argument("--backbone-weights")
    parser.add_argument("--normalise")
    asked = parser.parse_args()
    suite = read_suite(asked.suite)
    protocol = asked.protocol or suite.protocol
    weights = [float(w) for w in asked.weights.split(",")]
    backbone, file = choose_backbone(
        suite, name=asked.backbone, weights=asked.backbone_weights, normalise=asked.normalise, frozen=asked.frozen
    )
    if backbone is not None and isinstance(file, Path) and asked.normalise is None:
        backbone, sentence = with_normalisation(suite, backbone, file, asked.data)
        print(sentence)
    with tempfile.TemporaryDirectory() as out:
        jobs = []
        for weight in weights:
            for task in suite.choose("tasks", asked.tasks, protocol):
                cell = suite.cell(protocol, task, asked.method, SEED, backbone=backbone)
                row = cell.adaptation
                row = row.model_copy(update={"settings": {**row.settings, "weight": weight}})
                cell = cell.model_copy(update={"adaptation": row})
                identity = cell_identity(cell, load_cell_data(cell, asked.data, weights=file))
                jobs.append((weight, task, Job(cell, identity, Path(out), asked.data, "auto", "all", file)))
        scores: dict[float, list[tuple[float, float]]] = {weight: [] for weight in weights}
        for outcome in run_jobs(run_cell, [job for _, _, job in jobs], processes=asked.jobs, threads=1):
            weight, task, job = jobs[outcome.number]
            if outcome.message:
                print(f"weight {weight:g} {task}: {outcome.message}")
                scores[weight].append((float("-inf"), 0.0))
                continue
            last = sorted((job.folder / "outputs").glob("step-*.npz"))[-1]
            score = information(read_outputs(last, features=False).target.logits)
            holdout = outcome.result.checkpoints[-1].source_holdout or float("nan")
            scores[weight].append((score, holdout))
            print(f"weight {weight:g} {task}: information {score:.3f}, source hold-out {100 * holdout:.1f}", flush=True)
    print(f"\n{suite.name}, {asked.method}: mean over the tasks (log k is the most)")
    for weight in weights:
        score, holdout = np.mean(scores[weight], axis=0)
        print(f"  weight {weight:8g}   information {score:.3f}   source hold-out {100 * holdout:.1f}")
    best = max(weights, key=lambda w: float(np.mean(scores[w], axis=0)[0]))
    print(f"chosen: {best:g}")


if __name__ == "__main__":
    main()
