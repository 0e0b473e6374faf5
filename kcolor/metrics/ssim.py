"""Structural similarity. 1 is best.

Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on Image
Processing 13(4), 2004, with its Gaussian window of 11 and sigma 1.5, K1 = 0.01 and K2 = 0.03.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kcolor.metrics.base import Summed, pair, weighted_sum, weights

SIZE = 11
SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


@keras.saving.register_keras_serializable("kcolor")
class SSIM(Summed):
    """The mean over the pictures of their structural similarity; NaN before the first picture.

    As torchmetrics' StructuralSimilarityIndexMeasure(data_range=1) computes it.

    Args:
        cropped: Whether windows that reach beyond the picture are left out, as the authors of the measure do it, and as
            torchmetrics did until its pull request 2721 of September 2024. The two kinds of figures differ in the
            third decimal.
        name: The name of the figure.
        dtype: The type of the figure.
    """

    def __init__(self, cropped: bool = False, name: str = "ssim", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.cropped = cropped
        self._total = self.add_sum("total")
        self._count = self.add_sum("count")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch of pictures of at least 11 x 11."""
        similarity = ssim_of(truth, prediction, self.cropped)
        weight = weights(sample_weight, similarity)
        self._total.assign_add(weighted_sum(similarity, weight))
        self._count.assign_add(tf.reduce_sum(weight))

    def result(self) -> tf.Tensor:
        """The mean structural similarity, a scalar."""
        return self.figure(self._total.value / self._count.value)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return super().get_config() | {"cropped": self.cropped}


def ssim_of(truth: Any, prediction: Any, cropped: bool = False) -> tf.Tensor:
    """The structural similarity of each picture, (batch,) float32: the mean over the windows and the three channels.

    There is a window about each pixel; beyond its edges the picture is mirrored. Variances are those of the population,
    none below zero.

    Args:
        truth: The true pictures, at least 11 x 11.
        prediction: The predicted ones.
        cropped: Whether only windows count that lie wholly in the picture.

    Raises:
        ValueError: The pictures are known to be smaller than 11 x 11.
    """
    x, y = pair(truth, prediction)
    if any(side is not None and side < SIZE for side in x.shape[1:3]):
        raise ValueError(f"a picture of {x.shape[1]} x {x.shape[2]} is smaller than the window of {SIZE} x {SIZE}")
    if not cropped:
        beyond = [[0, 0], [SIZE // 2, SIZE // 2], [SIZE // 2, SIZE // 2], [0, 0]]
        x, y = tf.pad(x, beyond, "REFLECT"), tf.pad(y, beyond, "REFLECT")
    # The truth by itself: in a graph that measures several predictions against it, this is done once.
    mean_x, square_x = tf.split(_blur(tf.concat([x, x * x], axis=-1)), 2, axis=-1)
    mean_y, square_y, product = tf.split(_blur(tf.concat([y, y * y, x * y], axis=-1)), 3, axis=-1)
    variance_x = tf.maximum(square_x - mean_x**2, 0.0)
    variance_y = tf.maximum(square_y - mean_y**2, 0.0)
    mean_product = mean_x * mean_y
    covariance = product - mean_product
    similarity = ((2.0 * mean_product + _C1) * (2.0 * covariance + _C2)) / (
        (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    )
    return tf.reduce_mean(similarity, axis=[1, 2, 3])


def _blur(maps: tf.Tensor) -> tf.Tensor:
    """Weigh each channel by the Gaussian window, first down, then across, without padding."""
    distance = np.arange(SIZE) - SIZE // 2
    window = np.exp(-(distance**2) / (2.0 * SIGMA**2))
    channels = maps.shape[-1]
    window = np.repeat((window / window.sum()).astype(np.float32)[:, None], channels, axis=1)
    # A variance is a small difference of large squares, so this needs all of float32. Of depthwise convolutions
    # TensorFlow gives to cuDNN, which may take TF32 for enough, square ones only; XLA may give it these as well.
    for filters in (window[:, None, :, None], window[None, :, :, None]):
        maps = tf.nn.depthwise_conv2d(maps, filters, [1, 1, 1, 1], "VALID")
    return maps
