"""What ``adapt`` is brought: frames, whose columns go by name, and labels of any kind, which a saved file keeps."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import landbridge as lb

pytestmark = pytest.mark.filterwarnings("ignore::landbridge.NegativeTransferWarning")  # of a few steps
RNG = np.random.default_rng(0)
N = 90
S = pd.DataFrame({"age": RNG.normal(40, 10, N), "income": RNG.normal(3000, 500, N), "owner": RNG.random(N) > 0.5})
NUMBERS = ((S.age > 36).astype(int) + (S.age > 44)).to_numpy()
OTHER_ORDER = S[["owner", "income", "age"]]
QUICK: dict[str, Any] = {"method": "deepcoral", "steps": 60, "device": "cpu", "baseline": False}


def adapt(labels: Any, Xs: Any = S, Xt: Any = S, **more: Any) -> lb.Adapted:
    return lb.adapt(None, Xs, labels, Xt, **{**QUICK, **more})


def test_columns_of_frames_go_by_name_in_adapt_evaluate_and_predict() -> None:
    adapted = adapt(NUMBERS, evaluate=NUMBERS)
    assert adapted.after.target is not None
    assert adapted.after.target > 0.65  # so that swapped columns would show
    for other in (adapt(NUMBERS, Xt=OTHER_ORDER, evaluate=NUMBERS), adapt(NUMBERS, evaluate=(OTHER_ORDER, NUMBERS))):
        assert other.after == adapted.after
    np.testing.assert_array_equal(adapted.predict(OTHER_ORDER), adapted.predict(S))
    np.testing.assert_array_equal(adapted.predict_proba(OTHER_ORDER.astype(object)), adapted.predict_proba(S))
    assert torch.equal(adapted.result.forward(OTHER_ORDER)[1], adapted.result.forward(S)[1])


def test_a_frame_of_other_columns_is_refused() -> None:
    renamed = S.rename(columns={"age": "years"})
    sentence = r"of Xs; missing: 'age'; unexpected: 'years'"
    with pytest.raises(ValueError, match="adapt needs in Xt the columns " + sentence):
        adapt(NUMBERS, Xt=renamed)
    with pytest.raises(ValueError, match="adapt needs in evaluate the columns " + sentence):
        adapt(NUMBERS, evaluate=(renamed, NUMBERS))
    adapted = adapt(NUMBERS, steps=2)
    for predict in (adapted.predict, adapted.predict_proba):
        with pytest.raises(ValueError, match=r"needs in X the columns of the rows trained on; missing: 'age'; unexp"):
            predict(renamed)
    with pytest.raises(TypeError, match=r"adapt needs Xs as numbers; the column 'city' holds categories\. Encode"):
        adapt(NUMBERS, S.assign(city=pd.Categorical(["A"] * N)))
    gaps = S.astype({"age": "Float64"})
    gaps.loc[3, "age"] = pd.NA
    with pytest.raises(ValueError, match=r"adapt got missing values \(NaN\) in Xs: 1 of 90 .* columns 'age'"):
        adapt(NUMBERS, gaps)


def test_rows_without_names_are_taken_by_their_place_and_it_is_said() -> None:
    adapted = adapt(NUMBERS, steps=5)
    with pytest.warns(UserWarning, match="predict got X without column names") as caught:
        by_place = adapted.predict(S.to_numpy(dtype=np.float64))
    assert caught[0].filename == __file__  # the line of who called, however deep the warning comes from
    np.testing.assert_array_equal(by_place, adapted.predict(S))
    with pytest.warns(UserWarning, match="adapt got Xt without column names"):
        adapt(NUMBERS, Xt=S.to_numpy(dtype=np.float64), steps=2)
    unnamed = adapt(NUMBERS, S.to_numpy(dtype=np.float64), S.to_numpy(dtype=np.float64), steps=2)
    with pytest.warns(UserWarning, match="predict got X with column names"):
        unnamed.predict(S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unnamed.predict(pd.DataFrame(S.to_numpy(dtype=np.float64)))  # a frame that names nothing


WORDS = np.array(["low", "medium", "so high"])[NUMBERS]
LABELS: dict[str, Any] = {
    "from 1": NUMBERS + 1,
    "years": NUMBERS + 2018,
    "ids": (NUMBERS + 1) * 100000,
    "negative": NUMBERS - 1,
    "whole floats": NUMBERS + 1.0,
    "strings": WORDS,
    "object strings": WORDS.astype(object),
    "pandas strings": pd.Series(WORDS, dtype="string"),
    "categories": pd.Series(WORDS, dtype="category"),
    "nullable": pd.array(NUMBERS, dtype="Int64"),
    "one column": NUMBERS[:, None],
    "booleans": NUMBERS > 1,
}


def plain(labels: Any) -> NDArray[Any]:
    return np.asarray(labels).reshape(-1)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_they_went_in_also_from_a_file(kind: str, tmp_path: Path) -> None:
    labels = LABELS[kind]
    adapted = adapt(labels, evaluate=labels)
    found = adapted.predict(S)
    assert set(found.tolist()) <= set(plain(labels).tolist())
    assert (found == plain(labels)).mean() == adapted.after.target > 0.6

    adapted.save(tmp_path / "adapted.safetensors")
    loaded = lb.load(tmp_path / "adapted.safetensors")
    again = loaded.predict(OTHER_ORDER)
    assert type(again) is np.ndarray
    assert again.dtype == found.dtype
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(loaded.predict_proba(S), adapted.predict_proba(S))

    adapted.result.save(tmp_path / "result.safetensors")
    result = lb.load(tmp_path / "result.safetensors")
    for each in (adapted.result.predict(OTHER_ORDER), result.predict(OTHER_ORDER)):
        assert isinstance(each, np.ndarray if found.dtype.kind == "U" else torch.Tensor)
        np.testing.assert_array_equal(np.asarray(each), found)


def test_what_was_loaded_is_saved_again(tmp_path: Path) -> None:
    adapted = adapt(WORDS, steps=5)
    adapted.save(tmp_path / "one")
    lb.load(tmp_path / "one").save(tmp_path / "two")
    np.testing.assert_array_equal(lb.load(tmp_path / "two").predict(OTHER_ORDER), adapted.predict(S))
    with pytest.raises(ValueError, match="missing: 'age'"):
        lb.load(tmp_path / "two").predict(S.drop(columns="age"))


def test_values_are_predicted_from_a_file_as_before(tmp_path: Path) -> None:
    for values in (S.age * 1.0, S[["age", "income"]], pd.Series(S.age.tolist(), dtype=object)):
        adapted = adapt(values, task="regression", steps=5)
        adapted.save(tmp_path / "values")
        loaded = lb.load(tmp_path / "values")
        assert loaded.predict(S).shape == values.shape
        np.testing.assert_array_equal(loaded.predict(S), adapted.predict(S))
        with pytest.raises(ValueError, match="predict_proba is for classes"):
            loaded.predict_proba(S)


def test_a_module_of_your_own_is_wrapped_as_the_file_says(tmp_path: Path) -> None:
    def module(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3), nn.Identity())

    rows = ((S - S.mean()) / S.std()).astype(np.float32)
    adapted = lb.adapt(module(0), rows, WORDS, rows, head="2", **QUICK)
    adapted.save(tmp_path / "wrapped")
    with pytest.raises(ValueError, match=r"a module with the head '2'.*load\(path, module\)"):
        lb.load(tmp_path / "wrapped")
    np.testing.assert_array_equal(lb.load(tmp_path / "wrapped", module(1)).predict(rows), adapted.predict(rows))

    lone = lb.adapt(nn.Linear(3, 3), rows, WORDS, rows, **QUICK)
    lone.save(tmp_path / "lone")
    np.testing.assert_array_equal(lb.load(tmp_path / "lone", nn.Linear(3, 3)).predict(rows), lone.predict(rows))


def test_a_module_whose_head_the_file_does_not_name_is_refused(tmp_path: Path) -> None:
    network = lb.Network(nn.Linear(3, 8), nn.Linear(8, 3))
    rows = S.to_numpy(dtype=np.float32)
    lb.adapt(network, rows, WORDS, rows, **QUICK).save(tmp_path / "network")
    with pytest.raises(TypeError, match=r"load needs the Network that was saved; got a Sequential.*wrap\(module, head"):
        lb.load(tmp_path / "network", nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 3)))
    with pytest.raises(TypeError, match="load needs network as a Network or a module; got str"):
        lb.load(tmp_path / "network", "resnet")  # type: ignore[arg-type]


def test_a_network_in_float64_stays_one(tmp_path: Path) -> None:
    def network() -> lb.Network:
        return lb.Network(nn.Linear(3, 8), nn.Linear(8, 3))

    rows = S.to_numpy(dtype=np.float64)
    adapted = lb.adapt(network().double(), rows, WORDS, rows, **QUICK)
    adapted.save(tmp_path / "wide")
    np.testing.assert_array_equal(
        lb.load(tmp_path / "wide", network()).predict_proba(rows),
        adapted.predict_proba(rows),  # type: ignore[arg-type]
    )


def test_numbers_of_a_head_with_more_classes_stay_the_heads_own_also_as_floats() -> None:
    rows = S.to_numpy(dtype=np.float32)
    adapted = lb.adapt(nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 10)), rows, NUMBERS + 4.0, rows, **QUICK)
    assert adapted.classes is not None
    assert adapted.classes.tolist() == list(range(10))
    assert adapted.classes.dtype == np.float64
