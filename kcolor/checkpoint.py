"""Checkpoints from which a run goes on bit for bit.

A checkpoint holds every variable there is: both networks, both optimizers, the states of the random generators, and the
running means of the epoch. It is a folder ``step-<n>`` that appears when it is whole.
"""

import errno
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kcolor import files
from kcolor.errors import RunError
from kcolor.gan import ColorGAN

KEPT = 2  # The one before the last, too: should the last be damaged, little is lost.


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Args:
        path: Its folder.
        step: The number of batches trained on.
    """

    path: Path
    step: int


def save(gan: ColorGAN, folder: Path) -> Checkpoint:
    """Write a checkpoint of a compiled GAN, and delete older ones but one.

    Raises:
        RunError: The disk is full or cannot be written to; the checkpoints that were there still are.
        FloatingPointError: A weight is not finite; nothing is written.
    """
    step = gan.step
    floating = [variable for variable in variables(gan) if variable.dtype.startswith(("float", "bfloat"))]
    if not all(bool(tf.reduce_all(tf.math.is_finite(variable.value))) for variable in floating):
        raise FloatingPointError(f"step {step}: a weight is not finite")
    path = folder / f"step-{step:08d}"
    if path.exists() and damage(Checkpoint(path, step)) is None:
        return Checkpoint(path, step)
    temporary = folder / ".unfinished"
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed here
        temporary.mkdir(parents=True)
        _state(gan).write(str(temporary / "state"))
        sizes = {file.name: file.stat().st_size for file in temporary.iterdir()}
        (temporary / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except (OSError, tf.errors.OpError) as error:
        last = last_whole(folder)
        kept = f"the last checkpoint is {last.path}" if last else "there is no earlier checkpoint"
        raise RunError(f"{path}: cannot be written ({_reason(error)}); mend that and --resume; {kept}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for older in find(folder)[KEPT:]:
        shutil.rmtree(older.path, ignore_errors=True)
    return Checkpoint(path, step)


def save_generator(gan: ColorGAN, path: Path) -> None:
    """Write a GAN's generator as a ``.keras`` file.

    Raises:
        RunError: It cannot be written; a file that was there still is.
    """
    try:
        with files.replacing(path) as temporary:
            gan.generator.save(temporary)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({_reason(error)}); mend that and --resume") from error


def find(folder: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, the newest first, whole or not."""
    named = ((path, re.fullmatch(r"step-(\d+)", path.name)) for path in folder.glob("step-*"))
    found = [Checkpoint(path, int(match[1])) for path, match in named if match]
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def last_whole(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all there."""
    return next((checkpoint for checkpoint in find(folder) if damage(checkpoint) is None), None)


def damage(checkpoint: Checkpoint) -> str | None:
    """What is wrong with the files of a checkpoint, if anything."""
    try:
        sizes = json.loads((checkpoint.path / "sizes.json").read_text(encoding="utf-8"))
        for name, size in sizes.items():
            actual = (checkpoint.path / name).stat().st_size
            if actual != size:
                return f"{name} has {actual} of {size} bytes"
    except OSError as error:
        return f"{Path(error.filename).name} is missing" if isinstance(error, FileNotFoundError) else str(error)
    except ValueError:
        return "sizes.json is cut short"
    return None


def restore(gan: ColorGAN, checkpoint: Checkpoint) -> None:
    """Set every variable of a compiled GAN from a checkpoint.

    Raises:
        RunError: It is damaged, or of other networks.
    """
    problem = damage(checkpoint)
    if problem is None:
        try:
            _state(gan).read(str(checkpoint.path / "state")).assert_consumed()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            problem = _reason(error)
    if problem:
        raise RunError(f"{checkpoint.path}: the checkpoint cannot be used: {problem}")


def _state(gan: ColorGAN) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(variables=[variable.value for variable in variables(gan)])


def variables(gan: ColorGAN) -> list[keras.Variable]:
    """All that training changes of a compiled GAN."""
    # One list of all there is, so that nothing is left out for want of a name.
    variables = [*gan.variables, *gan.optimizer.variables, *gan.critic_optimizer.variables]
    return variables + [variable for tracker in gan.train_trackers.values() for variable in tracker.variables]


def _reason(error: Exception) -> str:
    """What an error of the system or of TensorFlow says, in one line of plain words."""
    if isinstance(error, tf.errors.ResourceExhaustedError) or getattr(error, "errno", None) == errno.ENOSPC:
        return "the disk is full"
    said = getattr(error, "strerror", None) or str(error)
    return said.strip().splitlines()[0].rpartition("}} ")[2]
