"""What a caller of the library has a photograph in -> `Photograph`, and the coloured one in the same form again."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kcolor import photo
from kcolor.photo import Photograph

Given = str | PathLike[str] | bytes | Photograph | Image.Image | np.ndarray


def take(given: Any) -> tuple[Photograph, Callable[[Photograph], Any]]:
    """Take a photograph in whatever form it is given.

    Args:
        given: A path, a file's content, a `Photograph`, a Pillow image, or an array or tensor, uint8 or uint16: grey
            (height, width) or (height, width, 1), RGB (height, width, 3), or RGB and alpha (height, width, 4).

    Returns:
        The photograph, and what gives one back: a path's and a content's as a `Photograph`, an image's as a Pillow
        image, an array's and a tensor's as an array, each with the alpha that was given.

    Raises:
        DataError: A file cannot be read.
        TypeError: It is something else.
        ValueError: An array is of another shape or type, or empty.
    """
    if isinstance(given, Photograph):
        return given, _same
    if isinstance(given, str | PathLike):
        return photo.read(Path(given)), _same
    if isinstance(given, bytes):
        return photo.decode(given, "the photograph"), _same
    if isinstance(given, Image.Image):
        return photo.from_image(given), _image
    if hasattr(given, "__array__"):
        return _of_array(np.asarray(given)), _array
    raise TypeError(
        "a photograph is a path, bytes, a kcolor.photo.Photograph, a Pillow image or an array, not "
        f"{type(given).__name__}"
    )


def _of_array(values: np.ndarray) -> Photograph:
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or not values.size:
        raise ValueError(
            f"an array of shape {values.shape} is no photograph: (height, width), or with 1, 3 or 4 channels"
        )
    if values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an array of {values.dtype} is no photograph: uint8 in 0..255, or uint16 in 0..65535")
    alpha = np.ascontiguousarray(values[:, :, 3]) if values.shape[2] == 4 else None
    rgb = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else np.ascontiguousarray(values[:, :, :3])
    return Photograph(rgb, alpha)


def _same(photograph: Photograph) -> Photograph:
    return photograph


def _array(photograph: Photograph) -> np.ndarray:
    if photograph.alpha is None:
        return photograph.rgb
    return np.concatenate([photograph.rgb, photograph.alpha[:, :, np.newaxis]], axis=2)


def _image(photograph: Photograph) -> Image.Image:
    return Image.fromarray(_array(photograph.with_rgb(photograph.rgb8)))
