"""Decoding and turning against Pillow; squares by their geometry."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from kcolor import image


def picture(height=37, width=53, channels=3):
    """A photo-like array: smooth, with some noise and a saturated corner."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    smooth = np.stack([128 + 120 * np.sin(5 * x + 3 * y + i) for i in range(channels)], axis=-1)
    noisy = smooth + np.random.default_rng(0).normal(0, 10, smooth.shape)
    noisy[:9, :9] = np.array([255, 0, 0, 40])[:channels]
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encode(pixels, kind, **options):
    file = io.BytesIO()
    made = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    made.save(file, kind, **options)
    return file.getvalue()


def pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


GREY = picture()[..., 0]
RGBA = picture(channels=4)
PALETTE = Image.fromarray(picture()).quantize(60)
FRAMES = [Image.fromarray(picture()).quantize(60), Image.fromarray(255 - picture()).quantize(60)]
FILES = {
    "jpeg": encode(picture(), "JPEG", quality=90),
    "jpeg_poor": encode(picture(), "JPEG", quality=15),
    "jpeg_unsubsampled": encode(picture(), "JPEG", subsampling=0),
    "jpeg_progressive": encode(picture(), "JPEG", progressive=True),
    "jpeg_grey": encode(GREY, "JPEG"),
    "jpeg_one_pixel": encode(picture(1, 1), "JPEG"),
    "png": encode(picture(), "PNG"),
    "png_palette": encode(PALETTE, "PNG"),
    "png_grey": encode(GREY, "PNG"),
    "png_bilevel": encode(Image.fromarray(GREY > 128), "PNG"),
    "bmp": encode(picture(), "BMP"),
    "gif": encode(FRAMES[0], "GIF"),
    "gif_animated": encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "webp": encode(picture(), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FILES)
def test_decodes_what_pillow_decodes(name):
    decoded = image.decode(FILES[name])
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded, pillow(FILES[name]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_dropped(kind):
    data = encode(RGBA, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(image.decode(data), RGBA[..., :3])


def test_grey_with_alpha():
    data = encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)]), "PNG")
    np.testing.assert_array_equal(image.decode(data), np.repeat(GREY[..., None], 3, axis=-1))


def test_sixteen_bit_grey_is_rounded_to_eight():
    values = np.linspace(0, 65535, 30 * 40).reshape(30, 40).astype(np.uint16)
    decoded = image.decode(encode(values, "PNG")).numpy().astype(float)
    assert np.abs(decoded - values[..., None] / 257).max() <= 1
    assert (np.ptp(decoded, axis=-1) == 0).all()


def test_cmyk_jpeg_has_three_channels():
    data = encode(Image.fromarray(picture()).convert("CMYK"), "JPEG")
    assert image.decode(data).shape == (37, 53, 3)


@pytest.mark.parametrize("name", ["jpeg", "jpeg_progressive", "png", "bmp", "gif", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_picture_cut_short_is_an_error(name, share):
    data = FILES[name]
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", bytes(range(256)) * 9])
def test_what_is_no_picture_is_an_error(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_upright_as_by_pillow(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(16, 24), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(image.orient(image.decode(data), orientation), expected)


def test_orientations_differ():
    corners = tf.reshape(tf.range(6), (2, 3, 1))
    assert len({image.orient(corners, i).numpy().tobytes() for i in range(1, 9)}) == 8


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("shape", [(64, 64), (17, 90), (90, 17), (1, 1), (300, 200)])
def test_a_constant_picture_stays_constant(shape, crop):
    colour = np.array([255, 0, 77], np.uint8)
    square = image.fit_square(tf.constant(np.broadcast_to(colour, (*shape, 3))), 32, crop=crop)
    assert square.dtype == tf.uint8
    np.testing.assert_array_equal(square, np.broadcast_to(colour, (32, 32, 3)))


@pytest.mark.parametrize(("height", "width"), [(20, 32), (32, 20), (20, 31), (31, 20), (20, 20)])
def test_crop_takes_the_centred_square(height, width):
    rgb = picture(height, width)
    top, left = (height - 20) // 2, (width - 20) // 2
    square = image.fit_square(tf.constant(rgb), 20, crop=True)  # its own size, so that pixels are kept
    np.testing.assert_array_equal(square, rgb[top : top + 20, left : left + 20])


def test_without_crop_all_is_kept_and_stretched():
    # Left half black, right half white; twice as wide as high.
    rgb = np.repeat(np.repeat([[0, 255]], 40, axis=0), 40, axis=1).astype(np.uint8)[..., None].repeat(3, -1)
    square = image.fit_square(tf.constant(rgb), 20).numpy()
    assert (square[:, :9] == 0).all()
    assert (square[:, 11:] == 255).all()
    cut = image.fit_square(tf.constant(rgb[:, :60]), 20, crop=True).numpy()  # columns 10 to 50, edge at 40
    assert (cut[:, :14] == 0).all()
    assert (cut[:, 16:] == 255).all()


def test_shrinking_averages_instead_of_picking_pixels():
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    small = image.fit_square(tf.constant(board), 32).numpy().astype(float)
    assert np.abs(small - 127.5).max() < 3


def test_resizing_is_close_to_pillow():
    rgb = picture(90, 130)
    expected = np.asarray(Image.fromarray(rgb).resize((48, 48), Image.Resampling.BILINEAR), int)
    assert np.abs(image.fit_square(tf.constant(rgb), 48).numpy() - expected).max() <= 1


def test_to_uint8_rounds_and_clips():
    values = tf.constant([-3.0, 0.4, 0.6, 254.4, 254.6, 300.0])
    np.testing.assert_array_equal(image.to_uint8(values), [0, 0, 1, 254, 255, 255])


def test_the_same_in_a_dataset():
    def load(data, orientation):
        return image.fit_square(image.orient(image.decode(data), orientation), 24, crop=True)

    names = ["jpeg", "png", "gif", "webp", "bmp", "jpeg_grey"]
    files = [FILES[name] for name in names]
    turns = [6, 1, 3, 8, 2, 5]
    dataset = tf.data.Dataset.from_tensor_slices((files, turns)).map(load)
    assert dataset.element_spec == tf.TensorSpec((24, 24, 3), tf.uint8)
    for data, orientation, square in zip(files, turns, dataset, strict=True):
        np.testing.assert_array_equal(square, load(data, orientation))


@pytest.mark.parametrize("height", range(5, 37, 4))
def test_webp_with_alpha_of_any_file_size(height):
    # The size stands in the header, as bytes that need not be text.
    rgba = picture(height, channels=4)
    data = encode(rgba, "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(image.decode(data), rgba[..., :3])


@pytest.mark.parametrize("channels", [3, 4])
def test_moving_webp_is_an_error(channels):
    frames = [Image.fromarray(picture(channels=channels)), Image.fromarray(255 - picture(channels=channels))]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.decode(data)
