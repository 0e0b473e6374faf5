"""TIFF files as they are written: RGB of 8 or 16 bits, without loss, with what the photograph's EXIF says.

Pillow writes neither 16 bits of colour nor, in compressed files, all of EXIF. Source: TIFF 6.0 (Adobe, 1992), sections
2, 8, 14 and 18, and Adobe's Technical Notes of 2002 for Deflate.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np

from kcolor.photo import exif
from kcolor.photo.exif import LONG, SHORT, Directory, Field

_BYTE, _RATIONAL, _UNDEFINED = 1, 5, 7
_DEFLATE, _DIFFERENCES = 8, 2
_RGB, _TOGETHER, _ALPHA, _INCH = 2, 1, 2, 2
# Rows are compressed in strips of about so many bytes.
_STRIP = 1 << 20


def tiff(
    pixels: np.ndarray, *, said: bytes, xmp: bytes, iptc: bytes, icc: bytes, dpi: tuple[float, float] | None
) -> bytes:
    """A TIFF file.

    Args:
        pixels: (height, width, 3 or 4) uint8 or uint16, RGB or RGB and alpha.
        said: EXIF, as in a `kcolor.photo.Photograph`.
        xmp: Packet.
        iptc: Records.
        icc: Profile.
        dpi: Pixels per inch, across and down.

    Raises:
        ValueError: It would have 4 GiB or more, which TIFF cannot point to.
    """
    height, width, channels = pixels.shape
    order, directory = exif.told(said)
    rows = max(1, _STRIP // (pixels.itemsize * channels * width))
    strips = list(_strips(pixels, rows, order))

    def whole(kind: int, *values: int) -> Field:
        return Field(kind, len(values), struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'L'}", *values))

    def some(kind: int, data: bytes) -> Field:
        return Field(kind, len(data), data)

    fields: Directory = {
        256: whole(LONG, width),
        257: whole(LONG, height),
        258: whole(SHORT, *[8 * pixels.itemsize] * channels),
        259: whole(SHORT, _DEFLATE),
        262: whole(SHORT, _RGB),
        273: whole(LONG, *[0] * len(strips)),
        277: whole(SHORT, channels),
        278: whole(LONG, rows),
        279: whole(LONG, *map(len, strips)),
        284: whole(SHORT, _TOGETHER),
        317: whole(SHORT, _DIFFERENCES),
        34675: some(_UNDEFINED, icc),
    }
    if channels == 4:
        fields[338] = whole(SHORT, _ALPHA)
    if xmp:
        fields[700] = some(_BYTE, xmp)
    if iptc:
        fields[33723] = some(_UNDEFINED, iptc)
    if dpi:
        for tag, value in zip((282, 283), dpi, strict=True):
            fields[tag] = Field(_RATIONAL, 1, struct.pack(order + "LL", round(value * 1000), 1000))
        fields[296] = whole(SHORT, _INCH)
    fields = {**directory, **fields}

    start = 8 + len(exif.serialised(order, fields, 8))
    ends = np.cumsum([0, *map(len, strips)]) + start
    if ends[-1] >= 1 << 32:
        raise ValueError("a TIFF of 4 GiB or more; choose PNG")
    fields[273] = whole(LONG, *ends[:-1].tolist())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return b"".join([head, exif.serialised(order, fields, 8), *strips])


def _strips(pixels: np.ndarray, rows: int, order: Literal["<", ">"]) -> Iterator[bytes]:
    """Rows as differences of each pixel from its left neighbour, compressed."""
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows]
        differences = block.copy()
        differences[:, 1:] -= block[:, :-1]
        yield zlib.compress(differences.astype(differences.dtype.newbyteorder(order)).tobytes(), 6)
