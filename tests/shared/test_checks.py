"""The sentences for wrong arguments, and the float32 guard for statistics."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from landbridge.shared.checks import (
    check_features,
    check_finite,
    check_labels,
    check_logits,
    check_whole,
    full_precision,
    nearest,
)

GOOD = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("source", "target", "error", "sentence"),
    [
        ([[1.0]], GOOD, TypeError, "f needs source as a torch.Tensor; got list. Use torch.as_tensor."),
        (
            GOOD.long(),
            GOOD,
            TypeError,
            "f needs floating-point source features; got torch.int64. Convert",
        ),
        (GOOD, GOOD.bool(), TypeError, "f needs floating-point target features; got torch.bool"),
        (torch.zeros(3), GOOD, ValueError, "f needs source of shape (samples, features); got (3,)."),
        (GOOD, torch.zeros(3, 2, 4, 4), ValueError, "f needs target of shape (samples, features); got (3, 2, 4, 4)"),
        (torch.zeros(0, 2), GOOD, ValueError, "f got an empty source: (0, 2)"),
        (GOOD, torch.zeros(3, 0), ValueError, "f got an empty target: (3, 0)"),
        (torch.zeros(3, 5), GOOD, ValueError, "f compares features of one size; got source (3, 5) and target (3, 2)"),
        (GOOD.double(), GOOD, ValueError, "got source torch.float64 on cpu and target torch.float32 on cpu"),
        (GOOD.to("meta"), GOOD, ValueError, "got source torch.float32 on meta and target torch.float32 on cpu"),
    ],
)
def test_what_cannot_be_compared(source: Tensor, target: Tensor, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        check_features("f", source, target)


def test_least_counts_the_rows_of_each_domain() -> None:
    check_features("f", GOOD, GOOD[:2], least=2)
    with pytest.raises(ValueError, match=r"f needs at least 2 samples of each domain; got 1 in target\."):
        check_features("f", GOOD, GOOD[:1], least=2)
    with pytest.raises(ValueError, match=r"f needs at least 4 samples of each domain; got 3 in source\."):
        check_features("f", GOOD, GOOD[:1], least=4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["source", "target"])
def test_the_first_bad_row_is_named(bad: float, name: str) -> None:
    features = {"source": torch.zeros(5, 2), "target": torch.zeros(5, 2)}
    features[name][2, 1] = features[name][4, 0] = bad
    with pytest.raises(ValueError, match=rf"NaN or inf in {name}: 2 of 5 rows, the first is row 2\."):
        check_features("f", **features)


def test_inf_and_minus_inf_do_not_cancel() -> None:
    with pytest.raises(ValueError, match="the first is row 0"):
        check_finite("f", "x", torch.tensor([[float("inf")], [-float("inf")]]))


def test_finite_numbers_whose_sum_overflows_pass() -> None:
    check_finite("f", "x", torch.full((4, 1), torch.finfo(torch.float32).max))


def test_finiteness_is_not_asked_off_the_cpu_nor_while_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    check_finite("f", "x", torch.empty(2, 2, device="meta"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    check_finite("f", "x", torch.tensor([[float("nan")]]))


def test_logits() -> None:
    logits = torch.zeros(3, 4)
    assert check_logits("F", "target", logits, 3) is logits
    with pytest.raises(ValueError, match=r"F needs target logits; got Target\(features=\(3, \.\.\.\), logits=None\)"):
        check_logits("F", "target", None, 3)
    with pytest.raises(ValueError, match=r"F needs source logits of shape \(2, classes\) .* got \(3, 4\)"):
        check_logits("F", "source", logits, 2)
    for one_logit in (torch.zeros(3), torch.zeros(3, 1)):
        with pytest.raises(ValueError, match=r"A one-logit head z becomes torch\.stack"):
            check_logits("F", "source", one_logit, 3)
    with pytest.raises(ValueError, match="NaN or inf in source logits: 3 of 3 rows, the first is row 0"):
        check_logits("F", "source", logits * float("nan"), 3)


def test_labels() -> None:
    labels = torch.tensor([0, 2, 1])
    assert check_labels("F", labels, 3) is labels
    with pytest.raises(ValueError, match=r"F needs source labels; got labels=None\. Pass Source"):
        check_labels("F", None, 3)
    with pytest.raises(ValueError, match=r"one label for each source sample, shape \(2,\); got \(3,\)"):
        check_labels("F", labels, 2)
    with pytest.raises(ValueError, match=r"got \(3, 1\)"):
        check_labels("F", labels[:, None], 3)
    with pytest.raises(TypeError, match=r"class numbers as labels; got torch\.float32\. Convert with \.long"):
        check_labels("F", labels.float(), 3)


def test_nearest() -> None:
    assert nearest("method", "dan", ["ddc", "dann"]) == "unknown method 'dan'; did you mean 'dann'? Known: dann, ddc"
    assert nearest("suite", "zzz", ["optdigits"]) == "unknown suite 'zzz'; Known: optdigits"
    assert nearest("suite", "zzz", []) == "unknown suite 'zzz'; Known: none"


@full_precision
def _product(x: Tensor, *, y: Tensor) -> Tensor:
    """Its docstring."""
    return x @ y


def test_full_precision_keeps_the_face_of_the_function() -> None:
    assert _product.__name__ == "_product"
    assert _product.__doc__ == "Its docstring."


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_full_precision_leaves_autocast_and_half_precision(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 1 / 256]])
    exact = torch.tensor([[1.0 + 1 / 65536]])  # 16 bits, more than either half holds
    with torch.autocast("cpu", dtype=dtype):
        assert (x @ x.T).dtype == dtype
        inside = _product(x, y=x.T)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, exact)
    converted = _product(x.to(dtype), y=x.T.to(dtype))
    assert converted.dtype == torch.float32
    assert torch.equal(converted, exact)


def test_full_precision_lets_gradients_through() -> None:
    x = torch.ones(1, 2, dtype=torch.bfloat16, requires_grad=True)
    _product(x, y=x.T).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert torch.equal(x.grad, torch.full_like(x, 2))


def test_full_precision_leaves_float64_alone() -> None:
    x = torch.ones(1, 2, dtype=torch.float64)
    assert _product(x, y=x.T).dtype == torch.float64


def test_a_whole_number_is_pythons() -> None:
    assert type(check_whole("f", "count", np.int64(3))) is int
    for wrong in (0, True, 1.0, "1", np.float64(2), None):
        with pytest.raises(ValueError, match=r"f needs count as a whole number >= 1; got "):
            check_whole("f", "count", wrong)
