"""Pictures in TensorFlow: decoded, turned upright and resized the same way in training, use and export."""

import tensorflow as tf


def decode(data: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG, PNG, BMP, WebP, or the first frame of a GIF.

    EXIF orientation and ICC profiles are not looked at, and alpha is dropped.

    Args:
        data: The bytes of the file, a string scalar.

    Returns:
        (height, width, 3) uint8 sRGB; grey pictures have three equal channels.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not such a picture, are cut short, or are a moving WebP.
    """

    def jpeg() -> tf.Tensor:
        # This transform gives what Pillow gives; the default one is off by up to 3 levels.
        return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")

    def webp() -> tf.Tensor:
        return tf.io.decode_image(data, expand_animations=False)[..., :3]  # asking for 3 fails where there is alpha

    def other() -> tf.Tensor:
        return tf.io.decode_image(data, channels=3, expand_animations=False)

    with tf.device("/cpu:0"):
        # \C is any byte, also one that is not UTF-8; the padding stands in for what a short file lacks.
        head = tf.strings.substr(data, 0, 21) + "\0" * 21
        is_webp = tf.strings.regex_full_match(head, r"RIFF\C{4}WEBP\C*")
        flags = tf.io.decode_raw(tf.strings.substr(head, 20, 1), tf.uint8)[0]
        # A moving WebP makes TensorFlow 2.21 write past its buffers; asked for 3 channels, it refuses it.
        is_moving = tf.strings.regex_full_match(head, r"\C{12}VP8X\C*") & (tf.bitwise.bitwise_and(flags, 2) > 0)
        rgb = tf.cond(tf.io.is_jpeg(data), jpeg, lambda: tf.cond(is_webp & ~is_moving, webp, other))
    return tf.ensure_shape(rgb, (None, None, 3))


def encode(rgb: tf.Tensor, quality: int) -> tf.Tensor:
    """Encode a picture, as shards keep it.

    Args:
        rgb: (height, width, 3) uint8.
        quality: Of JPEG without subsampling of the colours, 1 to 100; 0: PNG, quick rather than small.
    """
    if quality:
        return tf.io.encode_jpeg(rgb, quality=quality, chroma_downsampling=False)
    return tf.io.encode_png(rgb, compression=1)


def decode_square(data: tf.Tensor, size: int, quality: int) -> tf.Tensor:
    """Decode what `encode` made of a square.

    Returns:
        (size, size, 3) uint8.

    Raises:
        tf.errors.InvalidArgumentError: It is none.
    """
    if quality:
        rgb = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    else:
        rgb = tf.io.decode_png(data, channels=3)
    return tf.ensure_shape(rgb, (size, size, 3))


def orient(rgb: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn a picture upright by its EXIF orientation.

    Args:
        rgb: (height, width, channels).
        orientation: 1 to 8, a scalar; EXIF 2.32, section 4.6.4, tag 0x0112.
    """
    orientation = tf.cast(orientation, tf.int32)
    rgb = tf.cond(orientation >= 5, lambda: tf.transpose(rgb, (1, 0, 2)), lambda: rgb)
    # Which of the two axes run backwards once rows are rows.
    flip_rows = tf.gather([False, False, False, True, True, False, False, True, True], orientation)
    flip_columns = tf.gather([False, False, True, True, False, False, True, True, False], orientation)
    rgb = tf.cond(flip_rows, lambda: tf.reverse(rgb, (0,)), lambda: rgb)
    return tf.cond(flip_columns, lambda: tf.reverse(rgb, (1,)), lambda: rgb)


def fit_square(rgb: tf.Tensor, size: int, *, crop: bool = False) -> tf.Tensor:
    """Resize a picture to the square that the networks see.

    Args:
        rgb: (..., height, width, 3) uint8, one picture or several of one size.
        size: Side of the square.
        crop: Cut the largest centred square out first; otherwise the picture is stretched.

    Returns:
        (..., size, size, 3) uint8.
    """
    if crop:
        height, width = tf.unstack(tf.shape(rgb)[-3:-1])
        side = tf.minimum(height, width)
        rgb = tf.image.crop_to_bounding_box(rgb, (height - side) // 2, (width - side) // 2, side, side)
    if tuple(rgb.shape[-3:-1]) == (size, size):
        return rgb
    small = tf.image.resize(rgb, (size, size), antialias=True)
    return tf.ensure_shape(to_uint8(small), (*rgb.shape[:-3], size, size, 3))


def to_uint8(rgb: tf.Tensor) -> tf.Tensor:
    """Round values in 0..255 to 8 bits."""
    return tf.cast(tf.round(tf.clip_by_value(rgb, 0.0, 255.0)), tf.uint8)
