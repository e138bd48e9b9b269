"""MNIST-M by its recipe: the difference with a patch, the cache, and the real thing where the files are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landbridge.benchmarks.datasets import DataError, load_task, mnist_m
from landbridge.benchmarks.datasets.mnist_m import find_photos, make_mnist_m
from landbridge.benchmarks.datasets.streams import random_words

DIGITS = np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), dtype=np.uint8)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    (data / "BSDS500" / "train").mkdir(parents=True)
    for i, shape in enumerate([(40, 60, 3), (60, 40, 3), (28, 28, 3)]):
        photo = np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(photo).save(data / "BSDS500" / "train" / f"{i}.jpg")
    return data


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def test_every_pixel_follows_the_equation(data: Path):
    made = make_mnist_m(DIGITS, "train", data).astype(int)
    photos = []
    for path in find_photos(data):
        with Image.open(path) as file:
            photos.append(np.asarray(file).astype(int))
    for row, (which, down, along) in enumerate(random_words("mnist-m/train", np.arange(12), 3).tolist()):
        photo = photos[which % 3]
        i, j = down % (photo.shape[0] - 27), along % (photo.shape[1] - 27)
        for k in range(3):
            assert (made[row, k] == abs(DIGITS[row, 0].astype(int) - photo[i : i + 28, j : j + 28, k])).all()


def test_splits_take_other_patches(data: Path):
    assert (make_mnist_m(DIGITS, "train", data) != make_mnist_m(DIGITS, "test", data)).any((1, 2, 3)).all()


def test_made_once_and_kept_in_the_data_folder(data: Path, monkeypatch: pytest.MonkeyPatch):
    made = make_mnist_m(DIGITS, "train", data)
    (file,) = kept(data)
    assert file.parent == data / "landbridge-cache"
    assert not [path for path in file.parent.iterdir() if path != file]
    with monkeypatch.context() as patched:
        patched.setattr(mnist_m, "_blend", None)
        assert (make_mnist_m(DIGITS, "train", data) == made).all()
    file.write_bytes(file.read_bytes()[:100])  # damaged: made again
    assert (make_mnist_m(DIGITS, "train", data) == made).all()
    assert (np.load(file) == made).all()
    make_mnist_m(DIGITS[::-1], "train", data)  # other digits, another file
    assert len(kept(data)) == 2
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(data / "BSDS500" / "train" / "0.jpg")
    make_mnist_m(DIGITS, "train", data)  # other photographs, another file
    assert len(kept(data)) == 3


def test_read_only_data_folder_is_left_alone(data: Path):
    data.chmod(0o555)
    try:
        made = make_mnist_m(DIGITS, "train", data)
        assert not kept(data)
        assert len(kept(data.parent / "cache" / "landbridge")) == 1
        assert (make_mnist_m(DIGITS, "train", data) == made).all()
    finally:
        data.chmod(0o755)


def test_nowhere_to_keep_it(data: Path, monkeypatch: pytest.MonkeyPatch):
    (data / "landbridge-cache").write_text("in the way")
    (data.parent / "cache").write_text("in the way")
    assert make_mnist_m(DIGITS, "train", data).shape == (12, 3, 28, 28)


def test_official_layout_of_the_photographs(data: Path):
    official = data / "BSR" / "BSDS500" / "data" / "images"
    official.mkdir(parents=True)
    (data / "BSDS500" / "train").rename(official / "train")
    assert [path.name for path in find_photos(data)] == ["0.jpg", "1.jpg", "2.jpg"]


def test_no_photographs_or_a_damaged_one(data: Path, tmp_path: Path):
    with pytest.raises(
        DataError, match=r"expected photographs \(\*.jpg\); got none. .*BSR_bsds500.tgz.*mnist_m.tar.gz"
    ):
        make_mnist_m(DIGITS, "train", tmp_path)
    path = data / "BSDS500" / "train" / "1.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1.jpg: expected a photograph"):
        make_mnist_m(DIGITS, "train", data)
    Image.fromarray(np.zeros((20, 90, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"1.jpg: expected a photograph of 28x28 at least; got 20x90"):
        make_mnist_m(DIGITS, "train", data)


def test_a_pickle_is_never_read(data: Path):
    (data / "mnist_m").mkdir()
    (data / "mnist_m" / "keras_mnistm.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert mnist_m.find_released(data, "train") is None


def test_real_mnist_m():
    folder = os.environ.get("LANDBRIDGE_DATA")
    if not folder or not find_photos(Path(folder)):
        pytest.skip("LANDBRIDGE_DATA names no folder with MNIST and BSDS500")
    task = load_task("digits", "mnist->mnist-m", size=28, channels=3, draw={"mnist": 2000}, data=Path(folder))
    assert task.target_train.inputs.shape == (60000, 3, 28, 28)
    assert task.target_eval.inputs.shape == (10000, 3, 28, 28)
    share = (task.target_train.inputs.std((2, 3)) > 5).mean()
    assert share > 0.99  # a digit or a photograph shows in every channel
