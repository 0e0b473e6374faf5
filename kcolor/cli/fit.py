"""`kcolor fit`."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcolor.cli.common import changes, prepared, quoted, tell_of
from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.recipe import Recipe


@click.command()
@click.argument("recipe", required=False)
@click.option("--data", "data", metavar="PATH", help="Folder of photos, a manifest, or a folder of shards.")
@changes
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
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="How long to wait for the other machines of TF_CONFIG.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and train nothing.")
def fit(
    recipe: str | None,
    data: str | None,
    changes: tuple[str, ...],
    output: Path | None,
    resuming: bool,
    origin: Path | None,
    wait: float,
    dry_run: bool,
) -> None:
    """Train a colorizer by a RECIPE: a .toml file, or the name of one that comes with kcolor.

    \b
    kcolor fit recipes/wgan.toml --data images256
    kcolor fit wgan --data images256 --set train.epochs=5 -o runs/short
    kcolor fit --resume -o runs/short --set train.epochs=50
    kcolor fit small --data album --from runs/small-1

    All GPUs of the machine are used, and share each batch. Where TF_CONFIG names several machines, the same command on
    each trains on all of them.
    """  # noqa: D301 - a backspace is how click is told to leave the lines as they are
    from kcolor import bundled, cluster, run
    from kcolor import recipe as recipes

    task = cluster.read(os.environ.get("TF_CONFIG"))
    follows = task is not None and not task.chief
    if resuming and origin:
        raise click.UsageError("--from is where a new run starts; one that goes on knows where it started")
    if resuming and dry_run:
        raise click.UsageError("--dry-run shows what a new run would be; it does not go with --resume")
    if recipe is None and not (resuming and output):
        raise click.UsageError("name a recipe (kcolor recipes lists them), or a run to go on with: --resume -o RUNDIR")
    if data:
        changes = (*changes, f"data.folder={quoted(data)}")
    with cluster.refusing(task):
        if resuming and follows:  # whatever the run is, the chief tells
            told = recipes.load(recipes.find(recipe), changes) if recipe else None
            _resume(told, output or run.RUNS, 60 * wait, follows=True, data=data)
            return
        if resuming:
            path = output or run.last_path(recipes.find(str(recipe)).stem)
            file = recipes.find(recipe) if recipe else run.Run(path).recipe
            if not recipe:
                run.Run(path).read_info()
            _resume(recipes.load(file, changes), path, 60 * wait)
            return
        file = recipes.find(str(recipe))
        chosen = recipes.load(file, changes)
        origin = bundled.find(origin) if origin else None
        if dry_run:
            _dry_run(chosen, origin)
            return
        path = output or run.next_path(file.stem)
        _check_weights(chosen, origin)
        if path.exists() and not follows:
            run.claim(path)  # before a survey that may take hours
        manifest = prepared(chosen.data, chosen.seed)
        tell_of(manifest)
        with quiet_import():
            from kcolor import fit as verb
        with _stopping(path, follows):
            done = verb.fit(chosen, manifest, path, name=file.stem, origin=origin, wait=60 * wait)
        _tell_of_run(done.path, follows)


def _resume(
    chosen: "Recipe | None", path: Path, wait: float, *, follows: bool = False, data: str | None = None
) -> None:
    with quiet_import():
        from kcolor import fit as verb
    with _stopping(path, follows):
        verb.resume(chosen, path, wait=wait, folder=data)
    _tell_of_run(path, follows)


def _check_weights(chosen: "Recipe", origin: Path | None) -> None:
    """Before a survey that may take hours: what the recipe begins with has to be here."""
    if chosen.network.kind == "chromagan" or chosen.classification.target == "teacher":
        with quiet_import():
            from kcolor import build
        build.imagenet(chosen, begins=origin is None)


def _dry_run(chosen: "Recipe", origin: Path | None) -> None:
    """Print the resolved recipe, the parameter counts and the steps."""
    click.echo(chosen.dump())
    manifest = prepared(chosen.data, chosen.seed) if chosen.data.folder else None
    with quiet_import():
        from kcolor import build
        from kcolor import fit as verb
        from kcolor.colorizer import Colorizer
        from kcolor.data.manifest import check_splits
    if origin:
        build.check_origin(chosen, Colorizer.load(origin), manifest.classes if manifest else None)
    classes = len(manifest.classes) if manifest else 205
    generator, critic = build.generator(chosen, classes), build.critic(chosen)
    for name, network in (("generator", generator), ("critic", critic)):
        count = sum(variable.shape.num_elements() for variable in network.trainable_variables)
        click.echo(f"{name}: {count:,} trainable parameters")
    build.imagenet(chosen, begins=origin is None)
    if manifest is None:
        taught = chosen.classification.target == "teacher"
        counted = "" if taught else "counted with 205 classes, as Places205 has; "
        click.echo(f"no photos named (--data DIR): {counted}the steps are unknown")
        return
    tell_of(manifest)
    check_splits(manifest)
    build.source(chosen, manifest)
    plan = verb.plan(chosen, manifest)
    batch = chosen.train.batch_size
    click.echo(f"{plan.steps:,} steps: {plan.epochs} epochs of {plan.steps_per_epoch:,} batches of {batch} photos")


def _tell_of_run(path: Path, follows: bool) -> None:
    from kcolor.run import Run

    if follows:
        click.echo("finished: worker 0 has the run")
        return
    run = Run(path)
    last = max(run.samples.glob("epoch-*.png"), default=run.samples)
    click.echo(f"finished: {run.path}\nsamples: {last}\ncurves: {run.curves}\nmodel: {run.generator}")


@contextmanager
def _stopping(path: Path, follows: bool) -> Iterator[None]:
    """Turn a run that saved itself on Ctrl-C or SIGTERM into a word on how to go on, and the usual exit status."""
    from kcolor.callbacks import Stopped

    try:
        yield
    except Stopped as stopped:
        onward = f"saved in {path}; go on with: kcolor fit --resume -o {shlex.quote(str(path))}"
        if follows:
            onward = "worker 0 saves the run; go on with the same command on all, and --resume"
        click.echo(f"stopped at step {stopped.step}, {onward}", err=True)
        sys.exit(128 + stopped.signum)
