"""`kcolor tune`."""

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor.cli.common import changes, prepared, quoted, show, tell_of, told_to_end
from kcolor.errors import KcolorError

if TYPE_CHECKING:
    from kcolor.data.manifest import Manifest
    from kcolor.tune.study import Study


@click.command()
@click.argument("recipe")
@click.option(
    "--space", type=click.Path(path_type=Path), required=True, metavar="SPACE.toml", help="What varies, and after what."
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=20, show_default=True, help="In all, of all processes together."
)
@click.option("--data", metavar="PATH", help="Folder of photos, a manifest, or a folder of shards.")
@changes
@click.option("-o", "output", type=click.Path(path_type=Path), help="Default studies/<recipe>-<space>.")
@click.option("--storage", metavar="URL", help="A database that machines share; default SQLite in the study.")
def tune(
    recipe: str,
    space: Path,
    trials: int,
    data: str | None,
    changes: tuple[str, ...],
    output: Path | None,
    storage: str | None,
) -> None:
    """Look for better values of a RECIPE's keys, by Optuna: each trial is a run.

    \b
    kcolor tune small --space losses.toml --data photos --trials 20
    kcolor tune small --space losses.toml --data photos --set train.epochs=3

    Stopped or killed, the study goes on with the same command; given in two places at once, both work on it.
    """  # noqa: D301 - a backspace is how click is told to leave the lines as they are
    from kcolor import recipe as recipes

    if importlib.util.find_spec("optuna") is None:
        raise KcolorError("tune: needs Optuna; pip install 'kcolor[tune]'")
    from rich.console import Console

    from kcolor.tune import report, study
    from kcolor.tune import space as spaces
    from kcolor.tune.telling import Telling

    if data:
        changes = (*changes, f"data.folder={quoted(data)}")
    file = recipes.find(recipe)
    chosen = recipes.load(file, changes)
    varied = spaces.load(space, chosen)
    path = output or study.STUDIES / f"{file.stem}-{space.stem}"

    def survey() -> "Manifest":
        manifest = prepared(chosen.data, chosen.seed)
        tell_of(manifest)
        return manifest

    opened = study.open_(path, chosen, varied, name=file.stem, storage=storage, survey=survey)
    try:
        with told_to_end(), Telling(Console(), varied.objectives, trials).shown() as telling:
            study.go_on(opened, trials, telling, lambda: report.write(opened))
    except KeyboardInterrupt:
        click.echo(f"stopped; go on with: {shlex.join(['kcolor', *sys.argv[1:]])}", err=True)
        sys.exit(130)
    best = report.write(opened)
    show(_table(opened))
    others = study.running(opened)
    if others:
        click.echo(f"note: others are still at trial {', '.join(map(str, others))}; the last to end reports on all")
    for recipe_file in best:
        click.echo(f"recipe: {recipe_file}")
    click.echo(f"table: {path / report.TABLE}\npage: {path / report.PAGE}")
    if not best and not others:
        raise KcolorError(
            f"{path}: none of {trials} trials could be measured, for the reasons above; mend that, and go on with more "
            f"--trials, or begin another study with -o"
        )


def _table(opened: "Study") -> Any:
    """All trials, the best first."""
    from rich.table import Table

    from kcolor.tune import report
    from kcolor.tune.telling import outcome, shown

    keys = [axis.key for axis in opened.space.axes]
    table = Table(title=f"{opened.path.name}: {opened.name} by {' and '.join(opened.space.objectives)}")
    for name in ("trial", *keys, "outcome"):
        table.add_column(name, justify="left" if name == "outcome" else "right", no_wrap=name != "outcome")
    for trial in report.ranked(opened):
        values = opened.space.values(trial.params)
        told = outcome(trial, opened.space.objectives)
        table.add_row(str(trial.number), *(shown(values.get(key, "")) for key in keys), told)
    return table
