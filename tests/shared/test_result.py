"""What training gives back predicts, saves itself, and loads without its method."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import create, data, network, same, train

from landbridge.dann.dann import DANN
from landbridge.shared.extractors import create_network
from landbridge.shared.network import Network, wrap
from landbridge.shared.result import FitResult, load
from landbridge.shared.source_only import SourceOnly

IMAGES = torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_name() -> FitResult:
    model = create_network("lenet16-slim", classes=3, features=5)
    return train(SourceOnly(), model, source=(IMAGES, torch.arange(20) % 3), target=IMAGES, steps=2)


def test_predictions() -> None:
    result = train(create(DANN))
    x = data().target
    with torch.no_grad():
        features, logits = result.network(x)
    assert not result.network.training
    torch.testing.assert_close(result.forward(x), (features, logits))
    assert torch.equal(result.predict(x), logits.argmax(1))
    torch.testing.assert_close(result.predict_proba(x), logits.softmax(1))
    assert torch.equal(result.predict(x.numpy()), result.predict(x))
    assert result.seconds > 0


def test_predictions_by_either_domains_statistics() -> None:
    result = train(create(DANN), batch_statistics="per_domain")
    x = data().target
    assert not torch.equal(result.forward(x)[1], result.forward(x, source=True)[1])
    assert torch.equal(result.forward(x)[1].argmax(1), result.predict(x))


def test_what_create_network_made_loads_alone(tmp_path: Path) -> None:
    result = by_name()
    result.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert same(loaded.network, result.network)
    assert torch.equal(loaded.predict(IMAGES), result.predict(IMAGES))
    assert loaded.method is None
    assert not loaded.network.training
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("statistics", "settings"), [("joint", {"normalise": "caffe"}), ("per_domain", {"bottleneck": 6})]
)
def test_a_network_on_a_backbone_loads_alone(statistics: str, settings: dict[str, Any], tmp_path: Path) -> None:
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    model = create_network("squeezenet1_0", classes=3, **settings)
    more = {"source": (images, torch.arange(6) % 3), "target": images, "steps": 1, "batch_size": 4}
    result = train(create(DANN, features=model.head.in_features), model, batch_statistics=statistics, **more)
    result.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert same(loaded.network, result.network)
    assert loaded.network.spec == model.spec
    for source in (True, False):
        assert torch.equal(loaded.forward(images, source=source)[1], result.forward(images, source=source)[1])


def test_a_bottleneck_on_features_loads_alone(tmp_path: Path) -> None:
    model = create_network("bottleneck", classes=3, channels=6, features=4)
    result = train(SourceOnly(), model)
    result.save(tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model.safetensors").predict(data().target), result.predict(data().target))


@pytest.mark.parametrize("statistics", ["joint", "per_domain"])
def test_a_network_of_your_own_is_passed(statistics: str, tmp_path: Path) -> None:
    result = train(create(DANN), batch_statistics=statistics)
    path = tmp_path / "model.safetensors"
    result.save(path)
    with pytest.raises(
        ValueError, match=r"holds the weights of a network of your own making\. .*load\(path, network\)"
    ):
        load(path)
    loaded = load(str(path), network(seed=4))
    x = data().target
    assert same(loaded.network, result.network)
    for source in (True, False):
        assert torch.equal(loaded.forward(x, source=source)[1], result.forward(x, source=source)[1])


def test_a_wrapped_network(tmp_path: Path) -> None:
    def module() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))

    result = train(create(DANN), wrap(module(), head="2"))
    result.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", wrap(module(), head="2"))
    assert torch.equal(loaded.predict(data().target), result.predict(data().target))


def test_weights_that_two_layers_share(tmp_path: Path) -> None:
    body = torch.nn.Linear(6, 6)
    model = Network(torch.nn.Sequential(body, torch.nn.ReLU(), body), torch.nn.Linear(6, 3))
    train(SourceOnly(), model).save(tmp_path / "model.safetensors")
    other = torch.nn.Linear(6, 6)
    fresh = Network(torch.nn.Sequential(other, torch.nn.ReLU(), other), torch.nn.Linear(6, 3))
    assert same(load(tmp_path / "model.safetensors", fresh).network, model)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    by_name().save(tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"load: the weights in .*model\.safetensors do not fit the network: [^$]*size"
    ):
        load(tmp_path / "model.safetensors", create_network("lenet16-slim", classes=4, features=5))


def test_no_file_or_another_one(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match=r"load found no file at .*Pass the path given to FitResult\.save"):
        load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is another safetensors file"):
        load(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"landbridge": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match="is another safetensors file"):
        load(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_part_of_a_file(share: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    by_name().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"load cannot read .*model\.safetensors .*that FitResult\.save wrote"):
        load(path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "model.safetensors"
    for content in (pickle.dumps(Payload()), pickle.dumps({"a": Payload()})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="load cannot read"):
            load(path)
    torch.save({"a": Payload()}, path)
    with pytest.raises(ValueError, match="load cannot read"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_labels_are_no_inputs() -> None:
    result = train(create(DANN))
    with pytest.raises(TypeError, match=r"predict needs the inputs alone, .*; got a tuple of 2\. Leave labels out"):
        result.predict((data().target, data().labels))
    with pytest.raises(TypeError, match=r"predict needs the inputs alone, .*; got a list of 1\."):
        result.predict([data().target])
    with pytest.raises(TypeError, match="predict needs inputs as a numeric array or tensor; got str"):
        result.predict("photos")
    with pytest.raises(ValueError, match=r"predict needs inputs of shape \(samples, \.\.\.\); got \(6,\)"):
        result.predict(data().target[0])


def test_inputs_of_another_shape_are_named() -> None:
    result, wrong = train(create(DANN)), data().target[:, :4]
    with pytest.raises(
        ValueError, match=r"predict needs inputs of the shape trained on, \(samples, 6\); got \(33, 4\)"
    ) as caught:
        result.predict(wrong)
    assert "shapes cannot be multiplied" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(ValueError, match=r"of the shape trained on; got \(33, 4\), of which"):
        FitResult(result.network, None, result.history, 0.0).predict_proba(wrong)


def test_an_error_of_the_networks_own_stays_its_own() -> None:
    result = train(create(DANN))

    def stop(*_: object) -> None:
        raise RuntimeError("out of patience")

    result.network.head.register_forward_pre_hook(stop)
    with pytest.raises(RuntimeError, match=r"^out of patience$"):
        result.predict(data().target)
