"""One bandwidth for all of training: it follows the data, and gives a gradient with a bound."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import landbridge as lb
from landbridge.mmd import MultiGaussianKernel, mmd2
from landbridge.mmd.bandwidth import HORIZON, DataBandwidth

END = torch.tensor(1.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches(n: int = 12, scale: float = 1.0, seed: int = 0) -> tuple[lb.Source, lb.Target]:
    f, g, z, w = (draw(n, 4, seed=4 * seed + i) for i in range(4))
    return lb.Source(scale * f, scale * z), lb.Target(scale * g + 0.5, scale * w)


# ---- the estimate


def test_it_is_the_mean_of_the_first_hundred_values_and_then_only_grows() -> None:
    values = [3.0, 1.0, 5.0, 2.0, 10.0] * 20 + [1.0] * 50 + [20.0] * 100
    bandwidth = DataBandwidth()
    running, largest = 0.0, 0.0
    for i, value in enumerate(values, 1):
        running += (value - running) / min(i, HORIZON)
        largest = max(largest, running) if i > HORIZON else running
        assert float(bandwidth(torch.tensor(value, dtype=torch.float64))) == pytest.approx(largest, rel=1e-12)
    assert int(bandwidth.batches) == 250


def test_a_kernel_with_a_number_keeps_it() -> None:
    bandwidth = DataBandwidth(least=9.0)
    assert bandwidth(2.5) == 2.5
    assert bandwidth.batches == 0


def test_it_has_a_least() -> None:
    bandwidth = DataBandwidth(least=0.5)
    assert float(bandwidth(torch.tensor(0.1))) == 0.5
    assert float(bandwidth(torch.tensor(7.9))) == pytest.approx(4.0)


def test_evaluation_reads_it_and_leaves_it_alone() -> None:
    bandwidth = DataBandwidth().eval()
    assert float(bandwidth(torch.tensor(3.0))) == 3.0  # nothing is known yet
    assert bandwidth.batches == 0
    bandwidth.train()(torch.tensor(2.0))
    state = copy.deepcopy(bandwidth.state_dict())
    assert float(bandwidth.eval()(torch.tensor(50.0))) == 2.0
    assert all(torch.equal(state[name], value) for name, value in bandwidth.state_dict().items())


# ---- in the methods


@pytest.mark.parametrize("make", [lb.DAN, lambda: lb.DAN(estimator="unbiased"), lambda: lb.DAN(estimator="linear")])
def test_the_gradient_of_a_new_method_has_a_bound_however_close_the_predictions_lie(make: Any) -> None:
    """Both domains of one distribution: with the median of each batch it was 0.03, 0.5, 5 and 48."""
    z_s, z_t, none = draw(15, 2, seed=1), draw(15, 2, seed=2), torch.zeros(15, 2, dtype=torch.float64)
    norms = []
    for c in (1.0, 0.3, 0.1, 0.01, 0.001):
        logits = (c * z_s).requires_grad_()
        make().terms(lb.Source(none, logits), lb.Target(none, c * z_t), END)["probabilities"].backward()
        norms.append(float(logits.grad.norm()))
    assert max(norms) < 1
    assert norms[-1] < norms[-2] < norms[-3]


@pytest.mark.parametrize("make", [lb.DAN, lb.JAN])
def test_the_gradient_fades_where_features_draw_together_in_training(make: Any) -> None:
    method, norms = make(), []
    for c in (1.0, 0.1, 0.01, 0.001):
        source, target = batches(scale=c)
        features = source.features.requires_grad_()
        target = target._replace(features=target.features - 0.5)  # one distribution
        sum(method.losses(source, target, END).values()).backward()
        norms.append(float(features.grad.norm()))
    assert norms[3] < norms[2] < norms[1] < 3 * norms[0]


@pytest.mark.parametrize("make", [lb.DAN, lb.JAN])
def test_it_is_one_number_for_all_batches(make: Any) -> None:
    method = make()
    for seed in range(200):
        method.losses(*batches(seed=seed), END)
    found = float(method.feature_bandwidth.largest)
    every = torch.cat([torch.cat([s.features, t.features]) for s, t in (batches(seed=seed) for seed in range(200))])
    median = float(torch.pdist(every[:2000]).square().median())
    assert found == pytest.approx(median, rel=0.05)
    source, target = batches(seed=7)
    now = method.eval().losses(source, target, END)
    kernel = MultiGaussianKernel(float(method.feature_bandwidth.largest))
    if "features" in now:
        assert_close(now["features"], mmd2(source.features, target.features, kernel))


def test_it_is_resumed_with_the_method() -> None:
    one, other = lb.DAN(), lb.DAN()
    one.losses(*batches(seed=1), END)
    other.load_state_dict(one.state_dict())
    some = batches(seed=2, scale=0.1)
    assert_close(one.losses(*some, END), other.losses(*some, END), rtol=0, atol=0)
    assert float(one.losses(*some, END)["features"]) != float(lb.DAN().losses(*some, END)["features"])


def test_two_calls_before_one_backward_are_differentiated() -> None:
    method = lb.DAN()
    source, target = batches()
    source.features.requires_grad_()
    (method(source, target) + method(source, target._replace(features=2 * target.features))).backward()
    assert source.features.grad.isfinite().all()


def test_the_compiled_method_keeps_the_same_state() -> None:
    plain, other = lb.DAN(), lb.DAN()
    compiled = torch.compile(other, backend="eager", fullgraph=True)
    for seed in range(3):
        some = batches(seed=seed)
        assert_close(compiled(*some, END), plain(*some, END))
    assert_close(other.state_dict(), plain.state_dict())


def toy(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two classes of two columns, and the same turned by 0.6."""
    y = torch.arange(120) % 2
    noise = 0.3 * draw(240, 2, seed=seed).float()
    centre = torch.stack([2.0 * y - 1, 0.0 * y], 1)
    turn = torch.tensor([[0.8253, 0.5646], [-0.5646, 0.8253]])
    return centre + noise[:120], y, (centre + noise[120:]) @ turn


def test_dans_default_does_not_unlearn_the_source() -> None:
    """With the median of each batch one seed of these three ended at chance on the source."""
    for seed in range(3):
        x, y, target = toy(seed)
        torch.manual_seed(seed)
        network = lb.Network(
            torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU()),
            torch.nn.Linear(32, 2),
        )
        result = lb.fit(network, lb.DAN(), (x, y), target, steps=300, batch_size=15, seed=seed, device="cpu",
                        optimizer=lb.Optimizer(name="adam", lr=1e-3), progress_bar=False)  # fmt: skip
        assert float((result.predict(x) == y).float().mean()) > 0.95
        assert float((result.predict(target) == y).float().mean()) > 0.9
