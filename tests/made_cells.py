"""Made-up cells for the tests of results, tables and pictures."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

from landbridge.benchmarks.published import Published
from landbridge.benchmarks.results import Cell, Checkpoint

PROTOCOL = "digits/small/inductive"


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
