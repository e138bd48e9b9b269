"""A whole data set through a trained network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from toy import create, data, train

from landbridge.dann.dann import DANN
from landbridge.shared.batches import Samples
from landbridge.shared.batchnorm import DomainBatchNorm
from landbridge.shared.evaluate import batch_size_for, forward_all
from landbridge.shared.network import Network


def trained(statistics: str = "per_domain") -> Network:
    return train(create(DANN), batch_statistics=statistics).network


def samples() -> Samples:
    return Samples(data().target, None, torch.device("cpu"))


def test_chunks_change_nothing_and_order_is_kept() -> None:
    model = trained()
    whole = forward_all(model, samples())
    for size in (1, 7, 33):
        torch.testing.assert_close(forward_all(model, samples(), batch_size=size), whole)
    with torch.no_grad():
        torch.testing.assert_close(model(data().target), whole)
    assert whole[0].dtype == whole[1].dtype == torch.float32
    assert not whole[0].requires_grad


def test_the_network_is_left_as_it_was() -> None:
    model = trained().train()
    model.extractor[3].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    forward_all(model, samples(), source=True)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    assert not layer.split.source


def test_the_network_is_left_as_it_was_after_a_failure() -> None:
    model = trained().train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        forward_all(model, Samples(torch.zeros(3, 2), None, torch.device("cpu")), source=True)
    assert model.training
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    assert not layer.split.source


def test_the_sources_statistics_if_asked() -> None:
    model = trained()
    layer = next(m for m in model.modules() if isinstance(m, DomainBatchNorm))
    by_source = forward_all(model, samples(), source=True)
    by_target = forward_all(model, samples())
    assert not torch.equal(by_source[1], by_target[1])
    layer.running_mean, layer.running_var = layer.source_running_mean, layer.source_running_var
    assert torch.equal(forward_all(model, samples())[1], by_source[1])


def test_one_statistic_has_no_side() -> None:
    model = trained("joint")
    assert torch.equal(forward_all(model, samples(), source=True)[1], forward_all(model, samples())[1])


class Views:
    """Three views of each sample: itself, its half, and its opposite."""

    views = 3

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x, x / 2, -x], 1)


def test_a_transform_on_the_way() -> None:
    model = trained()
    moved = forward_all(model, samples(), transform=lambda x: 2 * x + 1)
    direct = forward_all(model, Samples(2 * data().target + 1, None, torch.device("cpu")))
    torch.testing.assert_close(moved, direct)


@pytest.mark.parametrize("size", [None, 7])
def test_views_are_averaged_as_probabilities(size: int | None) -> None:
    model, x = trained(), data().target
    features, logits = forward_all(model, samples(), transform=Views(), batch_size=size)
    alone = [forward_all(model, Samples(v, None, torch.device("cpu"))) for v in (x, x / 2, -x)]
    torch.testing.assert_close(features, sum(f for f, _ in alone) / 3)
    torch.testing.assert_close(logits.exp(), sum(z.softmax(1) for _, z in alone) / 3)
    torch.testing.assert_close(logits.softmax(1), logits.exp())


def test_views_of_extreme_logits_stay_finite() -> None:
    model = Network(torch.nn.Identity(), torch.nn.Identity())
    seen = forward_all(model, Samples(torch.tensor([[0.0, 500.0]]), None, torch.device("cpu")), transform=Views())[1]
    assert torch.isfinite(seen).all()


@pytest.mark.parametrize("shape", [(1,), ()])
def test_views_of_one_number_a_sample_are_refused_and_one_view_is_not(shape: tuple[int, ...]) -> None:
    model = Network(torch.nn.Identity(), torch.nn.Flatten(0) if shape == () else torch.nn.Identity())
    some = Samples(torch.arange(3.0)[:, None], None, torch.device("cpu"))
    assert forward_all(model, some)[1].shape == (3, *shape)
    with pytest.raises(ValueError, match=r"needs logits of at least 2 classes; got \(9(, 1|,)\)\. Use a transform"):
        forward_all(model, some, transform=Views())


@pytest.mark.parametrize(
    ("shape", "views", "rows"),
    [((9, 3, 64, 64), 1, 500), ((9, 3, 65, 20), 1, 64), ((9, 3, 20, 65), 10, 6), ((9, 700), 1, 500), ((9, 4), 999, 1)],
)
def test_rows_a_forward(shape: tuple[int, ...], views: int, rows: int) -> None:
    assert batch_size_for(Samples(torch.zeros(shape), None, torch.device("cpu")), views) == rows


def test_rows_of_a_forward_by_the_transforms_views() -> None:
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(len(x))
            return x[:, :1], x[:, :2]

    many = Samples(torch.zeros(400, 4), None, torch.device("cpu"))
    forward_all(Spy(), many, transform=Views())
    assert max(seen) <= 500
    assert sum(seen) == 1200
