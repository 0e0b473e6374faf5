"""Photographs coloured by a pipeline: found, checked, passed over where they are done, coloured, and written down.

    sources -> found -> apart, by target -> with what is known of them, by source -> coloured in batches -> kept

Nothing but names travels between machines. Each process loads the model once, and reads and writes the photographs by
itself.
"""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import apache_beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from kcolor import files, jobs
from kcolor.beam import ending, storage
from kcolor.beam.find import Find, Sources
from kcolor.beam.running import Running, count, counters, measure
from kcolor.beam.shards import Kept, dead_letter
from kcolor.beam.storage import Name
from kcolor.errors import DataError
from kcolor.outcomes import COLOURED, FAILED, NAME, SKIPPED, Outcome, entries, entry, settled
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.colorize import Settings
    from kcolor.colorizer import Colorizer

# The folder in the output in which outcomes are written down, and what the names of its files begin with.
RECORD = "kcolor-record"
OUTCOMES, FAILURES = "outcomes-", "failed-"
# Photographs a batch: in one, reading, the network and writing go on at the same time.
TOGETHER = 64
# Of those that lie elsewhere, so many are fetched or sent at the same time.
_LINKS = 8
_MODELS = "models loaded"


@dataclass(frozen=True)
class Model:
    """What every worker loads, for itself.

    Args:
        path: A run, an export or a ``.keras`` file that all machines see, the bare name of a model of the package, or
            the remote name of a ``.keras`` or ``.tflite`` file.
        scene: See `kcolor.colorizer.with_scene`; None: what the network sees.
        variants: How many; None: one colouring, without chance.
        seed: Of the variants.
    """

    path: str
    scene: str | None = None
    variants: int | None = None
    seed: int = 0

    def load(self) -> "list[Colorizer]":
        """The colorizers: one, or one for each variant.

        Raises:
            KcolorError: It cannot be loaded, or has no such scene, or no variants.
        """
        from kcolor import colorizer as loading

        with storage.near(self.path) as path:
            loaded = loading.Colorizer.load(path)
        if self.scene:
            loaded = loading.with_scene(loaded, self.scene)
        if not self.variants:
            return [loaded]
        return [loading.variant(loaded, self.seed, k) for k in range(1, self.variants + 1)]


@dataclass
class Tally:
    """What became of all photographs.

    Args:
        counts: Photographs by status.
        reasons: Those that were skipped, by why.
        models: How often a model was loaded.
        failed: Each photograph that failed, and why: the first of them.
        record: The files that name all that failed, as a pattern.
    """

    counts: dict[str, int]
    reasons: dict[str, int]
    models: int
    failed: list[tuple[str, str]]
    record: str


def colorize(
    sources: Sources,
    output: str,
    model: Model,
    settings: "Settings",
    told: Mapping[str, Any],
    *,
    where: Running,
    overwrite: bool = False,
    threads: int = 0,
) -> Tally:
    """Colour photographs on a runner.

    Outcomes are written down in the folder `RECORD` of the output as the work goes on, and those that failed once more
    in files of their own, the dead letters. Run again, it passes over what is done.

    Args:
        sources: Which.
        output: The folder to write to; absolute.
        model: By what.
        settings: How.
        told: What the outcomes say of model and settings.
        where: The runner.
        overwrite: Colour what is done anew.
        threads: Of TensorFlow, in each process; 0: as many as it takes.

    Raises:
        KcolorError: The runner cannot be reached, or a worker cannot load the model or write outcomes.
    """
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%S-")
    record = storage.join(output, RECORD)

    def build(pipeline: apache_beam.Pipeline) -> None:
        found = pipeline | Find(sources, output, settings.format)
        known = pipeline | Known(output, told)
        given = {"targets": found["apart"], "known": known}
        coloured = given | Colorize(model, settings, told, overwrite=overwrite, threads=threads)
        _ = coloured["outcomes"] | "record" >> apache_beam.ParDo(Kept(record, OUTCOMES + run))
        for name, failures in (("refused", found["refused"]), ("failed", coloured["failed"])):
            _ = failures | f"dead letters: {name}" >> apache_beam.ParDo(Kept(record, FAILURES + run))

    counted = counters(where.run(build))
    return Tally(
        {status: counted.get(status, 0) for status in (COLOURED, SKIPPED, FAILED)},
        {name.partition(": ")[2]: count for name, count in counted.items() if name.startswith(f"{SKIPPED}: ")},
        counted.get(_MODELS, 0),
        _dead_letters(record, FAILURES + run),
        storage.join(record, f"{FAILURES}{run}*.jsonl"),
    )


def _dead_letters(record: str, prefix: str, most: int = 10) -> list[tuple[str, str]]:
    """The first photographs that failed; a bundle that Beam ran again names them again."""
    failed: dict[str, str] = {}
    for name in storage.inside(record, f"{prefix}*.jsonl"):
        for each in map(json.loads, storage.lines(name)):
            failed.setdefault(each["source"], each["why"])
            if len(failed) == most:
                return sorted(failed.items())
    return sorted(failed.items())


# --- what is known


class Known(apache_beam.PTransform):
    """From the outcomes in an output folder to (photograph, the last that is known of it).

    Args:
        output: The folder.
        told: What outcomes say of today's model and settings.
    """

    def __init__(self, output: str, told: Mapping[str, Any]) -> None:
        super().__init__()
        self._output, self._told = output, told

    def expand(self, pipeline: apache_beam.Pipeline) -> Any:
        """What is known."""
        return (
            pipeline
            | "output" >> apache_beam.Create([storage.packed(self._output)])
            | "records" >> apache_beam.FlatMap(_records)
            | "spread records" >> apache_beam.Reshuffle()
            | "outcomes before" >> apache_beam.FlatMap(_read)
        )


def _records(output: Name) -> Iterator[Name]:
    """Those of pipelines, and the one of `kcolor colorize` without."""
    folder = storage.unpacked(output)
    found = storage.inside(folder, NAME) + storage.inside(storage.join(folder, RECORD), f"{OUTCOMES}*.jsonl")
    yield from map(storage.packed, found)


def _read(record: Name) -> Iterator[tuple[Name, dict[str, Any]]]:
    for known in entries(storage.lines(storage.unpacked(record))):
        # No more than will be asked of it, since there may be millions.
        kept = {name: known.get(name, "") for name in ("status", "stamp", "at")}
        targets = [storage.packed(each) for each in known["targets"]]
        yield storage.packed(known["source"]), {**kept, "targets": targets, "settings": _digest(known["settings"])}


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


# --- colouring


class Colorize(apache_beam.PTransform):
    """From (photograph, coloured file), and what is known of photographs, to what became of each, and to dead letters.

    Args:
        model: By what.
        settings: How.
        told: What the outcomes say of model and settings.
        overwrite: Colour what is done anew.
        threads: Of TensorFlow, in each process; 0: as many as it takes.
        together: Photographs a batch.
    """

    def __init__(
        self,
        model: Model,
        settings: "Settings",
        told: Mapping[str, Any],
        *,
        overwrite: bool = False,
        threads: int = 0,
        together: int = TOGETHER,
    ) -> None:
        super().__init__()
        self._colour = _Colour(model, settings, told, overwrite=overwrite, threads=threads)
        self._together = together

    def expand(self, given: Any) -> Any:
        """``outcomes``, as they are written down, and dead letters of those that ``failed``.

        Args:
            given: ``targets``: (photograph, coloured file); ``known``: see `Known`.
        """
        done = (
            given
            | "by photograph" >> apache_beam.CoGroupByKey()
            | "asked for" >> apache_beam.Filter(lambda each: each[1]["targets"])
            | "batches" >> apache_beam.BatchElements(self._together, self._together)
            | "colour" >> apache_beam.ParDo(self._colour).with_outputs("failed", main="outcomes")
        )
        return {"outcomes": done.outcomes, "failed": done.failed}


@dataclass(eq=False)
class _Held:
    """What a process holds."""

    colorizers: "list[Colorizer]"
    is_counted: bool = False


class _Colour(apache_beam.DoFn):
    def __init__(
        self, model: Model, settings: "Settings", told: Mapping[str, Any], *, overwrite: bool, threads: int
    ) -> None:
        # Settings as plain values: their class is found where TensorFlow is.
        self._model, self._settings, self._told = model, asdict(settings), dict(told)
        self._overwrite, self._threads = overwrite, threads
        self._shared = Shared()
        self._held: _Held | None = None

    def setup(self) -> None:
        with quiet_import():
            import tensorflow as tf
        # What Pillow finds odd in a file that it can read is of no use to who reads the output.
        warnings.filterwarnings("ignore", module="PIL")
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        if self._threads:
            with suppress(RuntimeError):  # it has started already, in this very process
                tf.config.threading.set_intra_op_parallelism_threads(self._threads)
                tf.config.threading.set_inter_op_parallelism_threads(self._threads)
        self._held = self._shared.acquire(lambda: _Held(self._model.load()))

    def process(self, batch: Sequence[tuple[Name, Mapping[str, Iterable[Any]]]]) -> Iterator[Any]:
        held = self._held
        assert held is not None
        with ending.at_work():
            if not held.is_counted:
                held.is_counted = True
                count(_MODELS)
            for each in self._outcomes(held.colorizers, batch):
                yield from _told(each)

    def _outcomes(
        self, colorizers: "list[Colorizer]", batch: Sequence[tuple[Name, Mapping[str, Iterable[Any]]]]
    ) -> Iterator[dict[str, Any]]:
        """What became of each photograph."""
        from kcolor.colorize import Settings, colorize_files

        todo: list[tuple[str, str]] = []
        done: dict[str, bool] = {}
        for packed, joined in batch:
            source = storage.unpacked(packed)
            known = max(joined["known"], key=lambda each: each["at"], default=None)
            done[source] = known is not None
            for target in map(storage.unpacked, joined["targets"]):
                made = _made(target, len(colorizers))
                if not self._overwrite and (why := self._why_done(source, made, known)):
                    skipped = entry(Outcome(Path(source), SKIPPED, why=why), self._told)
                    yield {**skipped, "source": source, "targets": made, "is_known": known is not None}
                else:
                    todo.append((source, target))
        with _staging(todo) as folder, ThreadPoolExecutor(_LINKS) as links:
            brought = [links.submit(_bring, *each, Path(folder, str(i))) for i, each in enumerate(todo)]
            work: list[_Work] = []
            lost: list[dict[str, Any]] = []

            def near() -> Iterator[jobs.Job]:
                for (source, _), coming in zip(todo, brought, strict=True):
                    ending.check()
                    try:
                        work.append(coming.result())
                    except DataError as error:
                        failed = entry(Outcome(Path(source), FAILED, why=str(error)), self._told)
                        lost.append({**failed, "source": source})
                    else:
                        yield work[-1].job

            sending: list[Future[dict[str, Any]]] = []
            settings = Settings(**self._settings)
            outcomes = colorize_files(colorizers, near(), settings, overwrite=self._overwrite)
            for place, outcome in enumerate(outcomes):
                each = work[place]
                told = each.told(entry(outcome, self._told))
                if told["status"] == COLOURED and storage.is_remote(each.target):
                    sending.append(links.submit(_send, outcome.targets, told))
                else:
                    yield {**told, "is_known": done[each.source] and told["status"] == SKIPPED}
            yield from lost
            yield from (sent.result() for sent in sending)

    def _why_done(self, source: str, made: Sequence[str], known: Mapping[str, Any] | None) -> str:
        if not all(storage.exists(name) for name in made):
            return ""
        return settled(known, [storage.packed(name) for name in made], storage.stamp(source), _digest(self._told))


def _told(outcome: dict[str, Any]) -> Iterator[Any]:
    """Count an outcome, and give it on: to the dead letters, and to be written down if it is new."""
    is_known = outcome.pop("is_known", False)
    count(outcome["status"])
    if outcome["status"] == SKIPPED:
        count(f"{SKIPPED}: {outcome['why']}")
    if outcome["seconds"] is not None:
        measure("milliseconds", round(1000 * outcome["seconds"]))
    if outcome["status"] == FAILED:
        yield TaggedOutput("failed", dead_letter(outcome["source"], outcome["why"]))
    if not is_known:
        yield json.dumps(outcome)


@dataclass(frozen=True)
class _Work:
    """A photograph that is on the disk here, and where it and its coloured file lie for others."""

    job: jobs.Job
    source: str
    target: str
    stamp: tuple[int, int] | None

    def told(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """An outcome, by the names that others know."""

        def named(text: str) -> str:
            for near, far in zip(self.job, (self.source, self.target), strict=True):
                text = text.replace(files.shown(near), files.shown(far))
            return text

        made = _made(self.target, len(outcome["targets"])) if outcome["targets"] else []
        known = {"source": self.source, "targets": made, "stamp": self.stamp and list(self.stamp)}
        return {**outcome, **known, "why": named(outcome["why"]), "notes": [named(note) for note in outcome["notes"]]}


def _staging(todo: Sequence[tuple[str, str]]) -> AbstractContextManager[str]:
    """A folder for what lies elsewhere, if anything does."""
    if any(storage.is_remote(name) for pair in todo for name in pair):
        return tempfile.TemporaryDirectory(prefix="kcolor-")
    return nullcontext("")


def _bring(source: str, target: str, folder: Path) -> _Work:
    """Have a photograph on the disk: it may be there already.

    Raises:
        DataError: It cannot be read.
    """
    near, made, now = Path(source), Path(target), storage.stamp(source)
    if storage.is_remote(source):
        near = folder / "in" / PurePosixPath(source).name
        near.parent.mkdir(parents=True)
        storage.fetch(source, near)
        if now:
            os.utime(near, ns=(now[1], now[1]))
    if storage.is_remote(target):
        made = folder / "out" / PurePosixPath(target).name
    return _Work(jobs.Job(near, made), source, target, now)


def _send(made: Sequence[Path], told: dict[str, Any]) -> dict[str, Any]:
    """Bring coloured files to where they belong; what became of the photograph then."""
    try:
        for near, far in zip(made, told["targets"], strict=True):
            storage.put(near, far)
            near.unlink()
    except DataError as error:
        return {**told, "status": FAILED, "targets": [], "why": str(error)}
    return told


def _made(target: str, colorizers: int) -> list[str]:
    """The names of the files that are written for a photograph."""
    from kcolor.colorize import targets

    names = [each.name for each in targets(jobs.Job(Path(), Path(target)), colorizers)]
    return [target] if colorizers == 1 else [storage.join(target.rpartition("/")[0], name) for name in names]
