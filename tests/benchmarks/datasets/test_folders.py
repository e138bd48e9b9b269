"""Folders and list files: both layouts, the order of files, and every sentence about what is not as it should be."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_photos import OFFICE31_CLASSES, OFFICE31_COUNTS, THREE_CLASSES, make_photos
from pydantic import ValidationError

from landbridge.benchmarks.datasets.base import DataError
from landbridge.benchmarks.datasets.folders import FolderSettings, holds, scan, scan_all

TWO = FolderSettings(folder="pets", domains={"photo": "photo", "sketch": "sketch"})
OFFICE31 = FolderSettings(
    folder="office31", domains={name: name for name in OFFICE31_COUNTS}, classes=31, counts=OFFICE31_COUNTS
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two domains of three classes, 3 and 2 images each."""
    make_photos(tmp_path / "pets", domains={"photo": 3, "sketch": 2}, classes=THREE_CLASSES, side=8)
    return tmp_path


def empty_files(root: Path, layout: str = "images") -> Path:
    """Office-31 in its shape, of files that hold nothing: listing opens none of them."""
    for domain, count in OFFICE31_COUNTS.items():
        for k, name in enumerate(OFFICE31_CLASSES):
            folder = root / domain / "images" / name if layout == "images" else root / domain / name
            folder.mkdir(parents=True)
            for i in range(count // 31 + (k < count % 31)):
                (folder / f"frame_{i:04d}.jpg").touch()
    return root


# ---------------------------------------------------------------- settings


def test_names_of_domains_and_places() -> None:
    settings = FolderSettings(folder=("a", "b"), domains={"x": ("p", "q")}, lists={"y": "l.txt"})
    assert settings.domain_names() == ["x", "y"]
    assert settings.folders() == ("a", "b")
    assert settings.places("x") == ("p", "q")
    assert settings.places("y") == ("l.txt",)
    assert TWO.folders() == ("pets",)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "no domain is named; give"),
        ({"domains": {"a b": "a"}}, "a domain's name is letters.*got 'a b'"),
        ({"domains": {"a->b": "a"}}, "a domain's name is letters.*got 'a->b'"),
        ({"domains": {".a": "a"}}, "got '.a'"),
        ({"domains": {"a": "a"}, "lists": {"a": "a.txt"}}, "'a' is under both 'domains' and 'lists'"),
        ({"domains": {"amazon": "a"}, "counts": {"amazn": 3}}, "unknown domain 'amazn'; did you mean 'amazon'"),
        ({"domains": {"a": "a"}, "counts": {"a": 0}}, "greater than or equal to 1"),
        ({"domains": {"a": "a"}, "classes": 1}, "greater than or equal to 2"),
        ({"domains": {"a": "a"}, "classes": ["x", "x"]}, "two class names or more are needed, each once; got x, x"),
        ({"domains": {"a": "a"}, "classes": ["x"]}, "two class names or more"),
        ({"domains": {"a": []}}, "a tuple of alternatives is empty"),
        ({"domains": {"a": "a"}, "side": 4}, "greater than or equal to 8"),
        ({"domains": {"a": "a"}, "sides": 64}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        FolderSettings(**settings)  # type: ignore[arg-type]


# ---------------------------------------------------------------- what is found


@pytest.mark.parametrize("layout", ["plain", "images"])
def test_both_layouts_list_the_same(tmp_path: Path, layout: str) -> None:
    make_photos(
        tmp_path / "pets", domains={"photo": (2, 1, 3), "sketch": 1}, classes=THREE_CLASSES, side=8, layout=layout
    )
    found = scan(TWO, tmp_path, "photo")
    assert found.files == (
        "bike/frame_0001.jpg", "bike/frame_0002.jpg", "mouse/frame_0001.jpg",
        "mug/frame_0001.jpg", "mug/frame_0002.jpg", "mug/frame_0003.jpg",
    )  # fmt: skip
    assert found.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert found.labels.dtype == np.int64
    assert found.classes == THREE_CLASSES
    assert found.root == tmp_path / "pets" / "photo" / ("images" if layout == "images" else ".")
    assert (found.strangers, found.place) == ((), ("pets", "domains", "photo"))


@pytest.mark.parametrize("layout", ["plain", "images"])
def test_office31_in_its_true_shape(tmp_path: Path, layout: str) -> None:
    empty_files(tmp_path / "office31", layout)
    (tmp_path / "office31" / "amazon" / "interest_points").mkdir()  # beside images in the collection itself
    if layout == "plain":
        (tmp_path / "office31" / "amazon" / "interest_points").rmdir()
    found = scan_all(OFFICE31, tmp_path, ["webcam", "amazon", "dslr"])
    assert {domain: len(listing.files) for domain, listing in found.items()} == OFFICE31_COUNTS
    assert all(listing.classes == OFFICE31_CLASSES for listing in found.values())
    assert np.bincount(found["dslr"].labels).tolist() == [17, 17] + [16] * 29


def test_a_class_called_images_is_one(tmp_path: Path) -> None:
    make_photos(tmp_path, domains={"a": 1}, classes=["images", "others"], side=8)
    (tmp_path / "a" / "images" / "folder").mkdir()
    found = scan(FolderSettings(domains={"a": "a"}), tmp_path, "a")
    assert found.classes == ("images", "others")
    assert found.strangers == ("images/folder",)


def test_suffixes_hidden_files_and_strangers(data: Path) -> None:
    bike = data / "pets" / "photo" / "bike"
    for name in ("a.JPG", "b.jpeg", "c.PNG", "d.tif", "e.Webp", ".hidden.jpg", "Thumbs.db", "THUMBS.DB", "desktop.ini"):
        (bike / name).touch()
    for name in ("notes.txt", "noextension", "x.jpg.part"):
        (bike / name).touch()
    (bike / "more").mkdir()
    (bike / "folder.jpg").mkdir()
    (data / "pets" / "photo" / ".git").mkdir()
    (data / "pets" / "photo" / "__MACOSX").mkdir()
    (data / "pets" / "photo" / "readme.txt").touch()  # beside the classes: nobody's business
    found = scan(TWO, data, "photo")
    assert found.classes == THREE_CLASSES
    assert [file for file in found.files if file.startswith("bike/")] == [
        f"bike/{name}" for name in
        ("a.JPG", "b.jpeg", "c.PNG", "d.tif", "e.Webp", "frame_0001.jpg", "frame_0002.jpg", "frame_0003.jpg")
    ]  # fmt: skip
    assert found.strangers == tuple(
        f"bike/{n}" for n in ("folder.jpg", "more", "noextension", "notes.txt", "x.jpg.part")
    )


def test_order_is_by_code_point_whatever_the_disk_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["b.jpg", "B.jpg", "a10.jpg", "a9.jpg", "é.jpg", "_.jpg", "Z.jpg"]
    for folder in ("zebra", "Ant", "ant", "éclair"):
        (tmp_path / "a" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "a" / folder / name).touch()
    settings = FolderSettings(domains={"a": "a"})
    real = os.scandir

    class Shuffled:
        def __init__(self, path: Path) -> None:
            with real(path) as scanned:
                self.entries = list(scanned)
            random.Random(0).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    found = scan(settings, tmp_path, "a")
    assert found.classes == ("Ant", "ant", "zebra", "éclair")
    assert found.files[:7] == tuple(
        f"Ant/{n}" for n in ("B.jpg", "Z.jpg", "_.jpg", "a10.jpg", "a9.jpg", "b.jpg", "é.jpg")
    )


def test_named_classes_make_the_labels_in_their_order(data: Path) -> None:
    named = TWO.model_copy(update={"classes": ("mug", "bike", "mouse")})
    found = scan(named, data, "sketch")
    assert found.classes == ("mug", "bike", "mouse")
    assert [file.split("/")[0] for file in found.files] == ["mug", "mug", "bike", "bike", "mouse", "mouse"]
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_alternatives_the_first_that_is_there(data: Path) -> None:
    settings = FolderSettings(folder=("none", "pets", "."), domains={"photo": ("Photo", "photo")}, classes=3)
    assert scan(settings, data, "photo").place == ("pets", "domains", "photo")
    assert holds(settings, data, "photo")
    assert not holds(settings, data / "pets" / "photo", "photo")


def test_a_domain_that_is_not_asked_for_need_not_be_there(data: Path) -> None:
    shutil.rmtree(data / "pets" / "sketch")
    assert len(scan(TWO, data, "photo").files) == 9
    assert not holds(TWO, data, "sketch")


# ---------------------------------------------------------------- what is wrong


def said(settings: FolderSettings, data: Path | None, domain: str = "photo") -> str:
    with pytest.raises(DataError) as caught:
        scan(settings, data, domain)
    return str(caught.value)


def test_no_data_folder(tmp_path: Path) -> None:
    assert "got none. Pass --data DIR" in said(TWO, None)
    assert "expected the data folder; got no folder of that name" in said(TWO, tmp_path / "none")


def test_unknown_domain(data: Path) -> None:
    with pytest.raises(ValueError, match="unknown domain 'photos'; did you mean 'photo'"):
        scan(TWO, data, "photos")


def test_missing_suite_folder(data: Path) -> None:
    text = said(FolderSettings(folder=("pet", "pats"), domains={"photo": "photo"}), data)
    assert f"{data / 'pet'}: expected the folder of the photographs; got none of that name nor pats." in text
    assert "did you mean 'pets'?" in text


def test_missing_domain(data: Path) -> None:
    text = said(FolderSettings(folder="pets", domains={"photo": "Photo"}), data)
    assert "pets/Photo: expected the folder of domain 'photo'; got none of that name." in text
    assert "did you mean 'photo'?" in text
    shutil.rmtree(data / "pets")
    (data / "pets").mkdir()
    assert "nothing of the kind is there" in said(TWO, data)


def test_class_missing_in_one_domain(data: Path) -> None:
    shutil.rmtree(data / "pets" / "photo" / "mug")
    for settings in (TWO, TWO.model_copy(update={"classes": 3})):
        text = said(settings, data)
        assert "expected 3 classes in domain 'photo'; got no 'mug'. " in text
        assert "('mug' is in sketch)" in text
    assert "got no 'mug'. All domains need the same classes: add" in said(
        TWO.model_copy(update={"classes": THREE_CLASSES}), data
    )


def test_class_too_many(data: Path) -> None:
    (data / "pets" / "photo" / "mugs").mkdir()
    text = said(TWO.model_copy(update={"classes": THREE_CLASSES}), data)
    assert "expected the 3 classes of the suite; got also 'mugs'. Unknown class 'mugs'; did you mean 'mug'?" in text
    assert "expected 4 classes in domain 'sketch'; got no 'mugs'" in said(TWO, data, "sketch")


def test_wrong_number_of_classes(data: Path) -> None:
    text = said(TWO.model_copy(update={"classes": 31}), data)
    assert "expected 31 classes in domain 'photo'; got 3. There are: bike, mouse, mug." in text


def test_empty_class(data: Path) -> None:
    for file in (data / "pets" / "photo" / "mouse").iterdir():
        file.unlink()
    text = said(TWO, data)
    assert "photo/mouse: expected images of the class; got none in 'mouse'. Put its images there" in text


def test_no_class_at_all(data: Path) -> None:
    (data / "pets" / "empty").mkdir()
    text = said(FolderSettings(folder="pets", domains={"photo": "empty"}), data)
    assert "expected a folder for each class of domain 'photo'; got no folder. Photographs are read from" in text


def test_wrong_count(data: Path) -> None:
    (data / "pets" / "photo" / "mug" / "frame_0002.jpg").unlink()
    text = said(TWO.model_copy(update={"counts": {"photo": 9}}), data)
    assert "expected 9 images in domain 'photo'; got 8. " in text
    assert "By class: bike 3, mouse 3, mug 2." in text


def test_name_that_is_not_utf8(data: Path) -> None:
    os.close(os.open(os.fsencode(data / "pets" / "photo" / "mug") + b"/\xff.jpg", os.O_CREAT | os.O_WRONLY))
    assert re.search(r"expected names in UTF-8; got '\\udcff.jpg'. Rename it.", said(TWO, data))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_read(data: Path) -> None:
    (data / "pets" / "photo").chmod(0)
    try:
        assert "expected a folder that can be read; got Permission denied" in said(TWO, data)
    finally:
        (data / "pets" / "photo").chmod(0o755)


# ---------------------------------------------------------------- list files

LISTED = FolderSettings(folder="pets", lists={"photo": "photo.txt", "sketch": "sketch.txt"})


@pytest.fixture
def listed(data: Path) -> Path:
    """The same images by list files, in an order that is not the alphabet's, with blank lines and a blank in a name."""
    order = ("mug", "bike", "mouse")
    (data / "pets" / "photo" / "mug" / "frame_0001.jpg").rename(data / "pets" / "photo" / "mug" / "a mug.jpg")
    for domain in ("photo", "sketch"):
        root = data / "pets"
        files = [f.relative_to(root).as_posix() for f in (root / domain).rglob("*.jpg")]
        lines = [f"{file} {order.index(file.split('/')[1])}" for file in files]
        (root / f"{domain}.txt").write_text("\n".join(["", *lines, " "]), encoding="utf-8")
    return data


def test_lists_keep_their_labels_and_take_names_from_the_folders(listed: Path) -> None:
    found = scan(LISTED, listed, "photo")
    assert found.classes == ("mug", "bike", "mouse")
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert found.files[0] == "photo/mug/a mug.jpg"
    assert found.root == listed / "pets"
    assert found.place == ("pets", "lists", "photo.txt")
    named = LISTED.model_copy(update={"classes": ("M", "B", "C")})
    assert scan(named, listed, "photo").classes == ("M", "B", "C")
    assert holds(LISTED, listed, "photo")


def test_lists_without_a_folder_for_each_class_are_named_by_number(listed: Path) -> None:
    file = listed / "pets" / "sketch.txt"
    file.write_text(file.read_text().replace("bike/frame_0001.jpg 1", "bike/frame_0001.jpg 0"))
    assert scan(LISTED, listed, "photo").classes == ("0", "1", "2")
    assert scan(LISTED, listed, "sketch").labels.tolist() == [0, 0, 0, 1, 2, 2]


def test_labels_are_in_the_order_of_numbers(listed: Path) -> None:
    labels = range(11, -1, -1)  # as texts they would be 0, 1, 10, 11, 2, ...
    (listed / "pets" / "photo.txt").write_text("\n".join(f"photo/mug/frame_0002.jpg {label}" for label in labels))
    found = scan(LISTED.model_copy(update={"lists": {"photo": "photo.txt"}}), listed, "photo")
    assert found.classes == tuple(map(str, range(12)))
    assert found.labels.tolist() == list(range(12))


def test_paths_are_relative_to_the_list_or_to_the_folder(listed: Path) -> None:
    root = listed / "pets"
    (root / "photo" / "list.txt").write_text("bike/frame_0001.jpg\t0\nmug/frame_0002.jpg 1\n")
    (root / "lists").mkdir()
    (root / "lists" / "all.txt").write_text("photo/bike/frame_0001.jpg 0\nphoto\\mug\\frame_0002.jpg 1\n")
    for name, top in (("photo/list.txt", root / "photo"), ("lists/all.txt", root)):
        found = scan(FolderSettings(folder="pets", lists={"photo": name}), listed, "photo")
        assert found.root == top
        assert [(top / file).is_file() for file in found.files] == [True, True]
        assert found.classes == ("bike", "mug")


def test_several_lists_are_one_domain(listed: Path) -> None:
    root = listed / "pets"
    (root / "photo" / "test.txt").write_text("bike/frame_0001.jpg 0\n")
    (root / "train.txt").write_text("photo/bike/frame_0002.jpg 0\nphoto/mug/frame_0002.jpg 1\n")
    settings = FolderSettings(folder="pets", lists={"photo": ("photo/test.txt", "train.txt")}, counts={"photo": 3})
    found = scan(settings, listed, "photo")
    assert found.root == root / "photo"
    assert found.labels.tolist() == [0, 0, 1]
    assert all((found.root / file).is_file() for file in found.files)
    assert found.place == ("pets", "lists", "photo/test.txt", "train.txt")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("photo/bike/frame_0001.jpg", "expected 'path label' in each line; got 'photo/bike/frame_0001.jpg' in line 1."),
        ("photo/bike/frame_0001.jpg bike", "in line 1. A line holds a relative path, a blank and a class number"),
        ("photo/bike/frame_0001.jpg -1", "in line 1"),
        ("photo/bike/frame_0001.jpg 3", "expected labels from 0 to 2; got 3 in line 1"),
        ("", "expected 'path label' in each line; got no line."),
        ("none.jpg 0", "expected paths of files that are there; got 'none.jpg' in its first line"),
        ("photo/bike/frame_0001.jpg 0\nnone.jpg 1\nphoto/mug/frame_0002.jpg 2", "got no 'none.jpg'. Put them there"),
        ("photo/bike/frame_0001.jpg 0", "expected 3 classes in domain 'photo'; got no 'mug', 'mouse'"),
    ],
)
def test_lists_that_are_wrong(listed: Path, line: str, sentence: str) -> None:
    (listed / "pets" / "photo.txt").write_text(line)
    order = {"mug": 1, "bike": 0, "mouse": 2}
    files = [f"sketch/{name}/frame_0001.jpg {label}" for name, label in order.items()]
    (listed / "pets" / "sketch.txt").write_text("\n".join(files))
    text = said(LISTED.model_copy(update={"classes": 3}), listed)
    assert sentence in text


def test_list_that_is_missing_or_no_text(listed: Path) -> None:
    (listed / "pets" / "photo.txt").write_bytes(b"\xff\xfe\x00")
    assert "expected a text file in UTF-8" in said(LISTED, listed)
    (listed / "pets" / "photo.txt").unlink()
    assert "expected the list file of domain 'photo'; got none of that name. In" in said(LISTED, listed)
