"""Colours as small as the network gives them, brought to a photograph's size.

`guided` follows the photograph's own lightness, so that colour ends where things end and does not bleed over edges.
It is the linear model of the guided filter (He and Sun, "Fast Guided Filter", arXiv:1505.00996, 2015): around each
pixel ab = slope * L + offset, with slopes from the small picture and L from the large one. Three things differ, each
for a smaller Delta E on photographs:

- What is between the small pixels is interpolated by cubics (Keys, "Cubic convolution interpolation for digital image
  processing", IEEE TASSP 29(6), 1981) after one step of back-projection (Irani and Peleg, "Improving resolution by
  image registration", CVGIP 53(3), 1991), so that the large colours, made small again, are nearly those that were
  given. The guided filter's own means blur them.
- The slopes are trusted as far as they are seen to be right. Half the small picture is enlarged to the whole, guided
  and unguided, and the share of what was missing that the guidance brought is the share of it that is used. It is near
  1 where colours follow lightness, and near 0 for colours that are blurred or only noise.
- No colour leaves the range of those around it: no halos, and grain of L makes no colour where there is none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

# Variance of l below which lightness says nothing of colour: of 1.6 units of L.
_RIDGE = 1e-3
# The neighbours' weights in a slope, a Gaussian of 0.7 small pixels.
_GAUSSIAN = (0.13, 0.36, 0.13, 0.36, 1.0, 0.36, 0.13, 0.36, 0.13)
# And in a smoothed slope.
_BINOMIAL = (1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0)
# Trusted where nothing can be seen, and how little that is, as a mean square of ab.
_PRIOR, _UNSEEN = 0.5, 5e-6
# Beyond so many times the size, blur in small pixels is the same for all.
_LARGE = 8


@dataclass(frozen=True)
class Plan:
    """What is to be enlarged by cubics and by straight lines, all relative to one colour.

    Args:
        cubic: (h, w, channels).
        linear: (h, w, channels).
        origin: (2,) ab, scaled to [-1, 1]. What is relative to it is exactly 0 where there is but one colour.
    """

    cubic: tf.Tensor
    linear: tf.Tensor
    origin: tf.Tensor


@dataclass(frozen=True)
class Upsampler:
    """A way to enlarge colours: what is done to the small picture, and what to each pixel of the large one.

    Args:
        plan: Of ab (h, w, 2) and the guide, l (h, w, 1), both scaled to [-1, 1], and of the large height and width.
        finish: Of what the plan became at full size, `cubic` and `linear` (..., channels), and of l (..., 1): ab
            (..., 2), less the origin.
    """

    plan: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], Plan]
    finish: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

    def __call__(self, ab: tf.Tensor, l: tf.Tensor) -> tf.Tensor:
        """Enlarge the colours of one photograph.

        Args:
            ab: (h, w, 2), scaled to [-1, 1].
            l: (height, width, 1), scaled to [-1, 1]; of any size.

        Returns:
            (height, width, 2) float32. Constant colours stay exactly as they are.
        """
        ab, l = tf.cast(ab, tf.float32), tf.cast(l, tf.float32)
        height, width = tf.unstack(tf.shape(l)[:2])
        plan = self.plan(ab, shrunk(l, *tf.unstack(tf.shape(ab)[:2])), height, width)
        cubic, linear = rows(plan, 0, height, height, width)
        return self.finish(cubic, linear, l) + plan.origin


def shrunk(x: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resize (height, width, channels) as the networks' pictures are resized."""
    return tf.image.resize(x, (height, width), antialias=True)


def rows(
    plan: Plan, first: tf.Tensor, count: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Some rows of the plan at full size, whatever the others are.

    Args:
        plan: Of a picture that is not larger than `height` x `width`.
        first: The first row.
        count: How many.
        height: Of the whole.
        width: Of the whole.

    Returns:
        ``cubic`` and ``linear``, (count, width, channels).
    """
    return (
        _rows(plan.cubic, first, count, (height, width), kernel=_keys, reach=2),
        _rows(plan.linear, first, count, (height, width), kernel=_triangle, reach=1),
    )


def _guided_plan(ab: tf.Tensor, guide: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> Plan:
    ab, guide, origin = _prepared(ab, guide, height, width)
    slope = _trust(ab, guide) * _slope(ab, guide)
    offset = _projected(ab, height, width) - slope * _projected(guide, height, width)
    return Plan(tf.concat([offset, slope], axis=-1), tf.concat([-_greatest(-ab), _greatest(ab)], axis=-1), origin)


def _guided_finish(cubic: tf.Tensor, linear: tf.Tensor, l: tf.Tensor) -> tf.Tensor:
    ab = cubic[..., :2] + cubic[..., 2:] * l
    return tf.minimum(tf.maximum(ab, linear[..., :2]), linear[..., 2:])


def _bilinear_plan(ab: tf.Tensor, guide: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> Plan:
    ab, _, origin = _prepared(ab, guide, height, width)
    return Plan(ab[..., :0], ab, origin)


def _bilinear_finish(cubic: tf.Tensor, linear: tf.Tensor, l: tf.Tensor) -> tf.Tensor:
    return linear


guided = Upsampler(_guided_plan, _guided_finish)
bilinear = Upsampler(_bilinear_plan, _bilinear_finish)
UPSAMPLERS = {"guided": guided, "bilinear": bilinear}


def _prepared(
    ab: tf.Tensor, guide: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Colours and guide, no larger than the photograph, and the colour that ab is then relative to."""
    h, w = tf.unstack(tf.shape(ab)[:2])
    h, w = tf.minimum(h, height), tf.minimum(w, width)
    ab = tf.cast(ab, tf.float32)
    origin = ab[0, 0]
    return shrunk(ab - origin, h, w), shrunk(tf.cast(guide, tf.float32), h, w), origin


def _slope(ab: tf.Tensor, l: tf.Tensor) -> tf.Tensor:
    """(h, w, 2): how much ab changes with l around each pixel, by least squares over 3x3 pixels, smoothed."""
    # Differences from the middle are small, so that their products lose nothing, and exactly 0 of one colour.
    near = [(near_l - l, near_ab - ab) for near_l, near_ab in zip(_neighbours(l), _neighbours(ab), strict=True)]
    mean_l, mean_ab = _mean([dl for dl, _ in near], _GAUSSIAN), _mean([dab for _, dab in near], _GAUSSIAN)
    variance = _mean([dl * dl for dl, _ in near], _GAUSSIAN) - mean_l * mean_l
    covariance = _mean([dl * dab for dl, dab in near], _GAUSSIAN) - mean_l * mean_ab
    slope = covariance / (variance + _RIDGE)
    for _ in range(2):
        slope = _mean(_neighbours(slope), _BINOMIAL)
    return slope


def _mean(values: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    return tf.add_n([weight * value for weight, value in zip(weights, values, strict=True)]) / sum(weights)


def _trust(ab: tf.Tensor, l: tf.Tensor) -> tf.Tensor:
    """In 0..1: the share of what half the picture lacks that the guidance brings back."""
    h, w = tf.unstack(tf.shape(ab)[:2])
    half_h, half_w = tf.maximum(h // 2, 1), tf.maximum(w // 2, 1)
    half_ab, half_l = shrunk(ab, half_h, half_w), shrunk(l, half_h, half_w)
    slope = _slope(half_ab, half_l)
    parts = [_projected(half_ab, h, w), slope, slope * _projected(half_l, h, w)]
    unguided, slope, offset = tf.split(
        _rows(tf.concat(parts, axis=-1), 0, h, (h, w), kernel=_keys, reach=2), 3, axis=-1
    )
    brought, missing = slope * l - offset, ab - unguided
    alike, seen = tf.reduce_mean(brought * missing), tf.reduce_mean(brought * brought)
    return tf.clip_by_value((alike + _PRIOR * _UNSEEN) / (seen + _UNSEEN), 0.0, 1.0)


def _projected(x: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """One step of back-projection: x, and once more what is lost of it when it is enlarged and made small again."""
    down, across = _blur(tf.shape(x)[0], height), _blur(tf.shape(x)[1], width)
    return 2.0 * x - tf.einsum("ij,jkc->ikc", down, tf.einsum("jkc,lk->jlc", x, across))


def _blur(small: tf.Tensor, large: tf.Tensor) -> tf.Tensor:
    """(small, small): what enlarging by cubics, and `shrunk` after it, do to one axis."""
    large = tf.minimum(large, _LARGE * small)
    enlarge = _weights(_centres(0, large, large, small), 0, small, _keys)
    centres = (tf.range(small, dtype=tf.float32) + 0.5) * _ratio(large, small) - 0.5
    shrink = _weights(centres, 0, large, lambda x: _triangle(x / _ratio(large, small)))
    return tf.matmul(shrink, enlarge)


def _greatest(x: tf.Tensor) -> tf.Tensor:
    """Of 3x3 pixels."""
    return tf.nn.max_pool2d(x[tf.newaxis], 3, 1, "SAME")[0]


def _neighbours(x: tf.Tensor) -> list[tf.Tensor]:
    """The nine of each pixel and those around it, row by row; beyond the border, what is at it."""
    h, w = tf.unstack(tf.shape(x)[:2])
    padded = tf.pad(x, [[1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    return [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)]


def _rows(
    x: tf.Tensor,
    first: tf.Tensor,
    count: tf.Tensor,
    size: tuple[tf.Tensor, tf.Tensor],
    *,
    kernel: Callable[[tf.Tensor], tf.Tensor],
    reach: int,
) -> tf.Tensor:
    """Enlarge to some rows of a picture of `size`, height and width, by a kernel that is 0 beyond its reach."""
    height, width = size
    h, w, channels = tf.unstack(tf.shape(x))
    centres = _centres(first, count, height, h)
    top = tf.maximum(tf.cast(centres[0], tf.int32) + 1 - reach, 0)
    end = tf.minimum(tf.cast(centres[-1], tf.int32) + 1 + reach, h)
    # Along the rows first, which are few; each large pixel is of a few small ones.
    across = _centres(0, width, width, w)
    left = tf.cast(across, tf.int32)
    places = [left + k for k in range(1 - reach, 1 + reach)]
    weights = [tf.where((i >= 0) & (i < w), kernel(across - tf.cast(i, tf.float32)), 0.0) for i in places]
    total = tf.add_n(weights)
    wide = tf.add_n(
        [
            tf.gather(x[top:end], tf.clip_by_value(i, 0, w - 1), axis=1) * (weight / total)[:, tf.newaxis]
            for i, weight in zip(places, weights, strict=True)
        ]
    )
    down = _weights(centres, top, end - top, kernel)
    return tf.reshape(tf.matmul(down, tf.reshape(wide, (end - top, width * channels))), (count, width, channels))


def _centres(first: tf.Tensor, count: tf.Tensor, large: tf.Tensor, small: tf.Tensor) -> tf.Tensor:
    """(count,): where pixels of a large axis lie on the small one, and no farther out than its first and last pixel."""
    place = (tf.cast(first + tf.range(count), tf.float32) + 0.5) / _ratio(large, small) - 0.5
    return tf.clip_by_value(place, 0.0, tf.cast(small - 1, tf.float32))


def _weights(
    centres: tf.Tensor, first: tf.Tensor, count: tf.Tensor, kernel: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """(centres, count): the shares that `count` places from `first` on have in what is at the centres."""
    weights = kernel(centres[:, tf.newaxis] - tf.cast(first + tf.range(count), tf.float32))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _ratio(large: tf.Tensor, small: tf.Tensor) -> tf.Tensor:
    return tf.cast(large, tf.float32) / tf.cast(small, tf.float32)


def _triangle(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _keys(x: tf.Tensor) -> tf.Tensor:
    """Keys' cubic, which goes through what it interpolates."""
    x = tf.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))
