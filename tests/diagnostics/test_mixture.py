"""The mixture test: label shift alone is no reason to reject, anything else is; the proportions come out right."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy.stats import binom

from landbridge.diagnostics.mixture import _Embedded, mixture_test
from landbridge.shared.seeds import generator

CENTRES = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])


def rows(counts, seed, *, move=0.0, spread=1.0):
    """Rows of three classes around three centres, shuffled."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(3), counts))
    return CENTRES[y] + move + spread * rng.normal(size=(len(y), 2)), y


def test_other_proportions_are_found_and_not_rejected() -> None:
    x, y = rows((100, 100, 100), 0)
    z, of_z = rows((200, 70, 30), 1)
    found = mixture_test(x, y, z)
    true = np.bincount(of_z) / len(of_z)
    np.testing.assert_allclose(found.proportions, true, atol=0.06)
    assert found.proportions.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.source_proportions, 1 / 3)
    assert not found.test.rejects()
    assert found.explained == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("change", [{"move": 0.7}, {"spread": 1.8}])
def test_classes_that_look_different_are_rejected_whatever_the_proportions(change: dict[str, float]) -> None:
    x, y = rows((100, 100, 100), 0)
    for counts in ((100, 100, 100), (200, 70, 30)):
        found = mixture_test(x, y, rows(counts, 1, **change)[0])
        assert found.test.p_value <= 0.01, (change, counts)
        assert found.explained < 0.95


def test_the_level_holds_under_label_shift() -> None:
    """Of 60 tests at the level 0.1 no more than the binomial allows; seeds are fixed."""
    rejected = 0
    for seed in range(60):
        x, y = rows((50, 50, 50), seed)
        rejected += mixture_test(x, y, rows((110, 30, 10), 1000 + seed)[0], draws=100).test.rejects(0.1)
    assert rejected <= binom.ppf(0.999, 60, 0.1)


def test_the_statistic_is_the_distance_from_the_plane_of_slow_means() -> None:
    """Means by loops; the plane's foot by least squares instead of a projector."""
    x, y = rows((12, 9, 15), 2)
    z = rows((20, 10, 5), 3)[0]
    embedded = _Embedded(*(torch.as_tensor(part) for part in (x, y, z)), 3, 5)
    w, centre = embedded.frequencies.numpy(), x.mean(0)

    def phi(row):
        angles = [float((row - centre) @ w[:, j]) for j in range(w.shape[1])]
        return np.array([math.cos(a) for a in angles] + [math.sin(a) for a in angles]) / math.sqrt(w.shape[1])

    means = [np.mean([phi(row) for row, c in zip(x, y, strict=True) if c == label], 0) for label in range(3)]
    target = np.mean([phi(row) for row in z], 0)
    basis = np.stack([means[1] - means[0], means[2] - means[0]], 1)
    foot = np.linalg.lstsq(basis, target - means[0], rcond=None)[0]
    slow = np.sum((target - means[0] - basis @ foot) ** 2)
    q = embedded.nearest_mixture()
    assert embedded.distance_to_plane(q, 19, 5)[0] == pytest.approx(slow, rel=1e-8)
    assert mixture_test(x, y, z, seed=5).test.statistic == pytest.approx(slow, rel=1e-8)


def test_the_null_is_drawn_by_signs_on_centred_rows() -> None:
    """The first draw, by loops over the rows and with the projector written out."""
    x, y = rows((6, 5, 8), 2)
    z = rows((9, 3, 4), 3)[0]
    e = _Embedded(*(torch.as_tensor(part) for part in (x, y, z)), 3, 7)
    fx, fz = (e._features(torch.as_tensor(part)).double().numpy() for part in (x, z))
    q = np.array([0.5, 0.2, 0.3])
    signs = [
        torch.randint(0, 2, (19, n), generator=generator("mixture_test", 7, name, 0), dtype=torch.int8)[0].numpy()
        for name, n in (("source", len(x)), ("target", len(z)))
    ]
    of_source, of_target = (2.0 * drawn - 1 for drawn in signs)
    moved = np.zeros(fx.shape[1])
    for sign, row in zip(of_target, fz, strict=True):
        moved += sign * math.sqrt(len(z) / (len(z) - 1)) * (row - fz.mean(0)) / len(z)
    for sign, row, c in zip(of_source, fx, y, strict=True):
        n = (y == c).sum()
        moved -= sign * math.sqrt(n / (n - 1)) * q[c] / n * (row - fx[y == c].mean(0))
    basis = np.stack([fx[y == c].mean(0) - fx[y == 0].mean(0) for c in (1, 2)], 1)
    moved -= basis @ np.linalg.solve(basis.T @ basis, basis.T @ moved)
    null = e.distance_to_plane(torch.as_tensor(q), 19, 7)[1]
    assert null[0] == pytest.approx((moved**2).sum(), rel=1e-7)


def test_the_proportions_minimise_the_unbiased_distance() -> None:
    x, y = rows((8, 12, 5), 2)
    e = _Embedded(*(torch.as_tensor(part) for part in (x, y, rows((20, 10, 10), 3)[0])), 3, 0)
    least = e.squared_distance(e.nearest_mixture())
    steps = np.linspace(0, 1, 101)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12]
    assert least <= min(e.squared_distance(torch.tensor(q, dtype=torch.float64)) for q in grid) + 1e-7


def test_the_squared_distance_is_unbiased() -> None:
    """Over pairs of distinct rows alone, by loops: no row meets itself."""
    x, y = rows((6, 5, 7), 2)
    z = rows((4, 4, 2), 3)[0]
    e = _Embedded(*(torch.as_tensor(part) for part in (x, y, z)), 3, 0)
    q = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    fx, fz = e._features(torch.as_tensor(x)).double(), e._features(torch.as_tensor(z)).double()
    slow = 0.0
    for i in range(len(z)):
        slow += sum(float(fz[i] @ fz[j]) for j in range(len(z)) if j != i) / (len(z) * (len(z) - 1))
        slow -= 2 * sum(float(q[c] / (y == c).sum() * (fx[j] @ fz[i])) for j, c in enumerate(y)) / len(z)
    for i, a in enumerate(y):
        for j, b in enumerate(y):
            pairs = (y == a).sum() * ((y == b).sum() - (a == b))
            if i != j:
                slow += float(q[a] * q[b] * (fx[i] @ fx[j])) / pairs
    assert e.squared_distance(q) == pytest.approx(slow, rel=1e-9)


def test_blocks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows((30, 30, 30), 0)
    z = rows((40, 20, 20), 1)[0]
    whole = mixture_test(x, y, z)
    monkeypatch.setattr("landbridge.diagnostics.mixture.BLOCK", 16)
    parts = mixture_test(x, y, z)
    assert parts.test.statistic == pytest.approx(whole.test.statistic, rel=1e-9)
    np.testing.assert_allclose(parts.proportions, whole.proportions, atol=1e-8)


def test_same_seed_same_bits_and_global_states_stay(keeps_random_state: None) -> None:
    x, y = rows((30, 30, 30), 0)
    z = rows((40, 20, 20), 1)[0]
    first, second, other = mixture_test(x, y, z), mixture_test(x, y, z), mixture_test(x, y, z, seed=1)
    assert np.array_equal(first.test.null, second.test.null)
    assert not np.array_equal(first.test.null, other.test.null)


def test_scale_and_offset_do_not_matter() -> None:
    x, y = rows((40, 40, 40), 0)
    z = rows((60, 20, 40), 1)[0]
    here, there = mixture_test(x, y, z), mixture_test(1000 * x + 5e4, y, 1000 * z + 5e4)
    assert there.test.statistic == pytest.approx(here.test.statistic, rel=1e-6)


def test_small_and_missing_classes_are_left_out_and_said() -> None:
    x, y = rows((40, 40, 1), 0)
    found = mixture_test(x, y, rows((30, 50, 0), 1)[0], classes=5)
    assert found.proportions.shape == (5,)
    assert found.proportions[2:].tolist() == [0, 0, 0]
    assert "left out 3 classes" in found.test.note
    assert found.test.n_source == 80


def test_rows_that_are_all_the_same_have_no_distance() -> None:
    same = np.ones((10, 3))
    found = mixture_test(same, np.arange(10) % 2, same)
    assert found.test.p_value == 1
    assert math.isnan(found.explained)
    np.testing.assert_allclose(found.proportions, [0.5, 0.5], atol=1e-6)


def test_wrong_inputs_meet_a_sentence() -> None:
    x, y = rows((10, 10, 10), 0)
    with pytest.raises(ValueError, match="two classes of at least 2 rows"):
        mixture_test(x, np.zeros(30, dtype=int), x)
    with pytest.raises(ValueError, match=r"one entry of source_classes a row, shape \(30,\)"):
        mixture_test(x, y[:5], x)
    with pytest.raises(ValueError, match="source_classes as classes; got labels that are no whole numbers"):
        mixture_test(x, y + 0.5, x)
    with pytest.raises(ValueError, match="at least 19 draws"):
        mixture_test(x, y, x, draws=5)
    with pytest.raises(ValueError, match="one size"):
        mixture_test(x, y, x[:, :1])


def test_the_plot_says_which_null_it_shows() -> None:
    x, y = rows((40, 40, 40), 0)
    ax = mixture_test(x, y, rows((40, 40, 40), 1, move=2.0)[0]).plot()
    assert "more than class proportions" in ax.get_title(loc="left")
    assert ax.get_legend().get_texts()[0].get_text() == "drawn (400 times)"


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1e18), (np.float32, 1e22), (np.float32, 1e-30), (np.float64, 1e160)]
)
def test_any_scale_gives_the_same_answer(dtype: type, scale: float) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x, z = rng.normal(size=(90, 2)) + 3 * y[:, None], rng.normal(size=(60, 2))
    plain, scaled = (mixture_test((s * x).astype(dtype), y, (s * z).astype(dtype)) for s in (1, scale))
    assert scaled.test.statistic == pytest.approx(plain.test.statistic, rel=1e-3)
    np.testing.assert_allclose(scaled.proportions, plain.proportions, atol=1e-3)
    assert scaled.test.p_value == pytest.approx(plain.test.p_value, abs=0.01)


def test_more_classes_than_the_features_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["landbridge.diagnostics.mixture"], "FREQUENCIES", 2)
    x = np.random.default_rng(0).normal(size=(50, 2))
    mixture_test(x, np.arange(50) % 4, x)
    with pytest.raises(ValueError, match="takes at most 4 classes; got 5"):
        mixture_test(x, np.arange(50) % 5, x)
    with pytest.raises(ValueError, match=r"a whole number; got draws=50\.5"):
        mixture_test(x, np.arange(50) % 2, x, draws=50.5)  # type: ignore[arg-type]
