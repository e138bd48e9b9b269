"""Made-up cells for the tests of results, tables and pictures."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import permutations
from typing import Any

from landbridge.benchmarks.published import Published
from landbridge.benchmarks.results import Cell, Checkpoint, Selection
from landbridge.benchmarks.table import Table, summarise

PROTOCOL = "digits/small/inductive"
DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
TWELVE = tuple(f"{source}->{target}" for source, target in permutations(DOMAINS, 2))
# how far each row of a made big table lies above source-only, in points
BIG = {
    "source-only": 0.0,
    "adabn": 1.5,
    "dann": 4.0,
    "cdan": 4.5,
    "cdan-e": 5.0,
    "dan": 0.4,
    "jan": 1.0,
    "deepcoral": -3.0,
    "deepjdot": 2.0,
    "mcc": 8.0,
    "train-on-target": 14.0,
}


def made_cell(
    method: str = "dann",
    task: str = "mnist->usps",
    seed: int = 0,
    scores: tuple[float, ...] = (0.5, 0.75),
    **changes: Any,
) -> Cell:
    """A finished cell whose checkpoints score ``scores``; ``changes`` are other fields."""
    fields: dict[str, Any] = {
        "suite": "digits",
        "protocol": PROTOCOL,
        "network": "lenet16",
        "track": "end-to-end",
        "task": task,
        "method": method,
        "label": method.upper(),
        "seed": seed,
        "identity": hashlib.sha256(repr((method, task, seed, sorted(changes.items()))).encode()).hexdigest(),
        "settings": {"steps": 1500, "seed": seed, "method": {"weight": 1.0}},
        "n": 200,
        "checkpoints": [
            Checkpoint(step=100 * i, target_eval=score, source_holdout=0.98) for i, score in enumerate(scores, 1)
        ],
        "seconds": 84.2,
        "finished": datetime(2026, 11, 20, 10, tzinfo=timezone.utc),
        "environment": {"landbridge": "0.1.0", "torch": "2.15.0", "python": "3.11.7", "threads": 1, "device": "cpu"},
    }
    return Cell(**{**fields, **changes})


def made_published(method: str = "dann", **changes: Any) -> Published:
    """A published row under the protocol of the made-up cells."""
    fields: dict[str, Any] = {
        "method": method,
        "protocol": PROTOCOL,
        "network": "LeNet-like",
        "selected": "not stated",
        "source": "ADDA, CVPR 2017",
        "values": {"mnist->usps": 77.1, "usps->mnist": 73.0},
    }
    return Published(**{**fields, **changes})


def made_selections(
    cells: Iterable[Cell], *, validator: str = "information-maximisation", place: int = 0, collapsed: bool = False
) -> dict[str, dict[str, Selection]]:
    """A validator that always chooses the checkpoint at ``place``."""
    found = {}
    for cell in cells:
        checkpoint = cell.checkpoints[place]
        found[cell.identity] = {validator: Selection(checkpoint.step, checkpoint.target_eval, collapsed)}
    return found


def made_classical(method: str, classifier: str = "1nn", estimator: str = "coral", **changes: Any) -> Cell:
    """A finished cell of the features track: one checkpoint, its settings as those of classical rows are."""
    fields: dict[str, Any] = {
        "track": "features",
        "network": "features",
        "scores": (0.5,),
        "settings": {"adaptation": {"method": estimator, "classifier": classifier}},
    }
    return made_cell(method, **{**fields, **changes})


def made_big(methods: Iterable[str] = tuple(BIG), seeds: Iterable[int] = (0, 1, 2)) -> list[Cell]:
    """The twelve tasks of four domains: what a table must be able to show. Deep CORAL loses 3 points on each."""
    cells = []
    for method in methods:
        for place, task in enumerate(TWELVE):
            for seed in seeds:
                draw = random.Random(f"{method} {task} {seed}")
                end = 0.7 + 0.012 * place + BIG[method] / 100 + draw.gauss(0, 0.004)
                scores = [end - 0.04 * draw.random() for _ in range(4)] + [end + 0.01 * draw.random(), end]
                cells.append(
                    made_cell(
                        method,
                        task,
                        seed,
                        tuple(min(score, 1.0) for score in scores),
                        suite="office-caltech10",
                        protocol="office-caltech10/transductive",
                        network="squeezenet1_0",
                        track="frozen",
                        n=(958, 1123, 157, 295)[DOMAINS.index(task.split("->")[1])],
                        seconds=3.0 + draw.random(),
                        peak_memory=700 + 100 * draw.random(),
                    )
                )
    return cells


TWO_TASKS = ("mnist->usps", "usps->mnist")


def made_table(
    methods: Iterable[str] = ("source-only", "dann", "train-on-target"),
    tasks: tuple[str, ...] = TWO_TASKS,
    *,
    chosen: bool = False,
    **settings: Any,
) -> Table:
    """A table to look at: source-only scores 51 ± 1.0, the others 10 points more each.

    The oracle is 5 points above last; the validator, with ``chosen``, picks a checkpoint 2 points below.
    """
    cells = [
        made_cell(method, task, seed, (score - 0.02, score + 0.05, score))
        for place, method in enumerate(methods)
        for task in tasks
        for seed, score in enumerate(0.1 * place + end for end in (0.506, 0.510, 0.514))
    ]
    published = (
        made_published(),
        made_published(
            protocol="digits/full/inductive",
            source="DANN_2016",
            selected="target labels",
            values={"mnist->usps": 73.85},
        ),
    )
    selections = made_selections(cells) if chosen else {}
    return summarise(cells, published=published, tasks=tasks, selections=selections, **settings)
