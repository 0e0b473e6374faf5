"""The command line: parses, calls one verb, prints."""

import math
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor import __version__
from kcolor.errors import KcolorError

if TYPE_CHECKING:
    from kcolor.colorize import Settings
    from kcolor.colorizer import Colorizer
    from kcolor.evaluation import Evaluation
    from kcolor.jobs import Job
    from kcolor.manifest import Manifest
    from kcolor.recipe import Recipe
    from kcolor.weights import Taken

# TensorFlow and Keras are imported inside the commands, so that help is quick; and TensorFlow is to keep to itself
# what is of no use to the person who reads the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# What the manifest's reasons are called where a word does not say it.
_OUT = {"format": "of a format that training does not read", "small": "too small"}

# As in kcolor.protocols, which is TensorFlow.
PROTOCOLS = ["rgb", "native", "paper"]
# As in kcolor.upsample, likewise.
UPSAMPLERS = ["guided", "bilinear"]
# As in kcolor.jobs.
FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "BMP"]
# As in kcolor.weights.
WEIGHTS = ["inception", "vgg16"]

_BETTER = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}

_set = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kcolor")
def cli() -> None:
    """Colour black-and-white photographs: train, use and export a colorizer."""


def main() -> None:
    """Run the command line; a mistake the user can mend is one line, and exit status 2."""
    try:
        status = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = 2
    except click.Abort:  # what click makes of Ctrl-C
        click.echo("kcolor: interrupted", err=True)
        status = 130
    except KcolorError as error:
        click.echo(f"kcolor: {error}", err=True)
        status = 2
    sys.exit(status)


@cli.command()
def recipes() -> None:
    """List the recipes that come with kcolor."""
    from kcolor import recipe

    found = recipe.bundled()
    width = max(len(path.stem) for path in found)
    for path in found:
        click.echo(f"{path.stem:{width}}  {recipe.headline(path)}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Manifest to write; default manifests/<folder>.csv."
)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
@_set
def prepare(folder: Path, output: Path | None, seed: int, changes: tuple[str, ...]) -> None:
    """Survey a FOLDER of photos and write a manifest: class, size, split, and why a photo is out.

    The rules are those of a recipe's [data] table, such as --set data.min_size=128. Nothing in the folder is changed; a
    survey that was interrupted goes on where it was.
    """
    from kcolor import recipe

    for change in changes:
        if not change.strip().startswith("data."):
            raise click.UsageError(f"--set {change}: only keys of the [data] table matter here, such as data.min_size")
    data = recipe.default([f"data.folder={_quoted(folder)}", *changes]).data
    manifest = _prepare(data, seed)
    target = output or Path("manifests") / f"{folder.resolve().name}.csv"
    manifest.save(target)
    _tell_of(manifest)
    click.echo(f"manifest: {target}")


@cli.command()
@click.argument("recipe", required=False)
@click.option("--data", "data", type=click.Path(path_type=Path), help="Folder of photos, or a manifest.")
@_set
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="RUNDIR", help="Default runs/<recipe>-<n>.")
@click.option(
    "--resume", "resuming", is_flag=True, help="Go on with a run that stopped, or that is to have more epochs."
)
@click.option(
    "--from",
    "origin",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Start from the weights of a run, a .keras file or a model of kcolor's; the critic starts anew.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and train nothing.")
def fit(
    recipe: str | None,
    data: Path | None,
    changes: tuple[str, ...],
    output: Path | None,
    resuming: bool,
    origin: Path | None,
    dry_run: bool,
) -> None:
    """Train a colorizer by a RECIPE: a .toml file, or the name of one that comes with kcolor.

    \b
    kcolor fit recipes/wgan.toml --data images256
    kcolor fit wgan --data images256 --set train.epochs=5 -o runs/short
    kcolor fit --resume -o runs/short --set train.epochs=50
    kcolor fit small --data album --from runs/small-1
    """  # noqa: D301 - a backspace is how click is told to leave the lines as they are
    from kcolor import bundled, run
    from kcolor import recipe as recipes

    if resuming and origin:
        raise click.UsageError("--from is where a new run starts; one that goes on knows where it started")
    if resuming and dry_run:
        raise click.UsageError("--dry-run shows what a new run would be; it does not go with --resume")
    if recipe is None and not (resuming and output):
        raise click.UsageError("name a recipe (kcolor recipes lists them), or a run to go on with: --resume -o RUNDIR")
    if data:
        changes = (*changes, f"data.folder={_quoted(data)}")
    if resuming:
        path = output or run.last_path(recipes.find(str(recipe)).stem)
        file = recipes.find(recipe) if recipe else run.Run(path).recipe
        if not recipe:
            run.Run(path).read_info()
        _resume(recipes.load(file, changes), path)
        return
    file = recipes.find(str(recipe))
    chosen = recipes.load(file, changes)
    origin = bundled.find(origin) if origin else None
    if dry_run:
        _dry_run(chosen, origin)
        return
    path = output or run.next_path(file.stem)
    if path.exists():
        run.claim(path)  # before a survey that may take hours
    manifest = _prepare(chosen.data, chosen.seed)
    _tell_of(manifest)
    with _quiet_import():
        from kcolor import fit as verb
    with _stopping(path):
        done = verb.fit(chosen, manifest, path, name=file.stem, origin=origin)
    _tell_of_run(done.path)


def _resume(chosen: "Recipe", path: Path) -> None:
    with _quiet_import():
        from kcolor import fit as verb
    with _stopping(path):
        verb.resume(chosen, path)
    _tell_of_run(path)


def _dry_run(chosen: "Recipe", origin: Path | None) -> None:
    """Print the resolved recipe, the parameter counts and the steps."""
    click.echo(chosen.dump())
    manifest = _prepare(chosen.data, chosen.seed) if chosen.data.folder else None
    with _quiet_import():
        from kcolor import build
        from kcolor import fit as verb
        from kcolor.colorizer import Colorizer
    if origin:
        build.check_origin(chosen, Colorizer.load(origin), manifest.classes if manifest else None)
    classes = len(manifest.classes) if manifest else 205
    generator, critic = build.generator(chosen, classes), build.critic(chosen)
    for name, network in (("generator", generator), ("critic", critic)):
        count = sum(variable.shape.num_elements() for variable in network.trainable_variables)
        click.echo(f"{name}: {count:,} trainable parameters")
    if manifest is None:
        click.echo("no photos named (--data DIR): counted with 205 classes, as Places205 has; the steps are unknown")
        return
    _tell_of(manifest)
    verb.check_splits(manifest)
    plan = verb.plan(chosen, manifest)
    batch = chosen.train.batch_size
    click.echo(f"{plan.steps:,} steps: {plan.epochs} epochs of {plan.steps_per_epoch:,} batches of {batch} photos")


@cli.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "output", type=click.Path(path_type=Path), help="Folder; default out.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Run, .keras, SavedModel, .tflite, or a model of kcolor's; default the newest run, else that.",
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
def colorize(
    photos: tuple[Path, ...],
    output: Path | None,
    model: Path | None,
    split: str | None,
    variants: int | None,
    seed: int | None,
    scene: str | None,
    grid: Path | None,
    overwrite: bool,
    in_place: bool,
    max_pixels: int | None,
    kind: str | None,
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
    _check_colorize(photos, output, split, variants, seed, grid, in_place=in_place, kind=kind, **look)
    folder = output or Path("out")
    if not streaming:
        given = jobs.gather(photos, None if in_place else folder)
    if model is None:
        model = run.newest_finished().path if split else _default_model()
    chosen = bundled.find(model)
    if split:
        given = jobs.held_out(chosen, split)
    if not streaming:
        work = jobs.in_place(given) if in_place else jobs.pair(given, folder, kind)
        if grid:
            jobs.check_apart(grid, work)
    with _quiet_import():
        from kcolor import colorize as verb
        from kcolor import colorizer as loading
        from kcolor import photo
    # What Pillow finds odd in a file that it can read is of no use to who reads the output.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    colorizer = loading.Colorizer.load(chosen)
    if scene:
        with _phases() as on_progress:
            colorizer = loading.with_scene(colorizer, scene, on_progress=partial(on_progress, "averages of scenes"))
    settings = verb.Settings(format=kind, max_pixels=max_pixels or photo.MAX_PIXELS, **look)
    if streaming:
        _colorize_stream(colorizer, settings)
        return
    colorizers = [loading.variant(colorizer, seed or 0, k) for k in range(1, variants + 1)] if variants else [colorizer]
    click.echo(f"model: {chosen}", err=True)
    told = {**look, "model": colorizer.sha256, "scene": scene, "variants": variants, "seed": seed}
    place = _common_folder(work) if in_place else folder
    _colorize_batch(colorizers, work, settings, record=place / outcomes.NAME, told=told, overwrite=overwrite, grid=grid)


@cli.command()
@click.argument("run_or_model", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--saved-model", is_flag=True, help="A SavedModel: photos in, photos out; for TensorFlow Serving.")
@click.option("--tflite", is_flag=True, help="float32 and float16 .tflite files, for LiteRT.")
@click.option("--half", is_flag=True, help="A .keras file of half the size, for kcolor and Keras: weights in 16 bits.")
@click.option("-o", "output", type=click.Path(path_type=Path), default="exports", show_default=True)
@click.option("--name", help="Of the folder in it; default the run's.")
def export(
    run_or_model: Path | None, saved_model: bool, tflite: bool, half: bool, output: Path, name: str | None
) -> None:
    """Export a RUN's generator (default: the newest finished run's), and prove each artifact equal to it."""
    from kcolor import bundled, run

    if not (saved_model or tflite or half):
        raise click.UsageError("say what to export: --saved-model, --tflite, --half, or several")
    chosen = bundled.find(run_or_model) if run_or_model else run.newest_finished().path
    with _quiet_import():
        from kcolor import export as verb
        from kcolor import scenes
        from kcolor.colorizer import load_generator
    generator = load_generator(chosen)
    about = None
    if half:
        file = run.Run(chosen).generator if chosen.is_dir() else chosen
        with _phases() as on_progress:
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

    click.echo(verb.export(generator, folder, formats, source=str(chosen), about=about, on_done=tell))


@cli.command()
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
    from kcolor.manifest import Manifest

    chosen = bundled.find(model) if model else run.newest_finished().path
    own = run.Run(chosen) if run.Run(chosen).info.is_file() else run.owner(chosen)
    with _quiet_import():
        from kcolor import evaluate as verb
        from kcolor.colorizer import Colorizer
        from kcolor.protocols import PROTOCOLS as KNOWN
        from kcolor.reading import Pictures
    colorizer = Colorizer.load(chosen)
    training_photos = Manifest.load(own.manifest) if own else None
    manifest = _prepare(recipe.default([f"data.folder={_quoted(data)}"]).data, 0) if data else training_photos
    if manifest is None:
        raise click.UsageError(f"{chosen} is not part of a run; name photos with --data")
    pictures = Pictures(manifest, split, limit)
    folder = output or verb.folder_for(colorizer, pictures, KNOWN[protocol], training_mode=stochastic)
    click.echo(f"model: {chosen}", err=True)
    with _phases() as on_progress:
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
    _print(_scores(done))
    for warning in done.metrics["warnings"]:
        click.echo(f"note: {warning}", err=True)
    click.echo(f"figures: {folder / 'metrics.json'}\npage: {folder / 'report.html'}")


@cli.command()
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
    _print(verb.table(compared))
    files.write_text(output, pages.comparison_page(compared))
    click.echo(f"page: {output}")


@cli.group(invoke_without_command=True)
@click.pass_context
def weights(context: click.Context) -> None:
    """List the networks that LPIPS and FID need: their source, licence and hash, and whether they are here.

    They are in no package. `kcolor weights fetch` gets them; on a machine that is off line, `kcolor weights add FILE`
    takes files that were fetched elsewhere.
    """
    if context.invoked_subcommand:
        return
    from kcolor import weights as verb

    for name, entry in verb.CATALOGUE.items():
        sha256 = entry.sha256 or "none published; that of the first copy is recorded, and later ones are held to it"
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
@click.argument("names", metavar="[inception] [vgg16]", nargs=-1, type=click.Choice(WEIGHTS))
@click.option("--url", help="Another place to fetch the one that is named from; what comes must have the same hash.")
def fetch(names: tuple[str, ...], url: str | None) -> None:
    """Download what is not here yet, going on where an interrupted download stopped."""
    from kcolor import weights as verb

    if url and len(names) != 1:
        raise click.UsageError("--url is where one file is: name it")
    for name in names or WEIGHTS:
        with _download(name) as on_progress:
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


def _default_model() -> Path:
    """The newest finished run, or else a model that comes with kcolor.

    Raises:
        RunError: There is neither.
    """
    from kcolor import bundled, run
    from kcolor.errors import RunError

    try:
        return run.newest_finished().path
    except RunError:
        for model in bundled.models():
            return model
        raise


def _quoted(path: Path) -> str:
    """A path as a TOML string."""
    import json

    return json.dumps(str(path), ensure_ascii=False)


def _prepare(data: Any, seed: int) -> "Manifest":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kcolor import prepare as verb

    console = Console(stderr=True)
    columns = (TextColumn("surveying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        return verb.prepare(data, seed, lambda done, total: progress.update(task, completed=done, total=total))


def _tell_of(manifest: "Manifest") -> None:
    counts = manifest.counts()
    used = {name: counts.pop(name, 0) for name in ("train", "val", "test")}
    toned = counts.pop("toned", 0)
    classes = f", {len(manifest.classes)} classes" if manifest.classes else ""
    click.echo(
        f"{manifest.root}: {sum(used.values()):,} photos{classes} ({', '.join(f'{n:,} {s}' for s, n in used.items())})"
    )
    out = {reason: count for reason, count in counts.items() if count}
    if out:
        click.echo(f"out: {', '.join(f'{count:,} {_OUT.get(reason, reason)}' for reason, count in out.items())}")
    if toned:
        names = [photo.path for photo in manifest.photos if photo.toned]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        click.echo(f"toned monochromes: {toned:,} ({shown}); --set data.drop_toned=true leaves them out")


def _tell_of_run(path: Path) -> None:
    from kcolor.run import Run

    run = Run(path)
    last = max(run.samples.glob("epoch-*.png"), default=run.samples)
    click.echo(f"finished: {run.path}\nsamples: {last}\ncurves: {run.curves}\nmodel: {run.generator}")


def _check_colorize(
    photos: tuple[Path, ...],
    output: Path | None,
    split: str | None,
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


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Whoever asks the process to end is as one who presses Ctrl-C: nothing half-written is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    with Outcomes(record, told) as outcomes, _rate(len(work)) as step, _told_to_end():
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
            click.echo(f"kcolor: stopped; {_of_batch(counts, reasons)}; run it again to go on", err=True)
            raise
    click.echo(_of_batch(counts, reasons), err=True)
    if grid and seen:
        pictures.save(grid, pictures.contact_sheet(seen))
        click.echo(f"contact sheet: {grid}", err=True)
    if failed:
        names = ", ".join(failed[:10]) + (f" and {len(failed) - 10} more, see {record}" if len(failed) > 10 else "")
        raise KcolorError(f"{len(failed)} of {len(work)} photos could not be coloured: {names}")


def _of_batch(counts: dict[str, int], reasons: dict[str, int]) -> str:
    skipped = "; ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    return (told or "nothing done") + (f" ({skipped})" if skipped else "")


def _common_folder(work: "list[Job]") -> Path:
    """The folder that all targets are in."""
    return Path(os.path.commonpath([job.target.parent for job in work]))


@contextmanager
def _rate(total: int) -> Iterator[Any]:
    """A progress bar with photos a second and the time left, on a terminal: call it for each photo."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0.0:.1f} photos/s")

    console = Console(stderr=True)
    columns = ("colouring", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


@contextmanager
def _download(name: str) -> Iterator[Any]:
    """A progress bar for a download, on a terminal: call it with the bytes that are here, and of how many or None."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _phases() -> Iterator[Any]:
    """A progress bar for work of several parts, on a terminal: call it with the part, how much is done, of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for former in tasks.values():
                    progress.update(former, visible=False)
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=total)

        yield tell


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


def _print(what: Any) -> None:
    """A table, as wide as it needs where that is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(what, crop=False)


@contextmanager
def _stopping(path: Path) -> Iterator[None]:
    """Turn a run that saved itself on Ctrl-C or SIGTERM into a word on how to go on, and the usual exit status."""
    from kcolor.callbacks import Stopped

    try:
        yield
    except Stopped as stopped:
        onward = f"kcolor fit --resume -o {shlex.quote(str(path))}"
        click.echo(f"stopped at step {stopped.step}, saved in {path}; go on with: {onward}", err=True)
        sys.exit(128 + stopped.signum)


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep off the terminal what TensorFlow prints while it loads and looks for GPUs, whatever the log level."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow

        tensorflow.config.list_physical_devices()
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
