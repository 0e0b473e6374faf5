"""Who trains together: one device, the GPUs of one machine, or several machines; and what they hold in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from kcolor.cluster import Task
from kcolor.errors import ClusterError, WorkerLostError

# A reduction that waits longer than this, in seconds, waits for nothing. A machine that has gone is noticed by its
# heartbeat, within seconds; the chief may well take minutes to validate and to write a checkpoint.
_PATIENCE = 3600.0


@dataclass(frozen=True)
class Team:
    """The replicas of the networks that share each batch.

    Args:
        strategy: TensorFlow's word for them.
        task: Which of several workers this process is; None: there is no other.
    """

    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)
    task: Task | None = None

    @property
    def replicas(self) -> int:
        """How many there are, on all machines."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.task is None or self.task.chief

    @property
    def here(self) -> range:
        """The numbers of the replicas of this process."""
        if self.task is None:
            return range(self.replicas)
        number = self.replicas // len(self.task.addresses)
        return range(self.task.index * number, (self.task.index + 1) * number)

    def devices(self) -> list[str]:
        """What the replicas are computed on; TF32: products and convolutions keep 10 bits of a float32 number's 23."""
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return ["CPU"] * self.replicas
        tf32 = ", TF32" if tf.config.experimental.tensor_float_32_execution_enabled() else ""
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) + tf32 for gpu in gpus]
        return (names * self.replicas)[: self.replicas]

    def share_out(self, make: Callable[..., tf.data.Dataset]) -> Iterator[tuple[Any, ...]]:
        """What the replicas of this process see, step by step: for each of them an element; see `own`.

        Args:
            make: Takes `replica`, its number, and `replicas`, how many there are, and gives its batches.
        """
        return zip(*(make(replica=replica, replicas=self.replicas) for replica in self.here), strict=True)

    def own(self, shared: tuple[Any, ...]) -> Any:
        """In `Strategy.run`: this replica's element."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return shared[int(tf.get_static_value(replica)) - self.here.start]

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Where something is exchanged: a worker that has gone is one line.

        Raises:
            WorkerLostError: Another worker has gone.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.task is None or not lost(error):
                raise
            raise WorkerLostError(
                f"{self.task.named(self.task.index)}: another worker has stopped, or cannot be reached; "
                "see what it says, and start all of them again with --resume"
            ) from error

    def share(self, variables: list[keras.Variable]) -> None:
        """Give all workers the chief's values."""
        if self.task is None:
            return

        def first(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            own = tf.equal(context.replica_id_in_sync_group, 0)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(own, value, tf.zeros_like(value)))

        @tf.function(autograph=False, reduce_retracing=True)
        def of_first(value: tf.Tensor) -> tf.Tensor:
            return self.strategy.experimental_local_results(self.strategy.run(first, args=(value,)))[0]

        # Unsigned numbers, the states of random generators, are none that machines can add up.
        wide = {tf.uint32: tf.int64}
        with self.connected():
            for variable in variables:
                value = tf.convert_to_tensor(variable.value)
                shared = of_first(tf.reshape(tf.cast(value, wide.get(value.dtype, value.dtype)), (-1,)))
                variable.assign(tf.reshape(tf.cast(shared, value.dtype), value.shape))


def assemble(task: Task | None) -> Team:
    """The team of this process: with the other workers if there are any, else with all GPUs that can be seen.

    To be called before TensorFlow has done anything else, where there are other workers.

    Raises:
        ClusterError: They cannot be connected.
    """
    if task is not None:
        options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_PATIENCE)
        try:
            return Team(tf.distribute.MultiWorkerMirroredStrategy(communication_options=options), task)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            raise ClusterError(f"{task.named(task.index)}: cannot be connected with the others ({said})") from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Team(tf.distribute.MirroredStrategy())
    return Team()


def lost(error: tf.errors.OpError) -> bool:
    """Whether an error says that another worker has gone."""
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    words = ("Collective", "collective", "heartbeat", "coordination", "RecvBuf")
    return isinstance(error, gone) or any(word in str(error) for word in words)
