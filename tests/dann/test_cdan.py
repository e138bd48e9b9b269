"""CDAN against its paper: the two maps, the weighted domain loss, the reversed gradient, and what is a constant."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import SIZES, network, same, train

from landbridge.dann.cdan import CDAN, CDANE, RandomMultilinearMap, multilinear_map
from landbridge.dann.dann import DANN
from landbridge.shared.discriminator import DomainDiscriminator
from landbridge.shared.method import Sizes, Source, Target

N_S, N_T, D, K = 5, 3, 4, 3
Rows = list[list[float]]
RANDOM = {"limit": D * K - 1, "projections": 6}


def method(kind: type[CDAN] = CDAN, **settings: Any) -> CDAN:
    torch.manual_seed(0)
    return kind(**{"features": D, "classes": K, "hidden": [6], **settings}).double()


def batch() -> tuple[Source, Target]:
    generator = torch.Generator().manual_seed(1)
    shapes = (N_S, D), (N_S, K), (N_T, D), (N_T, K)
    f_s, z_s, f_t, z_t = (
        (1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes
    )
    return Source(f_s, z_s), Target(f_t, z_t)


# ---- slow transcription, by Python's numbers


def slow_softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def slow_map(cdan: CDAN, features: list[float], g: list[float]) -> list[float]:
    if cdan.random_map is None:
        return [f * p for f in features for p in g]
    r_f, r_g = cdan.random_map.of_features.tolist(), cdan.random_map.of_probabilities.tolist()
    m = len(r_f[0])
    seen = []
    for j in range(m):
        left = sum(r_f[i][j] * features[i] for i in range(len(features)))
        right = sum(r_g[c][j] * g[c] for c in range(len(g)))
        seen.append(left * right / math.sqrt(m))
    return seen


def slow_logit(discriminator: DomainDiscriminator, row: list[float]) -> float:
    first, last = discriminator[0], discriminator[2]
    hidden = []
    for weights, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True):
        hidden.append(max(0.0, bias + sum(w * x for w, x in zip(weights, row, strict=True))))
    return last.bias.item() + sum(w * h for w, h in zip(last.weight[0].tolist(), hidden, strict=True))


def slow_domain(cdan: CDAN, features: Rows, logits: Rows, *, is_source: bool, entropy: bool) -> float:
    total = weight_sum = 0.0
    for f, z in zip(features, logits, strict=True):
        g = slow_softmax(z)
        sigma = 1 / (1 + math.exp(-slow_logit(cdan.discriminator, slow_map(cdan, f, g))))
        weight = 1 + math.exp(sum(p * math.log(p) for p in g)) if entropy else 1.0
        total -= weight * math.log(sigma if is_source else 1 - sigma)
        weight_sum += weight
    return total / weight_sum


def slow_loss(cdan: CDAN, source: Source, target: Target, *, entropy: bool) -> Tensor:
    of_source = slow_domain(cdan, source.features.tolist(), source.logits.tolist(), is_source=True, entropy=entropy)
    of_target = slow_domain(cdan, target.features.tolist(), target.logits.tolist(), is_source=False, entropy=entropy)
    return torch.tensor(of_source + of_target, dtype=torch.float64)


@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("random", [{}, RANDOM])
@pytest.mark.parametrize(
    ("kind", "settings", "entropy"), [(CDAN, {}, False), (CDAN, {"entropy": True}, True), (CDANE, {}, True)]
)
def test_the_value_is_the_papers_and_does_not_ramp(
    kind: type[CDAN], settings: dict[str, Any], entropy: bool, random: dict[str, Any], progress: float
) -> None:
    source, target = batch()
    cdan = method(kind, weight=0.7, **settings, **random)
    assert (cdan.random_map is not None) == bool(random)
    expected = slow_loss(cdan, source, target, entropy=entropy)
    torch.testing.assert_close(cdan(source, target, progress), expected, rtol=1e-10, atol=0)


# ---- gradients


def leaves(source: Source, target: Target) -> dict[str, Tensor]:
    return {
        "f_s": source.features, "z_s": source.logits, "f_t": target.features, "z_t": target.logits
    }  # fmt: skip


def gradients(cdan: CDAN, progress: float = 1.0) -> tuple[dict[str, Tensor], list[Tensor]]:
    source, target = batch()
    to = leaves(source, target)
    own = list(cdan.parameters())
    found = torch.autograd.grad(cdan(source, target, progress), [*to.values(), *own], allow_unused=True)
    return {name: found[i] for i, name in enumerate(to)}, list(found[len(to) :])


def plain_gradients(cdan: CDAN, *, entropy: bool, detach: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Of the same value written without reversal."""
    source, target = batch()
    to = leaves(source, target)
    sums = []
    for f, z, sign in ((source.features, source.logits, -1), (target.features, target.logits, 1)):
        g = (z.detach() if detach else z).softmax(1)
        seen = multilinear_map(f, g)
        losses = torch.log1p(torch.exp(sign * cdan.discriminator(seen)))
        w = 1 + (g * g.log()).sum(1).exp() if entropy else torch.ones_like(losses)
        sums.append((w / w.sum() * losses).sum())
    found = torch.autograd.grad(sums[0] + sums[1], [*to.values(), *cdan.parameters()], allow_unused=True)
    return {name: found[i] for i, name in enumerate(to)}, list(found[len(to) :])


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize(("schedule", "progress"), [("ramp", 0.0), ("ramp", 0.2), ("constant", 0.2)])
def test_features_get_the_reversed_gradient_the_head_none_and_the_discriminator_the_straight_one(
    schedule: str, progress: float, entropy: bool
) -> None:
    cdan = method(weight=0.7, schedule=schedule, entropy=entropy)
    (found, own), (straight, own_straight) = (
        gradients(cdan, progress), plain_gradients(cdan, entropy=entropy, detach=True)
    )  # fmt: skip
    strength = 0.7 * (math.tanh(5 * progress) if schedule == "ramp" else 1.0)
    assert found["z_s"] is None
    assert found["z_t"] is None
    for name in ("f_s", "f_t"):
        assert torch.count_nonzero(straight[name]) > 0
        torch.testing.assert_close(found[name], -strength * straight[name], rtol=1e-9, atol=1e-15)
    for got, expected in zip(own, own_straight, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("entropy", [False, True])
def test_without_detaching_the_head_gets_the_reversed_gradient_too(entropy: bool) -> None:
    cdan = method(weight=0.7, schedule="constant", entropy=entropy, detach=False)
    (found, _), (straight, _) = gradients(cdan), plain_gradients(cdan, entropy=entropy, detach=False)
    for name, expected in straight.items():
        assert torch.count_nonzero(expected) > 0
        torch.testing.assert_close(found[name], -0.7 * expected, rtol=1e-9, atol=1e-15)


def test_entropy_weights_prefer_clear_predictions() -> None:
    """A sample of uniform prediction weighs (1 + 1/k) / 2 of a certain one, whatever the other domain holds."""
    judge = nn.Sequential(nn.Linear(D * K, 1, bias=False), nn.Flatten(0)).double()
    source, target = (v._replace(logits=torch.zeros_like(v.logits)) for v in batch())
    source.logits[0, 0] = 500.0
    of_source, of_target = (
        F.softplus(sign * judge(multilinear_map(v.features, v.logits.softmax(1))))
        for v, sign in ((source, -1), (target, 1))
    )
    weights = torch.tensor([2.0] + [1 + 1 / K] * (N_S - 1), dtype=torch.float64)
    expected = (weights * of_source).sum() / weights.sum() + of_target.mean()
    torch.testing.assert_close(method(CDANE, discriminator=judge)(source, target), expected, rtol=1e-9, atol=0)


def test_a_certain_prediction_shows_the_discriminator_the_features_of_its_class_alone() -> None:
    features = torch.randn(2, D, generator=torch.Generator().manual_seed(0))
    one_hot = torch.eye(K)[[2, 0]]
    seen = multilinear_map(features, one_hot).view(2, D, K)
    assert torch.equal(seen[0, :, 2], features[0])
    assert torch.equal(seen[1, :, 0], features[1])
    assert not seen[0, :, :2].any()


# ---- the random map


def test_inner_products_of_the_random_map_have_those_of_the_outer_product_as_expectation() -> None:
    torch.manual_seed(0)
    random = RandomMultilinearMap(D, K, projections=200_000).double()
    generator = torch.Generator().manual_seed(1)
    f = torch.randn(4, D, generator=generator, dtype=torch.float64)
    g = torch.randn(4, K, generator=generator, dtype=torch.float64).softmax(1)
    exact, found = multilinear_map(f, g), random(f, g)
    scale = exact.square().sum(1).max()
    torch.testing.assert_close(found @ found.T, exact @ exact.T, rtol=0, atol=0.03 * float(scale))


@pytest.mark.parametrize(("classes", "random"), [(16, False), (17, True)])
def test_the_random_map_is_taken_above_4096(classes: int, random: bool) -> None:
    cdan = CDAN(features=256, classes=classes, hidden=[2])
    assert (cdan.random_map is not None) == random
    assert cdan.discriminator[0].in_features == (1024 if random else 256 * classes)


def test_the_random_matrices_are_saved_and_moved_and_never_trained() -> None:
    cdan, other = method(**RANDOM), method(**RANDOM)
    other.load_state_dict({name: value + 1 for name, value in cdan.state_dict().items()})
    assert torch.equal(other.random_map.of_features, cdan.random_map.of_features + 1)
    assert {name for name, _ in cdan.named_buffers()} == {"random_map.of_features", "random_map.of_probabilities"}
    assert not any("random_map" in name for name, _ in cdan.named_parameters())
    assert {b.device.type for b in copy.deepcopy(cdan).to("meta").buffers()} == {"meta"}
    trained = CDAN(features=SIZES.features, classes=SIZES.classes, hidden=[7], limit=1, projections=8)
    before = copy.deepcopy(trained)
    train(trained)
    assert all(torch.equal(a, b) for a, b in zip(trained.buffers(), before.buffers(), strict=True))
    assert not same(trained, before)


@pytest.mark.parametrize("limit", [1, 4096])
def test_a_run_is_resumed_bit_for_bit(tmp_path: Any, limit: int) -> None:
    def make(seed: int) -> CDAN:
        torch.manual_seed(seed)
        return CDANE(features=SIZES.features, classes=SIZES.classes, hidden=[7], limit=limit, projections=8)

    class Interrupted(Exception):
        pass

    def interrupt(step: int, model: Any) -> None:
        raise Interrupted

    path = tmp_path / "run"
    with torch.random.fork_rng():
        whole = train(make(0), network(), steps=6)
        with pytest.raises(Interrupted):
            train(make(0), network(), steps=6, checkpoint=path, evaluate_at=[3], on_evaluate=interrupt)
        resumed = train(make(5), network(seed=5), steps=6, checkpoint=path)  # its own draws give way to the saved ones
    assert same(resumed.network, whole.network)


# ---- the method


def test_the_discriminator_learns_and_the_features_hide() -> None:
    source, target = batch()
    cdan = method(CDANE, schedule="constant")
    before = cdan(source, target)
    before.backward()
    with torch.no_grad():
        moved = [v._replace(features=v.features - 0.01 * v.features.grad) for v in (source, target)]
        assert cdan(*moved) > before
        for parameter in cdan.parameters():
            parameter -= 0.01 * parameter.grad
        assert cdan(source, target) < before


@pytest.mark.parametrize("kind", [CDAN, CDANE])
def test_not_knowing_is_two_log_two(kind: type[CDAN]) -> None:
    blind = nn.Sequential(nn.Linear(D * K, 1, bias=False), nn.Flatten(0)).double()
    nn.init.zeros_(blind[0].weight)
    assert method(kind, discriminator=blind)(*batch()).item() == pytest.approx(2 * math.log(2), rel=1e-12)


def test_with_uniform_predictions_it_is_dann() -> None:
    """k equal probabilities: each feature is seen k times, divided by k."""
    source, target = batch()
    source, target = (v._replace(logits=torch.zeros_like(v.logits)) for v in (source, target))
    judge = nn.Sequential(nn.Linear(D, 1), nn.Flatten(0)).double()
    wide = nn.Sequential(nn.Linear(D * K, 1), nn.Flatten(0)).double()
    with torch.no_grad():
        wide[0].weight.copy_(judge[0].weight.repeat_interleave(K, 1))
        wide[0].bias.copy_(judge[0].bias)
    torch.testing.assert_close(
        method(CDANE, discriminator=wide)(source, target), DANN(discriminator=judge)(source, target)
    )


def test_the_defaults_are_the_papers() -> None:
    cdan = CDAN(features=D, classes=K)
    assert [m.out_features for m in cdan.discriminator if isinstance(m, nn.Linear)] == [1024, 1024, 1]
    assert (cdan.schedule, cdan.weight, cdan.entropy, cdan.detach) == ("ramp", 1.0, False, True)
    assert CDANE(features=D, classes=K, hidden=[2]).entropy


def test_it_is_made_from_sizes() -> None:
    made = CDANE.create(Sizes(256, 31), hidden=(6, 5), dropout=0.3, projections=9)
    assert [(m.in_features, m.out_features) for m in made.discriminator if isinstance(m, nn.Linear)] == [
        (9, 6), (6, 5), (5, 1)
    ]  # fmt: skip
    assert [m.p for m in made.discriminator if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    with pytest.raises(ValueError, match="did you mean 'projections'"):
        CDAN.create(Sizes(4, 3), projection=9)


@pytest.mark.parametrize("random", [{}, RANDOM])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_a_float32_loss_and_finite_gradients(dtype: torch.dtype, random: dict[str, Any]) -> None:
    cdan = method(CDANE, **random).float()
    source, target = (v._replace(features=v.features.detach().to(dtype), logits=60 * v.logits.detach().to(dtype))
                      for v in batch())  # fmt: skip
    features = source.features.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        loss = cdan(source, target)
    assert loss.dtype == torch.float32
    (gradient,) = torch.autograd.grad(loss, features)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("random", [{}, RANDOM])
def test_one_graph_for_the_compiler(random: dict[str, Any]) -> None:
    source, target = batch()
    cdan = method(CDANE, **random)
    compiled = torch.compile(cdan, backend="eager", fullgraph=True)
    end = torch.tensor(1.0, dtype=torch.float64)
    torch.testing.assert_close(compiled(source, target, end), cdan(source, target, end))


def test_it_trains_with_fit() -> None:
    start = network()
    cdan = CDANE(features=SIZES.features, classes=SIZES.classes, hidden=[7])
    before = copy.deepcopy(cdan)
    result = train(cdan, start, batch_statistics="per_domain")
    assert "domain" in result.history.names
    assert not any(torch.equal(a, b) for a, b in zip(cdan.parameters(), before.parameters(), strict=True))


# ---- errors


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"features": 0}, r"CDANE needs positive sizes; got features=0, classes=3, limit=4096, projections=1024"),
        ({"classes": 0}, r"CDANE needs positive sizes; got features=4, classes=0"),
        ({"projections": 0}, "CDANE needs positive sizes"),
        ({"limit": 0}, "CDANE needs positive sizes"),
        ({"weight": -1.0}, "CDANE needs a finite weight >= 0"),
        ({"hidden": [0]}, "DomainDiscriminator needs positive sizes"),
    ],
)
def test_wrong_settings_meet_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CDANE(**{"features": D, "classes": K, **wrong})


def test_another_network_meets_a_sentence() -> None:
    source, target = batch()
    with pytest.raises(ValueError, match=r"CDAN was made for features=4 and classes=5; got target features \(3, 4\)"):
        method(classes=5)(source, target)
    with pytest.raises(ValueError, match=r"Make it anew with CDAN\(features=4, classes=3\)"):
        method(features=7)(source, target)
    with pytest.raises(ValueError, match="CDAN needs target logits"):
        method()(source, target._replace(logits=None))


def test_the_maps_say_what_is_wrong() -> None:
    f = torch.zeros(2, D)
    with pytest.raises(ValueError, match=r"multilinear_map needs the class prob.* \(2, classes\); got \(3, 2\)"):
        multilinear_map(f, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="multilinear_map got NaN or inf in probabilities"):
        multilinear_map(f, torch.full((2, K), math.nan))
    with pytest.raises(TypeError, match="multilinear_map needs floating-point"):
        multilinear_map(f.long(), torch.zeros(2, K))
    with pytest.raises(ValueError, match="RandomMultilinearMap needs positive sizes; got features=0"):
        RandomMultilinearMap(0, 3)


@pytest.mark.parametrize("entropy", [False, True])
def test_the_discriminators_accuracy_is_watched_every_row_alike(entropy: bool) -> None:
    torch.manual_seed(0)
    cdan = CDAN(features=3, classes=2, entropy=entropy, hidden=[4])
    source, target = Source(torch.randn(25, 3), torch.randn(25, 2)), Target(torch.randn(20, 3), torch.randn(20, 2))
    with torch.no_grad():
        cdan.discriminator[-1].bias.fill_(0.02)  # so that it finds some of either domain
    found = cdan.losses(source, target, torch.tensor(1.0))
    judged = [
        cdan.discriminator(multilinear_map(side.features, side.logits.softmax(1))) > 0 for side in (source, target)
    ]
    assert found["accuracy"] != 0.5  # which it would be too with the domains exchanged
    assert found["accuracy"].item() == pytest.approx((judged[0].sum() / 25 + (~judged[1]).sum() / 20).item() / 2)
    assert not found["accuracy"].requires_grad
    assert torch.equal(cdan(source, target), found["domain"])
    assert cdan.watches == {"accuracy"}
