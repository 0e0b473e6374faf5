"""What `fit` does beside the training itself: progress, history, samples, checkpoints, stopping."""

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from kcolor import checkpoint, color, pictures
from kcolor.errors import RunError
from kcolor.gan import FIGURES
from kcolor.loop import Stop
from kcolor.run import Run

TILE = 192  # pixels: what is smaller is enlarged in the sample grids

# To look at a loss is to wait for the step that it is of; a device that is waited for at each step stands still between
# two. A mean that is once not finite stays so to the end of its epoch.
_STEPS_BETWEEN_LOOKS = 20
_SECONDS_BETWEEN_LOOKS = 0.2


class Stopped(Exception):  # noqa: N818 - it is no error
    """Training was asked to stop, and has saved itself.

    Args:
        step: The number of batches trained on.
        signum: The signal that asked.
    """

    def __init__(self, step: int, signum: int) -> None:
        super().__init__(f"stopped at step {step} by {signal.Signals(signum).name}")
        self.step = step
        self.signum = signum


class ProgressBar(keras.callbacks.Callback):
    """A bar with the losses, pictures a second and the time left; a line an epoch.

    Args:
        console: Where to; the bar is drawn only on a terminal.
        epochs, steps_per_epoch, batch_size: The run's own.
        step: Where training begins.
    """

    def __init__(self, console: Console, *, epochs: int, steps_per_epoch: int, batch_size: int, step: int) -> None:
        super().__init__()
        self.console = console
        self.epochs = epochs
        self.batch_size = batch_size
        self.step = step
        self.total = epochs * steps_per_epoch
        self.looked = 0.0
        # The losses come last and take what room there is: on a narrow terminal they are what is cut.
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            TaskProgressColumn(table_column=Column(no_wrap=True, min_width=4)),
            TextColumn("step {task.completed}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(
            "", total=self.total, completed=step, rate="", losses="preparing the first step"
        )

    def on_train_begin(self, logs: Any = None) -> None:
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.progress.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}")
        self.first_step = self.step
        self.started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        if self.progress.disable or time.monotonic() - self.looked < _SECONDS_BETWEEN_LOOKS:
            return
        self.looked = time.monotonic()
        rate = (self.step - self.first_step) * self.batch_size / (time.monotonic() - self.started)
        losses = "  ".join(f"{name} {float(value):.4g}" for name, value in (logs or {}).items())
        self.progress.update(self.task, completed=self.step, losses=losses, rate=f"{rate:.1f} pictures/s")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        losses = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        self.console.print(f"epoch {epoch + 1}/{self.epochs}  {losses}", highlight=False, soft_wrap=True)

    def on_train_end(self, logs: Any = None) -> None:
        self.progress.stop()


class History(keras.callbacks.Callback):
    """A line an epoch in the run's history, and the loss curves drawn from it.

    Args:
        run: Whose history.
        batch_size: For the rate.
    """

    def __init__(self, run: Run, batch_size: int) -> None:
        super().__init__()
        self.run = run
        self.batch_size = batch_size

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.first_step = self.model.step
        self.started = time.monotonic()
        self.trained: float | None = None

    def on_test_begin(self, logs: Any = None) -> None:
        self.trained = time.monotonic() - self.started

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = self.trained or time.monotonic() - self.started
        step = self.model.step
        entry = {
            "epoch": epoch + 1,
            "step": step,
            **{name: _or_none(float(value)) for name, value in (logs or {}).items()},
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(seconds, 3),
            "photos_per_second": round((step - self.first_step) * self.batch_size / seconds, 3),
        }
        # An epoch that is trained again after a resume replaces its former line.
        epochs = [*(former for former in self.run.read_history() if former["epoch"] <= epoch), entry]
        self.run.write_history(epochs)
        pictures.curves(self.run.curves, epochs)


class Samples(keras.callbacks.Callback):
    """Sample grids (grey | prediction | truth) of fixed photos, at each epoch and at the end.

    Args:
        run: In whose ``samples`` folder.
        rgb: The photos, (n, size, size, 3) uint8.
    """

    def __init__(self, run: Run, rgb: np.ndarray) -> None:
        super().__init__()
        self.run = run
        self.rgb = rgb

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        l, ab = color.split(self.rgb)
        grey = color.merge(l, 0 * ab).numpy()
        prediction = color.merge(l, self.model.generator(l, training=False)["ab"]).numpy()
        rows = [[pictures.enlarge(tile, TILE) for tile in row] for row in zip(grey, prediction, self.rgb, strict=True)]
        sheet = pictures.grid(rows)
        pictures.save(self.run.samples / f"epoch-{epoch + 1:04d}.png", sheet)


def _or_none(value: float) -> float | None:
    """A number as JSON has it; the figures of validation may be infinite, or not be there."""
    return value if math.isfinite(value) else None


class StopOnNaN(keras.callbacks.Callback):
    """Ends training soon after the first loss that is not finite, at the same step on all machines.

    Args:
        run: Whose last good checkpoint is to be named; None: another worker has it.
    """

    def __init__(self, run: Run | None) -> None:
        super().__init__()
        self.run = run

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch % _STEPS_BETWEEN_LOOKS == 0:
            self._check(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check(logs)

    def _check(self, logs: Any) -> None:
        losses = {name: value for name, value in (logs or {}).items() if name.removeprefix("val_") not in FIGURES}
        bad = [name for name, value in losses.items() if not math.isfinite(float(value))]
        if bad:
            step = self.model.step
            what = f"step {step}: the loss is not finite ({', '.join(bad)})"
            raise not_finite(self.run, what) if self.run else RunError(f"{what}; see what worker 0 says")


def not_finite(run: Run, what: str) -> RunError:
    """The error that names the last good checkpoint."""
    kept = checkpoint.last_whole(run.checkpoints)
    last = f"the last good checkpoint is {kept.path}" if kept else "there is no checkpoint yet"
    return RunError(f"{run.path}: {what}; {last}; begin a new run with a lower --set optimizer.learning_rate=…")


# For each figure that may tell the best epoch, what is the less the better.
BETTER: dict[str, Callable[[float], float]] = {
    "reconstruction": lambda value: value,
    "psnr": lambda value: -value,
    "delta_e_2000": lambda value: value,
    "colourfulness_ratio": lambda value: abs(value - 1.0),
}


class Stopping(keras.callbacks.Callback):
    """Stopping on a signal, when all workers know of it.

    Args:
        stop: Whether they do.
        steps_per_epoch: The run's own.
    """

    def __init__(self, *, stop: Stop, steps_per_epoch: int) -> None:
        super().__init__()
        self.stop = stop
        self.steps_per_epoch = steps_per_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.step = self.model.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        # After an epoch's last step on_epoch_end does it, once the validation is in the history.
        if self.step % self.steps_per_epoch and self.is_time():
            self.halt()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.halt()

    def is_time(self) -> bool:
        """Whether something is to be done between two steps."""
        return self.stop.agreed

    def halt(self) -> None:
        """Stop, if that has been agreed on."""
        if self.stop.agreed:
            raise Stopped(self.step, self.stop.signum or signal.SIGTERM)

    def ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        """A signal handler: saves and stops at the end of a step; a second signal stops at once."""
        if self.stop.signum is not None:
            raise KeyboardInterrupt
        self.stop.signum = signum


class Checkpoints(Stopping):
    """Checkpoints by the clock, at each epoch's end and before stopping; the best generator.

    Args:
        run: In whose ``checkpoints`` folder.
        minutes: The time between two within an epoch; 0: one a step.
        best_by: The validation figure by which the best generator is told: a key of `BETTER`.
        stop, steps_per_epoch: As in `Stopping`.
    """

    def __init__(self, run: Run, *, minutes: float, best_by: str, stop: Stop, steps_per_epoch: int) -> None:
        super().__init__(stop=stop, steps_per_epoch=steps_per_epoch)
        self.best_by = best_by
        self.run = run
        self.seconds = 60 * minutes

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self.saved_at = time.monotonic()

    def is_time(self) -> bool:
        return super().is_time() or time.monotonic() - self.saved_at >= self.seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        kept = [self.shortfall(entry) for entry in self.run.read_history()]
        if kept[-1] == min(kept):
            checkpoint.save_generator(self.model, self.run.best)
        self.halt()

    def shortfall(self, entry: dict[str, Any]) -> float:
        """How far an epoch is from the best there could be, by the figure that was chosen."""
        value = entry.get(f"val_{self.best_by}")
        return math.inf if value is None else BETTER[self.best_by](value)

    def halt(self) -> None:
        """Save; and stop, if that has been agreed on."""
        try:
            checkpoint.save(self.model, self.run.checkpoints)
        except FloatingPointError as error:
            raise not_finite(self.run, str(error)) from error
        self.saved_at = time.monotonic()
        super().halt()


def tensorboard(folder: Path) -> keras.callbacks.Callback:
    """TensorBoard logs: every figure of the history, by epoch."""
    return keras.callbacks.TensorBoard(str(folder), write_graph=False)
