"""Source-only adds nothing, and trains as a plain loop on the source would."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from toy import data, network, same, train

from landbridge.shared.batches import Order
from landbridge.shared.method import Source, Target
from landbridge.shared.seeds import derive_seed
from landbridge.shared.source_only import SourceOnly


def test_adds_nothing() -> None:
    some = data()
    assert SourceOnly()(Source(some.inputs), Target(some.target)) == 0
    assert list(train(SourceOnly()).history.names) == ["task"]
    assert not list(SourceOnly().parameters())


def test_is_a_plain_loop_on_the_source() -> None:
    some, model = data(), network().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    order = Order(40, 9, seed=2, name="source", device="cpu")
    with torch.random.fork_rng():
        for step in range(8):
            torch.manual_seed(derive_seed(2, "step", step))
            _, logits = model(some.inputs[order(step)])
            optimizer.zero_grad()
            F.cross_entropy(logits, some.labels[order(step)]).backward()
            optimizer.step()
    assert same(train(SourceOnly(), steps=8, seed=2).network, model)
    assert same(train(SourceOnly(), steps=8, seed=2, batch_statistics="per_domain").network, model)


def test_train_on_target_is_source_only_with_the_target_as_source() -> None:
    some = data()
    labels = some.target[:, :3].argmax(1)
    result = train(SourceOnly(), source=(some.target, labels), steps=400)
    assert (result.predict(some.target) == labels).float().mean() > 0.9
