import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import colour, fill, make, reasons

from kcolor.data import manifest
from kcolor.data.manifest import SPLITS, Manifest, Photo, assign_splits
from kcolor.errors import DataError

# --- classes ---


def test_classes_are_folders(folder):
    fill(folder, ["b/bazaar/indoor/1.png", "b/bazaar/indoor/2.png", "b/bazaar/outdoor/1.png", "sea/1.png", "1.png"])
    found = make(folder)
    assert found.classes == ["b/bazaar/indoor", "b/bazaar/outdoor", "sea"]
    assert {photo.path: photo.label for photo in found.photos}["b/bazaar/indoor/2.png"] == "b/bazaar/indoor"
    assert reasons(found)["1.png"] == "no class"
    assert found.counts()["no class"] == 1


def test_a_class_of_which_nothing_is_kept_is_none(folder):
    fill(folder, ["a/1.png", "b/1.png"])
    (folder / "c").mkdir()
    colour(10).save(folder / "c/1.png")
    assert make(folder).classes == ["a", "b"]


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["only/1.png", "only/2.png"], ["only/1.png", "2.png"]])
def test_fewer_than_two_classes_are_none(folder, names):
    found = make(fill(folder, names))
    assert found.classes == []
    assert [photo.label for photo in found.photos] == ["", ""]
    assert set(reasons(found).values()) == {""}


def test_labels(folder, tmp_path):
    fill(folder, ["x/1.png", "x/2.png", "3.png", "4.png"])
    colour(10).save(folder / "5.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("\ufefffile_name,note,class\nx/1.png,,dog\n./x/2.png,,cat\n3.png,,dog\nnot_there.png,,cow\n")
    found = make(folder, labels=labels)
    assert found.classes == ["cat", "dog"]
    assert {photo.path: photo.label for photo in found.photos if photo.split} == {
        "x/1.png": "dog",
        "x/2.png": "cat",
        "3.png": "dog",
    }
    assert reasons(found)["4.png"] == "no label"
    assert reasons(found)["5.png"] == "small"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'file_name'"),
        ("name,class\n1.png,dog\n", "no column 'file_name'"),
        ("file_name,label\n1.png,dog\n", "no column 'class'"),
        ("file_name,class\n1.png,dog\n\n./1.png,cat\n", "line 4: '1.png' is there twice"),
        ("file_name,class\n1.png\n", "line 2: too few columns"),
        ("file_name,class\nother/1.png,dog\n", "none of the names"),
    ],
)
def test_labels_that_cannot_be_used(folder, tmp_path, text, message):
    fill(folder, ["1.png"])
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    with pytest.raises(DataError, match=message):
        make(folder, labels=labels)


def test_labels_that_are_missing(folder, tmp_path):
    with pytest.raises(DataError, match="cannot read the labels"):
        make(fill(folder, ["1.png"]), labels=tmp_path / "missing.csv")


# --- splits ---


def rows(count: int, classes: int) -> list[tuple[str, str]]:
    """(class, path); the classes are of very different sizes."""
    label = np.minimum(np.random.default_rng(3).exponential(classes / 3, count).astype(int), classes - 1)
    label[:classes] = np.arange(classes)
    return [(f"c{number:03d}", f"c{number:03d}/{i}.jpg") for i, number in enumerate(label)]


def test_split_of_places205():
    photos = rows(237_974, 205)
    fractions = (0.85, 0.05, 0.10)
    start = time.perf_counter()
    splits = assign_splits(photos, fractions, seed=0)
    assert time.perf_counter() - start < 5
    assert Counter(splits) == {"train": 202_278, "val": 11_899, "test": 23_797}
    in_class = Counter(label for label, _ in photos)
    assert len(in_class) == 205
    got = Counter((label, name) for (label, _), name in zip(photos, splits, strict=True))
    for label, size in in_class.items():
        for name, fraction in zip(SPLITS, fractions, strict=True):
            assert abs(got[label, name] - size * fraction) < 2


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (5, (0.6, 0.2, 0.2), [3, 1, 1]),
        (3, (1 / 3, 1 / 3, 1 / 3), [1, 1, 1]),
        (10, (0.7, 0.2, 0.1), [7, 2, 1]),
        (100, (0.29, 0.57, 0.14), [29, 57, 14]),
        (7, (1.0, 0.0, 0.0), [7, 0, 0]),
        (1, (0.85, 0.05, 0.10), [1, 0, 0]),
        (0, (0.85, 0.05, 0.10), [0, 0, 0]),
    ],
)
def test_split_sizes_are_exact(count, fractions, sizes):
    got = Counter(assign_splits([("", f"{i}.jpg") for i in range(count)], fractions, seed=4))
    assert [got[name] for name in SPLITS] == sizes


def test_split_is_of_the_names_and_the_seed_alone():
    photos = rows(500, 4)
    split_of = dict(zip(photos, assign_splits(photos, (0.5, 0.3, 0.2), seed=7), strict=True))
    backwards = dict(zip(photos[::-1], assign_splits(photos[::-1], (0.5, 0.3, 0.2), seed=7), strict=True))
    assert backwards == split_of
    other = dict(zip(photos, assign_splits(photos, (0.5, 0.3, 0.2), seed=8), strict=True))
    assert other != split_of
    assert Counter(other.values()) == Counter(split_of.values())


@pytest.mark.parametrize("split", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.9, 0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_cannot_be_used(folder, split):
    with pytest.raises(DataError, match="three fractions"):
        make(fill(folder, ["1.png"]), split=split)


def test_manifest_splits_only_what_is_kept(folder):
    fill(folder, [f"{i}.png" for i in range(5)])
    colour(10).save(folder / "small.png")
    found = make(folder, split=(0.6, 0.2, 0.2))
    assert found.counts() == {"train": 3, "val": 1, "test": 1, "small": 1, "toned": 0}
    assert sum(len(found.split(name)) for name in SPLITS) == 5
    with pytest.raises(ValueError, match="no split"):
        found.split("validation")


# --- the manifest's file ---


def test_round_trip_with_odd_names(folder, tmp_path):
    odd = ['say "hi", you.png', "two\nlines.png", "return\r.png", "ümläut ☂.png", os.fsdecode(b"latin\xe9.png")]
    fill(folder, [f"{label}/{name}" for label in ("a,b", os.fsdecode(b"caf\xe9")) for name in odd])
    colour(10).save(folder / "a,b/small.png")
    found = make(folder, seed=5, split=(0.5, 0.25, 0.25), include=["*"])
    path = tmp_path / "new" / "manifest.csv"
    found.save(path)
    loaded = Manifest.load(path)
    assert loaded == found
    assert all(photo.bytes == (found.root / photo.path).stat().st_size for photo in loaded.photos)
    assert loaded.sha256 == found.sha256
    assert loaded.classes == ["a,b", os.fsdecode(b"caf\xe9")]
    assert all((loaded.root / photo.path).is_file() for photo in loaded.photos)
    assert path.read_bytes().startswith(b'# kcolor manifest {"version": 2, ')
    assert path.read_bytes().splitlines()[1] == b"path,class,width,height,orientation,bytes,split,reason,toned"
    assert [entry.name for entry in path.parent.iterdir()] == ["manifest.csv"]


def test_root_moves_and_the_digest_stays(folder, tmp_path):
    fill(folder, ["a.png", "b.png"])
    found = make(folder)
    found.save(tmp_path / "manifest.csv")
    moved = Manifest.load(tmp_path / "manifest.csv", root=tmp_path / "moved")
    assert moved.root == tmp_path / "moved"
    assert moved.sha256 == found.sha256


def test_digest_is_of_what_training_sees():
    def digest(**changes):
        fields = {
            "path": "a",
            "label": "",
            "width": 9,
            "height": 9,
            "orientation": 1,
            "bytes": 9,
            "split": "train",
            "reason": "",
        }
        out = Photo("z", "", 1, 1, 1, 1, "", changes.pop("why", "grey"), False)
        return Manifest(Path("/"), (Photo(**{**fields, "toned": False, **changes}), out), {}).sha256

    assert digest() == digest(width=8) == digest(toned=True) == digest(why="small")
    others = {digest(path="b"), digest(label="c"), digest(orientation=3), digest(split="val")}
    assert len(others | {digest()}) == 5


GOOD_ROW = '"a.png","",64,64,1,123,"train","",0'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("# kcolor manifest", "# something else"), "is not a kcolor manifest"),
        (('"version": 2', '"version": 1'), "of version 1"),
        (("path,class", "path,label"), "line 2: expected the columns"),
        ((GOOD_ROW, GOOD_ROW[:-2]), "line 3: .*8 columns"),
        ((GOOD_ROW, GOOD_ROW.replace("64", "wide", 1)), "line 3: .*wide"),
        ((GOOD_ROW, GOOD_ROW.replace("train", "trian")), "line 3: .*trian"),
        ((GOOD_ROW, GOOD_ROW.replace("train", "")), "line 3: "),
        ((GOOD_ROW, GOOD_ROW.replace(",1,", ",9,")), "line 3: .*orientation 9"),
    ],
)
def test_manifests_that_cannot_be_used(folder, tmp_path, change, message):
    path = tmp_path / "manifest.csv"
    found = make(fill(folder, ["a.png"]))
    Manifest(found.root, (replace(found.photos[0], bytes=123),), found.rules).save(path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(DataError, match=message) as caught:
        Manifest.load(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_manifest(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        Manifest.load(tmp_path / "missing.csv")
    colour().save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not a kcolor manifest"):
        Manifest.load(tmp_path / "a.jpg")


def test_a_failed_save_leaves_the_old_manifest(folder, tmp_path, monkeypatch):
    found = make(fill(folder, ["a.png"]))
    path = tmp_path / "manifest.csv"
    found.save(path)
    before = path.read_bytes()

    def full(file, rows, **_):
        file.write("path")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.rowfile, "write", full)
    with pytest.raises(DataError, match="No space left"):
        found.save(path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["manifest.csv", "photos", "survey.jsonl"]
