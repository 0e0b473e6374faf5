"""`kcolor prepare`."""

from pathlib import Path

import click

from kcolor.cli.common import changes, prepared, quoted, tell_of


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Manifest to write; default manifests/<folder>.csv."
)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@changes
def prepare(folder: Path, output: Path | None, seed: int, changes: tuple[str, ...]) -> None:
    """Survey a FOLDER of photos and write a manifest: class, size, split, and why a photo is out.

    The rules are those of a recipe's [data] table, such as --set data.min_size=128. Nothing in the folder is changed; a
    survey that was interrupted goes on where it was.
    """
    from kcolor import recipe

    for change in changes:
        if not change.strip().startswith("data."):
            raise click.UsageError(f"--set {change}: only keys of the [data] table matter here, such as data.min_size")
    data = recipe.default([f"data.folder={quoted(folder)}", *changes]).data
    manifest = prepared(data, seed)
    target = output or Path("manifests") / f"{folder.resolve().name}.csv"
    manifest.save(target)
    tell_of(manifest)
    click.echo(f"manifest: {target}")
