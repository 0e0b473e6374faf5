"""`kcolor evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor.cli.common import PROTOCOLS, prepared, quoted, show
from kcolor.cli.progress import phases
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.evaluation import Evaluation

_BETTER = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder or manifest; default the run's own manifest.")
@click.option("--split", type=click.Choice(["train", "val", "test", "all"]), default="test", show_default=True)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="rgb", show_default=True)
@click.option("--stochastic", is_flag=True, help="Judge the networks in training mode, as the 2023 report did.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the noise in training mode."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many photos, spread evenly.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="Folder; default inside the run.")
def evaluate(
    model: Path | None,
    data: Path | None,
    split: str,
    protocol: str,
    stochastic: bool,
    seed: int,
    limit: int | None,
    output: Path | None,
) -> None:
    """Judge a MODEL: a run (default: the newest finished one), a .keras file, an export, or a model of kcolor's own.

    Beside every figure of the model stand those of the all-grey answer and of the training photos' mean colour.
    """
    from kcolor import bundled, recipe, run
    from kcolor.data.manifest import Manifest

    chosen = bundled.find(model) if model else run.newest_finished().path
    own = run.Run(chosen) if run.Run(chosen).info.is_file() else run.owner(chosen)
    with quiet_import():
        from kcolor import evaluate as verb
        from kcolor.colorizer import Colorizer
        from kcolor.data.reading import Pictures
        from kcolor.protocols import PROTOCOLS as KNOWN
    colorizer = Colorizer.load(chosen)
    training_photos = Manifest.load(own.manifest) if own else None
    manifest = prepared(recipe.default([f"data.folder={quoted(data)}"]).data, 0) if data else training_photos
    if manifest is None:
        raise click.UsageError(f"{chosen} is not part of a run; name photos with --data")
    pictures = Pictures(manifest, split, limit)
    folder = output or verb.folder_for(colorizer, pictures, KNOWN[protocol], training_mode=stochastic)
    click.echo(f"model: {chosen}", err=True)
    with phases() as on_progress:
        done = verb.evaluate(
            colorizer,
            pictures,
            KNOWN[protocol],
            folder,
            training_mode=stochastic,
            seed=seed,
            training_photos=training_photos,
            on_progress=on_progress,
        )
    show(_scores(done))
    if within := _within_boxes(done):
        show(within)
    for warning in done.metrics["warnings"]:
        click.echo(f"note: {warning}", err=True)
    click.echo(f"figures: {folder / 'metrics.json'}\npage: {folder / 'report.html'}")


def _scores(evaluation: "Evaluation") -> Any:
    """An evaluation's figures as a table, with what is missing and how to get it."""
    from rich.table import Table

    from kcolor.figures import ANSWERS, FIGURES, NOTHING

    pictures = evaluation.metrics["pictures"]
    table = Table(
        title=f"protocol {evaluation.protocol}, {pictures['count']:,} photos ({pictures['near_grey']:,} nearly grey)"
    )
    for name, justify in (("figure", "left"), *((label, "right") for label in ANSWERS.values()), ("", "left")):
        table.add_column(name, justify=justify, no_wrap=name != "")  # type: ignore[arg-type]
    for entry in evaluation.metrics["figures"]:
        figure = FIGURES[entry["figure"]]
        shown = [figure.show(entry[answer]) for answer in ANSWERS]
        table.add_row(f"{figure.label} {_BETTER[figure.better]}", *shown, f"{figure.unit} {figure.about}".strip())
    for entry in evaluation.metrics["missing"]:
        table.add_row(FIGURES[entry["figure"]].label, *[NOTHING] * len(ANSWERS), entry["why"])
    return table


def _within_boxes(evaluation: "Evaluation") -> Any:
    """The main figures inside and outside of instance boxes as a table; nothing where there are none."""
    from rich.table import Table
    from rich.text import Text

    from kcolor.figures import ANSWERS, FIGURES
    from kcolor.regions import MAIN, MOST, parts, worth_showing

    found = {part.key: part for part in parts(evaluation.metrics)}
    shown, more = worth_showing(found, MOST)
    if not shown:
        return None
    keys = [key for key in MAIN if key in found[shown[0]].figures]
    table = Table(
        title=f"inside and outside of instance boxes: model ({ANSWERS['grey']}, {ANSWERS['mean_ab']})",
        caption=f"{more} more classes on the page" if more else None,
    )
    for name in ("where", "made of"):
        table.add_column(name)
    for figure in map(FIGURES.__getitem__, keys):
        unit = f", {figure.unit}" if figure.unit else ""
        table.add_column(f"{figure.label}{unit} {_BETTER[figure.better]}", justify="right", no_wrap=True)
    for part in map(found.__getitem__, shown):
        scored = [[FIGURES[key].show(part.figures[key][answer]) for answer in ANSWERS] for key in keys]
        table.add_row(Text(part.label), part.about, *(f"{model} ({', '.join(others)})" for model, *others in scored))
    return table
