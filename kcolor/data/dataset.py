"""Photos on disk -> batches of uint8 RGB and labels, with `tf.data`.

The stream that training reads is a pure function of the seed and the position in it: which photo stands where,
whether one of its instances is shown in place of it, and whether it is mirrored and how it is cut. So a run that is
resumed reads on exactly where it stopped.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kcolor import image
from kcolor.data import records
from kcolor.data.instances import Instances
from kcolor.data.records import Shards
from kcolor.data.rows import Rows, Texts

# Keep the draws of the mirror image, the window and the instance apart from the draw of the order, and from each other.
_FLIP_STREAM = 0x666C6970
_WINDOW_STREAM = 0x77696E64
_INSTANCE_STREAM = 0x696E7374

_PAGE = 2**14  # bytes of names in a text


@dataclass(frozen=True)
class Photos:
    """The photos of one split.

    Args:
        paths: Their files; `kcolor.data.rows.Texts` where there are millions.
        labels: Class numbers, one a photo; all 0 where there are no classes.
        orientations: EXIF orientations 1 to 8, one a photo.
        instances: What is shown of each photo's instances, in pixels of the upright photo; None: there are none.
    """

    paths: Sequence[str | Path]
    labels: Sequence[int] | np.ndarray
    orientations: Sequence[int] | np.ndarray
    instances: Instances | None = None

    def __len__(self) -> int:
        return len(self.paths)


def photos_of(rows: Rows, root: Path, classes: Sequence[str]) -> Photos:
    """A manifest's rows as photos.

    Args:
        rows: The rows.
        root: Where their paths start from.
        classes: The names, in the order of their numbers.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    return Photos(
        paths=rows.paths.below(os.path.join(root, "")),  # noqa: PTH118 - that ends with a separator
        labels=np.array([numbers.get(name, 0) for name in rows.labels], np.int32)[rows.label],
        orientations=rows.orientation.astype(np.int32),
        instances=rows.instances.widened(rows.width, rows.height),
    )


def training_stream(
    photos: Photos | Shards,
    *,
    size: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    crop: bool = False,
    flip: float = 0.5,
    random_crop: float = 0.0,
    instances: float = 0.0,
    replica: int = 0,
    replicas: int = 1,
) -> tf.data.Dataset:
    """Endless batches, shuffled anew each time that all photos have been seen.

    Several replicas share each batch: one after the other they have equal parts of its rows, and together they have
    what one alone would have.

    Args:
        photos: At least one.
        size: Side of the squares.
        batch_size: Photos a batch.
        seed: Of the order, of the instances, of the mirroring and of the windows.
        start: The batch to begin with; what went before is skipped without being read.
        crop: Keep the aspect by cutting out the centre (`kcolor.image.fit_square`).
        flip: Probability that a photo is mirrored.
        random_crop: The largest share of its sides, below 1, that a photo loses: what is shown of it is a window of its
            own proportions, of a size and at a place drawn anew each time. 0: all of it.
        instances: Probability that of a photo that has instances one is shown, any of them alike, as if it were the
            photo; shards have none.
        replica: Whose rows these are.
        replicas: Of how many; `batch_size` is a multiple of it.

    Returns:
        Batches of (rgb, labels): (batch_size / replicas, size, size, 3) uint8 and (batch_size / replicas,) int32.

    Raises:
        tf.errors.NotFoundError, tf.errors.InvalidArgumentError: While reading, if a photo has gone or is broken.
    """
    rows = batch_size // replicas
    boxed: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    if isinstance(photos, Shards):
        load = _square_loader(photos, size)
        places = records.shuffled(
            photos, seed, start * batch_size, own=lambda position: position % batch_size // rows == replica
        )
    else:
        load = loader(photos, size, crop)
        numbers = tf.data.Dataset.range(start * rows, np.iinfo(np.int64).max // replicas)
        positions = numbers.map(lambda number: number // rows * batch_size + replica * rows + number % rows)
        places = positions.map(_shuffled(len(photos), seed))
        if instances and photos.instances is not None:
            boxed = _boxes(photos.instances, instances, seed)

    def sample(position: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def cut(rgb: tf.Tensor) -> tf.Tensor:
            if boxed:
                rgb = _inside(rgb, boxed(position, place))
            if random_crop:
                draws = tf.random.stateless_uniform((3,), tf.stack([position, seed ^ _WINDOW_STREAM]))
                rgb = _window(rgb, 1.0 - random_crop * draws[0], draws[1:])
            return rgb

        rgb, label = load(place, cut)
        draw = tf.random.stateless_uniform((), tf.stack([position, seed ^ _FLIP_STREAM]))
        return tf.cond(draw < flip, lambda: tf.reverse(rgb, (1,)), lambda: rgb), label

    samples = places.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return samples.batch(rows, drop_remainder=True).prefetch(2)


def evaluation_batches(
    photos: Photos | Shards,
    *,
    size: int,
    batch_size: int,
    crop: bool = False,
    replica: int = 0,
    replicas: int = 1,
) -> tf.data.Dataset:
    """Every photo once, in order, as it is; batches as from `training_stream`, the last one possibly smaller.

    Several replicas take turns at the photos, and have as many batches each: the last one may be of no photo.
    """
    if isinstance(photos, Shards):
        places, load = records.in_order(photos).shard(replicas, replica), _square_loader(photos, size)
    else:
        places, load = tf.data.Dataset.range(replica, len(photos), replicas), loader(photos, size, crop)
    samples = places.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = samples.batch(batch_size)
    own = len(range(replica, len(photos), replicas))
    if evaluation_steps(len(photos), batch_size, replicas) > -(-own // batch_size):
        none = (tf.zeros((0, size, size, 3), tf.uint8), tf.zeros((0,), tf.int32))
        batches = batches.concatenate(tf.data.Dataset.from_tensors(none))
    return batches.prefetch(2)


def evaluation_steps(photos: int, batch_size: int, replicas: int = 1) -> int:
    """How many batches each replica has of `evaluation_batches`."""
    return -(-photos // (batch_size * replicas))


def _boxes(instances: Instances, share: float, seed: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function from a position and the photo there to what is shown of it: (4,) int32, left, top, right, bottom."""
    whole = np.array([[0, 0, 2**31 - 1, 2**31 - 1]], np.int32)
    boxes = tf.constant(np.concatenate([instances.boxes, whole]))
    starts, counts = tf.constant(instances.starts, tf.int64), tf.constant(instances.counts, tf.int32)

    def box(position: tf.Tensor, photo: tf.Tensor) -> tf.Tensor:
        draws = tf.random.stateless_uniform((2,), tf.stack([position, seed ^ _INSTANCE_STREAM]))
        count = counts[photo]
        # Rounding could take a draw just below 1 past the last one.
        number = tf.minimum(tf.cast(draws[1] * tf.cast(count, tf.float32), tf.int32), count - 1)
        place = starts[photo] + tf.cast(number, tf.int64)
        return boxes[tf.where((draws[0] < share) & (count > 0), place, len(instances.boxes))]

    return box


def _inside(rgb: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """What is inside of a box, left, top, right, bottom, of (height, width, 3); a pixel at least, as far as it goes."""
    whole = tf.shape(rgb)[:2]
    corner = tf.minimum(box[1::-1], whole - 1)
    sides = tf.minimum(box[:1:-1], whole) - corner
    return tf.slice(rgb, tf.concat([corner, [0]], 0), tf.concat([tf.maximum(sides, 1), [3]], 0))


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


# From where a photo stands, and what is done to it before it comes to size, to its (rgb, label).
_Load = Callable[..., tuple[tf.Tensor, tf.Tensor]]


def _shuffled(photos: int, seed: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from a position to (position, number of the photo that stands there)."""
    count = tf.constant(photos, tf.int64)
    order_seed = np.uint32(seed % 2**32)

    def place(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch_seed = tf.stack([order_seed, tf.cast(position // count, tf.uint32)])
        return position, tf.random.experimental.index_shuffle(position % count, epoch_seed, count - 1)

    return place


def loader(photos: Photos, size: int, crop: bool) -> _Load:
    """What loads a photo: a function of its number, and of what is done to it before it comes to size, to (rgb, label).

    Args:
        photos: The photos.
        size: Side of the squares.
        crop: As `kcolor.image.fit_square`.
    """
    paths = photos.paths if isinstance(photos.paths, Texts) else Texts.of(photos.paths)
    # Texts that names are cut from. One for each photo would take its time and twice the memory; one for all is copied
    # several times over. Each reaches as far into the next as a name may.
    longest = int(paths.lengths.max(initial=0))
    pages = tf.constant(
        [paths.blob[at : at + _PAGE + longest] for at in range(0, len(paths.blob) or 1, _PAGE)], tf.string
    )
    prefix = tf.constant(os.fsencode(paths.prefix))
    starts, lengths = tf.constant(paths.starts, tf.int64), tf.constant(paths.lengths, tf.int64)
    labels = tf.constant(photos.labels, tf.int32, shape=(len(photos),))
    orientations = tf.constant(photos.orientations, tf.int32, shape=(len(photos),))

    def load(index: tf.Tensor, cut: Callable[[tf.Tensor], tf.Tensor] = lambda rgb: rgb) -> tuple[tf.Tensor, tf.Tensor]:
        name = tf.strings.substr(pages[starts[index] // _PAGE], starts[index] % _PAGE, lengths[index])
        rgb = image.decode(tf.io.read_file(prefix + name))
        rgb = cut(image.orient(rgb, orientations[index]))
        return image.fit_square(rgb, size, crop=crop), labels[index]

    return load


def _square_loader(shards: Shards, size: int) -> _Load:
    """As `loader`, from a record."""

    def load(record: tf.Tensor, cut: Callable[[tf.Tensor], tf.Tensor] = lambda rgb: rgb) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label = records.parse(record)
        rgb = image.decode_square(encoded, shards.size, shards.quality)
        return image.fit_square(cut(rgb), size), label

    return load
