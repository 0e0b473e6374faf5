"""Peak signal-to-noise ratio, in dB: 10 log10(1 / mean squared error) of values in 0..1. More is better."""

from typing import Any

import keras
import tensorflow as tf

from kcolor.color import rgb_to_lab
from kcolor.metrics.base import Summed, pair, weighted_sum, weights

# Below this mean chroma, in CIE units, a picture is near grey: its PSNR says how grey the photo was, not how well it
# was coloured. Of 400 photos of scenes one in eight was, and the all-grey answer had at least 30 dB on each of those.
NEAR_GREY_CHROMA = 5.0

# The histogram of the median: bins of 0.01 dB from 0 dB to 120 dB, and one for all that is better, which is infinity.
# A picture of 8 bits and 1 megapixel that is wrong in one value by one level has 113 dB.
_BINS_PER_DB = 100
_BINS = 120 * _BINS_PER_DB


@keras.saving.register_keras_serializable("kcolor")
class PSNR(Summed):
    """PSNR of a whole set: the squared error is pooled over all values of all pictures.

    This is what torchmetrics' PeakSignalNoiseRatio(data_range=1) computes, and not the mean of the pictures' own PSNRs,
    which a few nearly grey pictures carry off. Infinite where nothing is wrong, NaN before the first picture.
    """

    def __init__(self, name: str = "psnr", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._error = self.add_sum("squared_error")
        self._values = self.add_sum("values")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch of pictures."""
        truth, prediction = pair(truth, prediction)
        weight = weights(sample_weight, truth)
        values = tf.cast(tf.reduce_prod(tf.shape(truth)[1:]), tf.float64)
        self._error.assign_add(values * weighted_sum(squared_error_of(truth, prediction), weight))
        self._values.assign_add(values * tf.reduce_sum(weight))

    def result(self) -> tf.Tensor:
        """The PSNR in dB, a scalar."""
        return self.figure(_decibel(self._error.value / self._values.value))


@keras.saving.register_keras_serializable("kcolor")
class MedianPSNR(Summed):
    """The median of the pictures' own PSNRs, with nearly grey pictures counted apart.

    A near-grey picture is one whose truth has a mean chroma, sqrt(a^2 + b^2) in CIE Lab, below `near_grey`. The
    pictures are counted in a histogram, so memory is the same for any set; a median is within 0.005 dB of the exact
    one, from 0 to 120 dB; above, it is infinite. The median of an even number is the mean of the middle two, as numpy
    takes it.

    Args:
        near_grey: The mean chroma below which a picture is near grey, in CIE units.
        name: The name of the median, and the beginning of the other figures' names.
        dtype: The type of the figures.
    """

    def __init__(
        self, near_grey: float = NEAR_GREY_CHROMA, name: str = "psnr_median", dtype: str | None = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.near_grey = near_grey
        self._coloured = self.add_sum("coloured", (_BINS + 1,))
        self._grey = self.add_sum("near_grey", (_BINS + 1,))

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None, near_grey: Any = None) -> None:
        """Add a batch of pictures.

        Args:
            truth: The true pictures.
            prediction: The predicted ones.
            sample_weight: How many times each counts, (batch,).
            near_grey: Which are near grey, (batch,) bool; if None, it is told from the truth. To be given where the
                three channels are not RGB.
        """
        truth, prediction = pair(truth, prediction)
        weight = weights(sample_weight, truth)
        grey = chroma_of(truth) < self.near_grey if near_grey is None else tf.cast(tf.reshape(near_grey, [-1]), tf.bool)
        psnr = psnr_of(truth, prediction)
        lost = tf.math.is_nan(psnr)
        # To a float32 120 dB is well within the integers; infinity would not be.
        place = tf.clip_by_value(tf.where(lost, 0.0, psnr) * _BINS_PER_DB, 0.0, float(_BINS))
        place = tf.cast(tf.floor(place), tf.int32)
        # A NaN that counts makes the median NaN, as it does with the other figures.
        weight = tf.where(lost & (weight != 0), tf.constant(float("nan"), tf.float64), weight)
        for counts, chosen in ((self._coloured, ~grey), (self._grey, grey)):
            chosen_weight = tf.math.multiply_no_nan(weight, tf.cast(chosen, tf.float64))
            counts.assign_add(tf.math.unsorted_segment_sum(chosen_weight, place, _BINS + 1))

    def result(self) -> dict[str, tf.Tensor]:
        """Figures by name, scalars; a median of no pictures is NaN.

        `name`: the median in dB of the pictures that are not near grey. `name` + "_near_grey": that of those that are.
        "near_grey_pictures": how many those are.
        """
        return {
            self.name: self.figure(_median(self._coloured.value)),
            f"{self.name}_near_grey": self.figure(_median(self._grey.value)),
            "near_grey_pictures": self.figure(tf.reduce_sum(self._grey.value)),
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return super().get_config() | {"near_grey": self.near_grey}


def psnr_of(truth: Any, prediction: Any) -> tf.Tensor:
    """The PSNR of each picture in dB, (batch,) float32; infinite where the two are the same."""
    truth, prediction = pair(truth, prediction)
    return _decibel(squared_error_of(truth, prediction))


def chroma_of(pictures: Any) -> tf.Tensor:
    """The mean chroma of each picture, (batch,) float32 in CIE units."""
    pictures, _ = pair(pictures, pictures)
    return tf.reduce_mean(tf.norm(rgb_to_lab(pictures)[..., 1:], axis=-1), axis=[1, 2])


def squared_error_of(truth: Any, prediction: Any) -> tf.Tensor:
    """The mean squared error of each picture, of values in 0..1, (batch,) float32."""
    truth, prediction = pair(truth, prediction)
    return tf.reduce_mean(tf.math.squared_difference(truth, prediction), axis=[1, 2, 3])


def _decibel(error: tf.Tensor) -> tf.Tensor:
    return -10.0 / tf.math.log(tf.constant(10.0, error.dtype)) * tf.math.log(error)


def _median(counts: tf.Tensor) -> tf.Tensor:
    """The median of a histogram: the middle of the bin where half is reached, or of the two that it lies between."""
    cumulated = tf.cumsum(counts)
    half = cumulated[-1] / 2.0
    low = tf.reduce_sum(tf.cast(cumulated < half, tf.int32))
    high = tf.reduce_sum(tf.cast(cumulated <= half, tf.int32))
    middles = (tf.range(_BINS, dtype=tf.float64) + 0.5) / _BINS_PER_DB
    middles = tf.concat([middles, tf.constant([float("inf")] * 2, tf.float64)], axis=0)
    # Neither an empty set nor one with a NaN in it has a median.
    return tf.where(half > 0.0, (tf.gather(middles, low) + tf.gather(middles, high)) / 2.0, float("nan"))
