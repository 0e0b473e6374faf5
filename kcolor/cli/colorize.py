"""`kcolor colorize`."""

import math
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor.cli.common import default_model, of_batch, place, told_to_end
from kcolor.cli.progress import phases, rate
from kcolor.cli.runner import runner, running
from kcolor.errors import KcolorError
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.colorize import Settings
    from kcolor.colorizer import Colorizer
    from kcolor.jobs import Job

# As in kcolor.upsample, which is TensorFlow.
UPSAMPLERS = ["guided", "bilinear"]
# As in kcolor.jobs, likewise.
FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "BMP"]


@click.command()
@click.argument("photos", nargs=-1, type=place)
@click.option("-o", "output", type=place, help="Folder; default out.")
@click.option(
    "--model",
    type=place,
    help="Run, .keras, SavedModel, .tflite, or a model of kcolor's; default the newest run, else that.",
)
@click.option(
    "--server",
    metavar="URL",
    help="Instead of a model, one on a server: http://HOST:8501/v1/models/NAME, or grpc://HOST:8500/NAME.",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Colour the photos of the run's own split.")
@click.option("--format", "kind", type=click.Choice(FORMATS, case_sensitive=False), help="Default the photo's own.")
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG, WebP, AVIF and HEIC; default 95 or 90.")
@click.option("--saturation", type=click.FloatRange(0, 10), default=1.0, show_default=True, help="Of the colours.")
@click.option(
    "--upsample",
    type=click.Choice(UPSAMPLERS),
    default="guided",
    show_default=True,
    help="How the network's colours are enlarged: along the photo's own edges, or smoothly.",
)
@click.option("--scene", metavar="NAME", help="Colour as a scene of this class, whatever the network sees.")
@click.option("--variants", type=click.IntRange(1, 1000), help="Several plausible colourings, photo.1.jpg and so on.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of the variants; default 0.")
@click.option("--only-grey", is_flag=True, help="Leave photos alone that have colours already.")
@click.option("--side-by-side", is_flag=True, help="Write before and after next to each other.")
@click.option("--grid", type=click.Path(path_type=Path), metavar="FILE", help="A contact sheet of what was coloured.")
@click.option("--overwrite", is_flag=True, help="Colour anew what is there already.")
@click.option("--in-place", is_flag=True, help="Write the coloured photos over the originals.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse larger photos; default 200 million.")
@click.option("--list", "listed", type=place, metavar="FILE", help="With --runner: a manifest, or a name a line.")
@click.option("--root", type=place, metavar="FOLDER", help="With --list: what its names are relative to; default here.")
@click.option("--worker-threads", type=click.IntRange(min=1), help="With --runner: of TensorFlow, in each process.")
@runner
def colorize(
    photos: tuple[Path, ...],
    output: Path | None,
    model: Path | None,
    server: str | None,
    split: str | None,
    variants: int | None,
    seed: int | None,
    scene: str | None,
    grid: Path | None,
    overwrite: bool,
    in_place: bool,
    max_pixels: int | None,
    kind: str | None,
    listed: Path | None,
    root: Path | None,
    worker_threads: int | None,
    runner: str | None,
    runner_options: tuple[str, ...],
    **look: Any,
) -> None:
    """Colour PHOTOS: files, folders, patterns, or - for standard input and output.

    The network sees a small picture; its colours are enlarged and joined with the photo's own lightness. Where a screen
    cannot show the colour, it gets paler, not lighter or darker. Format, bits, transparency, EXIF, XMP and the time of
    the file are kept, and a note in XMP says that the colours are made.

    kcolor.jsonl in the output folder says what became of each photo. Run again, it does what is missing or failed.
    """
    import logging
    import warnings

    from kcolor import bundled, jobs, outcomes, run

    streaming = Path("-") in photos
    if runner and (streaming or server or split or grid or in_place):
        raise click.UsageError("--runner: goes with none of -, --server, --split, --grid and --in-place")
    _check_colorize(photos, output, split or listed, variants, seed, grid, in_place=in_place, kind=kind, **look)
    if runner:
        where = running(runner, runner_options)
        from kcolor.cli.archive import colorize_archive

        colorize_archive(
            photos,
            output or Path("out"),
            model,
            where=where,
            listed=listed,
            root=root,
            overwrite=overwrite,
            threads=worker_threads,
            settings={**look, "format": kind, "max_pixels": max_pixels},
            told={**look, "scene": scene, "variants": variants, "seed": seed},
        )
        return
    if any(isinstance(each, str) for each in (*photos, output, model)):
        raise click.UsageError("://: files that lie elsewhere are reached by --runner alone")
    if listed or root or worker_threads or runner_options:
        raise click.UsageError("--list, --root, --worker-threads and --runner-option: go with --runner")
    if server and (model or split or scene or variants):
        raise click.UsageError("--server: the model is its own; leave --model, --split, --scene and --variants out")
    folder = output or Path("out")
    if not streaming:
        given = jobs.gather(photos, None if in_place else folder)
    chosen = None
    if not server:
        chosen = bundled.find(model or (run.newest_finished().path if split else default_model()))
    if chosen and split:
        given = jobs.held_out(chosen, split)
    if not streaming:
        work = jobs.in_place(given) if in_place else jobs.pair(given, folder, kind)
        if grid:
            jobs.check_apart(grid, work)
    with quiet_import():
        from kcolor import colorize as verb
        from kcolor import colorizer as loading
        from kcolor import photo
    # What Pillow finds odd in a file that it can read is of no use to who reads the output.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    colorizer, identity = _of_file(chosen) if chosen else _of_server(str(server))
    if scene:
        with phases() as on_progress:
            colorizer = loading.with_scene(colorizer, scene, on_progress=partial(on_progress, "averages of scenes"))
    settings = verb.Settings(format=kind, max_pixels=max_pixels or photo.MAX_PIXELS, **look)
    if streaming:
        _colorize_stream(colorizer, settings)
        return
    colorizers = [loading.variant(colorizer, seed or 0, k) for k in range(1, variants + 1)] if variants else [colorizer]
    click.echo(f"model: {chosen or identity}", err=True)
    told = {**look, "model": identity, "scene": scene, "variants": variants, "seed": seed}
    place = _common_folder(work) if in_place else folder
    _colorize_batch(colorizers, work, settings, record=place / outcomes.NAME, told=told, overwrite=overwrite, grid=grid)


def _of_file(path: Path) -> "tuple[Colorizer, str]":
    """A model, and what it is known by in records."""
    from kcolor.colorizer import Colorizer

    colorizer = Colorizer.load(path)
    return colorizer, colorizer.sha256


def _of_server(url: str) -> "tuple[Colorizer, str]":
    """The same of a model on a server."""
    from kcolor.client import Client

    try:
        client = Client(url)
    except ValueError as error:
        raise click.UsageError(f"--server {error}") from error
    return client.colorizer(), f"{client.url} version {client.version}"


def _check_colorize(
    photos: tuple[Path, ...],
    output: Path | None,
    split: Any,
    variants: int | None,
    seed: int | None,
    grid: Path | None,
    *,
    in_place: bool,
    kind: str | None,
    saturation: float,
    side_by_side: bool,
    **others: Any,
) -> None:
    """Make sure that the options go together.

    Raises:
        click.UsageError: They do not.
    """
    if bool(photos) == bool(split):
        raise click.UsageError("name photos or folders, or else a --split of the run; not both")
    if Path("-") in photos and (len(photos) > 1 or output or in_place or variants or grid):
        raise click.UsageError(
            "-: standard input is one photo, and goes to standard output; leave the other options out"
        )
    if in_place and (output or split or variants or kind or side_by_side):
        raise click.UsageError("--in-place: goes with none of -o, --split, --variants, --format and --side-by-side")
    if not math.isfinite(saturation):
        raise click.UsageError(f"--saturation: {saturation} is no number to multiply with")
    if grid and grid.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        raise click.UsageError(f"--grid {grid}: name a .jpg, .png or .webp")
    if seed is not None and not variants:
        raise click.UsageError("--seed: only --variants are drawn by chance; say how many")


def _colorize_stream(colorizer: "Colorizer", settings: "Settings") -> None:
    """Colour standard input to standard output.

    Raises:
        KcolorError: Standard output is a terminal; and see `kcolor.colorize.colorize_content`.
    """
    from kcolor import colorize as verb
    from kcolor import files

    if sys.stdout.isatty():
        raise KcolorError(
            "-: a picture would be written to the terminal; send it to a file: kcolor colorize - > out.png"
        )
    made, notes = verb.colorize_content(colorizer, sys.stdin.buffer.read(), "standard input", settings)
    for note in notes:
        click.echo(f"standard input: {note}", err=True)
    try:
        sys.stdout.buffer.write(made)
        sys.stdout.buffer.flush()
    except OSError as error:
        sys.stdout = None  # it would be flushed once more at the end
        raise KcolorError(f"standard output: cannot be written: {files.reason(error)}") from error


def _colorize_batch(
    colorizers: "list[Colorizer]",
    work: "list[Job]",
    settings: "Settings",
    *,
    record: Path,
    told: dict[str, Any],
    overwrite: bool,
    grid: Path | None,
) -> None:
    """Colour photos, say what became of each, and at the end of all.

    Raises:
        KcolorError: One could not be coloured.
    """
    from kcolor import colorize as verb
    from kcolor import files, pictures
    from kcolor.outcomes import COLOURED, FAILED, SKIPPED, Outcomes

    counts = {COLOURED: 0, SKIPPED: 0, FAILED: 0}
    reasons: dict[str, int] = {}
    failed: list[str] = []
    seen: list[Any] = []
    with Outcomes(record, told) as outcomes, rate(len(work)) as step, told_to_end():
        on_picture = seen.append if grid else None
        made = verb.colorize_files(
            colorizers, work, settings, outcomes=outcomes, overwrite=overwrite, on_picture=on_picture
        )
        try:
            for outcome in made:
                step()
                counts[outcome.status] += 1
                if outcome.status == FAILED:
                    failed.append(files.shown(outcome.source))
                    click.echo(f"kcolor: {outcome.why}", err=True)
                    continue
                for target in outcome.targets if outcome.status == COLOURED else ():
                    # Names as they are, whatever bytes they are of: what reads them is to find the files.
                    click.echo(os.fsencode(target))
                for note in outcome.notes:
                    click.echo(f"{files.shown(outcome.source)}: {note}", err=True)
                if outcome.status == SKIPPED:
                    reasons[outcome.why] = reasons.get(outcome.why, 0) + 1
        except BaseException:
            made.close()
            click.echo(f"kcolor: stopped; {of_batch(counts, reasons)}; run it again to go on", err=True)
            raise
    click.echo(of_batch(counts, reasons), err=True)
    if grid and seen:
        pictures.save(grid, pictures.contact_sheet(seen))
        click.echo(f"contact sheet: {grid}", err=True)
    if failed:
        names = ", ".join(failed[:10]) + (f" and {len(failed) - 10} more, see {record}" if len(failed) > 10 else "")
        raise KcolorError(f"{len(failed)} of {len(work)} photos could not be coloured: {names}")


def _common_folder(work: "list[Job]") -> Path:
    """The folder that all targets are in."""
    return Path(os.path.commonpath([job.target.parent for job in work]))
