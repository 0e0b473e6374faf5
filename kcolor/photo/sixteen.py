"""PNG and TIFF with 16 bits a channel: where there are several channels, Pillow reads 8 of them, and writes none.

Pillow's decoders take the upper or the lower bytes of 16-bit values, by the byte order that they are told. So a file is
decoded twice, and the two halves are joined: that is exact, and costs no other library.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ImageFile

# How Pillow names what lies in a file, without the byte order, and how it is taken apart: with transparency that has
# already been multiplied into the colours taken as plain values.
_TAKEN_AS = {"RGB;16": "RGB;16", "RGBA;16": "RGBA;16", "RGBX;16": "RGBX;16", "RGBa;16": "RGBA;16"}
_OTHER = {"L": "B", "B": "L"}
_NATIVE = "L" if sys.byteorder == "little" else "B"
_PHOTOMETRIC, _BITS, _PLANES = 262, 258, 284
_WHITE_IS_ZERO = 0

# Rows that a PNG is filtered by at a time hold so many bytes.
_BLOCK = 1 << 20


class UnreadKindError(ValueError):
    """A picture that may well be sound, but is of a kind that is not read: says of what kind, and what to do."""


def values(picture: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> np.ndarray | None:
    """The 16-bit values of a picture, if it has such; the file's orientation is applied by TIFF's reader, not by PNG's.

    Args:
        picture: As it was opened, and not loaded.
        again: Opens it once more.

    Returns:
        (height, width, channels) uint16: grey, grey and alpha, RGB, or RGB and alpha; None if it has 8 bits or fewer,
        or is a TIFF that Pillow gives but 8 of: CMYK, and planes on their own that are compressed.

    Raises:
        UnreadKindError: It is a TIFF of 16 bits in planes on their own, of a kind that would be misread.
        OSError: It is damaged.
    """
    if picture.format not in ("PNG", "TIFF") or not picture.tile:
        return None
    if picture.mode.startswith("I;16") or (picture.format == "PNG" and picture.mode == "I"):
        return _grey(picture)
    raw = _raw(picture)
    if raw == "LA;16B":
        # Its four bytes a pixel are those of 8-bit RGBA.
        picture._mode = "RGBA"
        _take_as(picture, lambda raw: "RGBA")
        both = np.asarray(picture).astype(np.uint16)
        return both[:, :, ::2] << 8 | both[:, :, 1::2]
    planes = picture.format == "TIFF" and _tag(picture, _PLANES) == 2
    if planes and max(_tags(picture, _BITS), default=1) == 16 and len(raw) == 1:
        # Pillow would take such a plane for one of 8 bits.
        if picture.mode != "RGB":
            raise UnreadKindError("16 bits a channel in planes on their own; save it with a pixel's channels together")
        order = "L" if _little(picture) else "B"
        return _joined(picture, again, lambda half: lambda raw: f"{raw};16{order if half else _OTHER[order]}")
    if planes or raw[:-1] not in _TAKEN_AS:
        return None
    order = _NATIVE if raw[-1] == "N" else raw[-1]
    taken_as = _TAKEN_AS[raw[:-1]]
    found = _joined(picture, again, lambda half: lambda raw: taken_as + (order if half else _OTHER[order]))
    return _divided(found) if raw.startswith("RGBa") else found


def _grey(picture: ImageFile.ImageFile) -> np.ndarray:
    twelve = _raw(picture) == "I;12"
    inverted = picture.format == "TIFF" and _tag(picture, _PHOTOMETRIC) == _WHITE_IS_ZERO
    grey = np.asarray(picture).astype(np.uint16)
    if twelve:
        grey = np.round(np.arange(4096) * (65535 / 4095)).astype(np.uint16)[np.minimum(grey, 4095)]
    return (~grey if inverted else grey)[:, :, np.newaxis]


def _joined(
    picture: ImageFile.ImageFile,
    again: Callable[[], ImageFile.ImageFile],
    half: Callable[[bool], Callable[[str], str]],
) -> np.ndarray:
    """The upper bytes and the lower ones.

    Args:
        picture: As it was opened.
        again: Opens it once more.
        half: Gives, for the upper half or the lower one, what each tile is to be taken as.
    """
    _take_as(picture, half(True))
    found = np.asarray(picture).astype(np.uint16) << 8
    with again() as other:
        _take_as(other, half(False))
        found |= np.asarray(other)
    return found


def _divided(found: np.ndarray) -> np.ndarray:
    """Colours that alpha was multiplied into, as they were before."""
    alpha = np.maximum(found[:, :, 3:].astype(np.uint64), 1)
    colours = np.minimum((found[:, :, :3].astype(np.uint64) * 65535 + alpha // 2) // alpha, 65535)
    return np.concatenate([colours.astype(np.uint16), found[:, :, 3:]], axis=2)


def _raw(picture: ImageFile.ImageFile) -> str:
    args = picture.tile[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _take_as(picture: ImageFile.ImageFile, name: Callable[[str], str]) -> None:
    tiles = []
    for tile in picture.tile:
        args = tile.args
        tiles.append(
            tile._replace(args=(name(str(args[0])), *args[1:]) if isinstance(args, tuple) else name(str(args)))
        )
    picture.tile = tiles


def _tags(picture: ImageFile.ImageFile, tag: int) -> tuple[int, ...]:
    value = picture.tag_v2.get(tag, ())  # type: ignore[attr-defined]
    return value if isinstance(value, tuple) else (value,)


def _tag(picture: ImageFile.ImageFile, tag: int) -> int | None:
    return next(iter(_tags(picture, tag)), None)


def _little(picture: ImageFile.ImageFile) -> bool:
    return picture.tag_v2.prefix == b"II"  # type: ignore[attr-defined]


def png(pixels: np.ndarray, around: bytes) -> bytes:
    """A PNG of 16 bits a channel.

    Source: PNG (W3C Recommendation, third edition, 2025), sections 9 and 11.2.

    Args:
        pixels: (height, width, 3 or 4) uint16, RGB or RGB and alpha.
        around: A PNG of one pixel, with all that is to stand beside the pixels.
    """
    height, width, channels = pixels.shape
    made = [around[:8]]
    place = 8
    while place < len(around):
        (size,) = struct.unpack(">L", around[place : place + 4])
        name, chunk = around[place + 4 : place + 8], around[place : place + 12 + size]
        if name == b"IHDR":
            made.append(_chunk(name, struct.pack(">LL5B", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)))
        elif name == b"IDAT":
            made += [_chunk(name, data) for data in _deflated(pixels)]
        else:
            made.append(chunk)
        place += 12 + size
    return b"".join(made)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def _deflated(pixels: np.ndarray) -> Iterator[bytes]:
    """The rows, each told as its difference from what its left and upper neighbours foretell (filter 4, Paeth)."""
    height, width, channels = pixels.shape
    step = 2 * channels
    rows = max(1, _BLOCK // (step * width))
    before = np.zeros((1, step * width), np.uint8)
    compressor = zlib.compressobj(6)
    for start in range(0, height, rows):
        block = pixels[start : start + rows].astype(">u2").reshape(-1, channels * width).view(np.uint8)
        above = np.concatenate([before, block[:-1]])
        left, corner = (np.pad(part, ((0, 0), (step, 0)))[:, :-step].astype(np.int16) for part in (block, above))
        guess = left + above - corner
        by_left, by_above, by_corner = (np.abs(guess - other) for other in (left, above, corner))
        nearest = np.where(
            (by_left <= by_above) & (by_left <= by_corner), left, np.where(by_above <= by_corner, above, corner)
        )
        filtered = block - nearest.astype(np.uint8)
        data = compressor.compress(np.pad(filtered, ((0, 0), (1, 0)), constant_values=4).tobytes())
        if data:
            yield data
        before = block[-1:]
    yield compressor.flush()
