"""Detectors: the cascade of scikit-image on its own photograph, and real files of TFLite's kinds."""

import shutil
import tracemalloc
import zipfile
from pathlib import Path

import detecting
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage import data

from kcolor import detectors
from kcolor.detectors import Detection, faces, tflite
from kcolor.errors import DataError

# Of scikit-image's photograph of an astronaut; and her face, from the hair to the chin: left, top, right, bottom.
ASTRONAUT = data.astronaut()[20:220, 120:320]
FACE = np.array([55, 50, 152, 150]) / 200


@pytest.fixture(scope="module")
def ssd(tmp_path_factory) -> Path:
    return detecting.ssd(tmp_path_factory.mktemp("detectors") / "ssd.tflite")


@pytest.fixture
def own(ssd, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copy(ssd, tmp_path / "own.tflite"))


def box(found: Detection) -> np.ndarray:
    return np.array(found[2:])


def on_the_face(found: list[Detection]) -> list[Detection]:
    return [each for each in found if np.abs(box(each) - FACE).max() < 0.06]


# --- faces ---


def test_a_face_is_found_in_colour_and_in_grey():
    photo = ASTRONAUT
    find = detectors.load("faces").find
    [face] = on_the_face(found := find(photo))
    assert face.name == "face"
    assert 0.5 < face.score < 1
    assert found == sorted(found, key=lambda each: -each.score)
    grey = np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))
    assert find(grey) == found


def test_mirrored_photos_have_mirrored_faces():
    [face] = on_the_face(faces.find(ASTRONAUT))
    found = faces.find(ASTRONAUT[:, ::-1])
    [other] = on_the_face([each._replace(left=1 - each.right, right=1 - each.left) for each in found])
    np.testing.assert_allclose(box(other), box(face), atol=1e-6)
    assert other.score == face.score


def test_large_pictures_are_looked_at_smaller():
    large = np.asarray(Image.fromarray(ASTRONAUT).resize((1200, 1200), Image.Resampling.BICUBIC))
    [face] = on_the_face(faces.find(large))
    assert face.score > 0.5


def test_a_crowd_takes_little_memory():
    """Of thousands of windows, each with each would be gigabytes."""
    crowd = np.random.default_rng(0).uniform(0, 500, (4000, 2))
    places = np.repeat(crowd[:200], 20, axis=0) // 40 * 40
    windows = np.concatenate([places, places + 30], axis=1)
    tracemalloc.start()
    groups = faces._groups(windows)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100e6
    assert sorted(len(each) for each in groups) == sorted(np.unique(places, axis=0, return_counts=True)[1].tolist())
    assert all(len(np.unique(each, axis=0)) == 1 for each in groups)


@pytest.mark.parametrize("shape", [(1, 1), (10, 300), (23, 23), (200, 200)])
def test_where_nothing_is_there_is_nothing(shape):
    assert faces.find(np.full((*shape, 3), 128, np.uint8)) == []


# --- files ---


def test_ssd_by_its_own_operation(ssd):
    found = detectors.load(str(ssd)).find(detecting.squares((1, 6)))
    assert found[0].name == "class 0"
    assert found[0].score == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(box(found[0]), [6 / 8, 1 / 8, 7 / 8, 2 / 8], atol=1e-6)
    assert len(found) == detecting.MOST
    assert all(each.score < 0.01 for each in found[1:])
    large = detectors.load(str(ssd)).find(detecting.squares((1, 6), scale=3))  # made smaller, and so a little softer
    assert large[0].score == pytest.approx(0.95, abs=0.02)
    assert large[0][2:] == found[0][2:]
    [red, *_] = detectors.load(str(ssd)).find(detecting.squares((0, 0), colour=(255, 51, 51)))
    assert red.name == "class 1"
    assert red.score == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("order", "dtype"), [("bcsn", tf.uint8), ("nscb", tf.uint8), ("sbnc", tf.int8)])
def test_outputs_in_any_order(tmp_path, order, dtype):
    path = detecting.plain(tmp_path / "plain.tflite", order, dtype)
    found = detectors.load(str(path)).find(detecting.squares((7, 0), (2, 3)))
    assert len(found) == 2  # as the count says; it has four rows
    assert {tuple(each[2:]) for each in found} == {(0, 7 / 8, 1 / 8, 1), (3 / 8, 2 / 8, 4 / 8, 3 / 8)}
    assert {each.name for each in found} == {"class 3"}


@pytest.mark.parametrize("count", [np.nan, -1.0, 2.0])
def test_answers_that_are_no_numbers_are_none(ssd, count, monkeypatch):
    boxes, classes = np.tile(np.float32([0, 0, 1, 1]), (1, 3, 1)), np.float32([[np.nan, 1, 1]])
    answer = [boxes, classes, np.float32([[0.9, 0.8, 0.7]]), np.float32([count])]
    monkeypatch.setattr(tflite, "_run", lambda model: lambda picture: answer)
    found = detectors.load(str(ssd)).find(detecting.squares())
    assert [each.score for each in found] == pytest.approx([0.8] if count > 0 else [])


def test_floats_are_normalized_as_the_file_says(own):
    half = detecting.squares((1, 1), colour=(128, 128, 128))
    [one, *_] = detectors.load(str(own)).find(half)
    assert one.score == pytest.approx(128 / 255, abs=1e-6)
    detecting.with_normalization(own, [0.0], [127.5])  # 0 to 2 in place of -1 to 1
    detector = detectors.load(str(own))
    assert (detector.model.mean, detector.model.deviation) == ((0.0,), (127.5,))
    detecting.with_normalization(own, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    # The first of two entries counts.
    assert detectors.load(str(own)).model.mean == (0.0,)
    three = detecting.with_normalization(Path(shutil.copy(own, own.with_name("three.tflite"))), [1.0], [0.0])
    assert detectors.load(str(three)).model.deviation == (127.5,)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat\nsmall  dog\n", "small dog"),
        ("???\nperson\nbicycle\n", "bicycle"),
        ("0  person\n1  bicycle\n17 cat\n", "bicycle"),
        ("cat\n", "class 1"),
        ("cat\na; b\n", "a, b"),
        ("", "class 1"),
    ],
)
def test_names_of_classes(own, tmp_path, text, name):
    """In the file as a ZIP archive, as a file beside it, as a file that is named."""
    red = detecting.squares((0, 0), colour=(255, 0, 0))
    beside = own.with_suffix(".txt")
    beside.write_text(text)
    assert detectors.load(str(own)).find(red)[0].name == name
    beside.unlink()
    (tmp_path / "other.txt").write_text(text)
    if text:
        assert detectors.load(str(own), tmp_path / "other.txt").find(red)[0].name == name
    with zipfile.ZipFile(own, "a") as archive:
        archive.writestr("about.txt", "not the names\n")
        archive.writestr("labelmap.txt", text)
    assert detectors.load(str(own)).find(red)[0].name == name


def test_a_list_that_is_damaged_is_none(own):
    whole = own.read_bytes()
    with zipfile.ZipFile(own, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labelmap.txt", "cat\n" * 1000)
    packed = bytearray(own.read_bytes())
    packed[len(whole) + 30 + len("labelmap.txt")] = 0xFF  # the first byte of what is packed
    own.write_bytes(packed)
    assert detectors.load(str(own)).model.labels == ()
    packed[len(whole) + 6] |= 1  # with a password
    packed[packed.rindex(b"PK\1\2") + 8] |= 1
    own.write_bytes(packed)
    assert detectors.load(str(own)).model.labels == ()


def test_the_hash_is_of_all_that_answers_hang_on(own):
    first = detectors.load(str(own))
    assert detectors.load(str(own)) == first
    own.with_suffix(".txt").write_text("cat\n")
    assert detectors.load(str(own)).sha256 != first.sha256
    assert detectors.load("faces").sha256 != first.sha256


def test_what_is_no_detector(tmp_path):
    def refused(path, why, **options):
        with pytest.raises(DataError, match=why) as caught:
            detectors.load(str(path), **options)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def made(function, *shape, dtype=tf.float32):
        return detecting.convert(tmp_path / "made.tflite", function, tf.TensorSpec(shape, dtype))

    refused("nothing", "no such detector; give faces, or a .tflite file")
    refused(tmp_path / "gone.tflite", "No such file")
    (tmp_path / "text.tflite").write_text("not a model at all")
    refused(tmp_path / "text.tflite", "not a .tflite file")
    (tmp_path / "cut.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(50))
    refused(tmp_path / "cut.tflite", "LiteRT cannot load it")
    # As kcolor export writes them: from l to ab, and from a photo to a photo.
    refused(made(lambda l: tf.concat([l, l], -1), 1, 32, 32, 1), r"takes float32 \(1,32,32,1\)")
    refused(made(lambda rgb: rgb / 2, 1, 32, 32, 3), r"gives float32 \(1,32,32,3\); expected boxes \(1,N,4\)")
    refused(made(lambda rgb: rgb * 2, 1, None, None, 3), r"pictures of any size \(1,-1,-1,3\)")
    # All that it gives are zeros: which are the classes?
    zeros = lambda rgb: tuple(tf.zeros(s) + 0 * rgb[0, 0, 0, 0] for s in [(1, 5, 4), (1, 5), (1, 5), (1,)])  # noqa: E731
    refused(made(zeros, 1, 32, 32, 3), "classes and which are scores cannot be told")


def test_labels_that_cannot_be_used(own, tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt: the labels cannot be read: No such file"):
        detectors.load(str(own), tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="no labels in it"):
        detectors.load(str(own), tmp_path / "empty.txt")
    with pytest.raises(DataError, match="faces knows faces alone"):
        detectors.load("faces", tmp_path / "empty.txt")
