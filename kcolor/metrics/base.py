"""What the metrics share: how pictures come in, and a state of sums.

A truth or a prediction is (batch, height, width, 3), uint8 in 0..255 or floating in 0..1. A picture's `sample_weight`
says how many times it counts; one that weighs nothing is left out, whatever is in it.
"""

from collections.abc import Iterable
from typing import Any, Self

import keras
import tensorflow as tf


class Summed(keras.metrics.Metric):
    """A metric whose state is nothing but sums, in float64.

    So the order of the batches does not matter, two halves of a set add up to the whole, and memory does not grow.
    """

    def add_sum(self, name: str, shape: tuple[int, ...] = ()) -> keras.Variable:
        """Make a sum of this shape, at zero."""
        return self.add_weight(shape=shape, initializer="zeros", dtype="float64", name=name)

    def merge_state(self, metrics: Iterable[Self]) -> None:
        """Add what other metrics of the same kind and arguments have seen.

        Raises:
            ValueError: Another one is of another kind, or has other arguments.
        """
        for other in metrics:
            mine, theirs = self.get_config(), other.get_config()
            if type(other) is not type(self) or mine | {"name": ""} != theirs | {"name": ""}:
                raise ValueError(f"{other} does not measure what {self} measures")
            for variable, addition in zip(self.variables, other.variables, strict=True):
                variable.assign_add(addition)

    def figure(self, value: tf.Tensor) -> tf.Tensor:
        """A result, in the type of the metric."""
        return tf.cast(value, self.dtype)


def pair(truth: Any, prediction: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Bring two batches of pictures to float32 in 0..1.

    Raises:
        ValueError: They are not pictures of three channels, not of one shape, or neither uint8 nor floating.
    """
    truth, prediction = _floating(truth), _floating(prediction)
    # Shapes that merely broadcast would give a figure, and a wrong one.
    if not truth.shape.is_compatible_with(prediction.shape):
        raise ValueError(f"the truth is {truth.shape} and the prediction {prediction.shape}: they should be alike")
    return truth, prediction


def weights(sample_weight: Any, values: tf.Tensor) -> tf.Tensor:
    """How many times each picture counts: (batch,) float64, for values (batch, ...)."""
    if sample_weight is None:
        return tf.ones(tf.shape(values)[:1], tf.float64)
    weight = tf.reshape(tf.cast(sample_weight, tf.float64), [-1])
    tf.debugging.assert_equal(tf.size(weight), tf.shape(values)[0], "sample_weight is to be one number a picture")
    return weight


def weighted_sum(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Sum values (batch,) times weights (batch,), in float64; what weighs nothing may be NaN."""
    return tf.reduce_sum(tf.math.multiply_no_nan(tf.cast(values, tf.float64), weight))


def _floating(pictures: Any) -> tf.Tensor:
    pictures = tf.convert_to_tensor(pictures)
    if not pictures.shape.is_compatible_with([None, None, None, 3]):
        raise ValueError(f"pictures are (batch, height, width, 3), not {pictures.shape}")
    if pictures.dtype == tf.uint8:
        return tf.cast(pictures, tf.float32) / 255.0
    if not pictures.dtype.is_floating:
        raise ValueError(f"pictures are uint8 in 0..255 or floating in 0..1, not {pictures.dtype.name}")
    return tf.cast(pictures, tf.float32)
