"""A ``.keras`` file with its weights in half precision: half the size, and otherwise like any other."""

import io
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from kcolor import card, color
from kcolor.errors import RunError
from kcolor.export.artifact import Target

_WEIGHTS = "model.weights.h5"


def target(generator: keras.Model, name: str, about: card.Card | None = None) -> Target:
    """The ``.keras`` file of a generator.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        name: What the file is called.
        about: What is known of the generator, for the file to carry.
    """

    def make(path: Path) -> None:
        write(generator, path)
        if about:
            card.attach(path, about)

    limits = {"largest_ab": 1e-2 * color.AB_SCALE}
    return Target(f"{name}.keras", "keras", "float16", "ab", generator, "keras_file.py", limits, make)


def write(generator: keras.Model, path: Path) -> None:
    """Write a generator as a ``.keras`` file.

    Its kernels are stored in float16; biases and the statistics of normalization, which are few and whose range is not
    known, in float32. Keras sets variables of the types that the configuration names, so that a float32 model comes of
    it, whose kernels are off by at most one part in 2048 (those under 6e-5 by at most 3e-8).

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        path: The file to write.

    Raises:
        RunError: A weight is beyond the range of float16, 65,504.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder, "whole.keras")
        generator.save(whole)
        with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w") as half:
            for name in archive.namelist():
                content = archive.read(name)
                half.writestr(name, _halved(content, path) if name == _WEIGHTS else content)


def _halved(content: bytes, path: Path) -> bytes:
    """An HDF5 file with its float32 arrays of two and more dimensions in float16, compressed."""
    made = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(made, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
                return
            values = item[()]
            if values.ndim < 2 or values.dtype != np.float32:
                target.create_dataset(name, data=values)
                return
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if not np.isfinite(half).all():
                raise RunError(f"{path.name}: a weight is beyond what 16 bits can hold ({np.abs(values).max():g})")
            # Signs and exponents, which are much alike, apart from the rest: a tenth less.
            target.create_dataset(name, data=half, compression="gzip", shuffle=True)

        source.visititems(copy)
    return made.getvalue()
