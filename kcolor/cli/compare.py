"""`kcolor compare`."""

from pathlib import Path

import click

from kcolor.cli.common import PROTOCOLS, show


@click.command()
@click.argument("evaluations", metavar="RUN RUN…", nargs=-1, type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="Of the runs' own photos.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="rgb", show_default=True)
@click.option("--stochastic", is_flag=True, help="The evaluations in training mode.")
@click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True, help="Of the bootstrap.")
@click.option("-o", "output", type=click.Path(path_type=Path), default="compare.html", show_default=True, help="Page.")
def compare(
    evaluations: tuple[Path, ...], split: str, protocol: str, stochastic: bool, resamples: int, output: Path
) -> None:
    """Put evaluations side by side: runs that have been evaluated, or folders that evaluate wrote.

    Each difference from the first comes with its paired bootstrap 95 % interval.
    """
    from kcolor import compare as verb
    from kcolor import files, pages

    if len(evaluations) < 2:
        raise click.UsageError("name two evaluations or more")
    found = verb.gather(evaluations, split=split, protocol=protocol, stochastic=stochastic)
    compared = verb.compare(found, resamples=resamples)
    show(verb.table(compared))
    if compared.parts_missing:
        click.echo(f"note: {compared.parts_missing}", err=True)
    elif within := verb.parts_table(compared):
        click.echo()
        show(within)
    files.write_text(output, pages.comparison_page(compared))
    click.echo(f"page: {output}")
