"""How a network is run while it learns: with the variables of the stored one, and fewer, larger operations.

The stored network is made of stock layers, which any Keras loads; here some of them are called in another way. What is
computed is the same. Where several replicas share a batch, it is what one alone would compute of the whole of it.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from kcolor import replicas


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
        if isinstance(layer, layers.Dropout) and layer.rate > 0:
            return _Dropout(layer)(*args)
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
        y, mean, variance = self._whole(x) if replicas.count() > 1 else self._fused(x)
        stored = self.stored
        for moving, now in ((stored.moving_mean, mean), (stored.moving_variance, variance)):
            moving.assign(moving * stored.momentum + tf.stop_gradient(now) * (1.0 - stored.momentum))
        return y

    def _fused(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.stored.gamma.value,
            offset=self.stored.beta.value,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.stored.epsilon,
            is_training=True,
        )
        # The operation gives the variance of a sample, of n - 1; Keras keeps that of the batch, of n.
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
        return y, mean, variance * ((count - 1.0) / count)

    def _whole(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """By the statistics of all replicas, which no one operation knows of."""
        floating = tf.cast(x, tf.float32)
        mean, variance = replicas.moments(floating, list(range(len(x.shape) - 1)))
        gamma, beta = (tf.cast(each.value, tf.float32) for each in (self.stored.gamma, self.stored.beta))
        y = tf.nn.batch_normalization(floating, mean, variance, beta, gamma, self.stored.epsilon)
        return tf.cast(y, x.dtype), mean, variance

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


class _Dropout(keras.Layer):
    """A layer of dropout in training, whose noise is that of the whole batch.

    Args:
        stored: The layer whose rate and random state these are.
    """

    def __init__(self, stored: layers.Dropout) -> None:
        super().__init__(dtype=stored.dtype_policy, name=stored.name)
        self.stored = stored

    def call(self, x: tf.Tensor) -> tf.Tensor:
        stored = self.stored
        if replicas.count() == 1:
            return stored(x, training=True)

        def draw(rows: tf.Tensor) -> tf.Tensor:
            ones = tf.ones((rows, *x.shape[1:]), x.dtype)
            return keras.random.dropout(ones, stored.rate, seed=stored.seed_generator)

        return x * replicas.own_rows(draw, tf.shape(x)[0])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
