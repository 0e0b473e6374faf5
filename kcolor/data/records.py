"""The records of shards, read in an order that is a function of seed and position.

Files are read from their beginnings to their ends, as object stores like it, a few of them at a time: a block, which
is in memory as a whole, and whose records are shuffled among each other. Which files make a block is drawn anew each
epoch. So any position is found without reading what goes before its block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Bytes of files whose records are shuffled among each other. The block that is shown, the one that waits, and the one
# being read are in memory at once.
BLOCK = 2**27

# Keeps the draw of a block's inner order apart from that of its files.
_INSIDE_STREAM = 0x626C6F63

_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/class/label": tf.io.FixedLenFeature((), tf.int64),
}


@dataclass(frozen=True)
class Shards:
    """The photos of one split, in shards.

    Args:
        files: Paths of TFRecord files, as `tf.io.gfile` knows them; none empty.
        counts: Records of each.
        bytes: Of all files together.
        size: Side of the squares in them.
        quality: Of their JPEG; 0: they are PNG.
        at_most: Only so many, the first ones; 0: all.
        block: Bytes of the files that are shuffled among each other.
    """

    files: Sequence[str]
    counts: Sequence[int]
    bytes: int
    size: int
    quality: int
    at_most: int = 0
    block: int = BLOCK

    def __len__(self) -> int:
        count = sum(self.counts)
        return min(count, self.at_most) if self.at_most else count


def example(encoded: bytes, label: int, path: str) -> bytes:
    """A record: a `tf.train.Example` with the names that TensorFlow's own ImageNet has.

    Args:
        encoded: The picture.
        label: The class's number.
        path: Of the photo, relative to the manifest's root.
    """
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[path.encode("utf-8", "surrogateescape")])
        ),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The picture, encoded, and the label, int32, of a record."""
    found = tf.io.parse_single_example(record, _FEATURES)
    return found["image/encoded"], tf.cast(found["image/class/label"], tf.int32)


def in_order(shards: Shards) -> tf.data.Dataset:
    """The records as they were written."""
    found = tf.data.TFRecordDataset(tf.constant(shards.files, tf.string, shape=(len(shards.files),)))
    return found.take(len(shards))


def shuffled(
    shards: Shards, seed: int, start: int = 0, own: Callable[[tf.Tensor], tf.Tensor] | None = None
) -> tf.data.Dataset:
    """All records again and again, in another order each time.

    Args:
        shards: At least one photo.
        seed: Of the order.
        start: The position to begin with; of what went before no more is read than what is in the same block.
        own: From positions to which of them are wanted; None: all.

    Returns:
        (position, record), from `start` on without end.

    Raises:
        tf.errors.OpError: While reading, if a file has gone or is damaged.
    """
    files, counts = tf.constant(shards.files, tf.string), tf.constant(shards.counts, tf.int64)
    count, total = len(shards.files), sum(shards.counts)
    width = max(1, min(count, shards.block * count // max(shards.bytes, 1)))  # files a block
    blocks = -(-count // width)  # an epoch
    order_seed = np.uint32(seed % 2**32)

    def order(epoch: tf.Tensor) -> tf.Tensor:
        seeds = tf.stack([order_seed, tf.cast(epoch, tf.uint32)])
        return tf.random.experimental.index_shuffle(tf.range(count, dtype=tf.int64), seeds, count - 1)

    def block(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, place = number // blocks, number % blocks
        files_in_order = order(epoch)
        before = tf.reduce_sum(tf.gather(counts, files_in_order[: place * width]))
        chosen = files_in_order[place * width : (place + 1) * width]
        here = tf.reduce_sum(tf.gather(counts, chosen))
        found = tf.data.TFRecordDataset(tf.gather(files, chosen)).batch(here).get_single_element()
        names = tf.strings.reduce_join(tf.gather(files, chosen), separator=", ")
        whole = tf.debugging.Assert(
            tf.equal(tf.size(found, tf.int64), here), [names, "other records than the index says"]
        )
        with tf.control_dependencies([whole]):
            seeds = tf.stack([order_seed ^ np.uint32(_INSIDE_STREAM), tf.cast(number, tf.uint32)])
            inner = tf.random.experimental.index_shuffle(tf.range(here), seeds, here - 1)
        positions = epoch * total + before + tf.range(here)
        wanted = positions >= start
        if own:
            wanted &= own(positions)
        return positions[wanted], tf.gather(found, inner[wanted])

    epoch, within = divmod(start, total)
    ends = np.cumsum(np.asarray(shards.counts)[order(tf.constant(epoch, tf.int64)).numpy()])
    first = int(np.searchsorted(ends, within, side="right")) // width  # the block in which the position is
    numbers = tf.data.Dataset.range(epoch * blocks + first, np.iinfo(np.int64).max)
    return numbers.map(block).prefetch(1).flat_map(lambda *of: tf.data.Dataset.from_tensor_slices(of))
