import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from made import colour
from PIL import Image

from kcolor import header

READ = tf.function(header.read, input_signature=[tf.TensorSpec((), tf.string)])
PICTURE = colour(48).resize((48, 30))


def read(data: bytes) -> tuple[str, int, int, int]:
    kind, *numbers = (int(value) for value in READ(tf.constant(data)))
    return header.KINDS[kind], *numbers


def saved(kind: str, **options) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, *, big: bool = False, padding: int = 0) -> bytes:
    """An EXIF structure with some other fields around its orientation."""
    order = ">" if big else "<"
    fields = [
        (0x010F, 2, 4, b"abc\0"),
        (0x0112, 3, 1, struct.pack(order + "HH", orientation, 0)),
        (0x011A, 3, 1, b"\1" * 4),
    ]
    head = (b"MM" if big else b"II") + struct.pack(order + "HL", 42, 8 + padding) + bytes(padding)
    packed = b"".join(struct.pack(order + "HHL", *field[:3]) + field[3] for field in fields)
    return head + struct.pack(order + "H", len(fields)) + packed + bytes(4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_pillow_wrote(kind, orientation):
    told = Image.Exif()
    told[0x010E], told[0x0112] = "a caption", orientation
    assert read(saved(kind, exif=told)) == ({"WEBP": "WebP"}.get(kind, kind), 30, 48, orientation)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": exif(3)}, {"exif": b"Exif\0\0" + exif(3)}])
def test_the_three_kinds_of_webp(options):
    assert read(saved("WEBP", **options)) == ("WebP", 30, 48, 3 if "exif" in options else 1)


def test_bmp():
    data = saved("BMP")
    assert read(data) == ("BMP", 30, 48, 1)
    downwards = data[:22] + struct.pack("<i", -30) + data[26:]
    assert read(downwards) == ("BMP", 30, 48, 1)
    old = b"BM" + bytes(12) + struct.pack("<LHH", 12, 48, 30)
    assert read(old) == ("BMP", 30, 48, 1)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 50])
def test_both_orders_of_bytes_and_a_directory_further_on(big, padding):
    assert read(saved("JPEG", exif=b"Exif\0\0" + exif(6, big=big, padding=padding)))[3] == 6


def test_the_exif_is_found_behind_other_segments():
    plain = saved("JPEG", comment=b"c" * 300, icc_profile=bytes(100_000))
    segment = b"Exif\0\0" + exif(8)
    at = plain.index(b"\xff\xdb")
    data = plain[:at] + b"\xff\xff\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + plain[at:]
    assert read(data) == ("JPEG", 30, 48, 8)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 8


def test_the_exif_of_a_png_behind_its_pixels():
    import zlib

    data = saved("PNG")
    chunk = b"eXIf" + exif(5)
    data = data[:-12] + struct.pack(">L", len(chunk) - 4) + chunk + struct.pack(">L", zlib.crc32(chunk)) + data[-12:]
    assert read(data) == ("PNG", 30, 48, 5)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_there_are_not(value):
    assert read(saved("JPEG", exif=b"Exif\0\0" + exif(value)))[3] == 1


def test_what_stands_between_the_segments_of_a_jpeg_is_passed_over():
    plain = saved("JPEG", exif=b"Exif\0\0" + exif(6))
    at = plain.index(b"\xff\xdb")
    for between in (b"\0", b"\xff\xff\xff", b"\0\xff\0\0", bytes(100)):
        data = plain[:at] + between + plain[at:]
        assert tf.io.decode_jpeg(data).shape == (30, 48, 3)
        assert read(data) == ("JPEG", 30, 48, 6)


def test_a_progressive_jpeg_and_a_grey_one():
    assert read(saved("JPEG", progressive=True))[1:3] == (30, 48)
    file = io.BytesIO()
    PICTURE.convert("L").save(file, "JPEG")
    assert read(file.getvalue())[1:3] == (30, 48)


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello, this is text", saved("GIF"), saved("TIFF")])
def test_what_is_none_of_them(data):
    assert read(data) == ("", 0, 0, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_files_that_are_cut_or_damaged_anywhere_raise_nothing(kind):
    options = {} if kind == "BMP" else {"exif": b"Exif\0\0" + exif(6)}
    data = saved(kind, **options)
    draw = np.random.default_rng(0)
    for length in [*range(40), *draw.integers(40, len(data), 30)]:
        read(data[:length])
    for _ in range(60):
        damaged = bytearray(data)
        for place in draw.integers(3, 150, 6):
            damaged[place] = draw.integers(256)
        read(bytes(damaged))


@pytest.mark.parametrize("part", [b"\xff\x01", b"\xff", b"\0", b"\xff\xfe\0\2"])
def test_a_file_of_a_million_parts_ends_and_has_no_size(part):
    data = saved("JPEG")
    at = data.index(b"\xff\xdb")
    assert read(data[:at] + part * 10**6 + data[at:]) == ("JPEG", 0, 0, 1)
