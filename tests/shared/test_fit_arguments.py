"""What ``fit`` makes of arguments that users often get wrong, and how it leaves things after an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landbridge as lb
from landbridge.shared.augment import CentreCrop, TenCrops
from landbridge.shared.batches import Rows
from landbridge.shared.checkpoint import CheckpointError, read_checkpoint

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> lb.Network:
    torch.manual_seed(0)
    return lb.Network(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU()), nn.Linear(6, 2))


def fit(
    model: lb.Network | None = None, source: object = (X, Y), target: object = X + 1, **more: object
) -> lb.FitResult:
    settings = {"steps": 10, "batch_size": 8, "device": "cpu", "progress_bar": False, **more}
    return lb.fit(model or network(), settings.pop("method", lb.SourceOnly()), source, target, **settings)  # type: ignore[arg-type]


def test_numpy_doubles_become_what_the_network_computes_in() -> None:
    result = fit(source=(X.double().numpy(), Y.numpy()), target=X.double().numpy() + 1)
    assert torch.equal(result.predict(X.double().numpy()), fit().predict(X))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (Y + 1, "class numbers from 0 to 1, as many as the head has logits; got source labels from 1 to 2"),
        (Y - 1, "got source labels from -1 to 0"),
        (Y[:, None], r"source labels of shape \(samples,\); got \(40, 1\)"),
    ],
)
def test_labels_that_the_head_has_no_logit_for(labels: torch.Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit(source=(X, labels))


@pytest.mark.parametrize("n", [501, 1001])
def test_adabn_takes_any_number_of_target_rows(n: int) -> None:
    model = network()
    result = fit(model, target=torch.randn(n, 5), method=lb.AdaBN())
    assert result.predict(X).shape == (40,)


def test_an_error_in_a_forward_leaves_the_network_evaluating_as_before() -> None:
    model = network()
    fit(model, method=lb.DANN(features=6, hidden=[4]), batch_statistics="per_domain")
    model.eval()
    before = model(X)[1]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    hook = model.head.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        fit(model, method=lb.DANN(features=6, hidden=[4]), batch_statistics="per_domain", seed=1)
    hook.remove()
    model.eval()
    assert torch.equal(model(X)[1].argsort(1), model(X.flip(0))[1].flip(0).argsort(1))  # rows do not see each other
    assert before.shape == model(X)[1].shape
    torch.testing.assert_close(model(X)[1], model(X.flip(0))[1].flip(0))


def test_a_checkpoint_is_written_on_the_way_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    seen = []
    fit(
        checkpoint=path,
        steps=20,
        evaluate_at=[7],
        on_evaluate=lambda step, _: seen.append(read_checkpoint(path)["step"]),
    )
    assert seen == [6]
    assert read_checkpoint(path)["step"] == 20


def test_a_checkpoint_that_cannot_be_written_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"fit cannot write checkpoint=.*Nothing was trained"):
        fit(checkpoint=tmp_path / "file" / "run.pt")


def test_clipping_the_discriminator_does_not_shorten_the_network_s_step() -> None:
    optimizer = lb.Optimizer(lr=0.1, clip=0.01)
    alone, adversarial = network(), network()
    fit(alone, method=lb.SourceOnly(see_target=True), optimizer=optimizer)
    fit(adversarial, method=lb.DANN(features=6, hidden=[4], weight=0.0), optimizer=optimizer)
    for ours, theirs in zip(alone.parameters(), adversarial.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_a_refresh_draws_depends_on_the_seed_alone() -> None:
    class Draws(lb.SourceOnly):
        refresh_every = 3

        def refresh(self, network: lb.Network, target_batches: object) -> None:
            drawn.append(torch.rand(()).item())

    results = []
    for ambient in (1, 2):
        drawn: list[float] = []
        torch.manual_seed(ambient)
        fit(method=Draws())
        results.append(drawn)
    assert results[0] == results[1]
    assert len(set(results[0])) == 4
    np.testing.assert_equal(len(results[0]), 4)


def test_rows_of_a_memory_map_train_as_the_array_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.numpy())
    opened = np.load(tmp_path / "x.npy", mmap_mode="r")
    which = np.arange(39, -1, -2)
    some = fit(source=(Rows(opened, which), Y[which]), target=opened, checkpoint=tmp_path / "a.ckpt")
    plain = fit(source=(X[which], Y[which]), target=X)
    assert all(torch.equal(a, b) for a, b in zip(some.network.parameters(), plain.network.parameters(), strict=True))
    assert torch.equal(some.predict(Rows(opened, which)), plain.predict(X[which]))
    more = {"checkpoint": tmp_path / "a.ckpt", "target": opened}
    assert len(fit(source=(Rows(opened, which), Y[which]), **more).history) == 10  # the checkpoint is of these rows
    fit(source=(X[which], Y[which]), **more)  # and of these, which are the same
    with pytest.raises(CheckpointError, match="source was"):
        fit(source=(Rows(opened, which), 1 - Y[which]), **more)
    with pytest.raises(CheckpointError, match="source was"):
        fit(source=(Rows(opened, which[::-1].copy()), Y[which]), **more)


class Seen(lb.SourceOnly):
    """Notes what it is refreshed from."""

    refresh_every = 5

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[torch.Tensor] = []

    def refresh(self, network: lb.Network, target_batches: object) -> None:
        self.batches += list(target_batches)  # type: ignore[call-overload]


def small() -> lb.Network:
    torch.manual_seed(0)
    return lb.Network(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 6)), nn.Linear(6, 2))


def test_what_a_method_forwards_outside_a_step_is_not_augmented_but_evaluated() -> None:
    images = torch.randint(0, 256, (40, 3, 8, 8)).float()
    method = Seen()
    settings = {"augment": lambda x: x[:, :, :4, :4], "evaluation": CentreCrop(4)}
    fit(small(), (images, Y), images, method=method, **settings)
    assert len(method.batches) == 3  # before the first step, and after 5 and 10
    assert all(torch.equal(batch, images[:, :, 2:6, 2:6]) for batch in method.batches)


def test_large_images_are_evaluated_few_at_a_time() -> None:
    method = Seen()
    images = torch.zeros(70, 3, 65, 65)
    settings = {"augment": CentreCrop(4), "evaluation": CentreCrop(4), "steps": 1}
    fit(small(), (images[:40], Y), images, method=method, **settings)
    assert [len(batch) for batch in method.batches] == [35, 35]


def test_an_evaluation_of_many_views_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fit needs an evaluation of one view an image; got TenCrops\. Use CentreCrop"
    ):
        fit(evaluation=TenCrops(4))


def test_a_method_that_wants_a_strong_copy_is_refused_before_training() -> None:
    class Consistent(lb.SourceOnly):
        needs = frozenset({"source", "strong"})

    with pytest.raises(ValueError, match=r"Consistent needs a strongly augmented copy .* fit makes none"):
        fit(method=Consistent())
