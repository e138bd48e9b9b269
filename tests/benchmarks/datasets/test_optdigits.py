"""The embedded digits: fixed bits, disjoint parts, and shifts that are what they say."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from landbridge.benchmarks.datasets import DataError, Split, TaskData, load_task, optdigits, status

# clean->photo also depends on the decoder of scikit-learn's JPEG files: if it alone changes, that is why
CHECKSUMS = {
    ("clean->noisy", 1): "1b6a8003888213c0e792613c4ceee7c60ef527b44bdc5baa37d028ca76a1a2fe",
    ("upright->rotated", 1): "682f62260039977b1d4cf92fef431aeacc5f7bbfc5387615225e247907cc115e",
    ("clean->photo", 1): "d0c660f5c69275d033d27751c91f133913db57b530a34ba65569809b68ad5cfc",
    ("clean->photo", 3): "a1d7085f64c39a6a9ab1c53c1547afd931ed0933a43375f568711632eada3598",
}


def load(task: str = "clean->noisy", channels: int = 1, **settings: object) -> TaskData:
    return load_task("optdigits", task, size=16, channels=channels, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "channels"), CHECKSUMS)
def test_bits_are_fixed(task: str, channels: int):
    assert load(task, channels).checksum == CHECKSUMS[task, channels]


@pytest.mark.parametrize("task", optdigits.TASKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_types(task: str, channels: int):
    data = load(task, channels)
    assert data.classes == tuple("0123456789")
    counts = []
    for split in data[:4]:
        assert isinstance(split, Split)
        n = len(split.rows)
        assert split.inputs.shape == (n, channels, 16, 16)
        assert split.inputs.dtype == np.uint8
        assert split.inputs.flags.c_contiguous
        assert split.labels.shape == (n,)
        assert split.labels.dtype == split.rows.dtype == np.int64
        counts.append(n)
    assert counts == [647, 72, 719, 359]


def test_parts_are_disjoint_and_whole_and_balanced():
    data = load(source_holdout=0.2)
    rows = np.concatenate([split.rows for split in data[:4]])  # type: ignore[union-attr]
    assert sorted(rows.tolist()) == list(range(1797))
    for split in (data.source_train, data.target_train, data.target_eval):
        share = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert share.min() > 0.07
        assert share.max() < 0.13


def test_labels_belong_to_rows():
    from sklearn.datasets import load_digits

    data = load()
    for split in data[:4]:
        assert isinstance(split, Split)
        assert (split.labels == load_digits().target[split.rows]).all()


def test_doubling_is_bilinear():
    small = np.array([[[0, 16], [8, 4]]])
    wide = np.array([[0, 4, 12, 16], [8, 7, 5, 4]])
    rows = [wide[0], 0.75 * wide[0] + 0.25 * wide[1], 0.25 * wide[0] + 0.75 * wide[1], wide[1]]
    assert (optdigits._double(small)[0, 0] == np.floor(np.array(rows) / 16 * 255 + 0.5)).all()


def test_noise_is_of_the_stated_strength():
    clean, noisy = load(), optdigits._split("noisy", optdigits._parts()[0], 1)
    assert (noisy.rows[np.isin(noisy.rows, clean.source_train.rows)] == clean.source_train.rows).all()
    grey = np.full((500, 1, 16, 16), 100, np.uint8)
    made = optdigits._noisy(grey, np.arange(500))
    white = made == 255
    assert abs(white.mean() - optdigits.SPECKLE / 100) < 0.01
    assert abs(made[~white].astype(float).std() - optdigits.NOISE) < 0.5
    assert abs(made[~white].astype(float).mean() - 100) < 1
    assert not (made[0] == made[1]).all()


def test_photo_is_the_difference_with_patches():
    task = load("clean->photo", 3)
    plain = optdigits._split("clean", task.target_train.rows, 1).inputs.astype(int)
    patch_or_mirror = task.target_train.inputs.astype(int)
    black = np.broadcast_to(plain == 0, patch_or_mirror.shape)
    photo_values = {int(v) for photo in optdigits._photos() for v in np.unique(photo)}
    assert set(np.unique(patch_or_mirror[black]).tolist()) <= photo_values  # where the digit is black the photo shows
    assert not (patch_or_mirror[:, 0] == patch_or_mirror[:, 2]).all()


def test_rotated_images_are_turned_and_others_are_not():
    data = load("upright->rotated")
    upright = optdigits._split("upright", data.target_train.rows, 1).inputs
    assert (optdigits._split("clean", data.target_train.rows, 1).inputs == upright).all()
    assert (data.target_train.inputs != upright).any((1, 2, 3)).all()


def test_transductive_scores_the_rows_adapted_to():
    data = load(scored="transductive")
    assert all((a == b).all() for a, b in zip(data.target_eval, data.target_train, strict=True))
    assert data.checksum != load().checksum


def test_draw_and_holdout():
    data = load(draw={"clean": 100, "noisy": 50}, source_holdout=0.25)
    assert [len(split.rows) for split in data[:4]] == [75, 25, 50, 359]  # type: ignore[union-attr]
    whole = load()
    assert set(data.target_train.rows.tolist()) < set(whole.target_train.rows.tolist())
    assert load(source_holdout=0.0).source_holdout is None
    # a row's image does not depend on which others are drawn
    at = {row: i for i, row in enumerate(whole.target_train.rows.tolist())}
    kept = [at[row] for row in data.target_train.rows.tolist()]
    assert (whole.target_train.inputs[kept] == data.target_train.inputs).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dataset": "optdigit"}, "load_task: unknown data set 'optdigit'; did you mean 'optdigits'"),
        ({"task": "clean->noise"}, r"unknown task 'clean->noise'; did you mean 'clean->noisy'"),
        ({"size": 28}, "needs size as one of 16; got 28"),
        ({"channels": 2}, r"needs channels=1 \(grey\) or channels=3 \(RGB\); got 2"),
        ({"scored": "inductiv"}, "unknown word 'inductiv'; did you mean 'inductive'"),
        ({"source_holdout": 1.0}, r"source_holdout as a share of the source rows in \[0, 1\); got 1.0"),
        ({"draw": {"nosy": 5}}, "unknown domain 'nosy'; did you mean 'noisy'"),
        ({"draw": {"noisy": 0}}, r"draws a positive number of rows; got draw=\{'noisy': 0\}"),
        ({"draw": {"noisy": 2000}}, "cannot draw 2000 rows of 'noisy': its training split has 719"),
    ],
)
def test_wrong_arguments(settings: dict[str, object], words: str):
    arguments = {"dataset": "optdigits", "task": "clean->noisy", "size": 16, "channels": 1, **settings}
    with pytest.raises(ValueError, match=words) as caught:
        load_task(**arguments)  # type: ignore[arg-type]
    assert not isinstance(caught.value, DataError)


def test_status_is_always_there():
    (entry,) = status("optdigits", optdigits.TASKS)
    assert entry.present
    with pytest.raises(ValueError, match="unknown task 'x'"):
        status("optdigits", ["x"])


def test_import_is_light():
    code = (
        "import sys, landbridge.benchmarks.datasets as d; print({'sklearn', 'torchvision', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
