"""Optimizers that update a variable in one operation."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kcolor")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, to rounding, as one operation a variable in place of twenty.

    Kingma and Ba, "Adam", ICLR 2015, in the order of computation at the end of its section 2. Variables, arguments and
    configuration are Keras' own, without `amsgrad`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The operation has none; a configuration of Keras' own says that it is off.
        if kwargs.get("amsgrad"):
            raise TypeError("amsgrad is Keras' own Adam's")
        super().__init__(*args, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update one variable, (…), and its two moments."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )
