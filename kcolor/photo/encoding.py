"""From a photograph to a file's content."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from kcolor.errors import DataError
from kcolor.photo import exif, icc, sixteen, xmp
from kcolor.photo.decoding import require_heif
from kcolor.photo.formats import FORMAT_OF, WRITTEN
from kcolor.photo.photograph import Photograph, eight_bits
from kcolor.photo.tiff import tiff
from kcolor.photo.xmp import Note

# As good as the original to look at; WebP that came without loss stays without.
QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90, "HEIF": 90}
# The most pixels a side that a format, or what writes it, has room for.
_SIDES = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65535, "HEIF": 65535}
_CLEAR = frozenset({"PNG", "TIFF", "WEBP", "AVIF", "HEIF"})
_WRITTEN = frozenset(FORMAT_OF[suffix] for suffix in WRITTEN)
# The most bytes in one segment of a JPEG, less what stands before EXIF and before XMP there.
_EXIF_IN_JPEG, _XMP_IN_JPEG, _SEGMENT = 65533 - 6, 65533 - 29, 65533
# How Photoshop stores IPTC: its own mark, and a block of number 0x0404 without a name.
_PHOTOSHOP, _IPTC_BLOCK = b"Photoshop 3.0\0", b"8BIM\x04\x04\0\0"


def encode(photograph: Photograph, kind: str, quality: int | None, note: Note | None, name: str) -> bytes:
    """A file's content.

    Args:
        photograph: What it shows, and says.
        kind: Pillow's name of the format; GIF becomes PNG.
        quality: 1 to 100, where the format loses some; None: `QUALITY`.
        note: Where the colours are from, for XMP.
        name: What it is called in messages.

    Raises:
        DataError: The format has no room for it, cannot be written, or needs what is not installed.
        ValueError: The quality is beyond its limits.
    """
    kind = "PNG" if kind == "GIF" else kind
    if kind not in _WRITTEN:
        raise DataError(f"{name}: {kind} cannot be written; choose one of {', '.join(sorted(_WRITTEN))}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}, not 1 to 100")
    if kind == "HEIF":
        require_heif(name)
    height, width = photograph.rgb.shape[:2]
    if max(height, width) > _SIDES.get(kind, 1 << 31):
        raise DataError(
            f"{name}: {width}x{height} is more than {kind}'s {_SIDES[kind]} pixels a side; choose PNG or TIFF"
        )
    packet = photograph.xmp if note is None else xmp.with_note(photograph.xmp, note)
    try:
        if kind == "TIFF" or (kind == "PNG" and photograph.rgb.dtype == np.uint16):
            return _without_pillow(photograph, kind, packet)
        return _by_pillow(photograph, kind, quality, packet, note)
    except MemoryError as error:
        raise DataError(f"{name}: too large for this machine's memory; make it smaller") from error
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        raise DataError(f"{name}: cannot be written as {kind}: {error}; choose another format") from error


def _without_pillow(photograph: Photograph, kind: str, packet: bytes) -> bytes:
    pixels = photograph.rgb
    if photograph.alpha is not None:
        pixels = np.concatenate([pixels, photograph.alpha[:, :, np.newaxis]], axis=2)
    if kind == "TIFF":
        return tiff(
            pixels,
            said=photograph.exif,
            xmp=packet,
            iptc=photograph.iptc,
            icc=icc.srgb(),
            dpi=photograph.dpi,
        )
    around = io.BytesIO()
    Image.new("RGB", (1, 1)).save(around, "PNG", **_of_png(photograph, packet))
    return sixteen.png(pixels, around.getvalue())


def _by_pillow(photograph: Photograph, kind: str, quality: int | None, packet: bytes, note: Note | None) -> bytes:
    rgb = photograph.rgb8
    alpha = None if photograph.alpha is None else eight_bits(photograph.alpha)
    if alpha is not None and kind in _CLEAR:
        rgb = np.concatenate([rgb, alpha[:, :, np.newaxis]], axis=2)
    elif alpha is not None:
        rgb = _on_white(rgb, alpha)
    options: dict[str, Any]
    if kind == "PNG":
        options = _of_png(photograph, packet)
    elif kind == "BMP":
        options = {"dpi": photograph.dpi} if photograph.dpi else {}
    else:
        options = {
            "quality": QUALITY[kind] if quality is None else quality,
            "icc_profile": icc.srgb(),
            "exif": exif.without_orientation(photograph.exif) if kind == "AVIF" else photograph.exif,
            "xmp": packet,
        }
    if kind == "JPEG":
        options |= _of_jpeg(photograph, packet, note)
    elif kind == "WEBP":
        # Exact: what lies under full transparency is kept.
        options |= {"lossless": photograph.lossless and quality is None, "exact": True}
    elif kind in ("AVIF", "HEIF"):
        options |= {"subsampling": "4:4:4"}
    made = io.BytesIO()
    # What is empty is left out: some encoders take it for broken.
    Image.fromarray(rgb).save(made, kind, **{key: value for key, value in options.items() if value != b""})
    return made.getvalue()


def _of_png(photograph: Photograph, packet: bytes) -> dict[str, Any]:
    texts = PngImagePlugin.PngInfo()
    for key, value in photograph.texts.items():
        texts.add_text(key, value)
    if packet:
        texts.add_itxt("XML:com.adobe.xmp", packet.decode("utf-8", "replace"))
    options = {"icc_profile": icc.srgb(), "pnginfo": texts, "exif": photograph.exif}
    return {**options, "dpi": photograph.dpi} if photograph.dpi else options


def _of_jpeg(photograph: Photograph, packet: bytes, note: Note | None) -> dict[str, Any]:
    if len(packet) > _XMP_IN_JPEG:  # what would go beyond has no place that readers look at
        packet = b"" if note is None else xmp.with_note(b"", note)
    said = exif.within(photograph.exif, _EXIF_IN_JPEG)
    block = _PHOTOSHOP + _IPTC_BLOCK + struct.pack(">L", len(photograph.iptc)) + photograph.iptc
    block += bytes(len(block) % 2)
    fits = photograph.iptc and len(block) <= _SEGMENT
    options: dict[str, Any] = {
        "subsampling": 0,
        "exif": b"Exif\0\0" + said if said else b"",
        "xmp": packet,
        "extra": b"\xff\xed" + struct.pack(">H", 2 + len(block)) + block if fits else b"",
    }
    if photograph.dpi:
        options["dpi"] = photograph.dpi
    comment = photograph.texts.get("Comment", "").encode("utf-8", "replace")
    if comment and len(comment) <= _SEGMENT:
        options["comment"] = comment
    return options


def _on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What is seen of a picture with transparency on white paper."""
    seen = Image.fromarray(np.concatenate([rgb, alpha[:, :, np.newaxis]], axis=2))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB"))
