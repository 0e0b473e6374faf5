"""A photograph's own L and small colours -> a coloured photograph, in bounded memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import tensorflow as tf

from kcolor import color, upsample
from kcolor.upsample import Upsampler

# Pixels that are computed at once: memory does not grow with the photograph, and one shape is compiled for all of them.
_STRIP = 2**18


def join(rgb: tf.Tensor, ab: tf.Tensor, upsampler: Upsampler = upsample.guided) -> tf.Tensor:
    """Enlarge ab to a photograph's size and join it with the photograph's own L.

    Where sRGB does not have the colour, it loses chroma, not lightness (`kcolor.color.fit_gamut`). Works strip by
    strip: beside the photograph and the result it takes a few hundred megabytes, whatever their size.

    Args:
        rgb: (..., height, width, 3) uint8 or uint16, one photograph or several.
        ab: (..., h, w, 2), scaled to [-1, 1].
        upsampler: How ab is enlarged.

    Returns:
        (..., height, width, 3) of the photograph's type.
    """
    rgb, ab = tf.convert_to_tensor(rgb), tf.cast(ab, tf.float32)
    if rgb.shape.rank == 3:
        return _join_one(rgb, ab, upsampler)
    photos, colours = (tf.reshape(x, tf.concat([[-1], tf.shape(x)[-3:]], axis=0)) for x in (rgb, ab))

    def each() -> tf.Tensor:
        return tf.map_fn(
            lambda pair: _join_one(pair[0], pair[1], upsampler),
            (photos, tf.ensure_shape(colours, (None, *ab.shape[-3:]))),
            fn_output_signature=tf.TensorSpec(rgb.shape[-3:], rgb.dtype),
            parallel_iterations=1,
        )

    # Of no photographs map_fn would not know the size.
    made = tf.cond(tf.size(photos) > 0, each, lambda: photos)
    return tf.ensure_shape(tf.reshape(made, tf.shape(rgb)), rgb.shape)


def _join_one(rgb: tf.Tensor, ab: tf.Tensor, upsampler: Upsampler) -> tf.Tensor:
    # A small photograph is done before XLA has compiled anything; and an exported graph may not use it.
    if not tf.executing_eagerly() or rgb.shape[0] * rgb.shape[1] <= _STRIP:
        return tf.ensure_shape(_graph(upsampler, rgb.dtype)(rgb, ab), rgb.shape)
    return tf.constant(_strip_by_strip(upsampler, rgb, ab))


def _plan(upsampler: Upsampler, rgb: tf.Tensor, ab: tf.Tensor) -> upsample.Plan:
    height, width = tf.unstack(tf.shape(rgb)[:2])
    small = tf.image.resize(rgb, tf.shape(ab)[:2], antialias=True) / float(rgb.dtype.max)
    return upsampler.plan(ab, color.lightness(small), height, width)


def _in_graph(upsampler: Upsampler, rgb: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(rgb)[:2])
    plan = _plan(upsampler, rgb, ab)
    most = tf.clip_by_value(_STRIP // width, 1, height)

    def strip(first: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        count = tf.minimum(most, height - first)
        enlarged = upsample.rows(plan, first, count, height, width)
        pixels = _finished(upsampler, rgb[first : first + count], *enlarged, plan.origin)
        return first + count, made.write(first // most, pixels)

    strips = tf.TensorArray(rgb.dtype, 0, dynamic_size=True, infer_shape=False, element_shape=(None, *rgb.shape[1:]))
    _, strips = tf.while_loop(lambda first, _: first < height, strip, (0, strips), parallel_iterations=1)
    return tf.ensure_shape(strips.concat(), rgb.shape)


@cache
def _graph(upsampler: Upsampler, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    """`_in_graph` for any size, traced once: operation by operation, a small photograph takes fifty times as long."""
    signature = [tf.TensorSpec((None, None, 3), dtype), tf.TensorSpec((None, None, 2), tf.float32)]
    return tf.function(partial(_in_graph, upsampler), input_signature=signature, autograph=False)


def _strip_by_strip(upsampler: Upsampler, rgb: tf.Tensor, ab: tf.Tensor) -> np.ndarray:
    """The same where XLA may be used, as it may not be where an exported graph goes; a strip on each core."""
    height, width = rgb.shape[:2]
    most = min(max(_STRIP // width, 1), height)
    plan = _plan(upsampler, rgb, ab)
    made = np.empty(rgb.shape, rgb.dtype.as_numpy_dtype)

    parts = (plan.cubic, plan.linear, plan.origin)
    finish = _strip_graph(upsampler, rgb.dtype)

    def strip(first: int) -> None:
        made[first : first + most] = finish(rgb[first : first + most], parts, first, height)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(strip, range(0, height, most)))
    return made


def _fitted(
    upsampler: Upsampler, l: tf.Tensor, cubic: tf.Tensor, linear: tf.Tensor, origin: tf.Tensor, *, dense: bool = False
) -> tf.Tensor:
    """The ab of pixels, inside the gamut, from what the plan has for them, (..., channels) each."""
    return color.fit_gamut(l, upsampler.finish(cubic, linear, l) + origin, dense=dense)


def _finished(upsampler: Upsampler, rgb: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
    """Pixels of the type of the photograph's own, from those and what the plan has for them."""
    l = color.lightness(rgb)
    return color.merge(l, _fitted(upsampler, l, *rest), rgb.dtype)


@cache
def _strip_graph(upsampler: Upsampler, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    """A strip in one call, so that Python has next to nothing to do, and the threads do not wait for it."""

    def finish(rgb: tf.Tensor, parts: tuple[tf.Tensor, ...], first: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
        count, width = tf.unstack(tf.shape(rgb)[:2])
        plan = upsample.Plan(*parts)
        return _in_one_shape(upsampler, rgb, *upsample.rows(plan, first, count, height, width), plan.origin)

    plane, number = tf.TensorSpec((None, None, None), tf.float32), tf.TensorSpec((), tf.int32)
    parts = (plane, plane, tf.TensorSpec((2,), tf.float32))
    signature = [tf.TensorSpec((None, None, 3), dtype), parts, number, number]
    return tf.function(finish, input_signature=signature, autograph=False)


def _in_one_shape(upsampler: Upsampler, rgb: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
    """`_finished`, compiled by XLA, in an eighth of the time; for each shape anew, so all strips are given the same."""
    *enlarged, origin = rest
    count = tf.size(rgb) // 3
    filling = [[0, tf.math.floormod(-count, _STRIP)], [0, 0]]
    padded, *plan = (tf.pad(tf.reshape(x, (count, tf.shape(x)[-1])), filling) for x in (rgb, *enlarged))
    padded = tf.ensure_shape(padded, (None, 3))
    # In three parts, since XLA would compute what one has made anew for each step of the bisection in the next.
    lightness, fitted, merge = _compiled(upsampler)
    l = lightness(padded)
    return tf.reshape(merge(l, fitted(l, *plan, origin), rgb.dtype)[:count], tf.shape(rgb))


@cache
def _compiled(upsampler: Upsampler) -> list[tf.types.experimental.PolymorphicFunction]:
    parts = (color.lightness, partial(_fitted, upsampler, dense=True), color.merge)
    return [tf.function(part, jit_compile=True, autograph=False) for part in parts]
