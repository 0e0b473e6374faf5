"""Photographs to measure with: a folder's, or made up from those of scikit-image."""

from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def bundled() -> list[Image.Image]:
    """The colour photographs of scikit-image."""
    import skimage.data

    found = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    return [Image.fromarray(rgb) for rgb in [*found, skimage.data.stereo_motorcycle()[0]]]


def fill(folder: Path, count: int, side: int = 256) -> Path:
    """Fill a folder with JPEG files in two classes: windows of the bundled photographs, mirrored and turned."""
    photos, random = bundled(), np.random.default_rng(0)
    for number in range(count):
        whole = photos[number % len(photos)]
        edge = int(random.integers(min(whole.size) // 2, min(whole.size)))
        left, top = (int(random.integers(0, length - edge + 1)) for length in whole.size)
        window = whole.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
        place = folder / ("indoors" if number % 2 else "outdoors") / f"{number:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        window.rotate(90 * int(random.integers(4))).save(place, quality=92)
    return folder


def large(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a JPEG of so many megapixels, in the proportions 3:2, enlarged and with grain; its size."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    size = (round(1.5 * height), height)
    whole = bundled()[-1].resize(size, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).integers(-6, 7, (512, 512, 1), np.int16)
    rows = 512
    for top in range(0, height, rows):  # in strips, since a hundred megapixels of integers would be a gigabyte
        strip = np.asarray(whole.crop((0, top, size[0], min(top + rows, height))), np.int16)
        noise = np.tile(grain, (1, -(-size[0] // 512), 1))[: strip.shape[0], : strip.shape[1]]
        whole.paste(Image.fromarray(np.clip(strip + noise, 0, 255).astype(np.uint8)), (0, top))
    whole.save(path, quality=90)
    return size
