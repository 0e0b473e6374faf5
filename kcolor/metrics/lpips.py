"""Learned perceptual image patch similarity: LPIPS with VGG16, version 0.1. 0 is best.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. The linear heads are
those of the authors, in ``lpips_vgg_v0.1.npz`` under the licence beside it. The trunk is torchvision's VGG16, whose
weights the caller brings: with any others the number is not LPIPS.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kcolor.metrics.base import Summed, pair, weighted_sum, weights

# Filters of the convolutions; a block ends in a pooling, and the outputs before the poolings are compared.
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# The mean and the deviation of ImageNet's channels, for pictures in -1..1.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@keras.saving.register_keras_serializable("kcolor")
class LPIPS(Summed):
    """The mean over the pictures of LPIPS; NaN before the first picture.

    The trunk is not part of the config: ``LPIPS.from_config(config | {"trunk": trunk})``.

    Args:
        trunk: What `vgg16_trunk` gives.
        name: The name of the figure.
        dtype: The type of the figure.
    """

    def __init__(self, trunk: keras.Model, name: str = "lpips", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.trunk = trunk
        self._total = self.add_sum("total")
        self._count = self.add_sum("count")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch of RGB pictures of at least 16 x 16."""
        distance = lpips_of(self.trunk, truth, prediction)
        weight = weights(sample_weight, distance)
        self._total.assign_add(weighted_sum(distance, weight))
        self._count.assign_add(tf.reduce_sum(weight))

    def result(self) -> tf.Tensor:
        """The mean LPIPS, a scalar."""
        return self.figure(self._total.value / self._count.value)


def vgg16_trunk(parameters: Sequence[tuple[np.ndarray, np.ndarray]]) -> keras.Model:
    """Build the 13 convolutions of VGG16, frozen, in float32.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1, D.

    Args:
        parameters: Kernel (3, 3, in, out) and bias (out,) of each convolution, from the first on.

    Returns:
        A model from pictures (batch, height, width, 3), normalized as its weights want them, to the rectified outputs
        of the last convolution of each of the five blocks.

    Raises:
        ValueError: There are not 13, or one has another shape.
    """
    filters = [count for block in VGG16_BLOCKS for count in block]
    if len(parameters) != len(filters):
        raise ValueError(f"VGG16 has {len(filters)} convolutions, not {len(parameters)}")
    for i, ((kernel, bias), before, count) in enumerate(zip(parameters, [3, *filters], filters, strict=False)):
        if (np.shape(kernel), np.shape(bias)) != ((3, 3, before, count), (count,)):
            wanted = f"(3, 3, {before}, {count}) and ({count},)"
            raise ValueError(f"convolution {i} of VGG16 has {wanted}, not {np.shape(kernel)} and {np.shape(bias)}")
    x = inputs = keras.Input((None, None, 3), dtype="float32")
    convolutions, outputs = [], []
    for number, block in enumerate(VGG16_BLOCKS, 1):
        if number > 1:
            x = keras.layers.MaxPooling2D(2, dtype="float32", name=f"pool{number - 1}")(x)
        for i, count in enumerate(block, 1):
            layer = keras.layers.Conv2D(
                count, 3, padding="same", activation="relu", dtype="float32", name=f"conv{number}_{i}"
            )
            convolutions.append(layer)
            x = layer(x)
        outputs.append(x)
    trunk = keras.Model(inputs, outputs, name="vgg16_trunk")
    for layer, (kernel, bias) in zip(convolutions, parameters, strict=True):
        layer.set_weights([kernel, bias])
    trunk.trainable = False
    return trunk


def lpips_of(trunk: keras.Model, truth: Any, prediction: Any) -> tf.Tensor:
    """LPIPS of each RGB picture, (batch,) float32."""
    return tf.reduce_sum(lpips_layers_of(trunk, truth, prediction), axis=1)


def lpips_layers_of(trunk: keras.Model, truth: Any, prediction: Any) -> tf.Tensor:
    """What each of the five layers adds to LPIPS, (batch, 5) float32.

    Args:
        trunk: What `vgg16_trunk` gives.
        truth: The true RGB pictures, at least 16 x 16.
        prediction: The predicted ones.

    Raises:
        ValueError: The pictures are known to be smaller than 16 x 16.
    """
    truth, prediction = pair(truth, prediction)
    if any(side is not None and side < 16 for side in truth.shape[1:3]):
        raise ValueError(f"a picture of {truth.shape[1]} x {truth.shape[2]} is too small for LPIPS: 16 x 16 at least")
    layers = []
    # Apart: in a graph that measures several predictions against one truth, its features are computed once.
    for true, predicted, head in zip(_features(trunk, truth), _features(trunk, prediction), lpips_heads(), strict=True):
        difference = tf.reduce_mean(tf.math.squared_difference(true, predicted), axis=[1, 2])
        layers.append(tf.reduce_sum(difference * tf.constant(head), axis=-1))
    return tf.stack(layers, axis=1)


def _features(trunk: keras.Model, pictures: tf.Tensor) -> list[tf.Tensor]:
    """The outputs of each layer, of unit length at each position."""
    outputs = trunk((2.0 * pictures - 1.0 - tf.constant(_SHIFT)) / tf.constant(_SCALE), training=False)
    lengths = [tf.sqrt(tf.reduce_sum(tf.square(output), axis=-1, keepdims=True)) for output in outputs]
    return [output / (length + _EPSILON) for output, length in zip(outputs, lengths, strict=True)]


@cache
def lpips_heads() -> tuple[np.ndarray, ...]:
    """The authors' weights of the channels of each layer: (64,), (128,), (256,), (512,), (512,), float32."""
    with np.load(Path(__file__).with_name("lpips_vgg_v0.1.npz")) as heads:
        return tuple(heads[f"lin{i}"] for i in range(len(VGG16_BLOCKS)))
