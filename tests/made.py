"""Photos made for the tests, and manifests of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from kcolor.data.manifest import Manifest, prepare

SEPIA = (1.07, 0.87, 0.68)


def shapes(side: int = 96, seed: int = 0) -> np.ndarray:
    """Lightness of a made-up photo: soft shapes, (side, side), 20..235."""
    coarse = np.random.default_rng(seed).uniform(20, 235, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float64)


def colour(side: int = 96, seed: int = 0) -> Image.Image:
    return rgb(*(shapes(side, 3 * seed + channel) for channel in range(3)))


def rgb(*channels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))


def noisy_grey(side: int, sigma: float) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, sigma, (3, side, side))
    return rgb(*(shapes(side) + noise))


def sepia(side: int = 200) -> Image.Image:
    noise = np.random.default_rng(2).normal(0, 2, (3, side, side))
    return rgb(*(0.9 * factor * shapes(side) + each for factor, each in zip(SEPIA, noise, strict=True)))


def misty() -> Image.Image:
    """Nearly grey, and yet of two hues that lightness does not explain: warm on the left, cold on the right."""
    lightness = 150 + 0.2 * (shapes() - 128)
    tint = np.linspace(6, -6, 96)[None, :]
    return rgb(lightness + tint, lightness, lightness - tint)


def fill(folder: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        colour(64, seed).save(folder / name)
    return folder


def make(folder: Path, **options) -> Manifest:
    options.setdefault("survey_file", folder.parent / "survey.jsonl")
    options.setdefault("workers", 1)
    return prepare(folder, **options)


def reasons(found: Manifest) -> dict[str, str]:
    return {photo.path: photo.reason for photo in found.photos}
