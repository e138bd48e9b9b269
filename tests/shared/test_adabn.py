"""AdaBN is source-only training, evaluated by the target's statistics."""

from __future__ import annotations

import pytest
import torch
from toy import data, network, train

from landbridge.shared.adabn import AdaBN
from landbridge.shared.combine import Combine
from landbridge.shared.network import Network
from landbridge.shared.source_only import SourceOnly

STATISTICS = ("running_mean", "running_var")


@pytest.mark.parametrize("statistics", ["joint", "per_domain"])
def test_weights_are_source_onlys_bit_for_bit(statistics: str) -> None:
    adapted, plain = (train(m, batch_statistics=statistics) for m in (AdaBN(), SourceOnly()))
    for one, other in zip(adapted.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(adapted.history.values, plain.history.values)
    layer, theirs = adapted.network.extractor[1], plain.network.extractor[1]
    for name in STATISTICS:
        assert torch.equal(getattr(layer, f"source_{name}"), getattr(theirs, name))
        assert not torch.equal(getattr(layer, name), getattr(theirs, name))
    x = data().inputs
    assert torch.equal(adapted.forward(x, source=True)[1], plain.forward(x)[1])


def test_statistics_are_the_targets_over_all_rows() -> None:
    some = data()
    result = train(AdaBN())
    layer = result.network.extractor[1]
    inside = result.network.extractor[0](some.target).detach().double()  # (33, 8): they fit one forward
    torch.testing.assert_close(layer.running_mean.double(), inside.sum(0) / 33, rtol=1e-5, atol=1e-6)
    squares = (inside - inside.mean(0)).square().sum(0)
    torch.testing.assert_close(layer.running_var.double(), squares / 32, rtol=1e-5, atol=1e-6)


def test_statistics_are_of_the_weights_that_are_evaluated_and_do_not_reach_training() -> None:
    seen: list[torch.Tensor] = []

    def evaluate(step: int, model: Network) -> None:
        inside = model.extractor[0](data().target).detach()
        torch.testing.assert_close(model.extractor[1].running_mean, inside.mean(0))
        seen.append(model.extractor[1].running_mean.clone())

    watched = train(AdaBN(), evaluate_at=[1, 3, 5], on_evaluate=evaluate)
    assert len({tuple(mean.tolist()) for mean in seen}) == 3
    assert all(
        torch.equal(one, other)
        for one, other in zip(watched.network.parameters(), train(AdaBN()).network.parameters(), strict=True)
    )


def test_a_source_batch_alone_is_forwarded() -> None:
    rows: list[int] = []
    model = network()
    model.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])) if module.training else None)
    train(AdaBN(), model)
    assert rows == [9] * 5


def test_the_order_of_the_rows_changes_nothing() -> None:
    """Rows in the order of their classes, as a folder is read: the variance between the chunks belongs to it."""
    target = torch.randn(1200, 6, generator=torch.Generator().manual_seed(0))
    target[600:] += 4
    result = train(AdaBN(), target=target)
    inside = result.network.extractor[0](target).detach()
    layer = result.network.extractor[1]
    torch.testing.assert_close(layer.running_mean, inside.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.running_var, inside.var(0), rtol=1e-5, atol=1e-6)
    mixed = train(AdaBN(), target=target[torch.randperm(1200, generator=torch.Generator().manual_seed(1))])
    for name in STATISTICS:
        ours, theirs = getattr(layer, name), getattr(mixed.network.extractor[1], name)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_with_a_method_that_sees_the_target_batches_stay_as_asked() -> None:
    """Under joint, AdaBN changes what is evaluated and not what is trained."""
    both = train(Combine(adabn=AdaBN(), none=SourceOnly(see_target=True)), batch_statistics="joint")
    one = train(SourceOnly(see_target=True), batch_statistics="joint")
    for a, b in zip(both.network.parameters(), one.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(both.network.extractor[1].running_mean, one.network.extractor[1].running_mean)
