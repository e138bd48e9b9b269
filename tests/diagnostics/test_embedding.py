"""The joint embedding: PCA against scikit-learn, neighbours against loops, seeds, and what the pictures say."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA

from landbridge.diagnostics.embedding import Embedding, compare_embeddings, embedding
from landbridge.shared.style import CLASSES, GREY, SOURCE, TARGET


def domains(n: int = 40, m: int = 30, d: int = 6, shift: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    scale = np.linspace(3, 0.5, d)
    return chance.normal(size=(n, d)) * scale, chance.normal(size=(m, d)) * scale + shift


def slow_own_domain(x: np.ndarray, y: np.ndarray) -> float:
    pooled, shares = np.concatenate([x, y]), [0.0, 0.0]
    for i, row in enumerate(pooled):
        nearest = min((j for j in range(len(pooled)) if j != i), key=lambda j: float(((pooled[j] - row) ** 2).sum()))
        own = i >= len(x)
        shares[own] += ((nearest >= len(x)) == own) / (len(y) if own else len(x))
    return (shares[0] + shares[1]) / 2


def test_pca_is_that_of_the_pooled_rows() -> None:
    x, y = domains()
    shown, theirs = embedding(x, y), PCA(2, svd_solver="full").fit(np.concatenate([x, y]))
    places = theirs.transform(np.concatenate([x, y]))
    signs = np.sign((places[:40] * shown.source).sum(0))
    np.testing.assert_allclose(shown.source, places[:40] * signs, atol=1e-9)
    np.testing.assert_allclose(shown.target, places[40:] * signs, atol=1e-9)
    assert shown.explained is not None
    np.testing.assert_allclose(shown.explained, theirs.explained_variance_ratio_, rtol=1e-10)


@pytest.mark.parametrize("shift", [0.0, 1.0, 50.0])
def test_neighbours_of_the_own_domain_by_loops(shift: float) -> None:
    x, y = domains(shift=shift)
    found = embedding(x, y).own_domain
    assert found == pytest.approx(slow_own_domain(x, y))
    if shift == 50:
        assert found == 1


def test_mixed_domains_have_half_their_neighbours_in_their_own() -> None:
    shares = [embedding(*domains(60, 20, 2, shift=0.0, seed=seed)).own_domain for seed in range(200)]
    expected = (80 - 2) / (2 * (80 - 1))
    assert abs(np.mean(shares) - expected) < 4 * np.std(shares) / np.sqrt(200)


def test_each_row_beside_one_of_the_other_domain() -> None:
    assert embedding([[0.0], [10.0]], [[1.0], [11.0]]).own_domain == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_source_row_as_a_classifier_by_loops(seed: int) -> None:
    x, y = domains(seed=seed)
    classes_s, classes_t = np.arange(40) % 3, np.arange(30) % 3
    right = 0
    for j, row in enumerate(y):
        nearest = min(range(40), key=lambda i: float(((x[i] - row) ** 2).sum()))
        right += classes_s[nearest] == classes_t[j]
    assert embedding(x, y, source_classes=classes_s, target_classes=classes_t).own_class == pytest.approx(right / 30)
    assert embedding(x, y, source_classes=classes_s).own_class is None
    assert embedding(x, y, target_classes=classes_t).own_class is None


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = domains()
    whole = embedding(x, y, source_classes=np.arange(40) % 3, target_classes=np.arange(30) % 3)
    monkeypatch.setattr(sys.modules["landbridge.diagnostics.embedding"], "BLOCK", 7)
    parts = embedding(x, y, source_classes=np.arange(40) % 3, target_classes=np.arange(30) % 3)
    assert (whole.own_domain, whole.own_class) == (parts.own_domain, parts.own_class)


def test_of_many_rows_some_are_drawn_and_their_classes_with_them() -> None:
    x, y = domains(100, 90)
    shown = embedding(x, y, source_classes=np.arange(100), target_classes=np.arange(90), most=20, seed=4)
    assert shown.note == "20 of 100 source rows and 20 of 90 target rows, drawn with seed 4"
    assert shown.source_classes is not None
    assert np.array_equal(shown.source_classes, shown.source_rows)
    assert np.array_equal(np.asarray(shown.target_classes), shown.target_rows)
    few = embedding(x[shown.source_rows], y[shown.target_rows])
    assert np.array_equal(few.source, shown.source)
    assert few.note == ""
    other = embedding(x, y, most=20, seed=5)
    assert not np.array_equal(other.source_rows, shown.source_rows)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_same_seed_gives_the_same_picture(method: Any, keeps_random_state: None) -> None:
    x, y = domains(25, 20)
    first, again = embedding(x, y, method=method, seed=3), embedding(x, y, method=method, seed=3)
    assert np.array_equal(first.source, again.source)
    assert np.array_equal(first.target, again.target)
    assert first.source.shape == (25, 2)
    assert first.target.shape == (20, 2)
    assert (first.explained is None) == (method != "pca")


def test_tsne_keeps_far_groups_apart_and_sees_fifty_directions_at_most() -> None:
    x, y = domains(25, 20, d=80, shift=40.0)
    shown = embedding(x, y, method="tsne")
    centre = (shown.source.mean(0) + shown.target.mean(0)) / 2
    away = shown.source.mean(0) - centre
    assert ((shown.source - centre) @ away > 0).all()
    assert ((shown.target - centre) @ away < 0).all()


def test_classes_move_no_point() -> None:
    x, y = domains()
    with_classes = embedding(x, y, source_classes=[0] * 40, target_classes=[1] * 30)
    assert np.array_equal(with_classes.source, embedding(x, y).source)


def test_arrays_tensors_and_images_are_taken_alike() -> None:
    x, y = domains(d=12)
    first = embedding(x, y)
    images = embedding(torch.from_numpy(x).reshape(40, 3, 2, 2), torch.from_numpy(y).reshape(30, 3, 2, 2))
    assert np.array_equal(first.source, images.source)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_single_feature_and_equal_rows_have_a_place(method: Any) -> None:
    line = embedding([[0.0], [1.0], [2.0]], [[5.0], [6.0]], method=method)
    assert line.source.shape == (3, 2)
    if method == "pca":
        np.testing.assert_allclose(line.source[:, 0], [-2.8, -1.8, -0.8])
        assert not line.source[:, 1].any()
        np.testing.assert_allclose(line.explained, [1.0, 0.0])
    point = embedding(np.ones((4, 3)), np.ones((3, 3)), method=method)
    assert np.isfinite(point.source).all()
    assert point.plot().get_title(loc="left")


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_fewest_rows(method: Any) -> None:
    shown = embedding([[0.0, 0.0], [1.0, 0.0]], [[5.0, 2.0], [6.0, 1.0]], method=method)
    assert np.isfinite(np.concatenate([shown.source, shown.target])).all()


def test_umap_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **settings: Any) -> None:
            seen.update(settings)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            seen["shape"] = rows.shape
            return rows[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    x, y = domains(40, 30, d=60)
    shown = embedding(x, y, method="umap", seed=1)
    assert seen["shape"] == (70, 50)
    assert seen["n_jobs"] == 1  # with a seed umap-learn warns otherwise
    assert seen["n_neighbors"] == 15
    first = seen["random_state"]
    embedding(x, y, method="umap", seed=2)
    assert seen["random_state"] != first
    assert shown.source.dtype == np.float64
    assert shown.plot().get_title(loc="left").startswith("UMAP: ")
    embedding(x[:3], y[:2], method="umap")
    assert seen["n_neighbors"] == 4


def test_without_umap_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"pip install 'landbridge\[umap\]', or use method='tsne'"):
        embedding(*domains(), method="umap")


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def colours(ax: Any) -> list[set[str]]:
    """Of each cloud of points that is drawn."""
    return [{to_hex(c).upper() for c in cloud.get_facecolors()} for cloud in ax.collections if len(cloud.get_offsets())]


def test_by_domain() -> None:
    ax = embedding(*domains(shift=50.0)).plot()
    assert legend(ax) == ["source (40)", "target (30)"]
    title = "PCA: for 100% of rows the nearest is of\ntheir own domain (all dimensions; mixed: 50%)"
    assert ax.get_title(loc="left") == title
    assert ax.get_xlabel().startswith("first component, ")
    (cloud,) = [c for c in ax.collections if len(c.get_offsets())]
    shades = [to_hex(c).upper() for c in cloud.get_facecolors()]
    assert shades.count(SOURCE) == 40
    assert shades.count(TARGET) == 30
    points = np.asarray(cloud.get_offsets())
    assert points[np.array(shades) == SOURCE][:, 0].max() < points[np.array(shades) == TARGET][:, 0].min()
    assert shades != sorted(shades)  # mixed, so that neither hides the other


def test_by_class() -> None:
    x, y = domains()
    shown = embedding(x, y, source_classes=np.arange(40) % 2, target_classes=np.arange(30) % 3)
    ax = shown.plot(colour="class", classes=["cat", "dog", "cow"])
    assert legend(ax) == ["cat", "dog", "cow", "source", "target"]
    assert colours(ax)[0] == {CLASSES[0], CLASSES[1]}
    assert shown.own_class is not None
    assert ax.get_title(loc="left").startswith(f"PCA: for {100 * shown.own_class:.0f}% of target rows")
    assert legend(shown.plot(colour="class"))[:3] == ["0", "1", "2"]


def test_a_domain_without_classes_is_grey() -> None:
    x, y = domains()
    ax = embedding(x, y, source_classes=np.arange(40) % 2).plot(colour="class")
    assert colours(ax) == [{CLASSES[0], CLASSES[1]}, {GREY}]
    assert "discs among its crosses" in ax.get_title(loc="left")


def test_of_many_classes_the_most_frequent_have_a_colour() -> None:
    x, y = domains(40, 30)
    classes = np.array([11] * 25 + list(range(15)))  # 11 is by far the most frequent
    ax = embedding(x, y, source_classes=classes).plot(colour="class")
    assert legend(ax) == ["0", "1", "2", "3", "4", "5", "6", "7", "11", "6 others", "source", "target"]
    assert len(colours(ax)[0]) == 10
    ten = embedding(x, y, source_classes=np.arange(40) % 10).plot(colour="class")
    assert len(legend(ten)) == 12


def test_before_and_after_show_the_same_rows() -> None:
    x, y = domains(60, 50)
    pair = compare_embeddings((x, y), (x[:, :3], y[:, :3] - 1), source_classes=np.arange(60) % 2, most=20, seed=2)
    assert np.array_equal(pair.before.source_rows, pair.after.source_rows)
    assert np.array_equal(pair.before.source, embedding(x, y, most=20, seed=2).source)
    drawn = pair.plot(classes=["cat", "dog"]).axes
    assert [ax.get_title(loc="left").split(",")[0] for ax in drawn] == ["Before", "Before", "After", "After"]
    assert [legend(ax)[0] for ax in drawn] == ["source (20)", "cat", "source (20)", "cat"]


def test_without_classes_before_and_after_have_one_picture_each() -> None:
    x, y = domains()
    assert len(compare_embeddings((x, y), (x, y)).plot().axes) == 2


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"method": "tnse"}, ValueError, "embedding: .*tsne"),
        ({"most": 1}, ValueError, "embedding needs most as a whole number >= 2; got 1"),
        ({"source_classes": [0, 1, 2]}, ValueError, r"one entry of source_classes a row, shape \(2,\)"),
        ({"target_classes": [None, "b"]}, ValueError, "embedding got missing labels in target_classes"),
        ({"source": [[1.0]]}, ValueError, "at least 2 rows"),
        ({"target": [[1.0], [2.0]]}, ValueError, "compares features of one size"),
        ({"target": [[1.0, float("inf")], [2.0, 0.0]]}, ValueError, "NaN or inf in target"),
    ],
)
def test_what_does_not_fit(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"source": [[0.0, 1.0], [1.0, 0.0]], "target": [[0.0, 1.0], [1.0, 0.0]]}
    with pytest.raises(error, match=message):
        embedding(**{**given, **changed})


def test_what_cannot_be_plotted() -> None:
    shown: Embedding = embedding(*domains())
    with pytest.raises(ValueError, match="Pass source_classes="):
        shown.plot(colour="class")
    with pytest.raises(ValueError, match="colour"):
        shown.plot(colour="classes")  # type: ignore[arg-type]


def test_what_cannot_be_compared() -> None:
    x, y = domains()
    with pytest.raises(TypeError, match=r"after as a pair \(source features, target features\); got ndarray"):
        compare_embeddings((x, y), x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"rows \(40, 30\) before and \(39, 30\) after"):
        compare_embeddings((x, y), (x[1:], y))


@pytest.mark.parametrize("scale", [1e18, 1e22, 1e-30])
def test_any_scale_gives_the_same_answer(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    plain, scaled = (embedding((s * x).astype(np.float32), (s * y).astype(np.float32)) for s in (1, scale))
    assert scaled.own_domain == plain.own_domain
    assert 0.5 < plain.own_domain < 0.95
    np.testing.assert_allclose(scaled.source / scale, plain.source, atol=1e-4)
