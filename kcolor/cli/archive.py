"""`kcolor colorize --runner`: a batch of any size, on Apache Beam."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kcolor import bundled, files, jobs
from kcolor.beam import storage
from kcolor.beam.colorize import Model, Tally
from kcolor.beam.colorize import colorize as verb
from kcolor.beam.find import Sources
from kcolor.beam.running import Running
from kcolor.cli.common import default_model, of_batch, told_to_end
from kcolor.errors import DataError, KcolorError
from kcolor.outcomes import FAILED
from kcolor.quiet import quiet_import


def colorize_archive(
    photos: Sequence[Path | str],
    output: Path | str,
    model: Path | str | None,
    *,
    where: Running,
    listed: Path | str | None,
    root: Path | str | None,
    overwrite: bool,
    threads: int | None,
    settings: dict[str, Any],
    told: dict[str, Any],
) -> None:
    """Colour photos on a runner, and say at the end what became of all.

    Raises:
        KcolorError: Something is not there, or a photo could not be coloured.
    """
    sources = _sources(photos, listed, root)
    target = storage.absolute(str(output))
    for name in (target, *sources.named, *([sources.listed] if sources.listed else [])):
        storage.check(name)
    chosen = Model(_for_workers(model), told["scene"], told["variants"], told["seed"] or 0)
    with quiet_import():
        from kcolor import photo
        from kcolor.colorize import Settings
    identity = chosen.load()[0].sha256  # what is wrong with it is told here, and not by every worker
    click.echo(f"model: {model or chosen.path}", err=True)
    settings["max_pixels"] = settings["max_pixels"] or photo.MAX_PIXELS
    try:
        with told_to_end():
            tally = verb(
                sources,
                target,
                chosen,
                Settings(**settings),
                {**told, "model": identity},
                where=where,
                overwrite=overwrite,
                threads=threads or _threads(where),
            )
    except KeyboardInterrupt:
        click.echo("kcolor: stopped; run it again to go on", err=True)
        raise
    _tell(tally)


def _sources(photos: Sequence[Path | str], listed: Path | str | None, root: Path | str | None) -> Sources:
    """What is to be coloured, by names that are the same everywhere.

    Raises:
        DataError: One is not there, as far as that can be seen from here.
    """
    named = tuple(storage.absolute(str(each)) for each in photos)
    for name in (*named, *([str(listed)] if listed else [])):
        if not storage.is_remote(name) and not os.path.lexists(name) and not any(jobs.find(Path(name), None)):
            raise DataError(f"{files.shown(name)}: no such file or folder; look at the name")
    return Sources(named, storage.absolute(str(listed)) if listed else None, storage.absolute(str(root or ".")))


def _for_workers(model: Path | str | None) -> str:
    """A model by a name that is the same on all machines.

    Raises:
        RunError: There is none.
    """
    if isinstance(model, str):
        storage.check(model)
        return model
    path = bundled.find(model) if model else default_model()
    return path.stem if path.parent == bundled.FOLDER else storage.absolute(str(path))


def _threads(where: Running) -> int:
    """Of TensorFlow, in each process: a machine's processors, divided among its processes."""
    if where.workers is None:  # runners start a process for each processor
        return 1
    return 0 if where.workers == 1 else max(1, (os.cpu_count() or 1) // where.workers)


def _tell(tally: Tally) -> None:
    """Say what became of all photos.

    Raises:
        KcolorError: One could not be coloured.
    """
    for _, why in tally.failed:
        click.echo(f"kcolor: {why}", err=True)
    click.echo(of_batch(tally.counts, tally.reasons), err=True)
    if failed := tally.counts[FAILED]:
        names = ", ".join(files.shown(source) for source, _ in tally.failed)
        more = f" and {failed - len(tally.failed)} more" if failed > len(tally.failed) else ""
        raise KcolorError(
            f"{failed} of {sum(tally.counts.values())} photos could not be coloured: {names}{more}, see {tally.record}"
        )
