"""What ``fit`` makes of arguments that users often get wrong, and how it leaves things after an error."""

from __future__ import annotations

import errno
import os
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
        (Y - 1, r"got source labels from -1 to 0\. Number .*unique\(labels.*\)\. Leave rows without a label out\.$"),
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


class Sees(lb.SourceOnly):
    """Both domains go through the network, as one batch."""

    def __init__(self) -> None:
        super().__init__(see_target=True)


def test_domains_of_other_shapes_are_refused_before_training() -> None:
    model = network()
    before = [value.clone() for value in model.state_dict().values()]
    with pytest.raises(ValueError, match=r"inputs of one shape; got \(samples, 5\) for the source and \(samples, 3\)"):
        fit(model, target=X[:, :3], method=Sees())
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    images = torch.zeros(40, 3, 8, 8)
    by_crops = {"augment": lambda x: x[:, :, :4, :4], "evaluation": CentreCrop(4), "method": Sees()}
    assert fit(small(), (images, Y), images[:, :, :7, :7], **by_crops)
    assert fit(target=X[:, :3])  # source-only never forwards it


def headed(*layers: nn.Module) -> lb.Network:
    """A head that does not say how many outputs it has."""
    torch.manual_seed(0)
    norm = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
    return lb.Network(norm, nn.Sequential(nn.ReLU(), *layers))


class Noisy(nn.Module):
    """Draws in evaluation too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (Y + 1, "class numbers from 0 to 1, as many as the head has logits; got source labels from 1 to 2"),
        (Y - 1, r"got source labels from -1 to 0\. Number .*unique\(labels.*\)\. Leave rows without a label out\.$"),
        (torch.where(Y == 0, -100, Y), "class numbers from 0 to 1.*from -100 to 1"),
    ],
)
def test_labels_beyond_a_head_that_does_not_say_its_width(labels: torch.Tensor, sentence: str) -> None:
    model = headed(nn.Linear(6, 4), nn.Linear(4, 2), Noisy())
    state, numbers = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    model.extractor[2].eval()
    with pytest.raises(ValueError, match=sentence):
        fit(model, (X, labels))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert [m.training for m in model.extractor] == [True, True, False]


def test_a_head_of_one_that_does_not_say_so_is_no_classifier() -> None:
    with pytest.raises(ValueError, match="one logit a class; got a head of 1"):
        fit(headed(nn.Linear(6, 1)))


def test_where_the_width_cannot_be_told_negative_labels_are_refused_all_the_same() -> None:
    class Trains(nn.Linear):
        """Forwards in training alone."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                raise NotImplementedError
            return super().forward(x)

    assert len(fit(headed(Trains(6, 2))).history) == 10
    with pytest.raises(
        ValueError, match=r"class numbers from 0 as source labels; got labels from -100 to 1\. Leave row"
    ):
        fit(headed(Trains(6, 2)), (X, torch.where(Y == 0, -100, Y)))
    own = {"task_loss": lambda logits, labels: nn.functional.cross_entropy(logits, labels, ignore_index=-100)}
    assert len(fit(headed(nn.Linear(6, 2)), (X, torch.where(Y == 0, -100, Y)), **own).history) == 10


def test_asking_for_the_width_changes_no_weight() -> None:
    plain, asked = headed(nn.Linear(6, 2)), headed(nn.Linear(6, 2))
    plain.head.out_features = 2
    calls: list[bool] = []
    asked.register_forward_pre_hook(lambda module, inputs: calls.append(module.training))
    fit(plain), fit(asked)
    assert calls == [False] + [True] * 10
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), asked.parameters(), strict=True))


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    numpy = {"steps": np.int64(6), "seed": np.int64(3), "accumulate": np.uint8(1), "metrics_every": np.int32(2)}
    whole = {"steps": 6, "seed": 3, "accumulate": 1, "metrics_every": 2}
    sizes: list[tuple[object, object]] = [(np.int64(8), 8), ((np.int64(9), 7), (9, 7)), ([np.int16(9), 7], [9, 7])]
    for i, (given, meant) in enumerate(sizes):
        path = tmp_path / f"{i}.pt"
        settings = {**numpy, "checkpoint": path, "checkpoint_every": np.int64(3)}
        one = fit(batch_size=given, method=lb.DDC(weight=np.float32(0.5)), **settings)
        other = fit(batch_size=meant, method=lb.DDC(weight=0.5), **whole)
        assert torch.equal(one.history.values, other.history.values)
        assert len(one.history) == 6
        fit(batch_size=meant, method=lb.DDC(weight=0.5), checkpoint=path, **whole)  # the checkpoint is of the same run
    for wrong in ({"steps": True}, {"steps": np.bool_(True)}, {"steps": np.float64(3)}):
        with pytest.raises(ValueError, match="fit needs steps as a whole number"):
            fit(**wrong)
    for size in (True, np.float64(8), (8, True)):
        with pytest.raises(TypeError, match="fit needs batch_size as a whole number"):
            fit(batch_size=size)


@pytest.mark.parametrize(("statistics", "compile"), [("joint", False), ("joint", True), ("per_domain", False)])
def test_one_row_has_no_variance(statistics: str, compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: traced(function, backend="eager"))
    method = lb.SourceOnly() if statistics == "joint" else Sees()
    sentence = "a BatchNorm layer got one row.*at least 2" if statistics == "joint" else "2 rows of each source batch"
    with pytest.raises(ValueError, match=sentence):
        fit(batch_size=(1, 8), method=method, batch_statistics=statistics, compile=compile)
    torch.compiler.reset()


def test_images_of_two_scales_are_refused_unless_an_augmentation_makes_them_one() -> None:
    whole = (X * 50 + 128).clamp(0, 255).to(torch.uint8)
    with pytest.raises(ValueError, match=r"source inputs of torch.uint8 and target inputs of torch.float32, whose sc"):
        fit(source=(whole, Y), method=lb.DDC(), target=X)
    fit(source=(whole, Y), method=lb.DDC(), target=X, augment=lambda x: x.float(), steps=1)
    fit(source=(X, Y), method=lb.DDC(), target=X, steps=1)


def test_a_checkpoint_in_a_folder_that_cannot_be_written_meets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ValueError, match=r"fit cannot write checkpoint=.*taken/run.pt \(.*\)\. Nothing was trained"):
        fit(checkpoint=tmp_path / "taken" / "run.pt")
    with pytest.raises(ValueError, match=rf"fit needs checkpoint as a file; {tmp_path} is a folder.*run\.pt"):
        fit(checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"save cannot write .*taken/net \(.*\)"):
        fit().save(tmp_path / "taken" / "net")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["taken"]


def test_a_disk_that_fills_while_training_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "run.pt", os.replace

    def full(a: str, b: str) -> None:
        if path.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(a, b)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match=r"run.pt cannot be written \(No space left.*the checkpoint before it st"):
        fit(checkpoint=path, checkpoint_every=4)
    assert read_checkpoint(path)["step"] == 4
