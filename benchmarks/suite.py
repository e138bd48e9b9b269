"""Suites: TOML files read into typed settings, and the cells that a grid of them has."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..shared.names import nearest
from .datasets.arrays import DEFAULT_NETWORK, ArraySettings
from .datasets.features import FeatureSettings
from .datasets.folders import FolderSettings
from .departures import departures
from .published import Published
from .settings import (
    ARRAY_PROTOCOLS,
    ARRAYS,
    DEFAULT_ROWS,
    LABELS,
    PHOTOGRAPHS,
    PROTOCOLS,
    BackboneSettings,
    CellSettings,
    FrozenSettings,
    MethodSettings,
    Positive,
    Protocol,
    Settings,
    TaskSettings,
    Training,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "BackboneSettings",
    "CellSettings",
    "FrozenSettings",
    "MethodSettings",
    "Protocol",
    "Suite",
    "SuiteError",
    "choose_backbone",
    "read_suite",
    "shipped",
    "suites",
]

FOLDER = Path(__file__).parent / "suites"
DESCRIBED: dict[str, tuple[str, Any]] = {  # by a table of the suite file: its key, the data set it makes, its settings
    "images": ("folders", FolderSettings),
    "features": ("features", FeatureSettings),
    "arrays": ("arrays", ArraySettings),
}


class SuiteError(ValueError):
    """A suite that is not there or not as it should be; the message says where and what to do."""


class Suite(Settings):
    """A named set of tasks with all that is needed to fill its table.

    A suite of ``[images]``, ``[features]`` or ``[arrays]`` may leave out the rest: it then has all pairs of its domains
    as tasks, all methods as rows, and the protocols and schedule of the Office-31 papers (of arrays a shorter one).

    Attributes:
        name: the suite's.
        dataset: whose data the tasks are of: ``folders``, ``features`` and ``arrays`` are those that the suite itself
            describes.
        images: folders of photographs.
        features: files of features.
        arrays: files of images, series or vectors that are trained on from end to end.
        backbone: the network of photographs.
        frozen: how its features are trained on.
        seeds: how many, unless asked otherwise.
        protocol: the one used unless asked otherwise.
        protocols: by name.
        tasks: by name, ``source->target``.
        methods: the rows by id.
        default_methods: those run unless asked otherwise; all if left out.
        training: what all cells share.
        published: rows from papers.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dataset: str
    images: FolderSettings | None = None
    features: FeatureSettings | None = None
    arrays: ArraySettings | None = None
    backbone: BackboneSettings | None = None
    frozen: FrozenSettings = FrozenSettings()
    seeds: Positive = 3
    protocol: str
    protocols: Annotated[dict[str, Protocol], Field(min_length=1)]
    tasks: Annotated[dict[str, TaskSettings], Field(min_length=1)]
    methods: Annotated[dict[str, MethodSettings], Field(min_length=1)]
    default_methods: tuple[str, ...] = ()
    training: Training = Training()
    published: tuple[Published, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """What a suite of photographs, features or arrays need not say."""
        key = next((name for name in DESCRIBED if isinstance(given, dict) and name in given), None)
        if key is None:
            return given
        dataset, kind = DESCRIBED[key]
        rest: dict[str, Any] = {
            "images": {"backbone": {}, "training": PHOTOGRAPHS, "protocol": "transductive", "protocols": PROTOCOLS},
            "features": {
                "backbone": {"name": "features"},
                "training": FrozenSettings().training,
                "protocol": "transductive",
                "protocols": PROTOCOLS,
            },
            "arrays": {"training": ARRAYS, "protocol": "inductive", "protocols": ARRAY_PROTOCOLS},
        }[key]
        rows = {name: {"method": name, "label": LABELS[name]} for name in DEFAULT_ROWS}
        filled = {"dataset": dataset, **rest, "methods": rows, **given}
        table = given[key]
        if "tasks" not in given and isinstance(table, dict):
            try:
                names = kind.model_validate(table).domain_names()
            except ValidationError:
                names = ["a", "b"]  # the field's own check says what is wrong, with its place
            filled["tasks"] = {f"{source}->{target}": {} for source, target in permutations(names, 2)}
        if key == "arrays" and isinstance(table, dict) and isinstance(filled["tasks"], dict):
            network = {"network": table.get("network", DEFAULT_NETWORK)}
            filled["tasks"] = {
                name: {**network, **task} if isinstance(task, dict) else task for name, task in filled["tasks"].items()
            }
        return filled

    @model_validator(mode="after")
    def _data_described(self) -> Suite:
        for key, (name, _) in DESCRIBED.items():
            if (self.dataset == name) != (getattr(self, key) is not None):
                raise ValueError(f"data set {name!r} and the table [{key}] belong together; one of them is missing")
        return self

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
        rules = self.protocols[protocol]
        scored = "tuned" if rules.tuned == "target" else rules.scored
        return f"{self.name}/{protocol}" + ("" if protocol == scored else f"/{scored}")

    def cell(
        self,
        protocol: str,
        task: str,
        method: str,
        seed: int,
        steps: int | None = None,
        checkpoints: int | None = None,
        backbone: BackboneSettings | None = None,
    ) -> CellSettings:
        """The resolved settings of one cell; what is given here stands before the suite's own."""

        backbone = backbone or self.backbone
        frozen = backbone is not None and backbone.frozen
        row = self.methods.get(method) or MethodSettings(method=method, label=LABELS.get(method, method))
        rules = self.protocols[protocol]
        training = self.frozen.training if frozen else rules.training or self.training
        if row.optimizer is not None and not frozen:
            training = training.model_copy(update={"optimizer": row.optimizer})
        if rules.tuned == "target" and row.classifier is None:
            raise SuiteError(
                f"{self.name}/{protocol} searches the settings of classical rows by target labels; {method!r} is none. "
                "Run it under another protocol."
            )
        row = row.model_copy(  # what is taken up elsewhere, or does not count here, is no part of a cell's identity
            update={
                "settings": {**row.settings, **rules.settings.get(method, {}), **(row.frozen if frozen else {})},
                "frozen": {},
                "optimizer": None,
                "grid": row.grid if rules.tuned == "target" else {},
            }
        )
        network = rules.networks.get(task, self.tasks[task]).model_copy(update={"steps": None})
        usual = self.usual_rules(protocol, task, frozen=frozen)
        wanted = {"steps": steps, "checkpoints": checkpoints}
        rules = usual.model_copy(update={k: v for k, v in wanted.items() if v is not None})
        if backbone is not None:
            network = TaskSettings(network=backbone.name, channels=3)
        return CellSettings(
            suite=self.name,
            protocol=self.protocol_id(protocol),
            task=task,
            method=method,
            seed=seed,
            dataset=self.dataset,
            size=_side(self, backbone, network),
            rules=rules,
            network=network,
            adaptation=row,
            training=training,
            backbone=backbone,
            images=self.images,
            features=self.features,
            arrays=self.arrays,
            departs=()
            if row.classifier is not None  # nothing is trained in steps
            else departures(
                rules=rules,
                usual=usual,
                backbone=backbone,
                usual_backbone=self._usual_backbone(backbone),
                alike=self.alike(protocol),
            ),
        )

    def usual_rules(self, protocol: str, task: str, *, frozen: bool = False) -> Protocol:
        """A protocol as it is for one task, without what is taken up elsewhere."""
        rules = self.protocols[protocol]
        steps = self.frozen.steps if frozen else rules.networks.get(task, self.tasks[task]).steps or rules.steps
        return rules.model_copy(update={"networks": {}, "training": None, "settings": {}, "steps": steps})

    def alike(self, protocol: str) -> bool:
        """Whether all tasks of a protocol have as many steps."""
        tasks = self.protocols[protocol].tasks or self.tasks
        return len({self.usual_rules(protocol, task).steps for task in tasks}) == 1

    def _usual_backbone(self, backbone: BackboneSettings | None) -> BackboneSettings | None:
        """The suite's backbone, its weights as they are called in a cell of ``backbone``; None without photographs."""
        usual = self.backbone
        if backbone is None or usual is None or self.images is None or usual.weights == backbone.weights:
            return usual if self.images is not None else None
        from ..shared.backbones import weights_digest

        source: Path | str = usual.weights if usual.weights in ("pretrained", "none") else Path(usual.weights)
        with suppress(ValueError):  # a file that is not here: its name tells the weights apart as well
            usual = usual.model_copy(update={"weights": weights_digest(source, backbone.name)})
        return usual


def _side(suite: Suite, backbone: BackboneSettings | None, network: TaskSettings) -> int:
    """Pixels that the network sees; 1 where the data has a shape of its own."""
    from ..shared.backbones import find_backbone
    from ..shared.extractors import EXTRACTORS

    if suite.arrays is not None or (backbone is not None and backbone.name == "features"):
        return 1
    if backbone is None:
        return EXTRACTORS[network.network].side
    return backbone.side or find_backbone(backbone.name).side


def choose_backbone(
    suite: Suite,
    *,
    name: str | None = None,
    weights: str | None = None,
    normalise: str | None = None,
    side: int | None = None,
    ten_crops: bool = False,
    frozen: bool = False,
) -> tuple[BackboneSettings | None, Path | str]:
    """The suite's backbone after what was asked for instead: its settings, and where its weights are.

    Raises:
        SuiteError: if the suite has no photographs, for an unknown backbone or normalisation, or missing weights.
    """
    asked = {"backbone": name, "weights": weights, "normalise": normalise, "side": side, "ten-crops": ten_crops or None}
    if suite.images is None or suite.backbone is None:
        given = [f"--{key}" for key, value in {**asked, "frozen": frozen or None}.items() if value is not None]
        if given:
            raise SuiteError(f"{suite.name} has no photographs, so {', '.join(given)} means nothing; leave it out.")
        return suite.backbone, "none"
    from ..shared.backbones import find_backbone, weights_digest

    if normalise not in (None, "imagenet", "caffe"):
        raise SuiteError("--normalise: " + nearest("word", normalise, ["imagenet", "caffe"]))
    settings = suite.backbone
    source: Path | str = weights or settings.weights
    if source not in ("pretrained", "none"):
        source = Path(source)
    wanted = {
        "name": name,
        "normalise": normalise,
        "side": side,
        "ten_crops": ten_crops or None,
        "frozen": frozen or None,
    }
    settings = settings.model_copy(update={key: value for key, value in wanted.items() if value is not None})
    try:
        find_backbone(settings.name)
        digest = weights_digest(source, settings.name)
    except (ValueError, OSError, ImportError) as error:
        raise SuiteError(str(error)) from error
    if settings.side is not None and settings.side > suite.images.side:
        raise SuiteError(
            f"--side {settings.side} is more than the {suite.images.side} pixels that images are prepared at; pass at "
            f"most {suite.images.side}."
        )
    return settings.model_copy(update={"weights": digest}), source


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
    if suite.images is not None:
        suite.images.call(name)
    if suite.arrays is None:
        return suite
    from .own_networks import with_own_networks

    try:
        return with_own_networks(suite, path.parent)
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from error


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
    from ..shared.backbones import find_backbone
    from ..shared.extractors import EXTRACTORS
    from .datasets import DATASETS

    table = suite.images or suite.features or suite.arrays
    domains = table.domain_names() if table is not None else []

    def need(what: str, name: str, known: Any) -> None:
        if name not in known:
            raise SuiteError(f"{path}: {nearest(what, name, known)}")

    def need_network(settings: TaskSettings) -> None:
        if settings.code or settings.text or settings.path:
            raise SuiteError(f"{path}: name a network alone; its code is read from the file that it names.")
        if suite.arrays is not None:
            from .array_networks import check_name

            try:
                check_name(settings.network)
            except (ValueError, ImportError) as error:
                raise SuiteError(f"{path}: [arrays]: {error}") from error
        elif suite.backbone is None:
            need("network", settings.network, EXTRACTORS)

    need("data set", suite.dataset, [*DATASETS, *(name for name, _ in DESCRIBED.values())])
    need("protocol", suite.protocol, suite.protocols)
    for task, settings in suite.tasks.items():
        if task.count("->") != 1 or len(set(task.split("->"))) < 2:
            raise SuiteError(f"{path}: a task is two domains, written 'source->target'; got {task!r}.")
        need_network(settings)
        for domain in task.split("->"):
            if domains and domain not in domains:
                raise SuiteError(f"{path}: task {task!r}: " + nearest("domain", domain, domains))
    if suite.backbone is not None and suite.backbone.name != "features":
        try:
            find_backbone(suite.backbone.name)
        except (ValueError, ImportError) as error:
            raise SuiteError(f"{path}: {error}") from error
    for name, row in suite.methods.items():
        if row.code:
            raise SuiteError(f"{path}: row {name!r}: 'code' is not for suite files; use --method-from FILE:CLASS.")
        if row.classifier is None:
            need("method", row.method, METHODS)
            continue
        from .classical import check_row

        try:
            check_row(row)
        except (TypeError, ValueError) as error:
            raise SuiteError(f"{path}: row {name!r}: {error}") from error
    for name in suite.default_methods:
        need("method", name, suite.methods)
    for protocol in suite.protocols.values():
        for task in (*protocol.tasks, *protocol.networks):
            need("task", task, suite.tasks)
        for settings in protocol.networks.values():
            need_network(settings)
        for row_name in protocol.settings:
            need("method", row_name, suite.methods)
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
