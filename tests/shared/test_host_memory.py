"""Memory for all pairs of rows: told before it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.diagnostics import plan_by_class, sinkhorn_divergence
from landbridge.shared import host_memory
from landbridge.shared.host_memory import check_pairs, free_bytes
from landbridge.transport import OTDA
from landbridge.transport.plans import exact_plan, sinkhorn_plan

GIB = 2**30


def test_what_does_not_fit_is_told_with_its_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 16 * GIB)
    with pytest.raises(ValueError, match=r"f needs 224 GiB for 3 matrices of 100000 x 100000 .* 74.5 GiB each.*16 GiB"):
        check_pairs("f", 100_000, 100_000, copies=3, instead="Pass fewer.")
    check_pairs("f", 20_000, 20_000, copies=3, instead="Pass fewer.")
    check_pairs("f", 100, 100, copies=3, instead="Pass fewer.")
    monkeypatch.setattr(host_memory, "free_bytes", lambda: None)
    check_pairs("f", 10**6, 10**6, copies=1, instead="Unknown is no reason.")


def test_small_matrices_never_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 0)
    check_pairs("f", 1000, 1000, copies=9, instead="")


def test_free_memory_is_less_than_there_is() -> None:
    free = free_bytes()
    assert free is None or 2**20 < free < 2**50


ROWS = np.random.default_rng(0).normal(size=(40, 2))
CLASSES = np.arange(40) % 2
BOTH, DOMAIN = np.concatenate([ROWS, ROWS]), np.repeat([1, -1], 40)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("plan_by_class", lambda: plan_by_class(ROWS, CLASSES, ROWS, CLASSES)),
        ("sinkhorn_divergence", lambda: sinkhorn_divergence(ROWS, ROWS + 1, bootstrap=0)),
        ("OTDA", lambda: OTDA().fit(BOTH, None, sample_domain=DOMAIN)),
        ("OTDA", lambda: OTDA(solver="exact").fit(BOTH, None, sample_domain=DOMAIN)),
        ("exact_plan", lambda: exact_plan(np.ones((40, 40)))),
        ("sinkhorn_plan", lambda: sinkhorn_plan(np.ones((40, 40)), 1.0)),
    ],
)
def test_every_plan_of_all_pairs_asks_first(monkeypatch: pytest.MonkeyPatch, name: str, call) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 1000)
    monkeypatch.setattr(host_memory, "ALWAYS", 0)
    with pytest.raises(ValueError, match=rf"^{name} needs .* of 40 x 40 pairs of rows"):
        call()


def test_a_hundred_thousand_rows_of_each_meet_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 64 * GIB)
    rows = np.zeros((100_000, 1))
    with pytest.raises(ValueError, match=r"100000 x 100000 x 8 bytes = 74.5 GiB each.*smaller most"):
        plan_by_class(rows, np.zeros(100_000, int), rows, np.zeros(100_000, int), most=100_000)
