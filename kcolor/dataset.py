"""Photos on disk -> batches of uint8 RGB and labels, with `tf.data`.

The stream that training reads is a pure function of the seed and the position in it: which photo stands where,
and whether it is mirrored and how it is cut. So a run that is resumed reads on exactly where it stopped.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kcolor import image

# Keep the draws of the mirror image and of the window apart from the draw of the order, and from each other.
_FLIP_STREAM = 0x666C6970
_WINDOW_STREAM = 0x77696E64


@dataclass(frozen=True)
class Photos:
    """The photos of one split.

    Args:
        paths: Their files.
        labels: Class numbers, one a photo; all 0 where there are no classes.
        orientations: EXIF orientations 1 to 8, one a photo.
    """

    paths: Sequence[str | Path]
    labels: Sequence[int]
    orientations: Sequence[int]

    def __len__(self) -> int:
        return len(self.paths)


def training_stream(
    photos: Photos,
    *,
    size: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    crop: bool = False,
    flip: float = 0.5,
    random_crop: float = 0.0,
    replica: int = 0,
    replicas: int = 1,
) -> tf.data.Dataset:
    """Endless batches, shuffled anew each time that all photos have been seen.

    Several replicas share each batch: one after the other they have equal parts of its rows, and together what one
    alone would have.

    Args:
        photos: At least one.
        size: Side of the squares.
        batch_size: Photos a batch.
        seed: Of the order, of the mirroring and of the windows.
        start: The batch to begin with; what went before is skipped without being read.
        crop: Keep the aspect by cutting out the centre (`kcolor.image.fit_square`).
        flip: Probability that a photo is mirrored.
        random_crop: The largest share of its sides, below 1, that a photo loses: what is shown of it is a window of its
            own proportions, of a size and at a place drawn anew each time. 0: all of it.
        replica: Whose rows these are.
        replicas: Of how many; `batch_size` is a multiple of it.

    Returns:
        Batches of (rgb, labels): (batch_size / replicas, size, size, 3) uint8 and (batch_size / replicas,) int32.

    Raises:
        tf.errors.NotFoundError, tf.errors.InvalidArgumentError: While reading, if a photo has gone or is broken.
    """
    load = _loader(photos, size, crop)
    count = tf.constant(len(photos), tf.int64)
    order_seed = np.uint32(seed % 2**32)
    rows = batch_size // replicas

    def sample(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position = number // rows * batch_size + replica * rows + number % rows
        epoch, place = position // count, position % count
        epoch_seed = tf.stack([order_seed, tf.cast(epoch, tf.uint32)])
        index = tf.random.experimental.index_shuffle(place, epoch_seed, count - 1)
        if random_crop:
            draws = tf.random.stateless_uniform((3,), tf.stack([position, seed ^ _WINDOW_STREAM]))
            rgb, label = load(index, lambda rgb: _window(rgb, 1.0 - random_crop * draws[0], draws[1:]))
        else:
            rgb, label = load(index)
        draw = tf.random.stateless_uniform((), tf.stack([position, seed ^ _FLIP_STREAM]))
        return tf.cond(draw < flip, lambda: tf.reverse(rgb, (1,)), lambda: rgb), label

    numbers = tf.data.Dataset.range(start * rows, np.iinfo(np.int64).max // replicas)
    samples = numbers.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return samples.batch(rows, drop_remainder=True).prefetch(2)


def evaluation_batches(
    photos: Photos, *, size: int, batch_size: int, crop: bool = False, replica: int = 0, replicas: int = 1
) -> tf.data.Dataset:
    """Every photo once, in order, as it is; batches as from `training_stream`, the last one possibly smaller.

    Several replicas take turns at the photos, and have as many batches each: the last one may be of no photo.
    """
    load = _loader(photos, size, crop)
    own = tf.data.Dataset.range(replica, len(photos), replicas)
    samples = own.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = samples.batch(batch_size)
    if -(-len(photos) // (batch_size * replicas)) > -(-len(own) // batch_size):
        none = (tf.zeros((0, size, size, 3), tf.uint8), tf.zeros((0,), tf.int32))
        batches = batches.concatenate(tf.data.Dataset.from_tensors(none))
    return batches.prefetch(2)


def _window(rgb: tf.Tensor, share: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """A window of a picture's own proportions.

    Args:
        rgb: (height, width, 3).
        share: Of both sides.
        place: (2,), from 0 (the upper or left edge) to just below 1 (the lower or right one).
    """
    whole = tf.shape(rgb)[:2]
    sides = tf.maximum(tf.cast(tf.round(share * tf.cast(whole, tf.float32)), tf.int32), 1)
    # Rounding could take a place just below 1 past the last one.
    corner = tf.minimum(tf.cast(place * tf.cast(whole - sides + 1, tf.float32), tf.int32), whole - sides)
    return tf.slice(rgb, tf.concat([corner, [0]], 0), tf.concat([sides, [3]], 0))


def _loader(photos: Photos, size: int, crop: bool) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """A function from the number of a photo, and what is done to it before it comes to size, to its (rgb, label)."""
    paths = tf.constant([os.fsencode(path) for path in photos.paths], tf.string)
    labels = tf.constant(photos.labels, tf.int32, shape=(len(photos),))
    orientations = tf.constant(photos.orientations, tf.int32, shape=(len(photos),))

    def load(index: tf.Tensor, cut: Callable[[tf.Tensor], tf.Tensor] = lambda rgb: rgb) -> tuple[tf.Tensor, tf.Tensor]:
        rgb = image.decode(tf.io.read_file(paths[index]))
        rgb = cut(image.orient(rgb, orientations[index]))
        return image.fit_square(rgb, size, crop=crop), labels[index]

    return load
