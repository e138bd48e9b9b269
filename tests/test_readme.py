"""What the README shows, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landbridge as lb

README = Path(__file__).parents[1] / "README.md"
BLOCKS = (
    re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S) if README.exists() else []
)


@pytest.mark.skipif(not BLOCKS, reason="there is no README beside these tests")
def test_every_block_of_python_runs_after_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for number, block in enumerate(BLOCKS, 1):
            exec(compile(block, f"README.md, python block {number}", "exec", dont_inherit=True), names)


@pytest.mark.parametrize("method", [lb.DANN(features=8, hidden=[16]), lb.DAN(), lb.DeepCORAL()], ids=repr)
def test_a_method_in_a_loop_of_your_own(method: lb.Method) -> None:
    """The three lines: parameters into the optimiser, the method's sum onto the task loss."""
    torch.manual_seed(0)
    body, head = nn.Linear(6, 8), nn.Linear(8, 3)
    xs, ys, xt = torch.randn(12, 6), torch.arange(12) % 3, torch.randn(9, 6) + 1
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters(), *method.parameters()], lr=0.1)
    before = [p.detach().clone() for p in (*body.parameters(), *method.parameters())]
    for step in range(1, 4):
        fs, ft = body(xs), body(xt)
        ls, lt = head(fs), head(ft)
        loss = F.cross_entropy(ls, ys) + method(lb.Source(fs, ls, ys), lb.Target(ft, lt), step / 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = [*body.parameters(), *method.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
