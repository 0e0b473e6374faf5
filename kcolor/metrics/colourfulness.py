"""Colourfulness, in the units of the paper's scale for values in 0..255: 0 is grey, 59 quite, 109 extremely colourful.

Hasler and Süsstrunk, "Measuring Colourfulness in Natural Images", Human Vision and Electronic Imaging VIII, Proceedings
of SPIE 5007, 2003, section 6, the metric of the plain opponent channels. They are signed, as in the paper; some code in
circulation takes their absolute values, which gives other numbers.
"""

from typing import Any

import keras
import tensorflow as tf

from kcolor.metrics.base import Summed, pair, weighted_sum, weights


@keras.saving.register_keras_serializable("kcolor")
class Colourfulness(Summed):
    """How colourful the predictions are beside the truth; NaN before the first picture.

    Papers compare the two in two ways, and both are here: over the set, where too much in one picture makes up for too
    little in another, and picture by picture, where it does not.

    Args:
        name: The beginning of the figures' names.
        dtype: The type of the figures.
    """

    def __init__(self, name: str = "colourfulness", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._truth = self.add_sum("truth")
        self._prediction = self.add_sum("prediction")
        self._difference = self.add_sum("difference")
        self._count = self.add_sum("count")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch of RGB pictures."""
        truth, prediction = pair(truth, prediction)
        weight = weights(sample_weight, truth)
        true, predicted = colourfulness_of(truth), colourfulness_of(prediction)
        self._truth.assign_add(weighted_sum(true, weight))
        self._prediction.assign_add(weighted_sum(predicted, weight))
        self._difference.assign_add(weighted_sum(tf.abs(predicted - true), weight))
        self._count.assign_add(tf.reduce_sum(weight))

    def result(self) -> dict[str, tf.Tensor]:
        """Figures by name, scalars.

        `name` + "_prediction" and "_truth": the means over the pictures. "_ratio": the former divided by the latter; 1
        where both are 0, infinite where only the truth is. "_difference": the mean over the pictures of the absolute
        difference.
        """
        truth, prediction = self._truth.value, self._prediction.value
        nothing = tf.equal(truth, 0.0) & tf.equal(prediction, 0.0) & (self._count.value > 0.0)
        figures = {
            "prediction": prediction / self._count.value,
            "truth": truth / self._count.value,
            "ratio": tf.where(nothing, tf.ones_like(truth), prediction / truth),
            "difference": self._difference.value / self._count.value,
        }
        return {f"{self.name}_{key}": self.figure(value) for key, value in figures.items()}


def colourfulness_of(pictures: Any) -> tf.Tensor:
    """The colourfulness of each RGB picture, (batch,) float32."""
    pictures, _ = pair(pictures, pictures)
    red, green, blue = tf.unstack(255.0 * pictures, axis=-1)
    opponent = tf.stack([red - green, (red + green) / 2.0 - blue], axis=-1)
    mean, variance = tf.nn.moments(opponent, axes=[1, 2])
    return tf.sqrt(tf.reduce_sum(variance, axis=1)) + 0.3 * tf.norm(mean, axis=1)
