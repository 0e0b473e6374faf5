"""sRGB <-> CIE Lab in TensorFlow, and the scaling of L and ab to what the networks see.

Every function works on any batch shape with channels last, eagerly, in a graph and under XLA, always in
float32, and has a finite gradient everywhere. The formulas are those of IEC 61966-2-1 (sRGB) and CIE 15
(Lab) for the 2 degree observer under D65, with the constants that scikit-image uses.

The constants of the scaling stand here and nowhere else: ``l`` is L / 50 - 1 and ``ab`` is (a, b) / 128. The whole sRGB
gamut (a in [-86.2, 98.3], b in [-107.9, 94.5]) lies well within [-1, 1], where a tanh can reach it, and the weights of
the losses mean what they mean in the report, which divides by 127 above zero and by 128 below.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

L_SCALE = 50.0
AB_SCALE = 128.0

_XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
# Row vectors are multiplied from the left, and the white point is folded in: rgb @ matrix = XYZ / white.
_RELATIVE_XYZ_FROM_RGB = (_XYZ_FROM_RGB / _WHITE[:, None]).T
_RGB_FROM_RELATIVE_XYZ = np.linalg.inv(_RELATIVE_XYZ_FROM_RGB)
# f = (fx, fy, fz) = XYZ^(1/3); L = 116 fy - 16, a = 500 (fx - fy), b = 200 (fy - fz).
_LAB_FROM_F = np.array([[0.0, 500.0, 0.0], [116.0, -500.0, 200.0], [0.0, 0.0, -200.0]])
_F_FROM_LAB = np.linalg.inv(_LAB_FROM_F)
_DELTA = 6.0 / 29.0
# Half a level below the darkest and above the lightest of 8 bits, without gamma: what is rounded to one that exists.
_DARKEST, _LIGHTEST = -0.5 / 255.0 / 12.92, ((1.0 + 0.5 / 255.0 + 0.055) / 1.055) ** 2.4
# How exactly the edge of the gamut is found. A level of the darkest colours is little chroma: ten would miss it by 13.
_HALVINGS = 14
# The 256 levels of sRGB without their gamma.
_LEVELS = np.where(
    np.arange(256) > 0.04045 * 255.0, ((np.arange(256) / 255.0 + 0.055) / 1.055) ** 2.4, np.arange(256) / 255.0 / 12.92
)


def rgb_to_lab(rgb: tf.Tensor) -> tf.Tensor:
    """Convert sRGB to CIE Lab.

    Args:
        rgb: (..., 3), uint8 in 0..255, uint16 in 0..65535 or floating in 0..1.

    Returns:
        (..., 3) float32 in CIE units: L in 0..100.
    """
    f = [_cube_root(part) for part in _products(_linear(rgb), _RELATIVE_XYZ_FROM_RGB)]
    l, a, b = _products(f, _LAB_FROM_F)
    return tf.stack([l - 16.0, a, b], axis=-1)


def lab_to_rgb(lab: tf.Tensor) -> tf.Tensor:
    """Convert CIE Lab to sRGB, without clipping.

    Args:
        lab: (..., 3) in CIE units.

    Returns:
        (..., 3) float32; within 0..1 where the colour is inside the sRGB gamut, beyond it elsewhere.
    """
    return tf.stack(
        [_gamma(part) for part in _linear_of(_f_of(tf.unstack(tf.cast(lab, tf.float32), axis=-1)))], axis=-1
    )


def split(rgb: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Take a picture apart into what the generator is given and what it has to predict.

    Args:
        rgb: (..., 3), uint8 in 0..255, uint16 in 0..65535 or floating in 0..1.

    Returns:
        ``l`` (..., 1) and ``ab`` (..., 2), float32, scaled to [-1, 1].
    """
    lab = rgb_to_lab(rgb)
    return lab[..., :1] / L_SCALE - 1.0, lab[..., 1:] / AB_SCALE


def lightness(rgb: tf.Tensor) -> tf.Tensor:
    """The ``l`` of `split` alone, at half the cost.

    Args:
        rgb: (..., 3), uint8 in 0..255, uint16 in 0..65535 or floating in 0..1.
    """
    y = _products(_linear(rgb), _RELATIVE_XYZ_FROM_RGB[:, 1:2])[0]
    return ((116.0 * _cube_root(y) - 16.0) / L_SCALE - 1.0)[..., tf.newaxis]


def merge(l: tf.Tensor, ab: tf.Tensor, dtype: tf.DType = tf.uint8) -> tf.Tensor:
    """Join lightness and colour into a picture; the inverse of `split`.

    Args:
        l: (..., 1), scaled to [-1, 1].
        ab: (..., 2), scaled to [-1, 1].
        dtype: tf.uint8 or tf.uint16.

    Returns:
        (..., 3) sRGB of this type; colours outside the gamut are clipped channel by channel, which changes their
        lightness and their hue: `fit_gamut` first, where that matters.
    """
    rgb = tf.stack([_gamma(part) for part in _linear_of(_f_of(_lab_of(l, ab)))], axis=-1)
    # Clipped as whole numbers, which LiteRT's converter does not bring to 8 bits before they are rounded.
    levels = tf.cast(tf.round(rgb * dtype.max), tf.int32)
    return tf.cast(tf.clip_by_value(levels, 0, dtype.max), dtype)


def fit_gamut(l: tf.Tensor, ab: tf.Tensor, *, dense: bool = False) -> tf.Tensor:
    """Take chroma, and nothing else, from colours that sRGB does not have.

    Such a colour moves toward the grey of its own lightness until it meets the gamut, by bisection. What `merge` clips
    by no more than it rounds counts as inside.

    Args:
        l: (..., 1), scaled to [-1, 1].
        ab: (..., 2), scaled to [-1, 1].
        dense: Compute for all pixels, not only for those that need it: the same values, in a way that XLA can compile.

    Returns:
        (..., 2) float32: ``ab`` itself where that is inside the gamut, elsewhere the part of it that is, to less than
        half of one of 255 levels.
    """
    l, ab = tf.cast(l, tf.float32), tf.cast(ab, tf.float32)
    if dense:
        return ab * _part_inside(l, ab)
    flat_l, flat_ab = tf.reshape(l, (-1, 1)), tf.reshape(ab, (-1, 2))
    outside = tf.where(~_is_inside(_f_of(_lab_of(flat_l, flat_ab))))
    few_l, few_ab = tf.gather_nd(flat_l, outside), tf.gather_nd(flat_ab, outside)
    fitted = tf.tensor_scatter_nd_update(flat_ab, outside, few_ab * _part_inside(few_l, few_ab))
    return tf.ensure_shape(tf.reshape(fitted, tf.shape(ab)), ab.shape)


# From here on a picture is a plane for each channel. Three channels that lie side by side in memory cannot be computed
# in the long vectors of a processor, and XLA, asked for one of them, computes all three.


def _part_inside(l: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    """(..., 1): 1 inside the gamut, elsewhere what ab is to be multiplied by."""
    fx, fy, fz = _f_of(_lab_of(l, ab))
    x_step, z_step = fx - fy, fz - fy
    part, step = tf.zeros_like(fy), 1.0
    for _ in range(_HALVINGS):
        step /= 2.0
        more = part + step
        part = tf.where(_is_inside([fy + more * x_step, fy, fy + more * z_step]), more, part)
    return tf.where(_is_inside([fx, fy, fz]), 1.0, part)[..., tf.newaxis]


def _is_inside(f: Sequence[tf.Tensor]) -> tf.Tensor:
    # Not by the least and the most of the three: LiteRT's converter would have those in 8 bits, whatever it is told.
    r, g, b = [(part > _DARKEST) & (part < _LIGHTEST) for part in _linear_of(f)]
    return r & g & b


def _lab_of(l: tf.Tensor, ab: tf.Tensor) -> list[tf.Tensor]:
    """CIE Lab in its own units, of `l` and `ab` scaled to [-1, 1]."""
    a, b = tf.unstack(tf.cast(ab, tf.float32) * AB_SCALE, axis=-1)
    return [(tf.cast(l[..., 0], tf.float32) + 1.0) * L_SCALE, a, b]


def _f_of(lab: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """(fx, fy, fz) of CIE Lab."""
    l, a, b = lab
    return _products([l + 16.0, a, b], _F_FROM_LAB)


def _linear_of(f: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The planes of sRGB without its gamma, of (fx, fy, fz)."""
    return _products([_cube(part) for part in f], _RGB_FROM_RELATIVE_XYZ)


def _linear(rgb: tf.Tensor) -> list[tf.Tensor]:
    """The planes of sRGB, uint8, uint16 or in 0..1, without its gamma."""
    rgb = tf.convert_to_tensor(rgb)
    if rgb.dtype == tf.uint8:
        table = tf.constant(_LEVELS, tf.float32)
        return [tf.gather(table, tf.cast(plane, tf.int32)) for plane in tf.unstack(rgb, axis=-1)]
    most = float(rgb.dtype.max) if rgb.dtype == tf.uint16 else 1.0
    return [_without_gamma(plane) for plane in tf.unstack(tf.cast(rgb, tf.float32) / most, axis=-1)]


def _without_gamma(plane: tf.Tensor) -> tf.Tensor:
    # Both branches of a `where` are differentiated, so each gets an argument inside its own range.
    curved = plane > 0.04045
    return tf.where(curved, _power((tf.where(curved, plane, 1.0) + 0.055) / 1.055, 2.4), plane / 12.92)


def _gamma(plane: tf.Tensor) -> tf.Tensor:
    """The inverse of `_without_gamma`."""
    curved = plane > 0.0031308
    return tf.where(curved, 1.055 * _power(tf.where(curved, plane, 1.0), 1.0 / 2.4) - 0.055, 12.92 * plane)


def _cube_root(plane: tf.Tensor) -> tf.Tensor:
    """The f of CIE Lab: the cube root, with a straight line below (6/29)^3."""
    cubic = plane > _DELTA**3
    return tf.where(cubic, _power(tf.where(cubic, plane, 1.0), 1.0 / 3.0), plane / (3.0 * _DELTA**2) + 4.0 / 29.0)


def _cube(plane: tf.Tensor) -> tf.Tensor:
    """The inverse of `_cube_root`."""
    return tf.where(plane > _DELTA, plane * plane * plane, 3.0 * _DELTA**2 * (plane - 4.0 / 29.0))


def _power(x: tf.Tensor, exponent: float) -> tf.Tensor:
    """A power of what is above 0."""
    # On a CPU this is four times as fast as TensorFlow's own power, and as near: x is between 0.003 and about 1 here.
    return tf.exp(exponent * tf.math.log(x))


def _products(planes: Sequence[tf.Tensor], matrix: np.ndarray) -> list[tf.Tensor]:
    """Multiply row vectors of three planes by a matrix, in full float32."""
    # Written out, since a matrix product may run in TF32 on a GPU, ten bits short of what Lab needs.
    m = matrix.astype(np.float32)
    x, y, z = planes
    return [x * m[0, j] + y * m[1, j] + z * m[2, j] for j in range(m.shape[1])]
