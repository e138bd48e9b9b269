"""How often ``lb.adapt`` warns of negative transfer or corrects for it, and how often rightly: run from the root of a
checkout.

Runs of all methods, at their own weight and at weights that do harm, on the domains of ``shifted_domains``: without a
shift, with features that changed, with class proportions that did, and with both. One line a run goes into a file, and
a run that is there is not made again, so that it goes on where it was stopped:

    OMP_NUM_THREADS=1 LANDBRIDGE_DATA=data python benchmarks/tuning/negative_transfer.py runs.csv 0

The rule was chosen on ``CHOSEN_ON``; what its docstring says was counted on the others.
"""

from __future__ import annotations

import csv
import inspect
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from shifted_domains import DOMAINS, SHIFTS, make

import landbridge as lb

CHOSEN_ON = ("breast-cancer", "adult", "wine-colours", "digits", "surf", "reviews")
METHODS = [name for name in lb.METHODS if name != "source-only"]
TIMES = (10.0, 100.0)  # the own weight: far too high
OWN, HEAVY = 4, 1  # runs of each kind for one pair of domains, of methods drawn at random
STEPS = 200
LOSS = 0.02  # of target accuracy: more is harm
COLUMNS = ("name", "shift", "seed", "method", "times", "way", "before", "after", "corrected", "warned")


def plan(name: str, shift: str, seed: int) -> list[tuple[str, float]]:
    """Methods and how many times their own weight, the same for the same domains."""
    random = np.random.default_rng([seed, *name.encode(), *shift.encode(), 11])
    own = [(method, 1.0) for method in METHODS]
    heavy = [(method, times) for method in METHODS if method != "adabn" for times in TIMES]
    return [own[i] for i in random.permutation(len(own))[:OWN]] + [
        heavy[i] for i in random.permutation(len(heavy))[:HEAVY]
    ]


def network(shape: tuple[int, ...], classes: int) -> Any:
    """For images, which a table's network does not take."""
    return lb.create_network("lenet16-slim", classes=classes)


def run(name: str, shift: str, seed: int, method: str, times: float, way: str) -> list[Any]:
    """One line of the file."""
    domains = make(name, shift, seed)
    known = np.isin(domains.yt, domains.ys)
    parameters = inspect.signature(lb.METHODS[method]).parameters
    weight = None if times == 1 else times * parameters["weight"].default
    adapted = lb.adapt(
        network if domains.Xs.ndim == 4 else None,
        domains.Xs,
        domains.ys,
        domains.Xt[known],
        method=method,
        weight=weight,
        label_shift=way,
        evaluate=domains.yt[known],
        steps=STEPS,
        seed=seed,
        device="cpu",
    )
    assert adapted.before is not None
    scores = adapted.before.target, adapted.after.target
    return [
        name,
        shift,
        seed,
        method,
        times,
        way,
        *scores,
        adapted.proportions.corrected,
        bool(adapted.negative_transfer),
    ]


def gather(path: Path, seeds: list[int]) -> None:
    """Make the runs that the file lacks."""
    done = {tuple(row[:6]) for row in _read(path)}
    with path.open("a", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        for seed in seeds:
            for name in DOMAINS:
                for shift in SHIFTS:
                    for method, times in plan(name, shift, seed):
                        for way in ("correct", "ignore"):
                            if (name, shift, str(seed), method, str(times), way) not in done:
                                try:
                                    write.writerow(run(name, shift, seed, method, times, way))
                                except FileNotFoundError as error:
                                    print(f"{name} is left out: {error} is missing")
                                file.flush()


def count(path: Path) -> None:
    """Of the runs that lose when proportions are ignored, how many are corrected or warned of; and false alarms."""
    rows = {tuple(row[:6]): row for row in _read(path)}
    counts: Counter[tuple[bool, str]] = Counter()
    for key, row in rows.items():
        ignored = rows.get((*key[:5], "ignore"))
        if key[5] != "correct" or ignored is None:
            continue
        new = row[0] not in CHOSEN_ON
        lost, would = _lost(row), _lost(ignored)
        counts[new, "runs"] += 1
        counts[new, "lost where proportions are ignored"] += would
        counts[new, "of these corrected, so that they lose no more"] += would and not lost
        counts[new, "of these still lost, and warned of"] += would and lost and row[9] == "True"
        counts[new, "of these still lost, in silence"] += would and lost and row[9] != "True"
        counts[new, "lost by the correction alone"] += lost and not would
        counts[new, "not lost"] += not lost
        counts[new, "not lost, and warned of"] += not lost and row[9] == "True"
    for (new, what), number in sorted(counts.items()):
        print("held out" if new else "chosen on", f"{what}:", number)


def _lost(row: list[str]) -> bool:
    return float(row[7]) < float(row[6]) - LOSS


def _read(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def main() -> None:
    """Gather into the file named first, for the seeds named after it, and print the counts."""
    warnings.simplefilter("ignore")
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "negative-transfer.csv")
    gather(path, [int(seed) for seed in sys.argv[2:] or ["0"]])
    count(path)


if __name__ == "__main__":
    main()
