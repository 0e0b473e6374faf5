"""What the streams show of photos' instances: pictures whose pixels say of which photo they are, and where in it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kcolor.data.dataset import Photos, evaluation_batches, photos_of, training_stream
from kcolor.data.instances import MARGIN, Instance, Instances
from kcolor.data.rows import Photo, Rows

WIDE, HIGH = 60, 40
SIZE = 16
# Of each photo: none, one, three; boxes of 10 pixels and more, so that a margin of 15 % is a whole number of pixels.
FOUND = [
    (),
    (Instance("face", 0.9, 20, 10, 40, 30),),
    (Instance("a", 0.9, 0, 0, 20, 20), Instance("b", 0.8, 40, 20, 60, 40), Instance("a", 0.7, 10, 10, 50, 30)),
]


def paint(number: int) -> np.ndarray:
    """Red tells the column, green the row, blue the photo."""
    rgb = np.zeros((HIGH, WIDE, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = 4 * np.arange(WIDE), 6 * np.arange(HIGH)[:, None], 40 * number
    return rgb


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.fromarray(paint(number)).save(folder / f"{number}.png")
    rows = Rows.of(
        Photo(f"{number}.png", "ab"[number % 2], WIDE, HIGH, 1, 9, "train", "", False, found)
        for number, found in enumerate(FOUND)
    )
    return photos_of(rows, folder, ["a", "b"])


def by_hand(number: int, found: Instance | None, size: int = SIZE) -> np.ndarray:
    """The square of a box with its margin, cut by NumPy."""
    rgb = paint(number)
    if found:
        x, y = round(MARGIN * (found.right - found.left)), round(MARGIN * (found.bottom - found.top))
        rgb = rgb[max(found.top - y, 0) : found.bottom + y, max(found.left - x, 0) : found.right + x]
    return np.round(tf.image.resize(rgb, (size, size), antialias=True)).astype(np.uint8)


def taken(photos: Photos, batches: int, **options) -> tuple[np.ndarray, np.ndarray]:
    options = {"size": SIZE, "batch_size": 3, "seed": 0, "flip": 0.0, **options}
    rgb, labels = zip(*training_stream(photos, **options).take(batches), strict=True)
    return np.concatenate(rgb), np.concatenate(labels)


def what(shown: np.ndarray) -> list[tuple[int, int]]:
    """Of each picture the photo, and which instance it is; -1 for the whole photo."""
    known = {by_hand(n, one).tobytes(): (n, i) for n, found in enumerate(FOUND) for i, one in enumerate(found)}
    known |= {by_hand(number, None).tobytes(): (number, -1) for number in range(3)}
    return [known[picture.tobytes()] for picture in shown]


def test_an_instance_is_its_box_with_a_margin_and_keeps_the_photo_s_label(three):
    rgb, labels = taken(three, 30, instances=1.0)
    seen = what(rgb)
    assert set(seen) == {(0, -1), (1, 0), (2, 0), (2, 1), (2, 2)}  # without any: whole
    assert labels.tolist() == [number % 2 for number, _ in seen]


def test_so_often_as_asked_and_all_alike(three):
    rgb, _ = taken(three, 40, batch_size=75, instances=0.3)
    seen = what(rgb)
    of = {number: [which for photo, which in seen if photo == number] for number in range(3)}
    assert [len(each) for each in of.values()] == [1000] * 3
    assert set(of[0]) == {-1}
    # Four standard deviations of a share of 0.3, and of 0.1, among 1,000.
    assert np.mean(np.array(of[1]) >= 0) == pytest.approx(0.3, abs=0.058)
    for which in range(3):
        assert np.mean(np.array(of[2]) == which) == pytest.approx(0.1, abs=0.038)


def test_order_and_mirroring_are_what_they_were_without(three):
    with_them, labels = taken(three, 12, instances=0.5, flip=0.5)
    without, same = taken(three, 12, flip=0.5)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_array_equal(with_them[..., 2].max(axis=(1, 2)), without[..., 2].max(axis=(1, 2)))

    def mirrored(rgb):
        return rgb[:, 0, 0, 0] > rgb[:, 0, -1, 0]

    np.testing.assert_array_equal(mirrored(with_them), mirrored(without))
    # Off, or where there are none, it is the stream that there was.
    plain = Photos(three.paths, three.labels, three.orientations)
    for photos, share in [(three, 0.0), (plain, 0.0), (plain, 1.0)]:
        np.testing.assert_array_equal(taken(photos, 12, flip=0.5, instances=share)[0], without)


def test_a_function_of_seed_and_position(three):
    whole = what(taken(three, 8, instances=0.5, seed=4)[0])
    assert what(taken(three, 8, instances=0.5, seed=4)[0]) == whole
    assert what(taken(three, 3, instances=0.5, seed=4, start=5)[0]) == whole[15:]
    assert what(taken(three, 8, instances=0.5, seed=5)[0]) != whole
    # Chosen by instance, not by photo: each pass has its own.
    assert len({tuple(sorted(whole[i : i + 3])) for i in range(0, 24, 3)}) > 3


def test_replicas_share_what_one_would_have(three):
    alone = taken(three, 4, batch_size=6, instances=0.5)[0].reshape(4, 6, SIZE, SIZE, 3)
    both = [taken(three, 4, batch_size=6, instances=0.5, replica=i, replicas=2)[0] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate([each.reshape(4, 3, SIZE, SIZE, 3) for each in both], 1), alone)


def test_validation_is_of_whole_photos(three):
    [(rgb, _)] = evaluation_batches(three, size=SIZE, batch_size=3)
    assert what(rgb.numpy()) == [(0, -1), (1, -1), (2, -1)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_of_the_upright_photo(tmp_path, orientation):
    upright = paint(1)
    # What the file holds is what turns into that; `np.rot90` and mirroring by EXIF 2.32, section 4.6.4.
    undo = {
        1: lambda rgb: rgb,
        2: lambda rgb: rgb[:, ::-1],
        3: lambda rgb: rgb[::-1, ::-1],
        4: lambda rgb: rgb[::-1],
        5: lambda rgb: rgb.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: lambda rgb: np.rot90(rgb, -1),
    }[orientation]
    Image.fromarray(np.ascontiguousarray(undo(upright))).save(tmp_path / "a.png")
    rows = Rows.of([Photo("a.png", "", WIDE, HIGH, orientation, 9, "train", "", False, FOUND[1])])
    rgb, _ = taken(photos_of(rows, tmp_path, []), 1, instances=1.0)
    np.testing.assert_array_equal(rgb[0], by_hand(1, FOUND[1][0]))


def test_windows_and_centres_are_of_the_instance(three):
    """The box is cut first, and all else is as of a photo."""
    box = FOUND[1][0]
    rgb, labels = taken(three, 30, instances=1.0, random_crop=0.3)
    left, right = box.left - 3, box.right + 3
    face = rgb[labels == 1]
    assert len(face) == 30
    assert face[..., 0].min() >= 4 * left
    assert face[..., 0].max() <= 4 * right
    assert len({picture.tobytes() for picture in face}) > 20
    wide = Instances.of([(Instance("a", 1.0, 0, 10, 60, 20),)]).widened(np.array([WIDE]), np.array([HIGH]))
    one = Photos(three.paths[1:2], [0], [1], wide)
    square, _ = taken(one, 1, instances=1.0, crop=True)
    # 60 x 14 with its margin (a margin of 1.5 is 2): the middle 14 columns.
    assert square[..., 0].min() >= 4 * 23
    assert square[..., 0].max() <= 4 * 37
    assert square[..., 1].min() >= 6 * 8


def test_a_photo_that_has_become_smaller_is_shown_as_far_as_it_goes(tmp_path):
    Image.fromarray(paint(1)[:12, :22]).save(tmp_path / "a.png")
    rows = Rows.of([Photo("a.png", "", WIDE, HIGH, 1, 9, "train", "", False, FOUND[1])])
    rgb, _ = taken(photos_of(rows, tmp_path, []), 1, instances=1.0)
    assert rgb.shape == (3, SIZE, SIZE, 3)
    assert rgb[..., 0].min() >= 4 * 17


def test_margins_end_where_the_photo_ends():
    columns = Instances.of([(), (Instance("a", 1.0, 2, 0, 22, 100), Instance("b", 1.0, 30, 50, 100, 99))])
    wide = columns[np.array([1, 0])].widened(np.array([100, 7]), np.array([100, 7]))
    assert wide.boxes.tolist() == [[0, 0, 25, 100], [20, 43, 100, 100]]
    assert [len(each) for each in wide] == [2, 0]
