"""A photograph on disk <-> pixels."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kcolor import files
from kcolor.errors import DataError

# What is looked for in a folder.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# What can be written as it came; a GIF's 256 colours are too few.
WRITTEN = SUFFIXES - {".gif"}
# Nothing else is tried: some of Pillow's other readers start outside programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "JPEG2000")


def read(path: Path) -> np.ndarray:
    """Read a photograph, upright.

    Returns:
        (height, width, 3) uint8 sRGB; of 16-bit grey, the upper 8 bits, rounded.

    Raises:
        DataError: It is no photograph, is cut short, is absurdly large, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode(data, path)


def decode(data: bytes, path: Path) -> np.ndarray:
    """As `read`, of a file's content.

    Args:
        data: The content.
        path: What it is called in messages.
    """
    try:
        # A decompression bomb is a warning first; here it is as good as an error.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                return _to_rgb(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: too large: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a photograph that can be read") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8 of a picture of any mode.

    Raises:
        ValueError: Its values have no known range.
    """
    if picture.mode.startswith("I;16"):  # Pillow would clip it, which turns most of a scan white
        grey = np.round(np.asarray(picture) / 257.0).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, of which nobody knows the range; save it with 8 or 16 bits")
    return np.asarray(picture.convert("RGB"))


def write(path: Path, rgb: np.ndarray) -> None:
    """Write a photograph, whole or not at all; JPEG in good quality and full colour resolution.

    Args:
        path: Its suffix says the format.
        rgb: (height, width, 3) uint8 sRGB.

    Raises:
        DataError: It cannot be written.
    """
    options: dict[str, Any] = (
        {"quality": 95, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg", ".jpe") else {}
    )
    try:
        with files.replacing(path) as temporary:
            Image.fromarray(rgb).save(temporary, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written: {reason}") from error
