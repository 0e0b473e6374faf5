"""The formats of photographs: what they are called, and which one a file has by its first bytes."""

import math
import os
import re
from typing import BinaryIO

# By the suffix of a name. HEIF needs the package pillow-heif.
FORMAT_OF = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
}
# What is looked for in a folder.
SUFFIXES = frozenset(FORMAT_OF)
# What can be written as it came; a GIF's 256 colours are too few.
WRITTEN = SUFFIXES - {".gif"}
# What Pillow opens by itself. Nothing else is tried: some of its other readers start outside programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF")
# How much of a file `sniff` looks at.
HEAD = 256

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})


def sniff(head: bytes) -> str | None:
    """Pillow's name of the format that a file's first `HEAD` bytes are of; None if it is not one that is read."""
    for beginning, name in _BEGINNINGS.items():
        if head.startswith(beginning):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        # ISO/IEC 14496-12: the major brand, its version, and the brands that the file is compatible with.
        box = head[: int.from_bytes(head[:4])]
        brands = {box[8:12], *(box[i : i + 4] for i in range(16, len(box), 4))}
        return "AVIF" if brands & _AVIF else "HEIF" if brands & _HEIF else None
    return None


def png_without_pixels(stream: BinaryIO) -> bytes:
    """What a PNG says, before and behind its pixels, as a PNG whose pixels are missing.

    Args:
        stream: The file.
    """
    stream.seek(0)
    kept = [stream.read(8)]
    while len(head := stream.read(8)) == 8:
        size = int.from_bytes(head[:4])
        if head[4:] in (b"IDAT", b"fdAT"):
            stream.seek(size + 4, os.SEEK_CUR)
        else:
            kept.append(head + stream.read(size + 4))
    return b"".join(kept)


def avif_size(stream: BinaryIO) -> tuple[int, int]:
    """Width and height of the largest picture in an AVIF file, as its header tells; zeros if it does not.

    Source: ISO/IEC 23008-12, section 6.5.3.

    Args:
        stream: The file; its first 64 KB are looked at.
    """
    stream.seek(0)
    found = re.findall(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", stream.read(1 << 16), re.DOTALL)
    sizes = [(int.from_bytes(width), int.from_bytes(height)) for width, height in found]
    return max(sizes, key=math.prod, default=(0, 0))


def webp_is_lossless(stream: BinaryIO) -> bool:
    """Whether the first picture of a WebP file is stored without loss. Source: RFC 9649, section 2.3.

    Args:
        stream: The file.
    """
    place = 12
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8 or head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8L"
        # A frame of a moving picture has its own chunks in it, behind 16 bytes on where it goes.
        size = 16 if head[:4] == b"ANMF" else int.from_bytes(head[4:], "little")
        place += 8 + size + size % 2


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file, of which Pillow's reader makes room for the pixels before it tells the size.

    Source: RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1.

    Args:
        head: Its first `HEAD` bytes.

    Returns:
        None if it is damaged.
    """
    if len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[12:16] == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None
