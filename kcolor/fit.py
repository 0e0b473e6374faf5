"""Train: from a recipe and its photos to a run directory with a trained generator."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console

from kcolor import build, callbacks, checkpoint, dataset, files, recipe, run
from kcolor.errors import DataError, RunError
from kcolor.gan import ColorGAN
from kcolor.manifest import Manifest
from kcolor.recipe import Recipe
from kcolor.run import Run

SAMPLES = 8

# A run may go on longer, from other places and with other habits, but not with other photos, networks or losses.
_MAY_CHANGE = ("train.epochs", "train.checkpoint_minutes", "data.folder", "data.labels")


@dataclass(frozen=True)
class Plan:
    """How much there is to do.

    Args:
        photos: Photos to train on.
        steps_per_epoch: Batches an epoch.
        epochs: Epochs in the whole run.
    """

    photos: int
    steps_per_epoch: int
    epochs: int

    @property
    def steps(self) -> int:
        """Batches in the whole run."""
        return self.steps_per_epoch * self.epochs


def plan(chosen: Recipe, manifest: Manifest) -> Plan:
    """How many steps a recipe means on these photos."""
    photos = manifest.counts()["train"]
    steps = chosen.train.steps_per_epoch or max(1, photos // chosen.train.batch_size)
    return Plan(photos, steps, chosen.train.epochs)


def fit(chosen: Recipe, manifest: Manifest, path: Path, *, name: str = "recipe", console: Console | None = None) -> Run:
    """Train a new run from its beginning to its end.

    Args:
        chosen: The recipe.
        manifest: Its photos.
        path: The run directory to make.
        name: What the recipe is called.
        console: Where progress is shown.

    Raises:
        KcolorError: See `resume`; or the directory has something in it.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    _check_splits(manifest)
    model = _model(chosen, manifest)
    started = run.create(
        path, recipe_name=name, recipe_toml=chosen.dump(), seed=chosen.seed, manifest_sha256=manifest.sha256
    )
    with _clear_line(started):
        manifest.save(started.manifest)
    return _train(chosen, manifest, started, model, console or Console())


def resume(chosen: Recipe | None, path: Path, *, root: Path | None = None, console: Console | None = None) -> Run:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        chosen: The recipe, which may ask for more epochs than the run had; None: the run's own.
        path: The run directory.
        root: Where the photos are now, if they were moved.
        console: Where progress is shown.

    Raises:
        KcolorError: It is no run directory, or one of another recipe; a photo has gone; a loss is not finite; the disk
            is full.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    console = console or Console()
    going = Run(path)
    info = going.read_info()
    own = recipe.load(going.recipe)
    chosen = chosen or own
    differing = [line for line in recipe.differences(own, chosen) if not line.startswith(_MAY_CHANGE)]
    if differing:
        raise RunError(
            f"{path}: a run of another recipe ({info['recipe']}), which differs in {'; '.join(differing)}; "
            "name another run directory with -o"
        )
    manifest = Manifest.load(going.manifest, root=root)
    if manifest.sha256 != info["manifest_sha256"]:
        raise RunError(f"{going.manifest}: changed since the run began; put it back, or begin a new run")
    model = _model(chosen, manifest)
    _restore(model, going, console)
    with _clear_line(going):
        files.write_text(going.recipe, chosen.dump())
    return _train(chosen, manifest, going, model, console)


def _check_splits(manifest: Manifest) -> None:
    counts = manifest.counts()
    for split in ("train", "val"):
        if not counts[split]:
            raise DataError(
                f"{manifest.root}: too few photos, none falls to the {split} split; add some, or change the shares: "
                "--set data.split=[0.6,0.2,0.2]"
            )


def _model(chosen: Recipe, manifest: Manifest) -> ColorGAN:
    if chosen.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    return build.color_gan(chosen, len(manifest.classes), plan(chosen, manifest).steps)


def _restore(model: ColorGAN, going: Run, console: Console) -> None:
    """The newest checkpoint that is whole."""
    kept = checkpoint.find(going.checkpoints)
    for candidate in kept:
        problem = checkpoint.damage(candidate)
        if problem is None:
            checkpoint.restore(model, candidate)
            return
        console.print(f"{candidate.path}: damaged ({problem}); trying the one before", soft_wrap=True)
    if kept:
        raise RunError(f"{going.checkpoints}: no checkpoint is whole; begin a new run (another -o)")
    # Killed before its first checkpoint: the weights as the seed draws them are where it began.


def _train(chosen: Recipe, manifest: Manifest, going: Run, model: ColorGAN, console: Console) -> Run:
    steps_per_epoch, epochs = plan(chosen, manifest).steps_per_epoch, chosen.train.epochs
    step = int(model.critic_optimizer.iterations)
    epoch, within = divmod(step, steps_per_epoch)
    common: dict[str, Any] = {"size": chosen.data.size, "batch_size": chosen.train.batch_size, "crop": chosen.data.crop}
    training = build.photos(manifest, "train")
    validation = dataset.evaluation_batches(build.photos(manifest, "val", chosen.train.validation_photos), **common)
    samples = dataset.evaluation_batches(
        build.photos(manifest, "val", SAMPLES), size=chosen.data.size, batch_size=SAMPLES, crop=chosen.data.crop
    )

    trackers = [variable for tracker in model.train_trackers.values() for variable in tracker.variables]
    values = [variable.numpy() for variable in trackers]

    def put_back_running_means() -> None:
        for variable, value in zip(trackers, values, strict=True):
            variable.assign(value if within else np.zeros_like(value))

    bar = callbacks.ProgressBar(
        console,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=chosen.train.batch_size,
        step=step,
    )
    with _clear_line(going, model):
        keeper = callbacks.Checkpoints(
            going,
            minutes=chosen.train.checkpoint_minutes,
            steps_per_epoch=steps_per_epoch,
            tracked=put_back_running_means,
        )
        everything = [
            bar,
            callbacks.StopOnNaN(going),
            callbacks.History(going, steps_per_epoch * chosen.train.batch_size),
            callbacks.Samples(going, next(samples.as_numpy_iterator())[0]),
            callbacks.tensorboard(going.tensorboard),
            keeper,  # last: what it saves has been told of
        ]
        with _signals(keeper), _closing(bar):
            spans = [(epoch, epochs, steps_per_epoch)]
            if within:  # the rest of the epoch that was interrupted is shorter than the others
                spans = [(epoch, epoch + 1, steps_per_epoch - within), (epoch + 1, epochs, steps_per_epoch)]
            for first, last, steps in spans:
                if first >= last:
                    continue
                model.fit(
                    dataset.training_stream(
                        training,
                        seed=chosen.seed,
                        start=int(model.critic_optimizer.iterations),
                        flip=chosen.data.flip,
                        **common,
                    ),
                    initial_epoch=first,
                    epochs=last,
                    steps_per_epoch=steps,
                    validation_data=validation,
                    callbacks=everything,
                    verbose=0,
                    shuffle=False,
                )
        checkpoint.save_generator(model, going.generator)
    return going


@contextmanager
def _signals(keeper: callbacks.Checkpoints) -> Iterator[None]:
    """While training, Ctrl-C and SIGTERM save first."""
    former = {signum: signal.signal(signum, keeper.ask_to_stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


@contextmanager
def _closing(bar: callbacks.ProgressBar) -> Iterator[None]:
    try:
        yield
    finally:
        bar.progress.stop()


@contextmanager
def _clear_line(going: Run, model: ColorGAN | None = None) -> Iterator[None]:
    """What can happen to files in a long run becomes one clear line; a trained model is saved first."""
    try:
        yield
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError, tf.errors.PermissionDeniedError) as error:
        saved = f"; saved as {checkpoint.save(model, going.checkpoints).path}" if model else ""
        raise DataError(f"{_fault(error)}{saved}; put it back as it was and --resume") from error
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise RunError(
            f"{error.filename or going.path}: cannot be written ({reason}); mend that and --resume"
        ) from error


def _fault(error: tf.errors.OpError) -> str:
    """What an error of `tf.data` says of the photo it met; only a missing one is named there."""
    around = ("Graph execution error", "Detected at node", "<stack traces", "\t")
    lines = [line for line in error.message.splitlines() if line and not line.startswith(around)]
    told = lines[-1] if lines else "no reason is given"
    path, gone, _ = told.rpartition("; No such file or directory")
    if gone:
        return f"{path}: a photo of this run is gone"
    return f"a photo of this run cannot be read any more ({told}), and kcolor prepare on its folder says which"
