"""A SavedModel: encoded photos in and out, or L in and ab out."""

from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from kcolor import color, colorizer, image
from kcolor.export.artifact import Target
from kcolor.join import join


def target(generator: keras.Model) -> Target:
    """The SavedModel of a generator, as from `kcolor.colorizer.load_generator`; see `export`."""
    limits = {"largest_ab": 1e-4 * color.AB_SCALE}
    make = partial(export, generator)
    return Target("saved_model", "saved_model", "float32", "ab", generator, "saved_model.py", limits, make)


def export(generator: keras.Model, path: Path) -> None:
    """Write a generator as a SavedModel.

    Its signatures:

    - ``serving_default``: ``image_bytes`` (n,) strings, encoded photos of any size and any of the formats of
      `kcolor.image.decode`, to ``colorized_bytes`` (n,), PNGs of the same sizes;
    - ``ab``: ``l`` (n, size, size, 1) float32 to ``ab`` (n, size, size, 2) float32, scaled to [-1, 1].

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        path: The folder to make.
    """
    whole = colorizer.of(generator)

    def one(data: tf.Tensor) -> tf.Tensor:
        rgb = image.decode(data)
        coloured = join(rgb, whole.predict(rgb)["ab"])
        with tf.device("/cpu:0"):  # strings have no place on a GPU
            return tf.io.encode_png(coloured)

    def photos(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"colorized_bytes": tf.map_fn(one, image_bytes, fn_output_signature=tf.TensorSpec((), tf.string))}

    def colours(l: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ab": generator(l, training=False)["ab"]}

    size = generator.input_shape[1]
    write(
        generator,
        path,
        {
            "serving_default": tf.function(photos, [tf.TensorSpec((None,), tf.string, name="image_bytes")]),
            "ab": tf.function(colours, [tf.TensorSpec((None, size, size, 1), tf.float32, name="l")]),
        },
    )


def write(generator: keras.Model, path: Path, signatures: dict[str, tf.types.experimental.PolymorphicFunction]) -> None:
    """Write a SavedModel of functions that call a generator.

    Args:
        generator: Whose variables the functions use.
        path: The folder to make.
        signatures: By their names in the SavedModel.
    """
    # Keras' own ExportArchive (3.15) stores each variable twice.
    module = tf.Module()
    module.variables_of_the_generator = [variable.value for variable in generator.variables]
    tf.saved_model.save(module, str(path), signatures=signatures)
