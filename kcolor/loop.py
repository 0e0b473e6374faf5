"""The training loop: the same for one device, several GPUs and several machines.

Keras' `fit` does not train on several machines, resumes an epoch from its beginning only, and puts the choice of whose
turn it is into the graph. This one goes on from whatever step the model is at; all else is left to Keras' callbacks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kcolor.gan import ColorGAN
from kcolor.team import Team

# From `replica`, its number, and `replicas`, how many there are, to its batches of (rgb, labels).
Batches = Callable[..., tf.data.Dataset]


@dataclass
class Stop:
    """A wish to stop, of which all workers learn at the same step.

    Args:
        signum: The signal that came to this process.
        agreed: Whether all know that they are to stop at the end of this step.
    """

    signum: int | None = None
    agreed: bool = False


def train(
    model: ColorGAN,
    team: Team,
    *,
    training: Batches,
    validation: Batches,
    epochs: int,
    steps_per_epoch: int,
    callbacks: list[keras.callbacks.Callback],
    stop: Stop,
) -> None:
    """Train from the step that the model is at to the end of the last epoch.

    Args:
        model: Compiled, made in the scope of the team's strategy.
        team: Who trains.
        training: Endless batches, from that step on.
        validation: What is seen at each epoch's end: as many batches for each replica, the last possibly empty.
        epochs: Of the whole run.
        steps_per_epoch: Of the whole run.
        callbacks: Called as by Keras' `fit`, in this order. What they are told of a batch are tensors, the epoch's
            means so far, and waiting for them is left to those who look.
        stop: `signum` may be set at any time; `agreed` is what callbacks go by.

    Raises:
        tf.errors.OpError: A batch cannot be read, before anything was learnt from it; or another worker has gone.
    """
    steps = _Steps(model, team)
    listeners = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps_per_epoch, verbose=0)
    done = model.step
    batches = team.share_out(training)
    logs: dict[str, Any] = {}
    listeners.on_train_begin()
    for epoch in range(done // steps_per_epoch, epochs):
        if done % steps_per_epoch == 0:
            for tracker in model.train_trackers.values():
                tracker.reset_state()
        listeners.on_epoch_begin(epoch)
        for batch in range(done % steps_per_epoch, steps_per_epoch):
            listeners.on_train_batch_begin(batch)
            turn = done % model.critic_steps == model.critic_steps - 1
            means = steps.train(batches, turn, stop)
            done += 1
            # The list itself would make numbers of them, and so wait for each step.
            for callback in listeners.callbacks:
                callback.on_train_batch_end(batch, means)
        logs = {name: float(mean) for name, mean in model.means().items()}
        listeners.on_test_begin()
        judged = {name: float(value) for name, value in steps.validate(validation).items()}
        listeners.on_test_end(judged)
        logs |= {f"val_{name}": value for name, value in judged.items()}
        listeners.on_epoch_end(epoch, logs)
    listeners.on_train_end(logs)


class _Steps:
    """The graphs of a step: with the generator's turn, without it, and of validation."""

    def __init__(self, model: ColorGAN, team: Team) -> None:
        self.model, self.team = model, team
        self.alone = team.replicas == 1
        self.asked = tf.constant(0.0)
        self.step = {turn: tf.function(partial(self._train, turn), autograph=False) for turn in (True, False)}
        size = model.generator.input_shape[1]
        seen = (tf.TensorSpec((None, size, size, 3), tf.uint8), tf.TensorSpec((None,), tf.int32))
        self.judge = tf.function(self._judge, autograph=False, input_signature=[(seen,) * len(team.here)])
        self.verdict = tf.function(model.verdict, autograph=False)

    def train(self, batches: Iterator[Any], turn: bool, stop: Stop) -> dict[str, tf.Tensor]:
        """Take a step; the means of the epoch so far."""
        several = self.team.task is not None
        # Read out here, where a batch that cannot be read leaves everything as it was.
        means, asked = self.step[turn](next(batches), tf.constant(float(several and stop.signum is not None)))
        # Of the step before, which is done by now: to look at this one's would be to wait for it.
        stop.agreed = bool(self.asked > 0) if several else stop.signum is not None
        self.asked = asked
        return means

    def _train(self, turn: bool, shared: tuple[Any, ...], asked: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        names: list[str] = []

        def learn(shared: tuple[Any, ...], asked: tf.Tensor) -> tf.Tensor:
            rgb, labels = self.team.own(shared)
            terms = self.model.learn(rgb, labels, turn)
            names[:] = terms
            return tf.stack([*terms.values(), asked])

        told = self.team.strategy.run(self._compiled(learn), args=(shared, asked))
        *terms, asked = tf.unstack(self.team.strategy.reduce(tf.distribute.ReduceOp.MEAN, told, axis=None))
        self.model.track(dict(zip(names, terms, strict=True)), turn)
        return self.model.means(), asked

    def _compiled(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """By XLA, where Keras would have chosen it; it knows nothing of what several replicas exchange."""
        return tf.function(step, autograph=False, jit_compile=True) if self.alone and self.model.jit_compile else step

    def validate(self, validation: Batches) -> dict[str, tf.Tensor]:
        """The verdict on the photos of validation."""
        for metric in (*self.model.test_trackers.values(), *self.model.figures, *self.model.grey_figures):
            metric.reset_state()
        for batches in self.team.share_out(validation):
            self.judge(batches)
        return self.verdict()

    def _judge(self, shared: tuple[Any, ...]) -> None:
        def judge(shared: tuple[Any, ...]) -> None:
            rgb, labels = self.team.own(shared)

            def seen() -> tf.Tensor:
                self.model.judge(rgb, labels)
                return tf.constant(0)

            if self.alone:
                seen()
            else:
                tf.cond(tf.shape(rgb)[0] > 0, seen, lambda: tf.constant(0))

        self.team.strategy.run(self._compiled(judge), args=(shared,))
