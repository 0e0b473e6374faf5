"""What a replica of the networks knows of the others: a batch is shared out among GPUs and machines.

Inside `tf.distribute.Strategy.run` a step sees its own rows of the batch. What it computes is to be that of the whole
batch all the same, to rounding; so what depends on the other rows, or on where in the batch a row stands, goes through
here. Where there is one replica, all of this is nothing.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf


def count() -> int:
    """The replicas that share the batch; 1 outside of `run`."""
    context = tf.distribute.get_replica_context()
    return int(context.num_replicas_in_sync) if context else 1


def own_rows(draw: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """A replica's rows of what is drawn for the whole batch.

    Random states are one and the same on all replicas, so all draw the same, and a row's draw does not depend on how
    many replicas there are.

    Args:
        draw: From a number of rows to as many of them.
        rows: How many this replica has; the same on each.
    """
    replicas = count()
    if replicas == 1:
        return draw(rows)
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * rows
    return draw(replicas * rows)[first : first + rows]


def moments(x: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of the whole batch, of replicas with as many values each; gradients go back to all of them.

    The replicas' moments are put together as Chan, Golub and LeVeque do ("Updating formulae and a pairwise algorithm",
    1979), which does not cancel as the mean of the squares does; and in one exchange.

    Args:
        x: This replica's rows, float32.
        axes: What is averaged over, the batch among them.

    Returns:
        Two of the shape of `x` without these axes.
    """
    mean, variance = tf.nn.moments(x, axes)
    replicas = count()
    if replicas == 1:
        return mean, variance
    context = tf.distribute.get_replica_context()
    place = tf.one_hot(context.replica_id_in_sync_group, replicas, dtype=x.dtype)
    table = tf.tensordot(place, tf.stack([mean, variance]), axes=0)  # (replicas, 2, ...), zero in the others' places
    means, variances = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, table), axis=1)
    mean = tf.reduce_mean(means, 0)
    return mean, tf.reduce_mean(variances + tf.square(means - mean), 0)
