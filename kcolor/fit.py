"""Train: from a recipe and its photos to a run directory with a trained generator."""

import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.console import Console

from kcolor import __version__, build, callbacks, checkpoint, cluster, files, loop, recipe, run, team
from kcolor.colorizer import Colorizer
from kcolor.data import dataset, shards
from kcolor.data.manifest import Manifest, check_splits
from kcolor.data.prepare import locate, place
from kcolor.errors import DataError, RecipeError, RunError
from kcolor.gan import ColorGAN
from kcolor.recipe import Recipe
from kcolor.run import Run
from kcolor.team import Team

SAMPLES = 8

# A run may go on longer, with photos that were moved and with other habits, but not with other photos or networks.
_MAY_CHANGE = ("train.epochs", "train.checkpoint_minutes", "data.folder", "data.labels")

# Where photos are may differ from machine to machine; which ones they are, may not.
_OF_EACH_MACHINE = ("data.folder", "data.labels")

WAIT = 600.0  # seconds, for other machines


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
    together: Team | None = None,
    wait: float = WAIT,
) -> Run:
    """Train a new run from its beginning to its end, on all the GPUs there are; with the machines of ``TF_CONFIG``.

    Args:
        chosen: The recipe.
        manifest: Its photos.
        path: The run directory to make; of several machines, the chief makes it.
        name: What the recipe is called.
        origin: A model whose weights the generator starts from (`kcolor.colorizer.Colorizer.load`); the critic starts
            anew. None: all weights are drawn from the seed.
        console: Where progress is shown.
        together: Who trains; None: as above.
        wait: How long to wait for the other machines, in seconds.

    Raises:
        KcolorError: See `resume`; or the directory has something in it; or the model to start from is of another
            network.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    check_splits(manifest)
    # What is missing or does not fit is told of before anything is made.
    build.check(chosen, manifest, begins=origin is None)
    console = console or Console()
    task = cluster.read(os.environ.get("TF_CONFIG")) if together is None else None
    if task:
        if task.chief:
            run.claim(path)
        _meet(task, chosen, manifest, {}, wait, origin=origin is not None)
    together = together or team.assemble(task)
    source = Colorizer.load(origin) if origin and together.chief else None
    if source:
        build.check_origin(chosen, source, manifest.classes)
    model = _model(chosen, manifest, together)
    if source:
        _start(chosen, model, source, manifest, console)
    if origin or build.pretrain(model.generator, chosen):
        together.share(checkpoint.variables(model))
    if not together.chief:
        _train(chosen, manifest, Run(path), model, together, console=console)
        return Run(path)
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
            devices=together.devices(),
            origin={"path": str(source.path.resolve()), "sha256": source.sha256} if source else None,
        )
        _train(chosen, manifest, started, model, together, console=console)
    return started


def resume(
    chosen: Recipe | None,
    path: Path,
    *,
    console: Console | None = None,
    folder: str | None = None,
    together: Team | None = None,
    wait: float = WAIT,
) -> Run:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        chosen: The recipe, which may ask for more epochs than the run had, and may say where its photos are now; None:
            the run's own.
        path: The run directory; of several machines, the chief alone looks at it and tells the others.
        console: Where progress is shown.
        folder: Where the photos are on this machine, if it is not the chief and has no recipe of its own.
        together: As in `fit`.
        wait: As in `fit`.

    Raises:
        KcolorError: It is no run directory, or one of another recipe; a photo has gone; a loss is not finite; the disk
            is full; another process trains it; another machine does not come, or stops.
        callbacks.Stopped: Ctrl-C or SIGTERM came; everything is saved.
    """
    going, console = Run(path), console or Console()
    task = cluster.read(os.environ.get("TF_CONFIG")) if together is None else None
    if task and not task.chief:
        here = folder or (chosen.data.folder if chosen else None)
        chosen, manifest = _meet(task, chosen, None, {}, wait, takes=lambda told: _told(told, str(here or "")))
        together = team.assemble(task)
        model = _model(chosen, manifest, together)
        together.share(checkpoint.variables(model))
        _train(chosen, manifest, going, model, together, console=console)
        return going
    info = going.read_info()
    own = recipe.load(going.recipe)
    asked = chosen or own
    chosen = _settle(asked, own, going, info["recipe"])
    with run.locked(going):
        _sweep(going)
        _check_shards(chosen, going, info.get("shards_sha256"))
        moved = chosen.data.folder != own.data.folder and "shards_sha256" not in info
        manifest = Manifest.load(going.manifest, root=_root(chosen.data.folder) if moved else None)
        if moved:
            _check_found(manifest)
        if manifest.sha256 != info["manifest_sha256"]:
            raise RunError(f"{going.manifest}: changed since the run began; put it back, or begin a new run")
        if task:
            text = going.manifest.read_text("utf-8", "surrogateescape")
            tells = {"recipe": chosen.dump(), "manifest": text, "shards": info.get("shards_sha256")}
            _meet(task, asked, None, tells, wait)
        together = together or team.assemble(task)
        model = _model(chosen, manifest, together)
        if not _restore(model, going, console):
            if "from" in info:
                _start(chosen, model, _origin(going, info["from"]), manifest, console)
            else:
                build.pretrain(model.generator, chosen)
        together.share(checkpoint.variables(model))
        if moved:
            manifest.save(going.manifest)
        files.write_text(going.recipe, chosen.dump())
        finished = model.step >= plan(chosen, manifest).steps
        if not (finished and going.generator.exists()):
            _train(chosen, manifest, going, model, together, console=console)
    return going


def _meet(
    task: cluster.Task,
    chosen: Recipe | None,
    manifest: Manifest | None,
    tells: Mapping[str, str | None],
    wait: float,
    *,
    origin: bool = False,
    takes: Callable[[Mapping[str, Any]], Any] = lambda told: told,
) -> Any:
    """Wait for the other machines; they are to mean the same.

    Args:
        task: Which of them this is.
        chosen: What it was asked to train; None: what the chief says.
        manifest: The photos of a new run; None: a run goes on.
        tells: What the chief tells the others.
        wait: Seconds.
        origin: Whether the generator is to start from a model; the chief's is what counts.
        takes: As in `cluster.meet`.
    """
    mine = {
        "kcolor": __version__,
        "tensorflow": tf.__version__,
        "GPUs": len(tf.config.list_physical_devices("GPU")),
        "resume": manifest is None,
        "from": origin,
        "recipe": chosen.model_dump(mode="json") if chosen else None,
        "photos": manifest.sha256 if manifest else None,
        "shards": build.shards_sha256(chosen) if chosen and manifest else None,
    }

    def differs(theirs: Mapping[str, Any]) -> str | None:
        if theirs["resume"] != mine["resume"]:
            does, other = ("resumes a run", "begins one") if theirs["resume"] else ("begins a run", "resumes one")
            return f"{does}, and worker 0 {other}; start all with the same command"
        for what in ("kcolor", "tensorflow", "GPUs"):
            if theirs[what] != mine[what]:
                return f"has {what} {theirs[what]}, and worker 0 {mine[what]}; all are to have the same"
        if theirs["from"] != mine["from"]:
            does, other = ("is", "is not") if theirs["from"] else ("is not", "is")
            return f"{does} to start from a model (--from), and worker 0 {other}; start all with the same command"
        if chosen and theirs["recipe"]:
            lines = recipe.differences(Recipe.model_validate(theirs["recipe"]), chosen)
            lines = [line for line in lines if not line.startswith(_OF_EACH_MACHINE)]
            if lines:
                return (
                    f"was given another recipe than worker 0 ({'; '.join(lines[:3])}); start all with the same command"
                )
        others = {
            "photos": "has other photos than worker 0; copy the folder anew, or name a shared one",
            "shards": "reads the photos from other shards than worker 0, or one from none; copy the folder anew",
        }
        return next((problem for what, problem in others.items() if theirs[what] != mine[what]), None)

    return cluster.meet(task, mine, tells, differs=differs, wait=wait, takes=takes)


def _told(told: Mapping[str, Any], here: str) -> tuple[Recipe, Manifest]:
    """The recipe and the photos of a run that goes on, as the chief tells them; `here` they may be elsewhere.

    Raises:
        KcolorError: They are not where they are said to be.
    """
    with tempfile.TemporaryDirectory() as folder:
        texts = {name: Path(folder) / name for name in ("recipe", "manifest")}
        for name, file in texts.items():
            file.write_text(told[name], "utf-8", "surrogateescape")
        chosen = recipe.load(texts["recipe"])
        if here:
            chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update={"folder": here})})
        if build.shards_sha256(chosen) != told["shards"]:
            raise RunError(f"{chosen.data.folder}: not what the run reads photos from; name the right place by --data")
        if told["shards"]:
            return chosen, Manifest.load(texts["manifest"])
        manifest = Manifest.load(texts["manifest"], root=_root(here) if here else None)
        _check_found(manifest)
        return chosen, manifest


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


def _check_found(manifest: Manifest) -> None:
    """Make sure that a folder that is said to hold a run's photos does; a look at some of them tells.

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


def _model(chosen: Recipe, manifest: Manifest, together: Team) -> ColorGAN:
    """The GAN, on all devices of the team.

    Raises:
        RecipeError: A batch cannot be shared out among them; or see `build.color_gan`.
    """
    batch, replicas = chosen.train.batch_size, together.replicas
    if batch % replicas:
        raise RecipeError(
            f"train.batch_size: {batch} photos cannot be shared out evenly among {replicas} devices; "
            f"--set train.batch_size={-(-batch // replicas) * replicas}, or hide some (CUDA_VISIBLE_DEVICES)"
        )
    if chosen.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    with together.connected(), together.strategy.scope():
        return build.color_gan(chosen, len(manifest.classes), plan(chosen, manifest).steps)


def _start(chosen: Recipe, model: ColorGAN, source: Colorizer, manifest: Manifest, console: Console) -> None:
    """Let the generator start from a model's weights."""
    taught = chosen.classification.target == "teacher"
    whole = build.start_from(model.generator, source, () if taught else manifest.classes)
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


def _train(
    chosen: Recipe, manifest: Manifest, going: Run, model: ColorGAN, together: Team, *, console: Console
) -> None:
    """Train to the end. The chief tells of it and writes; the others do what they must for its sake."""
    steps_per_epoch, epochs = plan(chosen, manifest).steps_per_epoch, chosen.train.epochs
    step = model.step
    data, batch = chosen.data, chosen.train.batch_size
    photos = build.source(chosen, manifest)
    training = partial(
        dataset.training_stream,
        photos("train"),
        size=data.size,
        batch_size=batch,
        seed=chosen.seed,
        start=step,
        crop=data.crop,
        flip=data.flip,
        random_crop=data.random_crop,
        instances=data.instances,
    )
    validated, rows = photos("val", chosen.train.validation_photos), batch // together.replicas
    validation = partial(dataset.evaluation_batches, validated, size=data.size, batch_size=rows, crop=data.crop)
    stop = loop.Stop()
    everything: list[Any] = [callbacks.StopOnNaN(going if together.chief else None)]
    bar = callbacks.ProgressBar(console, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch, step=step)
    with _clear_line(going, chosen, manifest, model, together, steps_per_epoch=steps_per_epoch):
        if together.chief:
            keeper: callbacks.Stopping = callbacks.Checkpoints(
                going,
                minutes=chosen.train.checkpoint_minutes,
                best_by=chosen.train.best_by,
                stop=stop,
                steps_per_epoch=steps_per_epoch,
            )
            some = photos("val", SAMPLES)
            samples = dataset.evaluation_batches(some, size=data.size, batch_size=SAMPLES, crop=data.crop)
            everything += [
                bar,
                callbacks.History(going, batch),
                callbacks.Samples(going, next(samples.as_numpy_iterator())[0]),
                callbacks.tensorboard(going.tensorboard),
            ]
        else:
            keeper = callbacks.Stopping(stop=stop, steps_per_epoch=steps_per_epoch)
        everything.append(keeper)  # last: what it saves has been told of
        with _signals(keeper), _closing(bar):
            loop.train(
                model,
                together,
                training=training,
                validation=validation,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                callbacks=everything,
                stop=stop,
            )
        if together.chief:
            checkpoint.save_generator(model, going.generator)


@contextmanager
def _signals(keeper: callbacks.Stopping) -> Iterator[None]:
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
    going: Run, chosen: Recipe, manifest: Manifest, model: ColorGAN, together: Team, *, steps_per_epoch: int
) -> Iterator[None]:
    """What can happen to photos, disk, memory and other machines in a long run becomes one clear line."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            f"{going.path}: out of memory; begin a new run with a lower train.batch_size or data.size"
        ) from error
    except tf.errors.OpError as error:
        fault = _photo_at_fault(error, manifest.root)
        is_lost = together.task is not None and team.lost(error)
        if fault is None and not is_lost:
            fault = _shard_at_fault(error, chosen)
        if fault is None and is_lost:
            # In the middle of a step, perhaps: what there is now is not saved.
            with together.connected():
                raise
        if fault is None:
            raise
        if not together.chief:
            raise DataError(f"{fault[0]}; {fault[1]} and start all workers again with --resume") from error
        # After an epoch's last step comes its validation, which a checkpoint taken now would leave out.
        if model.step % steps_per_epoch:
            try:
                checkpoint.save(model, going.checkpoints)
            except FloatingPointError as not_finite:
                raise callbacks.not_finite(going, str(not_finite)) from error
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
