"""`kcolor weights`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcolor.cli.progress import download

if TYPE_CHECKING:
    from kcolor.weights import Taken

# As in kcolor.weights.
WEIGHTS = ["inception", "vgg16", "vgg16-imagenet"]


@click.group(invoke_without_command=True)
@click.pass_context
def weights(context: click.Context) -> None:
    """List the networks that LPIPS, FID and some recipes need: source, licence and hash, and whether they are here.

    They are in no package. `kcolor weights fetch` gets them; on a machine that is off line, `kcolor weights add FILE`
    takes files that were fetched elsewhere.
    """
    if context.invoked_subcommand:
        return
    from kcolor import weights as verb

    for name, entry in verb.CATALOGUE.items():
        first = "that of the first copy is recorded, and later ones are held to it"
        sha256 = entry.sha256 or f"none published{f', but the MD5 {entry.md5}' if entry.md5 else ''}; {first}"
        click.echo(f"{name}: {verb.status(entry)}")
        for word, value in (
            ("for", entry.needed_for),
            ("what", entry.about),
            ("from", entry.url),
            ("licence", entry.licence),
            ("sha256", sha256),
            ("place", verb.path_of(entry)),
        ):
            click.echo(f"  {word:8} {value}")


@weights.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, type=click.Choice(WEIGHTS))
@click.option("--url", help="Another place to fetch the one that is named from; what comes must have the same hash.")
def fetch(names: tuple[str, ...], url: str | None) -> None:
    """Download each NAME that `kcolor weights` lists, or all, going on where an interrupted download stopped."""
    from kcolor import weights as verb

    if url and len(names) != 1:
        raise click.UsageError("--url is where one file is: name it")
    for name in names or WEIGHTS:
        with download(name) as on_progress:
            taken = verb.fetch(verb.CATALOGUE[name], url=url, on_progress=on_progress)
        _tell_of_weights(taken)


@weights.command()
@click.argument("file", type=click.Path(path_type=Path))
def add(file: Path) -> None:
    """Take a FILE that was fetched elsewhere; it is copied."""
    from kcolor import weights as verb

    _tell_of_weights(verb.add(file))


def _tell_of_weights(taken: "Taken") -> None:
    click.echo(f"{taken.weights.name}: {taken.path}")
    if taken.note:
        click.echo(f"note: {taken.note}", err=True)
