"""One call: the same from whatever holds the data, honest about target labels, and with a warning of harm."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_adaptation import NARROWER, NONE, domain
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import SIZES, data, network, same

import landbridge as lb
from landbridge.harm import Scores, negative_transfer

DATA = data(60, 45)
WORDS = np.array(["cat", "dog", "eel"])[DATA.labels]
QUICK = {"steps": 6, "device": "cpu", "batch_size": 16, "progress_bar": False}


def adapt(model=None, Xs=DATA.inputs, ys=DATA.labels, Xt=DATA.target, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lb.NegativeTransferWarning)  # six steps are no training
        warnings.simplefilter("ignore", lb.LabelShiftWarning)
        return lb.adapt(model, Xs, ys, Xt, **{**QUICK, **options})


REFERENCE = adapt()


@pytest.mark.parametrize(
    ("Xs", "ys", "Xt"),
    [
        (DATA.inputs.numpy(), DATA.labels.tolist(), DATA.target.numpy()),
        (DATA.inputs.double().numpy(), DATA.labels.numpy().astype(float), DATA.target.double()),
        (TensorDataset(DATA.inputs, DATA.labels), None, TensorDataset(DATA.target)),
        (DataLoader(TensorDataset(*DATA.source), batch_size=7), None, DataLoader(DATA.target, batch_size=13)),
        (DATA.source, None, lb.without_labels(TensorDataset(DATA.target, torch.zeros(45)))),
        (DATA.inputs.tolist(), WORDS, DATA.target.tolist()),
        (DATA.inputs.numpy().astype(">f8"), DATA.labels.numpy().astype(">i4"), DATA.target.numpy().astype(">f4")),
    ],
)
def test_the_same_weights_from_whatever_holds_the_data(Xs, ys, Xt):
    assert same(adapt(None, Xs, ys, Xt).network, REFERENCE.network)


def test_the_same_again_and_another_with_another_seed(keeps_random_state):
    assert same(adapt().network, REFERENCE.network)
    assert not same(adapt(seed=1).network, REFERENCE.network)


def test_labels_come_back_as_they_were():
    adapted = adapt(ys=WORDS)
    assert adapted.classes.tolist() == ["cat", "dog", "eel"]
    assert adapted.predict(DATA.target).tolist() == adapted.classes[REFERENCE.predict(DATA.target)].tolist()
    p = adapted.predict_proba(DATA.target.numpy())
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p.argmax(1) == REFERENCE.predict(DATA.target)).all()
    assert adapt(ys=DATA.labels * 10 - 7).classes.tolist() == [-7, 3, 13]


def test_the_model_and_the_method_given_stay_as_they_are():
    model, method = network(), lb.DANN(features=SIZES.features, hidden=(7,))
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (model, method)]
    adapted = adapt(model, method=method)
    for module, state in zip((model, method), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not same(adapted.network, model)
    assert not same(adapted.result.method, method)


def test_source_only_is_trained_from_the_same_start_on_the_same_batches():
    adapted = adapt(network())
    alone = adapt(network(), method="source-only")
    assert same(adapted.baseline.network, alone.network)
    assert replace(adapted.before, expected=None) == alone.after == alone.before
    assert alone.baseline is alone.result
    without = adapt(network(), baseline=False)
    assert without.baseline is None
    assert without.before is None
    assert same(without.network, adapted.network)


def test_a_wrapped_module():
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    adapted = adapt(module, method="deepcoral")
    assert adapted.predict_proba(DATA.target).shape == (45, 3)
    assert same(adapted.network, adapt(module, head="2", method="deepcoral").network)


@pytest.mark.parametrize("method", lb.METHODS)
def test_every_method_with_the_network_of_its_own(method):
    assert adapt(method=method).predict(DATA.target).shape == (45,)


def test_images():
    images = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    adapted = adapt(None, images, torch.arange(40) % 2, images.numpy(), method="adabn")
    assert adapted.predict(images).shape == (40,)


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(45, dtype=torch.long), torch.arange(45) % 3, torch.arange(45) % 4, (torch.arange(45) % 4).float()],
)
def test_target_labels_score_and_train_nothing(labels):
    adapted = adapt(evaluate=labels)
    assert same(adapted.network, REFERENCE.network)
    assert same(adapted.baseline.network, REFERENCE.baseline.network)
    assert adapted.after.target == pytest.approx((adapted.predict(DATA.target) == labels.numpy()).mean())
    assert REFERENCE.after.target is None


def test_other_target_rows_are_scored():
    truth = REFERENCE.predict(DATA.target)
    for evaluate in (
        (DATA.target[:20], truth[:20]),
        TensorDataset(DATA.target[:20], torch.as_tensor(truth[:20])),
        DataLoader(TensorDataset(DATA.target, torch.as_tensor(truth)), batch_size=8, shuffle=True),
        truth,
    ):
        adapted = adapt(evaluate=evaluate)
        assert adapted.after.target == 1.0
        assert same(adapted.network, REFERENCE.network)


def test_labels_for_a_shuffling_loader_are_refused():
    shuffled = DataLoader(DATA.target, batch_size=8, shuffle=True)
    with pytest.raises(ValueError, match=r"a loader that shuffles Xt.*shuffle=False"):
        adapt(Xt=shuffled, evaluate=np.zeros(45))


def test_the_scores_are_those_of_the_held_out_rows_and_the_target():
    adapted = adapt(holdout=0.3)
    counts = DATA.labels.bincount()
    assert adapted.after.held_out == sum(int(0.3 * int(n)) for n in counts)
    p = adapted.predict_proba(DATA.target)
    entropy = float((p * np.log(p)).sum(1).mean())
    mean = p.mean(0)
    assert adapted.after.entropy == pytest.approx(entropy, rel=1e-5)
    assert adapted.after.information_maximisation == pytest.approx(
        float(-(mean * np.log(mean)).sum()) + entropy, rel=1e-5
    )
    assert 0 <= adapted.after.source <= 1
    none = adapt(holdout=0)
    assert none.after.source is None
    assert none.after.held_out == 0
    assert not same(none.network, adapted.network)  # of more rows


@pytest.mark.parametrize("options", [{"batch_statistics": "per_domain"}, {"method": "adabn"}])
def test_held_out_rows_are_scored_by_the_statistics_of_the_source(options):
    """The target lies far away: by its statistics all source rows would be of one class."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 2
    x = torch.randn(120, 6, generator=rng) + 4 * labels[:, None]

    def make(shape, outputs):
        return nn.Sequential(nn.Linear(*shape, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, outputs))

    given = {**QUICK, "method": "deepcoral", "steps": 60, "optimizer": lb.Optimizer(name="adam", lr=0.01), **options}
    adapted = lb.adapt(make, x, labels, x + 40, **given)  # a warning would be an error here
    assert adapted.negative_transfer == []
    assert adapted.after.source == adapted.before.source == 1.0
    by_target = (adapted.result.predict(x) == labels).float().mean()
    assert by_target < 0.6


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (None, {"ys": DATA.inputs[:, 0], "task": "regression", "method": "mcc"}, "MCC needs class logits"),
        (nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)), {"method": "adabn"}, "AdaBN works on BatchNorm layers"),
        (None, {"method": lb.CDAN(features=9, classes=3)}, "9"),
    ],
)
def test_what_refuses_does_so_before_source_only_is_trained(model, options, sentence, monkeypatch):
    trained = []

    def fit(network, method, *args, **kwargs):
        trained.append(type(method).__name__)
        return lb.fit(network, method, *args, **kwargs)

    monkeypatch.setattr("landbridge.adapted.fit", fit)
    monkeypatch.setattr("landbridge.proportions.fit", fit)
    with pytest.raises((ValueError, RuntimeError), match=sentence):
        adapt(model, **options)
    assert "SourceOnly" not in trained


def test_a_class_and_a_function_as_the_method():
    assert same(adapt(method=lb.DANN).network, REFERENCE.network)
    by_name, by_function = adapt(method="adabn"), adapt(method=lambda sizes: lb.AdaBN())
    assert same(by_name.network, by_function.network)


def test_numbers_of_numpy_are_numbers():
    given = {"seed": np.int64(0), "steps": np.int32(6), "batch_size": np.int64(16), "holdout": np.float32(0.1)}
    assert same(adapt(**given).network, REFERENCE.network)
    assert adapt(method="mcc", weight=np.float32(0.5)).result.method.weight == 0.5


@pytest.mark.parametrize("options", [{}, {"batch_statistics": "per_domain", "method": "adabn"}, {"task": "regression"}])
def test_a_saved_result_of_the_network_made_here_loads_alone(options, tmp_path):
    images = torch.randint(0, 256, (30, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for Xs, Xt in ((DATA.inputs, DATA.target), (images, images)):
        adapted = adapt(None, Xs, torch.arange(len(Xs)) % 3, Xt, **options)
        adapted.result.save(tmp_path / "made.safetensors")
        loaded = lb.load(tmp_path / "made.safetensors")
        for source in (True, False):
            assert torch.equal(loaded.forward(Xt, source=source)[1], adapted.result.forward(Xt, source=source)[1])


def test_digits_far_from_zero_are_kept(tmp_path):
    """A date in seconds: in float32 it varies by nothing but rounding."""
    base = {"steps": 150, "batch_size": 32, "method": "deepcoral"}
    near, labels = DATA.inputs.double().numpy(), DATA.labels
    adapted = adapt(None, near + 1e9, labels, DATA.target.double().numpy() + 1e9, **base)
    assert (adapted.predict(near + 1e9) == labels.numpy()).mean() > 0.9
    agree = adapted.predict(near + 1e9) == adapt(None, near, labels, DATA.target, **base).predict(near)
    assert agree.mean() > 0.95
    adapted.result.save(tmp_path / "made.safetensors")
    loaded = lb.load(tmp_path / "made.safetensors")
    assert torch.equal(loaded.forward(near + 1e9)[1], adapted.result.forward(near + 1e9)[1])
    values = 3 * near[:, 0]
    fitted = adapt(None, near + 1e9, values, near + 1e9, **{**base, "task": "regression", "steps": 300})
    assert np.corrcoef(fitted.predict(near + 1e9), values)[0, 1] > 0.9


def test_held_out_rows_are_not_trained_on():
    """Rows that are held out may hold anything: the default network's mean would tell if one of them was seen."""
    moved = DATA.inputs.clone()
    network = REFERENCE.network
    mean = network.extractor[0].mean
    kept = [i for i in range(60) if i not in _held()]
    torch.testing.assert_close(mean, moved[kept].double().mean(0).float())
    moved[_held()] += 5
    assert same(adapt(Xs=moved).network, network)


def _held():
    from landbridge.proportions import held_out_rows

    rows = np.flatnonzero(held_out_rows(DATA.labels.numpy(), 0.1, True, 0))
    assert len(rows) == 6 - 1  # of 3 classes, each rounded down
    return rows.tolist()


def test_regression_in_the_units_of_the_values():
    values = 100 * DATA.inputs[:, 0] + 500
    adapted = adapt(ys=values, task="regression", steps=300, method="deepcoral", evaluate=values[:45])
    assert adapted.classes is None
    assert adapted.after.source > 0.5
    assert abs(adapted.predict(DATA.inputs).mean() - 500) < 30
    np.testing.assert_allclose(adapted.predict(DATA.target), adapted.result.predict(DATA.target), rtol=1e-6)
    assert adapted.after.entropy is None
    assert "R squared" in str(adapted)
    with pytest.raises(ValueError, match="predict_proba is for classes"):
        adapted.predict_proba(DATA.target)
    two = adapt(ys=torch.stack([values, -values], 1), task="regression")
    assert two.predict(DATA.target).shape == (45, 2)
    with pytest.raises(ValueError, match="MCC needs class logits, and task='regression' has none"):
        adapt(ys=values, task="regression", method="mcc")


def test_binary():
    adapted = adapt(ys=np.where(DATA.labels == 0, "no", "yes"), task="binary", method="cdan")
    assert adapted.network.head.out_features == 1
    assert set(adapted.predict(DATA.target)) <= {"no", "yes"}
    assert adapted.predict_proba(DATA.target).shape == (45, 2)
    with pytest.raises(ValueError, match="labels of 2 classes; got 3"):
        adapt(task="binary")


def test_class_numbers_of_a_head_with_more_classes_stay_class_numbers():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    labels = torch.tensor([0, 1, 4])[DATA.labels]
    adapted = adapt(model, ys=labels)
    assert adapted.classes.tolist() == [0, 1, 2, 3, 4]
    assert adapted.predict_proba(DATA.target).shape == (45, 5)
    with pytest.raises(ValueError, match="a head of 3 outputs for these labels; the model gives 5"):
        adapt(model, ys=WORDS)


def test_the_summary():
    said = str(adapt(evaluate=DATA.labels[:45]))
    for words in ("DANN: 55 source and 45 target rows, 3 classes, 6 steps of 16 + 16", "source-only      adapted",
                  "source, held out: accuracy", "target, evaluated: accuracy"):  # fmt: skip
        assert words in said
    assert "evaluated" not in str(REFERENCE)
    assert "source-only" not in str(adapt(baseline=False))


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"Xt": (DATA.target, DATA.labels)}, TypeError, "adapt never reads target labels"),
        ({"Xt": DATA.target[:, :4]}, ValueError, r"one shape; got Xs \(60, 6\) and Xt \(45, 4\)"),
        ({"Xs": {"x": DATA.inputs}}, TypeError, "in a dictionary"),
        ({"ys": None}, ValueError, "needs labels for Xs"),
        ({"ys": DATA.labels[:5]}, ValueError, "one label for each of the 60 rows of Xs"),
        ({"ys": torch.zeros(60)}, ValueError, r"at least 2 classes; got 1: \[0.0\]"),
        ({"ys": DATA.inputs[:, 0]}, ValueError, "no whole numbers.*task='regression'"),
        ({"ys": DATA.inputs[:, :3]}, ValueError, r"labels of shape \(60, 3\).*argmax"),
        ({"ys": np.array([0, "a"] * 30, dtype=object)}, TypeError, "ys of one kind; got numbers"),
        ({"ys": WORDS, "task": "regression"}, TypeError, "numbers in ys for task='regression'"),
        ({"batch_size": 400}, ValueError, "batch size <= samples in the (source|target); got batch size 400"),
        ({"Xt": DATA.target[:1], "batch_size": None, "method": "deepcoral"}, ValueError, "at least 2 samples of each"),
        ({"task": "ranking"}, ValueError, "adapt: unknown task 'ranking'"),
        ({"holdout": 1.0}, ValueError, r"holdout as a share in \[0, 1\); got 1.0"),
        ({"evaluate": np.zeros(3)}, ValueError, "one label for each of the 45 rows of evaluate"),
        ({"evaluate": (DATA.target[:, :2], DATA.labels[:45])}, ValueError, "rows in evaluate= like those of Xt"),
        ({"evaluate": np.full(45, 9)}, ValueError,
         r"no class of the source in evaluate=: \[9\], where the source has \[0, 1, 2\]"),
        ({"evaluate": np.full(45, "dog")}, TypeError, r"evaluate as numbers, .* got strings, such as \['dog'\]"),
        ({"evaluate": [None] * 45}, ValueError, "missing labels in evaluate: 45 of 45"),
        ({"ys": WORDS, "evaluate": np.zeros(45, dtype=int)}, TypeError, "evaluate as strings, such as .*; got numbers"),
        ({"evaluate": np.eye(3)[np.arange(45) % 3]}, ValueError, r"one class a row in evaluate=.*\(45, 3\).*argmax"),
        ({"ys": DATA.inputs[:, 0], "task": "regression", "method": "ddc", "evaluate": np.full(45, "x")}, TypeError,
         "numbers in evaluate for task='regression'"),
        ({"ys": DATA.inputs[:, 0], "task": "regression", "method": "ddc", "evaluate": np.zeros((45, 2))}, ValueError,
         r"as many values a row in evaluate= as in ys, which has 1; got \(45, 2\)"),
        ({"batch_size": 0}, ValueError, "adapt needs batch_size as a whole number >= 1; got 0"),
        ({"steps": "a"}, TypeError, "adapt needs steps as a whole number >= 1; got 'a'"),
        ({"seed": 0.5}, TypeError, "adapt needs seed as a whole number; got 0.5"),
        ({"learning_rate": 1}, TypeError, "adapt: unknown argument 'learning_rate'"),
        ({"Xs": torch.full((60, 6), float("nan"))}, ValueError, "NaN or inf in Xs: 60 of 60 rows"),
        ({"Xs": torch.zeros(60, 2, 3, 4, 5), "Xt": torch.zeros(45, 2, 3, 4, 5)}, ValueError, "or pass a network"),
    ],
)  # fmt: skip
def test_errors_are_sentences(options, error, sentence):
    with pytest.raises(error, match=sentence):
        adapt(**options)


def test_a_single_target_row_constant_features_and_more_features_than_rows():
    assert adapt(Xt=DATA.target[:1], batch_size=None).predict(DATA.target).shape == (45,)
    assert np.isfinite(adapt(Xs=torch.ones(60, 4), Xt=torch.ones(45, 4)).predict_proba(torch.ones(2, 4))).all()
    wide = torch.randn(12, 90, generator=torch.Generator().manual_seed(0))
    assert adapt(None, wide, torch.arange(12) % 2, wide, batch_size=None).predict(wide).shape == (12,)


def scores(source=0.9, expected=(0.9, 0.9), collapsed=None, held_out=1000):
    return Scores(source, held_out, 1.0, -0.1, collapsed, None, expected)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (scores(), scores(), []),
        (scores(), scores(expected=(0.886, 0.5)), []),
        (scores(), scores(expected=(0.884, 0.9)), ["fewer target predictions to be right: 88.4 % after adapting"]),
        (scores(), scores(expected=(0.884, 0.94)), ["fewer target predictions"]),
        (scores(), scores(expected=(0.5, 0.96)), []),  # the features moved, and source-only erred as the others do
        (scores(), scores(expected=(0.95, 0.2)), []),
        (scores(expected=(0.49, 0.49)), scores(expected=(0.1, 0.1)), []),  # no judges
        (scores(expected=None), scores(expected=(0.1, 0.1)), []),
        (scores(), scores(source=0.885), []),
        (scores(), scores(source=0.86), ["cost accuracy on held-out source rows: 0.860 after, 0.900"]),
        (scores(held_out=20), scores(source=0.8, held_out=20), []),  # two of twenty rows: no evidence
        (scores(held_out=20), scores(source=0.5, held_out=20), ["cost accuracy"]),
        (scores(), scores(collapsed="collapsed: all"), ["have collapsed: all"]),
        (scores(collapsed="collapsed: all"), scores(collapsed="collapsed: 9 of 10"), []),  # it was so before
        (None, scores(collapsed="collapsed: all", source=0.0), ["have collapsed: all"]),
        (None, scores(source=0.0), []),
        (scores(source=None), scores(source=None, expected=(0.1, 0.1)), ["fewer target predictions"]),
    ],
)
def test_the_rule_of_negative_transfer(before, after, said):
    found = negative_transfer(before, after, 3)
    assert len(found) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found, strict=True))


def test_the_rule_in_regression():
    lost = [Scores(r, 20, None, None, None, None) for r in (0.9, 0.87)]
    assert "cost R squared" in negative_transfer(*lost, 0)[0]
    assert negative_transfer(lost[0], Scores(0.89, 20, None, None, None, None), 0) == []


class Destructive(lb.Method):
    """Pushes all features to zero, so that every row is of one class."""

    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def terms(self, source, target, progress):
        return {"size": source.features.square().mean() + target.features.square().mean()}


def test_a_method_that_does_harm_is_warned_of_and_one_that_helps_is_not():
    generator = torch.Generator().manual_seed(0)
    source, (target, labels) = domain(generator, NONE), domain(generator, NARROWER)
    options = {"device": "cpu", "evaluate": labels}
    with pytest.warns(lb.NegativeTransferWarning, match="Adapting has") as record:
        harmed = lb.adapt(None, *source, target, method=Destructive(weight=1e3), steps=100, **options)
    assert record[0].filename == __file__
    assert harmed.after.target < harmed.before.target - 0.05
    assert "Negative transfer? Adapting" in str(harmed)
    helped = lb.adapt(None, *source, target, method="dan", **options)  # a warning would be an error here
    assert helped.negative_transfer == []
    assert helped.after.target > helped.before.target + 0.1
