"""Suites: what ships can be built, a mistake in a file is named with its place, and what makes a cell another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_suite import TINY, tiny_file, tiny_job, tiny_suite
from torch import nn

from landbridge.benchmarks import cell as cells
from landbridge.benchmarks.cell import Job, build_method, cell_identity, load_cell_data
from landbridge.benchmarks.suite import Suite, SuiteError, read_suite, shipped, suites
from landbridge.dann.cdan import CDAN
from landbridge.dann.dann import DANN
from landbridge.shared.discriminator import DomainDiscriminator
from landbridge.shared.extractors import create_network


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return tiny_suite(tmp_path_factory.mktemp("suite"))


def sentence(folder: Path, *changes: tuple[str, str]) -> str:
    """What reading the changed suite says; every message names the file."""
    path = tiny_file(folder, *changes)
    with pytest.raises(SuiteError) as caught:
        read_suite(str(path))
    said = str(caught.value)
    assert said.startswith(str(path))
    return said[len(str(path)) :]


def test_the_embedded_suite_ships() -> None:
    assert "optdigits" in suites()


@pytest.mark.parametrize("name", suites())
def test_a_shipped_suite_reads_and_all_its_methods_can_be_built(name: str) -> None:
    suite = read_suite(name)
    assert suite.name == name
    for protocol in suite.protocols:
        for task in suite.choose("tasks", None, protocol):
            for method in suite.choose("methods", None, protocol):
                cell = suite.cell(protocol, task, method, 0)
                if cell.adaptation.classifier is None:
                    assert build_method(cell, 10) is not None
    if suite.backbone is None:
        assert {"source-only", "train-on-target"} <= set(suite.choose("methods", None, suite.protocol))
        for settings in suite.tasks.values():
            create_network(settings.network, classes=10, channels=settings.channels)


def test_digits_full_trains_mnist_m_on_its_own_network_in_steps_a_laptop_bears() -> None:
    suite = read_suite("digits")
    cell = suite.cell("full", "mnist->mnist-m", "dann", 0)
    assert (cell.network.network, cell.rules.steps, cell.rules.batch_statistics) == ("lenet28-flat", 1000, "per_domain")
    assert suite.cell("full", "svhn->mnist", "dann", 0).rules.steps == 5000
    rows = "source-only,adabn,dann,cdan,cdan-e,mcd,ddc,dan,jan,deepcoral,deepjdot,mcc,train-on-target"
    assert set(suite.choose("methods", rows, "full")) == set(suite.methods)
    for row in ("dann", "cdan", "cdan-e"):
        method = build_method(suite.cell("full", "mnist->mnist-m", row, 0), 10)
        assert isinstance(method, (DANN, CDAN))
        assert isinstance(method.discriminator, DomainDiscriminator)
        kinds = [type(layer) for layer in method.discriminator]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    dann = build_method(suite.cell("full", "mnist->mnist-m", "dann", 0), 10)
    assert (dann.discriminator[0].in_features, dann.weight) == (768, 1.0)


def test_digits_jmlr_is_the_papers_network_and_optimiser() -> None:
    suite = read_suite("digits")
    assert suite.choose("tasks", None, "jmlr") == ["mnist->mnist-m"]
    for row in ("source-only", "dann", "train-on-target"):
        cell = suite.cell("jmlr", "mnist->mnist-m", row, 0)
        assert (cell.network.network, cell.network.channels, cell.size) == ("ganin28", 3, 28)
        assert (cell.training.batch_size, cell.training.random_shift) == (64, 0)
        optimizer = cell.training.optimizer
        assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.schedule) == ("sgd", 0.01, 0.9, "annealed")
        assert row in {published.method for published in suite.published if published.protocol == cell.protocol}
    dann = build_method(suite.cell("jmlr", "mnist->mnist-m", "dann", 0), 10)
    assert [type(layer) for layer in dann.discriminator] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (dann.discriminator[0].out_features, dann.weight) == (100, 1.0)


def test_a_cell_has_all_settings_of_its_place(tiny: Suite) -> None:
    cell = tiny.cell("short", "clean->noisy", "dann", 1)
    assert (cell.suite, cell.protocol, cell.task, cell.method, cell.seed) == (
        "tiny", "tiny/short/inductive", "clean->noisy", "dann", 1,
    )  # fmt: skip
    assert (cell.dataset, cell.size, cell.track) == ("optdigits", 16, "end-to-end")
    assert (cell.rules.steps, cell.rules.checkpoints, cell.rules.source_holdout) == (6, 3, 0.1)
    assert cell.rules.draw["noisy"] == 100
    assert cell.adaptation.settings == {"hidden": [8]}
    assert (cell.training.batch_size, cell.training.optimizer.lr) == (16, 1e-3)
    assert tiny.cell("short", "clean->noisy", "dann", 1, steps=99).rules.steps == 99
    assert tiny.cell("same", "clean->noisy", "dann", 0).protocol == "tiny/same/transductive"


@pytest.mark.parametrize(
    ("change", "where", "key"),
    [
        (("seeds = 2", "sedes = 2"), "[top level]", "unknown key 'sedes'; did you mean 'seeds'?"),
        (("checkpoints = 3", "chekpoints = 3"), "[protocols.short]", "'chekpoints'; did you mean 'checkpoints'?"),
        (('network = "lenet', 'netwrok = "lenet'), "[tasks.clean->noisy]", "'netwrok'; did you mean 'network'?"),
        (("batch_size", "batchsize"), "[training]", "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (("lr = 1e-3", "lrate = 1e-3"), "[training.optimizer]", "unknown key 'lrate'"),
        (("settings = { hidden", "setings = { hidden"), "[methods.dann]", "'setings'; did you mean 'settings'?"),
        (('source = "A paper', 'sources = "A paper'), "[published.0]", "'sources'; did you mean 'source'?"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest(
    tmp_path: Path, change: tuple[str, str], where: str, key: str
) -> None:
    said = sentence(tmp_path, change)
    assert f"{where} unknown key" in said
    assert key in said
    assert "Known: " in said


def test_the_known_keys_are_those_of_the_place(tmp_path: Path) -> None:
    said = sentence(tmp_path, ("lr = 1e-3", "lrate = 1e-3"))
    assert "Known: backbone_factor, clip, lr, momentum, name, nesterov, schedule, weight_decay" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('method = "dann"', 'method = "dan2"'), "unknown method 'dan2'; did you mean 'dan"),
        (('"lenet16-slim"', '"lenet16-slm"'), "unknown network 'lenet16-slm'; did you mean 'lenet16-slim'?"),
        (('protocol = "short"', 'protocol = "shrt"'), "unknown protocol 'shrt'; did you mean 'short'?"),
        (('tasks = ["clean->noisy"]', 'tasks = ["clean->nosy"]'), "unknown task 'clean->nosy'; did you mean"),
        (('dataset = "optdigits"', 'dataset = "optdigit"'), "unknown data set 'optdigit'; did you mean 'optdigits'?"),
        (('["source-only", "dann"]', '["source-only", "dnan"]'), "unknown method 'dnan'; did you mean 'dann'?"),
        (('[tasks."clean->noisy"]', '[tasks."clean-noisy"]'), "written 'source->target'; got 'clean-noisy'"),
        (('[[published]]\nmethod = "dann"', '[[published]]\nmethod = "dnan"'), "unknown method 'dnan'"),
        (("tiny/short/inductive", "tiny/short/inductve"), "did you mean 'tiny/short/inductive'?"),
        (('"clean->noisy" = 77.1', '"clean->nosy" = 77.1'), "unknown task 'clean->nosy'"),
    ],
)
def test_an_unknown_name_meets_the_nearest(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert says in sentence(tmp_path, change)


@pytest.mark.parametrize(
    ("change", "where", "came"),
    [
        (("seeds = 2", "seeds = 0"), "seeds: ", "got 0"),
        (("steps = 6", "steps = -6"), "protocols.short.steps: ", "got -6"),
        (("steps = 6", "steps = 6.5"), "protocols.short.steps: ", "got 6.5"),
        (("checkpoints = 3", "source_holdout = 1.0"), "protocols.short.source_holdout: ", "got 1.0"),
        (("noisy = 100", "noisy = 0"), "protocols.short.draw.noisy: ", "got 0"),
        (('"transductive"', '"transduktive"'), "protocols.same.scored: ", "got 'transduktive'"),
        (("checkpoints = 3", 'batch_statistics = "split"'), "protocols.short.batch_statistics: ", "got 'split'"),
        (("batch_size = 16", 'batch_size = "many"'), "training.batch_size: ", "got 'many'"),
        (("lr = 1e-3", "lr = 0"), "training.optimizer.lr: ", "got 0"),
        (("lr = 1e-3", "momentum = 1"), "training.optimizer.momentum: ", "got 1"),
        (('name = "adam"', 'name = "adamm"'), "training.optimizer.name: ", "got 'adamm'"),
        (('trains_on = "target"', 'trains_on = "both"'), "methods.train-on-target.trains_on: ", "got 'both'"),
        (("= 77.1", "= 177.1"), "published.0.values.clean->noisy: ", "got 177.1"),
        (('"not stated"', '"unknown"'), "published.0.selected: ", "got 'unknown'"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(tmp_path: Path, change: tuple[str, str], where: str, came: str) -> None:
    said = sentence(tmp_path, change)
    assert where in said
    assert came in said


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    said = sentence(tmp_path, ("seeds = 2", "sedes = 2"), ("steps = 6", "steps = 0"))
    assert "sedes" in said
    assert "protocols.short.steps" in said


def test_a_missing_key_is_told_and_nothing_else_of_the_file(tmp_path: Path) -> None:
    assert sentence(tmp_path, ('protocol = "short"', "")) == ": protocol is missing"


def test_a_protocol_of_another_suite_may_be_published(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path, ("tiny/short/inductive", "digits/of/theirs"))
    assert suite.published[0].protocol == "digits/of/theirs"


def test_broken_files_are_named(tmp_path: Path) -> None:
    assert "is not valid TOML" in sentence(tmp_path, ("seeds = 2", "seeds = "))
    path = tmp_path / "latin.toml"
    path.write_bytes(TINY.replace("A paper", "Müller").encode("latin-1"))
    with pytest.raises(SuiteError, match=r"latin.toml is not valid TOML"):
        read_suite(str(path))


def test_a_suite_that_is_not_there_meets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"unknown suite 'optdigit'; did you mean 'optdigits'\?.*path of a \.toml"):
        read_suite("optdigit")
    with pytest.raises(SuiteError, match=r"no suite file .*none\.toml\. Known suites: .*optdigits"):
        read_suite(str(tmp_path / "none.toml"))


def test_tasks_and_methods_are_chosen_by_name(tiny: Suite) -> None:
    def tasks(asked: str | None, protocol: str = "short") -> list[str]:
        return tiny.choose("tasks", asked, protocol)

    assert tasks(None) == ["clean->noisy", "upright->rotated"]
    assert tasks(None, "same") == ["clean->noisy"]
    assert tasks("upright->rotated") == tasks("upright-to-rotated") == ["upright->rotated"]
    assert tasks(" upright-to-rotated, clean->noisy,") == ["clean->noisy", "upright->rotated"]  # as in the suite
    assert tiny.choose("methods", None, "short") == ["source-only", "dann"]
    assert tiny.choose("methods", "deepcoral,seen", "short") == ["seen", "deepcoral"]


def test_without_default_methods_all_are_run(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path, ('default_methods = ["source-only", "dann"]', ""))
    assert suite.choose("methods", None, "short") == list(suite.methods)


@pytest.mark.parametrize(
    ("what", "asked", "protocol", "says"),
    [
        ("tasks", "clean-", "short", "unknown task 'clean-'; Known: clean->noisy, upright"),  # the shell took '>noisy'
        ("tasks", "clean->nosy", "short", "did you mean 'clean->noisy'?"),
        ("tasks", "upright->rotated", "same", "tiny/same: unknown task 'upright->rotated'"),
        ("methods", "dann,deepcorall", "short", "unknown method 'deepcorall'; did you mean 'deepcoral'?"),
        ("methods", " , ", "short", "no methods in ' , '. Known: source-only, "),
    ],
)
def test_an_unknown_choice_meets_the_nearest(tiny: Suite, what: str, asked: str, protocol: str, says: str) -> None:
    with pytest.raises(SuiteError) as caught:
        tiny.choose(what, asked, protocol)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert ("In a shell, quote tasks ('a->b'), or write a-to-b." in str(caught.value)) == (what == "tasks")


def test_shipped_suites_are_found_among_other_names() -> None:
    assert shipped(["a suite of mine", "optdigits"]) == [read_suite("optdigits")]
    assert [suite.name for suite in shipped(suites())] == suites()


IDENTITY_CHANGES: list[tuple[str, str]] = [
    ("steps = 6", "steps = 7"),
    ("checkpoints = 3", "checkpoints = 2"),
    ("checkpoints = 3", "source_holdout = 0.2"),
    ("noisy = 100", "noisy = 101"),
    ("batch_size = 16", "batch_size = 17"),
    ("lr = 1e-3", "lr = 2e-3"),
    ("{ hidden = [8] }", "{ hidden = [9] }"),
    ('network = "lenet16-slim"', 'network = "lenet16"'),
    ('name = "tiny"', 'name = "tinny"'),
]


@pytest.mark.parametrize("change", IDENTITY_CHANGES)
def test_settings_change_the_identity(tmp_path: Path, change: tuple[str, str]) -> None:
    changes = (change, ("tiny/short", "tinny/short")) if "tinny" in change[1] else (change,)
    assert tiny_job(tmp_path, changes=changes).identity != tiny_job(tmp_path).identity


def test_the_place_in_the_table_changes_the_identity(tmp_path: Path) -> None:
    jobs: list[Callable[[], Job]] = [
        lambda: tiny_job(tmp_path),
        lambda: tiny_job(tmp_path, "deepcoral"),
        lambda: tiny_job(tmp_path, seed=1),
        lambda: tiny_job(tmp_path, task="upright->rotated"),
        lambda: tiny_job(tmp_path, protocol="same"),
    ]
    assert len({make().identity for make in jobs}) == len(jobs)


def test_labels_other_tasks_and_the_package_s_version_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_job(tmp_path).identity
    assert tiny_job(tmp_path, changes=(('label = "DANN"', 'label = "domain-adversarial"'),)).identity == before
    assert tiny_job(tmp_path, changes=(("steps = 6", "steps = 6\ntasks = ['clean->noisy']"),)).identity == before
    monkeypatch.setattr(cells, "__version__", "99.0")
    assert tiny_job(tmp_path).identity == before


def test_the_data_and_the_method_s_version_change_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_suite(tmp_path).cell("short", "clean->noisy", "dann", 0)
    data = load_cell_data(settings, None)
    before = cell_identity(settings, data)
    assert cell_identity(settings, data) == before
    assert cell_identity(settings, data._replace(checksum="0" * 64)) != before
    other = cell_identity(settings.model_copy(update={"adaptation": tiny_suite(tmp_path).methods["seen"]}), data)
    monkeypatch.setattr(DANN, "version", DANN.version + 1)
    assert cell_identity(settings, data) not in (before, other)


# ---- a protocol with a network, a schedule and settings of its own

OWN = """
[protocols.theirs]
steps = 4
networks = { "clean->noisy" = { network = "lenet16", steps = 3 } }
settings = { dann = { weight = 0.5 } }
[protocols.theirs.training]
batch_size = 8
[protocols.theirs.training.optimizer]
name = "sgd"
lr = 0.01
schedule = "annealed"

[protocols.same]"""


def test_a_protocol_may_name_networks_training_and_settings(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path, ("\n[protocols.same]", OWN))
    cell = suite.cell("theirs", "clean->noisy", "dann", 0)
    assert (cell.network.network, cell.rules.steps, cell.departs) == ("lenet16", 3, ())
    longer = suite.cell("theirs", "clean->noisy", "dann", 0, steps=9)
    assert (longer.rules.steps, longer.departs) == (9, ("9 steps",))  # tasks differ in theirs
    usual = suite.cell("theirs", "upright->rotated", "dann", 0)
    assert (usual.network.network, usual.rules.steps) == ("lenet16-slim", 4)
    assert (cell.training.batch_size, cell.training.optimizer.name) == (8, "sgd")
    assert cell.adaptation.settings == {"hidden": [8], "weight": 0.5}
    assert suite.cell("theirs", "clean->noisy", "deepcoral", 0).adaptation.settings == {}
    other = suite.cell("short", "clean->noisy", "dann", 0)
    assert other == tiny_suite(tmp_path).cell("short", "clean->noisy", "dann", 0)  # nothing else has moved


def test_what_a_protocol_says_of_others_is_no_part_of_a_cell(tmp_path: Path) -> None:
    cell = tiny_suite(tmp_path, ("\n[protocols.same]", OWN)).cell("theirs", "upright->rotated", "deepcoral", 0)
    changes = ("\n[protocols.same]", OWN.replace("lenet16", "dtn32").replace("weight = 0.5", "weight = 0.1"))
    assert tiny_suite(tmp_path, changes).cell("theirs", "upright->rotated", "deepcoral", 0) == cell


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"clean->noisy" = { network', '"clean->nosy" = { network'), "unknown task 'clean->nosy'; did you mean"),
        (('network = "lenet16"', 'network = "lenet61"'), "unknown network 'lenet61'; did you mean 'lenet16"),
        (("settings = { dann", "settings = { dnan"), "unknown method 'dnan'; did you mean 'dann'?"),
        (('name = "sgd"', 'name = "sdg"'), "protocols.theirs.training.optimizer.name: "),
    ],
)
def test_a_mistake_in_a_protocols_own_settings_is_told(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in OWN
    assert says in sentence(tmp_path, ("\n[protocols.same]", OWN.replace(*change)))
