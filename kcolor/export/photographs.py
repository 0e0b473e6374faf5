"""Real photographs for an export: what quantization is calibrated on, and what artifacts are compared with Keras on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kcolor import files, image, recipe
from kcolor.data import prepare, reading
from kcolor.data.manifest import Manifest, Photo
from kcolor.errors import DataError
from kcolor.run import Run, owner

REPRESENTATIVE, COMPARED = 100, 16

# The recipe whose photographs come with a package that is there anyway.
_OURS = "quickstart"


@dataclass(frozen=True)
class Photographs:
    """Where photographs are, and which serve for what.

    Args:
        origin: What they are, in a line, for the manifest.
        root: The folder that their paths start from.
        compared: Those that artifacts and Keras are both shown.
        representative: Those that the ranges of activations are measured on.
    """

    origin: str
    root: Path
    compared: tuple[Photo, ...]
    representative: tuple[Photo, ...]

    def to_compare(self, size: int) -> np.ndarray:
        """The photographs to compare on, whole, (photographs, size, size, 3) uint8.

        Raises:
            DataError: None can be read.
        """
        return _some([image.fit_square(tf.constant(rgb), size).numpy() for rgb in self._read(self.compared)], self)

    def to_calibrate(self, size: int) -> np.ndarray:
        """What quantization is calibrated on, (about `REPRESENTATIVE`, size, size, 3) uint8.

        Each photograph whole, and where there are too few of them, random windows of each, of at least half its sides,
        every other one mirrored.

        Raises:
            DataError: None can be read.
        """
        draw = np.random.default_rng(0)
        windows = -(-REPRESENTATIVE // len(self.representative)) - 1
        made = []
        for rgb in self._read(self.representative):
            made.append(image.fit_square(tf.constant(rgb), size).numpy())
            for number in range(windows):
                cut = _window(rgb, draw)[:, :: -1 if number % 2 else 1]
                made.append(image.fit_square(tf.constant(np.ascontiguousarray(cut)), size).numpy())
        return _some(made, self)

    def _read(self, photos: tuple[Photo, ...]) -> Iterator[np.ndarray]:
        return (found.rgb for found in reading.read(self.root, photos, None) if found.rgb is not None)


def find(
    model: Path, data: Path | None = None, *, on_fallback: Callable[[str], None] = lambda why: None
) -> Photographs:
    """The photographs for the export of a model.

    Those of a folder that is named, or else those that the model's run has trained and validated on, or else the five
    that come with scikit-image.

    Args:
        model: A run directory or a ``.keras`` file.
        data: A folder of photographs, or a manifest.
        on_fallback: Called with a line that says why the run's own cannot serve.

    Raises:
        DataError: `data` is named, and is of no use.
    """
    if data is not None:
        return _of(prepare.prepare(recipe.default([]).data.model_copy(update={"folder": str(data)}), 0), str(data))
    run = Run(model) if Run(model).info.is_file() else owner(model)
    if run is not None:
        try:
            return _of(Manifest.load(run.manifest), f"the run's own, of {run.manifest}")
        except DataError as error:
            on_fallback(f"{error}; with the photographs of scikit-image instead; --data names others")
    return _of(prepare.prepare(recipe.load(recipe.find(_OURS)).data, 0), "scikit-image's own")


def _of(manifest: Manifest, origin: str) -> Photographs:
    """Of a manifest: the train split calibrates, the val split is compared on; of those with few photos, all."""
    counts = manifest.counts()
    splits = {wanted: wanted if counts[wanted] >= COMPARED else "all" for wanted in ("val", "train")}

    def some(wanted: str, limit: int) -> tuple[Photo, ...]:
        found, _, _ = reading.check(reading.Pictures(manifest, splits[wanted], limit), lambda done, total: None)
        return tuple(found)

    return Photographs(
        f"{files.shown(origin)}; compared on: {splits['val']}, calibrated on: {splits['train']}",
        manifest.root,
        compared=some("val", COMPARED),
        representative=some("train", REPRESENTATIVE),
    )


def _window(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    height, width = (int(side * draw.uniform(0.5, 1.0)) for side in rgb.shape[:2])
    top, left = draw.integers(rgb.shape[0] - height + 1), draw.integers(rgb.shape[1] - width + 1)
    return rgb[top : top + height, left : left + width]


def _some(made: list[np.ndarray], photographs: Photographs) -> np.ndarray:
    if not made:
        raise DataError(f"{photographs.root}: none of the photos can be used; name others with --data")
    return np.stack(made)
