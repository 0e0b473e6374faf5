"""Train: from a recipe and its photos to a run directory with a trained generator."""

import errno
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console

from kcolor import build, callbacks, checkpoint, dataset, files, recipe, run, shards
from kcolor.colorizer import Colorizer
from kcolor.errors import DataError, RunError
from kcolor.gan import ColorGAN
from kcolor.manifest import Manifest
from kcolor.prepare import locate, place
from kcolor.recipe import Recipe
from kcolor.run import Run

SAMPLES = 8

# A run may go on longer, with photos that were moved and with other habits, but not with other photos or networks.
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


def fit(
    chosen: Recipe,
    manifest: Manifest,
    path: Path,
    *,
    name: str = "recipe",
    origin: Path | None = None,
    console: Console | None = None,
) -> Run:
    """Train a new run from its beginning to its end.

    Args:
        chosen: The recipe.
        manifest: Its photos.
        path: The run directory to make.
        name: What the recipe is called.
        origin: A model whose weights the generator starts from (`kcolor.colorizer.Colorizer.load`); the critic starts
            anew. None: all weights are drawn from the seed.
        console: Where progress is shown.

    Raises:
        KcolorError: See `resume`; or the directory has something in it; or the model to start from is of another
            network.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    check_splits(manifest)
    build.source(chosen, manifest)  # shards that do not fit are told of before anything is made
    source = Colorizer.load(origin) if origin else None
    if source:
        build.check_origin(chosen, source, manifest.classes)
    model = _model(chosen, manifest)
    if source:
        _start(model, source, manifest, console or Console())
    started = run.claim(path)
    with run.locked(started):
        manifest.save(started.manifest)
        run.describe(
            started,
            recipe_name=name,
            recipe_toml=chosen.dump(),
            seed=chosen.seed,
            manifest_sha256=manifest.sha256,
            shards_sha256=build.shards_sha256(chosen),
            origin={"path": str(source.path.resolve()), "sha256": source.sha256} if source else None,
        )
        _train(chosen, manifest, started, model, console or Console())
    return started


def resume(chosen: Recipe | None, path: Path, *, console: Console | None = None) -> Run:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        chosen: The recipe, which may ask for more epochs than the run had, and may say where its photos are now; None:
            the run's own.
        path: The run directory.
        console: Where progress is shown.

    Raises:
        KcolorError: It is no run directory, or one of another recipe; a photo has gone; a loss is not finite; the disk
            is full; another process trains it.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    going = Run(path)
    info = going.read_info()
    own = recipe.load(going.recipe)
    chosen = _settle(chosen or own, own, going, info["recipe"])
    with run.locked(going):
        _sweep(going)
        _check_shards(chosen, going, info.get("shards_sha256"))
        moved = chosen.data.folder != own.data.folder and "shards_sha256" not in info
        manifest = Manifest.load(going.manifest, root=_root(chosen.data.folder) if moved else None)
        if moved:
            _check_moved(manifest)
        if manifest.sha256 != info["manifest_sha256"]:
            raise RunError(f"{going.manifest}: changed since the run began; put it back, or begin a new run")
        model = _model(chosen, manifest)
        if not _restore(model, going, console or Console()) and "from" in info:
            _start(model, _origin(going, info["from"]), manifest, console or Console())
        if moved:
            manifest.save(going.manifest)
        files.write_text(going.recipe, chosen.dump())
        finished = int(model.critic_optimizer.iterations) >= plan(chosen, manifest).steps
        if not (finished and going.generator.exists()):
            _train(chosen, manifest, going, model, console or Console())
    return going


def _settle(chosen: Recipe, own: Recipe, going: Run, name: str) -> Recipe:
    """The recipe to go on with.

    Raises:
        RunError: It is another one than the run's, or asks for fewer epochs.
    """
    differing = [line for line in recipe.differences(own, chosen) if not line.startswith(_MAY_CHANGE)]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise RunError(
            f"{going.path}: a run of another recipe: made from {name}, with {'; '.join(differing[:3])}{more}; "
            f"to go on with it leave the recipe out (kcolor fit --resume -o {going.path}), or name another directory"
        )
    if chosen.train.epochs < own.train.epochs:
        raise RunError(
            f"{going.path}: the run is to have {own.train.epochs} epochs, not {chosen.train.epochs}; "
            f"go on with --set train.epochs={own.train.epochs} or more"
        )
    if chosen.data.folder:
        return chosen
    return chosen.model_copy(update={"data": chosen.data.model_copy(update={"folder": own.data.folder})})


def _sweep(going: Run) -> None:
    """Remove what a killed process was about to write; all of it has a hidden name."""
    for folder in (going.path, going.checkpoints, going.samples):
        for leftover in folder.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _check_shards(chosen: Recipe, going: Run, recorded: str | None) -> None:
    """Make sure that photos are read as they were from the start: from files, or from the same shards.

    Raises:
        RunError: They would not be.
    """
    if build.shards_sha256(chosen) != recorded:
        what = "is from shards, and" if recorded else "is from the photos' own files, and"
        raise RunError(
            f"{going.path}: the run {what} {chosen.data.folder} is something else, in another order; leave --data out, "
            "or name the right place"
        )


def _check_moved(manifest: Manifest) -> None:
    """Make sure that a folder that is said to hold a run's photos now does; a look at some of them tells.

    Raises:
        DataError: It does not.
    """
    photos = build.photos(manifest, "train", 20).paths
    missing = [path for path in photos if not Path(path).is_file()]
    if missing:
        raise DataError(
            f"{manifest.root}: does not hold this run's photos ({missing[0]} is not there); "
            "name the right folder, or leave --data out"
        )


def _root(folder: str) -> Path:
    """Where the photos are now: a folder, or that of a manifest."""
    path = locate(folder)
    if path.is_file():
        return Manifest.load(path).root
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: give the folder that holds the run's photos")
    return path


def check_splits(manifest: Manifest) -> None:
    """Make sure that there is something to train on and something to validate with.

    Raises:
        DataError: There is not.
    """
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


def _start(model: ColorGAN, source: Colorizer, manifest: Manifest, console: Console) -> None:
    """Let the generator start from a model's weights."""
    whole = build.start_from(model.generator, source, manifest.classes)
    but = "" if whole else "; the last layer of the class head starts anew, as its classes are others"
    console.print(f"starts from {source.path}{but}", highlight=False, soft_wrap=True)


def _origin(going: Run, recorded: Mapping[str, str]) -> Colorizer:
    """The model that a run starts from, if it is still what it was.

    Raises:
        RunError: It is not.
    """
    gone = f"{going.path}: stopped before its first checkpoint, and {recorded['path']}, which it starts from, "
    try:
        source = Colorizer.load(Path(recorded["path"]))
    except RunError as error:
        raise RunError(f"{gone}cannot be read; put it back, or begin a new run") from error
    if source.sha256 != recorded["sha256"]:
        raise RunError(f"{gone}is another model by now; put it back, or begin a new run")
    return source


def _restore(model: ColorGAN, going: Run, console: Console) -> bool:
    """Take up the newest checkpoint that is whole; whether there is any.

    Raises:
        RunError: There are checkpoints, or were, but none is whole.
    """
    kept = checkpoint.find(going.checkpoints)
    for candidate in kept:
        try:
            checkpoint.restore(model, candidate)
        except RunError as error:
            console.print(f"{error}; trying the one before", highlight=False, soft_wrap=True)
        else:
            return True
    if kept or going.history.exists() or going.generator.exists():
        raise RunError(f"{going.checkpoints}: no whole checkpoint to go on from; begin a new run (another -o)")
    # Killed before its first checkpoint: it begins where it began.
    return False


def _train(chosen: Recipe, manifest: Manifest, going: Run, model: ColorGAN, console: Console) -> None:
    steps_per_epoch, epochs = plan(chosen, manifest).steps_per_epoch, chosen.train.epochs
    step = int(model.critic_optimizer.iterations)
    epoch, within = divmod(step, steps_per_epoch)
    common: dict[str, Any] = {"size": chosen.data.size, "batch_size": chosen.train.batch_size, "crop": chosen.data.crop}
    photos = build.source(chosen, manifest)
    training = photos("train")
    validation = dataset.evaluation_batches(photos("val", chosen.train.validation_photos), **common)
    samples = dataset.evaluation_batches(
        photos("val", SAMPLES), size=chosen.data.size, batch_size=SAMPLES, crop=chosen.data.crop
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
    with _clear_line(going, chosen, manifest, model, steps_per_epoch):
        keeper = callbacks.Checkpoints(
            going,
            minutes=chosen.train.checkpoint_minutes,
            steps_per_epoch=steps_per_epoch,
            best_by=chosen.train.best_by,
            tracked=put_back_running_means,
        )
        everything = [
            bar,
            callbacks.StopOnNaN(going),
            callbacks.History(going, chosen.train.batch_size),
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
                        random_crop=chosen.data.random_crop,
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
def _clear_line(
    going: Run, chosen: Recipe, manifest: Manifest, model: ColorGAN, steps_per_epoch: int
) -> Iterator[None]:
    """What can happen to photos, disk and memory in a long run becomes one clear line."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            f"{going.path}: out of memory; begin a new run with a lower train.batch_size or data.size"
        ) from error
    except tf.errors.OpError as error:
        fault = _shard_at_fault(error, chosen) or _photo_at_fault(error, manifest.root)
        if fault is None:
            raise
        # After an epoch's last step comes its validation, which a checkpoint taken now would leave out.
        if int(model.critic_optimizer.iterations) % steps_per_epoch:
            checkpoint.save(model, going.checkpoints)
        last = checkpoint.last_whole(going.checkpoints)
        saved = f"the run is saved in {last.path}" if last else "there is no checkpoint yet"
        raise DataError(f"{fault[0]}; {saved}; {fault[1]} and --resume") from error
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RunError(f"{error.filename or going.path}: {reason}; mend that and --resume") from error


def _photo_at_fault(error: tf.errors.OpError, root: Path) -> tuple[str, str] | None:
    """What an error says of the photo it met, if that is what it is about; one that is broken is not named there."""
    around = ("Graph execution error", "Detected at node", "<stack traces", "\t")
    lines = [line for line in error.message.splitlines() if line and not line.startswith(around)]
    told = lines[-1].rpartition("}} ")[2] if lines else ""
    path, _, why = told.rpartition("; ")
    if path.startswith(str(root)):
        return f"{path}: a photo of this run cannot be read ({why})", _PUT_BACK
    if "Decode" in error.message:
        return f"a photo of this run is broken ({told}), and kcolor prepare {root} says which", _PUT_BACK
    return None


_PUT_BACK = "put the photo back as it was"


def _shard_at_fault(error: tf.errors.OpError, chosen: Recipe) -> tuple[str, str] | None:
    """What an error says of the shards it met, if the photos are in some, and what to do."""
    folder = place(chosen.data.folder)
    about = (shards.SUFFIX, "Decode", "record")
    if not shards.are_in(folder) or not any(word in error.message for word in about):
        return None
    why = next((line for line in error.message.splitlines() if any(word in line for word in about)), "")
    told = why.rpartition("}} ")[2].partition(" [[")[0]
    return (
        f"{folder}: a shard is damaged or has gone ({told.strip()})",
        f"{shards.mending(folder, shards.load(folder))},",
    )
