"""Detectors of people and objects: what `kcolor prepare --instances` looks for them with.

A detector is named ``faces``, or is a ``.tflite`` file. It can be sent to other processes, and is loaded there once.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kcolor import files
from kcolor.detectors.detection import Detection
from kcolor.errors import DataError

if TYPE_CHECKING:
    from kcolor.detectors.tflite import Model

__all__ = ["FACES", "Detection", "Detector", "load"]

FACES = "faces"
VERSION = 1  # of what is made of a picture before, and of the answer after


@dataclass(frozen=True)
class Detector:
    """A detector.

    Attributes:
        name: ``faces``, or the file's name.
        sha256: Of all that its answers hang on: the trained file, the labels, and `VERSION`.
        side: Pictures of which the shorter side has as many pixels are as good as larger ones.
        model: The file; None for faces.
    """

    name: str
    sha256: str
    side: int
    model: "Model | None" = None

    def find(self, rgb: np.ndarray) -> list[Detection]:
        """What it sees in a picture, (height, width, 3) uint8, upright."""
        if self.model:
            from kcolor.detectors import tflite

            return tflite.find(self.model, rgb)
        from kcolor.detectors import faces

        return faces.find(rgb)


def load(name: str, labels: Path | None = None) -> Detector:
    """A detector by its name.

    Args:
        name: ``faces``, or the path of a ``.tflite`` file.
        labels: A list of the names of such a file's classes, one a line.

    Raises:
        DataError: There is none, or the file is no detector's; see `kcolor.detectors.tflite.load`.
    """
    if name == FACES:
        from skimage.data import lbp_frontal_face_cascade_filename

        from kcolor.detectors import faces

        if labels:
            raise DataError(f"{labels}: the detector faces knows faces alone; leave the labels out")
        return Detector(FACES, _digest(Path(lbp_frontal_face_cascade_filename()), ()), faces.SIDE)
    path = Path(name)
    if path.suffix != ".tflite" and not path.is_file():
        raise DataError(f"{name}: no such detector; give faces, or a .tflite file")
    from kcolor.detectors import tflite

    model = tflite.load(path.absolute(), labels)
    return Detector(path.name, _digest(path, model.labels), max(model.size), model)


def _digest(path: Path, labels: object) -> str:
    return hashlib.sha256(repr([VERSION, files.digest(path), labels]).encode()).hexdigest()
