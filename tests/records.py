"""The one table of records: every loss function and every method, with the laws that hold for it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from landbridge.coral.deep_coral import DeepCORAL, coral_distance
from landbridge.dann.cdan import CDAN, CDANE
from landbridge.dann.dann import DANN
from landbridge.dann.mcd import MCD
from landbridge.mmd.dan import DAN, DDC
from landbridge.mmd.jan import JAN, joint_mmd2
from landbridge.mmd.kernels import GaussianKernel, MultiGaussianKernel
from landbridge.mmd.mmd import Estimator, mean_distance, mmd2
from landbridge.selftraining.mcc import MCC
from landbridge.shared.adabn import AdaBN
from landbridge.shared.combine import Combine
from landbridge.shared.method import Method, Sizes, Source, Target
from landbridge.shared.source_only import SourceOnly
from landbridge.transport.deepjdot import DeepJDOT, deepjdot_distance

Function = Callable[[Tensor, Tensor], Tensor]

SIZES = Sizes(features=4, classes=3)
N_S, N_T = 6, 5
HALVES = (torch.bfloat16, torch.float16)


def features(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal features, (n, d), the same for the same seed."""
    return torch.randn(n, SIZES.features, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@dataclass(frozen=True)
class Loss:
    """A pure function of two batches of features, and its laws."""

    name: str  # its first word is the function's name
    function: Function
    _: KW_ONLY
    reference: Function  # slow and independent, by Python's own numbers
    symmetric: bool
    zero_at_identical: bool
    joint_translation: bool  # moving both domains alike changes nothing
    joint_rotation: bool
    scale_degree: float | None  # f(c x, c y) = c^degree f(x, y)
    min_batch: int
    order: bool = True  # the order of samples does not matter
    smooth: bool = True  # False: a part is detached that moves the value


@dataclass(frozen=True)
class MethodRecord:
    """A method, how to make it, and its laws."""

    name: str  # as in METHODS, after which a comma may tell variants apart
    method: type[Method]
    _: KW_ONLY
    make: Callable[..., Method]  # (sizes, **settings)
    # every constructor argument but the sizes -> a value that changes some output, or a dictionary of arguments
    settings: Mapping[str, object]
    base: Mapping[str, object] = field(default_factory=dict)  # the settings under which the laws are asked
    smooth: Mapping[str, object] = field(default_factory=dict)  # and under which nothing detached moves the value
    reverses: bool = False  # features get minus the weight times the gradient, the method's own parts the gradient
    order: bool = True  # the order of samples does not matter
    zero_at_identical: frozenset[str] = frozenset()  # terms that are 0 where both domains are the same, else positive
    unweighted: frozenset[str] = frozenset()  # terms that the weight leaves alone
    half_tolerance: float = 1e-5  # under autocast, against float32 on the same rounded features


class MeanAlignment(Method):
    """The distance of the domain means: the smallest method there is."""

    needs: ClassVar[frozenset[str]] = frozenset({"source"})

    def __init__(self, *, weight: float = 1.0, schedule: str = "constant") -> None:
        super().__init__(weight=weight, schedule=schedule)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return {"mean": mean_distance(source.features, target.features)}


class Take(nn.Module):
    """A discriminator or head without weights: some columns of the features."""

    def __init__(self, columns: int | slice) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, features: Tensor) -> Tensor:
        return features[:, self.columns]


Rows = list[list[float]]


def slow(function: Callable[[Rows, Rows], float]) -> Function:
    """A function of lists as a function of tensors."""
    return lambda x, y: torch.tensor(function(x.tolist(), y.tolist()), dtype=torch.float64)


def squared(p: list[float], q: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def slow_mean_distance(x: Rows, y: Rows) -> float:
    total = 0.0
    for k in range(len(x[0])):
        total += (sum(row[k] for row in x) / len(x) - sum(row[k] for row in y) / len(y)) ** 2
    return total


def slow_covariance(x: Rows) -> Rows:
    n, d = len(x), len(x[0])
    means = [sum(row[k] for row in x) / n for k in range(d)]
    return [[sum((row[a] - means[a]) * (row[b] - means[b]) for row in x) / (n - 1) for b in range(d)] for a in range(d)]


def slow_coral_distance(x: Rows, y: Rows) -> float:
    """Sun and Saenko (2016), equation 1."""
    d = len(x[0])
    pairs = zip(slow_covariance(x), slow_covariance(y), strict=True)
    return sum(squared(p, q) for p, q in pairs) / (4 * d * d)


def slow_mmd2(x: Rows, y: Rows, *, bandwidths: list[float] | None, estimator: str, other: float = math.inf) -> float:
    """Gretton et al. (2012): equation 5 squared, equation 3, lemma 14. No bandwidths: five around the lower median.

    The kernel is the mean of Gaussians, times one more Gaussian of the other bandwidth.
    """
    if bandwidths is None:
        pool = [*x, *y]
        pairs = [squared(p, q) for i, p in enumerate(pool) for j, q in enumerate(pool) if i != j]
        bandwidths = [statistics.median_low(pairs) * 2.0**power for power in (-2, -1, 0, 1, 2)]

    def k(p: list[float], q: list[float]) -> float:
        mean = sum(math.exp(-squared(p, q) / bandwidth) for bandwidth in bandwidths) / len(bandwidths)
        return mean * math.exp(-squared(p, q) / other)

    n_s, n_t = len(x), len(y)
    if estimator == "linear":
        m = min(n_s, n_t) // 2
        quads = [(x[2 * i], x[2 * i + 1], y[2 * i], y[2 * i + 1]) for i in range(m)]
        return sum(k(a, b) + k(c, d) - k(a, d) - k(b, c) for a, b, c, d in quads) / m
    across = sum(k(p, q) for p in x for q in y) / (n_s * n_t)
    if estimator == "biased":
        return sum(k(p, q) for p in x for q in x) / n_s**2 + sum(k(p, q) for p in y for q in y) / n_t**2 - 2 * across
    within_x = sum(k(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j) / (n_s * (n_s - 1))
    within_y = sum(k(p, q) for i, p in enumerate(y) for j, q in enumerate(y) if i != j) / (n_t * (n_t - 1))
    return within_x + within_y - 2 * across


def joint_distance(x: Tensor, y: Tensor, *, bandwidth: float | None, estimator: Estimator) -> Tensor:
    """The joint MMD of two layers that hold the same features under different kernels."""
    first = MultiGaussianKernel() if bandwidth is None else GaussianKernel(bandwidth)
    return joint_mmd2([x, x], [y, y], [first, GaussianKernel(7.0)], estimator)


def slow_transport(x: Rows, y: Rows) -> float:
    """The least cost between uniform weights: each point in equal pieces, each piece assigned to one."""
    from scipy.optimize import linear_sum_assignment

    pieces = [[squared(p, q) for q in y for _ in x] for p in x for _ in y]  # (n_s n_t, n_s n_t)
    chosen = zip(*linear_sum_assignment(pieces), strict=True)
    return sum(pieces[i][j] for i, j in chosen) / len(pieces)


def transport_distance(source: Tensor, target: Tensor) -> Tensor:
    """DeepJDOT's distance where labels cost nothing."""
    labels, logits = torch.zeros(len(source), dtype=torch.long), target.new_zeros(len(target), 2)
    return deepjdot_distance(source, target, labels, logits, feature_weight=1.0, label_weight=0.0)


LOSSES = [
    Loss(
        "mean_distance",
        mean_distance,
        reference=slow(slow_mean_distance),
        symmetric=True,
        zero_at_identical=True,
        joint_translation=True,
        joint_rotation=True,
        scale_degree=2,
        min_batch=1,
    ),
    Loss(
        "coral_distance",
        coral_distance,
        reference=slow(slow_coral_distance),
        symmetric=True,
        zero_at_identical=True,
        joint_translation=True,
        joint_rotation=True,
        scale_degree=4,
        min_batch=2,
    ),
    biased := Loss(
        "mmd2 biased",
        partial(mmd2, kernel=MultiGaussianKernel()),
        reference=slow(partial(slow_mmd2, bandwidths=None, estimator="biased")),
        symmetric=True,
        zero_at_identical=True,
        joint_translation=True,
        joint_rotation=True,
        scale_degree=0,
        min_batch=1,
        smooth=False,  # the median is detached
    ),
    replace(
        biased,
        name="mmd2 unbiased",
        function=partial(mmd2, kernel=GaussianKernel(3.0), estimator="unbiased"),
        reference=slow(partial(slow_mmd2, bandwidths=[3.0], estimator="unbiased")),
        zero_at_identical=False,
        scale_degree=None,
        min_batch=2,
        smooth=True,
    ),
    replace(
        biased,
        name="mmd2 linear",
        function=partial(mmd2, kernel=MultiGaussianKernel(3.0, kernels=2), estimator="linear"),
        reference=slow(partial(slow_mmd2, bandwidths=[1.5, 3.0], estimator="linear")),
        scale_degree=None,
        min_batch=2,
        order=False,
        smooth=True,
    ),
    joint := replace(
        biased,
        name="joint_mmd2 biased",
        function=partial(joint_distance, bandwidth=None, estimator="biased"),
        reference=slow(partial(slow_mmd2, bandwidths=None, estimator="biased", other=7.0)),
        scale_degree=None,
    ),
    replace(
        joint,
        name="joint_mmd2 unbiased",
        function=partial(joint_distance, bandwidth=3.0, estimator="unbiased"),
        reference=slow(partial(slow_mmd2, bandwidths=[3.0], estimator="unbiased", other=7.0)),
        zero_at_identical=False,
        min_batch=2,
        smooth=True,
    ),
    replace(
        joint,
        name="joint_mmd2 linear",
        function=partial(joint_distance, bandwidth=3.0, estimator="linear"),
        reference=slow(partial(slow_mmd2, bandwidths=[3.0], estimator="linear", other=7.0)),
        min_batch=2,
        order=False,
        smooth=True,
    ),
    Loss(
        "deepjdot_distance",
        transport_distance,
        reference=slow(slow_transport),
        symmetric=True,
        zero_at_identical=True,
        joint_translation=True,
        joint_rotation=True,
        scale_degree=2,
        min_batch=1,
    ),
]


def combine(sizes: Sizes, *, parts: Mapping[str, Callable[[Sizes], Method]]) -> Combine:
    """A Combine of parts that are made from sizes."""
    return Combine(**{name: part(sizes) for name, part in parts.items()})


def part(method: type[Method], **settings: object) -> Callable[[Sizes], Method]:
    """How to make one part of a Combine."""
    return lambda sizes: method.create(sizes, **settings)


WEIGHTS: dict[str, object] = {"weight": 2.0, "schedule": "ramp"}  # what nearly every method takes

METHOD_RECORDS = [
    MethodRecord(
        "mean-alignment",
        MeanAlignment,
        make=MeanAlignment.create,
        settings=WEIGHTS,
        zero_at_identical=frozenset({"mean"}),
    ),
    MethodRecord("source-only", SourceOnly, make=SourceOnly.create, settings={"see_target": True}),
    MethodRecord("adabn", AdaBN, make=AdaBN.create, settings={}),
    dann := MethodRecord(
        "dann",
        DANN,
        make=DANN.create,
        settings={
            "weight": 2.0,
            "schedule": "constant",
            "hidden": (7,),
            "dropout": 0.5,
            "batchnorm": True,
            "discriminator": {"features": None, "discriminator": Take(0)},
            "sources": 3,
        },
        base={"hidden": (16,)},
        reverses=True,
        half_tolerance=2e-2,
    ),
    replace(
        dann,
        name="dann, three sources",
        settings={**dann.settings, "discriminator": {"features": None, "discriminator": nn.Identity()}, "sources": 1},
        base={"hidden": (16,), "sources": 3},
    ),
    replace(
        dann,
        name="dann, batchnorm",
        settings={**dann.settings, "batchnorm": False},
        base={"hidden": (16,), "batchnorm": True},
    ),
    cdan := MethodRecord(
        "cdan",
        CDAN,
        make=CDAN.create,
        settings={
            "entropy": True,
            "weight": 2.0,
            "schedule": "constant",
            "hidden": (7,),
            "dropout": 0.5,
            "batchnorm": True,
            "discriminator": {"discriminator": Take(0)},
            "limit": 11,  # of 4 features times 3 classes
            "projections": {"limit": 11, "projections": 9},
            "detach": False,
        },
        base={"hidden": (16,)},
        smooth={"detach": False},
        reverses=True,
        half_tolerance=2e-2,
    ),
    replace(
        cdan,
        name="cdan, random map",
        settings={**cdan.settings, "limit": 12, "projections": 9},
        base={"hidden": (16,), "limit": 11, "projections": 8},
    ),
    replace(
        cdan,
        name="cdan, batchnorm",
        settings={**cdan.settings, "batchnorm": False},
        base={"hidden": (16,), "batchnorm": True},
    ),
    replace(
        cdan,
        name="cdan-e",
        method=CDANE,
        make=CDANE.create,
        settings={name: value for name, value in cdan.settings.items() if name != "entropy"},
    ),
    MethodRecord(
        "mcd",
        MCD,
        make=MCD.create,
        settings={
            **WEIGHTS,
            "inner": 2,
            "hidden": (7,),
            "head": {"features": None, "classes": None, "head": Take(slice(3))},
        },
        unweighted=frozenset({"task2"}),
        half_tolerance=2e-2,
    ),
    MethodRecord("ddc", DDC, make=DDC.create, settings=WEIGHTS, zero_at_identical=frozenset({"features"})),
    dan := MethodRecord(
        "dan",
        DAN,
        make=DAN.create,
        settings={**WEIGHTS, "kernels": 3, "factor": 3.0, "bandwidth": 2.0, "estimator": "unbiased"},
        smooth={"bandwidth": 2.0},
        zero_at_identical=frozenset({"features", "probabilities"}),
    ),
    replace(
        dan,
        name="dan, unbiased",
        settings={**dan.settings, "estimator": "biased"},
        base={"estimator": "unbiased"},
        zero_at_identical=frozenset(),
    ),
    replace(
        dan,
        name="dan, linear",
        settings={**dan.settings, "estimator": "biased"},
        base={"estimator": "linear"},
        order=False,
        zero_at_identical=frozenset(),
    ),
    jan := MethodRecord(
        "jan",
        JAN,
        make=JAN.create,
        settings={
            "weight": 2.0,
            "schedule": "constant",
            "kernels": 3,
            "factor": 3.0,
            "bandwidth": 2.0,
            "probability_bandwidth": 0.5,
            "estimator": "unbiased",
        },
        smooth={"bandwidth": 2.0},
        zero_at_identical=frozenset({"joint"}),
    ),
    replace(
        jan,
        name="jan, unbiased",
        settings={**jan.settings, "estimator": "biased"},
        base={"estimator": "unbiased"},
        zero_at_identical=frozenset(),
    ),
    replace(
        jan,
        name="jan, linear",
        settings={**jan.settings, "estimator": "biased"},
        base={"estimator": "linear"},
        order=False,
        zero_at_identical=frozenset(),
    ),
    coral := MethodRecord(
        "deepcoral",
        DeepCORAL,
        make=DeepCORAL.create,
        settings={**WEIGHTS, "layer": "logits"},
        zero_at_identical=frozenset({"features"}),
    ),
    replace(
        coral,
        name="deepcoral, logits",
        settings={**WEIGHTS, "layer": "features"},
        base={"layer": "logits"},
        zero_at_identical=frozenset({"logits"}),
    ),
    MethodRecord(
        "deepjdot",
        DeepJDOT,
        make=DeepJDOT.create,
        settings={**WEIGHTS, "feature_weight": 0.5, "label_weight": 3.0},
        base={"feature_weight": 1.0, "label_weight": 1.0},
    ),
    MethodRecord(
        "mcc",
        MCC,
        make=MCC.create,
        settings={**WEIGHTS, "temperature": 1.0, "detach": False},
        smooth={"detach": False},
    ),
    MethodRecord(
        "combine",
        Combine,
        make=combine,
        settings={"parts": {"parts": {"ddc": part(DDC, weight=0.7), "coral": part(DeepCORAL, weight=2.0)}}},
        base={"parts": {"ddc": part(DDC, weight=0.5), "coral": part(DeepCORAL, weight=2.0)}},
        zero_at_identical=frozenset({"ddc/features", "coral/features"}),
    ),
    MethodRecord(
        "combine, with updates of its own",
        Combine,
        make=combine,
        settings={"parts": {"parts": {"ddc": part(DDC), "mcd": part(MCD, weight=0.7)}}},
        base={"parts": {"ddc": part(DDC), "mcd": part(MCD, weight=0.5)}},
        half_tolerance=2e-2,
    ),
]
