"""`kcolor prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcolor.cli.common import changes, prepared, quoted, tell_of, tell_of_instances
from kcolor.cli.progress import phases
from kcolor.cli.runner import runner, running
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.data.manifest import Manifest
    from kcolor.detectors import Detector

_QUALITY = 95
_FACES = "faces"  # as in kcolor.detectors, which takes its time to load
_MIN_SCORE, _MIN_SIZE = 0.5, 32
_FLOOR = 0.05  # as in kcolor.data.finding; of less nothing is kept


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Manifest to write; default manifests/<folder>.csv."
)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@click.option("--shards", metavar="DIR", help="Write the photos there, too, as TFRecord files at training size.")
@click.option("--size", type=click.IntRange(16, 4096), help="Side of the squares in shards; default data.size.")
@click.option(
    "--quality", type=click.IntRange(1, 100), default=_QUALITY, show_default=True, help="Of the JPEG in shards, 4:4:4."
)
@click.option("--lossless", is_flag=True, help="PNG in shards in place of JPEG: three times as large.")
@click.option("--instances", is_flag=True, help="Find people and objects, too, for data.instances in training.")
@click.option(
    "--detector",
    metavar="faces|FILE",
    default=_FACES,
    show_default=True,
    help="What finds them: a .tflite file of a detection model, or the faces of scikit-image's cascade.",
)
@click.option(
    "--labels-file",
    type=click.Path(path_type=Path),
    help="Names of a .tflite file's classes, one a line; default its own.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(_FLOOR, 1),
    default=_MIN_SCORE,
    show_default=True,
    help="The least score of an instance.",
)
@click.option(
    "--min-size",
    type=click.IntRange(min=1),
    default=_MIN_SIZE,
    show_default=True,
    help="The least shorter side of an instance, in pixels.",
)
@changes
@runner
def prepare(
    folder: Path,
    output: Path | None,
    seed: int,
    shards: str | None,
    size: int | None,
    quality: int,
    lossless: bool,
    instances: bool,
    detector: str,
    labels_file: Path | None,
    min_score: float,
    min_size: int,
    changes: tuple[str, ...],
    runner: str | None,
    runner_options: tuple[str, ...],
) -> None:
    """Survey a FOLDER of photos and write a manifest: class, size, split, and why a photo is out.

    The rules are those of a recipe's [data] table, such as --set data.min_size=128. Nothing in the folder is changed; a
    survey that was interrupted goes on where it was.

    With --shards the photos of the train and val splits are written once, shuffled, and kcolor fit --data DIR reads
    them from there. DIR may be a place such as gs://bucket/places. What was interrupted goes on where it was, and what
    has been damaged is written anew.

    With --instances the photos are also looked at by a detector, once. The manifest says what it found, and a page
    beside it shows some of that, so that it can be judged before it is trusted. --min-score and --min-size can be
    changed afterwards without looking again.

    \b
    kcolor prepare album --instances
    kcolor prepare album --instances --detector efficientdet_lite0.tflite --min-score 0.4
    kcolor prepare places --shards places-256
    kcolor prepare places --shards gs://bucket/places-320 --size 320 --lossless
    """  # noqa: D301
    from kcolor import recipe

    if runner_options and not runner:
        raise click.UsageError("--runner-option: of no --runner; name one")
    if not shards and (size or lossless or quality != _QUALITY):
        raise click.UsageError("--size, --quality and --lossless: of shards; name a folder for them by --shards DIR")
    asked = (detector, labels_file, min_score, min_size) != (_FACES, None, _MIN_SCORE, _MIN_SIZE)
    if asked and not instances:
        raise click.UsageError("--detector, --labels-file, --min-score and --min-size: of instances; add --instances")
    if instances and (shards or runner):
        what = "squares do not hold the photos' own pixels" if shards else "photos are looked at on this machine"
        raise click.UsageError(f"--instances: does not go with {'--shards' if shards else '--runner'}: {what}")
    for change in changes:
        if not change.strip().startswith("data."):
            raise click.UsageError(f"--set {change}: only keys of the [data] table matter here, such as data.min_size")
    data = recipe.default([f"data.folder={quoted(folder)}", *changes]).data
    if runner:
        where = running(runner, runner_options)
        from kcolor.beam.survey import examiner
        from kcolor.data import prepare as verb
        from kcolor.data import survey

        # What is found out is kept, and the manifest made of it as ever.
        photos = verb.locate(data.folder)
        survey.survey(photos, verb.survey_file(photos), include=data.include, examiner=examiner(where))
    finder = _detector(detector, labels_file) if instances else None
    manifest = prepared(data, seed)
    tell_of(manifest)
    if finder:
        manifest = _find_instances(manifest, finder, min_score, min_size)
    if output or not shards:  # shards have the manifest beside them
        # Of a manifest, in which instances are looked for, there is none called .csv.csv.
        target = output or Path("manifests") / f"{folder.resolve().name.removesuffix('.csv')}.csv"
        manifest.save(target)
        click.echo(f"manifest: {target}")
        if finder:
            page = target.with_name(f"{target.stem}-instances.html")
            _show_instances(manifest, page)
            click.echo(f"what was found: {page}")
    if shards:
        _write_shards(manifest, shards, size or data.size, data.crop, 0 if lossless else quality)


def _detector(name: str, labels: Path | None) -> "Detector":
    from kcolor import detectors

    return detectors.load(name, labels)


def _find_instances(manifest: "Manifest", detector: "Detector", min_score: float, min_size: int) -> "Manifest":
    from kcolor.data import prepare as verb

    with phases() as tell:
        found = verb.find_instances(
            manifest,
            detector,
            min_score=min_score,
            min_size=min_size,
            on_progress=lambda done, total: tell("looking", done, total),
        )
    tell_of_instances(found)
    return found


def _show_instances(manifest: "Manifest", page: Path) -> None:
    from kcolor import files
    from kcolor.pages import instances_page

    files.write_text(page, instances_page(manifest))


def _write_shards(manifest: "Manifest", folder: str, size: int, crop: bool, quality: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with quiet_import():
        from kcolor.data import sharding
        from kcolor.data.reading import told
    console = Console(stderr=True)
    columns = (TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        index = sharding.write(
            manifest,
            folder,
            size=size,
            crop=crop,
            quality=quality,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if index.left_out:
        click.echo(f"left out: {len(index.left_out):,} photos ({told(index.left_out)})")
    written = [shard for split in index.splits.values() for shard in split]
    photos, size_of_all = sum(shard.photos for shard in written), sum(shard.bytes for shard in written)
    click.echo(f"shards: {photos:,} photos in {len(written):,} files of {folder}, {size_of_all / 1e6:,.0f} MB in all")
