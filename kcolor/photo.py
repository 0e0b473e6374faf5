"""A photograph on disk <-> pixels."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kcolor import files
from kcolor.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


def read(path: Path) -> np.ndarray:
    """Read a photograph, upright.

    Returns:
        (height, width, 3) uint8 sRGB.

    Raises:
        DataError: It is no photograph, is cut short, is absurdly large, or cannot be read.
    """
    try:
        # A decompression bomb is a warning first; here it is as good as an error.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(path.read_bytes())) as picture:
                return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: too large: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a photograph that can be read") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


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
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
