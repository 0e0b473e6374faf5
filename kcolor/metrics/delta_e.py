"""The colour difference CIEDE2000. 0 is best; about 1 is just noticeable."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kcolor.color import rgb_to_lab
from kcolor.metrics.base import Summed, pair, weighted_sum, weights

PERCENTILE = 95

_ARCTANGENT = (
    1.0,
    -0.3333314528,
    0.1999355085,
    -0.1420889944,
    0.1065626393,
    -0.0752896400,
    0.0429096138,
    -0.0161657367,
    0.0028662257,
)


@keras.saving.register_keras_serializable("kcolor")
class DeltaE(Summed):
    """Delta E 2000: the mean over all pixels of the set, and the mean over the pictures of the 95th percentile pixel.

    NaN before the first picture.

    Args:
        name: The name of the mean; with "_p95" behind it, that of the percentile.
        dtype: The type of the figures.
    """

    def __init__(self, name: str = "delta_e_2000", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._total = self.add_sum("total")
        self._pixels = self.add_sum("pixels")
        self._percentile = self.add_sum("percentile")
        self._count = self.add_sum("count")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None, of_each: Any = None) -> None:
        """Add a batch of RGB pictures.

        Args:
            truth: The true pictures.
            prediction: The predicted ones.
            sample_weight: How many times each counts, (batch,).
            of_each: What `delta_e_of` says of them, where that is known already; it is what costs.
        """
        truth, prediction = pair(truth, prediction)
        weight = weights(sample_weight, truth)
        mean, percentile = of_each or delta_e_of(truth, prediction)
        count = tf.reduce_sum(weight)
        pixels = tf.cast(tf.reduce_prod(tf.shape(truth)[1:3]), tf.float64)
        self._total.assign_add(pixels * weighted_sum(mean, weight))
        self._pixels.assign_add(pixels * count)
        self._percentile.assign_add(weighted_sum(percentile, weight))
        self._count.assign_add(count)

    def result(self) -> dict[str, tf.Tensor]:
        """Figures by name, scalars: `name`, the mean; `name` + "_p95", of the 95th percentile pixel."""
        return {
            self.name: self.figure(self._total.value / self._pixels.value),
            f"{self.name}_p{PERCENTILE}": self.figure(self._percentile.value / self._count.value),
        }


def delta_e_of(truth: Any, prediction: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Delta E 2000 of each RGB picture: the mean of its pixels and their 95th percentile, each (batch,) float32.

    The percentile is interpolated between the two pixels it lies between, as numpy does it.
    """
    truth, prediction = pair(truth, prediction)
    difference = delta_e_2000(rgb_to_lab(truth), rgb_to_lab(prediction))
    difference = tf.reshape(difference, [tf.shape(difference)[0], -1])
    mean = tf.reduce_mean(difference, axis=1)
    # Sorting loses sight of a NaN.
    return mean, tf.where(tf.math.is_nan(mean), mean, _percentile(difference, PERCENTILE))


def delta_e_2000(truth: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """CIEDE2000 between two colours, with all its parametric factors at 1; symmetric, and finite everywhere.

    Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data, and
    Mathematical Observations", Color Research and Application 30(1), 2005. The formula itself jumps, by about a
    hundredth, where two hues become opposite.

    Args:
        truth: (..., 3) CIE Lab.
        prediction: (..., 3) CIE Lab.

    Returns:
        (...), float32.
    """
    l1, a1, b1 = tf.unstack(tf.cast(truth, tf.float32), axis=-1)
    l2, a2, b2 = tf.unstack(tf.cast(prediction, tf.float32), axis=-1)
    stretch = 1.5 - 0.5 * _saturation((_hypot(a1, b1) + _hypot(a2, b2)) / 2.0)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = _hypot(a1, b1), _hypot(a2, b2)
    # Hues are kept as directions (cosine, sine), which costs a fraction of what angles cost. Of a colour without any,
    # the hue does not matter: all it enters is multiplied by the root of both chromas.
    x1, y1, x2, y2 = (tf.math.divide_no_nan(part, c) for part, c in ((a1, c1), (b1, c1), (a2, c2), (b2, c2)))
    across_x, across_y = x2 - x1, y2 - y1
    sine, is_obtuse = x1 * y2 - y1 * x2, x1 * x2 + y1 * y2 < 0.0
    # The shorter way from one to the other may be forward or backward. Between opposite hues, and such as are opposite
    # but for rounding, it begins at the smaller angle, which is the one in the upper half.
    is_opposite = is_obtuse & (tf.abs(sine) < 2e-6)
    forward = tf.where(is_opposite, (y1 > 0.0) | ((y1 == 0.0) & (x1 > 0.0)), sine > 0.0)
    sign = tf.where(forward, 1.0, -1.0)
    # The mean hue lies along the sum of the two, and at a right angle to their difference: whichever is the longer.
    mean_x = tf.where(is_obtuse, sign * across_y, x1 + x2)
    mean_y = tf.where(is_obtuse, -sign * across_x, y1 + y2)
    length = _hypot(mean_x, mean_y)
    cos, sin = tf.math.divide_no_nan(mean_x, length), tf.math.divide_no_nan(mean_y, length)
    half_turn = 0.5 * sign * _hypot(across_x, across_y)
    l, c = (l1 + l2) / 2.0, (c1 + c2) / 2.0
    cos_2, sin_2 = cos * cos - sin * sin, 2.0 * sin * cos
    cos_3, sin_3 = cos_2 * cos - sin_2 * sin, sin_2 * cos + cos_2 * sin
    cos_4, sin_4 = cos_2 * cos_2 - sin_2 * sin_2, 2.0 * sin_2 * cos_2
    t = (
        1.0
        - 0.17 * _cos_of_sum(cos, sin, -30.0)
        + 0.24 * cos_2
        + 0.32 * _cos_of_sum(cos_3, sin_3, 6.0)
        - 0.20 * _cos_of_sum(cos_4, sin_4, -63.0)
    )
    from_middle = tf.square(l - 50.0)
    lightness = (l2 - l1) / (1.0 + 0.015 * from_middle / tf.sqrt(20.0 + from_middle))
    chroma = (c2 - c1) / (1.0 + 0.045 * c)
    hue = 2.0 * tf.sqrt(c1 * c2) * half_turn / (1.0 + 0.015 * c * t)
    from_blue = _angle(_cos_of_sum(cos, sin, -275.0), _cos_of_sum(cos, sin, -275.0 - 90.0))
    rotation = -_sine(math.radians(60.0) * tf.exp(-tf.square(from_blue / math.radians(25.0)))) * 2.0 * _saturation(c)
    # The form is never negative, but may be rounded to it.
    return tf.sqrt(tf.maximum(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue, 0.0))


def _cos_of_sum(cos: tf.Tensor, sin: tf.Tensor, degrees: float) -> tf.Tensor:
    """The cosine of an angle, given by its own cosine and sine, and some degrees more."""
    return cos * math.cos(math.radians(degrees)) - sin * math.sin(math.radians(degrees))


def _saturation(chroma: tf.Tensor) -> tf.Tensor:
    """sqrt(C^7 / (C^7 + 25^7)), in 0..1."""
    # Of a quotient, so that no power of a large number is taken.
    ratio = tf.minimum(chroma / 25.0, 100.0)
    square = ratio * ratio
    power = square * square * square * ratio
    return tf.sqrt(power / (power + 1.0))


def _angle(cos: tf.Tensor, sin: tf.Tensor) -> tf.Tensor:
    """The angle of a direction, within 3e-7 as far as 90 degrees to either side; 90 degrees beyond.

    Beyond them, what is made of it here is below 3e-6 anyway. Ten times as fast as the library's; Abramowitz and
    Stegun, Handbook of Mathematical Functions, 4.4.49, of the tangent of half the angle.
    """
    is_beyond = cos < 0.0
    tangent = tf.where(is_beyond, 1.0, sin / tf.where(is_beyond, 1.0, 1.0 + cos))
    return 2.0 * tangent * _polynomial(tf.square(tangent), _ARCTANGENT)


def _sine(x: tf.Tensor) -> tf.Tensor:
    """The sine in [0, pi / 3], within 1e-7: its series."""
    return x * _polynomial(tf.square(x), [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(5)])


def _polynomial(x: tf.Tensor, coefficients: Sequence[float]) -> tf.Tensor:
    """The constant coefficient comes first."""
    value = tf.fill(tf.shape(x), coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _hypot(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.square(x) + tf.square(y))


def _percentile(values: tf.Tensor, percent: int) -> tf.Tensor:
    """The percentile of each row of (batch, n), none of which is negative."""
    # In whole numbers.
    n = tf.shape(values)[1]
    below, part = (n - 1) * percent // 100, (n - 1) * percent % 100
    # Sorting is what costs most here, and what XLA does worst. But floats that are not negative are in the order of
    # their bits, and so the largest value that no more than so many are below of is found bit by bit.
    bits = tf.bitcast(values, tf.int32)

    def refine(bit: tf.Tensor, low: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        higher = low + bit
        fewer = tf.reduce_sum(tf.cast(bits < higher[:, None], tf.int32), axis=1) <= below
        return bit // 2, tf.where(fewer, higher, low)

    start = (tf.constant(1 << 30), tf.zeros_like(bits[:, 0]))
    _, low = tf.while_loop(lambda bit, low: bit > 0, refine, start, maximum_iterations=31)
    # The next one is the same again, or the least of those above it.
    is_above = bits > low[:, None]
    least_above = tf.reduce_min(tf.where(is_above, bits, tf.int32.max), axis=1)
    not_above = n - tf.reduce_sum(tf.cast(is_above, tf.int32), axis=1)
    high = tf.where((not_above > below + 1) | (not_above == n), low, least_above)
    low, high = tf.bitcast(low, tf.float32), tf.bitcast(high, tf.float32)
    return low + (high - low) * (tf.cast(part, tf.float32) / 100.0)
