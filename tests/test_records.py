"""The order of what is in shards: each once an epoch, a function of seed and position, and of nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from kcolor.data import records
from kcolor.data.records import Shards

COUNTS = [5, 5, 5, 3, 1]
TOTAL = sum(COUNTS)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> Shards:
    """Nineteen records that say their number, in files of different lengths, two of which make a block."""
    folder = tmp_path_factory.mktemp("records")
    paths = [str(folder / f"{i}.tfrecord") for i in range(len(COUNTS))]
    number = 0
    for path, count in zip(paths, COUNTS, strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for _ in range(count):
                writer.write(str(number).encode())
                number += 1
    return Shards(paths, COUNTS, bytes=5000, size=1, quality=0, block=2000)


def taken(shards, count, **options):
    found = records.shuffled(shards, **{"seed": 0, **options}).take(count)
    return [(int(position), int(record)) for position, record in found.as_numpy_iterator()]


def order(shards, count, **options):
    return [number for _, number in taken(shards, count, **options)]


def test_each_epoch_has_each_record_once_in_an_order_of_its_own(numbered):
    everything = taken(numbered, 5 * TOTAL)
    assert [position for position, _ in everything] == list(range(5 * TOTAL))
    epochs = [tuple(number for _, number in everything[i * TOTAL : (i + 1) * TOTAL]) for i in range(5)]
    assert all(sorted(epoch) == list(range(TOTAL)) for epoch in epochs)
    assert len(set(epochs)) == 5


def test_starting_late_is_skipping(numbered):
    whole = taken(numbered, 3 * TOTAL + 5)
    for start in (1, 5, 9, 10, 14, TOTAL - 1, TOTAL, TOTAL + 1, 2 * TOTAL + 7, 3 * TOTAL):
        assert taken(numbered, 5, start=start) == whole[start : start + 5]


def test_a_stream_far_into_a_run(numbered):
    far = 2**40
    assert [position for position, _ in taken(numbered, 4, start=far)] == [far + i for i in range(4)]
    assert taken(numbered, 4, start=far)[2:] == taken(numbered, 2, start=far + 2)


def test_the_order_of_a_seed_is_what_it_always_was(numbered):
    """Else runs that were begun with an earlier version would go on with other photos."""
    assert order(numbered, 24) == ORDER


ORDER = [0, 2, 13, 14, 3, 11, 12, 10, 4, 1, 7, 16, 8, 15, 9, 6, 5, 17, 18, 0, 6, 1, 2, 4]


def test_files_of_a_block_are_mixed_and_blocks_differ(numbered):
    file_of = np.repeat(np.arange(len(COUNTS)), COUNTS)
    epochs = np.reshape(order(numbered, 40 * TOTAL), (40, TOTAL))
    first = [set(file_of[epoch[:4]].tolist()) for epoch in epochs]  # the least block has four
    assert {len(files) for files in first} == {1, 2}
    assert len({frozenset(files) for files in first}) > 5
    whole = Shards(numbered.files, numbered.counts, 5000, 1, 0, block=10**6)
    epochs = np.reshape(order(whole, 100 * TOTAL), (100, TOTAL))
    places = np.argsort(epochs, axis=1).mean(axis=0)
    assert np.abs(places - (TOTAL - 1) / 2).max() < 2.2  # the standard deviation of such a mean is 0.55


def test_the_order_depends_on_the_seed(numbered):
    assert order(numbered, 38, seed=1) == order(numbered, 38, seed=1)
    assert order(numbered, 38, seed=1) != order(numbered, 38, seed=2)


def test_replicas_have_what_one_alone_has(numbered):
    whole = taken(numbered, 40, start=8)
    shares = [
        taken(numbered, 20, start=8, own=lambda position, replica=replica: position % 4 // 2 == replica)
        for replica in range(2)
    ]
    assert sorted(shares[0] + shares[1]) == whole
    assert [position % 4 for position, _ in shares[1]] == [2, 3] * 10


def test_in_order(numbered):
    assert [int(record) for record in records.in_order(numbered).as_numpy_iterator()] == list(range(TOTAL))
    some = Shards(numbered.files, COUNTS, 5000, 1, 0, at_most=7)
    assert [int(record) for record in records.in_order(some).as_numpy_iterator()] == list(range(7))
    assert (len(numbered), len(some)) == (TOTAL, 7)


def test_a_single_record_and_none(tmp_path, numbered):
    assert order(Shards(numbered.files[-1:], [1], 10, 1, 0), 3) == [18] * 3
    assert list(records.in_order(Shards([], [], 0, 1, 0))) == []
