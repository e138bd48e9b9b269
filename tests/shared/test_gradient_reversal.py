"""Gradient reversal is the identity forwards, and minus lambda backwards; the ramp is the paper's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landbridge.shared.gradient_reversal import ramp, reverse_gradient


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, torch.tensor(0.5), torch.tensor(2.0, dtype=torch.float64)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_identity_forwards_and_minus_lambda_backwards(scale: float | torch.Tensor, dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=dtype, requires_grad=True)
    out = reverse_gradient(x, scale)
    assert torch.equal(out, x)
    upstream = torch.tensor([[1.0, 4.0], [-2.0, 0.25]], dtype=dtype)
    out.backward(upstream)
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert torch.equal(x.grad, -float(scale) * upstream)


def test_lambda_is_one_unless_given() -> None:
    x = torch.ones(3, requires_grad=True)
    reverse_gradient(x).sum().backward()
    assert torch.equal(x.grad, -torch.ones(3))


def test_no_gradient_reaches_a_scale_that_asks_for_one() -> None:
    x, scale = torch.ones(3, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    reverse_gradient(x, scale).sum().backward()
    assert scale.grad is None
    assert x.grad is not None


def test_twice_reversed_is_straight() -> None:
    x = torch.ones(3, requires_grad=True)
    reverse_gradient(reverse_gradient(x, 2.0), 3.0).sum().backward()
    assert torch.equal(x.grad, torch.full((3,), 6.0))


def test_without_gradients_there_is_nothing_to_do() -> None:
    with torch.no_grad():
        assert torch.equal(reverse_gradient(torch.ones(2), 1.0), torch.ones(2))
    assert not reverse_gradient(torch.ones(2), 1.0).requires_grad


@pytest.mark.parametrize("wrong", [torch.ones(2, dtype=torch.int64), [1.0, 2.0]])
def test_what_has_no_gradient_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"reverse_gradient needs a floating-point tensor x; got (torch\.int64|list)"):
        reverse_gradient(wrong)  # type: ignore[arg-type]


def test_one_graph_serves_every_scale() -> None:
    """A scale that ramps as a tensor is an input of the traced graph, so nothing is compiled again."""
    graphs = 0

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        nonlocal graphs
        graphs += 1
        return graph.forward

    layer = nn.Linear(2, 1)
    compiled = torch.compile(lambda x, scale: layer(reverse_gradient(x, scale)).sum(), backend=count, fullgraph=True)
    for value in (0.0, 0.3, 1.0):
        x = torch.ones(4, 2, requires_grad=True)
        compiled(x, torch.tensor(value)).backward()
        torch.testing.assert_close(x.grad, -value * layer.weight.detach().expand(4, 2))
    assert graphs == 1
    torch.compiler.reset()


@pytest.mark.parametrize("p", [0.0, 0.01, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("gamma", [10.0, 5.0])
def test_the_ramp_is_the_papers(p: float, gamma: float) -> None:
    expected = torch.tensor(2 / (1 + math.exp(-gamma * p)) - 1, dtype=torch.float64)
    torch.testing.assert_close(ramp(torch.tensor(p, dtype=torch.float64), gamma), expected, rtol=1e-10, atol=1e-15)


def test_the_ramps_gamma_is_ten_unless_given() -> None:
    p = torch.tensor(0.3)
    assert torch.equal(ramp(p), ramp(p, 10.0))
