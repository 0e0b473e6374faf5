"""Photographs in whatever form a caller has them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from made import colour, fill
from PIL import Image

from kcolor import photo
from kcolor.errors import DataError
from kcolor.given import take


def png(picture: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def test_files_come_back_as_photographs(folder):
    fill(folder, ["a.png"])
    expected = np.asarray(Image.open(folder / "a.png"))
    whole = (folder / "a.png").read_bytes()
    for given in (folder / "a.png", str(folder / "a.png"), whole, photo.read(folder / "a.png")):
        photograph, give_back = take(given)
        np.testing.assert_array_equal(photograph.rgb, expected)
        assert isinstance(give_back(photograph), photo.Photograph)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant])
def test_arrays_come_back_as_arrays(shape, dtype, kind):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    photograph, give_back = take(kind(values))
    colours = values[..., :3] if shape[2:] in ((3,), (4,)) else np.repeat(values.reshape(5, 7, 1), 3, axis=2)
    np.testing.assert_array_equal(photograph.rgb, colours)
    assert photograph.rgb.dtype == dtype
    made = give_back(photograph.with_rgb(photograph.rgb[::-1]))
    assert isinstance(made, np.ndarray)
    assert made.shape == (5, 7, 4 if shape[2:] == (4,) else 3)
    if shape[2:] == (4,):
        np.testing.assert_array_equal(made[..., 3], values[..., 3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_come_back_as_images(mode):
    picture = Image.fromarray(np.full((4, 6), 30_000, np.uint16)) if mode == "I;16" else colour(6).convert(mode)
    photograph, give_back = take(picture)
    assert photograph.rgb.shape == (*picture.size[::-1], 3)
    made = give_back(photograph)
    assert (made.size, made.mode) == (picture.size, "RGBA" if mode in ("LA", "RGBA") else "RGB")
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(np.asarray(made), np.asarray(picture))


def test_an_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(png(colour(20).resize((20, 10)), exif=exif))) as picture:
        photograph, _ = take(picture)
    assert photograph.rgb.shape == (20, 10, 3)


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"shape \(4, 4, 2\) is no photograph"),
        (np.zeros((4,), np.uint8), ValueError, r"shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), ValueError, "float32 is no photograph: uint8 in 0..255"),
        (np.zeros((4, 4, 3), np.int64), ValueError, "int64 is no photograph"),
        (None, TypeError, "not NoneType"),
        (3, TypeError, "not int"),
        (b"broken", DataError, "the photograph: not a photograph"),
        ("no/such/file.png", DataError, "no/such/file.png: cannot be read"),
    ],
)
def test_what_is_no_photograph(given, error, why):
    with pytest.raises(error, match=why):
        take(given)
