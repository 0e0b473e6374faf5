"""From a file's content to a photograph."""

import contextlib
import ctypes
import io
import logging
import math
import struct
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile

from kcolor.errors import DataError
from kcolor.photo import exif, icc, sixteen, xmp
from kcolor.photo.formats import HEAD, avif_size, png_without_pixels, sniff, webp_is_lossless, webp_size
from kcolor.photo.photograph import Photograph, eight_bits
from kcolor.photo.sixteen import UnreadKindError

# More is refused before a pixel is decoded: 200 million pixels are 600 MB as they are read, and several times that
# while they are coloured.
MAX_PIXELS = 200_000_000

_READ = "JPEG, PNG, TIFF, WebP, AVIF, HEIC, BMP and GIF are"
_DAMAGED = "it is damaged, cut short, or of a rare kind; get another copy, or save it anew"
# How Pillow's names are said.
_SAID = {"WEBP": "WebP", "HEIF": "HEIC"}
_IPTC, _PHOTOSHOP, _PHOTOSHOP_IPTC = 33723, 34377, 0x0404

_TILE_WIDTH, _TILE_LENGTH = 322, 323
# The most pixels of a tile that is larger than the picture itself.
_LARGE_TILE = 1 << 24

_lock = threading.Lock()
_inside = 0
_limit: int | None = None


def decode(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Photograph:
    """A photograph out of a file's content.

    Args:
        stream: The content; it can be sought in.
        name: What it is called in messages.
        max_pixels: The most that are decoded.

    Raises:
        DataError: It is no photograph, is damaged, or has more pixels.
    """
    with _told_in_one_line(name), _own_limit():
        kind, again = _opener(stream, name, max_pixels)
        with again() as picture:
            profile = picture.info.get("icc_profile")
            profile = profile if isinstance(profile, bytes) else None
            rgb, alpha = _pixels(picture, again, profile)
            orientation = _orientation(picture)
            rgb, alpha = _upright(rgb, orientation), None if alpha is None else _upright(alpha, orientation)
            lossless = kind == "WEBP" and webp_is_lossless(stream)
            return Photograph(rgb, alpha, kind, lossless=lossless, **_said(picture, stream, kind, rgb))


def size(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of the photograph that `decode` would give, without a pixel decoded.

    Args:
        stream: As for `decode`.
        name: As for `decode`.
        max_pixels: As for `decode`.

    Raises:
        DataError: As for `decode`, as far as the header tells.
    """
    with _told_in_one_line(name), _own_limit():
        kind, again = _opener(stream, name, max_pixels)
        with again() as picture:
            width, height = picture.size
            # TIFF's reader has the size after its own tag already, and only what XMP says is still to be done.
            done = kind == "TIFF" and ExifTags.Base.Orientation in picture.tag_v2  # type: ignore[attr-defined]
            orientation = _orientation(picture)
            if kind == "PNG":  # which may say it behind the pixels; if that is damaged, it is not heeded
                with (
                    contextlib.suppress(Exception),
                    Image.open(io.BytesIO(png_without_pixels(stream)), formats=["PNG"]) as said,
                ):
                    orientation = _orientation(said)
            return (height, width) if orientation >= 5 and not done else (width, height)


@contextlib.contextmanager
def _told_in_one_line(name: str) -> Iterator[None]:
    """Whatever goes wrong with a picture, as a DataError."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{name}: too large for this machine's memory; make it smaller") from error
    except Exception as error:  # a damaged picture can make Pillow raise almost anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        advice = "" if isinstance(error, UnreadKindError) else f"; {_DAMAGED}"
        raise DataError(f"{name}: cannot be read: {reason}{advice}") from error


def _opener(stream: BinaryIO, name: str, max_pixels: int) -> tuple[str, Callable[[], ImageFile.ImageFile]]:
    """Pillow's name of the format, and what opens the picture, as often as it is called.

    Raises:
        DataError: It is no photograph, is damaged, or has more pixels.
    """
    head = stream.read(HEAD)
    if not head:
        raise DataError(f"{name}: is empty (0 bytes); get another copy")
    kind = sniff(head)
    if kind is None:
        raise DataError(f"{name}: not a photograph that can be read; {_READ}")
    if kind == "HEIF":
        require_heif(name)
    broken = f"{name}: cannot be read as {_SAID.get(kind, kind)}: {_DAMAGED}"
    if kind == "WEBP":
        size = webp_size(head)
        if size is None:
            raise DataError(broken)
        _check(size, name, max_pixels)

    elif kind == "TIFF":
        _silence_libtiff()

    def again() -> ImageFile.ImageFile:
        try:
            picture = Image.open(stream, formats=[kind])
        except Image.UnidentifiedImageError as error:
            if kind == "AVIF":  # whose reader has a limit of its own
                _check(avif_size(stream), name, max_pixels)
            raise DataError(broken) from error
        if not all(picture.size):
            raise DataError(broken)
        _check(picture.size, name, max_pixels)
        if kind == "TIFF" and _tile(picture) > max(math.prod(picture.size), _LARGE_TILE):
            raise DataError(broken)
        return picture

    return kind, again


@cache
def _silence_libtiff() -> None:
    """Keep libtiff, which Pillow brings, and Pillow from printing complaints; what matters of them is raised."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # whoever has asked for its log has it still
    with contextlib.suppress(OSError, AttributeError):  # where it is part of Pillow's own library, it cannot be reached
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


def from_image(picture: Image.Image) -> Photograph:
    """A photograph out of a picture that Pillow holds: upright, in sRGB, in 8 bits.

    Args:
        picture: Of any mode of up to 16 bits; its profile and its EXIF orientation are heeded, nothing else is kept.

    Raises:
        DataError: It is damaged, or of a mode that is no photograph.
    """
    try:
        profile = picture.info.get("icc_profile")
        rgb, alpha = _eight_bits(picture, profile if isinstance(profile, bytes) else None)
        orientation = _orientation(picture)
        return Photograph(_upright(rgb, orientation), None if alpha is None else _upright(alpha, orientation))
    except MemoryError:
        raise
    except Exception as error:  # a damaged picture can make Pillow raise almost anything
        raise DataError(
            f"the picture cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


@contextlib.contextmanager
def _own_limit() -> Iterator[None]:
    """Pillow's limit of pixels out of the way, since ours is stated and checked before; it has one for all threads."""
    global _inside, _limit  # noqa: PLW0603
    with _lock:
        if not _inside:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                Image.MAX_IMAGE_PIXELS = _limit


def require_heif(name: str) -> None:
    """Have Pillow know HEIC.

    Raises:
        DataError: The package that reads it is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise DataError(f"{name}: HEIC needs the package pillow-heif: pip install 'kcolor[heic]'") from error
    pillow_heif.register_heif_opener()


def _tile(picture: Any) -> int:
    """The pixels of one of a TIFF's tiles, for which room is made whatever the size of the picture; 0 without tiles."""
    sides = [picture.tag_v2.get(tag) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    return math.prod(side if isinstance(side, int) else 0 for side in sides)


def _check(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise DataError(
            f"{name}: too large: {width}x{height} is {width * height:,} pixels, and no more than {max_pixels:,} are "
            "read; make it smaller, or allow more (--max-pixels)"
        )


def _pixels(picture: ImageFile.ImageFile, again: Any, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB in sRGB and alpha, of 16 bits where the file has them."""
    values = sixteen.values(picture, again)
    if values is not None:
        rgb = icc.to_srgb16(values[..., :-1] if values.shape[2] in (2, 4) else values, profile)
        if rgb is not None:
            return rgb, _alpha16(picture, values)
        colours = values[..., : 1 if values.shape[2] < 3 else 3]
        return _through_eight_bits(colours, _alpha16(picture, values), profile)
    picture.load()
    return _eight_bits(picture, profile)


def _alpha16(picture: Image.Image, values: np.ndarray) -> np.ndarray | None:
    if values.shape[2] in (2, 4):
        return values[..., -1]
    clear = picture.info.get("transparency")
    if clear is None:
        return None
    return np.where((values == np.array(clear, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)


def _through_eight_bits(
    colours: np.ndarray, alpha: np.ndarray | None, profile: bytes | None
) -> tuple[np.ndarray, np.ndarray | None]:
    small = eight_bits(colours)
    picture = Image.fromarray(small[..., 0] if small.shape[2] == 1 else small)
    return np.asarray(icc.to_srgb(picture, profile)), None if alpha is None else eight_bits(alpha)


def _eight_bits(picture: Image.Image, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    if picture.mode in ("I", "F"):
        raise UnreadKindError(
            "its values are signed, of 32 bits or with a point, and nobody knows their range; "
            "save it with 8 or 16 bits a channel"
        )
    if picture.mode.startswith("I;16"):  # grey HEIC, and what a caller has opened
        picture = Image.fromarray(eight_bits(np.asarray(picture).astype(np.uint16)))
    alpha = None
    if picture.has_transparency_data:
        grey = picture.mode in ("L", "LA", "La")
        picture = picture.convert("LA") if picture.mode == "La" else picture.convert("RGBA")
        alpha = np.asarray(picture.getchannel("A"))
        picture = picture.getchannel("L" if picture.mode == "LA" else "R") if grey else picture.convert("RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    return np.asarray(icc.to_srgb(picture, profile)), alpha


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8, as far as it has not been applied; 1 where it makes no sense."""
    try:
        # Not PNG's own way, which decodes the pixels to look behind them.
        value = Image.Image.getexif(picture).get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF in a sound picture can make Pillow raise almost anything
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture upright. Source: EXIF 2.32, section 4.6.4, tag 0x0112."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _said(picture: ImageFile.ImageFile, stream: BinaryIO, kind: str, rgb: np.ndarray) -> dict[str, Any]:
    """What the file says beside the pixels."""
    height, width = rgb.shape[:2]
    info = picture.info
    if kind == "TIFF":
        exif_data = exif.of_tiff(stream, width, height)
        iptc = _iptc(exif.tiff_field(stream, _IPTC)) or _iptc_of(exif.tiff_field(stream, _PHOTOSHOP))
    else:
        found = info.get("exif") or _raw_profile(info)
        exif_data = exif.clean(found, width, height) if isinstance(found, bytes) else b""
        blocks = info.get("photoshop")
        iptc = _iptc(blocks.get(_PHOTOSHOP_IPTC, b"")) if isinstance(blocks, dict) else b""
    packet = info.get("xmp")
    packet = packet.encode() if isinstance(packet, str) else packet
    return {
        "exif": exif_data,
        "xmp": xmp.clean(packet) if isinstance(packet, bytes) else b"",
        "iptc": iptc,
        "texts": _texts(picture),
        "dpi": _dpi(info.get("dpi")),
    }


def _raw_profile(info: dict[Any, Any]) -> bytes | None:
    """EXIF in hexadecimal, as ImageMagick has put it into PNG before PNG had a place for it."""
    found = info.get("Raw profile type exif")
    try:
        return bytes.fromhex("".join(found.split("\n")[3:])) if isinstance(found, str) else None
    except ValueError:
        return None


def _iptc(data: Any) -> bytes:
    """IPTC-IIM records: each begins with 0x1C. Some writers of TIFF have turned them, four bytes at a time."""
    if not isinstance(data, bytes) or data[:1] == b"\x1c":
        return data if isinstance(data, bytes) else b""
    turned = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    return turned if turned[:1] == b"\x1c" else b""


def _iptc_of(blocks: bytes) -> bytes:
    """IPTC-IIM records out of Photoshop's image resources."""
    while blocks[:4] == b"8BIM" and len(blocks) >= 12:
        code, name = struct.unpack(">HB", blocks[4:7])
        start = 6 + (name + 2) // 2 * 2
        size = int.from_bytes(blocks[start : start + 4])
        if code == _PHOTOSHOP_IPTC:
            return _iptc(blocks[start + 4 : start + 4 + size])
        blocks = blocks[start + 4 + (size + 1) // 2 * 2 :]
    return b""


def _texts(picture: ImageFile.ImageFile) -> dict[str, str]:
    if picture.format == "PNG":
        told = picture.text  # type: ignore[attr-defined]
        return {key: value for key, value in told.items() if not key.startswith(("XML:com.adobe.xmp", "Raw profile"))}
    comment = picture.info.get("comment")
    if isinstance(comment, str):
        comment = comment.encode()
    if not isinstance(comment, bytes) or not comment or picture.format not in ("JPEG", "MPO", "GIF"):
        return {}
    try:
        return {"Comment": comment.decode()}
    except UnicodeDecodeError:
        return {"Comment": comment.decode("latin-1")}


def _dpi(found: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(v) and 1 <= v <= 65535 for v in (across, down)) else None
