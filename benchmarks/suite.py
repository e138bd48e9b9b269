"""Suites: TOML files read into typed settings, and the cells that a grid of them has."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..shared.names import nearest
from .published import Published
from .results import SCHEMA

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CellSettings",
    "MethodSettings",
    "Protocol",
    "Suite",
    "SuiteError",
    "read_suite",
    "shipped",
    "suites",
]

FOLDER = Path(__file__).parent / "suites"
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SuiteError(ValueError):
    """A suite that is not there or not as it should be; the message says where and what to do."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerSettings(_Settings):
    """See ``landbridge.Optimizer``."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "annealed", "cosine"] = "constant"
    backbone_factor: Annotated[float, Field(ge=0)] = 1.0
    clip: Annotated[float, Field(gt=0)] | None = None


class Protocol(_Settings):
    """Which samples are seen and scored, and how often.

    Attributes:
        draw: training rows drawn from a domain, by stable hash; all where it is not named.
        source_holdout: share of the source rows kept from training, for label-free validators.
        scored: ``inductive``: other target rows than those adapted to; ``transductive``: the same.
        checkpoints: how many evenly spaced ones are evaluated; the oracle is a maximum over them.
        batch_statistics: of BatchNorm, ``joint`` or ``per_domain``.
        steps: optimiser steps.
        tasks: those of the suite's that it covers; all if left out.
    """

    draw: dict[str, Positive] = {}
    source_holdout: Share = 0.1
    scored: Literal["inductive", "transductive"] = "inductive"
    checkpoints: Positive = 10
    batch_statistics: Literal["joint", "per_domain"] = "per_domain"
    steps: Positive = 1000
    tasks: tuple[str, ...] = ()


class TaskSettings(_Settings):
    """The network of one task."""

    network: str
    channels: Positive = 1


class MethodSettings(_Settings):
    """One row of the table.

    Attributes:
        method: its name in METHODS.
        label: how the row is called.
        settings: arguments of its constructor.
        trains_on: ``target`` for the bound that trains on target labels.
    """

    method: str
    label: str
    settings: dict[str, Any] = {}
    trains_on: Literal["source", "target"] = "source"


class Training(_Settings):
    """What all cells share.

    Attributes:
        batch_size: of each domain.
        random_shift: pixels by which training images are moved at random, in both domains and for every row.
        channels_last: memory format.
        optimizer: how parameters move.
    """

    batch_size: Positive = 64
    random_shift: Annotated[int, Field(ge=0)] = 0
    channels_last: bool = False
    optimizer: OptimizerSettings = OptimizerSettings()


class CellSettings(_Settings):
    """All that decides a cell's numbers, besides the data and the code."""

    suite: str
    protocol: str
    task: str
    method: str
    seed: Annotated[int, Field(ge=0)]
    dataset: str
    size: Positive
    rules: Protocol
    network: TaskSettings
    adaptation: MethodSettings
    training: Training

    @property
    def track(self) -> str:
        """``end-to-end``: the whole network is trained."""
        return "end-to-end"

    def identity(self, data_checksum: str, version: str) -> str:
        """sha256 over the settings, the data, the schema of results and the versions of method and network."""
        everything = {
            "settings": self.model_dump(mode="json", exclude={"rules": {"tasks"}, "adaptation": {"label"}}),
            "data": data_checksum,
            "schema": SCHEMA,
            "version": version,
        }
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


class Suite(_Settings):
    """A named set of tasks with all that is needed to fill its table.

    Attributes:
        name: the suite's.
        dataset: whose data the tasks are of.
        seeds: how many, unless asked otherwise.
        protocol: the one used unless asked otherwise.
        protocols: by name.
        tasks: by name, ``source->target``.
        methods: the rows by id.
        default_methods: those run unless asked otherwise; all if left out.
        training: what all cells share.
        published: rows from papers.
    """

    name: str
    dataset: str
    seeds: Positive = 3
    protocol: str
    protocols: Annotated[dict[str, Protocol], Field(min_length=1)]
    tasks: Annotated[dict[str, TaskSettings], Field(min_length=1)]
    methods: Annotated[dict[str, MethodSettings], Field(min_length=1)]
    default_methods: tuple[str, ...] = ()
    training: Training = Training()
    published: tuple[Published, ...] = ()

    def choose(self, what: Literal["tasks", "methods"], asked: str | None, protocol: str) -> list[str]:
        """Names from a comma-separated text, each checked; the defaults if there is none.

        A method that is no row of the suite is taken from METHODS, with its own defaults.
        """
        if what == "methods":
            from ..methods import METHODS

            known = [*self.methods, *(name for name in METHODS if name not in self.methods)]
            default = list(self.default_methods or self.methods)
        else:
            known = default = list(self.protocols[protocol].tasks or self.tasks)
        if asked is None:
            return default
        names = [name.strip().replace("-to-", "->") for name in asked.split(",") if name.strip()]
        for name in names:
            if name not in known:
                hint = " In a shell, quote tasks ('a->b'), or write a-to-b." if what == "tasks" else ""
                raise SuiteError(f"{self.name}/{protocol}: {nearest(what[:-1], name, known)}.{hint}")
        if not names:
            raise SuiteError(f"{self.name}: no {what} in {asked!r}. Known: {', '.join(known)}")
        return [name for name in known if name in names]

    def protocol_id(self, protocol: str) -> str:
        """``digits/small/inductive``: suite, protocol, and which target rows are scored."""
        scored = self.protocols[protocol].scored
        return f"{self.name}/{protocol}" + ("" if protocol == scored else f"/{scored}")

    def cell(self, protocol: str, task: str, method: str, seed: int, steps: int | None = None) -> CellSettings:
        """The resolved settings of one cell."""
        from ..shared.extractors import EXTRACTORS

        rules = self.protocols[protocol]
        return CellSettings(
            suite=self.name,
            protocol=self.protocol_id(protocol),
            task=task,
            method=method,
            seed=seed,
            dataset=self.dataset,
            size=EXTRACTORS[self.tasks[task].network].side,
            rules=rules if steps is None else rules.model_copy(update={"steps": steps}),
            network=self.tasks[task],
            adaptation=self.methods.get(method) or MethodSettings(method=method, label=method),
            training=self.training,
        )


def suites() -> list[str]:
    """The suites that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_suite(name: str) -> Suite:
    """A suite by name, or from a TOML file of yours.

    Raises:
        SuiteError: for an unknown suite or a missing file, for what is no TOML, and for an unknown key, method, network
            or task in it, with the nearest that there is.
    """
    path, suite = _parse(name)
    _check_names(path, suite)
    return suite


def shipped(names: Iterable[str]) -> list[Suite]:
    """Those of the named suites that ship with the package; unlike :func:`read_suite` without loading torch."""
    return [_parse(name)[1] for name in names if name in suites()]


def _parse(name: str) -> tuple[Path, Suite]:
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise SuiteError(f"there is no suite file {name}. Known suites: {', '.join(suites())}.")
        raise SuiteError(nearest("suite", name, suites()) + ". Or pass the path of a .toml file.")
    try:
        return path, Suite.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise SuiteError(f"{path}: {_sentence(error)}") from error


def _check_names(path: Path, suite: Suite) -> None:
    from ..methods import METHODS
    from ..shared.extractors import EXTRACTORS
    from .datasets import DATASETS

    def need(what: str, name: str, known: Any) -> None:
        if name not in known:
            raise SuiteError(f"{path}: {nearest(what, name, known)}")

    need("data set", suite.dataset, DATASETS)
    need("protocol", suite.protocol, suite.protocols)
    for task, settings in suite.tasks.items():
        if task.count("->") != 1:
            raise SuiteError(f"{path}: a task is written 'source->target'; got {task!r}.")
        need("network", settings.network, EXTRACTORS)
    for row in suite.methods.values():
        need("method", row.method, METHODS)
    for name in suite.default_methods:
        need("method", name, suite.methods)
    for protocol in suite.protocols.values():
        for task in protocol.tasks:
            need("task", task, suite.tasks)
    for published in suite.published:
        need("method", published.method, suite.methods)
        if published.protocol.startswith(f"{suite.name}/"):
            need("protocol", published.protocol, [suite.protocol_id(name) for name in suite.protocols])
        for task in published.values:
            need("task", task, suite.tasks)


def _sentence(error: ValidationError) -> str:
    """pydantic's errors as one sentence each: where, what, and the nearest known key."""
    told = []
    for each in error.errors():
        where = ".".join(str(part) for part in each["loc"])
        if each["type"] == "extra_forbidden":
            told.append(f"[{'.'.join(map(str, each['loc'][:-1])) or 'top level'}] "
                        + nearest("key", str(each["loc"][-1]), _known_keys(each["loc"])))  # fmt: skip
        elif each["type"] == "missing":
            told.append(f"{where} is missing")
        else:
            told.append(f"{where}: {each['msg'].lower()}; got {each.get('input')!r}")
    return "; ".join(told)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Suite
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(str(part))
        annotation = field.annotation if field else model
        arguments = getattr(annotation, "__args__", ())
        model = next((a for a in (*arguments[::-1], annotation) if hasattr(a, "model_fields")), model)
    return list(getattr(model, "model_fields", {}))
