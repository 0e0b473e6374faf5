"""LiteRT files: L in, ab out, of built-in operations only and with a fully static shape."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from kcolor.export import parity, saved_model

_CONVERTER = Path(__file__).parent / "loaders" / "convert_tflite.py"


def export_float32(generator: keras.Model, path: Path) -> float:
    """Write a generator as a float32 ``.tflite`` and run it in a fresh process.

    Its signature ``serving_default`` maps ``l`` (1, size, size, 1) to ``ab`` (1, size, size, 2), scaled to [-1, 1].

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        path: The file to write.

    Returns:
        The largest difference of ``ab`` from Keras.
    """
    return _export(generator, path, "float32")


def export_float16(generator: keras.Model, path: Path) -> float:
    """As `export_float32`, with the weights stored in float16."""
    return _export(generator, path, "float16")


def _export(generator: keras.Model, path: Path, precision: str) -> float:
    size = generator.input_shape[1]

    def colours(l: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ab": generator(l, training=False)["ab"]}

    # With a batch of any size, the transposed convolutions would run on LiteRT's slow path.
    signature = tf.function(colours, [tf.TensorSpec((1, size, size, 1), tf.float32, name="l")])
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_functions(generator, Path(folder), {"serving_default": signature})
        parity.run_script(_CONVERTER, folder, path, precision)  # apart, since each conversion keeps some memory
    return parity.difference(generator, path, "tflite.py")
