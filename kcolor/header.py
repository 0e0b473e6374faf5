"""What a picture's file says of it before it is decoded, read inside a graph: format, size and EXIF orientation.

An exported model decodes whatever it is sent. Looked at first, a picture of a gigapixel costs nothing, and one that a
camera held sideways is turned upright.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# In the order of `Header.kind`; what none of them is, is 0.
KINDS = ("", "JPEG", "PNG", "WebP", "BMP")

# No file has as many parts; without a bound, a made-up one would keep a server busy for as long as it is.
_PARTS = 2_000
_ORIENTATION = 0x0112


class Header(NamedTuple):
    """What the beginning of a file says, int64 scalars.

    Attributes:
        kind: Index into `KINDS`.
        height: In pixels, as stored; 0 where the file does not say.
        width: Likewise.
        orientation: 1 to 8; 1 where the file does not say, or says something else.
    """

    kind: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor


# Height, width, and where the EXIF is; 0, 0, -1 for what has not been found.
_Found = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def read(data: tf.Tensor) -> Header:
    """Read the header of a JPEG (ITU T.81), PNG (third edition, with eXIf), WebP (RFC 9649) or BMP.

    Args:
        data: The bytes of the file, a string scalar. Whatever they are, nothing is raised.
    """
    with tf.device("/cpu:0"):
        content = tf.io.decode_raw(data, tf.uint8)
        signatures = [
            _is(content, 0, b"\xff\xd8\xff"),
            _is(content, 0, b"\x89PNG\r\n\x1a\n"),
            _is(content, 0, b"RIFF") & _is(content, 8, b"WEBP"),
            _is(content, 0, b"BM"),
        ]
        kind = tf.argmax(tf.stack([tf.constant(False), *signatures]))
        readers = [_nothing, *(lambda reader=reader: reader(content) for reader in (_jpeg, _png, _webp, _bmp))]
        height, width, exif = tf.switch_case(tf.cast(kind, tf.int32), readers)
        orientation = tf.cond(exif >= 0, lambda: _orientation(content, exif), lambda: _number(1))
    return Header(kind, height, width, orientation)


def _number(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)


def _nothing() -> _Found:
    return _number(0), _number(0), _number(-1)


def _bytes(content: tf.Tensor, first: tf.Tensor | int, count: int) -> tf.Tensor:
    """`count` bytes as int64; zeros beyond the end."""
    first = tf.minimum(tf.cast(first, tf.int64), tf.size(content, tf.int64))
    there = content[first : first + count]
    return tf.cast(tf.pad(there, [[0, count - tf.size(there)]]), tf.int64)


def _big(content: tf.Tensor, first: tf.Tensor | int, count: int) -> tf.Tensor:
    """An unsigned number, its most significant byte first."""
    return tf.reduce_sum(_bytes(content, first, count) * [256**power for power in reversed(range(count))])


def _little(content: tf.Tensor, first: tf.Tensor | int, count: int) -> tf.Tensor:
    return tf.reduce_sum(_bytes(content, first, count) * [256**power for power in range(count)])


def _is(content: tf.Tensor, first: tf.Tensor | int, what: bytes) -> tf.Tensor:
    return tf.reduce_all(_bytes(content, first, len(what)) == list(what))


def _walk(content: tf.Tensor, first: int, part: Callable[[tf.Tensor, _Found], tuple[tf.Tensor, _Found]]) -> _Found:
    """Go from part to part of a file, until one is the last or is beyond the end.

    Args:
        content: The file.
        first: Where its first part is.
        part: From where a part is, and what is known: where the next one is (-1: there is none), and what is known.
    """

    def step(at: tf.Tensor, *found: tf.Tensor) -> tuple[tf.Tensor, ...]:
        following, found = part(at, found)
        return following, *found

    end = tf.size(content, tf.int64)
    _, *found = tf.while_loop(
        lambda at, *_: (at >= 0) & (at < end), step, (_number(first), *_nothing()), maximum_iterations=_PARTS
    )
    return tuple(found)


def _jpeg(content: tf.Tensor) -> _Found:
    def segment(at: tf.Tensor, found: _Found) -> tuple[tf.Tensor, _Found]:
        height, width, exif = found
        marker, length = _big(content, at + 1, 1), _big(content, at + 2, 2)
        frame = (marker >= 0xC0) & (marker <= 0xCF) & (marker != 0xC4) & (marker != 0xC8) & (marker != 0xCC)
        height = tf.where(frame, _big(content, at + 5, 2), height)
        width = tf.where(frame, _big(content, at + 7, 2), width)
        told = (marker == 0xE1) & _is(content, at + 4, b"Exif\0\0") & (exif < 0)
        exif = tf.where(told, at + 10, exif)
        alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        last = (marker == 0xD9) | (marker == 0xDA)  # behind a scan nothing is told
        onward = tf.where(alone, at + 2, tf.where(last, _number(-1), at + 2 + length))
        # What stands between segments is passed over, as decoders do.
        stray = (_big(content, at, 1) != 0xFF) | (marker == 0xFF) | (marker == 0)
        known = tuple(
            tf.where(stray, before, after) for before, after in zip(found, (height, width, exif), strict=True)
        )
        return tf.where(stray, at + 1, onward), known

    return _walk(content, 2, segment)


def _png(content: tf.Tensor) -> _Found:
    def chunk(at: tf.Tensor, found: _Found) -> tuple[tf.Tensor, _Found]:
        *size, exif = found
        exif = tf.where(_is(content, at + 4, b"eXIf"), at + 8, exif)
        return at + 12 + _big(content, at, 4), (*size, exif)

    *_, exif = _walk(content, 8, chunk)
    return _big(content, 20, 4), _big(content, 16, 4), exif


def _webp(content: tf.Tensor) -> _Found:
    def chunk(at: tf.Tensor, found: _Found) -> tuple[tf.Tensor, _Found]:
        *size, exif = found
        # Some writers put JPEG's prefix before it.
        begins = at + 8 + tf.where(_is(content, at + 8, b"Exif\0\0"), _number(6), _number(0))
        exif = tf.where(_is(content, at, b"EXIF"), begins, exif)
        length = _little(content, at + 4, 4)
        return at + 8 + length + length % 2, (*size, exif)

    *_, exif = _walk(content, 12, chunk)
    lossless = _little(content, 21, 4)
    sizes = [
        (1 + _little(content, 27, 3), 1 + _little(content, 24, 3)),
        (1 + (lossless // 2**14) % 2**14, 1 + lossless % 2**14),
        (_little(content, 28, 2) % 2**14, _little(content, 26, 2) % 2**14),
    ]
    kinds = tf.stack([_is(content, 12, b"VP8X"), _is(content, 12, b"VP8L"), _is(content, 12, b"VP8 ")])
    height, width = tf.unstack(tf.reduce_max(tf.where(kinds[:, tf.newaxis], sizes, 0), axis=0))
    return height, width, exif


def _bmp(content: tf.Tensor) -> _Found:
    old = _little(content, 14, 4) == 12
    height, width = _little(content, 22, 4), _little(content, 18, 4)
    height = tf.where(height >= 2**31, 2**32 - height, height)  # rows from the top down
    height = tf.where(old, _little(content, 20, 2), height)
    width = tf.where(old, _little(content, 18, 2), width)
    return height, width, _number(-1)


def _orientation(content: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """The orientation that a TIFF structure (TIFF 6.0, section 2) tells in its first directory."""
    little = _is(content, exif, b"II")

    def number(first: tf.Tensor, count: int) -> tf.Tensor:
        return tf.where(little, _little(content, first, count), _big(content, first, count))

    directory = exif + number(exif + 4, 4)
    fields = directory + 2 + 12 * tf.range(number(directory, 2))
    # Only fields that are there whole.
    fields = tf.boolean_mask(fields, fields + 12 <= tf.size(content, tf.int64))
    tags = tf.cast(tf.gather(content, fields[:, tf.newaxis] + [0, 1]), tf.int64)
    tags = tf.linalg.matvec(tags, tf.where(little, tf.constant([1, 256], tf.int64), tf.constant([256, 1], tf.int64)))
    told = tf.boolean_mask(fields, tags == _ORIENTATION)
    value = tf.cond(tf.size(told) > 0, lambda: number(told[0] + 8, 2), lambda: _number(1))
    return tf.where((value >= 1) & (value <= 8), value, _number(1))
