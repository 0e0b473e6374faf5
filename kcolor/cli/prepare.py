"""`kcolor prepare`."""

from pathlib import Path

import click

from kcolor.cli.common import changes, prepared, quoted, tell_of
from kcolor.cli.runner import runner, running


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Manifest to write; default manifests/<folder>.csv."
)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@changes
@runner
def prepare(
    folder: Path,
    output: Path | None,
    seed: int,
    changes: tuple[str, ...],
    runner: str | None,
    runner_options: tuple[str, ...],
) -> None:
    """Survey a FOLDER of photos and write a manifest: class, size, split, and why a photo is out.

    The rules are those of a recipe's [data] table, such as --set data.min_size=128. Nothing in the folder is changed; a
    survey that was interrupted goes on where it was.
    """
    from kcolor import recipe

    if runner_options and not runner:
        raise click.UsageError("--runner-option: of no --runner; name one")
    for change in changes:
        if not change.strip().startswith("data."):
            raise click.UsageError(f"--set {change}: only keys of the [data] table matter here, such as data.min_size")
    data = recipe.default([f"data.folder={quoted(folder)}", *changes]).data
    if runner:
        where = running(runner, runner_options)
        from kcolor import prepare as verb
        from kcolor import survey
        from kcolor.beam.survey import examiner

        # What is found out is kept, and the manifest made of it as ever.
        photos = verb.locate(data.folder)
        survey.survey(photos, verb.survey_file(photos), include=data.include, examiner=examiner(where))
    manifest = prepared(data, seed)
    target = output or Path("manifests") / f"{folder.resolve().name}.csv"
    manifest.save(target)
    tell_of(manifest)
    click.echo(f"manifest: {target}")
