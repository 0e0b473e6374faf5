"""`kcolor export`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor.cli.progress import phases
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.export.artifact import Artifact

# As in kcolor.export.tflite, which is TensorFlow.
PRECISIONS = ("float32", "float16", "dynamic", "int8")


class _List(click.ParamType):
    """Several of a kind, between commas."""

    def __init__(self, each: click.ParamType) -> None:
        self.each, self.name = each, f"{each.name},…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(self.each.convert(word.strip(), param, ctx) for word in value.split(",")))


@click.command()
@click.argument("run_or_model", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--saved-model", is_flag=True, help="A SavedModel: photos in, photos out; for TensorFlow Serving.")
@click.option("--tflite", is_flag=True, help="Files for LiteRT: from L to ab, and from a photo to a photo.")
@click.option("--half", is_flag=True, help="A .keras file of half the size, for kcolor and Keras: weights in 16 bits.")
@click.option(
    "--web",
    "site",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A static site there, which colours photographs in its visitors' browsers.",
)
@click.option(
    "--precision",
    "precisions",
    type=_List(click.Choice(PRECISIONS)),
    metavar="NAME,…",
    help=f"Of --tflite, one or more of {', '.join(PRECISIONS)}; default float32,float16.",
)
@click.option(
    "--size",
    "sizes",
    type=_List(click.IntRange(min=1)),
    metavar="PIXELS,…",
    help="Of --tflite: heights and widths of what goes in, a file each; default the network's own.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder or manifest of real photos to compare and calibrate on; default the run's own, or scikit-image's.",
)
@click.option("--max-delta-e", type=click.FloatRange(min=0, min_open=True), help="What dynamic and int8 may differ by.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Of --saved-model: a larger photo is refused.")
@click.option("--licence", help="Of the weights, for the JSON beside a .tflite and the manifest of a site.")
@click.option("-o", "output", type=click.Path(path_type=Path), default="exports", show_default=True)
@click.option("--name", help="Of the folder in it; default the run's.")
def export(
    run_or_model: Path | None,
    saved_model: bool,
    tflite: bool,
    half: bool,
    precisions: tuple[str, ...] | None,
    sizes: tuple[int, ...] | None,
    data: Path | None,
    max_delta_e: float | None,
    max_pixels: int | None,
    licence: str | None,
    site: Path | None,
    output: Path,
    name: str | None,
) -> None:
    """Export a RUN's generator (default: the newest finished run's), and prove each artifact equal to it."""
    from kcolor import bundled, run

    if not (saved_model or tflite or half or site):
        raise click.UsageError("say what to export: --saved-model, --tflite, --half, --web, or several")
    if max_pixels and not saved_model:
        raise click.UsageError("--max-pixels: only with --saved-model")
    if licence is not None and not (tflite or site):
        raise click.UsageError("--licence: only with --tflite or --web")
    only = {"--precision": precisions, "--size": sizes, "--max-delta-e": max_delta_e}
    if stray := [option for option, value in only.items() if value is not None and not tflite]:
        raise click.UsageError(f"{', '.join(stray)}: only with --tflite")
    chosen = bundled.find(run_or_model) if run_or_model else run.newest_finished().path
    with quiet_import():
        from kcolor import card, scenes
        from kcolor import export as verb
        from kcolor.colorizer import load_generator
        from kcolor.export import half as half_precision
        from kcolor.export import photographs as real
        from kcolor.export import saved_model as saved
        from kcolor.export import tflite as lite
        from kcolor.export import web
    if site:
        web.check(site)
    generator = load_generator(chosen)
    photographs = real.find(chosen, data, on_fallback=lambda why: click.echo(f"note: {why}", err=True))
    folder = output / (name or verb.default_name(chosen))
    file = run.Run(chosen).generator if chosen.is_dir() else chosen
    about = card.of(file)
    licence = licence or ("Apache-2.0" if chosen.parent == bundled.FOLDER else "")
    targets = []
    if saved_model:
        more = {"max_pixels": max_pixels} if max_pixels else {}
        targets.append(saved.target(generator, folder, about.classes, **more))
    if tflite:
        targets += lite.targets(
            generator,
            folder.name,
            photographs=photographs,
            precisions=precisions or ("float32", "float16"),
            sizes=sizes or (),
            about=about,
            licence=licence,
            max_delta_e=max_delta_e or lite.MAX_DELTA_E,
        )
    if half:
        with phases() as on_progress:
            described = scenes.card_of(
                file,
                generator,
                on_missing=lambda why: click.echo(f"without the averages that --scene needs: {why}", err=True),
                on_progress=partial(on_progress, "averages of scenes"),
            )
        targets.append(half_precision.target(generator, folder.name, described))

    if targets:
        click.echo(
            verb.export(generator, folder, targets, photographs, source=str(chosen), on_done=partial(_tell, folder))
        )
        if saved_model:
            click.echo(f"how to serve it: {folder / 'serving' / 'README.md'}")
    if site:
        click.echo(web.export(generator, site, photographs, name=folder.name, about=about, licence=licence))
        click.echo(f"look at it: python3 -m http.server -d {site}")


def _tell(folder: Path, artifact: "Artifact") -> None:
    """How near an artifact in a folder is to Keras, and how quick."""
    from kcolor.export import is_slow

    parity = artifact.parity
    ratio = f", {parity.latency_ratio:.2f} of float32's" if parity.reference else ""
    click.echo(
        f"{folder / artifact.path}  {artifact.bytes / 2**20:.1f} MiB  Delta E from Keras {parity.delta_e:.2g}, "
        f"ab {parity.mean_ab:.1e}, at most {parity.largest_ab:.1e}  {parity.latency_ms:.1f} ms{ratio}"
    )
    if is_slow(artifact):
        click.echo(
            f"note: {artifact.path} was slower than float32; where other work ran beside, export again", err=True
        )
