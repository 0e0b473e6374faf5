"""How a network is run while it learns: with the variables of the stored one, and fewer, larger operations.

The stored network is made of stock layers, which any Keras loads; here some of them are called in another way. What is
computed is the same.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers


def training_pass(network: keras.Model) -> Callable[[Any], Any]:
    """The forward pass of a network in training: `network(x, training=True)`, quicker.

    Args:
        network: A functional model, as from `kcolor.networks`; its batch normalization moves its own statistics.

    Returns:
        A function from the network's inputs to its outputs.
    """

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, layers.BatchNormalization) and layer.trainable:
            return _Normalization(layer)(*args)
        return layer(*args, **kwargs)

    run = keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)
    # As a function: a model would be kept, counted and saved with its owner, and has nothing of its own.
    return lambda inputs: run(inputs, training=True)


class _Normalization(keras.Layer):
    """A layer of batch normalization in training, as one operation: Keras' own is a dozen, in float32 under any policy.

    Ioffe and Szegedy, ICML 2015, algorithm 1. Statistics are float32 under any policy, and so are the moving ones.

    Args:
        stored: The layer whose variables these are; over the last axis of (batch, height, width, channels).
    """

    def __init__(self, stored: layers.BatchNormalization) -> None:
        super().__init__(dtype=stored.dtype_policy, name=stored.name)
        self.stored = stored

    def call(self, x: tf.Tensor) -> tf.Tensor:
        stored = self.stored
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=stored.gamma.value,
            offset=stored.beta.value,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=stored.epsilon,
            is_training=True,
        )
        # The operation gives the variance of a sample, of n - 1; Keras keeps that of the batch, of n.
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
        variance *= (count - 1.0) / count
        for moving, now in ((stored.moving_mean, mean), (stored.moving_variance, variance)):
            moving.assign(moving * stored.momentum + tf.stop_gradient(now) * (1.0 - stored.momentum))
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
