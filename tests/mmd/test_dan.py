import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from landbridge.mmd import DAN, DDC, MultiGaussianKernel, mean_distance, mmd2
from landbridge.shared.method import Sizes, Source, Target

END = torch.tensor(1.0, dtype=torch.float64)


def batch(n_s: int = 6, n_t: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Source, Target]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return Source(draw(n_s, 5), draw(n_s, 3)), Target(draw(n_t, 5) + 1, draw(n_t, 3) - 1)


def test_ddc_is_the_squared_distance_of_means_times_its_weight() -> None:
    source, target = batch()
    expected = mean_distance(source.features, target.features)
    assert_close(DDC(weight=1.0)(source, target), expected)
    assert_close(DDC()(source, target), 0.25 * expected)  # lambda of the paper
    assert_close(DDC(weight=3.0).losses(source, target, END), {"features": 3 * expected})


def test_dan_sums_features_and_class_probabilities() -> None:
    source, target = batch()
    losses = DAN(weight=2.0).losses(source, target, END)
    kernel = MultiGaussianKernel("median", kernels=5, factor=2.0)
    probabilities = torch.exp(source.logits) / torch.exp(source.logits).sum(1, keepdim=True)
    target_probabilities = torch.exp(target.logits) / torch.exp(target.logits).sum(1, keepdim=True)
    expected = {
        "features": 2 * mmd2(source.features, target.features, kernel, "biased"),
        "probabilities": 2 * mmd2(probabilities, target_probabilities, kernel, "biased"),
    }
    assert_close(losses, expected)
    assert_close(DAN(weight=2.0)(source, target), expected["features"] + expected["probabilities"])


@pytest.mark.parametrize(
    "setting",
    [
        {"weight": 0.5},
        {"schedule": "ramp"},
        {"kernels": 3},
        {"factor": 3.0},
        {"bandwidth": "mean"},
        {"bandwidth": 2.0},
        {"estimator": "unbiased"},
        {"estimator": "linear"},
    ],
)
def test_every_setting_of_dan_changes_both_terms(setting: dict[str, object]) -> None:
    source, target = batch()
    progress = torch.tensor(0.3, dtype=torch.float64)
    plain, changed = DAN().losses(source, target, progress), DAN(**setting).losses(source, target, progress)
    assert all(not torch.allclose(plain[name], changed[name]) for name in ("features", "probabilities"))


@pytest.mark.parametrize("setting", [{"weight": 0.5}, {"schedule": "ramp"}])
def test_every_setting_of_ddc_changes_its_term(setting: dict[str, object]) -> None:
    source, target = batch()
    progress = torch.tensor(0.3, dtype=torch.float64)
    plain, changed = DDC().losses(source, target, progress), DDC(**setting).losses(source, target, progress)
    assert not torch.allclose(plain["features"], changed["features"])


def test_samples_that_a_batch_needs_follow_the_estimator() -> None:
    source, target = batch(n_s=1, n_t=1)
    assert DAN()(source, target).isfinite()
    for estimator in ("unbiased", "linear"):
        with pytest.raises(ValueError, match="DAN needs at least 2 samples of each domain; got 1 in source"):
            DAN(estimator=estimator)(source, target)
    assert DAN.least == 1  # the class is as it was


def test_both_logits_are_asked_for() -> None:
    source, target = batch()
    with pytest.raises(ValueError, match="DAN needs target logits"):
        DAN()(source, target._replace(logits=None))
    with pytest.raises(ValueError, match="DAN needs source logits"):
        DAN()(source._replace(logits=None), target)
    assert DDC()(source._replace(logits=None), target._replace(logits=None)) > 0


def test_gradients_reach_features_and_logits_of_both_domains() -> None:
    source, target = batch()
    leaves = [t.requires_grad_() for t in (source.features, source.logits, target.features, target.logits)]
    gradients = torch.autograd.grad(DAN()(source, target), leaves)
    assert all(g.abs().sum() > 0 for g in gradients)


def test_half_precision_is_computed_in_float32() -> None:
    source, target = batch(dtype=torch.bfloat16)
    for method in (DAN(), DDC()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = method(source, target)
        assert inside.dtype == torch.float32
        wide = method(*(type(b)(b.features.float(), b.logits.float()) for b in (source, target)))
        assert_close(inside, wide, rtol=1e-6, atol=0)


def test_one_graph_for_the_compiler() -> None:
    source, target = batch()
    method = DAN(schedule="ramp")
    compiled = torch.compile(method, backend="eager", fullgraph=True)
    assert_close(compiled(source, target, END), method(source, target, END))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: DAN(estimator="quadratic"), ValueError, "DAN: unknown estimator 'quadratic'"),
        (lambda: DAN(bandwidth=-1.0), ValueError, "positive finite bandwidth"),
        (lambda: DAN(kernels=0), ValueError, "at least 1 kernel"),
        (lambda: DAN(weight=-1.0), ValueError, "DAN needs a finite weight"),
        (lambda: DDC(weight="1"), TypeError, "DDC needs weight as a number"),
        (lambda: DAN.create(Sizes(5, 3), kernel=5), ValueError, "did you mean 'kernels'"),
    ],
)
def test_wrong_settings_meet_a_sentence(make, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        make()
