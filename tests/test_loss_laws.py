"""The laws of every loss function, driven by the one table of records."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from records import HALVES, LOSSES, N_S, N_T, SIZES, Loss, features
from torch import Tensor


def losses_match_the_slow_reference(record: Loss) -> None:
    for n_s, n_t in ((N_S, N_T), (record.min_batch, N_T), (N_S, record.min_batch), (2 * N_S, 3)):
        x, y = features(n_s, 1), 1.5 * features(n_t, 2) + 0.5
        torch.testing.assert_close(record.function(x, y), record.reference(x, y), rtol=1e-10, atol=1e-14)


def gradient_is_that_of_the_value(record: Loss) -> None:
    x, y = features(N_S, 1).requires_grad_(), (features(N_T, 2) + 0.5).requires_grad_()
    if record.smooth:
        assert torch.autograd.gradcheck(record.function, (x, y))
    grads = torch.autograd.grad(record.function(x, y), (x, y))
    assert all(grad.isfinite().all() and grad.any() for grad in grads)


def order_does_not_matter(record: Loss) -> None:
    x, y = features(N_S, 1), features(N_T, 2)
    if record.order:
        torch.testing.assert_close(record.function(x.flip(0), y.roll(2, 0)), record.function(x, y), rtol=1e-9, atol=0)


def domains_may_be_swapped(record: Loss) -> None:
    x, y = features(N_S, 1), 2 * features(N_T, 2)
    if record.symmetric:
        torch.testing.assert_close(record.function(x, y), record.function(y, x), rtol=1e-9, atol=0)


def identical_batches_are_at_distance_zero(record: Loss) -> None:
    x = features(N_S, 1).requires_grad_()
    value = record.function(x, x.detach().clone())
    if record.zero_at_identical:
        assert value.abs() < 1e-12
    assert torch.autograd.grad(value, x)[0].isfinite().all()


def moving_both_domains_changes_nothing(record: Loss) -> None:
    x, y, by = features(N_S, 1), features(N_T, 2), 10 * features(1, 3)
    if record.joint_translation:
        torch.testing.assert_close(record.function(x + by, y + by), record.function(x, y), rtol=1e-8, atol=1e-12)


def turning_both_domains_changes_nothing(record: Loss) -> None:
    x, y, turn = features(N_S, 1), features(N_T, 2), torch.linalg.qr(features(SIZES.features, 3))[0]
    if record.joint_rotation:
        torch.testing.assert_close(record.function(x @ turn, y @ turn), record.function(x, y), rtol=1e-8, atol=1e-12)


def scaling_both_domains_scales_by_the_degree(record: Loss) -> None:
    x, y = features(N_S, 1), features(N_T, 2)
    if record.scale_degree is not None:
        expected = 3.0**record.scale_degree * record.function(x, y)
        torch.testing.assert_close(record.function(3 * x, 3 * y), expected, rtol=1e-9, atol=0)


def wrong_features_meet_a_sentence(record: Loss) -> None:
    x, y, name = features(N_S, 1), features(N_T, 2), record.name.split()[0]
    nan = x.clone()
    nan[2, 1] = math.nan
    wrong: list[tuple[Tensor, Tensor, type[Exception], str]] = [
        (nan, y, ValueError, f"{name} got NaN or inf in [a-z]+: 1 of 6 rows, the first is row 2"),
        (y, nan, ValueError, f"{name} got NaN or inf in [a-z]+: 1 of 6 rows, the first is row 2"),
        (x[:0], y, ValueError, f"{name} got an empty "),
        (x, y[:0], ValueError, f"{name} got an empty "),
        (x, y[:, :3], ValueError, f"{name} compares features of one size"),
        (x.long(), y.long(), TypeError, f"{name} needs floating-point "),
        (x[0], y, ValueError, f"{name} needs .* of shape"),
    ]
    if record.min_batch > 1:
        least = f"{name} needs at least {record.min_batch} samples of each domain"
        wrong += [(x[: record.min_batch - 1], y, ValueError, least), (x, y[: record.min_batch - 1], ValueError, least)]
    for source, target, error, sentence in wrong:
        with pytest.raises(error, match=sentence):
            record.function(source, target)


def half_precision_gives_float32(record: Loss) -> None:
    for dtype in HALVES:
        x, y = features(N_S, 1).to(dtype).requires_grad_(), (features(N_T, 2) + 0.5).to(dtype)
        exact = record.function(x.float(), y.float())
        with torch.autocast("cpu", dtype=dtype):
            found = [record.function(x, y), record.function(x.float(), y.float())]
        for value in [*found, record.function(x, y)]:
            torch.testing.assert_close(value, exact, rtol=1e-5, atol=1e-6)  # asks for float32 too
        assert torch.autograd.grad(found[0], x)[0].isfinite().all()


LOSS_LAWS: list[Callable[[Loss], None]] = [
    losses_match_the_slow_reference,
    gradient_is_that_of_the_value,
    order_does_not_matter,
    domains_may_be_swapped,
    identical_batches_are_at_distance_zero,
    moving_both_domains_changes_nothing,
    turning_both_domains_changes_nothing,
    scaling_both_domains_scales_by_the_degree,
    wrong_features_meet_a_sentence,
    half_precision_gives_float32,
]


@pytest.mark.parametrize("record", LOSSES, ids=lambda record: record.name)
@pytest.mark.parametrize("law", LOSS_LAWS, ids=lambda law: law.__name__)
def test_loss(law: Callable[[Loss], None], record: Loss) -> None:
    law(record)
