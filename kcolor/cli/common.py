"""What several commands share: the photos of a run, paths, tables."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kcolor.data.manifest import Manifest

# As in kcolor.protocols, which is TensorFlow.
PROTOCOLS = ["rgb", "native", "paper"]

_CLASSES = 10  # of instances that are named

# What the manifest's reasons are called where a word does not say it.
_OUT = {"format": "of a format that training does not read", "small": "too small"}

changes = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")


class _Place(click.Path):
    """A path; what has ``://`` in it, and is for `--runner`, stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click asks for it."""
        return value if "://" in str(value) else Path(value)


place = _Place()


def default_model() -> Path:
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


def quoted(path: str | Path) -> str:
    """A path as a TOML string."""
    import json

    return json.dumps(str(path), ensure_ascii=False)


def prepared(data: Any, seed: int) -> "Manifest":
    """The manifest of the photos that a recipe's [data] names, with a progress bar while they are surveyed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kcolor.data import prepare as verb

    console = Console(stderr=True)
    columns = (TextColumn("surveying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        return verb.prepare(data, seed, lambda done, total: progress.update(task, completed=done, total=total))


def tell_of(manifest: "Manifest") -> None:
    """Say how many photos there are, and how many are out and why."""
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
        names = manifest.photos.paths[manifest.photos.toned]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        click.echo(f"toned monochromes: {toned:,} ({shown}); --set data.drop_toned=true leaves them out")
    if manifest.has_instances:
        tell_of_instances(manifest)


def tell_of_instances(manifest: "Manifest") -> None:
    """Say how many people and objects were found in the photos that are kept, and by what."""
    kept = manifest.photos[manifest.photos.kept].instances
    told = [f"{count:,} {name} on {photos:,} photos" for name, (count, photos) in kept.tally().items()]
    more = [f"and {len(told) - _CLASSES} classes more"] if len(told) > _CLASSES else []
    without = f"{int((kept.counts == 0).sum()):,} photos without"
    click.echo(
        f"instances, by {manifest.rules['instances']['detector']}: {'; '.join([*told[:_CLASSES], *more, without])}"
    )


def of_batch(counts: dict[str, int], reasons: dict[str, int]) -> str:
    """How many photos were coloured, skipped and why, and failed."""
    skipped = "; ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    return (told or "nothing done") + (f" ({skipped})" if skipped else "")


def show(what: Any) -> None:
    """A table, as wide as it needs where that is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(what, crop=False)


@contextmanager
def told_to_end() -> Iterator[None]:
    """Whoever asks the process to end is as one who presses Ctrl-C: nothing half-written is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
