"""A study: its directory, its trials, which of several processes has which, and how it goes on after any of them dies.

What is known of trials is in Optuna's storage. Who works on one is told by locks on files, which go with their process
however it ends: a trial that is running by the storage and that nobody holds is taken up by whoever sees it first.
"""

import json
import logging
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from kcolor import evaluation, files, recipe, weights
from kcolor.data.manifest import Manifest, check_splits
from kcolor.errors import RecipeError, RunError
from kcolor.quiet import quiet_import
from kcolor.recipe import Recipe
from kcolor.run import Run
from kcolor.tune import objective
from kcolor.tune.attempt import PATIENCE, Attempt, FailedError, started
from kcolor.tune.space import Space
from kcolor.tune.telling import Telling
from kcolor.tune.trial import EVALUATION

STUDIES = Path("studies")

# Trials whose values are drawn at random before TPE has something to go by; half of Optuna's, as trials are dear.
_AT_RANDOM = 5

# What validation in training is of; the evaluation at the end has its own size, the same for all.
_OF_VALIDATION = ("data.size", "data.crop")

_LOOK = 0.5  # seconds between two looks at a run's history


@dataclass(frozen=True)
class Study:
    """A study that is open.

    Args:
        path: Its directory.
        recipe: What it varies.
        name: What that is called.
        space: How.
        manifest: The photos, of all trials.
        record: Optuna's study.
        place: What tells its directory apart from another machine's.
        pruner: What ends trials that do badly; None: all go to their end.
    """

    path: Path
    recipe: Recipe
    name: str
    space: Space
    manifest: Path
    record: optuna.Study
    place: str
    pruner: optuna.pruners.BasePruner | None

    def run(self, number: int) -> Run:
        """The run of a trial."""
        return Run(self.path / "trials" / f"{number:04d}")

    def beside(self, number: int, suffix: str) -> Path:
        """A file of a trial that is none of its run's: ``.log``, ``.lock``."""
        path = self.run(number).path
        return path.with_name(path.name + suffix)

    def recipe_of(self, trial: optuna.trial.FrozenTrial) -> Recipe:
        """The recipe of a trial.

        Raises:
            RecipeError: Its values do not go together.
        """
        return recipe.changed(self.recipe, self.space.values(trial.params), f"trial {trial.number}")

    def trial(self, number: int) -> optuna.trial.FrozenTrial:
        """What the storage knows of a trial."""
        return self.record.get_trials(deepcopy=False)[number]

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All that were begun, by number."""
        return [trial for trial in self.record.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def open_(
    path: Path, chosen: Recipe, space: Space, *, name: str, storage: str | None, survey: Callable[[], Manifest]
) -> Study:
    """Begin a study, or go on with one.

    Args:
        path: The directory.
        chosen: The recipe.
        space: What of it varies.
        name: What the recipe is called.
        storage: URL of a database as SQLAlchemy reads it; None: SQLite, in the directory. Processes with one directory
            share a study either way; machines with a disk each need one database, and directories of one name.
        survey: Gives the photos; called where a study begins, or where the photos have moved.

    Raises:
        KcolorError: It is a study of something else, or cannot be written or reached; or see `survey`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    _check_is_ours(path)
    kept = path / "manifest.csv"
    manifest = Manifest.load(kept) if kept.exists() and not _moved(path, chosen) else survey()
    check_splits(manifest)
    if not kept.exists():
        _check_needs(chosen, space, manifest)
    with _clear_line(path, storage):
        database = _storage(storage) if storage else None
    with _alone(path):
        with _clear_line(path, storage):
            kept_in = database or _own_storage(path / "study.db")
            # The directory may have been renamed, and its database has one study.
            known_as = [] if database else optuna.get_all_study_names(kept_in)
            record = optuna.create_study(
                study_name=known_as[0] if known_as else path.absolute().name,
                storage=kept_in,
                directions=[objective.direction(key) for key in space.objectives],
                # Asked apart from the study: Optuna's would show the sampler only the trials of one Hyperband bracket.
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            known = record.user_attrs
            if "recipe" in known:  # which is said last
                _check_same(path, chosen, space, manifest, known)
        manifest.save(kept)
        files.write_text(path / "recipe.toml", chosen.dump())
        with _clear_line(path, storage):
            if "recipe" not in known:
                _describe(record, chosen, space, name, manifest)
        place = path / "place"  # one on a shared disk, and one on each machine's own
        if not place.exists():
            files.write_text(place, f"{uuid.uuid4()}\n")
    here = place.read_text("utf-8").strip()
    return Study(path, chosen, name, space, kept, record, here, _pruner(chosen, space))


def _check_is_ours(path: Path) -> None:
    """Make sure that a directory is a study's, or has nothing in it.

    Raises:
        RunError: It is something else.
    """
    if path.exists() and not (path / "trials").is_dir() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path}: there is something in it that is no study; name another directory with -o")


def _own_storage(file: Path) -> optuna.storages.RDBStorage:
    # Optuna fills in what it finds in braces; two processes that write at once wait for each other.
    path = str(file.absolute()).replace("{", "{{").replace("}", "}}")
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def _storage(url: str) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


@contextmanager
def _clear_line(path: Path, url: str | None) -> Iterator[None]:
    """What can happen to a database becomes one clear line."""
    where = url.rpartition("@")[2] if url else path / "study.db"  # without a password
    try:
        yield
    except sqlalchemy.exc.ArgumentError as error:
        raise RunError(f"--storage {where}: not a database's URL; write it as postgresql://HOST/NAME") from error
    except ImportError as error:
        raise RunError(f"--storage {where}: its driver is not installed here ({error.__cause__ or error})") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        told = str(getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error).splitlines()[0]
        raise RunError(f"{where}: the study cannot be read or written ({told})") from error


def _check_needs(chosen: Recipe, space: Space, manifest: Manifest) -> None:
    """Make sure, before there is a study, that there is what the recipe and each value of the space need.

    Raises:
        RecipeError, DataError: As `kcolor.build.check`.
    """
    with quiet_import():
        from kcolor import build  # here, as a study that is done only reports, and quickly

    for values in ({}, *({axis.key: value} for axis in space.axes for value in axis.samples())):
        try:
            varied = recipe.changed(chosen, values, "")
        except RecipeError:  # right beside another value of the space, or nowhere
            continue
        build.check(varied, manifest)


def _pruner(chosen: Recipe, space: Space) -> optuna.pruners.BasePruner | None:
    """Hyperband (Li et al., JMLR 18, 2018), by epochs, unless there is nothing to compare trials by after an epoch.

    Of two objectives it knows nothing; and figures of pictures of another size, or cut otherwise, are other figures.
    """
    if len(space.objectives) > 1 or any(axis.key in _OF_VALIDATION for axis in space.axes):
        return None
    epochs = [axis.samples() for axis in space.axes if axis.key == "train.epochs"]
    most = max(epochs[0]) if epochs else chosen.train.epochs
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most)


def _moved(path: Path, chosen: Recipe) -> bool:
    """Whether the photos are said to be elsewhere than they were when the study was last open here."""
    kept = path / "recipe.toml"
    return kept.exists() and recipe.load(kept).data.folder != chosen.data.folder


def _describe(record: optuna.Study, chosen: Recipe, space: Space, name: str, manifest: Manifest) -> None:
    """Have the storage say what the study is of; its first trial is the recipe as it is, if the space holds that."""
    own = space.own(chosen)
    if own is not None:
        record.enqueue_trial(own, user_attrs={"own": True}, skip_if_exists=True)
    record.set_user_attr("name", name)
    record.set_user_attr("space", space.told())
    record.set_user_attr("photos", manifest.sha256)
    record.set_user_attr("recipe", chosen.model_dump(mode="json"))


def _check_same(path: Path, chosen: Recipe, space: Space, manifest: Manifest, known: dict[str, Any]) -> None:
    """Make sure that a study goes on as what it is.

    Raises:
        RunError: It was begun with another recipe or space, or other photos.
    """
    onward = "go on with its own, or name another directory with -o"
    lines = recipe.differences(Recipe.model_validate(known["recipe"]), chosen)
    lines = [line for line in lines if not line.startswith(("data.folder", "data.labels"))]
    if lines:
        raise RunError(f"{path}: a study of another recipe: with {'; '.join(lines[:3])}; {onward}")
    ours, theirs = (dict(_flat(told)) for told in (space.told(), known["space"]))
    for key in [*theirs, *ours]:
        if ours.get(key) != theirs.get(key):
            told = [json.dumps(each.get(key)) if key in each else "nothing" for each in (theirs, ours)]
            raise RunError(f"{path}: a study of another space: {key} has {told[0]}, not {told[1]}; {onward}")
    if manifest.sha256 != known["photos"]:
        raise RunError(f"{path}: a study of other photos than those of {manifest.root}; {onward}")


def _flat(told: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "objective", told["objective"]
    yield from told["space"].items()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no other process with this directory begin a trial meanwhile."""
    lock = FileLock(path / "lock")
    try:
        (path / "trials").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); name another directory with -o") from error
    try:
        yield
    finally:
        lock.release()


# The trials.


def go_on(study: Study, trials: int, telling: Telling, after: Callable[[], object] = lambda: None) -> None:
    """Do trials until there are so many in all, whoever did them.

    Args:
        study: The study.
        trials: How many there are to be.
        telling: Who is told of it.
        after: Called after each trial of this process.

    Raises:
        KcolorError: Something is wrong that would be wrong with every trial; the trial is taken up by the next that
            goes on with the study.
        KeyboardInterrupt: Ctrl-C came; the trial's run has saved itself, and is taken up likewise.
    """
    with _clear_line(study.path, None):
        while claimed := _claim(study, trials):
            trial, lock = claimed
            try:
                _attempt(study, trial, telling)
            finally:
                lock.release()
            after()


def running(study: Study) -> list[int]:
    """The trials that others are at."""
    return [trial.number for trial in study.trials() if trial.state == TrialState.RUNNING]


def _claim(study: Study, trials: int) -> tuple[optuna.Trial, FileLock] | None:
    """A trial that nobody works on, and the lock that says that this process does; None: there is nothing to do."""
    with _alone(study.path):
        begun = study.trials()
        for frozen in begun:
            lock = _take_up(study, frozen)
            if lock:
                trial = optuna.Trial(study.record, frozen._trial_id)
                trial.set_user_attr("place", study.place)
                _draw(study, trial)  # what was drawn stays what it is
                return trial, lock
        if len(begun) >= trials:
            return None
        trial = study.record.ask()
        trial.set_user_attr("place", study.place)
        if trial.number >= trials:  # a machine with a directory of its own was quicker
            trial.set_user_attr("reason", "one too many: another machine began the last one")
            study.record.tell(trial.number, state=TrialState.FAIL)
            return None
        _draw(study, trial)
        return trial, _locked(study, trial.number)


def _take_up(study: Study, frozen: optuna.trial.FrozenTrial) -> FileLock | None:
    """The lock of a trial whose process has died, if it is one and its run is here."""
    if frozen.state != TrialState.RUNNING:
        return None
    place = frozen.user_attrs.get("place")
    begun = frozen.datetime_start or datetime.min
    if place is None and datetime.now() - begun < timedelta(minutes=1):  # another machine is drawing its values
        return None
    if place not in (None, study.place):
        return None
    try:
        lock = _locked(study, frozen.number)
    except Timeout:
        return None
    run = study.run(frozen.number)
    try:
        # Its process may have died a moment ago, and the run be about to save itself.
        if run.path.exists():
            with FileLock(run.lock, timeout=PATIENCE):
                pass
    except Timeout as error:
        lock.release()
        raise RunError(f"{run.path}: another process is training this run; wait for it, or stop it") from error
    if study.trial(frozen.number).state != TrialState.RUNNING:  # it ended between two looks
        lock.release()
        return None
    return lock


def _locked(study: Study, number: int) -> FileLock:
    lock = FileLock(study.beside(number, ".lock"), timeout=0)
    lock.acquire()
    return lock


def _draw(study: Study, trial: optuna.Trial) -> None:
    """Draw a trial's values: a function of the recipe's seed, the trial's number, and what is known of the others."""
    seed = zlib.crc32(f"{study.recipe.seed} {trial.number}".encode())
    study.record.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_AT_RANDOM)
    study.space.draw(trial, study.recipe)


def _attempt(study: Study, trial: optuna.Trial, telling: Telling) -> None:
    """Train and judge a trial, and tell the storage what came of it."""
    values = study.space.values(trial.params)
    telling.begin(trial.number, values)
    try:
        figures = _known(study, trial) or _measure(study, trial, telling)
        scores = _scores(study, figures)
    except optuna.TrialPruned:
        study.record.tell(trial.number, state=TrialState.PRUNED)
    except (FailedError, RecipeError) as error:
        trial.set_user_attr("reason", str(error))
        study.record.tell(trial.number, state=TrialState.FAIL)
    else:
        trial.set_user_attr("figures", figures)
        study.record.tell(trial.number, scores)
    telling.end(study.record, trial.number)


def _known(study: Study, trial: optuna.Trial) -> dict[str, float] | None:
    """The figures of a former trial of the same values, which a run of the same seed would only repeat."""
    for former in study.trials():
        if former.state == TrialState.COMPLETE and former.params == trial.params:
            trial.set_user_attr("as", former.user_attrs.get("as", former.number))
            return former.user_attrs["figures"]
    return None


def _measure(study: Study, trial: optuna.Trial, telling: Telling) -> dict[str, float]:
    """The figures of a trial's model, trained as far as it has to be.

    Raises:
        FailedError, RecipeError: It came to nothing.
        optuna.TrialPruned: It does badly.
        KcolorError: See `go_on`.
    """
    chosen, run = study.recipe_of(study.trial(trial.number)), study.run(trial.number)
    # Without the networks that no objective needs, for they take longest.
    needed = {"lpips", "fid"} & set(study.space.objectives)
    networks = weights.folder() if needed else study.path / "trials" / "none"
    log = study.beside(trial.number, ".log")
    telling.epoch(0, chosen.train.epochs)
    with started(chosen, run, study.manifest, name=study.name, weights=networks, log=log) as attempt:
        _follow(study, trial, attempt, chosen.train.epochs, telling)
        attempt.check()
    told = evaluation.load(run.path / EVALUATION).figures
    return {key: entry["model"] for key, entry in told.items() if entry["model"] is not None}


def _follow(study: Study, trial: optuna.Trial, attempt: Attempt, epochs: int, telling: Telling) -> None:
    """Report each epoch as it is written.

    Raises:
        optuna.TrialPruned: The pruner has seen enough.
    """
    seen = 0
    while True:
        over = attempt.is_over(_LOOK)
        history = attempt.epochs()
        new, seen = history[seen:], len(history)
        if new:
            trial.set_user_attr("seconds", round(sum(entry["seconds"] for entry in history)))
        for entry in new:
            telling.epoch(entry["epoch"], epochs)
            if study.pruner and _is_hopeless(study, study.pruner, trial, entry) and entry["epoch"] < epochs:
                attempt.stop()
                raise optuna.TrialPruned
        if over:
            return


def _is_hopeless(study: Study, pruner: optuna.pruners.BasePruner, trial: optuna.Trial, entry: dict[str, Any]) -> bool:
    """Report an epoch, and ask the pruner; what is known of a trial that was taken up has been asked about."""
    value = objective.by_epoch(study.space.objectives[0], entry)
    if value is None or entry["epoch"] in study.trial(trial.number).intermediate_values:
        return False
    trial.report(value, entry["epoch"])
    return pruner.prune(study.record, study.trial(trial.number))


def _scores(study: Study, figures: dict[str, float]) -> list[float]:
    """What the storage is told.

    Raises:
        FailedError: A figure is missing.
    """
    for key in study.space.objectives:
        if key not in figures:
            raise FailedError(f"{key} could not be measured")
    return [objective.score(key, figures[key]) for key in study.space.objectives]
