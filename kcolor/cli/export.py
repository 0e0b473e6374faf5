"""`kcolor export`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcolor.cli.common import quiet_import
from kcolor.cli.progress import phases

if TYPE_CHECKING:
    from kcolor import export as verb


@click.command()
@click.argument("run_or_model", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--saved-model", is_flag=True, help="A SavedModel: photos in, photos out; for TensorFlow Serving.")
@click.option("--tflite", is_flag=True, help="float32 and float16 .tflite files, for LiteRT.")
@click.option("--half", is_flag=True, help="A .keras file of half the size, for kcolor and Keras: weights in 16 bits.")
@click.option(
    "--web",
    "site",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A static site there, which colours photographs in its visitors' browsers.",
)
@click.option("-o", "output", type=click.Path(path_type=Path), default="exports", show_default=True)
@click.option("--name", help="Of the folder in it; default the run's.")
def export(
    run_or_model: Path | None,
    saved_model: bool,
    tflite: bool,
    half: bool,
    site: Path | None,
    output: Path,
    name: str | None,
) -> None:
    """Export a RUN's generator (default: the newest finished run's), and prove each artifact equal to it."""
    from kcolor import bundled, card, run

    if not (saved_model or tflite or half or site):
        raise click.UsageError("say what to export: --saved-model, --tflite, --half, --web, or several")
    chosen = bundled.find(run_or_model) if run_or_model else run.newest_finished().path
    with quiet_import():
        from kcolor import export as verb
        from kcolor import scenes
        from kcolor.colorizer import load_generator
        from kcolor.export import web
    if site:
        web.check(site)
    generator = load_generator(chosen)
    about = None
    if half:
        file = run.Run(chosen).generator if chosen.is_dir() else chosen
        with phases() as on_progress:
            about = scenes.card_of(
                file,
                generator,
                on_missing=lambda why: click.echo(f"without the averages that --scene needs: {why}", err=True),
                on_progress=partial(on_progress, "averages of scenes"),
            )
    formats = ["saved_model"] * saved_model + ["tflite float32", "tflite float16"] * tflite + ["keras float16"] * half
    folder = output / (name or verb.default_name(chosen))

    def tell(artifact: "verb.Artifact") -> None:
        click.echo(
            f"{folder / artifact.path}  {artifact.bytes / 2**20:.1f} MiB  "
            f"largest difference from Keras {artifact.largest_difference:.1e} (limit {artifact.limit:g})"
        )

    if formats:
        click.echo(verb.export(generator, folder, formats, source=str(chosen), about=about, on_done=tell))
    if site:
        file = run.Run(chosen).generator if chosen.is_dir() else chosen
        licence = "Apache-2.0" if chosen.parent == bundled.FOLDER else ""
        classes = card.classes(file)
        click.echo(web.export(generator, site, name=folder.name, classes=classes, licence=licence))
