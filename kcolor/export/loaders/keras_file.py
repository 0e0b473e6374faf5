"""Load a ``.keras`` file with Keras alone."""

import os
import sys
from collections.abc import Callable

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

WITHOUT = ()


def load(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the model gives of a batch, as ab."""
    model = keras.models.load_model(path, compile=False)
    if any(variable.dtype != "float32" for variable in model.weights):
        sys.exit("not a float32 model")
    colours = tf.function(lambda l: model(l, training=False)["ab"], autograph=False)
    return lambda batch: colours(tf.constant(batch)).numpy()
