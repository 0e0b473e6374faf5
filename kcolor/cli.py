"""The command line: parses, calls one verb, prints."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor import __version__
from kcolor.errors import KcolorError

if TYPE_CHECKING:
    from kcolor.manifest import Manifest
    from kcolor.recipe import Recipe

# TensorFlow and Keras are imported inside the commands, so that help is quick; and TensorFlow is to keep to itself
# what is of no use to the person who reads the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# What the manifest's reasons are called where a word does not say it.
_OUT = {"format": "of a format that training does not read", "small": "too small"}

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
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and train nothing.")
def fit(
    recipe: str | None, data: Path | None, changes: tuple[str, ...], output: Path | None, resuming: bool, dry_run: bool
) -> None:
    """Train a colorizer by a RECIPE: a .toml file, or the name of one that comes with kcolor.

    \b
    kcolor fit recipes/wgan.toml --data images256
    kcolor fit wgan --data images256 --set train.epochs=5 -o runs/short
    kcolor fit --resume -o runs/short --set train.epochs=50
    """  # noqa: D301 - a backspace is how click is told to leave the lines as they are
    from kcolor import recipe as recipes
    from kcolor import run

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
    if dry_run:
        _dry_run(chosen)
        return
    path = output or run.next_path(file.stem)
    if path.exists():
        run.claim(path)  # before a survey that may take hours
    manifest = _prepare(chosen.data, chosen.seed)
    _tell_of(manifest)
    with _quiet_import():
        from kcolor import fit as verb
    with _stopping(path):
        done = verb.fit(chosen, manifest, path, name=file.stem)
    _tell_of_run(done.path)


def _resume(chosen: "Recipe", path: Path) -> None:
    with _quiet_import():
        from kcolor import fit as verb
    with _stopping(path):
        verb.resume(chosen, path)
    _tell_of_run(path)


def _dry_run(chosen: "Recipe") -> None:
    """Print the resolved recipe, the parameter counts and the steps."""
    click.echo(chosen.dump())
    manifest = _prepare(chosen.data, chosen.seed) if chosen.data.folder else None
    with _quiet_import():
        from kcolor import build
        from kcolor import fit as verb
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
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), default="out", show_default=True, help="Folder.")
@click.option("--model", type=click.Path(path_type=Path), help="Run or .keras file; default the newest finished run.")
@click.option("--side-by-side", is_flag=True, help="Write before and after next to each other.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Colour the photos of the run's own split.")
def colorize(photos: tuple[Path, ...], output: Path, model: Path | None, side_by_side: bool, split: str | None) -> None:
    """Colour PHOTOS, files or folders, at their own size.

    The network sees a small picture; its colours are enlarged and joined with the photo's own lightness.
    """
    from kcolor import run

    if bool(photos) == bool(split):
        raise click.UsageError("name photos or folders, or else a --split of the run; not both")
    with _quiet_import():
        from kcolor import colorize as verb
    given = verb.gather(photos, output)
    chosen = model or run.newest_finished().path
    pairs = verb.targets(given or verb.held_out(chosen, str(split)), output)
    generator = verb.load_generator(chosen)
    click.echo(f"model: {chosen}", err=True)
    failed = 0
    for outcome in _tracked(verb.colorize_files(generator, pairs, side_by_side=side_by_side), len(pairs)):
        failed += outcome.error is not None
        click.echo(f"kcolor: {outcome.error}" if outcome.error else outcome.target, err=bool(outcome.error))
    if failed:
        others = "; the others were" if failed < len(pairs) else ""
        raise KcolorError(f"{failed} of {len(pairs)} photos could not be coloured{others}")


@cli.command()
@click.argument("run_or_model", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--saved-model", is_flag=True, help="A SavedModel: photos in, photos out; for TensorFlow Serving.")
@click.option("--tflite", is_flag=True, help="float32 and float16 .tflite files, for LiteRT.")
@click.option("-o", "output", type=click.Path(path_type=Path), default="exports", show_default=True)
@click.option("--name", help="Of the folder in it; default the run's.")
def export(run_or_model: Path | None, saved_model: bool, tflite: bool, output: Path, name: str | None) -> None:
    """Export a RUN's generator (default: the newest finished run's), and prove each artifact equal to it."""
    from kcolor import run

    if not (saved_model or tflite):
        raise click.UsageError("say what to export: --saved-model, --tflite, or both")
    chosen = run_or_model or run.newest_finished().path
    with _quiet_import():
        from kcolor import export as verb
        from kcolor.colorize import load_generator
    generator = load_generator(chosen)
    formats = ["saved_model"] * saved_model + ["tflite float32", "tflite float16"] * tflite
    folder = output / (name or verb.default_name(chosen))

    def tell(artifact: "verb.Artifact") -> None:
        click.echo(
            f"{folder / artifact.path}  {artifact.bytes / 2**20:.1f} MiB  "
            f"largest difference from Keras {artifact.largest_difference:.1e} (limit {artifact.limit:g})"
        )

    click.echo(verb.export(generator, folder, formats, source=str(chosen), on_done=tell))


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


def _tracked(outcomes: Iterator[Any], total: int) -> Iterator[Any]:
    """A progress bar around the outcomes, on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(outcomes, "colouring", total, console=console, transient=True, disable=not console.is_terminal)


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
