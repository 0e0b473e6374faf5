"""Reading and writing photographs: pixels, formats, limits, and what goes wrong."""

import io
import os
import resource
import stat
import struct
import subprocess
import sys
import threading
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from made import colour
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

from kcolor import photo
from kcolor.errors import DataError
from kcolor.photo import Photograph

# What Pillow says of files that are broken on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LOSSLESS = [".png", ".tif", ".bmp"]
LOSSY = [".jpg", ".webp", ".avif"]


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()


def every_kind(picture: Image.Image) -> dict[str, bytes]:
    """A file of each kind that is read here, with something beside its pixels."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a caption", 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    heic = {}
    if find_spec("pillow_heif"):
        heic = {"HEIC": photo.encode(Photograph(np.asarray(picture)), "HEIF")}
    return heic | {
        "JPEG": saved(picture, "JPEG", exif=exif, xmp=xmp, comment=b"a comment"),
        "progressive JPEG": saved(picture, "JPEG", progressive=True),
        "grey JPEG": saved(picture.convert("L"), "JPEG"),
        "CMYK JPEG": saved(picture.convert("CMYK"), "JPEG"),
        "MPO": saved(picture, "MPO", save_all=True, append_images=[picture.rotate(90)]),
        "PNG": saved(picture, "PNG", exif=exif, dpi=(300, 300)),
        "interlaced PNG": interlaced_png(np.asarray(picture)),
        "PNG with a palette": saved(picture.quantize(256), "PNG"),
        "16-bit grey PNG": saved(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257), "PNG"),
        "TIFF": saved(picture, "TIFF", exif=exif),
        "TIFF in LZW": saved(picture, "TIFF", compression="tiff_lzw"),
        "TIFF in JPEG": saved(picture, "TIFF", compression="jpeg"),
        "fax": saved(picture.convert("1"), "TIFF", compression="group4"),
        "16-bit TIFF": made_by_tifffile(np.asarray(picture).astype(np.uint16) * 257, photometric="rgb"),
        "WebP": saved(picture, "WEBP", exif=exif, xmp=xmp),
        "lossless WebP": saved(picture, "WEBP", lossless=True),
        "moving WebP": saved(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)]),
        "AVIF": saved(picture, "AVIF", exif=exif, xmp=xmp),
        "BMP": saved(picture, "BMP"),
        "GIF": saved(picture, "GIF"),
        "moving GIF": saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
    }


def made_by_tifffile(values: np.ndarray, **options) -> bytes:
    made = io.BytesIO()
    tifffile.imwrite(made, values, **options)
    return made.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def png(header: tuple[int, ...], rows: bytes, *chunks: bytes) -> bytes:
    """A PNG of unfiltered rows.

    Args:
        header: Width, height, bits, colour type, and whether it is interlaced.
        rows: Each with its filter before it.
        chunks: Those between header and pixels.
    """
    width, height, bits, kind, interlace = header
    start = png_chunk(b"IHDR", struct.pack(">LL5B", width, height, bits, kind, 0, 0, interlace))
    end = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(chunks) + end


def interlaced_png(values: np.ndarray) -> bytes:
    """In Adam7's seven passes; RGB, of 8 or 16 bits."""
    rows = b""
    for top, left, down, right in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)]:  # fmt: skip
        for row in values[top::down, left::right]:
            if row.size:
                rows += b"\0" + row.astype(values.dtype.newbyteorder(">")).tobytes()
    height, width = values.shape[:2]
    return png((width, height, 8 * values.itemsize, 2, 1), rows)


PICTURE = colour(48).crop((0, 0, 48, 40))
KINDS = every_kind(PICTURE)


# Pixels.


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(kind):
    read = photo.decode(KINDS[kind], "a")
    assert read.rgb.dtype == (np.uint16 if "16-bit" in kind else np.uint8)
    with Image.open(io.BytesIO(KINDS[kind])) as opened:
        turned = kind in ("JPEG", "PNG", "TIFF", "WebP", "AVIF")  # they say so in EXIF
        assert read.rgb.shape == ((48, 40, 3) if turned else (40, 48, 3))
        assert read.format == {"MPO": "JPEG"}.get(opened.format, opened.format)
    shown = np.rot90(read.rgb8, 1) if turned else read.rgb8
    truth = PICTURE.convert("1" if kind == "fax" else "L" if "grey" in kind else "RGB").convert("RGB")
    assert np.abs(shown.astype(int) - np.asarray(truth)).mean() < (0.1 if kind == "fax" else 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_photos_are_turned_upright_and_say_so(folder, orientation, suffix):
    upright = np.asarray(colour(40))[:, :24]
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"a{suffix}"
    Image.fromarray(turned).save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    read = photo.read(path)
    np.testing.assert_array_equal(read.rgb, upright)
    photo.write(path, read)
    with Image.open(path) as again:
        assert again.getexif().get(0x0112, 1) == 1
        assert again.size == (24, 40)
    np.testing.assert_array_equal(photo.read(path).rgb, upright)


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bits_are_turned_upright_too(orientation, order, compression):
    values = np.random.default_rng(0).integers(0, 65536, (9, 5, 3), np.uint16)
    stored = values[::-1, ::-1] if orientation == 3 else np.rot90(values, 1)
    told = [(0x0112, "H", 1, orientation, True)]
    data = made_by_tifffile(stored, photometric="rgb", byteorder=order, compression=compression, extratags=told)
    np.testing.assert_array_equal(photo.decode(data, "a").rgb, values)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA", "PA"])
def test_every_mode_becomes_rgb(mode):
    picture = colour().convert(mode) if mode != "PA" else colour().convert("P").convert("PA")
    read = photo.decode(saved(picture, {"CMYK": "JPEG", "PA": "TIFF"}.get(mode, "PNG")), "a")
    assert read.rgb.shape == (96, 96, 3)
    assert (read.alpha is not None) == mode.endswith("A")
    if mode in ("L", "1", "LA"):
        np.testing.assert_array_equal(read.rgb, np.asarray(picture.convert("L"))[..., None].repeat(3, 2))


def test_transparency_is_kept():
    rgba = np.dstack([np.asarray(colour(16)), np.arange(256, dtype=np.uint8).reshape(16, 16)])
    for kind in ("PNG", "TIFF", "WEBP"):
        read = photo.decode(
            saved(Image.fromarray(rgba), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})), "a"
        )
        for written in (kind, "PNG", "TIFF"):
            again = photo.decode(photo.encode(read, written), "a")
            np.testing.assert_array_equal(again.rgb, rgba[..., :3])
            np.testing.assert_array_equal(again.alpha, rgba[..., 3])


def test_transparency_of_one_colour():
    black_is_clear = png_chunk(b"tRNS", bytes(6))
    read = photo.decode(png((2, 1, 8, 2, 0), b"\0" + bytes([0, 0, 0, 9, 9, 9]), black_is_clear), "a")
    assert read.alpha.tolist() == [[0, 255]]
    deep = photo.decode(png((2, 1, 16, 2, 0), b"\0" + bytes([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]), black_is_clear), "a")
    assert deep.alpha.tolist() == [[0, 65535]]
    assert deep.rgb.tolist() == [[[0, 0, 0], [9, 0, 0]]]


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_where_there_is_no_transparency_paper_is_white(kind):
    rgb = np.zeros((16, 16, 3), np.uint8)
    alpha = np.repeat(np.array([[0] * 8 + [255] * 8], np.uint8), 16, 0)
    read = photo.decode(photo.encode(Photograph(rgb, alpha), kind), "a")
    assert read.alpha is None
    assert read.rgb[:, :7].min() > 250
    assert read.rgb[:, 9:].max() < 5


# 16 bits. The files are made, and what is written is read, by libraries other than Pillow.


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 65536, shape, np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_read_to_the_last_bit(channels):
    tf = pytest.importorskip("tensorflow")
    values = noise(31, 17, channels)
    read = photo.decode(tf.io.encode_png(values).numpy(), "a")
    colours = values[..., :1].repeat(3, 2) if channels < 3 else values[..., :3]
    np.testing.assert_array_equal(read.rgb, colours)
    if channels in (2, 4):
        np.testing.assert_array_equal(read.alpha, values[..., -1])
    else:
        assert read.alpha is None
    assert np.abs(read.rgb8.astype(float) - colours / 257).max() <= 0.5


def test_interlaced_16_bit_png():
    values = noise(13, 11, 3)
    np.testing.assert_array_equal(photo.decode(interlaced_png(values), "a").rgb, values)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (400, 301)])
def test_16_bit_png_is_written_to_the_last_bit(alpha, size):
    tf = pytest.importorskip("tensorflow")
    smooth = np.add.outer(np.arange(size[0]) * 97, np.arange(size[1]) * 61) % 65536
    rgb = np.stack([smooth, smooth[::-1], noise(*size)], axis=-1).astype(np.uint16)
    data = photo.encode(Photograph(rgb, noise(*size) if alpha else None, format="PNG"))
    read = tf.io.decode_png(data, dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(read[..., :3], rgb)
    if alpha:
        np.testing.assert_array_equal(read[..., 3], noise(*size))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", ["grey", "RGB", "RGBA", "RGBX", "tiles", "BigTIFF"])
def test_16_bit_tiff_is_read_to_the_last_bit(order, compression, layout):
    channels = {"grey": 1, "RGBA": 4, "RGBX": 4}.get(layout, 3)
    values = noise(40, 33, channels)
    options = {
        "grey": {"photometric": "minisblack"},
        "RGBA": {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        "RGBX": {"photometric": "rgb", "extrasamples": ["unspecified"]},
        "tiles": {"photometric": "rgb", "tile": (16, 16)},
        "BigTIFF": {"photometric": "rgb", "bigtiff": True},
    }.get(layout, {"photometric": "rgb"})
    stored = values[..., 0] if channels == 1 else values
    data = made_by_tifffile(stored, byteorder=order, compression=compression, **options)
    if (layout, order) == ("BigTIFF", ">"):  # which Pillow does not know
        with pytest.raises(DataError, match="cannot be read as TIFF: it is damaged"):
            photo.decode(data, "a")
        return
    read = photo.decode(data, "a")
    np.testing.assert_array_equal(read.rgb, values.repeat(3, 2) if channels == 1 else values[..., :3])
    if layout == "RGBA":
        np.testing.assert_array_equal(read.alpha, values[..., 3])
    else:
        assert read.alpha is None


@pytest.mark.parametrize("order", "<>")
def test_16_bit_tiff_in_planes(order):
    values = noise(40, 33, 3)
    planes = {"photometric": "rgb", "planarconfig": "separate", "byteorder": order}
    read = photo.decode(made_by_tifffile(values.transpose(2, 0, 1), **planes), "a")
    np.testing.assert_array_equal(read.rgb, values)
    # Of compressed ones Pillow gives 8 bits; with four planes it would misread the others.
    read = photo.decode(made_by_tifffile(values.transpose(2, 0, 1), compression="zlib", **planes), "a")
    np.testing.assert_array_equal(read.rgb, values >> 8)
    four = noise(4, 40, 33)
    with pytest.raises(DataError, match="cannot be read"):
        photo.decode(made_by_tifffile(four, **planes | {"photometric": "separated"}), "a")


def test_16_bit_tiff_where_0_is_white():
    values = noise(9, 9)
    read = photo.decode(made_by_tifffile(values, photometric="miniswhite"), "a")
    np.testing.assert_array_equal(read.rgb[..., 0], 65535 - values)


def test_16_bit_tiff_with_colours_multiplied_by_alpha():
    colours, alpha = noise(20, 20, 3), np.maximum(noise(20, 20, 1), 1)
    stored = np.round(colours * (alpha / 65535)).astype(np.uint16)
    data = made_by_tifffile(np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    read = photo.decode(data, "a")
    solid = alpha[..., 0] > 20000
    assert np.abs(read.rgb.astype(int) - colours)[solid].max() <= 2
    np.testing.assert_array_equal(read.alpha, alpha[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (500, 301)])
def test_tiff_is_written_to_the_last_bit(dtype, alpha, size):
    rgb, clear = noise(*size, 3).astype(dtype), noise(*size).astype(dtype)
    data = photo.encode(Photograph(rgb, clear if alpha else None, format="TIFF"))
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)).reshape(*size, -1)[..., :3], rgb)
    read = photo.decode(data, "a")  # by libtiff
    np.testing.assert_array_equal(read.rgb, rgb)
    if alpha:
        np.testing.assert_array_equal(read.alpha, clear)


def test_16_bits_become_8_where_the_format_has_no_more():
    values = noise(24, 24, 3)
    for kind in ("BMP", "JPEG", "WEBP", "AVIF"):
        read = photo.decode(photo.encode(Photograph(values), kind), "a")
        assert read.rgb.dtype == np.uint8
        if kind == "BMP":
            assert np.abs(read.rgb - values / 257).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_refused(folder, dtype):
    Image.fromarray(np.ones((8, 8), dtype)).save(folder / "a.tif")
    with pytest.raises(
        DataError, match=r"a.tif: cannot be read: its values are signed, .*; save it with 8 or 16 bits"
    ) as e:
        photo.read(folder / "a.tif")
    assert "damaged" not in str(e.value)


# Writing.


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_formats_without_loss(folder, suffix):
    rgb = np.asarray(colour())
    photo.write(folder / "deep" / f"a{suffix}", Photograph(rgb))
    np.testing.assert_array_equal(photo.read(folder / "deep" / f"a{suffix}").rgb, rgb)


@pytest.mark.parametrize("suffix", LOSSY)
def test_formats_with_loss_lose_little(folder, suffix):
    rgb = np.asarray(colour())
    photo.write(folder / f"a{suffix.upper()}", Photograph(rgb))
    assert np.abs(photo.read(folder / f"a{suffix.upper()}").rgb.astype(int) - rgb).mean() < 2


def test_quality_and_full_resolution_of_colours(folder):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    sizes = []
    for quality in (30, 95):
        photo.write(folder / "a.jpg", Photograph(stripes), quality=quality)
        sizes.append((folder / "a.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    # With 4:2:0 the stripes would all be purple.
    assert np.abs(photo.read(folder / "a.jpg").rgb.astype(int) - stripes).mean() < 3
    read = photo.decode(photo.encode(Photograph(stripes), "AVIF", 95), "a").rgb
    assert np.abs(read.astype(int) - stripes).mean() < 8
    for quality in (0, 101):
        with pytest.raises(ValueError, match="quality is"):
            photo.encode(Photograph(stripes), "JPEG", quality)


def test_a_lossless_webp_stays_lossless():
    read = photo.decode(KINDS["lossless WebP"], "a")
    np.testing.assert_array_equal(read.rgb, np.asarray(PICTURE))
    np.testing.assert_array_equal(photo.decode(photo.encode(read), "a").rgb, np.asarray(PICTURE))
    assert len(photo.encode(read, quality=10)) < len(photo.encode(read))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_as_it_came(kind):
    read = photo.decode(KINDS[kind], "a")
    data = photo.encode(read)
    assert photo.sniff(data[: photo.HEAD]) == ("PNG" if read.format == "GIF" else read.format)
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert opened.mode == "RGB"
        assert opened.size == read.rgb.shape[1::-1]


def test_the_same_bytes_each_time():
    read = photo.decode(KINDS["JPEG"], "a")
    note = photo.Note("model")
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
        assert photo.encode(read, kind, note=note) == photo.encode(read, kind, note=note)


def test_the_time_of_the_file_is_kept(folder):
    (folder / "a.png").write_bytes(KINDS["PNG"])
    os.utime(folder / "a.png", ns=(1, 86_400_000_000_000))
    photo.write(folder / "b.png", photo.read(folder / "a.png"))
    assert (folder / "b.png").stat().st_mtime_ns == 86_400_000_000_000
    photo.write(folder / "c.png", photo.decode(KINDS["PNG"], "a"))
    assert (folder / "c.png").stat().st_mtime_ns > 86_400_000_000_000


def test_the_suffix_says_the_format_and_else_the_photo_does(folder):
    read = photo.decode(KINDS["WebP"], "a")
    for name, kind in [("a.png", "PNG"), ("a", "WEBP"), ("a.TIFF", "TIFF")]:
        photo.write(folder / name, read)
        assert photo.read(folder / name).format == kind
    photo.write(folder / "a.dat", read, format="JPEG")
    assert photo.read(folder / "a.dat").format == "JPEG"


def test_written_files_have_the_usual_permissions(folder):
    photo.write(folder / "a.png", Photograph(np.asarray(colour())))
    (folder / "b").touch()
    assert stat.S_IMODE(os.stat(folder / "a.png").st_mode) == stat.S_IMODE(os.stat(folder / "b").st_mode)  # noqa: PTH116


def test_a_photograph_is_what_it_says():
    rgb = np.zeros((4, 4, 3), np.uint8)
    for wrong in (
        {"rgb": rgb[..., 0]},
        {"rgb": rgb.astype(float)},
        {"rgb": rgb, "alpha": rgb[:, :, 0].astype(np.uint16)},
    ):
        with pytest.raises(ValueError, match="not"):
            Photograph(**wrong)
    with pytest.raises(ValueError, match="not a single pixel"):
        Photograph(rgb[:0])
    deep = Photograph(rgb, rgb[..., 0] + np.uint8(128)).with_rgb(rgb.astype(np.uint16))
    assert (deep.alpha == 128 * 257).all()
    assert (deep.with_rgb(rgb).alpha == 128).all()


# Limits.


def header_only(kind: str, width: int, height: int) -> bytes:
    """The beginning of a file that claims to be so large."""
    if kind == "PNG":
        return png((width, height, 8, 2, 0), b"")
    if kind == "GIF":
        return (
            b"GIF89a"
            + struct.pack("<HHBBB", width, height, 0, 0, 0)
            + b","
            + struct.pack("<4HB", 0, 0, width, height, 0)
            + b"\2\0;"
        )
    if kind == "BMP":
        return (
            b"BM"
            + struct.pack("<LLL", 54, 0, 54)
            + struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        )
    if kind == "WEBP":
        frame = b"\x9d\x01\x2a" + struct.pack("<HH", width, height)
        return (
            b"RIFF" + struct.pack("<L", 30) + b"WEBPVP8 " + struct.pack("<L", 18) + b"\x10\x00\x00" + frame + bytes(10)
        )
    small = saved(Image.new("RGB", (16, 16)), kind)
    place = small.index(b"\xff\xc0") + 5  # the frame's header
    return small[:place] + struct.pack(">HH", height, width) + small[place + 4 :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_the_header_is_asked_before_a_pixel_is_decoded(kind, monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.core, "new", never)
    with pytest.raises(DataError, match=r"^big: too large: 16000x15000 is 240,000,000 pixels, .* 200,000,000 "):
        photo.decode(header_only(kind, 16000, 15000), "big")


def test_the_limit_of_tiff(monkeypatch):
    data = bytearray(KINDS["TIFF"])
    for tag in (256, 257):
        place = (
            data.index(struct.pack("<HH", tag, 4)) + 8
            if struct.pack("<HH", tag, 4) in data
            else data.index(struct.pack("<HH", tag, 3)) + 8
        )
        data[place - 6 : place + 4] = struct.pack("<HLL", 4, 1, 60000)
    with pytest.raises(DataError, match="too large: 60000x60000 is 3,600,000,000 pixels"):
        photo.decode(bytes(data), "big")


def test_tiles_of_tiff_that_are_far_larger_than_the_picture(monkeypatch):
    tiles = {"photometric": "rgb", "compression": "zlib"}
    data = bytearray(made_by_tifffile(noise(40, 33, 3), tile=(512, 512), **tiles))
    np.testing.assert_array_equal(photo.decode(bytes(data), "a").rgb, noise(40, 33, 3))
    place = data.index(struct.pack("<HHLL", 323, 4, 1, 512))  # the height of a tile
    data[place : place + 12] = struct.pack("<HHLL", 323, 4, 1, 1 << 20)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(DataError, match=r"^a: cannot be read as TIFF: it is damaged"):
        photo.decode(bytes(data), "a")


def test_the_limit_can_be_chosen(folder):
    (folder / "a.png").write_bytes(KINDS["PNG"])
    for max_pixels in (48 * 40, 48 * 40 - 1):
        for read in (
            lambda n: photo.read(folder / "a.png", max_pixels=n),
            lambda n: photo.decode(KINDS["PNG"], "a.png", max_pixels=n),
        ):
            if max_pixels == 48 * 40:
                assert read(max_pixels).rgb.size == 3 * 48 * 40
            else:
                with pytest.raises(
                    DataError, match=r"a.png: too large: 48x40 is 1,920 pixels, .* 1,919 are read; .*\(--max-pixels\)"
                ):
                    read(max_pixels)


def test_pillow_s_own_limit_neither_hinders_nor_is_lost(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    threads = [threading.Thread(target=photo.decode, args=(data, "a")) for data in KINDS.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == 100
    for kind in ("TIFF in LZW", "WebP", "moving GIF"):
        photo.decode(KINDS[kind], "a")
    with pytest.raises(DataError):
        photo.decode(KINDS["PNG"][:50], "a")
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("size", [(1, 1), (1, 30000), (30000, 1), (2, 3)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_odd_sizes(size, kind):
    data = saved(Image.new("RGB", size, (90, 120, 150)), kind)
    read = photo.decode(data, "a")
    assert read.rgb.shape == (*size[::-1], 3)
    assert np.abs(photo.decode(photo.encode(read), "a").rgb.astype(int) - [90, 120, 150]).max() <= 3


@pytest.mark.parametrize(("kind", "side"), [("JPEG", 65501), ("WEBP", 16384)])
def test_sides_that_a_format_has_no_room_for(folder, kind, side):
    photograph = Photograph(np.zeros((1, side, 3), np.uint8))
    with pytest.raises(DataError, match=f"^the photograph: {side}x1 is more than {kind}'s .* choose PNG or TIFF"):
        photo.encode(photograph, kind)
    photo.encode(Photograph(np.zeros((1, side - 1, 3), np.uint8)), kind)


# The size alone.


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_told_without_decoding(folder, kind, monkeypatch):
    (folder / "a").write_bytes(KINDS[kind])
    height, width = photo.read(folder / "a").rgb.shape[:2]

    def never(*_):
        raise AssertionError("decoded")

    for reader in (ImageFile.ImageFile, GifImagePlugin.GifImageFile, PngImagePlugin.PngImageFile):
        monkeypatch.setattr(reader, "load", never)
        monkeypatch.setattr(reader, "load_prepare", never)
    assert photo.size(folder / "a") == (width, height)


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_the_size_is_that_of_the_upright_photo(folder, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    picture = Image.new("RGB", (24, 40))
    for orientation in range(1, 9):
        told = Image.Exif()
        told[0x0112] = orientation
        (folder / "a").write_bytes(saved(picture, kind, exif=told.tobytes()))
        assert photo.size(folder / "a") == ((24, 40) if orientation < 5 else (40, 24))
        assert photo.size(folder / "a") == photo.read(folder / "a").rgb.shape[1::-1]
    if kind == "HEIF":  # where XMP has no say
        return
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP)
    by_xmp = {"PNG": {"pnginfo": texts}, "TIFF": {"tiffinfo": {700: XMP.encode()}}}.get(kind, {"xmp": XMP.encode()})
    (folder / "a").write_bytes(saved(picture, kind, **by_xmp))
    assert photo.size(folder / "a") == (40, 24) == photo.read(folder / "a").rgb.shape[1::-1]


def test_orientation_behind_the_pixels_of_a_png(folder):
    told = Image.Exif()
    told[0x0112] = 6
    data = saved(Image.new("RGB", (24, 40)), "PNG")
    end = data.index(b"IEND") - 4
    (folder / "a.png").write_bytes(
        data[:end] + png_chunk(b"eXIf", told.tobytes().removeprefix(b"Exif\0\0")) + data[end:]
    )
    assert photo.size(folder / "a.png") == (40, 24) == photo.read(folder / "a.png").rgb.shape[1::-1]
    (folder / "a.png").write_bytes(data[:end] + b"damaged, behind the pixels")
    assert photo.size(folder / "a.png") == (24, 40) == photo.read(folder / "a.png").rgb.shape[1::-1]


def test_size_and_read_refuse_the_same(folder):
    (folder / "text.jpg").write_bytes(b"not a picture")
    (folder / "empty.png").touch()
    (folder / "huge.png").write_bytes(header_only("PNG", 40_000, 40_000))
    (folder / "short.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.png")
    for name in ("text.jpg", "empty.png", "huge.png", "short.webp", "loop.jpg", "pipe.png", "missing.png", "", "a\0b"):
        said = []
        for look in (photo.size, photo.read):
            with pytest.raises(DataError) as raised:
                look(folder / name)
            said.append(str(raised.value))
        assert said[0] == said[1]
    (folder / "a.png").write_bytes(KINDS["PNG"])
    with pytest.raises(DataError, match="too large: 48x40"):
        photo.size(folder / "a.png", max_pixels=1919)


# There and back, in sizes that nobody chose.


@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_without_loss_is_read_again(folder, seed):
    chance = np.random.default_rng(seed)
    # Long or wide: of 1 to 3000 pixels a side, and of no more than 60,000 in all.
    side = int(np.exp(chance.uniform(0, np.log(3000))))
    sides = [side, int(chance.integers(1, min(3000, 60_000 // side) + 1))]
    height, width = chance.permutation(sides)
    for dtype in (np.uint8, np.uint16):
        rgb = chance.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)
        alpha = chance.integers(0, np.iinfo(dtype).max, (height, width), dtype, endpoint=True)
        for suffix in (".png", ".tif") if dtype == np.uint16 else (".png", ".tif", ".bmp", ".webp"):
            clear = None if suffix == ".bmp" else alpha
            photo.write(folder / f"a{suffix}", Photograph(rgb, clear, lossless=True))
            read = photo.read(folder / f"a{suffix}")
            np.testing.assert_array_equal(read.rgb, rgb)
            np.testing.assert_array_equal(read.alpha, clear)
            assert read.rgb.dtype == dtype
            assert photo.size(folder / f"a{suffix}") == (width, height)


# What goes wrong.


@pytest.mark.parametrize("size", [(40_000, 40_000), (15_000, 15_000)])
def test_an_avif_beyond_its_reader_s_own_limit(size):
    data = bytearray(KINDS["AVIF"])
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">LL", *size)
    with pytest.raises(DataError, match=f"^big: too large: {size[0]}x{size[1]} is "):
        photo.decode(bytes(data), "big")


def test_libtiff_does_not_talk_in_between(capfd):
    data = bytearray(KINDS["TIFF in LZW"])
    place = data.index(struct.pack("<HH", 279, 4))  # how long the pixels are
    data[place + 8 : place + 12] = b"\xf0\xff\xff\xff"
    with pytest.raises(DataError, match="a: cannot be read: decoder error"):
        photo.decode(bytes(data), "a")
    assert capfd.readouterr().err == ""


def test_formats_that_start_other_programs_are_not_tried(folder):
    (folder / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(DataError, match=r"a.jpg: not a photograph that can be read; JPEG, PNG"):
        photo.read(folder / "a.jpg")


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "JPEG2000", "EPS", "SGI", "PCX", "DDS"])
def test_other_formats_of_pillow_s_are_not_read(kind):
    with pytest.raises(DataError, match="not a photograph that can be read"):
        photo.decode(saved(PICTURE, kind), "a")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.jpg", b"not a picture", r"not a photograph that can be read; JPEG, PNG, .* are$"),
        ("empty.png", b"", r"is empty \(0 bytes\); get another copy$"),
        ("short.png", b"\x89PNG\r\n\x1a\n", r"cannot be read as PNG: it is damaged.*; get another copy"),
        ("short.webp", b"RIFF\0\0\0\0WEBPVP8 ", r"cannot be read as WebP: it is damaged"),
    ],
)
def test_read_says_what_is_wrong(folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {said}"):
        photo.read(folder / name)


def test_read_of_what_is_no_file(folder):
    with pytest.raises(DataError, match=r"a.png: cannot be read: No such file or directory; look at the name"):
        photo.read(folder / "a.png")
    with pytest.raises(DataError, match=r"photos: cannot be read: it is a folder; name the photographs in it"):
        photo.read(folder)
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png: cannot be read: it is no file"):
        photo.read(folder / "pipe.png")
    with pytest.raises(DataError, match=r"/dev/zero: cannot be read: it is no file"):
        photo.read(type(folder)("/dev/zero"))
    with pytest.raises(DataError, match=r"a\\x00b.png: cannot be read: .*null"):
        photo.read(folder / "a\0b.png")


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_refused_in_one_line(kind):
    """Cut short anywhere, or with bytes changed: a photograph, or a DataError, and nothing else."""
    whole = KINDS[kind]
    chance = np.random.default_rng(len(whole))
    cuts = [whole[:n] for n in {*range(0, 40, 3), *range(40, len(whole), len(whole) // 14), len(whole) - 1}]
    changed = []
    for _ in range(40):
        data = bytearray(whole)
        for place in chance.integers(0, min(len(whole), chance.choice([64, 512, len(whole)])), 3):
            data[place] = chance.integers(256)
        changed.append(bytes(data))
    refused = 0
    for data in cuts + changed:
        try:
            photo.decode(data, "a", max_pixels=10**6)
        except DataError as error:
            refused += 1
            assert str(error).startswith("a: ")
            assert len(str(error).splitlines()) == 1
    assert refused > len(cuts) // 2
    with pytest.raises(DataError):
        photo.decode(whole[: len(whole) // 3], "a")


def test_text_that_grows_without_end():
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(8 << 20)))
    with pytest.raises(DataError, match="a: cannot be read"):
        photo.decode(png((1, 1, 8, 2, 0), b"\0abc", bomb), "a")


NAMES = [
    "line\nbreak",
    "escape\x1b[31m",
    "\udcff\udcfe not UTF-8",
    "é 世界 😀",
    " a space before, and after ",
    "-rf",
    "'\"$(touch x)`;&|*?",
    "a" * 240,
    "世" * 80,
    "a.tar.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_with_anything_in_them(folder, name):
    path = folder / f"{name}.png"
    photo.write(path, Photograph(np.asarray(PICTURE)))
    np.testing.assert_array_equal(photo.read(path).rgb, np.asarray(PICTURE))
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    path.write_bytes(b"broken")
    with pytest.raises(DataError) as raised:
        photo.read(path)
    said = str(raised.value)
    assert said.encode("utf-8")
    assert said.isprintable()


def test_a_failed_write_leaves_what_was_there(folder):
    for name, said in (("a.xyz", "no format for .xyz; use one of .avif"), ("a.gif", "no format for .gif")):
        (folder / name).write_text("mine")
        with pytest.raises(DataError, match=f"{name}: cannot be written: {said}"):
            photo.write(folder / name, Photograph(np.asarray(colour())))
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
    assert list(folder.iterdir()) == []


def test_neither_folders_nor_devices_are_replaced(folder):
    (folder / "a.png").mkdir()
    (folder / "a.png" / "mine").touch()
    os.mkfifo(folder / "b.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match=f"{name}: cannot be written: there is something else of this name"):
            photo.write(folder / name, Photograph(np.asarray(colour())))
    assert (folder / "a.png" / "mine").is_file()
    assert stat.S_ISFIFO((folder / "b.png").stat().st_mode)
    (folder / "file").touch()
    with pytest.raises(DataError, match=r"c.png: cannot be written: "):
        photo.write(folder / "file" / "c.png", Photograph(np.asarray(colour())))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_disk_that_is_full_in_the_middle_of_a_write(folder, suffix):
    """The system itself refuses to write on after some bytes."""
    (folder / f"a{suffix}").write_text("mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DataError, match=f"a{suffix}: cannot be written: File too large; choose another place"):
            photo.write(folder / f"a{suffix}", Photograph(noise(64, 64, 3)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / f"a{suffix}").read_text() == "mine"
    assert [entry.name for entry in folder.iterdir()] == [f"a{suffix}"]


def test_no_permission(folder):
    (folder / "a.png").write_bytes(KINDS["PNG"])
    (folder / "a.png").chmod(0)
    folder.chmod(0o500)
    others = os.geteuid() == 0  # whom nothing is forbidden
    if others:
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"a.png: cannot be read: Permission denied; change its permissions"):
            photo.read(folder / "a.png")
        with pytest.raises(DataError, match=r"b.png: cannot be written: Permission denied; change its permissions"):
            photo.write(folder / "b.png", Photograph(np.asarray(colour())))
    finally:
        if others:
            os.seteuid(0)
        folder.chmod(0o700)
    assert [entry.name for entry in folder.iterdir()] == ["a.png"]


# Pictures that Pillow holds.


def test_16_bit_pictures_of_pillow_s_are_turned_too():
    told = Image.Exif()
    told[0x0112] = 6
    data = saved(Image.fromarray(noise(24, 40)), "PNG", exif=told)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(photo.from_image(opened).rgb, photo.decode(data, "a").rgb8)
    with pytest.raises(DataError, match="the picture cannot be read: its values are signed"):
        photo.from_image(Image.new("F", (2, 2)))


# HEIC.


def test_heic_without_the_package_that_reads_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    head = struct.pack(">L4s4sL4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    with pytest.raises(DataError, match=r"^a.heic: HEIC needs the package pillow-heif: pip install 'kcolor\[heic\]'$"):
        photo.decode(head + bytes(100), "a.heic")
    with pytest.raises(DataError, match="needs the package pillow-heif"):
        photo.encode(Photograph(np.asarray(PICTURE)), "HEIF")


def test_heic(folder):
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a caption", 6
    read = photo.decode(KINDS["JPEG"], "a")
    photo.write(folder / "a.heic", read, note=photo.Note("model"))
    again = photo.read(folder / "a.heic")
    assert again.format == "HEIF"
    assert np.abs(again.rgb.astype(int) - read.rgb).mean() < 3
    with Image.open(folder / "a.heic") as opened:
        assert opened.getexif()[0x010E] == "a caption"
    assert b"kcolor:Model" in again.xmp
    for cut in range(1, 20):
        with pytest.raises(DataError):
            photo.decode((folder / "a.heic").read_bytes()[: cut * 40], "a")


@pytest.mark.parametrize("mode", ["RGB;16", "I;16L"])
def test_heic_of_10_bits(mode):
    pillow_heif = pytest.importorskip("pillow_heif")
    values = np.asarray(colour(64) if mode == "RGB;16" else colour(64).convert("L"))
    made = io.BytesIO()
    pillow_heif.from_bytes(mode, (64, 64), (values.astype(np.uint16) * 257).tobytes()).save(made, quality=95)
    read = photo.decode(made.getvalue(), "a")
    truth = values if values.ndim == 3 else values[..., None].repeat(3, 2)
    assert np.abs(read.rgb.astype(int) - truth).mean() < 5


def test_brands_of_the_same_container():
    def box(major, *others):
        brands = b"".join(others)
        return struct.pack(">L4s4sL", 16 + len(brands), b"ftyp", major, 0) + brands + bytes(99)

    assert photo.sniff(box(b"avif")) == "AVIF"
    assert photo.sniff(box(b"mif1", b"miaf", b"avif")) == "AVIF"
    assert photo.sniff(box(b"mif1", b"heic")) == "HEIF"
    assert photo.sniff(box(b"isom", b"mp42")) is None


def test_no_tensorflow_and_no_heic_for_the_rest():
    code = "import sys, kcolor.photo; sys.exit(bool({'tensorflow', 'pillow_heif'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
