"""Photographs as they are: a file <-> pixels in sRGB, upright, with what the file says beside them.

What is read: JPEG (also CMYK, grey, progressive), PNG and TIFF (8 and 16 bits), WebP, AVIF, BMP, the first picture of a
GIF, and HEIC where the package pillow-heif is installed. Of several pictures in one file, the first.

What each format keeps when it is written:

| format | bits | alpha | EXIF | XMP | IPTC | profile | without loss |
|---|---|---|---|---|---|---|---|
| JPEG | 8 | on white | up to 64 KB | up to 64 KB | yes | yes | no; 4:4:4 |
| PNG | 8, 16 | yes | yes | yes | no | yes | yes |
| TIFF | 8, 16 | yes | but makers' notes may lose their inner pointers | yes | yes | yes | yes |
| WebP | 8 | yes | yes | yes | no | yes | if it came so; else 4:2:0 |
| AVIF | 8 | nearly | yes | yes | no | yes | no; 4:4:4 |
| HEIC | 8 | nearly | yes | yes | no | yes | no; 4:4:4 |
| BMP | 8 | on white | no | no | no | no | yes |

CMYK, palettes, and 1-bit and grey pictures become RGB. Lost everywhere: further pictures of the file, thumbnails, gain
maps, XMP beyond 4 MB, and more than 8 bits of AVIF and HEIC.
"""

import contextlib
import io
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from kcolor import files
from kcolor.errors import DataError
from kcolor.photo import decoding, encoding
from kcolor.photo.decoding import MAX_PIXELS, from_image
from kcolor.photo.encoding import QUALITY
from kcolor.photo.formats import FORMAT_OF, FORMATS, HEAD, SUFFIXES, WRITTEN, sniff
from kcolor.photo.photograph import Photograph
from kcolor.photo.xmp import Note, has_note

__all__ = [
    "FORMATS",
    "FORMAT_OF",
    "HEAD",
    "MAX_PIXELS",
    "QUALITY",
    "SUFFIXES",
    "WRITTEN",
    "Note",
    "Photograph",
    "decode",
    "encode",
    "from_image",
    "is_coloured_by_kcolor",
    "read",
    "size",
    "sniff",
    "write",
]


def read(path: Path, *, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Read a photograph, upright and in sRGB.

    Args:
        path: A file; what its name says of its format does not matter.
        max_pixels: The most that are decoded; the file's header is asked before that.

    Raises:
        DataError: It is no photograph, is damaged or cut short, has more pixels, or cannot be read.
    """
    name = files.shown(path)
    with _opened(path, name) as stream:
        photograph = decoding.decode(stream, name, max_pixels)
        return replace(photograph, mtime_ns=os.fstat(stream.fileno()).st_mtime_ns)


def size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """The width and height in pixels of what `read` would give, upright, from the file's header alone.

    Args:
        path: As for `read`.
        max_pixels: As for `read`.

    Raises:
        DataError: As for `read`; of a file that is damaged behind its header, only `read` says so.
    """
    name = files.shown(path)
    with _opened(path, name) as stream:
        return decoding.size(stream, name, max_pixels)


def is_coloured_by_kcolor(photograph: Photograph) -> bool:
    """Whether the photograph's XMP carries kcolor's note: see `Note`. BMP has no place for it."""
    return has_note(photograph.xmp)


def decode(data: bytes, name: str | Path, *, max_pixels: int = MAX_PIXELS) -> Photograph:
    """As `read`, of a file's content.

    Args:
        data: The content.
        name: What it is called in messages.
        max_pixels: As for `read`.
    """
    return decoding.decode(io.BytesIO(data), files.shown(name), max_pixels)


def encode(
    photograph: Photograph,
    format: str | None = None,
    quality: int | None = None,
    note: Note | None = None,
    *,
    name: str | Path = "the photograph",
) -> bytes:
    """A photograph as a file's content.

    Args:
        photograph: What is to be written.
        format: "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF" or "BMP"; None: the photograph's own, or PNG for a GIF.
        quality: 1 to 100, where the format loses some; None: `QUALITY`, and a WebP that came without loss stays so.
        note: Where the colours are from, told in XMP: see `kcolor.photo.xmp.with_note`.
        name: What it is called in messages.

    Raises:
        DataError: The format has no room for it, cannot be written, or needs what is not installed.
        ValueError: The quality is beyond its limits.
    """
    return encoding.encode(photograph, format or photograph.format, quality, note, files.shown(name))


def write(
    path: str | Path,
    photograph: Photograph,
    *,
    format: str | None = None,
    quality: int | None = None,
    note: Note | None = None,
) -> None:
    """Write a photograph, whole or not at all, with the time of the file it is from.

    Args:
        path: Where to; folders above it are made.
        photograph: What is to be written.
        format: As for `encode`; None: what the path's suffix says, or the photograph's own if it has none.
        quality: As for `encode`.
        note: As for `encode`.

    Raises:
        DataError: It cannot be written; what was there is as it was.
    """
    path = Path(path)
    name = files.shown(path)
    kind = format or _format_of(path, name)
    data = encode(photograph, kind, quality, note, name=path)
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{name}: cannot be written: there is something else of this name; choose another")
        with files.replacing(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if photograph.mtime_ns is not None:
                with contextlib.suppress(OSError, OverflowError):  # a time that this file system does not know
                    os.utime(temporary, ns=(time.time_ns(), photograph.mtime_ns))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be written: {files.reason(error)}") from error


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        # A pipe would be waited for, and a device may have no end.
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder; name the photographs in it" if path.is_dir() else "no file; name a photograph"
            raise DataError(f"{name}: cannot be read: it is {what}")
        with path.open("rb") as stream:
            yield stream
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        raise DataError(f"{name}: cannot be read: {files.reason(error)}") from error


def _format_of(path: Path, name: str) -> str | None:
    suffix = path.suffix.lower()
    if suffix in WRITTEN:
        return FORMAT_OF[suffix]
    if not suffix:
        return None
    raise DataError(
        f"{name}: cannot be written: no format for {files.shown(suffix)}; use one of {', '.join(sorted(WRITTEN))}"
    )
