"""Load the ``ab`` signature of a SavedModel with TensorFlow alone."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

WITHOUT = ()


def load(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the signature gives of a batch."""
    model = tf.saved_model.load(path)
    signature = model.signatures["ab"]

    def run(batch: np.ndarray) -> np.ndarray:
        return signature(l=tf.constant(batch))["ab"].numpy()

    run.model = model  # type: ignore[attr-defined]  # what is not held on to is unloaded
    return run
