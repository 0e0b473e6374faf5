"""What is asked of a served colorizer, as functions of named tensors: an exported SavedModel and `kcolor serve` alike.

Names and types are such that TensorFlow Serving's REST and gRPC need nothing said: strings whose names end in
``_bytes`` travel as base64, the first dimension of every tensor is the photographs, and nothing is of 16 bits. A
photograph that is refused is named by its place in the call, since one call may hold those of several people.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import keras
import tensorflow as tf

from kcolor import color, header, image
from kcolor.join import join

Signatures = dict[str, tf.types.experimental.PolymorphicFunction]

# Of a photograph, unless one says otherwise: 64 million, which no camera without a back of medium format exceeds.
MAX_PIXELS = 2**26
# How many of the likeliest classes are told.
LIKELIEST = 5
# Photographs that are held, and go through the network, at once: so many, or as many as have so many pixels.
_BATCH, _PIXELS = 8, 2**26
# Traced once for all signatures.
_header = tf.function(header.read, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def of(generator: keras.Model, classes: Sequence[str] = (), *, max_pixels: int = MAX_PIXELS) -> Signatures:
    """The signatures of a generator.

    - ``serving_default``: ``image_bytes`` (n,), files of any of the formats of `kcolor.header.KINDS`, grey or colour,
      to ``colorized_bytes`` (n,), PNGs of their upright photographs' sizes;
    - ``jpeg``: the same to JPEGs, with ``quality`` (n,) int32, 1 to 100, of each;
    - ``ab``: ``l`` (n, size, size, 1) float32 to ``ab`` (n, size, size, 2) float32, both scaled to [-1, 1];
    - ``classify``, where there is a class branch: ``image_bytes`` (n,) to ``classes`` (n, k), the names of the
      likeliest ones, or their numbers where there are no names, and ``scores`` (n, k) float32, their probabilities.

    All raise `tf.errors.InvalidArgumentError` with a message that names the photograph: ``image_bytes[3]: ...``.

    Args:
        generator: As from `kcolor.networks`.
        classes: Names of its classes, in the order of its logits.
        max_pixels: A photograph of more is refused by its header.
    """
    size = generator.input_shape[1]
    many = tf.TensorSpec((None,), tf.string, name="image_bytes")

    def outputs(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return generator(color.lightness(pictures), training=False)

    def coloured(image_bytes: tf.Tensor, encode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        def some(first: tf.Tensor, last: tf.Tensor, made: tf.TensorArray) -> tf.TensorArray:
            photographs, pictures = _read(image_bytes, first, last, size, max_pixels)
            ab = outputs(pictures)["ab"]
            broken = "the model gives NaN: a broken model; export another checkpoint"
            _check(tf.reduce_all(tf.math.is_finite(ab)), lambda: tf.constant(broken))

            def one(i: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                rgb = join(photographs.read(i - first), ab[i - first])
                with tf.device("/cpu:0"):  # strings have no place on a GPU
                    return i + 1, made.write(i, encode(rgb, i))

            return tf.while_loop(lambda i, _: i < last, one, (first, made), parallel_iterations=1)[1]

        return {"colorized_bytes": _by_batches(image_bytes, some, tf.string, ())}

    def png(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return coloured(image_bytes, lambda rgb, i: tf.io.encode_png(rgb))

    def jpeg(image_bytes: tf.Tensor, quality: tf.Tensor) -> dict[str, tf.Tensor]:
        counts = (tf.size(quality), tf.size(image_bytes))
        _check(counts[0] == counts[1], lambda: tf.strings.format("quality: {} numbers for {} photographs", counts))
        outside = tf.where((quality < 1) | (quality > 100))[:, 0]
        _check(
            tf.size(outside) == 0,
            lambda: tf.strings.format("quality[{}]: {} is not in 1 to 100", (outside[0], quality[outside[0]])),
        )
        return coloured(
            image_bytes, lambda rgb, i: tf.raw_ops.EncodeJpegVariableQuality(images=rgb, quality=quality[i])
        )

    def ab(l: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ab": generator(l, training=False)["ab"]}

    def classify(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        count = generator.output["logits"].shape[-1]
        names = tf.constant(list(classes) or [str(i) for i in range(count)])

        def some(first: tf.Tensor, last: tf.Tensor, made: tf.TensorArray) -> tf.TensorArray:
            _, pictures = _read(image_bytes, first, last, size, max_pixels, keep=False)
            return made.scatter(tf.range(first, last), tf.nn.softmax(outputs(pictures)["logits"]))

        probabilities = _by_batches(image_bytes, some, tf.float32, (count,))
        scores, places = tf.math.top_k(probabilities, min(LIKELIEST, count))
        with tf.device("/cpu:0"):
            return {"classes": tf.gather(names, places), "scores": scores}

    signatures = {
        "serving_default": tf.function(png, [many], autograph=False),
        "jpeg": tf.function(jpeg, [many, tf.TensorSpec((None,), tf.int32, name="quality")], autograph=False),
        "ab": tf.function(ab, [tf.TensorSpec((None, size, size, 1), tf.float32, name="l")], autograph=False),
    }
    if "logits" in generator.output:
        signatures["classify"] = tf.function(classify, [many], autograph=False)
    return signatures


def _by_batches(
    image_bytes: tf.Tensor,
    some: Callable[[tf.Tensor, tf.Tensor, tf.TensorArray], tf.TensorArray],
    dtype: tf.DType,
    shape: tuple[int, ...],
) -> tf.Tensor:
    """What `some` makes of photographs from one to another, a few at a time: memory does not grow with their number."""
    count = tf.size(image_bytes)

    def pixels(data: tf.Tensor) -> tf.Tensor:
        head = _header(data)
        return head.height * head.width

    with tf.device("/cpu:0"):
        sizes = tf.map_fn(pixels, image_bytes, fn_output_signature=tf.TensorSpec((), tf.int64))

    def step(first: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        together = tf.cumsum(sizes[first : first + _BATCH]) <= _PIXELS
        last = first + tf.maximum(tf.reduce_sum(tf.cast(together, tf.int32)), 1)
        return last, some(first, last, made)

    made = tf.TensorArray(dtype, count, element_shape=shape)
    _, made = tf.while_loop(lambda first, _: first < count, step, (0, made), parallel_iterations=1)
    return made.stack()


def _read(
    image_bytes: tf.Tensor, first: tf.Tensor, last: tf.Tensor, size: int, max_pixels: int, *, keep: bool = True
) -> tuple[tf.TensorArray, tf.Tensor]:
    """Photographs from one to another: upright (if they are to be kept), and as the network sees them."""
    photographs = tf.TensorArray(tf.uint8, last - first, infer_shape=False, element_shape=(None, None, 3))
    pictures = tf.TensorArray(tf.uint8, last - first, element_shape=(size, size, 3))

    def one(i: tf.Tensor, photographs: tf.TensorArray, pictures: tf.TensorArray) -> tuple[Any, ...]:
        rgb = upright(image_bytes, i)
        if keep:
            photographs = photographs.write(i - first, rgb)
        return i + 1, photographs, pictures.write(i - first, image.fit_square(rgb, size))

    upright = _upright(max_pixels)
    # One after the other: decoding is where a hostile file would take its memory.
    _, photographs, pictures = tf.while_loop(
        lambda i, *_: i < last, one, (first, photographs, pictures), parallel_iterations=1
    )
    return photographs, pictures.stack()


@cache
def _upright(max_pixels: int) -> tf.types.experimental.PolymorphicFunction:
    """Of files (n,) and one's place: its photograph, (height, width, 3) uint8. Traced once for all signatures.

    It raises `tf.errors.InvalidArgumentError` where that is too large, or cannot be decoded.
    """
    signature = [tf.TensorSpec((None,), tf.string), tf.TensorSpec((), tf.int32)]
    return tf.function(partial(_upright_of, max_pixels), input_signature=signature, autograph=False)


def _upright_of(max_pixels: int, image_bytes: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
    with tf.device("/cpu:0"):
        data = image_bytes[i]
        head = _header(data)

        def refuse(why: str, *values: tf.Tensor) -> Callable[[], tf.Tensor]:
            return lambda: tf.strings.format("image_bytes[{}]: " + why, (i, *values))

        checked = [
            _check(tf.strings.length(data) > 0, refuse("no image: it is empty")),
            _check(head.kind > 0, refuse("not a JPEG, PNG, WebP or BMP")),
        ]
        pixels = head.height * head.width
        with tf.control_dependencies(checked):
            checked = [
                _check(pixels > 0, refuse("its header does not say how large it is: damaged")),
                _check(
                    pixels <= max_pixels,
                    refuse(f"{{}}x{{}} pixels are more than {max_pixels:,}: make it smaller", head.width, head.height),
                ),
            ]
        with tf.control_dependencies(checked):
            rgb = _decoded(data)
        with tf.control_dependencies([_check(tf.size(rgb) > 0, refuse("cannot be decoded: cut short or damaged"))]):
            return image.orient(rgb, head.orientation)


def _decoded(data: tf.Tensor) -> tf.Tensor:
    """`kcolor.image.decode`; what cannot be decoded becomes a picture of no pixels.

    A graph has no other way than a dataset's to go on where an operation has failed.
    """
    options = tf.data.Options()  # nothing to be optimized in one element: it would take ten times as long
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_optimization.inject_prefetch = False
    options.threading.max_intra_op_parallelism = 1
    nothing = tf.data.Dataset.from_tensors(tf.zeros((0, 0, 3), tf.uint8))
    decoded = tf.data.Dataset.from_tensors(data).map(image.decode).ignore_errors()
    return decoded.concatenate(nothing).take(1).with_options(options).get_single_element()


def _check(condition: tf.Tensor, message: Callable[[], tf.Tensor]) -> tf.Operation:
    """An operation that raises `tf.errors.InvalidArgumentError` with the message unless the condition holds."""
    with tf.device("/cpu:0"):
        return tf.debugging.Assert(condition, [tf.cond(condition, lambda: tf.constant(""), message)])


def refusal(error: tf.errors.InvalidArgumentError) -> str:
    """What a signature said of the photograph that it refused, without what TensorFlow puts around it."""
    found = re.search(r"assertion failed: \[(.*)\]", error.message)
    return found[1] if found else error.message.splitlines()[0]
