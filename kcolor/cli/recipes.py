"""`kcolor recipes`."""

import click


@click.command()
def recipes() -> None:
    """List the recipes that come with kcolor."""
    from kcolor import recipe

    found = recipe.bundled()
    width = max(len(path.stem) for path in found)
    for path in found:
        click.echo(f"{path.stem:{width}}  {recipe.headline(path)}")
