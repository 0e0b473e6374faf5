"""What the streams deliver, on pictures that say which photo they are."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kcolor.data.dataset import Photos, evaluation_batches, training_stream

SIZE = 16


def paint(number):
    """The left half is of a colour that says the number, the right half is black."""
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    rgb[:, : SIZE // 2] = 20 * number + 10
    return rgb


def make(folder, count, names=None):
    """Photos whose label is 3 times their number."""
    paths = [folder / name for name in names or [f"{number}.png" for number in range(count)]]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            Image.fromarray(paint(number)).save(file, "PNG")
    return Photos(paths, [3 * number for number in range(count)], [1] * count)


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    return make(tmp_path_factory.mktemp("photos"), 7)


def numbers(rgb):
    return [int(value) // 20 for value in np.asarray(rgb).max(axis=(1, 2, 3))]


def mirrored(rgb):
    return [bool(row[0] == 0) for row in np.asarray(rgb)[:, 0, :, 0]]


def stream(photos, batches, **arguments):
    """The first batches: [(number, mirrored), ...] of each photo in turn."""
    arguments = {"size": SIZE, "batch_size": 3, "seed": 0, **arguments}
    taken = training_stream(photos, **arguments).take(batches)
    return [pair for rgb, _ in taken for pair in zip(numbers(rgb), mirrored(rgb), strict=True)]


def test_batches_are_of_bytes_and_labels(seven):
    dataset = training_stream(seven, size=SIZE, batch_size=3, seed=0)
    rgb, labels = next(iter(dataset))
    assert (rgb.shape, rgb.dtype) == ((3, SIZE, SIZE, 3), tf.uint8)
    assert (labels.shape, labels.dtype) == ((3,), tf.int32)
    assert dataset.element_spec[0].shape == (3, SIZE, SIZE, 3)


def test_labels_belong_to_their_photos(seven):
    for rgb, labels in training_stream(seven, size=SIZE, batch_size=4, seed=1).take(7):
        assert [3 * number for number in numbers(rgb)] == list(labels)


def test_pictures_are_whole_photos_or_their_mirror_image(seven):
    rgb, labels = next(iter(training_stream(seven, size=SIZE, batch_size=7, seed=0)))
    for square, label, turned in zip(rgb.numpy(), labels.numpy(), mirrored(rgb), strict=True):
        expected = paint(label // 3)
        np.testing.assert_array_equal(square, expected[:, ::-1] if turned else expected)


def test_each_pass_has_each_photo_once_in_a_new_order(seven):
    # 7 batches of 3 are 3 passes over 7 photos; passes begin within batches.
    order = [number for number, _ in stream(seven, 14)]
    passes = [tuple(order[i : i + 7]) for i in range(0, 42, 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len(set(passes)) == 6


@pytest.mark.parametrize("start", [1, 2, 5, 40])
def test_starting_late_is_skipping(seven, start):
    assert stream(seven, 4, start=start) == stream(seven, start + 4)[3 * start :]


def test_the_stream_of_a_seed_is_what_it_always_was(seven):
    """Else runs that were begun with an earlier version would go on with other photos."""
    order = [0, 2, 1, 6, 4, 5, 3, 1, 0, 5, 4, 3, 2, 6, 2, 1, 6, 5, 4, 3, 0]
    turned = [True, True, False, False, False, False, True, False, False, True, False, True, True, False, False, False]
    turned += [True, False, True, False, False]
    assert stream(seven, 7) == list(zip(order, turned, strict=True))


def test_stream_repeats_from_its_seed(seven):
    assert stream(seven, 10, seed=5) == stream(seven, 10, seed=5)


def test_order_and_mirroring_depend_on_the_seed(seven):
    ours, theirs = stream(seven, 14, seed=0), stream(seven, 14, seed=1)
    assert [number for number, _ in ours] != [number for number, _ in theirs]
    assert [turned for _, turned in ours] != [turned for _, turned in theirs]


def test_mirroring_leaves_the_order_alone(seven):
    ours, theirs = stream(seven, 7, flip=0.0), stream(seven, 7, flip=1.0)
    assert [number for number, _ in ours] == [number for number, _ in theirs]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_mirroring_of_none_and_of_all(seven, flip):
    assert {turned for _, turned in stream(seven, 20, flip=flip)} == {flip == 1.0}


@pytest.mark.parametrize("flip", [0.5, 0.1])
def test_mirroring_as_often_as_asked(seven, flip):
    turned = Counter(turned for _, turned in stream(seven, 20, batch_size=50, flip=flip))
    assert turned[True] / 1000 == pytest.approx(flip, abs=0.04)


def test_each_photo_is_seen_both_ways(seven):
    assert len(set(stream(seven, 10, batch_size=14))) == 14


def test_a_single_photo(tmp_path):
    shown = stream(make(tmp_path, 1), 4, batch_size=8)
    assert {number for number, _ in shown} == {0}
    assert {turned for _, turned in shown} == {True, False}


def test_a_stream_far_into_a_run(seven):
    far = 2**33  # positions past 32 bits
    assert len(stream(seven, 2, start=far)) == 6
    assert stream(seven, 2, start=far)[3:] == stream(seven, 1, start=far + 1)


# Windows: on a picture whose red says the column and whose green says the row, 2 levels a pixel.

WIDE, HIGH = 120, 60


@pytest.fixture(scope="module")
def ruled(tmp_path_factory):
    rgb = np.zeros((HIGH, WIDE, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = 2 * np.arange(WIDE)[None, :], 2 * np.arange(HIGH)[:, None]
    path = tmp_path_factory.mktemp("ruled") / "ruled.png"
    Image.fromarray(rgb).save(path)
    return Photos([path], [0], [1])


def windows(photos, count, **arguments):
    """[left, top, width, height] in pixels of the photo, of each picture in turn."""
    arguments = {"size": 48, "batch_size": 50, "seed": 0, "flip": 0.0, "random_crop": 0.4, **arguments}
    shown = np.concatenate([rgb for rgb, _ in training_stream(photos, **arguments).take(count // 50)]).astype(float)
    # A pixel of the shown picture lies in the middle of what it stands for, so the ramp is told by its inner part.
    columns, rows = shown[:, 24, :, 0] / 2, shown[:, :, 24, 1] / 2
    width, height = (48 * (ramp[:, 40] - ramp[:, 8]) / 32 for ramp in (columns, rows))
    return np.stack([columns[:, 24] - width / 2, rows[:, 24] - height / 2, width, height], axis=1)


def test_windows_are_parts_of_the_photo_in_its_own_proportions(ruled):
    left, top, width, height = windows(ruled, 200).T
    assert width.min() > 0.6 * WIDE - 1.5
    assert width.max() < WIDE + 1
    assert width.min() < 0.65 * WIDE
    assert width.max() > 0.95 * WIDE
    np.testing.assert_allclose(width / WIDE, height / HIGH, atol=0.04)
    assert (left > -1.5).all()
    assert (top > -1.5).all()
    assert (left + width < WIDE + 1.5).all()
    assert (top + height < HIGH + 1.5).all()
    # At any place: some touch each edge, and left says nothing of top.
    assert min(left.min(), top.min()) < 1.5
    assert (left + width).max() > WIDE - 2
    assert (top + height).max() > HIGH - 2
    slack = width < 0.85 * WIDE
    across, down = left[slack] / (WIDE - width[slack]), top[slack] / (HIGH - height[slack])
    assert across.mean() == pytest.approx(0.5, abs=0.1)
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.3


def test_windows_of_squares_are_square(ruled):
    left, _, width, height = windows(ruled, 200, crop=True).T
    np.testing.assert_allclose(width, height, atol=1.5)
    assert (height > 0.6 * HIGH - 1.5).all()
    assert ((left > -1.5) & (left + width < WIDE + 1.5)).all()


def test_windows_are_a_function_of_seed_and_position(ruled):
    arguments = {"size": 48, "batch_size": 3, "random_crop": 0.2}

    def shown(batches, **more):
        taken = training_stream(ruled, **arguments, **more).take(batches)
        return np.concatenate([rgb for rgb, _ in taken])

    whole = shown(6, seed=4)
    np.testing.assert_array_equal(shown(6, seed=4), whole)
    np.testing.assert_array_equal(shown(2, seed=4, start=4), whole[12:])
    assert not np.array_equal(shown(6, seed=5), whole)
    assert len({picture.tobytes() for picture in whole}) == 18  # no two alike


def test_windows_leave_order_and_mirroring_alone(seven):
    assert stream(seven, 7, random_crop=0.2) == stream(seven, 7)


def test_photos_of_a_pixel_have_windows(tmp_path):
    Image.fromarray(np.full((1, 1, 3), 77, np.uint8)).save(tmp_path / "dot.png")
    dot = Photos([tmp_path / "dot.png"], [0], [1])
    rgb, _ = next(iter(training_stream(dot, size=SIZE, batch_size=8, seed=0, random_crop=0.9)))
    assert np.unique(rgb) == [77]


def test_a_vanished_photo_is_named(tmp_path):
    photos = make(tmp_path, 3)
    photos.paths[1].unlink()
    with pytest.raises(tf.errors.NotFoundError, match=r"1\.png"):
        stream(photos, 1)
    with pytest.raises(tf.errors.NotFoundError, match=r"1\.png"):
        list(evaluation_batches(photos, size=SIZE, batch_size=3))


def test_a_broken_photo_is_an_error(tmp_path):
    photos = make(tmp_path, 2)
    photos.paths[0].write_bytes(photos.paths[0].read_bytes()[:40])
    with pytest.raises(tf.errors.InvalidArgumentError):
        stream(photos, 1)


def test_odd_file_names(tmp_path):
    names = ["with space.png", "Größe 图.png", "quote'\"*?[0].png", "%20#&.png", "line\nbreak.png"]
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
        names.append(os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pass  # this file system takes no names that are not UTF-8
    photos = make(tmp_path, len(names), names)
    [(rgb, _)] = evaluation_batches(photos, size=SIZE, batch_size=10)
    assert numbers(rgb) == list(range(len(names)))


def test_evaluation_is_each_photo_once_in_order_unmirrored(seven):
    batches = list(evaluation_batches(seven, size=SIZE, batch_size=3))
    assert [len(rgb) for rgb, _ in batches] == [3, 3, 1]
    rgb = np.concatenate([rgb for rgb, _ in batches])
    np.testing.assert_array_equal(rgb, [paint(number) for number in range(7)])
    assert [int(label) for _, labels in batches for label in labels] == [0, 3, 6, 9, 12, 15, 18]


def test_evaluation_of_no_photos():
    assert list(evaluation_batches(Photos([], [], []), size=SIZE, batch_size=3)) == []


def test_photos_are_turned_upright(tmp_path):
    path = make(tmp_path, 1).paths[0]
    photos = Photos([path] * 3, [0, 1, 2], [1, 3, 6])  # as it is, upside down, a quarter turn clockwise
    [(rgb, _)] = evaluation_batches(photos, size=SIZE, batch_size=3)
    np.testing.assert_array_equal(rgb[1], np.rot90(paint(0), 2))
    np.testing.assert_array_equal(rgb[2], np.rot90(paint(0), -1))
    for shown, labels in training_stream(photos, size=SIZE, batch_size=3, seed=0, flip=0.0).take(1):
        np.testing.assert_array_equal(shown, tf.gather(rgb, labels))


def test_crop_cuts_the_centre_out(tmp_path):
    wide = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
    wide[:, SIZE : 2 * SIZE] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    photos = Photos([Path(tmp_path / "wide.png")], [0], [1])
    arguments = {"size": SIZE, "batch_size": 1}
    for crop, darkest in ((True, 200), (False, 0)):
        [(whole, _)] = evaluation_batches(photos, crop=crop, **arguments)
        shown, _ = next(iter(training_stream(photos, seed=0, crop=crop, **arguments)))
        assert int(np.min(whole)) == int(np.min(shown)) == darkest
