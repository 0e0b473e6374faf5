"""Shards as they are written and read: whole, interrupted, damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made import colour, fill, make
from PIL import Image

from kcolor import build, image, recipe
from kcolor.data import dataset, prepare, records, sharding, shards
from kcolor.data.manifest import Manifest
from kcolor.errors import DataError

SIZE = 32
SPLIT = (0.8, 0.1, 0.1)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Manifest:
    """Sixty photos in two classes, some of them not upright."""
    folder = tmp_path_factory.mktemp("photos")
    fill(folder, [f"{scene}/{i:02}.png" for scene in ("forest", "sea") for i in range(30)])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("sea/03.jpg", "sea/04.jpg", "forest/05.jpg"):
        colour(80, 9).crop((0, 0, 80, 70)).save(folder / name, exif=exif, quality=95)
    return make(folder, split=SPLIT, seed=3)


@pytest.fixture(scope="module")
def written(found, tmp_path_factory) -> Path:
    """Shards of ten photos each that lose nothing."""
    folder = tmp_path_factory.mktemp("shards")
    sharding.write(found, str(folder), size=SIZE, quality=0, photos_per_shard=10)
    return folder


@pytest.fixture
def mine(written, tmp_path) -> Path:
    """A copy of one's own."""
    return shutil.copytree(written, tmp_path / "mine")


def chosen(folder, *changes) -> recipe.Recipe:
    settings = [f"data.folder={json.dumps(str(folder))}", f"data.size={SIZE}", "network.depth=4", *changes]
    return recipe.default(settings)


def source(folder, *changes):
    return build.source(chosen(folder, *changes), shards.manifest_of(folder))


def square(path: Path, orientation: int, **options) -> np.ndarray:
    rgb = image.orient(image.decode(tf.io.read_file(str(path))), tf.constant(orientation))
    return image.fit_square(rgb, SIZE, **options).numpy()


def of_each(photos) -> list[tuple[bytes, int]]:
    batches = dataset.evaluation_batches(photos, size=SIZE, batch_size=7)
    return sorted(
        (rgb.tobytes(), int(label)) for batch in batches.as_numpy_iterator() for rgb, label in zip(*batch, strict=True)
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_what_loses_nothing_is_the_photos_pixel_by_pixel(found, written, split):
    expected = [
        (square(found.root / photo.path, photo.orientation).tobytes(), found.classes.index(photo.label))
        for photo in found.split(split)
    ]
    assert of_each(source(written)(split)) == sorted(expected)
    assert len(expected) > 5


def test_jpeg_is_near(found, tmp_path):
    index = sharding.write(found, str(tmp_path), size=SIZE, photos_per_shard=100)
    assert (index.format, index.quality, len(index.splits["train"])) == ("jpeg", 95, 1)
    rows = {row.path: row for row in found.split("train")}
    records_found = list(tf.data.TFRecordDataset(shards.inside(str(tmp_path), index.splits["train"][0].name)))
    differences = []
    for record in records_found:
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        row = rows.pop(feature["image/filename"].bytes_list.value[0].decode())
        assert feature["image/class/label"].int64_list.value == [found.classes.index(row.label)]
        shown = image.decode_square(tf.constant(feature["image/encoded"].bytes_list.value[0]), SIZE, 95).numpy()
        differences.append(np.abs(shown.astype(int) - square(found.root / row.path, row.orientation)))
    assert not rows
    assert np.mean(differences) < 2
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.decode_square(tf.io.encode_jpeg(np.zeros((SIZE, SIZE + 1, 3), np.uint8)), SIZE, 95)


def test_squares_are_cut_as_the_recipe_cuts_them(found, tmp_path):
    sharding.write(found, str(tmp_path), size=SIZE, crop=True, quality=0)
    expected = [square(found.root / p.path, p.orientation, crop=True).tobytes() for p in found.split("val")]
    assert [rgb for rgb, _ in of_each(source(tmp_path, "data.crop=true")("val"))] == sorted(expected)
    with pytest.raises(DataError, match=r"centres.*the recipe needs 32 or more, of whole photos"):
        source(tmp_path)


def test_the_index_says_what_is_there(found, written):
    index = shards.load(written)
    assert sorted(path.name for path in written.iterdir() if path.name != ".lock") == sorted(
        [shards.INDEX, shards.MANIFEST, *(shard.name for split in index.splits.values() for shard in split)]
    )
    counts = [shard.photos for shard in index.splits["train"]]
    assert counts[:-1] == [10] * (len(counts) - 1)
    assert index.photos("train") == found.counts()["train"]
    assert index.photos("val") == found.counts()["val"]
    assert index.classes == ["forest", "sea"]
    for shard in index.splits["train"]:
        assert (written / shard.name).stat().st_size == shard.bytes
        assert sharding._hash(str(written / shard.name)) == shard.sha256
    assert shards.manifest_of(written) == found


def test_photos_are_shuffled_by_the_seed(found, tmp_path):
    orders = []
    for seed in (3, 3, 4):
        folder = tmp_path / str(len(orders))
        again = Manifest(found.root, found.photos, {**found.rules, "seed": seed})
        sharding.write(again, str(folder), size=SIZE)
        names = [
            tf.train.Example.FromString(record.numpy()).features.feature["image/filename"].bytes_list.value[0]
            for record in records.in_order(source(folder)("train"))
        ]
        assert names != sorted(names)
        orders.append(names)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


# --- interrupted, damaged -------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from kcolor.data import sharding
from kcolor.data.manifest import Manifest

def count(done, total):
    if done >= 25:
        os.kill(os.getpid(), signal.SIGKILL)

found = Manifest.load(Path(sys.argv[1]))
sharding.write(found, sys.argv[2], size=32, quality=0, photos_per_shard=10, on_progress=count)
"""


def test_a_killed_writer_goes_on_where_it_was(found, written, tmp_path):
    found.save(tmp_path / "manifest.csv")
    folder = tmp_path / "shards"
    environment = {**os.environ, "PYTHONPATH": str(Path(sharding.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, "-c", KILLED, str(tmp_path / "manifest.csv"), str(folder)]
    assert subprocess.run(words, env=environment, timeout=120, check=False).returncode == -signal.SIGKILL
    whole = sorted(path.name for path in folder.glob(f"*{shards.SUFFIX}"))
    assert len(whole) == 2
    assert list(folder.glob(".*.unfinished"))
    with pytest.raises(DataError, match="did not come to its end; run the same kcolor prepare"):
        prepare.prepare(chosen(folder).data, 0)
    before = {name: (folder / name).stat().st_ino for name in whole}
    progress: list[tuple[int, int]] = []
    index = sharding.write(
        found, str(folder), size=SIZE, quality=0, photos_per_shard=10, on_progress=lambda *at: progress.append(at)
    )
    total = index.photos("train") + index.photos("val")
    assert (progress[0], progress[-1]) == ((20, total), (total, total))
    assert {name: (folder / name).stat().st_ino for name in whole} == before
    assert (folder / shards.INDEX).read_bytes() == (written / shards.INDEX).read_bytes()
    assert [path.name for path in folder.glob(".*")] == [".lock"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("harm", "told"), [(truncate, "has .* bytes in place of"), (Path.unlink, "is missing")])
def test_shards_that_are_not_whole_are_told_of_before_training(found, written, mine, harm, told):
    name = shards.load(mine).splits["train"][2].name
    harm(mine / name)
    with pytest.raises(DataError, match=told) as caught:
        source(mine)
    assert f"{mine / name}: " in str(caught.value)
    assert f"kcolor prepare {mine}/manifest.csv --shards {mine} --size 32 --lossless" in str(caught.value)
    again = shards.manifest_of(mine)
    sharding.write(again, str(mine), size=SIZE, quality=0, photos_per_shard=10)
    assert (mine / name).read_bytes() == (written / name).read_bytes()


def test_a_flipped_bit_is_told_while_reading_and_mended(found, written, mine):
    name = shards.load(mine).splits["train"][1].name
    flip(mine / name)
    with pytest.raises(tf.errors.DataLossError, match="corrupted record"):
        list(dataset.training_stream(source(mine)("train"), size=SIZE, batch_size=8, seed=0).take(6))
    sharding.write(found, str(mine), size=SIZE, quality=0, photos_per_shard=10)
    assert (mine / name).read_bytes() == (written / name).read_bytes()


def test_a_shard_with_fewer_records_than_it_should_have(mine):
    """The stream would go on with other photos than its positions mean."""
    index = shards.load(mine)
    name = str(mine / index.splits["train"][0].name)
    kept = [record.numpy() for record in tf.data.TFRecordDataset(name)][:-1]
    with tf.io.TFRecordWriter(name) as writer:
        for record in kept:
            writer.write(record)
    train = index.splits["train"]
    photos = records.Shards([str(mine / s.name) for s in train], [s.photos for s in train], 1, SIZE, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="other records than the index says"):
        list(records.shuffled(photos, 0).take(60))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kcolor_shards": 9}, "shards of version 9, this program reads version 1"),
        ({"size": "large"}, r"shards\.json: size: Input should be a valid integer"),
        ({"manifest_sha256": "0"}, "is not the manifest that the shards beside it were made of"),
        (None, "is no index of shards"),
    ],
)
def test_an_index_that_cannot_be_used(mine, change, told):
    content = json.loads((mine / shards.INDEX).read_text())
    (mine / shards.INDEX).write_text("[]" if change is None else json.dumps({**content, **change}))
    with pytest.raises(DataError, match=told) as caught:
        prepare.prepare(chosen(mine).data, 0)
    if change is None:  # the same folder would be refused for the same reason
        assert "write them anew, to another folder" in str(caught.value)


def test_shards_of_other_photos_or_options(found, written, mine):
    with pytest.raises(DataError, match="shards of other photos than"):
        build.source(chosen(mine), Manifest(found.root, found.photos[:-5], found.rules))
    with pytest.raises(DataError, match="holds shards of other photos, or made with other options"):
        sharding.write(found, str(mine), size=SIZE, quality=90, photos_per_shard=10)
    with pytest.raises(DataError, match=r"squares of 32 pixels, .* the recipe needs 64 or more"):
        source(mine, "data.size=64")


def test_windows_need_larger_shards(written, found, tmp_path):
    with pytest.raises(DataError, match=r"the recipe needs 40 or more to cut windows from .* --size 40 "):
        source(written, "data.random_crop=0.2")
    sharding.write(found, str(tmp_path), size=40)
    photos = source(tmp_path, "data.random_crop=0.2")("train")
    [(rgb, _)] = dataset.training_stream(photos, size=SIZE, batch_size=4, seed=0, random_crop=0.2).take(1)
    assert rgb.shape == (4, SIZE, SIZE, 3)


def test_photos_that_broke_since_the_survey_are_left_out_and_named(found, tmp_path):
    folder = shutil.copytree(found.root, tmp_path / "photos")
    moved = Manifest(folder, found.photos, found.rules)
    gone, broken, *_ = [photo.path for photo in found.split("train")]
    (folder / gone).unlink()
    (folder / broken).write_bytes((folder / broken).read_bytes()[:60])
    for _ in range(2):  # the second time it is known
        index = sharding.write(moved, str(tmp_path / "shards"), size=SIZE, photos_per_shard=10)
        left_out = {entry["path"]: entry["reason"] for entry in index.left_out}
        assert left_out == {gone: "is not there any more", broken: "cannot be read any more"}
    assert index.photos("train") == found.counts()["train"] - 2
    photos = build.source(chosen(tmp_path / "shards"), moved)("train")
    assert len(photos) == index.photos("train") == len(of_each(photos))
    for photo in found.split("train")[:11]:
        (folder / photo.path).write_bytes(b"")
    with pytest.raises(DataError, match=r"11 of \d+ photos cannot be read any more"):
        sharding.write(moved, str(tmp_path / "others"), size=SIZE)
    assert [path.name for path in (tmp_path / "others").iterdir()] == [".lock"]  # nothing of it is taken for whole
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="the photos' folder is not there any more"):
        sharding.write(moved, str(tmp_path / "third"), size=SIZE)


def test_a_photo_of_a_name_that_is_no_utf8_broke(tmp_path):
    """And it is the only one of its split."""
    folder, name = tmp_path / "photos", os.fsdecode(b"caf\xe9.png")
    fill(folder, [f"{i}.png" for i in range(9)])
    (folder / name).write_bytes((folder / "0.png").read_bytes())
    found = make(folder, split=(0.5, 0.5, 0.0))
    found = Manifest(
        folder, [replace(photo, split="val" if photo.path == name else "train") for photo in found.photos], found.rules
    )
    (folder / name).unlink()
    index = sharding.write(found, str(tmp_path / "shards"), size=SIZE)
    assert [entry["path"] for entry in index.left_out] == ["caf\\udce9.png"]
    assert (index.photos("train"), index.photos("val")) == (9, 0)
    with pytest.raises(DataError, match="no photo of the val split could be read"):
        source(tmp_path / "shards")


def test_two_writers(found, tmp_path):
    with sharding._alone(str(tmp_path)), pytest.raises(DataError, match="another process is writing these shards"):
        sharding.write(found, str(tmp_path), size=SIZE)


def test_a_folder_of_something_else(found, tmp_path):
    theirs = tmp_path / "train-00000-of-00001.tfrecord"
    theirs.write_bytes(b"theirs")
    before = sorted(found.root.rglob("*"))
    for folder in (tmp_path, found.root):
        with pytest.raises(DataError, match="holds other files; name an empty folder"):
            sharding.write(found, str(folder), size=SIZE)
    assert (theirs.read_bytes(), sorted(found.root.rglob("*"))) == (b"theirs", before)


def test_a_place_that_cannot_be_written(found, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="shards cannot be written"):
        sharding.write(found, str(tmp_path / "file"), size=SIZE)


def test_shards_elsewhere(found, written):
    """In TensorFlow's file system in memory, which is none of this machine's folders."""
    place = f"ram://{time.time_ns()}/shards"
    sharding.write(found, place, size=SIZE, quality=0, photos_per_shard=10)
    assert shards.load(place) == shards.load(written)
    data = chosen(place).data
    assert prepare.prepare(data, 0) == found
    assert of_each(source(place)("train")) == of_each(source(written)("train"))
    name = shards.inside(place, shards.load(place).splits["val"][0].name)
    tf.io.gfile.remove(name)
    with pytest.raises(DataError, match=f"{name}: is missing; have it written anew: kcolor prepare FOLDER --shards"):
        source(place)
    with pytest.raises(DataError, match=r"there is no shards\.json"):
        prepare.prepare(chosen(place + "-2").data, 0)
