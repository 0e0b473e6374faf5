"""Colour profiles: from what a file was written in to sRGB.

8 bits go through Little CMS, as Pillow has it. It offers no 16 bits of colour there, so those profiles that are a curve
for each channel and a matrix, which is what most 16-bit files have, are computed here by ICC.1:2022, annex F; of the
others, 8 bits have to do.
"""

import io
import struct
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

# Of a picture with this many pixels a step is done: what is in between is floating.
_STEP = 1 << 22
_CURVES = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}
_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")
_TABLES = (b"A2B0", b"A2B1", b"D2B0", b"D2B1")
_INTENT, _FLAGS = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
# The luminance of L = 50: a darkest colour above it is none, by Little CMS.
_DARKEST = 0.1842
# Colours on which a profile is tried out: each channel at 0, 17, 34 ... 255, and all grey.
_STEPS = np.arange(0, 256, 17).astype(np.uint8)
_PROBE = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1).reshape(64, 64, 3)
_GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)


class _UnusableError(Exception):
    """A profile that is broken, or of other colours than the picture's."""


@cache
def srgb() -> bytes:
    """The profile that says sRGB: what everything is written with, the same bytes each time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # when it was made, which would differ each time
    return bytes(profile)


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring an 8-bit picture to sRGB: relative colorimetric, with compensation of the black point.

    Args:
        picture: Of mode L, RGB, CMYK or LAB, or another that Pillow can make RGB of.
        profile: Its ICC profile. One that is broken, or of other colours than the picture's, is ignored; without one,
            grey and RGB are taken as sRGB, and CMYK as its complement.

    Returns:
        Of mode RGB.
    """
    if picture.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _applied(ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB", _INTENT), picture)
    if picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("RGB")
    if not profile:
        return _rgb(picture)
    try:
        space, transform = _transform(profile, picture.mode)
        if space == "RGB":
            picture = _rgb(picture)
        return _rgb(picture) if transform is None else _applied(transform, picture)
    except (_UnusableError, ImageCms.PyCMSError, ValueError, OSError):
        return _rgb(picture)


def to_srgb16(values: np.ndarray, profile: bytes | None) -> np.ndarray | None:
    """Bring 16 bits a channel to sRGB.

    Args:
        values: (height, width, 1 or 3) uint16, grey or RGB.
        profile: As for `to_srgb`.

    Returns:
        (height, width, 3) uint16; None where the profile is one of tables, so that 8 bits have to do.
    """
    if profile:
        try:
            space, transform = _transform(profile, "L" if values.shape[2] == 1 else "RGB")
        except _UnusableError:
            transform = None
        if transform is not None:
            return _curves_and_matrix(values, profile, space)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def _rgb(picture: Image.Image) -> Image.Image:
    return picture if picture.mode == "RGB" else picture.convert("RGB")  # which else would be a copy of all


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(srgb()))


def _applied(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    made = ImageCms.applyTransform(picture, transform)
    assert made is not None  # it is where a picture is changed where it lies
    return made


def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The colours that a profile is of, "RGB", "GRAY" or "CMYK", and Little CMS' way from there to sRGB.

    None is no way at all: the profile is sRGB by another name, and differs by rounding.

    Raises:
        _UnusableError: It is broken, or of other colours than the mode's; grey may have the profile of RGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "RGB" and mode == "L":
            mode = "RGB"
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != mode:
            raise _UnusableError
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", _INTENT, _FLAGS)
        if mode != "CMYK":
            probe = Image.fromarray(_PROBE if mode == "RGB" else _GREYS)
            after = np.asarray(_applied(transform, probe)).astype(int)
            if np.abs(after - np.asarray(probe.convert("RGB"))).max() <= 1:
                return space, None
    except (ImageCms.PyCMSError, ValueError, TypeError, OSError) as error:
        raise _UnusableError from error
    return space, transform


class _Profile(NamedTuple):
    """A profile of curves and a matrix.

    Attributes:
        curves: (65536,) linear light at each value, for each channel.
        matrix: (3, channels), from there to XYZ under D50; of grey, the luminance stands for all three.
    """

    curves: list[np.ndarray]
    matrix: np.ndarray


def _curves_and_matrix(values: np.ndarray, profile: bytes, space: str) -> np.ndarray | None:
    try:
        source, target = _read(profile, space), _read(srgb(), "RGB")
    except (ValueError, KeyError, IndexError, ZeroDivisionError, struct.error):
        return None
    # The luminance of black, which becomes 0, as that of sRGB is; what is above moves with it.
    black = min(float(source.matrix[1] @ [curve[0] for curve in source.curves]), _DARKEST)
    if space == "GRAY":
        return np.repeat(_encoded((source.curves[0] - black) / (1.0 - black))[values], 3, axis=2)
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    matrix = (np.linalg.inv(target.matrix) @ source.matrix).T.astype(np.float32)
    curves = [curve.astype(np.float32) for curve in source.curves]
    made = np.empty_like(values)
    rows = max(1, _STEP // values.shape[1])
    for start in range(0, len(values), rows):
        part = values[start : start + rows]
        linear = np.stack([curve[part[..., i]] for i, curve in enumerate(curves)], axis=-1)
        made[start : start + rows] = _encoded((linear @ matrix - black) / (1.0 - black))
    return made


def _read(profile: bytes, space: str) -> _Profile:
    """The curves and the matrix of a profile.

    Raises:
        ValueError: It has tables, which come first, or works in other ways.
    """
    count = int.from_bytes(profile[128:132])
    tags = {}
    for i in range(132, 132 + 12 * min(count, 1000), 12):
        name, offset, size = struct.unpack(">4sLL", profile[i : i + 12])
        tags[name] = profile[offset : offset + size]
    if profile[20:24] != b"XYZ " or any(name in tags for name in _TABLES):
        raise ValueError("not of curves and a matrix")
    curves = [_curve(tags[name]) for name in _CURVES[space]]
    if space == "GRAY":
        return _Profile(curves, np.ones((3, 1)))
    columns = [np.array(struct.unpack(">3l", tags[name][8:20])) / 65536.0 for name in _COLORANTS]
    return _Profile(curves, np.stack(columns, axis=1))


def _curve(tag: bytes) -> np.ndarray:
    """Linear light at each of 65,536 values: the types curv and para."""
    x = np.linspace(0.0, 1.0, 65536)
    if tag[:4] == b"curv":
        count = int.from_bytes(tag[8:12])
        if count == 0:
            return x
        table = np.frombuffer(tag, ">u2", count, 12)
        if count == 1:
            return x ** (table[0] / 256.0)
        return np.interp(x, np.linspace(0.0, 1.0, count), table / 65535.0)
    if tag[:4] != b"para":
        raise ValueError("no curve")
    # Each kind is the last one with fewer numbers: y = (a x + b)^g + e from d on, and y = c x + f below.
    kind = int.from_bytes(tag[8:10])
    count = (1, 3, 4, 5, 7)[kind]
    given = [value / 65536.0 for value in struct.unpack(f">{count}l", tag[12 : 12 + 4 * count])]
    g, a, b, c, d, e, f = (*given, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)[:7]
    if kind == 0:
        a = 1.0
    elif kind in (1, 2):
        c, d, e, f = 0.0, -b / a, c, c
    return np.clip(np.where(x >= d, np.maximum(a * x + b, 0.0) ** g + e, c * x + f), 0.0, 1.0)


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light of any shape in sRGB's own curve (IEC 61966-2-1), as uint16."""
    linear = np.clip(linear, 0.0, 1.0)
    curved = 1.055 * np.maximum(linear, 0.0031308) ** (1.0 / 2.4) - 0.055
    return np.round(np.where(linear <= 0.0031308, 12.92 * linear, curved) * 65535.0).astype(np.uint16)
