"""`kcolor prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcolor.cli.common import changes, prepared, quoted, tell_of
from kcolor.cli.runner import runner, running
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.data.manifest import Manifest

_QUALITY = 95


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

    \b
    kcolor prepare places --shards places-256
    kcolor prepare places --shards gs://bucket/places-320 --size 320 --lossless
    """  # noqa: D301
    from kcolor import recipe

    if runner_options and not runner:
        raise click.UsageError("--runner-option: of no --runner; name one")
    if not shards and (size or lossless or quality != _QUALITY):
        raise click.UsageError("--size, --quality and --lossless: of shards; name a folder for them by --shards DIR")
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
    manifest = prepared(data, seed)
    tell_of(manifest)
    if output or not shards:  # shards have the manifest beside them
        target = output or Path("manifests") / f"{folder.resolve().name}.csv"
        manifest.save(target)
        click.echo(f"manifest: {target}")
    if shards:
        _write_shards(manifest, shards, size or data.size, data.crop, 0 if lossless else quality)


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
