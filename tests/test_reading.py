"""Which photos a model is judged on, and what becomes of those that are no longer as they were."""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import colour, fill, make
from PIL import Image

from kcolor import photo
from kcolor.data.instances import Instance
from kcolor.data.manifest import Manifest, Photo
from kcolor.data.reading import AHEAD, Pictures, check, read, told, trained_on
from kcolor.errors import DataError


def listed(counts: dict[str, int], root: Path = Path("/photos")) -> Manifest:
    """A manifest of so many photos in each split, none of which there need be; the splits take turns."""
    turns = [(turn, split) for split, count in counts.items() for turn in range(count)]
    rows = [(f"{i:04}.png", split) for i, (_, split) in enumerate(sorted(turns))]
    photos = [Photo(path, "", 64, 64, 1, 100, split, "" if split else "small", False) for path, split in rows]
    return Manifest(root, tuple(photos), {})


def paths(photos) -> list[str]:
    return [found.path for found in photos]


def nobody(done: int, total: int) -> None:
    """To whom progress does not matter."""


def test_photos_that_were_trained_on_are_known_whatever_else_is_said_of_them():
    run = listed({"train": 5, "test": 4})
    assert trained_on(run, run.root, run.split("test")) == 0
    assert trained_on(run, run.root, run.photos) == 5
    # Of another split; in the manifest of a folder above; elsewhere by the same names.
    other = [replace(each, split="test", instances=(Instance("face", 1.0, 0, 0, 9, 9),)) for each in run.photos]
    assert trained_on(run, run.root, other) == 5
    assert trained_on(run, Path("/"), [replace(each, path=f"photos/{each.path}") for each in other]) == 5
    assert trained_on(run, Path("/elsewhere"), other) == 0


# --- which are meant


def test_the_photos_of_a_split_in_the_manifest_s_order():
    manifest = listed({"train": 5, "val": 2, "test": 3, "": 4})
    for split in ("train", "val", "test"):
        assert Pictures(manifest, split).photos() == [found for found in manifest.photos if found.split == split]
    assert Pictures(manifest).photos() == Pictures(manifest, "test").photos()
    everything = Pictures(manifest, "all").photos()
    assert len(everything) == 10
    assert everything == [found for found in manifest.photos if found.split]


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [
        (1, [0]),
        (2, [0, 5]),
        (3, [0, 3, 6]),
        (4, [0, 2, 5, 7]),
        (9, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (10, list(range(10))),
        (11, list(range(10))),
        (None, list(range(10))),
    ],
)
def test_a_limit_spreads_evenly(limit, chosen):
    manifest = listed({"test": 10})
    assert paths(Pictures(manifest, "test", limit).photos()) == [f"{i:04}.png" for i in chosen]


@pytest.mark.parametrize("limit", [2, 7, 33, 96, 97])
def test_no_part_of_the_folder_is_passed_over(limit):
    places = [int(path[:4]) for path in paths(Pictures(listed({"test": 97}), "test", limit).photos())]
    assert len(places) == len(set(places)) == limit
    gaps = np.diff([*places, 97])
    assert places[0] == 0
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("limit", [None, 3])
def test_a_split_without_photos(limit):
    with pytest.raises(DataError) as refused:
        Pictures(listed({"train": 7, "val": 1, "": 2}), "test", limit).photos()
    assert str(refused.value) == ("/photos: no photo in the test split (7 train, 1 val, 0 test); name another --split")
    with pytest.raises(DataError, match="no photo in the all split"):
        Pictures(listed({"": 2}), "all", limit).photos()


# --- whether they are as they were


@pytest.fixture
def manifest(folder) -> Manifest:
    """Of six photos, all of them for testing: one a JPEG that lies on its side, one a wide BMP."""
    fill(folder, ["a.png", "b.png", "c.png", "deep/d.png"])
    colour(96, 7).resize((96, 64)).save(folder / "e.bmp")
    side = Image.Exif()
    side[0x0112] = 6
    colour(96, 8).resize((100, 70)).save(folder / "f.jpg", exif=side)
    return make(folder, split=(0.0, 0.0, 1.0))


def test_files_that_are_as_they_were(manifest):
    seen = []
    kept, left_out, hashes = check(Pictures(manifest), lambda *progress: seen.append(progress))
    assert kept == list(manifest.photos)
    assert paths(kept) == ["a.png", "b.png", "c.png", "deep/d.png", "e.bmp", "f.jpg"]
    assert left_out == []
    for path, found in hashes.items():
        assert found == hashlib.sha256((manifest.root / path).read_bytes()).hexdigest()
    assert hashes.keys() == set(paths(kept))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_only_those_that_are_meant_are_looked_at(manifest):
    (manifest.root / "b.png").unlink()
    kept, left_out, hashes = check(Pictures(manifest, limit=3), nobody)
    assert paths(kept) == ["a.png", "c.png", "e.bmp"]
    assert left_out == []
    assert hashes.keys() == {"a.png", "c.png", "e.bmp"}


def test_files_that_are_not(manifest):
    (manifest.root / "a.png").write_bytes((manifest.root / "a.png").read_bytes() + b"\0")
    (manifest.root / "c.png").unlink()
    (manifest.root / "deep" / "d.png").unlink()
    (manifest.root / "deep").rmdir()
    kept, left_out, hashes = check(Pictures(manifest), nobody)
    assert paths(kept) == ["b.png", "e.bmp", "f.jpg"]
    assert left_out == [
        {"path": "a.png", "reason": "changed since the manifest was written"},
        {"path": "c.png", "reason": "cannot be read: No such file or directory"},
        {"path": "deep/d.png", "reason": "cannot be read: No such file or directory"},
    ]
    assert hashes.keys() == {"b.png", "e.bmp", "f.jpg"}


def test_a_folder_in_place_of_a_photo(manifest):
    (manifest.root / "a.png").unlink()
    (manifest.root / "a.png").mkdir()
    # Its size may be any, so whether it is found here or when it is read is all one.
    kept, left_out, _ = check(Pictures(manifest), nobody)
    found = {each.photo.path: each.fault for each in read(manifest.root, kept, 16)} | {
        entry["path"]: entry["reason"] for entry in left_out
    }
    assert [path for path, fault in found.items() if fault] == ["a.png"]


def test_none_is_as_it_was(manifest):
    shutil.rmtree(manifest.root)
    with pytest.raises(DataError) as refused:
        check(Pictures(manifest), nobody)
    message = str(refused.value)
    assert message.startswith(f"{manifest.root}: none of the photos can be used (a.png: cannot be read: No such file")
    assert message.endswith("c.png: cannot be read: No such file or directory; and 3 more)")
    assert "\n" not in message


def test_three_are_named():
    found = [{"path": f"{i}.png", "reason": "why"} for i in range(5)]
    assert told(found[:1]) == "0.png: why"
    assert told(found[:3]) == "0.png: why; 1.png: why; 2.png: why"
    assert told(found) == "0.png: why; 1.png: why; 2.png: why; and 2 more"
    assert told([]) == ""


# --- their pixels


def test_photos_are_read_as_they_are(manifest):
    found = list(read(manifest.root, manifest.photos, None))
    assert [each.photo for each in found] == list(manifest.photos)
    for each in found:
        assert each.fault == ""
        assert each.rgb.dtype == np.uint8
        assert each.rgb.shape == (each.photo.height, each.photo.width, 3)
    np.testing.assert_array_equal(found[0].rgb, np.asarray(Image.open(manifest.root / "a.png")))
    # The one that lies on its side is upright: its first row is the first column of the file, from below.
    lying = np.asarray(Image.open(manifest.root / "f.jpg"))
    assert lying.shape == (70, 100, 3)
    np.testing.assert_array_equal(found[5].rgb, np.rot90(lying, -1))


def test_photos_are_brought_to_squares(manifest):
    whole = [each.rgb for each in read(manifest.root, manifest.photos, None)]
    small = [each.rgb for each in read(manifest.root, manifest.photos, 16)]
    assert {rgb.shape for rgb in small} == {(16, 16, 3)}
    for one, other in zip(small, whole, strict=True):
        # The middle of a sixteenth is about the mean of what is there.
        height, width = other.shape[0] // 16, other.shape[1] // 16
        around = other[8 * height : 9 * height, 8 * width : 9 * width].mean(axis=(0, 1))
        assert np.abs(one[8, 8] - around).max() < 30
    same = [each.rgb for each in read(manifest.root, manifest.photos[:4], 64)]
    np.testing.assert_array_equal(same, whole[:4])


def test_faults_are_told_and_the_rest_is_read(manifest):
    root = manifest.root
    size = (root / "a.png").stat().st_size
    (root / "a.png").write_bytes(bytes(size))
    cut = (root / "b.png").read_bytes()
    (root / "b.png").write_bytes(cut[: len(cut) // 2])
    (root / "c.png").unlink()
    # Another picture, in as many bytes.
    before = (root / "e.bmp").stat().st_size
    colour(96, 9).resize((64, 96)).save(root / "e.bmp")
    assert (root / "e.bmp").stat().st_size == before

    for size in (16, None):
        found = {each.photo.path: each for each in read(root, manifest.photos, size)}
        assert list(found) == paths(manifest.photos)
        assert [path for path, each in found.items() if each.rgb is not None] == ["deep/d.png", "f.jpg"]
        assert found["a.png"].fault == "not a photograph that can be read"
        assert found["b.png"].fault == "cannot be read: image file is truncated"
        assert found["c.png"].fault == "cannot be read: No such file or directory"
        assert found["e.bmp"].fault == "changed since the manifest was written"
        assert not any(str(root) in each.fault or "\n" in each.fault for each in found.values())


def test_the_order_is_kept_whatever_takes_longer(folder):
    """Large and small ones in turn, of more than are read ahead."""
    for i in range(2):
        colour(600 if i else 64, i).save(folder / f"{i}.png")
    found = make(folder, split=(0.0, 0.0, 1.0)).photos
    wanted = [found[i % 2] for i in range(2 * AHEAD + 5)]
    for size in (8, None):
        assert [each.photo.path for each in read(folder, wanted, size)] == paths(wanted)


def test_a_photo_that_memory_does_not_hold(manifest, monkeypatch):
    """No machine can be trusted to have too little of it."""
    whole = photo.read

    def limited(path: Path) -> np.ndarray:
        if path.name == "b.png":
            raise MemoryError
        return whole(path)

    monkeypatch.setattr(photo, "read", limited)
    found = list(read(manifest.root, manifest.photos, None))
    assert [each.fault for each in found] == ["", "too large for this machine's memory", "", "", "", ""]


@pytest.mark.parametrize("size", [8, None])
def test_stopping_early_leaves_the_rest_unread(folder, monkeypatch, size):
    fill(folder, ["a.png"])
    (row,) = make(folder, split=(0.0, 0.0, 1.0)).photos
    started = []
    whole = photo.read
    monkeypatch.setattr(photo, "read", lambda path: started.append(path) or whole(path))
    wanted = [replace(row) for _ in range(500)]

    def take(photos: Iterator) -> None:
        for _ in range(3):
            next(photos)
        photos.close()

    taking = threading.Thread(target=take, args=[read(folder, wanted, size)], daemon=True)
    taking.start()
    taking.join(30)
    assert not taking.is_alive()
    # Of those that were to come next only so many had been begun.
    ahead = AHEAD if size else os.cpu_count()
    assert 3 <= len(started) <= 3 + ahead + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_no_photos_at_all(tmp_path):
    assert list(read(tmp_path, [], 8)) == []
