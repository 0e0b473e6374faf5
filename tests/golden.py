"""Reference numbers of an independent implementation, and the formulas that fill networks and batches for them.

The numbers in ``golden/reference.json`` are those of a float64 PyTorch implementation of the same networks and losses.
Every tensor is filled from its name and its channels-last shape alone, with 32-bit integer arithmetic, so any framework
on any machine builds the same weights bit for bit.
"""

import math
import zlib

import numpy as np


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values in [-1, 1), float64, C order: a 32-bit integer hash of (name, flat index)."""
    seed = np.uint32(zlib.crc32(name.encode()))
    h = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(2654435761) + seed
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return (h.astype(np.float64) / 2**31 - 1.0).reshape(shape)


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of one network parameter, by the last part of its name.

    Kernels are Glorot-uniform: a convolution's shape is (kh, kw, in, out), a transposed convolution's
    (kh, kw, out, in), a dense layer's (in, out).
    """
    u = uniform(name, shape)
    kind = name.rsplit("/", 1)[1]
    if kind == "kernel":
        receptive = math.prod(shape[:-2])
        return u * math.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
    return {
        "bias": 0.05 * u,
        "gamma": 1.0 + 0.2 * u,
        "beta": 0.1 * u,
        "moving_mean": 0.05 * u,
        "moving_variance": 1.0 + 0.5 * u,
    }[kind]


def batch(n: int = 4, size: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch: L (n, size, size, 1) and ab (n, size, size, 2), both scaled to [-1, 1], and labels (n,)."""
    y, x = np.mgrid[0:size, 0:size] * (2 * math.pi / size)
    index = np.arange(n)[:, None, None]
    lightness = 0.6 * np.sin(3 * x + 2 * y + index)[..., None] + 0.4 * uniform("input/l", (n, size, size, 1))
    chroma = np.stack([np.cos(x - 2 * y + index), np.cos(2 * x + y - index)], axis=-1)
    return lightness, 0.5 * chroma + 0.1 * uniform("input/ab", (n, size, size, 2)), 3 + 14 * np.arange(n)


def photo_pair(n: int = 3, height: int = 96, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Two sRGB batches (n, height, width, 3), uint8: a colourful scene, and a duller version with noise.

    Smooth enough for structural similarity to mean something; never constant, so no metric is undefined.
    """
    y, x = np.mgrid[0:height, 0:width]
    index = np.arange(n)[:, None, None, None]
    waves = np.stack([np.sin(x / 9 + y / 17), np.cos(x / 13 - y / 7), np.sin(x / 23) * np.cos(y / 19)], axis=-1)
    scene = 0.5 + 0.35 * np.roll(waves, 1, axis=-1) * np.cos(0.7 * index) + 0.1 * np.sin(index + x[..., None] / 31)
    grey = scene @ np.array([0.299, 0.587, 0.114])
    dull = 0.55 * scene + 0.45 * grey[..., None] + 0.03 * uniform("photo/noise", scene.shape)
    return tuple((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8) for image in (scene, dull))
