"""Domains with a known shift, made of real data: features and proportions change alone and together.

Those of scikit-learn are always there; the others are read from the folder that ``LANDBRIDGE_DATA`` names, and left out
where that lacks them.
"""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DOMAINS", "SHIFTS", "Domains", "make"]

Array = NDArray[Any]
SHIFTS = ("none", "covariate", "label", "both")
MOST = 1000  # rows of each domain
RARE = 0.12  # of the rows of a class are left where it has become rare
STRENGTH = 0.45  # of the features' mixing, scaling and moving


class Domains(NamedTuple):
    """Source and target rows with their labels."""

    Xs: Array
    ys: Array
    Xt: Array
    yt: Array


def make(name: str, shift: str, seed: int) -> Domains:
    """The domains of one data set under one shift.

    A data set of one domain is halved; its target's features are mixed, scaled and moved for ``covariate``. One of two
    domains keeps them, the target's rows drawn in the source's proportions; without ``covariate`` its source is halved.
    For ``label`` one class of two, or a third of more, become rare in the target.
    """
    random = np.random.default_rng([seed, *name.encode(), *shift.encode()])
    first, second = DOMAINS[name]()
    moved = shift in ("covariate", "both")
    if moved and second is not None:
        Xs, ys = _some(*first, random, MOST)
        Xt, yt = _some(*second, random, 4 * MOST)
        Xt, yt = _in_proportions_of(ys, Xt, yt, random)
    else:
        X, y = _some(*first, random, 2 * MOST)
        half = len(y) // 2
        Xs, ys, Xt, yt = X[:half], y[:half], X[half:], y[half:]
        if moved:
            Xs, Xt = _mixed(Xs, Xt, random)
    if shift in ("label", "both"):
        classes = np.unique(ys)
        rare = random.permutation(classes)[: max(1, len(classes) // 3)]
        kept = ~np.isin(yt, rare) | (random.random(len(yt)) < RARE)
        Xt, yt = Xt[kept], yt[kept]
    return Domains(Xs, ys, Xt[:MOST], yt[:MOST])


def _some(X: Array, y: Array, random: np.random.Generator, most: int) -> tuple[Array, Array]:
    rows = random.permutation(len(y))[:most]
    return X[rows], y[rows]


def _in_proportions_of(ys: Array, Xt: Array, yt: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """As many target rows as there are in the source's proportions, in a new order."""
    classes, counts = np.unique(ys, return_counts=True)
    there = np.array([(yt == c).sum() for c in classes])
    share = min((there / counts).min(), MOST / counts.sum())
    rows = [np.flatnonzero(yt == c)[: max(1, int(share * n))] for c, n in zip(classes, counts, strict=True)]
    chosen = random.permutation(np.concatenate(rows))
    return Xt[chosen], yt[chosen]


def _mixed(Xs: Array, Xt: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Both in the source's units; the target's features mixed, scaled and moved."""
    mean, std = Xs.mean(0), Xs.std(0) + 1e-9
    Xs, Xt, d = (Xs - mean) / std, (Xt - mean) / std, Xs.shape[1]
    mixing = np.eye(d) + STRENGTH * random.normal(size=(d, d)) / np.sqrt(d)
    scale, offset = np.exp(0.7 * STRENGTH * random.normal(size=d)), 1.5 * STRENGTH * random.normal(size=d)
    return Xs.astype(np.float32), (Xt @ mixing * scale + offset).astype(np.float32)


Pair = tuple[tuple[Array, Array], "tuple[Array, Array] | None"]


def _folder(*parts: str) -> Path:
    path = Path(os.environ.get("LANDBRIDGE_DATA", "data")).joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def _sklearn(load: str) -> Callable[[], Pair]:
    @cache
    def loaded() -> Pair:
        import sklearn.datasets

        X, y = getattr(sklearn.datasets, load)(return_X_y=True)
        return (X, y), None

    return loaded


@cache
def _quality(colour: str) -> tuple[Array, Array]:
    rows = np.loadtxt(_folder("tabular", f"winequality-{colour}.csv"), delimiter=",")
    return rows[:, :-1], (rows[:, -1] >= 6).astype(np.int64)


def _wine_colours() -> Pair:
    return _quality("red"), _quality("white")


@cache
def _adult() -> Pair:
    """Income of men and of women: the numbers as they are, the categories as indicators."""
    import pandas as pd

    frame = pd.read_csv(_folder("tabular", "adult.data"), skipinitialspace=True)
    y = (frame.pop("label") == ">50K").to_numpy(np.int64)
    sex = frame.pop("sex").to_numpy()
    X = pd.get_dummies(frame.drop(columns=["fnlwgt", "native-country"])).to_numpy(np.float32)
    return (X[sex == "Male"], y[sex == "Male"]), (X[sex == "Female"], y[sex == "Female"])


@cache
def _mushrooms() -> Pair:
    """Poisonous or not; domains by the shape of the stalk, which both kinds have."""
    import pandas as pd

    frame = pd.read_csv(_folder("tabular", "mushrooms.data"), header=None)
    y = (frame.pop(0) == "p").to_numpy(np.int64)
    tapering = frame.pop(9).to_numpy() == "t"
    X = pd.get_dummies(frame).to_numpy(np.float32)
    return (X[tapering], y[tapering]), (X[~tapering], y[~tapering])


@cache
def _reviews() -> Pair:
    """Book and kitchen reviews: words hashed by svmlight's own numbers, 100 directions of the books."""
    from sklearn.datasets import load_svmlight_file
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    domains = [
        load_svmlight_file(str(_folder("amazon_reviews", f"{d}_train.svmlight")), n_features=5001)
        for d in ("books", "kitchen")
    ]
    weigh = TfidfTransformer().fit(domains[0][0])
    reduce = TruncatedSVD(100, random_state=0).fit(weigh.transform(domains[0][0]))
    made = [(reduce.transform(weigh.transform(X)).astype(np.float32), (y > 0).astype(np.int64)) for X, y in domains]
    return made[0], made[1]


@cache
def _sentences() -> Pair:
    """Sentences on products and on restaurants: 60 directions of the words' frequencies."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    read = []
    for site in ("amazon_cells", "yelp"):
        lines = _folder("sentences", f"{site}_labelled.txt").read_text(encoding="utf-8").strip().split("\n")
        texts, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
        read.append((texts, np.array(labels).astype(np.int64)))
    words = TfidfVectorizer(min_df=2).fit(read[0][0])
    reduce = TruncatedSVD(60, random_state=0).fit(words.transform(read[0][0]))
    made = [(reduce.transform(words.transform(texts)).astype(np.float32), y) for texts, y in read]
    return made[0], made[1]


@cache
def _surf() -> Pair:
    from scipy.io import loadmat

    read = []
    for name in ("amazon", "Caltech10"):
        mat = loadmat(_folder("office_caltech10", "surf", f"{name}_SURF_L10.mat"))
        X = mat["fts"].astype(np.float32)
        read.append((X / X.sum(1, keepdims=True), mat["labels"].ravel().astype(np.int64) - 1))
    return read[0], read[1]


@cache
def _spoken() -> Pair:
    """Spoken digits of three speakers and of three others: log energies of 16 bands in 8 spans of time."""
    from scipy.io import wavfile
    from scipy.signal import stft

    rows: dict[bool, list[tuple[Array, int]]] = {True: [], False: []}
    for path in sorted(_folder("spoken_digits", "recordings").glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        rate, wave = wavfile.read(path)
        power = np.abs(stft(wave.astype(np.float64), rate, nperseg=256, noverlap=128)[2]) ** 2  # (129, spans)
        edges = np.unique(np.geomspace(3, 129, 17).astype(int))
        bands = np.add.reduceat(power[: edges[-1]], edges[:-1], axis=0)
        spans = np.stack([part.mean(1) for part in np.array_split(bands, 8, axis=1) if part.shape[1]], 1)
        if spans.shape[1] == 8:
            rows[speaker in ("george", "jackson", "lucas")].append((np.log(spans + 1e-3).ravel(), int(digit)))
    made = [
        (np.array([x for x, _ in part], dtype=np.float32), np.array([y for _, y in part])) for part in rows.values()
    ]
    return made[0], made[1]


@cache
def _digit_images() -> Pair:
    """MNIST and USPS at 16 x 16."""
    raw = _folder("MNIST", "raw")
    images = np.frombuffer((raw / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer((raw / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8).astype(np.int64)
    inner = np.pad(images[:6000], ((0, 0), (2, 2), (2, 2))).astype(np.float32)
    mnist = inner.reshape(-1, 16, 2, 16, 2).mean((2, 4))[:, None] / 255
    with bz2.open(_folder("usps", "usps.bz2"), "rt") as file:
        lines = [line.split() for line in file]
    usps = np.array([[float(word.split(":")[1]) for word in line[1:]] for line in lines], dtype=np.float32)
    y = np.array([int(line[0]) - 1 for line in lines])
    return (mnist, labels[:6000]), ((usps.reshape(-1, 1, 16, 16) + 1) / 2, y)


def _optdigits(task: str) -> Callable[[], Pair]:
    @cache
    def loaded() -> Pair:
        from landbridge.benchmarks.datasets import load_task

        data = load_task("optdigits", task, size=16, channels=1, source_holdout=0.0, scored="transductive")
        of = data.source_train, data.target_train
        source, target = ((np.asarray(part.inputs, dtype=np.float32) / 255, np.asarray(part.labels)) for part in of)
        return source, target

    return loaded


DOMAINS: dict[str, Callable[[], Pair]] = {
    "breast-cancer": _sklearn("load_breast_cancer"),
    "wine": _sklearn("load_wine"),
    "iris": _sklearn("load_iris"),
    "digits": _sklearn("load_digits"),
    "wine-colours": _wine_colours,
    "adult": _adult,
    "mushrooms": _mushrooms,
    "reviews": _reviews,
    "sentences": _sentences,
    "surf": _surf,
    "spoken-digits": _spoken,
    "mnist-usps": _digit_images,
    "optdigits-noisy": _optdigits("clean->noisy"),
    "optdigits-rotated": _optdigits("upright->rotated"),
    "optdigits-photo": _optdigits("clean->photo"),
}
