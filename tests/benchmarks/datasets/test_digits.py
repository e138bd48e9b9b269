"""Real digits: small files in the original formats through the real loaders, and the real files where they are."""

from __future__ import annotations

import bz2
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from landbridge.benchmarks.datasets import DataError, Split, TaskData, digits, load_task, mnist_m, status

N, M = 30, 20  # images in the small training and test files


def images(name: str, n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(name) + n).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 10


def write_mnist(data: Path, side: int = 28) -> None:
    raw = data / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, n in (("train", N), ("t10k", M)):
        header = struct.pack(">iiii", 2051, n, side, side)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images("mnist", n, side, side).tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 2049, n) + labels(n).astype(np.uint8).tobytes()
        )


def write_usps(data: Path, pixels: int = 256) -> None:
    (data / "usps").mkdir(exist_ok=True)
    for name, n in (("usps.bz2", N), ("usps.t.bz2", M)):
        lines = []
        for image, label in zip(images("usps", n, pixels), labels(n), strict=True):
            values = " ".join(f"{i}:{value / 127.5 - 1:.6f}" for i, value in enumerate(image.tolist(), 1))
            lines.append(f"{label + 1} {values} \n")
        (data / "usps" / name).write_bytes(bz2.compress("".join(lines).encode()))


def write_mat(path: Path, n: int, ten: bool = True, side: int = 32) -> None:
    path.parent.mkdir(exist_ok=True)
    y = labels(n).astype(np.uint8)
    savemat(
        path,
        {"X": images("mat", n, side, side, 3).transpose(1, 2, 3, 0), "y": np.where(ten & (y == 0), 10, y)[:, None]},
    )


def write_svhn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN

    lists = {}
    for split, n in (("train", N), ("test", M)):
        path = data / "svhn" / f"{split}_32x32.mat"
        write_mat(path, n)
        lists[split] = ["http://none", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", lists)


def write_syn(data: Path, ten: bool = False, side: int = 32) -> None:
    for split, n in (("train", N), ("test", M)):
        write_mat(data / "syn" / f"synth_{split}_32x32.mat", n, ten, side)


def write_released(data: Path, side: int = 32) -> None:
    for split, n in (("train", N - 1), ("test", M - 1)):
        folder = data / "mnist_m" / f"mnist_m_{split}"
        folder.mkdir(parents=True)
        order = range(n - 1, -1, -1)  # the list's order counts, not that of the names
        for i in order:
            Image.fromarray(images("m", n, side, side, 3)[i]).save(folder / f"{i:08d}.png")
        lines = [f"{i:08d}.png {labels(n)[i]}\n" for i in order]
        (data / "mnist_m" / f"mnist_m_{split}_labels.txt").write_text("".join(lines))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with every domain, small."""
    for counts in digits.COUNTS.values():
        small = {"train": (N - 1, N), "test": (M - 1, M)}
        for split in ("train", "test"):
            monkeypatch.setitem(counts, split, small[split][2 - len(counts[split]) :])
    write_mnist(tmp_path)
    write_usps(tmp_path)
    write_svhn(tmp_path, monkeypatch)
    write_released(tmp_path)
    write_syn(tmp_path)
    return tmp_path


def load(data: Path | None, task: str, size: int = 28, channels: int = 1, **settings: object) -> TaskData:
    settings = {"source_holdout": 0.2, **settings}
    return load_task("digits", task, size=size, channels=channels, data=data, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", digits.TASKS)
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3)])
def test_every_task_in_every_form(data: Path, task: str, size: int, channels: int):
    made = load(data, task, size, channels)
    short = int(task.endswith("mnist-m"))
    counts = [24, 6, N - short, M - short]
    for split, n in zip(made[:4], counts, strict=True):
        assert isinstance(split, Split)
        assert split.inputs.shape == (n, channels, size, size)
        assert split.inputs.dtype == np.uint8
        assert split.inputs.flags.c_contiguous
        assert split.labels.dtype == split.rows.dtype == np.int64
        if not short or n > N:
            assert (split.labels == labels(100)[split.rows]).all()
    assert made.checksum == load(data, task, size, channels).checksum


def test_images_come_through_unchanged_at_their_own_size(data: Path):
    source = load(data, "mnist->usps", 28)
    assert (source.source_train.inputs[:, 0] == images("mnist", N, 28, 28)[source.source_train.rows]).all()
    target = load(data, "mnist->usps", 16).target_train
    written = images("usps", N, 256).reshape(N, 16, 16).astype(int)
    assert np.abs(target.inputs[:, 0].astype(int) - written).max() <= 1  # torchvision cuts off after the point
    for task, part in (("svhn->mnist", "source_train"), ("syn->svhn", "target_eval"), ("syn->svhn", "source_train")):
        split = getattr(load(data, task, 32, 3), part)
        n = M if part == "target_eval" else N
        assert (split.inputs == images("mat", n, 32, 32, 3).transpose(0, 3, 1, 2)[split.rows]).all()
    released = load(data, "mnist->mnist-m", 32, 3).target_train
    assert (released.inputs == images("m", N - 1, 32, 32, 3).transpose(0, 3, 1, 2)[::-1]).all()
    assert (released.labels == labels(N - 1)[::-1]).all()


def test_zero_is_ten_in_svhn_and_either_in_syn(data: Path):
    zero = load(data, "syn->svhn", 32).source_train
    write_syn(data, ten=True)
    ten = load(data, "syn->svhn", 32)
    assert (ten.source_train.labels == zero.labels).all()
    assert ten.target_train.labels.tolist() == labels(N).tolist()


def test_draw_applies_to_training_splits_of_both_domains(data: Path):
    drawn = load(data, "mnist->usps", draw={"mnist": 20, "usps": 10})
    assert [len(split.rows) for split in drawn[:4]] == [16, 4, 10, M]  # type: ignore[union-attr]
    assert drawn.target_eval.rows.tolist() == list(range(M))
    transductive = load(data, "mnist->usps", draw={"mnist": 20, "usps": 10}, scored="transductive")
    assert transductive.target_eval.rows.tolist() == drawn.target_train.rows.tolist()


def test_no_data_folder(tmp_path: Path):
    with pytest.raises(DataError, match="Pass --data DIR, or set the environment variable LANDBRIDGE_DATA"):
        load(None, "mnist->usps")
    with pytest.raises(DataError, match=r"nowhere: expected the data folder; got no folder of that name"):
        load(tmp_path / "nowhere", "mnist->usps")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("mnist->usps", "MNIST/raw/train-labels-idx1-ubyte"),
        ("mnist->usps", "usps/usps.t.bz2"),
        ("svhn->mnist", "svhn/train_32x32.mat"),
        ("syn->svhn", "syn/synth_train_32x32.mat"),
        ("mnist->mnist-m", "mnist_m/mnist_m_train/00000003.png"),
        ("mnist->mnist-m", "mnist_m/mnist_m_test_labels.txt"),
    ],
)
def test_missing_file_and_damaged_file(data: Path, task: str, name: str):
    whole = (data / name).read_bytes()
    (data / name).write_bytes(whole[: len(whole) // 2 + 3])
    with pytest.raises(DataError) as damaged:
        load(data, task)
    assert Path(name).parts[0] in damaged.value.file
    (data / name).unlink()
    with pytest.raises(DataError) as absent:
        load(data, task)
    assert absent.value.file == str(data / name)
    assert "data folder" in str(absent.value)


@pytest.mark.parametrize("domain", ["mnist", "usps", "svhn", "syn", "mnist-m"])
def test_wrong_count(data: Path, monkeypatch: pytest.MonkeyPatch, domain: str):
    monkeypatch.setitem(digits.COUNTS[domain], "train", (31, 77))
    task = {"mnist": "mnist->usps", "syn": "syn->svhn"}.get(domain) or next(
        task for task in digits.TASKS if task.endswith(domain)
    )
    with pytest.raises(DataError, match=r"expected 31 or 77 images \(train split\); got (30|29)\. Delete it and get"):
        load(data, task)


def test_labels_that_do_not_fit_the_images(data: Path):
    raw = data / "MNIST" / "raw"
    (raw / "train-labels-idx1-ubyte").write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match=r"expected 30 labels \(train split\); got 20"):
        load(data, "mnist->usps")
    (raw / "train-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, N) + bytes([11] * N))
    with pytest.raises(DataError, match="expected labels from 0 to 9; got 11 to 11"):
        load(data, "mnist->usps")


def test_released_images_are_read_once_and_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(data, "mnist->mnist-m", 32, 3)
    kept = sorted((data / "landbridge-cache").glob("mnist_m_*.npy"))
    assert [path.name.rpartition("-")[0] for path in kept] == ["mnist_m_test", "mnist_m_train"]

    def never(*_: object) -> None:
        raise AssertionError("the images are read again")

    with monkeypatch.context() as patch:
        patch.setattr(mnist_m, "_decoded", never)
        assert load(data, "mnist->mnist-m", 32, 3).checksum == first.checksum
    # damaged, it is made again; so it is after a file has changed
    content = bytearray(kept[1].read_bytes())
    content[-1] ^= 1
    kept[1].write_bytes(content)
    assert load(data, "mnist->mnist-m", 32, 3).checksum == first.checksum
    with Image.open(data / "mnist_m/mnist_m_train/00000002.png") as image:
        other = Image.eval(image, lambda value: 255 - value)
    other.save(data / "mnist_m/mnist_m_train/00000002.png")
    assert load(data, "mnist->mnist-m", 32, 3).checksum != first.checksum


def test_wrong_image_size(data: Path):
    write_mnist(data, side=32)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: expected images of 28x28; got 32x32"):
        load(data, "mnist->usps")
    write_syn(data, side=16)
    with pytest.raises(DataError, match=r"synth_train_32x32.mat: expected images of 32x32; got 16x16"):
        load(data, "syn->svhn")
    write_mnist(data)
    write_usps(data, pixels=64)
    with pytest.raises(DataError, match=r"usps.bz2"):
        load(data, "mnist->usps")
    folder = data / "mnist_m" / "mnist_m_train"
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(folder / "00000002.png")
    with pytest.raises(DataError, match=r"00000002.png: expected an image of 32x32; got 30x30"):
        load(data, "mnist->mnist-m")


def test_label_list_with_an_odd_line(data: Path):
    path = data / "mnist_m" / "mnist_m_train_labels.txt"
    path.write_text(path.read_text() + "00000001.png ten\n")
    with pytest.raises(DataError, match=r"'NAME.png DIGIT' in line 30; got '00000001.png ten'"):
        load(data, "mnist->mnist-m")


def test_status_says_what_is_missing(data: Path, tmp_path_factory: pytest.TempPathFactory):
    assert all(entry.present for entry in status("digits", digits.TASKS, data))
    (data / "usps" / "usps.t.bz2").unlink()
    mnist, usps = status("digits", ["mnist->usps"], data)
    assert (mnist.present, usps.present) == (True, False)
    assert "usps/usps.t.bz2" in usps.how
    assert "usps/usps.bz2" not in usps.how
    empty = tmp_path_factory.mktemp("empty")
    assert not any(entry.present for entry in status("digits", digits.TASKS, empty))
    assert not any(entry.present for entry in status("digits", digits.TASKS))


# ---------------------------------------------------------------- the real files


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("LANDBRIDGE_DATA")
    if not folder:
        pytest.skip("LANDBRIDGE_DATA names no folder with the real data")
    return Path(folder)


@pytest.mark.parametrize("task", ["mnist->usps", "usps->mnist"])
def test_real_mnist_and_usps(real: Path, task: str):
    if not all(entry.present for entry in status("digits", [task], real)):
        pytest.skip("MNIST or USPS is not in LANDBRIDGE_DATA")
    made = load(real, task, 16, draw={"mnist": 2000, "usps": 1800}, source_holdout=0.1)
    sizes = {"mnist": (1800, 200, 2000, 10000), "usps": (1620, 180, 1800, 2007)}
    source, target = task.split("->")
    counts = tuple(len(split.rows) for split in made[:4])  # type: ignore[union-attr]
    assert counts == (*sizes[source][:2], *sizes[target][2:])
    for split in (made.source_train, made.target_train, made.target_eval):
        assert np.bincount(split.labels, minlength=10).min() > 0.06 * len(split.labels)
    assert made.checksum == CHECKSUMS[task]  # read, drawn and resized by integers alone: the same everywhere


CHECKSUMS = {
    "mnist->usps": "42c68c6fe3004fb69caaea08002e17dcad96f10eb6bf0e105b2711cae518d9df",
    "usps->mnist": "b477932e4675b6562b69f0591819497d39866d6fb19f7396917e8077f2f54d1a",
}
