"""The same generator without transposed convolutions, which LiteRT computes several times as slowly as others."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

# Of a 4x4 kernel at stride 2, the two taps that the even places of the result are made of, and the two of the odd ones.
_TAPS = ((3, 1), (2, 0))


def without_transposed(generator: keras.Model) -> keras.Model:
    """A generator that gives what another gives, with each transposed convolution as an ordinary one.

    At stride 2 each of the four kinds of places of the result, even or odd in row and column, is an ordinary
    2x2 convolution of what goes in (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).
    One convolution of four times the channels makes all four, from which the result is interleaved. It takes as
    many multiplications, but for a border. The normalization and the ReLU behind are drawn into it: the interleaving
    between them would keep the converter from doing so, and LiteRT is slow at a ReLU of its own in 8 bits.

    Args:
        generator: As from `kcolor.networks`, for inference. Layers without a transposed convolution are shared.
    """
    names = {layer.name for layer in generator.layers}
    transposed = [layer.name for layer in generator.layers if isinstance(layer, layers.Conv2DTranspose)]
    drawn_in = {name.replace("_conv", behind) for name in transposed for behind in ("_norm", "_relu")} & names

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer.name in drawn_in:
            return args[0]
        if not isinstance(layer, layers.Conv2DTranspose):
            return layer(*args, **kwargs)
        kernel, bias = _folded(layer, generator)
        activation = "relu" if layer.name.replace("_conv", "_relu") in drawn_in else None
        convolution = layers.Conv2D(kernel.shape[-1], 2, activation=activation, name=layer.name)
        made = convolution(layers.ZeroPadding2D(1, name=f"{layer.name}_pad")(args[0]))
        convolution.set_weights([kernel, bias])
        return _Interleave(name=f"{layer.name}_interleave")(made)

    return keras.models.clone_model(generator, clone_function=lambda layer: layer, call_function=call)


def _folded(layer: layers.Conv2DTranspose, generator: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The kernel (2, 2, in, 4 out) and the bias (4 out,) of an ordinary convolution, with its normalization."""
    if (layer.kernel_size, layer.strides, layer.padding) != ((4, 4), (2, 2), "same"):
        raise ValueError(f"{layer.name}: not a 4x4 convolution of stride 2")
    transposed = layer.kernel.numpy()  # (4, 4, out, in)
    bias = layer.bias.numpy() if layer.use_bias else np.zeros(transposed.shape[2], np.float32)
    norms = {each.name: each for each in generator.layers if isinstance(each, layers.BatchNormalization)}
    if norm := norms.get(layer.name.replace("_conv", "_norm")):
        gamma, beta, mean, variance = (weight.numpy() for weight in norm.weights)
        scale = gamma / np.sqrt(variance + norm.epsilon)
        transposed, bias = transposed * scale[:, np.newaxis], (bias - mean) * scale + beta
    parts = [transposed[np.ix_(rows, columns)].transpose(0, 1, 3, 2) for rows in _TAPS for columns in _TAPS]
    return np.concatenate(parts, axis=-1), np.tile(bias, 4)


class _Interleave(layers.Layer):
    """(batch, height + 1, width + 1, 4 channels) to (batch, 2 height, 2 width, channels)."""

    def call(self, made: tf.Tensor) -> tf.Tensor:
        """Each kind of place from its own channels, and from its own window of the border."""
        height, width, channels = made.shape[1] - 1, made.shape[2] - 1, made.shape[3] // 4
        batch = made.shape[0] or -1  # LiteRT's fast path does without sizes that are left open
        places = ((0, 0), (0, 1), (1, 0), (1, 1))
        parts = [
            tf.slice(made, (0, row, column, place * channels), (batch, height, width, channels))
            for place, (row, column) in enumerate(places)
        ]
        return tf.nn.depth_to_space(tf.concat(parts, axis=-1), 2)
